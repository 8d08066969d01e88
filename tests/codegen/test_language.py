"""Every instruction of the language does natively what its meaning says, on every instruction set of this machine."""

import ctypes
import itertools
import mmap

import numpy as np
import pytest
from native import IDS, ISAS, interpreted, link, native, words_of

from upconv.codegen.interpreter import interpret
from upconv.codegen.lang import (
    ACQUIRE,
    I64,
    ORDERS,
    PAIRS,
    PTR,
    RELAXED,
    RELEASE,
    SEQUENTIAL,
    Builder,
    Type,
)
from upconv.codegen.primitives import TABLE

every_isa = pytest.mark.parametrize("isa", ISAS, ids=IDS)
NUMBERS = [(0, 0), (3, 5), (-7, 2), (5, 5), (1 << 40, -(1 << 33) + 5), (-20, 0)]
OUTPUT = 1024


def f32(isa):
    return Type("f32", isa.lanes(4))


def case(dtype="<f4", exact=True):
    def mark(function):
        CASES[function.__name__] = (function, dtype, exact)
        return function

    return mark


CASES = {}


def integer(operation):
    """A case of two integers, by name of the Builder's method or by a function."""

    def function(k, isa, p, q, out, n, m):
        result = operation(k, n, m)
        k.store(k.select(result, 1, 0) if result.type.elem == "i1" else result, out)

    return function


for name, operation in {
    "iadd": lambda k, n, m: n + m,
    "isub": lambda k, n, m: n - m,
    "imul": lambda k, n, m: k.imin(n, 1 << 20) * m,
    "imin": lambda k, n, m: k.imin(n, m),
    "imax": lambda k, n, m: k.imax(n, m),
    "iand": lambda k, n, m: k.iand(n, m),
    "shift_right": lambda k, n, m: k.shift_right(n, 3),
    "divide": lambda k, n, m: k.divide(n, k.select(k.equal(m, 0), -7, m)),
    "less": lambda k, n, m: n < m,
    "equal": lambda k, n, m: k.equal(n, m),
    "select": lambda k, n, m: k.select(m > n, n, m + 1),
    "opaque": lambda k, n, m: k.opaque(n) + m,
}.items():
    CASES[name] = (integer(operation), "<i8", True)


def vectors(k, isa, p, q):
    return k.load(p, f32(isa)), k.load(q, f32(isa))


@case()
def add(k, isa, p, q, out, n, m):
    k.store(k.add(*vectors(k, isa, p, q)), out)


@case()
def sub(k, isa, p, q, out, n, m):
    k.store(k.sub(*vectors(k, isa, p, q)), out)


@case("<i8")
def any_nan(k, isa, p, q, out, n, m):
    a, b = vectors(k, isa, p, q)
    for place, value in enumerate((a, b, k.load(p, Type("f64", isa.lanes(8))), k.zero(a.type))):
        k.store(k.select(k.any_nan(value), 1, 0), out + 8 * place)


@case()
def mul(k, isa, p, q, out, n, m):
    k.store(k.mul(*vectors(k, isa, p, q)), out)


@case(exact=False)
def muladd(k, isa, p, q, out, n, m):
    a, b = vectors(k, isa, p, q)
    k.store(k.muladd(a, b, k.splat(1.5, a.type)), out)


@case()
def muladd_pairs(k, isa, p, q, out, n, m):
    """Pairs of bfloat16 of every kind, their products added to sums of every kind."""
    if isa.multiplies_pairs:
        lanes = isa.lanes(4)
        pairs = [k.load(pointer, Type(PAIRS, lanes)) for pointer in (p, q)]
        sums = [k.load(q, f32(isa)), k.zero(f32(isa)), k.load(p + 4 * lanes, f32(isa))]
        for place, value in enumerate(sums):
            k.store(k.muladd(*pairs, value), out + place * 4 * lanes)


@case("<u4")
def pair_bf16(k, isa, p, q, out, n, m):
    halves = Type("i16", isa.lanes(4))
    k.store(k.pair(k.load(p, halves), k.load(q, halves)), out)


@case("<u2")
def narrow_bf16_flushed(k, isa, p, q, out, n, m):
    if isa.multiplies_pairs:
        k.store(k.narrow_flushed(k.load(p, f32(isa))), out)
        k.store(k.narrow_flushed(k.load(q, f32(isa))), out + f32(isa).size)


