"""The pool's workers on CPUs: one that wakes beside its waker is replaced, and all else stays as it was set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from upconv.runtime.pool import _cpus

BESIDE = """
tasks = lambda: set(os.listdir("/proc/self/task"))
before, allowed = tasks(), os.sched_getaffinity(0)
own, other = min(allowed), max(allowed)
pool.set_num_threads(2)
run_once([1000] * 8)
[worker] = first = tasks() - before
def workers_of_calls(seconds):
    seen, end = set(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.003)
        run_once([100_000] * 8)
        seen |= tasks() - before
    return seen
os.sched_setaffinity(0, {own})
"""
placed = pytest.mark.skipif(
    not Path("/proc/self/task").exists() or not hasattr(os, "sched_setaffinity"), reason="needs Linux's threads"
)


def script(text, first=""):
    """What a script prints that has a worker, and goes on with the calling thread on a CPU of its own."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    command = [sys.executable, "-c", "\n".join(["from test_pool import *", first, BESIDE, text])]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.split()


@placed
def test_a_worker_that_wakes_beside_its_caller_is_replaced():
    text = """
os.sched_setaffinity(int(worker), {own})
seen = workers_of_calls(0.5)
time.sleep(0.5)
[last] = tasks() - before
# Now and then, and the new ones may run where the old one might.
print(1 < len(seen) <= 1 + 0.5e9 / pool_code.SETTLE_NS, last != worker, *os.sched_getaffinity(int(last)), own)
"""
    now_and_then, new, where, own = script(text)
    assert (now_and_then, new, where) == ("True", "True", own)


@placed
@pytest.mark.skipif(_cpus() < 2, reason="needs two CPUs")
def test_a_worker_on_another_cpu_stays():
    end = "os.sched_setaffinity(int(worker), {other}); print(workers_of_calls(0.2) == first)"
    assert script(end) == ["True"]


@placed
def test_workers_stay_where_nobody_says_on_which_cpu_they_are():
    forgets = "pool.hasattr = lambda process, symbol: symbol != pool_code.OPTIONAL"
    end = "os.sched_setaffinity(int(worker), {own}); print(workers_of_calls(0.2) == first)"
    assert script(end, forgets) == ["True"]
