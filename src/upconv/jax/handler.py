"""What XLA calls, and what is prepared for it: the programs of a problem as tables that native code runs.

XLA calls a handler at two stages. At `instantiate`, when a computation is compiled or taken from a cache, Python
prepares what the call will need. At `execute`, on whatever thread XLA computes, generated code (`handler_code`) looks
that up by its key and runs it: no Python, no GIL, no memory but what XLA gives and what is lent as scratch (`scratch`).
The programs are those that the NumPy door runs, on the same threads, so the bits are the same too.

What has been prepared stays, some kilobytes for each layer and size, as nobody says when XLA forgets a computation.
"""

import ctypes
import hashlib
import json
import threading
from dataclasses import dataclass

import jax
import numpy as np

from ..algorithms import ALGORITHMS
from ..geometry import Axis, Geometry
from ..layouts import CHANNELS_FIRST, CHANNELS_LAST, Operand
from ..planning import AUTO, fitted
from ..plans import Plan
from ..problem import Problem
from ..runtime import pool
from ..runtime.kernel import isa, link
from ..runtime.program import address, team
from . import handler_code as code
from .scratch import Scratch

NAME = "upconv_transposed_convolution"
FIRST_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Spec:
    """All that a call's programs depend on; `text` carries it through XLA's caches, `of` reads it back.

    Attributes:
        operation, geometry, dtype: of the problem, which no rewrite would change.
        last: whether the maps lie channels-last in memory; all operands are dense, and a weight lies as torch's.
        threads: how many a call may use.
        isa: the instruction set that its kernels are made for.
        algorithm: the name of what is to compute it, or AUTO.
    """

    operation: str
    geometry: Geometry
    dtype: str
    last: bool
    threads: int
    isa: str
    algorithm: str = AUTO

    @classmethod
    def here(cls, operation, geometry, dtype, last, algorithm=AUTO):
        """For this process as it is now."""
        return cls(operation, geometry, dtype, last, pool.get_num_threads(), isa().name, algorithm)

    @property
    def text(self):
        g = self.geometry
        geometry = g.n, g.c_in, g.c_out, g.groups, _values(g.h), _values(g.w)
        return json.dumps((self.operation, geometry, self.dtype, self.last, self.threads, self.isa, self.algorithm))

    @classmethod
    def of(cls, text):
        operation, (*sizes, h, w), *rest = json.loads(text)
        return cls(operation, Geometry(*sizes, Axis(*h), Axis(*w)), *rest)

    @property
    def key(self):
        """A number for it, never 0."""
        return int.from_bytes(hashlib.sha256(self.text.encode()).digest()[:8], "little", signed=True) or 1


def _values(axis: Axis):
    """What an axis is made from."""
    return axis.n, axis.k, axis.s, axis.d, axis.crop_lo, axis.crop_hi


def planned(operation, geometry, dtype, last, algorithm=AUTO) -> Plan:
    """The plan of a problem on dense operands, the maps all channels-last or all channels-first."""
    problem = Problem(operation, geometry, dtype, CHANNELS_LAST if last else CHANNELS_FIRST)
    return fitted(problem, algorithm, *strides(problem, last))


def strides(problem, last):
    """Strides in bytes of both operands and of the result, dense."""

    def of(shape, is_weight):
        return Operand.dense(shape, problem.itemsize, last and not is_weight).strides

    makes_weight = problem.operation == "grad_weight"
    a, b = problem.operand_shapes
    return of(a, False), of(b, not makes_weight), of(problem.result_shape, makes_weight)


class Prepared:
    """What one Spec needs at a call; `lent` says how many bytes of scratch it asks of the process's own.

    Attributes:
        state: address of what the handler reads.
        scratch_bytes: memory that a call needs.
        biases: (how often it is repeated, how many values are read) of the bias of each program, one after another.
    """

    def __init__(self, spec, lent):
        plan = planned(spec.operation, spec.geometry, spec.dtype, spec.last, spec.algorithm)
        names = [name for name in (plan.algorithm, plan.fallback) if name]
        places = strides(plan.problem, spec.last)
        ready = [ALGORITHMS[name].runnable(plan.problem, *places, spec.threads) for name in names]
        self.biases = [(each.repeats, len(each.no_bias)) for each in ready]
        threads = [team(each.program.seconds, spec.threads) for each in ready]
        # The jobs of either are behind all that the larger one needs.
        place = max(each.program.scratch_bytes(number) for each, number in zip(ready, threads, strict=True))
        made = [each.program.record(number, place) for each, number in zip(ready, threads, strict=True)]
        self.scratch_bytes = max(size for _, size in made) + code.ALIGNMENT
        bias_at, words = 0, [spec.operation == "grad_weight", lent(self.scratch_bytes)]
        for each, (record, _) in zip(ready, made, strict=True):
            words += [address(record), address(each.no_bias), bias_at]
            bias_at += each.no_bias.nbytes
        state = np.array(words, np.int64)
        self.state = address(state)
        # Everything whose address is written somewhere above.
        self._alive = state, made, ready


