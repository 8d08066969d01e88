"""What is remembered of one layer: what upconv and torch took for its problems, and which calls were torch's."""

from dataclasses import dataclass

import torch
from torch import get_num_threads, is_grad_enabled

# Inputs that a layer remembers to have left to torch; a vocoder sends a new length every time.
MOST_LEFT = 512


@dataclass(frozen=True, slots=True)
class TimedPair:
    """What both took for one problem on one layer, in seconds, and who is to compute it from now on."""

    torch: float
    upconv: float
    is_ours: bool

    @property
    def why(self):
        return f"measured on the example: torch {1e3 * self.torch:.3g} ms, upconv {1e3 * self.upconv:.3g} ms"


class Measurements(dict):
    """{(problem, threads): TimedPair} of one layer, and what it has left to torch, whether measured or by the rule.

    Hashable by identity, so that a compiler may hold it.
    """

    __hash__ = object.__hash__
    __slots__ = ("_left",)

    def __init__(self):
        super().__init__()
        self._left = set()

    def __reduce__(self):
        # Another process, or machine, has other speeds.
        return Measurements, ()

    def leave(self, input, weight, bias, settings):
        """Remember that a call with these is torch's; the settings are `settings_of` its layer.

        What autocast or a transform leaves to torch says nothing of other calls, and lists cannot be looked up.
        """
        if torch.is_autocast_enabled("cpu") or torch._C._are_functorch_transforms_active():
            return
        if not input.is_nested and list not in map(type, settings):
            if len(self._left) >= MOST_LEFT:
                self._left.clear()
            self._left.add(_facts(input, weight, bias, settings))

    def left(self, layer, input):
        """(weight, bias, settings) of such a call of the layer, if it was torch's before; else None.

        In one go and in few steps: the operator itself takes a few microseconds.
        """
        held = layer._parameters
        # A parametrized weight is not among the parameters.
        weight = held.get("weight") if self._left else None
        if weight is None:
            return None
        # Torch looks for an attribute in several places, which takes a while.
        bias = held["bias"] if "bias" in held else layer.bias  # noqa: SIM401
        settings = settings_of(layer)
        try:
            if _facts(input, weight, bias, settings) not in self._left:
                return None
        except (TypeError, RuntimeError):
            # Lists cannot be looked up, and a nested tensor has no shape.
            return None
        return weight, bias, settings

    def __setitem__(self, key, found):
        self._left.clear()
        super().__setitem__(key, found)

    def pop(self, key):
        self._left.clear()
        return super().pop(key)


def settings_of(layer):
    """(stride, padding, output_padding, groups, dilation) of a layer."""
    return layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation


def _facts(input, weight, bias, settings):
    """What the Decision of a call depends on, or an error, at next to no cost.

    The weight is told by its place; another one that comes to lie there would be torch's for longer than need be.
    """
    grad = is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    b = None if bias is None else (bias.dtype, bias.shape)
    w = id(weight), weight.dtype, weight.shape
    return w, b, input.shape, input.stride(), input.dtype, settings, grad, get_num_threads()
