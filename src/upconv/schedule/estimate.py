"""How much of everything a problem takes, counted from integers alone: no table is built and no kernel compiled.

What is counted is what a row of `upconv.machine` has rates for, so that a prediction is a sum of quotients.
"""

import math
from collections import Counter
from functools import lru_cache

from ..geometry import ceil_div
from ..kernels.correlate import PIXELS_LISTED
from ..phases import input_segments, live_segments
from ..runtime.kernel import isa
from . import planes
from .bands import count
from .merged import merged_segments
from .modes import Channels


@lru_cache(maxsize=512)
def gather(problem, mode, merged):
    """The work of a forward pass or a gradient in the input, on dense operands in the problem's layout.

    Args:
        problem: a Problem of a dtype that the kernels have.
        mode: one of `modes.MODES`' values.
        merged: how many phases of a row are computed together.

    Returns:
        dict: amounts by the names of `machine.Machine`'s rates.
    """
    g, forward = problem.geometry, problem.operation == "forward"
    bands = count(g, forward, problem.itemsize)
    work = _products(problem, mode, merged, bands) if mode.pixels else _plane_products(problem, mode, bands)
    turned = math.prod(problem.operand_shape) if _turns(problem, mode, g, source=True) else 0
    turned += math.prod(problem.result_shape) if _turns(problem, mode, g, source=False) else 0
    work["turned"] = turned * problem.itemsize
    if mode.pixels:
        work["packed"] = math.prod(g.weight_shape) * problem.itemsize
    return work | {"bytes": problem.bytes, "calls": 1}


def _turns(problem, mode, g, source):
    """Whether the source or the result must be turned from planes to pixels or back."""
    shape = problem.operand_shape if source else problem.result_shape
    if mode.pixels:
        return problem.layout == "nchw" and shape[1] > 1
    return problem.layout == "nhwc" and shape[1] > 1


def _products(problem, mode, merged, bands):
    """The work of all bands, as if they were alike."""
    g, forward = problem.geometry, problem.operation == "forward"
    lanes = isa().lanes(problem.itemsize)
    c_src, c_dst = (g.c_in, g.c_out) if forward else (g.c_out, g.c_in)
    c_src, c_dst = c_src // g.groups, c_dst // g.groups
    work = dict.fromkeys(("gemm", "planes", "loads", "jobs", "places"), 0)
    segments = [_walk(g.h, forward, 1), _walk(g.w, forward, merged)]
    most = max((rows_count for rows_count, _ in segments[0]), default=1)
    for rows_count, taps_h in segments[0]:
        # Segments at a border are in few bands only.
        here = max(1, bands * rows_count // most)
        for cols_count, taps_w in segments[1]:
            products = taps_h * taps_w * (1 if mode is Channels else c_src)
            pixels = max(1, g.n * rows_count * cols_count // here)
            for tiles, vectors, loads, kernel in _tiles(mode, pixels, g.groups, c_dst * merged, merged, lanes):
                work[kernel] += here * tiles * vectors * products
                work["loads"] += here * tiles * loads * products
                work["jobs"] += here
            work["places"] += g.n * rows_count * cols_count * (1 if mode is Channels else g.groups)
    return work


def _walk(axis, forward, merged):
    """(places, taps) of every segment of an axis, those that are alike together."""
    if not forward:
        found = input_segments(axis)
    elif merged > 1:
        found = [segment for segment, _ in merged_segments(axis) if segment.taps]
    else:
        found = live_segments(axis)
    return [(segment.count, len(segment.taps)) for segment in found]


def _tiles(mode, pixels, groups, channels, merged, lanes):
    """(tiles, vectors of a tile, unaligned loads for each product, kernel) of every block of channels of a segment."""
    registers = isa().registers
    if mode is Channels:
        mr = mode.TILES[registers]
        yield ceil_div(pixels, mr) * ceil_div(groups, lanes), mr, mr, "planes"
        return
    blocks = mode.merged_blocks(channels // merged, merged, lanes) if merged > 1 else mode.blocks(channels, lanes)
    for _, wide in blocks:
        mr = mode.TILES[registers][wide]
        yield groups * ceil_div(pixels, mr), mr * wide, 0, "gemm"


def _plane_products(problem, mode, bands):
    """The work of all bands of a mode that works on planes."""
    g, forward = problem.geometry, problem.operation == "forward"
    lanes = isa().lanes(problem.itemsize)
    c_src, c_dst = (g.c_in, g.c_out) if forward else (g.c_out, g.c_in)
    c_src, c_dst = c_src // g.groups, c_dst // g.groups
    work = dict.fromkeys(("planes", "loads", "jobs", "places"), 0)
    segments = _walk(g.h, forward, 1)
    most = max((rows for rows, _ in segments), default=1)
    for row in planes.rows_of(g.w, forward):
        s, own = len(row.own), sum(len(each.taps) for each in row.own)
        alike = planes.blocks(c_dst, s)
        for rows, taps in segments:
            here = max(1, bands * rows // most)
            each = ceil_div(g.n * rows * ceil_div(ceil_div(row.columns, s), lanes), here)
            for _, mr, number in alike:
                nv = 1 if mode.depthwise else planes.across(mr, s)
                vectors = g.groups * number * here * ceil_div(each, nv) * nv
                work["planes"] += vectors * taps * c_src * mr * (s * row.count + own)
                work["loads"] += vectors * taps * c_src * (row.count + own)
                work["places"] += vectors
            work["jobs"] += here * (1 if mode.depthwise else len(alike))
    return work


@lru_cache(maxsize=512)
def columns(problem):
    """The work of a forward pass that reads its weight once and in place, as `gather` gives it."""
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    pixels = g.n * g.h.n * g.w.n
    sums = ceil_div(math.prod(g.weight_shape[1:]), lanes) * pixels
    weight = math.prod(g.weight_shape) * problem.itemsize
    return {"gemm": sums * g.c_in, "planes": sums, "jobs": 1, "packed": weight, "bytes": problem.bytes, "calls": 1}


@lru_cache(maxsize=512)
def correlation(problem, mr, nv):
    """The work of a gradient in the weight with tiles of mr channels by nv vectors, as `gather` gives it."""
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    narrow, wide = sorted((g.c_in // g.groups, g.c_out // g.groups))
    tiles = g.groups * ceil_div(narrow, mr) * ceil_div(wide, nv * lanes)
    pixels = g.n * sum(g.h.tap_counts) * sum(g.w.tap_counts)
    taps = g.h.k * g.w.k
    lists = sum(ceil_div(g.n * rows * cols, PIXELS_LISTED) for rows in g.h.tap_counts for cols in g.w.tap_counts)
    maps = [math.prod(shape) for shape in (g.input_shape, g.output_shape)]
    return Counter(
        correlate=tiles * mr * nv * pixels,
        jobs=taps,
        places=g.groups * pixels,
        turned=sum(maps) * problem.itemsize if problem.layout == "nchw" else 0,
        # Read, added to and written for every list of pixels; filled with zeros, and turned to the weight in the end.
        totals=(lists + 2 * taps) * math.prod(g.weight_shape) // taps * problem.itemsize,
        bytes=problem.bytes,
        calls=1,
    )


def copies(problem, inner):
    """Bytes that are copied where a problem is solved by way of another dtype: operands and result, there and back."""
    if inner == problem:
        return 0
    before = problem.itemsize // 2 if problem.dtype.startswith("complex") else problem.itemsize
    return inner.geometry.elements() * (before + inner.itemsize)
