"""The thread pool's protocol in the staged language, to be read from `attend` on. docs/runtime.md says why it is so.

`pool` calls `attend`, `call` and `abandon` on the descriptor of a call (`parts`), `worker` is what each thread runs,
and `prepare` makes it all new. What they share are words that the module has by name:

    gate       helpers still wanted in the upper half, workers inside in the lower
    current    the descriptor of the call that the gate is open for
    busy       1 while the pool is some caller's
    sleepers   workers that sleep, or have made up their minds to
    waiting    1 while a caller sleeps until the last worker is out
    begun      how often the pool was made new: another number is another process
    mutex, work, done    what sleepers sleep on: workers on `work`, a caller on `done`

The gate admits workers to the call of the moment. A worker enters by one compare-and-swap that takes a unit from the
upper half to the lower. The caller shuts the upper half when no part is left and waits until the lower one is 0; a
worker too late for the gate never learns of the call.

tests/runtime/test_interleavings.py leads a few threads through this code in every order that there is.
"""

from ..codegen.lang import ACQUIRE, ACQUIRE_RELEASE, I32, I64, PTR, RELEASE, SEQUENTIAL, Builder
from .parts import OUTCOME, PARTS, SLICE, STATE, WAKE, WANTED, Call, run_parts

# Of a call: it is new, its caller works alone, the pool is its caller's, it was and is over.
NEW, ALONE, TEAM, OVER = range(4)
# What `call` left in the descriptor. DONE: all parts are done. CUT: its time is over, enter it again. AGAIN: this is
# the child of a fork and has no workers, begin the call anew. ERROR: an exception of Python's is set.
DONE, CUT, AGAIN, ERROR = 0, 1, 2, -1

# How long a thread spins before it sleeps. It is several times what a wake-up takes: between two calls Python takes as
# long when its own data have left the caches, and a sleeper may be woken on a CPU that is not free.
SPIN_NS = 200_000
# How long it spins at most while others work on parts of the call: about as long as a long part takes.
PATIENCE_NS = 1_000_000
# After so long it yields the CPU between two looks.
YIELD_NS = 20_000
# One worker inside; also all of the lower half.
HALF = 1 << 32
INSIDE = HALF - 1


def attend(isa):
    """Python's door: run a call to its end without the GIL, looking at Python's signals after every slice.

    The outcome is DONE, AGAIN, or ERROR with an exception of Python's set, when nobody knows of the call any more.
    Python code that cleaned up might be interrupted in turn, under a debugger on any line, and leave the call in the
    hands of workers while its memory goes.
    """
    k = Builder("attend", shares_argument=True)
    call = Call(k, k.argument)
    pool = _read(k, "begun")
    with k.repeat() as leave:
        thread = k.call_c("PyEval_SaveThread", PTR)
        _run(k, "call", call)
        k.call_c("PyEval_RestoreThread", None, thread)
        leave(k.equal(call.get(OUTCOME), DONE))
        error = k.negate(k.equal(k.call_c("PyErr_CheckSignals", I32), 0))
        with k.when(error):
            thread = k.call_c("PyEval_SaveThread", PTR)
            _run(k, "abandon", call)
            k.call_c("PyEval_RestoreThread", None, thread)
            call.set(OUTCOME, ERROR)
        leave(error)
        other = k.iand(k.negate(k.equal(_read(k, "begun"), pool)), call.get(WANTED) > 0)
        with k.when(other):
            call.set(OUTCOME, AGAIN)
        leave(other)
    return k


def call(isa):
    """Run a call, or go on with it; the outcome is DONE or CUT."""
    k = Builder("call", shares_argument=True)
    _go_on(k, Call(k, k.argument))
    return k


def abandon(isa):
    """Hand out no more parts and wait for those that run: afterwards nobody knows of the call."""
    k = Builder("abandon", shares_argument=True)
    _abandon(k, Call(k, k.argument))
    return k


