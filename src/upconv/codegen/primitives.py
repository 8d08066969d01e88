"""The instructions of the staged language: each is its lowering to LLVM and its meaning in NumPy, side by side.

In a lowering, {r} is the result, {0} {1} ... the operands, {T} the type of the result, {T0} {T1} ... of the operands,
{m} and {m0} the same types as the names of intrinsics spell them (v16f32), {E} the type of one lane of the result, {L}
and {L0} numbers of lanes, {twice} twice as many, {bits} their bits where each has 32, {M} the type of a mask of the
result, {a} and {a0} the bytes of one element in memory, {iota} the numbers 0, 1, 2 ... of as many lanes. {arguments}
are all operands with their types, {to} is "{r} = " or nothing where there is no result, {pause} the hint of the
architecture. Further braces are attributes of the instruction, or `constants` of the primitive: a vector of i32 each,
with as many lanes.

In a meaning, integers are Python ints, floating-point scalars and vectors are NumPy values, masks are arrays of bool,
pointers are `interpreter.Pointer`s. A meaning that is `typed` is
also told the type of the result.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .lang import Type


@dataclass(frozen=True, slots=True)
class Primitive:
    """One instruction: `lowering` is a template of LLVM IR, `meaning` a function of its operands' values."""

    name: str
    lowering: str
    meaning: Callable
    typed: bool = False
    constants: tuple[tuple[str, int], ...] = ()


# 64-bit integers: sizes, strides, counters, and the pointers they move.
INTEGERS = (
    Primitive("iadd", "{r} = add nsw i64 {0}, {1}", lambda a, b: a + b),
    Primitive("isub", "{r} = sub nsw i64 {0}, {1}", lambda a, b: a - b),
    Primitive("imul", "{r} = mul nsw i64 {0}, {1}", lambda a, b: a * b),
    Primitive("imin", "{r} = call i64 @llvm.smin.i64(i64 {0}, i64 {1})", min),
    Primitive("imax", "{r} = call i64 @llvm.smax.i64(i64 {0}, i64 {1})", max),
    Primitive("iand", "{r} = and {T} {0}, {1}", lambda a, b: a & b),
    Primitive("shift_right", "{r} = ashr i64 {0}, {1}", lambda a, b: a >> b),
    Primitive("divide", "{r} = sdiv i64 {0}, {1}", lambda a, b: abs(a) // abs(b) * (1 if a * b >= 0 else -1)),
    Primitive("less", "{r} = icmp slt i64 {0}, {1}", lambda a, b: a < b),
    Primitive("equal", "{r} = icmp eq {T0} {0}, {1}", lambda a, b: a == b),
    Primitive("select", "{r} = select i1 {0}, {T} {1}, {T} {2}", lambda c, a, b: a if c else b),
    Primitive("offset", "{r} = getelementptr i8, ptr {0}, i64 {1}", lambda p, b: p.offset(b)),
    # LLVM looks long for a cheaper way to address many pointers that move together, and finds the first way again. A
    # number that it knows nothing about ends the search: half the time of compiling a tile.
    Primitive("opaque", '{r} = call i64 asm "", "=r,0"(i64 {0})', lambda a: a),
    # Another kernel, on an argument of its own.
    Primitive("call", "call void {0}(ptr {1})", lambda entry, argument: entry.call(argument)),
)


def _muladd_pairs(a, b, c):
    for shift in (0, 16):
        first, second = (_flushed(((each << shift) & np.uint32(0xFFFF0000)).view(np.float32)) for each in (a, b))
        # Products and all but the rarest of sums are exact as float64, and so are rounded once.
        c = _flushed((_flushed(c).astype(np.float64) + first.astype(np.float64) * second).astype(np.float32))
    return c


def _flushed(a):
    """Zeros of the same sign for what is subnormal."""
    return np.where(np.abs(a) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), a), a)


