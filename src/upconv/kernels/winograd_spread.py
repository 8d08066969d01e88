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
from ..codegen.lang import SIZES, Builder, Type
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
    task = k.fields(FIELDS, POINTERS)
    whole = task["c"] - k.iand(task["c"], vector.lanes - 1)
    target = k.variable(task["v"])
    with k.loop(0, task["n"]) as n, k.loop(0, task["tiles_h"]) as t_h:
        x_row = task["x"] + n * task["x_n"] + t_h * task["x_row"]
        row = task["row"] + t_h * task["row_m"]
        with k.loop(0, task["tiles_w"]) as t_w:
            col = task["col"] + t_w * task["col_m"]
            tile = _Tile(k, isa, task, vector, rows, cols)
            tile.run(x_row + t_w * task["x_col"], target.get(), row, col, whole)
            target.set(target.get() + task["v_tile"])
    return k


class _Tile:
    """One tile, inside the map or over its border."""

    def __init__(self, k, isa, task, vector, rows, cols):
        self.k, self.isa, self.task, self.vector, self.rows, self.cols = k, isa, task, vector, rows, cols

    def run(self, x, v, row, col, whole):
        k, task = self.k, self.task
        high, wide = len(self.rows[0]), len(self.cols[0])
        inside = k.iand(_inside(k, row, high, task["height"]), _inside(k, col, wide, task["width"]))
        fast = k.iand(inside, k.equal(whole, task["c"]))
        size = self.vector.scalar.size
        with k.when(fast), k.loop(0, whole, self.vector.lanes) as c:
            at = k.opaque(c * size)
            grid = Grid(k, x + at, task["x_h"], task["x_w"], high, wide)
            self.transform(lambda r, j: k.load(grid[r, j], self.vector), v + at)
        with k.when(k.equal(fast, 0)):
            places = self.safe(x, row, col)
            with k.loop(0, whole, self.vector.lanes) as c:
                at = k.opaque(c * size)
                self.transform(lambda r, j: k.load(places[r][j] + at, self.vector), v + at)
            with k.when(k.less(whole, task["c"])):
                at, rest = whole * size, k.lane_mask(task["c"] - whole, self.vector)
                self.transform(lambda r, j: k.load(places[r][j] + at, self.vector, rest), v + at)

    def safe(self, x, row, col):
        """Pointers to the values of the tile, to zeros where there are none."""
        k, task = self.k, self.task
        rows = [_exists(k, row + r, task["height"]) for r in range(len(self.rows[0]))]
        cols = [_exists(k, col + j, task["width"]) for j in range(len(self.cols[0]))]
        return [
            [
                k.select(k.iand(in_rows, in_cols), x + (task["x_h"] * r + task["x_w"] * j), task["zeros"])
                for j, in_cols in enumerate(cols)
            ]
            for r, in_rows in enumerate(rows)
        ]

    def transform(self, load, v):
        k = self.k
        grid = Grid(k, v, self.task["v_pos"] * len(self.cols), self.task["v_pos"], len(self.rows), len(self.cols))
        both_sides(k, self.isa, self.rows, self.cols, load, lambda value, i, j: k.store(value, grid[i, j]))


def _inside(k, first, count, end):
    return k.iand(k.less(-1, first), k.less(first + (count - 1), end))


def _exists(k, place, end):
    return k.iand(k.less(-1, place), k.less(place, end))