def worker(isa):
    """A worker's life: look at the gate for a while, sleep, enter, take parts, leave. It has no argument.

    A new one goes on for a worker that was woken on the CPU of whoever woke it.
    """
    k = Builder("worker")
    with k.repeat() as leave:
        seen = _spin(k, lambda: _is_open(_gate(k, ACQUIRE)), lambda: _is_busy(k))
        replaced = k.variable(0, I64)
        with k.when(k.negate(seen.get())):
            _sleep(k)
            _be_replaced(k, replaced)
        leave(replaced.get() > 0)
        wanted = _enter(k)
        with k.when(wanted.get() > -1):
            call = Call(k, k.load(k.symbol("current"), PTR))
            _rouse(k, wanted.get() * call.get(WAKE))
            run_parts(k, call)
            _leave(k)
    return k


def prepare(isa):
    """Start with no workers: at first, and in the child of a fork, which has a copy of all this but no thread.

    It has no argument.
    """
    k = Builder("prepare")
    k.call_c("make_locks", None)
    for name in ("gate", "sleepers", "waiting", "busy"):
        k.store(0, k.symbol(name))
    k.store(_read(k, "begun") + 1, k.symbol("begun"))
    return k


KERNELS = attend, call, abandon, worker, prepare


def _run(k, kernel, call):
    """Another kernel of these, on the same descriptor."""
    k.call(k.symbol(kernel), call.address)


def _go_on(k, call):
    """Begin a call, or take it up where it was cut."""
    until = _now(k) + call.get(SLICE)
    with k.when(k.equal(call.get(STATE), NEW)):
        call.set(STATE, ALONE)
        wanted = call.get(WANTED)
        with k.when(wanted > 0), k.when(k.compare_and_swap(k.symbol("busy"), 0, 1, ACQUIRE)):
            call.set(STATE, TEAM)
            _invite(k, call, wanted)
    cut = run_parts(k, call, lambda: until < _now(k))
    call.set(OUTCOME, cut.get())
    with k.when(k.equal(cut.get(), 0)), k.when(k.equal(call.get(STATE), TEAM)):
        call.set(OUTCOME, _finish(k, call))


def _abandon(k, call):
    k.store_ordered(call.get(PARTS), call.next, SEQUENTIAL)
    with k.when(k.equal(call.get(STATE), TEAM)), k.repeat() as leave:
        leave(k.equal(_finish(k, call), DONE))


# The caller's side of the gate.


def _invite(k, call, wanted):
    """Open the gate."""
    k.store(call.address, k.symbol("current"))
    k.store_ordered(wanted * HALF, k.symbol("gate"), SEQUENTIAL)
    with k.when(k.negate(k.equal(call.get(WAKE), 0))):
        _rouse(k, wanted)


def _rouse(k, wanted):
    """Wake two workers, or one, if so many are wanted and asleep.

    Each wakes two more when it enters, so that no one's time goes by with waking all. The gate is written before the
    sleepers are counted, and a worker counts itself before it looks at the gate for the last time, so one of the two
    sees the other. Whoever is counted while the mutex was ours has reached its wait; signalling after the unlock spares
    the woken a wait for the mutex. Some systems wake a thread on the CPU of whoever wakes it: there it is let run at
    once, so that it notices.
    """
    wake = k.imin(k.load_ordered(k.symbol("sleepers"), SEQUENTIAL), wanted)
    with k.when(wake > 0):
        k.call_c("note_cpu", None)
        _lock(k)
        _unlock(k)
        _signal(k, "work")
        with k.when(wake > 1):
            _signal(k, "work")
        k.call_c("let_woken_run", None)


def _finish(k, call):
    """Shut the gate and wait for the workers inside; gives DONE, or CUT if some still work after the wait."""
    _shut(k)
    _wait(k)
    empty = k.equal(_gate(k, ACQUIRE), 0)
    with k.when(empty):
        call.set(STATE, OVER)
        k.store_ordered(0, k.symbol("busy"), RELEASE)
    return k.select(empty, DONE, CUT)


def _shut(k):
    k.fetch_and(k.symbol("gate"), INSIDE, SEQUENTIAL)


