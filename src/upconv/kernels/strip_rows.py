"""Strips of pixels by the one tap of each phase, all phases of a row brought together and written at once.

    y[r, row, j*s + p]  =  bias[r]  +  sum over c of  x[c, row, j] * w[p, c, r]

    x   strips (see `pack_strips`): a vector of columns of every channel, `x_v` apart, one row after another
    w   packed panels: blocks of mr channels, in each those of a source channel after those of the one before; phases
        `w_p` apart
    y   written, never read: the s phases of a row interleaved in registers

A task is n x rows rows of `cols` columns of x, at least a vector of them, and some blocks. A tile of `nv` vectors runs
on over the ends of rows; the last one of an image has its last vector again, and the last vector of a row is shifted
back to end with it (equal values are written again). Sums are cut as in `direct_rows`, so that both give the same bits.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .depthwise_rows import interleaved
from .direct_rows import even_parts
from .epilogue import Epilogue, suffix
from .gemm import UNROLL, spill_partial_sums

FIELDS = tuple("entry x y w bias totals n rows cols c blocks x_n x_v y_n y_row y_c w_b w_p slope".split())
POINTERS = {"x", "y", "w", "bias", "totals"}


def macs(task, lanes, elem, mr, s, nv, activation="none"):
    """Multiply-adds of a task, those included that no output needs."""
    tiles = -(-task["rows"] * -(-task["cols"] // lanes) // nv)
    return task["n"] * task["blocks"] * tiles * nv * lanes * mr * s * task["c"]


def scratch(vector_bytes, mr, s, nv):
    """Bytes of the partial sums."""
    return {"totals": mr * s * nv * vector_bytes}


def strip_rows(isa: Isa, elem, mr, s, nv, activation="none"):
    """The kernel for a tile of mr channels by s phases by nv vectors of columns."""
    k = Builder(f"strip_rows_{elem}_{mr}x{s}x{nv}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    tile = _Tile(k, task, vector, (mr, s, nv), Epilogue(k, vector, activation, FIELDS.index("slope")))
    per_row = k.shift_right(task["cols"] + (vector.lanes - 1), vector.lanes.bit_length() - 1)
    total = task["rows"] * per_row
    with k.loop(0, task["n"]) as n, k.loop(0, task["blocks"]) as block:
        x, y = task["x"] + n * task["x_n"], task["y"] + n * task["y_n"] + block * (task["y_c"] * mr)
        w = task["w"] + block * task["w_b"]
        bias = task["bias"] + block * (mr * vector.scalar.size)
        place = _Place(k, task, vector, s)
        with k.loop(0, total, nv) as first:
            places = []
            for v in range(nv):
                places.append(place.here())
                place.go_on(more=first + (v + 1) < total)
            tile.run([x + at for at, _ in places], [y + at for _, at in places], w, bias)
    return k


class _Place:
    """The vectors of the rows of an image, one after another."""

    def __init__(self, k, task, vector, s):
        self.k, self.task, self.vector, self.s = k, task, vector, s
        self.x, self.row, self.col = (k.variable(0, I64) for _ in range(3))

    def here(self):
        """Offsets of the current vector in x and in y."""
        k, task = self.k, self.task
        first = k.imin(self.col.get(), task["cols"] - self.vector.lanes)
        return self.x.get(), self.row.get() + first * (self.s * self.vector.scalar.size)

    def go_on(self, more):
        """To the next vector, if there are more."""
        k, task, col, row = self.k, self.task, self.col.get(), self.row.get()
        beyond = col + self.vector.lanes
        stays = beyond < task["cols"]
        self.x.set(self.x.get() + k.select(more, task["x_v"], 0))
        self.row.set(row + k.select(more, k.select(stays, 0, task["y_row"]), 0))
        self.col.set(k.select(more, k.select(stays, beyond, 0), col))


class _Tile:
    """mr channels by s phases by nv vectors: the sums live in registers from the first channel to the last."""

    def __init__(self, k, task, vector, shape, epilogue):
        self.k, self.task, self.vector, self.epilogue = k, task, vector, epilogue
        self.mr, self.s, self.nv = shape
        longest, part = even_parts(k, task["c"], 1, self.s)
        self.longest = part * k.imax(k.divide(longest, part), 1)

    def run(self, x, y, w, bias):
        """The tile of the vectors that begin at `x`, to `y`."""
        k, task, vector, mr, s = self.k, self.task, self.vector, self.mr, self.s
        for pointer in y:
            for r in range(mr):
                for at in range(0, s * vector.size, LINE):
                    k.prefetch(pointer + (task["y_c"] * r + at), write=True)
        zero = k.zero(vector)
        # sums[r][p][v]
        sums = [[[k.variable(zero) for _ in range(self.nv)] for _ in range(s)] for _ in range(mr)]
        flat, cut = [variable for rows in sums for row in rows for variable in row], k.variable(0, I64)
        with k.loop(0, task["c"], self.longest) as start:
            with k.when(k.less(0, start)):
                spill_partial_sums(k, task["totals"], vector, flat, cut)
            part = k.imin(task["c"] - start, self.longest)
            whole = part - k.iand(part, UNROLL - 1)
            with k.loop(start, start + whole, UNROLL) as c:
                self.channels(x, w, c, sums, UNROLL)
            with k.loop(start + whole, start + part) as c:
                self.channels(x, w, c, sums, 1)
        with k.when(cut.get() > 0):
            for place, variable in enumerate(flat):
                variable.set(k.add(variable.get(), k.load(task["totals"] + place * vector.size, vector)))
        for r, rows in enumerate(sums):
            # Before the products there are no registers for it.
            value = k.splat(k.load(bias + r * vector.scalar.size, vector.scalar), vector)
            for v, pointer in enumerate(y):
                lines = interleaved(k, [self.epilogue(k.add(row[v].get(), value)) for row in rows])
                for q, line in enumerate(lines):
                    k.store(line, pointer + (task["y_c"] * r + q * vector.size))

    def channels(self, x, w, c, sums, count):
        """Add the products of some channels from c on."""
        k, task, vector, mr, s = self.k, self.task, self.vector, self.mr, self.s
        size = vector.scalar.size
        strip, panel = k.opaque(c * vector.size), k.opaque(c * (mr * size))
        here, panels = [pointer + strip for pointer in x], [w + (task["w_p"] * p + panel) for p in range(s)]
        for u in range(count):
            pixels = [k.load(pointer + u * vector.size, vector) for pointer in here]
            for p in range(s):
                for r in range(mr):
                    value = k.splat(k.load(panels[p] + (u * mr + r) * size, vector.scalar), vector)
                    for variable, part in zip(sums[r][p], pixels, strict=True):
                        variable.set(k.muladd(value, part, variable.get()))
