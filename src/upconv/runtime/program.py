"""Programs: what a problem on given strides compiles to, and how they are run.

A program is a few tables (see `tables`) and the memory that they need. A job is what a thread is given: a run of
`execute` over some units.
"""

import ctypes
import itertools
from array import array
from collections.abc import Sequence
from itertools import chain
from operator import add

import numpy as np

from ..codegen.isa import LINE
from ..kernels.execute import (
    BASES,
    BIAS,
    COL_X,
    COL_Y,
    COUNTER,
    FLAGS,
    INDICES,
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
from . import memory, pool, waves
from .kernel import entry, function
from .tables import (
    NOTHING,
    PLACES,
    ROW,
    SINK,
    SUMS,
    TOTALS,
    X_BAND,
    Y_BAND,
    Grid,
    M,
    Nest,
    Rows,
    Stage,
    V,
    tables,
)

# Shared by all threads of a call; what begins with zeros; what each thread needs for itself.
SHARED, ZEROED = (PANELS, FLAGS, SUMS), (FLAGS, SUMS)
OWN = tuple(range(SUMS + 1, BASES))
# The pool looks at signals between parts, so a piece of a program on one thread is kept well below a second.
SECONDS_PER_PIECE = 0.05
# Bands that a problem is cut into for each thread.
PARTS_PER_THREAD = 8
# Predicted seconds that a part takes at least, lest beginning it is much of its time.
PART_SECONDS = 20e-6
# Likewise of the source, lest tiles of pixels are not full.
PART_PIXELS = 48
BRIEF = 50e-6
# Predicted seconds from which on a call is worth it that threads which sleep are woken, which takes 35 us here.
WORTH_WAKING = 250e-6
_interface = np.ndarray.__array_interface__.__get__
# A job of `execute`, and the counter of its units.
Job = ctypes.c_int64 * (WORDS + BASES + 1)


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
        self.tables = tables(stages)
        self._frames, self._waves, self._records = {}, {}, {}

    @property
    def nbytes(self) -> int:
        """Bytes of the tables, those that it shares included."""
        return sum([table.nbytes for table in self.tables])

    def scratch_bytes(self, slots=1) -> int:
        """Bytes of scratch for so many threads at once."""
        return self.frame(slots)[1]

    def frame(self, slots):
        """(offset of each scratch base by its number, bytes of all, step of each from slot to slot)."""
        if slots not in self._frames:
            offsets, steps, end = [0] * BASES, [0] * BASES, 0
            # What is shared begins at the same place whatever the number of slots.
            for base in filter(self.sizes.__contains__, sorted(SHARED + OWN, key=lambda base: base not in self.shared)):
                size, own = _lines(self.sizes[base]), base not in self.shared
                offsets[base], steps[base] = end, size if own else 0
                end += size * (slots if own else 1)
            self._frames[slots] = offsets, end, steps
        return self._frames[slots]

    def waves(self, threads):
        """(jobs of `execute` to be run one after another, bytes of scratch) on so many threads.

        The rows of a wave run at the same time and share out its units. Addresses are left out: those in the scratch
        are offsets, those of the operands 0; the last word of a wave is the counter of its units.
        """
        words, counts, size = self.jobs(threads)
        rows = np.asarray(words).reshape(-1, waves.JOB_WORDS)
        ends = itertools.accumulate(counts, initial=0)
        return [rows[first:end] for first, end in itertools.pairwise(ends)], size

    def jobs(self, threads) -> tuple[array, list[int], int]:
        """The same in a row, and how many jobs are a wave: (words, counts, bytes of scratch)."""
        if threads not in self._waves:
            offsets, size, steps = self.frame(threads)
            bases = [offsets]
            for _ in range(1, threads):
                bases.append([*map(add, bases[-1], steps)])
            found = [*self._rows(threads, bases)]
            words = array("q", chain.from_iterable(chain.from_iterable(found)))
            # Records note where they lie: of two threads, the second takes what the first has made.
            self._waves.setdefault(threads, (words, [*map(len, found)], size))
        return self._waves[threads]

    def record(self, threads, place: int | None = None) -> tuple[np.ndarray, int]:
        """(what `waves` reads, for so many threads; bytes of scratch that a run needs); must not outlive the program.

        Args:
            place: where in the scratch the jobs are made, if not behind what the program needs.
        """
        native = pool.native(threads)
        key = threads, place, native
        if key not in self._records:
            words, size = self.words(threads, place)
            self._records.setdefault(key, (np.array(words, np.int64), size))
        return self._records[key]

    def words(self, threads, place: int | None = None) -> tuple[list[int], int]:
        """The same as numbers, for those who write them somewhere else; they are not kept."""
        crew = pool.native(threads)
        rows, counts, size = self.jobs(threads)
        place = size if place is None else place
        start, jobs, clock = rows.buffer_info()[0], [], 0
        for count in counts:
            many = min(crew.helpers, count - 1)
            if many:
                clock, many = crew.now, crew.helpers if crew.is_whole else many
            # Waves follow one another in memory.
            jobs += count, start, many
            start += 8 * waves.JOB_WORDS * count
        offsets = self.frame(1)[0]
        zeroed = [*filter(self.sizes.__contains__, ZEROED)]
        # They lie one after the other.
        start = offsets[zeroed[0]] if zeroed else 0
        end = offsets[zeroed[-1]] + self.sizes[zeroed[-1]] if zeroed else 0
        flags = (offsets[FLAGS], self.sizes[FLAGS]) if FLAGS in self.sizes else (0, 0)
        words = [entry(execute), crew.call, waves.kinds()[1], len(counts), place, start, end - start, *flags]
        words += [clock, self.seconds >= WORTH_WAKING, *jobs]
        return words, place + 8 * waves.JOB_WORDS * max(counts, default=0)

    def _rows(self, threads, bases):
        """One thread takes every unit in order, several share out a stage; in pieces for the sake of signals."""
        pieces = max(1, int(self.seconds / SECONDS_PER_PIECE))
        for table in self.tables:
            for start, end, is_shared in [(0, table.units, False)] if threads == 1 else table.spans:
                some = bases if is_shared else bases[:1]
                for first, stop in cut(start, end, -(-pieces // len(some))):
                    yield [table.job(base, first, stop) for base in some[: stop - first]]


def address(array) -> int:
    """Where an array's first element lies; a subclass is not asked, since it may say anything."""
    return _interface(array)["data"][0]


def team(seconds: float, threads: int) -> int:
    """How many threads a program of so many predicted seconds is made for, where there are so many."""
    return 1 if seconds < BRIEF else threads


def run(program: Program, x, y, w, bias, panels: int | None = None):
    """Run a program on arrays (or None) that lie as it was made for.

    Args:
        panels: address of the packed weight, if it was prepared and the program does not pack it.

    Returns:
        The flags that its tasks have set, as an array of bytes; None if it has none.
    """
    operands = tuple(0 if array is None else address(array) for array in (x, y, w, bias))
    if program.seconds < BRIEF:
        # This thread keeps the GIL, and so lends its scratch to no one else; but a signal's handler may compute before
        # the kernels begin, and would leave something else than zeros in the sums.
        lend = memory.scratch if any(base in program.sizes for base in ZEROED) else memory.brief
        return _in_one_piece(program, operands, panels, lend(program.frame(1)[1]), keeps_gil=True)
    # What Python does before a call takes so long that threads are asleep when it begins, their caches used by others.
    # Those of a front-end may be awake.
    is_alone = program.seconds < 2 * WORTH_WAKING and not pool.is_lent()
    threads = 1 if is_alone else pool.get_num_threads()
    if program.seconds < 2 * SECONDS_PER_PIECE:
        if threads == 1:
            return _in_one_piece(program, operands, panels, memory.scratch(program.frame(1)[1]), keeps_gil=False)
        if pool.helped_by():
            return _on_the_pool(program, operands, panels, threads)
    some, size = program.waves(threads)
    # The lease must live until the last task is done.
    lease = memory.scratch(size)
    start = lease.address
    _clear(program, start)
    packed = start if panels is None else panels
    bases = [NOTHING, *operands, packed, *(0 if base in INDICES else start for base in range(PANELS + 1, BASES))]
    moved = np.array([*[0] * (WORDS - 2), start, 0, *bases, 0])
    for wave in some:
        rows = wave + moved
        rows[:, COUNTER] = address(rows) + rows.nbytes - 8
        if len(some) == len(rows) == 1:
            function(execute, False)(address(rows))
        else:
            pool.run(entry(execute), rows)
    return _flags(program, start)


def _on_the_pool(program, operands, panels, threads):
    """All waves in one native call, which looks at no signal before the end."""
    record, size = program.record(threads)
    lease = memory.scratch(size)
    start = lease.address
    job = (ctypes.c_int64 * (2 + waves.PANELS_BASE))(
        address(record), NOTHING, *operands, start, start if panels is None else panels
    )
    waves.run()(job)
    return _flags(program, start)


def _in_one_piece(program, operands, panels, lease, *, keeps_gil):
    """All units in one call of this thread, with scratch that is leased until it is over."""
    offsets, start = program.frame(1)[0], lease.address
    _clear(program, start)
    packed = start + offsets[PANELS] if panels is None else panels
    own = (0 if base in INDICES else start + offsets[base] for base in range(PANELS + 1, BASES))
    base = NOTHING, *operands, packed, *own
    for table in program.tables:
        job = Job(*table.job(base, 0, table.units))
        job[COUNTER] = ctypes.addressof(job) + ctypes.sizeof(job) - 8
        function(execute, keeps_gil)(job)
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


def cut(first, end, parts):
    """Some units as (first, end) of so many parts, those without any left out."""
    found, count, start = [], end - first, first
    parts = min(parts, count)
    for part in range(1, parts + 1):
        stop = first + count * part // parts
        found.append((start, stop))
        start = stop
    return found


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
    "PART_PIXELS",
    "PART_SECONDS",
    "PLACES",
    "ROW_X",
    "ROW_Y",
    "SECONDS_PER_PIECE",
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
    "team",
]
