"""Models under FSDP (`fully_shard`): at rest a layer has pieces of its parameters, in a call they are whole and plain.

Nothing of FSDP is imported here: where nobody has, no model is under it.
"""

import sys
from contextlib import ExitStack, contextmanager

import torch


def is_shard(kind):
    """Whether a class is one that `fully_shard` has made, of the class that a module had."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    made = getattr(fsdp, "FSDPModule", None)
    return made is not None and issubclass(kind, made)


def beneath(kind):
    """The class that a module had before `fully_shard`."""
    return kind.__mro__[2] if is_shard(kind) else kind


def gathered_in_calls(model):
    """The modules of a model whose parameters are made whole for every call."""
    return {inner for module in model.modules() if is_shard(type(module)) for inner in module.modules()}


def whole(tensor):
    """A tensor that lies as one does in a call, with nothing in it; None for None."""
    return None if tensor is None else torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


@contextmanager
def gathered(model, layer):
    """Within it the parameters of a layer of the model are whole, on every rank that comes by."""
    holders = [module for module in model.modules() if is_shard(type(module)) and layer in set(module.modules())]
    with ExitStack() as after:
        for module in holders:
            module.unshard()
            after.callback(module.reshard)
        yield
