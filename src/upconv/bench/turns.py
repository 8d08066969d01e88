"""How a turn begins where engines take turns within one process: `begin`.

OpenMP's threads spin for some milliseconds after their last work (libgomp five on the machine at hand, libiomp 200),
each on a CPU that the next engine is timed on, and an engine with threads of its own waits there for its share of it.
So a turn begins when nobody spins. Then its own threads are asleep, and where a system wakes them on one CPU it takes
some ticks of its clock until they are apart; one that spins for the other meanwhile takes 20 ms for a call of 0.6. So
calls come first that are not timed.
"""

import time

LOOK_SECONDS = 0.005
BUSY_SHARE = 0.05
SETTLE_SECONDS = 0.03


def begin(call) -> float:
    """Wait until no thread of this process runs, and call until threads have settled; returns a call's seconds then."""
    busy = True
    while busy:
        before = time.process_time()
        time.sleep(LOOK_SECONDS)
        busy = time.process_time() - before > BUSY_SHARE * LOOK_SECONDS
    end, taken = time.perf_counter() + SETTLE_SECONDS, None
    while taken is None or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken = time.perf_counter() - start
    return taken
