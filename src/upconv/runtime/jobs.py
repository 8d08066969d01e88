"""Tables of jobs: what a problem on given strides compiles to, and how they are run.

A row of a table is one job for one kernel: 64-bit words, of which those that are pointers are offsets from one of the
bases below until the call knows the addresses.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from ..kernels.correlate import PIXELS_LISTED
from ..kernels.execute import ROW_WORDS, execute
from ..kernels.gemm import TILES_PER_BLOCK
from ..kernels.rows import VECTORS_PER_BLOCK
from . import memory, pool
from .kernel import entry

NOTHING, X, Y, W, BIAS, PANELS, SUMS, X_BAND, Y_BAND, PLACES, TOTALS = range(11)
# Shared by all parts of a call, and what each part needs for itself.
SHARED, OWN = (PANELS, SUMS), (X_BAND, Y_BAND, PLACES, TOTALS)
# Enough for the tallest tile of any kernel.
PLACES_BYTES = 16 * max(16 * TILES_PER_BLOCK + 16, VECTORS_PER_BLOCK + 16, PIXELS_LISTED)
TOTALS_BYTES = 32 * 64
# The pool looks at signals between parts, so parts are kept well below a second.
SECONDS_PER_PART = 0.05
PARTS_PER_THREAD = 4
SCRATCH_PER_THREAD = 7 << 20
BRIEF = 50e-6
LINE = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """Jobs of which those between two `starts` are a unit; units do not depend on each other."""

    words: np.ndarray
    bases: np.ndarray
    starts: tuple

    def parts(self, wanted):
        """At most `wanted` runs of units, as (first row, end), about equally long."""
        units = len(self.starts) - 1
        wanted = max(1, min(wanted, units))
        cuts = [self.starts[units * part // wanted] for part in range(wanted + 1)]
        return list(itertools.pairwise(cuts))


class Program:
    """The stages of one problem, to be run one after another, and the memory they need.

    `scratch` gives bytes by base, of which all parts use those in `shared` together; `seconds` is the predicted time on
    one thread.
    """

    def __init__(self, stages, scratch, seconds, shared=SHARED):
        self.stages, self.seconds, self.shared = stages, seconds, shared
        self.sizes = {PLACES: PLACES_BYTES, TOTALS: TOTALS_BYTES, **scratch}
        # On one thread all stages are one table.
        words, bases = (np.concatenate([getattr(stage, name) for stage in stages]) for name in ("words", "bases"))
        self.serial = Stage(words, bases, (0, len(words)))
        self._frames = {}

    def scratch_bytes(self, slots=1):
        """Bytes of scratch for so many parts at once."""
        return self.frame(slots)[2]

    def frame(self, slots):
        """(offset of each base in the scratch, which of them lie there, bytes, step from slot to slot)."""
        if slots not in self._frames:
            offsets, inside, steps = np.zeros((3, TOTALS + 1), np.int64)
            end = 0
            for base in SHARED + OWN:
                size, own = _lines(self.sizes.get(base, 0)), base not in self.shared
                offsets[base], inside[base], steps[base] = end, 1, size if own else 0
                end += size * (slots if own else 1)
            self._frames[slots] = offsets, inside, end, steps
        return self._frames[slots]


def address(array):
    """Where an array's first element lies."""
    return array.__array_interface__["data"][0]


def stage(rows, starts=None):
    """A Stage from dictionaries: `words` the kernel's names for them, then a value or (base, offset) for each name.

    Without `starts` every job is a unit.
    """
    words, bases = [], []
    for row in rows:
        values = [row[name] for name in row["words"]]
        spare = [0] * (ROW_WORDS - len(values))
        words.append([value[1] if type(value) is tuple else value for value in values] + spare)
        bases.append([value[0] if type(value) is tuple else NOTHING for value in values] + spare)
    shape = (len(rows), ROW_WORDS)
    words, bases = (np.array(table, np.int64).reshape(shape) for table in (words, bases))
    return Stage(words, bases, tuple(range(len(rows) + 1)) if starts is None else tuple(starts))


