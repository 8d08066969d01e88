"""`accelerate(model)`: a model's transposed convolutions become upconv's, in place; `restore(model)` undoes it."""

import warnings
from typing import Any, Literal, NamedTuple, TypeVar

import torch

from ..errors import SettingError
from ..storage import check as check_storage
from .examine import arguments_of, examine
from .fuse import check, fuse
from .fusion import Folds
from .instance import put_on
from .outlook import outlook
from .report import Layer, Report
from .sharded import gathered_in_calls
from .state import state_of
from .swap import freeze, give_back, positions, put_back, transposed, why_left

Model = TypeVar("Model", bound=torch.nn.Module)


def accelerate(
    model: torch.nn.Module,
    *,
    frozen: bool = False,
    fuse: bool = False,
    storage: Literal["float16", "bfloat16"] | None = None,
    example_inputs: Any = None,
) -> Report:
    """Make a model's transposed convolutions upconv's, in place.

    Each layer gets a forward of upconv's on the object. Its class, parameters, hooks, names, device and state_dict are
    as before, a deep copy is accelerated as well, a pickle is torch's own, and training goes on. In every call a rule
    chooses between upconv and torch's operator. May be called again, also with other options; the last call holds.

    Args:
        model: any `torch.nn.Module`, also a single layer.
        frozen: take the layers' operands once, for inference. Whatever they are made of and changes afterwards, and a
            call that torch would differentiate, are errors.
        storage: beside `frozen`, keep the weights in these halves, as `upconv.prepare` does, and compute in float32 all
            the same: half of the bytes to read where a weight is large beside the map. What is lost is in the report.
        fuse: in evaluation mode compute a layer, the BatchNorm and the activation that follow it as one: in an
            `nn.Sequential`, and with an example in a module whose torch.fx graph is provably its forward. state_dict
            stays; `model.train()` takes them apart, and what has changed is folded in again.
        example_inputs: arguments of a call: a tensor, a tuple, or a dict of named ones. What is measured on them is in
            the report and decides who computes these sizes from now on; fusions are checked. They run in evaluation
            mode without gradients; buffers, modes and random numbers are left alone. A lazy layer takes its sizes from
            them.

    Returns:
        Report, to print: which layers are upconv's, which were left alone and why; with an example plans and times.

    Raises:
        TypeError: for what is no module, or examples in another form.
        SettingError: for a storage without `frozen`, beside another dtype than float32, or that a number of a weight is
            too large for; the model is then as it was before the call.
        Exception: whatever the model raises on the example; it is then as it was before the call.

    A model without such layers is not an error, so that the line can stay in code for many models: the report says so,
    and a UserWarning does.

    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 4, 2, 1), torch.nn.ReLU())
    >>> accelerate(model)
    upconv.torch.accelerate: 1 of 1 transposed convolution is upconv's
      0: torch computes inputs of up to ..., since there ... multiply-adds take less time than a call of upconv's
    """
    _check(model, "accelerate")
    _check_storage(storage, frozen)
    example = None if example_inputs is None else arguments_of(example_inputs)
    saved = positions(model)
    try:
        return _accelerate(model, _Options(frozen, fuse, storage or "", example))
    except BaseException:
        put_back(saved)
        raise


def restore(model: Model) -> Model:
    """Undo `accelerate`: every layer is torch's own again, frozen and fused ones included.

    Args:
        model: a `torch.nn.Module`. Layers that were made as upconv's become torch's, too.

    Returns:
        The model.

    Raises:
        TypeError: for what is no module.

    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 4, 2, 1))
    >>> report = accelerate(model, frozen=True)
    >>> type(restore(model)[0]) is torch.nn.ConvTranspose2d
    True
    """
    _check(model, "restore")
    for module in model.modules():
        give_back(module)
    return model


def _check(model, name):
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"upconv.torch.{name} takes a torch.nn.Module, and was given {type(model).__name__}")


class _Options(NamedTuple):
    frozen: bool
    fuse: bool
    storage: str
    example: tuple | None


def _accelerate(model, options):
    restore(model)
    found, left, thawed = transposed(model), {}, {}
    for module in found:
        left[module] = why_left(module)
        if not left[module]:
            put_on(module)
            thawed[module] = freeze(module, options.storage) if options.frozen else ""
    taken = [module for module in found if not left[module]]
    fused, unfused = fuse(model, taken, options.example is not None) if options.fuse else ((), ())
    if options.storage:
        # What cannot be kept in halves is refused now, not in a call.
        for place in fused:
            place.run.folded(Folds())
    notes = _notes(model, found, fused, options.storage)
    gathered = gathered_in_calls(model)
    looks = {module: outlook(module, module in gathered) for module in taken}
    timings, measured = {}, {}
    if options.example is not None and found:
        if options.fuse:
            fused, unfused = check(model, fused, unfused, *options.example, options.storage)
        timings, *times = examine(model, taken, *options.example)
        measured = dict(zip(("torch", "now", "stolen"), times, strict=True), threads=torch.get_num_threads())
    layers = (
        Layer(
            tuple(names),
            left[module],
            *looks.get(module, (False, "")),
            options.frozen and not left[module] and not thawed[module],
            thawed.get(module, ""),
            timings.get(module, ()),
        )
        for module, names in found.items()
    )
    fused = tuple(place.names for place in fused)
    return Report(tuple(layers), fused, tuple(unfused), notes=notes, **measured)


def _check_storage(storage, frozen):
    check_storage(storage, "float32")
    if storage is not None and not frozen:
        raise SettingError(
            f"storage is {storage!r} without frozen=True, and only a frozen layer keeps a weight of its own: pass "
            "frozen=True, or no storage"
        )


def _notes(model, found, fused, storage):
    notes = []
    states = [state for module in found if (state := state_of(module)) is not None and state.frozen is not None]
    if storage and states:
        worst = max((state.frozen.error for state in states), key=lambda error: error.largest)
        notes.append(f"weights are kept in {storage}, the worst of them {worst}")
    if not found:
        notes.append("functional calls are upconv's within `with upconv.torch.active():`")
        warnings.warn("this model has no transposed convolution to accelerate", stacklevel=4)
    if fused and model.training:
        notes.append("the model is in training mode; what is fused is fused after model.eval()")
    return tuple(notes)
