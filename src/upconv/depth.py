"""The three operations on volumes, each as 2-D problems over the planes of the depth.

Output plane o receives input plane i through depth tap t where ``o == i*s + t*d - crop_lo``. So the outputs fall into
runs that read the same depth taps (`phases.live_segments`), and a run is a batch of 2-D problems:

- If it reads a single depth tap, as all do whose kernel is no deeper than the stride, planes are read and written where
  they lie: every s-th plane of a volume is an array with a longer stride.
- If it reads several, the planes that they read are stacked along the channels, and the taps along the channels of the
  weight. The sum over taps is part of the sum over channels then: one pass over the output, one rounding, and a NaN
  reaches what it reaches by the definition. Stacks are made for some planes at a time.

The gradient in the input is computed in that of three ways which is predicted to take the least time (`depth_ways`): it
adds up what each tap gives, stacks planes of the gradient in the output as above, or takes the depth taps as rows of
one 2-D problem. The gradient in the weight is one problem for each depth tap, or one for all. Nothing is conjugated
here.
"""

import numpy as np

from .activations import activate
from .arrays import native
from .depth_ways import ADDED, FOLDED, folded, folded_kernel, folded_maps, folds_weight, through_taps, way_of_input
from .dtypes import lookup, quiet
from .errors import SettingError
from .phases import Segment, input_segments, live_segments
from .planes import Planes, layout_of, merged, pairs
from .planning import AUTO, plan_as_they_lie, solve
from .prepared import PreparedVolume, stacked_taps
from .problem import NO_ACTIVATION, Problem
from .runtime import memory
from .volume import Volume