@case()
def maximum(k, isa, p, q, out, n, m):
    a, b = vectors(k, isa, p, q)
    k.store(k.maximum(a, b), out)
    k.store(k.maximum(b, a), out + a.type.size)
    k.store(k.maximum(a, k.zero(a.type)), out + 2 * a.type.size)


def long(k, isa, p, q):
    """Two vectors of 64-bit integers large enough to wrap around."""
    type = Type("i64", isa.lanes(8))
    return k.load(p, type), k.load(q, type)


@case("<i8")
def wrapping_add(k, isa, p, q, out, n, m):
    k.store(k.add(*long(k, isa, p, q)), out)


@case("<i8")
def wrapping_mul(k, isa, p, q, out, n, m):
    a, b = long(k, isa, p, q)
    k.store(k.muladd(a, b, a), out)


@case()
def splat(k, isa, p, q, out, n, m):
    type = f32(isa)
    k.store(k.splat(k.load(p + 4, Type("f32")), type), out)
    k.store(k.splat(0.1, type), out + type.size)
    k.store(k.splat(float("-inf"), type), out + 2 * type.size)
    k.store(k.zero(type), out + 3 * type.size)


@case()
def shuffle(k, isa, p, q, out, n, m):
    a, b = vectors(k, isa, p, q)
    lanes = a.type.lanes
    k.store(k.shuffle(a, b, [(5 * lane + 1) % (2 * lanes) for lane in range(lanes)]), out)


@case()
def lane_mask(k, isa, p, q, out, n, m):
    a, b = vectors(k, isa, p, q)
    k.store(a, out, k.lane_mask(n, a.type))
    k.store(b, out + a.type.size, k.lane_mask(m, a.type))


@case()
def blend(k, isa, p, q, out, n, m):
    a, b = vectors(k, isa, p, q)
    k.store(k.blend(k.lane_mask(n, a.type), a, b), out)
    k.store(k.blend(k.lane_mask_between(m, n, a.type), b, k.zero(a.type)), out + a.type.size)


def conversion(verb, storage, own):
    """A case of halves: what is no NaN there and back, from bytes that are numbers of every kind."""

    def function(k, isa, p, q, out, n, m):
        for place, source in enumerate((p, q, p + 16)):
            here, size = out + 128 * place, isa.lanes(4)
            if verb == "narrow":
                k.store(k.narrow(k.load(source, f32(isa)), storage, own and isa.halves), here)
                k.store(k.narrow(k.load(source, Type("f32", 1)), storage, own and isa.halves), here + 64)
            else:
                k.store(k.widen(k.load(source, Type("i16", size)), storage, own and isa.halves), here)
                k.store(k.widen(k.load(source, Type("i16", 1)), storage, own and isa.halves), here + 64)

    return function


# Bits of a NaN may differ: see `same`.
for verb, (storage, own) in itertools.product(("widen", "narrow"), (("f16", True), ("f16", False), ("bf16", True))):
    suffix = "" if own else "_by_bits"
    seen = "<f4" if verb == "widen" else {"f16": "<f2", "bf16": "bf16"}[storage]
    CASES[f"{verb}_{storage}{suffix}"] = (conversion(verb, storage, own), seen, True)


def same(bits, dtype):
    """What has to agree, out of bytes: values, those of bfloat16 as float32; every NaN is like any other."""
    values = (bits.view("<u2").astype("<u4") << 16).view("<f4") if dtype == "bf16" else bits.view(dtype)
    if values.dtype.kind != "f":
        return values
    # Which of two zeros it is shows in the sign.
    return np.stack([values, np.where(np.isnan(values), 0, np.copysign(1, values))])


@case("<i8")
def fetch_add(k, isa, p, q, out, n, m):
    k.store(n, out)
    for place in range(1, 4):
        k.store(k.take(out), out + 8 * place)
    for place, order in enumerate(ORDERS, start=4):
        k.store(k.fetch_add(out, m, order), out + 8 * place)


@case("<i8")
def fetch_and(k, isa, p, q, out, n, m):
    k.store(n, out)
    for place, order in enumerate(ORDERS, start=1):
        k.store(k.fetch_and(out, m + place, order), out + 8 * place)