def _wait(k):
    """Until nobody is inside, or for some time: spinning at first, then asleep."""
    seen = _spin(k, lambda: k.equal(_gate(k, ACQUIRE), 0), lambda: _gate(k, ACQUIRE) > 0)
    with k.when(k.negate(seen.get())):
        _lock(k)
        k.store_ordered(1, k.symbol("waiting"), SEQUENTIAL)
        with k.repeat() as leave:
            leave(k.equal(_gate(k, SEQUENTIAL), 0))
            over = k.call_c("wait_for_some_time", I32, k.symbol("done"), k.symbol("mutex"))
            leave(k.negate(k.equal(over, 0)))
        k.store_ordered(0, k.symbol("waiting"), SEQUENTIAL)
        _unlock(k)


# A worker's side of it.


def _sleep(k):
    """Until the gate is open."""
    _lock(k)
    k.fetch_add(k.symbol("sleepers"), 1, SEQUENTIAL)
    with k.repeat() as leave:
        leave(_is_open(_gate(k, SEQUENTIAL)))
        k.call_c("pthread_cond_wait", I32, k.symbol("work"), k.symbol("mutex"))
    k.fetch_add(k.symbol("sleepers"), -1, SEQUENTIAL)
    _unlock(k)


def _be_replaced(k, replaced):
    """Where this thread would share the CPU of whoever woke it, make another, which the system places anew."""
    with k.when(k.call_c("is_beside_waker", I64) > 0):
        replaced.set(k.select(k.equal(k.call_c("grow", I64), 0), 1, 0))


def _enter(k):
    """Enter unless the gate is shut; gives a Variable: how many are still wanted afterwards, or -1 if it is shut."""
    wanted = k.variable(-1, I64)
    with k.repeat() as leave:
        before = _gate(k, ACQUIRE)
        leave(k.negate(_is_open(before)))
        after = before - HALF + 1
        entered = k.compare_and_swap(k.symbol("gate"), before, after, ACQUIRE_RELEASE)
        with k.when(entered):
            wanted.set(k.shift_right(after, 32))
        leave(entered)
    return wanted


def _leave(k):
    """Leave, and wake the caller if it sleeps and this was the last one inside."""
    before = k.fetch_add(k.symbol("gate"), -1, SEQUENTIAL)
    last = k.equal(k.iand(before, INSIDE), 1)
    with k.when(last), k.when(k.load_ordered(k.symbol("waiting"), SEQUENTIAL) > 0):
        _lock(k)
        _signal(k, "done")
        _unlock(k)


# Words, clocks and locks.


def _read(k, name):
    return k.load(k.symbol(name), I64)


def _is_busy(k):
    return k.load_ordered(k.symbol("busy"), ACQUIRE) > 0


def _gate(k, order):
    return k.load_ordered(k.symbol("gate"), order)


def _is_open(gate):
    return gate > INSIDE


def _spin(k, seen, is_near):
    """Look for something, for SPIN_NS since it was last near, PATIENCE_NS at most; gives a Variable: whether seen."""
    found = k.variable(0, I64)
    start = _now(k)
    early, late = start + YIELD_NS, start + PATIENCE_NS
    until = k.variable(start + SPIN_NS, I64)
    with k.repeat() as leave:
        found.set(k.select(seen(), 1, 0))
        leave(found.get() > 0)
        k.pause()
        with k.when(is_near()):
            until.set(_now(k) + SPIN_NS)
        now = _now(k)
        with k.when(early < now):
            k.call_c("sched_yield", I32)
        leave(k.imin(until.get(), late) < now)
    return found


def _now(k):
    return k.call_c("now", I64)


def _lock(k):
    k.call_c("pthread_mutex_lock", I32, k.symbol("mutex"))


def _unlock(k):
    k.call_c("pthread_mutex_unlock", I32, k.symbol("mutex"))


def _signal(k, name):
    k.call_c("pthread_cond_signal", I32, k.symbol(name))
