"""The three operations on volumes, each as 2-D problems over the planes of the depth.

Output plane o receives input plane i through depth tap t where ``o == i*s + t*d - crop_lo``. So the outputs fall into
runs that read the same depth taps (`phases.live_segments`), and a run is a batch of 2-D problems:

- through one tap, as everywhere where the kernel is no deeper than the stride, planes are read and written where they
  lie, since every s-th plane of a volume is an array with a longer stride;
- where several taps meet in a plane, the planes that they read are stacked along the channels, and the taps along the
  channels of the weight, so that the sum over taps is part of the sums over channels: one pass over the output, one
  rounding, and a NaN reaches what it reaches by the definition. Stacks are made for some planes at a time.

The gradient in the input stacks planes of the gradient in the output in the same way; the gradient in the weight is
one problem for each depth tap. Nothing is conjugated here.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .activations import activate
from .arrays import native
from .dtypes import lookup, quiet
from .errors import SettingError
from .phases import input_segments, live_segments
from .planning import AUTO, Plan, choose, solve
from .prepared import PreparedVolume, stacked_taps
from .problem import NO_ACTIVATION, Problem
from .volume import Volume

# Stacks that are made at a time; they should be in the cache when they are read.
STACK_BYTES = 8 << 20


def check_volume(volume, dtype):
    """Refuse a volume that no memory can hold."""
    size = lookup(np.dtype(dtype)).itemsize
    for axis in volume.computable().axes[1:]:
        size *= axis.out
    if size * volume.n * volume.c_out * volume.d.out >= 2**63:
        raise SettingError(f"the result would be {volume.output_shape}, which is more than can be addressed")


def check_algorithm_of_planes(volume, dtype, layout, algorithm, activation=NO_ACTIVATION):
    """Refuse an algorithm that cannot compute one of the planes' problems."""
    if isinstance(algorithm, Plan):
        raise TypeError(
            f"algorithm is a Plan, which is made for a 2-D problem; for three dimensions it must be {AUTO!r} or the "
            "name of an algorithm, which then computes all planes"
        )
    if algorithm == AUTO:
        return
    for taps in {len(segment.taps) for segment in live_segments(volume.computable().d)}:
        choose(Problem("forward", volume.plane(1, taps), dtype, layout, activation=activation), algorithm)


@quiet()
def forward(volume: Volume, x, w, bias, out, *, activation=NO_ACTIVATION, algorithm=AUTO):
    """The transposed convolution of a volume.

    Args:
        volume: sizes and settings.
        x: (n, c_in, d, h, w), of any strides.
        w: the weight, or a `PreparedVolume`.
        bias: (c_out,) or None.
        out: (n, c_out, d_out, h_out, w_out), which is filled.
        activation: what the result passes through.
        algorithm: by which the planes are computed.

    Returns:
        None.
    """
    if not out.size:
        return
    x, bias = native(x), None if bias is None else native(bias)
    depth = volume.computable().d
    segments = live_segments(depth)
    _fill_holes(depth, segments, bias, activation, out)
    planes = _Planes(volume, x, segments)
    for segment in segments:
        taps = tuple(reversed(segment.taps))
        target = out[:, :, segment.places].swapaxes(1, 2)
        batches = list(planes.batches(segment, target))
        weight = _weight(w, taps, volume, len(batches) > 1)
        for source, y in batches:
            geometry = volume.plane(len(y), len(taps))
            problem = Problem("forward", geometry, x.dtype.name, planes.layout, activation=activation)
            solve(problem, algorithm, source(), weight, bias, y)


@quiet()
def grad_input(volume: Volume, grad_y, w, out):
    """The gradient in the input of a volume: (n, c_out, ...) and the weight to (n, c_in, ...), which is filled."""
    if not out.size:
        return
    grad_y, depth = native(grad_y), volume.computable().d
    segments = input_segments(depth)
    planes = _Planes(volume, grad_y, segments, is_output=True)
    for segment in segments:
        target = out[:, :, segment.places].swapaxes(1, 2)
        if not segment.taps:
            target[...] = 0
            continue
        taps = tuple(segment.taps)
        batches = list(planes.batches(segment, target))
        weight = _weight(w, taps, volume, False, stacks_outputs=True)
        for source, y in batches:
            geometry = volume.plane(len(y), taps_out=len(taps))
            problem = Problem("grad_input", geometry, grad_y.dtype.name, planes.layout)
            solve(problem, AUTO, source(), weight, None, y)


@quiet()
def grad_weight(volume: Volume, x, grad_y, out):
    """The gradient in the weight of a volume, which is filled: one 2-D problem for each depth tap."""
    x, grad_y, depth = native(x), native(grad_y), volume.computable().d
    for t in range(depth.k):
        start, first, count = depth.meeting(t)
        if not count or not volume.n:
            out[:, :, t] = 0
            continue
        sources = x[:, :, start : start + count], grad_y[:, :, first : first + (count - 1) * depth.s + 1 : depth.s]
        # One problem for the whole batch, so that there is one sum and one rounding.
        a, b = (_merged(source.swapaxes(1, 2)) for source in sources)
        problem = Problem("grad_weight", volume.plane(len(a)), x.dtype.name, "nchw")
        part = np.empty(problem.result_shape, x.dtype)
        solve(problem, AUTO, a, b, None, part)
        out[:, :, t] = part


