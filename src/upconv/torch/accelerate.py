"""`accelerate(model)`: a model's transposed convolutions become upconv's, in place; `restore(model)` undoes it."""

import warnings
from typing import Any, TypeVar

import torch

from .examine import arguments_of, examine
from .fusion import FusedSequential, runs
from .report import Layer, Report
from .swap import freeze, give_back, positions, put_back, take, transposed, why_left

Model = TypeVar("Model", bound=torch.nn.Module)


def accelerate(
    model: torch.nn.Module, *, frozen: bool = False, fuse: bool = False, example_inputs: Any = None
) -> Report:
    """Make a model's transposed convolutions upconv's, in place.

    The layers change their class and nothing else: parameters, hooks, names, device, state_dict, deepcopy and pickle
    are as before, and training goes on. In every call the plan then chooses between upconv and torch's operator. May be
    called again, also with other options; the last call holds.

    Args:
        model: any `torch.nn.Module`, also a single layer.
        frozen: take the layers' operands once, for inference. A parameter that changes afterwards, and a call that
            torch would differentiate, are errors.
        fuse: in evaluation mode compute a layer, the BatchNorm and the activation that follow it in an `nn.Sequential`
            as one. state_dict stays; `model.train()` takes them apart, and a changed parameter is folded in again.
        example_inputs: arguments of a call, for times in the report: a tensor, a tuple, or a dict of named ones. They
            run in evaluation mode without gradients; buffers, modes and random numbers are left alone. A lazy layer
            takes its sizes from them.

    Returns:
        Report, to print: which layers are upconv's, which were left alone and why; with an example plans and times.

    Raises:
        TypeError: for what is no module, or examples in another form.
        Exception: whatever the model raises on the example; it is then as it was before the call.

    A model without such layers is not an error, so that the line can stay in code for many models: the report says so,
    and a UserWarning does.

    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 4, 2, 1), torch.nn.ReLU())
    >>> accelerate(model)
    upconv.torch.accelerate: 1 of 1 transposed convolution is upconv's
    """
    _check(model, "accelerate")
    example = None if example_inputs is None else arguments_of(example_inputs)
    saved = positions(model)
    try:
        return _accelerate(model, frozen, fuse, example)
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


def _accelerate(model, frozen, fuse, example):
    restore(model)
    found, left, thawed = transposed(model), {}, {}
    for module in found:
        left[module] = why_left(module)
        if not left[module]:
            take(module)
            thawed[module] = freeze(module) if frozen else ""
    fused, notes = _fuse(model) if fuse else (), []
    if not found:
        notes.append("functional calls are upconv's within `with upconv.torch.active():`")
        warnings.warn("this model has no transposed convolution to accelerate", stacklevel=3)
    if fused and model.training:
        notes.append("the model is in training mode; what is fused is fused after model.eval()")
    timings, before, after = ({}, None, None)
    if example is not None and found:
        timings, before, after = examine(model, list(thawed), *example)
    layers = (
        Layer(
            tuple(names),
            left[module],
            frozen and not left[module] and not thawed[module],
            thawed.get(module, ""),
            timings.get(module, ()),
        )
        for module, names in found.items()
    )
    threads = None if before is None else torch.get_num_threads()
    return Report(tuple(layers), fused, before, after, threads, tuple(notes))


def _fuse(model):
    """Make sequences with something to fuse fused ones; the names in their runs."""
    names = []
    for name, module in model.named_modules():
        if type(module) is torch.nn.Sequential and "forward" not in vars(module):
            found, keys = runs(module), list(module._modules)
            if found:
                module.__class__ = FusedSequential
            for start, stop in found:
                names.append(tuple(f"{name}.{key}".lstrip(".") for key in keys[start:stop]))
    return tuple(names)
