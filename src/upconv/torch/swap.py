"""Layers in somebody's model: which are transposed convolutions, which can be upconv's, and giving them back.

A layer of torch's stays of its class; upconv's forward is put on the object (see `instance`). Parameters, hooks, names
and state_dict are the same objects before and after.
"""

from contextlib import contextmanager

import torch
from torch.nn.utils import parametrize

from . import instance
from .beyond import is_beyond
from .frozen import Frozen, makers, wake
from .instance import DIMENSIONS, OURS, kind_of
from .module import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, LazyConvTranspose2d
from .sharded import is_shard
from .state import STATE, make_state

THEIRS = {
    ConvTranspose1d: torch.nn.ConvTranspose1d,
    ConvTranspose2d: torch.nn.ConvTranspose2d,
    ConvTranspose3d: torch.nn.ConvTranspose3d,
    LazyConvTranspose2d: torch.nn.LazyConvTranspose2d,
}
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
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript has compiled it; accelerate the model before that"
    kind = kind_of(module)
    if goes_beyond(module):
        return "its padding goes beyond torch's, so that it is upconv's own already"
    if kind in DIMENSIONS:
        if instance.is_foreign(module):
            return "its forward has been replaced on the layer itself"
        if kind not in OURS and type(module).forward is not instance.FORWARDS[DIMENSIONS[kind]]:
            return "the forward of its class has been replaced"
        return ""
    if not isinstance(module, tuple(THEIRS.values())):
        return f"{kind.__module__}.{kind.__name__} computes in another way (quantized, for example)"
    return f"{kind.__name__} is a class of its own; `with upconv.torch.active():` takes what it asks of torch"


def freeze(module, storage=""):
    """Freeze a layer that upconv's forward is on, its weight kept in some halves if a storage is named.

    Returns:
        Why it cannot be, as a sentence; empty if it has been done.

    Raises:
        SettingError: if it could be but for the storage.
    """
    frozen = Frozen(storage)
    why = "it is lazy" if isinstance(module, torch.nn.modules.lazy.LazyModuleMixin) else frozen.why_not(module)
    if not why:
        frozen.seal(module)
        make_state(module).frozen = frozen
    return why


def give_back(module):
    """Make a module torch's again, whatever upconv did to it."""
    instance.take_off(module)
    wake(module)
    # FSDP's hooks need the class that it has made.
    if kind_of(module) in THEIRS and not goes_beyond(module) and not is_shard(type(module)):
        _become(module, THEIRS[kind_of(module)])


def goes_beyond(module):
    """Whether a layer of upconv's has settings that no class of torch's has; it stays what it is."""
    return isinstance(module, ConvTranspose2d) and is_beyond(module.padding, module.padding_mode)


def _become(module, cls):
    """Give a layer another class, beneath its parametrizations where it has some.

    A parametrized layer has a class made for it alone, which holds the parametrized names as properties. Such classes
    are shared by deep copies, so a new one is made.
    """
    if parametrize.is_parametrized(module):
        own = {key: value for key, value in vars(type(module)).items() if key not in ("__dict__", "__weakref__")}
        cls = type(f"Parametrized{cls.__name__}", (cls,), own)
    module.__class__ = cls


class Position:
    """One module as it was: its class, what is on it, and which of its hooks rest."""

    def __init__(self, module):
        self.module, self.cls, held = module, type(module), vars(module)
        self.held = {key: held[key] for key in ("forward", STATE) if key in held}
        self.hooks = [(hook, type(hook)) for hook in makers(module)]

    def put_back(self):
        if type(self.module) is not self.cls:
            self.module.__class__ = self.cls
        for key in ("forward", STATE):
            vars(self.module).pop(key, None)
        vars(self.module).update(self.held)
        for hook, cls in self.hooks:
            hook.__class__ = cls


def positions(model):
    """What `put_back` needs to undo every change of a model."""
    return [Position(module) for module in model.modules()]


def put_back(saved):
    """Make modules what they were."""
    for position in saved:
        position.put_back()


@contextmanager
def torchs_own(model):
    """Within it, the model's layers are torch's."""
    saved = positions(model)
    try:
        for position in saved:
            give_back(position.module)
        yield
    finally:
        put_back(saved)
