"""The settings that people pass, turned into plain values: integers or pairs, with messages for people.

Everything here runs before any work, so a call that is refused has changed nothing.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import index

import numpy as np

from .borders import MODES, Border
from .conventions import Torch, same
from .errors import SettingError
from .geometry import NAMES, Axis, Geometry, check_channels, output_length
from .volume import Volume

STRINGS = ("same", "same_lower", "valid")
# Maps and weights by the number of their axes, as messages show them.
MAPS = {1: "(n, c_in, length)", 2: "(n, c_in, h, w)", 3: "(n, c_in, d, h, w)"}
WEIGHTS = {
    1: "(c_in, c_out / groups, k)",
    2: "(c_in, c_out / groups, k_h, k_w)",
    3: "(c_in, c_out / groups, k_d, k_h, k_w)",
}
TUPLES, COUNTS = {1: "a sequence", 2: "a pair", 3: "a triple"}, {2: "two", 3: "three"}
ALL_AXES = {1: "", 2: " on both axes", 3: " on all three axes"}
# They can be iterated over, but what comes first and what comes second was never said.
NO_SEQUENCES = (str, bytes, bytearray, Mapping, Set)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one layer, parsed; `of` takes what a user writes.

    `stride`, `output_padding` and `dilation` have an integer for each axis; `padding` has one too, or signed (lo, hi)
    crops for each axis, or is one of "same", "same_lower", "valid".
    """

    stride: tuple[int, ...]
    padding: tuple | str
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    padding_mode: str = "zeros"

    @classmethod
    def of(cls, stride=1, padding=0, output_padding=0, groups=1, dilation=1, padding_mode="zeros", dimensions=2):
        """Parse; refuse what no input could make valid. `dimensions` is the number of axes: 1, 2 or 3.

        Raises:
            TypeError: for values that are not integers, and unknown strings.
            SettingError: for integers out of range.
        """
        if not isinstance(padding_mode, str) or padding_mode not in MODES:
            raise SettingError(
                f"padding_mode is {padding_mode!r}; it must be 'zeros' or, beyond torch, one of {MODES[1:]}"
            )
        # Types first, as in torch: what is not an integer is a TypeError whatever else is wrong.
        given = {"stride": stride, "output_padding": output_padding, "dilation": dilation}
        many = {name: numbers(value, name, dimensions) for name, value in given.items()}
        groups = integer(groups, "groups")
        if groups < 1:
            raise SettingError(f"groups is {groups}; it must be at least 1")
        settings = cls(
            positive(many["stride"], "stride"),
            parse_padding(padding, dimensions),
            not_negative(many["output_padding"], "output_padding"),
            groups,
            positive(many["dilation"], "dilation"),
            padding_mode,
        )
        settings._check_mode()
        return settings

    def _check_mode(self):
        if self.padding_mode == "zeros":
            return
        if isinstance(self.padding, str) or any(min(sides) < 0 for sides in self.sides):
            raise SettingError(
                f"padding is {self.padding!r} with padding_mode={self.padding_mode!r}; a border that is folded back "
                "needs a padding of integers from 0, or pairs of them"
            )

    @property
    def sides(self):
        """Numeric padding as two (lo, hi) pairs."""
        return tuple(p if isinstance(p, tuple) else (p, p) for p in self.padding)

    @property
    def dimensions(self):
        """The number of axes."""
        return len(self.stride)

    @property
    def names(self):
        """What the axes are called."""
        return NAMES[self.dimensions]

    def as_2d(self):
        """The settings of a 1-D layer as those of one of height 1."""
        if self.dimensions != 1:
            return self
        padding = self.padding
        if not isinstance(padding, str):
            padding = ((0, 0) if isinstance(padding[0], tuple) else 0, *padding)
        ends = (0, *self.output_padding), self.groups, (1, *self.dilation), self.padding_mode
        return _same(Settings((1, *self.stride), padding, *ends))

    def axis(self, number, n, k):
        """The `Axis` that these settings make of n inputs and k taps; number 0 is the first, of a map the height."""
        s, d, op = self.stride[number], self.dilation[number], self.output_padding[number]
        try:
            if isinstance(self.padding, str) and self.padding != "valid":
                if op:
                    raise SettingError(
                        f"output_padding is {op} with padding={self.padding!r}, which already fixes the output at "
                        f"input * stride = {n * s}; leave output_padding at 0"
                    )
                return same(n, k, s, d, lower=self.padding == "same_lower")
            return Axis(n, k, s, d, *_crops(self, number))
        except SettingError as error:
            raise SettingError(f"{self.names[number]}: {error}") from None

    def geometry(self, input_shape, weight_shape):
        """The `Geometry` of an input and a weight, cropped as the settings say; in three dimensions the `Volume`."""
        n, c_in, *sizes = input_shape
        if weight_shape[0] != c_in:
            raise SettingError(
                f"input has {c_in} channels and weight takes {weight_shape[0]}: input is {MAPS[self.dimensions]} = "
                f"{input_shape}, weight is {WEIGHTS[self.dimensions]} = {weight_shape}"
                + _reordered(input_shape, weight_shape, self.groups)
            )
        # The weight makes out_channels follow groups, so only in_channels can fail to be divided.
        check_channels(c_in, c_in, self.groups)
        axes = [_axis(self, i, size, k) for i, (size, k) in enumerate(zip(sizes, weight_shape[2:], strict=True))]
        kind = Volume if self.dimensions == 3 else Geometry
        axes = axes if self.dimensions > 1 else [Axis(1, 1), *axes]
        return kind(n, c_in, weight_shape[1] * self.groups, self.groups, *axes)

    def border(self, geometry):
        """(geometry of the canvas before the border is folded back, Border), or (geometry, None) for zeros."""
        if self.padding_mode == "zeros":
            return geometry, None
        border = Border(self.padding_mode, *self.sides)
        border.check(*(axis.out for axis in geometry.axes))
        canvas = [
            replace(axis, crop_lo=axis.crop_lo - lo, crop_hi=axis.crop_hi - hi)
            for axis, (lo, hi) in zip(geometry.axes, self.sides, strict=True)
        ]
        return replace(geometry, **dict(zip("dhw"[-len(canvas) :], canvas, strict=True))), border

    def for_output_size(self, output_size, input_shape, kernel):
        """The same settings with the output_padding that makes `output_size`, as torch's layer derives it.

        Args:
            output_size: a size for each axis, or for all of the input, of which the last count.
            input_shape: of the input as passed, with a batch or without.
            kernel: (k_h, k_w).
        """
        axes = self.dimensions
        sizes = _output_sizes(output_size, len(input_shape), axes)
        least = [self._least(i, n, k) for i, (n, k) in enumerate(zip(input_shape[-axes:], kernel, strict=True))]
        slack = (0,) * axes if self.padding in STRINGS[:2] else tuple(s - 1 for s in self.stride)
        for i, size in enumerate(sizes):
            if not least[i] <= size <= least[i] + slack[i]:
                raise SettingError(
                    f"output_size asks for a {self.names[i]} of {size}; an input of {input_shape[i - axes]} under "
                    f"kernel {kernel[i]}, stride {self.stride[i]}, "
                    f"padding {self.padding!r}, dilation {self.dilation[i]} "
                    + _possible(size, max(1, least[i]), least[i] + slack[i])
                )
        return _same(replace(self, output_padding=tuple(size - low for size, low in zip(sizes, least, strict=True))))

    def _least(self, number, n, k):
        """The size with no output_padding; it may be below 1, where an output_padding can still make a size of it."""
        if self.padding in STRINGS[:2]:
            return n * self.stride[number]
        lo, hi = (0, 0) if self.padding == "valid" else self.sides[number]
        return output_length(n, k, self.stride[number], self.dilation[number], lo, hi)


