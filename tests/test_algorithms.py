"""Every algorithm against the reference: all cases, operations, dtypes and layouts, in poisoned memory."""

import itertools
import os
import subprocess
import sys
import tracemalloc
from functools import partial

import numpy as np
import pytest
from amount import some
from cases import AWKWARD, BY_NAME, CASES, DTYPES, LAYERS, LAYOUTS, VIEWS, Arrays, Case, channels_last
from compare import (
    assert_close,
    assert_same_bits,
    check,
    check_nonfinite,
    computed,
    expected,
    is_willing,
    operands,
    poison,
    suite,
)

import upconv
from upconv import SettingError
from upconv.algorithms import ALGORITHMS
from upconv.arrays import empty
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem

FAST = ["auto", *(name for name in ALGORITHMS if name != "loops")]
# Those that take every forward problem.
GENERAL = ["auto", "gemm", "direct_rows", "matmul"]
# Settings that differ in kind, for the tests that multiply cases by something else.
CORE = tuple(
    BY_NAME[name]
    for name in (
        "primes",
        "gcd2-k5s4d6-holes",
        "gcd1-k4s7d5",
        "groups-2-several-outputs",
        "depthwise-multiplier-3",
        "crops-of-both-signs",
        "crop-kills-taps",
        "1x1-input",
        "1-d-k16s8",
        "long-sums",
    )
)


def sampled(cases, step=5):
    """Every algorithm on every case under ``--full``; by default on every fifth, and every case by some of them."""
    return [
        (algorithm, case)
        for number, algorithm in enumerate(FAST)
        for place, case in enumerate(cases)
        if (place + number) % some(step, 1) == 0
    ]


@pytest.mark.parametrize(("algorithm", "case"), sampled(CASES), ids=str)
def test_algorithm_agrees_with_the_reference(algorithm, case):
    """Both layouts of every operation; the dtypes take turns, so that each meets every kind of case."""
    turn = CASES.index(case)
    for operation in OPERATIONS:
        for layout in LAYOUTS:
            # What refuses is left out here; the small suite counts that every algorithm was run.
            check(algorithm, case, operation, DTYPES[turn % len(DTYPES)], layout, seed=turn)
            turn += 1


@pytest.mark.parametrize(("algorithm", "case"), sampled(AWKWARD), ids=str)
def test_whole_numbers_give_the_exact_answer(algorithm, case):
    """Where every sum is exact, every dtype must give the rounded true value: no bound, no tolerance."""
    turn = AWKWARD.index(case)
    for number, operation in enumerate(OPERATIONS):
        for layout in LAYOUTS:
            dtype, geometry = DTYPES[(turn + 2 * number) % len(DTYPES)], case.geometry()
            if not is_willing(algorithm, geometry, operation, dtype, layout):
                continue
            arrays = case.arrays(dtype, layout, kind="exact")
            got = computed(algorithm, geometry, operation, dtype, layout, *operands(operation, arrays))
            want, _ = expected(geometry, operation, *operands(operation, arrays))
            np.testing.assert_array_equal(got, want.astype(got.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_dtype_passes_on_the_core_cases(algorithm, dtype):
    for case in CORE:
        for operation in OPERATIONS:
            for layout in LAYOUTS:
                check(algorithm, case, operation, dtype, layout)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithm_passes_the_small_suite(algorithm):
    suite(algorithm)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "bfloat16"])
@pytest.mark.parametrize("algorithm", FAST)
def test_a_dynamic_range_of_a_million_keeps_the_bound(algorithm, dtype):
    for case in (*CORE, BY_NAME["long-sums-grouped"]):
        for operation in OPERATIONS:
            layout = "nhwc" if case.n > 1 else "nchw"
            # What runs by name alone may do so because it does not promise this.
            if not _is_by_name(algorithm, Problem(operation, case.geometry(), dtype, layout)):
                check(algorithm, case, operation, dtype, layout, kind="range")


def _is_by_name(algorithm, problem):
    asks = getattr(ALGORITHMS.get(algorithm), "why_not_automatic", None)
    return asks is not None and not ALGORITHMS[algorithm].why_not(problem) and bool(asks(problem))


