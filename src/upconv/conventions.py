"""How torch, ONNX, Keras and JAX say a crop: their padding to an `Axis`, and an `Axis` to the nearest they can say.

A *setting* is what one framework writes for one axis: `Torch(padding=1, output_padding=1)`. Every setting becomes the
two crops of an `Axis` (``setting.axis(n, k, s, d)``), and every axis becomes the nearest setting of a framework
(``Keras.nearest(axis)``), with whatever differs named in words. The formulas, the order of the weight's axes, and what
each framework cannot say are in docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, ClassVar, Self

from .errors import SettingError
from .geometry import Axis, ceil_div, output_length

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
MAX_STEP = "max(stride, dilation)"


@dataclass(frozen=True, slots=True)
class Translation:
    """A setting, and how it differs from the axis it was made for; no differences means exactly the same axis."""

    setting: Any
    differences: tuple[str, ...] = ()


class Setting:
    """What every framework's setting can do.

    A subclass supplies its fields, `crops`, `arguments`, `_refusals`, and `_options(axis)`: the settings worth
    considering for an axis, the simplest first, at least one of which leaves some output.
    """

    __slots__ = ()
    name: ClassVar[str]
    layout: ClassVar[str] = "NCHW"
    has_groups: ClassVar[bool] = True
    weight_axes: ClassVar[tuple[str, ...]] = ("in", "out/groups", "kH", "kW")
    weight_flipped: ClassVar[bool] = False

    def axis(self, n: int, k: int, s: int = 1, d: int = 1) -> Axis:
        """The axis of n inputs and k taps, stride s and dilation d, that this setting describes.

        Raises:
            SettingError: when the framework refuses the setting, or when nothing is left after the crops.
        """
        return Axis(n, k, s, d, *self.allowed_crops(n, k, s, d))

    def allowed_crops(self, n: int, k: int, s: int, d: int) -> tuple[int, int]:
        """The `crops` of this setting.

        Raises:
            SettingError: when the framework refuses the setting.
        """
        refusals = self._refusals(n, k, s, d) + self.limits([(s, d)])
        if refusals:
            raise SettingError("; ".join(refusals))
        return self.crops(n, k, s, d)

    @classmethod
    def limits(cls, steps: Iterable[tuple[int, int]]) -> list[str]:
        """Why the framework refuses these (stride, dilation) pairs, whatever the padding; empty when it does not."""
        return []

    @classmethod
    def nearest(cls, axis: Axis) -> Translation:
        """The setting closest to `axis`: the same output size if possible, then the smallest shift, then the simplest.

        >>> Torch.nearest(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
        Translation(setting=Torch(padding=1, output_padding=1), differences=())
        """
        setting = min(cls._options(axis), key=lambda option: _distance(option, axis))
        return Translation(setting, (*cls.limits([(axis.s, axis.d)]), *_differences(setting, axis)))

    def _refusals(self, n: int, k: int, s: int, d: int) -> list[str]:
        """Why the framework refuses this setting; empty when it does not."""
        return []

    def _cautions(self, s: int) -> list[str]:
        """What the framework's runtime makes of this setting with stride s, where it is not what was meant."""
        return []

    @property
    def _shared(self) -> Any:
        """What the framework can say only once for both axes."""
        return None


@dataclass(frozen=True, slots=True)
class Torch(Setting):
    """torch: cut `padding` at both sides, then give `output_padding` back at the end.

    >>> Torch(padding=1, output_padding=1).axis(n=4, k=3, s=2).out
    8
    """

    padding: int = 0
    output_padding: int = 0
    name: ClassVar[str] = "torch"

    def crops(self, n: int, k: int, s: int, d: int) -> tuple[int, int]:
        return self.padding, self.padding - self.output_padding

    def arguments(self) -> dict[str, Any]:
        return {"padding": self.padding, "output_padding": self.output_padding}

    def _refusals(self, n: int, k: int, s: int, d: int) -> list[str]:
        return _outside("padding", self.padding) + _outside("output_padding", self.output_padding, max(s, d), MAX_STEP)

    @classmethod
    def _options(cls, axis: Axis) -> Iterator[Self]:
        most = max(axis.s, axis.d) - 1
        total = axis.crop_lo + axis.crop_hi
        least_padding, most_padding = max(ceil_div(total, 2), 0), max((total + most) // 2, 0)
        # They cross when the total is odd and nothing can be given back: then the size is missed by one, either way.
        for padding in sorted({least_padding, _clamp(axis.crop_lo, least_padding, most_padding)}):
            yield cls(padding, _clamp(2 * padding - total, 0, most))


@dataclass(frozen=True, slots=True)
class Onnx(Setting):
    """ONNX: cut `pads`, give `output_padding` back at the end; or derive the cuts from the size that is wanted.

    The size is `output_shape`, or n*s for SAME_UPPER and SAME_LOWER, and the excess is shared between the two sides.
    Where there is no excess the specification's formula would pad negatively, which it forbids: here, as in ONNX
    Runtime, nothing is cut, and only `output_shape` and `output_padding` extend the output, at its end.

    >>> Onnx(output_shape=8).axis(n=3, k=3, s=2).crop_hi
    -1
    """

    auto_pad: str = "NOTSET"
    pads: tuple[int, int] = (0, 0)
    output_padding: int = 0
    output_shape: int | None = None
    name: ClassVar[str] = "onnx"

    def __post_init__(self) -> None:
        _one_of("auto_pad", self.auto_pad, AUTO_PADS)

    def crops(self, n: int, k: int, s: int, d: int) -> tuple[int, int]:
        if self.output_shape is None and not self.auto_pad.startswith("SAME"):
            return self.pads[0], self.pads[1] - self.output_padding
        full = output_length(n, k, s, d)
        most = full + self.output_padding
        out = min(n * s, most) if self.output_shape is None else self.output_shape
        lo, _ = _share(most - out, lower=self.auto_pad != "SAME_UPPER")
        return lo, full - out - lo

    def arguments(self) -> dict[str, Any]:
        given = {"output_padding": [self.output_padding]}
        if self.auto_pad != "NOTSET":
            given["auto_pad"] = self.auto_pad
        if self.output_shape is not None:
            given["output_shape"] = [self.output_shape]
        elif self.auto_pad == "NOTSET":
            given["pads"] = list(self.pads)
        return given

    @property
    def _shared(self) -> Any:
        return self.auto_pad, self.output_shape is None

    def _refusals(self, n: int, k: int, s: int, d: int) -> list[str]:
        refusals = _outside("a pad", min(self.pads))
        refusals += _outside("output_padding", self.output_padding, max(s, d), MAX_STEP)
        if self.auto_pad != "NOTSET" and any(self.pads):
            refusals.append(f"pads are {self.pads} with auto_pad={self.auto_pad!r}; beside it they must be left out")
        largest = output_length(n, k, s, d) + max(s - 1, self.output_padding)
        wanted = 1 if self.output_shape is None else self.output_shape
        if not 1 <= wanted <= largest:
            nearest = _clamp(wanted, 1, largest)
            refusals.append(f"output_shape is {wanted}; it must be from 1 to {largest}, so the nearest is {nearest}")
        return refusals

    def _cautions(self, s: int) -> list[str]:
        if self.output_padding < s:
            return []
        trouble = f"ONNX allows output_padding={self.output_padding} with stride {s}, ONNX Runtime does not"
        return [f"{trouble}: it refuses what is not below the stride, and old versions compute wrong values"]

    @classmethod
    def _options(cls, axis: Axis) -> Iterator[Self]:
        most = max(axis.s, axis.d) - 1
        total = axis.crop_lo + axis.crop_hi
        lo = _clamp(axis.crop_lo, 0, max(total + most, 0))
        hi = max(total - lo, -most)
        yield cls(pads=(lo, max(hi, 0)), output_padding=max(-hi, 0))


@dataclass(frozen=True, slots=True)
class Keras(Setting):
    """Keras: "valid" cuts nothing, "same" cuts to n*s outputs; an `output_padding` changes both sizes.

    >>> Keras("same").axis(n=4, k=3, s=2).out, Keras("valid").axis(n=4, k=3, s=2).out
    (8, 9)
    """

    padding: str = "valid"
    output_padding: int | None = None
    name: ClassVar[str] = "keras"
    layout: ClassVar[str] = "NHWC"
    has_groups: ClassVar[bool] = False
    weight_axes: ClassVar[tuple[str, ...]] = ("kH", "kW", "out", "in")

    def __post_init__(self) -> None:
        lowered = self.padding.lower() if isinstance(self.padding, str) else self.padding
        object.__setattr__(self, "padding", lowered)
        _one_of("padding", lowered, ("valid", "same"))

    def crops(self, n: int, k: int, s: int, d: int) -> tuple[int, int]:
        extent = output_length(1, k, s, d)
        if self.padding == "valid":
            return 0, -(max(s - extent, 0) if self.output_padding is None else self.output_padding)
        return _share(extent - (s if self.output_padding is None else extent % 2 + self.output_padding))

    def arguments(self) -> dict[str, Any]:
        given = {"padding": self.padding}
        return given if self.output_padding is None else {**given, "output_padding": self.output_padding}

    @property
    def _shared(self) -> Any:
        return self.padding, self.output_padding is None

    def _refusals(self, n: int, k: int, s: int, d: int) -> list[str]:
        return [] if self.output_padding is None else _outside("output_padding", self.output_padding, s, "stride")

    @classmethod
    def limits(cls, steps: Iterable[tuple[int, int]]) -> list[str]:
        """The layer refuses any stride above 1 together with any dilation above 1, even on different axes."""
        stride, dilation = (max(values) for values in zip(*steps, strict=True))
        if stride == 1 or dilation == 1:
            return []
        return [
            f"Keras refuses stride {stride} together with dilation {dilation}; a kernel spread to dilation*(k - 1) + 1 "
            f"taps by zeros, with dilation_rate=1, says the same"
        ]

    @classmethod
    def _options(cls, axis: Axis) -> Iterator[Self]:
        yield cls("same")
        yield cls("valid")
        total = axis.crop_lo + axis.crop_hi
        yield cls("same", _clamp(axis.k_eff - axis.k_eff % 2 - total, 0, axis.s - 1))
        yield cls("valid", _clamp(-total, 0, axis.s - 1))


@dataclass(frozen=True, slots=True)
class Jax(Setting):
    """JAX: "SAME", "VALID", or numbers (lo, hi); one number stands for both sides.

    With `use_consistent_padding` numbers are crops, torch's `padding`; without it they are zeros put around the dilated
    input, d*(k - 1) minus the crop. `transpose_kernel` changes the weight only, never a size.

    >>> Jax(1, use_consistent_padding=True).axis(n=4, k=3, s=2) == Torch(1).axis(n=4, k=3, s=2) == Jax(1).axis(4, 3, 2)
    True
    """

    padding: str | int | tuple[int, int] = "SAME"
    use_consistent_padding: bool = False
    name: ClassVar[str] = "jax"
    layout: ClassVar[str] = "NHWC"
    has_groups: ClassVar[bool] = False
    weight_axes: ClassVar[tuple[str, ...]] = ("kH", "kW", "in", "out")
    weight_flipped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.padding, str):
            _one_of("padding", self.padding, ("SAME", "VALID"))
            return
        try:
            lo, hi = self.padding if isinstance(self.padding, tuple | list) else (self.padding, self.padding)
            object.__setattr__(self, "padding", (index(lo), index(hi)))
        except (TypeError, ValueError):
            message = f'padding is {self.padding!r}; it must be "SAME", "VALID", an integer or two integers'
            raise TypeError(message) from None

    def crops(self, n: int, k: int, s: int, d: int) -> tuple[int, int]:
        reach = d * (k - 1)
        if self.padding == "SAME":
            return _share(reach + 1 - s)
        if self.padding == "VALID":
            return 0, min(reach + 1 - s, 0)
        return self.padding if self.use_consistent_padding else tuple(reach - side for side in self.padding)

    def arguments(self) -> dict[str, Any]:
        given = {"padding": self.padding}
        return {**given, "use_consistent_padding": True} if self.use_consistent_padding else given

    @property
    def _shared(self) -> Any:
        return self.padding if isinstance(self.padding, str) else None, self.use_consistent_padding

    @classmethod
    def _options(cls, axis: Axis) -> Iterator[Self]:
        yield cls("SAME")
        yield cls("VALID")
        # Zeros to add rather than crops, since older JAX has no use_consistent_padding.
        reach = axis.k_eff - 1
        yield cls((reach - axis.crop_lo, reach - axis.crop_hi))


CONVENTIONS: dict[str, type[Setting]] = {convention.name: convention for convention in (Torch, Onnx, Keras, Jax)}


def same(n: int, k: int, s: int = 1, d: int = 1, lower: bool = False) -> Axis:
    """The axis with n*s outputs: the excess k_eff - s is shared, the odd one cut at the end (beginning if `lower`).

    A kernel that does not reach the next input (k_eff < s) is not cut; the whole extension is at the end.

    >>> axis = same(n=4, k=3, s=2)
    >>> axis.out, axis.crop_lo, axis.crop_hi
    (8, 0, 1)
    """
    return Axis(n, k, s, d, *_share(output_length(1, k, s, d) - s, lower))


def translate(target: str, h: Axis, w: Axis) -> Translation:
    """Both axes at once, since a framework may have one word ("same") for the two: a setting for each, as a pair.

    Args:
        target: "torch", "onnx", "keras" or "jax".
        h, w: the two axes.

    Returns:
        Translation: the nearest setting, and sentences on what it does not say of these axes.

    Raises:
        TypeError: for a framework that is none of these.

    >>> translation = translate("keras", same(4, 3, 2), same(5, 3, 2))
    >>> arguments(*translation.setting), translation.differences
    ({'padding': 'same'}, ())
    """
    convention = _convention(target)
    pairs = [(a, b) for a in convention._options(h) for b in convention._options(w) if a._shared == b._shared]
    best = min(pairs, key=lambda pair: [sum(parts) for parts in zip(*map(_distance, pair, (h, w)), strict=True)])
    in_h = [f"height: {sentence}" for sentence in _differences(best[0], h)]
    in_w = [f"width: {sentence}" for sentence in _differences(best[1], w)]
    return Translation(best, (*convention.limits([(h.s, h.d), (w.s, w.d)]), *in_h, *in_w))


def arguments(h: Setting, w: Setting) -> dict[str, Any]:
    """The keyword arguments of the two-dimensional call, from the settings of the two axes (height first).

    >>> arguments(Onnx(pads=(1, 0)), Onnx(pads=(2, 3)))
    {'output_padding': [0, 0], 'pads': [1, 2, 0, 3]}
    """
    if type(h) is not type(w) or h._shared != w._shared:
        raise SettingError(f"one call cannot say {h} and {w}; `translate` finds settings that go together")
    given_h, given_w = h.arguments(), w.arguments()
    return {key: _side_by_side(given_h[key], given_w[key]) for key in given_h}


def weight_steps(source: str, target: str) -> list[str]:
    """NumPy statements that turn the array `weight` of one framework into another's; empty when nothing changes.

    >>> weight_steps("torch", "jax")
    ['weight = weight.transpose(2, 3, 0, 1)', 'weight = weight[::-1, ::-1]']
    """
    order, flipped = weight_order(source, target)
    steps = [] if order == (0, 1, 2, 3) else [f"weight = weight.transpose{order}"]
    if flipped:
        steps.append("weight = weight[::-1, ::-1]" if flipped[0] == 0 else "weight = weight[..., ::-1, ::-1]")
    return steps


def weight_order(source: str, target: str, dimensions: int = 2) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(order in which the axes of one framework's weight become another's, axes of the result that are flipped).

    Raises:
        TypeError: for a framework that is not known.

    >>> weight_order("torch", "jax"), weight_order("keras", "torch", dimensions=1)
    (((2, 3, 0, 1), (0, 1)), ((2, 1, 0), ()))
    """
    from_, to = _convention(source), _convention(target)
    have, want = (_axes_of_weight(convention, dimensions) for convention in (from_, to))
    taps = tuple(place for place, axis in enumerate(want) if axis.startswith("k"))
    return tuple(have.index(axis) for axis in want), taps if from_.weight_flipped != to.weight_flipped else ()


def _axes_of_weight(convention, dimensions):
    """The names of the axes; those of the taps stand together in every framework, whatever their number."""
    named = [axis.split("/")[0] for axis in convention.weight_axes if axis != "kW"]
    taps = [f"k{number}" for number in range(dimensions)]
    return [name for axis in named for name in (taps if axis == "kH" else [axis])]


def _share(total: int, lower: bool = False) -> tuple[int, int]:
    """Two crops that sum to `total`; a negative total is an extension, which belongs at the end."""
    if total < 0:
        return 0, total
    less = total // 2
    return (total - less, less) if lower else (less, total - less)


def _clamp(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


def _distance(setting: Setting, axis: Axis) -> tuple[float, int]:
    lo, hi = setting.crops(axis.n, axis.k, axis.s, axis.d)
    growth = axis.crop_lo + axis.crop_hi - lo - hi
    return (abs(growth), abs(lo - axis.crop_lo)) if axis.out + growth > 0 else (float("inf"), 0)


def _differences(setting: Setting, axis: Axis) -> list[str]:
    lo, hi = setting.crops(axis.n, axis.k, axis.s, axis.d)
    growth, earlier = axis.crop_lo + axis.crop_hi - lo - hi, lo - axis.crop_lo
    given = ", ".join(f"{key}={value!r}" for key, value in setting.arguments().items())
    at_lo, at_hi = _in_words(axis.crop_lo), _in_words(axis.crop_hi)
    again = at_hi.removeprefix(at_lo.split()[0] + " ")
    wish = f"{setting.name} cannot {at_lo} at the beginning and {again} at the end"
    sentences = []
    if growth:
        sentences.append(f"{wish}; with {given} the output size is {axis.out + growth} instead of {axis.out}")
    if earlier:
        steps = f"{abs(earlier)} step{'s' * (abs(earlier) > 1)} {'earlier' if earlier > 0 else 'later'}"
        size = "" if growth else "the size is the same, but "
        sentences.append(f"{wish}; with {given} {size}everything lies {steps}")
    return sentences + setting._cautions(axis.s)


def _in_words(crop: int) -> str:
    return f"crop {crop}" if crop >= 0 else f"add {-crop}"


def _side_by_side(h: Any, w: Any) -> Any:
    """One argument of two axes: words are said once, lists interleave (ONNX), numbers and pairs stand side by side."""
    if isinstance(h, str | bool):
        return h
    return [value for pair in zip(h, w, strict=True) for value in pair] if isinstance(h, list) else (h, w)


def _outside(name: str, value: int, bound: int | None = None, bound_name: str | None = None) -> list[str]:
    if value < 0:
        return [f"{name} is {value}; it must be at least 0, so the nearest is 0"]
    if bound is not None and value >= bound:
        return [f"{name} is {value}; it must be below {bound_name} = {bound}, so at most {bound - 1}"]
    return []


def _one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise TypeError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, allowed))}")


def _convention(name: str) -> type[Setting]:
    _one_of("framework", name, tuple(CONVENTIONS))
    return CONVENTIONS[name]
