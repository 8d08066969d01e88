"""A 1-D layer over a signal that comes in chunks: the pieces of output, joined, are the bits of the whole.

An output is final when no later input can reach it, so `push` gives the outputs that have become final, and the inputs
that still matter are kept. A piece is computed as the window of the whole layer that makes these outputs
(`Axis.window`), which has exactly their taps, no matter where a chunk ended.

The bits are those of the whole because of how they are summed. In the algorithm `gemm` an output is one chain of
multiply-adds over its taps in their order and, within a tap, over the channels, cut into parts of at most 128 products
or 1,024 pairs of bfloat16; the chain depends on the taps that there are and on nothing else, neither on the place in
the tile nor on the length of the row. So every chunk takes that algorithm, whatever would be cheapest for its length,
with a weight that was packed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arrays import as_array, batched, check_weight, native_dtype, parse_bias
from .dtypes import lookup
from .errors import SettingError
from .functional import transpose
from .geometry import Axis, ceil_div, output_length
from .planning import choose
from .prepared import prepared_of
from .problem import Problem
from .settings import Settings
from .volume import Line

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

# Longer than any crop that leaves room for an output.
LONG = 1 << 20
IN_ONE_ORDER, DEFINITION = "gemm", "loops"


class StreamingConvTranspose1d:
    """A transposed 1-D convolution of a signal that comes in chunks.

    Args:
        layer: a `ConvTranspose1d`, or any layer with its attributes. Weight and bias are copied: a stream does not see
            what becomes of the layer later. A layer with a `storage` is computed from the halves, as the layer does.

    Attributes:
        algorithm: which computes every chunk; with it, `conv_transpose1d` of the whole signal has the same bits.

    `push` a chunk and get the outputs that are final by then; `flush` at the end for the rest. The number of outputs
    held back is `held`; with a crop of ``dilation*(kernel - 1) + 1 - stride`` at the end, as causal layers have it,
    that is none. One object is one stream; it is not to be used by two threads at a time.

    Raises:
        TypeError: for what is no 1-D layer.
        SettingError: for a padding_mode other than "zeros".

    >>> from upconv import ConvTranspose1d
    >>> layer = ConvTranspose1d(2, 3, 4, stride=2, padding=1, rng=0)
    >>> stream = StreamingConvTranspose1d(layer)
    >>> x = np.ones((1, 2, 10), np.float32)
    >>> pieces = [stream.push(x[..., :3]), stream.push(x[..., 3:]), stream.flush()]
    >>> [piece.shape for piece in pieces], stream.held
    ([(1, 3, 5), (1, 3, 14), (1, 3, 1)], 1)
    >>> bool(np.allclose(np.concatenate(pieces, axis=-1), layer(x)))
    True
    """

    def __init__(self, layer: Any) -> None:
        names = ("weight", "stride", "padding", "output_padding", "groups", "dilation")
        if not all(hasattr(layer, name) for name in names):
            raise TypeError(f"layer is of type {type(layer).__name__}; it must be a ConvTranspose1d")
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise SettingError(
                f"padding_mode is {layer.padding_mode!r}; a stream can only have 'zeros', since a folded border needs "
                "both ends of the signal at once"
            )
        weight = np.array(check_weight(as_array(layer.weight, "weight"), 1))
        ends = layer.output_padding, layer.groups, layer.dilation, "zeros", 1
        settings = Settings.of(layer.stride, layer.padding, *ends)
        c_in, c_out, groups = weight.shape[0], weight.shape[1] * settings.groups, settings.groups
        bias = parse_bias(layer.bias, c_out)
        self._settings = settings.as_2d()
        self._weight = prepared_of(weight, settings, getattr(layer, "storage", ""))
        self._bias = None if bias is None else bias.copy()
        # The crops of a long signal are those of every length.
        self._line = Line(1, c_in, c_out, groups, settings.axis(0, LONG, weight.shape[2]))
        self.algorithm = _algorithm(self._line, weight.dtype, self._weight.storage)
        self.reset()

    def reset(self) -> None:
        """Forget the signal so far, and be ready for another one."""
        self._kept: NDArray[Any] | None = None
        self._is_batched = True
        self._first = self._inputs = self._outputs = 0

    @property
    def held(self) -> int:
        """How many outputs wait for inputs to come, once the stream has begun."""
        axis = self._line.w
        return max(0, axis.k_eff - axis.s - axis.crop_hi)

    def push(self, chunk: ArrayLike) -> NDArray[Any]:
        """Take the next inputs.

        Args:
            chunk: (n, in_channels, length), or (in_channels, length); of any length, also 0. Batch and form are those
                of the first chunk.

        Returns:
            (n, out_channels, length_out), unbatched if the chunk is: the outputs that have become final, which may be
            none.

        Raises:
            SettingError: for a chunk that does not go on as the stream began, or of another dtype.
        """
        x, is_batched = batched(as_array(chunk, "chunk"), "chunk", 1)
        self._check(x, is_batched)
        kept = x if self._kept is None else np.concatenate([self._kept, x], axis=-1)
        self._kept, self._is_batched = kept.copy() if kept is x else kept, is_batched
        self._inputs += x.shape[-1]
        axis = self._line.w
        # Neither may a later input reach it, nor may the stream end before it.
        return self._take(min(self._inputs * axis.s - axis.crop_lo, self._length()))

    def flush(self) -> NDArray[Any]:
        """End the signal.

        Returns:
            (n, out_channels, length_out), unbatched if the chunks were: the outputs that had waited. The stream is
            then ready for another signal.

        Raises:
            SettingError: if the signal is too short to have an output.
        """
        try:
            if self._inputs and self._length() < 1:
                axis = self._line.w
                Axis(self._inputs, axis.k, axis.s, axis.d, axis.crop_lo, axis.crop_hi)
            return self._take(self._length() if self._inputs else 0)
        finally:
            self.reset()

    def _length(self):
        """Outputs of the whole, if the signal ended here."""
        axis = self._line.w
        return output_length(self._inputs, axis.k, axis.s, axis.d, axis.crop_lo, axis.crop_hi) if self._inputs else 0

    def _take(self, end):
        """The outputs from the last one given up to an end."""
        start, axis = self._outputs, self._line.w
        n = 1 if self._kept is None else self._kept.shape[0]
        if end <= start:
            y = np.empty((n, self._line.c_out, 0), native_dtype(self._weight))
            return y if self._is_batched else y[0]
        whole = Axis(self._inputs, axis.k, axis.s, axis.d, axis.crop_lo, self._length() + axis.crop_hi - end)
        first, part = whole.window(start, end)
        settings = Settings(*_with_crops(self._settings, part))
        x = self._kept[..., None, first - self._first : first - self._first + part.n]
        y = transpose(settings, x, self._weight, self._bias, algorithm=self.algorithm)[..., 0, :]
        self._outputs = end
        self._forget(axis)
        return y if self._is_batched else y[0]

    def _forget(self, axis):
        """Drop the inputs that reach no output to come; the last one is always kept, for outputs that none reaches."""
        needed = max(0, ceil_div(self._outputs + axis.crop_lo - axis.d * (axis.k - 1), axis.s))
        first = max(self._first, min(needed, self._inputs - 1))
        if first > self._first:
            self._kept = self._kept[..., first - self._first :].copy()
            self._first = first

    def _check(self, x, is_batched):
        if x.dtype.name != self._weight.dtype.name:
            raise SettingError(
                f"chunk has dtype {x.dtype.name} and the layer {self._weight.dtype.name}; "
                f"chunk.astype({self._weight.dtype.name!r}) does it"
            )
        if x.shape[1] != self._line.c_in:
            raise SettingError(f"chunk has {x.shape[1]} channels; the layer takes {self._line.c_in}")
        if self._kept is not None and (is_batched, len(x)) != (self._is_batched, len(self._kept)):
            begun = f"a batch of {len(self._kept)}" if self._is_batched else "no batch"
            raise SettingError(
                f"chunk has shape {x.shape}; the stream began with {begun}: flush it, or reset it, first"
            )


def _with_crops(settings, axis):
    """The fields of settings that cut what an axis cuts."""
    return settings.stride, ((0, 0), (axis.crop_lo, axis.crop_hi)), (0, 0), settings.groups, settings.dilation


def _algorithm(line, dtype, storage):
    """The algorithm whose sums are in one order wherever an output is; the definition where no kernels can be made."""
    problem = Problem("forward", line.map, lookup(dtype).name, prepared=True, storage=storage)
    try:
        return choose(problem, IN_ONE_ORDER).algorithm
    except SettingError:
        return DEFINITION
