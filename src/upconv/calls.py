"""Calls remembered: one whose like has been before goes straight into generated code.

The door looks at everything each time: kinds, dtypes, shapes, settings, the plan, the program. For a layer of a few
microseconds that is most of the time, and much for one of a few hundred. So a call that has passed, and whose program
runs in one go, is remembered by all that the door looks at, and the next one like it is `runtime.builtin`'s. Everything
else is the door's, every error too.
"""

import os
from threading import RLock
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy import ndarray

from .generated import PROGRAM_BYTES
from .prepared import Form, PreparedWeight
from .runtime import memory
from .runtime.builtin import FLAGGED
from .runtime.pool import helped_by

# How many are kept for weights that are arrays, and for each prepared weight: with one more, those are forgotten. And
# how many bytes of programs are kept by all of them together: with more, all are.
MOST, MOST_BYTES = 512, PROGRAM_BYTES


class Call(NamedTuple):
    """What computes (x, weight, bias, y), helped by those threads (see `pool.helped_by`) or, with 0, by any; how y is
    made; what must live as long.

    `form` is the one that is read of those that a prepared weight keeps; `nbytes` are those of the program alone; the
    `plan` computes again what the program has flagged.
    Without `run` it is one that is not done in one go on those `threads`.
    """

    run: object
    threads: int | tuple[int, int]
    empty: object
    shape: tuple[int, ...]
    dtype: np.dtype
    axes: tuple[int, ...] | None
    held: tuple
    form: Form | None = None
    nbytes: int = 0
    plan: object = None


class Calls(dict):
    """Calls by what they look like: of weights that are arrays, or of one prepared weight."""

    __hash__ = object.__hash__

    def __init__(self):
        super().__init__()
        self.nbytes = 0
        with _keeping:
            _all[id(self)] = self

    def keep(self, key, call: Call):
        """Remember a call; what is too much is forgotten before."""
        global _at_most
        with _keeping:
            if len(self) >= MOST:
                self.clear()
            elif key in self:
                self.nbytes -= self[key].nbytes
            _at_most += call.nbytes
            if _at_most > MOST_BYTES:
                # Counted when it may be too much: to ask all of them takes as long as much else of a new size.
                _at_most = call.nbytes + sum(each.nbytes for each in _living())
            if _at_most > MOST_BYTES:
                self.cache_clear()
                _at_most = call.nbytes
            self[key] = call
            self.nbytes += call.nbytes

    def clear(self):
        super().clear()
        self.nbytes = 0

    def cache_clear(self):
        """Forget everything that is remembered, by others as well."""
        with _keeping:
            for each in _living():
                each.clear()


# A signal's handler may come back here in the thread that holds it.
_keeping = RLock()
# No fewer bytes than are kept.
_at_most = 0
_all: WeakValueDictionary[int, Calls] = WeakValueDictionary()
_of_arrays = Calls()


def _living():
    """All that there are, of which other threads make more meanwhile."""
    return [each for each in (ref() for ref in _all.valuerefs()) if each is not None]


def _forget():
    """In a fork's child, which has none of the threads that calls ask for; the lock may be held by one of them."""
    global _keeping
    _keeping = RLock()
    _of_arrays.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def again(settings, x, weight, bias, activation, asked="forward"):
    """The result of a call like one before, None where there was none; nothing has been checked.

    Args:
        asked: what tells calls apart beside their operands: the operation, and what else its door has looked at.
    """
    found = _find(settings, x, weight, bias, activation, asked)
    if found is None:
        return None
    kept, key, array = found
    call = kept.get(key)
    if call is None or memory.is_poisoned():
        return None
    run, threads, empty, shape, dtype, axes, _, form, _, plan = call
    if run is None or (threads and helped_by() != threads):
        return None
    if form is not None:
        form.is_recent = True
    y = empty(shape, dtype)
    if axes is not None:
        y = y.transpose(axes)
    result = run(x, array, bias, y)
    if result is FLAGGED:
        plan.fall_back(x, weight, bias, y)
        return y
    return None if result is NotImplemented else result


def _find(settings, x, weight, bias, activation, asked):
    """(where it would be kept, its key, the weight's array), None for what is never remembered."""
    if type(x) is not ndarray or not (activation is None or type(activation) is str):
        return None
    if bias is None:
        b = None
    elif type(bias) is ndarray:
        b = bias.shape, bias.strides, bias.dtype
    else:
        return None
    # Settings are held by what is kept, so nothing else can get their identity.
    if type(weight) is ndarray:
        w = weight.shape, weight.strides, weight.dtype
        return _of_arrays, (id(settings), x.shape, x.strides, x.dtype, w, b, activation, asked), weight
    if type(weight) is PreparedWeight:
        if weight.calls is None:
            weight.calls = Calls()
        # In the order in which a program reads it, whatever that of the array that it was made from.
        return weight.calls, (id(settings), x.shape, x.strides, x.dtype, b, activation, asked), weight.dense
    return None


def first(settings, x, weight, bias, activation, asked, y, plan):
    """Keep a call of a plan, if it can be done in one go, and do it: whether y has been computed.

    What cannot is kept as well, so that nobody asks again before the number of threads is another.
    """
    found = None if memory.is_poisoned() else _find(settings, x, weight, bias, activation, asked)
    if found is None:
        return False
    kept, key, array = found
    call, threads = kept.get(key), helped_by()
    if call is not None and (call.threads == threads or (call.run is not None and not call.threads)):
        return False
    arrays = (x, array) if bias is None else (x, array, bias)
    for each in arrays:
        if not (each.dtype.isnative and each.flags.aligned):
            return False
    if bias is not None and bias.strides != (bias.itemsize,):
        return False
    run, held, wanted = plan.direct(x, weight, bias, y)
    if run is None:
        kept.keep(key, Call(None, threads, None, (), y.dtype, None, (settings, None)))
        return False
    dense, axes = y.shape, None
    size, (_, channels, height, width) = y.itemsize, dense
    if y.strides != (channels * height * width * size, height * width * size, width * size, size):
        # Channels-last, and so with a batch: what lies in memory as (n, h, w, c).
        axes = 0, 3, 1, 2
        dense = tuple(y.shape[axis] for axis in (0, 2, 3, 1))
    ready, own, panels = held
    form = weight.form_of(panels) if type(weight) is PreparedWeight else None
    if panels is not None and form is None and type(weight) is PreparedWeight:
        # Let go by another thread: a call that is kept would keep it.
        return _is_computed(run(x, array, bias, y), plan, x, weight, bias, y)
    empty = np.empty if y.nbytes < memory.BIG else memory.empty
    call = Call(run, wanted, empty, dense, y.dtype, axes, (settings, held), form, ready.nbytes + own.nbytes, plan)
    kept.keep(key, call)
    return _is_computed(run(x, array, bias, y), plan, x, weight, bias, y)


def _is_computed(result, plan, x, weight, bias, y):
    """Whether y has been computed, what a function has flagged by the plan's other algorithm."""
    if result is FLAGGED:
        plan.fall_back(x, weight, bias, y)
    return result is not NotImplemented
