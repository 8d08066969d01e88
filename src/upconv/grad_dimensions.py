"""The gradients of `conv_transpose1d` and `conv_transpose3d`; see `grad`.

Those in one dimension are those of a map of height 1; those in three go by the planes of the depth (see `depth`).
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from . import calls, depth
from .arrays import (
    agree,
    batched,
    check_shape,
    check_weight,
    differentiable,
    empty,
    lies_either_way,
    native_dtype,
    preferred_layout,
)
from .channel_sums import channel_sums
from .dtypes import quiet
from .interchange import like
from .planning import AUTO, ask_whether, check_algorithm, check_algorithm_name, solve
from .problem import Problem
from .settings import mask_of, parsed, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, SupportsIndex

    from numpy.typing import ArrayLike, NDArray

    from .plans import Plan
    from .typing import Padding, PaddingMode, Pair, Shape


def conv_transpose1d_input(
    input_size: Shape,
    weight: ArrayLike,
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
        input_size: shape of the input, (n, c_in, length) or (c_in, length).
        weight: (c_in, c_out // groups, k).
        grad_output: gradient in the output, of the shape the forward call returns.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose1d`.
        algorithm: "auto", or what computes this gradient: a name, or the ready `Plan` of a map of height 1.

    Returns:
        An array of shape `input_size`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose1d`; NotImplementedError for int64.

    >>> conv_transpose1d_input((1, 1, 2), np.ones((1, 1, 3)), np.ones((1, 1, 5)), stride=2)
    array([[[3., 3.]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 1)
    return _input(settings, input_size, weight, grad_output, algorithm)


def conv_transpose1d_weight(
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
        input: (n, c_in, length) or (c_in, length).
        weight_size: shape of the weight, (c_in, c_out // groups, k).
        grad_output: gradient in the output, of the shape the forward call returns.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose1d`.
        algorithm: "auto", or what computes this gradient: a name, or the ready `Plan` of a map of height 1.

    Returns:
        An array of shape `weight_size`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose1d`; NotImplementedError for int64.

    >>> conv_transpose1d_weight(np.ones((1, 1, 2)), (1, 1, 2), np.ones((1, 1, 4)), stride=2)
    array([[[2., 2.]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 1)
    return _weight(settings, input, weight_size, grad_output, algorithm)


def conv_transpose1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
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
        input, weight: operands of the forward call.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose1d`.
        output_mask: which of the three are wanted.
        algorithm: "auto", or the name of one that computes the gradients in input and weight that output_mask wants;
            most ways compute one of the two, and a call that wants both of them is refused.

    Returns:
        (grad_input, grad_weight, grad_bias), None in place of those that are not wanted.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose1d`; NotImplementedError for int64.

    >>> gx, gw, gb = conv_transpose1d_backward(np.ones((1, 1, 3)), np.ones((1, 1, 2)), np.ones((1, 1, 2)))
    >>> gx.tolist(), gw.tolist(), gb.tolist()
    ([[[2.0, 2.0]]], [[[2.0, 2.0]]], [3.0])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 1)
    return _backward(settings, grad_output, input, weight, output_mask, algorithm)


def conv_transpose3d_input(
    input_size: Shape,
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: str = AUTO,
) -> NDArray[Any]:
    """Gradient in the input.

    Args:
        input_size: shape of the input, (n, c_in, d, h, w) or (c_in, d, h, w).
        weight: (c_in, c_out // groups, k_d, k_h, k_w).
        grad_output: gradient in the output, of the shape the forward call returns.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose3d`.
        algorithm: "auto", or the name of the one that computes this gradient, plane by plane.

    Returns:
        An array of shape `input_size`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose3d`; NotImplementedError for int64.

    >>> conv_transpose3d_input((1, 1, 1, 1, 2), np.ones((1, 1, 2, 1, 1)), np.ones((1, 1, 2, 1, 2)), stride=(2, 1, 1))
    array([[[[[2., 2.]]]]])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 3)
    return _input(settings, input_size, weight, grad_output, algorithm)


