"""The threads: `run` spreads the rows of a table over native threads that know nothing of Python.

    run(fn, rows)           fn(&rows[0]), fn(&rows[1]), ... in any order, on any thread; returns when all are done
    run_on(executor, work)  the same for all calls inside `work`, on a front-end's threads instead of these

The threads run generated code (`pool_protocol`), hold no Python state and never touch the interpreter, so they need no
GIL and may be asleep, spinning or in the middle of a part when the process ends. docs/runtime.md has the protocol.
"""

import ctypes
import operator
import os
import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import NamedTuple, SupportsIndex

import numpy as np

from .. import config
from ..errors import SettingError
from . import pool_code
from .kernel import CodeRefused, isa, link
from .parts import DESCRIPTOR_WORDS, OUTCOME
from .pool_protocol import DONE

# The native code looks this often at the signals that wait in Python.
SLICE_NS = 100_000_000
# Each thread has its stack, and its scratch in a call; a machine with more processors may have a thread for each.
MOST_THREADS = 1024

Descriptor = ctypes.c_int64 * DESCRIPTOR_WORDS


class Native:
    """The entries of the generated pool as Python callables, which let go of the GIL."""

    def __init__(self):
        address = link("upconv_pool", lambda: pool_code.text(isa()), pool_code.source()).address
        table = (ctypes.c_void_p * (len(pool_code.ENTRIES) + len(pool_code.IMPORTS))).from_address(address)
        process = ctypes.CDLL(None)
        for place, symbol in enumerate(pool_code.IMPORTS, start=len(pool_code.ENTRIES)):
            if symbol != pool_code.OPTIONAL or hasattr(process, symbol):
                table[place] = ctypes.cast(getattr(process, symbol), ctypes.c_void_p).value
        attend, call, abandon, prepare, grow, self.now = table[: len(pool_code.ENTRIES)]
        arguments = None, ctypes.c_void_p
        # It has the GIL when it begins and when it ends; as a function of Python's it may raise.
        self.attend = ctypes.PYFUNCTYPE(*arguments)(attend)
        self.call = ctypes.CFUNCTYPE(*arguments)(call)
        self.abandon = ctypes.CFUNCTYPE(*arguments)(abandon)
        self.prepare = ctypes.CFUNCTYPE(*arguments)(prepare)
        self.grow = ctypes.CFUNCTYPE(ctypes.c_int64)(grow)
        self.prepare(None)


class State:
    """What this process knows of its pool. A fork's child gets a new one."""

    def __init__(self, native=None):
        self.native = native
        self.workers = 0
        # A signal's handler may come back here in the thread that holds the lock.
        self.lock = threading.RLock()


_state = State()
_wanted = None
_executor = ContextVar("executor", default=None)


def run(fn, rows):
    """Call a native function on every row of a table, on all threads, and wait for the last.

    A part, once begun, is never interrupted: what takes longer than 0.1 s should be more than one part. A caller that
    finds the pool busy, be it another thread or a part of the call that keeps it busy, runs its rows on its own thread.

    Args:
        fn: address of a native ``void fn(int64_t *row)`` that may be called by several threads at once.
        rows: int64, (parts, words), C-contiguous; stays alive until the return, and unchanged but by the parts.

    Raises:
        SettingError: for a table of another kind.
        KeyboardInterrupt: or whatever a signal's handler raises, when no part runs any more; some were never begun.

    >>> run(0, np.empty((0, 4), np.int64))
    """
    if rows.ndim != 2 or rows.dtype != np.int64 or not rows.flags.c_contiguous:
        raise SettingError(f"rows is {rows.dtype} {rows.shape}; it must be a C-contiguous int64 table (parts, words)")
    state, (parts, words) = _state, rows.shape
    native = state.native or _start(state)
    if native is None:
        return _one_by_one(fn, rows)
    helpers = min(get_num_threads(), parts) - 1
    executor = _executor.get()
    if executor is not None and executor.run is not None:
        if helpers > 0:
            return executor.run(fn, rows)
        helpers = 0
    if helpers > state.workers:
        helpers = _hire(state, helpers)
    before = rows.copy() if helpers else None
    call = Descriptor(fn, rows.ctypes.data, 8 * words, parts, helpers, 0, True, SLICE_NS)
    native.attend(call)
    if call[OUTCOME] != DONE:
        # A signal's handler has forked, and this is the child: the workers and their parts stayed behind.
        rows[...] = before
        return run(fn, rows)
    return None


