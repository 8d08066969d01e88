"""The phases of a row along the vector, for strides as long as one: nothing is packed, and no plane transposed.

The weight is read as it lies, since the taps of a row are consecutive, and so are the columns that they reach: tap
`p + t*s` of input column `j - t` belongs to output column `j*s + p`. Both maps lie channels-first.
"""

from functools import lru_cache
from typing import NamedTuple

from ..geometry import Axis, ceil_div
from ..kernels import direct_phases as kernel
from ..kernels.epilogue import slope_field
from ..kernels.gemm import LONGEST_SUM, Numbers, longest_sum
from ..layouts import CHANNELS_FIRST, WEIGHT_CHANNELS_LAST
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, TOTALS, Nest, Program, Rows, Stage, V, W
from ..schedule import bands, segments
from ..schedule.amounts import down, moved
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("forward",)
# Whether its kernels take the weight in halves, and its bands make maps of halves float32 and back.
READS_HALVES = CONVERTS_MAPS = True
# Places in whose lines the parts of sums wait at a time: those of two vectors stay in a second-level cache.
WAITING = 512


class Phases(NamedTuple):
    """Phases of a row that are computed in the same way: `blocks` blocks of `width`, from p on, under `taps` taps.

    `across` is how many vectors a block has; one of a single vector is computed for a few channels at once. `rest`: not
    all vectors are full.
    """

    p: int
    width: int
    taps: int
    blocks: int
    across: int
    rest: bool


