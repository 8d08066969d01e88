"""Derivatives of every order, in both modes, under every transform: one function for the three operations.

Filling one slot from the two others is bilinear, so the derivative in an operand fills that operand's slot, from the
gradient of the result and the other operand (conjugated, as torch defines gradients of real losses). The three
operations are closed under this, so no formula is needed beyond it.
"""

import torch

from .batching import batched
from .contraction import FILLING, SLOTS, contract


def fill(apply, slot, tensors, call):
    """Fill a slot from those in `tensors`, by ``apply(a, b, bias, operation, call)``."""
    operation = FILLING[slot]
    first, second, _ = SLOTS[operation]
    return apply(tensors[first], tensors[second], None, operation, call)


def gradients(apply, needed, a, b, operation, call, grad):
    """Gradients of an operation in a, b and bias, each None where it is not needed."""
    first, second, result = SLOTS[operation]
    grad_a = fill(apply, first, {result: grad, second: b.conj()}, call) if needed[0] else None
    grad_b = fill(apply, second, {result: grad, first: a.conj()}, call) if needed[1] else None
    return grad_a, grad_b, grad.sum((0, 2, 3)) if needed[2] else None


class Contraction(torch.autograd.Function):
    """``apply(a, b, bias, operation, call)``: one of the three operations, differentiable."""

    @classmethod
    def apply(cls, *operands):
        """As in every function, without the 20 us in which `torch.autograd.Function` looks for default arguments."""
        if torch._C._are_functorch_transforms_active():
            return super().apply(*operands)
        return super(torch.autograd.Function, cls).apply(*operands)

    @staticmethod
    def forward(a, b, bias, operation, call):
        return contract(operation, a, b, bias, call)

    @staticmethod
    def setup_context(ctx, inputs, output):
        a, b, _, ctx.operation, ctx.call = inputs
        ctx.save_for_backward(a, b)
        ctx.save_for_forward(a, b)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, grad):
        if grad is None:
            return None, None, None, None, None
        found = gradients(Contraction.apply, ctx.needs_input_grad, *ctx.saved_tensors, ctx.operation, ctx.call, grad)
        return *found, None, None

    @staticmethod
    def jvp(ctx, tangent_a, tangent_b, tangent_bias, *_):
        a, b = ctx.saved_tensors
        result = None
        if tangent_a is not None:
            result = Contraction.apply(tangent_a, b, tangent_bias, ctx.operation, ctx.call)
        if tangent_b is not None:
            bias = tangent_bias if result is None else None
            other = Contraction.apply(a, tangent_b, bias, ctx.operation, ctx.call)
            result = other if result is None else result + other
        if result is None:
            shape = ctx.call.shapes[SLOTS[ctx.operation][2]]
            result = tangent_bias[:, None, None].expand(shape).clone()
        return result

    @staticmethod
    def vmap(info, dims, a, b, bias, operation, call):
        return batched(Contraction.apply, info.batch_size, dims[:3], a, b, bias, operation, call), 0
