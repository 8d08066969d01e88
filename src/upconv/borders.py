"""Border modes as exact adjoints: what `Conv2d(padding_mode=...)` copies outwards, we add back inwards.

A padded convolution reads some inputs twice: once in place and again from the border. Its adjoint therefore computes
the whole canvas, border included, and adds every border value onto the place that it was copied from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import SettingError
from .geometry import NAMES

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

MODES = ("zeros", "circular", "reflect", "replicate")


class Border:
    """A border of (lo, hi) values on each axis of a map, filled by `mode`.

    >>> border = Border("circular", (0, 0), (1, 1))
    >>> border.pad(np.array([[[[1.0, 2.0, 3.0]]]]))
    array([[[[3., 1., 2., 3., 1.]]]])
    >>> border.fold(np.array([[[[10.0, 1.0, 2.0, 3.0, 20.0]]]]))
    array([[[[21.,  2., 13.]]]])
    """

    __slots__ = ("mode", "sides")

    def __init__(self, mode: str, *sides: tuple[int, int]) -> None:
        self.mode, self.sides = mode, sides

    def check(self, *sizes: int) -> None:
        """Refuse a border wider than the mode can fill from an inside of such a height and width."""
        for name, inside, sides in zip(NAMES[len(sizes)], sizes, self.sides, strict=True):
            widest = {"reflect": inside - 1, "circular": inside}.get(self.mode, max(sides))
            if max(sides) > widest:
                raise SettingError(
                    f"{name}: padding is {max(sides)} with padding_mode={self.mode!r}, which can fill at most {widest} "
                    f"of an output of {inside}"
                )

    def pad(self, y: NDArray[Any]) -> NDArray[Any]:
        """(n, c, h, w) with its border filled; what the padded convolution reads."""
        for axis, sides in enumerate(self.sides, 2):
            y = np.take(y, self.sources(y.shape[axis], sides), axis=axis)
        return y

    def fold(self, canvas: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of `pad`: every border value is added to the place it came from."""
        for axis, sides in enumerate(self.sides, 2):
            canvas = self._fold(canvas, axis, sides)
        return canvas

    def _fold(self, canvas, axis, sides):
        lo, hi = sides
        size = canvas.shape[axis] - lo - hi
        canvas = np.moveaxis(canvas, axis, 0)
        inside = canvas[lo : lo + size].copy()
        sources = self.sources(size, sides)
        for position in (*range(lo), *range(lo + size, lo + size + hi)):
            inside[sources[position]] += canvas[position]
        return np.moveaxis(inside, 0, axis)

    def sources(self, size: int, sides: tuple[int, int]) -> NDArray[Any]:
        """For each place of the canvas, the place inside that it shows."""
        places = np.arange(-sides[0], size + sides[1])
        if self.mode == "circular":
            return places % size
        if self.mode == "replicate":
            return places.clip(0, size - 1)
        return (size - 1) - np.abs((size - 1) - np.abs(places))
