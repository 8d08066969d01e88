"""What every algorithm answers to a problem: its refusals or its cost, and the rewrites that it wants before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import rewrites
from .algorithms import ALGORITHMS
from .kernels.convert import HALF_KINDS
from .machine import row
from .problem import Problem
from .rewrites import Rewrite


@dataclass(frozen=True, slots=True)
class Candidate:
    """One algorithm's answer: its predicted seconds on one thread, or the sentences with which it refuses.

    `by_name` are the sentences why it is not chosen on its own, and yet runs when it is asked for by name.
    """

    name: str
    seconds: float | None
    refusals: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()


def ask(name: str, problem: Problem) -> Candidate:
    """An algorithm's answer."""
    algorithm, found = ALGORITHMS[name], cheapest(problem, (name,))
    if found is None:
        return Candidate(name, None, tuple(algorithm.why_not(_after(problem, rewrites.steps(problem)))))
    _, steps = found
    by_name = tuple(algorithm.why_not_automatic(_after(problem, steps)))
    return Candidate(name, _seconds(name, problem, steps), (), by_name)


def cheapest(problem: Problem, names: Iterable[str] = ALGORITHMS) -> tuple[str, tuple[Rewrite, ...]] | None:
    """(the cheapest of some algorithms that do not refuse, the rewrites before it); None where all refuse.

    One that runs by name alone is taken where there is no other. Nobody need know the cost of the rest.
    """
    willing = [
        (name, steps)
        for name in names
        for steps in _before(name, problem)
        if not ALGORITHMS[name].why_not(_after(problem, steps))
    ]
    automatic = [
        (name, steps) for name, steps in willing if not ALGORITHMS[name].why_not_automatic(_after(problem, steps))
    ]
    return min(automatic or willing, key=lambda found: _seconds(found[0], problem, found[1]), default=None)


def _before(name, problem):
    """The rewrites that may stand before an algorithm: those of all, and what they leave where it converts halves."""
    plain = rewrites.steps(problem)
    if not plain or problem.dtype not in HALF_KINDS:
        return (plain,)
    algorithm = ALGORITHMS[name]
    takes = getattr(algorithm, "converts_maps", False), getattr(algorithm, "reads_halves", False)
    other = rewrites.steps(problem, *takes)
    return (plain,) if other == plain else (plain, other)


def _after(problem, steps):
    """The problem that rewrites lead to."""
    return steps[-1].after if steps else problem


def _seconds(name, problem, steps):
    extra = sum(step.nbytes / row("").rates[step.amount] for step in steps)
    return ALGORITHMS[name].cost(_after(problem, steps)) + extra
