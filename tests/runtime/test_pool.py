"""The threads, with kernels that count and churn: one test for each promise of `upconv.runtime.pool`."""

import ast
import ctypes
import importlib.machinery
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from native import undefined_symbols

from upconv.codegen import llvm
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import I64, PTR, Builder, Type
from upconv.codegen.lowering import lower
from upconv.runtime import kernel, pool, pool_code
from upconv.runtime.cache import Cache
from upconv.runtime.kernel import entry
from upconv.runtime.parts import take_parts

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX threads and processes")
# A step is one fused multiply-add that waits for the one before: about a nanosecond.
PER_MS = 1_000_000


def churn(isa):
    """A part (out, steps): out[0] += 1; out[1] is the end of a recurrence of so many steps."""
    k = Builder(f"test_churn_{isa.name}")
    out, steps = k.arguments(PTR, I64)
    value = k.variable(0.0, Type("f64"))
    with k.loop(0, steps) as step:
        value.set(k.muladd(value.get(), 0.5, 1.0))
        k.store(step, out + 16)
    k.store(value.get(), out + 8)
    k.store(k.load(out, I64) + 1, out)
    return k


def table(steps):
    """(out, rows) of one part for each number of steps."""
    out = np.zeros((len(steps), 8), np.int64)
    rows = np.stack([out.ctypes.data + 64 * np.arange(len(steps)), np.array(steps)], axis=1)
    return out, np.ascontiguousarray(rows, np.int64)


def run_once(steps):
    """Run a table and see that each part ran once; returns what the parts computed."""
    out, rows = table(steps)
    pool.run(entry(churn), rows)
    assert out[:, 0].tolist() == [1] * len(steps)
    return out[:, 1].tolist()


def run_python(function, rows):
    """Run a Python function of a row's address as the parts, on whatever threads they come."""
    part = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
    pool.run(ctypes.cast(part, ctypes.c_void_p).value, np.array(rows, np.int64).reshape(len(rows), 1))


def meet(threads):
    """That many parts that wait for one another; returns the threads that met."""
    meeting = threading.Barrier(threads, timeout=30)
    met = set()

    def part(row):
        meeting.wait()
        met.add(threading.get_ident())

    run_python(part, range(threads))
    return met


def script(text, timeout=60, **environment):
    """Run a script in a process of its own, with the names of this file; returns what it printed."""
    text = f"from {Path(__file__).stem} import *\n{text}"
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.split()


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """Two threads, whatever the machine has."""
    monkeypatch.setattr(pool, "_wanted", 2)


# -- what is computed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 64, 1000])
def test_every_part_runs_once(parts):
    for _ in range(20):
        run_once([10 * (part % 7) for part in range(parts)])


def test_results_are_the_same_for_1_2_3_and_7_threads():
    steps = [1 + 37 * part for part in range(50)]
    results = []
    for threads in (1, 2, 3, 7):
        pool.set_num_threads(threads)
        results.append(run_once(steps))
    assert all(result == results[0] for result in results)


def test_calls_that_are_cut_are_taken_up_again(monkeypatch):
    monkeypatch.setattr(pool, "SLICE_NS", 0)
    for _ in range(50):
        run_once([1000] * 30)


def test_without_posix_threads_one_thread_does_it_all(monkeypatch):
    monkeypatch.setattr(pool, "_start", lambda state: None)
    monkeypatch.setattr(pool, "_state", pool.State())
    run_once([1, 2, 3])


@pytest.mark.parametrize(
    "rows",
    [np.zeros(3, np.int64), np.zeros((3, 2), np.int32), np.zeros((3, 4), np.int64)[:, ::2]],
    ids=["one-dimensional", "int32", "strided"],
)
def test_rows_of_another_kind_are_refused(rows):
    with pytest.raises(ValueError, match="C-contiguous int64"):
        pool.run(entry(churn), rows)


# -- which threads -----------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_that_many_threads_work_at_once(threads):
    pool.set_num_threads(threads)
    assert len(meet(threads)) == threads


@posix
def test_fewer_threads_are_used_when_fewer_are_asked_for():
    seen = set()

    def part(row):
        seen.add(threading.get_ident())
        time.sleep(0.001)

    pool.set_num_threads(3)
    meet(3)
    pool.set_num_threads(1)
    run_python(part, range(20))
    assert seen == {threading.get_ident()}


