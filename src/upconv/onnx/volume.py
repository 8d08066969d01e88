"""One and three dimensions by `conv_transpose2d`: a map of height 1, and planes that read the same depth taps."""

import numpy as np

from ..functional import conv_transpose2d
from ..geometry import Axis
from ..phases import live_segments
from ..prepared import PreparedWeight


def conv_transpose1d(x, weight, bias, stride, crops, output_padding, groups, dilation):
    """`conv_transpose2d` with one axis; `weight` may be one prepared for height 1."""
    w = weight if isinstance(weight, PreparedWeight) else weight[:, :, None]
    y = conv_transpose2d(x[:, :, None], w, bias, (1, *stride), ((0, 0), *crops), output_padding, groups, (1, *dilation))
    return y[:, :, 0]


def conv_transpose3d(x, weight, bias, stride, crops, output_padding, groups, dilation):
    """`conv_transpose2d` with three axes, depth first."""
    n, _, size, *_ = x.shape
    depth = Axis(size, weight.shape[2], stride[0], dilation[0], *crops[0])
    rest = (stride[1:], crops[1:], output_padding, groups, dilation[1:])
    steps = zip(x.shape[3:], weight.shape[3:], stride[1:], dilation[1:], crops[1:], strict=True)
    axes = [Axis(*numbers, *sides) for *numbers, sides in steps]
    y = np.zeros((n, weight.shape[1] * groups, depth.out, *(axis.out for axis in axes)), x.dtype)
    if bias is not None:
        y += bias[:, None, None, None]
    for segment in live_segments(depth):
        # Depth taps that meet in one plane are more input channels of each group.
        starts = [segment.source + number * segment.tap_step for number in range(len(segment.taps))]
        planes = [x[:, :, at : at + segment.count].swapaxes(1, 2) for at in starts]
        source = np.stack([p.reshape(n * segment.count, groups, -1, *x.shape[3:]) for p in planes], 2)
        taps = [weight[:, :, tap].reshape(groups, -1, weight.shape[1], *weight.shape[3:]) for tap in segment.taps]
        kernel = np.stack(taps, 1).reshape(-1, weight.shape[1], *weight.shape[3:])
        made = conv_transpose2d(source.reshape(n * segment.count, -1, *x.shape[3:]), kernel, bias, *rest)
        y[:, :, segment.places] = made.reshape(n, segment.count, *made.shape[1:]).swapaxes(1, 2)
    return y