def why_never(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    if g.w.d > 1 and g.w.k > 1:
        refusals.append(f"taps {g.w.d} apart do not reach consecutive columns")
    if problem.b_layout == WEIGHT_CHANNELS_LAST:
        refusals.append("the taps of a row of the weight are not consecutive")
    taps = _most_rows(g.h) * ceil_div(g.w.k, g.w.s)
    if taps > LONGEST_SUM:
        refusals.append(f"the sum of {taps} taps would be longer than {LONGEST_SUM} products")
    return refusals


def why_not_automatic(problem: Problem) -> list[str]:
    if problem.layout.startswith("nhwc") and problem.geometry.c_out > isa().lanes(problem.itemsize):
        return ["makes planes; to transpose a result so large takes longer than to pack the weight"]
    return []


def _most_rows(h: Axis) -> int:
    """Taps of a column that an output has at most."""
    return ceil_div(h.k * h.g, h.s)


@lru_cache(maxsize=256)
def phases_of(w: Axis, lanes) -> tuple[Phases, ...]:
    """The phases of an axis in blocks of two vectors, and what is left of those that have as many taps.

    >>> [tuple(each) for each in phases_of(Axis(n=5, k=100, s=48), 16)]
    [(0, 4, 3, 1, 1, True), (4, 32, 2, 1, 2, False), (36, 12, 2, 1, 1, True)]
    """
    found, step = [], kernel.MOST_ACROSS * lanes
    for start, stop, taps in _kinds(w):
        blocks, left = divmod(stop - start, step)
        if blocks:
            found.append(Phases(start, step, taps, blocks, kernel.MOST_ACROSS, False))
        if left:
            across = ceil_div(left, lanes)
            found.append(Phases(stop - left, left, taps, 1, across, left % lanes > 0))
    return tuple(found)


def _kinds(w):
    """(first phase, end, taps) of the phases that outputs have and that have as many taps."""
    (whole, more), low = divmod(w.k, w.s), w.crop_lo % w.s
    # Of rows shorter than the stride, phases that no output has are not gone through.
    ends = low, min(w.s, low + w.out), max(0, low + w.out - w.s)
    live = ((0, w.s),) if w.out >= w.s else ((0, ends[2]), ends[:2])
    for start, stop, taps in ((0, more, whole + 1), (more, w.s, whole)):
        for first, end in live:
            if max(start, first) < min(stop, end):
                yield max(start, first), min(stop, end), taps


# A new size changes neither.
@lru_cache(maxsize=256)
def part_of(channels, taps) -> int:
    """How many channels are summed at once, under so many taps: sums as long as `gemm` has them, in its kernel's steps.

    >>> [part_of(channels, 4) for channels in (5, 12, 21, 514)]
    [5, 6, 8, 32]
    """
    longest = longest_sum(Numbers, channels, taps)
    most = min(longest + longest // 8, LONGEST_SUM)
    part = ceil_div(channels, max(1, ceil_div(channels * taps, most)))
    rounded = ceil_div(part, kernel.UNROLL) * kernel.UNROLL
    return min(channels, rounded if rounded * taps <= most else part)


def program(placed: PlacedProblem) -> Program:
    """The bands; there is nothing to pack."""
    scratch = bands.Scratch()
    nests = bands.in_layout(placed, scratch, False, lambda band: _nests(placed, band, scratch))
    # Each band reads all of the weight, so threads have one each.
    share = min(placed.threads, placed.share)
    compute = bands.grids(placed, nests, placed.source, placed.result, _band_bytes(placed.problem), share)
    return Program([Stage(compute)], scratch.sizes, placed.seconds)


def _band_bytes(problem):
    """The `most` of its bands: what is written in place need not fit."""
    in_place = problem.layout == CHANNELS_FIRST and not problem.maps
    return (bands.of_source if in_place else bands.beside_weight)(problem.geometry, problem.itemsize)


def _nests(placed, band, scratch):
    steps, holes = (band.x.at.h, band.y.at.h, placed.w[2]), segments.hole_rows(band.h)
    # Rows without taps first: of a large stride they are all rows.
    rows = [(segments.listed(segments.ROWS, holes, *steps),)] if holes else []
    rows += segments.live_rows(band.h, *steps)
    for each in phases_of(band.w, placed.lanes):
        common, channels = _common(placed, band, each, scratch), _channels(placed, band, each)
        for lists in rows:
            yield Nest(kernel.FIELDS, common, (channels, *lists))


def _common(placed, band, each, scratch):
    g, w, size = placed.g, band.w, placed.size
    w_size = placed.problem.weight_itemsize
    by_channel = _is_by_channel(placed, each)
    products = _most_rows(g.h) * each.taps
    part = part_of(placed.c_src, products)
    first, end = _places(w)
    lines = max(1, WAITING // (end - first)) if part < placed.c_src else 1 << 30
    x, y = band.x, band.y
    fields = {
        "x": (x.base, x.offset),
        "y": (y.base, y.offset),
        "w": (W, 0),
        "bias": (BIAS, 0),
        "c": placed.c_src,
        "part": part,
        "n": band.n,
        "lines": lines,
        "x_n": x.at.n,
        "x_c": x.at.c,
        "y_n": y.at.n,
        "w_t": w.s * w_size,
        "w_c": placed.w_src,
        "w_v": placed.w_dst if by_channel else placed.lanes * w_size,
        "y_v": y.at.c if by_channel else placed.lanes * size,
        "lanes": 0 if by_channel else placed.lanes,
        "bias_v": size if by_channel else 0,
        "s": w.s,
        "crop": w.crop_lo,
        "first": first,
        "end": end,
        "in_cols": w.n,
        "out_cols": w.out,
        "p": each.p,
        "width": each.width,
        "taps": each.taps,
        "blocks": each.blocks,
        "panel": (V, 0),
        "totals": (TOTALS, 0),
        "slope": slope_field(placed.elem, placed.problem.activation.slope) if placed.elem in ("f32", "f64") else 0,
    }
    for across, _ in _across(each, placed.c_dst):
        tall = kernel.heights(isa(), across)
        needs = kernel.scratch(placed.lanes * size, tall, across, part * products, end - first, lines)
        scratch.take(V, needs["panel"])
        if part < placed.c_src:
            scratch.take(TOTALS, needs["totals"])
    return fields


def _is_by_channel(placed, each):
    """Whether the vectors of a tile are of several channels."""
    return each.across == 1 and placed.c_dst > 1


def _channels(placed, band, each):
    """The list of channels, of all groups; those that are computed at once together."""
    by_channel = _is_by_channel(placed, each)
    step = kernel.MOST_ACROSS if by_channel else 1
    entries = {}
    for across, _ in _across(each, placed.c_dst):
        more = each.rest, *(placed.storage or ("",)), placed.problem.activation.name
        entries[across] = entry(kernel.direct_phases, placed.elem, kernel.heights(isa(), across), across, *more)
    values, c_dst, size = [], placed.c_dst, placed.size
    x_group, y_c, w_group, w_dst = placed.c_src * band.x.at.c, band.y.at.c, placed.w_group, placed.w_dst
    for group in range(placed.g.groups):
        for c in range(0, c_dst, step):
            number = group * c_dst + c
            across = min(step, c_dst - c) if by_channel else each.across
            row = entries[across], group * x_group, number * y_c, group * w_group + c * w_dst, number * size
            values.append(row)
    return Rows(("entry", "x", "y", "w", "bias"), values)


def work(problem: Problem) -> dict[str, float]:
    g, (c_src, c_dst), lanes = problem.geometry, problem.channels, isa().lanes(problem.itemsize)
    products = sums = masked = copied = tasks = tiles = 0
    most = _band_bytes(problem)
    beside = bands.counts(g, True, problem.itemsize, most)[2]
    found = down(problem, most)
    every = max((here for here, *_ in found), default=1)
    # Rows without taps, which are written as well.
    found = [*found, *((every, each.count, 0, 1) for each in segments.hole_rows(g.h))]
    for here, rows, taps_h, number_h in found:
        # Bands beside one another have parts of the same lines.
        lines = ceil_div(g.n * rows * beside, here)
        for each in phases_of(g.w, lanes):
            runs, part = _runs(g.w, each), part_of(c_src, _most_rows(g.h) * each.taps)
            for across, number in _across(each, c_dst):
                times = here / beside * number_h * g.groups * number * each.blocks * across
                tall, parts = kernel.heights(isa(), across), ceil_div(c_src, part) if taps_h else 1
                pixels = [(kernel.computed(count, lines, tall), taps) for count, taps in runs]
                products += times * taps_h * c_src * sum(count * taps for count, taps in pixels)
                sums += times * parts * sum(count for count, _ in pixels)
                masked += times * sum(count for count, _ in pixels) * each.rest
                tiles += times / across * parts * sum(kernel.tiles(count, lines, tall) for count, _ in runs)
                copied += times * beside * taps_h * c_src * each.taps
                tasks += here * number_h * g.groups * number
    amounts = moved(problem, channels_last=False, packs=False, whole=False)
    return amounts | {
        "direct_phases": products,
        "direct_phases_sums": sums,
        "direct_phases_masked": masked,
        "direct_phases_tiles": tiles,
        "direct_phases_copied": copied,
        "tasks": tasks,
    }


@lru_cache(maxsize=512)
def _runs(w, each):
    """(places, taps) of the runs of a row, those of the first block."""
    first, end = _places(w)
    return tuple(kernel.runs(each.taps, first, end, w.n, w.s, w.crop_lo, w.out, each.p, each.width))


def _places(w):
    """(first, end) of the places of a row."""
    return w.crop_lo // w.s, ceil_div(w.crop_lo + w.out, w.s)


def _across(each, channels):
    """(vectors across, how many such blocks there are of a group) of the blocks of some phases for all channels."""
    if each.across > 1 or channels == 1:
        return ((each.across, channels),)
    most = kernel.MOST_ACROSS
    return tuple((across, number) for across, number in ((most, channels // most), (1, channels % most)) if number)
