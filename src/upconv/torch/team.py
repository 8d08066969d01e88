"""PyTorch's own threads: the parts of a call run on the OpenMP team that torch's operators run on.

Two pools of threads in one process fight: each keeps its threads spinning for a while after a call, on the cores that
the other one wants. So a call from this front-end asks the OpenMP runtime that torch is linked with for the team that
torch would use at this place, `torch.get_num_threads()` wide. Where there is no such runtime, and in the child of a
fork, where OpenMP's threads do not exist any more, the pool of `upconv.runtime` serves with as many threads.
"""

import ctypes
import os
from functools import lru_cache
from pathlib import Path

import torch

from ..runtime.kernel import CodeRefused, entry
from ..runtime.openmp import caller
from ..runtime.parts import DESCRIPTOR_WORDS, take_parts

_forked = False


class Team:
    """So many threads of torch's, as `upconv.runtime.pool.run_on` wants them."""

    __slots__ = ("call", "run", "threads")

    def __init__(self, threads, run, call=0):
        self.threads, self.run, self.call = threads, run, call


def team():
    """The team that torch would use now."""
    return _team(torch.get_num_threads(), _forked)


@lru_cache(maxsize=64)
def _team(threads, forked):
    parallel = None if forked or threads == 1 else openmp()
    if parallel is None:
        return Team(threads, None)
    try:
        # Every thread of the team runs this function, which takes parts until none is left; none needs the GIL.
        outlined = entry(take_parts)
        call = caller(ctypes.cast(parallel, ctypes.c_void_p).value)
    except CodeRefused:
        return Team(threads, None)

    def run(fn, rows):
        parts, words = rows.shape
        descriptor = (ctypes.c_int64 * DESCRIPTOR_WORDS)(fn, rows.ctypes.data, 8 * words, parts)
        # The whole team even for few parts: OpenMP ends the threads that a smaller one leaves out.
        parallel(outlined, ctypes.addressof(descriptor), threads, 0)

    return Team(threads, run, call)


@lru_cache(maxsize=1)
def openmp():
    """``GOMP_parallel(fn, data, threads, flags)`` of the OpenMP runtime that torch is linked with, or None.

    A symbol is looked for in a library and then in those that it is linked with, so this finds torch's own runtime,
    whichever it is and however many there are in the process.
    """
    try:
        found = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None
    found.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    found.restype = None
    return found


def _forget():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
