"""Few ways are asked for a new size: what is chosen of them is what would be chosen of all, or hardly costs more."""

import random
from dataclasses import replace

import pytest
from amount import some
from fresh import fresh

from upconv.algorithms import ALGORITHMS
from upconv.bench.random_layers import random_layers
from upconv.candidates import ask, cheapest
from upconv.errors import SettingError
from upconv.planning import choose
from upconv.problem import Problem
from upconv.runtime.kernel import usable
from upconv.size_classes import least, middle, most, size_class

pytestmark = pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
KINDS = [("forward", False), ("forward", True), ("grad_input", False), ("grad_weight", False)]
# Of a thousand problems, how many may take longer than by the best way by more than so much; and none by more.
FEW_OF_1000, MORE, MOST_MORE = 3, 1.02, 1.6


def problems(seed, count):
    """Random layers on maps of sizes that are no powers of two, most of them."""
    draw, found = random.Random(seed), []
    for layer in random_layers(seed, count):
        g, (operation, prepared) = layer.geometry(), draw.choice(KINDS)
        h, w = (axis if axis.n == 1 else replace(axis, n=draw.randrange(1, 3 * axis.n)) for axis in (g.h, g.w))
        dtype = draw.choice(("float32", "float32", "float64", "float16"))
        found.append(Problem(operation, replace(g, h=h, w=w), dtype, draw.choice(("nchw", "nhwc")), prepared=prepared))
    return found


def some_problems(seed, count):
    """The same, where all can be made."""
    try:
        return problems(seed, count)
    except SettingError:
        return some_problems(seed + 1000, count)


def test_sizes_of_a_class_lie_around_its_middle():
    for size in range(1, 5000):
        ends = least(size), most(size)
        assert ends[0] <= middle(size) <= ends[1]
        assert ends[0] <= size <= ends[1] < 1.5 * ends[0]
        assert {(least(end), most(end)) for end in ends} == {ends}
    assert all(least(1 << bit) == most(1 << bit) for bit in range(20))


@pytest.mark.parametrize("seed", range(some(4, 1)))
def test_what_is_chosen_is_the_cheapest_or_hardly_dearer(seed):
    dearer, found = [], some_problems(seed, 1000)
    for problem in found:
        chosen, best = cheapest(problem), cheapest(problem, ALGORITHMS)
        assert not ask(chosen[0], problem).refusals
        if chosen != best:
            ratio = ask(chosen[0], problem).seconds / ask(best[0], problem).seconds
            dearer += [(ratio, chosen[0], best[0], problem)] if ratio > MORE else []
    assert len(dearer) <= FEW_OF_1000 * len(found) / 1000, dearer
    assert all(ratio < MOST_MORE for ratio, *_ in dearer), dearer


def test_a_choice_depends_on_no_size_that_was_asked_for_before():
    found = some_problems(11, 60)
    neighbours = [_taller(problem) for problem in found]
    with fresh():
        alone = [choose(problem).algorithm for problem in found]
    with fresh():
        for other in neighbours:
            choose(other)
        assert [choose(problem).algorithm for problem in found] == alone


def _taller(problem):
    """The problem of the tallest map of the class."""
    h = problem.geometry.h
    return replace(problem, geometry=replace(problem.geometry, h=replace(h, n=most(h.n))))


def test_all_of_a_class_share_what_is_known_of_it():
    problem = some_problems(3, 1)[0]
    g = problem.geometry
    known = [size_class(replace(problem, geometry=replace(g, h=replace(g.h, n=n)))) for n in (16, 17, 20, 23, 24)]
    assert [each is known[1] for each in known] == [False, True, True, True, False]
