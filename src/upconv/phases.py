"""Phases: a stride-s transposed convolution is s interleaved ordinary convolutions on each axis.

Output ``o`` sits at position ``o + crop_lo`` of the canvas. Tap ``t`` of any input lands at positions congruent to
``t*d`` modulo ``s``, so the residue of the position selects the taps: the outputs of one residue are a *phase*. With
``g = gcd(s, d)``, a residue that g does not divide has no taps (a hole: bias only); the others have floor or ceil of
``k*g/s``, evenly spaced. No multiplication by an inserted zero, and no column buffer, is ever needed.

Near the borders some taps would read inputs that do not exist. A *segment* is a run of places that read exactly the
same taps; working segment by segment never multiplies padding, so a NaN in the weight reaches exactly the outputs that
it should.
"""

from bisect import bisect_right
from collections import Counter
from functools import lru_cache
from itertools import groupby, islice, pairwise
from operator import attrgetter
from typing import NamedTuple

from .errors import SettingError
from .geometry import Axis, ceil_div

# More segments than this of one axis are counted, but not made: it would take a good part of a second.
MOST_SEGMENTS = 1 << 16
# Of how many axes they are kept; those of a tall kernel take megabytes.
KEPT = 128


class Segment(NamedTuple):
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


class Alike(NamedTuple):
    """Phases that are alike but for the places of their outputs, and which taps they read.

    The segments of each are `segments`, whose starts and taps move by its (start, tap) of `shifts`.
    """

    shifts: tuple[tuple[int, int], ...]
    segments: tuple[Segment, ...]