def conv_transpose3d_weight(
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
    algorithm: str = AUTO,
) -> NDArray[Any]:
    """Gradient in the weight.

    Args:
        input: (n, c_in, d, h, w) or (c_in, d, h, w).
        weight_size: shape of the weight, (c_in, c_out // groups, k_d, k_h, k_w).
        grad_output: gradient in the output, of the shape the forward call returns.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose3d`.
        algorithm: "auto", or the name of the one that computes this gradient, plane by plane.

    Returns:
        An array of shape `weight_size`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose3d`; NotImplementedError for int64.

    >>> conv_transpose3d_weight(np.ones((1, 1, 1, 1, 2)), (1, 1, 2, 1, 1), np.ones((1, 1, 2, 1, 2))).ravel()
    array([2., 2.])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 3)
    return _weight(settings, input, weight_size, grad_output, algorithm)


def conv_transpose3d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
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
        input, weight: operands of the forward call.
        stride, padding, output_padding, groups, dilation, padding_mode: as in `upconv.conv_transpose3d`.
        output_mask: which of the three are wanted.
        algorithm: "auto", or the name of one that computes the gradients in input and weight that output_mask wants;
            most ways compute one of the two, and a call that wants both of them is refused.

    Returns:
        (grad_input, grad_weight, grad_bias), None in place of those that are not wanted.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose3d`; NotImplementedError for int64.

    >>> x, w = np.ones((1, 1, 1, 1, 2)), np.ones((1, 1, 2, 1, 1))
    >>> gx, gw, gb = conv_transpose3d_backward(np.ones((1, 1, 2, 1, 2)), x, w)
    >>> gx.ravel().tolist(), gw.ravel().tolist(), gb.tolist()
    ([2.0, 2.0], [2.0, 2.0], [4.0])
    """
    settings = parsed(stride, padding, output_padding, groups, dilation, padding_mode, 3)
    return _backward(settings, grad_output, input, weight, output_mask, algorithm)


def _input(settings, input_size, weight, grad_output, algorithm):
    dimensions = settings.dimensions
    _check_algorithm(algorithm, dimensions)
    shape, is_batched = shape_of(input_size, (dimensions + 1, dimensions + 2), "input_size")
    asked = _Asked(settings, algorithm, grad_output, weight, "grad_input", shape)
    gradient = asked.again()
    if gradient is not None:
        return gradient
    w = check_weight(differentiable(weight, "weight"), dimensions)
    call = _Call(settings, shape, w.shape, differentiable(grad_output, "grad_output"), is_batched, algorithm)
    agree(weight=w, grad_output=call.grad_output)
    return like(grad_output, call.unbatch(call.grad_input(w, asked)))


def _weight(settings, input, weight_size, grad_output, algorithm):
    dimensions = settings.dimensions
    _check_algorithm(algorithm, dimensions)
    weight_shape, _ = shape_of(weight_size, (dimensions + 2,), "weight_size")
    asked = _Asked(settings, algorithm, input, grad_output, "grad_weight", weight_shape)
    gradient = asked.again()
    if gradient is not None:
        return gradient
    x, is_batched = batched(differentiable(input, "input"), dimensions=dimensions)
    call = _Call(settings, x.shape, weight_shape, differentiable(grad_output, "grad_output"), is_batched, algorithm)
    agree(input=x, grad_output=call.grad_output)
    return like(grad_output, call.grad_weight(x, asked))


def _backward(settings, grad_output, input, weight, output_mask, algorithm):
    dimensions, mask = settings.dimensions, mask_of(output_mask)
    check_algorithm_name(algorithm)
    x_facts, w_facts = ((array.shape, array.strides, array.dtype) if type(array) is np.ndarray else None
                        for array in (input, weight))  # fmt: skip
    asked = [
        _Asked(settings, algorithm, grad_output, weight, "grad_input", x_facts),
        _Asked(settings, algorithm, input, grad_output, "grad_weight", w_facts),
    ]
    found = [each.again() if x_facts and w_facts and is_wanted else None
             for each, is_wanted in zip(asked, mask, strict=False)]  # fmt: skip
    if (mask[0] or mask[1]) and all(each is not None for each in itertools.compress(found, mask)):
        return found[0], found[1], grad_bias(grad_output) if mask[2] else None
    x, is_batched = batched(differentiable(input, "input"), dimensions=dimensions)
    w = check_weight(differentiable(weight, "weight"), dimensions)
    call = _Call(settings, x.shape, w.shape, differentiable(grad_output, "grad_output"), is_batched, algorithm)
    agree(input=x, weight=w, grad_output=call.grad_output)
    if algorithm != AUTO and mask[0] and mask[1]:
        # Most ways compute one of the two, which is to be refused before any work.
        call.grad_weight(x, asked[1], ask_whether)
    return (
        like(grad_output, call.unbatch(call.grad_input(w, asked[0], x))) if mask[0] else None,
        like(grad_output, call.grad_weight(x, asked[1])) if mask[1] else None,
        like(grad_output, grad_bias(call.grad_output)) if mask[2] else None,
    )


