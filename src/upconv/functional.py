"""The NumPy door: `conv_transpose2d` with torch's contract, and the `conv2d` that it is the transpose of."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, overload

import numpy as np

from . import calls
from .activations import activate
from .arrays import (
    agree,
    as_array,
    batched,
    check_convolution_weight_shape,
    check_out,
    empty,
    native_dtype,
    parse_bias,
    preferred_layout,
)
from .dtypes import lookup, quiet
from .errors import SettingError
from .geometry import AXES, Axis, Geometry, check_channels
from .interchange import like
from .planning import AUTO, activation_of, check_algorithm, solve
from .prepared import PreparedWeight, weight_of
from .problem import NO_ACTIVATION, Problem
from .settings import Settings, parsed

if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from numpy.typing import ArrayLike, NDArray

    from .plans import Plan
    from .typing import Activation, Padding, PaddingMode, Pair, Value


@overload
def conv_transpose2d(
    input: NDArray[Value],
    weight: NDArray[Value] | PreparedWeight,
    bias: NDArray[Value] | None = None,
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
) -> NDArray[Value]: ...
@overload
def conv_transpose2d(
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
) -> NDArray[Any]: ...
def conv_transpose2d(
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
    """Transposed 2-D convolution, with the contract of `torch.nn.functional.conv_transpose2d`.

    On each axis ``out = (in - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1``.

    Args:
        input: (n, c_in, h, w), or (c_in, h, w) without a batch.
        weight: (c_in, c_out // groups, k_h, k_w), of the same dtype; or a `PreparedWeight`, which is packed once.
        bias: (c_out,) or None.
        stride, dilation: spacing of the inputs, and of the taps, on the canvas; an int or (height, width), at least 1.
        padding: how much is cut off each side of the canvas. Beyond torch: a pair of signed (lo, hi) crops, where
            negative ones extend the canvas by values that hold the bias only; "same" (out = in * stride, the odd crop
            at the end), "same_lower" (at the beginning) or "valid".
        output_padding: extra outputs at the end, below max(stride, dilation); any number beside (lo, hi) crops.
        groups: number of independent groups of channels; divides c_in.
        padding_mode: beyond torch, "circular", "reflect" or "replicate" make this the exact adjoint of a `Conv2d` with
            that padding_mode.
        activation: what the result passes through after the bias: "relu", "leaky_relu", ("leaky_relu", slope), "tanh",
            "sigmoid", or None.
        out: array to write into, of the result's shape and dtype, any strides, overlapping no operand.
        algorithm: "auto", a name (see `upconv.plan`), or a ready `Plan`.

    Returns:
        (n, c_out, h_out, w_out), unbatched if the input is; channels-last in memory if the input or the weight is. An
        array of another library on the CPU (whatever has `__dlpack__` or `__array__`) is read where it lies, and the
        result is of the input's kind.

    Raises:
        SettingError: settings or shapes that do not fit (a RuntimeError and a ValueError); arrays on a device, and
            tensors that want gradients.
        TypeError: settings that are not integers, unknown strings.
        NotImplementedError: dtypes other than float16, bfloat16, float32, float64, complex64, complex128, int64.

    >>> conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)), stride=2, padding=1, output_padding=1)
    array([[[[1., 2., 1., 1.],
             [2., 4., 2., 2.],
             [1., 2., 1., 1.],
             [1., 2., 1., 1.]]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode)
    return transpose(settings, input, weight, bias, activation=activation, out=out, algorithm=algorithm)


def transpose(settings: Settings, input, weight, bias=None, *, activation=None, out=None, algorithm=AUTO):
    """`conv_transpose2d` with settings that are parsed already: the spine of the library."""
    is_usual = out is None and algorithm is AUTO
    if is_usual:
        y = calls.again(settings, input, weight, bias, activation)
        if y is not None:
            return y
    else:
        check_algorithm(algorithm)
    x, is_batched = batched(as_array(input, "input"))
    w, w_array = weight_of(weight, settings)
    dtype = lookup(x.dtype).name
    after = NO_ACTIVATION if activation is None else activation_of(activation, dtype)
    layout = preferred_layout(x, w_array, is_batched=is_batched)
    problem, shape, border = _problem(settings, x.shape, w.shape, dtype, layout, after)
    b = parse_bias(bias, shape[1])
    agree(input=x, weight=w, bias=b)
    y = _result(out, shape, problem, (x, w_array, b), is_batched)
    if border is not None:
        _fold(problem, border, algorithm, x, w.array if w is not w_array else w, b, y)
    else:
        kept = None
        if is_usual and is_batched:
            kept = partial(calls.first, settings, input, weight, bias, activation, "forward", y)
        solve(problem, algorithm, x, w, b, y, kept)
    if out is not None:
        return out
    y = y if is_batched else y[0]
    return y if type(input) is np.ndarray else like(input, y)


# Facts with sizes; a vocoder sends a new width with every call, so the cache must forget.
@lru_cache(maxsize=512)
def _problem(settings, x_shape, w_shape, dtype, layout, activation):
    """(the problem of the canvas, the shape of the result, the border to fold back or None)."""
    geometry = settings.geometry(x_shape, w_shape)
    canvas, border = settings.border(geometry)
    return Problem("forward", canvas, dtype, layout, activation=activation), geometry.output_shape, border


@overload
def conv2d(
    input: NDArray[Value],
    weight: NDArray[Value] | PreparedWeight,
    bias: NDArray[Value] | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: SupportsIndex = 1,
    *,
    algorithm: str | Plan = AUTO,
) -> NDArray[Value]: ...
@overload
def conv2d(
    input: ArrayLike,
    weight: ArrayLike | PreparedWeight,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: SupportsIndex = 1,
    *,
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]: ...
def conv2d(
    input: ArrayLike,
    weight: ArrayLike | PreparedWeight,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: SupportsIndex = 1,
    *,
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]:
    """Ordinary 2-D convolution, with the contract of `torch.nn.functional.conv2d`.

    It is the gradient of `conv_transpose2d` in its input, so ``<conv2d(y), x> == <y, conv_transpose2d(x)>``.

    Args:
        input: (n, c_in, h, w), or (c_in, h, w) without a batch.
        weight: (c_out, c_in // groups, k_h, k_w), of the same dtype; or that of `prepare`, which is packed once.
        bias: (c_out,) or None.
        stride, dilation, groups: as in torch.
        padding: zeros around the input, an int or (height, width), "valid", or "same" (stride 1 only), as in torch.
            Beyond torch: "same_lower", or a pair of signed (lo, hi), where a negative one cuts the input instead.
        algorithm: "auto", or the name of one that computes the gradient in the input.

    Returns:
        (n, c_out, h_out, w_out) with ``out = (in + 2*padding - dilation*(kernel - 1) - 1) // stride + 1``.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `conv_transpose2d`.

    >>> conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=1)
    array([[[[4., 6., 4.],
             [6., 9., 6.],
             [4., 6., 4.]]]])
    """
    settings = parsed(stride, padding, 0, groups, dilation)
    is_usual = algorithm is AUTO
    if is_usual:
        x = calls.again(settings, input, weight, bias, None, "grad_input")
        if x is not None:
            return x
    else:
        check_algorithm(algorithm)
    y, is_batched = batched(as_array(input, "input"))
    w, w_array = weight_of(weight, settings, check_convolution_weight_shape)
    problem = _convolution(
        settings, y.shape, w.shape, lookup(y.dtype).name, preferred_layout(y, w_array, is_batched=is_batched)
    )
    b = parse_bias(bias, problem.geometry.c_in)
    agree(input=y, weight=w, bias=b)
    x = empty(problem.geometry.input_shape, native_dtype(y), problem.layout)
    kept = None
    if is_usual and is_batched:
        kept = partial(calls.first, settings, input, weight, bias, None, "grad_input", x)
    solve(problem, algorithm, y, w, b, x, kept)
    return like(input, x if is_batched else x[0])


def _result(out, shape, problem, operands, is_batched):
    """The 4-D array to write: a new one, or `out` after its checks."""
    if out is None:
        return empty(shape, native_dtype(operands[0]), problem.layout)
    plain = check_out(out, shape if is_batched else shape[1:], problem.dtype, operands)
    return plain if is_batched else plain[None]


@quiet()
def _fold(problem, border, algorithm, x, w, b, y):
    """Compute the canvas in the computing type, fold its border back, add the bias, round once."""
    compute = lookup(x.dtype).compute
    wide = Problem("forward", problem.geometry, np.dtype(compute).name, problem.layout)
    canvas = empty(problem.geometry.output_shape, compute, problem.layout)
    solve(wide, algorithm, x.astype(compute), w.astype(compute), None, canvas)
    folded = border.fold(canvas)
    folded = folded if b is None else folded + b.astype(compute)[:, None, None]
    activate(problem.activation, folded)
    y[...] = folded


@lru_cache(maxsize=512)
def _convolution(settings, shape, weight_shape, dtype, layout):
    """A convolution as the gradient in the input that it is."""
    return Problem("grad_input", _undone(settings, shape, weight_shape), dtype, layout)


def _undone(settings, shape, weight_shape):
    """The transposed geometry whose output is the convolution's input."""
    n, c, *sizes = shape
    c_out, c_group, *kernel = weight_shape
    if c != c_group * settings.groups:
        raise SettingError(
            f"input has {c} channels; weight {weight_shape} with groups={settings.groups} takes "
            f"{c_group * settings.groups}"
        )
    # The transposed geometry would speak of its own inputs, which are the convolution's outputs.
    check_channels(c, c_out, settings.groups)
    axes = [_undone_axis(settings, number, sizes[number], kernel[number]) for number in (0, 1)]
    return Geometry(n, c_out, c, settings.groups, *axes)


def _undone_axis(settings, number, size, k):
    s, d = settings.stride[number], settings.dilation[number]
    extent = d * (k - 1) + 1
    if settings.padding in ("same", "same_lower"):
        if s != 1:
            raise SettingError(f"padding={settings.padding!r} needs stride 1 in conv2d, as in torch; stride is {s}")
        half = (extent - 1) // 2
        lo, hi = (half, extent - 1 - half) if settings.padding == "same" else (extent - 1 - half, half)
    else:
        lo, hi = (0, 0) if settings.padding == "valid" else settings.sides[number]
    for count, what in ((k, "kernel"), (size, "input")):
        if count < 1:
            raise SettingError(f"{AXES[number]}: the {what} has {count} elements; it must have at least 1")
    if size + lo + hi < extent:
        raise SettingError(
            f"{AXES[number]}: the kernel covers {extent} and the padded input has {size + lo + hi} "
            f"({size} and padding ({lo}, {hi})); it must have at least as many"
        )
    n = (size + lo + hi - extent) // s + 1
    return Axis(n, k, s, d, lo, (n - 1) * s + extent - lo - size)
