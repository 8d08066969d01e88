"""Columns of a row along the vector, few channels and all phases of a row at once: for results of few channels.

The maps are read and written channels-first, where they lie; the phases of a row are interleaved in registers.
So are columns some steps apart, which the gradient in the input of a strided layer reads, brought together there.
"""

from collections import Counter
from functools import lru_cache

from ..geometry import ceil_div
from ..kernels import direct_rows as kernel
from ..layouts import CHANNELS_FIRST, CHANNELS_LAST, Operand
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, PANELS, PLACES, TOTALS, X_BAND, Nest, Program, Rows, Stage, W, X
from ..schedule import bands, pixel_products, segments, strips
from ..schedule.amounts import down, exchanged, moved
from ..schedule.moves import PlacedOperand, copying, offsets
from ..schedule.panels import Block, Panels
from ..schedule.placed_problem import PlacedProblem
from ..schedule.rows import (
    HOLE_RUNS,
    MOST_INTERLEAVED,
    WIDEST_STEP,
    as_rows,
    everything,
    has_gaps,
    masked_part,
    row_list,
    rows_of,
)

OPERATIONS = ("forward", "grad_input")
# Sums of a tile, vectors of it, and channels for each number of phases, by the number of vector registers.
SUMS = {32: 24, 16: 12}
ACROSS = 6
CHANNELS = {32: {1: 6, 2: 6, 3: 4, 4: 3}, 16: {1: 4, 2: 3, 3: 2, 4: 1}}
# Channels that lie a multiple of so many bytes apart share a few sets of the first-level cache.
CROWDING = 1024
FEW_WAYS = 12
# Numbers of channels that a tile can interleave.
JOINED = (1, 2, 3, 4, 6)
# Phases beyond those that are interleaved are written value by value.
MOST_APART = 16
# In how many vectors' time the masks of a vector are found for columns that lie apart.
MASKS = 14
# What it takes to bring a vector of more than so many lines together, in vectors of pixels read.
INTERLEAVING, INTERLEAVED_WELL = 4, 4
# Which part of a tile's time one takes that has no taps.
HOLE = 0.7
# What is counted of tiles.
AMOUNTS = tuple(f"direct_rows{each}" for each in ("", "_loads", "_tiles", "_apart", "_masked", "_masks"))
# Weights of fewer channels are read where they lie.
FEW = 3
ROWS = ("x", "y", "w", "n_h", "x_h", "w_h", "rows", "x_row", "y_row")
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem, *, by_columns=False) -> list[str]:
    s = as_rows(problem, by_columns).geometry.w.s
    if problem.operation == "grad_input" and s > WIDEST_STEP:
        return [f"takes columns at most {WIDEST_STEP} apart; the gradient takes those {s} apart"]
    if problem.operation == "forward" and s > MOST_APART:
        return [f"writes each of {s} phases of a row on a step of its own; at most {MOST_APART} are"]
    return []


def order_of_sums(problem: Problem, *, by_columns=False) -> list:
    """The taps of rows in their order, those that phases share first; a row that lacks phases has another.

    Where each phase is a row of its own, that is no matter. Equal orders give equal bits in windows that begin
    and end at multiples of the stride from the first output.
    """
    asked = as_rows(problem, by_columns)
    rows = rows_of(asked.geometry.w, asked.operation == "forward")
    return [(row.count, row.shared, [own.taps for own in row.own]) for row in rows if len(row.own) > 1]


def weight_form(problem: Problem, *, by_columns=False) -> Panels | None:
    """Panels by blocks of a few channels; None where the weight is read as it lies."""
    g, (c_src, c_dst), size = problem.geometry, problem.channels, problem.itemsize
    if c_dst < FEW:
        return None
    blocks = tuple(Block(start, mr, mr, number) for start, mr, number in blocks_of(c_dst, _phases(problem, by_columns)))
    is_forward = problem.operation == "forward"
    return Panels(problem.row.element, size, g.groups, c_src, c_dst, g.h.k, g.w.k, 1, blocks, is_forward)