# Arithmetic of scalars and vectors; nothing may be reordered.
ARITHMETIC = (
    Primitive("add", "{r} = fadd {T} {0}, {1}", lambda a, b: a + b),
    Primitive("sub", "{r} = fsub {T} {0}, {1}", lambda a, b: a - b),
    Primitive("mul", "{r} = fmul {T} {0}, {1}", lambda a, b: a * b),
    # Fused where the machine can, two roundings where it cannot; never a call into a library.
    Primitive("muladd", "{r} = call {T} @llvm.fmuladd.{m}({T} {0}, {T} {1}, {T} {2})", lambda a, b, c: a * b + c),
    # Pairs of bfloat16, whose products are exact. What is subnormal counts as zero, before and after each of two sums.
    Primitive(
        "muladd_pairs",
        "{r}.a = bitcast {T0} {0} to <{twice} x bfloat>\n"
        "{r}.b = bitcast {T1} {1} to <{twice} x bfloat>\n"
        "{r} = call {T} @llvm.x86.avx512bf16.dpbf16ps.{bits}"
        "({T} {2}, <{twice} x bfloat> {r}.a, <{twice} x bfloat> {r}.b)",
        _muladd_pairs,
    ),
    # b where a < b: a NaN in a stays.
    Primitive(
        "maximum",
        "{r}.c = fcmp olt {T} {0}, {1}\n{r} = select {M} {r}.c, {T} {1}, {T} {0}",
        lambda a, b: np.where(a < b, b, a),
    ),
    # float32 as float64, exactly.
    Primitive("extend", "{r} = fpext {T0} {0} to {T}", lambda a: a.astype(np.float64)),
    # Whether any lane is NaN.
    Primitive(
        "any_nan",
        "{r}.u = fcmp uno {T0} {0}, {0}\n{r} = call i1 @llvm.vector.reduce.or.v{L0}i1(<{L0} x i1> {r}.u)",
        lambda a: bool(np.isnan(a).any()),
    ),
    # Data that are integers wrap around, as NumPy's do.
    Primitive("wrapping_add", "{r} = add {T} {0}, {1}", lambda a, b: a + b),
    Primitive("wrapping_mul", "{r} = mul {T} {0}, {1}", lambda a, b: a * b),
)


def _signed(bits):
    return bits - (1 << 32) if bits >> 31 else bits


def _narrowed_bf16(a):
    bits = a.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(a), bits >> 16 | 0x40, rounded).astype(np.uint16)


