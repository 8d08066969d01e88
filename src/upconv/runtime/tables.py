"""The tables of programs: nests of tasks, grids of units and stages, and how they are written for `kernels.execute`.

A task is what one kernel does at once: 64-bit fields, of which those that are pointers are offsets from one of the
bases below until a call knows the addresses. A table says of many tasks what they share and what differs, as products
of short lists; `execute` makes the tasks from it.
"""

import itertools
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from typing import NamedTuple

import numpy as np

from ..kernels.execute import BASES, DIMENSIONS, GRID, INDICES, LISTS, MOVED, NEST

NOTHING, SUMS, X_BAND, Y_BAND, PLACES, TOTALS, V, M, SINK, ROW = 0, *range(INDICES[-1] + 1, BASES)
# Rows of fields are whole vectors of every instruction set.
VECTOR_FIELDS = 8
# A list that a nest has not: one row of no fields.
NO_LIST = [0, 1, 0, 0]
# It takes less to write a stage of one nest again for every program than to run one table more.
MANY_NESTS = 2
# Steps of a base that a unit does not move.
STAYS = (0,) * DIMENSIONS

# A field of a task: a number, or (base, offset).
Fields = Mapping[str, int | tuple[int, int]]


class Rows(NamedTuple):
    """One list of a nest: what each of its rows adds to some fields; `values` may be an array."""

    fields: tuple[str, ...]
    values: Sequence[Sequence[int]]


class Nest(NamedTuple):
    """The tasks of one kernel, or of several that have the same fields: the product of up to three lists.

    `fields` are the kernel's names for them, in its order; `common` has those that all tasks share, and the bases of
    all that are pointers. Where it is that of several nests, `added` is what each adds to its numbers: each entry is a
    list of one row, and is written once if others have the same.
    """

    fields: tuple[str, ...]
    common: Fields
    lists: tuple[Rows, ...] = ()
    added: Sequence[Mapping[str, int]] = ()


class Grid(NamedTuple):
    """Units, `sizes` of them in three dimensions: each runs the nests in order, and depends on no other unit.

    `steps` says for a base by how many bytes a unit moves it, for each dimension.
    """

    nests: Sequence[Nest]
    sizes: tuple[int, int, int] = (1, 1, 1)
    steps: Mapping[int, tuple[int, int, int]] = {}


class Stage(NamedTuple):
    """Grids that may run at the same time; in a sequential stage all their units run in order, on one thread.

    A stage of many programs has a dictionary as `kept`, for the table that they share.
    """

    grids: Sequence[Grid]
    sequential: bool = False
    kept: dict | None = None


class Table:
    """Some stages as `execute` reads them: where its words are, how many bytes of them are grids.

    One that `is_shared` is part of many programs. `spans` are (first unit, end, whether they are shared out) of each
    stage, of `units` in all.
    """

    __slots__ = ("address", "grids", "is_shared", "spans", "units", "words")

    def __init__(self, stages: Sequence[Stage], *, is_shared=False):
        self.words, self.grids = _encode(stages)
        self.is_shared = is_shared
        self.address = self.words.buffer_info()[0]
        self.units, self.spans = 0, []
        for stage in stages:
            first = self.units
            for grid in stage.grids:
                self.units += prod(grid.sizes)
            self.spans.append((first, self.units, not stage.sequential))

    @property
    def nbytes(self) -> int:
        return 8 * len(self.words)

    def job(self, base, first, end):
        """The job of `execute` that runs units from first to end, and their counter behind it."""
        return 0, self.address, self.grids, end, 0, base[ROW], 0, *base, first


def tables(stages: Sequence[Stage]) -> list[Table]:
    """The tables of stages that run one after another: one for each that programs share, others together."""
    found, own = [], []
    for stage in stages:
        shared = None if stage.kept is None else _shared(stage)
        if shared is None:
            own.append(stage)
            continue
        found += [Table(own), shared] if own else [shared]
        own = []
    return [*found, Table(own)] if own else found


def _shared(stage):
    """The table of a stage that many programs have; None for one of few nests."""
    if "table" not in stage.kept and sum([len(grid.nests) for grid in stage.grids]) >= MANY_NESTS:
        stage.kept["table"] = Table([stage], is_shared=True)
    return stage.kept.get("table")


