"""The layers: torch's own classes, whose forward is upconv's. Parameters, names, repr and state_dict are inherited."""

from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingError
from ..geometry import check_channels
from ..problem import NO_ACTIVATION
from ..settings import Settings, pair, positive
from . import beyond, dispatch
from .contraction import parsed
from .state import STATE, left, make_state


class ConvTranspose2d(torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, computed by upconv; a drop-in replacement, seed for seed and key for key.

    Args:
        in_channels, out_channels: channels of the input and of the output; both divisible by `groups`.
        kernel_size, stride, padding, output_padding, dilation: an int, or (height, width).
        groups: independent groups of channels.
        bias: whether there is a bias.
        padding_mode: "zeros"; beyond torch, by this class's name alone, "circular", "reflect" or "replicate". `padding`
            also takes "same", "same_lower", "valid" and signed (lo, hi) crops (see `upconv.conv_transpose2d`).
        device, dtype: of the parameters.

    Raises:
        SettingError, TypeError: for settings that no input could make valid.

    >>> layer = ConvTranspose2d(16, 33, 3, stride=2)
    >>> layer
    ConvTranspose2d(16, 33, kernel_size=(3, 3), stride=(2, 2))
    >>> layer(torch.zeros(20, 16, 50, 100)).shape
    torch.Size([20, 33, 101, 201])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        further = beyond.is_beyond(padding, padding_mode)
        if further:
            settings = Settings.of(stride, padding, output_padding, groups, dilation, padding_mode)
            stride, padding, output_padding = settings.stride, (0, 0), settings.output_padding
            groups, dilation = settings.groups, settings.dilation
        else:
            stride, padding, output_padding, groups, dilation = parsed(
                stride, padding, output_padding, groups, dilation
            )
        kernel_size = positive(pair(kernel_size, "kernel_size"), "kernel_size")
        # A lazy layer learns its channels from the first input.
        if not isinstance(self, torch.nn.modules.lazy.LazyModuleMixin):
            check_channels(in_channels, out_channels, groups)
        ends = groups, bias, dilation, "zeros", device, dtype
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, output_padding, *ends)
        if further:
            self.padding, self.padding_mode = settings.padding, settings.padding_mode

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Apply the layer.

        Args:
            input: (n, in_channels, h, w), or (in_channels, h, w).
            output_size: sizes wanted, (h_out, w_out) or with all leading ones; replaces `output_padding`.

        Returns:
            (n, out_channels, h_out, w_out), unbatched if the input is.

        Raises:
            SettingError, TypeError: as in `conv_transpose2d`.
        """
        # TorchScript compiles the first branch alone.
        if torch.jit.is_scripting():
            padding = self._output_padding(
                input, output_size, self.stride, self.padding, self.kernel_size, 2, self.dilation
            )
            return torch.conv_transpose2d(
                input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
            )
        else:
            return applied(self, 2, input, output_size)


class LazyConvTranspose2d(torch.nn.LazyConvTranspose2d, ConvTranspose2d):
    """`torch.nn.LazyConvTranspose2d`: a `ConvTranspose2d` that takes `in_channels` from its first input.

    >>> layer = LazyConvTranspose2d(8, 2, stride=2)
    >>> layer(torch.zeros(1, 3, 4, 4)).shape, layer
    (torch.Size([1, 8, 8, 8]), ConvTranspose2d(3, 8, kernel_size=(2, 2), stride=(2, 2)))
    """

    cls_to_become = ConvTranspose2d


class ConvTranspose1d(torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d`, computed by upconv as a map of height 1; arguments as there.

    >>> ConvTranspose1d(4, 2, 4, stride=2, padding=1)(torch.zeros(1, 4, 10)).shape
    torch.Size([1, 2, 20])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Apply the layer.

        Args:
            input: (n, in_channels, length), or (in_channels, length).
            output_size: the length wanted, in a sequence, alone or with all leading sizes; replaces `output_padding`.

        Returns:
            (n, out_channels, length_out), unbatched if the input is.

        Raises:
            SettingError, TypeError: as in `conv_transpose1d`.
        """
        if torch.jit.is_scripting():
            padding = self._output_padding(
                input, output_size, self.stride, self.padding, self.kernel_size, 1, self.dilation
            )
            return torch.conv_transpose1d(
                input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
            )
        else:
            return applied(self, 1, input, output_size)


