"""What the transforms of Winograd's kernels share: matrices on both sides of a tile, and the test of results.

    y[i, j]  =  sum over r and c of  rows[i][r] * x[r, c] * cols[j][c]

A tile is a grid of vectors; the matrices are known when the kernel is made.
"""

from zlib import crc32

from ..codegen.combinations import combine


def named(what, elem, isa, rows, cols):
    """The name of a kernel that is made for two matrices."""
    sizes = f"{len(rows)}x{len(rows[0])}_{len(cols)}x{len(cols[0])}"
    return f"winograd_{what}_{elem}_{sizes}_{crc32(repr((rows, cols)).encode()):08x}_{isa.name}"


def both_sides(k, isa, rows, cols, load, store):
    """Transform one tile: ``load(r, c)`` gives its vectors, ``store(value, i, j)`` takes the results.

    With enough registers for all rows of the results every value is loaded once. Otherwise row by row: a value is
    loaded again for every row that it belongs to, which is cheaper than to put half of them aside.
    """
    if len(rows) * len(cols[0]) <= isa.registers:
        lines = _by_columns(k, rows, cols, load)
    else:
        lines = _by_rows(k, rows, cols, load)
    for i, line in enumerate(lines):
        for j, value in enumerate(combine(k, cols, line)):
            store(value, i, j)


def _by_columns(k, rows, cols, load):
    columns = [combine(k, rows, [load(r, c) for r in range(len(rows[0]))]) for c in range(len(cols[0]))]
    return zip(*columns, strict=True)


def _by_rows(k, rows, cols, load):
    for row in rows:
        used = [r for r, factor in enumerate(row) if factor]
        factors = (tuple(row[r] for r in used),)
        yield [combine(k, factors, [load(r, c) for r in used])[0] for c in range(len(cols[0]))]


class Grid:
    """Places of a tile: a pointer and two steps, of which every multiple is made once."""

    def __init__(self, k, pointer, row_step, col_step, rows, cols):
        self.rows = [pointer + row_step * r if r else pointer for r in range(rows)]
        self.cols = [col_step * c for c in range(cols)]

    def __getitem__(self, place):
        r, c = place
        return self.rows[r] + self.cols[c] if c else self.rows[r]


class Finite:
    """Whether everything seen is finite, noted at an address: 1 is written there if something is not."""

    def __init__(self, k, vector):
        self.k, self.vector = k, vector
        self.sum, self.some = k.variable(k.zero(vector)), None

    def see(self, value):
        """A finite number times 0 is 0; anything else makes the sum a NaN, for good."""
        k = self.k
        self.some = (
            k.mul(value, k.zero(self.vector)) if self.some is None else k.muladd(value, k.zero(self.vector), self.some)
        )

    def keep(self):
        """Add up what has been seen since the last time: a chain of its own, so that none waits for another."""
        self.sum.set(self.k.add(self.sum.get(), self.some))
        self.some = None

    def note(self, flag):
        k = self.k
        found = k.any_nan(self.sum.get())
        with k.when(found):
            k.store(k.select(found, 1, 0), flag)
