"""A 1-D layer of torch's over a signal that comes in chunks; see `upconv.streaming`."""

import torch
from torch import Tensor

from .. import streaming
from ..errors import SettingError
from ..runtime import pool
from .frozen import FROM_OUTSIDE, inferring, made_by, makers, unknown
from .operands import array, has_memory, is_plain, tensor
from .state import state_of
from .team import team


class StreamingConvTranspose1d:
    """A transposed 1-D convolution of a signal that comes in chunks: `upconv.StreamingConvTranspose1d` for tensors.

    Args:
        layer: a `torch.nn.ConvTranspose1d`, or upconv's. Weight and bias are copied as they are in inference now, with
            whatever makes them: parametrizations, the old hooks of weight_norm, spectral_norm and prune, freezing.

    The chunks joined are the bits of the whole, whatever the chunks. It is for inference: nothing is differentiated.

    Raises:
        TypeError, SettingError: as in `upconv.StreamingConvTranspose1d`; SettingError for parameters that upconv does
            not compute with, and for a frozen layer that has changed since.

    >>> stream = StreamingConvTranspose1d(torch.nn.ConvTranspose1d(2, 3, 4, stride=2, padding=1))
    >>> x = torch.ones(1, 2, 10)
    >>> [piece.shape[-1] for piece in (stream.push(x[..., :3]), stream.push(x[..., 3:]), stream.flush())]
    [5, 14, 1]
    """

    def __init__(self, layer: torch.nn.Module) -> None:
        if not isinstance(layer, torch.nn.ConvTranspose1d):
            raise TypeError(f"layer is of type {type(layer).__name__}; it must be a torch.nn.ConvTranspose1d")
        weight, bias, storage = _operands(layer)
        self._stream = streaming.StreamingConvTranspose1d(_Layer(layer, weight, bias, storage))
        self._dtype = weight.dtype

    @property
    def algorithm(self) -> str:
        """Which algorithm computes every chunk."""
        return self._stream.algorithm

    @property
    def held(self) -> int:
        """How many outputs wait for inputs to come, once the stream has begun."""
        return self._stream.held

    def reset(self) -> None:
        """Forget the signal so far, and be ready for another one."""
        self._stream.reset()

    def push(self, chunk: Tensor) -> Tensor:
        """Take the next inputs; see `upconv.StreamingConvTranspose1d.push`.

        Args:
            chunk: (n, in_channels, length), or (in_channels, length); of any length, also 0.

        Returns:
            The outputs that have become final, (n, out_channels, length_out), unbatched if the chunk is.

        Raises:
            TypeError: for what is no tensor.
            SettingError: for a chunk that does not go on as the stream began, that is not on the CPU, or that torch
                would differentiate.
        """
        if not isinstance(chunk, Tensor):
            raise TypeError(f"chunk is of type {type(chunk).__name__}; it must be a tensor")
        if not _is_ours(chunk):
            raise SettingError("chunk must be a plain dense tensor on the CPU, of a dtype of upconv's")
        if chunk.requires_grad and torch.is_grad_enabled():
            raise SettingError("a stream has no gradients: call it under torch.no_grad(), or with chunk.detach()")
        return tensor(pool.run_on(team(), self._stream.push, array(chunk)), self._dtype)

    def flush(self) -> Tensor:
        """End the signal; see `upconv.StreamingConvTranspose1d.flush`.

        Returns:
            The outputs that had waited.

        Raises:
            SettingError: if the signal is too short to have an output.
        """
        return tensor(pool.run_on(team(), self._stream.flush), self._dtype)


class _Layer:
    """A layer of torch's with its parameters as arrays."""

    def __init__(self, layer, weight, bias, storage):
        for name in ("stride", "padding", "output_padding", "groups", "dilation", "padding_mode"):
            setattr(self, name, getattr(layer, name))
        if not all(operand is None or _is_ours(operand) for operand in (weight, bias)):
            raise SettingError("the layer's parameters must be plain dense tensors on the CPU, of a dtype of upconv's")
        self.weight, self.bias, self.storage = array(weight), None if bias is None else array(bias), storage


def _operands(layer):
    """(weight, bias, storage) that a layer computes with in inference now; it is left as it was."""
    state = state_of(layer)
    if state is not None and state.frozen is not None:
        return *state.frozen.operands(layer), state.frozen.storage
    name = unknown(layer)
    if name is not None:
        raise SettingError(f"the layer cannot be streamed: its {name} {FROM_OUTSIDE}")
    held = {name: getattr(layer, name) for name in map(made_by, makers(layer))}
    with inferring(layer):
        operands = layer.weight, layer.bias
    vars(layer).update(held)
    return *operands, ""


def _is_ours(operand):
    return is_plain(operand) and has_memory(operand)
