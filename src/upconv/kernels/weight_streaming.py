"""The product of few pixels with a weight that is read once, as it lies: a sum for each pixel and column of the weight.

    y[p, v]  =  sum over c of  x[p, c] * w[c, v]

    x   `pixels` of them, `x_p` apart, the channels consecutive
    w   rows `w_c` apart, each `pieces` runs of `count` consecutive columns, `w_piece` apart
    y   for each pixel the same runs, each filled up to whole vectors
    totals  as large as y: where the sums of more than MOST_BLOCKS blocks of rows are added up

The rows are taken a few at a time, so that a layer of many channels reads memory in long runs and at its pace; the sums
of those few are made in registers and added to y, which stays in the cache. So no long sum is ever made at once. Nor is
a long chain: after MOST_BLOCKS blocks y is added to the totals and begun anew. A weight of halves becomes float32 on
its way into a register.
"""

from contextlib import contextmanager

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .stored import Stored, suffix

FIELDS = tuple("entry x w y totals c pixels x_p w_c pieces w_piece count y_p y_piece".split())
POINTERS = {"x", "w", "y", "totals"}
# Each sum that is added to a larger one rounds once more: of 2048 channels in one chain, with twice the errors of
# engines. Some 40 of some 40 are enough for any layer, and what they cost is a fortieth.
MOST_BLOCKS = 40


def macs(task, lanes, elem, mr, nc, storage=""):
    """Multiply-adds of a task, those included that no output needs."""
    return task["pixels"] * task["pieces"] * -(-task["count"] // lanes) * lanes * task["c"]


def blocks_of(rows, nc):
    """In how many blocks of rows of the weight so many are taken."""
    return rows // nc + (rows % nc).bit_count()


def weight_streaming(isa: Isa, elem, mr, nc, storage=""):
    """The kernel for mr pixels by nc rows of the weight at a time, which may be halves (f16, bf16)."""
    k = Builder(f"weight_streaming_{elem}_{mr}x{nc}{suffix(storage)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    sums = _Sums(k, task, vector)
    sums.clear()
    block = _Block(k, task, vector, Stored(k, isa, vector, storage))
    whole, chain = _floor(k, task["c"], nc), MOST_BLOCKS * nc
    with k.loop(0, whole, chain) as start:
        with k.when(k.less(0, start)):
            sums.put_aside(k.equal(start, chain))
        with k.loop(start, k.imin(start + chain, whole), nc) as c:
            block.pixels(c, mr, nc)
    # Sums are read and written for every block of rows, so what is left goes in as few as powers of two allow.
    first = k.variable(whole)
    for some in (1 << bit for bit in reversed(range((nc - 1).bit_length()))):
        with k.when(k.less(some - 1, task["c"] - first.get())):
            block.pixels(first.get(), mr, some)
            first.set(first.get() + some)
    with k.when(k.less(chain, whole)):
        sums.finish()
    return k


class _Sums:
    """All of y, and the totals."""

    def __init__(self, k, task, vector):
        self.k, self.task, self.vector = k, task, vector

    @contextmanager
    def _each(self):
        """(a vector of y, the same of the totals) of every pixel and piece."""
        k, task, vector = self.k, self.task, self.vector
        with (
            k.loop(0, task["pixels"]) as p,
            k.loop(0, task["pieces"]) as piece,
            k.loop(0, task["count"], vector.lanes) as v,
        ):
            at = p * task["y_p"] + piece * task["y_piece"] + v * vector.scalar.size
            yield task["y"] + at, task["totals"] + at

    def clear(self):
        with self._each() as (y, _):
            self.k.store(self.k.zero(self.vector), y)

    def put_aside(self, is_first):
        """Add y to the totals, which it becomes where it is the first, and begin anew."""
        k, vector = self.k, self.vector
        with self._each() as (y, total):
            before = k.select(is_first, k.zero(vector), k.load(total, vector))
            k.store(k.add(k.load(y, vector), before), total)
            k.store(k.zero(vector), y)

    def finish(self):
        with self._each() as (y, total):
            self.k.store(self.k.add(self.k.load(y, self.vector), self.k.load(total, self.vector)), y)


def _floor(k, a, step):
    """The largest multiple of a step that is at most a."""
    last = k.variable(0, I64)
    with k.loop(0, a - (step - 1), step) as start:
        last.set(start + step)
    return last.get()


class _Block:
    """A few rows of the weight with all pixels."""

    def __init__(self, k, task, vector, weight):
        self.k, self.task, self.vector, self.weight = k, task, vector, weight

    def pixels(self, c, mr, nc):
        """Rows c to c + nc - 1 with all pixels, mr at a time while there are as many."""
        k, pixels = self.k, self.task["pixels"]
        whole = _floor(k, pixels, mr) if mr > 1 else pixels
        with k.loop(0, whole, mr) as first:
            self.tile(c, first, mr, nc)
        if mr > 1:
            with k.loop(whole, pixels) as first:
                self.tile(c, first, 1, nc)

    def tile(self, c, first, mr, nc):
        k, task, vector = self.k, self.task, self.vector
        size = vector.scalar.size
        x = [task["x"] + (first + p) * task["x_p"] + c * size for p in range(mr)]
        factors = [[k.splat(k.load(pointer + u * size, vector.scalar), vector) for u in range(nc)] for pointer in x]
        w, y = task["w"] + c * task["w_c"], task["y"] + first * task["y_p"]
        rest = k.iand(task["count"], vector.lanes - 1)
        with k.loop(0, task["pieces"]) as piece:
            rows, sums = w + piece * task["w_piece"], y + piece * task["y_piece"]
            with k.loop(0, task["count"] - rest, vector.lanes) as v:
                self.products(rows + v * self.weight.size, sums + v * size, factors, None)
            with k.when(k.less(0, rest)):
                at = task["count"] - rest
                mask = k.lane_mask(rest, vector)
                self.products(rows + at * self.weight.size, sums + at * size, factors, mask)

    def products(self, w, y, factors, mask):
        """Add nc products to the sums of mr pixels in one vector of columns."""
        k, task, vector = self.k, self.task, self.vector
        nc = len(factors[0])
        panel = [self.weight.load(w + task["w_c"] * u, mask) for u in range(nc)]
        for u in range(nc):
            # The rows that come next, each in the place of one of these. The first-level cache is full of sums.
            k.prefetch(w + task["w_c"] * (u + nc), locality=2)
        for p, row in enumerate(factors):
            total = k.mul(row[0], panel[0])
            for value, part in zip(row[1:], panel[1:], strict=True):
                total = k.muladd(value, part, total)
            there = y + task["y_p"] * p
            k.store(k.add(total, k.load(there, vector)), there)