def test_int64_wraps_around_as_numpy_does():
    x, w = np.full((1, 2, 3, 3), 2**62 + 3), np.full((2, 1, 3, 3), 2**61 + 5)
    geometry = Case("wrap", 1, 2, 3, 3, 1, (3, 3), (2, 2)).geometry()
    for algorithm in GENERAL:
        np.testing.assert_array_equal(
            computed(algorithm, geometry, "forward", "int64", "nchw", x, w), upconv.reference.scatter(geometry, x, w)
        )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("algorithm", GENERAL)
def test_memory_of_every_kind_gives_the_same_answer(algorithm, view):
    """Each operand in turn, and all at once, in every dtype that the view can have."""
    for number, case in enumerate((BY_NAME["primes"], BY_NAME["groups-2-several-outputs"])):
        for dtype in ("float64", "float16", "complex64", "int64", "bfloat16")[number:]:
            if view == "byte_swapped" and dtype == "bfloat16":
                continue
            arrays = case.arrays(dtype)[:3]
            for chosen in ((0,), (1,), (2,), (0, 1, 2)):
                seen = [VIEWS[view](array) if i in chosen else array for i, array in enumerate(arrays)]
                plain = [np.array(array, array.dtype.newbyteorder("=")) for array in seen]
                got = upconv.conv_transpose2d(*seen, **case.settings, algorithm=algorithm)
                want, bound = expected(case.geometry(), "forward", *plain)
                assert got.dtype == plain[0].dtype
                assert type(got) is np.ndarray
                assert_close(got, want, bound, dtype)


@pytest.mark.parametrize("view", VIEWS)
def test_gradients_take_memory_of_every_kind(view):
    case = BY_NAME["groups-2-several-outputs"]
    for dtype in ("float64", "float32", "complex64", "bfloat16"):
        if view == "byte_swapped" and dtype == "bfloat16":
            continue
        arrays = case.arrays(dtype)
        seen = [VIEWS[view](arrays[i]) for i in (3, 0, 1)]
        plain = [np.array(array, array.dtype.newbyteorder("=")) for array in seen]
        got = upconv.grad.conv_transpose2d_backward(*seen, **case.settings)
        want = upconv.grad.conv_transpose2d_backward(*plain, **case.settings)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(*(array.astype(np.complex128) for array in (one, other)), rtol=1e-6, atol=1e-5)


def test_a_byte_swapped_bfloat16_is_an_array_like_any_other():
    case = BY_NAME["1x1-kernel"]
    x, w = case.arrays("bfloat16")[:2]
    assert x.dtype.name == "bfloat16"
    swapped = x.astype(x.dtype.newbyteorder())
    np.testing.assert_array_equal(upconv.conv_transpose2d(swapped, w), upconv.conv_transpose2d(x, w))


def test_arrays_that_cannot_be_right_are_refused():
    x, w = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix(np.ones((2, 2)))
    with pytest.raises(SettingError, match=r"\(2, 2\)"):
        upconv.conv_transpose2d(matrix, w)
    with pytest.raises(TypeError, match="filled"):
        upconv.conv_transpose2d(np.ma.masked_less(x, 0), w)
    with pytest.raises(NotImplementedError, match="float32"):
        upconv.conv_transpose2d(x > 0, w)
    with pytest.raises(NotImplementedError, match="object"):
        upconv.conv_transpose2d(x.astype(object), w)


def _strided(shape, dtype):
    return np.full([2 * size for size in shape], -7, dtype)[tuple(slice(1, None, 2) for _ in shape)]


OUTS = {
    "strided": _strided,
    "beside another result": lambda shape, dtype: np.full((shape[0], shape[1] + 5, *shape[2:]), -7, dtype)[:, 2:-3],
    "channels last": lambda shape, dtype: np.full([shape[i] for i in (0, 2, 3, 1)], -7, dtype).transpose(0, 3, 1, 2),
    "upside down": lambda shape, dtype: np.full(shape, -7, dtype)[:, ::-1, ::-1, ::-1],
    "byte swapped": lambda shape, dtype: np.full(shape, -7, np.dtype(dtype).newbyteorder()),
    "fortran": lambda shape, dtype: np.full(shape, -7, dtype, order="F"),
}


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("algorithm", GENERAL)
def test_out_of_any_strides_is_filled_and_nothing_beside_it(algorithm, out):
    for case in CORE:
        for dtype in ("float64", "float16"):
            arrays, geometry = case.arrays(dtype), case.geometry()
            target = OUTS[out](geometry.output_shape, dtype)
            given = upconv.conv_transpose2d(*arrays[:3], **case.settings, out=target, algorithm=algorithm)
            assert given is target
            assert_close(target.astype(dtype), *expected(geometry, "forward", *arrays[:3]), dtype)
            whole = target if target.base is None else target.base
            beside = whole.size - target.size
            assert (whole == -7).sum() >= beside
            assert np.shares_memory(whole, target)


