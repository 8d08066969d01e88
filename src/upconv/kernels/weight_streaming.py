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

Where registers hold few pixels, the same rows are read in many turns: so there all pixels go along some columns first,
which stay in the first-level cache, and each turn prefetches some of the next rows, not all of them again.
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
# Bytes of the weight that all pixels go along before the next columns, by the number of vector registers. In tiles of
# 32 the turns are few, and to begin columns anew cost up to an eighth of the time.
NEAR_BYTES = {16: 16 << 10}


def macs(task, lanes, elem, mr, nc, ahead, storage=""):
    """Multiply-adds of a task, those included that no output needs."""
    return task["pixels"] * task["pieces"] * -(-task["count"] // lanes) * lanes * task["c"]


def blocks_of(rows, nc):
    """In how many blocks of rows of the weight so many are taken."""
    return rows // nc + (rows % nc).bit_count()


def rows_ahead(isa: Isa, pixels, mr, nc):
    """How many of the next rows each turn of so many pixels prefetches, so that all are in the end."""
    if isa.registers not in NEAR_BYTES:
        return nc
    return -(-nc // max(1, pixels // mr + pixels % mr))


def weight_streaming(isa: Isa, elem, mr, nc, ahead, storage=""):
    """The kernel for mr pixels by nc rows of the weight at a time, which may be halves (f16, bf16).

    Each turn of pixels prefetches `ahead` of the next rows, as `rows_ahead` says.
    """
    k = Builder(f"weight_streaming_{elem}_{mr}x{nc}_{ahead}{suffix(storage)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    sums = _Sums(k, task, vector)
    sums.clear()
    block = _Block(k, task, vector, Stored(k, isa, vector, storage), ahead, NEAR_BYTES.get(isa.registers))
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

    def __init__(self, k, task, vector, weight, ahead, near):
        self.k, self.task, self.vector, self.weight, self.ahead = k, task, vector, weight, ahead
        self.near = near

    def columns(self, nc):
        """How many columns of a piece all pixels go along."""
        if self.near is None:
            return self.task["count"]
        some = self.k.divide(self.near // (nc * self.weight.size), self.task["pieces"])
        return self.k.imax(self.k.iand(some, -self.vector.lanes), self.vector.lanes)

    def pixels(self, c, mr, nc):
        """Rows c to c + nc - 1 with all pixels, mr at a time while there are as many."""
        k, task, pixels = self.k, self.task, self.task["pixels"]
        whole = _floor(k, pixels, mr) if mr > 1 else pixels
        near = self.columns(nc)
        with k.loop(0, task["count"], near) as left:
            columns, begun = (left, k.imin(task["count"] - left, near)), k.variable(0, I64)
            with k.loop(0, whole, mr) as first:
                self.tile(c, first, columns, begun, mr, nc)
            if mr > 1:
                with k.loop(whole, pixels) as first:
                    self.tile(c, first, columns, begun, 1, nc)

    def tile(self, c, first, columns, begun, mr, nc):
        """mr pixels with some columns of every piece; `begun` are the rows that turns before have prefetched."""
        k, task, vector, (left, count) = self.k, self.task, self.vector, columns
        size, ahead = vector.scalar.size, min(self.ahead, nc)
        # The rows that come next, each in the place of one of these; those of the last turns may have come already.
        following = [task["w_c"] * (k.imin(begun.get(), nc - ahead) + (nc + u)) for u in range(ahead)]
        begun.set(begun.get() + ahead)
        x = [task["x"] + (first + p) * task["x_p"] + c * size for p in range(mr)]
        factors = [[k.splat(k.load(pointer + u * size, vector.scalar), vector) for u in range(nc)] for pointer in x]
        w = task["w"] + (c * task["w_c"] + left * self.weight.size)
        y = task["y"] + (first * task["y_p"] + left * size)
        rest = k.iand(count, vector.lanes - 1)
        with k.loop(0, task["pieces"]) as piece:
            rows, sums = w + piece * task["w_piece"], y + piece * task["y_piece"]
            with k.loop(0, count - rest, vector.lanes) as v:
                self.products(rows + v * self.weight.size, sums + v * size, factors, following, None)
            with k.when(k.less(0, rest)):
                at = count - rest
                mask = k.lane_mask(rest, vector)
                self.products(rows + at * self.weight.size, sums + at * size, factors, following, mask)

    def products(self, w, y, factors, following, mask):
        """Add nc products to the sums of mr pixels in one vector of columns."""
        k, task, vector = self.k, self.task, self.vector
        panel = [self.weight.load(w + task["w_c"] * u, mask) for u in range(len(factors[0]))]
        for row in following:
            # The first-level cache is full of sums.
            k.prefetch(w + row, locality=2)
        for p, row in enumerate(factors):
            total = k.mul(row[0], panel[0])
            for value, part in zip(row[1:], panel[1:], strict=True):
                total = k.muladd(value, part, total)
            there = y + task["y_p"] * p
            k.store(k.add(total, k.load(there, vector)), there)
