"""As `gemm`, with all phases of a place in one tile: for results of few channels, whatever the kernel and the stride.

The s_h x s_w outputs that lie between two stamps read the same pixels of the input, but not all of them all: under
k3 s2 one pixel reaches all four, two reach two, one reaches one. A tile holds the sums of all of them, so an input is
loaded once for all that it reaches, and nothing is begun and ended for each phase. Outputs between the stamps of a
kernel smaller than the stride get their bias in the same pass.
"""

import itertools
import math
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from ..geometry import Axis, ceil_div
from ..kernels import phase_blocks as kernel
from ..phases import phases
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import PANELS, PLACES, TOTALS, Program, Rows, Stage
from ..schedule import bands, pixel_products, segments
from ..schedule.amounts import in_bands, in_pieces, moved, read_again
from ..schedule.panels import Panels, even_blocks
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("forward",)
# Vectors of sums that a tile has for each pixel, by the number of vector registers.
MOST_VECTORS = {32: 8, 16: 6}
# Phases of a tile: of more, the addresses of their weights leave room for few pixels.
MOST_PHASES = 4
# Taps of a phase, and phases that are segments of their own: those at the ends of an axis lack any number of taps.
MOST_TAPS = 8
# Multiply-adds that are under way at once: a tap of fewer sums than that waits for them.
CHAINS = 8
# The first-level cache keeps so much of the weight from tile to tile; of more, so many bytes come in the time of a
# multiply-add.
KEPT_BYTES, STREAMED_BYTES = 24 << 10, 256
# Multiply-adds that could be made while a tap, or a tile and each of its sums and pixels, are begun and ended.
TAP, TILE, SUM, PIXEL = 8, 24, 2, 6
# What a pixel more costs a tile that is one of several for it: the source read, the result written in smaller pieces.
PIECE = 60
# Bands that are transposed on the way take so much longer than where a tile writes one phase at a time.
TRANSPOSED = 1.5
# Maps that are not transposed on the way need not stay in the cache.
IN_PLACE = 8
# Whether maps of halves are converted band by band, or multiplied as pairs.
CONVERTS_MAPS = MULTIPLIES_PAIRS = True


def why_never(problem: Problem) -> list[str]:
    g = problem.geometry
    if g.h.s == g.w.s == 1:
        return ["with stride 1 there is one phase"]
    if g.w.s > 1 and g.w.d > 1:
        return [f"with dilation {g.w.d} along the row phases read other inputs"]
    if g.w.s == 1 and g.h.d > 1:
        return [f"with dilation {g.h.d} down the columns phases read other inputs"]
    taps = max(ceil_div(g.h.k, g.h.s), ceil_div(g.w.k, g.w.s))
    if taps > MOST_TAPS:
        return [f"lists at most {MOST_TAPS} taps of a phase on an axis; here there are {taps:,}"]
    if not _tiles(*_stamps(g), isa()):
        return [f"{_live(g.h):,} by {_live(g.w):,} phases with taps are more than a tile has"]
    return []


def why_not_automatic(problem: Problem) -> list[str]:
    if not isa().fused:
        return [f"nobody has timed it on {isa().name}, which multiplies and adds in two instructions"]
    return []


class Stamp(NamedTuple):
    """What a tile depends on of an axis."""

    k: int
    s: int
    d: int


def _live(axis):
    """Phases of an axis that have taps: the first ones of a block."""
    return min(axis.k, axis.s)


def _stamps(g):
    """What a tile depends on of both axes."""
    return Stamp(g.h.k, g.h.s, g.h.d), Stamp(g.w.k, g.w.s, g.w.d)


@lru_cache(maxsize=512)
def _tiles(h, w, isa):
    """(vectors of channels, phases down, phases across) of the tiles that there may be."""
    across = _live(w)
    downs = {_live(h)} if h.d == 1 else set()
    # Phases down the columns may be segments of their own beside fused ones along the row, while they are few.
    if w.s > 1 and h.s <= MOST_TAPS:
        downs.add(1)
    return [
        (nv, down, across)
        for nv, down in itertools.product(range(1, 5), sorted(downs))
        if down * across <= MOST_PHASES
        and nv * down * across <= MOST_VECTORS[isa.registers]
        and kernel.height(isa, nv, (down, across))
    ]


def _fuses_down(h, down):
    """Whether a tile has all phases of a column."""
    return h.s > 1 and h.d == 1 and down == _live(h)


def _partly(g, down):
    """For either axis, how many phases of a tile its last tap reaches; 0 where every tap reaches all."""
    together = _fuses_down(g.h, down), g.w.s > 1
    return tuple(
        axis.k % axis.s if fused and axis.k > axis.s else 0 for axis, fused in zip((g.h, g.w), together, strict=True)
    )


