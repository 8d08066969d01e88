"""Transposed convolutions of three dimensions and of one, as integers; `geometry` has those of two."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import SettingError
from .geometry import Axis, Geometry, check_batch, check_channels


@dataclass(frozen=True, slots=True)
class Volume:
    """A whole transposed 3-D convolution: batch n, channels, groups and the three axes (depth first).

    Raises:
        SettingError: for channels or groups below 1, a negative batch, or channels that groups does not divide.

    >>> v = Volume(n=1, c_in=8, c_out=4, groups=2, d=Axis(4, 2, 2), h=Axis(5, 3, 2), w=Axis(6, 3, 2))
    >>> v.input_shape, v.weight_shape, v.output_shape
    ((1, 8, 4, 5, 6), (8, 2, 2, 3, 3), (1, 4, 8, 11, 13))
    """

    n: int
    c_in: int
    c_out: int
    groups: int
    d: Axis
    h: Axis
    w: Axis

    def __post_init__(self) -> None:
        check_batch(self.n)
        check_channels(self.c_in, self.c_out, self.groups)

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """(depth, height, width)."""
        return self.d, self.h, self.w

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.n, self.c_in, *(axis.n for axis in self.axes)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.c_in, self.c_out // self.groups, *(axis.k for axis in self.axes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.n, self.c_out, *(axis.out for axis in self.axes)

    @property
    def macs(self) -> int:
        """Useful multiply-adds: those that reach an output that is kept. Twice this is the number of FLOPs."""
        return self.plane(self.n).macs * self.d.pairs

    @property
    def live_weights(self) -> int:
        """Number of weights that can reach an output."""
        return self.plane(self.n).live_weights * self.d.live_taps

    def elements(self) -> int:
        """Elements that must move at least once: input, live weights, output."""
        plane = self.plane(self.n)
        size_in, size_out = plane.n * plane.c_in * plane.h.n * plane.w.n, plane.n * plane.c_out * plane.h.out
        return size_in * self.d.n + self.live_weights + size_out * plane.w.out * self.d.out

    def plane(self, planes: int, taps_in: int = 1, taps_out: int = 1) -> Geometry:
        """The 2-D layer of `planes` planes in which so many depth taps are stacked along the channels of a map.

        >>> Volume(1, 8, 4, 1, Axis(4, 2, 2), Axis(5, 3), Axis(6, 3)).plane(7, taps_in=2).input_shape
        (7, 16, 5, 6)
        """
        return Geometry(planes, self.c_in * taps_in, self.c_out * taps_out, self.groups, self.h, self.w)

    def computable(self) -> Volume:
        """The volume to compute with; see `Axis.computable`."""
        try:
            depth = self.d.computable()
        except SettingError as error:
            raise SettingError(f"depth: {error}") from None
        return self if depth is self.d else replace(self, d=depth)


@dataclass(frozen=True, slots=True)
class Line:
    """A whole transposed 1-D convolution: batch n, channels, groups and the one axis. It computes as a map of height 1.

    Raises:
        SettingError: as in `Geometry`.

    >>> line = Line(n=1, c_in=8, c_out=4, groups=2, w=Axis(6, 3, 2))
    >>> line.output_shape, line.map.output_shape
    ((1, 4, 13), (1, 4, 1, 13))
    """

    n: int
    c_in: int
    c_out: int
    groups: int
    w: Axis

    def __post_init__(self) -> None:
        check_batch(self.n)
        check_channels(self.c_in, self.c_out, self.groups)

    def _repr_svg_(self):
        from .explain.notebook import svg_of

        return svg_of(self)

    def _repr_html_(self, text=None):
        from .explain.notebook import html_of

        return html_of(self, text)

    @property
    def map(self) -> Geometry:
        """The 2-D layer that it is."""
        return Geometry(self.n, self.c_in, self.c_out, self.groups, Axis(1, 1), self.w)

    @property
    def axes(self) -> tuple[Axis]:
        """(length,)."""
        return (self.w,)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.n, self.c_in, self.w.n

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        return self.c_in, self.c_out // self.groups, self.w.k

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return self.n, self.c_out, self.w.out

    @property
    def macs(self) -> int:
        """Useful multiply-adds: those that reach an output that is kept. Twice this is the number of FLOPs."""
        return self.map.macs

    def elements(self) -> int:
        """Elements that must move at least once: input, live weights, output."""
        return self.map.elements()