def parsed(*settings):
    """`Settings.of`, remembered for the plain integers and words that most calls consist of.

    Those that are equal are the same object, as long as they are in use.
    """
    return _remembered(*settings) if all(map(_is_plain, settings)) else _same(Settings.of(*settings))


def _is_plain(value):
    # Not isinstance: a boolean equals an integer, and must still be refused.
    kind = type(value)
    return kind is int or kind is str or (kind is tuple and all(type(element) is int for element in value))


# The same object for the same axis: what is kept by axes is found without comparing them.
@lru_cache(maxsize=512)
def _axis(settings, number, n, k):
    return settings.axis(number, n, k)


# Where the padding is numbers, crops depend on no size.
@lru_cache(maxsize=256)
def _crops(settings, number):
    """The crops of an axis where the padding is no word that depends on its sizes."""
    padding, op = 0 if settings.padding == "valid" else settings.padding[number], settings.output_padding[number]
    if isinstance(padding, tuple):
        return padding[0], padding[1] - op
    return Torch(padding, op).allowed_crops(1, 1, settings.stride[number], settings.dilation[number])


@lru_cache(maxsize=256)
def _same(settings):
    return settings


@lru_cache(maxsize=256)
def _remembered(*settings):
    return _same(Settings.of(*settings))


def _possible(size, least, most):
    """What an output_size can be, as the end of a sentence."""
    if most < 1:
        return "has no output of any size; take less padding"
    return f"makes {least} to {most}; the nearest is {min(max(size, least), most)}"


