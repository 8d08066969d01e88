"""Runs a recorded kernel with NumPy, one instruction at a time: the definition of the language.

Memory is a list of NumPy arrays; every access must lie within one of them, so the interpreter also finds what a native
kernel would silently read or write beyond its buffers.

A kernel is made `flat` first, a list of instructions and jumps, and a `Thread` goes through it step by step. So several
threads can be taken through their kernels in any order, and one can be copied where two orders part.
"""

import ctypes
from dataclasses import dataclass

import numpy as np

from .lang import I1, I64, Branch, Builder, Instruction, Leave, Loop, Repeat, Type, Value
from .primitives import TABLE

DTYPES = {"f32": "<f4", "f64": "<f8", "i16": "<u2", "i32": "<i4", "bf16x2": "<u4", "i64": "<i8"}


class Memory:
    """The arrays that a kernel may touch, addressed as the machine addresses them."""

    def __init__(self, *arrays):
        self.blocks = []
        for array in arrays:
            start, end = _extent(array)
            whole = np.frombuffer((ctypes.c_char * (end - start)).from_address(start), np.uint8)
            whole.flags.writeable = array.flags.writeable
            self.blocks.append((start, end, whole, array))

    def span(self, address, size):
        """The bytes at an address."""
        for start, end, whole, _ in self.blocks:
            if start <= address and address + size <= end:
                return whole[address - start : address - start + size]
        raise IndexError(f"access of {size} bytes at {address:#x}, outside every array")


def _extent(array):
    """First address of an array's elements, and the address after the last."""
    steps = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    start = array.ctypes.data
    if array.size == 0:
        return start, start
    return start + sum(min(step, 0) for step in steps), start + sum(max(step, 0) for step in steps) + array.itemsize


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer: an address in a memory."""

    memory: Memory
    address: int

    def offset(self, size):
        return Pointer(self.memory, self.address + size)

    def read(self, type: Type, mask=None, stride=None):
        """A scalar or a vector; the lanes are `stride` bytes apart, those outside a mask are zero and not read."""
        if type.elem == "ptr":
            return Pointer(self.memory, int(self.read(Type("i64"))))
        if mask is not None:
            stride = type.scalar.size if stride is None else stride
            value = np.zeros(type.lanes, DTYPES[type.elem])
            for lane in np.flatnonzero(mask):
                value[lane] = self.offset(int(lane) * stride).read(type.scalar)
            return value
        value = self.memory.span(self.address, type.size).view(DTYPES[type.elem])
        return value.copy() if type.lanes else int(value[0]) if type.elem == "i64" else value[0]

    def write(self, value, mask=None, stride=None):
        """Write a scalar or a vector; lanes outside a mask are left alone."""
        if mask is None:
            raw = np.atleast_1d(value).view(np.uint8)
            self.memory.span(self.address, raw.size)[:] = raw
            return
        for lane in np.flatnonzero(mask):
            self.offset(int(lane) * (value.itemsize if stride is None else stride)).write(value[lane])

    def call(self, argument):
        """Run native code, as the language allows a kernel to do."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)(argument.address)


@dataclass(slots=True)
class Jump:
    """Go on at another place of the list: always, or where a condition is as wanted."""

    place: int
    condition: Value | None = None
    wanted: bool = True


def flat(kernel: Builder):
    """The kernel as a list of Instructions and Jumps."""
    made = _Flat(kernel)
    made.block(kernel.body)
    return made.code


