"""Calls of the public function in long-lived, forked, interrupted, crowded and ending processes."""

import os
import time

import pytest
from children import script

from upconv.runtime.kernel import usable

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork, signals and getrusage")
# A layer that takes a while, and a small one with its answer.
PRELUDE = """
import os, signal, threading, time
import numpy as np
import upconv
from upconv.runtime import pool
pool.set_num_threads({threads})
rng = np.random.default_rng(0)
x, w = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((2, 24, 20, 20), (24, 20, 4, 4)))
want = upconv.conv_transpose2d(x.astype(float), w.astype(float), stride=2, algorithm="matmul")
def right(x=x, w=w):
    # Whole numbers: every sum is exact.
    return bool((upconv.conv_transpose2d(x, w, stride=2) == want).all())
assert right()
big, wide = np.ones((1, 64, 512, 1024), np.float32), np.ones((64, 64, 10, 10), np.float32)
def long():
    return upconv.conv_transpose2d(big, wide, stride=1)
"""


def child(text, threads=2, **environment):
    return script(PRELUDE.format(threads=threads) + text, **environment).split()


@posix
def test_repeated_calls_reuse_the_memory_of_their_results():
    """A 32 MiB output is 8192 pages of 4 KiB; after the warm-up hardly any is faulted in again."""
    (faults,) = child("""
import resource
x, w = np.ones((1, 32, 256, 256), np.float32), np.ones((32, 32, 2, 2), np.float32)
def faults(calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        y = upconv.conv_transpose2d(x, w, stride=2)
        assert y.nbytes == 32 << 20
        del y
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(3)
print(faults(10))
""")
    assert int(faults) < 10 * 100


@posix
def test_a_result_that_lives_keeps_its_memory():
    assert child("""
held = [upconv.conv_transpose2d(np.full((1, 16, 128, 128), v, np.float32), np.ones((16, 4, 2, 2), np.float32), stride=2)
        for v in range(12)]
print(all((y == 16 * v).all() for v, y in enumerate(held)))
""") == ["True"]


@posix
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_computes_and_so_does_its_parent(threads):
    printed = child(
        """
for turn in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if right() and right() else 7)
    print(right(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
        threads,
    )
    assert printed == ["True", "0"] * 3


@posix
def test_a_fork_while_another_thread_computes_leaves_both_right():
    printed = child("""
stop, wrong = threading.Event(), []
def busy():
    while not stop.is_set():
        if not right():
            wrong.append(1)
thread = threading.Thread(target=busy)
thread.start()
codes = []
for turn in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if right() else 7)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
thread.join()
print(codes == [0] * 5, not wrong)
""")
    assert printed == ["True", "True"]


def test_32_threads_at_once_get_right_answers():
    """Every thread its own operands, so that scratch shared by mistake shows."""
    printed = child("""
wrong, ready = [], threading.Barrier(32)
def caller(number):
    scale = np.float32(number + 1)
    mine = x * scale
    ready.wait()
    for turn in range(15):
        if not (upconv.conv_transpose2d(mine, w, stride=2) == want * scale).all():
            wrong.append((number, turn))
callers = [threading.Thread(target=caller, args=(number,)) for number in range(32)]
for thread in callers:
    thread.start()
for thread in callers:
    thread.join()
print(wrong)
""")
    assert printed == ["[]"]


def test_threads_that_plan_the_same_problem_first_get_right_answers():
    """Nothing is built yet: programs and kernels are made by whoever comes first."""
    printed = child("""
import sys
sys.setswitchinterval(1e-6)
shapes = [(c, k) for c in (3, 17, 33) for k in (1, 2, 3)]
wrong, ready = [], threading.Barrier(8)
def caller(number):
    ready.wait()
    for c, k in shapes:
        y = upconv.conv_transpose2d(np.ones((1, c, 5, 5)), np.ones((c, c, k, k)), stride=k)
        if not (y == c).all():
            wrong.append((c, k))
callers = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
for thread in callers:
    thread.start()
for thread in callers:
    thread.join()
