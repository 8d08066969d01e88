"""Winograd's kernels on whole layers, beside torch and the present algorithm: which form, tile and block pays.

    python benchmarks/winograd.py [part of a layer's name ...]

Useful GFLOP/s on one thread, as a share of the peak of multiply-adds in registers that is measured in the same turn;
medians of rounds in which all take turns. "s/p/g" are the spread, the product and the gather run alone, in per cent of
the whole. UPCONV_ISA=avx2 times the lower instruction set.
"""

import argparse
from statistics import median
from time import perf_counter

import numpy as np

import upconv
from upconv.algorithms import winograd
from upconv.bench.probe import fma_chains, fma_flops
from upconv.conventions import Torch
from upconv.geometry import Geometry
from upconv.kernels import winograd_gather, winograd_product, winograd_spread
from upconv.kernels.execute import execute
from upconv.problem import Problem
from upconv.runtime.kernel import function, isa, linked
from upconv.runtime.program import COUNTER, ROW, Grid, Job, Nest, Program, Stage, address
from upconv.schedule.winograd import SIZES
from upconv.schedule.winograd_bands import Map
from upconv.schedule.winograd_layer import Bases, Layer, Setting

NAMES = Bases.__slots__
NUMBERS = Bases(*range(1, len(NAMES) + 1))
PAGE = 4096
DTYPES = {"f32": np.float32, "f64": np.float64}
ROUNDS = 5


def same(m):
    """A number of outputs for every number of taps."""
    return dict.fromkeys((1, 2, 3), m)


# n, c_in, h, w, c_out, kernel, stride, padding, output_padding
LAYERS = {
    "k4s2-256x32x32-128": (1, 256, 32, 32, 128, (4, 4), (2, 2), (1, 1), (0, 0)),
    "k4s2-128x64x64-64": (1, 128, 64, 64, 64, (4, 4), (2, 2), (1, 1), (0, 0)),
    "k4s2-512x16x16-256": (1, 512, 16, 16, 256, (4, 4), (2, 2), (1, 1), (0, 0)),
    "small-16x512x4x4-256": (16, 512, 4, 4, 256, (4, 4), (2, 2), (1, 1), (0, 0)),
    "k4s2-64x64x64-32": (1, 64, 64, 64, 32, (4, 4), (2, 2), (1, 1), (0, 0)),
    "k3s1-256x64x64-256": (1, 256, 64, 64, 256, (3, 3), (1, 1), (1, 1), (0, 0)),
    "k3s1-64x56x56-64": (1, 64, 56, 56, 64, (3, 3), (1, 1), (1, 1), (0, 0)),
    "1d-256x1000-128": (1, 256, 1, 1000, 128, (1, 4), (1, 2), (0, 1), (0, 0)),
    "k5s2-128x64x64-64": (1, 128, 64, 64, 64, (5, 5), (2, 2), (2, 2), (1, 1)),
    "k3s2-128x64x64-64": (1, 128, 64, 64, 64, (3, 3), (2, 2), (1, 1), (1, 1)),
}
# Beside the setting that the algorithm chooses, by the beginning of a layer's name: m on each axis, rows of tiles,
# channels of a block, longest sum.
CHOICES = {
    "k4s2": [(3, 3, rows, channels, 64) for rows in (1, 3, 6) for channels in (32, 64)],
    "k3s1": [(2, 2, 2, 64, 64), (2, 4, 3, 64, 32), (4, 4, 4, 128, 32)],
    "1d": [(1, 3, 1, 64, 64), (1, 4, 1, 64, 64)],
    "k5s2": [(2, 2, 2, 64, 64)],
    "k3s2": [(3, 3, 3, 64, 64)],
}