def blocks_of(channels, s) -> list[tuple[int, int, int]]:
    """(first channel, channels of a block, number of blocks) of the blocks that are alike; as even as can be."""
    count = ceil_div(channels, CHANNELS[isa().registers][s])
    least, more = divmod(channels, count)
    alike = [(0, least + 1, more), (more * (least + 1), least, count - more)]
    return [(start, mr, number) for start, mr, number in alike if number]


def across(mr, s, registers=None) -> int:
    """Vectors of a tile of so many channels and phases: their sums, what is read for them and a weight fit."""
    registers = registers or isa().registers
    return max(1, min(ACROSS, SUMS[registers] // (mr * s), (registers - 2) // (mr * s + 1)))


def work(problem: Problem, *, by_columns=False) -> dict[str, float]:
    if _takes_strips(problem, by_columns):
        blocks = blocks_of(problem.channels[1], problem.geometry.w.s)
        amounts = strips.work(problem, [(mr, across(mr, problem.geometry.w.s), number) for _, mr, number in blocks])
        amounts["direct_rows_tiles"] = HOLE * _hole_tiles(problem, isa().lanes(problem.itemsize))
        return amounts | moved(problem, channels_last=False, packs=True, whole=False)
    asked = as_rows(problem, by_columns)
    g, (c_src, c_dst), forward = asked.geometry, problem.channels, problem.operation == "forward"
    lanes = isa().lanes(problem.itemsize)
    amounts = dict.fromkeys((*AMOUNTS, "tasks", "places"), 0)
    step = 1 if forward else g.w.s
    masks, joins = 0 if step == 1 else MASKS * _masked(asked), _joins(problem, by_columns)
    for (s, columns, count, own, is_apart), alike in _tally(g.w, forward):
        for here, rows, taps, number_h in down(asked):
            each = ceil_div(g.n * rows * ceil_div(ceil_div(columns, s), lanes), here)
            for _, mr, number in blocks_of(c_dst, s):
                nv = across(mr, s)
                tiles = alike * g.groups * number * here * number_h * ceil_div(each, nv)
                products = tiles * nv * taps * c_src * mr * (s * count + own)
                amounts["direct_rows"] += products
                part = masked_part(g.w, forward, ceil_div(columns, s), lanes, nv) if step == 1 or masks else 0
                amounts["direct_rows_masked"] += part * products
                # Those of columns that lie apart take longer to find.
                if step == 1:
                    amounts["direct_rows_masks"] += part * tiles * nv * taps * (count + own)
                amounts["direct_rows_loads"] += tiles * nv * taps * c_src * (count + own)
                if joins and mr * s > INTERLEAVED_WELL:
                    amounts["direct_rows_loads"] += INTERLEAVING * tiles * nv * mr * s
                amounts["direct_rows_tiles"] += tiles
                amounts["places"] += tiles * nv
                amounts["tasks"] += alike * here * number_h
                if is_apart:
                    amounts["direct_rows_apart"] += tiles * nv * mr * lanes
    if step > 1:
        amounts["columns_apart"] = step * amounts["direct_rows_loads"] + masks
    copied = problem.a_layout == CHANNELS_FIRST and not by_columns and _is_crowded(problem) and not problem.maps
    amounts |= moved(
        problem,
        channels_last=False,
        packs=c_dst >= FEW,
        writes=joins,
        exchanged=exchanged(asked, lanes) if by_columns else 0,
        whole=False,
    )
    amounts["direct_rows_tiles"] += HOLE * _hole_tiles(asked, lanes)
    if copied:
        amounts["copied_bands"] = problem.geometry.n * c_src * g.groups * _pixels(problem) * problem.itemsize
    return amounts


def _hole_rows(g, forward):
    """The segments of rows of which some places have no taps, and are written in a pass of their own."""
    if has_gaps(g.w, forward):
        return (segments.everywhere(g.h.out),)
    return segments.hole_rows(g.h, HOLE_RUNS) if forward else ()


def _hole_tiles(problem, lanes):
    """Tiles in which rows are written without taps."""
    g = problem.geometry
    rows = sum(each.count for each in _hole_rows(g, problem.operation == "forward"))
    vectors = g.n * rows * ceil_div(g.w.out, lanes)
    return g.groups * sum(
        number * ceil_div(vectors, across(mr, 1)) for _, mr, number in blocks_of(problem.channels[1], 1)
    )


def _masked(problem):
    """Vectors, for each tap, of the tiles that reach beyond a row in the gradient: most tiles, where rows are short."""
    g, (_, c_dst), lanes = problem.geometry, problem.channels, isa().lanes(problem.itemsize)
    vectors = ceil_div(g.w.n, lanes)
    if g.w.crop_lo <= 0 and g.w.crop_hi <= 0 and g.w.n >= lanes:
        return 0
    found = 0
    for _, mr, number in blocks_of(c_dst, 1):
        found += number * min(vectors, 2 * across(mr, 1))
    return found * g.n * g.h.n * g.groups * g.h.k * g.w.k


@lru_cache(maxsize=512)
def _tally(axis, forward):
    """((phases, columns, taps shared, all that are not, whether columns are apart), how many such rows) of an axis."""
    kinds = Counter()
    for row in rows_of(axis, forward):
        own = sum(len(each.taps) for each in row.own) if len(row.own) > 1 else 0
        kinds[len(row.own), row.columns, row.count, own, row.step > 1] += 1
    return tuple(kinds.items())


def program(placed: PlacedProblem, *, by_columns=False) -> Program:
    """The packing of the weight, if it is packed and not prepared, and the bands."""
    problem, scratch = placed.problem, bands.Scratch()
    panels = weight_form(problem, by_columns=by_columns)
    joined, takes_strips = _joins(problem, by_columns), _takes_strips(problem, by_columns)
    crowded = _is_crowded(problem) and not takes_strips
    packing = [panels.packing(placed)] if panels is not None and placed.packs else []
    taps = placed.w[2:] if panels is None else (panels.row, panels.tap)
    if by_columns:
        placed, taps = placed.axes_exchanged(), (taps[1], taps[0])

    def make(band):
        if crowded and band.x.base == X:
            nest, x = _spread(placed, band, scratch)
            yield nest
            band = bands.Band(band.n, band.h, band.w, x, band.y)
        yield from _nests(placed, band, panels, taps, takes_strips, scratch)

    nests = bands.in_layout(placed, scratch, False, make, writes=lambda y: joined)
    compute = bands.grids(placed, nests, placed.source, placed.result)
    if panels is not None and placed.packs:
        scratch.take(PANELS, panels.nbytes)
    return Program([*packing, Stage(compute)], scratch.sizes, placed.seconds)


def _phases(problem, by_columns):
    """How many phases of a row are computed together."""
    s = as_rows(problem, by_columns).geometry.w.s
    return s if problem.operation == "forward" and s <= MOST_INTERLEAVED else 1


def _joins(problem, by_columns):
    """Whether all channels of a result that lies channels-last are written by one tile, phases and all."""
    g, (_, c) = problem.geometry, problem.channels
    s = g.w.s if problem.operation == "forward" else 1
    whole = g.groups == 1 and problem.layout == CHANNELS_LAST and not by_columns
    return whole and s <= MOST_INTERLEAVED and c in JOINED and c <= CHANNELS[isa().registers][s]


def _pixels(problem):
    return problem.operand_shapes[0][2] * problem.operand_shapes[0][3]


def _is_crowded(problem):
    """Whether the channels of a dense x would fall into the same few sets of the cache."""
    c_src, _ = problem.channels
    return (
        problem.a_layout == CHANNELS_FIRST and c_src > FEW_WAYS and _pixels(problem) * problem.itemsize % CROWDING == 0
    )


def _spread(placed, band, scratch):
    """(the nest that copies a band of x, where it lies then): the channels an odd number of cache lines apart."""
    h, w = (band.h.n, band.w.n) if placed.forward else (band.h.out, band.w.out)
    c, size, x = placed.c_src * placed.g.groups, placed.size, band.x
    step = (-(-h * w * size // LINE) | 1) * LINE
    mine = Operand(c * step, step, w * size, size, channels_last=False, channels_first=True)
    scratch.take(X_BAND, band.n * c * step)
    # Rows without a gap between them are one line.
    lines, length = (1, h * w) if x.at.h == w * size else (h, w)
    images = (offsets("src", "dst")((image * x.at.n, image * mine.n) for image in range(band.n)),)
    n, m = (c, x.at.c, mine.c), (lines, x.at.h, mine.h)
    nest = copying(placed.elem, (x.base, x.offset), (X_BAND, 0), length, n=n, m=m, lists=images)
    return nest, PlacedOperand(X_BAND, 0, mine)


def _nests(placed, band, panels, taps, takes_strips, scratch):
    rows, forward = rows_of(band.w, placed.forward), placed.forward
    holes = _hole_rows(band, forward)
    if holes:
        # Written first, all of a row at once; what has taps is then written over.
        yield _nest(placed, band, None, placed.w[2:], holes, [everything(band.w.out)], scratch)
    if takes_strips and band.h.n and strips.is_whole(band.w, placed.lanes):
        copied, found = strips.packing(placed, band, scratch)
        yield copied
        blocks, s = blocks_of(placed.c_dst, band.w.s), band.w.s
        yield strips.product(placed, band, found, panels, blocks, lambda mr: across(mr, s), scratch)
    elif rows:
        yield _nest(placed, band, panels, taps, segments.segments(band.h, forward), rows, scratch)


def _takes_strips(problem, by_columns):
    """Whether rows are computed from strips of pixels; several channels follow one another in the panels then."""
    s, (_, c_dst) = problem.geometry.w.s, problem.channels
    return (
        not by_columns
        and c_dst >= FEW
        and s <= MOST_INTERLEAVED
        and not _joins(problem, False)
        and strips.takes_strips(problem, sum(number for *_, number in blocks_of(c_dst, s)))
    )


def _nest(placed, band, panels, taps, h, rows, scratch):
    s, (tap_h, tap_w) = len(rows[0].own), taps
    weight = (W, 0) if panels is None else (PANELS, 0)
    fixed = {"w": weight, "w_g": placed.w_group if panels is None else panels.group, "x_c": band.x.at.c}
    fixed |= {"y_c": band.y.at.c, "w_r": placed.w_dst if panels is None else placed.size}
    lists = (
        segments.listed(ROWS, h, band.x.at.h, band.y.at.h, tap_h),
        row_list(rows, band.y.at.w, tap_w),
        _blocks(placed, band, panels, (s, 1 if placed.forward else band.w.s), scratch),
    )
    return Nest(kernel.NAMES[s], pixel_products.of_band(placed, band, fixed), lists)


def _blocks(placed, band, panels, steps, scratch):
    """The list of blocks of channels, those that are alike together."""
    s, step = steps
    values, joined, size = [], not band.y.at.channels_first, placed.size
    for place, (start, mr, number) in enumerate(blocks_of(placed.c_dst, s)):
        nv = across(mr, s)
        needs = kernel.scratch(placed.lanes * size, mr, s, nv)
        scratch.take(PLACES, needs["places"])
        scratch.take(TOTALS, needs["totals"])
        address = entry(kernel.direct_rows, placed.elem, mr, s, nv, joined, step, placed.problem.activation.name)
        if panels is None:
            weight = start * placed.w_dst, mr * placed.w_dst, placed.w_src
        else:
            weight = panels.block(place), placed.c_src * mr * size, mr * size
        values.append((address, start * band.y.at.c, start * size, number, *weight))
    return Rows(("entry", "y", "bias", "blocks", "w", "w_b", "w_c"), values)
