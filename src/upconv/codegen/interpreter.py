"""Runs a recorded kernel with NumPy, one instruction at a time: the definition of the language.

Memory is a list of NumPy arrays; every access must lie within one of them, so the interpreter also finds what a native
kernel would silently read or write beyond its buffers.
"""

import ctypes
from dataclasses import dataclass

import numpy as np

from .lang import Branch, Builder, Loop, Type, Value
from .primitives import TABLE

DTYPES = {"f32": "<f4", "f64": "<f8", "i32": "<i4", "i64": "<i8"}


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


def interpret(kernel: Builder, words, *arrays):
    """Run a kernel on words (an array of int64) whose pointers point into `arrays`.

    Raises:
        IndexError: when the kernel reads or writes outside the words and the arrays.
        ValueError: when it writes to an array that is read-only.
    """
    memory = Memory(words, *arrays)
    values = {kernel.argument.number: Pointer(memory, words.ctypes.data)}
    with np.errstate(all="ignore"):
        _run(kernel.body, values, {})


def _run(block, values, variables):
    def of(operand):
        return values[operand.number] if isinstance(operand, Value) else operand

    for step in block:
        if isinstance(step, Loop):
            for count in range(of(step.start), of(step.stop), of(step.step)):
                values[step.counter.number] = count
                _run(step.body, values, variables)
        elif isinstance(step, Branch):
            if of(step.condition):
                _run(step.body, values, variables)
        elif step.name == "set":
            variables[step.attributes["variable"]] = of(step.operands[0])
        elif step.name == "get":
            values[step.result.number] = variables[step.attributes["variable"]]
        else:
            result = _meaning(step, [of(operand) for operand in step.operands])
            if step.result is not None:
                values[step.result.number] = result


def _meaning(step, operands):
    primitive = TABLE[step.name]
    attributes = {name: value for name, value in step.attributes.items() if name != "number"}
    if primitive.typed:
        attributes["type"] = step.result.type
    result = primitive.meaning(*operands, **attributes)
    if step.name == "splat":
        return result.astype(DTYPES[step.result.type.elem])
    return result
