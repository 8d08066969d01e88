"""What is said to be one file and one line is: an algorithm, a dtype, an activation, an instruction set, a front-end.

Each is added here as a newcomer would add it, with nothing else touched, and must then be planned, printed and right.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from amount import some
from cases import BY_NAME, LAYOUTS, values
from compare import SUITE, check, check_nonfinite, suite
from fresh import fresh
from isas import RUNNABLE, making
from make_choices import choices, frozen
from toys import front_end, two_stages

import upconv
from upconv import SettingError, conv_transpose2d, dtypes, plan
from upconv.activations import ACTIVATIONS, Row
from upconv.algorithms import ALGORITHMS
from upconv.bench.layers import table
from upconv.codegen import isa as instruction_sets
from upconv.generated import Generated
from upconv.kernels import epilogue
from upconv.machine import OTHERS, ROWS, row
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import program
from upconv.runtime.kernel import isa, usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
CASES = [
    BY_NAME[name]
    for name in ("primes", "gcd2-k5s4d6-holes", "groups-2-several-outputs", "crops-of-both-signs", "unlike-axes")
]
FLOATS = ("float32", "float64", "float16")


@pytest.fixture
def remembering_nothing():
    with fresh(kernels=True):
        yield


# An algorithm --------------------------------------------------------------------------------------------------------


@pytest.fixture
def toy(monkeypatch, remembering_nothing):
    """Two stages and a fallback, by one line of the list."""
    monkeypatch.setitem(ALGORITHMS, "two_stages", Generated("two_stages", two_stages))
    return "two_stages"


@pytest.fixture
def computed_again(monkeypatch):
    """Grows by one with every problem that the fallback computes."""
    times, run = [], ALGORITHMS["gemm"].run
    monkeypatch.setattr(ALGORITHMS["gemm"], "run", lambda *operands: times.append(1) or run(*operands))
    return times


def test_an_algorithm_is_planned_priced_and_printed(toy):
    made = plan((2, 5, 7, 6), (5, 9, 3, 3), stride=2, algorithm=toy)
    answers = {candidate.name: candidate for candidate in made.candidates}
    assert answers[toy].seconds > answers["gemm"].seconds > 0
    kernels = made.kernels
    assert any(name.startswith("checked_copy_f32") for name in kernels)
    assert any(name.startswith("gemm_f32") for name in kernels)
    printed = str(made)
    assert f"forward by {toy}" in printed
    assert "computed again by gemm" in printed
    assert f"* {toy}" in printed
    assert made.workspace_bytes > 2 * 5 * 7 * 6 * 4


def test_the_plan_chooses_it_where_it_is_the_cheapest(toy, monkeypatch):
    assert plan((2, 5, 7, 6), (5, 9, 3, 3), stride=2).algorithm != toy
    monkeypatch.setattr(two_stages, "work", lambda problem: {})
    with fresh():
        assert plan((2, 5, 7, 6), (5, 9, 3, 3), stride=2).algorithm == toy


def page_example():
    """The algorithm on arrays that docs/add-an-algorithm.md shows."""
    page = (Path(__file__).parents[1] / "docs" / "add-an-algorithm.md").read_text(encoding="utf-8")
    names = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    return SimpleNamespace(**names)


def test_the_example_of_the_page_takes_nobody_s_place(monkeypatch):
    example, tiny = page_example(), ((1, 1, 1, 1), (1, 1, 2, 2))
    monkeypatch.setitem(ALGORITHMS, "example", example)
    with fresh():
        answers = {candidate.name: candidate.seconds for candidate in plan(*tiny).candidates}
        assert answers["example"] > min(seconds for seconds in answers.values() if seconds)
        asked = plan(*tiny, algorithm="example")
        assert asked.algorithm == "example"
        assert asked.kernels == ("numpy.matmul",)
    layers = table()[::9]
    assert choices("avx512", layers) == {layer.name: frozen()["avx512"][layer.name] for layer in layers}


def test_without_its_calls_and_bytes_it_would_take_it(monkeypatch):
    example = page_example()
    example.cost = lambda problem: problem.macs / 1e9
    monkeypatch.setitem(ALGORITHMS, "example", example)
    with fresh():
        assert plan((1, 1, 1, 1), (1, 1, 2, 2)).algorithm == "example"


def test_its_refusals_are_sentences(toy):
    made = plan((2, 5, 7, 6), (5, 9, 3, 3), channels_last=True)
    assert "the map that is read must lie channels-first" in str(made)
    with pytest.raises(SettingError, match=f"{toy} refuses: the map that is read"):
        plan((2, 5, 7, 6), (5, 9, 3, 3), channels_last=True, algorithm=toy)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_algorithm_is_right(toy, computed_again, threads):
    before = upconv.get_num_threads()
    upconv.set_num_threads(threads)
    try:
        ran = sum(
            check(toy, case, operation, dtype, layout, seed=seed)
            for seed, case in enumerate(CASES)
            for operation in OPERATIONS
            for dtype in ("float64", "float32", "float16", "int64")
            for layout in LAYOUTS
        )
    finally:
        upconv.set_num_threads(before)
    # Channels-first in both directions, whole halves included; nothing had to be computed again.
    assert ran >= len(CASES) * 2 * 4
    assert not computed_again


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operation", OPERATIONS[:2])
def test_what_it_flags_is_computed_again(toy, computed_again, operation, value, monkeypatch):
    assert check_nonfinite(toy, BY_NAME["primes"], operation, value)
    # Three places of the map; what stands in the weight is no trouble to this way.
    assert len(computed_again) == 3


def test_without_its_flags_the_same_test_fails(toy, monkeypatch):
    monkeypatch.setattr(program, "_flags", lambda *_: None)
    with pytest.raises(AssertionError, match="inf"):
        check_nonfinite(toy, BY_NAME["primes"], "forward", np.inf)


def test_a_wrong_stage_is_seen(toy, monkeypatch):
    copying = two_stages.copying

    def none_copied(task):
        return [], *copying(task)[1:]

    monkeypatch.setattr(two_stages, "copying", none_copied)
    with fresh(), pytest.raises(AssertionError, match="values are wrong"):
        check(toy, BY_NAME["primes"], "forward")


def test_an_algorithm_takes_a_prepared_weight_and_an_activation(toy, computed_again):
    x, w = values((2, 5, 7, 6), (1,), "float32"), values((5, 9, 3, 3), (2,), "float32")
    call = partial(conv_transpose2d, stride=2, activation="relu", algorithm=toy)
    want = call(x, w)
    np.testing.assert_array_equal(call(x, upconv.prepare(w, stride=2)), want)
    assert not computed_again
    x[0, 0, 0, 0] = np.inf
    np.testing.assert_array_equal(call(x, upconv.prepare(w, stride=2)), call(x, w))
    assert len(computed_again) == 2


# A dtype -------------------------------------------------------------------------------------------------------------

INT32 = dtypes.Dtype("int32", 4, np.int64, 0.0, differentiable=False)


@pytest.fixture(params=["int64", "i32", ""], ids=["wider", "element", "readable"])
def int32(request, monkeypatch, remembering_nothing):
    """A row: by way of int64, by kernels whose elements are i32, or by NumPy's products alone."""
    way = {"int64": {"wider": "int64"}, "i32": {"element": "i32"}, "": {}}[request.param]
    monkeypatch.setitem(dtypes.DTYPES, "int32", replace(INT32, **way))
    monkeypatch.setattr(dtypes, "_seen", {})
    return way


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_dtype_is_computed_by_whatever_is_willing(int32, operation):
    ran = {}
    for algorithm in ("auto", *ALGORITHMS):
        for seed, case in enumerate(CASES[:3]):
            for layout in LAYOUTS:
                ran[algorithm] = ran.get(algorithm, 0) + check(algorithm, case, operation, "int32", layout, seed=seed)
    assert ran["auto"] == ran["matmul"] == ran["loops"] == 6
    by_kernels = sum(ran[name] for name, algorithm in ALGORITHMS.items() if isinstance(algorithm, Generated))
    assert by_kernels if int32 else not by_kernels


