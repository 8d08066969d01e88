"""Tables of jobs: what a problem on given strides compiles to, and how they are run.

A row of a table is one job for one kernel: 64-bit words, of which those that are pointers are offsets from one of the
bases below until the call knows the addresses. A unit is a run of rows, and how far on in x and in y it works: bands
that differ in nothing but their place share their rows.
"""

import ctypes
import itertools
from dataclasses import dataclass

import numpy as np

from ..kernels.correlate import PIXELS_LISTED
from ..kernels.execute import BASES, ROW_WORDS, SCRATCH_BYTES, UNIT_WORDS, WORDS, execute
from ..kernels.gemm import TILES_PER_BLOCK
from ..kernels.planes import PLACE, VECTORS_PER_BLOCK
from . import memory, pool
from .kernel import entry, function

NOTHING, X, Y, W, BIAS, PANELS, SUMS, X_BAND, Y_BAND, PLACES, TOTALS, ROW = range(BASES)
# Shared by all threads of a call, and what each thread needs for itself.
SHARED, OWN = (PANELS, SUMS), (X_BAND, Y_BAND, PLACES, TOTALS, ROW)
# Enough for the tallest tile of any kernel.
PLACES_BYTES = max(16 * (16 * TILES_PER_BLOCK + 16), PLACE * (VECTORS_PER_BLOCK + 16), 16 * PIXELS_LISTED)
TOTALS_BYTES = 32 * 64
# The pool looks at signals between parts, so a piece of a program on one thread is kept well below a second.
SECONDS_PER_PIECE = 0.05
# Bands that a problem is cut into for each thread.
PARTS_PER_THREAD = 8
BRIEF = 50e-6
LINE = 64
# A job of `execute`, and the counter of its groups; which word says where the counter is.
Row = ctypes.c_int64 * (WORDS + BASES + 1)
NEXT = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """Jobs, the units that run them, and `starts`: the units between two of those depend on no others.

    All are lists, which become arrays when a program is complete: rows of words, and of the bases that belong to them
    (offsets in the table of addresses, in bytes); units as `kernels.execute` has them.
    """

    words: list
    bases: list
    units: list
    starts: list


