"""Runs in an `nn.Sequential`, and in sequences within it: there the order of the calls is certain.

A sequence is one whose class has `nn.Sequential.forward`, subclasses included, without hooks and without a forward of
its own on the object. It gets a forward that computes its runs as one; slices of it are ordinary sequences.
"""

from types import MethodType

import torch
from torch import Tensor

from .fusion import Folds, has_hooks, run_at, step
from .instance import FUNCTIONS, is_foreign, is_traced
from .state import STATE

FORWARD = torch.nn.Sequential.forward
CALL = torch.nn.Module.__call__


def forward(self, input: Tensor) -> Tensor:
    """As `torch.nn.Sequential.forward`, with a layer and what follows it as one where that is the same."""
    # TorchScript compiles the first branch alone.
    if torch.jit.is_scripting():
        for module in self:
            input = module(input)
        return input
    else:
        return apply(self, input)


FUNCTIONS.add(forward)


def apply(sequence, input):
    """One call of a sequence."""
    if is_traced(input):
        return FORWARD(sequence, input)
    folds = vars(sequence).get(STATE)
    if folds is None:
        folds = vars(sequence)[STATE] = Folds()
    modules, place = members(sequence), 0
    while place < len(modules):
        run = run_at(modules, place)
        if run is None:
            input, place = modules[place](input), place + 1
        else:
            input, place = step(run, folds, input), place + len(run.members)
    return input


def is_sequence(module):
    """Whether a module does nothing but call its children one after the other."""
    return (
        isinstance(module, torch.nn.Sequential)
        and type(module).forward is FORWARD
        and type(module).__call__ is CALL
        and not is_foreign(module)
    )


def members(sequence):
    """What a sequence calls in the end, with sequences within it opened."""
    found = []
    for module in sequence._modules.values():
        if is_sequence(module) and not has_hooks(module):
            found += members(module)
        else:
            found.append(module)
    return found


def runs(sequence):
    """The runs in a sequence."""
    modules, place, found = members(sequence), 0, []
    while place < len(modules):
        run = run_at(modules, place)
        if run is not None:
            found.append(run)
        place += 1 if run is None else len(run.members)
    return found


def put_on(sequence):
    """Give a sequence the forward that fuses."""
    vars(sequence)["forward"] = MethodType(forward, sequence)