# Halves, which lie in memory as i16, and the f32 in which they are computed with. Only f16 has instructions, and not
# everywhere: without them LLVM would call a library. By bits, the exponent is moved to where it belongs; what is
# subnormal as a half goes through a sum with a power of two whose last place is theirs, which rounds it as well.
HALVES = (
    Primitive(
        "widen_f16",
        "{r}.h = bitcast {T0} {0} to <{L} x half>\n{r} = fpext <{L} x half> {r}.h to {T}",
        lambda a: a.view(np.float16).astype(np.float32),
    ),
    Primitive(
        "narrow_f16",
        "{r}.h = fptrunc {T0} {0} to <{L} x half>\n{r} = bitcast <{L} x half> {r}.h to {T}",
        lambda a: a.astype(np.float16).view(np.uint16),
    ),
    Primitive(
        "widen_f16_by_bits",
        "{r}.w = zext {T0} {0} to <{L} x i32>\n"
        "{r}.a = and <{L} x i32> {r}.w, {magnitude}\n"
        "{r}.b = shl <{L} x i32> {r}.a, {thirteen}\n"
        "{r}.e = and <{L} x i32> {r}.b, {exponent}\n"
        "{r}.n = add <{L} x i32> {r}.b, {bias}\n"
        "{r}.x = add <{L} x i32> {r}.n, {bias}\n"
        "{r}.y = add <{L} x i32> {r}.n, {step}\n"
        "{r}.f = bitcast <{L} x i32> {r}.y to {T}\n"
        "{r}.t = bitcast <{L} x i32> {least} to {T}\n"
        "{r}.d = fsub {T} {r}.f, {r}.t\n"
        "{r}.z = bitcast {T} {r}.d to <{L} x i32>\n"
        "{r}.p = icmp eq <{L} x i32> {r}.e, {exponent}\n"
        "{r}.q = icmp eq <{L} x i32> {r}.e, zeroinitializer\n"
        "{r}.u = select {M} {r}.p, <{L} x i32> {r}.x, <{L} x i32> {r}.n\n"
        "{r}.v = select {M} {r}.q, <{L} x i32> {r}.z, <{L} x i32> {r}.u\n"
        "{r}.s = and <{L} x i32> {r}.w, {sign}\n"
        "{r}.g = shl <{L} x i32> {r}.s, {sixteen}\n"
        "{r}.o = or <{L} x i32> {r}.v, {r}.g\n"
        "{r} = bitcast <{L} x i32> {r}.o to {T}",
        lambda a: a.view(np.float16).astype(np.float32),
        constants=(
            ("magnitude", 0x7FFF),
            ("sign", 0x8000),
            ("thirteen", 13),
            ("sixteen", 16),
            ("exponent", 0x1F << 23),
            ("bias", (127 - 15) << 23),
            ("step", 1 << 23),
            ("least", (127 - 14) << 23),
        ),
    ),
    Primitive(
        "narrow_f16_by_bits",
        "{r}.f = bitcast {T0} {0} to <{L} x i32>\n"
        "{r}.s = and <{L} x i32> {r}.f, {sign}\n"
        "{r}.a = xor <{L} x i32> {r}.f, {r}.s\n"
        "{r}.m = bitcast <{L} x i32> {r}.a to {T0}\n"
        "{r}.t = bitcast <{L} x i32> {half} to {T0}\n"
        "{r}.d = fadd {T0} {r}.m, {r}.t\n"
        "{r}.e = bitcast {T0} {r}.d to <{L} x i32>\n"
        "{r}.y = sub <{L} x i32> {r}.e, {half}\n"
        "{r}.b = lshr <{L} x i32> {r}.a, {thirteen}\n"
        "{r}.o = and <{L} x i32> {r}.b, {one}\n"
        "{r}.c = add <{L} x i32> {r}.a, {rounding}\n"
        "{r}.g = add <{L} x i32> {r}.c, {r}.o\n"
        "{r}.n = lshr <{L} x i32> {r}.g, {thirteen}\n"
        "{r}.p = icmp slt <{L} x i32> {r}.a, {least}\n"
        "{r}.q = icmp sgt <{L} x i32> {r}.a, {most}\n"
        "{r}.i = icmp sgt <{L} x i32> {r}.a, {infinity}\n"
        "{r}.j = select <{L} x i1> {r}.i, <{L} x i32> {nan}, <{L} x i32> {infinite}\n"
        "{r}.k = select <{L} x i1> {r}.p, <{L} x i32> {r}.y, <{L} x i32> {r}.n\n"
        "{r}.l = select <{L} x i1> {r}.q, <{L} x i32> {r}.j, <{L} x i32> {r}.k\n"
        "{r}.h = lshr <{L} x i32> {r}.s, {sixteen}\n"
        "{r}.w = or <{L} x i32> {r}.l, {r}.h\n"
        "{r} = trunc <{L} x i32> {r}.w to {T}",
        lambda a: a.astype(np.float16).view(np.uint16),
        constants=(
            ("sign", _signed(1 << 31)),
            ("half", (127 - 1) << 23),
            ("thirteen", 13),
            ("sixteen", 16),
            ("one", 1),
            ("rounding", _signed(((15 - 127) << 23) + 0xFFF & 0xFFFFFFFF)),
            ("least", (127 - 14) << 23),
            ("most", ((127 + 16) << 23) - 1),
            ("infinity", 255 << 23),
            ("infinite", 0x7C00),
            ("nan", 0x7E00),
        ),
    ),
    Primitive(
        "widen_bf16",
        "{r}.w = zext {T0} {0} to <{L} x i32>\n"
        "{r}.s = shl <{L} x i32> {r}.w, {sixteen}\n"
        "{r} = bitcast <{L} x i32> {r}.s to {T}",
        lambda a: (a.astype(np.uint32) << 16).view(np.float32),
        constants=(("sixteen", 16),),
    ),
    Primitive(
        "pair_bf16",
        "{r}.a = zext {T0} {0} to <{L} x i32>\n"
        "{r}.b = zext {T0} {1} to <{L} x i32>\n"
        "{r}.s = shl <{L} x i32> {r}.b, {sixteen}\n"
        "{r}.o = or <{L} x i32> {r}.a, {r}.s\n"
        "{r} = bitcast <{L} x i32> {r}.o to {T}",
        lambda a, b: (a.astype(np.uint32) | b.astype(np.uint32) << 16).view(np.float32),
        constants=(("sixteen", 16),),
    ),
    Primitive(
        "narrow_bf16",
        "{r}.f = bitcast {T0} {0} to <{L} x i32>\n"
        "{r}.a = and <{L} x i32> {r}.f, {magnitude}\n"
        "{r}.h = lshr <{L} x i32> {r}.f, {sixteen}\n"
        "{r}.o = and <{L} x i32> {r}.h, {one}\n"
        "{r}.c = add <{L} x i32> {r}.f, {rounding}\n"
        "{r}.g = add <{L} x i32> {r}.c, {r}.o\n"
        "{r}.n = lshr <{L} x i32> {r}.g, {sixteen}\n"
        "{r}.q = or <{L} x i32> {r}.h, {quiet}\n"
        "{r}.i = icmp sgt <{L} x i32> {r}.a, {infinity}\n"
        "{r}.w = select <{L} x i1> {r}.i, <{L} x i32> {r}.q, <{L} x i32> {r}.n\n"
        "{r} = trunc <{L} x i32> {r}.w to {T}",
        _narrowed_bf16,
        constants=(
            ("magnitude", (1 << 31) - 1),
            ("sixteen", 16),
            ("one", 1),
            ("rounding", 0x7FFF),
            ("quiet", 0x40),
            ("infinity", 255 << 23),
        ),
    ),
)


