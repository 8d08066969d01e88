"""The rounding errors of Winograd's forms beside torch's, on whole layers: which forms may be taken.

    python benchmarks/winograd_errors.py            the forms that the algorithm takes, as a table in Markdown
    python benchmarks/winograd_errors.py --refused  those that it leaves out as well

Each number is the rms of the error against float64, over that of torch's own convolution, in float32, and behind it
the same of `gemm`, which multiplies every tap. "ReLU" is a source without negative numbers, "ill-scaled" one whose
channels are up to 1e6 times as large as others. Layers have 128 channels and 64 of the result unless a row says
otherwise; an axis that could be cut in several ways is cut as the other one is, or by larger tiles beside usual ones.
"""

import argparse
from itertools import product
from unittest.mock import patch

import numpy as np
import torch
from errors import KINDS, source

from upconv.algorithms import winograd
from upconv.arrays import empty
from upconv.generated import PROGRAMS
from upconv.geometry import Axis, Geometry
from upconv.planning import solve
from upconv.problem import Problem
from upconv.schedule import winograd_setting
from upconv.winograd_parts import Way, ways

# name: channels, images, size of the map, kernel, stride
LAYERS = {
    "k4 s2": (128, 1, 33, 4, 2),
    "k4 s2, 64 channels": (64, 1, 33, 4, 2),
    "k4 s2, 32 channels": (32, 1, 33, 4, 2),
    "k4 s2 on maps of 4": (128, 16, 4, 4, 2),
    "k4 s2, 256 channels": (256, 1, 32, 4, 2),
    "k4 s2, 256 channels, on maps of 4": (256, 16, 4, 4, 2),
    "k3 s1": (128, 1, 33, 3, 1),
    "k3 s1, 64 channels": (64, 1, 33, 3, 1),
    "k3 s1, 32 channels": (32, 1, 33, 3, 1),
    "k3 s1, 512 channels": (512, 1, 33, 3, 1),
    "k6 s2": (128, 1, 33, 6, 2),
    "k6 s2, 64 channels": (64, 1, 33, 6, 2),
    "k6 s2, 32 channels": (32, 1, 33, 6, 2),
    "k5 s2": (128, 1, 33, 5, 2),
    "k5 s2, 64 channels": (64, 1, 33, 5, 2),
    "k5 s2, 32 channels": (32, 1, 33, 5, 2),
    "k3 s2": (128, 1, 33, 3, 2),
    "k3 s2, 64 channels": (64, 1, 33, 3, 2),
    "k3 s2, 32 channels": (32, 1, 33, 3, 2),
}
REFUSED = {
    "k4 s2": [Way({2: 4})],
    "k3 s1": [Way({3: 2}), Way({3: 3}), Way({3: 4})],
}


def operands(g, forward, kind, seed=0):
    rng = np.random.default_rng(seed)
    x = source(kind, g.input_shape if forward else g.output_shape, rng)
    return x, (rng.standard_normal(g.weight_shape) / np.sqrt(g.c_in * g.h.k * g.w.k)).astype(np.float32)


def by_torch(g, forward, x, w):
    """The same by torch; in the operands' dtype."""
    x, w = (torch.from_numpy(np.ascontiguousarray(each)) for each in (x, w))
    settings = {"stride": (g.h.s, g.w.s), "padding": (g.h.crop_lo, g.w.crop_lo)}
    if not forward:
        return torch.nn.functional.conv2d(x, w, **settings).numpy()
    more = [axis.crop_lo - axis.crop_hi for axis in (g.h, g.w)]
    return torch.nn.functional.conv_transpose2d(x, w, output_padding=more, **settings).numpy()


def by_forms(problem, x, w, pair):
    """The same by Winograd, by a way for each axis."""
    out = empty(problem.result_shape, np.float32, "nchw")
    told = {"ways": lambda *_: [pair], "_is_most_exact": lambda _: False}
    with patch.multiple(winograd_setting, **told):
        forget()
        solve(problem, "winograd", x, w, None, out)
    forget()
    return out


def forget():
    """What was made for other forms."""
    of_layers = winograd_setting._layers, winograd_setting._of_ways, winograd._forms, winograd._stages
    for each in (winograd.setting, winograd.sizes, winograd.weight_form, *of_layers, PROGRAMS):
        each.cache_clear()


def geometry(layer):
    channels, n, size, k, s = layer
    pad = (k - s + 1) // 2
    axis = Axis(size, k, s, crop_lo=pad, crop_hi=k - s - pad)
    return Geometry(n, channels, 64, 1, axis, axis)


def errors(problem, kind, pair):
    """(that of the forms, that of gemm) over torch's."""
    g, forward = problem.geometry, problem.operation == "forward"
    x, w = operands(g, forward, kind)
    answer = by_torch(g, forward, x.astype(float), w.astype(float))
    plain = empty(problem.result_shape, np.float32, "nchw")
    solve(problem, "gemm", x, w, None, plain)
    usual = rms(by_torch(g, forward, x, w), answer)
    return [rms(found, answer) / usual for found in (by_forms(problem, x, w, pair), plain)]


def rms(found, answer):
    return float(np.sqrt(np.mean((found - answer) ** 2.0)))


def named(pair):
    """Forms as they are written: F(3, 2), or several for phases that differ."""
    names = [
        " and ".join(f"F({m}, {r})" for r, m in way.outputs.items()) + (", apart" if way.apart else "") for way in pair
    ]
    return names[0] if names[0] == names[1] else " by ".join(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refused", action="store_true", help="the forms that are left out as well")
    options = parser.parse_args()
    print("| layer | forms | " + " | ".join(KINDS) + " |\n|---|---|---|---|---|")
    for (name, layer), forward in product(LAYERS.items(), (True, False)):
        g = geometry(layer)
        problem = Problem("forward" if forward else "grad_input", g, "float32")
        if winograd.why_not(problem):
            continue
        found = ways(g.h, g.w, forward, problem.channels[0])
        mixed = [pair for pair in found if pair[0].outputs == {2: 4} and pair[1] == found[0][1]]
        pairs = [(pair, "") for pair in found if pair[0] == pair[1] or pair in mixed] or [(found[0], "")]
        if options.refused and forward:
            pairs += [((way, way), " (refused)") for way in REFUSED.get(name, [])]
        for pair, note in pairs:
            ratios = [" / ".join(f"{each:.2f}" for each in errors(problem, kind, pair)) for kind in KINDS]
            label = name if forward else f"{name}, gradient"
            print(f"| {label} | {named(pair)}{note} | " + " | ".join(ratios) + " |", flush=True)


if __name__ == "__main__":
    main()
