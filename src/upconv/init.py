"""First weights of upsampling layers that make no checkerboard: `bilinear` and `icnr`.

Both take a shape and return an array, or take an array or a tensor of PyTorch and fill it in place.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, overload

import numpy as np

from .errors import SettingError
from .geometry import AXES, check_channels
from .settings import integer, pair, positive

if TYPE_CHECKING:
    from typing import Any, Protocol, SupportsIndex, TypeVar

    from numpy.typing import NDArray

    from .typing import Pair, Shape

    class Filled(Protocol):
        """An array or a tensor: what knows its shape."""

        @property
        def shape(self) -> tuple[int, ...]: ...

    Weight = TypeVar("Weight", bound=Filled)
    Seed = int | np.random.Generator | None


@overload
def bilinear(weight: Shape, stride: Pair = 2, *, groups: SupportsIndex = 1) -> NDArray[np.float32]: ...
@overload
def bilinear(weight: Weight, stride: Pair = 2, *, groups: SupportsIndex = 1) -> Weight: ...
def bilinear(weight: Any, stride: Pair = 2, *, groups: SupportsIndex = 1) -> Any:
    """Weights of bilinear interpolation: the layer starts as a smooth enlargement of its input.

    Every output channel interpolates one input channel: within a group, output o takes input o modulo the number of
    inputs. With `kernel_size = 2*stride - stride % 2` and `padding = stride // 2` it is the
    interpolation of the FCN papers, inside the borders the one of `interpolate(mode="bilinear")`; other kernels get the
    same triangle, scaled so that the taps of every phase add up to 1.

    Args:
        weight: a shape (c_in, c_out // groups, k_h, k_w), or an array or a PyTorch tensor of it, which is filled.
        stride: an int, or (height, width); the kernel must be at least as large.
        groups: of the layer.

    Returns:
        The weight: a new array of float32 for a shape, otherwise what was given.

    Raises:
        SettingError: for a kernel smaller than the stride, which leaves holes, and for shapes that are none.

    >>> bilinear((1, 1, 1, 4), (1, 2)).tolist()
    [[[[0.25, 0.75, 0.75, 0.25]]]]
    """
    shape, stride, groups = _checked(weight, stride, groups)
    c_in, per_out, k_h, k_w = shape
    values = np.zeros(shape)
    kernel = np.outer(_triangle(k_h, stride[0]), _triangle(k_w, stride[1]))
    per_in = c_in // groups
    for group in range(groups):
        for o in range(per_out):
            values[group * per_in + o % per_in, o] = kernel
    return _fill(weight, values)


@overload
def icnr(weight: Shape, stride: Pair = 2, *, groups: SupportsIndex = 1, rng: Seed = None) -> NDArray[np.float32]: ...
@overload
def icnr(weight: Weight, stride: Pair = 2, *, groups: SupportsIndex = 1, rng: Seed = None) -> Weight: ...
def icnr(weight: Any, stride: Pair = 2, *, groups: SupportsIndex = 1, rng: Seed = None) -> Any:
    """Random weights, the same for every phase: the layer starts as a convolution, enlarged by nearest neighbours.

    After "Checkerboard artifact free sub-pixel convolution" (Aitken and others, 2017), for transposed convolutions: the
    taps that serve one input are equal for all phases. What they hold is drawn from a normal distribution after He and
    others (2015) for the products that an output really adds up.

    Args:
        weight: a shape (c_in, c_out // groups, k_h, k_w), or an array or a PyTorch tensor of it, which is filled.
        stride: an int, or (height, width); it must divide the kernel.
        groups: of the layer.
        rng: a `numpy.random.Generator` or a seed.

    Returns:
        The weight: a new array of float32 for a shape, otherwise what was given.

    Raises:
        SettingError: for a kernel that the stride does not divide, whose phases cannot be equal, and as `bilinear`.

    >>> weight = icnr((1, 1, 1, 4), (1, 2), rng=0)[0, 0, 0]
    >>> bool(weight[0] == weight[1]), bool(weight[2] == weight[3])
    (True, True)
    """
    shape, stride, groups = _checked(weight, stride, groups)
    c_in, per_out, *kernel = shape
    for k, s, name in zip(kernel, stride, AXES, strict=True):
        if k % s:
            below, above = k // s * s, -(-k // s) * s
            sizes = f"{below} or {above}" if below else f"{above}"
            raise SettingError(f"{name}: the stride {s} does not divide the kernel {k}; a kernel of {sizes} would do")
    steps = [k // s for k, s in zip(kernel, stride, strict=True)]
    deviation = sqrt(2 / (c_in // groups * steps[0] * steps[1]))
    values = np.random.default_rng(rng).normal(0.0, deviation, (c_in, per_out, *steps))
    return _fill(weight, values.repeat(stride[0], axis=2).repeat(stride[1], axis=3))


def _checked(weight, stride, groups):
    """(shape, stride, groups) after their checks; the weight itself is not looked into."""
    shape = tuple(int(size) for size in getattr(weight, "shape", weight))
    if len(shape) != 4 or min(shape) < 1:
        raise SettingError(
            f"the weight has the shape {shape}; it must be (in_channels, out_channels / groups, height, width)"
        )
    stride = positive(pair(stride, "stride"), "stride")
    groups = integer(groups, "groups")
    check_channels(shape[0], shape[1] * max(groups, 1), groups)
    for k, s, name in zip(shape[2:], stride, AXES, strict=True):
        if k < s:
            raise SettingError(
                f"{name}: a kernel of {k} leaves holes at a stride of {s}; it must have at least {s} taps"
            )
    return shape, stride, groups


def _triangle(k, s):
    """One axis of the interpolation: a triangle s wide on each side, each phase's taps scaled to add up to 1."""
    taps = np.arange(k)
    heights = np.maximum(0.0, 1 - np.abs(taps - (k - 1) / 2) / s)
    sums = np.bincount(taps % s, weights=heights, minlength=s)
    return heights / sums[taps % s]


def _fill(weight, values):
    """The values as a new array for a shape; otherwise written into the array or the tensor."""
    if not hasattr(weight, "shape"):
        return values.astype(np.float32)
    if hasattr(weight, "detach"):
        # Shares the tensor's memory, so that PyTorch's own rule against changing leaves that want gradients is met.
        inside = weight.detach()
        inside.copy_(inside.new_tensor(values))
        return weight
    if not weight.flags.writeable:
        raise SettingError(
            "the weight is read-only, as a layer's is; give its shape, and assign what comes back: "
            "layer.weight = upconv.init.bilinear(layer.weight.shape, stride)"
        )
    weight[...] = values
    return weight
