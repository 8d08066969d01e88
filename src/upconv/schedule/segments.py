"""Segments of an axis as rows of a nest: what each adds to the pointers, its taps and its places."""

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ..geometry import Axis, ceil_div
from ..phases import Segment, alike_phases, has_holes, input_segments, live_runs, live_segments, phases
from ..runtime.program import Rows

# Of a larger stride, phases without taps are too many to be listed.
FEW_PHASES = 8
# Of more phases, how many places have how many taps is not counted one by one.
MANY_PHASES = 32
# Of more places it is not asked how far apart they lie.
MOST_SORTED = 512
ROWS = ("x", "y", "w", "n_h", "x_h", "w_h", "rows", "x_row", "y_row")
COLS = ("x", "y", "w", "n_w", "x_w", "w_w", "cols", "x_col", "y_col")


class Segments(tuple):
    """The segments of an axis, and the same as rows of numbers, which are made when first asked for."""

    @property
    def numbers(self):
        """What the fields ROWS, or COLS, are where every step is 1, a row for each segment."""
        try:
            return self._numbers
        except AttributeError:
            self._numbers = values(self, 1, 1, 1)
            return self._numbers


@lru_cache(maxsize=512)
def segments(axis: Axis, forward) -> Segments:
    """The segments that an operation walks: those of the output that have taps, or all of the input."""
    return Segments(live_segments(axis) if forward else input_segments(axis))


def some_are_holes(h: Axis, w: Axis, forward) -> bool:
    """Whether some outputs have no taps."""
    return forward and (has_holes(h) or has_holes(w))


def fills_all(h: Axis, w: Axis, forward) -> bool:
    """Whether `holes` are all places."""
    return some_are_holes(h, w, forward) and max(h.s, w.s) > FEW_PHASES


@lru_cache(maxsize=512)
def holes(h: Axis, w: Axis, forward) -> tuple[tuple[Sequence[Segment], Sequence[Segment]], ...]:
    """(segments of rows, of columns) whose products are the outputs without taps, which are to be written first.

    Under a large stride these are all outputs, and the others are written over them then.
    """
    if not some_are_holes(h, w, forward):
        return ()
    if fills_all(h, w, forward):
        return (((everywhere(h.out),), (everywhere(w.out),)),)
    down, across = in_few_runs(h, _holes(h)), in_few_runs(w, _holes(w))
    found = ((down, (everywhere(w.out),)), (in_few_runs(h, segments(h, True)) if across else (), across))
    return tuple((rows, cols) for rows, cols in found if rows and cols)


def in_few_runs(axis: Axis, found: Sequence[Segment]) -> tuple[Segment, ...]:
    """The places of segments of outputs, without their taps, in fewer runs if there are such.

    A run is a task. Those of whole phases are few; but in narrow maps under dilated kernels a phase has a place or two
    between others, which lie side by side, or as far apart as taps.

    >>> axis = Axis(n=1, k=2, s=4, d=5)
    >>> [(each.start, each.step, each.count) for each in in_few_runs(axis, _holes(axis))]
    [(1, 1, 4)]
    """
    runs = []
    for each in found:
        start, step, count = runs[-1] if runs else (0, 0, 0)
        if step == each.step and start + count * step == each.start:
            runs[-1] = start, step, count + each.count
        else:
            runs.append((each.start, each.step, each.count))
    if len(runs) > 1 and sum(count for *_, count in runs) <= MOST_SORTED:
        places = [place for start, step, count in runs for place in range(start, start + count * step, step)]
        runs = min(runs, *(_runs_of(places, step) for step in {1, axis.d}), key=len)
    return tuple(Segment(start, step, count, range(0), 0, 0, 0) for start, step, count in runs)


def _runs_of(places, step):
    """(start, step, count) of the runs of places that are so far apart."""
    ordered = sorted(places, key=lambda place: (place % step, place))
    first = [number for number, place in enumerate(ordered) if not number or place != ordered[number - 1] + step]
    return [(ordered[a], step, b - a) for a, b in itertools.pairwise([*first, len(ordered)])]


