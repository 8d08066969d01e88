"""How a turn begins where engines take turns within one process: `begin`.

OpenMP's threads spin for some milliseconds after their last work (libgomp five on the machine at hand, libiomp 200),
each on a CPU that the next engine is timed on, and an engine with threads of its own waits there for its share of it.
So a turn begins when nobody spins. Then its own threads are asleep, and some systems wake them on the CPU of the thread
that calls: torch takes 8 ms there for a call of 0.14, since each of the two spins while the other has to wait. So the
calling thread has a CPU of its own, and calls come first that are not timed.
"""

import os
import threading
import time
from contextlib import suppress

LOOK_SECONDS = 0.005
BUSY_SHARE = 0.05
SETTLE_SECONDS = 0.01
CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def begin(call) -> float:
    """Wait until no thread of this process runs, and call until its threads are awake; returns the last call's seconds.

    From then on the calling thread has one CPU, and the others all but that.
    """
    busy = True
    while busy:
        before = time.process_time()
        time.sleep(LOOK_SECONDS)
        busy = time.process_time() - before > BUSY_SHARE * LOOK_SECONDS
    call()
    _part()
    end, taken = time.perf_counter() + SETTLE_SECONDS, None
    while taken is None or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken = time.perf_counter() - start
    return taken


def _part():
    own = min(CPUS, default=None)
    if len(CPUS) > 1:
        for task in map(int, os.listdir("/proc/self/task")):
            # A thread may end meanwhile.
            with suppress(OSError):
                os.sched_setaffinity(task, {own} if task == threading.get_native_id() else CPUS - {own})
