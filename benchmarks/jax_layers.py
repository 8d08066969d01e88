"""Real layers in JAX: upconv's handler beside XLA's own convolution, forward and with gradients, under `jax.jit`.

    python benchmarks/jax_layers.py [--only PATTERNS] [--forward] [--nhwc] [--budget SECONDS]

Every layer of the table in float32, each answer compared with XLA's first. `forward` is the layer with its bias, `step`
the forward pass and the gradients in input, weight and bias of a sum of products, in one compiled function each.
Medians of rounds in which both take turns; `--budget` is how long one layer may be timed, XLA's gradients may take
longer. Both use the threads that
they would use by themselves; for one thread each,

    taskset -c 0 python benchmarks/jax_layers.py
"""

import argparse
import sys
from statistics import geometric_mean, median
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

from upconv.bench.layers import matching
from upconv.jax import conv_transpose2d

MOST_ROUNDS, SLOW = 30, 20
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


def timed(call):
    """(what a call gives, seconds)."""
    start = perf_counter()
    result = jax.block_until_ready(call())
    return result, perf_counter() - start


def seconds(calls, first, budget):
    """The median time of each call; they take turns, each as often as its share of the budget allows.

    A first call takes longer than the next ones, so it does not count; only what took SLOW times its share when it was
    called for the `first` time is not called again.
    """
    share = budget / len(calls)
    times = [[once] if once > SLOW * share else [] for once in first]
    for _ in range(MOST_ROUNDS):
        for call, found in zip(calls, times, strict=True):
            if not found or sum(found) <= share:
                found.append(timed(call)[1])
    return [median(found) for found in times]


def distance(got, want):
    return max(
        float(jnp.abs(a - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-30)) for a, b in zip(got, want, strict=True)
    )


def measured(layer, layout, budget, with_step):
    """Seconds of XLA and of upconv for the forward pass, then for the step if it is wanted; equal answers first."""
    x, (w, b) = layer.inputs()[0], layer.parameters()
    along = np.random.default_rng(0).standard_normal(layer.geometry().output_shape, np.float32)
    if layout == "NHWC":
        x, along = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, along))
    operands = tuple(map(jnp.asarray, (x, w, b, along)))
    calls, first = [], []
    for place, given in enumerate((operands[:3], operands)[: 1 + with_step]):
        pair = [functions(layer, layout, engine)[place].lower(*given).compile() for engine in (xla, ours)]
        both = [lambda f=function, given=given: f(*given) for function in pair]
        answers, took = zip(*map(timed, both), strict=True)
        found = distance(*map(jax.tree.leaves, answers[::-1]))
        if not found < TOLERANCE:
            sys.exit(f"{layer.name}: the answers differ by {found:.2g} of the largest value")
        calls += both
        first += took
    return seconds(calls, first, budget)


def table(layers, layout, budget, with_step):
    """Print a line for each layer; the gains of all, and of the depthwise ones."""
    print(f"jax {jax.__version__}, {layout}, float32; milliseconds, and how many times as fast upconv is", flush=True)
    parts = ("forward", "step")[: 1 + with_step]
    print("| layer |" + "".join(f" {part}: XLA | upconv | gain |" for part in parts))
    print("|---|" + "---:|---:|---:|" * len(parts))
    gains = {"all": [], "depthwise": []}
    for layer in layers:
        times = measured(layer, layout, budget, with_step)
        pairs = list(zip(times[::2], times[1::2], strict=True))
        gain = [one / two for one, two in pairs]
        gains["all"].append(gain)
        if layer.groups == layer.c_in > 1:
            gains["depthwise"].append(gain)
        cells = (f" {1e3 * a:.3g} | {1e3 * b:.3g} | {a / b:.2f} |" for a, b in pairs)
        print(f"| {layer.name} |" + "".join(cells), flush=True)
        jax.clear_caches()
    for name, found in gains.items():
        for part, column in zip(parts, zip(*found, strict=True), strict=False):
            mean, least = geometric_mean(column), min(column)
            print(f"{name}, {part}: {len(column)} layers, geometric mean {mean:.2f}, least {least:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="comma-separated parts of names")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth layer alone")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first layer, from 0")
    parser.add_argument("--count", type=int, default=None, metavar="N", help="how many")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for one layer (default: 2)")
    parser.add_argument("--forward", action="store_true", help="the forward pass alone: XLA's gradients take minutes")
    parser.add_argument("--nhwc", action="store_true", help="channels-last")
    options = parser.parse_args()
    layers = matching(options.only)[options.first :: options.every][: options.count]
    table(layers, "NHWC" if options.nhwc else "NCHW", options.budget, not options.forward)


if __name__ == "__main__":
    main()
