"""Layers of a few groups as one layer after another: for ways whose products have columns of all taps."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from ..layouts import CHANNELS_LAST, CHANNELS_SLICED
from ..problem import Problem
from .moves import Placed
from .task import Task

# Each group has nests of its own, which are listed.
MOST_GROUPS = 16
REFUSAL = f"computes one group after another, at most {MOST_GROUPS} of them"


@lru_cache(maxsize=512)
def of_one(problem: Problem) -> Problem:
    """The problem of one group, whose channels may lie between those of others."""
    g = problem.geometry
    if g.groups == 1:
        return problem
    geometry = replace(g, c_in=g.c_in // g.groups, c_out=g.c_out // g.groups, groups=1)
    a, y = (CHANNELS_SLICED if layout == CHANNELS_LAST else layout for layout in problem.map_layouts)
    return replace(problem, geometry=geometry, a_layout=a, layout=y)


def tasks(task: Task) -> Iterator[tuple[int, Task, Placed, Placed]]:
    """(number of a group, the task of one group, where its source and its result lie) of every group."""
    one = replace(task, problem=of_one(task.problem))
    for group in range(task.g.groups):
        yield group, one, task.source.move(channel=group * task.c_src), task.result.move(channel=group * task.c_dst)
