"""Copies a stack of lines, each filled up with zeros: how a channels-last weight becomes a packed panel.

    dst[i, j, 0:count] = src[i, j, 0:count],  dst[i, j, count:pad] = 0

Lines are consecutive in memory; both outer axes have strides of their own.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, SIZES, Builder, Type

FIELDS = tuple("entry src dst n src_n dst_n m src_m dst_m count pad".split())
POINTERS = {"src", "dst"}


def copy(isa: Isa, elem):
    """The kernel for elements of one type."""
    k = Builder(f"copy_{elem}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    job = dict(zip(FIELDS, k.words(*(PTR if word in POINTERS else I64 for word in FIELDS)), strict=True))
    whole = job["count"] - k.iand(job["count"], vector.lanes - 1)
    with k.loop(0, job["n"]) as i, k.loop(0, job["m"]) as j:
        src = job["src"] + i * job["src_n"] + j * job["src_m"]
        dst = job["dst"] + i * job["dst_n"] + j * job["dst_m"]
        with k.loop(0, whole, vector.lanes) as start:
            place = start * vector.scalar.size
            k.store(k.load(src + place, vector), dst + place)
        with k.loop(whole, job["pad"], vector.lanes) as start:
            place = start * vector.scalar.size
            line = k.load(src + place, vector, k.first(job["count"] - start, vector))
            k.store(line, dst + place, k.first(job["pad"] - start, vector))
    return k