def _fill_holes(depth, segments, bias, activation, out):
    """The bias alone, in the planes that no depth tap reaches."""
    if sum(segment.count for segment in segments) == depth.out:
        return
    is_hole = np.ones(depth.out, bool)
    for segment in segments:
        is_hole[segment.places] = False
    value = np.zeros((out.shape[1], 1, 1, 1), out.dtype)
    if bias is not None:
        value[:, 0, 0, 0] = bias
    wide = value.astype(lookup(out.dtype).compute)
    activate(activation, wide)
    out[:, :, is_hole] = wide.astype(out.dtype)


def _weight(w, taps, volume, is_used_again, *, stacks_outputs=False):
    """The weight of some depth taps as that of a 2-D layer; one that is used again is packed once."""
    if isinstance(w, PreparedVolume):
        return w.part(taps, volume.groups)
    w = native(w)
    if is_used_again:
        return PreparedVolume.made(w, volume.groups, taps)
    return stacked_taps(w, taps, volume.groups, stacks_outputs)


class _Planes:
    """The planes that runs of places read, as batches of 2-D maps."""

    def __init__(self, volume, array, segments, is_output=False):
        self.volume, self.array = volume, array
        self.layout = "nhwc" if _is_channels_last(array) else "nchw"
        self.channels = array.shape[1]
        several = [segment for segment in segments if len(segment.taps) > 1]
        # Planes that follow one another are a view of a volume that has its channels inside its planes.
        slides = all((segment.source_step, abs(segment.tap_step)) == (1, 1) for segment in several)
        self.whole = None
        if several and slides and volume.groups == 1 and self.layout == "nchw" and not is_output:
            # A copy that keeps no strides of axes of length 1, as ascontiguousarray would.
            self.whole = array.swapaxes(1, 2).copy()

    def batches(self, segment, target):
        """((a function that makes the source, the target)) of 4-D maps, for a target (n, planes, c, h, w)."""
        if len(segment.taps) == 1:
            yield from _pairs(self._plain(segment), target)
        elif self.whole is not None:
            yield from _pairs(self._sliding(segment), target)
        else:
            yield from self._stacks(segment, target)

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
        size = taps * self.array[:1, :, :1].nbytes
        most = max(1, STACK_BYTES // max(size, 1))
        for i in range(n):
            for lo in range(0, count, most):
                hi = min(count, lo + most)
                yield lambda i=i, lo=lo, hi=hi: self._stack(segment, i, lo, hi), target[i, lo:hi]

    def _stack(self, segment, i, lo, hi):
        """Planes of one volume of the batch, with what all taps read along their channels, in each group."""
        groups, taps = self.volume.groups, len(segment.taps)
        c, h, w = self.channels // groups, *self.array.shape[3:]
        shape = (hi - lo, groups, taps, c, h, w)
        if self.layout == "nhwc":
            made = np.empty((hi - lo, h, w, groups, taps, c), self.array.dtype).transpose(0, 3, 4, 5, 1, 2)
        else:
            made = np.empty(shape, self.array.dtype)
        order = range(taps) if segment.tap_step > 0 else reversed(range(taps))
        for place, a in enumerate(order):
            first = segment.source + lo * segment.source_step + a * segment.tap_step
            run = self._run(first, segment.source_step, hi - lo)[i]
            made[:, :, place] = run.reshape(hi - lo, groups, c, h, w) if groups > 1 else run[:, None]
        if self.layout == "nhwc":
            dense = made.transpose(0, 4, 5, 1, 2, 3).reshape(hi - lo, h, w, -1)
            return dense.transpose(0, 3, 1, 2)
        return made.reshape(hi - lo, -1, h, w)


def _pairs(source, target):
    """Batches of a source and a target (n, planes, c, h, w) as 4-D maps, as few as their strides allow."""
    n, count = target.shape[:2]
    if n == 1 or count == 1 or (_merges(source) and _merges(target)):
        yield lambda: _merged(source), _merged(target)
    elif n <= count:
        for i in range(n):
            yield lambda i=i: source[i], target[i]
    else:
        for j in range(count):
            yield lambda j=j: source[:, j], target[:, j]


def _merges(array):
    return array.strides[0] == array.shape[1] * array.strides[1]


def _merged(array):
    """(n, planes, ...) as (n * planes, ...); a view where the strides allow it."""
    n, count, *rest = array.shape
    if n == 1:
        return array[0]
    if count == 1:
        return array[:, 0]
    if _merges(array):
        return as_strided(array, (n * count, *rest), array.strides[1:])
    return array.reshape(n * count, *rest)


def _is_channels_last(array):
    return array.shape[1] > 1 and array.strides[1] == array.itemsize
