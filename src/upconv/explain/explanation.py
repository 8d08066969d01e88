"""The one function that explains a layer, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

from ..errors import SettingError
from ..geometry import Geometry
from ..settings import Settings, numbers
from ..volume import Line, Volume
from . import korean, text
from .layer import layer_scene
from .svg import svg
from .text import COLUMNS

if TYPE_CHECKING:
    from typing import Any, Literal

    from ..typing import Padding, Pair

KINDS = {1: Line, 2: Geometry, 3: Volume}
LANGUAGES = {"en": text, "ko": korean}


@dataclass(frozen=True)
class Explanation:
    """A layer explained. Print it for everything; a notebook shows it as a picture.

    Attributes:
        geometry: the layer with its input, as integers; a `Line` in one dimension, a `Volume` in three.
        language: "en" or "ko".
    """

    geometry: Geometry | Line | Volume
    language: str = "en"

    @property
    def summary(self) -> str:
        """Two sentences: what becomes of what, and whether to expect a checkerboard."""
        return "\n".join(self.summary_in(COLUMNS))

    @property
    def text(self) -> str:
        """Sizes step by step, the sizes nearby, phases, taps, overlap, groups and cost."""
        return self.text_in(COLUMNS)

    def summary_in(self, width: int) -> list[str]:
        """The lines of the summary, of at most `width` columns."""
        return LANGUAGES[self.language].summary(self.geometry, width)

    def text_in(self, width: int) -> str:
        """The text in lines of at most `width` columns."""
        return LANGUAGES[self.language].explanation(self.geometry, width)

    def __str__(self):
        return self.text

    def __repr__(self):
        return self.summary

    def _repr_svg_(self):
        if isinstance(self.geometry, Volume):
            return None
        return svg(layer_scene(self.geometry, self.language))


def explain(
    layer: Any = None,
    input_size: Pair = 8,
    *,
    kernel_size: Pair | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    in_channels: int | None = None,
    out_channels: int | None = None,
    batch: int = 1,
    language: Literal["en", "ko"] = "en",
    dimensions: Literal[1, 2, 3] = 2,
) -> Explanation:
    """Explain a transposed convolution: a layer object, or the settings of one.

    Args:
        layer: a `ConvTranspose2d`, upconv's or torch's, or a `Geometry`, also of one or three dimensions; None for the
            settings below.
        input_size: height and width of the input, or one number for all axes; a Geometry has its own.
        kernel_size, stride, padding, output_padding, groups, dilation: as in `upconv.conv_transpose2d`.
        in_channels, out_channels: as many as groups by default.
        batch: how many images.
        language: "en" or "ko".
        dimensions: 1, 2 or 3, of settings; a layer has its own.

    Returns:
        Explanation: `summary`, `text`, and in one and two dimensions a picture where one can be shown.

    Raises:
        SettingError, TypeError: for settings that describe no layer, and a layer beside settings.

    >>> print(explain(kernel_size=3, stride=2, padding=1, input_size=16).summary)
    Transposed convolution, 16 × 16 to 31 × 31
    Checkerboard: to be expected, unless training evens it out (s = 2 does not divide k = 3).
    """
    if language not in LANGUAGES:
        raise SettingError(f"language is {language!r}; it must be one of {', '.join(map(repr, LANGUAGES))}")
    if isinstance(layer, Geometry | Line | Volume):
        return Explanation(layer, language)
    if layer is None:
        if kernel_size is None:
            raise TypeError("explain needs a layer, or at least kernel_size=, as in explain(kernel_size=3, stride=2)")
        channels = {"in_channels": in_channels or groups, "out_channels": out_channels or groups}
        layer = SimpleNamespace(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            dilation=dilation,
            **channels,
        )
    elif not getattr(layer, "transposed", True):
        raise TypeError(f"layer is a {type(layer).__name__}, an ordinary convolution; it must be a transposed one")
    elif getattr(layer, "padding_mode", "zeros") != "zeros":
        raise SettingError(
            f"layer has padding_mode={layer.padding_mode!r}, which folds what padding cuts back into the output; "
            "that is not explained. Its sizes are those of its settings: explain(kernel_size=...)"
        )
    elif kernel_size is not None:
        raise TypeError("explain takes a layer or its settings, not both")
    elif not all(hasattr(layer, name) for name in ("kernel_size", "output_padding", "in_channels", "out_channels")):
        raise TypeError(f"layer is of type {type(layer).__name__}; it must be a ConvTranspose2d, a Geometry or None")
    else:
        dimensions = len(layer.kernel_size) if isinstance(layer.kernel_size, tuple) else 2
    if dimensions not in KINDS:
        raise SettingError(f"dimensions is {dimensions!r}; it must be 1, 2 or 3")
    return Explanation(_geometry(layer, input_size, batch, dimensions), language)


def _geometry(layer, input_size, batch, dimensions):
    ends = layer.groups, layer.dilation, "zeros", dimensions
    settings = Settings.of(layer.stride, layer.padding, layer.output_padding, *ends)
    kernel = numbers(layer.kernel_size, "kernel_size", dimensions)
    size = numbers(input_size, "input_size", dimensions)
    axes = [settings.axis(place, *sizes) for place, sizes in enumerate(zip(size, kernel, strict=True))]
    return KINDS[dimensions](batch, layer.in_channels, layer.out_channels, settings.groups, *axes)
