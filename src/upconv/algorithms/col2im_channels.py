"""All taps as columns of one product, whose sums are added up where they belong: for few channels of the result.

A phase of few channels fills no vector, and reads every input for little work. The taps of all phases together are
k_h * k_w times as many columns, whole vectors of them, and an input is read once for all. The products of a band stay
in the second-level cache until they are added up: no column buffer in memory, and no product that belongs to no output
is looked at.
"""

import itertools
from functools import lru_cache
from operator import itemgetter

from ..geometry import ceil_div
from ..kernels import col2im_channels, gemm
from ..layouts import CHANNELS_FIRST, CHANNELS_SLICED, Operand
from ..phases import Segment
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, PANELS, SUMS, M, Program, Rows, Stage
from ..schedule import bands, by_group, pixel_products, segments
from ..schedule.amounts import FIRST_BYTES, moved
from ..schedule.moves import PlacedOperand
from ..schedule.panels import Block, Panels
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("forward",)
# Calls that it takes as long as from Python: the bias is spread over the taps there.
CALLS = 1.2
# How many times as long a vector takes of which the few channels of a group alone are written.
ALONE = 1.8
# How many times as long it takes as elsewhere to read a panel that does not stay in the first-level cache: products of
# all taps fill bands of few pixels.
AGAIN = 2
# Blocks of them are listed.
MOST_COLUMNS = 2048
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem) -> list[str]:
    g = problem.geometry
    if by_group.refusals(problem):
        return by_group.refusals(problem)
    if g.groups > 1 and problem.layout == CHANNELS_FIRST:
        return ["adds up groups where they lie, channels-last"]
    columns = _columns(by_group.of_one(problem).geometry)
    if columns > MOST_COLUMNS:
        return [f"makes at most {MOST_COLUMNS:,} columns of all taps and channels; here there are {columns:,}"]
    return []


def widths(columns, lanes) -> list[tuple[int, int]]:
    """(vectors of a block, how many such blocks), as even as can be.

    >>> sum(wide * number for wide, number in widths(75, 8))
    10
    """
    vectors = ceil_div(columns, lanes)
    count = ceil_div(vectors, max(gemm.heights(isa())))
    least, more = divmod(vectors, count)
    return [(wide, number) for wide, number in ((least + 1, more), (least, count - more)) if number]


def blocks_of(columns, lanes) -> list[Block]:
    """The blocks of so many columns."""
    wide = [each * lanes for each, number in widths(columns, lanes) for _ in range(number)]
    starts = itertools.accumulate(wide, initial=0)
    return [Block(start, min(each, columns - start), each) for start, each in zip(starts, wide, strict=False)]


def weight_form(problem: Problem) -> Panels:
    """One panel a group for all taps: they are phases of a kernel of one row."""
    g, (c_in, c_out) = problem.geometry, problem.channels
    return _panels(problem.row.element, problem.itemsize, g.groups, c_in, c_out, g.h.k * g.w.k)


# It depends on no size of a map.
@lru_cache(maxsize=256)
def _panels(elem, size, groups, c_in, c_out, taps):
    blocks = tuple(blocks_of(taps * c_out, isa().lanes(size)))
    return Panels(elem, size, groups, c_in, c_out, 1, 1, taps, blocks)


def work(problem: Problem) -> dict[str, float]:
    groups = problem.geometry.groups
    amounts = {name: groups * amount for name, amount in _work_of_one(by_group.of_one(problem)).items()}
    amounts |= moved(problem, channels_last=True, packs=True)
    if groups > 1:
        amounts["transposed"] = by_group.transposed(problem, True)
        amounts["folded"] *= ALONE
    return amounts | {"calls": CALLS}


def _work_of_one(problem):
    """What the products of one group take, and their sums."""
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    some_n, some_rows, some_cols = bands.largest(g, True, problem.itemsize, most=_most(problem))
    (many_h, rows, _), (many_w, cols, _) = bands.overlapping(g.h, some_rows), bands.overlapping(g.w, some_cols)
    count, pixels = ceil_div(g.n, some_n) * many_h * many_w, g.n * rows * cols
    amounts = dict.fromkeys(("places", "tasks", "tiles", "gemm_taps"), 0)
    panel = _columns(g) * g.c_in * problem.itemsize
    amounts["panels"] = 0 if panel <= FIRST_BYTES else AGAIN * (count - 1) * panel
    for wide, number in widths(_columns(g), lanes):
        mr = gemm.heights(isa())[wide]
        tiles = number * ceil_div(pixels, mr)
        amounts["places"] += number * pixels
        amounts["tasks"] += number * count
        amounts["tiles"] += tiles
        amounts["gemm_taps"] += tiles
        amounts[f"gemm{wide}"] = tiles * mr * g.c_in * wide
    down, fused = segments.tally(g.h, True), _fused(problem)
    across = segments.fused_tally(g.w) if fused > 1 else segments.tally(g.w, True)
    (places_h, taps_h, number_h), (_, _, number_w) = _sums(down), _sums(across)
    amounts["tasks"] += count * number_h * number_w
    holes = pixel_products.hole_work(problem)
    # Products are written, for which their lines are read as well, and read again.
    amounts["copied_bands"] = holes.copied + 3 * pixels * _pitch(problem)
    amounts["folded"] = holes.places * sum(ceil_div(columns, lanes) for _, columns in _pieces(g.c_out, lanes))
    for _, columns in _pieces(fused * g.c_out, lanes):
        nv = ceil_div(columns, lanes)
        places_w, taps_w, _ = _sums([(col2im_channels.executed(cols, nv), *more) for cols, *more in across])
        amounts["folded"] += g.n * nv * (taps_h * taps_w + places_h * places_w)
    return amounts


