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
from upconv.plans import Plan
from upconv.problem import OPERATIONS, Activation, Problem
from upconv.runtime.kernel import usable
from upconv.schedule.placed_problem import PlacedProblem

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


def test_but_not_where_phases_fill_a_vector():
    inverse_stft = (1, 2, 1, 200), (2, 1, 1, 4096)
    assert planning.plan(*inverse_stft, stride=(1, 960)).algorithm == "direct_phases"
    assert "exchanged" in str(planning.plan(*inverse_stft, stride=(1, 960), dilation=(1, 3)))
    # Too many taps for one sum of phases.
    assert "exchanged" in str(planning.plan((1, 4, 3, 3), (4, 3, 200, 200), stride=(3, 30)))


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
    assert PlacedProblem.dense(problem).g is geometry
    assert len(verify(problem)) > 1


def test_holes_hold_the_bias():
    x, w, bias = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32), np.full(1, 7, np.float32)
    y = upconv.conv_transpose2d(x, w, bias, stride=3)
    assert y[0, 0].tolist() == [[8, 7, 7, 8], [7, 7, 7, 7], [7, 7, 7, 7], [8, 7, 7, 8]]


COLUMNS = (
    Case("column", 2, 5, 11, 1, 4, (4, 1), (2, 1), (1, 0)),
    Case("column of groups", 2, 6, 37, 1, 4, (3, 1), (3, 2), (1, 0), (2, 0), groups=2),
    Case("depthwise column", 2, 7, 40, 1, 7, (7, 1), (1, 1), (3, 0), groups=7, d=(2, 1)),
    Case("column of few", 1, 3, 50, 1, 2, (16, 1), (8, 1), (4, 0)),
    # One pixel of many channels lies in both layouts.
    Case("pixel to a column", 2, 20, 1, 1, 1, (2, 1), (2, 1)),
)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("case", COLUMNS, ids=str)
def test_a_map_of_one_column_is_a_map_of_one_row(case, operation):
    for dtype, layout in (("float64", "nchw"), ("float32", "nhwc"), ("float16", "nchw"), ("complex64", "nhwc")):
        made = planning.choose(Problem(operation, case.geometry(), dtype, layout))
        assert made.copies[0].startswith("the only column as a row")
        assert (made.inner.geometry.h.n, made.inner.geometry.w.n) == (1, case.h)
        for prepared in (False, *[True] * (operation == "forward")):
            assert len(check(case, operation, dtype, layout, prepared=prepared)) > 1
    wider = replace(case, w=2)
    assert words(Problem(operation, wider.geometry(), "float32")) == []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("case", COLUMNS[1:], ids=str)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_column_whose_pixels_have_gaps_between_them(case, operation, layout):
    """One of the columns of a wider map, read or written; what lies beside it is not touched."""
    a, b, bias, want, _ = truth(case, operation, "float64", layout, "rough")

    def gapped(array):
        wide = np.full((*array.shape[:3], 3), np.nan)
        wide = channels_last(wide) if layout == "nhwc" else wide
        wide[..., 1:2] = array
        return wide[..., 1:2]

    is_map = (True, operation == "grad_weight")
    a, b = (gapped(array) if there else array for array, there in zip((a, b), is_map, strict=True))
    out = gapped(np.zeros(want.shape)) if operation != "grad_weight" else np.zeros(want.shape)
    made = planning.solve(Problem(operation, case.geometry(), "float64", layout), AUTO, a, b, bias, out)
    np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
    # What is copied is said, and counted.
    copied = [step.nbytes for step in made.steps if not step.exchanges_axes]
    assert any(step.exchanges_axes for step in made.steps)
    assert all(copied)
    assert bool(copied) == any(lie == "strided" for lie in (made.problem.a_layout, *made.problem.map_layouts))
    assert copied or layout == "nhwc" or case.c_out == 1
    if operation != "grad_weight":
        assert np.isnan(out.base).sum() == 2 * out.size


def test_a_column_is_called_without_any_python_between(monkeypatch):
    case = COLUMNS[0]
    x, w, bias, _ = case.arrays("float32")
    for weight in (w, upconv.prepare(w, case.s)):
        want = upconv.conv_transpose2d(x, weight, bias, **case.settings)
        with monkeypatch.context() as patch:
            patch.setattr(Plan, "execute", None)
            np.testing.assert_array_equal(upconv.conv_transpose2d(x, weight, bias, **case.settings), want)


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