def test_the_layout_of_the_result_is_that_of_the_problem_whatever_lies_in_the_operands():
    case = BY_NAME["primes"]
    last, first = case.arrays("float32", "nhwc"), case.arrays("float32", "nchw")
    for algorithm in GENERAL:
        for layout in LAYOUTS:
            for pair in ((last.x, last.w), (first.x, first.w)):
                got = computed(algorithm, case.geometry(), "forward", "float32", layout, *pair)
                assert_close(got, *expected(case.geometry(), "forward", *pair), "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", FAST)
def test_the_same_call_gives_the_same_bits(algorithm, dtype):
    for case in CORE:
        for operation in OPERATIONS:
            for layout in LAYOUTS:
                if not is_willing(algorithm, case.geometry(), operation, dtype, layout):
                    continue
                pair = operands(operation, case.arrays(dtype, layout, kind="range" if dtype != "float16" else "rough"))
                first, again = (
                    computed(algorithm, case.geometry(), operation, dtype, layout, *map(np.copy, pair)) for _ in "ab"
                )
                assert_same_bits(again, first)


BITS = """
import hashlib
from cases import Case
from compare import computed, is_willing, operands
from upconv.algorithms import ALGORITHMS
case = Case("threads", 2, 96, 33, 31, 70, (4, 3), (2, 2), (1, 1))
for name in ALGORITHMS:
    # NumPy's products follow the threads of its BLAS, which nobody can promise for.
    if name not in ("loops", "matmul"):
        for operation in ("forward", "grad_input", "grad_weight"):
            for dtype in ("float32", "float64"):
                for layout in ("nchw", "nhwc"):
                    if not is_willing(name, case.geometry(), operation, dtype, layout):
                        continue
                    pair = operands(operation, case.arrays(dtype, layout))
                    got = computed(name, case.geometry(), operation, dtype, layout, *pair)
                    print(name, operation, dtype, layout, hashlib.sha256(got.tobytes()).hexdigest())
"""


def test_bits_do_not_depend_on_the_number_of_blas_threads():
    printed = []
    for threads in ("1", "2"):
        counts = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        path = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, **counts, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", BITS], env=environment, capture_output=True, text=True, check=True)
        printed.append(done.stdout.splitlines())
    differ = [one for one, other in zip(*printed, strict=True) if one != other]
    assert not differ, differ


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", FAST)
def test_a_value_that_is_not_finite_reaches_exactly_what_it_should(algorithm, value):
    for case in CORE[:-1]:
        for operation in OPERATIONS:
            for layout in LAYOUTS:
                check_nonfinite(algorithm, case, operation, value, layout)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("algorithm", GENERAL)
def test_a_zero_is_a_number_like_any_other_beside_infinity(algorithm, value):
    """Zero times infinity is NaN, so a zero may not be skipped; what no tap reaches is not multiplied."""
    case = BY_NAME["crops-negative-holes"]
    geometry, arrays = case.geometry(), case.arrays()
    x, w = np.zeros_like(arrays.x), arrays.w.copy()
    w[0, 0, 0, 0] = value
    with np.errstate(invalid="ignore"):
        got = computed(algorithm, geometry, "forward", "float64", "nchw", x, w, arrays.b)
        want, _ = expected(geometry, "forward", x, w, arrays.b)
    assert 0 < np.isnan(want).sum() < want.size
    np.testing.assert_array_equal(got, want)


# Large enough that bands, parts of sums and copies of the weight all occur.
LARGE = (
    Case("many-channels", 2, 256, 24, 20, 160, (3, 3), (2, 2), (1, 1), (1, 1)),
    Case("large-map", 1, 24, 96, 80, 20, (4, 4), (2, 2), (1, 1)),
    Case("many-taps", 1, 8, 30, 30, 8, (31, 31), (4, 4), (15, 15)),
    Case("wide-dilated-groups", 1, 96, 40, 40, 48, (3, 5), (2, 3), (2, 1), (1, 1), 4, (3, 2)),
    Case("stride-1", 2, 64, 50, 50, 64, (5, 5), (1, 1), (2, 2)),
    Case("one-pixel-many-channels", 4, 1200, 1, 1, 300, (4, 4)),
    Case("one-tap-long-sums", 1, 600, 42, 43, 600, (1, 1)),
    Case("depthwise", 2, 200, 40, 40, 200, (4, 4), (2, 2), (1, 1), groups=200),
)


