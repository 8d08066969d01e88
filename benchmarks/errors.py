"""The rounding errors of what is chosen beside torch's, on real and random layers: all three operations in float32.

    python benchmarks/errors.py [--only PATTERNS] [--random 200] [--seed 0] [--operations forward,grad_input,...]
        [--layouts nchw,nhwc] [--kinds normal,ReLU,ill-scaled] [--ways NAMES | --ways all] [--least 1.5] [--json FILE]

A ratio is the rms of upconv's errors against float64 over that of torch's errors on the same numbers in the same
layout, and `largest` the same of the largest errors. A result of few numbers says little of a way, so layers are
computed anew with other numbers until there are `--numbers` results, at most `--draws` times. That is enough to tell
where the errors are alike. Where a ratio comes near a limit it may be chance: results of one channel among "ill-scaled"
ones outweigh all others, and the largest of a draw is a single number. There draws go on, `--least-draws` at least and
`--most-draws` at most, until `--numbers` results of equal weight are together. Each draw's errors are
taken in units of the size that its results have, the root of the sum of their squared products, so that no draw
outweighs the others. `eps` is the rms of upconv's errors in those units, `terms` how many products a result has.
"ReLU" is a source without negative numbers, "ill-scaled" one whose channels are up to 1e6 times as large as others.
Where a weight is an operand it comes as given and prepared.
UPCONV_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2 holds both to AVX2.
"""

import argparse
import itertools
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch

import upconv
from upconv.arrays import empty
from upconv.bench.layers import matching
from upconv.bench.random_layers import random_layers, said
from upconv.files import write_atomically
from upconv.generated import Generated
from upconv.planning import ALGORITHMS, choose
from upconv.problem import OPERATIONS, Problem

KINDS = ("normal", "ReLU", "ill-scaled")
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# Ratios of rms and of largest errors from which more is drawn: the limits are 1.5 and 2.
NEAR = 1.35, 1.75
EPSILON = float(np.finfo(np.float32).eps)


@dataclass
class Row:
    """What was found for one way on one layer."""

    way: str
    layer: str
    said: str
    operation: str
    layout: str
    prepared: bool
    kind: str
    ratio: float
    largest: float
    epsilons: float
    terms: int
    draws: int


def source(kind, shape, rng):
    """A source of a kind, (n, c, h, w) in float32."""
    x = rng.standard_normal(shape, np.float32)
    if kind == "ReLU":
        return np.maximum(x, 0)
    if kind == "ill-scaled":
        return (x * 10 ** rng.uniform(-3, 3, (1, shape[1], 1, 1))).astype(np.float32)
    return x


def operands(problem, kind, rng):
    """The two operands: a source of the kind, and a weight or a gradient of normal numbers."""
    (a, b), g = problem.operand_shapes, problem.geometry
    scale = 1 if problem.operation == "grad_weight" else np.sqrt(max(1, problem.channels[0]) * g.h.k * g.w.k)
    return source(kind, a, rng), (rng.standard_normal(b) / scale).astype(np.float32)


def laid(array, layout):
    """The array as a tensor that lies like that."""
    return torch.from_numpy(np.ascontiguousarray(array)).contiguous(memory_format=FORMATS[layout])


def by_torch(layer, problem, a, b, layout, dtype=torch.float32):
    """The same by torch's own operator, as an array."""
    g, is_weight = problem.geometry, problem.operation == "grad_weight"
    a = laid(a, layout).to(dtype)
    b = (laid(b, layout) if is_weight else torch.from_numpy(b)).to(dtype)
    padded = layer.op
    if is_weight and layer.k == (1, 1):
        # What the output is padded by meets no tap, and torch 2.13 may read beyond its memory there, and die.
        b = b[:, :, : g.h.out - padded[0], : g.w.out - padded[1]].contiguous(memory_format=FORMATS[layout])
        padded = 0, 0
    settings = layer.s, layer.p, layer.d, True, padded, layer.groups
    if problem.operation == "forward":
        return torch.ops.aten.convolution(a, b, None, *settings).numpy()
    if is_weight:
        gradients = torch.ops.aten.convolution_backward(
            b, a, torch.empty(g.weight_shape, dtype=dtype), None, *settings, [False, True, False]
        )
        return gradients[1].numpy()
    x = torch.empty(g.input_shape, dtype=dtype).contiguous(memory_format=FORMATS[layout])
    return torch.ops.aten.convolution_backward(a, x, b, None, *settings, [True, False, False])[0].numpy()


