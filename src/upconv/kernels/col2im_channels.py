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
from ..codegen.lang import I64, PTR, SIZES, Builder, Type
from .epilogue import Epilogue, suffix

# Sums at once, of pixels and vectors together.
SUMS = 8
MOST_VECTORS = 4
# A row of y is asked for while the one so many rows above it is written.
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
    job = dict(zip(FIELDS, k.words(*(PTR if name in POINTERS else I64 for name in FIELDS)), strict=True))
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"))
    bias = [k.load(job["bias"] + v * vector.size, vector) for v in range(nv)]
    starts = [v * vector.lanes for v in range(nv)]
    masks = [k.between(job["first_column"] - start, job["columns"] - start, vector) for start in starts]
    many, x = SUMS // nv, job["x"] + job["w"]
    with k.loop(0, job["n"]) as n, k.loop(0, job["rows"]) as row:
        source = x + k.opaque(n * job["x_n"] + row * job["x_row"])
        result = job["y"] + k.opaque(n * job["y_n"] + row * job["y_row"])
        with k.loop(0, job["cols"], many) as col:
            places = [k.imin(col + number, job["cols"] - 1) for number in range(many)]
            sums = _added(k, job, vector, bias, [source + place * job["x_col"] for place in places])
            for place, line in zip(places, sums, strict=True):
                k.prefetch(result + (place * job["y_col"] + job["y_row"] * AHEAD), write=True)
                for v, variable in enumerate(line):
                    value = epilogue(variable.get())
                    k.store(value, result + (place * job["y_col"] + v * vector.size), masks[v])
    return k


def _added(k, job, vector, bias, pixels):
    """The sums of some pixels, that begin with the bias."""
    sums = [[k.variable(part) for part in bias] for _ in pixels]
    with k.loop(0, job["n_h"]) as t_h, k.loop(0, job["n_w"]) as t_w:
        tap = k.opaque(t_h * (job["x_h"] + job["w_h"]) + t_w * (job["x_w"] + job["w_w"]))
        for pixel, line in zip(pixels, sums, strict=True):
            for v, variable in enumerate(line):
                variable.set(k.add(variable.get(), k.load(pixel + (tap + v * vector.size), vector)))
    return sums