def test_every_door_knows_a_dtype(int32):
    x, w = values((1, 3, 4, 5), (1,), "int32"), values((3, 4, 3, 3), (2,), "int32")
    y = conv_transpose2d(x, w, stride=2)
    assert y.dtype == np.int32
    wide = conv_transpose2d(x.astype(np.int64), w.astype(np.int64), stride=2)
    assert np.abs(wide).max() >= 2**31, "the sums should have wrapped around"
    np.testing.assert_array_equal(y, wide.astype(np.int32))
    np.testing.assert_array_equal(conv_transpose2d(x, upconv.prepare(w, stride=2), stride=2), y)
    assert "(int32, nchw)" in str(plan(x, w, stride=2))
    with pytest.raises(NotImplementedError, match="int32"):
        upconv.grad.conv_transpose2d_input(x.shape, w, y, stride=2)
    with pytest.raises(SettingError, match=r"allowed with one are .*float16"):
        conv_transpose2d(x, w, activation="relu")


def test_without_its_row_a_dtype_is_refused_with_the_nearest():
    with pytest.raises(NotImplementedError, match=r"int32.*astype.'int64'"):
        conv_transpose2d(np.ones((1, 1, 1, 1), np.int32), np.ones((1, 1, 1, 1), np.int32))


# An activation -------------------------------------------------------------------------------------------------------


