"""On which layers is torch's operator faster than upconv's? The tables behind the rule in upconv/torch/choice.py.

    python benchmarks/torch_rule.py [--of small,gradients,halves,volumes] [--markdown FILE]

    small       forward, the weight as given: small maps, and few taps
    gradients   of few channels in a group, of few output channels, of one tap, of depthwise layers, of few pixels
    halves      the three operations in bfloat16 and float16
    volumes     the three operations on few voxels

One thread, NCHW and channels-last; each cell is the median over several numbers of channels of how many times as fast
upconv is. UPCONV_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2 holds both to AVX2.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn.functional import conv_transpose2d, conv_transpose3d

from upconv.files import write_atomically
from upconv.torch import choice
from upconv.torch.dispatch import facts

CHANNELS = ((32, 32), (64, 32), (128, 64), (256, 128), (512, 256))
# Kernel, stride, padding of 2-D layers by their sides; of 1-D layers by their lengths.
SQUARE = (((2, 2), 2, 0), ((3, 3), 1, 1), ((3, 3), 2, 1), ((4, 4), 2, 1), ((4, 4), 4, 0))
LONG = (((1, 4), (1, 2), (0, 1)), ((1, 8), (1, 4), (0, 2)), ((1, 16), (1, 8), (0, 4)))
SIDES, LENGTHS, ROUNDS = (2, 4, 8, 14, 20, 32), (32, 64, 128, 300), 9


# For each exception: the operation, ((channels in, out, groups), ...), ((kernel, stride, padding), ...), sides.
SEVERAL = ((3, 1, 1), (4, 2, 1))
GRADIENTS = {
    "groups of 2": ("grad_weight", ((16, 16, 8), (64, 64, 32)), SEVERAL, (8, 14, 28, 56)),
    "groups of 4": ("grad_weight", ((32, 32, 8), (128, 128, 32)), SEVERAL, (8, 14, 28, 56)),
    "groups of 7": ("grad_weight", ((28, 28, 4), (56, 28, 4)), SEVERAL, (8, 14, 28, 56)),
    "groups to 1": ("grad_weight", ((32, 8, 8), (64, 4, 4)), SEVERAL, (8, 14, 28, 56)),
    "1 output channel": ("grad_weight", ((16, 1, 1), (56, 1, 1), (128, 1, 1)), (*SEVERAL, (9, 4, 4)), (8, 32, 96)),
    "2 output channels": ("grad_weight", ((16, 2, 1), (64, 2, 1), (128, 2, 1)), SEVERAL, (8, 32, 96)),
    "one tap": ("grad_weight", ((64, 64, 1), (256, 128, 1)), ((1, 1, 0), (1, 2, 0)), (8, 28, 56)),
    "depthwise": ("grad_input", ((32, 32, 32), (128, 128, 128), (512, 512, 512)), SEVERAL, (8, 14, 28, 56)),
}
FEW_PIXELS = ((64, 32, 1), (128, 64, 1), (512, 256, 1)), ((2, 2, 0), (3, 1, 1), (3, 2, 1), (4, 2, 1)), (4, 8, 14, 20)
GRADIENTS |= {"few pixels": ("grad_input", *FEW_PIXELS), "few pixels again": ("grad_weight", *FEW_PIXELS)}
OPERATIONS = "forward", "grad_input", "grad_weight"
DENSE = (((64, 32, 1), (256, 128, 1)), ((2, 2, 0), (4, 2, 1), (3, 1, 1)), (8, 32))
HALVES = {"dense": DENSE, "depthwise": (((64, 64, 64), (256, 256, 256)), SEVERAL, (8, 32))}
VOLUMES = (((64, 32, 1), (320, 256, 1), (768, 128, 1)), ((2, 2, 0), (3, 2, 1), (4, 2, 1)), (3, 6, 8, 12, 16))


def ratio(operation, x, weight, settings, rounds=ROUNDS):
    """(how many times as fast upconv is: the median of rounds in which both take a turn; who computes by the rule)."""
    call = facts(x, weight, None, settings, x.ndim - 2)
    stride, padding, output_padding, groups, dilation = settings
    operator = conv_transpose2d if x.ndim == 4 else conv_transpose3d
    if operation == "forward":
        a, b = x, weight

        def theirs():
            operator(x, weight, None, stride, padding, output_padding, groups, dilation)

    else:
        grad = torch.randn_like(operator(x, weight, None, stride, padding, output_padding, groups, dilation))
        a, b = (grad, weight) if operation == "grad_input" else (x, grad)
        axes = [(value,) * (x.ndim - 2) if isinstance(value, int) else value for value in settings]
        mask = [operation == each for each in ("grad_input", "grad_weight", "")]

        def theirs():
            ends = axes[0], axes[1], axes[4], True, axes[2], groups, mask
            torch.ops.aten.convolution_backward(grad, x, weight, None, *ends)

    found = []
    for number in range(rounds + 2):
        start = time.perf_counter()
        call.plan(operation)
        call.ours(operation, a, b, None)
        middle = time.perf_counter()
        theirs()
        # The first rounds make kernels and primitives.
        if number >= 2:
            found.append((time.perf_counter() - middle) / (middle - start))
    return median(found), choice.by_rule(call.problem(operation)).is_ours


def forms(dimensions):
    """(layout, memory format) of maps."""
    last = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    return ("NCHW", torch.contiguous_format), ("channels-last", last)


def several(operation, channels, layers, sides, dtype=torch.float32, dimensions=2):
    """(layer, layout, pixels, median ratio, median of who computes by the rule) of square layers."""
    for layout, form in forms(dimensions):
        for k, s, p in layers:
            for side in sides:
                found = []
                for c_in, c_out, groups in channels:
                    x = torch.randn(1, c_in, *[side] * dimensions).to(dtype).contiguous(memory_format=form)
                    weight = torch.randn(c_in, c_out // groups, *[k] * dimensions).to(dtype)
                    weight = weight.contiguous(memory_format=form)
                    found.append(ratio(operation, x, weight, (s, p, 0, groups, 1), 5))
                ends = median(r for r, _ in found), median(ours for _, ours in found)
                yield f"k{k} s{s}", layout, side**dimensions, *ends


def gradients():
    for name, (operation, channels, layers, sides) in GRADIENTS.items():
        for cell, *rest in several(operation, channels, layers, sides):
            yield f"{operation}, {name}, {cell}".replace(" again", ""), *rest


def halves():
    for dtype in (torch.bfloat16, torch.float16):
        for name, (channels, layers, sides) in HALVES.items():
            for operation in OPERATIONS:
                for cell, *rest in several(operation, channels, layers, sides, dtype):
                    yield f"{dtype}, {operation}, {name}, {cell}".replace("torch.", ""), *rest


def volumes():
    for operation in OPERATIONS:
        for cell, *rest in several(operation, *VOLUMES, dimensions=3):
            yield f"{operation}, {cell}", *rest


def small():
    """(layer, layout, pixels, median ratio, share that the rule gives to upconv)."""
    layers = [(*each, [(side, side) for side in SIDES]) for each in SQUARE]
    layers += [(*each, [(1, length) for length in LENGTHS]) for each in LONG]
    for layout, form in forms(2):
        for kernel, stride, padding, sizes in layers:
            for height, width in sizes:
                found = []
                for c_in, c_out in CHANNELS:
                    x = torch.randn(1, c_in, height, width).contiguous(memory_format=form)
                    weight = torch.randn(c_in, c_out, *kernel).contiguous(memory_format=form)
                    found.append(ratio("forward", x, weight, (stride, padding, 0, 1, 1)))
                name, ends = f"k{kernel[0]}x{kernel[1]} s{stride}", zip(*found, strict=True)
                yield name, layout, height * width, *map(median, ends)


TABLES = {"small": small, "gradients": gradients, "halves": halves, "volumes": volumes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", default="small", metavar="TABLES", help="which of the tables, separated by commas")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| layer | layout | pixels | times as fast | by the rule |", "|---|---|---|---|---|"]
    with torch.no_grad():
        for table in options.of.split(","):
            for name, layout, pixels, times, ours in TABLES[table]():
                who = "upconv" if ours == 1 else "torch" if ours == 0 else "both"
                lines.append(f"| {name} | {layout} | {pixels} | {times:.2f} | {who} |")
                print(lines[-1], flush=True)
    if options.markdown:
        write_atomically(options.markdown, "\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    main()