print(wrong)
""")
    assert printed == ["[]"]


@posix
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_long_call_and_the_next_one_works(threads):
    late, *fine = child(
        """
# A shell's background job, as these tests may be, ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []
def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(1, interrupt).start()
try:
    long()
    print("was never interrupted")
except KeyboardInterrupt:
    print(time.monotonic() - sent[0])
print(right(), right())
""",
        threads,
    )
    # The call alone takes several seconds.
    assert float(late) < 2
    assert fine == ["True", "True"]


@posix
def test_the_process_may_end_while_a_call_is_busy():
    began = time.monotonic()
    child("""
threading.Thread(target=lambda: [long() for _ in range(1000)], daemon=True).start()
time.sleep(1)
""")
    assert time.monotonic() - began < 60


@posix
def test_a_signal_handler_may_call_while_a_call_is_under_way():
    printed = child("""
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(right()))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
began = time.monotonic()
answers = []
while len(seen) < 5 and time.monotonic() - began < 60:
    answers.append(right())
signal.setitimer(signal.ITIMER_REAL, 0)
print(all(answers), all(seen), len(seen) >= 5)
""")
    assert printed == ["True"] * 3


@posix
def test_a_forks_child_has_threads_of_its_own():
    text = """
import os, numpy as np, upconv
from upconv import calls
from upconv.runtime import pool, program
program.BRIEF = program.WORTH_WAKING = 0
upconv.set_num_threads(2)
x, w = np.ones((1, 2, 3, 3), np.float32), np.ones((2, 2, 2, 2), np.float32)
def asked():
    for _ in range(2):
        y = upconv.conv_transpose2d(x, w)
    return len(calls._of_arrays), pool._state.workers, float(y.sum())
print(*asked(), flush=True)
if not os.fork():
    print(len(calls._of_arrays), pool._state.workers, *asked(), flush=True)
    os._exit(0)
os.wait()
"""
    assert script(text).split() == ["1", "1", "144.0", "0", "0", "1", "1", "144.0"]


# What another thread is about, or this one: (what is called under a lock, the weight).
UNDER_A_LOCK = {
    "a kernel is compiled": ("kernel, '_image'", "w"),
    "a program is kept": ("generated.ProgramCache, '_take'", "w"),
    "a form is packed": ("generated.Generated, 'pack'", "upconv.prepare(w)"),
}
FORKS = """
import signal, threading, time
import os, numpy as np, upconv
from upconv import generated
from upconv.runtime import kernel
upconv.set_num_threads(1)
x, w = np.ones((1, 3, 5, 6)), np.ones((3, 2, 3, 7))
weight = {weight}
def right(x=x):
    return float(upconv.conv_transpose2d(x, weight, algorithm="gemm").sum()) == x.size * w.size / 3
def first(room, name, then):
    real = getattr(room, name)
    def once(*rest):
        setattr(room, name, real)
        then()
        return real(*rest)
    setattr(room, name, once)
def code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


# Who forks meanwhile; a child that hangs ends by a signal.
WHO_FORKS = {
    "another thread than the one that holds the lock": """
begun = threading.Event()
first({place}, lambda: (begun.set(), time.sleep(0.5)))
other = threading.Thread(target=right)
other.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(0 if right() and right(x[:, :, :3]) else 7)
print(code(child), right())
other.join()
""",
    "the thread that holds the lock, as a signal's handler in it does": """
children = []
first({place}, lambda: children.append(os.fork()))
fine = right() and right(x[:, :, :3])
if not children[0]:
    os._exit(0 if fine else 7)
print(code(children[0]), fine)
""",
}


@posix
@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize("what", UNDER_A_LOCK)
@pytest.mark.parametrize("who", WHO_FORKS)
def test_a_fork_while_a_lock_is_held_has_a_child_that_computes(who, what, tmp_path):
    place, weight = UNDER_A_LOCK[what]
    text = FORKS.format(weight=weight) + WHO_FORKS[who].format(place=place)
    assert script(text, UPCONV_CACHE_DIR=str(tmp_path)).split() == ["0", "True"]
