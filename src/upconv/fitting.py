"""Operands beside a problem: whether they are those that it was planned for, and how they lie."""

from . import rewrites
from .arrays import as_array, check_shape
from .errors import SettingError
from .layouts import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    STRIDED,
    TAPS_LAST,
    TAPS_SLICED,
    WEIGHT_CHANNELS_LAST,
    is_contiguous,
    map_layout,
    suits,
    weight_layout,
)
from .prepared import PreparedWeight


def array_of(weight):
    """A weight's array, whether it was prepared or not."""
    return weight.raw if isinstance(weight, PreparedWeight) else weight


def checked(problem, x, w):
    """The two operands by their names, if they have the problem's shapes and dtype."""
    g = problem.geometry
    shapes = {
        "forward": (("input", g.input_shape), ("weight", g.weight_shape)),
        "grad_input": (("grad_output", g.output_shape), ("weight", g.weight_shape)),
        "grad_weight": (("input", g.input_shape), ("grad_output", g.output_shape)),
    }[problem.operation]
    arrays = {}
    for value, (name, shape) in zip((x, w), shapes, strict=True):
        array = value if isinstance(value, PreparedWeight) else as_array(value, name)
        check_shape(array, shape, name)
        if array.dtype.name != problem.dtype:
            raise SettingError(f"{name} has dtype {array.dtype.name}; the plan is for {problem.dtype}")
        arrays[name] = array
    return arrays


def lying(array, layout, *, is_weight=False):
    """The array if it lies as a layout says, else a copy that does."""
    lies = STRIDED
    if array.flags.aligned:
        lies = (weight_layout if is_weight else map_layout)(array.shape, array.strides, array.itemsize)
    return array if suits(lies, layout) else rewrites.dense(array, layout)


def result_layout(problem, array):
    """The name of the layout of an array that a problem's result is to be written into."""
    if not array.flags.aligned:
        return STRIDED
    found = layout_of_result(problem.operation, array.shape, array.strides, array.itemsize)
    _, c, k_h, k_w = array.shape
    if problem.operation == "grad_weight" and found == CHANNELS_FIRST and 1 in (c, k_h * k_w):
        # Both layouts are the same memory.
        return problem.layout
    return found


def layout_of_result(operation, shape, strides, size):
    """The name of the layout of an operation's result with such strides in bytes."""
    if operation == "grad_weight":
        if is_contiguous(shape, strides, size):
            return CHANNELS_FIRST
        found = weight_layout(shape, strides, size)
        return {WEIGHT_CHANNELS_LAST: CHANNELS_LAST, TAPS_LAST: TAPS_SLICED}.get(found, found)
    return map_layout(shape, strides, size)
