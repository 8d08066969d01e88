"""Copies a stack of lines, each filled up with zeros: how a channels-last weight becomes a packed panel.

    dst[i, j, 0:count] = src[i, j, 0:count],  dst[i, j, count:pad] = 0

Lines are consecutive in memory; both outer axes have strides of their own.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry src dst n src_n dst_n m src_m dst_m count pad".split())
POINTERS = {"src", "dst"}


def copy(isa: Isa, elem):
    """The kernel for elements of one type."""
    k = Builder(f"copy_{elem}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    whole = task["count"] - k.iand(task["count"], vector.lanes - 1)
    with k.loop(0, task["n"]) as i, k.loop(0, task["m"]) as j:
        src = task["src"] + i * task["src_n"] + j * task["src_m"]
        dst = task["dst"] + i * task["dst_n"] + j * task["dst_m"]
        with k.loop(0, whole, vector.lanes) as start:
            place = start * vector.scalar.size
            k.store(k.load(src + place, vector), dst + place)
        with k.loop(whole, task["pad"], vector.lanes) as start:
            place = start * vector.scalar.size
            line = k.load(src + place, vector, k.lane_mask(task["count"] - start, vector))
            k.store(line, dst + place, k.lane_mask(task["pad"] - start, vector))
    return k
