"""The sum of a map for each channel, over images and places: the gradient in the bias.

Everything is added up in float64, since the sum can be the longest of all. A map that lies without gaps is read once,
at memory's pace, by kernels; all else is left to NumPy. The parts that threads compute depend on the map alone, so the
bits do not depend on how many there are.
"""

from functools import lru_cache

import numpy as np

from .kernels import channel_sums as kernel
from .runtime import program
from .runtime.kernel import CodeRefused, entry, usable
from .runtime.program import Grid, Nest, Program, Stage, X, Y

ELEMENTS = {"float32": "f32", "float64": "f64"}
# Below so many numbers NumPy is as fast.
LEAST = 1 << 14
# Parts of a long sum, and bytes that are worth one.
PARTS, PART_BYTES = 8, 1 << 17
# Columns of a line, if pixels have fewer channels: as many pixels as fit side by side.
COLUMNS = 128
# What is predicted, to know what is brief: bytes a second, and seconds of a call.
PACE, CALL = 1e10, 5e-6


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
        elem, n, c = ELEMENTS[array.dtype.name], *array.shape[:2]
        places = array.size // (n * c)
        try:
            if array.flags.c_contiguous and not usable():
                return _of_planes(elem, array, n, c, places)
            if np.moveaxis(array, 1, -1).flags.c_contiguous and not usable():
                return _of_pixels(elem, array, n * places, c)
        except CodeRefused:
            # The system has ceased to let code be made.
            pass
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.sum(axis=(0, *range(2, array.ndim)), dtype=wide)


def _of_planes(elem, array, n, c, places):
    """Planes side by side, each cut into equal pieces where there are few."""
    pieces = next(parts for parts in (PARTS, 4, 2, 1) if not places % parts)
    if n * c >= PARTS or places * array.itemsize < 2 * PART_BYTES:
        pieces = 1
    sums = np.empty(n * c * pieces)
    program.run(_plane_program(elem, n * c * pieces, places // pieces, array.itemsize), array, sums, None, None)
    return sums.reshape(n, c, pieces).sum((0, 2))


@lru_cache(maxsize=256)
def _plane_program(elem, planes, count, size):
    plane = count * size
    units = max(1, min(PARTS, planes, planes * plane // PART_BYTES))
    each, grids = planes // units, []
    for first, many, some in ((0, units, each), (units * each, 1, planes - units * each)):
        if some:
            fields = {
                "entry": entry(kernel.plane_sums, elem),
                **{"src": (X, first * plane), "dst": (Y, first * 8)},
                **{"planes": some, "src_plane": plane, "count": count},
            }
            steps = {X: (0, 0, some * plane), Y: (0, 0, some * 8)}
            grids.append(Grid((Nest(kernel.PLANE_FIELDS, fields),), (1, 1, many), steps))
    return Program([Stage(grids)], {}, CALL + planes * plane / PACE)


def _of_pixels(elem, array, pixels, c):
    """Pixels side by side, some of them to a line; those that fill no line by NumPy."""
    across = max(1, COLUMNS // c)
    lines = pixels // across
    flat = np.moveaxis(array, 1, -1).reshape(pixels, c)
    parts = max(1, min(PARTS, lines, array.nbytes // PART_BYTES))
    sums = np.empty((parts + (lines % parts > 0), across * c))
    if lines:
        program.run(_pixel_program(elem, lines, across * c, array.itemsize, parts), array, sums, None, None)
        total = sums.reshape(-1, c).sum(0)
    else:
        total = np.zeros(c)
    return total + flat[lines * across :].sum(0, dtype=np.float64)


@lru_cache(maxsize=256)
def _pixel_program(elem, lines, columns, size, parts):
    row = columns * size
    each, grids = lines // parts, []
    for first, many, some in ((0, parts, each), (parts, 1, lines - parts * each)):
        if some:
            fields = {
                "entry": entry(kernel.line_sums, elem),
                **{"src": (X, first * each * row), "dst": (Y, first * columns * 8)},
                **{"rows": some, "src_row": row, "columns": columns},
            }
            steps = {X: (0, 0, some * row), Y: (0, 0, columns * 8)}
            grids.append(Grid((Nest(kernel.LINE_FIELDS, fields),), (1, 1, many), steps))
    return Program([Stage(grids)], {}, CALL + lines * row / PACE)
