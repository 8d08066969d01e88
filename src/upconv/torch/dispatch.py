"""Ours or torch's: the way of every call, from whatever door it comes."""

import torch
from torch.autograd import forward_ad

from ..errors import SettingError
from ..planning import AUTO, check_algorithm_name
from ..problem import NO_ACTIVATION
from . import choice, compiled
from .contraction import activated, call_of, contract, line_call_of, parsed
from .derivatives import Contraction
from .operands import NAMES, as_2d, check_dtypes, is_plain
from .volumes import volume_call_of

# Taken before anybody can put something else in its place.
THEIRS = torch.nn.functional.conv_transpose2d
THEIRS_1D = torch.nn.functional.conv_transpose1d
THEIRS_3D = torch.nn.functional.conv_transpose3d
CALLS = {1: line_call_of, 2: call_of, 3: volume_call_of}
FUNCTIONALIZE = torch._C._functorch.TransformType.Functionalize


def transpose(
    input, weight, bias, stride, padding, output_padding, groups, dilation, measured=None, activation=NO_ACTIVATION
):
    """`torch.nn.functional.conv_transpose2d` by upconv, or by torch where that is better or must be.

    `measured` is what a layer knows of its own speed (see `choice`), or None. The activation is one that kernels apply;
    whoever passes one wants no derivatives.
    """
    settings = stride, padding, output_padding, groups, dilation
    if torch.compiler.is_compiling():
        result = None if torch.compiler.is_exporting() else compiled.transpose(input, weight, bias, *settings, measured)
        return activated(THEIRS(input, weight, bias, *settings) if result is None else result, activation)
    if is_covered(input, weight, bias):
        theirs = _left(measured, THEIRS, input, weight, bias, *settings)
        return run(input, weight, bias, settings, measured, theirs, activation, 2)
    return activated(THEIRS(input, weight, bias, *settings), activation)


def transpose1d(
    input, weight, bias, stride, padding, output_padding, groups, dilation, measured=None, activation=NO_ACTIVATION
):
    """`torch.nn.functional.conv_transpose1d`, as a map of height 1."""
    settings = stride, padding, output_padding, groups, dilation
    if torch.compiler.is_compiling():
        exporting = torch.compiler.is_exporting()
        result = None if exporting else compiled.transpose1d(input, weight, bias, *settings, measured)
        return activated(THEIRS_1D(input, weight, bias, *settings) if result is None else result, activation)
    if not is_covered(input, weight, bias) or min(input.ndim, weight.ndim) < 1:
        return activated(THEIRS_1D(input, weight, bias, *settings), activation)

    theirs = _left(measured, THEIRS_1D, input, weight, bias, *settings)
    result = run(input.unsqueeze(-2), as_2d(weight), bias, settings, measured, theirs, activation, 1)
    # Torch's own operator has the axes of its input.
    return result if result.ndim == input.ndim else result.squeeze(-2)


def transpose3d(
    input, weight, bias, stride, padding, output_padding, groups, dilation, measured=None, activation=NO_ACTIVATION
):
    """`torch.nn.functional.conv_transpose3d` by upconv, or by torch where that is better, and while it compiles."""
    settings = stride, padding, output_padding, groups, dilation
    if torch.compiler.is_compiling() or not is_covered(input, weight, bias):
        return activated(THEIRS_3D(input, weight, bias, *settings), activation)
    theirs = _left(measured, THEIRS_3D, input, weight, bias, *settings)
    return run(input, weight, bias, settings, measured, theirs, activation, 3)


@torch.compiler.disable
def by_name(algorithm, dimensions, input, weight, bias, *settings):
    """The transposed convolution of so many dimensions by the algorithm that is named: it is never left to torch.

    A compiler leaves its graph for it.

    Raises:
        TypeError: for an unknown name.
        SettingError: when the algorithm refuses, and for tensors that are not upconv's to compute.
    """

    def refuse():
        raise SettingError(
            f"algorithm={algorithm!r} is for tensors that upconv computes itself: dense ones on the CPU, of its "
            f"dtypes, and not while torch traces or exports; use algorithm={AUTO!r}"
        )

    check_algorithm_name(algorithm)
    if torch.compiler.is_compiling() or not is_covered(input, weight, bias):
        refuse()
    is_line = dimensions == 1 and min(input.ndim, weight.ndim) > 0
    x, w = (input.unsqueeze(-2), as_2d(weight)) if is_line else (input, weight)
    result = run(x, w, bias, settings, None, refuse, NO_ACTIVATION, dimensions, algorithm)
    return result.squeeze(-2) if is_line else result