class _States:
    """The native table of what was prepared. Entries are added; one twice as large replaces it when it is half full."""

    def __init__(self):
        table = (ctypes.c_void_p * 3).from_address(link(code.NAME, code.text()).address)
        self.handler, self._cell = table[code.HANDLER], table
        self._lock, self._prepared, self._tables = threading.RLock(), {}, []
        self._scratch = Scratch(self._show)
        self._grow(FIRST_SLOTS)

    def prepare(self, spec):
        """The Prepared of a Spec, from now on to be found by its key."""
        key = spec.key
        with self._lock:
            if key not in self._prepared:
                made = self._prepared[key] = Prepared(spec, self._scratch.hold)
                slots = (len(self._tables[-1]) - 1) // 2
                if 2 * len(self._prepared) > slots:
                    self._grow(2 * slots)
                else:
                    _enter(self._tables[-1], key, made.state)
            return self._prepared[key]

    def _show(self, record):
        self._cell[code.MEMORY] = record

    def _grow(self, slots):
        # A handler may still look at the old one.
        table = np.zeros(1 + 2 * slots, np.int64)
        table[0] = slots - 1
        for key, made in self._prepared.items():
            _enter(table, key, made.state)
        self._tables.append(table)
        self._cell[code.STATES] = address(table)


def _enter(table, key, state):
    mask = int(table[0])
    slot = key & mask
    while table[1 + 2 * slot]:
        slot = (slot + 1) & mask
    # Whoever sees the key must find the state.
    table[2 + 2 * slot] = state
    table[1 + 2 * slot] = key


# No cache that may be cleared: XLA takes one handler of a name in a process.
_REGISTERED: list[_States] = []


def states():
    """The table, with the handler registered."""
    if not _REGISTERED:
        _REGISTERED.append(_registered())
    return _REGISTERED[0]


def _registered():
    made = _States()
    # Registered before there is a backend, a handler that it refuses would be reported as a backend that is broken.
    jax.devices("cpu")
    stages = {"instantiate": _capsule(ctypes.cast(_instantiate, ctypes.c_void_p).value)}
    jax.ffi.register_ffi_target(NAME, {**stages, "execute": _capsule(made.handler)}, platform="cpu")
    return made


def _capsule(address):
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(address, None, None)


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def _instantiate(frame):
    """XLA's stage at which a computation is made ready; gives null, or an error of XLA's."""
    try:
        extension = _word(frame, 1)
        if extension and ctypes.c_int32.from_address(extension + 8).value == 1:
            metadata = _word(extension, 3)
            for place, value in zip((24, 28, 32), (*code.VERSION, 0), strict=True):
                ctypes.c_int32.from_address(metadata + place).value = value
            return None
        spec = Spec.of(_attribute(frame, "spec"))
        if spec.isa != isa().name:
            raise RuntimeError(f"compiled for {spec.isa}, and this process makes kernels for {isa().name}")
        states().prepare(spec)
        return None
    except BaseException as error:  # Nothing may be raised through XLA.
        return _error(frame, f"upconv: {type(error).__name__}: {error}")


def _word(at, number):
    return ctypes.c_int64.from_address(at + 8 * number).value


def _attribute(frame, name):
    """An attribute that is a string."""
    count, names, values = (_word(frame, number) for number in (17, 19, 20))
    for number in range(count):
        if _span(_word(names, number)) == name:
            return _span(_word(values, number))
    raise KeyError(name)


def _span(at):
    return ctypes.string_at(_word(at, 0), _word(at, 1)).decode()


def _error(frame, message):
    text = message.encode()
    arguments = (ctypes.c_int64 * 4)(28, 0, ctypes.cast(text, ctypes.c_void_p).value, code.INTERNAL)
    create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(_word(_word(frame, 2), 6))
    return create(ctypes.addressof(arguments))
