"""Operations on batches of operands (vmap) as single operations on larger ones.

Every slot is indexed by some of the axes n, group, c_in and c_out. Where one operand has a batch axis and the other has
not, the axis is folded into one that the other does not have, so that the result has it too; where both have one, it
becomes more groups.

    x: n, group, c_in       w: group, c_in, c_out       y: n, group, c_out
"""

from dataclasses import replace

from .contraction import SLOTS, Call

AXES = {"x": {"n", "group", "c_in"}, "w": {"group", "c_in", "c_out"}, "y": {"n", "group", "c_out"}}


def batched(apply, size, dims, a, b, bias, operation, call):
    """``apply(a, b, bias, operation, call)`` for each of `size` operands, along the result's first axis.

    Args:
        apply: computes one operation.
        size: length of the batch axis.
        dims: where the batch axis of a, b and bias is, or None.
        a, b, bias: operands of the operation; bias may be None.
    """
    first, second, result = SLOTS[operation]
    axis = _axis(first, second, dims)
    if axis is None:
        y = apply(a, b, None, operation, call)[None]
        y = y.expand(size, *y.shape[1:])
    else:
        larger = enlarged(call, axis, size)
        a, b = (
            operand if dim is None else fold(operand.movedim(dim, 0), slot, axis, call.settings.groups)
            for operand, dim, slot in ((a, dims[0], first), (b, dims[1], second))
        )
        y = unfold(apply(a, b, None, operation, larger), result, axis, size, call.settings.groups)
    if bias is None:
        return y
    return y + (bias if dims[2] is None else bias.movedim(dims[2], 0)[:, None])[..., None, None]


def _axis(first, second, dims):
    """The axis into which the batch goes: None if neither operand has one."""
    if dims[0] is None and dims[1] is None:
        return None
    if dims[0] is not None and dims[1] is not None:
        return "group"
    only, other = (first, second) if dims[1] is None else (second, first)
    return (AXES[only] - AXES[other]).pop()


def enlarged(call, axis, size):
    """The call whose axis is so many times longer."""
    n, c_in, h, w = call.shapes["x"]
    _, c_out, k_h, k_w = call.shapes["w"]
    settings = call.settings
    if axis == "n":
        n *= size
    elif axis == "c_out":
        c_out *= size
    else:
        c_in *= size
    if axis == "group":
        settings = replace(settings, groups=settings.groups * size)
    return Call(settings, (n, c_in, h, w), (c_in, c_out, k_h, k_w), call.dtype, call.last)


def fold(operand, slot, axis, groups):
    """Put the first of five axes of an operand into one of those that the slot has."""
    if axis == "n" or (axis == "group" and slot == "w"):
        return operand.flatten(0, 1)
    if axis == "group" or (axis == "c_out" and slot == "w"):
        return operand.movedim(0, 1).flatten(1, 2)
    if slot == "w":
        return operand.unflatten(1, (groups, -1)).movedim(0, 1).flatten(0, 2)
    return operand.unflatten(2, (groups, -1)).movedim(0, 2).flatten(1, 3)


def unfold(result, slot, axis, size, groups):
    """Take the batch axis out again, to the front."""
    if axis == "n" or (axis == "group" and slot == "w"):
        return result.unflatten(0, (size, result.shape[0] // size))
    if axis == "group" or (axis == "c_out" and slot == "w"):
        return result.unflatten(1, (size, -1)).movedim(1, 0)
    if slot == "w":
        return result.unflatten(0, (groups, size, -1)).movedim(1, 0).flatten(1, 2)
    return result.unflatten(1, (groups, size, -1)).movedim(2, 0).flatten(2, 3)