def _left(measured, operator, input, weight, bias, *settings):
    """A call of torch's operator, as it was asked for, that the layer remembers to have left to torch."""

    def call():
        if measured is not None:
            measured.leave(input, weight, bias, settings)
        return operator(input, weight, bias, *settings)

    return call


def is_covered(input, weight, bias):
    """Whether upconv may compute with these tensors here and now; whatever traces must see torch's operator."""
    return (
        is_plain(input)
        and is_plain(weight)
        and (bias is None or is_plain(bias))
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._get_tracing_state()
        and not (torch._C._are_functorch_transforms_active() and _is_functionalized())
    )


def run(input, weight, bias, settings, measured, theirs, activation, dimensions, algorithm=AUTO):
    """One transposed convolution of covered tensors, by whom the layer's measurements prefer, or else the rule.

    Args:
        input: (n, c_in, h, w) or (c_in, h, w); of a 1-D layer with h = 1, of a 3-D one with d before h.
        weight: (c_in, c_out // groups, k_h, k_w), likewise.
        bias: (c_out,) or None.
        settings: (stride, padding, output_padding, groups, dilation), each in any of torch's forms.
        measured: `measurements.Measurements` of the layer, or None.
        theirs: calls torch's operator on what a front door was given.
        activation: what the result passes through, one of `contraction.IN_PLACE`.
        dimensions: of the layer, 1 to 3.
        algorithm: the name of what computes it, or AUTO.

    Returns:
        (n, c_out, h_out, w_out), or without n; in memory as torch's result would lie.

    Raises:
        TypeError: settings that are not integers.
        SettingError: settings that are impossible, tensors that do not fit them or each other.
    """
    if input.ndim == max(dimensions, 2) + 1:
        y = run(input.unsqueeze(0), weight, bias, settings, measured, theirs, activation, dimensions, algorithm)
        # Torch's own operator has the axes of what it was given.
        return y.squeeze(0) if y.ndim == input.ndim + 1 else y
    given = input, weight, bias
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        input, weight, bias = (lowered(tensor, dtype) for tensor in given)
        if input.dtype not in NAMES:
            return activated(theirs(), activation)
    call = facts(input, weight, bias, settings, dimensions)
    differentiated = is_differentiated(input, weight, bias)
    if algorithm != AUTO:
        call = call.by_name(algorithm)
    elif measured and not differentiated:
        # What was measured is the forward pass alone.
        call = call.by(choice.decide(call.forward, measured).is_ours)
    if not call.is_ours and not (differentiated and call.is_mistaken):
        # As they were given, since torch's autocast remembers what it made of a weight.
        return activated(theirs(), activation)
    if differentiated:
        return activated(Contraction.apply(input, weight, bias, "forward", call), activation)
    return contract("forward", input, weight, bias, call, activation)


def facts(input, weight, bias, settings, dimensions=2):
    """The Call of tensors that fit each other and the settings; of a 1-D layer they are maps of height 1."""
    dtype = input.dtype
    if weight.dtype is not dtype or (bias is not None and bias.dtype is not dtype):
        check_dtypes(input=input, weight=weight, bias=bias)
    known = CALLS[dimensions]
    sizes = input.shape, input.stride(), weight.shape, weight.stride(), None if bias is None else bias.shape, dtype
    try:
        return known(*settings, *sizes)
    except TypeError:
        # Lists cannot be looked up; what is no integer is refused here.
        return known(*parsed(*settings, dimensions), *sizes)


def lowered(tensor, dtype):
    """What autocast makes of an operand: everything floating but double becomes `dtype`."""
    if tensor is None or not tensor.is_floating_point() or tensor.dtype is torch.float64:
        return tensor
    return tensor.to(dtype)


def is_differentiated(input, weight, bias):
    """Whether anything may ask for a derivative, or sees the tensors through a transform."""
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    wanted = input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    return wanted and torch.is_grad_enabled()


def _is_functionalized():
    return any(level.key() == FUNCTIONALIZE for level in torch._C._functorch.get_interpreter_stack())
