"""What threads share, loops until, and what stands around a kernel; test_language.py has a case of each instruction."""

import re
import threading

import numpy as np
import pytest
from native import IDS, ISAS, interpreted, link, native, words_of

from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import ACQUIRE, ACQUIRE_RELEASE, I32, I64, PTR, RELAXED, RELEASE, Builder
from upconv.codegen.lowering import lower

every_isa = pytest.mark.parametrize("isa", ISAS, ids=IDS)

# What stands around a kernel: two functions and a word.
AROUND = """
@upconv_word = internal global i64 5, align 8
define internal i32 @upconv_sign(i64 %a, ptr %b) nounwind {
  %there = load i64, ptr %b
  %less = icmp slt i64 %a, %there
  %sign = select i1 %less, i32 -1, i32 1
  ret i32 %sign
}
define internal void @upconv_write(i64 %a, ptr %b) nounwind {
  store i64 %a, ptr %b
  ret void
}
"""


@every_isa
@pytest.mark.parametrize(("n", "m"), [(3, 5), (5, -5), (0, 0)])
def test_a_kernel_calls_c_functions_and_knows_symbols(isa, n, m):
    k = Builder(f"around_{isa.name}")
    out, number, limit = k.arguments(PTR, I64, I64)
    k.call_c("upconv_write", None, 7, out + 8)
    k.store(limit, out)
    sign = k.call_c("upconv_sign", I32, number, out)
    with k.when(k.equal(sign, -1)):
        word = k.symbol("upconv_word")
        k.store(number, word)
        k.call_c("upconv_write", None, k.load(word, I64) + 1, out + 8)
    image = llvm.compile_object(AROUND + lower(k, isa), isa)
    received = native(llvm.Linked(k.name, image).function(), [np.zeros(2, np.int64)], [n, m])[0]

    names = {"upconv_word": np.array([5]), "upconv_write": lambda a, b: b.write(np.int64(a))}
    names["upconv_sign"] = lambda a, b: -1 if a < b.read(I64) else 1
    expected = np.zeros(2, np.int64)
    interpret(k, words_of([expected], [n, m]), expected, names=names)
    assert received.tolist() == expected.tolist() == [m, n + 1 if n < m else 7]


def counted_twice(isa):
    """Add 1 so often at two addresses: in one step, and by compare-and-swap until it succeeds."""
    k = Builder(f"counted_twice_{isa.name}")
    out, times = k.arguments(PTR, I64)
    with k.loop(0, times):
        k.fetch_add(out, 1, RELAXED)
        with k.repeat() as leave:
            before = k.load_ordered(out + 64, RELAXED)
            leave(k.compare_and_swap(out + 64, before, before + 1, ACQUIRE_RELEASE))
            k.pause()
    return k


def test_nothing_is_lost_between_threads():
    code, out, times = link(counted_twice(ISAS[0]), ISAS[0]), np.zeros(16, np.int64), 100_000
    job = words_of([out], [times])
    threads = [threading.Thread(target=code, args=(job.ctypes.data,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (out[0], out[8]) == (3 * times, 3 * times)


@pytest.mark.parametrize("method", ["fetch_add", "load_ordered", "store_ordered"])
def test_an_order_that_is_none_is_refused(method):
    k = Builder("order")
    operands = {"fetch_add": (k.argument, 1), "load_ordered": (k.argument,), "store_ordered": (1, k.argument)}[method]
    wrong = {"fetch_add": "sequential", "load_ordered": RELEASE, "store_ordered": ACQUIRE}[method]
    with pytest.raises(ValueError, match=f"'{wrong}' is no memory order here; there is monotonic, "):
        getattr(k, method)(*operands, wrong)


def repeated():
    """Loops that are left at the top, in the middle, from an inner one, and never but by an outer one's condition."""
    k = Builder("repeated")
    out, n, m = k.arguments(PTR, I64, I64)
    total, turns = k.variable(0, I64), k.variable(0, I64)
    with k.repeat() as leave:
        leave(n < turns.get() + 1)
        turns.set(turns.get() + 1)
        inner = k.variable(0, I64)
        with k.repeat() as leave_inner:
            total.set(total.get() + inner.get())
            with k.when(m < total.get()):
                leave(turns.get() > 3)
                total.set(total.get() - 1)
            leave_inner(inner.get() > 2)
            inner.set(inner.get() + 1)
        with k.loop(0, 3) as i, k.when(k.negate(i < 2)):
            total.set(total.get() * 2)
            leave(total.get() > 500)
    k.store(total.get(), out)
    k.store(turns.get(), out + 8)
    return k


def repeated_in_python(n, m):
    total = turns = 0
    while turns < n:
        turns += 1
        inner = 0
        while True:
            total += inner
            if total > m:
                if turns > 3:
                    return total, turns
                total -= 1
            if inner > 2:
                break
            inner += 1
        total *= 2
        if total > 500:
            break
    return total, turns


@every_isa
@pytest.mark.parametrize(("n", "m"), [(0, 9), (1, 0), (3, 4), (9, 1000), (9, 40)])
def test_loops_until(isa, n, m):
    kernel, out = repeated(), np.zeros(2, np.int64)
    for (result,) in (interpreted(kernel, [out], [n, m]), native(link(kernel, isa), [out], [n, m])):
        assert tuple(result) == repeated_in_python(n, m)


@pytest.mark.parametrize("name", ROWS)
def test_the_hint_that_a_thread_waits(name):
    k = Builder("waits")
    k.pause()
    assembly = llvm.assembly(lower(k, ROWS[name]), ROWS[name])
    assert re.search(r"\b(yield|hint\s+#1)\b" if ROWS[name].arch == "aarch64" else r"\bpause\b", assembly)


def test_a_job_that_others_write_to_is_not_promised_to_be_constant():
    texts = [lower(Builder("shared", shares_argument=shares), ROWS["avx2"]) for shares in (False, True)]
    assert ["noalias readonly" in text for text in texts] == [True, False]
