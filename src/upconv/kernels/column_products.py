"""Products of columns with the rows of a weight as it lies: both sides consecutive along the sum.

    y[p, r]  +=  sum over k of  x[p, k] * w[r, k]

    x   `pixels` lines of `c` numbers, `x_p` apart: what each pixel meets, in the order of the weight
    w   `rows` rows of as many numbers, `w_r` apart
    y   sums for each pixel, those of its rows consecutive; there must be room for whole tiles

A vector runs along the sum, so every lane has a sum of its own, as many times shorter; lanes are added up at the end of
a tile, in a tree. A row or a pixel beyond the last is the last again, whose sums go where there is room. Beside MANY
pixels, some rows are copied before they are used, vector by vector: the weight may lie at any address, and its rows a
power of two apart.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry x w y c pixels rows x_p w_r y_p panel".split())
POINTERS = {"x", "w", "y", "panel"}
# More pixels make up for copying the weight.
MANY = 12
# Over so many tiles of pixels the next rows of the weight are asked for: they lie in short pieces, which no machine
# foresees. More pixels than MANY are no fewer tiles.
AHEAD = 4


def macs(task, lanes, elem, mr, np):
    """Multiply-adds of a task, those included that no output needs."""
    return -(-task["pixels"] // np) * np * -(-task["rows"] // mr) * mr * -(-task["c"] // lanes) * lanes


def scratch(vector_bytes, mr, c, lanes):
    """Bytes of the rows that are copied, for sums of c products."""
    return {"panel": mr * -(-c // lanes) * vector_bytes}


def column_products(isa: Isa, elem, mr, np):
    """The kernel for tiles of mr rows, a power of two, by np pixels."""
    k = Builder(f"column_products_{elem}_{mr}x{np}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    copies = k.less(MANY, task["pixels"])
    with k.loop(0, task["rows"], mr) as row:
        rows = [task["w"] + k.imin(row + r, task["rows"] - 1) * task["w_r"] for r in range(mr)]
        y = task["y"] + row * vector.scalar.size
        with k.when(copies):
            _copy(k, task, vector, rows)
            copied, first = _Copied(task["panel"], mr, vector), AHEAD * np
            _pixels(k, task, vector, np, y, copied, (0, first), task["w"] + (row + mr) * task["w_r"])
            _pixels(k, task, vector, np, y, copied, (first, task["pixels"]))
        with k.when(k.negate(copies)):
            _pixels(k, task, vector, np, y, _InPlace(rows, vector), (0, task["pixels"]))
    return k


def _vectors(k, task, vector):
    """Calls for all vectors of a sum, as (number of the first product, mask or None)."""
    rest = k.iand(task["c"], vector.lanes - 1)

    def each(do):
        with k.loop(0, task["c"] - rest, vector.lanes) as number:
            do(k.opaque(number), None)
        with k.when(k.less(0, rest)):
            do(task["c"] - rest, k.lane_mask(rest, vector))

    return each


def _copy(k, task, vector, rows):
    """Some rows of the weight, vector by vector, with zeros beyond the last product."""

    def some(number, mask):
        there = task["panel"] + number * (len(rows) * vector.scalar.size)
        for r, pointer in enumerate(rows):
            k.store(k.load(pointer + number * vector.scalar.size, vector, mask), there + r * vector.size)

    _vectors(k, task, vector)(some)


class _InPlace:
    """Rows of the weight where they lie."""

    def __init__(self, rows, vector):
        self.rows, self.mr, self.vector = rows, len(rows), vector

    def load(self, k, number, mask):
        return [k.load(pointer + number * self.vector.scalar.size, self.vector, mask) for pointer in self.rows]


class _Copied:
    """Rows of the weight that were copied."""

    def __init__(self, panel, mr, vector):
        self.panel, self.mr, self.vector = panel, mr, vector

    def load(self, k, number, mask):
        here = self.panel + number * (self.mr * self.vector.scalar.size)
        return [k.load(here + r * self.vector.size, self.vector) for r in range(self.mr)]


def _pixels(k, task, vector, np, y, rows, span, following=None):
    """Some rows of the weight by the pixels of a span; each tile asks for some of the `following` rows."""
    some, pointer = rows.mr // AHEAD, None if following is None else k.variable(following)
    with k.loop(*span, np) as pixel:
        x = [task["x"] + k.imin(pixel + p, task["pixels"] - 1) * task["x_p"] for p in range(np)]
        ahead = []
        if following is not None:
            ahead = [pointer.get() + r * task["w_r"] for r in range(some)]
            pointer.set(pointer.get() + some * task["w_r"])
        _tile(k, task, vector, x, rows, y + pixel * task["y_p"], ahead)


def _tile(k, task, vector, x, rows, y, ahead):
    """All products of some pixels and some rows: the sums live in registers until the lanes are added up.

    What of the rows `ahead` is as far along the sum is asked for meanwhile.
    """
    zero, mr = k.zero(vector), rows.mr
    sums = [[k.variable(zero) for _ in range(mr)] for _ in x]

    def products(number, mask):
        for pointer in ahead:
            k.prefetch(pointer + number * vector.scalar.size, locality=2)
        columns = [k.load(pointer + number * vector.scalar.size, vector, mask) for pointer in x]
        for r, weights in enumerate(rows.load(k, number, mask)):
            for column, row in zip(columns, sums, strict=True):
                row[r].set(k.muladd(column, weights, row[r].get()))

    _vectors(k, task, vector)(products)
    many = min(mr, vector.lanes)
    for p, row in enumerate(sums):
        for first in range(0, mr, many):
            there = y + (task["y_p"] * p + first * vector.scalar.size)
            totals = added_up(k, [variable.get() for variable in row[first : first + many]])
            k.store(k.add(totals, k.load(there, totals.type)), there)


def added_up(k, vectors):
    """The totals of the lanes of some vectors, a power of two of them and no more than lanes: a vector of as many."""
    many, lanes = len(vectors), vectors[0].type.lanes
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_halved(k, a, b, range(0, 2 * lanes, 2)) for a, b in pairs]
    (total,), left = vectors, lanes
    while left > many:
        left //= 2
        total = _halved(k, total, total, range(0, 2 * left, 2))
    return total


def _halved(k, a, b, evens):
    """Sums of neighbours of a and b, at the numbers of `evens` and the next ones."""
    return k.add(k.shuffle(a, b, evens), k.shuffle(a, b, [lane + 1 for lane in evens]))
