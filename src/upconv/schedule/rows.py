"""Whole rows with all phases together: what the kernels compute that put the columns of a row along the vector.

Of a map that is narrow and high the columns can be computed as rows, transposed in scratch: they fill their vectors.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from ..geometry import Axis, ceil_div
from ..phases import live_phases, phases
from ..problem import Problem
from ..runtime.program import Rows

# Phases that are interleaved in registers, unless a way says otherwise; of more, each is written on its own.
MOST_INTERLEAVED = 4
# How far apart columns of the source may be that the gradient in the input brings together in registers.
WIDEST_STEP = 4
# Of more runs of rows without taps all rows are written at once, which takes fewer passes.
HOLE_RUNS = 1
NO_TAPS = range(0)


@dataclass(frozen=True, slots=True)
class Taps:
    """Taps of one phase: the m-th of `taps` reads column ``j + a - m*back`` for column j of the result."""

    a: int
    taps: range


@dataclass(frozen=True, slots=True)
class Row:
    """What one task makes of a row: `s` phases of `columns` outputs in all, from `start` on and `step` apart.

    Column j of phase p is output ``start + (j*s + p) * step``. `shared` are taps that all phases have at the same
    places of x: `count` of them, the first at j + a. `own` are those left to each phase, `whole` all of each.
    """

    start: int
    step: int
    columns: int
    in_cols: int
    back: int
    a: int
    count: int
    shared: tuple[range, ...]
    own: tuple[Taps, ...]
    whole: tuple[Taps, ...]


@lru_cache(maxsize=512)
def rows_of(axis: Axis, forward, most=MOST_INTERLEAVED) -> tuple[Row, ...]:
    """The Rows of an axis: one of all phases, of at most so many, else one of each phase that has taps.

    >>> (row,) = rows_of(Axis(n=5, k=4, s=2, crop_lo=1, crop_hi=1), True)
    >>> row.shared, [(own.a, list(own.taps)) for own in row.own]
    ((range(1, 3, 2), range(2, 4, 2)), [(-1, [3]), (1, [0])])
    """
    if not forward:
        return (_row(0, 1, axis.n, axis.out, -axis.d, [Taps(-axis.crop_lo, range(axis.k))]),)
    back = axis.d // axis.g
    if axis.s > most:
        return tuple(
            _row(phase.start, axis.s, phase.count, axis.n, back, [Taps(phase.source, phase.taps)])
            for phase in live_phases(axis)
        )
    found = [Taps(phase.source, phase.taps) for phase in phases(axis)]
    found += [Taps(0, NO_TAPS)] * (axis.s - len(found))
    return (_row(0, 1, axis.out, axis.n, back, found),)


def as_rows(problem: Problem, by_columns) -> Problem:
    """The problem whose rows are computed: the problem itself, or by columns, with height and width exchanged."""
    return axes_exchanged(problem) if by_columns else problem


def vectors(problem: Problem, lanes, *, by_columns=False) -> int:
    """Vectors that the rows of a channel's result fill, a phase at a time; or its columns.

    >>> from upconv.geometry import Geometry
    >>> narrow = Problem("forward", Geometry(1, 1, 1, 1, Axis(100, 1), Axis(2, 1)), "float32")
    >>> vectors(narrow, 16), vectors(narrow, 16, by_columns=True)
    (100, 14)
    """
    g, forward = problem.geometry, problem.operation == "forward"
    high, wide = (g.w, g.h) if by_columns else (g.h, g.w)
    rows, columns, s = (high.out, wide.out, wide.s) if forward else (high.n, wide.n, 1)
    return rows * s * ceil_div(ceil_div(columns, s), lanes)


def masked_part(axis: Axis, forward, columns, lanes, nv=1) -> float:
    """Which part of the tiles of nv vectors reach beyond a row of so many columns a phase, and compute under masks."""
    if columns < lanes:
        return 1.0
    reaches = axis.crop_lo != 0 or axis.crop_hi != 0 or (forward and axis.d * (axis.k - 1) >= axis.s)
    # The last vector of a row and the first of the next lie side by side.
    return min(1.0, (nv + 1) / ceil_div(columns, lanes)) if reaches else 0.0


@lru_cache(maxsize=512)
def axes_exchanged(problem: Problem) -> Problem:
    """The problem with height and width exchanged."""
    g = problem.geometry
    return replace(problem, geometry=replace(g, h=g.w, w=g.h))


def _row(start, step, columns, in_cols, back, found):
    a, count, shared, own = _share(found, back)
    return Row(start, step, columns, in_cols, back, a, count, shared, own, tuple(found))


def _share(found, back):
    """(a, count, shared, own) of the taps of all phases."""
    a = found[0].a
    nothing = a, 0, tuple(each.taps[:0] for each in found), tuple(found)
    if any((each.a - a) % back for each in found) or not all(each.taps for each in found):
        return nothing
    # Counted from the first phase's first tap on, the taps of each phase are a range of places.
    begins = [(a - each.a) // back for each in found]
    low = max(begins)
    high = min(begin + len(each.taps) for begin, each in zip(begins, found, strict=True))
    shared, own = [], []
    for begin, each in zip(begins, found, strict=True):
        before, after = each.taps[: max(0, low - begin)], each.taps[max(0, high - begin) :]
        if low >= high or (before and after):
            return nothing
        shared.append(each.taps[low - begin : high - begin])
        own.append(Taps(each.a, before) if before else Taps(each.a - (high - begin) * back, after))
    return a - low * back, high - low, tuple(shared), tuple(own)


def everything(columns) -> Row:
    """A Row without taps: what holds the bias alone."""
    nothing = (Taps(0, NO_TAPS),)
    return Row(0, 1, columns, 1, 1, 0, 0, (NO_TAPS,), nothing, nothing)


def has_gaps(axis: Axis, forward) -> bool:
    """Whether rows of an axis leave some outputs unwritten: where phases are on their own and some have no taps."""
    return forward and axis.s > MOST_INTERLEAVED and sum(row.columns for row in rows_of(axis, True)) < axis.out


def row_list(rows, y_step, w_step, *, shares=True) -> Rows:
    """The list of Rows of a nest: places along the row, and the taps of each phase.

    Args:
        y_step, w_step: bytes from column to column of the result, and from tap to tap of the weight.
        shares: whether the kernel reads what phases share once; else each phase has all its taps to itself.
    """
    phases = range(len(rows[0].own))
    names = ["y", "y_col", "in_cols", "out_cols", "back", "w_w", "shared_a", "shared_count"]
    names += [f"{name}_{p}" for p in phases for name in ("shared", "a", "n", "first")]
    if not shares:
        names = [name for name in names if not name.startswith("shared") and name != "y_col"]
    values = []
    for row in rows:
        own = row.own if shares else row.whole
        taps = (*row.shared, *(each.taps for each in own))
        place = row.start * y_step, row.step * y_step, row.in_cols, row.columns, row.back
        found = [*place, max(each.step for each in taps) * w_step, row.a, row.count]
        for shared, each in zip(row.shared, own, strict=True):
            found += [shared.start * w_step, each.a, len(each.taps), each.taps.start * w_step]
        if not shares:
            found = [*found[:1], *found[2:6]]
            for each in own:
                found += [each.a, len(each.taps), each.taps.start * w_step]
        values.append(tuple(found))
    return Rows(tuple(names), values)