def _output_sizes(output_size, dimensions, axes):
    wanted = sizes(output_size, "output_size")
    if len(wanted) not in (axes, dimensions):
        raise SettingError(
            f"output_size is {wanted}, {len(wanted)} elements; for {dimensions}-D input give {axes} or {dimensions}"
        )
    return wanted[-axes:]


def _reordered(input_shape, weight_shape, groups):
    """A guess at where the axes of operands that do not meet come from, as the end of a sentence; may be empty."""
    if input_shape[1] == weight_shape[1] * groups:
        if groups > 1:
            return "; if the weight is a Conv2d's, (out, in / groups, k_h, k_w), exchange its channels in each group"
        return "; if the weight is a Conv2d's, (out, in, k_h, k_w), weight.swapaxes(0, 1) puts it in place"
    if len(weight_shape) != 4:
        return ""
    if groups == 1 and input_shape[1] == weight_shape[3]:
        return "; if the weight is Keras's, (k_h, k_w, out, in), weight.transpose(3, 2, 0, 1) puts it in place"
    if input_shape[0] == 1 and input_shape[2] == weight_shape[0]:
        return "; if the input is (n, c, length) of a 1-D layer, input[:, :, None] makes it one of height 1"
    if input_shape[3] == weight_shape[0]:
        return "; if the input's channels are its last axis, np.moveaxis(input, -1, -3) puts them in place"
    return ""


