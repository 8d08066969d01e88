"""Predictions beside measurements: every algorithm that is willing, on random data, for `upconv plan --measure`."""

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from .arrays import empty
from .dtypes import parse
from .layouts import WEIGHT_CHANNELS_LAST
from .planning import choose
from .prepared import prepare
from .table import aligned, marked

CALLS, SECONDS = 5, 0.2
# Nobody waits longer than this for the definition in loops.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One algorithm: predicted seconds on one thread, median seconds of some calls; or why there are none."""

    name: str
    predicted: float | None
    seconds: float | None
    reason: str = ""


def measure(problem, begin=lambda name: None):
    """Time every algorithm that can solve a problem, also those that run only when they are asked for by name.

    Args:
        problem: a Problem.
        begin: called with the name of each algorithm before it is timed.

    Returns:
        list of Measured, in the order of the algorithms.

    >>> from upconv import plan
    >>> [row.name for row in measure(plan((1, 1, 2, 2), (1, 1, 2, 2)).problem)][-1]
    'loops'
    """
    rows, operands = [], None
    for candidate in choose(problem).candidates:
        name, predicted = candidate.name, candidate.seconds
        if predicted is None:
            rows.append(Measured(name, None, None, "; ".join(candidate.refusals)))
        elif predicted > PATIENCE:
            rows.append(Measured(name, predicted, None, f"not run: predicted to take more than {PATIENCE:.0f} s"))
        else:
            begin(name)
            operands = operands or random_operands(problem)
            rows.append(Measured(name, predicted, _seconds(choose(problem, name), *operands)))
    return rows


def random_operands(problem):
    """The two operands of a problem in its layout, from a fixed seed."""
    rng, made = np.random.default_rng(0), []
    for shape, layout in zip(problem.operand_shapes, (problem.a_layout, problem.b_layout), strict=True):
        lies = "nhwc" if layout.startswith("nhwc") or layout == WEIGHT_CHANNELS_LAST else "nchw"
        array = empty(shape, parse(problem.dtype), lies)
        array[...] = rng.integers(-8, 9, shape)
        made.append(array)
    if problem.prepared:
        g = problem.geometry
        made[1] = prepare(
            made[1], (g.h.s, g.w.s), groups=g.groups, dilation=(g.h.d, g.w.d), storage=problem.storage or None
        )
    return made


def _seconds(plan, a, b):
    """Median of some calls; the first one, which may generate kernels, does not count."""
    out, times = plan(a, b), []
    start = time.perf_counter()
    while len(times) < CALLS or time.perf_counter() < start + SECONDS:
        before = time.perf_counter()
        out = plan(a, b)
        times.append(time.perf_counter() - before)
        if sum(times) > PATIENCE:
            break
    # The last result was alive until here, so that no call wrote over memory that it had just given back.
    return median(times) if out.size else 0.0


def table(rows, chosen, threads):
    """The rows as lines of text, the chosen algorithm marked."""
    head = marked("candidate"), "predicted, 1 thread", f"measured, threads: {threads}"
    return "\n".join(aligned([head, *(_cells(row, chosen) for row in rows)], indent=""))


def _cells(row, chosen):
    predicted = "refuses" if row.predicted is None else _time(row.predicted)
    measured = row.reason if row.seconds is None else _time(row.seconds)
    return marked(row.name, chosen), predicted, measured


def _time(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
