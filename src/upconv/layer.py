"""What the layers for NumPy have in common, whatever the number of their dimensions: torch's layers without torch."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, overload

import numpy as np

from .arrays import as_array, batched, check_shape, refuse_masked, refuse_prepared
from .borders import MODES
from .dimensions import transpose1d, transpose3d
from .dtypes import parse_of_parameters, quiet
from .errors import SettingError
from .functional import transpose
from .geometry import check_channels
from .prepared import PreparedVolume, PreparedWeight, prepared_of
from .settings import Settings, integer, numbers, positive
from .storage import check
from .volume import Line

if TYPE_CHECKING:
    from typing import Any, Literal, SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from .typing import Padding, PaddingMode, Pair, Shape, StateDict, Value

# Sizes of input that a notebook's picture may have: the first that leaves an output.
PICTURED = (4, 8, 16, 32, 64)


TRANSPOSES = {1: transpose1d, 2: transpose, 3: transpose3d}


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find in the dictionary, and what it did not know there."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Held(NamedTuple):
    """A weight and its prepared form: replaced together, so that no call that runs meanwhile can part them."""

    array: NDArray[Any]
    prepared: PreparedWeight | PreparedVolume


class Layer:
    """A layer with its parameters; constructor, repr and state_dict are those of torch's layer."""

    dimensions: ClassVar[int]

    def __init__(
        self,
        in_channels: SupportsIndex,
        out_channels: SupportsIndex,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        output_padding: Pair = 0,
        groups: SupportsIndex = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: PaddingMode = "zeros",
        device: Literal["cpu"] | None = None,
        dtype: DTypeLike | None = None,
        *,
        rng: np.random.Generator | int | None = None,
        storage: Literal["float16", "bfloat16"] | None = None,
    ) -> None:
        # Parsed first: torch complains about padding_mode and groups before anything else.
        ends = groups, dilation, padding_mode, self.dimensions
        self._settings = Settings.of(stride, padding, output_padding, *ends)
        self.in_channels = integer(in_channels, "in_channels")
        self.out_channels = integer(out_channels, "out_channels")
        check_channels(self.in_channels, self.out_channels, self.groups)
        self.kernel_size = positive(numbers(kernel_size, "kernel_size", self.dimensions), "kernel_size")
        if device not in (None, "cpu"):
            raise SettingError(f"device is {device!r}; this layer lives in NumPy, so it must be None or 'cpu'")
        self._dtype = parse_of_parameters(dtype)
        self._storage = check(storage, self._dtype.name)
        weight, self._bias = self._initial(np.random.default_rng(rng), bias)
        self._held = self._hold(weight)

    def _initial(self, rng, bias):
        bound = (self.groups / (self.out_channels * prod(self.kernel_size))) ** 0.5
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        weight = self._draw(rng, bound, shape)
        return weight, self._draw(rng, bound, (self.out_channels,)) if bias else None

    @quiet()
    def _draw(self, rng, bound, shape):
        values = rng.uniform(-bound, bound, shape)
        if self._dtype.kind == "c":
            values = values + 1j * rng.uniform(-bound, bound, shape)
        return _private(values.astype(self._dtype))

    @overload
    def __call__(self, input: NDArray[Value], output_size: Shape | None = None) -> NDArray[Value]: ...
    @overload
    def __call__(self, input: ArrayLike, output_size: Shape | None = None) -> NDArray[Any]: ...
    def __call__(self, input: ArrayLike, output_size: Shape | None = None) -> NDArray[Any]:
        """Apply the layer.

        Args:
            input: (n, in_channels, h, w), or (in_channels, h, w); with as many sizes as the layer has dimensions.
            output_size: sizes wanted, (h_out, w_out) or with all leading ones; replaces `output_padding`.

        Returns:
            (n, out_channels, h_out, w_out), unbatched if the input is.

        Raises:
            SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`.
        """
        settings = self._settings
        if output_size is not None:
            array = as_array(input, "input")
            batched(array, dimensions=self.dimensions)
            settings = settings.for_output_size(output_size, array.shape, self.kernel_size)
        return TRANSPOSES[self.dimensions](settings, input, self.prepared, self._bias)

    forward = __call__

    @property
    def prepared(self) -> PreparedWeight | PreparedVolume:
        """The weight with the forms that the layer's plans have asked for, which go when another one is assigned."""
        return self._held.prepared

    def _hold(self, weight):
        # The array is private already, and never written to. One that the storage cannot hold is refused here.
        return Held(weight, prepared_of(weight, self._settings, self._storage))

    @property
    def storage(self) -> str:
        """The dtype of halves in which the layer reads its weight, "" for its own; see `upconv.prepare`."""
        return self._storage

    @property
    def weight(self) -> NDArray[Any]:
        """(in_channels, out_channels // groups, *kernel_size), read-only; assign an array to change it."""
        return self._held.array.view()

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        self._held = self._hold(self._accept("weight", value, self._held.array.shape))

    @property
    def bias(self) -> NDArray[Any] | None:
        """(out_channels,), read-only, or None; assign an array or None to change it."""
        return None if self._bias is None else self._bias.view()

    @bias.setter
    def bias(self, value: ArrayLike | None) -> None:
        self._bias = None if value is None else self._accept("bias", value, (self.out_channels,))

    def _accept(self, name, value, shape):
        refuse_masked(value, name)
        refuse_prepared(value, name)
        value = np.asarray(_plain(value))
        check_shape(value, shape, name)
        if not np.can_cast(value.dtype, self._dtype, "same_kind"):
            raise SettingError(
                f"{name} has dtype {value.dtype}, the layer {self._dtype}; convert it with .astype first"
            )
        return _private(np.array(value, self._dtype))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The parameters by name, as read-only arrays: "weight", and "bias" if there is one."""
        return {"weight": self.weight} | ({} if self._bias is None else {"bias": self.bias})

    def load_state_dict(self, state_dict: StateDict, strict: bool = True) -> IncompatibleKeys:
        """Take the parameters from a dictionary, all or none.

        Args:
            state_dict: arrays by name; the tensors and parameters of torch work too.
            strict: refuse missing and unknown names.

        Returns:
            (missing_keys, unexpected_keys), as torch does.

        Raises:
            TypeError: for what is no dictionary.
            SettingError: names or shapes that do not fit; then nothing has changed.
        """
        if not hasattr(state_dict, "keys"):
            raise TypeError(f"state_dict is {state_dict!r}; it must be a dictionary of arrays, as state_dict() returns")
        shapes = {name: value.shape for name, value in self.state_dict().items()}
        missing = sorted(shapes.keys() - state_dict.keys())
        unexpected = sorted(state_dict.keys() - shapes.keys(), key=str)
        if strict and (missing or unexpected):
            wrong = [f"{what} {names}" for what, names in (("lacks", missing), ("has unknown", unexpected)) if names]
            raise SettingError(
                f"state_dict {' and '.join(wrong)}; it must have {sorted(shapes)}"
                + _folding(state_dict, self.dimensions)
            )
        loaded = {name: self._accept(name, state_dict[name], shapes[name]) for name in shapes if name in state_dict}
        if "weight" in loaded:
            self._held = self._hold(loaded["weight"])
        if "bias" in loaded:
            self._bias = loaded["bias"]
        return IncompatibleKeys(missing, unexpected)

    def __getstate__(self):
        # Forms are made again where the copy is used.
        state = self.__dict__ | {"_weight": self._held.array}
        del state["_held"]
        return state

    def __setstate__(self, state):
        state = {"_storage": ""} | state
        weight = state.pop("_weight")
        self.__dict__.update(state)
        # A pickle or a deep copy forgets that an array was read-only.
        self._held = self._hold(_private(weight))
        self._bias = None if self._bias is None else _private(self._bias)

    def extra_repr(self) -> str:
        """The settings that are not the default, as torch prints them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zeros, ones = (0,) * self.dimensions, (1,) * self.dimensions
        shown = {
            "padding": (self.padding, zeros),
            "dilation": (self.dilation, ones),
            "output_padding": (self.output_padding, zeros),
            "groups": (self.groups, 1),
            "bias": (self._bias is not None, True),
            "padding_mode": (self.padding_mode, MODES[0]),
            "storage": (self._storage, ""),
        }
        return text + "".join(f", {name}={value}" for name, (value, default) in shown.items() if value != default)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _repr_svg_(self):
        geometry = self._pictured()
        return geometry and geometry._repr_svg_()

    def _repr_html_(self):
        geometry = self._pictured()
        return geometry and geometry._repr_html_(repr(self))

    def _pictured(self):
        """The layer on a small square input, for a notebook; None where a border is folded, which no picture shows."""
        if self.padding_mode != MODES[0] or self.dimensions == 3:
            return None
        for n in PICTURED:
            try:
                sizes = (n,) * self.dimensions
                found = self._settings.geometry((1, self.in_channels, *sizes), self._held.array.shape)
            except SettingError:
                continue
            return found if self.dimensions > 1 else Line(found.n, found.c_in, found.c_out, found.groups, found.w)
        return None

    @property
    def stride(self) -> tuple[int, ...]:
        """For each axis, the height first: how far apart the inputs lie on the canvas."""
        return self._settings.stride

    @property
    def padding(self) -> tuple[int, ...] | tuple[tuple[int, int], ...] | str:
        """What is cut off: an integer or signed (lo, hi) crops for each axis, or a word."""
        return self._settings.padding

    @property
    def output_padding(self) -> tuple[int, ...]:
        """For each axis: extra outputs at the end."""
        return self._settings.output_padding

    @property
    def dilation(self) -> tuple[int, ...]:
        """For each axis: how far apart the taps lie on the canvas."""
        return self._settings.dilation

    @property
    def groups(self) -> int:
        """Number of independent groups of channels."""
        return self._settings.groups

    @property
    def padding_mode(self) -> str:
        """How a padded border is folded back; "zeros" as in torch, which drops it."""
        return self._settings.padding_mode


