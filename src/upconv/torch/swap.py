"""Layers in somebody's model: which are transposed convolutions, which can be upconv's, and one class for another.

upconv's classes add no state to torch's, so a layer changes hands by its class alone: parameters, hooks, names and
state_dict are the same objects before and after. What else is remembered (frozen copies) is one attribute, `STATE`.
"""

from contextlib import contextmanager

import torch
from torch.nn.utils import parametrize

from .frozen import FROZEN, STATE, Frozen
from .fusion import FusedSequential
from .module import ConvTranspose1d, ConvTranspose2d, LazyConvTranspose2d

OURS = {
    torch.nn.ConvTranspose1d: ConvTranspose1d,
    torch.nn.ConvTranspose2d: ConvTranspose2d,
    torch.nn.LazyConvTranspose2d: LazyConvTranspose2d,
}
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
THEIRS |= {frozen: THEIRS[ours] for ours, frozen in FROZEN.items()}
NAMES = ("ConvTranspose", "LazyConvTranspose")


def transposed(model):
    """{layer: its names} of every transposed convolution of torch's making in a model, itself included.

    A layer that is used in several places has several names.
    """
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if _is_transposed(module):
            found.setdefault(module, []).append(name)
    return found


def _is_transposed(module):
    if isinstance(module, torch.jit.ScriptModule):
        return getattr(module, "original_name", "").startswith(NAMES)
    return any(cls.__module__.startswith("torch.") and cls.__name__.startswith(NAMES) for cls in type(module).__mro__)


def why_left(module):
    """Why a transposed convolution is not upconv's to take, as a sentence; empty where it is."""
    kind = parametrize.type_before_parametrizations(module)
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript has compiled it; accelerate the model before that"
    if kind in OURS or kind in THEIRS:
        return "its forward has been replaced on the layer itself" if "forward" in vars(module) else ""
    if "3d" in kind.__name__:
        return "it has three dimensions"
    if kind is torch.nn.LazyConvTranspose1d:
        return "it is lazy; after its first input accelerate the model again"
    if not isinstance(module, torch.nn.ConvTranspose1d | torch.nn.ConvTranspose2d):
        return f"{kind.__module__}.{kind.__name__} computes in another way (quantized, for example)"
    return f"{kind.__name__} is a class of its own; `with upconv.torch.active():` takes what it asks of torch"


def become(module, cls):
    """Give a layer another class, beneath its parametrizations where it has some.

    A parametrized layer has a class made for it alone, which holds the parametrized names as properties. Such classes
    are shared by deep copies, so a new one is made.
    """
    if parametrize.is_parametrized(module):
        own = {key: value for key, value in vars(type(module)).items() if key not in ("__dict__", "__weakref__")}
        cls = type(f"Parametrized{cls.__name__}", (cls,), own)
    module.__class__ = cls


def take(module):
    """Make a layer of torch's upconv's."""
    kind = parametrize.type_before_parametrizations(module)
    if kind in OURS:
        become(module, OURS[kind])


def freeze(module):
    """Make a layer of upconv's a frozen one.

    Returns:
        Why it cannot be, as a sentence; empty if it has been done.
    """
    kind = parametrize.type_before_parametrizations(module)
    state = Frozen()
    why = "it is lazy" if kind not in FROZEN else state.why_not(module)
    if not why:
        state.seal(module)
        become(module, FROZEN[kind])
        vars(module)[STATE] = state
    return why


def give_back(module):
    """Make a layer torch's again, and a fused sequence an ordinary one."""
    kind = parametrize.type_before_parametrizations(module)
    if kind in THEIRS:
        become(module, THEIRS[kind])
    elif kind is FusedSequential:
        module.__class__ = torch.nn.Sequential
    else:
        return
    vars(module).pop(STATE, None)


def positions(model):
    """What `put_back` needs to undo every change of classes."""
    return [(module, type(module), vars(module).get(STATE)) for module in model.modules()]


def put_back(saved):
    """Give modules the classes that they had, and what was remembered of them."""
    for module, cls, state in saved:
        if type(module) is not cls:
            module.__class__ = cls
        if state is None:
            vars(module).pop(STATE, None)
        else:
            vars(module)[STATE] = state


@contextmanager
def torchs_own(model):
    """Within it, the model's layers are torch's."""
    saved = positions(model)
    try:
        for module, *_ in saved:
            give_back(module)
        yield
    finally:
        put_back(saved)
