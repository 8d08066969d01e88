"""The algebra of the three operations, for the front-end of any framework: derivatives, and batches of operands.

Input x, weight w and output y are the slots of one trilinear form; each operation fills one slot from the two others:

    forward      x, w -> y
    grad_input   y, w -> x
    grad_weight  x, y -> w

Filling a slot is bilinear, so the derivative in an operand fills that operand's slot, from the gradient of the result
and the other operand (conjugated, as gradients of real losses are). The three operations are closed under this.

Every slot is indexed by some of the axes n, group, c_in and c_out. Where one operand has a batch axis and the other has
not, the axis is folded into one that the other does not have, so that the result has it too; where both have one, it
becomes more groups. Slots that are indexed by an axis:

    x: n, group, c_in       w: group, c_in, c_out       y: n, group, c_out

No framework is imported. Arrays are whatever has `shape`, `reshape`, `swapaxes`, `conj`, `sum` and indexing by None; a
call, which says all about one layer on one shape, is the front-end's own. ``apply(a, b, bias, operation, call)``
computes one operation.
"""

SLOTS = {"forward": "xwy", "grad_input": "ywx", "grad_weight": "xyw"}
FILLING = {slots[2]: operation for operation, slots in SLOTS.items()}
AXES = {"x": {"n", "group", "c_in"}, "w": {"group", "c_in", "c_out"}, "y": {"n", "group", "c_out"}}


# Derivatives ---------------------------------------------------------------------------------------------------------


def fill(apply, slot, arrays, call):
    """Fill a slot from those in `arrays`, a mapping from slots."""
    operation = FILLING[slot]
    first, second, _ = SLOTS[operation]
    return apply(arrays[first], arrays[second], None, operation, call)


def gradients(apply, needed, a, b, operation, call, grad):
    """Gradients of an operation in a, b and bias, each None where it is not needed."""
    first, second, result = SLOTS[operation]
    grad_a = fill(apply, first, {result: grad, second: b.conj()}, call) if needed[0] else None
    grad_b = fill(apply, second, {result: grad, first: a.conj()}, call) if needed[1] else None
    return grad_a, grad_b, grad.sum((0, *range(2, grad.ndim))) if needed[2] else None


def tangent(apply, tangents, a, b, operation, call):
    """The derivative along tangents of (a, b, bias), each of which may be None; None if those of a and b are."""
    along_a, along_b, along_bias = tangents
    result = None
    if along_a is not None:
        result = apply(along_a, b, along_bias, operation, call)
    if along_b is not None:
        other = apply(a, along_b, along_bias if result is None else None, operation, call)
        result = other if result is None else result + other
    return result


# Batches -------------------------------------------------------------------------------------------------------------


def batched(apply, enlarge, size, dims, a, b, bias, operation, call, groups):
    """``apply(a, b, bias, operation, call)`` for each of `size` operands, along the result's first axis.

    Args:
        enlarge: ``enlarge(call, axis, size)`` is the call whose axis is so many times longer, see `enlarged`.
        size: length of the batch axis.
        dims: where the batch axis of a, b and bias is, or None; one of them has one.
        a, b, bias: operands of the operation; bias may be None.
        groups: of the call.
    """
    if size == 0:
        # Of the sums, which are one operand of zeros, nothing is kept.
        a, b, bias = (
            operand if dim is None else operand.sum(dim)[None] for operand, dim in zip((a, b, bias), dims, strict=True)
        )
        dims = tuple(None if dim is None else 0 for dim in dims)
        return batched(apply, enlarge, 1, dims, a, b, bias, operation, call, groups)[:0]
    first, second, result = SLOTS[operation]
    axis = _axis(first, second, dims)
    if axis is None:
        y = apply(a, b, None, operation, call)[None]
    else:
        a, b = (
            operand if dim is None else _fold(_to_front(operand, dim), slot, axis, groups)
            for operand, dim, slot in ((a, dims[0], first), (b, dims[1], second))
        )
        y = _unfold(apply(a, b, None, operation, enlarge(call, axis, size)), result, axis, size, groups)
    if bias is None:
        return y
    bias = bias if dims[2] is None else _to_front(bias, dims[2])[:, None]
    return y + bias[(..., *[None] * (y.ndim - 3))]


def enlarged(x_shape, w_shape, groups, axis, size):
    """(shape of x, shape of w, groups) of the layer in which an axis is so many times longer.

    >>> enlarged((1, 4, 5, 5), (4, 3, 2, 2), 2, "group", 10)
    ((1, 40, 5, 5), (40, 3, 2, 2), 20)
    """
    n, c_in, *sizes = x_shape
    _, c_out, *kernel = w_shape
    if axis == "n":
        n *= size
    elif axis == "c_out":
        c_out *= size
    else:
        c_in *= size
    return (n, c_in, *sizes), (c_in, c_out, *kernel), groups * size if axis == "group" else groups


def _axis(first, second, dims):
    """The axis into which the batch goes: None if neither operand has one."""
    if dims[0] is None and dims[1] is None:
        return None
    if dims[0] is not None and dims[1] is not None:
        return "group"
    only, other = (first, second) if dims[1] is None else (second, first)
    return (AXES[only] - AXES[other]).pop()


def _to_front(array, axis):
    for place in range(axis, 0, -1):
        array = array.swapaxes(place, place - 1)
    return array


def _is_first(slot, axis):
    """Whether an axis is the first of a slot's arrays, or its outer part."""
    return axis == "n" or (axis == "group" and slot == "w")


def _is_second(slot, axis):
    """The same of the second."""
    return axis == "group" or (axis == "c_out" and slot == "w")


def _fold(array, slot, axis, groups):
    """Put the first of five axes of an array into one of those that the slot has."""
    size, first, second, *rest = array.shape
    if _is_first(slot, axis):
        return array.reshape((size * first, second, *rest))
    if _is_second(slot, axis):
        return array.swapaxes(0, 1).reshape((first, size * second, *rest))
    if slot == "w":
        split = array.reshape((size, groups, first // groups, second, *rest))
        return split.swapaxes(0, 1).reshape((size * first, second, *rest))
    split = array.reshape((size, first, groups, second // groups, *rest))
    return split.swapaxes(0, 1).swapaxes(1, 2).reshape((first, size * second, *rest))


def _unfold(array, slot, axis, size, groups):
    """Take the batch axis out again, to the front."""
    first, second, *rest = array.shape
    if _is_first(slot, axis):
        return array.reshape((size, first // size, second, *rest))
    if _is_second(slot, axis):
        return array.reshape((first, size, second // size, *rest)).swapaxes(0, 1)
    if slot == "w":
        split = array.reshape((groups, size, first // (groups * size), second, *rest))
        return split.swapaxes(0, 1).reshape((size, first // size, second, *rest))
    split = array.reshape((first, groups, size, second // (groups * size), *rest))
    return split.swapaxes(1, 2).swapaxes(0, 1).reshape((size, first, second // size, *rest))
