"""The sum of a map for each channel, over images and places: the gradient in the bias.

Everything is added up in float64, since the sum can be the longest of all. A map that lies without gaps is read once,
at memory's pace, by kernels; all else is left to NumPy. The parts that threads compute depend on the map alone, so the
bits do not depend on how many there are.
"""

from functools import lru_cache
from math import prod

import numpy as np

from .kernels import channel_sums as kernel
from .layouts import is_contiguous
from .runtime import memory, pool, program
from .runtime.builtin import builtin
from .runtime.kernel import CodeRefused, entry, usable
from .runtime.once import once
from .runtime.program import PANELS, Grid, Nest, Program, Stage, X, Y

ELEMENTS = {"float32": "f32", "float64": "f64"}
# Below so many numbers NumPy is as fast.
LEAST = 1 << 12
# Parts of a long sum, and bytes that are worth one.
PARTS, PART_BYTES = 8, 1 << 17
# Columns of a line, if pixels have fewer channels: as many pixels as fit side by side.
COLUMNS = 128
# What is predicted, to know what is brief: bytes a second, and seconds of a call.
PACE, CALL = 1e10, 5e-6
# Bytes of a sum.
WIDE = 8


def channel_sums(array):
    """The sums of a map (n, c, ...) over all axes but the second.

    Args:
        array: of a floating-point or complex dtype, on any strides.

    Returns:
        (c,), float64; complex128 for a complex map.

    >>> channel_sums(np.ones((2, 3, 4, 5), np.float32)).tolist()
    [40.0, 40.0, 40.0]
    """
    if array.size >= LEAST and array.dtype.isnative and array.dtype.name in ELEMENTS and array.flags.aligned:
        try:
            made = _program(array.shape, array.strides, array.dtype)
            if made is not None and not usable():
                return _run(made, array)
        except CodeRefused:
            # The system has ceased to let code be made.
            pass
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.sum(axis=(0, *range(2, array.ndim)), dtype=wide)


@lru_cache(maxsize=256)
def _program(shape, strides, dtype):
    """The program of maps that lie without gaps, None for others, and where none can be made."""
    if usable():
        return None
    elem, (n, c, *sizes) = ELEMENTS[dtype.name], shape
    places, last = prod(sizes), (0, *range(2, len(shape)), 1)
    if is_contiguous(shape, strides, dtype.itemsize):
        return _of_planes(elem, n, c, places, dtype.itemsize)
    if is_contiguous([shape[axis] for axis in last], [strides[axis] for axis in last], dtype.itemsize):
        return _of_pixels(elem, n * places, c, dtype.itemsize)
    return None


def _run(made, array):
    """What a program makes of a map: most often a short step between two long ones, so Python is to do little."""
    sums, helpers = np.empty(array.shape[1]), pool.helped_by()
    if helpers and made.seconds < program.SECONDS_PER_PIECE and not memory.is_poisoned():
        run = _function(made, array.itemsize, helpers)
        if run is not None and run(array, array, None, sums) is not NotImplemented:
            return sums
    program.run(made, array, sums, None, None)
    return sums


@lru_cache(maxsize=256)
def _function(made, itemsize, helpers):
    """A program as a function of Python's own, helped by these (see `pool.helped_by`); None where it cannot be one."""
    threads = pool.get_num_threads()
    nothing, lets_go = program.address(_nothing()), made.seconds >= program.BRIEF
    return builtin(made, itemsize - 1, None, nothing, (0, 0), threads, lets_go)


@once
def _nothing():
    return np.zeros(1)


def _of_planes(elem, n, c, places, size):
    """Planes side by side, each cut into equal pieces where there are few."""
    planes, plane = n * c, places * size
    pieces = next(parts for parts in (PARTS, 4, 2, 1) if not places % parts)
    if planes >= PARTS or plane < 2 * PART_BYTES:
        pieces = 1
    base = PANELS if n * pieces > 1 else Y
    units = max(1, min(PARTS, planes, planes * plane // PART_BYTES)) if pieces == 1 else 1
    each, grids = planes // units, []
    for piece in range(pieces):
        start, there = piece * plane // pieces, piece * planes * WIDE
        for first, many, some in ((0, units, each), (units * each, 1, planes - units * each)):
            if some:
                fields = {
                    "entry": entry(kernel.plane_sums, elem, places // pieces <= kernel.SHORT),
                    **{"src": (X, start + first * plane), "dst": (base, there + first * WIDE)},
                    **{"planes": some, "src_plane": plane, "count": places // pieces},
                }
                steps = {X: (0, 0, some * plane), base: (0, 0, some * WIDE)}
                grids.append(Grid((Nest(kernel.PLANE_FIELDS, fields),), (1, 1, many), steps))
    return _added_up(grids, n * pieces if base == PANELS else 0, c, planes * plane)


def _of_pixels(elem, pixels, c, size):
    """Pixels side by side, some of them to a line, and those that fill no line."""
    across = max(1, COLUMNS // c)
    lines, rest = divmod(pixels, across)
    columns = across * c
    parts = max(1, min(PARTS, lines, pixels * c * size // PART_BYTES))
    each, grids, rows = lines // parts, [], 0
    # How many units, the lines of one, how many numbers these have, and how many sums of each channel come of it.
    runs = (parts, each, columns, across), (1, lines - parts * each, columns, across), (1, rest, c, 1)
    start = 0
    for many, some, count, sums in runs:
        if some:
            fields = {
                "entry": entry(kernel.line_sums, elem),
                **{"src": (X, start), "dst": (PANELS, rows * c * WIDE)},
                **{"rows": some, "src_row": count * size, "columns": count},
            }
            steps = {X: (0, 0, some * count * size), PANELS: (0, 0, count * WIDE)}
            grids.append(Grid((Nest(kernel.LINE_FIELDS, fields),), (1, 1, many), steps))
            start, rows = start + many * some * count * size, rows + many * sums
    return _added_up(grids, rows, c, pixels * c * size)


def _added_up(grids, rows, c, nbytes):
    """The program of some grids whose sums are `rows` of all channels, or with none the result."""
    stages = [Stage(grids)]
    if rows:
        fields = {
            "entry": entry(kernel.line_sums, "f64"),
            **{"src": (PANELS, 0), "dst": (Y, 0), "rows": rows, "src_row": c * WIDE, "columns": c},
        }
        stages.append(Stage([Grid((Nest(kernel.LINE_FIELDS, fields),))]))
    return Program(stages, {PANELS: rows * c * WIDE}, CALL + nbytes / PACE)
