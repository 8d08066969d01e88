"""On which small layers is torch's operator faster than upconv's? The table behind the rule in upconv/torch/choice.py.

    python benchmarks/torch_rule.py [--markdown FILE]

One thread, the weight as given, forward, NCHW and channels-last; each cell is the median over several numbers of
channels of how many times as fast upconv is. UPCONV_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2
holds both to AVX2.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn.functional import conv_transpose2d

from upconv.files import write_atomically
from upconv.torch import choice
from upconv.torch.dispatch import facts

CHANNELS = ((32, 32), (64, 32), (128, 64), (256, 128), (512, 256))
# Kernel, stride, padding of 2-D layers by their sides; of 1-D layers by their lengths.
SQUARE = (((2, 2), 2, 0), ((3, 3), 1, 1), ((3, 3), 2, 1), ((4, 4), 2, 1), ((4, 4), 4, 0))
LONG = (((1, 4), (1, 2), (0, 1)), ((1, 8), (1, 4), (0, 2)), ((1, 16), (1, 8), (0, 4)))
SIDES, LENGTHS, ROUNDS = (2, 4, 8, 14, 20, 32), (32, 64, 128, 300), 9


def ratio(x, weight, settings):
    """How many times as fast upconv is: the median of rounds in which both take a turn."""
    call = facts(x, weight, None, settings)
    stride, padding, output_padding, groups, dilation = settings
    found = []
    for number in range(ROUNDS + 2):
        start = time.perf_counter()
        plan, _ = call.plan("forward")
        call.ours(plan.problem.operation, x, weight, None)
        middle = time.perf_counter()
        conv_transpose2d(x, weight, None, stride, padding, output_padding, groups, dilation)
        # The first rounds make kernels and primitives.
        if number >= 2:
            found.append((time.perf_counter() - middle) / (middle - start))
    return median(found), choice.by_rule(call.problem("forward")).is_ours


def cells():
    """(layer, layout, pixels, median ratio, share that the rule gives to upconv)."""
    layers = [(*each, [(side, side) for side in SIDES]) for each in SQUARE]
    layers += [(*each, [(1, length) for length in LENGTHS]) for each in LONG]
    for form in (torch.contiguous_format, torch.channels_last):
        for kernel, stride, padding, sizes in layers:
            for height, width in sizes:
                found = []
                for c_in, c_out in CHANNELS:
                    x = torch.randn(1, c_in, height, width).contiguous(memory_format=form)
                    weight = torch.randn(c_in, c_out, *kernel).contiguous(memory_format=form)
                    found.append(ratio(x, weight, (stride, padding, 0, 1, 1)))
                name = f"k{kernel[0]}x{kernel[1]} s{stride}"
                layout = "NCHW" if form is torch.contiguous_format else "channels-last"
                yield name, layout, height * width, median(r for r, _ in found), median(ours for _, ours in found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| layer | layout | pixels | times as fast | by the rule |", "|---|---|---|---|---|"]
    with torch.no_grad():
        for name, layout, pixels, times, ours in cells():
            lines.append(f"| {name} | {layout} | {pixels} | {times:.2f} | {'upconv' if ours else 'torch'} |")
            print(lines[-1], flush=True)
    if options.markdown:
        write_atomically(options.markdown, "\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    main()
