"""Problems that are solved as other problems: copies, halves, complex numbers, exchanged roles, activations, holes."""

from dataclasses import replace

import numpy as np
import pytest
from cases import Case, channels_last
from compare import C, operands
from fresh import fresh
from strided import ACTIVATIONS
from ways import AUTO, activation, check, result, truth, willing

import upconv
from upconv import generated, planning, rewrites
from upconv.algorithms import matmul
from upconv.geometry import Axis, Geometry
from upconv.layouts import CHANNELS_FIRST, CHANNELS_LAST, STRIDED, WEIGHT_CHANNELS_LAST
from upconv.problem import OPERATIONS, Activation, Problem
from upconv.runtime.kernel import usable
from upconv.schedule.task import Task

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")

HUGE = {
    "huge kernel": Geometry(2, 3, 5, 1, Axis(3, 90, 1, 1, 2, 3), Axis(2, 110, 2, 3, 0, -4)),
    "square": Geometry(1, 2, 3, 1, Axis(3, 80), Axis(3, 80)),
}
SMALL = Case("small", 2, 5, 4, 6, 7, (3, 3), (2, 2), (1, 1))


def verify(problem):
    """Every willing way against NumPy's products; returns the ways."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape) for shape in problem.operand_shapes)
    bias = None if problem.operation == "grad_weight" else rng.standard_normal(problem.result_shape[1])
    want = np.empty(problem.result_shape)
    matmul.run(problem, a, b, bias, want)
    ways = [*willing(problem), AUTO]
    for way in ways:
        got = result(problem, way, a, b, bias)
        np.testing.assert_allclose(got, want, rtol=0, atol=C["float64"] * 2.0**-52 * np.abs(want).max() * 100)
    return ways


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("geometry", HUGE.values(), ids=HUGE)
def test_a_huge_kernel_is_computed_with_the_roles_exchanged(geometry, operation, monkeypatch):
    monkeypatch.setattr(rewrites, "MANY_PAIRS", 16)
    with fresh():
        problem = Problem(operation, geometry, "float64")
        steps = rewrites.steps(problem)
        if operation != "grad_input":
            assert steps[-1].after.geometry.h.k == geometry.h.n
            assert steps[-1].after.operation == rewrites.EXCHANGED[operation]
            assert "exchanged" in str(planning.choose(problem))
        assert verify(problem)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_equal_problems_are_solved_alike(operation):
    """The cache of steps may give back those of an equal problem that is another object."""
    for _ in range(2):
        verify(Problem(operation, Geometry(1, 6, 6, 3, Axis(4, 2, 2), Axis(3, 2, 2)), "float64"))


def test_a_layer_that_is_mostly_holes_is_quick_to_plan():
    geometry = Geometry(1, 2, 2, 1, Axis(2, 3, 300), Axis(2, 3, 300))
    problem = Problem("forward", geometry, "float64")
    made = generated.PROGRAMS
    for way in willing(problem):
        made.cache_clear()
        planning.ALGORITHMS[way].kernels(problem)
        assert made.nbytes < 20_000, way
    assert Task.dense(problem).g is geometry
    assert len(verify(problem)) > 1


def test_holes_hold_the_bias():
    x, w, bias = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32), np.full(1, 7, np.float32)
    y = upconv.conv_transpose2d(x, w, bias, stride=3)
    assert y[0, 0].tolist() == [[8, 7, 7, 8], [7, 7, 7, 7], [7, 7, 7, 7], [8, 7, 7, 8]]


def words(problem):
    return [step.description for step in rewrites.steps(problem)]


def test_what_kernels_read_needs_no_step():
    for operation, layout, dtype in (
        ("forward", "nchw", "float32"),
        ("forward", "nhwc", "float64"),
        ("grad_input", "nhwc", "float32"),
        ("grad_weight", "nchw", "int64"),
    ):
        assert words(Problem(operation, SMALL.geometry(), dtype, layout)) == []


@pytest.mark.parametrize("what", ["a_layout", "b_layout", "layout"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_has_no_layout_is_copied_and_nothing_else(operation, what):
    problem = replace(Problem(operation, SMALL.geometry(), "float32"), **{what: STRIDED})
    (step,) = rewrites.steps(problem)
    assert getattr(step.after, what) not in (STRIDED, None)
    unchanged = {"a_layout", "b_layout", "layout"} - {what}
    assert all(getattr(step.after, name) == getattr(problem, name) for name in unchanged)
    names = {"a_layout": ("the input", "the gradient in the output"), "layout": ("the result",)}
    names["b_layout"] = ("the weight", "the gradient in the output")
    assert step.description.split(": ")[1] in names[what]
    assert step.nbytes >= 2 * 4


def test_a_gradient_reads_a_weight_as_torch_has_it():
    problem = replace(Problem("grad_input", SMALL.geometry(), "float32"), b_layout=WEIGHT_CHANNELS_LAST)
    (step,) = rewrites.steps(problem)
    assert step.after.b_layout != WEIGHT_CHANNELS_LAST
    assert rewrites.steps(replace(problem, operation="forward")) == ()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float16", "complex64", "complex128"])
def test_halves_and_complex_numbers_are_rewritten_once(dtype, operation):
    problem = Problem(operation, SMALL.geometry(), dtype)
    (step,) = rewrites.steps(problem)
    assert step.after.dtype == {"float16": "float32", "complex64": "float32", "complex128": "float64"}[dtype]
    factor = 2 if dtype.startswith("complex") else 1
    assert step.after.geometry.c_in == factor * SMALL.c_in
    assert step.description in str(planning.choose(problem))
    assert check(SMALL, operation, dtype)[AUTO] == 1


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_an_activation_that_kernels_lack_has_a_step(dtype, name):
    problem = Problem("forward", SMALL.geometry(), dtype, activation=activation(name))
    made = planning.choose(problem)
    fused = name in ACTIVATIONS and dtype != "float16"
    assert any("pass of its own" in each for each in made.copies) == (name not in ACTIVATIONS)
    assert made.inner.activation.name == (name if name in ACTIVATIONS else "none")
    assert not fused or made.copies == ()
    # A slope that the larger of two numbers cannot say.
    odd = replace(problem, activation=Activation("leaky_relu", -0.5))
    assert planning.choose(odd).inner.activation.name == "none"


def test_a_result_of_any_strides_is_written_through_a_copy():
    a, b, bias, want, _ = truth(SMALL, "forward", "float64", "nchw", "rough")
    large = np.full([2 * size for size in want.shape], np.nan)
    out = large[::2, ::2, ::2, ::2]
    for given in (a, channels_last(a), a[..., ::-1].copy()[..., ::-1], np.asfortranarray(a)):
        out[...] = np.nan
        planning.solve(Problem("forward", SMALL.geometry(), "float64"), AUTO, given, b, bias, out)
        np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
    assert np.isnan(large[1::2]).all()
    assert np.isnan(large[:, :, :, 1::2]).all()


def test_every_layout_of_dense_is_dense():
    array = operands("forward", SMALL.arrays("float32"))[0]
    for layout in (CHANNELS_FIRST, CHANNELS_LAST):
        copy = rewrites.dense(array[..., ::-1], layout)
        np.testing.assert_array_equal(copy, array[..., ::-1])
        assert (copy.transpose(0, 2, 3, 1) if layout == CHANNELS_LAST else copy).flags.c_contiguous
