"""Random layers beside what the machine can do: the ten that lose most, and all beyond a limit.

    python benchmarks/cliffs.py [--layers 2000] [--seed 1] [--operation forward] [--layouts nchw,nhwc] [--prepared]

A layer's yardstick is F + B: its useful multiply-adds at the peak of FMAs in registers, and a copy of its least bytes
(input, live weights and output once each), both measured beside it. All three are warm: the copy goes over its buffers
again and again, so what fits the cache is copied within it, and a call is timed right after others like it, whose
results have been dropped; so its memory is used again, and no fresh page is touched, nor counted in B.

Sizes are odd and prime, kernels dilated or below the stride, groups few, many or depthwise, channels few.
UPCONV_ISA=avx2 holds the probe to AVX2 as well.
"""

import argparse
import time
from collections import Counter, defaultdict
from statistics import geometric_mean, median

import numpy as np

import upconv
from upconv.bench.probe import Probe
from upconv.bench.random_layers import random_layers, said
from upconv.planning import plan

SHORT = 0.2e-3
# Calls before the one that is timed: a last-level cache takes in a map of tens of MB in some passes, not in one.
WARMING = 4
NARROW, FEW, MANY_PHASES, MANY_TAPS = 10, 21, 4, 16


def call_of(layer, operation, layout, prepared):
    """(the call, the algorithm that its plan names)."""
    x, (weight, bias) = layer.inputs()[0], layer.parameters()
    if layout == "nhwc":
        x = _channels_last(x)
    if operation == "forward":
        weight = upconv.prepare(weight, **layer.settings) if prepared else weight
        chosen = plan(x, weight, **layer.settings)
        return lambda: upconv.conv_transpose2d(x, weight, bias, **layer.settings), chosen.algorithm
    grad = np.ones(layer.geometry().output_shape, np.float32)
    if layout == "nhwc":
        grad = _channels_last(grad)
    mask = (operation == "grad_input", operation == "grad_weight", False)
    return lambda: upconv.grad.conv_transpose2d_backward(grad, x, weight, **layer.settings, output_mask=mask), operation


def _channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def measured(layer, call, probe, rounds):
    """(seconds of the call, seconds of F + B), medians of rounds in which they take turns."""
    call()
    call()
    probe.prepare(layer.bytes)
    times, limits = [], []
    for _ in range(rounds):
        # The probe has taken the cache, and copies from one that is its own.
        for _ in range(WARMING):
            call()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        limits.append(2 * layer.macs / probe.peak(0.0002) + probe.copy(0.0005))
    return median(times), median(limits)


def kind_of(layer):
    """What is unusual about a layer, the rarest first."""
    g = layer.geometry()
    if layer.groups > 1:
        depthwise = layer.groups == layer.c_in == layer.c_out
        many = layer.k[0] * layer.k[1] > MANY_TAPS * (layer.s[0] * layer.s[1])
        return ("depthwise, many taps" if many else "depthwise") if depthwise else "groups"
    if 2 * 4 * g.live_weights > layer.bytes:
        return "a weight larger than both maps"
    if layer.w <= NARROW:
        return "one column" if layer.w == 1 else "narrow"
    if max(layer.s) > MANY_PHASES and layer.c_out <= FEW:
        return "large stride, few channels"
    return "few channels" if min(layer.c_in, layer.c_out) <= FEW else "other"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operation", choices=("forward", "grad_input", "grad_weight"), default="forward")
    parser.add_argument("--layouts", default="nchw,nhwc", help="by turns")
    parser.add_argument("--prepared", action="store_true", help="the weight prepared, not as given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=3.5, help="of the time over F + B")
    options = parser.parse_args()
    upconv.set_num_threads(1)
    probe, layouts, found = Probe(), options.layouts.split(","), []
    try:
        for number, layer in enumerate(random_layers(options.seed, options.layers)):
            layout = layouts[number % len(layouts)]
            call, algorithm = call_of(layer, options.operation, layout, options.prepared)
            time, limit = measured(layer, call, probe, options.rounds)
            if time > SHORT:
                found.append((time / limit, time, algorithm, layout, said(layer), kind_of(layer)))
    except KeyboardInterrupt:
        print(f"interrupted after {number} layers")
    report(found, options)


def report(found, options):
    if not found:
        print("no layer took long enough to be counted")
        return
    found.sort(reverse=True)
    ratios = [ratio for ratio, *_ in found]
    beyond = [each for each in found if each[0] > options.limit]
    print(f"{options.operation}, seed {options.seed}: {len(found)} of {options.layers} layers take {1e3 * SHORT} ms")
    print(f"time over F + B: geometric mean {geometric_mean(ratios):.2f}, median {median(ratios):.2f}")
    print(f"above {options.limit}: {len(beyond)}: {dict(Counter(algorithm for _, _, algorithm, *_ in beyond))}")
    kinds = Counter(kind for *_, kind in found)
    for kind, number in Counter(kind for *_, kind in beyond).most_common():
        print(f"  {number:5} of {kinds[kind]:5}  {kind}")
    ways = defaultdict(list)
    for ratio, _, algorithm, layout, *_ in found:
        ways[algorithm, layout].append(ratio)
    for (algorithm, layout), each in sorted(ways.items()):
        mean, most = geometric_mean(each), max(each)
        print(f"  {algorithm:24} {layout} {len(each):5} layers, geometric mean {mean:.2f}, most {most:.2f}")
    for ratio, seconds, algorithm, layout, text, _ in max(beyond, found[:10], key=len):
        print(f"{ratio:6.2f} {1e3 * seconds:8.2f} ms  {algorithm:22} {layout}  {text}")


if __name__ == "__main__":
    main()
