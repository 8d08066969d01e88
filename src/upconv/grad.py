"""The gradients of `conv_transpose2d`: in its input, in its weight, and all three in one pass.

Those in one and in three dimensions have the same names with another number.

The settings mean what they mean in the forward call. Each gradient lies channels-last in memory if one of the operands
it is computed from does; that in the input as the input does, where the gradient in the output, of one channel, lies
either way. For complex operands these are the gradients of a real loss, as torch defines them: the other operand enters
conjugated.
"""

from __future__ import annotations

import itertools
from functools import lru_cache, partial
from typing import TYPE_CHECKING, overload

import numpy as np

from . import calls
from .arrays import (
    agree,
    batched,
    check_differentiable,
    check_shape,
    differentiable,
    empty,
    native_dtype,
    preferred_layout,
)
from .fitting import array_of
from .grad_dimensions import (
    conjugate,
    conv_transpose1d_backward,
    conv_transpose1d_input,
    conv_transpose1d_weight,
    conv_transpose3d_backward,
    conv_transpose3d_input,
    conv_transpose3d_weight,
    deciding,
    grad_bias,
)
from .interchange import like
from .planning import AUTO, ask_whether, check_algorithm, check_algorithm_name, solve
from .prepared import PreparedWeight, weight_of
from .problem import Problem
from .settings import mask_of, parsed, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, SupportsIndex

    from numpy.typing import ArrayLike, NDArray

    from .plans import Plan
    from .typing import Padding, PaddingMode, Pair, Shape, Value

__all__ = [
    "conv_transpose1d_backward",
    "conv_transpose1d_input",
    "conv_transpose1d_weight",
    "conv_transpose2d_backward",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "conv_transpose3d_backward",
    "conv_transpose3d_input",
    "conv_transpose3d_weight",
]


@overload
def conv_transpose2d_input(
    input_size: Shape,
    weight: NDArray[Value] | PreparedWeight,
    grad_output: NDArray[Value],
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str | Plan = AUTO,
) -> NDArray[Value]: ...
@overload
def conv_transpose2d_input(
    input_size: Shape,
    weight: ArrayLike | PreparedWeight,
    grad_output: ArrayLike,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]: ...
