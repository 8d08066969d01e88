"""Checkerboards in trained weights: what each phase makes of a constant input, how far the phases differ, and the cure.

A stride-s layer is s_h × s_w small convolutions, one for each phase. On a constant input each gives a constant, the sum
of its taps: its gain. Where the gains differ, the output has a pattern with the period of the stride, whatever the
picture shows. Away from DC the same is said by spectra: the energy that a phase passes of white noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from ..geometry import Axis, check_channels
from ..settings import integer, pair, positive
from ..table import aligned
from . import palette
from .checkerboard_scene import scene
from .overlap import even_alternatives
from .svg import svg

if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from ..typing import Pair
    from .scene import Scene

# Deviations of the gains below the first are hardly seen in a picture, above the second at once.
HARDLY, CLEARLY = 0.02, 0.10
SHOWN_PHASES, SHOWN_CHANNELS, SHOWN_FREQUENCIES = 16, 4, 4
TYPICAL = 16
# Patterns of less energy are not listed.
LEAST = 5e-4


@dataclass(frozen=True, eq=False)
class Artifacts:
    """What a weight does to a constant input, phase by phase. Print it; a notebook shows the picture.

    Attributes:
        weight: (c_in, c_out // groups, k_h, k_w) of float64.
        stride, dilation: (height, width).
        groups: of the layer.
        mean: (c_in,), the constant that each input channel holds.
        name: what the weight is called, or "".
    """

    weight: np.ndarray
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    mean: np.ndarray
    name: str = ""

    @cached_property
    def gains(self) -> np.ndarray:
        """(c_out, s_h, s_w): what a constant input gives, by output channel and phase (canvas position modulo s)."""
        response = np.einsum("gi,giokl->gokl", self._grouped_mean, self._grouped)
        return self._by_phase(response).reshape(-1, *self.stride)

    @cached_property
    def noise(self) -> np.ndarray:
        """(s_h, s_w): the gain of each phase for white noise, the root of its weights' energy per output channel."""
        energy = (np.abs(self._grouped) ** 2).sum(axis=(0, 1, 2))
        return np.sqrt(self._by_phase(energy) / len(self.gains))

    @cached_property
    def spectrum(self) -> np.ndarray:
        """(s_h, s_w): shares of the constant's energy at output frequencies (f_h / s_h, f_w / s_w); they add up to 1.

        [0, 0] is the constant itself; every other entry is a pattern, for a stride of 2 columns (0, 1/2), rows (1/2, 0)
        and a checkerboard (1/2, 1/2).
        """
        energy = (np.abs(np.fft.fft2(self.gains)) ** 2).sum(axis=0)
        if not energy.any():
            energy[0, 0] = 1
        return energy / energy.sum()

    @property
    def score(self) -> float:
        """Share of what a constant input brings out that is pattern: 0 is flat, 1 is nothing but pattern."""
        return float(_share(self.gains.reshape(1, -1, self.gains[0].size))[0])

    @property
    def deviation(self) -> float:
        """Root mean square of the gains' deviations over that of their means; 0.1 is ten per cent."""
        return _deviation(self.score)

    @property
    def channels(self) -> np.ndarray:
        """(c_out,): the score of each output channel alone."""
        return _share(self.gains.reshape(len(self.gains), 1, -1))

    @property
    def worst(self) -> list[int]:
        """The output channels by falling energy of their pattern."""
        spread = self.gains - self.gains.mean(axis=(1, 2), keepdims=True)
        return np.argsort(-(np.abs(spread) ** 2).sum(axis=(1, 2)), kind="stable").tolist()

    @property
    def taps(self) -> np.ndarray:
        """(s_h, s_w): how many taps each phase has."""
        return self._by_phase(np.ones(self.weight.shape[2:])).astype(int)

    @property
    def verdict(self) -> str:
        """The deviation in a sentence."""
        if not self.taps.all():
            empty = int((self.taps == 0).sum())
            have, hold = ("have", "hold") if empty > 1 else ("has", "holds")
            return f"holes: {empty} of {self.taps.size} phases {have} no taps and {hold} the bias alone"
        if self.deviation < HARDLY:
            return "flat: a constant input stays constant, within what can be seen"
        strength = "a slight" if self.deviation < CLEARLY else "a visible"
        return f"{strength} pattern with the period of the stride on a constant input"

    @property
    def fixes(self) -> list[str]:
        """What can be done about it, best first; empty where nothing need be."""
        if self.taps.all() and self.deviation < HARDLY:
            return []
        names = ("height", "width") if len({self._axis(0), self._axis(1)}) > 1 else ("height and width",)
        found = [line for number, name in enumerate(names) for line in self._even_kernel(number, name)]
        if self.taps.all():
            found.append("now, without training: .corrected() is the nearest weight whose phases have equal gains")
            if all(k % s == 0 for k, s in zip(self.weight.shape[2:], self.stride, strict=True)):
                found.append("before training: upconv.init.icnr(weight, stride) or .bilinear starts with equal gains")
        found.append(
            "in training: a loss that sees every output trains the pattern away; a pooled or strided one cannot"
        )
        box = "×".join(map(str, self.stride))
        found.append(f"after the layer: a mean over {box} outputs removes the pattern exactly, and blurs")
        return found

    def corrected(self) -> np.ndarray:
        """The nearest weight (least squares) whose phases have equal gains for every pair of channels.

        Every tap of a phase moves by the same amount, so that no phase's detail changes. Phases without taps cannot be
        helped.

        Raises:
            SettingError: where a phase has no taps.
        """
        if not self.taps.all():
            raise SettingError(f"{self.verdict}; no weight of this shape can be even, so use a larger kernel")
        sums = self._by_phase(self.weight)
        # Weighted by 1 / taps: what one sum costs depends on how many taps share it.
        cost = 1 / self.taps
        target = (sums * cost).sum(axis=(-2, -1), keepdims=True) / cost.sum()
        shift = (target - sums) / self.taps
        rows, columns = (self._residues(number) for number in (0, 1))
        return self.weight + shift[..., rows[:, None], columns]

    def scene(self) -> Scene:
        """The picture, as data for any renderer (`upconv.explain.svg.svg` and `.raster.png` take it)."""
        return scene(self)

    def _repr_svg_(self):
        return svg(self.scene())

    def __repr__(self):
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The report as lines of text."""
        shape = "(" + ", ".join(map(str, self.weight.shape)) + ")"
        title = f"{self.name}: " * bool(self.name) + f"weight {shape}, stride {self.stride[0]} × {self.stride[1]}"
        untrained = 1 - 1 / self.taps.size
        lines = [
            title,
            f"  {self.verdict}",
            f"  score {self.score:.3f} (0 is flat; random weights have about {untrained:.2f}); "
            f"gains deviate by {self.deviation:.1%} of their mean",
            *aligned(list(self._phase_rows()), right=(1, 2, 3)),
        ]
        if self.taps.size > SHOWN_PHASES:
            lines.append(f"  ... and {self.taps.size - SHOWN_PHASES} more phases")
        lines += [f"  {line}" for line in self.patterns()]
        listed = ", ".join(f"{o} ({self.channels[o]:.3f})" for o in self.worst[:SHOWN_CHANNELS])
        lines.append(f"  output channels by the energy of their pattern, the most first, and their scores: {listed}")
        return [*lines, *(f"  fix: {fix}" for fix in self.fixes)]

    def patterns(self) -> list[str]:
        """The strongest frequencies beside the constant, in words."""
        shares = {}
        for at, share in np.ndenumerate(self.spectrum):
            # Of a real pattern, a frequency and its mirror image are one.
            mirrored = tuple(-f % s for f, s in zip(at, self.stride, strict=True))
            shares[min(at, mirrored)] = shares.get(min(at, mirrored), 0) + share
        rest = sorted((-share, at) for at, share in shares.items() if any(at) and share >= LEAST)
        return [f"{-share:.1%} of the energy at {self._frequency(at)}" for share, at in rest[:SHOWN_FREQUENCIES]]

    def _frequency(self, at):
        words = " × ".join(f"{f}/{s}" if f else "0" for f, s in zip(at, self.stride, strict=True))
        kind = "columns" if not at[0] else "rows" if not at[1] else "a checkerboard"
        return f"frequency {words} per output (rows × columns): {kind}"

    def _phase_rows(self):
        yield "phase", "taps", "gain on a constant", "gain on white noise"
        s_w = self.stride[1]
        # Signs differ between channels, so that their mean would hide what they do.
        gains = np.sqrt((np.abs(self.gains) ** 2).mean(axis=0))
        for number, (a, b) in enumerate(np.ndindex(*self.stride)):
            if number == SHOWN_PHASES:
                return
            letter = palette.phase_letter(a, b, s_w)
            yield f"{letter} ({a}, {b})", str(self.taps[a, b]), f"{gains[a, b]:.4g}", f"{self.noise[a, b]:.4g}"

    def _even_kernel(self, number, name):
        axis = self._axis(number)
        if axis.even_overlap:
            return
        found = even_alternatives(axis, limit=1)
        tail = f": kernel_size={found[0].k}, and `upconv solve` finds the padding for your sizes" if found else ""
        yield f"{name}: a kernel that the stride divides, without dilation{tail}"

    def _axis(self, number):
        return Axis(TYPICAL, self.weight.shape[2 + number], self.stride[number], self.dilation[number])

    @property
    def _grouped(self):
        return self.weight.reshape(self.groups, -1, *self.weight.shape[1:])

    @property
    def _grouped_mean(self):
        return self.mean.reshape(self.groups, -1)

    def _residues(self, number):
        """The phase of every tap on one axis."""
        return np.arange(self.weight.shape[2 + number]) * self.dilation[number] % self.stride[number]

    def _by_phase(self, values):
        """Values over taps, (..., k_h, k_w), summed to values over phases, (..., s_h, s_w)."""
        rows, columns = (np.eye(self.stride[number])[self._residues(number)] for number in (0, 1))
        return np.einsum("...kl,ka,lb->...ab", values, rows, columns)


def artifacts(
    weight: Any,
    stride: Pair = 1,
    *,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    mean: Any = None,
    name: str = "",
) -> Artifacts:
    """What a transposed convolution's weight does to a constant input: gains of the phases, a score, a picture, fixes.

    Args:
        weight: (c_in, c_out // groups, k_h, k_w), an array or a tensor of PyTorch.
        stride, dilation: an int, or (height, width).
        groups: of the layer.
        mean: what each input channel holds, (c_in,): the means of the layer's inputs, if they are known; 1 by default.
        name: what to call the weight in the report.

    Returns:
        An `Artifacts`: `.score` is 0 for a weight that keeps a constant constant, 1 for one that makes pattern alone.

    Raises:
        SettingError: for shapes that do not fit, and values that are not finite.
        TypeError: for what are no numbers.

    >>> artifacts([[[[1, 2, 3, 1]]]], (1, 2)).gains.tolist()
    [[[4.0, 3.0]]]
    >>> artifacts([[[[1, 3, 3, 1]]]], (1, 2)).score
    0.0
    """
    weight = _numbers(weight, "weight")
    if weight.ndim != 4 or 0 in weight.shape:
        raise SettingError(
            f"weight has the shape {weight.shape}; it must be (in_channels, out_channels / groups, height, width)"
        )
    c_in, per_out = weight.shape[:2]
    stride, dilation = (positive(pair(value, key), key) for value, key in ((stride, "stride"), (dilation, "dilation")))
    groups = integer(groups, "groups")
    check_channels(c_in, per_out * max(groups, 1), groups)
    mean = np.ones(c_in) if mean is None else _numbers(mean, "mean")
    if mean.shape != (c_in,):
        raise SettingError(f"mean has the shape {mean.shape}; it must be ({c_in},), one value for each input channel")
    return Artifacts(weight, stride, dilation, groups, mean, name)


def survey(reports) -> list[str]:
    """Several reports as a table, the strongest pattern first; which of them belong to such a layer, no file says.

    >>> survey([artifacts([[[[1, 2, 3, 1]]]], (1, 2), name="up"), artifacts([[[[1, 1]]]], (1, 2), name="even")])[1]
    '  up      (1, 1, 1, 4)  0.0200      14.3%'
    """
    ranked = sorted(reports, key=lambda report: (-report.score, report.name))
    rows = [("weight", "shape", "score", "deviation")]
    rows += [(each.name, str(each.weight.shape), f"{each.score:.4f}", f"{each.deviation:.1%}") for each in ranked]
    first, *_ = ranked
    stride = "×".join(map(str, first.stride))
    return [
        *aligned(rows, right=(2, 3)),
        f"all read as weights of transposed convolutions of stride {stride}; for those that are none it means nothing",
        "--key NAME shows one in full",
    ]


def _numbers(value, name):
    """An array of float64, also from a tensor that wants gradients."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} has dtype {array.dtype}; it must hold real numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise SettingError(f"{name} holds values that are not finite")
    return array


def _share(gains):
    """Share of the energy that is deviation from the mean along the last axis, over all axes but the first."""
    spread = gains - gains.mean(axis=-1, keepdims=True)
    energy, whole = ((np.abs(values) ** 2).sum(axis=(1, 2)) for values in (spread, gains))
    # Sums that agree in all but rounding are equal.
    energy = np.where(energy > 1e-24 * whole, energy, 0.0)
    return energy / np.where(whole > 0, whole, 1.0)


def _deviation(score):
    return sqrt(score / (1 - score)) if score < 1 else float("inf")
