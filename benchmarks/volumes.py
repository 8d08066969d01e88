"""3-D layers of real networks: upconv's functions for NumPy beside torch's operator, forward and both gradients.

    python benchmarks/volumes.py [--threads 1] [--seconds 0.25] [--rows 0:12]

Both take turns, so that what disturbs one disturbs both; a figure is the median of the ratios of turns. The last line
says how far products alone could go: torch's times over those of the multiply-adds at the highest rate of any row.
"""

import argparse
import math
import time
from statistics import median

import numpy as np
import torch

import upconv
from upconv.settings import Settings

# (name, in, out, depth x height x width, kernel, stride, padding, output_padding)
LAYERS = [
    ("nnU-Net 320-320 k2s2", 320, 320, (8, 8, 8), 2, 2, 0, 0),
    ("nnU-Net 320-256 k2s2", 320, 256, (10, 10, 10), 2, 2, 0, 0),
    ("nnU-Net 256-128 k2s2", 256, 128, (16, 16, 16), 2, 2, 0, 0),
    ("nnU-Net 128-64 k2s2", 128, 64, (24, 24, 24), 2, 2, 0, 0),
    ("nnU-Net 64-32 k2s2", 64, 32, (32, 32, 32), 2, 2, 0, 0),
    ("nnU-Net 320-256 k122", 320, 256, (20, 8, 8), (1, 2, 2), (1, 2, 2), 0, 0),
    ("nnU-Net 64-32 k122", 64, 32, (20, 48, 48), (1, 2, 2), (1, 2, 2), 0, 0),
    ("V-Net 256-64 k2s2", 256, 64, (12, 16, 16), 2, 2, 0, 0),
    ("UNETR 768-128 k2s2", 768, 128, (6, 6, 6), 2, 2, 0, 0),
    ("MONAI UNet 128-64 k3s2", 128, 64, (12, 12, 12), 3, 2, 1, 1),
    ("MONAI UNet 64-32 k3s2", 64, 32, (24, 24, 24), 3, 2, 1, 1),
    ("3D-GAN 256-128 k4s2", 256, 128, (8, 8, 8), 4, 2, 1, 0),
]


def three(value):
    return (value,) * 3 if isinstance(value, int) else value


def in_turns(pairs, seconds):
    """The median ratio of (theirs, ours) for each pair of functions, and the median milliseconds of both."""
    found = []
    for theirs, ours in pairs:
        theirs(), ours()
        turns, end = [], time.perf_counter() + seconds
        while len(turns) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            theirs()
            middle = time.perf_counter()
            ours()
            turns.append((middle - start, time.perf_counter() - middle))
        found.append((median(a / b for a, b in turns), *(1e3 * median(t) for t in zip(*turns, strict=True))))
    return found


def products(layer):
    """Multiply-adds of the forward pass, and of each gradient."""
    _, c_in, c_out, size, *settings = layer
    k, s, p, op = map(three, settings)
    return Settings.of(s, p, op, 1, 1, dimensions=3).geometry((1, c_in, *size), (c_in, c_out, *k)).macs


def measure(layer, seconds):
    """(forward, backward), each as `in_turns` has it."""
    _, c_in, c_out, size, *settings = layer
    k, s, p, op = map(three, settings)
    x, w, b = torch.randn(1, c_in, *size), torch.randn(c_in, c_out, *k), torch.randn(c_out)
    y = torch.nn.functional.conv_transpose3d(x, w, b, s, p, op)
    gy = torch.randn_like(y)
    arrays = x.numpy(), w.numpy(), b.numpy()
    np.testing.assert_allclose(upconv.conv_transpose3d(*arrays, s, p, op), y.numpy(), rtol=1e-3, atol=1e-2)
    ends = [c_out], s, p, (1, 1, 1), True, op, 1, (True, True, True)
    pairs = [
        (
            lambda: torch.nn.functional.conv_transpose3d(x, w, b, s, p, op),
            lambda: upconv.conv_transpose3d(*arrays, s, p, op),
        ),
        (
            lambda: torch.ops.aten.convolution_backward(gy, x, w, *ends),
            lambda: upconv.grad.conv_transpose3d_backward(gy.numpy(), *arrays[:2], s, p, op),
        ),
    ]
    return in_turns(pairs, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--rows", default=":", help="which layers, as 0:6")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    upconv.set_num_threads(options.threads)
    first, last = (int(end) if end else None for end in options.rows.split(":"))
    logs, work = [[], []], [[], []]
    print(f"torch {torch.__version__}, {options.threads} thread(s); torch ms, upconv ms, times as fast")
    for layer in LAYERS[first:last]:
        found = measure(layer, options.seconds)
        for log, done, factor, (gain, theirs, ours) in zip(logs, work, (1, 2), found, strict=True):
            log.append(math.log(gain))
            done.append((factor * products(layer), theirs, ours))
        forward, backward = (f"{a:7.1f} {b:7.1f} {gain:5.2f}" for gain, a, b in found)
        print(f"{layer[0]:<24} forward {forward}  backward {backward}", flush=True)
    means = [math.exp(sum(log) / len(log)) for log in logs]
    print(f"geometric means: forward {means[0]:.2f}, backward {means[1]:.2f}")
    rate = max(number / ours for done in work for number, _, ours in done)
    limits = [
        math.exp(sum(math.log(theirs * rate / number) for number, theirs, _ in done) / len(done)) for done in work
    ]
    print(f"products alone, at {rate / 1e6:.0f} GMAC/s: forward {limits[0]:.2f}, backward {limits[1]:.2f}")


if __name__ == "__main__":
    main()
