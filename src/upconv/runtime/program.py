"""Programs: what a problem on given strides compiles to, as products of short lists, and how they are run.

A task is what one kernel does at once: 64-bit fields, of which those that are pointers are offsets from one of the
bases below until the call knows the addresses. `kernels.execute` has the table that all this becomes, and makes the
tasks from it. A job is what a thread is given: a run of `execute` over some units.
"""

import ctypes
import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from ..codegen.isa import LINE
from ..kernels.execute import (
    BASES,
    BIAS,
    COL_X,
    COL_Y,
    DIMENSIONS,
    FLAGS,
    GRID,
    INDICES,
    LISTS,
    MOVED,
    NEST,
    PANELS,
    ROW_X,
    ROW_Y,
    SCRATCH_BYTES,
    WORDS,
    W,
    X,
    Y,
    execute,
)
from . import memory, pool
from .kernel import entry, function

NOTHING, SUMS, X_BAND, Y_BAND, PLACES, TOTALS, V, M, SINK, ROW = 0, *range(INDICES[-1] + 1, BASES)
# Shared by all threads of a call; what begins with zeros; what each thread needs for itself.
SHARED, ZEROED = (PANELS, FLAGS, SUMS), (FLAGS, SUMS)
OWN = tuple(range(SUMS + 1, BASES))
# The pool looks at signals between parts, so a piece of a program on one thread is kept well below a second.
SECONDS_PER_PIECE = 0.05
# Bands that a problem is cut into for each thread.
PARTS_PER_THREAD = 8
BRIEF = 50e-6
_interface = np.ndarray.__array_interface__.__get__
# Rows of fields are whole vectors of every instruction set.
VECTOR_FIELDS = 8
# A job of `execute`, and the counter of its units; which word says where the counter is.
Job = ctypes.c_int64 * (WORDS + BASES + 1)
COUNTER = 4

# A field of a task: a number, or (base, offset).
Fields = Mapping[str, int | tuple[int, int]]


class Rows(NamedTuple):
    """One list of a nest: what each of its rows adds to some fields."""

    fields: tuple[str, ...]
    values: Sequence[tuple[int, ...]]


class Nest(NamedTuple):
    """The tasks of one kernel, or of several that have the same fields: the product of up to three lists.

    `fields` are the kernel's names for them, in its order; `common` has those that all tasks share, and the bases of
    all that are pointers.
    """

    fields: tuple[str, ...]
    common: Fields
    lists: tuple[Rows, ...] = ()


class Grid(NamedTuple):
    """Units, `sizes` of them in three dimensions: each runs the nests in order, and depends on no other unit.

    `steps` says for a base by how many bytes a unit moves it, for each dimension.
    """

    nests: Sequence[Nest]
    sizes: tuple[int, int, int] = (1, 1, 1)
    steps: Mapping[int, tuple[int, int, int]] = {}


class Stage(NamedTuple):
    """Grids that may run at the same time; in a sequential stage all their units run in order, on one thread."""

    grids: Sequence[Grid]
    sequential: bool = False