def hard_tanh(y, slope):
    np.clip(y, -0.5, 0.5, out=y)


def modulus(y, slope):
    np.abs(y, out=y)


def scaled(y, slope):
    np.multiply(y, slope, out=y)


@pytest.fixture
def activations(monkeypatch, remembering_nothing):
    for added in (Row(hard_tanh), Row(modulus), Row(scaled, has_slope=True)):
        monkeypatch.setitem(ACTIVATIONS, added.apply.__name__, added)


def fused(k, value, minus):
    return k.maximum(value, k.mul(value, minus))


def plain(activation, dtype, **how):
    """(result of the door, the function over the result without it)."""
    x, w, b = (values(shape, (i,), dtype) for i, shape in enumerate(((2, 5, 7, 6), (5, 9, 3, 3), (9,))))
    got = conv_transpose2d(x, w, b, stride=2, activation=activation, **how)
    # Halves are rounded once, after the activation.
    wide = np.float32 if dtype == "float16" else dtype
    want = conv_transpose2d(x.astype(wide), w.astype(wide), b.astype(wide), stride=2, **how)
    name, slope = activation if isinstance(activation, tuple) else (activation, 0.0)
    ACTIVATIONS[name].apply(want, slope)
    return got, want.astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ["hard_tanh", "modulus", ("scaled", 0.25)], ids=str)
def test_an_activation_is_a_function_and_a_line(activations, activation, dtype):
    for algorithm in ("auto", "gemm", "direct_rows", "matmul"):
        np.testing.assert_array_equal(*plain(activation, dtype, algorithm=algorithm))
    printed = str(plan((2, 5, 7, 6), (5, 9, 3, 3), activation=activation, dtype=dtype))
    shown = "scaled(0.25)" if isinstance(activation, tuple) else activation
    assert f"also: {shown} in a pass of its own" in printed


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_line_in_the_epilogue_saves_the_pass(activations, dtype, monkeypatch):
    minus = epilogue.Fused(lambda k, vector, slope: k.splat(-1.0, vector), fused)
    monkeypatch.setitem(epilogue.IN_REGISTERS, "modulus", minus)
    with fresh(kernels=True):
        made = plan((2, 5, 7, 6), (5, 9, 3, 3), activation="modulus", dtype=dtype, algorithm="gemm")
        assert "pass of its own" not in str(made)
        assert all("_modulus_" in name for name in made.kernels if name.startswith("gemm"))
        for algorithm in ("gemm", "direct_rows"):
            np.testing.assert_array_equal(*plain("modulus", dtype, algorithm=algorithm))


