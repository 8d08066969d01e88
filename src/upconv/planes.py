"""Planes of volumes as batches of 2-D maps: views where they can be, else stacks of what several depth taps read."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .arrays import empty
from .dtypes import lookup
from .phases import live_segments
from .planning import choose
from .plans import Plan
from .problem import Problem
from .runtime import memory
from .volume import Volume

# Stacks that are made at a time; they should be in the cache when they are read.
STACK_BYTES = 8 << 20


def plans(volume: Volume, dtype: str, *, prepared: bool = False) -> Iterator[tuple[int, Plan]]:
    """The 2-D problems of a volume's forward pass, each with how often it is computed, for dense channels-first arrays.

    Args:
        volume: sizes and settings.
        dtype: name of the dtype.
        prepared: whether the weight comes as a `PreparedVolume`.

    Yields:
        (how often, the Plan).

    >>> from upconv.geometry import Axis
    >>> made = list(plans(Volume(1, 8, 4, 1, Axis(6, 4, 2, crop_lo=1, crop_hi=1), Axis(5, 3), Axis(6, 3)), "float32"))
    >>> [(count, plan.problem.geometry.n, plan.problem.geometry.c_in) for count, plan in made]
    [(1, 1, 8), (1, 5, 16), (1, 5, 16), (1, 1, 8)]
    """
    segments = live_segments(volume.computable().d)
    slides = _slides(volume, segments, "nchw")
    plane = volume.n and volume.c_in * volume.h.n * volume.w.n * lookup(np.dtype(dtype)).itemsize
    for segment in segments:
        n, taps, sizes = volume.n, len(segment.taps), (segment.count,)
        if taps == 1 or slides:
            if 1 in (n, segment.count):
                n, sizes = 1, (n * segment.count,)
            else:
                n, sizes = min(n, segment.count), (max(n, segment.count),)
            found = [(size, n * sizes.count(size)) for size in sorted(set(sizes), reverse=True)]
        else:
            found = batch_sizes(n, segment.count, taps, plane)
        for size, many in found:
            problem = Problem("forward", volume.plane(size, taps), dtype, prepared=prepared)
            yield many, choose(problem)


def _slides(volume, segments, layout):
    """Whether stacks are views: planes that follow one another, in a volume that has its channels inside its planes."""
    several = [segment for segment in segments if len(segment.taps) > 1]
    follow = all((segment.source_step, abs(segment.tap_step)) == (1, 1) for segment in several)
    return bool(several) and follow and volume.groups == 1 and layout == "nchw"


def _most_planes(nbytes):
    """How many planes are stacked at a time, each of so many bytes."""
    return max(1, STACK_BYTES // max(nbytes, 1))


def batch_sizes(n: int, count: int, taps: int, nbytes: int) -> list[tuple[int, int]]:
    """(planes, how many such batches) of a run of planes in n volumes, each of so many bytes before it is stacked.

    >>> batch_sizes(2, 10, 1, 1000), batch_sizes(2, 10, 2, STACK_BYTES // 8)
    ([(20, 1)], [(4, 4), (2, 2)])
    """
    if taps == 1:
        return [(n * count, 1)]
    most = _most_planes(taps * nbytes)
    whole, rest = divmod(count, most)
    return [each for each in ((most, n * whole), (rest, n)) if all(each)]


class Planes:
    """The planes that runs of places read, as batches of 2-D maps."""

    def __init__(self, volume, array, segments, is_output=False):
        self.volume, self.array, self.is_output = volume, array, is_output
        self.layout = layout_of(array)
        self.channels = array.shape[1]
        self.whole = None
        if not is_output and _slides(volume, segments, self.layout):
            # A copy that keeps no strides of axes of length 1, as ascontiguousarray would.
            self.whole = array.swapaxes(1, 2).copy()

    def batches(self, segment, target):
        """((a function that makes the source, the target)) of 4-D maps, for a target (n, planes, c, h, w)."""
        if len(segment.taps) == 1:
            yield from pairs(self._plain(segment), target)
        elif self.whole is not None:
            yield from pairs(self._sliding(segment), target)
        else:
            yield from self._stacks(segment, target)

    def unfilled(self, segment, source, shape):
        """An array that lies as what a function of `batches` makes for a run; a stack is not made for it."""
        is_view = len(segment.taps) == 1 or self.whole is not None
        return source() if is_view else empty(shape, self.array.dtype, self.layout)

    def _plain(self, segment):
        """The planes that a run reads through its only tap."""
        return self._run(segment.source, segment.source_step, segment.count)

    def _run(self, first, step, count):
        return self.array[:, :, first : first + (count - 1) * step + 1 : step].swapaxes(1, 2)

    def _sliding(self, segment):
        n, _, c, h, w = self.whole.shape
        taps = len(segment.taps)
        first = self.whole[:, segment.source + (taps - 1) * segment.tap_step :]
        return as_strided(first, (n, segment.count, taps * c, h, w), first.strides, writeable=False)

    def _stacks(self, segment, target):
        n, count, taps = self.array.shape[0], segment.count, len(segment.taps)
        most = _most_planes(taps * self.array[:1, :, :1].nbytes)
        for i in range(n):
            for lo in range(0, count, most):
                hi = min(count, lo + most)
                yield lambda i=i, lo=lo, hi=hi: self._stack(segment, i, lo, hi), target[i, lo:hi]

    def _stack(self, segment, i, lo, hi):
        """Planes of one volume of the batch, with what all taps read along their channels, in each group.

        Taps come before channels, as `stacked_taps` has them; for gradients channels-first after them.
        """
        groups, taps, count = self.volume.groups, len(segment.taps), hi - lo
        c, h, w = self.channels // groups, *self.array.shape[3:]
        if self.layout == "nhwc":
            dense = memory.empty((count, h, w, groups, taps, c), self.array.dtype)
            made = dense.transpose(0, 3, 4, 5, 1, 2)
            result = dense.reshape(count, h, w, -1).transpose(0, 3, 1, 2)
        elif self.is_output:
            dense = memory.empty((count, groups, c, taps, h, w), self.array.dtype)
            made, result = dense.swapaxes(2, 3), dense.reshape(count, -1, h, w)
        else:
            made = memory.empty((count, groups, taps, c, h, w), self.array.dtype)
            result = made.reshape(count, -1, h, w)
        order = range(taps) if segment.tap_step > 0 else reversed(range(taps))
        for place, a in enumerate(order):
            first = segment.source + lo * segment.source_step + a * segment.tap_step
            run = self._run(first, segment.source_step, count)[i]
            made[:, :, place] = run.reshape(count, groups, c, h, w)
        return result


def pairs(source, target):
    """Batches of a source and a target (n, planes, c, h, w) as 4-D maps, as few as their strides allow."""
    n, count = target.shape[:2]
    if n == 1 or count == 1 or (_merges(source) and _merges(target)):
        yield lambda: merged(source), merged(target)
    elif n <= count:
        for i in range(n):
            yield lambda i=i: source[i], target[i]
    else:
        for j in range(count):
            yield lambda j=j: source[:, j], target[:, j]


def _merges(array):
    return array.strides[0] == array.shape[1] * array.strides[1]


def merged(array):
    """(n, planes, ...) as (n * planes, ...); a view where the strides allow it."""
    n, count, *rest = array.shape
    if n == 1:
        return array[0]
    if count == 1:
        return array[:, 0]
    if _merges(array):
        return as_strided(array, (n * count, *rest), array.strides[1:])
    return array.reshape(n * count, *rest)


def layout_of(array):
    """The layout of the planes of a volume."""
    return "nhwc" if array.shape[1] > 1 and array.strides[1] == array.itemsize else "nchw"
