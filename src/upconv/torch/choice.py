"""Ours or torch's: decided by the plan alone, so by geometry, dtype and machine, and the same in every call."""

import torch

from ..algorithms import LAST_RESORT

# Below so many multiply-adds torch's operator is done before a call of ours could begin.
FEW_MACS = 50_000
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
    if plan.algorithm in LAST_RESORT:
        why.append("upconv has no kernels here")
    if problem.macs < FEW_MACS:
        why.append(f"{problem.macs} multiply-adds take less time than a call of upconv's")
    if problem.operation == "grad_weight" and g.groups > 1:
        why.append("upconv's kernel for the gradient in the weight is not made for groups")
    # oneDNN has no depthwise transposed convolution, so there its instructions do not help it.
    is_depthwise = problem.operation == "forward" and g.groups == g.c_in > 1
    if problem.dtype in WITH_INSTRUCTIONS and not is_depthwise:
        why.append(f"oneDNN has instructions for {problem.dtype} here")
    return why