class Program:
    """The stages of one problem, to be run one after another, and the memory they need.

    Args:
        stages: Stages.
        scratch: bytes by base, of which all threads use those in `shared` together.
        seconds: predicted on one thread.
    """

    def __init__(self, stages: Sequence[Stage], scratch, seconds: float, shared=SHARED):
        self.seconds, self.shared = seconds, shared
        self.sizes = {ROW: SCRATCH_BYTES, **{base: size for base, size in scratch.items() if size}}
        grids = [grid for stage in stages for grid in stage.grids if prod(grid.sizes)]
        self.table, self.grids = np.array(_encode(grids), np.int64), len(grids)
        counts = [sum(prod(grid.sizes) for grid in stage.grids) for stage in stages]
        ends = list(itertools.accumulate(counts, initial=0))
        self.units = ends[-1]
        # (first unit, end, whether they are shared out) of each stage.
        self.spans = [
            (*span, not stage.sequential) for span, stage in zip(itertools.pairwise(ends), stages, strict=True)
        ]
        self.address = address(self.table)
        self._frames, self._waves = {}, {}

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self.table.nbytes

    def scratch_bytes(self, slots=1) -> int:
        """Bytes of scratch for so many threads at once."""
        return self.frame(slots)[1]

    def frame(self, slots):
        """(offset of each scratch base by its number, bytes of all, step of each from slot to slot)."""
        if slots not in self._frames:
            offsets, steps, end = [0] * BASES, [0] * BASES, 0
            for base in SHARED + OWN:
                size, own = _lines(self.sizes.get(base, 0)), base not in self.shared
                offsets[base] = end
                steps[base] = size if own else 0
                end += size * (slots if own else 1)
            self._frames[slots] = offsets, end, steps
        return self._frames[slots]

    def waves(self, threads):
        """(jobs of `execute` to be run one after another, bytes of scratch) on so many threads.

        The rows of a wave run at the same time and share out its units. Addresses are left out: those in the scratch
        are offsets, those of the operands 0; the last word of a wave is the counter of its units.
        """
        if threads not in self._waves:
            offsets, size, steps = self.frame(threads)
            bases = [
                tuple(offset + slot * step for offset, step in zip(offsets, steps, strict=True))
                for slot in range(threads)
            ]
            self._waves[threads] = [np.array(wave) for wave in self._rows(threads, bases)], size
        return self._waves[threads]

    def _rows(self, threads, bases):
        """One thread takes every unit in order, several share out a stage; in pieces for the sake of signals."""
        pieces = max(1, int(self.seconds / SECONDS_PER_PIECE))
        for start, end, is_shared in [(0, self.units, False)] if threads == 1 else self.spans:
            some = bases if is_shared else bases[:1]
            for first, stop in cut(start, end, -(-pieces // len(some))):
                yield [self.job(base, first, stop) for base in some[: stop - first]]

    def job(self, base, first, end):
        """The job of `execute` that runs units from first to end, and their counter behind it."""
        return 0, self.address, 8 * GRID * self.grids, end, 0, base[ROW], 0, *base, first


def address(array) -> int:
    """Where an array's first element lies; a subclass is not asked, since it may say anything."""
    return _interface(array)["data"][0]


def run(program: Program, x, y, w, bias, panels: int | None = None):
    """Run a program on arrays (or None) that lie as it was made for.

    Args:
        panels: address of the packed weight, if it was prepared and the program does not pack it.

    Returns:
        The flags that its tasks have set, as an array of bytes; None if it has none.
    """
    operands = tuple(0 if array is None else address(array) for array in (x, y, w, bias))
    if program.seconds < BRIEF:
        return _at_once_here(program, operands, panels)
    waves, size = program.waves(pool.get_num_threads())
    # The lease must live until the last task is done.
    lease = memory.scratch(size)
    start = lease.address
    _clear(program, start)
    packed = start if panels is None else panels
    bases = [NOTHING, *operands, packed, *(0 if base in INDICES else start for base in range(PANELS + 1, BASES))]
    moved = np.array([*[0] * (WORDS - 2), start, 0, *bases, 0])
    for wave in waves:
        rows = wave + moved
        rows[:, COUNTER] = address(rows) + rows.nbytes - 8
        if len(waves) == len(rows) == 1:
            function(execute, False)(address(rows))
        else:
            pool.run(entry(execute), rows)
    return _flags(program, start)


def _at_once_here(program, operands, panels):
    """All units in one call of this thread, which keeps the GIL, and so lends its scratch to no one else."""
    offsets, size, _ = program.frame(1)
    # A signal's handler may compute before the kernels begin, and would leave something else than zeros in the sums.
    lease = (memory.scratch if any(base in program.sizes for base in ZEROED) else memory.brief)(size)
    start = lease.address
    _clear(program, start)
    packed = start + offsets[PANELS] if panels is None else panels
    own = (0 if base in INDICES else start + offsets[base] for base in range(PANELS + 1, BASES))
    base = NOTHING, *operands, packed, *own
    job = Job(*program.job(base, 0, program.units))
    job[COUNTER] = ctypes.addressof(job) + ctypes.sizeof(job) - 8
    function(execute, True)(job)
    return _flags(program, start)


def _clear(program, start):
    for base in ZEROED:
        if base in program.sizes:
            ctypes.memset(start + program.frame(1)[0][base], 0, program.sizes[base])


def _flags(program, start):
    if FLAGS not in program.sizes:
        return None
    at = start + program.frame(1)[0][FLAGS]
    return np.frombuffer(ctypes.string_at(at, program.sizes[FLAGS]), np.uint8)


@lru_cache(maxsize=64)
def _places(fields):
    return {name: 8 * place for place, name in enumerate(fields)}


def _encode(grids):
    """The table of `execute` as a list of words."""
    nests = [nest for grid in grids for nest in grid.nests]
    table = [0] * (GRID * len(grids) + NEST * len(nests))
    units, nest = 0, GRID * len(grids)
    for number, grid in enumerate(grids):
        first, units = units, units + prod(grid.sizes)
        record = [units, first, 8 * nest, 8 * (nest + NEST * len(grid.nests)), *grid.sizes[1:]]
        for base in MOVED:
            record += grid.steps.get(base, (0,) * DIMENSIONS)
        table[GRID * number : GRID * number + len(record)] = record
        nest += NEST * len(grid.nests)
    seen, at = {}, GRID * len(grids)
    for nest in nests:
        table[at : at + NEST] = _encode_nest(nest, table, seen)
        at += NEST
    return table


def _encode_nest(nest, table, seen):
    """A nest's record; its rows are put at the end of the table, or found there if they are the same lists."""
    places = _places(nest.fields)
    row, pointers = [0] * (-(-len(places) // VECTOR_FIELDS) * VECTOR_FIELDS), []
    for name, value in nest.common.items():
        if name not in places:
            continue
        if type(value) is tuple:
            pointers += (places[name], 8 * value[0])
            value = value[1]
        row[places[name] >> 3] = value
    record = [8 * len(row), _append(table, row), _append(table, pointers), len(pointers) // 2]
    for names, values in nest.lists:
        key = id(values), names, nest.fields
        if key not in seen:
            # Held, so that no other list gets the same identity.
            seen[key] = (
                _append(table, itertools.chain.from_iterable(values)),
                len(values),
                _append(table, [places[name] for name in names]),
                len(names),
                values,
            )
        record += seen[key][:4]
    for _ in range(LISTS - len(nest.lists)):
        record += (0, 1, 0, 0)
    return record


def _append(table, words):
    at = 8 * len(table)
    table.extend(words)
    return at


def cut(first, end, parts):
    """Some units as (first, end) of so many parts, those without any left out."""
    parts = min(parts, end - first)
    cuts = [first + (end - first) * part // parts for part in range(parts + 1)] if parts > 0 else [first]
    return list(itertools.pairwise(cuts))


def _lines(size):
    """A size in whole cache lines, with one to spare, since vectors may be read a little beyond the end."""
    return -(-size // LINE) * LINE + LINE if size else 0


__all__ = [
    "BIAS",
    "BRIEF",
    "COL_X",
    "COL_Y",
    "FLAGS",
    "LINE",
    "PANELS",
    "PARTS_PER_THREAD",
    "PLACES",
    "ROW_X",
    "ROW_Y",
    "SINK",
    "SUMS",
    "TOTALS",
    "X_BAND",
    "Y_BAND",
    "Grid",
    "M",
    "Nest",
    "Program",
    "Rows",
    "Stage",
    "V",
    "W",
    "X",
    "Y",
    "address",
    "cut",
    "run",
]
