"""How much two threads gain, beside what the machine itself gains in the same run.

    python benchmarks/threads.py [--threads 2] [--only sam,dcgan] [--rounds 5] [--least 1.0] [--prepared]
    python benchmarks/threads.py --of input              one of the gradients: input, weight, all

A row's time on one thread and on all is measured in turn with the probe's peak of multiply-adds and with a copy of the
row's own bytes. What the machine can gain is the gain of the peak where multiply-adds bound a row, that of the copy
where memory does, and that of their sum between. The calling thread has a CPU of its own. Rows below a millisecond,
or `--least`, are left out.
"""

import argparse
from statistics import median
from time import perf_counter

import numpy as np

import upconv
from upconv.bench.layers import matching
from upconv.bench.probe import Probe
from upconv.bench.turns import apart

WANTED = 0.87
# The gradients in the input, the weight and the bias that one call computes.
GRADIENTS = {"input": (True, False, False), "weight": (False, True, False), "all": (True, True, True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="rows by part of their names, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--least", type=float, default=1.0, help="milliseconds on one thread of the briefest row")
    parser.add_argument("--prepared", action="store_true", help="with a prepared weight")
    parser.add_argument("--of", choices=("forward", *GRADIENTS), default="forward", help="what is computed")
    options = parser.parse_args()
    if options.prepared and options.of != "forward":
        parser.error("--prepared is for the forward pass; a gradient takes its weight as given")
    probes = {n: Probe(n) for n in (1, options.threads)}
    shares = {}
    print(f"{'row':<34} {'layout':<6} {'ms':>8} {'gain':>6} {'peak':>6} {'copy':>6} {'share':>6}")
    for layer in matching(options.only):
        for layout in ("nchw", "nhwc"):
            found = measure(layer, layout, probes, options)
            if found is None:
                continue
            seconds, gain, peak, copy, share = found
            shares[layer.name, layout] = share
            print(
                f"{layer.name:<34} {layout:<6} {seconds * 1e3:8.2f} {gain:6.2f} {peak:6.2f} {copy:6.2f} {share:6.2f}",
                flush=True,
            )
    if shares:
        worst = min(shares, key=shares.get)
        reached = sum(share >= WANTED for share in shares.values())
        print(f"\n{reached} of {len(shares)} reach {WANTED} of what the machine gains")
        print(f"median {median(shares.values()):.2f}, worst {shares[worst]:.2f} ({' '.join(worst)})")


def measure(layer, layout, probes, options):
    """(seconds on one thread, gain, gain of the peak, gain of the copy, share of what the machine gains), or None."""
    call, flops, elements = prepare(layer, layout, options)
    upconv.set_num_threads(1)
    call()
    if timed(call) < options.least / 1000:
        return None
    for probe in probes.values():
        probe.prepare(4 * elements)
    found = [once(call, probes, flops) for _ in range(options.rounds)]
    seconds, gains, peaks, copies, shares = zip(*found, strict=True)
    return median(seconds), median(gains), median(peaks), median(copies), median(shares)


def once(call, probes, flops):
    """One round: everything on one thread, then on all."""
    times, peaks, copies = [], [], []
    for threads, probe in probes.items():
        upconv.set_num_threads(threads)
        call()
        with apart():
            times.append(min(timed(call) for _ in range(5)))
            peaks.append(probe.peak(0.01))
            copies.append(probe.copy(0.01))
    gain, peak, copy = times[0] / times[1], peaks[1] / peaks[0], copies[0] / copies[1]
    f, b = flops / peaks[0], copies[0]
    can = peak if f > 8 * b else copy if b > 4 * f else (f + b) / (f / peak + b / copy)
    return times[0], gain, peak, copy, gain / can


def prepare(layer, layout, options):
    """(the call, its useful FLOPs, the elements that it must move)."""
    rng, g = np.random.default_rng(0), layer.geometry()
    shapes = g.input_shape, g.weight_shape, g.output_shape
    x, w, y = (rng.standard_normal(shape, np.float32) for shape in shapes)
    if layout == "nhwc":
        x, w, y = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, w, y))
    if options.of == "forward":
        weight = upconv.prepare(w, **layer.settings) if options.prepared else w
        return lambda: upconv.conv_transpose2d(x, weight, **layer.settings), 2 * g.macs, g.elements()
    settings = {**layer.settings, "output_mask": GRADIENTS[options.of]}
    # All of them read the three tensors and write the first two.
    both = options.of == "all"
    elements = g.elements() + both * (x.size + g.live_weights)
    return lambda: upconv.grad.conv_transpose2d_backward(y, x, w, **settings), 2 * g.macs * (1 + both), elements


def timed(call):
    start = perf_counter()
    call()
    return perf_counter() - start


if __name__ == "__main__":
    main()
