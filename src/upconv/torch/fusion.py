"""Runs of modules as one: a normalisation folded into the operands of the layer before it, an activation in place.

    torch   act((layer(x, w, b) - mean) * scale + beta)        where scale = gamma / sqrt(var + eps)
    fused   act_(layer(x, w * scale, (b - mean) * scale + beta))

Whether a run is computed as one is asked in every call. It is not while training, while torch records gradients, under
autocast, in what traces, or with a member's hooks; then its members are called one by one. They are untouched, so each
called alone gives what it always gave. `sequences` and `traced` find the runs.
"""

from contextlib import contextmanager
from functools import partial

import torch

from ..kernels.epilogue import is_in_registers
from ..problem import NO_ACTIVATION, Activation
from .dispatch import is_covered
from .frozen import evaluating, makers, sources
from .instance import DIMENSIONS, OURS, is_foreign, is_put_on, is_replaced, kind_of
from .module import compute
from .operands import own
from .seal import Seal
from .state import state_of

NORMS = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm2d, 3: torch.nn.BatchNorm3d}
STATISTICS = ("running_mean", "running_var")
AFFINE = ("weight", "bias")
ACTIVATIONS = {
    torch.nn.ReLU: lambda _, y: torch.relu_(y),
    torch.nn.LeakyReLU: lambda module, y: torch.nn.functional.leaky_relu_(y, module.negative_slope),
    torch.nn.Tanh: lambda _, y: torch.tanh_(y),
    torch.nn.Sigmoid: lambda _, y: torch.sigmoid_(y),
}


class Run:
    """Neighbours that can be one layer: a transposed convolution, a normalisation or None, an activation or None."""

    __slots__ = ("activation", "layer", "norm")

    def __init__(self, layer, norm, activation):
        self.layer, self.norm, self.activation = layer, norm, activation

    @property
    def members(self):
        return [module for module in (self.layer, self.norm, self.activation) if module is not None]

    def why_not(self):
        """Why the run cannot be computed as one whatever it is given, as a sentence; empty where it can."""
        for module in self.members:
            if has_hooks(module):
                made = makers(module)
                if made and len(made) == len(module._forward_pre_hooks):
                    return "a hook makes its weight in every call; frozen=True as well makes it once"
                return f"there are hooks on its {type(module).__name__}"
        return ""

    def may_fuse(self, input):
        """Whether this call gives the same in one pass, and nobody looks on."""
        layer, norm = self.layer, self.norm
        dimensions = len(layer.kernel_size)
        return (
            not torch.is_autocast_enabled("cpu")
            and not torch._C._are_functorch_transforms_active()
            and is_covered(input, input, None)
            and input.ndim == dimensions + 2
            and not layer.training
            and not any(map(has_hooks, self.members))
            and not is_replaced(layer, dimensions)
            and (norm is None or is_foldable(norm, layer, input.dtype))
            and not (torch.is_grad_enabled() and self._is_differentiated(input))
        )

    def _is_differentiated(self, input):
        return input.requires_grad or any(p.requires_grad for module in self.members for p in module.parameters())

    def by_members(self, input):
        for module in self.members:
            input = module(input)
        return input

    def folded(self, folds):
        """(weight, bias) of the run as one; folds are those of the module that it belongs to."""
        if self.norm is None:
            return operands_of(self.layer)
        return folds.setdefault((self.layer, self.norm), Folded()).operands(self.layer, self.norm)

    def compute(self, input, folds):
        layer, state = self.layer, state_of(self.layer)
        weight, bias = self.folded(folds)
        measured = None if state is None else state.measured
        after = in_kernels(self.activation, input.dtype)
        y = compute(layer, len(layer.kernel_size), input, None, weight, bias, measured, after or NO_ACTIVATION)
        return y if self.activation is None or after else ACTIVATIONS[type(self.activation)](self.activation, y)


def in_kernels(module, dtype):
    """The Activation of a module that kernels apply before they write; None where it takes a pass of its own."""
    if not dtype.is_floating_point:
        return None
    if type(module) is torch.nn.ReLU:
        return Activation("relu")
    if type(module) is torch.nn.LeakyReLU and is_in_registers("leaky_relu", module.negative_slope):
        return Activation("leaky_relu", module.negative_slope)
    return None


# While an example runs: a function that is given every run, its input and its result; None otherwise.
witness = None


def step(run, folds, input):
    """A run's result, by the run as one where that is possible now, or else by its members."""
    if not run.may_fuse(input):
        return run.by_members(input)
    result = run.compute(input, folds)
    if witness is not None:
        witness(run, input, result)
    return result


