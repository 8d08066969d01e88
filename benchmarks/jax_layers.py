"""Real layers in JAX: upconv's handler beside XLA's own convolution, forward and with gradients, under `jax.jit`.

    python benchmarks/jax_layers.py [--only PATTERNS] [--budget SECONDS] [--nhwc]

Every layer of the table in float32, each answer compared with XLA's first. `forward` is the layer with its bias, `step`
the forward pass and the gradients in input, weight and bias of a sum of products, in one compiled function each.
Medians of rounds in which both take turns; `--budget` is how long one layer may be timed. Both use the threads that
they would use by themselves; for one thread each,

    taskset -c 0 python benchmarks/jax_layers.py
"""

import argparse
import math
import sys
from statistics import geometric_mean, median
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

from upconv.bench.layers import select
from upconv.jax import conv_transpose2d

LEAST_ROUNDS, MOST_ROUNDS = 3, 30
TOLERANCE = 2e-5


def xla(x, w, b, *, layer, layout):
    """The layer by `jax.lax.conv_general_dilated`, the weight turned within."""
    g = layer.geometry()
    kernel = w.reshape(g.groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(g.c_out, -1, *w.shape[2:])[..., ::-1, ::-1]
    zeros = [(axis.k_eff - 1 - axis.crop_lo, axis.k_eff - 1 - axis.crop_hi) for axis in (g.h, g.w)]
    names = (layout, "OIHW", layout)
    steps = {"lhs_dilation": layer.s, "rhs_dilation": layer.d, "feature_group_count": layer.groups}
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), zeros, dimension_numbers=names, **steps)
    return y + (b if layout == "NHWC" else b[:, None, None])


def ours(x, w, b, *, layer, layout):
    return conv_transpose2d(x, w, b, **layer.settings, layout=layout)


def functions(layer, layout, engine):
    """(forward, step) of a layer by an engine, compiled."""

    def forward(x, w, b):
        return engine(x, w, b, layer=layer, layout=layout)

    def step(x, w, b, along):
        y, back = jax.vjp(forward, x, w, b)
        return y, *back(along)

    return jax.jit(forward), jax.jit(step)


def seconds(calls, budget):
    """The median time of each call, all in turn."""
    times = [[] for _ in calls]
    began = perf_counter()
    while len(times[0]) < LEAST_ROUNDS or (perf_counter() - began < budget and len(times[0]) < MOST_ROUNDS):
        for call, found in zip(calls, times, strict=True):
            start = perf_counter()
            jax.block_until_ready(call())
            found.append(perf_counter() - start)
    return [median(found) for found in times]


def distance(got, want):
    return max(
        float(jnp.abs(a - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-30)) for a, b in zip(got, want, strict=True)
    )


def measured(layer, layout, budget):
    """(forward of XLA, of upconv, step of XLA, of upconv) in seconds; equal answers first."""
    x, (w, b) = layer.inputs()[0], layer.parameters()
    along = np.random.default_rng(0).standard_normal(layer.geometry().output_shape, np.float32)
    if layout == "NHWC":
        x, along = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, along))
    x, w, b, along = map(jnp.asarray, (x, w, b, along))
    pairs = [functions(layer, layout, engine) for engine in (xla, ours)]
    steps = [jax.block_until_ready(step(x, w, b, along)) for _, step in pairs]
    found = distance(steps[1], steps[0])
    if not found < TOLERANCE:
        sys.exit(f"{layer.name}: the answers differ by {found:.2g} of the largest value")
    for forward, _ in pairs:
        jax.block_until_ready(forward(x, w, b))
    calls = [lambda f=forward: f(x, w, b) for forward, _ in pairs] + [lambda f=s: f(x, w, b, along) for _, s in pairs]
    return seconds(calls, budget)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="comma-separated parts of names")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for one layer (default: 2)")
    parser.add_argument("--nhwc", action="store_true", help="channels-last")
    options = parser.parse_args()
    layout = "NHWC" if options.nhwc else "NCHW"
    print(f"jax {jax.__version__}, {layout}, float32; milliseconds, and how many times as fast upconv is", flush=True)
    print("| layer | forward: XLA | upconv | gain | step: XLA | upconv | gain |\n|---|---:|---:|---:|---:|---:|---:|")
    gains = {"all": [], "depthwise": []}
    for layer in select(options.only):
        one, two, three, four = (1e3 * value for value in measured(layer, layout, options.budget))
        gain = one / two, three / four
        gains["all"].append(gain)
        if layer.groups == layer.c_in > 1:
            gains["depthwise"].append(gain)
        numbers = f"{one:.3g} | {two:.3g} | {gain[0]:.2f} | {three:.3g} | {four:.3g} | {gain[1]:.2f}"
        print(f"| {layer.name} | {numbers} |", flush=True)
        jax.clear_caches()
    for name, found in gains.items():
        if found:
            forward, step = (geometric_mean(column) for column in zip(*found, strict=True))
            least = [min(column) for column in zip(*found, strict=True)]
            print(
                f"{name}: {len(found)} layers, geometric means {forward:.2f} (forward) and {step:.2f} (step), "
                f"least {least[0]:.2f} and {least[1]:.2f}"
            )
    return 0 if all(math.isfinite(value) for pair in gains["all"] for value in pair) else 1


if __name__ == "__main__":
    sys.exit(main())