@case("<i8")
def compare_and_swap(k, isa, p, q, out, n, m):
    k.store(n, out)
    for place, order in enumerate(ORDERS, start=1):
        k.store(k.select(k.compare_and_swap(out, n, m + place, order), 1, 0), out + 8 * place)


@case("<i8")
def load_ordered(k, isa, p, q, out, n, m):
    k.store(n, out)
    for place, order in enumerate((RELAXED, ACQUIRE, SEQUENTIAL), start=1):
        k.store(k.load_ordered(out, order) + m, out + 8 * place)


@case("<i8")
def store_ordered(k, isa, p, q, out, n, m):
    for place, order in enumerate((RELAXED, RELEASE, SEQUENTIAL)):
        k.store_ordered(n - place, out + 16 * place, order)


@case("<i8")
def pause(k, isa, p, q, out, n, m):
    k.store(n, out)
    k.pause()
    k.store(k.load(out, I64) + m, out)


@case()
def load(k, isa, p, q, out, n, m):
    k.store(k.load(p + 4, f32(isa)), out)
    k.store(k.load(q + 8, Type("f64")), out + f32(isa).size)


@case()
def store(k, isa, p, q, out, n, m):
    k.store(k.load(p, Type("f32")), out + 4)
    k.store(k.load(q, f32(isa)), out + 12)
    k.store(7, out + 128)


@case()
def load_masked(k, isa, p, q, out, n, m):
    k.store(k.load(p, f32(isa), k.lane_mask(n, f32(isa))), out)
    double = Type("f64", isa.lanes(8))
    k.store(k.load(p, double, k.lane_mask(m, double)), out + f32(isa).size)


@case()
def store_masked(k, isa, p, q, out, n, m):
    k.store(k.load(p, f32(isa)), out, k.lane_mask(n, f32(isa)))


@case()
def store_strided(k, isa, p, q, out, n, m):
    k.store_strided(k.load(p, f32(isa)), out, 12, k.lane_mask(m, f32(isa)))
    k.store_strided(k.load(q, f32(isa)), out + 4, 12, k.lane_mask(m, f32(isa)))


@case("<f8")
def extend(k, isa, p, q, out, n, m):
    k.store(k.extend(k.load(p, Type("f32", isa.lanes(8))), Type("f64", isa.lanes(8))), out)


@case()
def offset(k, isa, p, q, out, n, m):
    k.store(k.load(p + 8 + 4, Type("f32")), out + k.iand(n, 15) * 4)


@case()
def prefetch(k, isa, p, q, out, n, m):
    k.prefetch(p + n * 4096)
    k.prefetch(out, write=True)
    k.prefetch(q + m, locality=2)
    k.store(k.load(p, Type("f32")), out)


def kernel_of(body, isa):
    k = Builder(f"tested_{isa.name}")
    body(k, isa, *k.arguments(PTR, PTR, PTR, I64, I64))
    return k


def operands():
    """Bytes that are numbers of every kind: special values of float32 and float16, and random bits."""
    rng = np.random.default_rng(1)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -2.5, 1.00390625, 1.01171875]
    special += [65504, 65520, 1e-8, 6e-8, 3.4028235e38]
    p = np.concatenate([np.array(special, "<f4"), rng.standard_normal(50).astype("<f4")])
    q = rng.permutation(p)
    bits = rng.integers(0, 1 << 32, 64, dtype=np.uint32)
    return [(p, q), (bits, rng.permutation(bits)), (bits.view("<f4") * 0 + 1, p)]


def test_every_instruction_has_a_case():
    assert set(CASES) == set(TABLE) - {"call", "call_c", "symbol"}


@every_isa
@pytest.mark.parametrize("name", CASES)
def test_native_code_does_what_the_meaning_says(name, isa):
    body, dtype, exact = CASES[name]
    kernel = kernel_of(body, isa)
    code = link(kernel, isa)
    for p, q in operands():
        for numbers in NUMBERS:
            arrays = [p, q, np.full(OUTPUT, 0xA5, np.uint8)]
            expected = same(interpreted(kernel, arrays, numbers)[2], dtype)
            received = same(native(code, arrays, numbers)[2], dtype)
            if exact:
                np.testing.assert_array_equal(received, expected)
            else:
                np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


