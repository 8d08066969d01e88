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
from ..codegen.lang import I64, PTR, SIZES, Builder, Type
from .depthwise_rows import interleaved, quotient
from .epilogue import Epilogue, suffix

FIELDS = tuple(
    (
        "entry x y w bias n rows groups n_h in_cols out_cols x_n x_row x_h x_g y_n y_row y_g w_h w_w bias_g back slope"
    ).split()
)
PHASE_FIELDS = "a n first".split()
POINTERS = {"x", "y", "bias"}
# A row of y is asked for while the one so many rows above it is written.
AHEAD = 4


def fields(s):
    """The names of a task's fields; those of phase p are a_p, n_p and first_p."""
    return FIELDS + tuple(f"{name}_{p}" for p in range(s) for name in PHASE_FIELDS)


NAMES = {s: fields(s) for s in range(1, 5)}


def fields_of(elem, s, counts=None, activation="none"):
    """The names of the fields of the kernel with these arguments."""
    return NAMES[s]


def col2im_rows(isa: Isa, elem, s, counts=None, activation="none"):
    """The kernel for s phases; with counts[p] taps of phase p along the row, or any."""
    taps = "" if counts is None else "_" + "x".join(map(str, counts))
    k = Builder(f"col2im_rows_{elem}_{s}{taps}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    job = dict(zip(NAMES[s], k.words(*(PTR if name in POINTERS else I64 for name in NAMES[s])), strict=True))
    tile = _Tile(k, job, vector, s, counts, Epilogue(k, vector, activation, FIELDS.index("slope")))
    with k.loop(0, job["groups"]) as group:
        bias = k.splat(k.load(job["bias"] + group * job["bias_g"], vector.scalar), vector)
        x, y = job["x"] + job["w"] + group * job["x_g"], job["y"] + group * job["y_g"]
        with k.loop(0, job["n"]) as n, k.loop(0, job["rows"]) as row:
            here, there = n * job["x_n"] + row * job["x_row"], n * job["y_n"] + row * job["y_row"]
            tile.row(x + k.opaque(here), y + k.opaque(there), bias)
    return k


class _Tile:
    """One vector of columns of every phase; the columns of a row are 0 to end - 1, the last vector begins at `last`."""

    def __init__(self, k, job, vector, s, counts, epilogue):
        self.k, self.job, self.vector, self.s, self.counts, self.epilogue = k, job, vector, s, counts, epilogue
        self.end = quotient(k, job["out_cols"] + (s - 1), s)
        self.last = k.imax(self.end - vector.lanes, 0)
        low = high = 0
        for p in range(s):
            first, count = job[f"a_{p}"], job[f"n_{p}"]
            last, some = first - (count - 1) * job["back"], k.less(0, count)
            low = k.choose(some, k.imin(low, k.imin(first, last)), low)
            high = k.choose(some, k.imax(high, k.imax(first, last)), high)
        self.low, self.high = low, high

    def row(self, x, y, bias):
        """All vectors of a row: without masks those that are inside with all that they read."""
        k, job, lanes = self.k, self.job, self.vector.lanes
        with k.loop(0, self.end, lanes) as place:
            j = k.imin(place, self.last)
            reads = k.iand(k.less(-1, j + self.low), j + self.high < job["in_cols"] - (lanes - 1))
            inside = k.iand(reads, (j + lanes) * self.s < job["out_cols"] + 1)
            with k.when(inside):
                self.run(x, y, bias, j, masked=False)
            with k.when(k.equal(inside, 0)):
                self.run(x, y, bias, j, masked=True)

    def run(self, x, y, bias, j, masked):
        """The sums of the vectors that begin at column j."""
        k, job, vector, s = self.k, self.job, self.vector, self.s
        sums = [k.variable(bias) for _ in range(s)]
        here = x + j * vector.scalar.size
        with k.loop(0, job["n_h"]) as t_h:
            row = here + k.opaque(t_h * (job["x_h"] + job["w_h"]))
            for p, variable in enumerate(sums):
                self.taps(row, p, j, variable, masked)
        there, left = y + j * (s * vector.scalar.size), job["out_cols"] - j * s
        for at in range(0, s * vector.size, LINE):
            k.prefetch(there + (job["y_row"] * AHEAD + at), write=True)
        lines = interleaved(k, [self.epilogue(variable.get()) for variable in sums])
        for q, line in enumerate(lines):
            mask = k.first(left - q * vector.lanes, vector) if masked else None
            k.store(line, there + q * vector.size, mask)

    def taps(self, row, p, j, variable, masked):
        """Add what the taps of phase p have in one row."""
        k, job, vector = self.k, self.job, self.vector

        def add(m):
            column = job[f"a_{p}"] - job["back"] * m
            mask = self.inside(j + column) if masked else None
            there = row + (job[f"first_{p}"] + job["w_w"] * m + column * vector.scalar.size)
            variable.set(k.add(variable.get(), k.load(there, vector, mask)))

        if self.counts is None:
            with k.loop(0, job[f"n_{p}"]) as m:
                add(m)
        else:
            for m in range(self.counts[p]):
                add(m)

    def inside(self, first):
        """The lanes whose source, counted from `first` on, exists."""
        return self.k.between(self.k.imin(first, 0) * -1, self.job["in_cols"] - first, self.vector)