def integer(value, name):
    """An int from an int-like; booleans are refused as torch refuses them."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; it must be an integer, not a boolean")
    try:
        return index(value)
    except TypeError:
        near = f"; {name}={int(value)} would do" if isinstance(value, float | np.floating) and value % 1 == 0 else ""
        raise TypeError(f"{name} is {value!r}; it must be an integer, not {type(value).__name__}{near}") from None


def pair(value, name):
    """Two ints (height, width) from an int-like, one element (both axes) or two.

    >>> pair(3, "stride"), pair([2], "stride"), pair(np.array([2, 1]), "stride")
    ((3, 3), (2, 2), (2, 1))
    """
    return numbers(value, name, 2)


def numbers(value, name, dimensions):
    """An int for each axis, from an int-like or one element (all axes alike) or as many as there are axes.

    >>> numbers(3, "stride", 3), numbers([2], "stride", 1)
    ((3, 3, 3), (2,))
    """
    return tuple(integer(element, name) for element in _many(value, name, dimensions))


def _many(value, name, dimensions):
    if isinstance(value, NO_SEQUENCES):
        raise TypeError(f"{name} is {value!r}; it must be an integer or {TUPLES[dimensions]} of integers")
    if not _is_sequence(value):
        return (value,) * dimensions
    elements = tuple(value)
    if len(elements) not in (1, dimensions):
        shown = value if hasattr(value, "__len__") else elements
        several = f", or {COUNTS[dimensions]} ({', '.join(NAMES[dimensions])})" if dimensions > 1 else ""
        raise SettingError(f"{name} is {shown!r} with {len(elements)} elements; give one{several}")
    return elements * (dimensions // len(elements))


def _is_sequence(value):
    return hasattr(value, "__iter__") and not isinstance(value, str) and getattr(value, "ndim", 1) > 0


def sizes(value, name):
    """A tuple of integers from a sequence of sizes."""
    if not _is_sequence(value) or isinstance(value, NO_SEQUENCES):
        raise TypeError(f"{name} is {value!r}; it must be a sequence of integers")
    return tuple(integer(size, name) for size in value)


def shape_of(value, lengths, name):
    """(shape with a batch axis, whether it had one) from a sequence of as many sizes as one of `lengths`."""
    shape = sizes(value, name)
    if len(shape) not in lengths:
        raise SettingError(f"{name} is {shape}; it must have {' or '.join(map(str, lengths))} sizes")
    return (shape, True) if len(shape) == max(lengths) else ((1, *shape), False)


def mask_of(output_mask):
    """Which of three gradients are wanted."""
    if isinstance(output_mask, NO_SEQUENCES) or not isinstance(output_mask, Iterable):
        raise TypeError(f"output_mask is {output_mask!r}; it must be three booleans, for input, weight and bias")
    mask = tuple(output_mask)
    if len(mask) != 3:
        raise SettingError(f"output_mask is {mask}; it must have 3 elements: for input, weight and bias")
    return mask


def positive(values, name):
    return _at_least(1, values, name)


def not_negative(values, name):
    return _at_least(0, values, name)


def _at_least(least, values, name):
    if min(values) < least:
        raise SettingError(f"{name} is {values}; it must be at least {least}{ALL_AXES[len(values)]}")
    return values


def parse_padding(padding, dimensions=2):
    """An int for each axis from torch's forms, signed (lo, hi) pairs for each, or one of the known strings."""
    if isinstance(padding, str):
        if padding not in STRINGS:
            near = f"; the nearest is {padding.lower()!r}" if padding.lower() in STRINGS else ""
            raise TypeError(
                f"padding is {padding!r}; it must be an integer, {TUPLES[dimensions]}, {TUPLES[dimensions]} of "
                f"(lo, hi), or one of {STRINGS}{near}"
            )
        return padding
    elements = _many(padding, "padding", dimensions)
    if any(_is_sequence(element) for element in elements):
        return tuple(_sides(element) for element in elements)
    values = numbers(elements, "padding", dimensions)
    if min(values) < 0:
        sides, where = tuple((value, value) for value in values), ALL_AXES[dimensions]
        raise SettingError(f"padding is {values}; it must be at least 0{where}, or signed crops such as {sides}")
    return values


def _sides(element):
    if isinstance(element, NO_SEQUENCES):
        raise TypeError(f"padding of one axis is {element!r}; it must be (lo, hi), each a signed integer")
    if not _is_sequence(element):
        raise TypeError(f"padding mixes {element!r} with a pair; give integers or (lo, hi) pairs for all axes")
    sides = tuple(integer(value, "padding") for value in element)
    if len(sides) != 2:
        raise SettingError(f"padding of one axis is {sides}; it must be (lo, hi), each a signed integer")
    return sides
