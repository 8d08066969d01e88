"""Where the pool's workers run: not on the CPU of the thread that calls, where the system lets them be placed.

Each script runs in a process of its own.
"""

import os

import pytest
from children import script

APART = """
import os, sys
import numpy as np
from upconv.codegen.lang import I64, PTR, Builder
from upconv.runtime import pool
from upconv.runtime.kernel import entry

def count(isa):
    k = Builder("test_count")
    out, steps = k.arguments(PTR, I64)
    with k.loop(0, steps) as step:
        k.store(step, out)
    return k

before, allowed = set(os.listdir("/proc/self/task")), os.sched_getaffinity(0)
def workers():
    out = np.zeros(8, np.int64)
    rows = np.stack([out.ctypes.data + 8 * np.arange(8), np.full(8, 1000)], axis=1)
    pool.run(entry(count), np.ascontiguousarray(rows))
    return [os.sched_getaffinity(int(task)) for task in sorted(set(os.listdir("/proc/self/task")) - before, key=int)]
def each_in_turn(most):
    for threads in range(2, most + 1):
        pool.set_num_threads(threads)
        workers()
        for cpu in allowed:
            os.sched_setaffinity(0, {cpu})
            print(workers() == [allowed - {cpu}] * (threads - 1))
        os.sched_setaffinity(0, allowed)
each_in_turn(3)
"""
placed = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs CPUs that it may choose"
)


@placed
def test_workers_leave_the_caller_s_cpu_to_it():
    answers = script(APART).split()
    assert answers == ["True"] * 2 * len(os.sched_getaffinity(0))


@placed
def test_a_child_has_workers_of_its_own_to_place():
    text = """
one, other, *_ = allowed
each_in_turn(2)
os.sched_setaffinity(0, {one})
kept = workers()
if child := os.fork():
    sys.exit(os.waitpid(child, 0)[1] != 0 or workers() != kept)
before = set(os.listdir("/proc/self/task"))
os.sched_setaffinity(0, allowed)
workers()
os.sched_setaffinity(0, {other})
placed = workers() == [allowed - {other}] and os.sched_getaffinity(0) == {other}
parent = max(os.listdir(f"/proc/{os.getppid()}/task"), key=int)
os._exit(not (placed and os.sched_getaffinity(int(parent)) == allowed - {one}))
"""
    assert script(APART.removesuffix("each_in_turn(3)\n") + text).split() == ["True"] * len(os.sched_getaffinity(0))


@placed
def test_what_somebody_else_allows_the_workers_stays():
    text = """
one, other, *_ = allowed
pool.set_num_threads(2)
workers()
os.sched_setaffinity(0, {one})
workers()
worker = max(map(int, set(os.listdir("/proc/self/task")) - before))
os.sched_setaffinity(worker, {one, other})
os.sched_setaffinity(0, {other})
print(*workers()[-1])
os.sched_setaffinity(worker, {other})
os.sched_setaffinity(0, {one})
print(*workers()[-1])
os.sched_setaffinity(0, {other})
print(*workers()[-1])
"""
    one, other, *_ = os.sched_getaffinity(0)
    setting = APART.removesuffix("each_in_turn(3)\n")
    assert script(setting + text).split() == [str(one), str(other), str(other)]
