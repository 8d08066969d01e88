"""Frozen layers: their operands are taken once, and a change of what they were taken from is an error.

What freezing saves is whatever makes the weight in every call: weight_norm, spectral_norm, other parametrizations, and
the old hooks that do the same; and the weight is packed once, in the forms that the layer's plans ask for.

Settings (stride, padding and so on) are not taken: they are read in every call, so a new one holds at once.
"""

import copyreg
from contextlib import contextmanager
from functools import lru_cache, partial

import torch
from torch.nn.utils import prune
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ..errors import SettingError
from ..storage import check
from .instance import DIMENSIONS, is_replaced, is_traced, kind_of
from .operands import NAMES, has_memory, is_plain, own
from .seal import Same, Seal, print_of, structure, tensors_of

OPERANDS = ("weight", "bias")
# Hooks of torch's that make a weight before every call.
MAKERS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)
FROM_OUTSIDE = "is put on it from outside, by a hook that upconv does not know for example"


def _rest(self, module, inputs):
    """What a hook at rest does: nothing, unless the layer is about to be computed as torch would."""
    if is_traced(*inputs[:1]) or is_replaced(module, DIMENSIONS[kind_of(module)]):
        self.awake.__call__(self, module, inputs)


def _reduce(self):
    """A copy or a file gets torch's own hook.

    Made as objects in pickles of the oldest protocols are: `copyreg.__newobj__` may make none of another class than the
    one that is pickled.
    """
    return copyreg._reconstructor, (self.awake, object, None), vars(self)


@lru_cache(maxsize=64)
def idle(kind):
    """The class of hooks of a kind that make no weight, since the layer's own is frozen.

    A hook stays where it is and what it was, so `remove_weight_norm`, `isinstance` and copies go on as before.
    """
    return type(f"Idle{kind.__name__}", (kind,), {"awake": kind, "__call__": _rest, "__reduce__": _reduce})


def kind_of_hook(hook):
    """The class of a hook when it is awake."""
    return getattr(type(hook), "awake", type(hook))


def makers(module):
    """Hooks on a module that make its weight or bias, at rest or not."""
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, MAKERS)]


def made_by(hook):
    """The name of the operand that a hook makes."""
    return hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else hook.name


def make(module, inputs=()):
    """Let the hooks that make a module's operands make them now, those at rest too."""
    for hook in makers(module):
        kind_of_hook(hook).__call__(hook, module, inputs)


def unknown(module):
    """The name of an operand that no hook of torch's makes and that is no parameter either, or None."""
    known = set(map(made_by, makers(module)))
    return next((name for name in OPERANDS if name in vars(module) and name not in known), None)


def wake(module):
    """Let the hooks of a module make its weight again."""
    for hook in makers(module):
        hook.__class__ = kind_of_hook(hook)


@contextmanager
def evaluating(model):
    """Evaluation mode within it, without calling anybody's `train`: spectral_norm changes its buffers in the other."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def inferring(module):
    """Within it a module's weight and bias are what it computes with in inference now, whatever makes them."""
    with torch.no_grad(), evaluating(module):
        make(module)
        yield


def sources(layer):
    """({name: finder of a tensor}, {name: finder of a value}) of all that a layer's weight and bias are made of."""
    parametrized = set(layer.parametrizations) if is_parametrized(layer) else set()
    hooks = makers(layer)
    made = parametrized.union(map(made_by, hooks))
    tensors = {name: partial(getattr, layer, name, None) for name in OPERANDS if name not in made}
    facts = {"the class, or a parametrization,": partial(type, layer)}
    if hooks:
        facts["the hook that makes an operand"] = partial(hooks_of, layer)
        facts["training"] = partial(has_begun, layer, layer.training)
        for key in {**layer._parameters, **layer._buffers}:
            tensors[key] = partial(held, layer, key)
    if parametrized:
        for name, module in layer.parametrizations.named_modules(prefix="parametrizations"):
            facts[name] = partial(structure, module)
            facts[f"{name}.training"] = partial(has_begun, module, module.training)
            tensors |= {f"{name}.{key}": partial(held, module, key) for key in tensors_of(module)}
    return tensors, facts


