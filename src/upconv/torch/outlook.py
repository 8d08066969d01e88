"""What is known of a layer before its first call: whether torch will compute it, for which sizes of input, and why."""

import torch

from ..errors import SettingError
from . import choice, dispatch
from .examine import as_map, why_not_covered
from .frozen import evaluating
from .instance import DIMENSIONS, kind_of
from .sharded import whole

# Squares, or lengths, that are asked for; what lies between two of them is not looked at.
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def outlook(layer, is_gathered=False):
    """(whether upconv computes any of the sizes asked for, a sentence or an empty one).

    Args:
        layer: a transposed convolution.
        is_gathered: whether its parameters are made whole for every call, see `sharded`.
    """
    if isinstance(layer, torch.nn.modules.lazy.LazyModuleMixin):
        return True, ""
    with torch.no_grad(), evaluating(layer):
        weight, bias = layer.weight, layer.bias
    if is_gathered:
        weight, bias = whole(weight), whole(bias)
    covered = why_not_covered(weight, weight, bias)
    if covered:
        return False, f"computed by torch, since {'; '.join(covered)}"
    answers = {size: found for size in SIZES if (found := _decision(layer, weight, bias, size)) is not None}
    theirs = [size for size, found in answers.items() if not found.is_ours]
    if not theirs:
        return True, ""
    why = "; ".join(answers[theirs[-1]].why)
    if len(theirs) == len(answers):
        return False, f"computed by torch, since {why}"
    kinds = DIMENSIONS[kind_of(layer)]
    small = theirs == list(answers)[: len(theirs)]
    named = theirs[-1:] if small else theirs
    sizes = ", ".join("×".join([str(size)] * kinds) if kinds > 1 else f"length {size}" for size in named)
    return True, f"torch computes inputs of {'up to ' if small else ''}{sizes}, since there {why}"


def _decision(layer, weight, bias, size):
    """Who computes one square input, or None where there is no output."""
    x = weight.new_empty(()).expand(1, weight.shape[0], *[size] * (weight.ndim - 2))
    try:
        return choice.by_rule(dispatch.facts(*as_map(layer, x, weight, bias, layer.output_padding)).forward)
    except SettingError:
        return None