@contextmanager
def watched(function):
    """Within it, a function sees every run that is computed as one: (run, input, result)."""
    global witness
    before, witness = witness, function
    try:
        yield
    finally:
        witness = before


def run_at(modules, place):
    """The run that begins at a place in a list of modules that are called one after the other, or None."""
    layer = modules[place]
    if not isinstance(layer, torch.nn.ConvTranspose1d | torch.nn.ConvTranspose2d | torch.nn.ConvTranspose3d):
        return None
    kind = kind_of(layer)
    dimensions = DIMENSIONS.get(kind)
    if dimensions is None or is_foreign(layer) or not (is_put_on(layer) or kind in OURS) or is_split(layer):
        return None
    norm, *rest = [*modules[place + 1 : place + 3], None, None]
    if type(norm) is not NORMS[dimensions] or any(getattr(norm, name, None) is None for name in STATISTICS):
        norm, rest = None, [norm]
    activation = rest[0] if type(rest[0]) in ACTIVATIONS else None
    run = Run(layer, norm, activation)
    return run if len(run.members) > 1 and not any(map(is_foreign, run.members)) else None


def is_split(layer):
    """Whether an example has shown that a layer is not to be fused."""
    state = state_of(layer)
    return state is not None and state.split


def is_foldable(norm, layer, dtype):
    """Whether what a normalisation holds now fits the layer's result, as torch would demand."""
    held = [tensor for name in (*STATISTICS, *AFFINE) if (tensor := getattr(norm, name)) is not None]
    channels = (layer.weight.shape[1] * layer.groups,)
    return not norm.training and all(t.shape == channels and t.dtype is dtype and t.is_cpu for t in held)


def has_hooks(module):
    """Whether somebody looks at what goes into a module or comes out of it; hooks at rest do not."""
    return bool(
        module._forward_hooks
        or any(not hasattr(type(hook), "awake") for hook in module._forward_pre_hooks.values())
        or torch.nn.modules.module._global_forward_hooks
        or torch.nn.modules.module._global_forward_pre_hooks
    )


def operands_of(layer, *, exact=False):
    """(weight, bias) of a layer as they are now, or as they were frozen; `exact`, before any rounding to halves."""
    state = state_of(layer)
    frozen = None if state is None else state.frozen
    if frozen is None:
        return layer.weight, layer.bias
    return frozen.exact_operands(layer) if exact else frozen.operands(layer)


def storage_of(layer):
    """The halves in which a frozen layer's weight is kept, "" for none."""
    state = state_of(layer)
    return state.frozen.storage if state is not None and state.frozen is not None else ""


class Folds(dict):
    """{(layer, norm): Folded} of one module; a copy of it begins with none, and so does one from a file."""

    def __reduce__(self):
        return type(None), ()

    def __deepcopy__(self, memo):
        return Folds()


class Folded:
    """The operands of a layer with a normalisation folded in, made anew whenever a change is seen."""

    def __init__(self):
        self.sealed = self.made = None

    def operands(self, layer, norm):
        """(weight, bias) of both together.

        Raises:
            SettingError: if the layer is frozen and has changed.
        """
        if self.sealed is None or self.sealed.broken() is not None:
            with torch.no_grad(), evaluating(layer):
                weight, bias = fold(*operands_of(layer, exact=True), norm, layer.groups)
                # What is folded is rounded once.
                self.made = own(weight, storage_of(layer)), bias
            tensors, facts = sources(layer)
            tensors |= {f"normalisation's {name}": partial(getattr, norm, name) for name in (*STATISTICS, *AFFINE)}
            facts["eps"] = lambda: norm.eps
            self.sealed = Seal(tensors, facts)
        return self.made


def fold(weight, bias, norm, groups):
    """The operands of a transposed convolution and a normalisation behind it, as one.

    Args:
        weight: (c_in, c_out // groups, ...).
        bias: (c_out,) or None.
        norm: a BatchNorm over c_out channels with running statistics.
        groups: of the convolution.

    Returns:
        (weight, bias), computed in double precision, of the dtype and memory format of the weight.
    """
    wide = torch.promote_types(weight.dtype, torch.float64)
    scale = torch.rsqrt(norm.running_var.to(wide) + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.to(wide)
    shift = -norm.running_mean.to(wide) if bias is None else bias.to(wide) - norm.running_mean.to(wide)
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.to(wide)
    # The channels of the result are counted group by group, and so are those of the input.
    a_input = scale.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1).flatten(0, 1)
    folded = torch.empty_like(weight)
    folded.copy_(weight.to(wide) * a_input.reshape(*a_input.shape, *[1] * (weight.ndim - 2)))
    return folded, shift.to(weight.dtype)