# The two parts of a weight under torch's weight_norm, as the old hook and the new parametrization call them.
PARTS = ("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")


def _folding(state_dict, dimensions):
    """How to make one weight of what a reparametrized layer keeps instead, as the end of a sentence; may be empty."""
    axes = tuple(range(1, dimensions + 2))
    for g, v in PARTS:
        if g in state_dict and v in state_dict:
            norm = f"g * v / np.sqrt((v**2).sum(axis={axes}, keepdims=True)) with g = d[{g!r}], v = d[{v!r}]"
            before = "torch.nn.utils.remove_weight_norm(layer)"
            if g != "weight_g":
                before = "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
            return f"; this layer was under weight_norm: fold it with {before} before state_dict(), or weight = {norm}"
    if any(str(name).startswith(("weight_orig", "parametrizations.weight.")) for name in state_dict):
        return (
            "; this layer's weight was computed from other parameters (spectral_norm, say): make it one with "
            "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') or its remove_ function first"
        )
    return ""


def _plain(value):
    """A tensor of torch without its gradient and in a dtype that NumPy has; everything else as it is."""
    if type(value).__module__.split(".")[0] != "torch":
        return value
    value = value.detach().cpu()
    return value.float() if str(value.dtype) == "torch.bfloat16" else value


def _private(array):
    array.flags.writeable = False
    return array
