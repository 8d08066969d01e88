"""Adds up the products of all taps where they belong, columns of a row along the vector, all phases of it together.

    y[c, row, j*s + p]  =  bias[c]  +  sum over t_h, m of  x[tap, c, row + t_h, j + a_p - m*back]

    x   the products, channels-first: for each tap a map of every channel, taps `w_h` and `w_w` apart
    y   written, never read: the s phases of a row interleaved in registers

A task is groups (channels, each with one number of the bias) x n x rows rows. What lies beyond a row does not exist: a
vector at its ends reads and writes under masks. The last vector of a row is shifted back to end with it (equal values
are computed again). Kernels are made for the number of taps that a phase has along the row, which are written out;
without one they are loops.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import SIZES, Builder, Type
from .columns_apart import quotient
from .depthwise_rows import PHASES, interleaved
from .epilogue import Epilogue, suffix

FIELDS = tuple(
    (
        "entry x y w bias n rows groups n_h in_cols out_cols x_n x_row x_h x_g y_n y_row y_g w_h w_w bias_g back slope"
    ).split()
)
PHASE_FIELDS = "a n first".split()
POINTERS = {"x", "y", "bias"}
# A row of y is prefetched while the one so many rows above it is written.
AHEAD = 4


def fields(s):
    """The names of a task's fields; those of phase p are a_p, n_p and first_p."""
    return FIELDS + tuple(f"{name}_{p}" for p in range(s) for name in PHASE_FIELDS)


NAMES = {s: fields(s) for s in PHASES}


def fields_of(elem, s, counts=None, activation="none"):
    """The names of the fields of the kernel with these arguments."""
    return NAMES[s]


def col2im_rows(isa: Isa, elem, s, counts=None, activation="none"):
    """The kernel for s phases; with counts[p] taps of phase p along the row, or any."""
    taps = "" if counts is None else "_" + "x".join(map(str, counts))
    k = Builder(f"col2im_rows_{elem}_{s}{taps}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(NAMES[s], POINTERS)
    tile = _Tile(k, task, vector, s, counts, Epilogue(k, vector, activation, FIELDS.index("slope")))
    with k.loop(0, task["groups"]) as group:
        bias = k.splat(k.load(task["bias"] + group * task["bias_g"], vector.scalar), vector)
        x, y = task["x"] + task["w"] + group * task["x_g"], task["y"] + group * task["y_g"]
        with k.loop(0, task["n"]) as n, k.loop(0, task["rows"]) as row:
            here, there = n * task["x_n"] + row * task["x_row"], n * task["y_n"] + row * task["y_row"]
            tile.row(x + k.opaque(here), y + k.opaque(there), bias)
    return k


class _Tile:
    """One vector of columns of every phase; the columns of a row are 0 to end - 1, the last vector begins at `last`."""

    def __init__(self, k, task, vector, s, counts, epilogue):
        self.k, self.task, self.vector, self.s, self.counts, self.epilogue = k, task, vector, s, counts, epilogue
        self.end = quotient(k, task["out_cols"] + (s - 1), s)
        self.last = k.imax(self.end - vector.lanes, 0)
        low = high = 0
        for p in range(s):
            first, count = task[f"a_{p}"], task[f"n_{p}"]
            last, some = first - (count - 1) * task["back"], k.less(0, count)
            low = k.select(some, k.imin(low, k.imin(first, last)), low)
            high = k.select(some, k.imax(high, k.imax(first, last)), high)
        self.low, self.high = low, high

    def row(self, x, y, bias):
        """All vectors of a row: without masks those that are inside with all that they read."""
        k, task, lanes = self.k, self.task, self.vector.lanes
        with k.loop(0, self.end, lanes) as place:
            j = k.imin(place, self.last)
            reads = k.iand(k.less(-1, j + self.low), j + self.high < task["in_cols"] - (lanes - 1))
            inside = k.iand(reads, (j + lanes) * self.s < task["out_cols"] + 1)
            with k.when(inside):
                self.run(x, y, bias, j, masked=False)
            with k.when(k.equal(inside, 0)):
                self.run(x, y, bias, j, masked=True)

    def run(self, x, y, bias, j, masked):
        """The sums of the vectors that begin at column j."""
        k, task, vector, s = self.k, self.task, self.vector, self.s
        sums = [k.variable(bias) for _ in range(s)]
        here = x + j * vector.scalar.size
        with k.loop(0, task["n_h"]) as t_h:
            row = here + k.opaque(t_h * (task["x_h"] + task["w_h"]))
            for p, variable in enumerate(sums):
                self.taps(row, p, j, variable, masked)
        there, left = y + j * (s * vector.scalar.size), task["out_cols"] - j * s
        for at in range(0, s * vector.size, LINE):
            k.prefetch(there + (task["y_row"] * AHEAD + at), write=True)
        lines = interleaved(k, [self.epilogue(variable.get()) for variable in sums])
        for q, line in enumerate(lines):
            mask = k.lane_mask(left - q * vector.lanes, vector) if masked else None
            k.store(line, there + q * vector.size, mask)

    def taps(self, row, p, j, variable, masked):
        """Add what the taps of phase p have in one row."""
        k, task, vector = self.k, self.task, self.vector

        def add(m):
            column = task[f"a_{p}"] - task["back"] * m
            mask = self.inside(j + column) if masked else None
            there = row + (task[f"first_{p}"] + task["w_w"] * m + column * vector.scalar.size)
            variable.set(k.add(variable.get(), k.load(there, vector, mask)))

        if self.counts is None:
            with k.loop(0, task[f"n_{p}"]) as m:
                add(m)
        else:
            for m in range(self.counts[p]):
                add(m)

    def inside(self, first):
        """The lanes whose source, counted from `first` on, exists."""
        return self.k.lane_mask_between(self.k.imin(first, 0) * -1, self.task["in_cols"] - first, self.vector)
