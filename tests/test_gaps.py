"""Weights with gaps between pairs of channels, as the depth taps of a volume's: read and written where they lie."""

from collections import Counter

import numpy as np
import pytest
from cases import BY_NAME

from upconv import planning
from upconv.algorithms import ALGORITHMS, is_programmed
from upconv.errors import SettingError
from upconv.geometry import Axis, Geometry
from upconv.layouts import TAPS_SLICED
from upconv.problem import Problem
from upconv.runtime import memory
from upconv.runtime.kernel import usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")


def square(n, c_in, c_out, size, k, s, crop=0):
    return Geometry(n, c_in, c_out, 1, *(Axis(size, k, s, 1, crop, crop) for _ in "hw"))


# Beside the cases, layers of the ways that are for larger ones: tiles of winograd, columns of few pixels.
GEOMETRIES = {name: case.geometry() for name, case in BY_NAME.items()} | {
    "tiles": square(2, 64, 64, 17, 4, 2, 1),
    "tiles, stride 1": square(2, 64, 48, 33, 3, 1, 1),
    "few pixels": square(1, 72, 64, 2, 3, 2),
    "many channels": square(2, 136, 80, 5, 2, 2),
}


def with_gaps(shape, dtype):
    """(memory full of NaN, a weight of such a shape in it)."""
    c_in, c_out, *taps = shape
    whole = np.full((c_in + 1, 2 * c_out + 1, *taps), np.nan, dtype)
    return whole, whole[1:, 1::2]


def plans(problem, *strides):
    """The plan of every way that is willing, and of the one that is chosen."""
    for name in (planning.AUTO, *filter(is_programmed, ALGORITHMS)):
        try:
            yield planning.fitted(problem, name, *strides)
        except SettingError:
            continue


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_gradients_have_the_bits_of_weights_without_gaps(dtype, layout):
    rng, seen = np.random.default_rng(0), Counter()
    for geometry in GEOMETRIES.values():
        if not geometry.n:
            continue
        x, w, y = (
            rng.standard_normal(shape).astype(dtype)
            for shape in (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
        )
        if layout == "nhwc":
            x, y = (np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1) for array in (x, y))
        _, spread = with_gaps(w.shape, dtype)
        spread[...] = w
        problem = Problem("grad_input", geometry, dtype, layout)
        for plan in plans(problem, y.strides, spread.strides, x.strides):
            got, want = np.empty_like(x), np.empty_like(x)
            planning.solve(problem, plan.algorithm, y, w, None, want)
            with memory.poisoned():
                plan.execute(y, spread, None, got)
            np.testing.assert_array_equal(got, want, err_msg=f"{plan.algorithm} {geometry}")
            seen["grad_input", plan.algorithm] += plan.problem.b_layout == TAPS_SLICED and not plan.steps
        problem, want = Problem("grad_weight", geometry, dtype, "nchw"), np.empty_like(w)
        whole, got = with_gaps(w.shape, dtype)
        for plan in plans(problem, x.strides, y.strides, got.strides):
            planning.solve(problem, plan.algorithm, x, y, None, want)
            whole[...] = np.nan
            with memory.poisoned():
                plan.execute(x, y, None, got)
            np.testing.assert_array_equal(got, want, err_msg=f"{plan.algorithm} {geometry}")
            assert np.isnan(whole).sum() == whole.size - got.size, plan.algorithm
            seen["grad_weight", plan.algorithm] += plan.problem.layout == TAPS_SLICED and not plan.steps
    ways = {name for name in ALGORITHMS if is_programmed(name) and name.startswith("weight_gradient")}
    assert {name for (operation, name), number in seen.items() if operation == "grad_weight" and number} == ways
    read = {name for (operation, name), number in seen.items() if operation == "grad_input" and number}
    assert read >= {"gemm", "gemm_tap_rows", "direct_rows", "winograd", "input_gradient_columns"}


def test_the_forward_pass_copies_such_a_weight():
    problem = Problem("forward", GEOMETRIES["many channels"], "float32")
    _, spread = with_gaps(problem.geometry.weight_shape, "float32")
    x, y = (np.empty(shape, "float32").strides for shape in (problem.operand_shapes[0], problem.result_shape))
    (step,) = planning.fitted(problem, planning.AUTO, x, spread.strides, y).steps
    assert step.description.endswith("the weight")
