"""What a pixel of the input meets, in the order of the weight: a line of numbers for each pixel.

dst[v, t_h, t_w]  =  y[v, t_h, t_w] from lo_h to hi_h - 1 and from lo_w to hi_w - 1,  0 elsewhere

y     the columns of a row consecutive; `count` channels `y_c` apart, rows of taps `y_h` apart
dst   written in order, whole vectors at a time: what is too much of a row of taps is overwritten by the next,
      a line needs a vector of room behind it
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry y dst count k_h k_w y_c y_h lo_h hi_h lo_w hi_w".split())
POINTERS = {"y", "dst"}


def pixel_columns(isa: Isa, elem):
    """The kernel for elements of one type."""
    k = Builder(f"pixel_columns_{elem}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    size = vector.scalar.size
    task = k.fields(FIELDS, POINTERS)
    row = task["k_w"] * size
    with k.loop(0, task["count"]) as v, k.loop(0, task["k_h"]) as t_h:
        y, dst = task["y"] + (v * task["y_c"] + t_h * task["y_h"]), task["dst"] + (v * task["k_h"] + t_h) * row
        exists = k.iand(k.less(task["lo_h"] - 1, t_h), k.less(t_h, task["hi_h"]))
        end = k.select(exists, task["hi_w"], 0)
        with k.loop(0, task["k_w"], vector.lanes) as t_w:
            there = k.lane_mask_between(task["lo_w"] - t_w, end - t_w, vector)
            k.store(k.load(y + t_w * size, vector, there), dst + t_w * size)
    return k
