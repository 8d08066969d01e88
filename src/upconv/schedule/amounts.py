"""How much of everything a problem takes, counted from integers alone: no table is built and no kernel compiled.

What is counted is what a row of `upconv.machine` has rates for, so that a prediction is a sum of quotients.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..geometry import ceil_div
from ..kernels import transpose
from ..layouts import CHANNELS_FIRST, CHANNELS_LAST, TAPS_LAST, WEIGHT_CHANNELS_LAST
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.program import LINE
from . import bands
from .segments import live_range, tally


class PixelWork(NamedTuple):
    """The tasks of all bands, counted as if the bands were alike: (how many, pixels of one, products of a pixel)."""

    kinds: list[tuple[int, int, int]]

    @property
    def tasks(self):
        return sum([count for count, _, _ in self.kinds])

    @property
    def places(self):
        """Pixels that are listed."""
        return sum([count * pixels for count, pixels, _ in self.kinds])

    def products(self, mr):
        """Products of a column for tiles of mr pixels, the rest of the last tile included."""
        return sum([count * -(-pixels // mr) * mr * products for count, pixels, products in self.kinds])

    @property
    def panel_rows(self):
        """Rows of a panel, of one source channel each, that all tasks read."""
        return sum([count * products for count, _, products in self.kinds])

    def tiles(self, mr):
        return sum([count * -(-pixels // mr) for count, pixels, _ in self.kinds])


def pixel_work(problem: Problem, across: Iterable[tuple[int, int, int]], channels, band_bytes=None) -> PixelWork:
    """The tasks of a problem whose segments of columns are (places, taps, how many) of `across`.

    Args:
        channels: of the source, of a group.
        band_bytes: the `most` of the bands.
    """
    n, tasks = problem.geometry.n, []
    for here, rows, taps_h, number_h in down(problem, band_bytes):
        for cols, taps_w, number_w in across:
            pixels = max(1, n * rows * cols // here)
            tasks.append((here * number_h * number_w, pixels, taps_h * taps_w * channels))
    return PixelWork(tasks)


# Several ways ask.
@lru_cache(maxsize=64)
def down(problem: Problem, band_bytes=None) -> list[tuple[int, int, int, int]]:
    """(in how many bands they are, places, taps, how many) of the segments of rows that are alike."""
    forward = problem.operation == "forward"
    found = tally(problem.geometry.h, forward)
    most = max((places for places, _, _ in found), default=1)
    many = bands.counts(problem.geometry, forward, problem.itemsize, band_bytes)
    return [(in_bands(many, rows, most), rows, taps, number) for rows, taps, number in found]


def in_bands(many, rows, most) -> int:
    """In how many bands a segment of so many rows is, where the longest has `most`; each has a row of it at least.

    Args:
        many: of images, rows and columns of bands: how many there are.
    """
    n, down, across = many
    # Segments at a border are in few bands only.
    return max(1, min(n * down * across * rows // most, n * across * rows))


class Tiles(NamedTuple):
    """Blocks of columns that are computed in the same tiles: pixels, vectors of columns, how many such blocks."""

    pixels: int
    vectors: int
    number: int


def gemm_work(counted: PixelWork, tiles: Iterable[Tiles], groups=1, holes=0) -> dict[str, float]:
    """What `kernels.gemm` does for blocks of columns of each of some groups, and for pixels without taps."""
    amounts: dict[str, float] = {"places": 0, "tasks": 0, "tiles": 0}
    for mr, wide, number in tiles:
        amounts["places"] += number * groups * (counted.places + holes)
        amounts["tasks"] += number * counted.tasks
        amounts["tiles"] += number * groups * (counted.tiles(mr) + holes / mr)
        amounts[f"gemm{wide}"] = number * groups * counted.products(mr) * wide
    return amounts


def taps_begun(counted: PixelWork, tiles: Iterable[Tiles], channels, groups=1) -> float:
    """Taps that the tiles of `gemm_work` begin, of so many channels of the source each."""
    return groups * sum(each.number * counted.products(each.pixels) / (each.pixels * channels) for each in tiles)


# A second-level cache of today: what is no larger stays in it from task to task.
NEAR_BYTES = 1 << 20
# What stays in a first-level cache beside the pixels that it is multiplied by.
FIRST_BYTES = 24 << 10
# Packing writes a line for each tap of a source channel. If these are more than so many bytes, they leave the cache
# before the next channel writes beside them, and it takes so many times as long.
FAR_TAPS_BYTES, FAR_TAPS = 128 << 10, 5
# More channels than so many that lie a multiple of so many bytes apart share too few sets of the first-level cache.
FEW_WAYS, CROWDING = 8, 4096


def far(nbytes) -> float:
    """Which part of so many bytes, read again and again beside a band, comes from far away.

    >>> far(1 << 20), far(3 << 19), far(9 << 20)
    (0.0, 0.5, 1.0)
    """
    return min(1.0, max(0.0, nbytes / NEAR_BYTES - 1))


def read_again(problem: Problem, panel_rows, columns, nbytes=None) -> float:
    """Bytes of panels that come from far away, each time that a task reads them.

    Args:
        nbytes: of what is used before the next is packed, if that is not the whole weight.
    """
    g = problem.geometry
    part = far(math.prod(g.weight_shape) * problem.itemsize if nbytes is None else nbytes)
    return part * panel_rows * g.groups * columns * problem.itemsize


def in_pieces(problem: Problem, blocks) -> int:
    """Bytes of a result that does not stay near, to whose pixels each of some blocks of channels adds a piece."""
    nbytes = math.prod(problem.result_shape) * problem.itemsize
    return nbytes if blocks > 1 and nbytes > NEAR_BYTES and problem.layout.startswith("nhwc") else 0


def moved(
    problem: Problem,
    *,
    channels_last: bool,
    packs: bool,
    reads=False,
    writes=False,
    exchanged=0,
    whole=True,
) -> dict[str, float]:
    """What goes through memory: the operands, maps that are transposed on the way, a weight that is packed.

    Args:
        channels_last: how the kernels want both maps.
        packs: whether they want the weight packed.
        reads, writes: whether they take a map of the other layout as it lies all the same.
        whole: whether taps that no pixel meets are packed, too.
        exchanged: what `exchanged` counts, where they want height and width exchanged.
    """
    transposed, crowded, converted = _of_maps(problem, channels_last, reads, writes)
    return {
        "transposed": exchanged or transposed,
        "transposed_crowded": crowded,
        "converted_bands": 0 if exchanged else converted,
        "packed": _packed(problem, whole) if packs and not problem.prepared else 0,
        "bytes": problem.bytes,
        "calls": 1,
    }


# Most ways ask, in one order or the other.
@lru_cache(maxsize=64)
def _of_maps(problem, channels_last, reads, writes):
    """Bytes of the maps that are transposed, of those of which channels crowd the cache, and of those converted."""
    source, result = _transposed_bytes(problem, channels_last)
    some = [
        shape
        for shape, moves in zip(problem.map_shapes, (source and not reads, result and not writes), strict=True)
        if moves
    ]
    transposed = (0 if reads else source) + (0 if writes else result)
    converted = _converted(problem, transposed // problem.itemsize) if problem.maps else 0
    return transposed, _crowded(problem, some) if channels_last else 0, converted


def _packed(problem, whole):
    """Bytes of a weight that is packed; not `whole`, of the taps that a pixel meets."""
    g, (_, c_dst) = problem.geometry, problem.channels
    weight = math.prod(g.weight_shape) * problem.itemsize
    if g.h.k * g.w.k * min(c_dst * problem.itemsize, LINE) > FAR_TAPS_BYTES and problem.b_layout == TAPS_LAST:
        weight *= FAR_TAPS
    return weight if whole or problem.operation != "forward" else weight * _live_share(problem)


def exchanged(problem: Problem, lanes, band_bytes=None, groups=1) -> int:
    """Bytes of both maps on their way to a problem whose height and width are exchanged, however they lie.

    So many groups are computed one after another, each from its own channels. Planes go through squares of whole
    vectors, which bands of few rows do not fill; what is not there is half as dear. Of pixels few channels take as long
    as a vector of them. Planes of few columns go through no squares: rows of them follow one another, so they are
    separated, or interleaved, in whole vectors.
    """
    some, found = bands.largest(problem.geometry, problem.operation == "forward", problem.itemsize, most=band_bytes), 0
    many = [ceil_div(length, step) for length, step in zip(problem.result_shape[2:], some[1:], strict=True)]
    few = transpose.are_few, transpose.is_few
    for (n, c, *sides), layout, is_few in zip(problem.map_shapes, problem.map_layouts, few, strict=True):
        area = math.prod(sides)
        if layout.startswith("nhwc"):
            c = max(c, lanes * groups)
        elif layout != CHANNELS_FIRST or not is_few(sides[0], lanes):
            each = (ceil_div(length, count) for length, count in zip(sides, many, strict=True))
            squares = (count * ceil_div(side, lanes) * lanes for side, count in zip(each, many, strict=True))
            area = (area + math.prod(squares)) // 2
        found += n * c * area * problem.itemsize
    return found


def _crowded(problem, shapes):
    """Bytes of the channels-first maps that are transposed of which channels crowd the cache."""
    size = problem.itemsize
    return sum(
        math.prod(shape) * size
        for shape in shapes
        if shape[1] > FEW_WAYS and shape[2] * shape[3] * size % CROWDING == 0
    )


def _live_share(problem):
    """Which part of the taps is packed in a call: of rows of taps that lie together all, or none."""
    (first_h, end_h), (first_w, end_w) = live_range(problem.geometry.h), live_range(problem.geometry.w)
    k_h, k_w = problem.geometry.h.k, problem.geometry.w.k
    return (end_h - first_h) / k_h * ((end_w - first_w) / k_w if problem.b_layout == WEIGHT_CHANNELS_LAST else 1)


def _converted(problem, transposed):
    """Bytes of maps of halves and of what they become, but for values that are converted as they are transposed."""
    # Pairs are multiplied, and what they give is written, as bfloat16.
    if problem.pairs:
        return 0
    left = max(0, sum(map(math.prod, problem.map_shapes)) - transposed)
    return left * (problem.map_itemsizes[1] + problem.itemsize)


def is_transposed(shape, layout, channels_last) -> bool:
    """Whether a map is transposed where kernels want it channels-last or not."""
    return shape[1] > 1 and shape[3] > 1 and layout.startswith("nhwc") != channels_last


def _transposed_bytes(problem, channels_last):
    """Bytes of both maps that are transposed where kernels want them channels-last or not."""
    found, lanes = [], isa().lanes(problem.itemsize)
    # Other halves are float32 on one side.
    sizes = problem.map_itemsizes if problem.pairs else (problem.itemsize, problem.itemsize)
    for (n, c, h, w), layout, size in zip(problem.map_shapes, problem.map_layouts, sizes, strict=True):
        # Few channels take as long as a vector of them, but for those that are interleaved or separated.
        is_interleaved = layout in (CHANNELS_FIRST, CHANNELS_LAST) and transpose.is_few(c, lanes)
        as_many = c if is_interleaved else max(c, lanes)
        nbytes = n * as_many * h * w * size
        found.append(nbytes if is_transposed((n, c, h, w), layout, channels_last) else 0)
    source, result = found
    return [int(source * _part_of_rows(problem)) if source else 0, result]


def _part_of_rows(problem):
    """Which part of the rows of a source lies in a band: a stride may leave some to no tap, also between bands."""
    g = problem.geometry
    reach = g.h.d * (g.h.k - 1) + 1
    if problem.operation != "grad_input" or reach >= g.h.s:
        return 1
    _, rows, _ = bands.largest(g, False, problem.itemsize)
    return (g.h.s * (rows - 1) + reach) / (g.h.s * rows)
