"""What `accelerate(fuse=True)` does: finds the runs of a model, gives their owners a forward that fuses, checks them.

Sequences are fused as they are. Modules with a forward of their own are fused where their graph is provably that
forward, and only with an example, on which every run is compared with its members called one after the other.
"""

from dataclasses import dataclass

import torch

from . import sequences, traced
from .examine import unchanged
from .fusion import Run, has_hooks, watched
from .state import make_state

# Of the greatest value of what the members give: two orders of summation, and a scale folded before the sum.
TOLERANCES = {torch.float64: 1e-11, torch.complex128: 1e-11, torch.float32: 1e-4, torch.complex64: 1e-4}
COARSE = 0.05
# The largest error of a weight that is kept in halves, twice: it is rounded on either side.
ROUNDING = {"float16": 2**-10, "bfloat16": 2**-7}


@dataclass(frozen=True, slots=True)
class Place:
    """One run of a model: its names, and the module whose forward computes it."""

    run: Run
    names: tuple
    owner: str


def fuse(model, layers, with_example):
    """Give sequences and traced modules of a model forwards that fuse.

    Args:
        model: whose `layers` are upconv's.
        layers: transposed convolutions.
        with_example: whether `check` will follow.

    Returns:
        ([Place, ...], [(names, why), ...]) of what is fused in evaluation mode, and of what is not.
    """
    names = {}
    for name, module in model.named_modules():
        names.setdefault(module, name)
    places, why_not, known = [], {}, set()
    for module, name in names.items():
        if sequences.is_sequence(module):
            found, reason = _sequence(module)
        elif any(child in why_not or child in layers for child in module._modules.values()):
            found, reason = _traced(module, with_example)
        else:
            continue
        for run in found:
            why = run.why_not()
            if why:
                why_not[run.layer] = tuple(names[m] for m in run.members if m in names), why
            elif run.layer not in known:
                known.add(run.layer)
                places.append(Place(run, tuple(names.get(m, type(m).__name__) for m in run.members), name))
        if reason:
            for child in module._modules.values():
                if child in layers:
                    why_not.setdefault(child, ((names[child],), f"{type(module).__name__}: {reason}"))
    left = [why_not.get(m, ((names[m],), NOTHING)) for m in layers if m not in known]
    return places, left


NOTHING = "nothing that can be folded is certain to follow"


def _sequence(sequence):
    found = sequences.runs(sequence)
    if found:
        sequences.put_on(sequence)
    return found, ""


def _traced(module, with_example):
    """The runs of a module with a forward of its own, and a reason where there may be some and they are not fused."""
    if not with_example:
        return (), "it has a forward of its own, whose graph is only fused when example_inputs are given to check it"
    if has_hooks(module) and module._forward_pre_hooks:
        return (), "there are hooks on it"
    try:
        return traced.put_on(module), ""
    except traced.Unproved as reason:
        return (), str(reason)


def check(model, places, left, args, kwargs, storage=""):
    """Run an example and compare every run with its members called one by one.

    Where weights are kept in halves, those of a run are rounded after they are folded, and those of its members before.

    Returns:
        The same two lists; what differs, and what the example does not fuse, has moved to the second.
    """
    same = {}

    def compare(run, input, result):
        key = tuple(map(id, run.members))
        same[key] = same.get(key, True) and is_close(result, run.by_members(input), ROUNDING.get(storage, 0))

    with unchanged(model), torch.no_grad(), watched(compare):
        model(*args, **kwargs)
    good, bad = [], list(left)
    for place in places:
        found = same.get(tuple(map(id, place.run.members)))
        if found is None:
            bad.append((place.names, "the example does not call them as one: their owner is not called as a whole"))
        elif not found:
            make_state(place.run.layer).split = True
            bad.append((place.names, "on the example that gives another result"))
        else:
            good.append(place)
    return good, bad


def is_close(result, wanted, rounding=0):
    """Whether two results differ by rounding only, that of weights included; what is not finite must be the same."""
    equal = (result == wanted) | (result.isnan() & wanted.isnan())
    finite = wanted.isfinite()
    if not finite.any():
        return bool(equal.all())
    tolerance = max(rounding, TOLERANCES.get(result.dtype, COARSE)) * wanted[finite].abs().max()
    return bool((equal | ((result - wanted).abs() <= tolerance)).all())
