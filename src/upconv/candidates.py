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
from .runtime.once import Kept

# Layers of which it is known who does not refuse them.
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
    found, by_name = [], []
    for each in _willing(problem, names):
        _, automatic = each[3]
        (by_name if automatic is not None and automatic(each[2]) else found).append(each)
    found = found or by_name
    if len(found) < 2:
        return found[0][:2] if found else None
    return min(found, key=lambda each: _seconds(*each[:3]))[:2]


def _asked(name):
    """What an algorithm is asked for each problem of a layer: (why_not, why_not_automatic), None for no sentences."""
    algorithm = ALGORITHMS[name]
    if not hasattr(algorithm, "why_never"):
        return algorithm.why_not, algorithm.why_not_automatic
    asks = (("why_not", algorithm.why_not_now), ("why_not_automatic", algorithm.why_not_automatic))
    return tuple(ask if algorithm.asks(sentences) else None for sentences, ask in asks)


def _willing(problem, names):
    """(name, rewrites before it, the problem that they lead to, what it is `_asked`) of some that do not refuse."""
    plain = rewrites.steps(problem)
    inner, halves = _after(problem, plain), bool(plain) and problem.dtype in HALF_KINDS
    known = _of_layer(inner)
    for name in names:
        asked = known[name] if name in known else _asked(name)
        if asked is not None and (asked[0] is None or not asked[0](inner)):
            yield name, plain, inner, asked
        if halves:
            # What the rewrites leave where an algorithm converts halves.
            algorithm = ALGORITHMS[name]
            takes = getattr(algorithm, "converts_maps", False), getattr(algorithm, "reads_halves", False)
            other = rewrites.steps(problem, *takes)
            after = _after(problem, other)
            if other != plain and not algorithm.why_not(after):
                yield name, other, after, _asked(name)


_layers = Kept(MOST_LAYERS)


def _of_layer(problem):
    """By name, what is `_asked` for problems of a layer; None for those that refuse it."""
    # What says why kernels cannot be made; that holds from then on, whatever was known before.
    if generated.usable():
        return dict.fromkeys(_generated())
    # A new size need not ask them again.
    return _layers.get_or_make(problem.layer, lambda: _asked_of_layer(problem))


def _asked_of_layer(problem):
    return {name: None if each.why_never(problem) else _asked(name) for name, each in _generated().items()}


def _generated():
    """The algorithms that say what they refuse whatever the sizes of the maps."""
    return {name: algorithm for name, algorithm in ALGORITHMS.items() if hasattr(algorithm, "why_never")}


def _after(problem, steps):
    """The problem that rewrites lead to."""
    return steps[-1].after if steps else problem


def _seconds(name, steps, problem):
    extra = sum([step.nbytes / row("").rates[step.amount] for step in steps]) if steps else 0.0
    return ALGORITHMS[name].cost(problem) + extra
