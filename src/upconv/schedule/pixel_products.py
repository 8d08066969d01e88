"""Nests of the kernels that put channels along the vector: segments of rows by segments of columns by blocks."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..geometry import Axis, ceil_div
from ..kernels import gemm
from ..kernels.epilogue import slope_field
from ..layouts import CHANNELS_SLICED
from ..phases import Segment, has_holes
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.once import once
from ..runtime.program import BIAS, PANELS, PLACES, TOTALS, Nest, Rows, V, address
from . import segments
from .amounts import Tiles
from .bands import Band, Scratch
from .moves import PlacedOperand, copying
from .panels import Block, Panels
from .placed_problem import PlacedProblem

# What the block list says of each block.
BLOCKS = ("entry", "y", "w", "bias", "first_column", "columns")

# A panel of more bytes does not stay in a second-level cache from tile to tile. Of smaller ones, down to half of this,
# sums that wait in memory cost more than they save.
NEAR_BYTES = 1 << 21

# Fewer rows without taps are not worth a line that is copied, nor are places without taps in other rows, unless most
# places are, of pixels that have no more bytes than so many.
LEAST_ROWS, SHORT_PIXEL = 4, 128

# Of longer pixels the machine foresees itself what is read, and prefetching costs up to a fortieth.
AHEAD_BYTES = 2048

# Values in the lines of ones and of zeros: more than any block of channels has.
ONES = 1024


def tile_of(block: Block, lanes) -> tuple[int, int]:
    """(pixels, vectors) of the tile of `kernels.gemm` for a block."""
    wide = block.width // lanes
    return gemm.heights(isa())[wide], wide


@lru_cache(maxsize=256)
def tiles_of(blocks: tuple[Block, ...], lanes) -> tuple[Tiles, ...]:
    """The tiles that blocks of columns are computed in."""
    return tuple(Tiles(*tile, number) for tile, number in Counter(tile_of(block, lanes) for block in blocks).items())


def kernels_of(placed: PlacedProblem, blocks: Sequence[Block]) -> list[int]:
    """The address of the kernel of every block."""
    h, w = placed.g.h, placed.g.w
    # The most of any segment.
    taps = ceil_div(h.k * h.g, h.s) * ceil_div(w.k * w.g, w.s) if placed.forward else h.k * w.k
    # Of a tap in a row, few channels are one part.
    few = ceil_div(w.k * w.g, w.s) if placed.forward else w.k
    pairs = placed.problem.pairs
    brief = gemm.brief_parts(taps, placed.c_src, pairs)
    whole_taps = not brief and few <= 1 and placed.c_src <= (gemm.LONGEST_SUM if pairs else gemm.WHOLE_TAP)
    # Brief kernels cut their sums by themselves.
    finer = 2 * (not brief and is_strided(placed))
    ahead = taps <= 1 and looks_ahead(placed)
    more = brief, False, placed.problem.activation.name, whole_taps, False, finer, ahead, placed.rounds
    return [entry(gemm.gemm, placed.factors, *tile_of(block, placed.lanes), *more) for block in blocks]


def is_strided(placed: PlacedProblem) -> bool:
    """Whether a problem is a gradient in the input under one tap, which reads some of the pixels."""
    h, w = placed.g.h, placed.g.w
    return not placed.forward and h.k == w.k == 1 < h.s * w.s


def looks_ahead(placed: PlacedProblem) -> bool:
    """Whether kernels under one tap prefetch pixels: short ones, of which all is read that lies between them."""
    return placed.c_src * placed.size <= AHEAD_BYTES and placed.g.groups == 1 and not is_strided(placed)


def tile_scratch(placed: PlacedProblem, panels: Panels) -> dict[int, int]:
    """What `kernels.gemm` needs for itself, by base."""
    return panels.kept.get_or_make("scratch", lambda: scratch_of_tiles(placed, panels.blocks))


def scratch_of_tiles(placed: PlacedProblem, blocks: tuple[Block, ...]) -> dict[int, int]:
    """What `kernels.gemm` needs for blocks of columns, by base."""
    needs = [gemm.scratch(placed.lanes * placed.size, *tiles[:2]) for tiles in tiles_of(blocks, placed.lanes)]
    return {PLACES: max(need["places"] for need in needs), TOTALS: max(need["totals"] for need in needs)}


def kernel_key(placed: PlacedProblem) -> tuple:
    """What the kernels of its blocks depend on, beside the form of the weight, which is that of an operation."""
    h, w = placed.g.h, placed.g.w
    return placed.factors, placed.rounds, placed.problem.activation.name, h.s, h.d, w.s, w.d


def common(placed: PlacedProblem) -> dict:
    """What all nests of a problem have in common, whatever their kernel."""
    return {
        "c": placed.c_src,
        "groups": placed.g.groups,
        "places": (PLACES, 0),
        "totals": (TOTALS, 0),
        "bias": (BIAS, 0),
        "bias_g": placed.c_dst * placed.size,
        "near": NEAR_BYTES,
        "slope": slope_field(placed.elem, placed.problem.activation.slope) if placed.elem in ("f32", "f64") else 0,
    }


def nests(placed: PlacedProblem, band: Band, fields, panels, blocks: Rows, more: dict, scratch) -> Iterator[Nest]:
    """The nests of a band whose maps lie channels-last: places without taps first, then all segments.

    Args:
        fields: the kernel's.
        panels: the form of the weight: bytes from tap to tap, and from row to row of taps.
        blocks: what every block of channels adds.
        more: fields that this way has beside the common ones.
        scratch: of the bands.
    """

    def made(band, h, w):
        return product(placed, band, fields, panels, h, w, (blocks,), more)

    yield from hole_nests(placed, band, scratch, made)
    yield made(band, *(segments.segments(axis, placed.forward) for axis in (band.h, band.w)))


def hole_nests(placed: PlacedProblem, band: Band, scratch: Scratch, made: Callable[..., Nest]) -> Iterator[Nest]:
    """The nests that write the places of a band without taps, whose result lies channels-last.

    Of rows without gaps between their pixels one is written, in V, and copied to where no place has taps, or most have
    none.

    Args:
        made: the nest of a kernel for a band, and segments of its rows and of its columns.
    """
    found, y = segments.holes(band.h, band.w, placed.forward), band.y
    channels = placed.c_dst * placed.g.groups
    if found and y.at.channels_last and y.at.w == channels * placed.written:
        rows = lined_rows(band.n, band.h, band.w, y.at.w)
        if rows:
            scratch.take(V, band.w.out * y.at.w)
            line = band._replace(n=1, y=PlacedOperand(V, 0, y.at))
            yield made(line, (segments.everywhere(1),), (segments.everywhere(band.w.out),))
            places = [(each.start * y.at.h, each.count, each.step * y.at.h) for each in rows]
            lists, images = (Rows(("dst", "m", "dst_m"), places),), (band.n, 0, y.at.n)
            count = band.w.out * channels
            elem = "i16" if placed.rounds else placed.elem
            yield copying(elem, (V, 0), (y.base, y.offset), count, n=images, m=(0, 0, 0), lists=lists)
            # What is left are columns of the other rows.
            found = found[1:] if rows == found[0][0] else ()
    for h, w in found:
        yield made(band, h, w)


def lined_rows(n, h: Axis, w: Axis, pixel) -> tuple[Segment, ...]:
    """The segments of rows of n images to which a line is copied: all rows or those without taps; none if few.

    `pixel` is bytes of one.
    """
    are_all = segments.fills_all(h, w, True) or (
        has_holes(w) and pixel <= SHORT_PIXEL and 2 * segments.with_taps(h, w) <= h.out * w.out
    )
    rows = (segments.everywhere(h.out),) if are_all else segments.hole_rows(h)
    return rows if n * sum(each.count for each in rows) >= LEAST_ROWS else ()


class HoleWork(NamedTuple):
    """What `hole_nests` do: places that a kernel writes, and bytes that are copied."""

    places: int
    copied: int


@lru_cache(maxsize=64)
def hole_work(problem: Problem) -> HoleWork:
    """What it takes to write the places without taps of a result that lies channels-last."""
    g, pixel = problem.geometry, problem.geometry.c_out * problem.itemsize
    if not segments.some_are_holes(g.h, g.w, problem.operation == "forward"):
        return HoleWork(0, 0)
    rows = lined_rows(g.n, g.h, g.w, pixel) if problem.layout != CHANNELS_SLICED else ()
    copied = sum(each.count for each in rows)
    if copied == g.h.out or segments.fills_all(g.h, g.w, True):
        places = 0 if copied else g.h.out * g.w.out
    else:
        places = (g.h.out - copied) * g.w.out - segments.with_taps(g.h, g.w)
    return HoleWork(g.n * places, g.n * copied * g.w.out * pixel)


def product(placed, band, fields, panels, h: Sequence[Segment], w: Sequence[Segment], blocks, more) -> Nest:
    """One nest; `blocks` are its lists beside those of the segments."""
    return Nest(fields, of_band(placed, band, more), (rows(band, h, panels), cols(band, w, panels), *blocks))


def rows(band, found: Sequence[Segment], panels) -> Rows:
    """The list of segments of rows."""
    return segments.listed(segments.ROWS, found, band.x.at.h, band.y.at.h, panels.row)


def cols(band, found: Sequence[Segment], panels) -> Rows:
    """The list of segments of columns."""
    return segments.listed(segments.COLS, found, band.x.at.w, band.y.at.w, panels.tap)


def of_band(placed: PlacedProblem, band: Band, more: dict) -> dict:
    """The common fields of a band's nests."""
    x, y = band.x, band.y
    return common(placed) | {
        "x": (x.base, x.offset),
        "y": (y.base, y.offset),
        "w": (PANELS, 0),
        "n": band.n,
        "x_n": x.at.n,
        "y_n": y.at.n,
        "x_g": placed.c_src * x.at.c,
        "y_g": placed.c_dst * y.at.c,
        **more,
    }


@once
def _ones(dtype):
    return np.ones(ONES, dtype)


@once
def _zeros(dtype):
    return np.zeros(ONES, dtype)


def ones(dtype) -> int:
    """The address of a line of ones, which is never freed: a weight under which values are added up as they are."""
    return address(_ones(dtype))


def zeros(dtype) -> int:
    """Likewise of zeros: a bias of what has its own already."""
    return address(_zeros(dtype))