def check_volume(volume, dtype):
    """Refuse a volume that no memory can hold."""
    size = lookup(np.dtype(dtype)).itemsize
    for axis in volume.computable().axes[1:]:
        size *= axis.out
    if size * volume.n * volume.c_out * volume.d.out >= 2**63:
        raise SettingError(f"the result would be {volume.output_shape}, which is more than can be addressed")


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

    Raises:
        SettingError: for an algorithm that refuses some of the planes' problems; `out` is as it was then.
    """
    if not out.size:
        return
    x, bias = native(x), None if bias is None else native(bias)
    depth = volume.computable().d
    segments = live_segments(depth)
    planes = Planes(volume, x, segments)
    steps = _steps(planes, segments, w, out, activation)
    if algorithm != AUTO:
        # What is named may refuse any of them, and is to do so before anything is written.
        steps = list(steps)
        for problem, segment, source, weight, y in steps:
            a = planes.unfilled(segment, source, problem.geometry.input_shape)
            plan_as_they_lie(problem, algorithm, a, weight, native(y))
    _fill_holes(depth, segments, bias, activation, out)
    for problem, _, source, weight, y in steps:
        solve(problem, algorithm, source(), weight, bias, y)


def _steps(planes, segments, w, out, activation):
    """(problem, its segment, a function that makes the planes it reads, weight, result) of the problems of a volume."""
    volume, dtype = planes.volume, planes.array.dtype.name
    for segment in segments:
        taps = tuple(reversed(segment.taps))
        target = out[:, :, segment.places].swapaxes(1, 2)
        batches = list(planes.batches(segment, target))
        weight = _weight(w, taps, volume, len(batches) > 1)
        for source, y in batches:
            geometry = volume.plane(len(y), len(taps))
            yield Problem("forward", geometry, dtype, planes.layout, activation=activation), segment, source, weight, y


@quiet()
def grad_input(volume: Volume, grad_y, w, out, *, algorithm=AUTO):
    """The gradient in the input of a volume: (n, c_out, ...) and the weight to (n, c_in, ...), which is filled.

    How depth taps come together is the same whatever the algorithm is, which computes each of the 2-D problems.
    """
    if not out.size:
        return
    grad_y, w = native(grad_y), native(w)
    way = way_of_input(volume, grad_y.dtype.name, layout_of(grad_y))
    if way == FOLDED:
        weight = folded_kernel(w)
        for source, y in pairs(folded_maps(volume, grad_y), out.swapaxes(1, 2)):
            problem = folded("grad_input", volume, grad_y.dtype.name, len(y))
            solve(problem, algorithm, source(), weight, None, y)
        return
    if way == ADDED:
        _add_up(volume, grad_y, w, out, algorithm)
        return
    segments = input_segments(volume.computable().d)
    planes = Planes(volume, grad_y, segments, is_output=True)
    for segment in segments:
        target = out[:, :, segment.places].swapaxes(1, 2)
        if segment.taps:
            _grad_planes(planes, segment, w, target, algorithm)
        else:
            target[...] = 0


def _add_up(volume, grad_y, w, out, algorithm):
    """The sum over the depth taps, tap by tap, without a copy."""
    depth = volume.computable().d
    planes, part = Planes(volume, grad_y, (), is_output=True), None
    meetings = [(t, *depth.meeting(t)) for t in range(depth.k)]
    # What the first one does not reach is to be cleared.
    for tap, start, first, count in sorted(meetings, key=lambda each: -each[-1]):
        if not count and part is not None:
            break
        segment = Segment(start, 1, count, range(tap, tap + 1), first, depth.s, depth.d)
        if part is None:
            out[:, :, :start], out[:, :, start + count :] = 0, 0
            if count:
                _grad_planes(planes, segment, w, out[:, :, segment.places].swapaxes(1, 2), algorithm)
            part = memory.empty(out.shape, out.dtype)
            continue
        made = part[:, :, segment.places]
        _grad_planes(planes, segment, w, made.swapaxes(1, 2), algorithm)
        out[:, :, segment.places] += made


def _grad_planes(planes, segment, w, target, algorithm):
    """The planes of a gradient in the input (n, planes, c, h, w) that are reached through the taps of a segment."""
    taps, weight = len(segment.taps), _weight_of_outputs(w, segment.taps, planes.volume.groups, planes.layout)
    for source, y in planes.batches(segment, target):
        problem = through_taps(planes.volume, len(y), taps, target.dtype.name, planes.layout)
        solve(problem, algorithm, source(), weight, None, y)


@quiet()
def grad_weight(volume: Volume, x, grad_y, out, *, algorithm=AUTO, compute=solve):
    """The gradient in the weight of a volume, which is filled: one 2-D problem, or one for each depth tap.

    Which of the two is the same whatever the algorithm is, which computes them. `compute` is `solve`, or
    `planning.ask_whether` for who only asks whether the algorithm refuses.
    """
    x, grad_y, depth = native(x), native(grad_y), volume.computable().d
    if folds_weight(volume, x.dtype.name, layout_of(grad_y)):
        whole = out if out.flags.c_contiguous else memory.empty(out.shape, x.dtype)
        a, b = merged(x.swapaxes(1, 2)), merged(folded_maps(volume, grad_y))
        compute(folded("grad_weight", volume, x.dtype.name, len(a)), algorithm, a, b, None, folded_kernel(whole))
        if whole is not out:
            out[...] = whole
        return
    inputs, a = None, None
    for t in range(depth.k):
        start, first, count = depth.meeting(t)
        if not count or not volume.n:
            out[:, :, t] = 0
            continue
        # One problem for the whole batch, so that there is one sum and one rounding. Most taps meet the same inputs.
        if inputs != (start, count):
            inputs, a = (start, count), merged(x[:, :, start : start + count].swapaxes(1, 2))
        b = merged(grad_y[:, :, first : first + (count - 1) * depth.s + 1 : depth.s].swapaxes(1, 2))
        problem = Problem("grad_weight", volume.plane(len(a)), x.dtype.name, "nchw")
        compute(problem, algorithm, a, b, None, out[:, :, t])


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


def _weight(w, taps, volume, is_used_again):
    """The weight of some depth taps as that of a 2-D layer; one that is used again is packed once."""
    if isinstance(w, PreparedVolume):
        return w.part(taps, volume.groups)
    w = native(w)
    if is_used_again:
        return PreparedVolume.made(w, volume.groups, taps)
    return stacked_taps(w, taps, volume.groups)


def _weight_of_outputs(w, taps, groups, layout):
    """The same for gradients in the input, stacked along the output channels as `Planes` stacks theirs."""
    c_in, _, _, *plane = w.shape
    if layout == "nhwc" and len(taps) > 1:
        return stacked_taps(w, tuple(taps), groups, True)
    if len(taps) == 1:
        return w[:, :, taps.start]
    # The taps of a channel follow one another, as they do in the weight: all of them together are a view.
    return w[:, :, taps.start : taps.stop].reshape(c_in, -1, *plane)