@lru_cache(maxsize=512)
def hole_rows(axis: Axis, most=FEW_PHASES) -> tuple[Segment, ...]:
    """The segments of an axis without taps, which are to be written first; all places where they are more than so many.

    >>> [(each.start, each.step, each.count) for each in hole_rows(Axis(n=5, k=2, s=3, crop_lo=0, crop_hi=-1))]
    [(2, 3, 5)]
    """
    if not has_holes(axis):
        return ()
    found = in_few_runs(axis, _holes(axis)) if axis.s <= FEW_PHASES else ()
    return found if 0 < len(found) <= most else (everywhere(axis.out),)


def _holes(axis):
    """The segments without taps."""
    runs = (segment for phase in phases(axis) for segment in phase.segments if not segment.taps)
    return tuple(Segment(each.start, each.step, each.count, range(0), 0, 0, 0) for each in runs)


def values(found, x_step, y_step, w_step):
    """What each segment adds to the fields ROWS, or COLS: steps in bytes of x, y and of the weight along the axis."""
    return [
        (
            segment.source * x_step,
            segment.start * y_step,
            segment.taps.start * w_step if segment.taps else 0,
            len(segment.taps),
            segment.tap_step * x_step,
            segment.taps.step * w_step,
            segment.count,
            segment.source_step * x_step,
            segment.step * y_step,
        )
        for segment in found
    ]


def listed(names, found: Sequence[Segment], x_step, y_step, w_step) -> Rows:
    """`values` as a list of a nest; the numbers of an axis are looked up but once."""
    if not isinstance(found, Segments):
        return Rows(names, values(found, x_step, y_step, w_step))
    # Not a product of arrays: to call NumPy for the first time in a while takes longer.
    made = [
        (x * x_step, y * y_step, w * w_step, n, tap * x_step, tap_w * w_step, count, far * x_step, far_y * y_step)
        for x, y, w, n, tap, tap_w, count, far, far_y in found.numbers
    ]
    return Rows(names, made)


def live_rows(axis: Axis, x_step, y_step, w_step) -> list[tuple[Rows, ...]]:
    """Lists whose products are the segments of outputs, as ROWS: of many phases alike, first how they differ."""
    kinds = alike_phases(axis) if axis.s > FEW_PHASES else ()
    if FEW_PHASES * len(kinds) >= sum([len(kind.shifts) for kind in kinds]):
        found = segments(axis, True)
        return [(listed(ROWS, found, x_step, y_step, w_step),)] if found else []
    return [
        (
            Rows(("y", "w"), [(start * y_step, tap * w_step) for start, tap in kind.shifts]),
            Rows(ROWS, values(kind.segments, x_step, y_step, w_step)),
        )
        for kind in kinds
    ]


class TapPlaces(NamedTuple):
    """What one tap of an axis does: it sends `count` inputs from `source` on to outputs from `start` on, s apart."""

    tap: int
    source: int
    start: int
    count: int


@lru_cache(maxsize=512)
def tap_places(axis: Axis) -> tuple[TapPlaces, ...]:
    """The taps of an axis that send any input into the output.

    >>> [tuple(each) for each in tap_places(Axis(n=1, k=4, s=2, crop_lo=1, crop_hi=1))]
    [(1, 0, 0, 1), (2, 0, 1, 1)]
    """
    found = []
    for tap in range(axis.k):
        offset = tap * axis.d - axis.crop_lo
        first, end = max(0, ceil_div(-offset, axis.s)), min(axis.n, ceil_div(axis.out - offset, axis.s))
        if first < end:
            found.append(TapPlaces(tap, first, first * axis.s + offset, end - first))
    return tuple(found)


@lru_cache(maxsize=512)
def live_range(axis: Axis) -> tuple[int, int]:
    """(first tap, end): outside of these no tap sends any input into the output; (0, 0) where none does.

    >>> live_range(Axis(n=1, k=4, s=2, crop_lo=1, crop_hi=1))
    (1, 3)
    """
    first = max(0, ceil_div(axis.crop_lo - (axis.n - 1) * axis.s, axis.d))
    end = min(axis.k, ceil_div(axis.crop_lo + axis.out, axis.d))
    return (first, end) if first < end else (0, 0)


