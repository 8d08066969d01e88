"""The same product with the roles exchanged: pixels of a row along the vector, the few channels of the result unrolled.

    y[channel, pixels]  =  bias[channel]  +  sum over taps and c of  w[c, channel, tap] * x[c, pixels + tap]

    x   planes read in place: the pixels of a row consecutive, channels `x_c` apart
    w   the weight as it is: any strides, one number at a time
    y   written, never read, on any strides

A job is a segment, as for `gemm`: images x rows x cols. Its rows are cut into vectors; the last vector of a row is
shifted back to end with it (equal values are computed again), and rows shorter than a vector run under one mask, so
nothing beyond a row is read or written. Sums are cut as in `gemm`.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, SIZES, Builder, Type
from .gemm import LONGEST_SUM

VECTORS_PER_BLOCK = 96
PLACE = 16
WORDS = (
    "entry x y w bias n_h n_w x_h x_w w_h w_w c n rows cols x_n x_row x_c y_n y_row y_col y_c w_c w_r "
    "places totals groups x_g y_g w_g bias_g"
).split()
POINTERS = {"x", "y", "w", "bias", "places", "totals"}


def rows(isa: Isa, elem, mr, nv, short):
    """The kernel for mr channels by nv vectors of pixels; `short` for rows of fewer pixels than a vector has lanes."""
    k = Builder(f"rows_{elem}_{mr}x{nv}_{'short_' if short else ''}{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    job = dict(zip(WORDS, k.words(*(PTR if word in POINTERS else I64 for word in WORDS)), strict=True))
    with k.loop(0, job["groups"]) as group:
        mine = {name: job[name] + group * job[f"{name}_g"] for name in ("x", "y", "w", "bias")}
        mask = k.first(job["cols"], vector) if short else None
        _group(k, _Tile(k, job | mine, vector, mr, nv, mask))
    return k


def _group(k, tile):
    """All vectors of one group, block by block: list them, then multiply."""
    job, vector, nv = tile.job, tile.vector, tile.nv
    position = [k.variable(0, I64) for _ in range(3)]
    block = VECTORS_PER_BLOCK // nv * nv
    # A row of `cols` pixels is cut into ceil(cols / lanes) vectors.
    per_row = k.shift_right(job["cols"] + (vector.lanes - 1), vector.lanes.bit_length() - 1)
    total = job["n"] * job["rows"] * per_row
    with k.loop(0, total, block) as start:
        left = total - start
        with k.loop(0, k.imin(left + (nv - 1), block)) as place:
            _note(k, job, vector, position, place, left, short=tile.mask is not None)
        with k.loop(0, k.imin(left, block), nv) as first:
            tile.run(job["places"] + first * PLACE)


def _note(k, job, vector, position, place, left, short):
    """Write the offsets of the current vector in x and y, and go to the next one unless this is the last."""
    n, row, col = (variable.get() for variable in position)
    first = 0 if short else k.imin(col, job["cols"] - vector.lanes)
    offsets = job["places"] + place * PLACE
    x = n * job["x_n"] + row * job["x_row"]
    y = n * job["y_n"] + row * job["y_row"]
    k.store(x if short else x + first * vector.scalar.size, offsets)
    k.store(y if short else y + first * job["y_col"], offsets + 8)
    with k.when(place + 1 < left):
        beyond = col + vector.lanes
        in_row = beyond < job["cols"]
        next_row = k.choose(in_row, row, row + 1)
        end_of_image = k.equal(next_row, job["rows"])
        position[2].set(k.choose(in_row, beyond, 0))
        position[1].set(k.choose(end_of_image, 0, next_row))
        position[0].set(k.choose(end_of_image, n + 1, n))


class _Tile:
    """mr channels by nv vectors: the sums live in registers from the first tap to the last."""

    def __init__(self, k, job, vector, mr, nv, mask):
        self.k, self.job, self.vector, self.mr, self.nv, self.mask = k, job, vector, mr, nv, mask

    def run(self, offsets):
        k, job, vector = self.k, self.job, self.vector
        x = [job["x"] + k.load(offsets + PLACE * v, I64) for v in range(self.nv)]
        zero = k.zero(vector)
        sums = [[k.variable(zero) for _ in range(self.nv)] for _ in range(self.mr)]
        length, cut = k.variable(0, I64), k.variable(0, I64)
        with k.loop(0, job["n_h"]) as t_h, k.loop(0, job["n_w"]) as t_w:
            x_tap = t_h * job["x_h"] + t_w * job["x_w"]
            w_tap = t_h * job["w_h"] + t_w * job["w_w"]
            with k.loop(0, job["c"], LONGEST_SUM) as start:
                part = k.imin(job["c"] - start, LONGEST_SUM)
                with k.when(length.get() + part > LONGEST_SUM):
                    self.put_aside(sums, cut)
                    length.set(0)
                length.set(length.get() + part)
                here = [pointer + x_tap + start * job["x_c"] for pointer in x]
                self.products(here, job["w"] + w_tap + start * job["w_c"], part, sums)
        with k.when(cut.get() > 0):
            for place, variable in self.flat(sums):
                variable.set(k.add(variable.get(), k.load(job["totals"] + place * vector.size, vector)))
        self.write(offsets, sums)

    def products(self, x, w, count, sums):
        """Add `count` products to every sum."""
        k, job, vector = self.k, self.job, self.vector
        with k.loop(0, count) as c:
            step = c * job["x_c"]
            panel = [k.load(pointer + step, vector, self.mask) for pointer in x]
            for r, row in enumerate(sums):
                value = k.splat(k.load(w + c * job["w_c"] + job["w_r"] * r, vector.scalar), vector)
                for variable, pixels in zip(row, panel, strict=True):
                    variable.set(k.muladd(value, pixels, variable.get()))

    def put_aside(self, sums, cut):
        """Add the sums so far to the totals and start new ones."""
        k, job, vector = self.k, self.job, self.vector
        with k.when(k.equal(cut.get(), 0)):
            for place, _ in self.flat(sums):
                k.store(k.zero(vector), job["totals"] + place * vector.size)
        cut.set(1)
        for place, variable in self.flat(sums):
            there = job["totals"] + place * vector.size
            k.store(k.add(variable.get(), k.load(there, vector)), there)
            variable.set(k.zero(vector))

    def write(self, offsets, sums):
        """Add the bias and write, consecutively where the pixels are, one by one where other phases lie between."""
        k, job, vector = self.k, self.job, self.vector
        y = [job["y"] + k.load(offsets + (PLACE * v + 8), I64) for v in range(self.nv)]
        dense = k.equal(job["y_col"], vector.scalar.size)
        results = []
        for r, row in enumerate(sums):
            bias = k.splat(k.load(job["bias"] + r * vector.scalar.size, vector.scalar), vector)
            results.append(
                [(k.add(variable.get(), bias), p + job["y_c"] * r) for variable, p in zip(row, y, strict=True)]
            )
        with k.when(dense):
            for row in results:
                for value, pointer in row:
                    k.store(value, pointer, self.mask)
        with k.when(k.equal(dense, 0)):
            everywhere = k.first(vector.lanes, vector) if self.mask is None else self.mask
            for row in results:
                for value, pointer in row:
                    k.store_strided(value, pointer, job["y_col"], everywhere)

    def flat(self, sums):
        return enumerate(variable for row in sums for variable in row)
