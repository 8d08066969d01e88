"""Ours or torch's: decided by the plan alone, so by geometry, dtype and machine, and the same in every call."""

import torch

from ..algorithms import ALGORITHMS

KERNELS = frozenset(name for name, algorithm in ALGORITHMS.items() if hasattr(algorithm, "weight_form"))
# Below so many multiply-adds torch's operator is done before a call of ours could begin.
FEW_MACS = 50_000
# A kernel of the gradient in the weight fills its vectors with output channels.
FEW_CHANNELS = 4
HALVES = {"float16": "_is_mkldnn_fp16_supported", "bfloat16": "_is_mkldnn_bf16_supported"}


def has_instructions(dtype):
    """Whether oneDNN multiplies this half precision by instructions made for it, which ours do not use."""
    asked = getattr(torch.ops.mkldnn, HALVES[dtype], None)
    return asked is not None and torch.backends.mkldnn.is_available() and bool(asked())


WITH_INSTRUCTIONS = frozenset(filter(has_instructions, HALVES))


def is_ours(plan):
    """Whether upconv computes what is planned; if not, it is left to torch's operator."""
    return not why_torch(plan)


def why_torch(plan):
    """Why torch's operator is the faster one for a plan.

    Args:
        plan: a `upconv.Plan` of any of the three operations.

    Returns:
        Sentences; none if upconv is to compute.
    """
    problem, g, why = plan.problem, plan.problem.geometry, []
    if plan.algorithm not in KERNELS:
        why.append("upconv has no kernels here")
    if problem.macs < FEW_MACS:
        why.append(f"{problem.macs} multiply-adds take less time than a call of upconv's")
    if problem.operation == "grad_weight" and g.groups > 1:
        why.append("upconv's kernel for the gradient in the weight is not made for groups")
    if problem.operation == "grad_weight" and g.c_out < FEW_CHANNELS:
        why.append("upconv's kernel for the gradient in the weight is not made for so few output channels")
    if problem.operation == "grad_weight" and g.h.k <= g.h.s and g.w.k <= g.w.s:
        why.append("where no outputs overlap the gradient in the weight is one plain product, which torch has, too")
    is_depthwise = g.groups == g.c_in > 1
    if problem.operation == "grad_input" and is_depthwise:
        why.append("torch's depthwise convolution begins sooner")
    # oneDNN has no depthwise transposed convolution, so there its instructions do not help it.
    if problem.dtype in WITH_INSTRUCTIONS and not (problem.operation == "forward" and is_depthwise):
        why.append(f"oneDNN has instructions for {problem.dtype} here")
    return why
