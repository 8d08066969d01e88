"""By which way a gradient of a volume is computed, and planes whose rows are those of one map.

Where a kernel is as deep and as tall as its strides and nothing is cropped, the pixels of a volume meet blocks of the
output that do not overlap. So the depth taps may count as rows of a kernel of one plane. Then both gradients are one
problem, without sums over depth taps outside of it, and the weight is a view. The rows of the output that a pixel meets
do not follow one another in memory (`layouts.Fold`), so kernels put them in order on the way into the cache.
"""

import math
from functools import lru_cache

import numpy as np

from .candidates import ask
from .dtypes import DTYPES
from .geometry import Axis, Geometry
from .machine import row
from .phases import input_segments
from .planes import batch_sizes
from .planning import choose
from .problem import Problem
from .runtime.kernel import isa, usable
from .volume import Volume

FOLDED, ADDED, STACKED = "folded", "added", "stacked"
# Stacks drive out of the caches what else there is, which is not counted: so they must save something for it.
CROWDING = 1.1


@lru_cache(maxsize=512)
def way_of_input(volume: Volume, dtype: str, layout: str) -> str:
    """How depth taps come together in the gradient in the input: what is predicted to be the soonest.

    A channel alone has no sum over channels to which the taps could be stacked. What is rounded to half precision is
    rounded once.

    Args:
        volume: sizes and settings.
        dtype: name of the dtype.
        layout: how the planes of the gradient in the output lie.

    Returns:
        FOLDED; ADDED, tap by tap; or STACKED along the channels.
    """
    if np.dtype(DTYPES[dtype].compute).name != dtype:
        return STACKED
    seconds = {ADDED: _added(volume, dtype, layout)}
    if not volume.c_in == volume.c_out == volume.groups:
        seconds[STACKED] = CROWDING * _stacked(volume, dtype, layout)
    if can_fold(volume, dtype, layout):
        seconds[FOLDED] = _seconds(folded("grad_input", volume, dtype, volume.n * volume.d.n))
    return min(seconds, key=seconds.__getitem__)


@lru_cache(maxsize=512)
def folds_weight(volume: Volume, dtype: str, layout: str) -> bool:
    """Whether the gradient in the weight is one problem, and not one for each depth tap."""
    if not can_fold(volume, dtype, layout):
        return False
    planes = volume.n * volume.d.n
    each = Problem("grad_weight", volume.plane(planes), dtype)
    return _seconds(folded("grad_weight", volume, dtype, planes)) <= volume.d.k * _seconds(each)


def can_fold(volume: Volume, dtype: str, layout: str) -> bool:
    """Whether depth taps may count as rows: see above."""
    d, h, size = volume.d, volume.h, DTYPES[dtype].itemsize
    fits = all(axis.k == axis.s and axis.out == axis.n * axis.s and axis.crop_lo == 0 for axis in (d, h))
    # One channel lies either way, and rows are found by the mean of their distances.
    is_map = layout == "nchw" and volume.c_out > 1 and volume.w.out > 1 and size % d.k == 0
    plain = np.dtype(DTYPES[dtype].compute).name == dtype and DTYPES[dtype].element
    return bool(d.k > 1 and (d.d, h.d) == (1, 1) and fits and is_map and plain and volume.n and not usable())


@lru_cache(maxsize=512)
def folded(operation: str, volume: Volume, dtype: str, planes: int) -> Problem:
    """The problem of so many planes of the input with depth taps as rows."""
    taps = volume.d.k * volume.h.k
    h = Axis(volume.h.n, taps, taps)
    geometry = Geometry(planes, volume.c_in, volume.c_out, volume.groups, h, volume.w)
    return Problem(operation, geometry, dtype, depth_taps=volume.d.k)


def folded_maps(volume: Volume, grad_y: np.ndarray) -> np.ndarray:
    """The gradient in the output as maps (n, planes of the input, c_out, rows, columns): what a plane meets is one."""
    n, c, _, h, w = grad_y.shape
    # A copy lies channels-first, whatever it is made of.
    return grad_y.reshape(n, c, volume.d.n, volume.d.k * h, w).swapaxes(1, 2)


def folded_kernel(weight: np.ndarray) -> np.ndarray:
    """A weight, or a gradient in it, with depth taps as rows: a view where the strides allow it."""
    c_in, c_out, k_d, k_h, k_w = weight.shape
    return weight.reshape(c_in, c_out, k_d * k_h, k_w)


def _added(volume, dtype, layout):
    """Seconds of all taps one by one, and of their sums: read, read and written by NumPy as kernels would."""
    depth = volume.computable().d
    counts = sorted((depth.meeting(t)[2] for t in range(depth.k)), reverse=True)
    nbytes = 3 * volume.n * math.prod(volume.plane(1).input_shape) * DTYPES[dtype].itemsize * sum(counts[1:])
    each = [_seconds(through_taps(volume, volume.n * count, 1, dtype, layout)) for count in counts if count]
    return sum(each) + nbytes / _pace()


def _stacked(volume, dtype, layout):
    """Seconds of what is stacked, which is read and written before, and so is a weight of which some taps are taken."""
    depth, size, seconds = volume.computable().d, DTYPES[dtype].itemsize, 0.0
    plane, weight = math.prod(volume.plane(1).output_shape) * size, math.prod(volume.weight_shape) * size
    for segment in input_segments(depth):
        taps, count = len(segment.taps), segment.count
        if taps > 1:
            part = weight * taps // depth.k if taps < depth.k else 0
            seconds += 2 * (volume.n * count * taps * plane + part) / _pace()
        for planes, many in batch_sizes(volume.n, count, taps, plane) if taps else ():
            seconds += many * _seconds(through_taps(volume, planes, taps, dtype, layout))
    return seconds


@lru_cache(maxsize=512)
def through_taps(volume: Volume, planes: int, taps: int, dtype: str, layout: str) -> Problem:
    """The gradient in the input of so many planes through so many taps."""
    return Problem("grad_input", volume.plane(planes, taps_out=taps), dtype, layout)


def _seconds(problem):
    if not problem.geometry.n:
        return 0.0
    return ask(choose(problem).algorithm, problem).seconds


def _pace():
    return row(isa().name).rates["bytes"]
