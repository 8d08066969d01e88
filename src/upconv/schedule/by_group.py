"""Layers of a few groups as one layer after another: for ways whose products have columns of all taps."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from ..layouts import CHANNELS_LAST, CHANNELS_SLICED
from ..problem import Problem
from ..runtime.kernel import isa
from .amounts import is_transposed
from .moves import PlacedOperand
from .placed_problem import PlacedProblem

# Each group has nests of its own, which are listed; and more channels of a group fill vectors in other ways.
MOST_GROUPS, MOST_CHANNELS = 16, 8
REFUSAL = f"computes one group after another, at most {MOST_GROUPS} of them, of at most {MOST_CHANNELS} channels each"


def refusals(problem: Problem) -> list[str]:
    """Sentences of refusal; none for a layer of one group."""
    groups, (_, channels) = problem.geometry.groups, problem.channels
    return [REFUSAL] if groups > 1 and (groups > MOST_GROUPS or channels > MOST_CHANNELS) else []


@lru_cache(maxsize=512)
def of_one(problem: Problem) -> Problem:
    """The problem of one group, whose channels may lie between those of others."""
    g = problem.geometry
    if g.groups == 1:
        return problem
    geometry = replace(g, c_in=g.c_in // g.groups, c_out=g.c_out // g.groups, groups=1)
    a, y = (CHANNELS_SLICED if layout == CHANNELS_LAST else layout for layout in problem.map_layouts)
    return replace(problem, geometry=geometry, a_layout=a, layout=y)


def transposed(problem: Problem, channels_last) -> int:
    """Bytes of maps that are transposed, group by group: few channels take as long as a vector of them."""
    groups, least, total = problem.geometry.groups, isa().lanes(problem.itemsize), 0
    for (n, c, h, w), layout in zip(problem.map_shapes, problem.map_layouts, strict=True):
        if is_transposed((n, c, h, w), layout, channels_last):
            total += n * groups * max(c // groups, least) * h * w * problem.itemsize
    return total


def parts(placed: PlacedProblem) -> Iterator[tuple[int, PlacedProblem, PlacedOperand, PlacedOperand]]:
    """(number of a group, the problem of one group, where its source and its result lie) of every group."""
    one = placed if placed.g.groups == 1 else replace(placed, problem=of_one(placed.problem))
    for group in range(placed.g.groups):
        yield (
            group,
            one,
            placed.source.move(channel=group * placed.c_src),
            placed.result.move(channel=group * placed.c_dst),
        )
