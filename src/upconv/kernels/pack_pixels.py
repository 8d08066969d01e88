"""Copies pixels into panels: for each tile of channels, pixel after pixel, a run of `width` channels.

    dst[tile][pixel][0:width]  =  src[pixel, channels of the tile],  zeros beyond the last channel

    src   the channels of a pixel consecutive; images x rows x cols pixels on any strides
    dst   a panel for each tile, its pixels in ascending order

The map is read once and in order, whatever the number of tiles. Whole vectors are written, so what is too much of a
pixel is overwritten by the next one, and a panel needs a vector of room behind it.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple(
    (
        "entry src dst n rows cols src_n src_row src_col dst_n dst_row dst_col tiles tile_channels tile_dst count "
        "groups src_g dst_g"
    ).split()
)
POINTERS = {"src", "dst"}


def pack_pixels(isa: Isa, elem, vectors):
    """The kernel for tiles that are `vectors` vectors wide, the last of which may be cut."""
    k = Builder(f"pack_pixels_{elem}_{vectors}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    size = vector.scalar.size
    task = k.fields(FIELDS, POINTERS)
    # Tiles that may be read in whole vectors without leaving the pixel.
    spare = task["count"] - vectors * vector.lanes
    whole = k.select(k.less(spare, 0), 0, k.imin(task["tiles"], k.divide(spare, task["tile_channels"]) + 1))
    step = task["tile_channels"] * size
    with k.loop(0, task["groups"]) as group, k.loop(0, task["n"]) as n, k.loop(0, task["rows"]) as row:
        src_row = task["src"] + (group * task["src_g"] + n * task["src_n"] + row * task["src_row"])
        dst_row = task["dst"] + (group * task["dst_g"] + n * task["dst_n"] + row * task["dst_row"])
        with k.loop(0, task["cols"]) as col:
            src, dst = src_row + col * task["src_col"], dst_row + col * task["dst_col"]
            with k.loop(0, whole) as tile:
                here, there = src + tile * step, dst + tile * task["tile_dst"]
                for v in range(vectors):
                    k.store(k.load(here + v * vector.size, vector), there + v * vector.size)
            with k.loop(whole, task["tiles"]) as tile:
                here, there = src + tile * step, dst + tile * task["tile_dst"]
                left = task["count"] - tile * task["tile_channels"]
                for v in range(vectors):
                    mask = k.lane_mask(left - v * vector.lanes, vector)
                    k.store(k.load(here + v * vector.size, vector, mask), there + v * vector.size)
    return k
