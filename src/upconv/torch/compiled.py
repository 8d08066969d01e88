"""What torch.compile sees: the three operations as one registered operator, `torch.ops.upconv.contract`.

The compiler refuses an `autograd.Function` that has a forward mode, and looks into no function of NumPy. The operator
says how its results lie in memory before any is computed, and its derivatives are the formulas of `derivatives`. Who
computes is asked of `choice` when the operator runs, since sizes may be symbols before; what a layer has measured on an
example is asked while compiling, and shapes on which torch was faster become torch's own operator in the graph.
"""

from functools import lru_cache

import torch

from ..bilinear import SLOTS, gradients
from ..settings import Settings
from .choice import WITH_INSTRUCTIONS, decide, is_suspect
from .contraction import Call, contract
from .operands import NAMES, is_channels_last

SCHEMA = (
    "(str operation, Tensor a, Tensor b, Tensor? bias, SymInt[] x_shape, SymInt[] w_shape, SymInt[] y_shape, "
    "SymInt[] stride, SymInt[] padding, SymInt[] output_padding, SymInt groups, SymInt[] dilation, bool[] last, "
    "bool forced=False) -> Tensor"
)
EXACT = getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order)
# Of these the operator is given after the three shapes: settings, how the slots lie, and whether it is forced.
FACTS, LAST = 7, 5
torch.library.define("upconv::contract", SCHEMA, tags=(torch.Tag.pt2_compliant_tag, EXACT))


def covers(input, weight, bias, is_gap):
    """Whether the operator takes these; what it does not is torch's, with torch's messages."""
    operands = [input, weight] if bias is None else [input, weight, bias]
    return (
        all(t.device.type == "cpu" and t.layout is torch.strided and t.dtype is input.dtype for t in operands)
        and input.dtype in NAMES
        and (
            NAMES[input.dtype] not in WITH_INSTRUCTIONS
            or is_suspect(input.shape[-1], weight.shape[1], weight.shape[-1], is_gap)
        )
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
    )


def transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, measured=None):
    """The forward operation, or None for what is torch's to do or to refuse."""
    if input.ndim not in (3, 4) or weight.ndim != 4:
        return None
    x = input if input.ndim == 4 else input.unsqueeze(0)
    pairs = [_pair(value) for value in (stride, padding, output_padding, dilation)]
    sizes = [_out(x.shape[i + 2], weight.shape[i + 2], *(two[i] for two in pairs)) for i in (0, 1)]
    if None in sizes or x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        return None
    is_gap = any(out < max(s, d) for out, s, d in zip(sizes, pairs[0], pairs[3], strict=True))
    if not covers(input, weight, bias, is_gap):
        return None
    stride, padding, output_padding, dilation = (list(two) for two in pairs)
    y_shape = [x.shape[0], weight.shape[1] * groups, *sizes]
    last = [is_channels_last(x.shape, x.stride()), is_channels_last(weight.shape, weight.stride())]
    forced = False
    if measured is not None and not torch.is_grad_enabled():
        for shape, is_last, is_ours in known(measured):
            if list(x.shape) == shape and is_last == (last[0] or last[1]):
                if not is_ours:
                    return None
                forced = True
    y = torch.ops.upconv.contract(
        *("forward", x, weight, bias, list(x.shape), list(weight.shape), y_shape),
        *(stride, padding, output_padding, groups, dilation, [*last, last[0] or last[1]], forced),
    )
    return y if input.ndim == 4 else y.squeeze(0)


def transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation, measured=None):
    """The same in one dimension, as a map of height 1."""
    if input.ndim not in (2, 3) or weight.ndim != 3:
        return None
    stride, padding, output_padding, dilation = (_single(v) for v in (stride, padding, output_padding, dilation))
    settings = (1, stride), (0, padding), (0, output_padding), groups, (1, dilation)
    y = transpose(input.unsqueeze(-2), weight.unsqueeze(-2), bias, *settings, measured)
    return None if y is None else y.squeeze(-2)


def _single(value):
    return value if isinstance(value, int) else value[0]


@torch._dynamo.assume_constant_result
def known(measured):
    """[(input's shape, whether channels-last, whether upconv's)] of what a layer has measured with these threads."""
    threads = torch.get_num_threads()
    return [
        (list(problem.geometry.input_shape), problem.layout == "nhwc", decide(problem, measured).is_ours)
        for problem, count in measured
        if count == threads
    ]


def _pair(value):
    if isinstance(value, int):
        return value, value
    return tuple(value) * 2 if len(value) == 1 else tuple(value)


def _out(n, k, stride, padding, output_padding, dilation):
    """Length of an axis, or None where the settings are impossible."""
    out = (n - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1
    possible = min(stride, dilation) > 0 and min(padding, output_padding) >= 0 and n > 0 and out > 0
    return out if possible and output_padding < max(stride, dilation) else None


@torch.library.impl("upconv::contract", "CPU")
def _contract(operation, a, b, bias, x_shape, w_shape, y_shape, *facts):
    *settings_and_last, forced = facts if len(facts) == FACTS else (*facts, False)
    call = _call(a.dtype, *map(_hashable, (x_shape, w_shape, *settings_and_last)))
    return contract(operation, a, b, bias, call.by(True) if forced else call)


def _hashable(value):
    return value if isinstance(value, int) else tuple(value)


@lru_cache(maxsize=512)
def _call(dtype, x_shape, w_shape, stride, padding, output_padding, groups, dilation, last):
    settings = Settings.of(stride, padding, output_padding, groups, dilation)
    return Call(settings, settings.geometry(x_shape, w_shape), dtype, dict(zip("xwy", last, strict=True)))


@torch.library.register_fake("upconv::contract")
def _fake(operation, a, b, bias, x_shape, w_shape, y_shape, *facts):
    last = facts[LAST]
    place = "xwy".index(SLOTS[operation][2])
    shape = (x_shape, w_shape, y_shape)[place]
    if not last[place]:
        return a.new_empty(shape)
    n, c, h, w = shape
    return a.new_empty((n, h, w, c)).permute(0, 3, 1, 2)


def _apply(a, b, bias, operation, facts):
    return torch.ops.upconv.contract(operation, a, b, bias, *facts)


def _setup(ctx, inputs, output):
    ctx.operation, a, b, _, *ctx.facts = inputs
    ctx.save_for_backward(a, b)


def _backward(ctx, grad):
    needed = ctx.needs_input_grad[1:4]
    found = gradients(_apply, needed, *ctx.saved_tensors, ctx.operation, ctx.facts, grad)
    return None, *found, *[None] * len(ctx.facts)


torch.library.register_autograd("upconv::contract", _backward, setup_context=_setup)
