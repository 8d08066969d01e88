"""The floating-point state of threads: every call computes under the default one, and leaves each as it was."""

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest
from children import script

import upconv
from upconv.codegen import isa as isas
from upconv.codegen.lang import PTR, Builder, Type
from upconv.codegen.lowering import ARITHMETIC, lower
from upconv.kernels.execute import execute
from upconv.runtime import kernel, pool, program

# How a thread's state is read and set, and the states to try: everything that may change a bit of a result.
STATES = {
    "x86_64": (
        """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @state(ptr %set, ptr %got) nounwind {
  call void @llvm.x86.sse.stmxcsr(ptr %got)
  %any = icmp ne ptr %set, null
  br i1 %any, label %change, label %end
change:
  call void @llvm.x86.sse.ldmxcsr(ptr %set)
  br label %end
end:
  ret void
}
""",
        {
            "flush": 0x1F80 | 0x8000,
            "flush both": 0x1F80 | 0x8040,
            "upwards": 0x1F80 | 0x4000,
            "to zero": 0x1F80 | 0x6000,
        },
    ),
    "aarch64": (
        """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define void @state(ptr %set, ptr %got) nounwind {
  %now = call i64 @llvm.aarch64.get.fpcr()
  store i64 %now, ptr %got
  %any = icmp ne ptr %set, null
  br i1 %any, label %change, label %end
change:
  %new = load i64, ptr %set
  call void @llvm.aarch64.set.fpcr(i64 %new)
  br label %end
end:
  ret void
}
""",
        {"flush": 1 << 24, "flush both": 1 << 24 | 1 << 19, "upwards": 1 << 22, "to zero": 3 << 22},
    ),
}
TEXT, CHANGED = STATES.get(kernel.isa().arch, ("", {}))
pytestmark = pytest.mark.skipif(not TEXT, reason="not known how this architecture's threads are set")
# (batch, size): predicted under 50 us and so in one call, and large enough for a piece for each thread. Larger ones
# would take seconds, since processors are slow at subnormal numbers.
BATCHES = {"brief": (1, 6), "pooled": (2, 32)}


def state(new=None):
    """This thread's floating-point state, after which it may be another; sticky flags left out."""
    got, address = ctypes.c_uint64(), kernel.link("state", TEXT).address
    function = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)
    function(None if new is None else ctypes.byref(ctypes.c_uint64(new)), ctypes.byref(got))
    return got.value & ~0x3F if kernel.isa().arch == "x86_64" else got.value


def layer(batch, size):
    """Operands whose products are subnormal numbers of float32, and whose sums are inexact; the same of the result."""
    rng = np.random.default_rng(0)
    shapes = (batch, 16, size, size), (16, 16, 4, 4), (batch, 16, 2 * size, 2 * size)
    return tuple((rng.standard_normal(shape) * 1e-20).astype(np.float32) for shape in shapes)


def results(x, w, grad_y):
    """The bits of the three operations."""
    y = upconv.conv_transpose2d(x, w, stride=2, padding=1)
    both = upconv.grad.conv_transpose2d_backward(grad_y, x, w, stride=2, padding=1, output_mask=(True, True, False))
    return [array.tobytes() for array in (y, *both[:2])]


@pytest.fixture
def changed():
    """Set this thread's state; it is put back afterwards."""
    before = state()
    yield state
    state(before)


def test_the_operands_are_such_that_it_matters():
    y = upconv.conv_transpose2d(*layer(*BATCHES["brief"])[:2], stride=2, padding=1)
    assert 0 < np.abs(y).max() < np.finfo(np.float32).tiny


@pytest.mark.parametrize("batch", BATCHES)
def test_and_such_that_the_pool_computes_them_or_does_not(batch, monkeypatch):
    parts, jobs = [], program.Program.jobs

    def counting(self, threads):
        made = jobs(self, threads)
        parts.extend(made[1])
        return made

    monkeypatch.setattr(pool, "_wanted", 3)
    monkeypatch.setattr(program.Program, "jobs", counting)
    results(*layer(*BATCHES[batch]))
    assert max(parts, default=1) == (3 if batch == "pooled" else 1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", CHANGED)
def test_a_caller_with_another_state_gets_the_same_bits(changed, name, batch, threads):
    operands, before = layer(*BATCHES[batch]), upconv.get_num_threads()
    upconv.set_num_threads(threads)
    try:
        want = results(*operands)
        changed(CHANGED[name])
        assert results(*operands) == want
        assert state() == CHANGED[name]
    finally:
        upconv.set_num_threads(before)


def test_workers_that_such_a_caller_made_compute_the_same_for_all():
    """Threads inherit the state of the thread that makes them, and serve callers that have another."""
    script(f"""
import sys, upconv; sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_arithmetic as here
operands = here.layer(*here.BATCHES["pooled"])
upconv.set_num_threads(1)
want = here.results(*operands)
upconv.set_num_threads(4)
before = here.state()
here.state(here.CHANGED["flush both"])
assert here.results(*operands) == want
here.state(before)
for _ in range(20):
    assert here.results(*operands) == want
""")


def test_another_thread_may_have_any_state():
    operands, found = layer(*BATCHES["pooled"]), []
    want = results(*operands)

    def flushing():
        state(CHANGED["flush both"])
        found.extend(results(*operands) == want for _ in range(5))
        found.append(state() == CHANGED["flush both"])

    other = threading.Thread(target=flushing)
    other.start()
    found += [results(*operands) == want for _ in range(5)]
    other.join()
    assert found == [True] * 11


@pytest.mark.parametrize("name", isas.ROWS)
def test_the_state_is_settled_on_every_architecture(name):
    """What each is set to, and that it is put back last, read in the text; only one of them runs here."""
    isa = isas.ROWS[name]
    text = lower(execute(isa), isa)
    _, first, last = ARITHMETIC[isa.arch]
    assert text.index(first[-1]) < text.index("head1:")
    assert text.rstrip().endswith("\n".join([*last, "ret void", "}"]))


def test_a_kernel_that_computes_cannot_settle_the_arithmetic():
    """LLVM would move its arithmetic to where the state is another."""
    isa = kernel.isa()
    k = Builder("computes", settles_arithmetic=True)
    (place,) = k.arguments(PTR)
    value = k.load(place, Type("f32"))
    k.store(value + value, place)
    with pytest.raises(NotImplementedError, match="computes by itself"):
        lower(k, isa)