def test_uneven_parts_balance():
    """One long part beside many short ones: if dealt out beforehand, half of the short ones would wait for it."""
    order = []

    def part(row):
        number = ctypes.c_int64.from_address(row).value
        time.sleep(0.5 if number == 0 else 0.001)
        order.append(number)

    run_python(part, range(20))
    assert sorted(order) == list(range(20))
    assert order[-1] == 0


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n is 0; at least 1 thread"),
        (-3, ValueError, "n is -3; at least 1 thread"),
        (10**6, ValueError, "n is 1000000; at most [0-9]+ threads are made, on [0-9]+ processors here"),
        (10**10, ValueError, "n is 10000000000; at most"),
        (2.0, TypeError, "n is 2.0; it must be an integer"),
        ("2", TypeError, "n is '2'; it must be an integer"),
        (True, TypeError, "n is True; it must be an integer"),
        (None, TypeError, "n is None; it must be an integer"),
    ],
)
def test_set_num_threads_refuses(n, error, message):
    with pytest.raises(error, match=message):
        pool.set_num_threads(n)
    assert pool.get_num_threads() == 2


def test_as_many_threads_as_there_are_processors_are_always_allowed(monkeypatch):
    monkeypatch.setattr(pool, "_cpus", lambda: 5000)
    pool.set_num_threads(5000)
    with pytest.raises(ValueError, match="at most 5000 threads"):
        pool.set_num_threads(5001)
    monkeypatch.setattr(pool, "_wanted", None)
    monkeypatch.setenv("UPCONV_NUM_THREADS", "9999999999")
    with pytest.raises(ValueError, match="UPCONV_NUM_THREADS is 9999999999; at most 5000"):
        pool.get_num_threads()


def test_set_num_threads_takes_what_counts_as_an_integer():
    pool.set_num_threads(np.int32(3))
    assert pool.get_num_threads() == 3