def repeat(stage, offsets):
    """The jobs of a stage as one unit, and again for every place: `offsets` says by base how far on each place is."""
    places = len(next(iter(offsets.values())))
    words = np.repeat(stage.words[None], places, axis=0)
    for base, there in offsets.items():
        words += np.multiply.outer(np.array(there, np.int64), stage.bases == base)
    jobs = len(stage.words)
    flat = words.reshape(-1, ROW_WORDS)
    return Stage(flat, np.tile(stage.bases, (places, 1)), tuple(range(0, len(flat) + 1, jobs)))


def join(stages):
    """Stages whose units do not depend on each other as one."""
    starts = [0]
    for stage in stages:
        starts += [starts[-1] + start for start in stage.starts[1:]]
    return Stage(
        *(np.concatenate([getattr(stage, name) for stage in stages]) for name in ("words", "bases")), tuple(starts)
    )


def unit(stages):
    """Stages one after another as a single unit."""
    joined = join(stages)
    return Stage(joined.words, joined.bases, (0, len(joined.words)))


def run(program, x, y, w, bias):
    """Run a program on arrays (or None) that lie as it was made for."""
    brief = program.seconds < BRIEF
    threads = 1 if brief else pool.get_num_threads()
    parts = max(1, int(program.seconds / SECONDS_PER_PART))
    slots = 1
    if threads > 1:
        # As many parts at once as their own scratch allows.
        parts = max(parts, PARTS_PER_THREAD * threads)
        own = program.scratch_bytes(2) - program.scratch_bytes(1)
        slots = max(threads, min(PARTS_PER_THREAD * threads, SCRATCH_PER_THREAD * threads // max(1, own)))
    offsets, inside, size, steps = program.frame(slots)
    # The lease must live until the last job is done.
    lease = memory.scratch(size)
    base = offsets + inside * lease.address
    base[X], base[Y], base[W] = address(x), address(y), address(w)
    if bias is not None:
        base[BIAS] = address(bias)
    if SUMS in program.sizes:
        np.asarray(lease)[offsets[SUMS] :][: program.sizes[SUMS]] = 0
    if threads == 1:
        _in_order(program.serial, base, parts, brief)
        return
    for stage_ in program.stages:
        if len(stage_.starts) == 2:
            _in_order(stage_, base, parts, brief)
        elif len(stage_.words):
            _at_once(stage_, base, steps, parts, slots)


def _in_order(stage, base, parts, brief):
    """The jobs one after another on this thread, in so many parts for the sake of signals."""
    words = stage.words + base[stage.bases]
    start, count = address(words), len(words)
    cuts = [count * part // parts for part in range(parts + 1)] if parts > 1 else (0, count)
    for first, end in itertools.pairwise(cuts):
        if first < end:
            pool.run(entry(execute), np.array([[0, start + first * 8 * ROW_WORDS, end - first]]), brief=brief)


def _at_once(stage, base, steps, wanted, slots):
    """The units on all threads, in waves of at most `slots` parts, each with scratch of its own."""
    parts = stage.parts(wanted)
    words = np.empty_like(stage.words)
    rows = np.zeros((len(parts), 3), np.int64)
    start = address(words)
    for number, (first, end) in enumerate(parts):
        here = base + steps * (number % slots)
        np.add(stage.words[first:end], here[stage.bases[first:end]], out=words[first:end])
        rows[number, 1:] = start + first * 8 * ROW_WORDS, end - first
    for first in range(0, len(parts), slots):
        pool.run(entry(execute), rows[first : first + slots])


def _lines(size):
    """A size in whole cache lines, with one to spare, since vectors may be read a little beyond the end."""
    return -(-size // LINE) * LINE + LINE if size else 0
