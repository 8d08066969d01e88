"""The staged language: a `Builder` records what a kernel does, instruction by instruction.

Python runs at generation time: a Python `for` unrolls. ``with k.loop(start, stop, step) as i``, ``with k.repeat() as
leave`` and ``with k.when(...)`` are loops and branches at run time. A `Variable` is the one thing that changes in a
loop; everything else is a value that is made once. All offsets and strides are in bytes.

What threads share is read and written by the atomic instructions, each with a memory order out of `ORDERS`, as C++ and
LLVM mean them. The interpreter knows of one order only, in which all threads see all that happens.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

SIZES = {"f32": 4, "f64": 8, "i16": 2, "i32": 4, "bf16x2": 4, "i64": 8, "i1": 1, "ptr": 8}
INTEGERS = ("i32", "i64")
# Two bfloat16, the first in the lower half: factors of `Builder.muladd`.
PAIRS = "bf16x2"


def type_of_sums(elem):
    """The element type of sums of products of two factors."""
    return "f32" if elem == PAIRS else elem


# The instruction for a kind of halves, and whether the instruction set has one for it.
WIDEN = {("f16", True): "widen_f16", ("f16", False): "widen_f16_by_bits"}
WIDEN |= dict.fromkeys((("bf16", True), ("bf16", False)), "widen_bf16")
NARROW = {("f16", True): "narrow_f16", ("f16", False): "narrow_f16_by_bits"}
NARROW |= dict.fromkeys((("bf16", True), ("bf16", False)), "narrow_bf16")
ORDERS = RELAXED, ACQUIRE, RELEASE, ACQUIRE_RELEASE, SEQUENTIAL = (
    "monotonic",
    "acquire",
    "release",
    "acq_rel",
    "seq_cst",
)


class Type(NamedTuple):
    """A scalar (lanes 0) or a vector of `elem`, one of f32, f64, i16, i32, i64, i1, ptr; an i16 is a half."""

    elem: str
    lanes: int = 0

    @property
    def size(self):
        """Bytes in memory."""
        return SIZES[self.elem] * max(1, self.lanes)

    @property
    def scalar(self):
        return Type(self.elem)

    @property
    def mask(self):
        return Type("i1", self.lanes)


I64, I32, I1, PTR = Type("i64"), Type("i32"), Type("i1"), Type("ptr")


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The result of an instruction. Integers add, subtract, multiply and compare; a pointer plus an integer moves."""

    number: int
    type: Type
    builder: "Builder" = field(repr=False)

    def __add__(self, other):
        return self.builder.emit("offset" if self.type == PTR else "iadd", self.type, self, other)

    def __sub__(self, other):
        return self.builder.emit("isub", I64, self, other)

    def __mul__(self, other):
        return self.builder.emit("imul", I64, self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other):
        return self.builder.emit("less", I1, self, other)

    def __gt__(self, other):
        return self.builder.emit("less", I1, other, self)


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A place for one value that may be set again."""

    number: int
    type: Type
    builder: "Builder" = field(repr=False)

    def get(self):
        return self.builder.emit("get", self.type, variable=self.number)

    def set(self, value):
        self.builder.emit("set", None, value, variable=self.number, type=self.type)


@dataclass(frozen=True, slots=True)
class Instruction:
    """`name` of a primitive (or get/set of a variable), the result, the operands (Values or Python numbers)."""

    name: str
    result: Value | None
    operands: tuple
    attributes: dict


@dataclass(frozen=True, slots=True)
class Loop:
    """``for counter in range(start, stop, step)`` at run time."""

    counter: Value
    start: object
    stop: object
    step: object
    body: list


@dataclass(frozen=True, slots=True)
class Branch:
    """``if condition`` at run time."""

    condition: Value
    body: list


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """``while True`` at run time."""

    body: list


@dataclass(frozen=True, slots=True)
class Leave:
    """``if condition: break`` at run time, out of a loop that it stands in, however deep."""

    condition: Value
    loop: Repeat


class Builder:
    """Records one kernel, a function of a pointer to 64-bit words.

    Args:
        name: of the kernel.
        settles_arithmetic: whether all that it calls runs under IEEE's default arithmetic (to nearest, subnormal
            numbers kept, no traps), whatever the thread that it runs on is set to; afterwards that is as it was.
        shares_argument: whether what its argument points to is written to while it runs, by the kernel itself or by
            other threads.
    """

    def __init__(self, name, *, settles_arithmetic=False, shares_argument=False):
        self.name, self.settles_arithmetic, self.shares_argument = name, settles_arithmetic, shares_argument
        self.variables = []
        self.body = []
        self._count = 0
        self._block = self.body
        self.argument = self._value(PTR)

    def _next(self):
        self._count += 1
        return self._count

    def _value(self, type):
        return Value(self._next(), type, self)

    def emit(self, name, type, /, *operands, **attributes):
        """Record an instruction; returns its Value if it has a result type."""
        result = None if type is None else self._value(type)
        self._block.append(Instruction(name, result, operands, attributes))
        return result

    def arguments(self, *types):
        """The first words that the argument points to, each an i64 or a ptr."""
        return [self.load(self.argument + 8 * place, type) for place, type in enumerate(types)]

    def fields(self, names, pointers):
        """{name: value} of the task that the argument points to: a word for each name, those in `pointers` a ptr."""
        return dict(zip(names, self.arguments(*(PTR if name in pointers else I64 for name in names)), strict=True))

    def variable(self, value, type=None):
        """A new variable, set to `value` here."""
        variable = Variable(len(self.variables), type or value.type, self)
        self.variables.append(variable.type)
        variable.set(value)
        return variable

    @contextmanager
    def loop(self, start, stop, step=1):
        """A loop at run time; yields the counter. `step` must be positive."""
        loop = Loop(self._value(I64), start, stop, step, [])
        with self._inside(loop):
            yield loop.counter

    @contextmanager
    def repeat(self):
        """A loop at run time without an end of its own; yields ``leave(condition)``, which ends it where it stands."""
        loop = Repeat([])
        with self._inside(loop):
            yield lambda condition: self._block.append(Leave(condition, loop))

    @contextmanager
    def when(self, condition):
        """A branch at run time."""
        with self._inside(Branch(condition, [])):
            yield

    @contextmanager
    def _inside(self, block):
        outer = self._block
        outer.append(block)
        self._block = block.body
        try:
            yield
        finally:
            self._block = outer

    def load(self, pointer, type, mask=None):
        """A scalar or a vector; under a mask the other lanes are zero, and their memory is not touched."""
        if mask is None:
            return self.emit("load", type, pointer)
        return self.emit("load_masked", type, pointer, mask)

    def store(self, value, pointer, mask=None):
        """Write a scalar or a vector; under a mask the other lanes' memory is not touched."""
        if mask is None:
            self.emit("store", None, value, pointer)
        else:
            self.emit("store_masked", None, value, pointer, mask)

    def store_strided(self, value, pointer, stride, mask):
        """Store the lanes of a vector `stride` bytes apart, where the mask allows."""
        self.emit("store_strided", None, value, pointer, stride, mask, number=self._next())

    def take(self, pointer):
        """The number (i64) at an address, which is one larger afterwards; no two threads take the same."""
        return self.fetch_add(pointer, 1, RELAXED)

    def fetch_add(self, pointer, number, order):
        """The i64 at an address, to which a number is added in the same step."""
        return self.emit("fetch_add", I64, pointer, number, order=_known(order))

    def fetch_and(self, pointer, bits, order):
        """The i64 at an address, of which only some bits are left in the same step."""
        return self.emit("fetch_and", I64, pointer, bits, order=_known(order))

    def compare_and_swap(self, pointer, old, new, order):
        """Write `new` at an address if `old` stands there, in one step; gives whether that was so."""
        return self.emit("compare_and_swap", I1, pointer, old, new, order=_known(order))

    def load_ordered(self, pointer, order):
        """The i64 at an address that other threads write to: acquire or sequential, or relaxed."""
        return self.emit("load_ordered", I64, pointer, order=_known(order, RELEASE, ACQUIRE_RELEASE))

    def store_ordered(self, number, pointer, order):
        """Write an i64 where other threads look: release or sequential, or relaxed."""
        self.emit("store_ordered", None, number, pointer, order=_known(order, ACQUIRE, ACQUIRE_RELEASE))

    def pause(self):
        """Tell the processor that this loop waits for another thread."""
        self.emit("pause", None)

    def prefetch(self, pointer, write=False, locality=3):
        """Ask for the memory at an address, which need not exist; locality 3 is the first-level cache, 2 the second."""
        self.emit("prefetch", None, pointer, write=write, locality=locality)

    def splat(self, scalar, type):
        """A vector of one number."""
        return self.emit("splat", type, scalar)

    def zero(self, type):
        """Zero, scalar or vector."""
        zero = 0 if type.elem in INTEGERS else 0.0
        return self.emit("splat", type, zero) if type.lanes else zero

    def lane_mask_between(self, start, stop, type):
        """The mask of the lanes from start to stop - 1."""
        # Comparing with the empty mask turns a mask round.
        outside = self.emit("equal", type.mask, self.lane_mask(start, type), self.lane_mask(0, type))
        return self.iand(self.lane_mask(stop, type), outside)

    def lane_mask(self, n, type):
        """The mask of the first n lanes of a vector type; n may be below 0 or beyond the lanes."""
        return self.emit("lane_mask", type.mask, self.imax(self.imin(n, type.lanes), 0))

    def blend(self, mask, a, b):
        """The lanes of a where the mask is set, those of b elsewhere."""
        return self.emit("blend", a.type, mask, a, b)

    def shuffle(self, a, b, indices):
        """The lanes of two vectors one after the other, picked by number."""
        return self.emit("shuffle", Type(a.type.elem, len(indices)), a, b, indices=tuple(indices))

    def add(self, a, b):
        """The sum of data, scalars or vectors: floating point, or integers that wrap around. So mul and muladd."""
        return self.emit("wrapping_add" if a.type.elem in INTEGERS else "add", a.type, a, b)

    def mul(self, a, b):
        return self.emit("wrapping_mul" if a.type.elem in INTEGERS else "mul", a.type, a, b)

    def sub(self, a, b):
        """The difference of floating-point data, scalars or vectors."""
        return self.emit("sub", a.type, a, b)

    def extend(self, a, type):
        """A vector of float32 as one of float64."""
        return self.emit("extend", type, a)

    def any_nan(self, a):
        """Whether any lane of a floating-point vector is NaN."""
        return self.emit("any_nan", I1, a)

    def muladd(self, a, b, c):
        """a * b + c, rounded once where the machine can; of pairs of bfloat16, two products added to c of f32."""
        if a.type.elem == PAIRS:
            return self.emit("muladd_pairs", c.type, a, b, c)
        if a.type.elem in INTEGERS:
            return self.add(self.mul(a, b), c)
        return self.emit("muladd", a.type, a, b, c)

    def maximum(self, a, b):
        """The larger of two floating-point numbers: b where a < b, otherwise a, so that a NaN in a stays."""
        return self.emit("maximum", a.type, a, b)

    def widen(self, halves, storage, native):
        """A vector of i16, which are halves of `storage` (f16 or bf16), as the f32 that they stand for.

        `native`: whether the instruction set converts f16 itself; the bits are the same either way.
        """
        return self.emit(WIDEN[storage, native], Type("f32", halves.type.lanes), halves)

    def pair(self, first, second):
        """Two vectors of i16 as pairs of bfloat16, which lie in the bits of f32."""
        return self.emit("pair_bf16", Type("f32", first.type.lanes), first, second)

    def narrow(self, a, storage, native):
        """The halves nearest to a vector of f32, ties to even; a NaN stays one."""
        return self.emit(NARROW[storage, native], Type("i16", a.type.lanes), a)

    def narrow_flushed(self, a):
        """The bfloat16 nearest to f32, with zeros for what is subnormal, where pairs are multiplied."""
        return self.emit("narrow_bf16_flushed", Type("i16", a.type.lanes), a)

    def imin(self, a, b):
        """The smaller of two sizes; this and what follows is about sizes, counters and conditions."""
        return self.emit("imin", I64, a, b)

    def imax(self, a, b):
        return self.emit("imax", I64, a, b)

    def iand(self, a, b):
        return self.emit("iand", a.type, a, b)

    def shift_right(self, a, bits):
        return self.emit("shift_right", I64, a, bits)

    def divide(self, a, b):
        """The quotient of two sizes, rounded towards zero; b is not 0."""
        return self.emit("divide", I64, a, b)

    def opaque(self, a):
        """The same number, of which LLVM knows nothing: see the primitive for what that is good for."""
        return self.emit("opaque", I64, a)

    def less(self, a, b):
        return self.emit("less", I1, a, b)

    def equal(self, a, b):
        return self.emit("equal", I1, a, b)

    def negate(self, condition):
        """Whether a condition does not hold."""
        return self.equal(condition, 0)

    def select(self, condition, a, b):
        return self.emit("select", next((v.type for v in (a, b) if isinstance(v, Value)), I64), condition, a, b)

    def call(self, entry, argument):
        """Run another kernel."""
        self.emit("call", None, entry, argument)

    def call_c(self, name, type, *operands):
        """Call a C function that the module has under a name; `type` is what it gives, or None; numbers are i64."""
        return self.emit("call_c", type, *operands, name=name)

    def symbol(self, name):
        """The address of memory that the module has under a name."""
        return self.emit("symbol", PTR, name=name)


def _known(order, *refused):
    if order not in ORDERS or order in refused:
        raise ValueError(
            f"{order!r} is no memory order here; there is {', '.join(o for o in ORDERS if o not in refused)}"
        )
    return order