def hooks_of(layer):
    """The hooks that make operands, and their settings."""
    return [(Same(hook), print_of(vars(hook))) for hook in makers(layer)]


def has_begun(module, was_training):
    """Whether a module is in training mode now and was not: some make another weight there."""
    return module.training and not was_training


def held(module, name):
    """A tensor that a module holds under a name, registered or not; None if there is none."""
    return tensors_of(module).get(name)


def _are_plain(module):
    """Whether all that a layer's operands are made of is plain tensors with memory."""
    return all(is_plain(tensor) and has_memory(tensor) for tensor in (*module.parameters(), *module.buffers()))


class Frozen:
    """The operands of one frozen layer. A copy of the layer takes its own at its first call.

    Attributes:
        storage: the dtype of halves in which the weight is kept, "" for its own.
        exact: the weight before it was rounded to them; `weight` is what the layer computes with.
        error: what was lost by that, a `upconv.storage.Error`, or None.
    """

    def __init__(self, storage=""):
        self.sealed = self.weight = self.bias = self.exact = self.error = None
        self.storage = storage

    def anew(self):
        """What a copy of the layer has."""
        return Frozen(self.storage)

    def why_not(self, module):
        """Why a layer cannot be frozen, as a sentence; empty where it can."""
        if not _are_plain(module):
            return "its parameters are not dense tensors of upconv's dtypes on the CPU"
        name = unknown(module)
        return "" if name is None else f"its {name} {FROM_OUTSIDE}"

    def seal(self, module):
        """Take copies of the operands as they are now.

        Raises:
            SettingError: if the weight cannot be kept in the storage.
        """
        wake(module)
        with inferring(module):
            self.exact = module.weight.clone()
            check(self.storage or None, NAMES[self.exact.dtype])
            self.weight = own(self.exact.clone() if self.storage else self.exact, self.storage)
            self.error = self.weight.upconv_prepared.error if self.storage else None
            self.bias = None if module.bias is None else module.bias.clone()
        for hook in makers(module):
            hook.__class__ = idle(type(hook))
        self.sealed = Seal(*sources(module))

    def operands(self, module):
        """(weight, bias) as they were sealed.

        Raises:
            SettingError: if something they were made of has changed since.
        """
        if self.sealed is None:
            self.seal(module)
        changed = self.sealed.broken()
        if changed is not None:
            # As `functional_call` puts there for one call, which freezing again would not outlast.
            lent = (
                "; for another tensor in every call, as torch.func.functional_call puts there, call "
                "upconv.torch.accelerate(model) without frozen"
            )
            raise SettingError(
                f"{changed} of a frozen layer has changed since it was frozen: call upconv.torch.accelerate(model, "
                "frozen=True) again to take it over, or upconv.torch.restore(model) before changing it"
                f"{lent if self.sealed.is_replaced() else ''}"
            )
        return self.weight, self.bias

    def exact_operands(self, module):
        """The same before the weight was rounded to halves: for whoever makes another weight of it."""
        _, bias = self.operands(module)
        return self.exact, bias

    def checked(self, module, input):
        """The operands, for a call that nobody will differentiate.

        Raises:
            SettingError: if torch would record the call, or something has changed.
        """
        if self.sealed is None and not _are_plain(module):
            # A copy whose parameters are stand-ins, as those of an ensemble under vmap are, has nothing to keep.
            return module.weight, module.bias
        operands = self.operands(module)
        if torch.is_grad_enabled() and (input.requires_grad or self.sealed.requires_grad()):
            raise SettingError(
                "a frozen layer has no gradients: call the model under torch.no_grad() or torch.inference_mode(), or "
                "upconv.torch.accelerate(model) without frozen to train it"
            )
        return operands
