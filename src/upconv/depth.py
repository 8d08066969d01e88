"""The three operations on volumes, each as 2-D problems over the planes of the depth.

Output plane o receives input plane i through depth tap t where ``o == i*s + t*d - crop_lo``. So the outputs fall into
runs that read the same depth taps (`phases.live_segments`), and a run is a batch of 2-D problems:

- through one tap, as everywhere where the kernel is no deeper than the stride, planes are read and written where they
  lie, since every s-th plane of a volume is an array with a longer stride;
- where several taps meet in a plane, the planes that they read are stacked along the channels, and the taps along the
  channels of the weight, so that the sum over taps is part of the sums over channels: one pass over the output, one
  rounding, and a NaN reaches what it reaches by the definition. Stacks are made for some planes at a time.

The gradient in the input stacks planes of the gradient in the output in the same way, but for depthwise layers, where
the taps are added up; the gradient in the weight is one problem for each depth tap. Nothing is conjugated here.
"""

import math

import numpy as np

from .activations import activate
from .arrays import native
from .dtypes import lookup, quiet
from .errors import SettingError
from .phases import Segment, input_segments, live_segments
from .planes import Planes, merged
from .planning import AUTO, Plan, choose, solve
from .prepared import PreparedVolume, stacked_taps
from .problem import NO_ACTIVATION, Problem
from .runtime import memory
from .volume import Volume

# As many products as take the time in which one number of a weight is put together and packed.
PRODUCTS_PER_WEIGHT = 60


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
    planes = Planes(volume, x, segments)
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
    grad_y, w = native(grad_y), native(w)
    adds_up = _adds_up(volume, grad_y)
    segments = input_segments(volume.computable().d) if adds_up else _input_segments(volume, w)
    planes = Planes(volume, grad_y, segments, is_output=True)
    for segment in segments:
        target = out[:, :, segment.places].swapaxes(1, 2)
        if not segment.taps:
            target[...] = 0
        elif len(segment.taps) > 1 and adds_up:
            _add_up(planes, segment, w, target)
        else:
            weight = _weight_of_outputs(w, segment.taps, volume.groups, planes.layout)
            for source, y in planes.batches(segment, target):
                _grad_planes(planes, len(segment.taps), source(), weight, y)


def _grad_planes(planes, taps, source, weight, y):
    geometry = planes.volume.plane(len(y), taps_out=taps)
    solve(Problem("grad_input", geometry, planes.array.dtype.name, planes.layout), AUTO, source, weight, None, y)


def _input_segments(volume, w):
    """Runs of inputs that reach outputs through the same depth taps, or one run of all inputs.

    A run at an end of the volume lacks some taps and so has a weight of its own to put together and to pack. Where that
    is more than the products of planes of zeros, all inputs are one run; zeros do no harm to a weight that is finite.
    """
    depth = volume.computable().d
    segments = input_segments(depth)
    plane = volume.plane(1)
    zeros = (depth.n * depth.k - depth.pairs) * plane.macs * volume.n
    spared = (len(segments) - 1) * math.prod(volume.weight_shape)
    reads_all = any(len(segment.taps) == depth.k for segment in segments)
    if (
        depth.k == 1
        or len(segments) == 1
        or not reads_all
        or zeros > PRODUCTS_PER_WEIGHT * spared
        or not np.isfinite(w).all()
    ):
        return segments
    return (Segment(0, 1, depth.n, range(depth.k), -depth.crop_lo, depth.s, depth.d),)


def _adds_up(volume, grad_y):
    """Whether the taps are computed one by one and added up, instead of stacked.

    A channel alone has no sum over channels to which the taps could be stacked. What is rounded to half precision is
    rounded once.
    """
    dtype = lookup(grad_y.dtype)
    return volume.c_in == volume.c_out == volume.groups and np.dtype(dtype.compute) == grad_y.dtype


def _add_up(planes, segment, w, target):
    """The sum over a segment's depth taps, tap by tap, without a copy."""
    part = memory.empty(target.shape, target.dtype)
    for place, tap in enumerate(segment.taps):
        one = planes.tap(segment, place)
        made = target if place == 0 else part
        weight = _weight_of_outputs(w, range(tap, tap + 1), planes.volume.groups, planes.layout)
        for source, y in planes.batches(one, made):
            _grad_planes(planes, 1, source(), weight, y)
        if place:
            target += part


@quiet()
def grad_weight(volume: Volume, x, grad_y, out):
    """The gradient in the weight of a volume, which is filled: one 2-D problem for each depth tap."""
    x, grad_y, depth = native(x), native(grad_y), volume.computable().d
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
        if depth.k == 1:
            solve(problem, AUTO, a, b, None, out[:, :, 0])
            return
        part = memory.empty(problem.result_shape, x.dtype)
        solve(problem, AUTO, a, b, None, part)
        _put(part, out, t)


def _put(part, out, tap):
    """Write the gradient in a depth tap of the weight; its taps within the plane move as one value."""
    if not out.flags.c_contiguous or out.dtype != part.dtype:
        out[:, :, tap] = part
        return
    *pair, k_d, k_h, k_w = out.shape
    whole = np.dtype((np.void, k_h * k_w * out.itemsize))
    out.reshape(*pair, k_d, k_h * k_w).view(whole)[:, :, tap] = part.reshape(*pair, k_h * k_w).view(whole)


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
    # The taps of a channel follow one another, as they do in the weight: all of them together are a view.
    return w[:, :, taps.start : taps.stop].reshape(c_in, -1, *plane)
