"""Winograd's transform of the products: every output of a tile, in all phases, with its bias and activation.

    y[tile + (i, j), phase, c]
        =  activation(sum over p and q of  rows[i][p] * cols[j][q] * (m[p, q, tile, phase, c] + bias'[c]))

where the bias is added at the positions of which every output has the product once (`at`, in both axes), or to every
output if there are none.

    m      position after position `m_pos` apart, in each a line for each tile, `m_tile` apart: phase after phase of
           whole vectors, `m_phase` apart
    y      written, or added to by a kernel that `adds`, which has no bias; the channels of an output consecutive, `c`
           of them; `y_h` and `y_w` from one output of a tile to the next, `y_ph` and `y_pw` from phase to phase,
           n x tiles_h x tiles_w tiles `y_n`, `y_row` and `y_col` apart
    sink   room for `c` channels, where outputs beyond the map go
    flag   a word that becomes 1 if an output is not finite; those that go to the sink may count as well

`row` is the index of the first tile's first output, of `height` that exist; tiles are `row_tile` apart, the outputs of
a tile `row_step`, the phases 1; likewise on the other axis.
"""

from itertools import product

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type
from .epilogue import Epilogue, suffix
from .winograd_tile import Finite, Grid, both_sides, named

FIELDS = tuple(
    (
        "entry y m bias sink flag c n tiles_h tiles_w y_n y_row y_col y_h y_w phases_h phases_w y_ph y_pw "
        "row row_tile row_step height col col_tile col_step width m_pos m_tile m_phase slope"
    ).split()
)
POINTERS = {"y", "m", "bias", "sink", "flag"}


def winograd_gather(isa: Isa, elem, rows, cols, at_rows, at_cols, activation="none", adds=False):
    """The kernel for two matrices, one for each axis, and an activation.

    Args:
        at_rows, at_cols: the positions of the bias on each axis; None for no bias.
        adds: what y was is added before the activation.
    """
    biased = None if adds or at_rows is None else frozenset(product(at_rows, at_cols))
    kind = "_adds" if adds else "_bare" if biased is None else ""
    k = Builder(named(f"gather{kind}{suffix(activation)}", elem, isa, rows, cols))
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    whole = task["c"] - k.iand(task["c"], vector.lanes - 1)
    source, finite = k.variable(task["m"]), Finite(k, vector)
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"))
    tile = _Tile(k, isa, task, vector, rows, cols, biased, finite, epilogue, adds)
    with k.loop(0, task["n"]) as n, k.loop(0, task["tiles_h"]) as t_h:
        y_row = task["y"] + n * task["y_n"] + t_h * task["y_row"]
        row = task["row"] + t_h * task["row_tile"]
        # The first tile of the next row of tiles, or of the next image.
        is_last = k.equal(t_h + 1, task["tiles_h"])
        below = k.select(is_last, task["y"] + (n + 1) * task["y_n"], y_row + task["y_row"])
        with k.loop(0, task["tiles_w"]) as t_w:
            y = y_row + t_w * task["y_col"]
            after = k.select(k.equal(t_w + 1, task["tiles_w"]), below, y + task["y_col"])
            tile.run(y, after, source.get(), row, task["col"] + t_w * task["col_tile"], whole)
            source.set(source.get() + task["m_tile"])
    finite.note(task["flag"])
    return k


