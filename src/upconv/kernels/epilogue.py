"""What a kernel does to a value between its sum and its store, in registers: the activation, and the rounding."""

from collections.abc import Callable
from functools import lru_cache
from struct import pack, unpack
from typing import NamedTuple

from ..codegen.lang import Type


class Fused(NamedTuple):
    """An activation as instructions on vectors, which keep a NaN.

    `constant(k, vector, slope)` is made once a task, `slope` being the place of that field in it;
    `apply(k, value, constant)` gives the value after the activation.
    """

    constant: Callable
    apply: Callable


def _nothing(k, vector, slope):
    return None


def _zero(k, vector, slope):
    return k.zero(vector)


def _slope(k, vector, slope):
    return k.splat(k.load(k.argument + 8 * slope, vector.scalar), vector)


# Those that are one or two instructions; the others take a pass of their own over the result.
IN_REGISTERS = {
    "none": Fused(_nothing, lambda k, value, _: value),
    "relu": Fused(_zero, lambda k, value, zero: k.maximum(value, zero)),
    # Right for slopes above 0 and up to 1.
    "leaky_relu": Fused(_slope, lambda k, value, slope: k.maximum(value, k.mul(value, slope))),
}


def is_in_registers(activation, slope):
    """Whether kernels can apply an activation with such a slope."""
    return activation in IN_REGISTERS and (activation != "leaky_relu" or 0 < slope <= 1)


def suffix(activation):
    """The part of a kernel's name that says what it applies."""
    return "" if activation == "none" else f"_{activation}"


@lru_cache(maxsize=64)
def slope_field(elem, slope):
    """A slope as the 64-bit field of a task: the bits of the number in the type of the values."""
    code, whole = {"f32": ("<f", "<i"), "f64": ("<d", "<q")}[elem]
    return unpack(whole, pack(code, slope))[0]


class Epilogue:
    """Applies an activation to vectors; `slope` is the place of that field in the task.

    `written` is the type of what is stored: with `rounds`, bfloat16.
    """

    def __init__(self, k, vector, activation, slope, rounds=False):
        self.rounds, self.written = rounds, Type("i16", vector.lanes) if rounds else vector
        self.k, self.fused = k, IN_REGISTERS[activation]
        self.constant = self.fused.constant(k, vector, slope)

    def __call__(self, value):
        """The value as it is stored; a NaN stays one."""
        value = self.fused.apply(self.k, value, self.constant)
        return self.k.narrow_flushed(value) if self.rounds else value
