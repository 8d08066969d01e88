"""What every algorithm answers to a problem: its refusals or its cost, and the rewrites that it wants before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import generated, rewrites
from .algorithms import ALGORITHMS
from .kernels.convert import HALF_KINDS
from .machine import row
from .problem import Problem
from .rewrites import Rewrite

# Layers of which it is known who refuses them.
MOST_LAYERS = 512


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
    return Candidate(name, _seconds(name, steps, _after(problem, steps)), (), by_name)


def cheapest(problem: Problem, names: Iterable[str] = ALGORITHMS) -> tuple[str, tuple[Rewrite, ...]] | None:
    """(the cheapest of some algorithms that do not refuse, the rewrites before it); None where all refuse.

    One that runs by name alone is taken where there is no other. Nobody need know the cost of the rest.
    """
    willing = list(_willing(problem, names))
    found = [each for each in willing if not ALGORITHMS[each[0]].why_not_automatic(each[2])] or willing
    if not found:
        return None
    best = found[0] if len(found) == 1 else min(found, key=lambda each: _seconds(each[0], each[1], each[2]))
    return best[:2]


def _willing(problem, names):
    """(name, rewrites before it, the problem that they lead to) of some algorithms that do not refuse."""
    plain = rewrites.steps(problem)
    inner = _after(problem, plain)
    never, halves = _never(inner), bool(plain) and problem.dtype in HALF_KINDS
    for name in names:
        if name not in never and not _refuses_now(ALGORITHMS[name], inner):
            yield name, plain, inner
        if halves:
            # What the rewrites leave where an algorithm converts halves.
            algorithm = ALGORITHMS[name]
            takes = getattr(algorithm, "converts_maps", False), getattr(algorithm, "reads_halves", False)
            other = rewrites.steps(problem, *takes)
            after = _after(problem, other)
            if other != plain and not algorithm.why_not(after):
                yield name, other, after


class _Layers(dict):
    """The algorithms that refuse a layer whatever the sizes of its maps: a new size need not ask them again."""

    def cache_clear(self):
        self.clear()


_refusing = _Layers()


def _never(problem):
    """The names of those that refuse the layer of a problem."""
    # What says why kernels cannot be made; that holds from then on, whatever was known before.
    if generated.usable():
        return frozenset(name for name, algorithm in ALGORITHMS.items() if hasattr(algorithm, "why_never"))
    found = _refusing.get(problem.layer)
    if found is None:
        if len(_refusing) >= MOST_LAYERS:
            _refusing.clear()
        asked = ((name, getattr(algorithm, "why_never", None)) for name, algorithm in ALGORITHMS.items())
        found = frozenset(name for name, why_never in asked if why_never is not None and why_never(problem))
        _refusing[problem.layer] = found
    return found


def _refuses_now(algorithm, problem):
    """Whether one that does not refuse the layer refuses the problem."""
    return bool(getattr(algorithm, "why_not_now", algorithm.why_not)(problem))


def _after(problem, steps):
    """The problem that rewrites lead to."""
    return steps[-1].after if steps else problem


def _seconds(name, steps, problem):
    extra = sum([step.nbytes / row("").rates[step.amount] for step in steps]) if steps else 0.0
    return ALGORITHMS[name].cost(problem) + extra
