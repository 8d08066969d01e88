"""Fit this machine's row of `upconv.machine`: time every layer of the table, and find the rates that explain the times.

    python benchmarks/fit_machine.py [--only PATTERN] [--from FILE] [--json FILE]

Prints the row, how far predictions by it are from the measurements, and the layers that it explains worst. Run it with
nothing else on the machine; UPCONV_ISA fits a lower instruction set.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from upconv import set_num_threads
from upconv.algorithms import phase_gemm
from upconv.bench.layers import select
from upconv.machine import Machine, row
from upconv.measuring import random_operands
from upconv.planning import choose
from upconv.problem import Problem

SECONDS, WORST = 0.04, 12
CASES = (("forward", "nchw"), ("forward", "nhwc"), ("grad_weight", "nhwc"))
FITTED = [name for name in Machine.__slots__ if name not in ("copied", "int64")]


def measure(layer, operation, layout):
    """(work, seconds) of one layer."""
    made = choose(Problem(operation, layer.geometry(), "float32", layout), "phase_gemm")
    operands = random_operands(made.problem)
    out = made(*operands)
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        out = made(*operands)
        times.append(time.perf_counter() - start)
    assert out.size
    # The lowest: another process can only make it longer.
    return dict(phase_gemm.work(made.problem)), min(times)


def fit(works, seconds):
    """Seconds for a unit of each kind of work: least squares of the relative errors, no rate below zero."""
    amounts = np.array([[work.get(name, 0) for name in FITTED] for work in works])
    scaled = amounts / seconds[:, None]
    scale = np.linalg.norm(scaled, axis=0)
    scale[scale == 0] = 1
    scaled /= scale
    # Coordinate descent converges quickly enough for a dozen unknowns.
    rates, rest = np.zeros(len(FITTED)), np.ones(len(seconds))
    for _ in range(20000):
        for column in range(len(FITTED)):
            part = scaled[:, column]
            change = max(-rates[column], part @ rest / max(part @ part, 1e-30))
            rates[column] += change
            rest -= change * part
    return rates / scale


def show(rows, unit):
    """Print the row, the accuracy and the layers that are explained worst."""
    works, seconds = [row["work"] for row in rows], np.array([row["seconds"] for row in rows])
    predicted = np.array([sum(unit[name] * work.get(name, 0) for name in FITTED) for work in works])
    ratios = predicted / seconds
    print(f"within a factor of 2: {np.mean(np.abs(np.log2(ratios)) < 1):.0%} of {len(rows)}")
    print("predicted / measured:", " ".join(f"{q:.0%}: {np.quantile(ratios, q):.2f}" for q in (0, 0.1, 0.5, 0.9, 1)))
    for place in np.argsort(-np.abs(np.log(ratios)))[:WORST]:
        print(f"  {rows[place]['name']:<42} {seconds[place] * 1e3:9.3f} ms, predicted {predicted[place] * 1e3:9.3f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured, the lower of two runs")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", help="fit to an earlier measurement")
    options = parser.parse_args()
    set_num_threads(1)
    rows = json.loads(options.source.read_text()) if options.source else []
    for layer in () if rows else select(options.only):
        for case in CASES:
            work, seconds = measure(layer, *case)
            rows.append({"name": " ".join((layer.name, *case)), "work": work, "seconds": seconds})
    if options.json:
        if options.json.exists():
            before = {row["name"]: row["seconds"] for row in json.loads(options.json.read_text())}
            rows = [row | {"seconds": min(row["seconds"], before.get(row["name"], 1e9))} for row in rows]
        options.json.write_text(json.dumps(rows))
    print("the row that is shipped")
    show(rows, {name: 1 / getattr(row(phase_gemm.isa().name), name) for name in FITTED})
    unit = dict(zip(FITTED, fit([r["work"] for r in rows], np.array([r["seconds"] for r in rows])), strict=True))
    print("\nthe row fitted")
    show(rows, unit)
    print(", ".join(f"{name}={1 / max(unit[name], 1e-13):.2g}" for name in FITTED))


if __name__ == "__main__":
    main()