def _reaches(axis, together):
    """For each time that an axis is gone through: how many phases each of its taps reaches."""
    if together:
        rest = (axis.k % axis.s,) if axis.k > axis.s and axis.k % axis.s else ()
        return [(_live(axis),) * max(1, axis.k // axis.s) + rest]
    return [(1,) * len(range(phase, axis.k, axis.s)) for phase in range(min(axis.k, axis.s))]


@lru_cache(maxsize=4096)
def _effort(c, lanes_bytes, tile, mr, down, across):
    """(multiply-adds of vectors of a tile, those it could make while it waits, bytes of weight that come from far off).

    Args:
        down, across: how many phases each tap of either axis reaches.
    """
    products = [tile[0] * some_h * some_w for some_h, some_w in itertools.product(down, across)]
    slots = sum(c * max(mr * each, CHAINS, mr + each) + TAP for each in products)
    made, nbytes = c * mr * sum(products), c * sum(products) * lanes_bytes
    waits = slots - made + TILE + mr * (SUM * math.prod(tile) + PIXEL)
    return made, waits, nbytes if nbytes > KEPT_BYTES else 0


@lru_cache(maxsize=512)
def _tile_of(h, w, c_src, c_dst, size, isa):
    vectors, lanes = ceil_div(c_dst, isa.lanes(size)), isa.lanes(size)

    def effort(tile):
        nv, *shape = tile
        mr = kernel.height(isa, nv, shape)
        together = _fuses_down(h, shape[0]), w.s > 1
        total = 0
        for down, across in itertools.product(_reaches(h, together[0]), _reaches(w, together[1])):
            made, waits, nbytes = _effort(c_src, lanes * size, tile, mr, down, across)
            total += made + waits + mr * PIECE + nbytes / STREAMED_BYTES
        return ceil_div(vectors, nv) * total / mr

    return min(_tiles(h, w, isa), key=effort)


def tile_of(problem: Problem) -> tuple[int, int, int]:
    """The tile that takes least; it depends on nothing of a map's size."""
    return _tile_of(*_stamps(problem.geometry), *problem.channels, problem.itemsize, isa())


def weight_form(problem: Problem) -> Panels:
    g = problem.geometry
    shape = problem.row.element, problem.itemsize, g.groups, *problem.channels, g.h.k, g.w.k
    return _panels(*shape, tile_of(problem)[0])


# It depends on no size of a map.
@lru_cache(maxsize=256)
def _panels(elem, size, groups, c_src, c_dst, k_h, k_w, nv):
    blocks = even_blocks(c_dst, isa().lanes(size), nv)
    return Panels(elem, size, groups, c_src, c_dst, k_h, k_w, 1, blocks)


@lru_cache(maxsize=512)
def blocks(axis: Axis, together) -> tuple:
    """(Segment, first phase, end, which of its taps reaches the first phases alone, or -1) of an axis.

    Args:
        together: whether a place is a block of all phases; else each phase is segments of its own.
    """
    if not together:
        return tuple((segment, 0, 1, -1) for phase in phases(axis) for segment in phase.segments)
    last = axis.k // axis.s if axis.k > axis.s and axis.k % axis.s else None
    return tuple(
        (segment, low, high, segment.taps.index(last) if last in segment.taps else -1)
        for segment, (low, high) in segments.phase_blocks(axis)
    )


def work(problem: Problem) -> dict[str, float]:
    g, (c_src, c_dst), size = problem.geometry, problem.channels, problem.itemsize
    tile = nv, down, across = tile_of(problem)
    mr, line = kernel.height(isa(), nv, (down, across)), isa().lanes(size) * size
    number, (many, again) = len(weight_form(problem).blocks), _bands(problem, together=_fuses_down(g.h, down))
    amounts: dict[str, float] = dict.fromkeys(("phase_blocks", "phase_blocks_waits", "phase_blocks_bytes", "tasks"), 0)
    lists = _counted(g.h, _fuses_down(g.h, down)), _counted(g.w, g.w.s > 1)
    most, panel_rows = max((rows for rows, _, _ in lists[0]), default=1), 0
    for (rows, taps_h, many_h), (cols, taps_w, many_w) in itertools.product(*lists):
        here, alike = in_bands(many, rows, most), many_h * many_w
        pixels = max(1, g.n * rows * cols // here)
        made, waits, nbytes = _effort(c_src, line, tile, mr, taps_h, taps_w)
        tiles = alike * here * ceil_div(pixels, mr) * g.groups * number
        amounts["phase_blocks"] += tiles * made * again
        amounts["phase_blocks_waits"] += tiles * waits * again
        amounts["phase_blocks_bytes"] += tiles * nbytes * again
        amounts["tasks"] += alike * here * number
        panel_rows += alike * here * sum(taps_h) * sum(taps_w) * c_src
    amounts["phase_blocks_holes"] = number * nv * g.groups * g.n * (g.h.out * g.w.out - segments.with_taps(g.h, g.w))
    amounts["pieces"] = in_pieces(problem, number * g.groups)
    amounts["panels"] = read_again(problem, panel_rows, c_dst)
    amounts |= moved(problem, channels_last=True, packs=True, whole=False)
    amounts["transposed"] *= TRANSPOSED
    return amounts


@lru_cache(maxsize=512)
def _counted(axis, together):
    """((places, how many phases each of their taps reaches, how many such segments), ...) of an axis."""
    kinds = Counter((found[0].count, _reached(axis, together, found)) for found in blocks(axis, together))
    return tuple((*kind, number) for kind, number in kinds.items())


def _reached(axis, together, found):
    """How many phases each tap of a segment reaches."""
    segment, _, _, part = found
    every = _live(axis) if together else 1
    return tuple(axis.k % axis.s if number == part else every for number in range(len(segment.taps)))


def _most(in_place):
    return IN_PLACE * bands.BAND_BYTES if in_place else None


def _bands(problem, together):
    """(how many bands there are for one thread of images, rows and columns, how often a row of blocks is computed)."""
    g, lie_last = problem.geometry, all(layout.startswith("nhwc") for layout in problem.map_layouts)
    in_place = lie_last and (problem.pairs or not problem.maps)
    _, down, _ = cut = bands.counts(g, True, problem.itemsize, _most(in_place))
    # Where blocks are not flush with the result, each band begins and ends inside of one.
    again = 1 + (down - 1) * g.h.s / g.h.out if together and g.h.crop_lo % g.h.s else 1
    return cut, again


def program(placed: PlacedProblem) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    panels, scratch = weight_form(placed.problem), bands.Scratch()
    tile = tile_of(placed.problem)
    in_place = placed.x.channels_last and placed.y.channels_last and (placed.rounds or not placed.halves)
    compute = bands.grids(
        placed,
        bands.in_layout(placed, scratch, True, lambda band: [_nest(placed, band, panels, tile)]),
        placed.source,
        placed.result,
        _most(in_place),
    )
    if placed.packs:
        scratch.take(PANELS, panels.nbytes)
    nv, *shape = tile
    needs = kernel.scratch(placed.lanes * placed.size, kernel.height(isa(), nv, shape), nv, shape)
    stages = [*([panels.packing(placed)] if placed.packs else []), Stage(compute)]
    return Program(stages, {**scratch.sizes, PLACES: needs["places"], TOTALS: needs["totals"]}, placed.seconds)


def _nest(placed, band, panels, tile):
    g, activation = placed.g, placed.problem.activation.name
    nv, down, across = tile
    mr = kernel.height(isa(), nv, (down, across))
    together = _fuses_down(g.h, down), g.w.s > 1
    some = _partly(g, down)
    lists, steps = [], (panels.row, panels.tap)
    names = (segments.ROWS, segments.COLS)
    for letter, axis, fused, name, step in zip("hw", (band.h, band.w), together, names, steps, strict=True):
        found, many = blocks(axis, fused), axis.s if fused else 1
        x, y = (getattr(operand.at, letter) for operand in (band.x, band.y))
        values = segments.values([each[0] for each in found], x, y, step * many)
        more = tuple(f"{field}_{letter}" for field in ("first", "end", "part"))
        lists.append(Rows(name + more, [value + each[1:] for value, each in zip(values, found, strict=True)]))
    kinds = []
    for number, block in enumerate(panels.blocks):
        wide = block.width // placed.lanes
        shape = mr, wide, (down, across), some
        address = entry(kernel.phase_blocks, placed.factors, *shape, activation, placed.rounds)
        y, bias = block.first * placed.written, block.first * placed.size
        kinds.append((address, y, panels.block(number), bias, block.columns))
    lists.append(Rows(("entry", "y", "w", "bias", "columns"), kinds))
    more = {"w_g": panels.group, "tap_h": panels.row, "tap_w": panels.tap}
    more |= {"y_ph": band.y.at.h, "y_pw": band.y.at.w}
    return pixel_products.Nest(kernel.FIELDS, pixel_products.of_band(placed, band, more), tuple(lists))
