"""Copies rows of pixels into strips: one vector of columns of every channel, so that a product reads them in order.

    dst[row][vector][channel][lane]  =  src[channel, row, the vector's first column + lane]

    src   the pixels of a row consecutive, at least a vector of them; channels `src_c` apart
    dst   vectors `dst_v` apart, an odd number of cache lines, so that those of a row do not share a set of the cache

The last vector of a row is shifted back to end with it.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry src dst n rows c cols src_n src_row src_c dst_n dst_row dst_v".split())
POINTERS = {"src", "dst"}
# A row is prefetched so many channels before it is read.
AHEAD = 4


def pack_strips(isa: Isa, elem):
    """The kernel for elements of one type."""
    k = Builder(f"pack_strips_{elem}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    last, size = task["cols"] - vector.lanes, vector.scalar.size
    with k.loop(0, task["n"]) as n, k.loop(0, task["rows"]) as row, k.loop(0, task["c"]) as c:
        src = task["src"] + (n * task["src_n"] + row * task["src_row"]) + c * task["src_c"]
        dst = task["dst"] + (n * task["dst_n"] + row * task["dst_row"]) + c * vector.size
        with k.loop(0, task["cols"], LINE // size) as col:
            k.prefetch(src + (task["src_c"] * AHEAD + col * size))
        with k.loop(0, task["cols"], vector.lanes) as col:
            there = dst + k.shift_right(col, vector.lanes.bit_length() - 1) * task["dst_v"]
            k.store(k.load(src + k.imin(col, last) * size, vector), there)
    return k