def _sums(tally):
    """(places, taps of all places, segments) of an axis."""
    found = [(places * number, places * taps * number, number) for places, taps, number in tally]
    return tuple(map(sum, zip(*found, strict=True))) if found else (0, 0, 0)


def program(placed: PlacedProblem) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    panels, scratch, compute = weight_form(placed.problem), bands.Scratch(), []
    one, most = by_group.of_one(placed.problem), _most(by_group.of_one(placed.problem))
    for group, part, source, result in by_group.parts(placed):

        def make(band, group=group, part=part):
            return _nests(part, band, panels, group, scratch)

        nests = bands.in_layout(part, scratch, True, make)
        compute += bands.grids(part, nests, source, result, most, bands.share_of_sources(part, most))
    # The bias of the products, which have none.
    scratch.take(SUMS, _pitch(one))
    stages = [*([scratch.packing(panels, placed)] if placed.packs else []), Stage(compute)]
    return Program(stages, {**scratch.sizes, **pixel_products.tile_scratch(placed, panels)}, placed.seconds)


def _columns(g):
    """Columns of the product: taps by channels of the result."""
    return g.h.k * g.w.k * g.c_out


def _pitch(problem):
    """Bytes from pixel to pixel of the products."""
    lanes = isa().lanes(problem.itemsize)
    return ceil_div(_columns(problem.geometry), lanes) * lanes * problem.itemsize


def _fused(problem):
    """How many phases of a row are added up together: those that read the same pixels, and lie side by side."""
    axis, has_gaps = problem.geometry.w, problem.layout == CHANNELS_SLICED
    return axis.s if axis.d == 1 and axis.k % axis.s == 0 and not has_gaps else 1


def _pieces(columns, lanes):
    """(first column, columns) of the pieces in which the columns of a place are added up."""
    most = col2im_channels.MOST_VECTORS * lanes
    return [(first, min(most, columns - first)) for first in range(0, columns, most)]


def _most(problem):
    """How many bytes of source and result a band has."""
    return bands.beside_products(problem.geometry, problem.itemsize, _pitch(problem))


def _nests(placed, band, panels, group, scratch):
    """The products of a band, places without taps, and the sums of all others."""
    size, products = placed.size, None
    if band.h.n and band.w.n:
        pitch = _pitch(placed.problem)
        row = band.w.n * pitch
        strides = Operand(band.h.n * row, size, row, pitch, channels_last=True, channels_first=False)
        # Whole vectors are read.
        scratch.take(M, band.n * band.h.n * row + placed.lanes * size)
        products = PlacedOperand(M, 0, strides)
        yield _product(placed, band, panels, group, products)
    band = bands.Band(band.n, band.h, band.w, products or band.x, band.y)
    yield from pixel_products.hole_nests(
        placed, band, scratch, lambda band, h, w: _added(placed, band, group, h, w, (0, 1), 1)
    )
    if products is None:
        return
    h, fused = segments.segments(band.h, True), _fused(placed.problem)
    if fused == 1:
        yield _added(placed, band, group, h, segments.segments(band.w, True), (0, 1), 1)
        return
    # Blocks of phases of which as many are kept are one nest: but for a crop, all of them.
    for kept, alike in itertools.groupby(segments.fused_segments(band.w), itemgetter(1)):
        yield _added(placed, band, group, h, [segment for segment, _ in alike], kept, fused)


def _product(placed, band, panels, group, products):
    """Columns of all taps for every pixel of the source."""
    all_rows, all_cols = (Segment(0, 1, axis.n, range(1), 0, 1, 0) for axis in (band.h, band.w))
    lists = (panels.kept.get_or_make("products", lambda: _block_rows(placed, panels)),)
    band = bands.Band(band.n, band.h, band.w, band.x, products)
    more = {"bias": (SUMS, 0), "w": (PANELS, group * panels.group), "w_g": 0}
    return pixel_products.product(placed, band, gemm.FIELDS, panels, [all_rows], [all_cols], lists, more)


def _block_rows(placed, panels):
    """The list of the blocks of columns of all taps, which have no activation."""
    values = []
    for number, block in enumerate(panels.blocks):
        shape = pixel_products.tile_of(block, placed.lanes)
        # Finer, since engines sum the columns of few pixels in more lanes.
        address = entry(gemm.gemm, placed.elem, *shape, 0, False, "none", False, False, 1)
        offset = block.first * placed.size
        values.append((address, offset, panels.block(number), offset, 0, block.width))
    return Rows(pixel_products.BLOCKS, values)


def _added(placed, band, group, h, w, kept, fused):
    """The sums of some segments; of `fused` phases those from kept[0] to kept[1] are inside the result."""
    g, size, activation = placed.g, placed.size, placed.problem.activation.name
    low, high = (phase * g.c_out for phase in kept)
    tap = g.c_out * size
    rows = segments.listed(segments.ROWS, h, band.x.at.h, band.y.at.h, g.w.k * tap)
    cols = segments.listed(segments.COLS, w, band.x.at.w, band.y.at.w, fused * tap)
    values = []
    for first, columns in _pieces(fused * g.c_out, placed.lanes):
        begin, end = max(0, low - first), min(columns, high - first)
        if begin < end:
            address = entry(col2im_channels.col2im_channels, placed.elem, ceil_div(columns, placed.lanes), activation)
            values.append((address, first * size, first * size, first * size, begin, end))
    lists = rows, cols, Rows(("entry", "x", "y", "bias", "first_column", "columns"), values)
    fields = pixel_products.of_band(placed, band, {"w": 0, "bias": (BIAS, group * tap)})
    return pixel_products.Nest(col2im_channels.FIELDS, fields, lists)
