"""What a new input size costs beyond the arithmetic: time, bytes of tables, and memory over many widths.

    python benchmarks/new_size.py [--sizes N] [--widths N] [--threads N]

A size that was never seen is called once, and then again a few times; its cost is the first call less the median of the
others. Before it a size that is known is called twice, so that weight and result are in the caches as they are for the
calls that follow: what the other engine, whose turn it was, has left there is no cost of a size. Every figure is the
median over the sizes, of upconv and, where it is installed, of torch on the same inputs, in turns. Tables are the bytes
of the program that one size makes; memory is that of the process after some and after all of `--widths` random widths
of a small layer.
"""

import argparse
import math
import os
import random
import resource
import statistics
import sys
import time
from importlib.util import find_spec

import numpy as np

import upconv
from upconv.generated import PROGRAM_BYTES, PROGRAMS

# name, channels of input and output, kernel, stride, the smallest size.
LAYERS = (
    ("FCN-32s", 21, 21, (64, 64), (32, 32), (9, 11)),
    ("FCN-16s", 21, 21, (32, 32), (16, 16), (18, 22)),
    ("iSTFT k1024 s256", 514, 1, (1, 1024), (1, 256), (1, 224)),
    ("iSTFT k4096 s1024", 514, 1, (1, 4096), (1, 1024), (1, 56)),
    ("k4 s2", 64, 64, (4, 4), (2, 2), (32, 32)),
)
# Sizes that only make the kernels and bring memory, the largest first; calls of that one before each new size; and
# calls of a size after its first.
WARM, BEFORE, REPEATS = 3, 2, 5


def main():
    options = parsed()
    upconv.set_num_threads(options.threads)
    print(f"median of {options.sizes} new sizes, float32, {options.threads} thread(s); ms beyond the repeat")
    print(f"{'layer':<20}{'upconv':>9}{'repeat':>9}{'tables':>12}{'torch':>9}{'repeat':>9}")
    for layer in LAYERS:
        print(row(layer, options))
    memory(options.widths)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=21, help="new sizes of each layer (21)")
    parser.add_argument("--widths", type=int, default=10_000, help="random widths for the memory (10000)")
    parser.add_argument("--threads", type=int, default=1, help="threads of both (1)")
    return parser.parse_args()


def row(layer, options):
    """One line of the table."""
    name, c_in, c_out, kernel, stride, smallest = layer
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((c_in, c_out, *kernel), np.float32)
    engines = [lambda x: upconv.conv_transpose2d(x, weight, stride=stride)]
    if find_spec("torch") is not None:
        engines.append(torch_engine(weight, stride, options.threads))
    costs = [[] for _ in engines]
    known = None
    for size in sizes(smallest, WARM + options.sizes):
        x = rng.standard_normal((1, c_in, *size), np.float32)
        known = x if known is None else known
        for call, found in zip(engines, costs, strict=True):
            found.append(beyond(call, known, x))
    figures = [[1e3 * statistics.median(each) for each in zip(*found[WARM:], strict=True)] for found in costs]
    line = f"{name:<20}{figures[0][0]:9.2f}{figures[0][1]:9.2f}{tables(x, weight, stride):>10,} B"
    return line + "".join(f"{figure:9.2f}" for figure in figures[1]) if figures[1:] else line


def sizes(smallest, count):
    """So many sizes near the smallest, the largest first and the others in any order."""
    height, width = smallest
    across = count if height == 1 else math.isqrt(count - 1) + 1
    found = [(height + number // across, width + number % across) for number in range(count)]
    found.sort(key=math.prod)
    largest, rest = found[-1], found[:-1]
    random.Random(0).shuffle(rest)
    return [largest, *rest]


def torch_engine(weight, stride, threads):
    """Torch's operator on the same memory."""
    import torch

    torch.set_num_threads(threads)
    weight = torch.from_numpy(weight)

    def call(x):
        with torch.no_grad():
            return torch.nn.functional.conv_transpose2d(torch.from_numpy(x), weight, stride=stride)

    return call


def beyond(call, known, x):
    """(seconds of the first call of `x` beyond those that follow, seconds of one that follows)."""
    times = []
    for _ in range(BEFORE):
        call(known)
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - start)
    repeat = statistics.median(times[1:])
    return times[0] - repeat, repeat


def tables(x, weight, stride):
    """Bytes that the program of one size keeps. A call into `out` makes one, which one that is remembered does not."""
    out = upconv.conv_transpose2d(x, weight, stride=stride)
    PROGRAMS.cache_clear()
    upconv.conv_transpose2d(x, weight, stride=stride, out=out)
    return PROGRAMS.nbytes


def memory(widths):
    """Print the memory of the process after a tenth and after all of some random widths."""
    weight, chosen = np.ones((4, 4, 4, 4), np.float32), random.Random(0)
    PROGRAMS.cache_clear()
    print(f"{widths:,} random widths of a layer k4 s2, 4 -> 4 channels")
    for number, width in enumerate(chosen.sample(range(8, 8 + 2 * widths), widths), 1):
        upconv.conv_transpose2d(np.ones((1, 4, 1, width), np.float32), weight, stride=2)
        if number in (widths // 10, widths):
            kept = f"{len(PROGRAMS):,} programs of {PROGRAMS.nbytes:,} B (at most {PROGRAM_BYTES:,})"
            print(f"  after {number:>6,}: {resident() / 2**20:7.1f} MiB of memory, {kept}")


def resident():
    """Bytes of memory that the process has now; the most that it ever had, where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    main()
