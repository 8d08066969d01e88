"""The gradients of real layers, upconv beside PyTorch's own operator in the same layout, one after the other in turns.

    python benchmarks/gradients.py [--only PATTERNS] [--layouts nchw,nhwc] [--gradients input,weight,all] [--threads 1]

In each turn an engine begins when all threads of the other one are asleep, with calls that are not timed, and each has
the calling thread on a CPU of its own (see `upconv.bench.turns`; on several threads what ran before would slow down
either). Each cell is the median, over the rounds, of how many times as fast upconv is; `all` is input, weight and bias
in one call of either. Results are compared first: what differs by more than `MOST_APART` of its root mean square is an
error.

UPCONV_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2, ATEN_CPU_CAPABILITY=avx2 and MKL_ENABLE_INSTRUCTIONS=AVX2 holds both to
AVX2: without the last, torch computes a kernel of one tap by AVX-512.
"""

import argparse
import time
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch

import upconv
from upconv.bench.layers import matching
from upconv.bench.turns import turn
from upconv.files import write_atomically
from upconv.planning import choose
from upconv.problem import Problem

MASKS = {"input": (True, False, False), "weight": (False, True, False), "all": (True, True, True)}
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# Beyond what two engines make of long sums in float32.
MOST_APART = 1e-4


def calls(layer, layout, mask):
    """{engine: call} on the same numbers; a call gives what the mask asks for, as arrays."""
    x = layer.inputs()[0]
    weight, _ = layer.parameters()
    shape = layer.geometry().output_shape
    grad = np.random.Generator(np.random.PCG64(0)).random(shape, np.float32) - np.float32(0.5)
    tensors = [torch.from_numpy(array).contiguous(memory_format=FORMATS[layout]) for array in (grad, x, weight)]
    arrays = [*(tensor.numpy() for tensor in tensors[:2]), weight]
    bias = [layer.geometry().c_out] if mask[2] else None

    def by_torch():
        settings = layer.s, layer.p, layer.d, True, layer.op, layer.groups, list(mask)
        return torch.ops.aten.convolution_backward(*tensors, bias, *settings)

    return {
        "torch": by_torch,
        "upconv": lambda: upconv.grad.conv_transpose2d_backward(*arrays, **layer.settings, output_mask=mask),
    }


def compare(name, engines):
    """Both once, to make their kernels; an error if they differ."""
    theirs, ours = (engines[engine]() for engine in ("torch", "upconv"))
    for one, other in zip(theirs, ours, strict=True):
        if other is not None:
            apart = np.abs(one.numpy() - other).max() / max(1e-30, np.sqrt(np.square(other, dtype=np.float64).mean()))
            if not apart < MOST_APART:
                raise SystemExit(f"{name}: torch and upconv differ by {apart:.2g} of the root mean square")


def measure(engines, rounds, seconds):
    """(median seconds of each engine, median of the rounds' ratios)."""
    times = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine, call in engines.items():
            with turn(call) as once:
                repeats = max(1, int(seconds / once))
                start = time.perf_counter()
                for _ in range(repeats):
                    call()
                times[engine].append((time.perf_counter() - start) / repeats)
    ratios = [one / other for one, other in zip(times["torch"], times["upconv"], strict=True)]
    return {engine: median(each) for engine, each in times.items()}, median(ratios)


def ways(layer, layout):
    """By which algorithms the two large gradients are computed."""
    g = layer.geometry()
    return [choose(Problem(operation, g, "float32", layout)).algorithm for operation in ("grad_input", "grad_weight")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERNS", help="layers by parts of their names, with commas")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th of them")
    parser.add_argument("--layouts", default="nchw,nhwc")
    parser.add_argument("--gradients", default="input,weight,all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.02, help="of each engine in each round, about")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    upconv.set_num_threads(options.threads)
    layouts, gradients = options.layouts.split(","), options.gradients.split(",")
    lines = [
        "| layer | layout | " + " | ".join(f"{each}, torch ms | times as fast" for each in gradients) + " | by |",
        "|---|---|" + "---|---|" * len(gradients) + "---|",
    ]
    print(*lines, sep="\n")
    found = {(layout, gradient): [] for layout in layouts for gradient in gradients}
    for layer in matching(options.only)[:: options.every]:
        for layout in layouts:
            cells = []
            for gradient in gradients:
                engines = calls(layer, layout, MASKS[gradient])
                compare(f"{layer.name} {layout} {gradient}", engines)
                times, ratio = measure(engines, options.rounds, options.seconds)
                cells.append(f"{1e3 * times['torch']:.3g} | {ratio:.2f}")
                found[layout, gradient].append(ratio)
            lines.append(f"| {layer.name} | {layout} | {' | '.join(cells)} | {', '.join(ways(layer, layout))} |")
            print(lines[-1], flush=True)
    for (layout, gradient), ratios in found.items():
        behind = sum(ratio < 1 for ratio in ratios)
        lines.append(
            f"\n{layout}, gradient in {gradient}: geometric mean {geometric_mean(ratios):.2f} of {len(ratios)} layers, "
            f"behind on {behind}, least {min(ratios):.2f}"
        )
        print(lines[-1])
    if options.markdown:
        write_atomically(options.markdown, "\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    main()
