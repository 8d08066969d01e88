"""Copies a stack of lines, each filled up with zeros: how a channels-last weight becomes a packed panel.

    dst[i, j, 0:count] = src[i, j, 0:count],  dst[i, j, count:pad] = 0

Lines are consecutive in memory; both outer axes have strides of their own. The source may be one of halves, which
become float32, or one of numbers of bfloat16, which become pairs: the second ones lie `apart` bytes behind the first.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type
from .stored import Stored

FIELDS = tuple("entry src dst n src_n dst_n m src_m dst_m count pad apart".split())
POINTERS = {"src", "dst"}


def copy(isa: Isa, elem, reads=""):
    """The kernel for elements of one type; `reads` is the kind of halves that the source is: f16, bf16 or PAIRS."""
    k = Builder("_".join(filter(None, ("copy", elem, reads and f"of_{reads}", isa.name))))
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    source = Stored(k, isa, vector, reads, task["apart"])
    whole = task["count"] - k.iand(task["count"], vector.lanes - 1)
    with k.loop(0, task["n"]) as i, k.loop(0, task["m"]) as j:
        src = task["src"] + i * task["src_n"] + j * task["src_m"]
        dst = task["dst"] + i * task["dst_n"] + j * task["dst_m"]
        with k.loop(0, whole, vector.lanes) as start:
            k.store(source.load(src + start * source.size), dst + start * vector.scalar.size)
        with k.loop(whole, task["pad"], vector.lanes) as start:
            line = source.load(src + start * source.size, k.lane_mask(task["count"] - start, vector))
            k.store(line, dst + start * vector.scalar.size, k.lane_mask(task["pad"] - start, vector))
    return k
