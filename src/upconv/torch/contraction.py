"""The three operations of `bilinear` on tensors, each computed by upconv or by torch's operator.

Nothing is conjugated here. Everything below sees no gradients: `derivatives` and `compiled` put them around it.
"""

from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch.autograd import profiler

from .. import calls
from ..arrays import empty
from ..bilinear import SLOTS, enlarged
from ..errors import SettingError
from ..layouts import CHANNELS_FIRST, CHANNELS_LAST, WEIGHT_CHANNELS_LAST, dense_layout, dense_weight_layout
from ..planning import AUTO, solve
from ..problem import NO_ACTIVATION, Problem
from ..runtime import pool
from ..settings import Settings
from . import choice
from .operands import NAMES, array, geometry_of, has_memory, is_channels_last, numpy_dtype, operand, tensor
from .team import team

LAYOUTS = {False: CHANNELS_FIRST, True: CHANNELS_LAST}
# What a profiler calls them; torch's are aten::conv_transpose2d and aten::convolution_backward.
ENTRIES = {"forward": "", "grad_input": "_grad_input", "grad_weight": "_grad_weight"}


class Call:
    """The facts of one layer on one shape: settings, sizes, dtype, and how each slot lies in memory.

    `last` says of each slot whether it lies channels-last, `forward` is the problem of that operation, `algorithm` the
    name of what computes that, or AUTO, and `is_ours` whether upconv does by the rule. The plans are kept here, never a
    tensor.
    """

    __slots__ = (
        "_by_name",
        "_by_rule",
        "algorithm",
        "dtype",
        "forward",
        "geometry",
        "is_ours",
        "last",
        "numpy_dtype",
        "operations",
        "settings",
        "shapes",
    )

    def __init__(self, settings, geometry, dtype, last, algorithm=AUTO):
        self.settings, self.dtype, self.last, self.numpy_dtype = settings, dtype, last, numpy_dtype(dtype)
        self.geometry, self.algorithm = geometry, algorithm
        self.shapes = {"x": geometry.input_shape, "w": geometry.weight_shape, "y": geometry.output_shape}
        self.operations, self.forward = {}, self.problem("forward")
        _, self.is_ours = self.plan("forward")
        self._by_rule, self._by_name = {}, {}

    def plan(self, operation):
        """(plan, whether it is ours to run) of one of the three operations."""
        if operation not in self.operations:
            problem, name = self.problem(operation), self._algorithm(operation)
            found = choice.decide(problem) if name == AUTO else choice.by_name(problem, name)
            self.operations[operation] = found.plan, found.is_ours
        return self.operations[operation]

    def _algorithm(self, operation):
        return self.algorithm if operation == "forward" else AUTO

    @property
    def is_mistaken(self):
        """Whether a gradient may not be left to torch."""
        return choice.is_mistaken(self.problem("grad_input"))

    def by(self, is_ours):
        """The same with the forward operation upconv's, or torch's, whatever the rule says: as it was measured."""
        if is_ours == self.is_ours:
            return self
        if is_ours not in self._by_rule:
            made = type(self)(self.settings, self.geometry, self.dtype, self.last)
            made.operations["forward"], made.is_ours = (self.plan("forward")[0], is_ours), is_ours
            self._by_rule[is_ours] = made
        return self._by_rule[is_ours]

    def by_name(self, algorithm):
        """The same with the forward operation upconv's, computed by the algorithm of a name.

        Raises:
            TypeError: for an unknown name.
            SettingError: when the algorithm refuses.
        """
        if algorithm not in self._by_name:
            self._by_name[algorithm] = type(self)(self.settings, self.geometry, self.dtype, self.last, algorithm)
        return self._by_name[algorithm]

    def enlarged(self, operation, axis, size):
        """The call of an operation of the layer in which an axis is so many times longer.

        Of more groups, and of gradients, no algorithm is named: these are other problems than the one it is asked for.
        """
        algorithm = AUTO if axis == "group" else self._algorithm(operation)
        x, w, groups = enlarged(self.shapes["x"], self.shapes["w"], self.settings.groups, axis, size)
        settings = replace(self.settings, groups=groups)
        return type(self)(settings, settings.geometry(x, w), self.dtype, self.last, algorithm)

    def is_last(self, operation):
        """Whether the result of an operation is to lie channels-last."""
        return self.last[SLOTS[operation][2]]

    def problem(self, operation):
        """The Problem of one of the three operations, on operands that lie as torch's rule reads their strides."""
        layouts = {slot: LAYOUTS[last] for slot, last in self.last.items()}
        a, b, result = (layouts[slot] for slot in SLOTS[operation])
        a = dense_layout(self.shapes[SLOTS[operation][0]], a)
        second = self.shapes[SLOTS[operation][1]]
        if operation == "grad_weight":
            b = dense_layout(second, b)
        else:
            result = dense_layout(self.shapes[SLOTS[operation][2]], result)
            b = WEIGHT_CHANNELS_LAST if self.last["w"] else dense_weight_layout(second)
        return Problem(operation, self.geometry, NAMES[self.dtype], result, a, b)

    def ours(self, operation, a, b, bias, activation=NO_ACTIVATION):
        """One operation on plain tensors, computed by upconv."""
        # A prepared weight is packed for the forward pass alone.
        second = operand(b) if operation == "forward" else array(b)
        operands = array(a), second, None if bias is None else array(bias)
        return tensor(pool.run_on(team(), self._computed, operation, activation, *operands), self.dtype)

    def _computed(self, operation, activation, a, b, bias):
        """The same on arrays, on the threads that are set: straight away, if its like has been before."""
        asked = self.settings, a, b, bias, None, (operation, activation, self)
        out = calls.again(*asked)
        if out is None:
            problem = self.plan(operation)[0].problem
            if activation is not NO_ACTIVATION:
                problem = _activated(problem, activation)
            out = empty(problem.result_shape, self.numpy_dtype, LAYOUTS[self.is_last(operation)])
            solve(problem, self._algorithm(operation), a, b, bias, out, partial(calls.first, *asked, out))
        return out

    def entry(self, operation):
        """What a profiler calls an operation."""
        return f"upconv::conv_transpose{self.settings.dimensions}d{ENTRIES[operation]}"

    def formatted(self, operation, result):
        """A result of torch's in the memory format that is promised."""
        last = self.is_last(operation)
        return result.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


