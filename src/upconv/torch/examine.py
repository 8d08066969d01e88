"""The example run of `accelerate`: what every layer is given, and how long it takes by torch and by upconv.

The model is left as it was. It runs in evaluation mode without gradients, on copies of the example, and afterwards its
modes, buffers and all random numbers are what they were.
"""

import random
import time
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_map_only

from . import choice, dispatch
from .frozen import evaluating, version
from .operands import NAMES
from .report import Timing
from .swap import THEIRS, torchs_own

ROUNDS, LAYER_SECONDS, MODEL_SECONDS = 25, 0.15, 2.0


def arguments_of(example):
    """(args, kwargs) of a call of the model: from a tensor, a tuple of arguments, or a dict of named ones.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(example, torch.Tensor):
        return (example,), {}
    if isinstance(example, tuple):
        return example, {}
    if isinstance(example, dict):
        return (), example
    raise TypeError(
        f"example_inputs is of type {type(example).__name__}; it must be a tensor, a tuple of arguments or a dict of "
        "named ones, so model(x) is example_inputs=x and model([a, b]) is example_inputs=([a, b],)"
    )


def examine(model, layers, args, kwargs):
    """Run an example and time it.

    Args:
        model: whose layers are upconv's already.
        layers: those of its transposed convolutions to report on.
        args, kwargs: of a call.

    Returns:
        ({layer: (Timing, ...)}, seconds of the model by torch, seconds as it is).
    """
    with unchanged(model), torch.no_grad():
        seen = _calls(model, layers, args, kwargs)
        timings = {layer: tuple(_timing(layer, *call) for call in calls.values()) for layer, calls in seen.items()}

        def eager():
            with torchs_own(model):
                return _seconds(model, args, kwargs)

        before, after = in_turns([eager, lambda: _seconds(model, args, kwargs)], MODEL_SECONDS)
    return timings, before, after


@contextmanager
def unchanged(model):
    """Evaluation mode within it; afterwards the modes, buffers and random numbers are those of before."""
    buffers = [
        (module._buffers, name, tensor, version(tensor), tensor.clone())
        for module in model.modules()
        for name, tensor in module._buffers.items()
        if tensor is not None and not torch.nn.parameter.is_lazy(tensor)
    ]
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), evaluating(model):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        with torch.no_grad():
            for holder, name, tensor, count, values in buffers:
                holder[name] = tensor
                if version(tensor) != count:
                    tensor.copy_(values)


def in_turns(measures, seconds, rounds=ROUNDS):
    """Medians of measures that are taken in turns, so that what disturbs one disturbs all.

    Args:
        measures: functions that give seconds; the first call of each does not count.
        seconds: how long to go on, after 3 rounds.
        rounds: at most.

    Returns:
        list of floats, one for each measure.
    """
    for measure in measures:
        measure()
    taken, start = [[] for _ in measures], time.perf_counter()
    while len(taken[0]) < 3 or (len(taken[0]) < rounds and time.perf_counter() < start + seconds):
        turn = list(zip(measures, taken, strict=True))
        for measure, times in turn if len(taken[0]) % 2 else turn[::-1]:
            times.append(measure())
    return [median(times) for times in taken]


def _seconds(function, args, kwargs):
    args, kwargs = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def _calls(model, layers, args, kwargs):
    """{layer: {shape: [args, kwargs, how often, output's shape]}} of one run of the model."""
    seen = {layer: {} for layer in layers}

    def note(layer, given, named, output):
        shape = tuple((given[0] if given else named["input"]).shape)
        seen[layer].setdefault(shape, [given, named, 0, tuple(output.shape)])[2] += 1

    handles = [layer.register_forward_hook(note, with_kwargs=True) for layer in layers]
    try:
        _seconds(model, args, kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _timing(layer, args, kwargs, calls, output_shape):
    x = args[0] if args else kwargs["input"]
    weight, bias = layer.weight, layer.bias
    plan, is_ours, why = None, False, _why_not_covered(x, weight, bias)
    if not why:
        call = dispatch.facts(*_as_map(layer, x, weight, bias, _output_padding(layer, x, args, kwargs)))
        plan, is_ours = call.plan("forward")
        why = tuple(choice.why_torch(plan))
    predicted = None
    if plan is not None:
        predicted = next(c.seconds for c in plan.candidates if c.name == plan.algorithm)
    kind = parametrize.type_before_parametrizations(layer)
    forwards = [THEIRS[kind].forward, kind.forward]
    before, after = in_turns([lambda f=f: _seconds(f, (layer, *args), kwargs) for f in forwards], LAYER_SECONDS)
    shapes = tuple(x.shape), tuple(weight.shape), output_shape
    return Timing(*shapes, calls, plan, is_ours, why, predicted, before, after)


def _why_not_covered(x, weight, bias):
    if dispatch.is_covered(x, weight, bias):
        return ()
    if not x.is_cpu:
        return (f"upconv computes on the CPU and this is on {x.device.type}",)
    if x.dtype not in NAMES:
        return (f"upconv does not compute in {x.dtype}",)
    return ("upconv computes with plain dense tensors only",)


def _output_padding(layer, x, args, kwargs):
    size = kwargs.get("output_size", args[1] if len(args) > 1 else None)
    ends = layer.stride, layer.padding, layer.kernel_size, len(layer.stride), layer.dilation
    return tuple(layer._output_padding(x, size, *ends))


def _as_map(layer, x, weight, bias, output_padding):
    """(input, weight, bias, settings) of a call as that of a 4-D one."""
    stride, padding, dilation = layer.stride, layer.padding, layer.dilation
    batched = x if x.ndim == weight.ndim else x.unsqueeze(0)
    if weight.ndim == 4:
        return batched, weight, bias, (stride, padding, output_padding, layer.groups, dilation)
    settings = (1, *stride), (0, *padding), (0, *output_padding), layer.groups, (1, *dilation)
    return batched.unsqueeze(-2), weight.unsqueeze(-2), bias, settings
