"""A ConvTranspose node as a layer: its attributes parsed, its axes for a size of input, and the call.

What the attributes mean is said in `conventions.Onnx`, axis by axis. All opsets of the operator (1, 11 and 22) mean the
same: 11 only wrote down the defaults, 22 took bfloat16 in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..conventions import Onnx
from ..dimensions import conv_transpose1d, conv_transpose3d
from ..errors import SettingError
from ..functional import conv_transpose2d
from ..geometry import Axis, check_channels
from ..prepared import PreparedVolume, PreparedWeight, prepare
from ..settings import integer

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
COMPUTE = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}


@dataclass(frozen=True, slots=True)
class Layer:
    """The attributes of a ConvTranspose node, and the kernel of its weight; one value for each axis.

    >>> layer = Layer.of({"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 1}, (3, 3))
    >>> layer.output_shape((1, 8, 5, 6), (8, 4, 3, 3))
    (1, 4, 9, 11)
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    settings: tuple[Onnx, ...]
    groups: int = 1

    @classmethod
    def of(cls, given: Mapping[str, Any], kernel: Sequence[int]) -> "Layer":
        """Parse.

        Args:
            given: attributes by their names in the specification; what is absent or None has its default.
            kernel: sizes of the weight's last axes.

        Raises:
            SettingError: for lists of the wrong length, an unknown auto_pad, and another kernel_shape than the
                weight's.
        """
        kernel = tuple(kernel)
        number = len(kernel)
        if number not in AXES:
            raise SettingError(f"the weight has {number} axes of taps; ConvTranspose is computed with 1, 2 or 3")
        given = {name: value for name, value in given.items() if value is not None}
        said = _list(given, "kernel_shape", number, kernel)
        if said != kernel:
            raise SettingError(f"kernel_shape is {list(said)}, and the weight has {list(kernel)}; leave it out")
        steps = {name: _list(given, name, number, (1,) * number) for name in ("strides", "dilations")}
        for name, values in steps.items():
            if min(values) < 1:
                raise SettingError(f"{name} is {list(values)}; every one must be at least 1")
        group = integer(given.get("group", 1), "group")
        return cls(kernel, *steps.values(), _settings(given, number), group)

    @property
    def dimensions(self) -> int:
        """1, 2 or 3."""
        return len(self.kernel)

    def axes(self, sizes: Sequence[int]) -> tuple[Axis, ...]:
        """The axes of an input of these sizes, depth first.

        Raises:
            SettingError: what the specification refuses; it names the axis.
        """
        found, steps = [], zip(self.settings, sizes, self.kernel, self.strides, self.dilations, strict=True)
        for name, (setting, *numbers) in zip(AXES[self.dimensions], steps, strict=True):
            try:
                found.append(setting.axis(*numbers))
            except SettingError as error:
                raise SettingError(f"{name}: {error}") from None
        return tuple(found)

    def check(self, input_shape: Sequence[int], weight_shape: Sequence[int]) -> None:
        """Refuse an input that the weight does not fit."""
        if len(input_shape) != self.dimensions + 2:
            raise SettingError(
                f"X has shape {tuple(input_shape)} and W {tuple(weight_shape)}; both must have as many axes: a batch, "
                "channels, and 1, 2 or 3 sizes"
            )
        if input_shape[1] != weight_shape[0]:
            raise SettingError(f"X has {input_shape[1]} channels and W {tuple(weight_shape)} takes {weight_shape[0]}")
        check_channels(weight_shape[0], weight_shape[1] * max(self.groups, 1), self.groups)

    def output_shape(self, input_shape: Sequence[int], weight_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of Y."""
        self.check(input_shape, weight_shape)
        return input_shape[0], weight_shape[1] * self.groups, *(axis.out for axis in self.axes(input_shape[2:]))

    def macs(self, input_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
        """Useful multiply-adds: those that reach an output that is kept."""
        return input_shape[0] * prod(weight_shape[:2]) * prod(axis.pairs for axis in self.axes(input_shape[2:]))

    def prepared(self, weight: np.ndarray) -> PreparedWeight | PreparedVolume:
        """The weight packed for calls to come."""
        return prepare(weight, self.strides, groups=self.groups, dilation=self.dilations)

    def __call__(self, x: np.ndarray, weight: Any, bias: np.ndarray | None = None) -> np.ndarray:
        """Compute.

        Args:
            x: (n, c_in, sizes...).
            weight: (c_in, c_out // group, kernel...), or what `prepared` made of it.
            bias: (c_out,) or None.

        Returns:
            (n, c_out, sizes...).

        Raises:
            SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`.
        """
        self.check(x.shape, weight.shape)
        crops = tuple((axis.crop_lo, axis.crop_hi) for axis in self.axes(x.shape[2:]))
        compute = COMPUTE[self.dimensions]
        return compute(x, weight, bias, self.strides, crops, 0, self.groups, self.dilations)


def _settings(given, number):
    word = given.get("auto_pad", "NOTSET")
    word = word.decode() if isinstance(word, bytes) else word
    pads = _list(given, "pads", 2 * number, (0,) * (2 * number))
    more = _list(given, "output_padding", number, (0,) * number)
    # As in ONNX Runtime, the batch and the channels may be said too.
    shape = given.get("output_shape") or (None,) * number
    if len(shape) == number + 2:
        shape = shape[2:]
    shape = _list({"output_shape": shape}, "output_shape", number, None)
    try:
        return tuple(Onnx(word, (pads[i], pads[number + i]), more[i], shape[i]) for i in range(number))
    except TypeError as error:
        # onnx's evaluator would hide a TypeError behind one of its own.
        raise SettingError(str(error)) from None


def _list(given, name, length, default):
    values = given.get(name)
    # An empty list is an attribute left out, for exporters that write all of them.
    if values is None or len(values) == 0:
        return default
    if len(values) != length:
        raise SettingError(f"{name} is {list(values)}, {len(values)} values; here it must have {length}")
    return tuple(values)
