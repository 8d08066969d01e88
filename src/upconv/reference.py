"""The definition of the transposed convolution, in loops. Read this page first; everything else must agree with it.

All four functions take a `Geometry`, or a `Volume`, and NumPy arrays in torch's layout,

    x, grad_x (n, c_in, h, w)      y, grad_y (n, c_out, h_out, w_out)      w, grad_w (c_in, c_out // groups, k_h, k_w)

(in three dimensions with the depth before the height) and compute in float64 (complex128 for complex input, int64 for
integers). On each axis output `o` and input `i` meet through tap `t` exactly when ``o == i*s + t*d - crop_lo``; the
four functions walk the same triples in different orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .geometry import Axis, Geometry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from .volume import Volume

    Places = tuple[int, ...]


def scatter(geometry: Geometry | Volume, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None) -> NDArray[Any]:
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
        for i, t, o in _meetings(geometry.axes):
            y[:, outs, *o] += x[:, ins, *i] @ w[ins, :, *t]
    return y if bias is None else y + _spread(bias, geometry)


def gather(geometry: Geometry | Volume, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None) -> NDArray[Any]:
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
        for o in np.ndindex(*(axis.out for axis in geometry.axes)):
            for i, t in _collected(geometry.axes, o):
                y[:, outs, *o] += x[:, ins, *i] @ w[ins, :, *t]
    return y if bias is None else y + _spread(bias, geometry)


def grad_input(geometry: Geometry | Volume, grad_y: ArrayLike, w: ArrayLike) -> NDArray[Any]:
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
        for i, t, o in _meetings(geometry.axes):
            grad_x[:, ins, *i] += grad_y[:, outs, *o] @ w[ins, :, *t].T
    return grad_x


def grad_weight(geometry: Geometry | Volume, x: ArrayLike, grad_y: ArrayLike) -> NDArray[Any]:
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
        for i, t, o in _meetings(geometry.axes):
            grad_w[ins, :, *t] += x[:, ins, *i].T @ grad_y[:, outs, *o]
    return grad_w


def _triples(axis: Axis) -> Iterator[tuple[int, int, int]]:
    """Every (input, tap, output) that meet on one axis: the formula of this library."""
    for i in range(axis.n):
        for t in range(axis.k):
            o = i * axis.s + t * axis.d - axis.crop_lo
            if 0 <= o < axis.out:
                yield i, t, o


def _meetings(axes: tuple[Axis, ...]) -> Iterator[tuple[Places, Places, Places]]:
    """Every (input, tap, output) that meet, each of them a place on every axis: those that meet on all axes."""
    if not axes:
        yield (), (), ()
        return
    for i, t, o in _triples(axes[0]):
        for others_i, others_t, others_o in _meetings(axes[1:]):
            yield (i, *others_i), (t, *others_t), (o, *others_o)


def _contributors(axis: Axis, o: int) -> Iterator[tuple[int, int]]:
    """The (input, tap) pairs that meet output `o`: the same formula solved for the input."""
    for t in range(axis.k):
        i, rest = divmod(o + axis.crop_lo - t * axis.d, axis.s)
        if rest == 0 and 0 <= i < axis.n:
            yield i, t


def _collected(axes: tuple[Axis, ...], o: Places) -> Iterator[tuple[Places, Places]]:
    """The (input, tap) pairs that meet an output on all axes."""
    if not axes:
        yield (), ()
        return
    for i, t in _contributors(axes[0], o[0]):
        for others_i, others_t in _collected(axes[1:], o[1:]):
            yield (i, *others_i), (t, *others_t)


def _groups(geometry: Geometry | Volume) -> Iterator[tuple[slice, slice]]:
    """The input channels and output channels of each group, as two slices."""
    wide_in, wide_out = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    for group in range(geometry.groups):
        yield slice(group * wide_in, (group + 1) * wide_in), slice(group * wide_out, (group + 1) * wide_out)


def _wide(given: ArrayLike) -> NDArray[Any]:
    """The array in the widest type of its kind."""
    array = np.asarray(given)
    return array.astype({"c": np.complex128, "i": np.int64}.get(array.dtype.kind, np.float64))


def _spread(bias: ArrayLike, geometry: Geometry | Volume) -> NDArray[Any]:
    """One value per output channel, along the channels of a map."""
    return _wide(bias).reshape(-1, *(1 for _ in geometry.axes))