# A vocoder sends a new width every time, so the cache must forget. Typed, since True equals 1 and is to be refused.
@lru_cache(maxsize=512, typed=True)
def call_of(stride, padding, output_padding, groups, dilation, x_shape, x_strides, w_shape, w_strides, b_shape, dtype):
    """The Call of settings in torch's forms and of operands of these shapes, after all checks."""
    settings = Settings.of(*parsed(stride, padding, output_padding, groups, dilation))
    geometry = geometry_of(settings, x_shape, w_shape, b_shape)
    return Call(settings, geometry, dtype, _last(x_shape, x_strides, w_shape, w_strides))


# Typed and forgetting, as that.
@lru_cache(maxsize=512, typed=True)
def line_call_of(
    stride, padding, output_padding, groups, dilation, x_shape, x_strides, w_shape, w_strides, b_shape, dtype
):
    """The same of a 1-D layer, whose operands come as those of a map of height 1."""
    settings = Settings.of(*parsed(stride, padding, output_padding, groups, dilation, 1), dimensions=1)
    lines = ((*shape[:-2], *shape[-1:]) for shape in (x_shape, w_shape))
    geometry = geometry_of(settings, *lines, b_shape)
    return Call(settings.as_2d(), geometry, dtype, _last(x_shape, x_strides, w_shape, w_strides))


def _last(x_shape, x_strides, w_shape, w_strides):
    """Of each slot, whether it lies channels-last."""
    last = {"x": is_channels_last(x_shape, x_strides), "w": is_channels_last(w_shape, w_strides)}
    return {**last, "y": last["x"] or last["w"]}


def parsed(stride, padding, output_padding, groups, dilation, dimensions=2):
    """The settings of a call in torch's forms as integers and pairs of them.

    Raises:
        TypeError: for settings that are not integers.
        SettingError: for settings that no input could make valid.
    """
    settings = Settings.of(stride, padding, output_padding, groups, dilation, dimensions=dimensions)
    if isinstance(settings.padding, str) or isinstance(settings.padding[0], tuple):
        raise SettingError(
            f"padding is {padding!r}; for torch it must be an integer, or one for each axis, at least 0 (the function "
            "of upconv itself, for NumPy, also takes words and signed crops)"
        )
    return settings.stride, settings.padding, settings.output_padding, settings.groups, settings.dilation


# What kernels apply and torch applies in place.
IN_PLACE = {
    "none": lambda y, _: y,
    "relu": lambda y, _: torch.relu_(y),
    "leaky_relu": lambda y, slope: torch.nn.functional.leaky_relu_(y, slope),
}


def activated(result, activation):
    """What a fresh result becomes by torch; it is changed in place."""
    return IN_PLACE[activation.name](result, activation.slope)


def contract(operation, a, b, bias, call, activation=NO_ACTIVATION):
    """One operation on two plain tensors, with a bias for the forward one or None, and an activation of IN_PLACE."""
    _, is_ours = call.plan(operation)
    if not (has_memory(a) and has_memory(b)):
        return activated(theirs(operation, a, b, bias, call), activation)
    if not is_ours:
        return call.formatted(operation, activated(theirs(operation, a, b, bias, call), activation))
    if profiler._is_profiler_enabled:
        with profiler.record_function(call.entry(operation)):
            return call.ours(operation, a, b, bias, activation)
    return call.ours(operation, a, b, bias, activation)


@lru_cache(maxsize=512)
def _activated(problem, activation):
    return replace(problem, activation=activation)


def theirs(operation, a, b, bias, call):
    """The same by torch's operators."""
    if a.is_complex():
        return _complex(operation, a, b, bias, call)
    settings = call.settings
    ends = settings.stride, settings.padding, settings.dilation, True, settings.output_padding, settings.groups
    if operation == "forward":
        return torch.ops.aten.convolution(a, b, bias, *ends)
    # Of the slot that is wanted torch reads the shape alone.
    wanted = a.new_empty(()).expand(call.shapes[SLOTS[operation][2]])
    if operation == "grad_input":
        return torch.ops.aten.convolution_backward(a, wanted, b, None, *ends, (True, False, False))[0]
    return torch.ops.aten.convolution_backward(b, a, wanted, None, *ends, (False, True, False))[1]


def _complex(operation, a, b, bias, call):
    """Four real operations, since aten's convolution has no complex one."""

    def part(a, b):
        return theirs(operation, a, b, None, call)

    real = part(a.real, b.real) - part(a.imag, b.imag)
    result = torch.complex(real, part(a.real, b.imag) + part(a.imag, b.real))
    return result if bias is None else result + bias.reshape(-1, *[1] * (result.ndim - 2))
