"""Fused sequences: a normalisation folded into the operands of the layer before it, an activation in place.

    torch   act((layer(x, w, b) - mean) * scale + beta)        where scale = gamma / sqrt(var + eps)
    fused   act_(layer(x, w * scale, (b - mean) * scale + beta))

Only neighbours in an `nn.Sequential` are fused, since only there the order is certain, and only by the sequence itself:
its members are untouched, so each called alone gives what it always gave. Whether a run is fused is asked in every
call. It is not while training, while torch records gradients, under autocast, in what traces, or with a member's hooks.
"""

import torch
from torch.nn.utils import parametrize

from .dispatch import is_covered
from .frozen import FROZEN, STATE, Seal, evaluating, is_traced
from .module import ConvTranspose1d, ConvTranspose2d

DIMENSIONS = {ConvTranspose1d: 1, ConvTranspose2d: 2} | {FROZEN[ConvTranspose1d]: 1, FROZEN[ConvTranspose2d]: 2}
NORMS = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm2d}
ACTIVATIONS = {
    torch.nn.ReLU: lambda _, y: torch.relu_(y),
    torch.nn.LeakyReLU: lambda module, y: torch.nn.functional.leaky_relu_(y, module.negative_slope),
    torch.nn.Tanh: lambda _, y: torch.tanh_(y),
    torch.nn.Sigmoid: lambda _, y: torch.sigmoid_(y),
}


class FusedSequential(torch.nn.Sequential):
    """An `nn.Sequential` that computes a transposed convolution, its BatchNorm and its activation as one layer."""

    def forward(self, input):
        """As `nn.Sequential.forward`."""
        # TorchScript compiles the first branch alone.
        if torch.jit.is_scripting():
            for module in self:
                input = module(input)
            return input
        else:
            return self._fused(input)

    def _fused(self, input):
        if is_traced():
            return super().forward(input)
        modules, place = list(self._modules.values()), 0
        # A slice of the sequence is of its class and has no state yet.
        folds = vars(self).setdefault(STATE, Folds())
        while place < len(modules):
            run = run_at(modules, place)
            if run is None or not run.may_fuse(input):
                input, place = modules[place](input), place + 1
            else:
                input, place = run.compute(input, folds), place + run.length
        return input

    def train(self, mode=True):
        """As `nn.Module.train`; what was folded is folded anew when it is next needed."""
        super().train(mode)
        vars(self).pop(STATE, None)
        return self


class Folds(dict):
    """{(layer, norm): Folded} of one sequence; a copy of the sequence, or one from a file, begins with none."""

    def __reduce__(self):
        return Folds, ()

    def __deepcopy__(self, memo):
        return Folds()


class Run:
    """Neighbours that can be one layer: a transposed convolution, a normalisation or None, an activation or None."""

    __slots__ = ("activation", "layer", "norm")

    def __init__(self, layer, norm, activation):
        self.layer, self.norm, self.activation = layer, norm, activation

    @property
    def members(self):
        return [module for module in (self.layer, self.norm, self.activation) if module is not None]

    @property
    def length(self):
        return len(self.members)

    def may_fuse(self, input):
        """Whether this call gives the same in one pass, and nobody looks on."""
        layer, norm = self.layer, self.norm
        return (
            not torch.is_autocast_enabled("cpu")
            and not torch._C._are_functorch_transforms_active()
            and is_covered(input, input, None)
            and input.ndim == DIMENSIONS[parametrize.type_before_parametrizations(layer)] + 2
            and not any(map(has_hooks, self.members))
            and (norm is None or (not norm.training and norm.running_mean.dtype is input.dtype))
            and not (torch.is_grad_enabled() and self._is_differentiated(input))
        )

    def _is_differentiated(self, input):
        return input.requires_grad or any(p.requires_grad for module in self.members for p in module.parameters())

    def compute(self, input, folds):
        layer = self.layer
        if self.norm is not None:
            weight, bias = folds.setdefault((layer, self.norm), Folded()).operands(layer, self.norm)
        else:
            weight, bias = plain_operands(layer)
        y = layer._compute(input, None, weight, bias)
        return y if self.activation is None else ACTIVATIONS[type(self.activation)](self.activation, y)


def run_at(modules, place):
    """The run that begins at a place in a sequence, or None."""
    layer = modules[place]
    dimensions = DIMENSIONS.get(parametrize.type_before_parametrizations(layer))
    if dimensions is None or "forward" in vars(layer):
        return None
    norm, *rest = [*modules[place + 1 : place + 3], None, None]
    if type(norm) is not NORMS[dimensions] or norm.running_mean is None or norm.num_features != layer.out_channels:
        norm, rest = None, [norm]
    activation = rest[0] if type(rest[0]) in ACTIVATIONS else None
    run = Run(layer, norm, activation)
    return run if run.length > 1 and not any("forward" in vars(module) for module in run.members) else None


def runs(sequence):
    """Places of the runs of a sequence: (first, one behind the last)."""
    modules, place, found = list(sequence._modules.values()), 0, []
    while place < len(modules):
        run = run_at(modules, place)
        if run is not None:
            found.append((place, place + run.length))
        place += 1 if run is None else run.length
    return found


def has_hooks(module):
    """Whether somebody looks at what goes into a module or comes out of it."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or torch.nn.modules.module._global_forward_hooks
        or torch.nn.modules.module._global_forward_pre_hooks
    )


def plain_operands(layer):
    """(weight, bias) of a layer as they are now, or as they were frozen."""
    frozen = vars(layer).get(STATE)
    return (layer.weight, layer.bias) if frozen is None else frozen.operands(layer)


class Folded:
    """The operands of a layer with a normalisation folded in, made anew whenever a change is seen."""

    def __init__(self):
        self.made = None

    def operands(self, layer, norm):
        """(weight, bias) of both together.

        Raises:
            SettingError: if the layer is frozen and has changed.
        """
        made = self.made
        if made is None or made[0].broken() is not None:
            with torch.no_grad(), evaluating(layer):
                weight, bias = fold(*plain_operands(layer), norm, layer.groups)
            self.made = made = Seal(layer, norm), weight, bias
        return made[1:]


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
