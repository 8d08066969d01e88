"""Phases: a stride-s transposed convolution is s interleaved ordinary convolutions on each axis.

Output ``o`` sits at position ``o + crop_lo`` of the canvas. Tap ``t`` of any input lands at positions congruent to
``t*d`` modulo ``s``, so the residue of the position selects the taps: the outputs of one residue are a *phase*. With
``g = gcd(s, d)``, a residue that g does not divide has no taps (a hole: bias only); the others have floor or ceil of
``k*g/s``, evenly spaced. No multiplication by an inserted zero, and no column buffer, is ever needed.

Near the borders some taps would read inputs that do not exist. A *segment* is a run of places that read exactly the
same taps; working segment by segment never multiplies padding, so a NaN in the weight reaches exactly the outputs that
it should.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from .geometry import Axis, ceil_div


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of places, `step` apart, that read the same taps of the same kind of neighbour.

    Place number j is index ``start + j*step``; through the a-th tap of `taps` it reads index
    ``source + j*source_step + a*tap_step`` of the other array.
    """

    start: int
    step: int
    count: int
    taps: range
    source: int
    source_step: int
    tap_step: int

    @property
    def places(self) -> slice:
        """The places as a slice."""
        return slice(self.start, self.start + (self.count - 1) * self.step + 1, self.step)


@dataclass(frozen=True, slots=True)
class Phase:
    """The outputs of one axis whose canvas position is congruent to `residue` modulo s.

    `taps` are the taps they may read, `start` the first such output, `count` their number. Place number j reads input
    ``source + j - a*back`` through the a-th tap, if it exists, with ``back = d/g``; `segments` cut the places into runs
    that read the same taps.
    """

    residue: int
    taps: range
    source: int
    start: int
    count: int
    segments: tuple[Segment, ...]

    @property
    def interior(self) -> Segment | None:
        """The segment that reads every tap of the phase; None where the input is too short, and without taps."""
        if not self.taps:
            return None
        return next((segment for segment in self.segments if len(segment.taps) == len(self.taps)), None)

    @property
    def border(self) -> tuple[Segment, ...]:
        """The segments that miss at least one tap."""
        return tuple(segment for segment in self.segments if len(segment.taps) != len(self.taps))


@lru_cache(maxsize=1024)
def phases(axis: Axis) -> tuple[Phase, ...]:
    """The phases of an axis in the order of their first outputs; residues that no output has are left out.

    >>> [(phase.residue, list(phase.taps), phase.count) for phase in phases(Axis(n=4, k=3, s=2))]
    [(0, [0, 2], 5), (1, [1], 4)]
    """
    return tuple(_phase(axis, start) for start in range(min(axis.s, axis.out)))


@lru_cache(maxsize=1024)
def live_segments(axis: Axis) -> tuple[Segment, ...]:
    """The segments that have taps, of all phases: what must be computed. Nothing here grows with the stride.

    >>> [(s.start, list(s.taps)) for s in live_segments(Axis(n=1, k=2, s=1000, crop_hi=-7))]
    [(0, [0]), (1, [1])]
    """
    return tuple(segment for phase in live_phases(axis) for segment in phase.segments if segment.taps)


@lru_cache(maxsize=1024)
def live_phases(axis: Axis) -> tuple[Phase, ...]:
    """The phases that have taps, in the order of their first outputs; nothing here grows with the stride."""
    starts = sorted({(t * axis.d - axis.crop_lo) % axis.s for t in range(axis.k)})
    return tuple(_phase(axis, start) for start in starts if start < axis.out)


def has_holes(axis: Axis) -> bool:
    """Whether some outputs have no taps, and so hold the bias alone."""
    if axis.d == 1 and axis.k >= axis.s:
        # Every stamp begins before the one before it ends, so the canvas is covered.
        return axis.crop_lo < 0 or axis.crop_hi < 0
    return sum(segment.count for segment in live_segments(axis)) < axis.out


def _phase(axis, start):
    residue = (start + axis.crop_lo) % axis.s
    count = ceil_div(axis.out - start, axis.s)
    taps = _taps(axis, residue)
    if not taps:
        return Phase(residue, taps, 0, start, count, (Segment(start, axis.s, count, taps, 0, 1, 0),))
    # The first place reads input `source` through the first tap; later taps reach back d/g inputs each.
    source = (start + axis.crop_lo - taps[0] * axis.d) // axis.s
    back = axis.d // axis.g
    bounds = [(a * back - source, a * back - source + axis.n) for a in range(len(taps))]
    segments = tuple(
        Segment(start + lo * axis.s, axis.s, hi - lo, taps[a:b], source + lo - a * back, 1, -back)
        for lo, hi, a, b in _runs(bounds, count)
    )
    return Phase(residue, taps, source, start, count, segments)


def _taps(axis, residue):
    if residue % axis.g:
        return range(0)
    step = axis.s // axis.g
    first = residue // axis.g * pow(axis.d // axis.g, -1, step) % step
    return range(first, axis.k, step)


@lru_cache(maxsize=1024)
def input_segments(axis: Axis) -> tuple[Segment, ...]:
    """Runs of *inputs* that reach the output through the same taps: the segments of the gradient in the input.

    >>> [(s.start, s.count, list(s.taps)) for s in input_segments(Axis(n=4, k=3, s=1, crop_lo=1, crop_hi=1))]
    [(0, 1, [1, 2]), (1, 2, [0, 1, 2]), (3, 1, [0, 1])]
    """
    bounds = [
        (ceil_div(axis.crop_lo - t * axis.d, axis.s), ceil_div(axis.crop_lo + axis.out - t * axis.d, axis.s))
        for t in range(axis.k)
    ]
    return tuple(
        Segment(lo, 1, hi - lo, range(a, b), lo * axis.s + a * axis.d - axis.crop_lo, axis.s, axis.d)
        for lo, hi, a, b in _runs(bounds, axis.n)
    )


def _runs(bounds, count):
    """Cut range(count) where the set of live taps changes: tap a lives on range(*bounds[a]).

    Yields (lo, hi, a, b): on range(lo, hi) exactly taps a..b-1 live. The bounds slide evenly from tap to
    tap, so the live taps of a place are always consecutive.
    """
    cuts = sorted({0, count} | {bound for pair in bounds for bound in pair if 0 < bound < count})
    for lo, hi in pairwise(cuts):
        live = [a for a, (begin, end) in enumerate(bounds) if begin <= lo < end]
        yield (lo, hi, live[0], live[-1] + 1) if live else (lo, hi, 0, 0)
