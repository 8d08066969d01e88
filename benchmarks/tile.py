"""How near the tiles of the product come to the machine's peak, with panels and pixels in the cache.

    python benchmarks/tile.py

Each tile multiplies 960 pixels of 256 channels under one tap; the peak is that of multiply-adds in registers alone,
measured in turn with it. The figures are medians of rounds.
"""

import argparse
from statistics import median
from time import perf_counter

import numpy as np

from upconv.bench.probe import fma_chains, fma_flops
from upconv.kernels import gemm
from upconv.runtime.kernel import isa, linked
from upconv.runtime.program import address

PIXELS, CHANNELS, ROUNDS, CALLS = 960, 256, 31, 20


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    peak_call, peak_flops = peak()
    print(f"{isa().name}: GFLOP/s of each tile (pixels x vectors), and its share of the peak")
    for vectors, pixels in gemm.heights(isa()).items():
        call, flops = tile(pixels, vectors)
        pairs = [(flops / seconds(call), peak_flops / seconds(peak_call)) for _ in range(ROUNDS)]
        rate, share = median(a for a, _ in pairs), median(a / b for a, b in pairs)
        print(f"{pixels:>3} x {vectors}  {rate / 1e9:7.1f}  {share:6.1%}")


def seconds(call):
    start = perf_counter()
    for _ in range(CALLS):
        call()
    return (perf_counter() - start) / CALLS


def peak(count=20_000):
    """(the call, its FLOPs)."""
    operands, results = np.array([1, 0], np.float32), np.zeros(4096, np.float32)
    job = np.array([count, address(operands), address(results)], np.int64)
    code = linked(fma_chains).function()
    # The defaults keep the arrays alive for as long as the call may be made.
    return (lambda kept=(operands, results): code(address(job))), count * fma_flops(isa())


def tile(mr, nv):
    """(the call, its FLOPs)."""
    lanes = isa().lanes(4)
    x = np.ones((PIXELS, CHANNELS), np.float32)
    w, bias = np.ones((CHANNELS, nv * lanes), np.float32), np.zeros(nv * lanes, np.float32)
    y = np.empty((PIXELS, nv * lanes), np.float32)
    scratch = {name: np.empty(nbytes, np.uint8) for name, nbytes in gemm.scratch(4 * lanes, mr, nv).items()}
    kept = {"x": x, "y": y, "w": w, "bias": bias} | scratch
    sizes = dict(n_h=1, n_w=1, c=CHANNELS, n=1, rows=1, cols=PIXELS, x_col=x.strides[0], y_col=y.strides[0], groups=1)
    sizes |= {name: address(array) for name, array in kept.items()} | {"columns": nv * lanes}
    job = np.array([sizes.get(name, 0) for name in gemm.FIELDS], np.int64)
    code = linked(gemm.gemm, "f32", mr, nv).function()
    return (lambda kept=kept: code(address(job))), 2 * PIXELS * CHANNELS * nv * lanes


if __name__ == "__main__":
    main()
