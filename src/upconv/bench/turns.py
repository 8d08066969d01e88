"""How threads of engines that take turns stand in nobody's way: `apart` in a process, `turn` of one of several in it.

OpenMP's threads spin for some milliseconds after their last work (libgomp five on the machine at hand, libiomp 200),
each on a CPU that the next engine is timed on, and an engine with threads of its own waits there for its share of it.
So a turn begins when nobody spins. Then its own threads are asleep, and some systems wake them on the CPU of the thread
that calls: torch takes 8 ms there for a call of 0.14, since each of the two spins while the other has to wait. So the
calling thread has a CPU of its own, and calls come first that are not timed.
"""

import os
import threading
import time
from contextlib import contextmanager, suppress

LOOK_SECONDS = 0.005
BUSY_SHARE = 0.05
SETTLE_SECONDS = 0.01
CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@contextmanager
def turn(call):
    """A turn of an engine: when no thread of this process runs any more, and calls have woken its own.

    Yields:
        How many seconds a call has taken.
    """
    busy = True
    while busy:
        before = time.process_time()
        time.sleep(LOOK_SECONDS)
        busy = time.process_time() - before > BUSY_SHARE * LOOK_SECONDS
    call()
    with apart():
        end, taken = time.perf_counter() + SETTLE_SECONDS, None
        while taken is None or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            taken = time.perf_counter() - start
        yield taken


@contextmanager
def apart():
    """The calling thread has one of the process's CPUs, and the threads that there are have the rest."""
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