def _check_algorithm(algorithm, dimensions):
    # No plan is that of all planes of a volume.
    (check_algorithm if dimensions == 1 else check_algorithm_name)(algorithm)


@quiet()
def grad_bias(grad_output):
    """Sum over batch and places, in the widest type: the sum can be long."""
    return channel_sums(grad_output).astype(native_dtype(grad_output))


class _Asked:
    """What a call in one dimension is remembered by, as one of height 1 (see `calls`); none in three, or by name."""

    def __init__(self, settings, algorithm, a, b, *facts):
        self.operands = None
        is_plain = type(a) is type(b) is np.ndarray and a.ndim == b.ndim == 3 and None not in facts
        if settings.dimensions == 1 and algorithm is AUTO and is_plain:
            self.operands = settings.as_2d(), _lifted(a), _lifted(b), None, None, (settings, *facts)

    def again(self):
        found = None if self.operands is None else calls.again(*self.operands)
        return None if found is None else found[:, :, 0]

    def first(self, gradient, plan):
        return self.operands is not None and calls.first(*self.operands, gradient, plan)


def deciding(grad_output, weight, x=None):
    """The operands that say how the gradient in the input lies: `x`, the input, too where the first lies either way."""
    return (grad_output, weight) if x is None or not lies_either_way(grad_output) else (grad_output, weight, x)


class _Call:
    """One backward call after its checks: the geometry and the gradient of the whole canvas."""

    def __init__(self, settings, input_shape, weight_shape, grad_output, is_batched, algorithm):
        self.input_shape, self.weight_shape, self.algorithm = input_shape, weight_shape, algorithm
        geometry = settings.geometry(input_shape, weight_shape)
        self.is_flat = settings.dimensions == 1
        shape = _without_height(geometry.output_shape) if self.is_flat else geometry.output_shape
        check_shape(grad_output, shape if is_batched else shape[1:], "grad_output")
        self.is_batched, self.grad_output = is_batched, grad_output if is_batched else grad_output[None]
        self.geometry, border = settings.as_2d().border(geometry)
        self.has_border = border is not None
        lifted = _lifted(self.grad_output) if self.is_flat else self.grad_output
        self.canvas = lifted if border is None else border.pad(lifted)
        if not self.is_flat:
            depth.check_volume(self.geometry, grad_output.dtype.name)

    def grad_input(self, weight, asked, x=None):
        """The gradient; `x` is the input where it is there."""
        operands = deciding(self.grad_output, weight, x)
        return self._run("grad_input", self.input_shape, operands, self.canvas, conjugate(weight), asked)

    def grad_weight(self, x, asked, compute=solve):
        operands = x, self.grad_output
        return self._run("grad_weight", self.weight_shape, operands, conjugate(x), self.canvas, asked, compute)

    def unbatch(self, gradient):
        return gradient if self.is_batched else gradient[0]

    def _run(self, operation, shape, operands, a, b, asked, compute=solve):
        operands = tuple(map(_lifted, operands)) if self.is_flat else operands
        layout = preferred_layout(*operands, is_batched=self.is_batched)
        if not self.is_flat:
            gradient = empty(shape, native_dtype(a), "nchw" if operation == "grad_weight" else layout)
            if operation == "grad_input":
                depth.grad_input(self.geometry, a, b, gradient, algorithm=self.algorithm)
            else:
                depth.grad_weight(self.geometry, a, b, gradient, algorithm=self.algorithm, compute=compute)
            return gradient
        a, b = (array if array.ndim == 4 else _lifted(array) for array in (a, b))
        problem = Problem(operation, self.geometry, a.dtype.name, layout)
        gradient = empty(problem.result_shape, native_dtype(a), layout)
        # What is remembered is computed from the operands themselves.
        is_plain = self.is_batched and not self.has_border and a.dtype.kind != "c"
        compute(problem, self.algorithm, a, b, None, gradient, partial(asked.first, gradient) if is_plain else None)
        return gradient[:, :, 0]


def _lifted(array):
    """A map or a weight of one axis as one of height 1."""
    return array[:, :, None]


def _without_height(shape):
    return *shape[:2], shape[3]


def conjugate(array):
    """The complex conjugate of what is complex."""
    return array.conj() if array.dtype.kind == "c" else array
