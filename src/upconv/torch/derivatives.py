"""Derivatives of every order, in both modes, under every transform: one function for the three operations.

The algebra is that of `bilinear`; here it meets torch's ways of asking for derivatives.
"""

import torch

from ..bilinear import SLOTS, batched, gradients, tangent
from .contraction import contract


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
        tangents = tangent_a, tangent_b, tangent_bias
        result = tangent(Contraction.apply, tangents, *ctx.saved_tensors, ctx.operation, ctx.call)
        if result is None:
            shape = ctx.call.shapes[SLOTS[ctx.operation][2]]
            result = tangent_bias.reshape(-1, *[1] * (len(shape) - 2)).expand(shape).clone()
        return result

    @staticmethod
    def vmap(info, dims, a, b, bias, operation, call):
        many = info.batch_size, dims[:3]

        def enlarge(call, axis, size):
            return call.enlarged(operation, axis, size)

        return batched(Contraction.apply, enlarge, *many, a, b, bias, operation, call, call.settings.groups), 0