class Table:
    """Jobs one after another, on this thread, at addresses that may change from call to call."""

    def __init__(self, rows):
        nests = [Nest(row["fields"], {name: row[name] for name in row["fields"] if name in row}) for row in rows]
        self.program = Program([Stage([Grid(nests)])], {}, 0.0)
        self.scratch, self.counter = np.zeros(self.program.sizes[ROW] // 8, np.int64), np.zeros(1, np.int64)
        self.code = function(execute, False)

    def run(self, addresses):
        self.counter[0] = 0
        base = [*addresses, *[0] * (ROW - len(addresses)), address(self.scratch)]
        (table,) = self.program.tables
        job = Job(*table.job(base, 0, table.units))
        job[COUNTER] = address(self.counter)
        self.code(job)


def aligned(nbytes):
    """Zeros from the start of a page."""
    raw = np.zeros(nbytes + PAGE, np.uint8)
    start = -address(raw) % PAGE
    return raw[start : start + nbytes]


class Runner:
    """A Layer with memory of its own.

    Args:
        g, setting, forward: as `Layer` has them.
        planes: whether both maps lie in planes (NCHW) instead of pixels.
    """

    def __init__(self, g, setting, elem="f32", forward=True, planes=False):
        size = SIZES[elem]
        src, dst = (g.c_in, g.h.n, g.w.n), (g.c_out, g.h.out, g.w.out)
        src, dst = (src, dst) if forward else (dst, src)
        x, y = (Map.dense(*shape, size, not planes) for shape in (src, dst))
        w = tuple(size * step for step in (g.c_out * g.h.k * g.w.k, g.h.k * g.w.k, g.w.k, 1))
        self.layer = Layer(g, setting, elem, x, y, w, NUMBERS, forward)
        self.dtype = DTYPES[elem]
        self.memory = {name: aligned(nbytes + 64) for name, nbytes in self.layer.bytes.items()}
        self.memory["bias"] = aligned((dst[0] + 64) * size).view(self.dtype)
        self.src, self.dst = ((g.n, *s) if planes else (g.n, *s[1:], s[0]) for s in (src, dst))
        self.rows = [row for unit in self.layer.units() for row in unit]
        self.table = Table(self.rows)
        self.weight_table = Table([row for unit in self.layer.weight_tasks() for row in unit])
        self.weight = None

    def set(self, weight, bias):
        """Take a weight (c_in, c_out, k_h, k_w) and a bias, and prepare the weight."""
        self.weight = np.ascontiguousarray(weight, self.dtype)
        self.memory["bias"][: len(bias)] = bias
        self.prepare()

    def prepare(self):
        self.weight_table.run(self.addresses())

    def addresses(self, x=None, y=None):
        own = {"x": x, "y": y, "w": self.weight, **self.memory}
        return [0, *(0 if own.get(name) is None else address(own[name]) for name in NAMES)]

    def run(self, x, y):
        self.table.run(self.addresses(x, y))

    def only(self, kernel):
        """A call like `run` of the tasks of one kernel (its FIELDS) alone."""
        table = Table([row for row in self.rows if row["fields"] is kernel])
        return lambda x, y: table.run(self.addresses(x, y))

    @property
    def flags(self):
        """(that of the weight, those of the blocks of tiles)."""
        words = self.memory["aux"][: 64 + 8 * self.layer.flags].view(np.int64)
        return words[0], words[8:]


def geometry(layer):
    n, c_in, *sizes, c_out, k, s, p, more = layer
    axes = zip(sizes, k, s, p, more, strict=True)
    return Geometry(n, c_in, c_out, 1, *(Torch(pad, out).axis(size, taps, step) for size, taps, step, pad, out in axes))


def peak(count=200_000):
    """(a call, its FLOPs): multiply-adds in registers alone."""
    operands, results = np.array([1, 0], np.float32), np.zeros(4096, np.float32)
    job = np.array([count, address(operands), address(results)], np.int64)
    code = linked(fma_chains).function()
    return (lambda kept=(operands, results): code(address(job))), count * fma_flops(isa())


def rivals(layer, x, weight):
    """Calls by name, in both layouts; torch only where it is installed."""
    _, _, _, _, _, _, s, p, more = layer
    settings = {"stride": s, "padding": p, "output_padding": more}
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    yield "upconv planes", lambda: upconv.conv_transpose2d(x, weight, **settings)
    yield "upconv pixels", lambda: upconv.conv_transpose2d(last, weight, **settings)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
    planes, w = torch.from_numpy(x), torch.from_numpy(weight)
    pixels, w_last = (t.contiguous(memory_format=torch.channels_last) for t in (planes, w))
    yield "torch planes", lambda: torch.nn.functional.conv_transpose2d(planes, w, **settings)
    yield "torch pixels", lambda: torch.nn.functional.conv_transpose2d(pixels, w_last, **settings)


def ways(g, name, x, weight):
    """(name, calls of the whole and of each kernel alone) of every setting and way."""
    pixels = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    kernels = winograd_spread.FIELDS, winograd_product.FIELDS, winograd_gather.FIELDS
    chosen = winograd.setting(Problem("forward", g, "float32"))
    settings = {f"as chosen, {chosen.outputs}{' apart' * any(chosen.apart)}, tiles {chosen.tiles}": chosen} | {
        f"m {m_h}x{m_w}, rows {rows}, channels {channels}": Setting(
            (same(m_h), same(m_w)), (1, rows, 66), channels, chunk
        )
        for m_h, m_w, rows, channels, chunk in CHOICES.get(name.split("-")[0], ())
    }
    for shown, setting in settings.items():
        for planes, how in ((False, "prepared"), (True, "prepared"), (False, "in the call")):
            runner = Runner(g, setting, planes=planes)
            runner.set(weight, np.zeros(g.c_out))
            source, y = (x if planes else pixels), np.empty(runner.dst, np.float32)
            label = f"{shown}, {'planes' if planes else 'pixels'}, {how}"
            whole = runner.run
            if how == "in the call":
                whole = lambda x, y, runner=runner: (runner.prepare(), runner.run(x, y))  # noqa: E731
            calls = [whole, *([runner.only(words) for words in kernels] if how == "prepared" and not planes else [])]
            yield label, [lambda call=call, source=source, y=y: call(source, y) for call in calls]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="parts of the names of layers; all without")
    patterns = parser.parse_args().patterns
    upconv.set_num_threads(1)
    for name, layer in LAYERS.items():
        if patterns and not any(pattern in name for pattern in patterns):
            continue
        g = geometry(layer)
        rng = np.random.default_rng(0)
        x = rng.standard_normal(g.input_shape, np.float32)
        weight = rng.standard_normal(g.weight_shape, np.float32)
        highest, flops = peak()
        calls = {label: [call] for label, call in rivals(layer, x, weight)} | dict(ways(g, name, x, weight))
        shares, parts = {label: [] for label in calls}, {label: [] for label in calls}
        for turn in range(ROUNDS + 1):
            for label, (whole, *kernels) in calls.items():
                rate = flops / seconds(highest)
                taken = seconds(whole)
                if turn:
                    shares[label].append(2 * g.macs / taken / rate)
                    parts[label].append([seconds(call) / taken for call in kernels])
        print(f"{name}, {isa().name}")
        for label in calls:
            alone = "/".join(f"{100 * median(part):.0f}" for part in zip(*parts[label], strict=True))
            print(f"  {median(shares[label]):6.0%}  {label}" + (f"  s/p/g {alone}" if alone else ""), flush=True)


def seconds(call):
    start = perf_counter()
    call()
    return perf_counter() - start


if __name__ == "__main__":
    main()
