"""Nests of the kernels that put channels along the vector: segments of rows by segments of columns by blocks."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from ..kernels.epilogue import slope_field
from ..phases import Segment
from ..runtime.program import BIAS, PANELS, PLACES, TOTALS, Nest, Rows, address
from . import segments
from .bands import Band
from .task import Task

# What the block list says of each block.
BLOCKS = ("entry", "y", "w", "bias", "first_column", "columns")

# Values in the line of ones: more than any block of channels has.
ONES = 1024


def common(task: Task) -> dict:
    """What all nests of a task have in common, whatever their kernel."""
    return {
        "c": task.c_src,
        "groups": task.g.groups,
        "places": (PLACES, 0),
        "totals": (TOTALS, 0),
        "bias": (BIAS, 0),
        "bias_g": task.c_dst * task.size,
        "slope": slope_field(task.elem, task.problem.activation.slope) if task.elem in ("f32", "f64") else 0,
    }


def nests(task: Task, band: Band, fields, panels, blocks: Rows, more: dict) -> Iterator[Nest]:
    """The nests of a band whose maps lie channels-last: places without taps first, then all segments.

    Args:
        fields: the kernel's.
        panels: the form of the weight: bytes from tap to tap, and from row to row of taps.
        blocks: what every block of channels adds.
        more: fields that this way has beside the common ones.
    """
    h, w = (segments.segments(axis, task.forward) for axis in (band.h, band.w))
    if segments.has_empty_places(band.h, band.w, task.forward):
        holes = [segments.everywhere(band.h.out)], [segments.everywhere(band.w.out)]
        yield product(task, band, fields, panels, *holes, (blocks,), more)
    yield product(task, band, fields, panels, h, w, (blocks,), more)


def product(task, band, fields, panels, h: Sequence[Segment], w: Sequence[Segment], blocks, more) -> Nest:
    """One nest; `blocks` are its lists beside those of the segments."""
    rows = Rows(segments.ROWS, segments.values(h, band.x.at.h, band.y.at.h, panels.row))
    cols = Rows(segments.COLS, segments.values(w, band.x.at.w, band.y.at.w, panels.tap))
    return Nest(fields, placed(task, band, more), (rows, cols, *blocks))


def placed(task: Task, band: Band, more: dict) -> dict:
    """The common fields of a band's nests."""
    x, y = band.x, band.y
    return common(task) | {
        "x": (x.base, x.offset),
        "y": (y.base, y.offset),
        "w": (PANELS, 0),
        "n": band.n,
        "x_n": x.at.n,
        "y_n": y.at.n,
        "x_g": task.c_src * x.at.c,
        "y_g": task.c_dst * y.at.c,
        **more,
    }


@cache
def _ones(dtype):
    return np.ones(ONES, dtype)


def ones(dtype) -> int:
    """The address of a line of ones, which is never freed: a weight under which values are added up as they are."""
    return address(_ones(dtype))
