"""Ordinary convolutions of real networks: `upconv.conv2d` beside PyTorch, ONNX Runtime and OpenVINO, in turns.

    python benchmarks/conv2d.py [--threads 1] [--seconds 0.04] [--only PATTERNS] [--markdown FILE]

All in one process, one after the other in every round, each when the others' threads are asleep (see
`upconv.bench.turns`); a time is the median of the rounds, and a ratio that of their ratios. Results are compared first
with PyTorch's. The rivals own their weight, so they may reorder it once; upconv's is an array in every call ("given")
or comes from `upconv.prepare`. The last column is how many times as fast as the best rival the better layout of a
prepared weight is. UPCONV_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2 holds the first two to
AVX2.
"""

import argparse
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch

import upconv
from upconv.bench.adapters import OnnxRuntime, OpenVino
from upconv.bench.layers import matching
from upconv.bench.turns import in_rounds
from upconv.files import write_atomically

ROUNDS = 9
# Beyond what two engines make of long sums in float32, relative to the root mean square.
MOST_APART = 1e-4
Shapes = namedtuple("Shapes", "input_shape output_shape")


@dataclass(frozen=True)
class Conv:
    """A convolution, with the names that adapters of engines know a layer by."""

    name: str
    n: int
    c_in: int
    c_out: int
    size: tuple[int, int]
    k: tuple[int, int]
    s: tuple[int, int] = (1, 1)
    p: tuple[int, int] = (0, 0)
    d: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def settings(self):
        return {"stride": self.s, "padding": self.p, "dilation": self.d, "groups": self.groups}

    def geometry(self):
        ends = zip(self.size, self.k, self.s, self.p, self.d, strict=True)
        out = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in ends)
        return Shapes((self.n, self.c_in, *self.size), (self.n, self.c_out, *out))

    @property
    def macs(self):
        n, c, h, w = self.geometry().output_shape
        return n * c * h * w * self.c_in // self.groups * self.k[0] * self.k[1]


def square(name, n, c_in, c_out, side, k, s=1, p=None, groups=1):
    """A layer of a square map; padded so that stride 1 keeps the size, unless said otherwise."""
    p = (k - 1) // 2 if p is None else p
    return Conv(name, n, c_in, c_out, (side, side), (k, k), (s, s), (p, p), groups=groups)


LAYERS = [
    square("ResNet stem k7 s2", 1, 3, 64, 224, 7, 2),
    square("ResNet k1 256-64", 1, 256, 64, 56, 1),
    square("ResNet k1 1024-256", 1, 1024, 256, 14, 1),
    square("ResNet k1 s2 256-512", 1, 256, 512, 56, 1, 2),
    square("ResNet k3 64", 1, 64, 64, 56, 3),
    square("ResNet k3 256", 1, 256, 256, 14, 3),
    square("ResNet k3 s2 128", 1, 128, 128, 56, 3, 2),
    square("MobileNetV2 stem k3 s2", 1, 3, 32, 224, 3, 2),
    square("MobileNetV2 k1 32-192", 1, 32, 192, 28, 1),
    square("MobileNetV2 k1 320-1280", 1, 320, 1280, 7, 1),
    square("MobileNetV2 depthwise k3 144", 1, 144, 144, 56, 3, groups=144),
    square("MobileNetV2 depthwise k3 s2 96", 1, 96, 96, 112, 3, 2, groups=96),
    square("U-Net k3 3-64", 1, 3, 64, 256, 3),
    square("U-Net k3 64-128", 1, 64, 128, 128, 3),
    square("U-Net k3 512", 1, 512, 512, 16, 3),
    square("pix2pix k4 s2 64-128", 1, 64, 128, 128, 4, 2, 1),
    square("pix2pix k4 s2 512 of 8x8", 1, 512, 512, 8, 4, 2, 1),
    square("DCGAN discriminator k4 s2 3-64", 16, 3, 64, 64, 4, 2, 1),
    square("DCGAN discriminator k4 s2 256-512", 16, 256, 512, 8, 4, 2, 1),
    Conv("HiFi-GAN k1x7 d3 128", 1, 128, 128, (1, 2048), (1, 7), p=(0, 9), d=(1, 3)),
]


