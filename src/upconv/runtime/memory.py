"""Memory: big results and scratch are private maps with huge pages advised, and come back to be used again.

    empty(shape, dtype)     an array; from 1 MiB on it lies in a block whose lease ends with the array's last view
    scratch(nbytes)         memory for one call, recycled in the calling thread

Fresh memory costs more than many layers: a page fault for every 4 KiB, and the C library asks for fresh memory whenever
an array is large. Idle blocks are kept up to a bound; `release` gives them all back. A block has room to grow, so that
a result somewhat larger than the last one touches fresh memory for the difference alone.
"""

import ctypes
import mmap
import os
import sys
import threading
from contextlib import contextmanager, suppress
from math import prod

import numpy as np

BIG = 1 << 20
HUGE_PAGE = 2 << 20
RESULT_BLOCKS, RESULT_BYTES = 8, 256 << 20
SCRATCH_BLOCKS, SCRATCH_BYTES = 4, 32 << 20

_poison = False


class Block:
    """A private anonymous map; unmapped when nothing refers to it any more.

    `address` is that of `room` bytes from a huge page's border on, of which the first `size` have been handed out; the
    others are addresses without memory behind them. In a fork's child it is a copy of its own.
    """

    __slots__ = ("_keep", "_map", "address", "room", "size")

    def __init__(self, size, room):
        # One page more than asked for, since the kernel may start a map anywhere.
        self.size, self.room = size, room
        self._map = mmap.mmap(-1, room + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._keep = ctypes.c_char.from_buffer(self._map)
        start = ctypes.addressof(self._keep)
        self.address = -(-start // HUGE_PAGE) * HUGE_PAGE
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._advise()

    def _advise(self):
        # A kernel built without huge pages refuses; small ones do as well.
        with suppress(OSError):
            self._map.madvise(mmap.MADV_HUGEPAGE)


class Store:
    """Idle blocks, up to `most_blocks` and `most_bytes`; those idle for longest are let go first.

    There is no lock: an array may end anywhere, even between two steps of `take` in the same thread. Every step on the
    list is atomic, and a block that someone else took first is not in it any more.
    """

    def __init__(self, most_blocks, most_bytes):
        self.most_blocks, self.most_bytes = most_blocks, most_bytes
        self._idle = []

    def take(self, nbytes, *, is_brief=False):
        """A Block of at least that size: one that came back lately, if it is not far too large, or a new one.

        Rather than a new one, the largest that is too small but has room grows. What is brief, back before the next one
        asks, may be far too large: blocks of several sizes would together be more than are kept.
        """
        size = rounded(nbytes)
        latest = self._idle[::-1]
        for block in latest:
            if size <= block.size and (is_brief or block.size <= 2 * size) and self._remove(block):
                return block
        growing = [block for block in latest if block.size < size <= block.room]
        for block in sorted(growing, key=lambda block: -block.size):
            if self._remove(block):
                block.size = max(block.size, size)
                return block
        # What is too large to be kept need not grow.
        if size <= self.most_bytes // 2:
            # Where addresses are counted like memory, there may be too few of them for the room.
            with suppress(OSError):
                return Block(size, _power_of_two(size))
        return Block(size, size)

    def _remove(self, block):
        """Whether an idle block could be had; someone else may have taken it."""
        try:
            self._idle.remove(block)
        except ValueError:
            return False
        return True

    def give(self, block):
        """Take a block back."""
        self._idle.append(block)
        while self._is_over():
            self._let_go()

    def release(self):
        """Let go of every idle block."""
        while self._idle:
            self._let_go()

    def idle(self):
        """(number, bytes) of the idle blocks."""
        blocks = self._idle[:]
        return len(blocks), sum(block.size for block in blocks)

    def _is_over(self):
        number, nbytes = self.idle()
        return number > self.most_blocks or nbytes > self.most_bytes

    def _let_go(self):
        # Another thread may have taken the last one.
        with suppress(IndexError):
            self._idle.pop(0)


class Lease:
    """The use of a block: the memory is the holder's for as long as this lives. `address` is a multiple of 64.

    >>> np.asarray(scratch(100)).nbytes
    100
    """

    __slots__ = ("_block", "_store", "address", "nbytes")

    def __init__(self, store, nbytes, *, is_brief=False):
        self._store = store
        self._block = store.take(nbytes, is_brief=is_brief)
        self.address, self.nbytes = self._block.address, nbytes
        if _poison:
            ctypes.memset(self.address, 0xFF, nbytes)

    @property
    def __array_interface__(self):
        return {"shape": (self.nbytes,), "typestr": "|u1", "data": (self.address, False), "version": 3}

    def __del__(self, is_finalizing=sys.is_finalizing):
        # Without a block if there was no memory for one. While the interpreter ends, nothing is used again, and what
        # this module knows may be gone.
        block = getattr(self, "_block", None)
        if block is not None and not is_finalizing():
            self._store.give(block)


class _Scratch(threading.local):
    """Each thread's own store: what one thread leaves in its cache serves that thread."""

    def __init__(self):
        self.store = Store(SCRATCH_BLOCKS, SCRATCH_BYTES)


def _quarter_of_memory():
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):
        return RESULT_BYTES


_results = Store(RESULT_BLOCKS, min(RESULT_BYTES, _quarter_of_memory()))
_scratch = _Scratch()
_has_maps = hasattr(mmap, "MAP_ANONYMOUS")


def rounded(nbytes):
    """The size of the block for so many bytes: eight sizes between powers of two, whole huge pages."""
    step = max(HUGE_PAGE, _power_of_two(nbytes) >> 4)
    return max(1, -(-nbytes // step)) * step


def _power_of_two(nbytes):
    return 1 << max(0, nbytes - 1).bit_length()


def empty(shape, dtype):
    """An uninitialised C-contiguous array, like `np.empty`.

    From 1 MiB on its memory starts at a multiple of 64 bytes and returns, with the last view, to a list of at most 8
    idle blocks and 256 MiB (or a quarter of the machine's memory). It does not own its data, so ``resize`` refuses.

    Raises:
        MemoryError: when there is no memory left.

    >>> empty((2, 3), np.float32).shape
    (2, 3)
    """
    dtype, shape = np.dtype(dtype), tuple(shape) if hasattr(shape, "__iter__") else (shape,)
    nbytes = prod(shape) * dtype.itemsize
    if nbytes < BIG or not _has_maps or dtype.hasobject:
        return _small(shape, dtype)
    try:
        lease = Lease(_results, nbytes)
    except OSError:
        # What lies idle may be what is missing; NumPy's own message says the size if it is not.
        release()
        return _small(shape, dtype)
    return np.ndarray(shape, dtype, np.asarray(lease))


def aligned(nbytes):
    """Bytes that begin at a multiple of 64, for as long as someone holds them.

    >>> aligned(100).ctypes.data % 64
    0
    """
    whole = empty((nbytes + 64,), np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + nbytes]


def scratch(nbytes, *, is_kept=False):
    """A `Lease` of memory for one call: use its `address`, or ``np.asarray(lease)`` for bytes; keep it while in use.

    One that `is_kept` for more than a call has no block that is far too large.

    Blocks return to the thread that they came from, at most 4 and 32 MiB of them; a larger one comes from the results'
    list. Two leases never share memory, so a signal's handler may compute while a call is under way.

    Raises:
        MemoryError: when there is no memory left.

    >>> scratch(1000).address % 64
    0
    """
    if not _has_maps:
        return _Plain(nbytes)
    try:
        if rounded(nbytes) <= SCRATCH_BYTES:
            return Lease(_scratch.store, nbytes, is_brief=not is_kept)
        return Lease(_results, nbytes)
    except OSError:
        release()
        return _Plain(nbytes)


def brief(nbytes):
    """This thread's own `Lease` for calls that run to their end without letting anything else run here.

    It stays the thread's, so what the last call left there is still in the cache; hold it during the call, since a
    signal's handler that comes before may ask for more.

    >>> brief(1000).address % 64
    0
    """
    lease = getattr(_scratch, "brief", None)
    if lease is None or lease.nbytes < nbytes:
        _scratch.brief = lease = scratch(max(nbytes, BIG), is_kept=True)
    if _poison:
        ctypes.memset(lease.address, 0xFF, lease.nbytes)
    return lease


def release():
    """Give all idle memory back to the system, this thread's scratch included."""
    _results.release()
    _scratch.brief = None
    _scratch.store.release()


def is_poisoned() -> bool:
    """Whether what is handed out is filled with NaN."""
    return _poison


@contextmanager
def poisoned():
    """Fill every array and scratch handed out meanwhile with 0xFF, NaN in every floating type: a test sees stale reads.

    >>> with poisoned():
    ...     empty(2, np.float64)
    array([nan, nan])
    """
    global _poison
    before, _poison = _poison, True
    try:
        yield
    finally:
        _poison = before


class _Plain:
    """A lease without maps: NumPy's memory, aligned."""

    def __init__(self, nbytes):
        self._bytes = _small((nbytes + 64,), np.dtype(np.uint8))
        start = self._bytes.ctypes.data
        self.address, self.nbytes = -(-start // 64) * 64, nbytes

    __array_interface__ = Lease.__array_interface__


def _small(shape, dtype):
    array = np.empty(shape, dtype)
    if _poison and not dtype.hasobject and array.size:
        array.reshape(-1).view(np.uint8)[:] = 0xFF
    return array


if hasattr(os, "register_at_fork"):
    # A fork's child would copy idle blocks page by page when it writes to them: fresh ones cost less.
    os.register_at_fork(after_in_child=release)
