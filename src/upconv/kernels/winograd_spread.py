"""Winograd's transform of the source: tiles that overlap, each a value at every position for every channel.

    v[p, q, tile, c]  =  sum over r and j of  rows[p][r] * cols[q][j] * x[tile + (r, j), c]

    x      read in place, the channels of a value consecutive; `x_h` and `x_w` from value to value of a tile,
           n x tiles_h x tiles_w tiles `x_n`, `x_row` and `x_col` apart
    v      position after position `v_pos` apart, in each a line of channels for each tile, `v_tile` apart; whole
           vectors are written, with zeros beyond the last channel
    zeros  `c` zeros, which are read instead of what lies beyond the map

`row` is the number of the first tile's first value on its axis, of `height` that exist, and tiles are `row_m` values
apart; likewise on the other axis.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, SIZES, Builder, Type
from .winograd_tile import Grid, both_sides, named

FIELDS = tuple(
    (
        "entry x v zeros c n tiles_h tiles_w x_n x_row x_col x_h x_w row row_m height col col_m width v_pos v_tile"
    ).split()
)
POINTERS = {"x", "v", "zeros"}


def winograd_spread(isa: Isa, elem, rows, cols):
    """The kernel for two square matrices, one for each axis, as tuples of rows of exact numbers."""
    k = Builder(named("spread", elem, isa, rows, cols))
    vector = Type(elem, isa.lanes(SIZES[elem]))
    job = dict(zip(FIELDS, k.words(*(PTR if word in POINTERS else I64 for word in FIELDS)), strict=True))
    whole = job["c"] - k.iand(job["c"], vector.lanes - 1)
    target = k.variable(job["v"])
    with k.loop(0, job["n"]) as n, k.loop(0, job["tiles_h"]) as t_h:
        x_row = job["x"] + n * job["x_n"] + t_h * job["x_row"]
        row = job["row"] + t_h * job["row_m"]
        with k.loop(0, job["tiles_w"]) as t_w:
            col = job["col"] + t_w * job["col_m"]
            tile = _Tile(k, isa, job, vector, rows, cols)
            tile.run(x_row + t_w * job["x_col"], target.get(), row, col, whole)
            target.set(target.get() + job["v_tile"])
    return k


class _Tile:
    """One tile, inside the map or over its border."""

    def __init__(self, k, isa, job, vector, rows, cols):
        self.k, self.isa, self.job, self.vector, self.rows, self.cols = k, isa, job, vector, rows, cols

    def run(self, x, v, row, col, whole):
        k, job = self.k, self.job
        high, wide = len(self.rows[0]), len(self.cols[0])
        inside = k.iand(_inside(k, row, high, job["height"]), _inside(k, col, wide, job["width"]))
        fast = k.iand(inside, k.equal(whole, job["c"]))
        size = self.vector.scalar.size
        with k.when(fast), k.loop(0, whole, self.vector.lanes) as c:
            at = k.opaque(c * size)
            grid = Grid(k, x + at, job["x_h"], job["x_w"], high, wide)
            self.transform(lambda r, j: k.load(grid[r, j], self.vector), v + at)
        with k.when(k.equal(fast, 0)):
            places = self.safe(x, row, col)
            with k.loop(0, whole, self.vector.lanes) as c:
                at = k.opaque(c * size)
                self.transform(lambda r, j: k.load(places[r][j] + at, self.vector), v + at)
            with k.when(k.less(whole, job["c"])):
                at, rest = whole * size, k.first(job["c"] - whole, self.vector)
                self.transform(lambda r, j: k.load(places[r][j] + at, self.vector, rest), v + at)

    def safe(self, x, row, col):
        """Pointers to the values of the tile, to zeros where there are none."""
        k, job = self.k, self.job
        rows = [_exists(k, row + r, job["height"]) for r in range(len(self.rows[0]))]
        cols = [_exists(k, col + j, job["width"]) for j in range(len(self.cols[0]))]
        return [
            [
                k.choose(k.iand(in_rows, in_cols), x + (job["x_h"] * r + job["x_w"] * j), job["zeros"])
                for j, in_cols in enumerate(cols)
            ]
            for r, in_rows in enumerate(rows)
        ]

    def transform(self, load, v):
        k = self.k
        grid = Grid(k, v, self.job["v_pos"] * len(self.cols), self.job["v_pos"], len(self.rows), len(self.cols))
        both_sides(k, self.isa, self.rows, self.cols, load, lambda value, i, j: k.store(value, grid[i, j]))


def _inside(k, first, count, end):
    return k.iand(k.less(-1, first), k.less(first + (count - 1), end))


def _exists(k, place, end):
    return k.iand(k.less(-1, place), k.less(place, end))
