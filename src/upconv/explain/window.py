"""The part of an axis that a picture shows: all of a small canvas, the beginning of a large one."""

from dataclasses import dataclass

from ..geometry import Axis, ceil_div

WHOLE = 20
OUTPUTS = 12
CROPPED_SHOWN = 3
ROWS = 12

OUTPUT, EXTENSION, CROPPED = "output", "extension", "cropped"


@dataclass(frozen=True, slots=True)
class Window:
    """Canvas positions start <= q < stop of an axis; output o stands at position ``q == o + crop_lo``.

    >>> shown = window(Axis(32, 4, s=2, crop_lo=1, crop_hi=1))
    >>> shown.start, shown.stop, shown.outputs, shown.whole
    (0, 13, range(0, 12), False)
    """

    axis: Axis
    start: int
    stop: int

    @property
    def positions(self):
        return range(self.start, self.stop)

    @property
    def whole(self):
        """True when nothing of the canvas or of the output is left out."""
        first, last = extent(self.axis)
        return self.start <= first and self.stop >= last

    @property
    def outputs(self):
        """The outputs that are shown."""
        first = max(0, self.start - self.axis.crop_lo)
        return range(first, min(self.axis.out, self.stop - self.axis.crop_lo))

    @property
    def inputs(self):
        """The inputs whose stamp reaches into the window."""
        axis = self.axis
        first = max(0, ceil_div(self.start - axis.k_eff + 1, axis.s))
        return range(first, min(axis.n, ceil_div(self.stop, axis.s)))

    @property
    def first_input(self):
        """The first input that is shown, even where the window lies so far outside that none reaches into it."""
        return self.inputs.start if self.inputs else 0

    def kind(self, q):
        """What stands at canvas position q: an output, an output beyond the canvas (bias only), or a cropped value."""
        if not 0 <= q - self.axis.crop_lo < self.axis.out:
            return CROPPED
        return OUTPUT if 0 <= q < self.axis.full else EXTENSION


def window(axis: Axis) -> Window:
    """The part of the axis worth drawing."""
    first, last = extent(axis)
    if last - first <= WHOLE:
        return Window(axis, first, last)
    start = max(first, axis.crop_lo - CROPPED_SHOWN)
    outputs = max(OUTPUTS, axis.s + axis.k_eff)
    return Window(axis, start, min(last, start + WHOLE, axis.crop_lo + outputs))


def extent(axis: Axis):
    """The positions (first, last + 1) of the canvas and the output together."""
    return min(0, axis.crop_lo), max(axis.full, axis.crop_lo + axis.out)