def conv_transpose2d_input(
    input_size: Shape,
    weight: ArrayLike | PreparedWeight,
    grad_output: ArrayLike,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]:
    """Gradient in the input.

    Args:
        input_size: shape of the input, (n, c_in, h, w) or (c_in, h, w).
        weight: (c_in, c_out // groups, k_h, k_w), or that of `upconv.prepare`.
        grad_output: gradient in the output, of the shape the forward call returns.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose2d`.
        algorithm: "auto", or the name of one that computes this gradient.

    Returns:
        An array of shape `input_size`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`; NotImplementedError for int64.

    >>> conv_transpose2d_input((1, 1, 2, 2), np.ones((1, 1, 3, 3)), np.ones((1, 1, 5, 5)), stride=2)
    array([[[[9., 9.],
             [9., 9.]]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode)
    shape, is_batched = shape_of(input_size, (3, 4), "input_size")
    check_algorithm(algorithm)
    asked = ("grad_input", shape) if is_batched and algorithm is AUTO else None
    gradient = None if asked is None else calls.again(settings, grad_output, weight, None, None, asked)
    if gradient is not None:
        return gradient
    w, _ = weight_of(weight, settings)
    check_differentiable(w.dtype, "weight")
    call = _Call(settings, shape, w.shape, differentiable(grad_output, "grad_output"), is_batched, algorithm)
    agree(weight=w, grad_output=call.grad_output)
    kept = None if asked is None else partial(calls.first, settings, grad_output, weight, None, None, asked)
    return like(grad_output, call.unbatch(call.grad_input(w, kept=kept)))


@overload
def conv_transpose2d_weight(
    input: NDArray[Value],
    weight_size: Shape,
    grad_output: NDArray[Value],
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str | Plan = AUTO,
) -> NDArray[Value]: ...
@overload
def conv_transpose2d_weight(
    input: ArrayLike,
    weight_size: Shape,
    grad_output: ArrayLike,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]: ...
def conv_transpose2d_weight(
    input: ArrayLike,
    weight_size: Shape,
    grad_output: ArrayLike,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str | Plan = AUTO,
) -> NDArray[Any]:
    """Gradient in the weight.

    Args:
        input: (n, c_in, h, w) or (c_in, h, w).
        weight_size: shape of the weight, (c_in, c_out // groups, k_h, k_w).
        grad_output: gradient in the output, of the shape the forward call returns.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose2d`.
        algorithm: "auto", or the name of one that computes this gradient.

    Returns:
        An array of shape `weight_size`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`; NotImplementedError for int64.

    >>> conv_transpose2d_weight(np.ones((1, 1, 2, 2)), (1, 1, 1, 2), np.ones((1, 1, 3, 4)), stride=2)
    array([[[[4., 4.]]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode)
    weight_shape, _ = shape_of(weight_size, (4,), "weight_size")
    check_algorithm(algorithm)
    asked = settings, input, grad_output, None, None, ("grad_weight", weight_shape)
    is_usual = algorithm is AUTO
    gradient = calls.again(*asked) if is_usual else None
    if gradient is not None:
        return gradient
    x, is_batched = batched(differentiable(input, "input"))
    call = _Call(settings, x.shape, weight_shape, differentiable(grad_output, "grad_output"), is_batched, algorithm)
    agree(input=x, grad_output=call.grad_output)
    return like(grad_output, call.grad_weight(x, partial(calls.first, *asked) if is_usual else None))


@overload
def conv_transpose2d_backward(
    grad_output: NDArray[Value],
    input: NDArray[Value],
    weight: NDArray[Value] | PreparedWeight,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    output_mask: Sequence[bool] = (True, True, True),
    padding_mode: PaddingMode = "zeros",
    algorithm: str = AUTO,
) -> tuple[NDArray[Value] | None, NDArray[Value] | None, NDArray[Value] | None]: ...
@overload
def conv_transpose2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike | PreparedWeight,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    output_mask: Sequence[bool] = (True, True, True),
    padding_mode: PaddingMode = "zeros",
    algorithm: str = AUTO,
) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]: ...
def conv_transpose2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike | PreparedWeight,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    output_mask: Sequence[bool] = (True, True, True),
    padding_mode: PaddingMode = "zeros",
    algorithm: str = AUTO,
) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """The gradients in input, weight and bias in one pass.

    Args:
        grad_output: gradient in the output, of the shape the forward call returns.
        input, weight: operands of the forward call; the weight may be that of `upconv.prepare`.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose2d`.
        output_mask: which of the three are wanted.
        algorithm: "auto", or the name of one that computes the gradients in input and weight that output_mask wants;
            most ways compute one of the two, and a call that wants both of them is refused.

    Returns:
        (grad_input, grad_weight, grad_bias), None in place of those that are not wanted.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`; NotImplementedError for int64.

    >>> x, w = np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 2))
    >>> gx, gw, gb = conv_transpose2d_backward(np.ones((1, 1, 2, 3)), x, w)
    >>> gx.tolist(), gw.tolist(), gb.tolist()
    ([[[[2.0, 2.0], [2.0, 2.0]]]], [[[[4.0, 4.0]]]], [6.0])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode)
    mask, kept = mask_of(output_mask), [None, None]
    check_algorithm_name(algorithm)
    found: list[Any] = [None, None]
    if algorithm is AUTO and type(input) is np.ndarray and type(weight) in (np.ndarray, PreparedWeight):
        # What each is computed from, and what else its door has looked at.
        asked = (
            (settings, grad_output, weight, None, None, ("grad_input", input.shape, input.strides, input.dtype)),
            (settings, input, grad_output, None, None, ("grad_weight", weight.shape, weight.dtype)),
        )
        for number in (0, 1):
            if mask[number]:
                found[number] = calls.again(*asked[number])
                kept[number] = partial(calls.first, *asked[number])
        if (mask[0] or mask[1]) and all(each is not None for each in itertools.compress(found, mask)):
            return found[0], found[1], grad_bias(grad_output) if mask[2] else None
    x, is_batched = batched(differentiable(input, "input"))
    w, _ = weight_of(weight, settings)
    check_differentiable(w.dtype, "weight")
    call = _Call(settings, x.shape, w.shape, differentiable(grad_output, "grad_output"), is_batched, algorithm)
    agree(input=x, weight=w, grad_output=call.grad_output)
    if algorithm != AUTO and mask[0] and mask[1]:
        # Most ways compute one of the two, which is to be refused before any work.
        call.grad_weight(x, compute=ask_whether)
    if mask[0] and found[0] is None:
        found[0] = like(grad_output, call.unbatch(call.grad_input(w, x, kept[0])))
    if mask[1] and found[1] is None:
        found[1] = like(grad_output, call.grad_weight(x, kept[1]))
    return found[0], found[1], like(grad_output, grad_bias(call.grad_output)) if mask[2] else None


class _Call:
    """One backward call after its checks: the geometry and the gradient of the whole canvas."""

    def __init__(self, settings, input_shape, weight_shape, grad_output, is_batched, algorithm):
        output, self.geometry, border = _sizes(settings, tuple(input_shape), weight_shape)
        self.is_batched, self.has_border, self.algorithm = is_batched, border is not None, algorithm
        shape = output if is_batched else output[1:]
        check_shape(grad_output, shape, "grad_output")
        self.grad_output = grad_output if is_batched else grad_output[None]
        self.canvas = self.grad_output if border is None else border.pad(self.grad_output)

    def grad_input(self, weight, x=None, kept=None):
        """The gradient; `x` is the input where it is there, `kept` is what remembers the call (see `calls.first`)."""
        operands = deciding(self.grad_output, array_of(weight), x)
        # What is prepared cannot enter conjugated as it is.
        is_conjugated = weight.dtype.kind == "c"
        weight = conjugate(weight.array if isinstance(weight, PreparedWeight) else weight) if is_conjugated else weight
        return self._run("grad_input", operands, self.canvas, weight, kept)

    def grad_weight(self, x, kept=None, compute=solve):
        return self._run("grad_weight", (x, self.grad_output), conjugate(x), self.canvas, kept, compute)

    def unbatch(self, gradient):
        return gradient if self.is_batched else gradient[0]

    def _run(self, operation, operands, a, b, kept=None, compute=solve):
        layout = preferred_layout(*operands, is_batched=self.is_batched)
        problem = _problem(operation, self.geometry, a.dtype.name, layout)
        gradient = empty(problem.result_shape, native_dtype(a), layout)
        # What is remembered is computed from the operands themselves.
        is_plain = self.is_batched and not self.has_border and a.dtype.kind != "c"
        compute(problem, self.algorithm, a, b, None, gradient, partial(kept, gradient) if kept and is_plain else None)
        return gradient


# Facts with sizes, which a small gradient would take longer to find than to compute; as in the forward call.
@lru_cache(maxsize=512)
def _sizes(settings, input_shape, weight_shape):
    """(shape of the output, the geometry of the canvas, the border that is folded back or None)."""
    geometry = settings.geometry(input_shape, weight_shape)
    return geometry.output_shape, *settings.border(geometry)


_problem = lru_cache(maxsize=512)(Problem)