def test_the_environment_says_how_many():
    assert script("print(pool.get_num_threads())", UPCONV_NUM_THREADS="5") == ["5"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_affinity_is_respected():
    one = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(pool.get_num_threads())"
    assert script(one, UPCONV_NUM_THREADS="") == ["1"]
    assert script("print(pool.get_num_threads())", UPCONV_NUM_THREADS="") == [str(len(os.sched_getaffinity(0)))]


# -- several callers ---------------------------------------------------------------------------------------------------


def test_32_callers_at_once():
    failed = []

    def caller(number):
        try:
            for turn in range(20):
                run_once([number * turn] * 9)
        except BaseException as error:
            failed.append(error)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(32)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(60)
    assert not failed
    assert not any(thread.is_alive() for thread in callers)


@posix
def test_a_second_caller_does_not_wait_for_the_first():
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def part(row):
        begun.release()
        go_on.wait(30)

    first = threading.Thread(target=run_python, args=(part, range(2)))
    first.start()
    try:
        assert begun.acquire(timeout=30)
        run_once([100] * 10)
        assert first.is_alive()
    finally:
        go_on.set()
        first.join(30)


def test_calls_within_calls():
    results = []

    def part(row):
        results.append(run_once([100, 200, 300]))

    run_python(part, range(10))
    assert results == [run_once([100, 200, 300])] * 10


# -- processes ---------------------------------------------------------------------------------------------------------


@posix
def test_a_forked_child_has_a_pool_of_its_own():
    script("""
pool.set_num_threads(2)
expected = run_once([1000] * 20)
for _ in range(3):
    child = os.fork()
    if child == 0:
        fine = run_once([1000] * 20) == expected and len(meet(2)) == 2
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run_once([1000] * 20) == expected
""")


@posix
def test_a_fork_in_the_middle_of_a_call_does_no_harm():
    """The child that a signal's handler makes goes on with a call whose workers it does not have."""
    script("""
import signal
pool.set_num_threads(2)
expected = run_once([20 * PER_MS])[0]
children = []
signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
signal.setitimer(signal.ITIMER_REAL, 0.1)
out, rows = table([20 * PER_MS] * 30)
pool.run(entry(churn), rows)
fine = len(children) == 1 and out[:, 1].tolist() == [expected] * 30
if children == [0]:
    os._exit(0 if fine else 1)
assert fine
assert os.waitpid(children[0], 0)[1] == 0
""")


@posix
def test_a_child_that_begins_again_has_the_rows_as_they_were():
    """Parts may write in their rows, as those do that share a counter there."""
    script("""
import signal
pool.set_num_threads(2)
run_once([1] * 8)
children = []
signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
signal.setitimer(signal.ITIMER_REAL, 0.1)
rows = np.zeros((30, 8), np.int64)
rows[:, 0] = rows.ctypes.data + 64 * np.arange(30) + 16
rows[:, 1] = 20 * PER_MS
pool.run(entry(churn), rows)
fine = len(children) == 1 and rows[:, 2].tolist() == [1] * 30
if children == [0]:
    os._exit(0 if fine else 1)
assert fine
assert os.waitpid(children[0], 0)[1] == 0
""")


@posix
@pytest.mark.parametrize("parts", [2, 10_000], ids=["long-parts", "many-parts"])
def test_the_interpreter_may_end_while_the_pool_is_busy(parts):
    began = time.monotonic()
    script(f"""
pool.set_num_threads(2)
def long():
    # Held by this frame alone, as the arrays of a convolution are by its own.
    out, rows = table([60_000 * PER_MS // {parts}] * {parts})
    pool.run(entry(churn), rows)
threading.Thread(target=long, daemon=True).start()
time.sleep(0.3)
""")
    assert time.monotonic() - began < 30


@posix
def test_ctrl_c_ends_a_long_call_and_the_pool_lives():
    late, *fine = script("""
import signal
# A shell's background job, as these tests may be, ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
pool.set_num_threads(2)
run_once([1] * 8)
sent = []
def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.3, interrupt).start()
out, rows = table([5 * PER_MS] * 12_000)
try:
    pool.run(entry(churn), rows)
except KeyboardInterrupt:
    print(time.monotonic() - sent[0])
before = out.copy()
time.sleep(0.1)
print((out == before).all(), 0 < out[:, 0].sum() < len(out), out[:, 0].max() == 1)
print(len(meet(2)) == 2)
""")
    assert float(late) < 1
    assert fine == ["True"] * 4


@posix
@pytest.mark.parametrize("then", ["next line", "handler"])
def test_a_second_ctrl_c_between_any_two_steps_does_no_harm(then):
    """Under a debugger every line is a place where another one may come, the line that cleans up not excepted."""
    lines = script(f"""
import signal
pool.set_num_threads(2)
run_once([1] * 8)
again = []

def trace(frame, event, argument):
    # The second comes as soon as any Python code runs after the first, inside the pool or the signal's handler.
    if frame.f_code is pool.run.__code__:
        if event == "exception":
            again.append(event)
        elif again and {then == "next line"}:
            sys.settrace(None)
            raise KeyboardInterrupt
    return trace

def handler(*_):
    if {then == "handler"}:
        signal.raise_signal(signal.SIGINT)
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.3)
out, rows = table([5 * PER_MS] * 12_000)
sys.settrace(trace)
try:
    pool.run(entry(churn), rows)
except KeyboardInterrupt:
    sys.settrace(None)
    print("interrupted")
before = out.copy()
time.sleep(0.1)
print((out == before).all(), 0 < out[:, 0].sum() < len(out), len(meet(2)) == 2)
""")
    assert lines == ["interrupted"] + ["True"] * 3


@posix
def test_a_handler_may_call_while_a_call_waits():
    """The handler's call finds the pool busy and works alone; the one that it interrupted goes on afterwards."""
    lines = script("""
import signal
pool.set_num_threads(2)
want, found = run_once([100] * 8), []
signal.signal(signal.SIGALRM, lambda *_: found.append(run_once([100] * 8)))
signal.setitimer(signal.ITIMER_REAL, 0.15, 0.15)
run_once([5 * PER_MS] * 100)
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(found) > 0, all(each == want for each in found), len(meet(2)) == 2)
""")
    assert lines == ["True"] * 3


@posix
def test_an_abandoned_call_is_over():
    """When `abandon` returns, no part runs and none will."""
    run_once([1] * 8)
    native = pool._state.native
    for turn in range(200):
        out, rows = table([1000] * 50)
        call = pool.Descriptor(entry(churn), rows.ctypes.data, rows.strides[0], len(rows), 1, 0, 0, 1000 * turn)
        native.call(call)
        native.abandon(call)
        before = out.copy()
        run_once([1000] * 4)
        assert (out == before).all()


# -- the workers -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of threads")
def test_workers_take_no_signals_but_crashes():
    lines = script("""
import re
before = set(os.listdir("/proc/self/task"))
pool.set_num_threads(4)
run_once([100] * 64)
time.sleep(0.5)  # A thread that has not started yet has all signals blocked.
for task in set(os.listdir("/proc/self/task")) - before:
    status = Path(f"/proc/self/task/{task}/status").read_text()
    print(re.search(r"SigBlk:\\s*(\\w+)", status)[1])
""")
    assert len(lines) == 3
    for blocked in (int(line, 16) for line in lines):
        for number in (1, 2, 10, 14, 15):  # SIGHUP, SIGINT, SIGUSR1, SIGALRM, SIGTERM on Linux
            assert blocked >> (number - 1) & 1
        assert not blocked >> (11 - 1) & 1  # SIGSEGV


@posix
def test_idle_workers_sleep():
    pool.set_num_threads(4)
    run_once([100] * 64)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_the_generated_code_is_made_for_both_architectures():
    for name in ("x86-64", "neon"):
        text = pool_code.text(ROWS[name])
        assert "$" not in text
        assert undefined_symbols(llvm.compile_object(text, ROWS[name])) == []
        assert undefined_symbols(llvm.compile_object(lower(take_parts(ROWS[name]), ROWS[name]), ROWS[name])) == []


def test_the_key_of_the_pool_s_object_holds_all_that_its_text_is_made_from():
    """Every module that a module of the kernels or of their lowering imports is one whose file is read."""
    known = {Path(module.__file__) for module in pool_code.SOURCES}
    for path in known:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parents[node.level - 1].joinpath(*node.module.split("."))
                assert base.with_suffix(".py") in known, f"{path.name} imports {node.module}"
    assert all(path.read_text() in pool_code.source() for path in known)


def test_files_that_change_while_the_process_lives_are_not_what_it_compiles(monkeypatch):
    """An upgrade under a running process: what is kept under a key is what was imported."""
    before = pool_code.source()
    monkeypatch.setattr(importlib.machinery.SourceFileLoader, "get_source", lambda *which: "changed")
    assert pool_code.source() == before


def test_the_pool_s_text_is_made_only_for_the_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr(kernel, "cache", lambda: Cache(tmp_path))
    pool.Native()
    monkeypatch.setattr(pool_code, "text", None)
    pool.Native()
    monkeypatch.setattr(pool_code, "source", lambda: "another")
    with pytest.raises(TypeError, match="not callable"):
        pool.Native()


@pytest.mark.parametrize("answer", [None, OSError("in an archive"), UnicodeDecodeError("utf-8", b"", 0, 1, "compiled")])
def test_where_files_cannot_be_read_the_text_is_the_key(monkeypatch, tmp_path, answer):
    def get_source(name):
        if answer is None:
            return None
        raise answer

    module = types.SimpleNamespace(__name__="some", __spec__=types.SimpleNamespace(loader=types.SimpleNamespace()))
    module.__spec__.loader.get_source = get_source
    monkeypatch.setattr(pool_code, "SOURCES", (module,))
    assert pool_code._sources() is None
    monkeypatch.setattr(pool_code, "SOURCE", None)
    assert pool_code.source() is None
    monkeypatch.setattr(kernel, "cache", lambda: Cache(tmp_path))
    monkeypatch.setattr(pool, "_state", pool.State())
    run_once([1, 2, 3])


class Executor:
    """A team that runs its rows backwards on the calling thread, and remembers how many there were."""

    threads = 3

    def __init__(self):
        self.calls = []

    def run(self, fn, rows):
        self.calls.append(len(rows))
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(fn)
        for part in reversed(range(len(rows))):
            function(rows.ctypes.data + part * rows.strides[0])


@posix
def test_an_executor_runs_the_rows_of_this_thread_alone():
    executor, before = Executor(), pool.get_num_threads()
    want = run_once([5, 6, 7, 8])
    elsewhere = []

    def work():
        assert pool.get_num_threads() == 3
        thread = threading.Thread(target=lambda: elsewhere.append(pool.get_num_threads()))
        thread.start()
        thread.join()
        return run_once([5, 6, 7, 8])

    assert pool.run_on(executor, work) == want
    assert (executor.calls, elsewhere) == ([4], [before])
    assert pool.get_num_threads() == before


@posix
def test_what_is_one_part_stays_on_the_thread_that_calls():
    executor = Executor()
    pool.run_on(executor, run_once, [5])
    executor.threads = 1
    pool.run_on(executor, run_once, [5, 6, 7])
    assert executor.calls == []


@posix
def test_the_executor_is_taken_off_after_an_error():
    before = pool.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        pool.run_on(Executor(), lambda: 1 / 0)
    assert pool.get_num_threads() == before