def _narrowed_flushed(a):
    return _narrowed_bf16(_flushed(a))


# By the instruction of machines that multiply pairs of bfloat16: what is subnormal becomes a zero.
HALVES += (
    Primitive(
        "narrow_bf16_flushed",
        "{r}.h = call <{L} x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.{bits}({T0} {0})\n"
        "{r} = bitcast <{L} x bfloat> {r}.h to {T}",
        _narrowed_flushed,
    ),
)

# Lanes.
LANES = (
    Primitive(
        "splat",
        "{r}.0 = insertelement {T} poison, {E} {0}, i64 0\n"
        "{r} = shufflevector {T} {r}.0, {T} poison, <{L} x i32> zeroinitializer",
        lambda a, type: np.full(type.lanes, a),
        typed=True,
    ),
    Primitive(
        "shuffle",
        "{r} = shufflevector {T0} {0}, {T0} {1}, <{L} x i32> {indices}",
        lambda a, b, *, indices: np.concatenate((a, b))[list(indices)],
    ),
    Primitive(
        "lane_mask",
        "{r}.n = trunc i64 {0} to i32\n"
        "{r}.0 = insertelement <{L} x i32> poison, i32 {r}.n, i64 0\n"
        "{r}.s = shufflevector <{L} x i32> {r}.0, <{L} x i32> poison, <{L} x i32> zeroinitializer\n"
        "{r} = icmp sgt <{L} x i32> {r}.s, {iota}",
        lambda n, type: np.arange(type.lanes) < n,
        typed=True,
    ),
    # Lane by lane.
    Primitive("blend", "{r} = select {T0} {0}, {T} {1}, {T} {2}", lambda mask, a, b: np.where(mask, a, b)),
)


