"""The NumPy door in one and in three dimensions: `conv_transpose1d` and `conv_transpose3d`, with torch's contract.

A 1-D layer is a 2-D one of height 1. A 3-D layer is a 2-D one for every run of planes that read the same depth taps
(see `depth`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .activations import activate
from .arrays import (
    agree,
    as_array,
    batched,
    check_out,
    check_weight,
    empty,
    native_dtype,
    parse_bias,
    preferred_layout,
)
from .depth import check_volume, forward
from .dtypes import lookup, quiet
from .functional import transpose
from .interchange import like
from .planning import AUTO, activation_of, check_algorithm_name
from .prepared import PreparedVolume, PreparedWeight
from .problem import NO_ACTIVATION
from .settings import Settings, parsed

if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from numpy.typing import ArrayLike, NDArray

    from .plans import Plan
    from .typing import Activation, Padding, PaddingMode, Pair


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike | PreparedWeight,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    activation: Activation | None = None,
    out: NDArray[Any] | None = None,
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]:
    """Transposed 1-D convolution, with the contract of `torch.nn.functional.conv_transpose1d`.

    ``out = (in - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1``.

    Args:
        input: (n, c_in, length), or (c_in, length) without a batch.
        weight: (c_in, c_out // groups, k), of the same dtype; or a `PreparedWeight`.
        bias: (c_out,) or None.
        stride, padding, output_padding, dilation: an int, or one in a sequence; beyond torch, `padding` also takes
            ((lo, hi),), signed, "same", "same_lower" or "valid" (see `upconv.conv_transpose2d`).
        groups: number of independent groups of channels; divides c_in.
        padding_mode, activation, out, algorithm: as in `upconv.conv_transpose2d`; a ready `Plan` is that of a map of
            height 1.

    Returns:
        (n, c_out, length_out), unbatched if the input is.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`.

    >>> conv_transpose1d(np.ones((1, 1, 3)), np.ones((1, 1, 3)), stride=2, padding=1)
    array([[[1., 2., 1., 2., 1.]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 1)
    return transpose1d(settings, input, weight, bias, activation=activation, out=out, algorithm=algorithm)


def transpose1d(settings: Settings, input, weight, bias=None, *, activation=None, out=None, algorithm=AUTO):
    """`conv_transpose1d` with settings that are parsed already."""
    x = as_array(input, "input")
    _, is_batched = batched(x, dimensions=1)
    if isinstance(weight, PreparedWeight) and weight.shape[2] == 1:
        w, w_shape = weight, (*weight.shape[:2], weight.shape[3])
    else:
        array = check_weight(_array_of(weight), 1)
        w, w_shape = array[:, :, None], array.shape
    geometry = _geometry(settings, x.shape if is_batched else (1, *x.shape), w_shape)
    target = None
    if out is not None:
        shape = (geometry.n, geometry.c_out, geometry.w.out)
        operands = x, w.raw if w is weight else w, None if bias is None else as_array(bias, "bias")
        target = check_out(out, shape if is_batched else shape[1:], x.dtype.name, operands)[..., None, :]
    ends = {"activation": activation, "out": target, "algorithm": algorithm}
    y = transpose(settings.as_2d(), x[..., None, :], w, bias, **ends)
    return like(input, y[..., 0, :]) if out is None else out


def _array_of(weight):
    """A weight as an array; one that was prepared for another number of dimensions is refused by its shape."""
    return weight.array if isinstance(weight, PreparedWeight | PreparedVolume) else as_array(weight, "weight")


def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike | PreparedVolume,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    activation: Activation | None = None,
    out: NDArray[Any] | None = None,
    algorithm: str = AUTO,
) -> NDArray[Any]:
    """Transposed 3-D convolution, with the contract of `torch.nn.functional.conv_transpose3d`.

    On each axis ``out = (in - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1``.

    Args:
        input: (n, c_in, d, h, w), or (c_in, d, h, w) without a batch.
        weight: (c_in, c_out // groups, k_d, k_h, k_w), of the same dtype; or what `upconv.prepare` made of it.
        bias: (c_out,) or None.
        stride, padding, output_padding, dilation: an int or (depth, height, width); beyond torch, `padding` also takes
            a triple of signed (lo, hi) crops, "same", "same_lower" or "valid" (see `upconv.conv_transpose2d`).
        groups: number of independent groups of channels; divides c_in.
        padding_mode, activation, out: as in `upconv.conv_transpose2d`.
        algorithm: "auto", or the name of the algorithm that computes the planes.

    Returns:
        (n, c_out, d_out, h_out, w_out), unbatched if the input is; channels-last in memory if the input or the weight
        is.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`.

    >>> conv_transpose3d(np.ones((1, 1, 1, 1, 2)), np.ones((1, 1, 2, 1, 2)), stride=(2, 1, 2)).tolist()
    [[[[[1.0, 1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0, 1.0]]]]]
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 3)
    return transpose3d(settings, input, weight, bias, activation=activation, out=out, algorithm=algorithm)


def transpose3d(settings: Settings, input, weight, bias=None, *, activation=None, out=None, algorithm=AUTO):
    """`conv_transpose3d` with settings that are parsed already."""
    check_algorithm_name(algorithm)
    x, is_batched = batched(as_array(input, "input"), dimensions=3)
    if isinstance(weight, PreparedVolume):
        weight.check(settings)
        w, w_array = weight, weight.raw
    else:
        w = w_array = check_weight(_array_of(weight), 3)
    dtype = lookup(x.dtype).name
    after = NO_ACTIVATION if activation is None else activation_of(activation, dtype)
    layout = preferred_layout(x, w_array, is_batched=is_batched)
    volume, shape, border = _volume(settings, x.shape, w.shape, dtype)
    b = parse_bias(bias, shape[1])
    agree(input=x, weight=w, bias=b)
    if out is None:
        y = empty(shape, native_dtype(x), layout)
    else:
        plain = check_out(out, shape if is_batched else shape[1:], dtype, (x, w_array, b))
        y = plain if is_batched else plain[None]
    if border is None:
        forward(volume, x, w, b, y, activation=after, algorithm=algorithm)
    else:
        _fold(volume, border, x, w_array if w is w_array else w.array, b, y, after, algorithm)
    return out if out is not None else like(input, y if is_batched else y[0])


# Vocoders send a new length with every call, so the caches must forget.
@lru_cache(maxsize=512)
def _geometry(settings, x_shape, w_shape):
    return settings.geometry(x_shape, w_shape)


@lru_cache(maxsize=512)
def _volume(settings, x_shape, w_shape, dtype):
    """(the volume of the canvas, the shape of the result, the border to fold back or None)."""
    volume = settings.geometry(x_shape, w_shape)
    canvas, border = settings.border(volume)
    check_volume(canvas, dtype)
    return canvas, volume.output_shape, border


@quiet()
def _fold(volume, border, x, w, b, y, activation, algorithm):
    """Compute the canvas in the computing type, fold its border back, add the bias, round once."""
    compute = lookup(x.dtype).compute
    canvas = np.empty(volume.output_shape, compute)
    forward(volume, x.astype(compute), w.astype(compute), None, canvas, algorithm=algorithm)
    folded = border.fold(canvas)
    folded = folded if b is None else folded + b.astype(compute)[:, None, None, None]
    activate(activation, folded)
    y[...] = folded
