"""Converts lines of halves to float32, or back: how float16 and bfloat16 are read and written.

    dst[i, j, 0:count]  =  src[i, j, 0:count],  rounded to the nearest where dst is the narrower, ties to even

Lines are consecutive in memory; both outer axes have strides of their own. A NaN stays a NaN, what is too large becomes
an infinity, subnormal numbers are kept. The last vector of a line is shifted back, so it writes equal values again; src
and dst are different memory.
"""

from ..codegen.isa import Isa
from ..codegen.lang import Builder, Type

FIELDS = tuple("entry src dst n src_n dst_n m src_m dst_m count".split())
POINTERS = {"src", "dst"}
# Halves by the names of dtypes, as the staged language calls them.
HALF_KINDS = {"float16": "f16", "bfloat16": "bf16"}


def convert(isa: Isa, storage, narrows):
    """The kernel for halves, f16 or bf16; `narrows` is the way from float32."""
    k = Builder(f"{'narrow' if narrows else 'widen'}_{storage}_{isa.name}")
    task, lanes = k.fields(FIELDS, POINTERS), isa.lanes(4)
    change = k.narrow if narrows else k.widen
    src_size, dst_size = (4, 2) if narrows else (2, 4)

    def part(src, dst, at, lanes):
        type = Type("f32" if narrows else "i16", lanes)
        k.store(change(k.load(src + at * src_size, type), storage, isa.halves), dst + at * dst_size)

    count = task["count"]
    rest = k.iand(count, lanes - 1)
    with k.loop(0, task["n"]) as i, k.loop(0, task["m"]) as j:
        src = task["src"] + i * task["src_n"] + j * task["src_m"]
        dst = task["dst"] + i * task["dst_n"] + j * task["dst_m"]
        with k.loop(0, count - rest, lanes) as at:
            part(src, dst, at, lanes)
        with k.when(k.iand(k.less(0, rest), k.less(lanes, count))):
            part(src, dst, count - lanes, lanes)
        with k.when(k.less(count, lanes)), k.loop(0, count) as at:
            part(src, dst, at, 1)
    return k
