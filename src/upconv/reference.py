"""The definition of the transposed convolution, in loops. Read this page first; everything else must agree with it.

All four functions take a `Geometry` and NumPy arrays in torch's layout,

    x, grad_x (n, c_in, h, w)      y, grad_y (n, c_out, h_out, w_out)      w, grad_w (c_in, c_out // groups, k_h, k_w)

and compute in float64 (complex128 for complex input, int64 for integers). On each axis output `o` and input `i` meet
through tap `t` exactly when ``o == i*s + t*d - crop_lo``; the four functions walk the same triples in different orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .geometry import Axis, Geometry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import ArrayLike, NDArray


def scatter(geometry: Geometry, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None) -> NDArray[Any]:
    """Scatter form: every input value stamps the kernel onto the output.

    Args:
        geometry: sizes, crops, strides, dilations and groups.
        x, w, bias: input, weight, and one value per output channel or None.

    Returns:
        y, (n, c_out, h_out, w_out).

    >>> x, w = np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 3))
    >>> scatter(Geometry(1, 1, 1, 1, Axis(1, 1), Axis(2, 3, s=2)), x, w)
    array([[[[1., 1., 2., 1., 1.]]]])
    """
    x, w = _wide(x), _wide(w)
    y = np.zeros(geometry.output_shape, np.result_type(x, w))
    for ins, outs in _groups(geometry):
        for i_h, t_h, o_h in _triples(geometry.h):
            for i_w, t_w, o_w in _triples(geometry.w):
                y[:, outs, o_h, o_w] += x[:, ins, i_h, i_w] @ w[ins, :, t_h, t_w]
    return y if bias is None else y + _wide(bias)[:, None, None]


def gather(geometry: Geometry, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None) -> NDArray[Any]:
    """Gather form: every output value collects the inputs whose stamps cover it. The same sums as `scatter`.

    Args:
        geometry: sizes, crops, strides, dilations and groups.
        x, w, bias: input, weight, and one value per output channel or None.

    Returns:
        y, (n, c_out, h_out, w_out).

    >>> x, w = np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 3))
    >>> gather(Geometry(1, 1, 1, 1, Axis(1, 1), Axis(2, 3, s=2)), x, w)
    array([[[[1., 1., 2., 1., 1.]]]])
    """
    x, w = _wide(x), _wide(w)
    y = np.zeros(geometry.output_shape, np.result_type(x, w))
    for ins, outs in _groups(geometry):
        for o_h in range(geometry.h.out):
            for o_w in range(geometry.w.out):
                for i_h, t_h in _contributors(geometry.h, o_h):
                    for i_w, t_w in _contributors(geometry.w, o_w):
                        y[:, outs, o_h, o_w] += x[:, ins, i_h, i_w] @ w[ins, :, t_h, t_w]
    return y if bias is None else y + _wide(bias)[:, None, None]


def grad_input(geometry: Geometry, grad_y: ArrayLike, w: ArrayLike) -> NDArray[Any]:
    """Gradient in the input: an ordinary strided convolution of `grad_y` with `w`.

    The gradient of a real loss in torch's sense, so a complex weight enters conjugated.

    Args:
        geometry: sizes, crops, strides, dilations and groups.
        grad_y, w: gradient in the output, and weight.

    Returns:
        grad_x, (n, c_in, h, w).

    >>> grad_input(Geometry(1, 1, 1, 1, Axis(1, 1), Axis(2, 3, s=2)), np.ones((1, 1, 1, 5)), np.ones((1, 1, 1, 3)))
    array([[[[3., 3.]]]])
    """
    grad_y, w = _wide(grad_y), _wide(w).conj()
    grad_x = np.zeros(geometry.input_shape, np.result_type(grad_y, w))
    for ins, outs in _groups(geometry):
        for i_h, t_h, o_h in _triples(geometry.h):
            for i_w, t_w, o_w in _triples(geometry.w):
                grad_x[:, ins, i_h, i_w] += grad_y[:, outs, o_h, o_w] @ w[ins, :, t_h, t_w].T
    return grad_x


def grad_weight(geometry: Geometry, x: ArrayLike, grad_y: ArrayLike) -> NDArray[Any]:
    """Gradient in the weight: correlates `grad_y` with the (conjugated) input.

    Args:
        geometry: sizes, crops, strides, dilations and groups.
        x, grad_y: input, and gradient in the output.

    Returns:
        grad_w, (c_in, c_out // groups, k_h, k_w).

    >>> grad_weight(Geometry(1, 1, 1, 1, Axis(1, 1), Axis(2, 3, s=2)), np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 5)))
    array([[[[2., 2., 2.]]]])
    """
    x, grad_y = _wide(x).conj(), _wide(grad_y)
    grad_w = np.zeros(geometry.weight_shape, np.result_type(x, grad_y))
    for ins, outs in _groups(geometry):
        for i_h, t_h, o_h in _triples(geometry.h):
            for i_w, t_w, o_w in _triples(geometry.w):
                grad_w[ins, :, t_h, t_w] += x[:, ins, i_h, i_w].T @ grad_y[:, outs, o_h, o_w]
    return grad_w


def _triples(axis: Axis) -> Iterator[tuple[int, int, int]]:
    """Every (input, tap, output) that meet on one axis: the formula of this library."""
    for i in range(axis.n):
        for t in range(axis.k):
            o = i * axis.s + t * axis.d - axis.crop_lo
            if 0 <= o < axis.out:
                yield i, t, o


def _contributors(axis: Axis, o: int) -> Iterator[tuple[int, int]]:
    """The (input, tap) pairs that meet output `o`: the same formula solved for the input."""
    for t in range(axis.k):
        i, rest = divmod(o + axis.crop_lo - t * axis.d, axis.s)
        if rest == 0 and 0 <= i < axis.n:
            yield i, t


def _groups(geometry: Geometry) -> Iterator[tuple[slice, slice]]:
    """The input channels and output channels of each group, as two slices."""
    wide_in, wide_out = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    for group in range(geometry.groups):
        yield slice(group * wide_in, (group + 1) * wide_in), slice(group * wide_out, (group + 1) * wide_out)


def _wide(given: ArrayLike) -> NDArray[Any]:
    """The array in the widest type of its kind."""
    array = np.asarray(given)
    return array.astype({"c": np.complex128, "i": np.int64}.get(array.dtype.kind, np.float64))
