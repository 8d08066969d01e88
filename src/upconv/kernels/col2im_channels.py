"""Adds up the products of all taps where they belong: what is left to do when every tap is columns of one product.

    y[pixel, v]  =  bias[v]  +  sum over t_h, t_w of  x[pixel + tap, w + tap + v]

    x   the products: for each pixel of the source its columns, of every tap and channel, one after another
    w   which columns of a pixel belong to a tap, in bytes; taps are evenly spaced in x and in w
    y   written, never read; the channels of a pixel consecutive; only those from `first_column` to `columns`

A task is a segment as in `gemm`: images x rows x cols pixels on any strides. MANY pixels of a row are computed at once;
the last ones repeat the last pixel, which computes equal values again. Whole vectors are read, so a little of what lies
behind the columns of a tap is read and not used.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type
from .epilogue import Epilogue, suffix
from .some_lanes import store_some

# Sums at once, of pixels and vectors together.
SUMS = 8
MOST_VECTORS = 4
# A row of y is prefetched while the one so many rows above it is written.
AHEAD = 4
FIELDS = tuple(
    (
        "entry x y w bias n_h n_w x_h x_w w_h w_w n rows cols x_n x_row x_col y_n y_row y_col "
        "first_column columns slope"
    ).split()
)
POINTERS = {"x", "y", "bias"}


def col2im_channels(isa: Isa, elem, nv, activation="none"):
    """The kernel for pixels of nv vectors."""
    k = Builder(f"col2im_channels_{elem}_{nv}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"))
    bias = [k.load(task["bias"] + v * vector.size, vector) for v in range(nv)]
    many, x = SUMS // nv, task["x"] + task["w"]
    with k.loop(0, task["n"]) as n, k.loop(0, task["rows"]) as row:
        source = x + k.opaque(n * task["x_n"] + row * task["x_row"])
        result = task["y"] + k.opaque(n * task["y_n"] + row * task["y_row"])
        with k.loop(0, task["cols"], many) as col:
            places = [k.imin(col + number, task["cols"] - 1) for number in range(many)]
            sums = _added(k, task, vector, bias, [source + place * task["x_col"] for place in places])
            pixels = [result + place * task["y_col"] for place in places]
            for pixel in pixels:
                k.prefetch(pixel + task["y_row"] * AHEAD, write=True)
            for v in range(nv):
                first, end = (task[name] - v * vector.lanes for name in ("first_column", "columns"))
                values = [epilogue(line[v].get()) for line in sums]
                store_some(k, vector, first, end, values, [pixel + v * vector.size for pixel in pixels])
    return k


def executed(cols, nv):
    """Places that are computed for a row of so many: the last ones again and again, to fill a tile."""
    many = SUMS // nv
    return -(-cols // many) * many


def _added(k, task, vector, bias, pixels):
    """The sums of some pixels, that begin with the bias."""
    sums = [[k.variable(part) for part in bias] for _ in pixels]
    with k.loop(0, task["n_h"]) as t_h, k.loop(0, task["n_w"]) as t_w:
        tap = k.opaque(t_h * (task["x_h"] + task["w_h"]) + t_w * (task["x_w"] + task["w_w"]))
        for pixel, line in zip(pixels, sums, strict=True):
            for v, variable in enumerate(line):
                variable.set(k.add(variable.get(), k.load(pixel + (tap + v * vector.size), vector)))
    return sums