class Onnx(OnnxRuntime):
    def model(self, layer, weight, bias):
        helper, geometry = self.onnx.helper, layer.geometry()
        settings = {"strides": layer.s, "pads": layer.p * 2, "dilations": layer.d, "group": layer.groups}
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=layer.k, **settings)
        ends = [
            helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, shape)
            for name, shape in zip("xy", geometry, strict=True)
        ]
        constants = [self.onnx.numpy_helper.from_array(array, name) for array, name in ((weight, "w"), (bias, "b"))]
        graph = helper.make_graph([node], "layer", ends[:1], ends[1:], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Vino(OpenVino):
    def convolution(self, layer, x, weight):
        ops, settings = self.ops, (list(layer.s), list(layer.p), list(layer.p), list(layer.d))
        if layer.groups == 1:
            return ops.convolution(x, ops.constant(weight), *settings)
        return ops.group_convolution(x, ops.constant(weight.reshape(layer.groups, -1, *weight.shape[1:])), *settings)


def channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def calls(layer, adapters):
    """{engine: (call, how its result becomes an array)} on the same numbers."""
    rng, found = np.random.default_rng(0), {}
    x = rng.random(layer.geometry().input_shape, np.float32) - np.float32(0.5)
    w = rng.random((layer.c_out, layer.c_in // layer.groups, *layer.k), np.float32) - np.float32(0.5)
    b = rng.random(layer.c_out, np.float32)
    for name, form in (("torch NCHW", torch.contiguous_format), ("torch last", torch.channels_last)):
        tensors = [torch.from_numpy(array) for array in (x, w, b)]
        tensors[:2] = (tensor.contiguous(memory_format=form) for tensor in tensors[:2])
        found[name] = (
            lambda tensors=tensors: torch.nn.functional.conv2d(*tensors, **layer.settings),
            lambda y: y.numpy(),
        )
    for name, adapter in adapters.items():
        run, read = adapter.prepare(layer, [x], w, b)
        found[name] = (lambda run=run: run(0), read)
    kept = upconv.prepare(w, layer.s, groups=layer.groups, dilation=layer.d)
    for layout, array in (("NCHW", x), ("last", channels_last(x))):
        for form, weight in (("given", w), ("prepared", kept)):
            found[f"{form} {layout}"] = (
                lambda array=array, weight=weight: upconv.conv2d(array, weight, b, **layer.settings),
                lambda y: y,
            )
    return found


def measure(layer, engines, seconds):
    """{engine: seconds in each of the rounds}, after a comparison of all results."""
    results = {name: read(call()) for name, (call, read) in engines.items()}
    truth = results["torch NCHW"]
    for name, result in results.items():
        apart = np.abs(result - truth).max() / max(1e-30, np.sqrt(np.square(truth, dtype=np.float64).mean()))
        if not apart < MOST_APART:
            raise SystemExit(f"{layer.name}: {name} differs from torch by {apart:.2g} of the root mean square")
    return in_rounds({name: call for name, (call, _) in engines.items()}, ROUNDS, seconds / ROUNDS)


def fastest(times, names):
    """Of some engines the one with the least median."""
    return min(names, key=lambda name: median(times[name]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.04, help="of each engine on each layer, about")
    parser.add_argument("--only", metavar="PATTERNS", help="layers by parts of their names, with commas")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    upconv.set_num_threads(options.threads)
    adapters = {"ONNX Runtime": Onnx(options.threads), "OpenVINO": Vino(options.threads)}
    rivals = "torch NCHW", "torch last", *adapters
    ours = "given NCHW", "prepared NCHW", "given last", "prepared last"
    lines = ["| layer, ms | " + " | ".join((*rivals, *ours)) + " | over the best |", "|---" * (len(rivals) + 6) + "|"]
    print(*lines, sep="\n")
    found = {"given": [], "prepared": []}
    with torch.no_grad():
        for layer in matching(options.only, LAYERS):
            times = measure(layer, calls(layer, adapters), options.seconds)
            best = times[fastest(times, rivals)]
            for form, ratios in found.items():
                our = times[fastest(times, (f"{form} NCHW", f"{form} last"))]
                ratios.append(median(a / b for a, b in zip(best, our, strict=True)))
            cells = " | ".join(f"{1e3 * median(times[name]):.3g}" for name in (*rivals, *ours))
            lines.append(f"| {layer.name} | {cells} | {found['prepared'][-1]:.2f} |")
            print(lines[-1], flush=True)
    for form, ratios in found.items():
        below = sum(ratio < 0.7 for ratio in ratios)
        mean = geometric_mean(ratios)
        lines.append(f"\n{form}: geometric mean {mean:.2f}, least {min(ratios):.2f}, {below} below 0.7")
        print(lines[-1])
    if options.markdown:
        write_atomically(options.markdown, "\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    main()
