"""The product of few pixels with one tap of a large weight, added to where that tap sends them.

    y[pixel, v]  +=  sum over c of  x[pixel, c] * w[c, v]

    x   read in place, the channels of a pixel consecutive
    w   a packed panel: c rows of `nv` whole vectors, one after another
    y   sums that stay in the cache, `nv` whole vectors for each pixel

A task is one tap and the images x rows x cols pixels that it sends somewhere, on any strides. The rows of the panel are
taken CHUNK at a time with all pixels, so that each number of it comes from memory once, in order; the chunk behind it,
at last the one at `ahead`, is asked for meanwhile. A tile has as many pixels as there are left: nothing is computed
twice, and a single pixel takes no longer than its weight takes to arrive.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .gemm import Walk

FIELDS = tuple("entry x y w c n rows cols x_n x_row x_col y_n y_row y_col places ahead".split())
POINTERS = {"x", "y", "w", "places", "ahead"}
# Channels at a time: sums no longer than those of other kernels, and a panel that stays in the first-level cache.
CHUNK = 64
UNROLL = 4


def macs(task, lanes, elem, mr, nv):
    """Multiply-adds of a task."""
    return task["n"] * task["rows"] * task["cols"] * nv * lanes * task["c"]


def heights(mr):
    """Heights of tiles, each taken while so many pixels are left: mr, then powers of two."""
    return [mr, *(1 << bit for bit in reversed(range((mr - 1).bit_length())))]


def tap_streaming(isa: Isa, elem, mr, nv):
    """The kernel for tiles of at most mr pixels by nv vectors."""
    k = Builder(f"tap_streaming_{elem}_{mr}x{nv}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    pixels = task["n"] * task["rows"] * task["cols"]
    with k.when(k.less(0, pixels)):
        Walk(k, task).note(pixels, pixels)
    with k.loop(0, task["c"], CHUNK) as start:
        x, w = task["x"] + start * vector.scalar.size, task["w"] + start * (nv * vector.size)
        part, done = k.imin(task["c"] - start, CHUNK), k.variable(0, I64)
        ahead = k.select(start + CHUNK < task["c"], w + CHUNK * nv * vector.size, task["ahead"])
        for height in heights(mr):
            with k.loop(done.get(), pixels - (height - 1), height) as first:
                _tile(k, task["places"] + first * 16, vector, x, w, ahead, task["y"], part, height, nv)
                done.set(first + height)
    return k


def _tile(k, offsets, vector, x, w, ahead, y, count, height, nv):
    """`height` pixels by nv vectors: sums of a chunk in registers, added to those in memory."""
    x = [x + k.load(offsets + 16 * r, I64) for r in range(height)]
    zero = k.zero(vector)
    sums = [[k.variable(zero) for _ in range(nv)] for _ in range(height)]
    _products(k, vector, x, w, ahead, count, sums)
    for r, row in enumerate(sums):
        there = y + k.load(offsets + (16 * r + 8), I64)
        for v, variable in enumerate(row):
            place = there + v * vector.size
            k.store(k.add(variable.get(), k.load(place, vector)), place)


def _products(k, vector, x, w, ahead, count, sums):
    """Add `count` products to every sum, and ask for the chunk that comes next."""
    size, nv = vector.scalar.size, len(sums[0])
    width = nv * vector.size
    whole = count - k.iand(count, UNROLL - 1)

    def step(at_x, at_w, u):
        here = w + at_w
        panel = [k.load(here + (u * width + v * vector.size), vector) for v in range(nv)]
        for line in range(-u * width % LINE, width, LINE):
            k.prefetch(ahead + at_w + (u * width + line), locality=2)
        for pointer, row in zip(x, sums, strict=True):
            value = k.splat(k.load(pointer + at_x + u * size, vector.scalar), vector)
            for variable, part in zip(row, panel, strict=True):
                variable.set(k.muladd(value, part, variable.get()))

    with k.loop(0, whole, UNROLL) as c:
        at_x, at_w = k.opaque(c * size), k.opaque(c * width)
        for u in range(UNROLL):
            step(at_x, at_w, u)
    with k.loop(whole, count) as c:
        step(k.opaque(c * size), k.opaque(c * width), 0)
