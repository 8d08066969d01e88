"""What every algorithm answers to a problem: its refusals or its cost, and the rewrites that it wants before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from . import generated, rewrites
from .algorithms import ALGORITHMS
from .kernels.convert import HALF_KINDS
from .machine import row
from .problem import Problem
from .rewrites import Rewrite
from .runtime.once import Kept
from .size_classes import size_class

# Layers of which it is known who does not refuse them.
MOST_LAYERS = 512
# A way that takes so many times as long as the cheapest one for the sizes that are typical of a class is not asked for
# the others of the class: see docs/new-size.md.
MARGIN = 1.35
# Of a class of many sizes those near the cheapest are priced for some others as well; as few are asked as there must be
# for one to take at most so many times as long as the cheapest for each of these.
MANY_SIZES, SMALL_MARGIN = 16, 1.02


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


def cheapest(problem: Problem, names: Iterable[str] | None = None) -> tuple[str, tuple[Rewrite, ...]] | None:
    """(the cheapest of some algorithms that do not refuse, the rewrites before it); None where all refuse.

    One that runs by name alone is taken where there is no other. Nobody need know the cost of the rest: unless names
    are given, those are asked that may be the cheapest for sizes like these.
    """
    found, by_name = _sorted_out(problem, _shortlist(problem) if names is None else names)
    if names is None and not found:
        found, by_name = _sorted_out(problem, ALGORITHMS)
    found = found or by_name
    if len(found) < 2:
        return found[0][:2] if found else None
    return min(found, key=lambda each: _seconds(*each[:3]))[:2]


def _sorted_out(problem, names):
    """Those that do not refuse: (what may be chosen, what runs by name alone)."""
    found, by_name = [], []
    for each in _willing(problem, names):
        (by_name if _is_by_name(each) else found).append(each)
    return found, by_name


def _is_by_name(willing):
    """Whether one of `_willing` runs by name alone."""
    _, _, inner, (_, automatic) = willing
    return automatic is not None and automatic(inner)


# Those that may be the cheapest ---------------------------------------------------------------------------------------


def _shortlist(problem):
    """The names of the ways that may be the cheapest for a problem: those that are nearly so for sizes like its own."""
    if generated.usable():
        return ALGORITHMS
    alike = size_class(problem)
    return alike.get_or_make("shortlist", lambda: _near(alike))


def _near(alike):
    """The names of the ways that take at most MARGIN times as long as the cheapest for the typical sizes.

    Whether a way of kernels runs by name alone may change with every size, so that it counts as well. Those that refuse
    the typical sizes may do better for others: where the smallest or the largest say so.
    """
    found, by_name = _sorted_out(alike.typical, ALGORITHMS)
    seconds = _taken((*found, *(each for each in by_name if each[0] in _generated())))
    most = MARGIN * min([seconds[name] for name, *_ in found], default=inf)
    near = {name for name, taken in seconds.items() if taken <= most}
    if len(near) > 1 and alike.count >= MANY_SIZES:
        somewhere = [seconds, *(_taken(_sorted_out(each, near)[0]) for each in alike.samples())]
        near = _enough([name for name in ALGORITHMS if name in near], somewhere)
    others = [name for name in ALGORITHMS if name not in seconds]
    for end in alike.ends:
        near |= {name for name, *_ in _sorted_out(end, others)[0]}
    return tuple(name for name in ALGORITHMS if name in near)


def _taken(willing):
    """By name, the seconds that some of `_willing` take."""
    seconds = {}
    for name, steps, inner, _ in willing:
        taken = _seconds(name, steps, inner)
        seconds[name] = min(taken, seconds.get(name, taken))
    return seconds


def _enough(names, somewhere):
    """The fewest of some ways of which one is nearly the cheapest by each of these seconds; and all that one lacks."""
    kept = {name for name in names if any(name not in seconds for seconds in somewhere)}
    for seconds in somewhere:
        known = {name: seconds[name] for name in names if name in seconds}
        if known and min([known.get(name, inf) for name in kept], default=inf) > SMALL_MARGIN * min(known.values()):
            kept.add(min(known, key=known.get))
    return kept


def _conditions(name):
    """By what an algorithm refuses problems of a layer: (why_not, why_not_automatic), None for no sentences."""
    algorithm = ALGORITHMS[name]
    if not hasattr(algorithm, "why_never"):
        return algorithm.why_not, algorithm.why_not_automatic
    asks = (("why_not", algorithm.why_not_now), ("why_not_automatic", algorithm.why_not_automatic))
    return tuple(ask if algorithm.has(sentences) else None for sentences, ask in asks)


def _willing(problem, names):
    """(name, rewrites before it, the problem that they lead to, its `_conditions`) of some that do not refuse."""
    plain = rewrites.steps(problem)
    inner, halves = _after(problem, plain), bool(plain) and problem.dtype in HALF_KINDS
    always_pairs, known = halves and rewrites.adds_by_pairs(problem), _of_layer(inner)
    for name in names:
        algorithm = ALGORITHMS[name]
        by_pairs = halves and getattr(algorithm, "multiplies_pairs", False)
        others = [rewrites.steps_by_pairs(problem)] if by_pairs else []
        if not (by_pairs and always_pairs):
            conditions = known[name] if name in known else _conditions(name)
            if conditions is not None and (conditions[0] is None or not conditions[0](inner)):
                yield name, plain, inner, conditions
            if halves:
                # What the rewrites leave where an algorithm converts halves.
                takes = getattr(algorithm, "converts_maps", False), getattr(algorithm, "reads_halves", False)
                others.append(rewrites.steps(problem, *takes))
        for other in others:
            after = _after(problem, other)
            if other != plain and not algorithm.why_not(after):
                yield name, other, after, _conditions(name)


_layers = Kept(MOST_LAYERS)


def _of_layer(problem):
    """By name, the `_conditions` for problems of a layer; None for those that refuse it."""
    # What says why kernels cannot be made; that holds from then on, whatever was known before.
    if generated.usable():
        return dict.fromkeys(_generated())
    # A new size need not ask them again.
    return _layers.get_or_make(problem.layer, lambda: _conditions_of_layer(problem))


def _conditions_of_layer(problem):
    return {name: None if each.why_never(problem) else _conditions(name) for name, each in _generated().items()}


def _generated():
    """The algorithms that say what they refuse whatever the sizes of the maps."""
    return {name: algorithm for name, algorithm in ALGORITHMS.items() if hasattr(algorithm, "why_never")}


def _after(problem, steps):
    """The problem that rewrites lead to."""
    return steps[-1].after if steps else problem


def _seconds(name, steps, problem):
    extra = sum([step.nbytes / row("").rates[step.amount] for step in steps]) if steps else 0.0
    return ALGORITHMS[name].cost(problem) + extra