class _Tile:
    """All phases of one tile."""

    def __init__(self, k, isa, task, vector, rows, cols, biased, finite, epilogue, adds):
        self.k, self.isa, self.task, self.vector, self.rows, self.cols = k, isa, task, vector, rows, cols
        self.biased, self.finite, self.epilogue, self.adds = biased, finite, epilogue, adds

    def run(self, y, after, m, row, col, whole):
        """`row` and `col` are the indices of the tile's first output in the first phase; `after` is the next tile."""
        k, task = self.k, self.task
        inside = k.iand(
            self.inside(row, len(self.rows), task["row_step"], task["phases_h"], task["height"]),
            self.inside(col, len(self.cols), task["col_step"], task["phases_w"], task["width"]),
        )
        fast = k.iand(inside, k.equal(whole, task["c"]))
        with k.loop(0, task["phases_h"]) as p_h, k.loop(0, task["phases_w"]) as p_w:
            phase = p_h * task["y_ph"] + p_w * task["y_pw"]
            there = y + phase
            here = m + (p_h * task["phases_w"] + p_w) * task["m_phase"]
            with k.when(fast):
                self.phase(there, after + phase, here, whole)
            with k.when(k.equal(fast, 0)):
                self.safe_phase(there, after + phase, here, row + p_h, col + p_w, whole)

    def inside(self, first, count, step, phases, end):
        k = self.k
        return k.iand(k.less(-1, first), k.less(first + step * (count - 1) + (phases - 1), end))

    def phase(self, y, after, m, whole):
        k, task, vector = self.k, self.task, self.vector
        with k.loop(0, whole, vector.lanes) as c:
            at = k.opaque(c * vector.scalar.size)
            grid = Grid(k, y + at, task["y_h"], task["y_w"], len(self.rows), len(self.cols))
            self.prefetch(after + at)
            self.transform(m + at, task["bias"] + at, lambda i, j: grid[i, j])

    def prefetch(self, y):
        """Prefetch a vector of the outputs of a tile and phase, where it has them all."""
        grid = Grid(self.k, y, self.task["y_h"], self.task["y_w"], len(self.rows), len(self.cols))
        for i, j in product(range(len(self.rows)), range(len(self.cols))):
            self.k.prefetch(grid[i, j], write=True)

    def safe_phase(self, y, after, m, row, col, whole):
        k, task, vector = self.k, self.task, self.vector
        places = self.places(y, row, col)
        with k.loop(0, whole, vector.lanes) as c:
            at = k.opaque(c * vector.scalar.size)
            self.prefetch(after + at)
            self.transform(m + at, task["bias"] + at, lambda i, j: places[i][j] + at)
        with k.when(k.less(whole, task["c"])):
            at, rest = whole * vector.scalar.size, k.lane_mask(task["c"] - whole, vector)
            self.transform(m + at, task["bias"] + at, lambda i, j: places[i][j] + at, rest)

    def places(self, y, row, col):
        """Pointers to the outputs, to the sink where there are none."""
        k, task = self.k, self.task
        rows = [self.exists(row + task["row_step"] * i, task["height"]) for i in range(len(self.rows))]
        cols = [self.exists(col + task["col_step"] * j, task["width"]) for j in range(len(self.cols))]
        return [
            [
                k.select(k.iand(in_rows, in_cols), y + (task["y_h"] * i + task["y_w"] * j), task["sink"])
                for j, in_cols in enumerate(cols)
            ]
            for i, in_rows in enumerate(rows)
        ]

    def exists(self, place, end):
        return self.k.iand(self.k.less(-1, place), self.k.less(place, end))

    def transform(self, m, bias, place, rest=None):
        """One vector of channels, to ``place(i, j)``.

        Of those outside the mask `rest` nothing is known, and nothing may be concluded.
        """
        k, task, vector = self.k, self.task, self.vector
        grid = Grid(k, m, task["m_pos"] * len(self.cols[0]), task["m_pos"], len(self.rows[0]), len(self.cols[0]))

        def load(p, q):
            value = k.load(grid[p, q], vector, rest)
            return k.add(value, k.load(bias, vector, rest)) if self.biased and (p, q) in self.biased else value

        def finish(value, i, j):
            there = place(i, j)
            if self.biased == frozenset():
                value = k.add(value, k.load(bias, vector, rest))
            if self.adds:
                value = k.add(value, k.load(there, vector, rest))
            # Seen before the activation, which may hide an infinity.
            self.finite.see(value)
            k.store(self.epilogue(value), there, rest)

        both_sides(k, self.isa, self.rows, self.cols, load, finish)
        self.finite.keep()
