"""Layers for flax: flax's own ConvTranspose, computed by upconv, and torch's ConvTranspose2d."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx

from ..errors import SettingError
from ..geometry import check_channels
from ..settings import Settings, integer, pair, positive
from .contraction import DTYPE_NAMES
from .functional import LAYOUTS, WORDS, conv_transpose2d, refuse_dtype, transpose

if TYPE_CHECKING:
    from typing import Any, Literal, SupportsIndex

    from jax import Array
    from jax.typing import ArrayLike, DTypeLike

    from ..typing import Padding, Pair


class ConvTranspose(nnx.ConvTranspose):
    """`flax.nnx.ConvTranspose`, of which two spatial axes are computed by upconv; arguments, parameters and their
    initial values are flax's, so one replaces the other in a model.

    Whatever else flax's layer does (one or three axes, "CIRCULAR", a dtype for the result) it does here too, by XLA.

    >>> layer = ConvTranspose(8, 4, (4, 4), (2, 2), rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((1, 16, 16, 8))).shape
    (1, 32, 32, 4)
    """

    def __call__(self, inputs: Array) -> Array:
        """Apply the layer.

        Args:
            inputs: (..., h, w, in_features) with any number of leading axes.

        Returns:
            (..., h_out, w_out, out_features).
        """
        named = isinstance(self.padding, str) and self.padding not in WORDS
        if len(self.kernel_size) != 2 or named or getattr(self, "preferred_element_type", None) is not None:
            return super().__call__(inputs)
        leading, x = inputs.shape[:-3], inputs.reshape(-1, *inputs.shape[-3:])
        kernel = self.kernel[...]
        if self.mask is not None:
            if self.mask.shape != kernel.shape:
                raise SettingError(f"mask has shape {self.mask.shape}; it must be the kernel's, {kernel.shape}")
            kernel = kernel * self.mask
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        steps = 1 if self.strides is None else self.strides
        settings = _sides(self.padding), self.kernel_dilation, None, self.transpose_kernel
        y = transpose(x, kernel, bias, steps, *settings)
        return y.reshape(*leading, *y.shape[1:])


class ConvTranspose2d(nnx.Module):
    """`torch.nn.ConvTranspose2d` as a flax module: constructor, shapes and initial distribution are torch's.

    Args:
        in_channels, out_channels: channels of the input and of the output; both divisible by `groups`.
        kernel_size, stride, padding, output_padding, dilation: as in `upconv.jax.conv_transpose2d`.
        groups: independent groups of channels.
        bias: whether there is a bias.
        layout: "NCHW" or "NHWC", the order of the axes of input and result; the weight is torch's in both.
        param_dtype: of the parameters.
        rngs: flax's random numbers, of which `params` are used.

    `weight` is (in_channels, out_channels // groups, k_h, k_w) and `bias` (out_channels,), as in torch's state_dict.

    Raises:
        SettingError, TypeError: for settings that no input could make valid.

    >>> layer = ConvTranspose2d(16, 33, 3, stride=2, padding=1, rngs=nnx.Rngs(0))
    >>> layer(jnp.zeros((20, 16, 50, 100))).shape
    (20, 33, 99, 199)
    """

    def __init__(
        self,
        in_channels: SupportsIndex,
        out_channels: SupportsIndex,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding | Literal["SAME", "VALID"] = 0,
        output_padding: Pair = 0,
        groups: SupportsIndex = 1,
        bias: bool = True,
        dilation: Pair = 1,
        *,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.in_channels, self.out_channels = integer(in_channels, "in_channels"), integer(out_channels, "out_channels")
        self.kernel_size = positive(pair(kernel_size, "kernel_size"), "kernel_size")
        # The words in capitals are JAX's, and can be nothing but right.
        cut = 0 if isinstance(padding, str) and padding in WORDS else padding
        checked = Settings.of(stride, cut, output_padding, groups, dilation)
        check_channels(self.in_channels, self.out_channels, checked.groups)
        if layout not in LAYOUTS:
            raise SettingError(f"layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
        if jnp.dtype(param_dtype).name not in DTYPE_NAMES:
            refuse_dtype("param_dtype is", jnp.dtype(param_dtype), "param_dtype='float32' would do")
        self.stride, self.output_padding, self.groups = checked.stride, checked.output_padding, checked.groups
        self.dilation, self.layout = checked.dilation, layout
        self.padding = padding if isinstance(padding, str) else checked.padding
        shape = self.in_channels, self.out_channels // self.groups, *self.kernel_size
        reach = (self.groups / (self.out_channels * self.kernel_size[0] * self.kernel_size[1])) ** 0.5
        self.weight = nnx.Param(jax.random.uniform(rngs.params(), shape, param_dtype, -reach, reach))
        drawn = jax.random.uniform(rngs.params(), (self.out_channels,), param_dtype, -reach, reach) if bias else None
        self.bias = None if drawn is None else nnx.Param(drawn)

    def __call__(self, input: ArrayLike) -> Array:
        """Apply the layer.

        Args:
            input: (n, in_channels, h, w), or without n; with layout="NHWC" (n, h, w, in_channels), or without n.

        Returns:
            The same form, with `out_channels`.

        Raises:
            SettingError, NotImplementedError: as in `upconv.jax.conv_transpose2d`.
        """
        settings: dict[str, Any] = {
            name: getattr(self, name) for name in ("stride", "padding", "output_padding", "groups", "dilation")
        }
        bias = None if self.bias is None else self.bias[...]
        return conv_transpose2d(input, self.weight[...], bias, **settings, layout=self.layout)


def _sides(padding):
    """Flax's padding as JAX takes it: a word, or a pair for each axis."""
    if isinstance(padding, str):
        return padding
    sides = (padding,) * 2 if isinstance(padding, int) else tuple(padding)
    return tuple((side, side) if isinstance(side, int) else tuple(side) for side in sides)


__all__ = ["ConvTranspose", "ConvTranspose2d"]