def terms(problem):
    """Products of a result, at most."""
    g = problem.geometry
    if problem.operation == "grad_weight":
        return g.n * g.h.n * g.w.n
    taps = [axis.k if problem.operation == "grad_input" else -(-axis.k // axis.s) for axis in (g.h, g.w)]
    return problem.channels[0] * taps[0] * taps[1]


class Errors:
    """Those of one engine, draw after draw."""

    def __init__(self):
        self.squares, self.largest = [], []

    def add(self, found, exact, unit):
        error = (found - exact) / unit
        self.squares.append(np.mean(error**2))
        self.largest.append(np.abs(error).max())

    @property
    def rms(self):
        return float(np.sqrt(np.mean(self.squares)))

    def over(self, others):
        """(ratio of the rms, that of the largest) to those of another engine."""
        if not others.rms:
            # Both exact: short sums of few numbers.
            ratio = float(self.rms > 0) * np.inf
            return ratio, ratio
        return self.rms / others.rms, float(np.mean(self.largest) / np.mean(others.largest))


def ways_of(problem, wanted):
    """Plans by the names of their ways: what is chosen, or those that are asked for and are willing."""
    if not wanted:
        made = choose(problem)
        return {made.algorithm: made}
    willing = [each.name for each in choose(problem).candidates if each.seconds is not None]
    kernels = [name for name in willing if isinstance(ALGORITHMS[name], Generated)]
    return {name: choose(problem, name) for name in kernels if wanted == ["all"] or name in wanted}


def survey(layer, operation, layout, kind, options):
    """The rows of a layer."""
    g = layer.geometry()
    has_weight = operation != "grad_weight"
    plans = {}
    for prepared in (False, True)[: 1 + has_weight]:
        problem = Problem(operation, g, "float32", layout, prepared=prepared)
        plans |= {(way, prepared): made for way, made in ways_of(problem, options.ways).items()}
    if not plans:
        return
    draws = int(min(options.draws, max(1, -(-options.numbers // np.prod(problem.result_shape)))))
    theirs, ours, weight = Errors(), defaultdict(Errors), 0
    for draw in itertools.count():
        if draw >= draws and not (draw < options.most_draws and _is_open(ours, theirs, weight, options)):
            break
        a, b = operands(problem, kind, np.random.default_rng(draw))
        exact = by_torch(layer, problem, a, b, "nchw", torch.float64)
        squares = by_torch(layer, problem, a**2, b**2, "nchw", torch.float64)
        unit = np.sqrt(squares.mean())
        if not unit:
            return
        weight += squares.sum() ** 2 / (squares**2).sum()
        theirs.add(by_torch(layer, problem, a, b, layout), exact, unit)
        lying = laid(a, layout).numpy(), b if has_weight else laid(b, layout).numpy()
        packed = upconv.prepare(b, layer.s, dilation=layer.d, groups=layer.groups) if has_weight else None
        for (way, prepared), made in plans.items():
            out = empty(problem.result_shape, np.float32, layout)
            made.run(lying[0], packed if prepared else lying[1], None, out)
            ours[way, prepared].add(out, exact, unit)
    for (way, prepared), found in ours.items():
        where = layer.name, said(layer), operation, layout, prepared, kind
        yield Row(way, *where, *found.over(theirs), found.rms / EPSILON, terms(problem), draw)


def _is_open(ours, theirs, weight, options):
    """Whether more draws may change the verdict: a ratio is near a limit, with few results of equal weight."""
    ratios = [found.over(theirs) for found in ours.values()]
    is_near = any(ratio > NEAR[0] or largest > NEAR[1] for ratio, largest in ratios)
    return is_near and (weight < options.numbers or len(theirs.squares) < options.least_draws)


def table(rows):
    """By operation and way: how many, the median and the largest ratio, and how many are above the limits."""
    found = defaultdict(list)
    for row in rows:
        found[row.operation, row.way].append(row)
    print("| operation | way | cases | median | worst | above 1.5 | largest error, worst | above 2 |")
    print("|---|---|---|---|---|---|---|---|")
    for (operation, way), some in found.items():
        ratios, largest = [row.ratio for row in some], [row.largest for row in some]
        cells = [operation, way, len(some), f"{median(ratios):.2f}", f"{max(ratios):.2f}"]
        cells += [sum(each > 1.5 for each in ratios), f"{max(largest):.2f}", sum(each > 2 for each in largest)]
        print("| " + " | ".join(map(str, cells)) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows of the layer table by their names; none without it")
    parser.add_argument("--random", type=int, default=0, help="so many random layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--macs", type=float, default=100e6, help="multiply-adds of a layer at most")
    for name, choices in (("operations", OPERATIONS), ("layouts", tuple(FORMATS)), ("kinds", KINDS)):
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=choices)
    parser.add_argument("--ways", type=lambda text: text.split(","), help="these instead of what is chosen")
    parser.add_argument("--numbers", type=int, default=20_000, help="of results that make a ratio")
    parser.add_argument("--draws", type=int, default=32, help="at most, of a layer")
    parser.add_argument("--least-draws", type=int, default=8, help="at least, where a ratio is near a limit")
    parser.add_argument("--most-draws", type=int, default=512, help="at most, where a ratio is near a limit")
    parser.add_argument("--least", type=float, default=1.5, help="ratios from which a case is printed")
    parser.add_argument("--json", type=Path, help="a file for all rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers = [*(matching(options.only) if options.only else []), *random_layers(options.seed, options.random)]
    rows = []
    for layer in layers:
        if layer.macs > options.macs:
            continue
        for what in product(options.operations, options.layouts, options.kinds):
            for row in survey(layer, *what, options):
                rows.append(row)
                if row.ratio > options.least:
                    how = f"{row.operation} {row.layout}{' prepared' * row.prepared} {row.kind}"
                    error = f"{row.epsilons:.2f} eps of {row.terms} terms, {row.draws} draws"
                    print(f"{row.ratio:.2f} {row.largest:.2f}  {row.way}  {how}  {row.said}  {error}", flush=True)
    table(rows)
    if options.json:
        write_atomically(options.json, json.dumps([asdict(row) for row in rows]).encode())


if __name__ == "__main__":
    main()