def test_an_unknown_activation_names_those_that_there_are(activations):
    with pytest.raises(SettingError, match=r"'gelu'; it must be one of none, .*sigmoid, hard_tanh, modulus, scaled"):
        plan((1, 1, 2, 2), (1, 1, 2, 2), activation="gelu")


# An instruction set --------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch):
    """A row: the best set of this machine with vectors of half the width, where that leaves two numbers in one."""
    best = instruction_sets.ROWS[RUNNABLE[0]]
    added = replace(best, name="narrow", vector_bytes=max(16, best.vector_bytes // 2))
    monkeypatch.setitem(instruction_sets.ROWS, "narrow", added)
    with making("narrow", monkeypatch):
        yield added


# An output's error by Winograd's way is that of the largest of its tile, which is not the law of the suite.
KERNELS = [name for name, made in ALGORITHMS.items() if isinstance(made, Generated) and "winograd" not in name]


@pytest.mark.parametrize("algorithm", KERNELS)
def test_every_kernel_is_made_for_an_instruction_set_and_right(narrow, algorithm):
    assert isa().name == "narrow"
    assert row("narrow") is ROWS[OTHERS]
    suite(algorithm, some(SUITE[::2], SUITE))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_transforms_of_winograd_are_made_for_an_instruction_set_and_right(narrow, dtype):
    x, w = values((1, 80, 21, 18), (1,), dtype), values((80, 70, 3, 3), (2,), dtype)
    got, want = (conv_transpose2d(x, w, padding=1, algorithm=name) for name in ("winograd", "gemm"))
    assert np.abs(got - want).max() <= 50 * np.finfo(dtype).eps * np.abs(want).max()
    problem = Problem("grad_weight", plan(x.shape, w.shape, padding=1).problem.geometry, dtype)
    got, want = (choose(problem, f"weight_gradient_{name}")(x, got) for name in ("winograd", "blocks"))
    assert np.abs(got - want).max() <= 50 * np.finfo(dtype).eps * np.abs(want).max()


def test_a_plan_names_the_instruction_set(narrow):
    made = plan((2, 5, 7, 6), (5, 9, 3, 3), stride=2)
    assert made.isa == "narrow"
    assert all(name.endswith("_narrow") for name in made.kernels)
    assert all(candidate.seconds > 0 for candidate in made.candidates if not candidate.refusals)


# A front-end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("first", [0, 2])
def test_a_front_end_for_a_class_of_arrays(padding, first):
    x, w = values((2, 6, 5, 4), (1,), "float32"), values((3, 3, 7, 4), (2,), "float32")
    tensor = front_end.Tensor.of(x).from_row(first)
    result, made = front_end.transposed_convolution(tensor, front_end.Tensor.of(w), 2, padding)
    h, v = (upconv.conventions.Keras(padding).axis(n, 3, 2) for n in (6 - first, 5))
    crops = [(axis.crop_lo, axis.crop_hi) for axis in (h, v)]
    plain = np.ascontiguousarray(x[:, first:].transpose(0, 3, 1, 2)), np.ascontiguousarray(w.transpose(3, 2, 0, 1))
    want = conv_transpose2d(*plain, stride=2, padding=crops).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(result.view(), want, rtol=1e-5, atol=1e-5)
    # The memory of the tensor is read where it lies: a slice of rows is no reason to copy the map.
    assert not [words for words in made.copies if "input" in words]
    assert isinstance(made.problem, Problem)
    assert choose(made.problem) is made