@pytest.mark.parametrize(("algorithm", "case"), sampled(LARGE, 2), ids=str)
def test_scratch_memory_stays_below_what_the_plan_says(algorithm, case):
    """Of a call, whatever the values; programs and kernels are built by the first one and kept."""
    dtypes = ("float32", "float16", "complex64")
    for turn, operation in enumerate(OPERATIONS):
        # By default one of the layouts, in turn.
        mine = (turn + FAST.index(algorithm)) % 2
        for half, layout in some(((mine, LAYOUTS[mine]),), enumerate(LAYOUTS)):
            for dtype in some(dtypes[(turn + half) % 3 :][:1], dtypes):
                if not is_willing(algorithm, case.geometry(), operation, dtype, layout):
                    continue
                plan = choose(Problem(operation, case.geometry(), dtype, layout), algorithm)
                g, ones = case.geometry(), partial(np.ones, dtype=dtype)
                maps = [
                    ones(shape) if layout == "nchw" else channels_last(ones(shape))
                    for shape in (g.input_shape, g.output_shape)
                ]
                pair = operands(operation, Arrays(maps[0], ones(g.weight_shape), None, maps[1]))
                out = empty(plan.problem.result_shape, np.dtype(dtype), layout)
                plan.run(*pair, None, out)
                tracemalloc.start()
                plan.run(*pair, None, out)
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert peak <= plan.workspace_bytes, (operation, layout, dtype, peak, plan.workspace_bytes)


@pytest.mark.parametrize("case", LARGE, ids=str)
@pytest.mark.parametrize("algorithm", GENERAL)
def test_algorithms_agree_on_sizes_that_the_reference_is_too_slow_for(algorithm, case):
    """In whole numbers every sum is exact, so scattered places can be summed by hand, without any algorithm."""
    arrays, g = case.arrays("float64", kind="exact"), case.geometry()
    with poison():
        y = upconv.conv_transpose2d(arrays.x, arrays.w, arrays.b, **case.settings, algorithm=algorithm)
    wide_in, wide_out = case.c_in // case.groups, case.c_out // case.groups
    for n, c, o_h, o_w in np.argwhere(np.ones(g.output_shape))[:: max(1, y.size // 50)]:
        first = c // wide_out * wide_in
        total = arrays.b[c]
        for t_h in range(g.h.k):
            i_h, rest_h = divmod(o_h + g.h.crop_lo - t_h * g.h.d, g.h.s)
            for t_w in range(g.w.k):
                i_w, rest_w = divmod(o_w + g.w.crop_lo - t_w * g.w.d, g.w.s)
                if rest_h == rest_w == 0 and 0 <= i_h < g.h.n and 0 <= i_w < g.w.n:
                    x = arrays.x[n, first : first + wide_in, i_h, i_w]
                    total += x @ arrays.w[first : first + wide_in, c % wide_out, t_h, t_w]
        assert y[n, c, o_h, o_w] == total


def test_every_layer_of_the_table_has_a_plan():
    """At full size nothing is computed: shapes, costs and refusals only."""
    for case in LAYERS:
        geometry = case.geometry()
        for operation in OPERATIONS:
            plan = choose(Problem(operation, geometry, "float32"))
            assert plan.algorithm in FAST
            assert plan.macs == geometry.macs > 0


@pytest.mark.parametrize("c_out", [1, 8, 20])
def test_a_result_of_one_column_whose_other_phases_are_cut_off(c_out):
    """Phases that are computed together lie where they would in a longer row, and there is none."""
    for case in (
        Case("one-of-three", 3, 18, 7, 1, c_out, (1, 3), (3, 3), (0, 1)),
        Case("first-of-two", 1, 18, 5, 1, c_out, (2, 2), (2, 2), ((0, 0), (0, 1))),
        Case("last-of-four", 2, 18, 3, 1, c_out, (4, 8), (2, 4), ((1, 1), (3, 4))),
    ):
        for algorithm, layout in itertools.product(FAST, LAYOUTS):
            check(algorithm, case, "forward", "float32", layout)
