"""Time every way of computing every layer of the table; judge the choices by it, and fit this machine's rates.

    python benchmarks/fit_machine.py --json FILE [--only PATTERN] [--seconds S]   measure (again: keeps the lower time)
    python benchmarks/fit_machine.py --from FILE... [--markdown FILE]             how far the choice is from the best
    python benchmarks/fit_machine.py --from FILE... --fit                         the rates that explain the times

Measure with nothing else on the machine; UPCONV_ISA measures a lower instruction set. Layers are those of
`upconv bench`, in both layouts, forward (weight as given and prepared) and for the gradients; with --random N those of
`upconv.bench.random_layers`, each in one of these cases. A row of `upconv.machine` is what --fit prints: rates that put
the ways in the right order, found by least squares of the logarithms. That a machine is faster than the row in
everything alike changes no choice, so it is said, and left out of what is fitted.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np

from upconv import set_num_threads
from upconv.algorithms import ALGORITHMS
from upconv.bench.layers import matching
from upconv.bench.random_layers import random_layers
from upconv.files import write_atomically
from upconv.machine import AMOUNTS, Machine, row
from upconv.measuring import random_operands
from upconv.planning import choose
from upconv.problem import Problem
from upconv.runtime.kernel import isa

# What is predicted to take so many times as long as the cheapest way is not worth its time.
HOPELESS, LONGEST, WORST = 6.0, 0.5, 12
# Shorter rows are a matter of the call, not of the way.
JUDGED_FROM = 1e-4
# Predictions so near one another, in logarithms, are both chosen in part where rates are moved for the sake of choices,
# and how strongly they are held where they were.
TIE, HELD = 0.08, 0.002
# How the names of random layers begin.
RANDOM = "random-"
CASES = (
    *(("forward", layout, prepared) for prepared in (False, True) for layout in ("nchw", "nhwc")),
    *(("grad_input", layout, False) for layout in ("nchw", "nhwc")),
    ("grad_weight", "nhwc", False),
)


def cases(layer):
    """(name, problem) of every case of a layer, of one case of a random layer."""
    chosen = CASES
    if layer.name.startswith(RANDOM):
        number = int(layer.name.rpartition("-")[2]) % len(CASES)
        chosen = CASES[number : number + 1]
    for operation, layout, prepared in chosen:
        name = f"{layer.name} {operation} {layout}{' prepared' * prepared}"
        yield name, Problem(operation, layer.geometry(), "float32", layout, prepared=prepared)


def measure(name, problem, seconds):
    """A row for every candidate: its work, and the lowest of its times in turns."""
    made = choose(problem)
    least = min(candidate.seconds for candidate in made.candidates if runs(candidate))
    if least > LONGEST:
        return []
    names = [c.name for c in made.candidates if runs(c) and c.seconds <= HOPELESS * least]
    operands, plans = random_operands(problem), {name: choose(problem, name) for name in names}
    times = {name: [] for name in names}
    for each in plans.values():
        out = each(*operands)
    end = time.perf_counter() + seconds * len(names)
    while time.perf_counter() < end or len(times[names[-1]]) < 3:
        for each in names:
            start = time.perf_counter()
            out = plans[each](*operands)
            times[each].append(time.perf_counter() - start)
    assert out.size
    return [
        {
            "case": name,
            "way": each,
            "work": dict(ALGORITHMS[each].work(made.inner)),
            "extra": sum(step.nbytes for step in made.steps),
            "seconds": min(times[each]),
        }
        for each in names
    ]


def lowest(rows):
    """The rows with the lowest time of each way of each case."""
    found = {}
    for each in rows:
        key = each["case"], each["way"]
        if key not in found or each["seconds"] < found[key]["seconds"]:
            found[key] = each
    return list(found.values())


def counted_anew(rows):
    """Rows that were measured earlier, with the amounts that the ways count today; those that refuse today left out."""
    seeds = {
        tuple(map(int, each["case"].split()[0].split("-")[1:])) for each in rows if each["case"].startswith(RANDOM)
    }
    layers = [random_layers(seed, number + 1)[number] for seed, number in seeds]
    problems = {name: problem for layer in (*matching(), *layers) for name, problem in cases(layer)}
    found = []
    for each in rows:
        inner, way = choose(problems[each["case"]]).inner, ALGORITHMS[each["way"]]
        if not way.why_not(inner):
            found.append(each | {"work": dict(way.work(inner))})
    return found


def runs(candidate):
    """Whether a candidate is a way of ours that takes part in the choice."""
    return candidate.seconds is not None and not candidate.by_name


def predicted(rows, machine):
    return np.array([machine.seconds(row["work"]) + row["extra"] / machine.rates["copied"] for row in rows])


def speed(rows, machine):
    """How many times as fast as its row the machine was, in the median."""
    return float(np.median(predicted(rows, machine) / [row["seconds"] for row in rows]))


def by_case(rows):
    """The rows of each case."""
    found = {}
    for each in rows:
        found.setdefault(each["case"], []).append(each)
    return found


def judge(rows, machine):
    """(case, way chosen, its seconds, best way, its seconds) of every case that takes long enough."""
    found = []
    for case, ways in by_case(rows).items():
        best = min(ways, key=lambda each: each["seconds"])
        chosen = ways[int(np.argmin(predicted(ways, machine)))]
        if best["seconds"] >= JUDGED_FROM:
            found.append((case, chosen["way"], chosen["seconds"], best["way"], best["seconds"]))
    return found


def tell(rows, machine, markdown=None):
    """Print how far the choices are from the best, and the predictions from the measurements."""
    found = judge(rows, machine)
    regret = np.array([chosen / best for _, _, chosen, _, best in found])
    fast = speed(rows, machine)
    error = np.log2(predicted(rows, machine) / fast / [row["seconds"] for row in rows])
    lines = [
        f"{isa().name}: {len(found)} cases above {JUDGED_FROM * 1e3:g} ms, {len(rows)} ways timed",
        f"chosen over best: geometric mean {math.exp(np.log(regret).mean()):.3f}, mean {regret.mean():.3f}, "
        f"worst {regret.max():.2f}, above 1.3: {np.sum(regret > 1.3)}",
        f"the machine was {fast:.2f} times as fast as its row; beside that, predictions within a factor of 2: "
        f"{np.mean(np.abs(error) < 1):.0%}",
    ]
    print("\n".join(lines))
    worst = sorted(found, key=lambda each: each[4] / each[2])[:WORST]
    for case, chosen, seconds, best, least in worst:
        print(f"  {seconds / least:5.2f}  {case:<60} {chosen} {seconds * 1e3:.3f} ms, {best} {least * 1e3:.3f} ms")
    if markdown:
        table = ["| case | chosen | ms | best | ms |", "|---|---|---|---|---|"]
        table += [f"| {c} | {a} | {s * 1e3:.3g} | {b} | {t * 1e3:.3g} |" for c, a, s, b, t in found]
        write_atomically(Path(markdown), "\n".join(["# Chosen and best", "", *lines, "", *table, ""]).encode())


def fit(rows, machine):
    """Rates that explain the times: Gauss-Newton steps on the logarithms of prediction over measurement.

    Each rate is held near the row that is shipped, more strongly the less the rows say of it. From there they are moved
    a little so that what is chosen takes less: an error that no choice depends on matters less than one that decides.
    """
    names = [name for name in AMOUNTS if any(row["work"].get(name) for row in rows) and name != "copied"]
    amounts = np.array([[row["work"].get(name, 0) for name in names] for row in rows], float)
    extra = np.array([row["extra"] for row in rows]) / machine.rates["copied"]
    fast = speed(rows, machine)
    measured = np.log([row["seconds"] * fast for row in rows])
    prior = np.log([1 / machine.rates.get(name, 1e10) for name in names])

    def predict(unit):
        """(logarithms of the predictions, their slopes)."""
        parts = amounts * np.exp(unit)
        total = parts.sum(1) + extra
        return np.log(total), parts / total[:, None]

    unit = prior.copy()
    for _ in range(60):
        said, slope = predict(unit)
        rest = measured - said
        # Outliers are noise of the day more often than not.
        weight = 1 / np.maximum(1, np.abs(rest) / 0.25)
        left = (slope * weight[:, None]).T @ slope + 0.3 * np.eye(len(names))
        right = (slope * weight[:, None]).T @ rest + 0.3 * (prior - unit)
        unit += 0.5 * np.linalg.solve(left, right)
    unit = moved_to_choose(rows, unit, predict)
    return {name: float(f"{1 / math.exp(each):.3g}") for name, each in zip(names, unit, strict=True)}


def moved_to_choose(rows, start, predict):
    """The rates near `start` of which what is chosen takes least, where near ties are chosen in part."""
    _, case = np.unique([row["case"] for row in rows], return_inverse=True)
    seconds, count = np.array([row["seconds"] for row in rows]), case.max() + 1
    best = np.full(count, np.inf)
    np.minimum.at(best, case, seconds)
    regret = np.minimum(seconds / best[case] - 1, 3)
    regret[best[case] < JUDGED_FROM] = 0
    unit, mean, square = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step in range(1, 801):
        said, slope = predict(unit)
        least = np.full(count, np.inf)
        np.minimum.at(least, case, said)
        share = np.exp((least[case] - said) / TIE)
        share /= np.bincount(case, share)[case]
        cost = np.bincount(case, share * regret)
        # What is far from the best counts more than in the mean.
        heavy = np.where(cost > 0.2, 4, 1)[case]
        down = -(heavy * share * (regret - cost[case]) / TIE) @ slope + 2 * HELD * count * (unit - start)
        mean, square = 0.9 * mean + 0.1 * down, 0.999 * square + 0.001 * down**2
        unit -= 0.01 * mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-9)
    return unit


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN")
    parser.add_argument("--random", type=int, metavar="N", help="N random layers instead of those of the table")
    parser.add_argument("--seed", type=int, default=1, help="of the random layers")
    parser.add_argument("--seconds", type=float, default=0.02, help="for each way of each case (0.02)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where measurements are kept")
    parser.add_argument("--from", type=Path, nargs="+", metavar="FILE", dest="source", help="what was measured earlier")
    parser.add_argument("--markdown", metavar="FILE", help="write the table of choices there")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    set_num_threads(1)
    machine = row(isa().name)
    rows = counted_anew(lowest([each for file in options.source or () for each in json.loads(file.read_text())]))
    if not options.source:
        kept = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
        for layer in random_layers(options.seed, options.random) if options.random else matching(options.only):
            for name, problem in cases(layer):
                rows += measure(name, problem, options.seconds)
            print(f"\r{layer.name:<50}", end="", flush=True)
        print()
        rows = lowest([*rows, *kept])
        if options.json:
            write_atomically(options.json, json.dumps(rows).encode())
    if options.fit:
        fitted = Machine(machine.rates | fit(rows, machine), machine.int64, machine.pairs)
        print(json.dumps(fitted.rates))
        tell(rows, fitted, options.markdown)
    else:
        tell(rows, machine, options.markdown)


if __name__ == "__main__":
    main()