class _Names(NamedTuple):
    """What is known of the fields of a kernel's tasks: what fills them up, their numbers, where a list's are, in bytes.

    Names are many, and to hash them takes longer than to write a list; so what is known of them is found by identity,
    and they are held.
    """

    fields: tuple[str, ...]
    rest: list[int]
    numbers: dict[str, int]
    lists: dict[tuple[str, ...], list[int]]


_names: dict[int, _Names] = {}

MOST_NAMES = 256


def _names_of(fields) -> _Names:
    """What is known of the names of fields."""
    found = _names.get(id(fields))
    if found is None:
        if len(_names) >= MOST_NAMES:
            _names.clear()
        numbers = {name: number for number, name in enumerate(fields)}
        found = _names[id(fields)] = _Names(fields, [0] * (-len(fields) % VECTOR_FIELDS), numbers, {})
    return found


def _encode(stages):
    """The table of `execute`: records of grids and of nests, and behind them the rows of the lists; bytes of grids."""
    grids = [grid for stage in stages for grid in stage.grids if prod(grid.sizes)]
    # Lists until all is there: an array looks at every number that it takes.
    table, units, nest = [], 0, GRID * len(grids)
    for grid in grids:
        first, units = units, units + prod(grid.sizes)
        record = [units, first, 8 * nest, 8 * (nest + NEST * len(grid.nests)), *grid.sizes[1:]]
        record += chain.from_iterable(map(grid.steps.get, MOVED, itertools.repeat(STAYS)))
        table += record + [0] * (GRID - len(record))
        nest += NEST * len(grid.nests)
    rows, seen = [], {}
    for grid in grids:
        for each in grid.nests:
            table += _encode_nest(each, 8 * nest, rows, seen)
    return array("q", table + rows), 8 * GRID * len(grids)


def _encode_nest(nest, start, rows, seen):
    """A nest's record; what it says more is put at the end of the rows, or found there if another has said the same.

    Args:
        start: bytes before the rows.
        rows: all of them.
        seen: those that are there by identity.

    Raises:
        ValueError: for more lists than a record has room for.
    """
    fields, known = nest.fields, _names_of(nest.fields)
    # What is found is held, so that nothing else gets the same identity.
    held, record = seen.get(id(nest.common), (None, None))
    if held is None:
        row, pointers = _encode_common(nest, known)
        at = start + 8 * len(rows)
        record = [8 * len(row), at, at + 8 * len(row), len(pointers) // 2]
        seen[id(nest.common)] = nest.common, record
        rows += row
        rows += pointers
    for names, values in nest.lists:
        held, found = seen.get(id(values), (None, None))
        if held is None or held[1] is not fields or held[0] != names:
            at = start + 8 * len(rows)
            rows += values.ravel().tolist() if isinstance(values, np.ndarray) else chain.from_iterable(values)
            found = [at, len(values), _encode_places(names, known, start, rows, seen), len(names)]
            seen[id(values)] = (names, fields, values), found
        record = record + found
    for entry in nest.added:
        held, found = seen.get(id(entry), (None, None))
        if held is None or held[0] is not fields:
            at, names = start + 8 * len(rows), (*entry,)
            rows += entry.values()
            found = [at, 1, _encode_places(names, known, start, rows, seen), len(names)]
            seen[id(entry)] = (fields, entry), found
        record = record + found
    if len(record) > NEST:
        raise ValueError(f"a nest has {(len(record) - NEST) // 4 + LISTS} lists; it may have {LISTS}")
    return record + NO_LIST * ((NEST - len(record)) // 4)


def _encode_places(names, known, start, rows, seen):
    """Where the places of some fields are, which are put at the end of the rows if they are not there."""
    of = id(known.fields), names
    found = seen.get(of)
    if found is None:
        found = seen[of] = start + 8 * len(rows)
        places = known.lists.get(names)
        if places is None:
            places = known.lists[names] = [8 * known.numbers[name] for name in names]
        rows += places
    return found


def _encode_common(nest, known):
    """(the row of the fields that all tasks share, [where a pointer is, where its base is, both in bytes, ...])."""
    row, pointers = [*map(nest.common.get, nest.fields, itertools.repeat(0)), *known.rest], []
    # A nest is written in as few steps of Python as can be: fields are many, pointers few.
    kinds, place = [*map(type, row)], -1
    for _ in range(kinds.count(tuple)):
        place = kinds.index(tuple, place + 1)
        base, row[place] = row[place]
        pointers += (8 * place, 8 * base)
    return row, pointers