class ConvTranspose3d(torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d`, computed by upconv plane by plane; arguments as there.

    >>> ConvTranspose3d(4, 2, (1, 2, 2), stride=(1, 2, 2))(torch.zeros(1, 4, 3, 8, 8)).shape
    torch.Size([1, 2, 3, 16, 16])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Apply the layer.

        Args:
            input: (n, in_channels, d, h, w), or (in_channels, d, h, w).
            output_size: sizes wanted, (d_out, h_out, w_out) or with all leading ones; replaces `output_padding`.

        Returns:
            (n, out_channels, d_out, h_out, w_out), unbatched if the input is.

        Raises:
            SettingError, TypeError: as in `conv_transpose3d`.
        """
        if torch.jit.is_scripting():
            padding = self._output_padding(
                input, output_size, self.stride, self.padding, self.kernel_size, 3, self.dilation
            )
            return torch.conv_transpose3d(
                input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
            )
        else:
            return applied(self, 3, input, output_size)


FUNCTIONS = {1: dispatch.transpose1d, 2: dispatch.transpose, 3: dispatch.transpose3d}
THEIRS = {1: dispatch.THEIRS_1D, 2: dispatch.THEIRS, 3: dispatch.THEIRS_3D}


def applied(layer, dimensions, input, output_size):
    """One call of a layer of upconv's own class."""
    if torch.compiler.is_compiling():
        return compute(layer, dimensions, input, output_size, layer.weight, layer.bias)
    state = layer.__dict__.get(STATE) or make_state(layer)
    if output_size is None and layer.padding_mode == "zeros" and (known := left(layer, state, input)) is not None:
        weight, bias, settings = known
        return THEIRS[dimensions](input, weight, bias, *settings)
    return compute(layer, dimensions, input, output_size, layer.weight, layer.bias, state.measured)


def compute(layer, dimensions, input, output_size, weight, bias, measured=None, activation=NO_ACTIVATION):
    """A layer's result with these operands in place of its own.

    Args:
        layer: a transposed convolution of 1 to 3 `dimensions`, of torch's class or of upconv's.
        input, output_size: as in its forward.
        weight, bias: in torch's forms.
        measured: `measurements.Measurements` of the layer, or None.
        activation: what the result passes through: one that kernels apply, and where no derivative is wanted.
    """
    if isinstance(layer, ConvTranspose2d) and beyond.is_beyond(layer.padding, layer.padding_mode):
        y = _beyond(layer, input, output_size, weight, bias)
        return dispatch.activated(y, activation)
    if layer.padding_mode != "zeros":
        raise SettingError(f"padding_mode is {layer.padding_mode!r}; this layer has only 'zeros', as torch's")
    if output_size is None:
        padding = layer.output_padding
    elif dimensions == 2:
        padding = _for_size(layer, input, output_size)
    else:
        ends = layer.stride, layer.padding, layer.kernel_size, dimensions, layer.dilation
        padding = layer._output_padding(input, output_size, *ends)
    settings = layer.stride, layer.padding, padding, layer.groups, layer.dilation
    return FUNCTIONS[dimensions](input, weight, bias, *settings, measured, activation)


def _beyond(layer, input, output_size, weight, bias):
    """The result of a layer whose settings go beyond torch's."""
    ends = layer.groups, layer.dilation, layer.padding_mode
    settings = Settings.of(layer.stride, layer.padding, layer.output_padding, *ends)
    if output_size is not None:
        settings = settings.for_output_size(output_size, tuple(input.shape), layer.kernel_size)
    ends = settings.output_padding, settings.groups, settings.dilation, settings.padding_mode
    return beyond.transpose(input, weight, bias, settings.stride, settings.padding, *ends)


def _for_size(layer, input, output_size):
    """The output_padding that makes an output_size."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or type(input) is not torch.Tensor:
        ends = layer.stride, layer.padding, layer.kernel_size, 2, layer.dilation
        return layer._output_padding(input, output_size, *ends)
    settings = Settings.of(layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
    return settings.for_output_size(output_size, tuple(input.shape), layer.kernel_size).output_padding
