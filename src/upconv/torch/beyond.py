"""What goes beyond torch's own layer, by name: words of padding, signed crops, and borders that are folded back.

All of it is a transposed convolution of torch's contract between operations of torch's, so every derivative and
transform comes with it. With the canvas of ``full = (n - 1)*s + d*(k - 1) + 1`` values on each axis,

- signed crops (lo, hi), and words, which are crops: outputs are canvas positions lo to full - hi - 1; what lies outside
  the canvas holds the bias alone;
- a padding_mode: with padding p = (lo, hi), the canvas is computed with its border, and position q of the padded axis
  is added onto the place of the output that a padded `Conv2d` reads there (`Border`); then comes the bias.
"""

import torch

from ..borders import Border
from ..planning import AUTO, check_algorithm_name
from ..settings import Settings
from . import dispatch
from .operands import geometry_of

HALVES = (torch.float16, torch.bfloat16)


def is_beyond(padding, padding_mode):
    """Whether torch's own layer cannot say it."""
    if isinstance(padding, str) or padding_mode != "zeros":
        return True
    return isinstance(padding, tuple | list) and any(isinstance(each, tuple | list) for each in padding)


def transpose(
    input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode="zeros", algorithm=AUTO
):
    """`conv_transpose2d` with settings that go beyond torch.

    Raises:
        SettingError, TypeError: as in `upconv.conv_transpose2d`.
    """
    if algorithm != AUTO:
        check_algorithm_name(algorithm)
    settings = Settings.of(stride, padding, output_padding, groups, dilation, padding_mode)
    x = input.unsqueeze(0) if input.ndim == 3 else input
    canvas, border = settings.border(geometry_of(settings, x.shape, weight.shape, None if bias is None else bias.shape))
    ends = settings.stride, settings.groups, settings.dilation, algorithm
    if border is None:
        y = _cropped(x, weight, bias, canvas, *ends)
    else:
        # Sums of halves are made in single precision, and rounded once.
        wide = torch.float32 if x.dtype in HALVES else x.dtype
        y = _folded(_cropped(x.to(wide), weight.to(wide), None, canvas, *ends), border)
        y = (y if bias is None else y + bias.to(wide)[:, None, None]).to(x.dtype)
    return y.squeeze(0) if input.ndim == 3 else y


def _cropped(x, weight, bias, geometry, stride, groups, dilation, algorithm):
    """The outputs that an axis's crops leave: by a padding that torch has, and the rest from its result."""
    said, rest = zip(*(_said(axis) for axis in geometry.axes), strict=True)
    padding, output_padding = zip(*said, strict=True)
    extends = min(min(sides) for sides in rest) < 0
    given = None if extends else bias
    said_to_torch = stride, padding, output_padding, groups, dilation
    if algorithm == AUTO:
        y = dispatch.transpose(x, weight, given, *said_to_torch)
    else:
        y = dispatch.by_name(algorithm, 2, x, weight, given, *said_to_torch)
    if extends:
        (top, bottom), (left, right) = rest
        y = torch.nn.functional.pad(y, [max(0, -side) for side in (left, right, top, bottom)])
        y = y if bias is None else y + bias[:, None, None]
    for dim, (lo, hi), axis in zip((2, 3), rest, geometry.axes, strict=True):
        if max(lo, hi) > 0:
            y = y.narrow(dim, max(0, lo), axis.out)
    return y.contiguous(memory_format=torch.channels_last) if _was_last(y) else y.contiguous()


def _was_last(y):
    """Whether a cut result comes from one that lies channels-last."""
    return y.shape[1] > 1 and y.stride(1) == 1


def _said(axis):
    """((padding, output_padding) of torch's, (lo, hi) that are still to be cut) of one axis."""
    most = max(axis.s, axis.d) - 1
    padding = max(0, min(axis.crop_lo, axis.crop_hi + most))
    extra = min(most, max(0, padding - axis.crop_hi))
    if axis.full - 2 * padding + extra < 1:
        padding = extra = 0
    return (padding, extra), (axis.crop_lo - padding, axis.crop_hi - padding + extra)


def _folded(canvas, border: Border):
    """Every value of the border added onto the place that it was copied from."""
    for dim, sides in enumerate(border.sides, 2):
        size = canvas.shape[dim] - sum(sides)
        sources = torch.from_numpy(border.sources(size, sides))
        shape = [size if at == dim else length for at, length in enumerate(canvas.shape)]
        canvas = canvas.new_zeros(shape).index_add(dim, sources, canvas)
    return canvas