def run_on(executor, work, *operands):
    """``work(*operands)``, during which the calls of this thread run on threads that are not the pool's.

    Two libraries with threads of their own in one process wait for each other's to stop spinning, so a front-end hands
    in the threads of its framework.

    Args:
        executor: has `threads`, how many a call may use, and `run`: ``run(fn, rows)`` as above, or None to take
            as many threads of the pool. And `call`, if native code may call them: the address of a
            ``void call(descriptor)`` (see `openmp`).
        work: what is called.
        operands: what it is called with.

    Returns:
        What `work` returns.
    """
    token = _executor.set(executor)
    try:
        return work(*operands)
    finally:
        _executor.reset(token)


def is_lent() -> bool:
    """Whether the threads of a front-end do the work of this thread's calls."""
    executor = _executor.get()
    return executor is not None and executor.run is not None


def helped_by() -> int | tuple[int, int]:
    """Whose help native code may ask for: so many threads of the pool, (how many, who calls them) of a front-end's.

    0 where a front-end's are asked from Python.
    """
    if not is_lent():
        return get_num_threads()
    executor = _executor.get()
    call = getattr(executor, "call", 0)
    return (executor.threads, call) if call else 0


class Crew(NamedTuple):
    """Threads as native code that has no use for Python calls them.

    Attributes:
        call: address of ``void call(descriptor)``, see `parts` and `pool_protocol`; 0 where a call has its own thread.
        now: address of ``int64_t now(void)``, nanoseconds; 0 for threads that need not be woken.
        helpers: how many to ask for.
        is_whole: whether for all of them however few the parts: OpenMP ends the threads that a smaller team leaves out.
    """

    call: int = 0
    now: int = 0
    helpers: int = 0
    is_whole: bool = False


def native(threads: int) -> Crew:
    """How native code calls so many threads, the calling one included."""
    if threads == 1:
        return Crew()
    if is_lent():
        call = getattr(_executor.get(), "call", 0)
        return Crew(call, 0, threads - 1, is_whole=True) if call else Crew()
    if (_state.native or _start(_state)) is None:
        return Crew()
    entries = _state.native
    return Crew(ctypes.cast(entries.call, ctypes.c_void_p).value, entries.now, _hire(_state, threads - 1))


def set_num_threads(n: SupportsIndex) -> None:
    """Use n threads from the next call on, the calling one included. Results are the same for every n.

    Args:
        n: how many, from 1 to 1024 (or to the number of processors, if that is more).

    Returns:
        None.

    Raises:
        TypeError: unless n is an integer.
        SettingError: (a ValueError) if n is below 1 or above that.

    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    """
    global _wanted
    _wanted = _number(n)


def get_num_threads() -> int:
    """The number of threads that a call may use: what `set_num_threads` said, or else the environment variable
    UPCONV_NUM_THREADS, or else the number of CPUs that this process may run on.

    Raises:
        ValueError: if UPCONV_NUM_THREADS is not such a number.

    >>> get_num_threads() >= 1
    True
    """
    global _wanted
    executor = _executor.get()
    if executor is not None:
        return executor.threads
    if _wanted is None:
        said = config.num_threads()
        _wanted = _cpus() if said is None else _number(said, "UPCONV_NUM_THREADS")
    return _wanted


def _number(n, name="n"):
    try:
        number = None if isinstance(n, bool) else operator.index(n)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} is {n!r}; it must be an integer from 1 on, as in set_num_threads(2)")
    if number < 1:
        raise SettingError(f"{name} is {number}; at least 1 thread is needed, the calling one")
    most = max(MOST_THREADS, _cpus())
    if number > most:
        raise SettingError(f"{name} is {number}; at most {most} threads are made, on {_cpus()} processors here")
    return number


def _cpus():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return getattr(os, "process_cpu_count", os.cpu_count)() or 1


def _start(state):
    """The native pool, made when it is first needed; None where there are no pthreads, or code is not let run."""
    with state.lock:
        if state.native is None and os.name == "posix":
            # Kernels that exist run on one thread too.
            with suppress(CodeRefused):
                native = Native()
                state.native = state.native or native
    return state.native


def _hire(state, helpers):
    """Make workers until there are as many as that, or as the system allows; returns how many there are for a call."""
    with state.lock:
        while state.workers < helpers and state.native.grow() == 0:
            state.workers += 1
        return min(helpers, state.workers)


def _forget():
    """In the child of a fork: a new pool. The old lock may be held by a thread that does not exist here."""
    global _state
    _state = State(_state.native)
    if _state.native is not None:
        _state.native.prepare(None)


def _one_by_one(fn, rows):
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(fn)
    start, step = rows.ctypes.data, rows.strides[0]
    for part in range(len(rows)):
        function(start + part * step)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