def everywhere(size) -> Segment:
    """All places of an axis, without taps."""
    return Segment(0, 1, size, range(0), 0, 0, 0)


@lru_cache(maxsize=512)
def phase_blocks(axis: Axis) -> tuple[tuple[Segment, tuple[int, int]], ...]:
    """Segments of an axis whose s phases are computed together, for d = 1.

    A place is a block of s canvas positions; its phases read the same inputs, through ``ceil(k / s)`` taps each, the
    last of which only the first k mod s phases have unless s divides k. Gives a Segment of blocks and the range of
    phases inside the output: all of them, but for the first and the last block. Its taps are numbered from 0 for all
    phases.

    >>> [(each.start, each.count, list(each.taps), kept) for each, kept in phase_blocks(Axis(5, 3, 2, 1, 1, 0))]
    [(-1, 1, [0], (1, 2)), (1, 4, [0, 1], (0, 2)), (9, 1, [1], (0, 1))]
    """
    first, end = axis.crop_lo // axis.s, ceil_div(axis.crop_lo + axis.out, axis.s)
    taps = ceil_div(axis.k, axis.s)
    blocks = Axis(axis.n, taps, 1, 1, first, axis.n + taps - 1 - end)
    found = []
    for segment in phases(blocks)[0].segments:
        for start, stop in _runs_alike(segment.start, segment.start + segment.count, end - first):
            low = max(0, axis.crop_lo - (first + start) * axis.s)
            high = min(axis.s, axis.crop_lo + axis.out - (first + stop - 1) * axis.s)
            moved = Segment(
                (first + start) * axis.s - axis.crop_lo,
                axis.s,
                stop - start,
                segment.taps,
                segment.source + start - segment.start if segment.taps else 0,
                segment.source_step,
                segment.tap_step,
            )
            found.append((moved, (low, high)))
    return tuple(found)


@lru_cache(maxsize=512)
def fused_segments(axis: Axis) -> tuple[tuple[Segment, tuple[int, int]], ...]:
    """Those of the `phase_blocks` that have taps, for k a multiple of s: then all phases have the same ones."""
    return tuple((segment, kept) for segment, kept in phase_blocks(axis) if segment.taps)


def _runs_alike(start, stop, blocks):
    """Cut start..stop so that the first and the last of all blocks stand alone."""
    inner = [cut for cut in (1, blocks - 1) if start < cut < stop]
    # Most segments are neither the first nor the last.
    return itertools.pairwise(sorted({start, stop, *inner})) if inner else ((start, stop),)


@lru_cache(maxsize=512)
def tally(axis: Axis, forward) -> tuple[tuple[int, int, int], ...]:
    """(places, taps, how many segments) of the segments of an axis that have as many taps, and places, as others."""
    if forward and axis.s > MANY_PHASES:
        return _tally_of_many(axis)
    runs = live_runs(axis) if forward else Counter((run.count, len(run.taps)) for run in input_segments(axis))
    return tuple((places, taps, number) for (places, taps), number in runs.items())


def with_taps(h: Axis, w: Axis) -> int:
    """How many outputs of a plane have taps."""
    down, across = (sum(places * number for places, _, number in tally(axis, True)) for axis in (h, w))
    return down * across


def _tally_of_many(axis):
    """The same as if all phases were alike, so that nothing grows with the stride."""
    live, taps = min(axis.s // axis.g, axis.k, axis.out), ceil_div(axis.k * axis.g, axis.s)
    places = max(1, axis.out // axis.s)
    border = min(places, (taps - 1) * axis.d // axis.g)
    found = [(max(1, places - 2 * border), taps, live)]
    return (*found, (border, ceil_div(taps, 2), 2 * live)) if border else tuple(found)


@lru_cache(maxsize=512)
def fused_tally(axis: Axis) -> tuple[tuple[int, int, int], ...]:
    """As `tally`, of the segments of fused phases."""
    return tuple((segment.count, len(segment.taps), 1) for segment, _ in fused_segments(axis))