def _fetch(change):
    """The meaning of reading a number and writing another in its place, in one step."""

    def meaning(p, operand, type, order):
        number = p.read(type)
        p.write(np.int64(change(number, operand)))
        return number

    return meaning


def _compare_and_swap(p, old, new, order):
    same = p.read(Type("i64")) == old
    if same:
        p.write(np.int64(new))
    return same


# Memory. A vector needs no more alignment than its elements.
MEMORY = (
    Primitive("load", "{r} = load {T}, ptr {0}, align {a}", lambda p, type: p.read(type), typed=True),
    Primitive("store", "store {T0} {0}, ptr {1}, align {a0}", lambda v, p: p.write(v)),
    Primitive(
        "load_masked",
        "{r} = call {T} @llvm.masked.load.{m}.p0(ptr {0}, i32 {a}, {T1} {1}, {T} zeroinitializer)",
        lambda p, mask, type: p.read(type, mask),
        typed=True,
    ),
    Primitive(
        "store_masked",
        "call void @llvm.masked.store.{m0}.p0({T0} {0}, ptr {1}, i32 {a0}, {T2} {2})",
        lambda v, p, mask: p.write(v, mask),
    ),
    Primitive(
        "store_strided",
        "{r}.0 = insertelement <{L0} x i64> poison, i64 {2}, i64 0\n"
        "{r}.s = shufflevector <{L0} x i64> {r}.0, <{L0} x i64> poison, <{L0} x i32> zeroinitializer\n"
        "{r}.o = mul nsw <{L0} x i64> {r}.s, {iota64}\n"
        "{r}.p = getelementptr i8, ptr {1}, <{L0} x i64> {r}.o\n"
        "call void @llvm.masked.scatter.{m0}.v{L0}p0({T0} {0}, <{L0} x ptr> {r}.p, i32 {a0}, {T3} {3})",
        lambda v, p, stride, mask: p.write(v, mask, stride),
    ),
    # A hint; it may point anywhere.
    Primitive(
        "prefetch",
        "call void @llvm.prefetch.p0(ptr {0}, i32 {write}, i32 {locality}, i32 1)",
        lambda p, *, write, locality: None,
    ),
)

# What threads share: words of 64 bits. Each is one step to the others; its meaning does not depend on the order, which
# says what of the steps before and after it the others see with it.
ATOMIC = (
    Primitive("fetch_add", "{r} = atomicrmw add ptr {0}, i64 {1} {order}", _fetch(lambda a, b: a + b), typed=True),
    Primitive("fetch_and", "{r} = atomicrmw and ptr {0}, i64 {1} {order}", _fetch(lambda a, b: a & b), typed=True),
    Primitive(
        "compare_and_swap",
        "{r}.s = cmpxchg ptr {0}, i64 {1}, i64 {2} {order} monotonic\n{r} = extractvalue {{{{ i64, i1 }}}} {r}.s, 1",
        _compare_and_swap,
    ),
    Primitive(
        "load_ordered",
        "{r} = load atomic i64, ptr {0} {order}, align 8",
        lambda p, type, order: p.read(type),
        typed=True,
    ),
    Primitive(
        "store_ordered",
        "store atomic i64 {0}, ptr {1} {order}, align 8",
        lambda v, p, order: p.write(np.int64(v)),
    ),
    Primitive("pause", "call void {pause}", lambda: None),
)

# What the module around a kernel has: whoever lowers it adds the text, whoever interprets it says what the name means.
OUTSIDE = (
    Primitive("call_c", "{to}call {T} @{name}({arguments})", lambda *operands, name: name(*operands)),
    Primitive("symbol", "{r} = getelementptr i8, ptr @{name}, i64 0", lambda *, name: name),
)

TABLE = {
    primitive.name: primitive for primitive in (*INTEGERS, *ARITHMETIC, *HALVES, *LANES, *MEMORY, *ATOMIC, *OUTSIDE)
}