class _Flat:
    def __init__(self, kernel):
        self.builder, self.code, self.leaving = kernel, [], {}
        # What loops need beside what the kernel says: numbers that no value and no variable of it has.
        self.values, self.variables = -1, len(kernel.variables)

    def block(self, steps):
        for step in steps:
            if isinstance(step, Loop):
                self.loop(step)
            elif isinstance(step, Branch):
                past = self.jump(step.condition, False)
                self.block(step.body)
                past.place = len(self.code)
            elif isinstance(step, Repeat):
                self.repeat(step)
            elif isinstance(step, Leave):
                self.leaving[step.loop].append(self.jump(step.condition, True))
            else:
                self.code.append(step)

    def jump(self, condition=None, wanted=True, place=0):
        self.code.append(Jump(place, condition, wanted))
        return self.code[-1]

    def repeat(self, step):
        start, self.leaving[step] = len(self.code), []
        self.block(step.body)
        self.jump(place=start)
        for jump in self.leaving[step]:
            jump.place = len(self.code)

    def loop(self, step):
        counter = {"variable": self.variables, "type": I64}
        self.variables += 1
        self.code.append(Instruction("set", None, (step.start,), counter))
        start = len(self.code)
        self.code.append(Instruction("get", step.counter, (), counter))
        past = self.jump(self.emit("less", I1, step.counter, step.stop), False)
        self.block(step.body)
        self.code.append(Instruction("set", None, (self.emit("iadd", I64, step.counter, step.step),), counter))
        self.jump(place=start)
        past.place = len(self.code)

    def emit(self, name, type, *operands):
        result = Value(self.values, type, self.builder)
        self.values -= 1
        self.code.append(Instruction(name, result, operands, {}))
        return result


class Thread:
    """Somebody who goes through flat code: at which place, and with which values.

    Args:
        code: as `flat` makes it.
        values: by number; that of the argument at first.
        names: what the code finds around it: a function for each that it calls, a Pointer for each symbol.
    """

    __slots__ = ("code", "names", "place", "values", "variables")

    def __init__(self, code, values, names):
        self.code, self.values, self.names = code, values, names
        self.place, self.variables = 0, {}

    @property
    def is_over(self):
        return self.place >= len(self.code)

    def of(self, operand):
        """What an operand is now."""
        return self.values[operand.number] if isinstance(operand, Value) else operand

    def step(self):
        """Run the next instruction."""
        step = self.code[self.place]
        if isinstance(step, Jump):
            go = step.condition is None or bool(self.of(step.condition)) == step.wanted
            self.place = step.place if go else self.place + 1
        elif step.name == "set":
            self.variables[step.attributes["variable"]] = self.of(step.operands[0])
            self.place += 1
        elif step.name == "get":
            self.give(self.variables[step.attributes["variable"]])
        else:
            values = self.values
            operands = [values[each.number] if isinstance(each, Value) else each for each in step.operands]
            self.give(_meaning(step, operands, self.names))

    def give(self, result):
        """End the next instruction with a result."""
        step = self.code[self.place]
        if step.result is not None:
            self.values[step.result.number] = result
        self.place += 1


def interpret(kernel: Builder, words, *arrays, names=None):
    """Run a kernel on words (an array of int64) whose pointers point into `arrays`.

    Args:
        kernel: what to run.
        words: what the argument points to, an array of int64.
        arrays: all other memory.
        names: the Python function for each C function that the kernel calls, the array for each symbol.

    Raises:
        IndexError: when the kernel reads or writes outside the words and the arrays.
        ValueError: when it writes to an array that is read-only.
    """
    names = names or {}
    symbols = {name: array for name, array in names.items() if isinstance(array, np.ndarray)}
    memory = Memory(words, *arrays, *symbols.values())
    places = {name: Pointer(memory, array.ctypes.data) for name, array in symbols.items()}
    thread = Thread(flat(kernel), {kernel.argument.number: Pointer(memory, words.ctypes.data)}, names | places)
    with np.errstate(all="ignore"):
        end = len(thread.code)
        while thread.place < end:
            thread.step()


def _meaning(step, operands, names):
    primitive, attributes = TABLE[step.name], step.attributes
    if attributes:
        attributes = {name: value for name, value in attributes.items() if name != "number"}
        if "name" in attributes:
            attributes["name"] = names[attributes["name"]]
    if primitive.typed:
        result = primitive.meaning(*operands, **attributes, type=step.result.type)
    else:
        result = primitive.meaning(*operands, **attributes)
    if step.name == "splat":
        return result.astype(DTYPES[step.result.type.elem])
    return result
