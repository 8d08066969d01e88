"""Keeps the threads of an engine out of the way of others: `apart` for a process's only one, `turn` for one of several,
`in_rounds` for a comparison of them.

OpenMP's threads spin for some milliseconds after their last work (libgomp five on the machine at hand, libiomp 200),
each on a CPU that the next engine is timed on, and an engine with threads of its own waits there for its share of it.
So a turn begins when nobody spins. Then its own threads are asleep, and some systems wake them on the CPU of the thread
that calls: torch takes 8 ms there for a call of 0.14, since each of the two spins while the other has to wait. So the
calling thread has a CPU of its own, and calls come first that are not timed.
"""

import os
import threading
import time
import warnings
from contextlib import contextmanager, suppress

# How long to look whether anybody spins: who does takes all of that, who wakes now and then next to nothing.
LOOK_SECONDS, BUSY_SHARE = 0.005, 0.05
# Longer than any engine's threads spin: who runs on then never sleeps.
MOST_LOOKS = 400
# How long to call without a clock: longer than threads spin or share a CPU after they were woken.
SETTLE_SECONDS = 0.01
CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@contextmanager
def turn(call):
    """The turn of an engine: it begins when no thread of this process runs any more and calls have woken its own.

    Beside a thread that never sleeps it begins after MOST_LOOKS, with a warning.

    Yields:
        How many seconds a call has taken.
    """
    for _ in range(MOST_LOOKS):
        before = time.process_time()
        time.sleep(LOOK_SECONDS)
        if time.process_time() - before <= BUSY_SHARE * LOOK_SECONDS:
            break
    else:
        warnings.warn("a thread of this process never sleeps, so a turn begins beside it", RuntimeWarning, stacklevel=3)
    call()
    with apart():
        end, taken = time.perf_counter() + SETTLE_SECONDS, None
        while taken is None or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            taken = time.perf_counter() - start
        yield taken


def in_rounds(calls, rounds, seconds):
    """What calls take that have their turns one after the other in every round.

    Args:
        calls: {name: call}.
        seconds: of each call in each round, about.

    Returns:
        {name: [seconds of a call in each round]}.

    >>> times = in_rounds({"one": int, "other": float}, 2, 1e-4)
    >>> [len(each) for each in times.values()]
    [2, 2]
    """
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            with turn(call) as once:
                repeats = max(1, int(seconds / once))
                start = time.perf_counter()
                for _ in range(repeats):
                    call()
                times[name].append((time.perf_counter() - start) / repeats)
    return times


@contextmanager
def apart():
    """The calling thread has one of the process's CPUs to itself, and the threads that there are have the rest."""
    own = {min(CPUS)} if len(CPUS) > 1 else CPUS
    _place(own, CPUS - own or CPUS)
    try:
        yield
    finally:
        # What an engine makes later should not see a process of one CPU.
        _place(CPUS, CPUS)


def _place(own, others):
    if CPUS:
        for task in map(int, os.listdir("/proc/self/task")):
            # A thread may end meanwhile.
            with suppress(OSError):
                os.sched_setaffinity(task, own if task == threading.get_native_id() else others)