class Phase(NamedTuple):
    """The outputs of one axis whose canvas position is congruent to `residue` modulo s.

    `taps` are the taps they may read, `start` the first such output, `count` their number. Place number j reads input
    ``source + j - a*back`` through the a-th tap, if it exists, with ``back = d/g``.
    """

    residue: int
    taps: range
    source: int
    start: int
    count: int
    axis: Axis

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The places cut into runs that read the same taps; under a tall kernel they are many.

        Raises:
            SettingError: when there are more than MOST_SEGMENTS.
        """
        return _segments(self.axis, self.start)


@lru_cache(maxsize=1024)
def phases(axis: Axis) -> tuple[Phase, ...]:
    """The phases of an axis in the order of their first outputs; residues that no output has are left out.

    Raises:
        SettingError: when there are more than MOST_SEGMENTS.

    >>> [(phase.residue, list(phase.taps), phase.count) for phase in phases(Axis(n=4, k=3, s=2))]
    [(0, [0, 2], 5), (1, [1], 4)]
    """
    _check_number(min(axis.s, axis.out), axis)
    return tuple(_phase(axis, start) for start in range(min(axis.s, axis.out)))


@lru_cache(maxsize=KEPT)
def live_segments(axis: Axis) -> tuple[Segment, ...]:
    """The segments that have taps, of all phases: what must be computed. Nothing here grows with the stride.

    Raises:
        SettingError: when there are more than MOST_SEGMENTS.

    >>> [(s.start, list(s.taps)) for s in live_segments(Axis(n=1, k=2, s=1000, crop_hi=-7))]
    [(0, [0]), (1, [1])]
    """
    _check_segments(axis)
    return tuple(segment for phase in live_phases(axis) for segment in phase.segments if segment.taps)


@lru_cache(maxsize=1024)
def live_phases(axis: Axis) -> tuple[Phase, ...]:
    """The phases that have taps, in the order of their first outputs; nothing here grows with the stride."""
    starts = list(islice(_live_starts(axis), MOST_SEGMENTS + 1))
    _check_number(len(starts), axis)
    return tuple(_phase(axis, start) for start in sorted(starts))


def _live_starts(axis):
    """The first outputs of the phases that have taps, in any order."""
    # Taps return to a phase after s/g of them.
    taps, outputs = min(axis.k, axis.s // axis.g), min(axis.s, axis.out)
    if outputs < taps:
        return (start for start in range(outputs) if _taps(axis, (start + axis.crop_lo) % axis.s))
    starts = ((t * axis.d - axis.crop_lo) % axis.s for t in range(taps))
    return (start for start in starts if start < outputs)


@lru_cache(maxsize=1024)
def live_segment_count(axis: Axis) -> int:
    """``len(live_segments(axis))``, however many there are; above MOST_SEGMENTS it may be fewer than there are.

    >>> live_segment_count(Axis(n=4, k=10**9)), live_segment_count(Axis(n=4, k=3, s=2, crop_lo=1))
    (1000000003, 3)
    """
    number = 0
    for start in _live_starts(axis):
        number += _count_runs(axis, start)
        if number > MOST_SEGMENTS:
            break
    return number


def most_segments(axis: Axis) -> int:
    """A bound of `live_segment_count` from above, for which nothing is counted: a phase has two for each tap, less one.

    >>> most_segments(Axis(n=4, k=3, s=2)), most_segments(Axis(n=20, k=64, s=32))
    (4, 96)
    """
    return 2 * axis.k - (min(axis.k, axis.s // axis.g) if axis.out >= axis.s else 1)


def _count_runs(axis, start):
    """How many segments with taps `_phase` makes, from the ends of progressions alone."""
    taps, source, back, count = _walk(axis, start)
    first, last = 0, len(taps) - 1
    if back > axis.n:
        # Each tap by itself: it lives on [a*back - source, a*back - source + n).
        return max(0, min(last, (count - 1 + source) // back) - max(first, ceil_div(source - axis.n + 1, back)) + 1)
    begin, end = max(0, -source), min(count, last * back - source + axis.n)
    if begin >= end:
        return 0
    # A cut wherever a tap begins or ends; where n is a multiple of `back`, one ends where another begins.
    inside = _multiples(begin, end, -source, back, last) + _multiples(begin, end, axis.n - source, back, last)
    if axis.n % back == 0:
        inside -= _multiples(begin, end, axis.n - source, back, last - axis.n // back)
    return 1 + inside


def _multiples(begin, end, first, step, last):
    """How many of first, first + step, ..., first + last*step lie strictly between begin and end."""
    return max(0, min(last, (end - 1 - first) // step) - max(0, (begin - first) // step + 1) + 1)


def _check_segments(axis):
    if most_segments(axis) > MOST_SEGMENTS:
        _check_number(live_segment_count(axis), axis)


def _check_number(number, axis):
    if number > MOST_SEGMENTS:
        raise SettingError(
            f"a kernel of {axis.k:,} taps with stride {axis.s:,} over an input of {axis.n:,} reads other taps in each "
            f"of more than {MOST_SEGMENTS:,} runs of places, which is too many to list; cut the weight into kernels of "
            "fewer taps, and add up what they give"
        )


def live_runs(axis: Axis) -> Counter[tuple[int, int]]:
    """How many of the `live_segments` have so many (places, taps), for those who only count.

    Raises:
        SettingError: when there are more than MOST_SEGMENTS.

    >>> dict(live_runs(Axis(n=4, k=3, s=2)))
    {(1, 1): 2, (3, 2): 1, (4, 1): 1}
    """
    _check_segments(axis)
    back, found = axis.d // axis.g, Counter()
    # Phases are many, and most of them alike.
    for (taps, source, count), number in Counter(kind for *_, kind in _kinds_of_phases(axis)).items():
        for lo, hi, a, b in _runs_of_phase(taps, source, back, axis.n, count):
            if a < b:
                found[hi - lo, b - a] += number
    return found


@lru_cache(maxsize=KEPT)
def alike_phases(axis: Axis) -> tuple[Alike, ...]:
    """All `live_segments`, in another order, by the few kinds of phases that many phases are of.

    Raises:
        SettingError: when there are more than MOST_SEGMENTS.

    >>> [(each.shifts, [(s.start, s.count, list(s.taps)) for s in each.segments])
    ...  for each in alike_phases(Axis(n=2, k=6, s=3))]
    [(((0, 0), (1, 1), (2, 2)), [(0, 1, [0]), (3, 1, [0, 3]), (6, 1, [3])])]
    """
    _check_segments(axis)
    found, back, step = {}, axis.d // axis.g, axis.s // axis.g
    for start, tap, kind in _kinds_of_phases(axis):
        found.setdefault(kind, []).append((start, tap))
    return tuple(
        Alike(tuple(shifts), tuple(filter(_has_taps, _cut(axis, 0, range(0, taps * step, step), source, back, count))))
        for (taps, source, count), shifts in found.items()
    )


_has_taps = attrgetter("taps")


def _kinds_of_phases(axis):
    """(first output, first tap, kind) of the phases that have taps, in any order; kinds are as `_walk` finds them.

    A kind is (taps, source, count).
    """
    s, d, lo, out = axis.s, axis.d, axis.crop_lo, axis.out
    step = s // axis.g
    # Taps return to a phase after so many of them.
    for tap in range(min(axis.k, step)):
        start = (tap * d - lo) % s
        if start < out:
            yield start, tap, ((axis.k - 1 - tap) // step + 1, (start + lo - tap * d) // s, (out - start - 1) // s + 1)


def has_holes(axis: Axis) -> bool:
    """Whether some outputs have no taps, and so hold the bias alone."""
    if axis.d == 1 and axis.k >= axis.s:
        # Every stamp begins before the one before it ends, so the canvas is covered.
        return axis.crop_lo < 0 or axis.crop_hi < 0
    return sum(segment.count for segment in live_segments(axis)) < axis.out


def _phase(axis, start):
    taps, source, _, count = _walk(axis, start)
    return Phase((start + axis.crop_lo) % axis.s, taps, source, start, count, axis)


def _segments(axis, start):
    taps, source, back, count = _walk(axis, start)
    if not taps:
        return (Segment(start, axis.s, count, taps, 0, 1, 0),)
    if 2 * len(taps) > MOST_SEGMENTS:
        # There is a run more where a tap begins, and one where it ends.
        _check_number(_count_runs(axis, start), axis)
    return _cut(axis, start, taps, source, back, count)


def _cut(axis, start, taps, source, back, count):
    """The segments of a phase that has taps."""
    return tuple(
        Segment(start + lo * axis.s, axis.s, hi - lo, taps[a:b], source + lo - a * back, 1, -back)
        for lo, hi, a, b in _runs_of_phase(len(taps), source, back, axis.n, count)
    )


# Most phases of an axis are alike but for the places of their outputs, so few are ever cut.
@lru_cache(maxsize=64)
def _runs_of_phase(taps, source, back, n, count):
    bounds = [(a * back - source, a * back - source + n) for a in range(taps)]
    return tuple(_runs(bounds, count))


def _walk(axis, start):
    """(taps, source, back, count) of the phase whose first output is `start`.

    The first place reads input `source` through the first tap; later taps reach `back` = d/g inputs back each.
    """
    taps, count = _taps(axis, (start + axis.crop_lo) % axis.s), ceil_div(axis.out - start, axis.s)
    source = (start + axis.crop_lo - taps[0] * axis.d) // axis.s if taps else 0
    return taps, source, axis.d // axis.g, count


def _taps(axis, residue):
    if residue % axis.g:
        return range(0)
    step = axis.s // axis.g
    first = residue // axis.g * pow(axis.d // axis.g, -1, step) % step
    return range(first, axis.k, step)


@lru_cache(maxsize=KEPT)
def input_segments(axis: Axis) -> tuple[Segment, ...]:
    """Runs of *inputs* that reach the output through the same taps: the segments of the gradient in the input.

    Raises:
        SettingError: when there may be more than MOST_SEGMENTS.

    >>> [(s.start, s.count, list(s.taps)) for s in input_segments(Axis(n=4, k=3, s=1, crop_lo=1, crop_hi=1))]
    [(0, 1, [1, 2]), (1, 2, [0, 1, 2]), (3, 1, [0, 1])]
    """
    _check_number(min(axis.n, axis.k), axis)
    return tuple(
        Segment(lo, 1, hi - lo, range(a, b), lo * axis.s + a * axis.d - axis.crop_lo, axis.s, axis.d)
        for lo, hi, a, b in (_input_runs(axis) if axis.n <= axis.k else _tap_runs(axis))
    )


def _input_runs(axis):
    """The runs of few inputs under many taps, by looking at every input."""
    lo = axis.crop_lo

    def live(i):
        a = max(0, ceil_div(lo - i * axis.s, axis.d))
        b = min(axis.k, ceil_div(lo + axis.out - i * axis.s, axis.d))
        return (a, b) if a < b else (0, 0)

    for (a, b), run in groupby(range(axis.n), live):
        inputs = list(run)
        yield inputs[0], inputs[-1] + 1, a, b


def _tap_runs(axis):
    """The runs of many inputs, by looking at every tap."""
    bounds = [
        (ceil_div(axis.crop_lo - t * axis.d, axis.s), ceil_div(axis.crop_lo + axis.out - t * axis.d, axis.s))
        for t in range(axis.k)
    ]
    return _runs(bounds, axis.n)


def _runs(bounds, count):
    """Cut range(count) where the set of live taps changes: tap a lives on range(*bounds[a]).

    Yields (lo, hi, a, b): on range(lo, hi) exactly taps a..b-1 live. The bounds slide evenly from tap to
    tap, so the live taps of a place are always consecutive: those that have begun and have not ended.
    """
    cuts = sorted({0, count} | {bound for pair in bounds for bound in pair if 0 < bound < count})
    falling, number = bounds[-1] < bounds[0], len(bounds)
    begins, ends = zip(*(reversed(bounds) if falling else bounds), strict=True)
    for lo, hi in pairwise(cuts):
        a, b = bisect_right(ends, lo), bisect_right(begins, lo)
        if falling:
            a, b = number - b, number - a
        yield (lo, hi, a, b) if a < b else (lo, hi, 0, 0)