class Program:
    """The stages of one problem, to be run one after another, and the memory they need.

    `scratch` gives bytes by base, of which all parts use those in `shared` together; `seconds` is the predicted time on
    one thread.
    """

    def __init__(self, stages, scratch, seconds, shared=SHARED):
        self.seconds, self.shared = seconds, shared
        self.sizes = {PLACES: PLACES_BYTES, TOTALS: TOTALS_BYTES, ROW: SCRATCH_BYTES, **scratch}
        # One table, so that on one thread all stages are one call.
        whole = join(stages)
        # The groups of independent units, and of which of them each stage consists.
        self.starts = np.array(whole.starts, np.int64)
        self.stages = list(itertools.pairwise([0, *itertools.accumulate(len(stage.starts) - 1 for stage in stages)]))
        self.words, self.bases = (
            np.array(rows, np.int64).reshape(-1, ROW_WORDS) for rows in (whole.words, whole.bases)
        )
        self.units = np.array(whole.units, np.int64).reshape(-1, UNIT_WORDS)
        # Every unit a group of its own, for what is run in order.
        self.each = np.arange(len(self.units) + 1)
        self.addresses = [address(array) for array in (self.words, self.bases, self.units)]
        self._frames, self._waves = {}, {}

    @property
    def nbytes(self):
        """Bytes of the tables."""
        return sum(table.nbytes for table in (self.words, self.bases, self.units, self.starts, self.each))

    def scratch_bytes(self, slots=1):
        """Bytes of scratch for so many parts at once."""
        return self.frame(slots)[1]

    def frame(self, slots):
        """(offset of each base from PANELS on, bytes of all, step of each base from slot to slot)."""
        if slots not in self._frames:
            offsets, steps, end = [], [], 0
            for base in SHARED + OWN:
                size, own = _lines(self.sizes.get(base, 0)), base not in self.shared
                offsets.append(end)
                steps.append(size if own else 0)
                end += size * (slots if own else 1)
            self._frames[slots] = offsets, end, steps
        return self._frames[slots]

    def waves(self, threads):
        """(tables of `execute` to be run one after another, bytes of scratch) on so many threads.

        The rows of a table run at the same time and share out its groups. Addresses are left out: those in the scratch
        are offsets, those of the operands 0; the last word of a table is the counter of its groups.
        """
        if threads not in self._waves:
            offsets, size, steps = self.frame(threads)
            bases = [
                (NOTHING, 0, 0, 0, 0, *(offset + slot * step for offset, step in zip(offsets, steps, strict=True)))
                for slot in range(threads)
            ]
            self._waves[threads] = [np.array(wave) for wave in self._tables(threads, bases)], size
        return self._waves[threads]

    def _tables(self, threads, bases):
        """One thread takes every unit in order, several share a stage's groups; in pieces for the sake of signals."""
        pieces = max(1, int(self.seconds / SECONDS_PER_PIECE))
        for start, end in [(0, len(self.starts) - 1)] if threads == 1 else self.stages:
            if threads == 1 or end - start == 1:
                for first, stop in _cut(self.starts[start], self.starts[end], pieces):
                    yield [_row(self, self.each, bases[0], first, stop)]
            else:
                for first, stop in _cut(start, end, -(-pieces // threads)):
                    yield [_row(self, self.starts, base, first, stop) for base in bases[: stop - first]]


def address(array):
    """Where an array's first element lies."""
    return array.__array_interface__["data"][0]


def stage(rows):
    """A Stage from dictionaries: `words` the kernel's names for them, then a value or (base, offset) for each name.

    Every job is a unit that depends on no other.
    """
    words, bases = [], []
    for row in rows:
        mine, based = [0] * ROW_WORDS, [0] * ROW_WORDS
        for place, name in enumerate(row["words"]):
            value = row[name]
            if type(value) is tuple:
                based[place], value = 8 * value[0], value[1]
            mine[place] = value
        words.append(mine)
        bases.append(based)
    count = len(words)
    return Stage(words, bases, [(row, row + 1, 0, 0) for row in range(count)], list(range(count + 1)))


def repeat(stage, x, y):
    """All jobs of a stage as one unit, and again for every place: how far on in x and in y each place is."""
    jobs = len(stage.words)
    units = [(0, jobs, *place) for place in zip(x, y, strict=True)]
    return Stage(stage.words, stage.bases, units, list(range(len(units) + 1)))


def join(stages):
    """Stages whose units do not depend on each other as one."""
    words, bases, units, starts = [], [], [], [0]
    for stage in stages:
        start, rows = starts[-1], len(words)
        starts += [start + end for end in stage.starts[1:]]
        units += [(first + rows, end + rows, x, y) for first, end, x, y in stage.units]
        words += stage.words
        bases += stage.bases
    return Stage(words, bases, units, starts)


def in_turn(stages):
    """Stages one after another, which depend on nothing else."""
    joined = join(stages)
    return Stage(joined.words, joined.bases, joined.units, [0, len(joined.units)])


def run(program, x, y, w, bias):
    """Run a program on arrays (or None) that lie as it was made for."""
    operands = address(x), address(y), address(w), 0 if bias is None else address(bias)
    if program.seconds < BRIEF:
        _at_once_here(program, operands)
        return
    waves, size = program.waves(pool.get_num_threads())
    # The lease must live until the last job is done.
    lease = memory.scratch(size)
    start = lease.address
    if SUMS in program.sizes:
        ctypes.memset(start + program.frame(1)[0][SUMS - PANELS], 0, program.sizes[SUMS])
    moved = np.array([0] * (WORDS - 1) + [start, NOTHING, *operands] + [start] * len(SHARED + OWN) + [0])
    for wave in waves:
        rows = wave + moved
        rows[:, NEXT] = address(rows) + rows.nbytes - 8
        if len(waves) == len(rows) == 1:
            function(execute, False)(address(rows))
        else:
            pool.run(entry(execute), rows)


def _at_once_here(program, operands):
    """All units in one call of this thread, which keeps the GIL, and so lends its scratch to no one else."""
    offsets, size, _ = program.frame(1)
    # A signal's handler may compute before the kernels begin, and would leave something else than zeros in the sums.
    lease = (memory.scratch if SUMS in program.sizes else memory.brief)(size)
    start = lease.address
    if SUMS in program.sizes:
        ctypes.memset(start + offsets[SUMS - PANELS], 0, program.sizes[SUMS])
    base = NOTHING, *operands, *[start + offset for offset in offsets]
    row = Row(*_row(program, program.each, base, 0, len(program.units)))
    row[NEXT] = ctypes.addressof(row) + ctypes.sizeof(row) - 8
    function(execute, True)(row)


def _cut(first, end, parts):
    """Some units as (first, end) of so many parts, those without any left out."""
    cuts = [first + (end - first) * part // parts for part in range(parts + 1)]
    return [(start, stop) for start, stop in itertools.pairwise(cuts) if start < stop]


def _row(program, starts, base, first, end):
    """The job of `execute` that runs groups from first to end, and their counter behind it."""
    words, bases, units = program.addresses
    return 0, words, bases, units, address(starts), end, 0, base[ROW], *base, first


def _lines(size):
    """A size in whole cache lines, with one to spare, since vectors may be read a little beyond the end."""
    return -(-size // LINE) * LINE + LINE if size else 0
