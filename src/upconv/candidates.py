"""What every algorithm answers to a problem: its refusals or its cost, and the rewrites that it wants before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import rewrites
from .algorithms import ALGORITHMS
from .machine import row
from .problem import Problem


@dataclass(frozen=True, slots=True)
class Candidate:
    """One algorithm's answer: its predicted seconds on one thread, or the sentences with which it refuses.

    `by_name` are the sentences why it is not chosen on its own, and yet runs when it is asked for by name.
    """

    name: str
    seconds: float | None
    refusals: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()


def ask(name: str, problem: Problem) -> tuple[Candidate, tuple[rewrites.Rewrite, ...]]:
    """(an algorithm's answer, the rewrites before it): the cheapest, where it could convert halves on its way."""
    plain = rewrites.steps(problem)
    found = [(_answer(name, problem, plain), plain)]
    if plain and problem.row.wider:
        algorithm = ALGORITHMS[name]
        takes = getattr(algorithm, "converts_maps", False), getattr(algorithm, "reads_halves", False)
        other = rewrites.steps(problem, *takes)
        if other != plain:
            found.append((_answer(name, problem, other), other))
    return min(found, key=lambda each: math.inf if each[0].seconds is None else each[0].seconds)


def _answer(name, problem, steps):
    algorithm, inner = ALGORITHMS[name], steps[-1].after if steps else problem
    refusals = tuple(algorithm.why_not(inner))
    if refusals:
        return Candidate(name, None, refusals)
    extra = sum(step.nbytes / row("").rates[step.amount] for step in steps)
    return Candidate(name, algorithm.cost(inner) + extra, (), tuple(algorithm.why_not_automatic(inner)))
