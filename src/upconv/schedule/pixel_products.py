"""Nests of the kernels that put channels along the vector: segments of rows by segments of columns by blocks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from ..geometry import ceil_div
from ..kernels import gemm
from ..kernels.epilogue import slope_field
from ..phases import Segment
from ..runtime.kernel import entry, isa
from ..runtime.once import once
from ..runtime.program import BIAS, PANELS, PLACES, TOTALS, Nest, Rows, address
from . import segments
from .amounts import Tiles
from .bands import Band
from .panels import Block, Panels
from .placed_problem import PlacedProblem

# What the block list says of each block.
BLOCKS = ("entry", "y", "w", "bias", "first_column", "columns")

# A panel of more bytes does not stay in a second-level cache from tile to tile. Of smaller ones, down to half of this,
# sums that wait in memory cost more than they save.
NEAR_BYTES = 1 << 21

# Values in the line of ones: more than any block of channels has.
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
    more = gemm.brief_parts(taps, placed.c_src), False, placed.problem.activation.name
    return [entry(gemm.gemm, placed.elem, *tile_of(block, placed.lanes), *more) for block in blocks]


def tile_scratch(placed: PlacedProblem, panels: Panels) -> dict[int, int]:
    """What `kernels.gemm` needs for itself, by base."""
    return panels.kept.get_or_make("scratch", lambda: _tile_scratch(placed, panels.blocks))


def kernel_key(placed: PlacedProblem) -> tuple:
    """What the kernels of its blocks depend on, beside the form of the weight, which is that of an operation."""
    h, w = placed.g.h, placed.g.w
    return placed.problem.activation.name, h.s, h.d, w.s, w.d


def _tile_scratch(placed, blocks):
    needs = [gemm.scratch(placed.lanes * placed.size, *tiles[:2]) for tiles in tiles_of(blocks, placed.lanes)]
    return {PLACES: max(need["places"] for need in needs), TOTALS: max(need["totals"] for need in needs)}


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


def nests(placed: PlacedProblem, band: Band, fields, panels, blocks: Rows, more: dict) -> Iterator[Nest]:
    """The nests of a band whose maps lie channels-last: places without taps first, then all segments.

    Args:
        fields: the kernel's.
        panels: the form of the weight: bytes from tap to tap, and from row to row of taps.
        blocks: what every block of channels adds.
        more: fields that this way has beside the common ones.
    """
    h, w = (segments.segments(axis, placed.forward) for axis in (band.h, band.w))
    for holes in segments.empty_places(band.h, band.w, placed.forward):
        yield product(placed, band, fields, panels, *holes, (blocks,), more)
    yield product(placed, band, fields, panels, h, w, (blocks,), more)


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


def ones(dtype) -> int:
    """The address of a line of ones, which is never freed: a weight under which values are added up as they are."""
    return address(_ones(dtype))
