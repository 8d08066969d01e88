"""Every channel with a kernel of its own: channels along the vector on both sides.

    y[pixel, v]  =  bias[v]  +  sum over taps of  x[pixel + tap, v] * w[tap, v]

    x, y   the channels of a pixel consecutive; `columns` of them
    w      for each tap a line of whole vectors

A job is a segment, images x rows x cols pixels on any strides, listed as for `gemm`. With so few products for each
value moved, the point is to load a weight once for `mr` pixels.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, SIZES, Builder, Type
from .gemm import TILES_PER_BLOCK, Walk

WORDS = "entry x y w bias n_h n_w x_h x_w w_h w_w n rows cols x_n x_row x_col y_n y_row y_col columns places".split()
# Vectors across: a pixel is found once for so many.
ACROSS = 2
POINTERS = {"x", "y", "w", "bias", "places"}


def depthwise(isa: Isa, elem, mr):
    """The kernel for mr pixels at a time."""
    k = Builder(f"depthwise_{elem}_{mr}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    job = dict(zip(WORDS, k.words(*(PTR if word in POINTERS else I64 for word in WORDS)), strict=True))
    walk = Walk(k, job)
    pixels = job["n"] * job["rows"] * job["cols"]
    block = mr * TILES_PER_BLOCK
    # The channels that fill whole tiles; the others go one vector at a time.
    wide = (ACROSS * vector.lanes).bit_length() - 1
    whole = k.shift_right(job["columns"], wide) * (ACROSS * vector.lanes)
    with k.loop(0, pixels, block) as start:
        left = pixels - start
        with k.loop(0, k.imin(left + (mr - 1), block)) as place:
            walk.note(place, more=place + 1 < left)
        with k.loop(0, k.imin(left, block), mr) as first:
            offsets = job["places"] + first * 16
            with k.loop(0, whole, ACROSS * vector.lanes) as column:
                _tile(k, job, vector, offsets, column, mr, ACROSS)
            with k.loop(whole, job["columns"], vector.lanes) as column:
                _tile(k, job, vector, offsets, column, mr, 1, k.first(job["columns"] - column, vector))
    return k


def _tile(k, job, vector, offsets, column, mr, nv, mask=None):
    """mr pixels of nv vectors of channels, the last of which may be cut by a mask."""
    here = column * vector.scalar.size
    parts = [v * vector.size for v in range(nv)]
    x = [job["x"] + k.load(offsets + 16 * r, I64) + here for r in range(mr)]
    sums = [[k.variable(k.load(job["bias"] + here + part, vector)) for part in parts] for _ in range(mr)]
    with k.loop(0, job["n_h"]) as t_h, k.loop(0, job["n_w"]) as t_w:
        x_tap = t_h * job["x_h"] + t_w * job["x_w"]
        w_tap = job["w"] + t_h * job["w_h"] + t_w * job["w_w"] + here
        weights = [k.load(w_tap + part, vector) for part in parts]
        for pointer, row in zip(x, sums, strict=True):
            for variable, weight, part in zip(row, weights, parts, strict=True):
                variable.set(k.muladd(k.load(pointer + x_tap + part, vector, mask), weight, variable.get()))
    for r, row in enumerate(sums):
        y = job["y"] + k.load(offsets + (16 * r + 8), I64) + here
        for variable, part in zip(row, parts, strict=True):
            k.store(variable.get(), y + part, mask)