@every_isa
def test_a_kernel_calls_another(isa):
    inner, outer = Builder(f"inner_{isa.name}"), Builder(f"outer_{isa.name}")
    (place,) = inner.arguments(PTR)
    inner.store(inner.load(place, I64) + 5, place)
    entry, argument = outer.arguments(PTR, PTR)
    outer.call(entry, argument)
    outer.call(entry, argument)
    code, counter = link(inner, isa), np.array([3], np.int64)
    inner_words = words_of([counter])
    words = np.array([ctypes.cast(code, ctypes.c_void_p).value, inner_words.ctypes.data], np.int64)
    interpret(outer, words)
    assert counter[0] == 13
    link(outer, isa)(words.ctypes.data)
    assert counter[0] == 23


def control():
    """Loops in loops, branches, and variables of both kinds that are set in them and read before, within and after."""
    k = Builder("control")
    out, n, m = k.arguments(PTR, I64, I64)
    total, last, scale = k.variable(7, I64), k.variable(-1, I64), k.variable(0.5, Type("f64"))
    with k.loop(0, n) as i:
        with k.loop(i, m, 3) as j:
            before = total.get()
            total.set(before + i * j)
            with k.when(k.less(5, j)):
                total.set(total.get() - before)
                last.set(j)
            with k.when(k.equal(i, 2)), k.loop(0, 2):
                scale.set(k.mul(scale.get(), k.add(scale.get(), 1.25)))
        total.set(total.get() + last.get())
    k.store(total.get(), out)
    k.store(last.get(), out + 8)
    k.store(scale.get(), out + 16)
    return k


def control_in_python(n, m):
    total, last, scale = 7, -1, 0.5
    for i in range(n):
        for j in range(i, m, 3):
            before = total
            total += i * j
            if j > 5:
                total -= before
                last = j
            if i == 2:
                for _ in range(2):
                    scale = scale * (scale + 1.25)
        total += last
    return total, last, scale


@every_isa
@pytest.mark.parametrize(("n", "m"), [(0, 9), (4, 9), (1, 0), (5, 4), (3, 17)])
def test_loops_branches_and_variables(isa, n, m):
    kernel, out = control(), np.zeros(3, np.int64)
    for (result,) in (interpreted(kernel, [out], [n, m]), native(link(kernel, isa), [out], [n, m])):
        assert (*result[:2], result[2:].view(np.float64)[0]) == control_in_python(n, m)


@every_isa
@pytest.mark.parametrize("elem", ["f32", "f64", "i64"])
def test_masked_access_next_to_memory_that_must_not_be_touched(isa, elem):
    """The first lanes of a vector, ending at a page that may not be read, and starting at one."""
    type = Type(elem, isa.lanes(8))
    k = Builder(f"guarded_{isa.name}")
    source, target, n = k.arguments(PTR, PTR, I64)
    k.store(k.load(source, type, k.lane_mask(n, type)), target, k.lane_mask(n, type))
    code, (start, end) = link(k, isa), guarded()
    ctypes.memset(start, 0x11, end - start)
    for n in range(type.lanes):
        size = n * type.scalar.size
        for source, target in [(start, end - size), (end - size, start)]:
            job = np.array([source, target, n], np.int64)
            code(job.ctypes.data)


def guarded():
    """The addresses of a page between two that may not be touched."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    KEPT.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    assert protect(start, page, 0) == 0
    assert protect(start + 2 * page, page, 0) == 0
    return start + page, start + 2 * page


KEPT = []


@pytest.mark.parametrize("beyond", [0, 4])
@pytest.mark.parametrize("writes", [False, True])
def test_the_interpreter_finds_access_beyond_an_array(writes, beyond):
    k = Builder("beyond")
    source, target = k.arguments(PTR, PTR)
    type = Type("f32", 4)
    value = k.load(source + (0 if writes else beyond), type)
    k.store(value, target + (beyond if writes else 0))
    arrays = [np.zeros(4, np.float32), np.zeros(4, np.float32)]
    if beyond:
        with pytest.raises(IndexError, match="16 bytes"):
            interpreted(k, arrays)
    else:
        interpreted(k, arrays)


def test_the_interpreter_keeps_to_read_only_arrays():
    k = Builder("read_only")
    (target,) = k.arguments(PTR)
    k.store(1, target)
    target = np.zeros(1, np.int64)
    target.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        interpret(k, words_of([target]), target)
