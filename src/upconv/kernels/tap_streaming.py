"""The product of few pixels with one tap of a large weight, added to where that tap sends them.

    y[pixel, v]  +=  sum over c of  x[pixel, c] * w[c, v]

    x   read in place, the channels of a pixel consecutive
    w   a packed panel: c rows of `nv` whole vectors, one after another
    y   sums that stay in the cache, `nv` whole vectors for each pixel

A task is one tap and the images x rows x cols pixels that it sends somewhere, on any strides. The rows of the panel are
taken `chunk` at a time, CHUNK at most, with all pixels, so that each number of it comes from memory once, in order. The
chunk behind it, at last the one at `next`, is prefetched meanwhile; where all pixels are one tile, so that the panel is
read from end to end, a little of it: AHEAD bytes. A panel that was packed just before is `near`, and nothing is
prefetched. A tile has as many pixels as there are left: nothing is computed twice, and a single pixel takes no longer
than its weight takes to arrive. Halves become float32 on their way into a register where there is one tile of pixels,
and in `wide`, a chunk at a time, where there are more.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .gemm import Walk
from .stored import Stored, suffix

FIELDS = tuple("entry x y w c chunk n rows cols x_n x_row x_col y_n y_row y_col places next wide".split())
POINTERS = {"x", "y", "w", "places", "next", "wide"}
# Channels at a time: sums no longer than those of other kernels, and a panel that stays in the first-level cache.
CHUNK = 64
# {channels at most: of a chunk} of few, whose errors would be the largest beside engines that sum in several lanes.
FEW_CHANNELS = {24: 24, 32: 16, 96: 24, 256: 32}
UNROLL = 4
# How far ahead of a panel that is read from end to end. A chunk is too far: memory answers a third slower.
AHEAD = 1024


def macs(task, lanes, elem, mr, nv, storage="", near=False):
    """Multiply-adds of a task."""
    return task["n"] * task["rows"] * task["cols"] * nv * lanes * task["c"]


def chunk_of(channels) -> int:
    """Of how many channels the sums of a task are."""
    most = next((some for limit, some in FEW_CHANNELS.items() if channels <= limit), 0)
    if not most:
        return CHUNK
    even = -(-channels // -(-channels // most))
    return -(-even // UNROLL) * UNROLL


def heights(mr):
    """Heights of tiles, each taken while so many pixels are left: mr, then powers of two."""
    return [mr, *(1 << bit for bit in reversed(range((mr - 1).bit_length())))]


def tap_streaming(isa: Isa, elem, mr, nv, storage="", near=False):
    """The kernel for tiles of at most mr pixels by nv vectors; the panel may be one of halves (f16, bf16), or near."""
    k = Builder(f"tap_streaming_{elem}_{mr}x{nv}{suffix(storage)}{'_near' * near}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    weight = Stored(k, isa, vector, storage)
    row = nv * vector.lanes * weight.size
    pixels = task["n"] * task["rows"] * task["cols"]
    with k.when(k.less(0, pixels)):
        Walk(k, task).note(pixels, pixels)
    with k.loop(0, task["c"], task["chunk"]) as start:
        x, w = task["x"] + start * vector.scalar.size, task["w"] + start * row
        part, end = k.imin(task["c"] - start, task["chunk"]), start + task["chunk"]
        next_w = None if near else k.select(end < task["c"], w + task["chunk"] * row, task["next"])
        chunk = _Chunk(k, task["places"], x, task["y"], part, pixels, nv)
        tiles = heights(mr)
        # Behind the panel lies the next tap; where that is a dead one, so few bytes are no loss.
        stream = next_w
        for height in () if near else tiles:
            stream = k.select(k.equal(pixels, height), w + AHEAD, stream)
        if storage:
            with k.when(pixels > mr):
                _widen(k, weight, w, next_w, part * nv, task["wide"])
                chunk.tiles(Stored(k, isa, vector, ""), task["wide"], None, tiles)
            with k.when(k.less(pixels, mr + 1)):
                chunk.tiles(weight, w, stream, tiles)
        else:
            chunk.tiles(weight, w, stream, tiles)
    return k


def _widen(k, weight, w, next_w, count, wide):
    """Some vectors of a chunk as float32, in a first-level cache; the chunk that comes next is prefetched."""
    with k.loop(0, count) as v:
        place = v * weight.stored.size
        k.store(weight.load(w + place), wide + v * weight.vector.size)
        k.prefetch(next_w + place, locality=2)


class _Chunk:
    """Some channels of the source with all pixels."""

    def __init__(self, k, places, x, y, count, pixels, nv):
        self.k, self.places, self.x, self.y = k, places, x, y
        self.count, self.pixels, self.nv = count, pixels, nv

    def tiles(self, weight, w, next_w, heights):
        """All pixels, each tile as high as there are pixels left."""
        k, done = self.k, self.k.variable(0, I64)
        for height in heights:
            with k.loop(done.get(), self.pixels - (height - 1), height) as first:
                self._tile(self.places + first * 16, weight, w, next_w, height)
                done.set(first + height)

    def _tile(self, offsets, weight, w, next_w, height):
        """`height` pixels by nv vectors: sums of a chunk in registers, added to those in memory."""
        k, vector = self.k, weight.vector
        x = [self.x + k.load(offsets + 16 * r, I64) for r in range(height)]
        zero = k.zero(vector)
        sums = [[k.variable(zero) for _ in range(self.nv)] for _ in range(height)]
        _products(k, weight, x, w, next_w, self.count, sums)
        for r, row in enumerate(sums):
            there = self.y + k.load(offsets + (16 * r + 8), I64)
            for v, variable in enumerate(row):
                place = there + v * vector.size
                k.store(k.add(variable.get(), k.load(place, vector)), place)


def _products(k, weight, x, w, next_w, count, sums):
    """Add `count` products to every sum, and prefetch as many rows of what comes next, unless that is done already."""
    vector, nv = weight.vector, len(sums[0])
    size, across = vector.scalar.size, vector.lanes * weight.size
    width = nv * across
    whole = count - k.iand(count, UNROLL - 1)

    def step(at_x, at_w, u):
        here = w + at_w
        panel = [weight.load(here + (u * width + v * across)) for v in range(nv)]
        for line in range(-u * width % LINE, 0 if next_w is None else width, LINE):
            k.prefetch(next_w + at_w + (u * width + line), locality=2)
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
