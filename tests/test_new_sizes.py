"""Sizes that were never seen, of layers with large strides or many taps: little is made for one, and nothing grows.

What takes long is making kernels, and tables with a row for each phase or pixel; so these are counted, not seconds.
"""

import pytest
from cases import LAYOUTS
from fresh import fresh

from upconv.algorithms import ALGORITHMS, winograd
from upconv.geometry import Axis, Geometry
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import kernel
from upconv.runtime.program import Program
from upconv.schedule.placed_problem import PlacedProblem

pytestmark = pytest.mark.skipif(bool(kernel.usable()), reason="no kernels can be made here")
ONE = Axis(1, 1)
# Layers by their size, which is that of the longer axis.
LAYERS = {
    "FCN-32s": lambda n: Geometry(1, 21, 21, 1, Axis(n, 64, 32), Axis(16, 64, 32)),
    "FCN-32s, wide": lambda n: Geometry(1, 21, 21, 1, Axis(16, 64, 32), Axis(n, 64, 32)),
    "FCN-32s, depthwise": lambda n: Geometry(1, 21, 21, 21, Axis(n, 64, 32), Axis(16, 64, 32)),
    "inverse STFT": lambda n: Geometry(1, 514, 1, 1, ONE, Axis(8 * n, 1024, 256)),
    "a vocoder's": lambda n: Geometry(1, 64, 32, 1, ONE, Axis(8 * n, 16, 8, 1, 4, 4)),
    "far taps": lambda n: Geometry(1, 4, 4, 1, ONE, Axis(8 * n, 31, 1, 40)),
    "groups": lambda n: Geometry(1, 40, 40, 4, Axis(n, 16, 8), Axis(n, 16, 8)),
}
SIZES = range(12, 20)
# A program is a table of at most so many bytes: one with a row for each phase of FCN-32s would be 1,024 rows long.
MOST_BYTES = 64 << 10
MOST_PACKING_BYTES = 4 << 10
# As many as the algorithm has that is chosen from some size on; there are more sizes.
MOST_KERNELS = 5


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_new_size_costs_little(layer, operation):
    # The inner change is taken back before the outer one.
    with fresh(), pytest.MonkeyPatch.context() as patch:
        made, linked = [], kernel.linked
        patch.setattr(kernel, "linked", lambda *make: (made.append(make), linked(*make))[1])
        known = set()
        for layout in LAYOUTS:
            later = 0
            for number, size in enumerate(SIZES):
                problem = Problem(operation, LAYERS[layer](size), "float32", layout)
                plan = choose(problem)
                del made[:]
                program = ALGORITHMS[plan.algorithm]._make(PlacedProblem.dense(plan.inner, 1, 0))
                later += len(set(made) - known) if number else 0
                known |= set(made)
                assert program.nbytes <= MOST_BYTES
            assert later <= MOST_KERNELS, later
        assert known


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_large_weight_that_is_packed_in_pieces_is_no_long_table(layout, groups):
    """The pieces are units of few grids: a program with a row for each had half a megabyte."""
    geometry = Geometry(1, 1024 * groups, 512 * groups, groups, ONE, Axis(430, 8, 4))
    problem = Problem("forward", geometry, "float32", layout)
    with fresh():
        placed = PlacedProblem.dense(problem, 1, 1.0)
        packing = Program([winograd.weight_form(problem).packing(placed)], {}, 0.0)
        assert sum(table.units for table in packing.tables) > 100 * groups
        assert packing.nbytes <= MOST_PACKING_BYTES * groups


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_large_weight_that_is_made_block_by_block_is_no_long_table(layout):
    """Its blocks of columns are units of a grid: a program that lists them all had a third of a megabyte."""
    axis = Axis(4, 4, 2, 1, 1)
    problem = Problem("forward", Geometry(1, 1024, 512, 1, axis, axis), "float32", layout)
    assert winograd._makes(problem)
    with fresh():
        for threads in (1, 2, 64):
            program = ALGORITHMS["winograd"]._make(PlacedProblem.dense(problem, threads, 1.0)).program
            assert program.nbytes <= MOST_BYTES
