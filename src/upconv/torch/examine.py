"""The example run of `accelerate`: what every layer is given, how long it takes by torch and by upconv, and who wins.

Where torch is the faster one, or upconv against the rule, that becomes the layer's own choice for these sizes.

The model is left as it was. It runs in evaluation mode without gradients, on copies of the example, and afterwards its
modes, buffers and all random numbers are what they were.
"""

import random
import time
from contextlib import contextmanager
from functools import partial
from statistics import median, quantiles

import numpy as np
import torch
from torch.utils._pytree import tree_map_only

from . import choice, dispatch, measurements
from .frozen import evaluating, make
from .instance import DIMENSIONS, FORWARDS, apply, kind_of
from .operands import NAMES
from .report import Times, Timing
from .seal import version
from .sharded import gathered
from .state import make_state
from .swap import torchs_own

ROUNDS, LAYER_SECONDS, MODEL_SECONDS = 25, 0.15, 2.0
# The rule's answer stands where neither is faster by more than this.
MARGIN = 0.03


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
        ({layer: (Timing, ...)}, Times of the model by torch, Times as it is, share of the time that others took).
    """
    clock = Clock()
    with unchanged(model), torch.no_grad():
        seen = _calls(model, layers, args, kwargs)
        timings = {}
        for layer, calls in seen.items():
            with gathered(model, layer):
                timings[layer] = tuple(_timing(clock, layer, *call) for call in calls.values())

        def eager():
            with torchs_own(model):
                return clock.seconds(model, args, kwargs)

        before, after = in_turns([eager, lambda: clock.seconds(model, args, kwargs)], MODEL_SECONDS)
    return timings, Times.of(before), Times.of(after), clock.stolen


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
    """Several measures taken in turns, so that what disturbs one disturbs all.

    Args:
        measures: functions that give seconds; the first call of each does not count.
        seconds: how long to go on, after 3 rounds.
        rounds: at most.

    Returns:
        A list of seconds for each measure, in the order in which they were taken.
    """
    for measure in measures:
        measure()
    taken, start = [[] for _ in measures], time.perf_counter()
    while len(taken[0]) < 3 or (len(taken[0]) < rounds and time.perf_counter() < start + seconds):
        turn = list(zip(measures, taken, strict=True))
        for measure, times in turn if len(taken[0]) % 2 else turn[::-1]:
            times.append(measure())
    return taken


class Clock:
    """Times calls, and adds up how much of the time this thread was not running: what others took of the machine."""

    def __init__(self):
        self.wall = self.own = 0.0

    @property
    def stolen(self):
        """The share, from 0 to 1."""
        return max(0.0, 1 - self.own / self.wall) if self.wall else 0.0

    def seconds(self, function, args, kwargs):
        """Seconds of one call on copies of its tensors."""
        args, kwargs = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
        own, start = time.thread_time(), time.perf_counter()
        function(*args, **kwargs)
        taken = time.perf_counter() - start
        self.wall, self.own = self.wall + taken, self.own + time.thread_time() - own
        return taken


def _calls(model, layers, args, kwargs):
    """{layer: {shape: [args, kwargs, how often, output's shape]}} of one run of the model."""
    seen = {layer: {} for layer in layers}

    def note(layer, given, named, output):
        shape = tuple((given[0] if given else named["input"]).shape)
        seen[layer].setdefault(shape, [given, named, 0, tuple(output.shape)])[2] += 1

    handles = [layer.register_forward_hook(note, with_kwargs=True) for layer in layers]
    try:
        model(*tree_map_only(torch.Tensor, torch.clone, args), **tree_map_only(torch.Tensor, torch.clone, kwargs))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _timing(clock, layer, args, kwargs, calls, output_shape):
    x, state = args[0] if args else kwargs["input"], make_state(layer)
    dimensions = DIMENSIONS[kind_of(layer)]
    problem = None
    operands = _lowered(x, layer)
    if not (why := why_not_covered(*operands)):
        call = dispatch.facts(*as_map(layer, *operands, _output_padding(layer, x, args, kwargs)))
        problem, rule = call.forward, choice.by_rule(call.forward)
        why = choice.cannot(rule.plan)

    def now():
        return clock.seconds(lambda *a, **k: apply(layer, dimensions, *a, **k), args, kwargs)

    measures = [lambda: clock.seconds(partial(_torchs, layer, dimensions), args, kwargs), now]
    if why:
        before, after = map(Times.of, in_turns(measures, LAYER_SECONDS))
        decision = choice.Decision(None, False, why)
    else:
        key = problem, torch.get_num_threads()

        def forced(is_ours):
            state.measured[key] = measurements.TimedPair(0.0, 0.0, is_ours)
            if not is_ours:
                # As it will be from the second call on.
                state.measured.leave(x, layer.weight, layer.bias, measurements.settings_of(layer))
            return now()

        before, *both = in_turns([measures[0], partial(forced, False), partial(forced, True)], LAYER_SECONDS)
        found = _choice(rule.is_ours, *both)
        state.measured.pop(key)
        if found.is_ours != rule.is_ours:
            state.measured[key] = found
        before, after = Times.of(before), Times.of(both[found.is_ours])
        decision = choice.decide(problem, state.measured)
    return Timing(tuple(x.shape), tuple(layer.weight.shape), output_shape, calls, decision, before, after)


def _choice(rule, by_torch, by_upconv):
    """What two lists of seconds, taken in turns, say: the rule's answer where they are close, or the turns disagree."""
    low, gain, high = quantiles([a / b for a, b in zip(by_torch, by_upconv, strict=True)], n=4, method="inclusive")
    is_clear = abs(gain - 1) > MARGIN and not low <= 1 <= high
    is_ours = gain > 1 if is_clear else rule
    return measurements.TimedPair(median(by_torch), median(by_upconv), is_ours)


def _torchs(layer, dimensions, *args, **kwargs):
    """The layer as torch runs it, with the hooks that make its weight."""
    make(layer, args)
    return FORWARDS[dimensions](layer, *args, **kwargs)


def _lowered(x, layer):
    """(input, weight, bias) as autocast, where it is on, gives them to the operator."""
    operands = x, layer.weight, layer.bias
    if not torch.is_autocast_enabled("cpu"):
        return operands
    return tuple(dispatch.lowered(tensor, torch.get_autocast_dtype("cpu")) for tensor in operands)


def why_not_covered(x, weight, bias):
    """Why upconv may not compute with these tensors, as sentences."""
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


def as_map(layer, x, weight, bias, output_padding):
    """(input, weight, bias, settings, dimensions) of a call, with operands of 1-D layers as maps of height 1."""
    settings, dimensions = (layer.stride, layer.padding, output_padding, layer.groups, layer.dilation), weight.ndim - 2
    batched = x if x.ndim == weight.ndim else x.unsqueeze(0)
    if dimensions > 1:
        return batched, weight, bias, settings, dimensions
    return batched.unsqueeze(-2), weight.unsqueeze(-2), bias, settings, dimensions
