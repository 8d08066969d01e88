"""Problems that are solved as other problems: huge kernels with the roles of input and weight exchanged, and holes."""

import numpy as np
import pytest
from compare import C

import upconv
from upconv.algorithms import phase_gemm, phase_matmul
from upconv.geometry import Axis, Geometry
from upconv.problem import OPERATIONS, Problem
from upconv.runtime.kernel import usable
from upconv.schedule import adapt

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")

HUGE = {
    "huge kernel": Geometry(2, 3, 5, 1, Axis(3, 90, 1, 1, 2, 3), Axis(2, 110, 2, 3, 0, -4)),
    "square": Geometry(1, 2, 3, 1, Axis(3, 80), Axis(3, 80)),
}


def shapes(problem):
    g = problem.geometry
    second = g.output_shape if problem.operation == "grad_weight" else g.weight_shape
    return problem.operand_shape, second, problem.result_shape


def check(problem):
    rng = np.random.default_rng(0)
    *operands, result = shapes(problem)
    a, b = (rng.standard_normal(shape) for shape in operands)
    bias = None if problem.operation == "grad_weight" else rng.standard_normal(result[1])
    got, want = np.full(result, np.nan), np.empty(result)
    phase_gemm.run(problem, a, b, bias, got)
    phase_matmul.run(problem, a, b, bias, want)
    np.testing.assert_allclose(got, want, rtol=0, atol=C["float64"] * 2.0**-52 * np.abs(want).max() * 100)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("geometry", HUGE.values(), ids=HUGE)
def test_a_huge_kernel_is_computed_with_the_roles_exchanged(geometry, operation, monkeypatch):
    monkeypatch.setattr(adapt, "MANY_JOBS", 16)
    adapt.adapted.cache_clear()
    problem = Problem(operation, geometry, "float64")
    if operation != "grad_input":
        assert adapt.adapted(problem).geometry.h.k == geometry.h.n
    check(problem)
    adapt.adapted.cache_clear()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_equal_problems_are_solved_alike(operation):
    """The cache of adapted problems may give back an equal problem that is another object."""
    for _ in range(2):
        check(Problem(operation, Geometry(1, 6, 6, 3, Axis(4, 2, 2), Axis(3, 2, 2)), "float64"))


def test_a_layer_that_is_mostly_holes_is_quick_to_plan():
    geometry = Geometry(1, 2, 2, 1, Axis(2, 3, 300), Axis(2, 3, 300))
    problem = Problem("forward", geometry, "float64")
    x, w = (np.zeros(shape).strides for shape in (geometry.input_shape, geometry.weight_shape))
    y = np.zeros(geometry.output_shape).strides
    jobs = len(phase_gemm.gather_program(problem, x, y, w, 1).program.words)
    assert jobs < 200
    check(problem)


def test_holes_hold_the_bias():
    x, w, bias = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32), np.full(1, 7, np.float32)
    y = upconv.conv_transpose2d(x, w, bias, stride=3)
    assert y[0, 0].tolist() == [[8, 7, 7, 8], [7, 7, 7, 7], [7, 7, 7, 7], [8, 7, 7, 8]]
