"""Plans: what is chosen, what is counted, what is printed, and that a plan runs only what it was made for."""

import contextlib
import copy
import dataclasses
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cases import LAYOUTS

from upconv import Plan, SettingError, algorithms, candidates, conv_transpose2d, plan, planning, size_classes
from upconv.dtypes import DTYPES
from upconv.geometry import Axis, Geometry
from upconv.layouts import WEIGHT_CHANNELS_LAST
from upconv.problem import OPERATIONS, Activation, Problem
from upconv.runtime.kernel import usable

SHAPES = (1, 6, 5, 4), (6, 2, 4, 3)
SETTINGS = {"stride": 2, "padding": 1, "output_padding": (0, 1), "groups": 3, "dilation": (1, 2)}


def arrays(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in (*SHAPES, (6,))]


def count_by_hand(geometry):
    """Multiply-adds that reach an output, counted one by one."""

    def meetings(axis: Axis):
        places = (i * axis.s + t * axis.d - axis.crop_lo for i in range(axis.n) for t in range(axis.k))
        return sum(0 <= place < axis.out for place in places)

    pairs = geometry.c_in * geometry.c_out // geometry.groups
    return geometry.n * pairs * meetings(geometry.h) * meetings(geometry.w)


def test_a_plan_made_from_shapes_is_the_plan_of_the_arrays():
    x, w, b = arrays()
    assert plan(*SHAPES, **SETTINGS) == plan(x, w, b, **SETTINGS)
    assert plan(list(SHAPES[0]), np.array(SHAPES[1]).tolist(), **SETTINGS) == plan(x, w, **SETTINGS)


def test_a_plan_runs_and_gives_what_the_call_gives():
    x, w, b = arrays()
    made = plan(x, w, **SETTINGS)
    expected = conv_transpose2d(x, w, b, **SETTINGS)
    assert np.array_equal(made(x, w, b), expected)
    out = np.empty_like(expected)
    assert made(x, w, b, out) is out
    assert np.array_equal(out, expected)
    assert np.array_equal(made(x, w), conv_transpose2d(x, w, **SETTINGS))


def lying_in_every_way(array):
    """The array channels-first, channels-last, as slices of the channels of both, of a volume, and with odd steps."""
    twice, channels = np.concatenate([array, array], 1), array.shape[1]
    last = np.ascontiguousarray(twice.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)[:, :channels]
    odd = np.repeat(np.repeat(array, 2, 1), 2, 3)[:, ::-1].copy()[:, ::-2, :, ::2]
    return [array, last.copy("K"), twice[:, :channels], last, np.stack([array, array], 2)[:, :, 0], odd]


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_a_plan_computes_operands_that_lie_otherwise_than_it_says(name):
    """Small whole numbers, of which all sums are exact but for Winograd's."""
    draw = np.random.default_rng(0)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((1, 32, 3, 4), (32, 24, 3, 3)))
    wanted, plans = conv_transpose2d(x, w, stride=2, algorithm="loops"), set()
    for maps, weights in itertools.product(lying_in_every_way(x), lying_in_every_way(w)):
        with contextlib.suppress(SettingError):
            plans.add(plan(maps, weights, stride=2, algorithm=name))
    for made in plans:
        for maps, weights in itertools.product(lying_in_every_way(x), lying_in_every_way(w)):
            np.testing.assert_allclose(made(maps, weights), wanted, rtol=0, atol=1e-3 * (name == "winograd"))


def test_a_plan_may_be_passed_as_the_algorithm():
    x, w, b = arrays()
    made = plan(x, w, **SETTINGS, algorithm="loops")
    assert made.algorithm == "loops"
    y = conv_transpose2d(x, w, b, **SETTINGS, algorithm=made)
    assert np.array_equal(y, conv_transpose2d(x, w, b, **SETTINGS, algorithm="loops"))


@pytest.mark.parametrize(
    "changed", [{"stride": 3}, {"padding": 0}, {"groups": 2}, {"dilation": 1}, {"output_padding": 0}]
)
def test_a_plan_for_other_settings_is_refused(changed):
    x, w, _ = arrays()
    made = plan(x, w, **SETTINGS)
    with pytest.raises(SettingError, match=r"another problem: its geometry is Geometry\(.*, and here it is ") as caught:
        conv_transpose2d(x, w, **{**SETTINGS, **changed}, algorithm=made)
    assert "dtype" not in str(caught.value)


def test_a_plan_for_another_problem_says_all_that_is_different():
    made = plan((1, 6, 4, 4), (6, 2, 3, 3))
    other = dataclasses.replace(made.problem, layout="nhwc", activation=Activation("relu"))
    with pytest.raises(SettingError) as caught:
        planning.choose(other, made)
    assert str(caught.value) == (
        "the plan given was made for another problem: its layout is nchw, and here it is nhwc; "
        "its activation is none, and here it is relu; plan this one anew"
    )


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda x, w, b: (x[:, :, 1:], w, b), ("input has shape (1, 6, 4, 4)", "(1, 6, 5, 4)")),
        (lambda x, w, b: (x[0], w, b), ("input has shape (6, 5, 4)", "(1, 6, 5, 4)")),
        (lambda x, w, b: (x, w[..., 1:], b), ("weight has shape (6, 2, 4, 2)", "(6, 2, 4, 3)")),
        (lambda x, w, b: (x, w, b[:2]), ("bias has shape (2,)", "(6,)")),
        (lambda x, w, b: (x.astype(float), w, b), ("input has dtype float64", "float32")),
        (lambda x, w, b: (x, w.astype(float), b), ("weight has dtype float64", "float32")),
        (lambda x, w, b: (x, w, b.astype(float)), ("bias", "float64", "float32")),
        (lambda x, w, b: (x, w, b, np.empty((1, 6, 9, 9), np.float32)), ("out is float32 (1, 6, 9, 9)",)),
        (lambda x, w, b: (x, w, b, np.empty(8)), ("out is float64",)),
    ],
    ids=range(9),
)
def test_a_plan_runs_only_what_it_was_made_for(change, fragments):
    made = plan(*SHAPES, **SETTINGS)
    with pytest.raises(SettingError) as caught:
        made(*change(*arrays()))
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_the_out_of_a_plan_must_not_overlap_an_operand():
    x = np.ones((1, 1, 2, 2))
    with pytest.raises(SettingError, match="overlaps"):
        plan(x, (1, 1, 1, 1), dtype="float64")(x, np.ones((1, 1, 1, 1)), None, x)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "fragment"),
    [
        (((6, 5, 4), SHAPES[1]), {}, SettingError, "(6, 5, 4)"),
        ((SHAPES[0], (6, 2, 4)), {}, SettingError, "(6, 2, 4)"),
        ((SHAPES[0], (5, 2, 4, 3)), {}, SettingError, "6 channels and weight takes 5"),
        ((SHAPES[0], SHAPES[1]), {"stride": 0}, SettingError, "stride is (0, 0)"),
        ((SHAPES[0], SHAPES[1]), {"dtype": "int8"}, NotImplementedError, "int8"),
        ((SHAPES[0], SHAPES[1]), {"algorithm": "fft"}, TypeError, "algorithm is 'fft'"),
        (((1, 6, 5.0, 4), SHAPES[1]), {}, TypeError, "input is 5.0"),
        ((5, SHAPES[1]), {}, TypeError, "input is 5"),
    ],
    ids=range(8),
)
def test_a_plan_refuses_what_the_call_would_refuse(args, kwargs, error, fragment):
    with pytest.raises(error) as caught:
        plan(*args, **kwargs)
    assert fragment in str(caught.value)


def test_arrays_of_different_dtypes_have_no_plan():
    x, w, _ = arrays()
    for operands in ((x, w.astype(float)), (x.astype(float), w)):
        with pytest.raises(SettingError, match="float64"):
            plan(*operands, **SETTINGS)


@pytest.mark.parametrize("dtype", ["float16", "float64", np.complex64, np.dtype("int64")])
def test_a_plan_from_shapes_is_for_float32_unless_it_is_told(dtype):
    assert plan(*SHAPES, **SETTINGS).problem.dtype == "float32"
    assert plan(*SHAPES, **SETTINGS, dtype=dtype).problem.dtype == np.dtype(dtype).name
    x, w, _ = arrays(dtype)
    assert plan(x, w, **SETTINGS).problem.dtype == np.dtype(dtype).name


def test_a_plan_knows_the_layout():
    x, w, _ = arrays()
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert plan(x, w, **SETTINGS).problem.layout == "nchw"
    assert plan(last, w, **SETTINGS).problem.layout == "nhwc"
    assert plan(last, w, **SETTINGS) == plan(*SHAPES, **SETTINGS, channels_last=True)
    assert plan(last, w, **SETTINGS)(x, w).transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    "settings", [{}, SETTINGS, {"padding": "same", "stride": 3}, {"padding": ((-2, 3), (0, 1))}], ids=str
)
def test_multiply_adds_are_those_that_reach_a_kept_output(settings):
    made = plan(SHAPES[0], SHAPES[1] if "groups" in settings else (6, 2, 4, 3), **settings)
    assert made.macs == count_by_hand(made.problem.geometry) > 0


def test_multiply_adds_are_fewer_than_those_of_the_whole_canvas():
    whole = plan((1, 1, 1, 1), (1, 1, 4, 4)).macs
    assert whole == 16
    assert plan((1, 1, 1, 1), (1, 1, 4, 4), padding=1).macs == 4


def test_bytes_are_operands_and_result_once_and_only_live_weights():
    made = plan((1, 2, 3, 3), (2, 5, 4, 4), dtype="float64")
    assert made.bytes == 8 * (2 * 9 + 2 * 5 * 16 + 5 * 36)
    assert plan((1, 1, 1, 1), (1, 1, 4, 4), padding=1).bytes == 4 * (1 + 4 + 4)
    assert plan((1, 1, 1, 1), (1, 1, 1, 1), dtype="float16").bytes == 6


def test_workspace_is_the_number_of_the_chosen_algorithm():
    made = plan(*SHAPES, **SETTINGS)
    assert made.workspace_bytes == algorithms.ALGORITHMS[made.algorithm].workspace_bytes(made.inner) > 0


# Layers of the table, which have several candidates each: a choice that is the minimum of one shows nothing.
SEVERAL = {
    "dcgan-2": ((1, 1024, 4, 4), (1024, 512, 4, 4), {"stride": 2, "padding": 1}),
    "depthwise": ((1, 64, 40, 40), (64, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 64}),
    "k2s2": ((1, 64, 32, 32), (64, 32, 2, 2), {"stride": 2}),
    "1x1 map": ((1, 100, 1, 1), (100, 64, 4, 4), {}),
    "3 channels": ((1, 64, 32, 32), (64, 3, 4, 4), {"stride": 2, "padding": 1}),
}


@pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("layer", SEVERAL)
def test_the_choice_is_the_cheapest_of_several(layer, channels_last):
    *shapes, settings = SEVERAL[layer]
    made = plan(*shapes, **settings, channels_last=channels_last)
    costs = {c.name: c.seconds for c in made.candidates if c.seconds is not None and not c.by_name}
    assert len(costs) >= 3
    assert all(costs[made.algorithm] <= cost for cost in costs.values())
    assert len(set(costs.values())) == len(costs)


def test_the_answers_are_those_of_all_algorithms_in_their_order():
    made = plan(*SHAPES, **SETTINGS)
    assert [candidate.name for candidate in made.candidates] == list(algorithms.ALGORITHMS)
    for candidate in made.candidates:
        assert (candidate.seconds is None) == bool(candidate.refusals)


@pytest.mark.parametrize("operation", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex128", "int64"])
def test_every_algorithm_answers_every_problem_with_sentences_or_a_cost(operation, dtype):
    problem = Problem(operation, plan(*SHAPES, **SETTINGS).problem.geometry, dtype)
    made = planning.choose(problem)
    for name, algorithm in algorithms.ALGORITHMS.items():
        refusals = algorithm.why_not(made.inner)
        assert all(isinstance(sentence, str) and sentence for sentence in refusals)
        if not refusals:
            assert algorithm.cost(made.inner) > 0
            assert algorithm.workspace_bytes(made.inner) >= 0
        (candidate,) = (c for c in made.candidates if c.name == name)
        assert candidate.refusals == tuple(refusals)


def of_sizes(operation, dtype, layout, prepared, n, sizes, crops):
    """A problem of one of a few layers at some sizes."""
    channels, kernels = {
        "forward": ((64, 24, 1), ((4, 2, 1), (5, 2, 1))),
        "grad_input": ((16, 16, 16), ((3, 1, 1), (3, 1, 1))),
        "grad_weight": ((8, 4, 2), ((3, 2, 1), (4, 4, 3))),
    }[operation]
    h, w = (Axis(size, k, s, d, *crop) for size, (k, s, d), crop in zip(sizes, kernels, crops, strict=True))
    prepared = prepared and operation != "grad_weight"
    return Problem(operation, Geometry(n, *channels, h, w), dtype, layout, prepared=prepared)


@pytest.mark.parametrize("prepared", [False, True], ids=["array", "prepared"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("operation", ["forward", "grad_input", "grad_weight"])
def test_what_refuses_a_layer_refuses_it_at_every_size(operation, layout, prepared):
    """So that it is asked once a layer, and the answer kept for all sizes."""
    sizes = ((2, (9, 11), ((0, 0), (1, 1))), (1, (300, 5), ((1, 2), (-3, 0))), (5, (2, 700), ((-9, 0), (0, -9))))
    for dtype in ("float32", "float64", "int64"):
        one, *others = (of_sizes(operation, dtype, layout, prepared, *each) for each in sizes)
        for name, algorithm in algorithms.ALGORITHMS.items():
            if not hasattr(algorithm, "why_never"):
                continue
            never = algorithm.why_never(one)
            for other in others:
                assert other.layer == one.layer
                assert algorithm.why_never(other) == never, name
                assert not never or usable() or algorithm.why_not(other) == never, name


def test_one_that_refuses_the_layer_is_asked_once_for_all_its_sizes(monkeypatch):
    asked = []
    for name, algorithm in algorithms.ALGORITHMS.items():
        if hasattr(algorithm, "why_never"):
            why_never = algorithm.why_never
            monkeypatch.setattr(
                algorithm,
                "why_never",
                lambda problem, name=name, ask=why_never: asked.append(name) or ask(problem),
                raising=False,
            )
    if usable():
        pytest.skip("no kernels can be made here")
    for width in (50, 51, 52):
        plan((1, 21, 9, width), (21, 21, 17, 17), stride=8)
    assert len(asked) == len(set(asked))


def test_what_is_reachable_by_name_only_is_never_chosen():
    for name in ("loops", "matmul"):
        made = plan((1, 1, 1, 1), (1, 1, 1, 1))
        (candidate,) = (c for c in made.candidates if c.name == name)
        if not candidate.by_name:
            # Without kernels NumPy's products are what there is.
            assert name == made.algorithm == "matmul"
            continue
        assert made.algorithm != name
        assert "by name" in " ".join(candidate.by_name)
        assert "by name" in repr(made)
        assert plan((1, 1, 1, 1), (1, 1, 1, 1), algorithm=name).algorithm == name


class Stub:
    """An algorithm that refuses, or is cheaper than all others."""

    def __init__(self, refusals, seconds):
        self.why_not = lambda problem: refusals
        self.why_not_automatic = lambda problem: []
        self.fuses = lambda problem: True
        self.cost = lambda problem: seconds
        self.workspace_bytes = lambda problem: 0


@pytest.fixture
def with_stub(monkeypatch):
    def add(refusals, seconds):
        monkeypatch.setitem(algorithms.ALGORITHMS, "stub", Stub(refusals, seconds))
        forget()

    def forget():
        planning._chosen.cache_clear()
        size_classes._classes.cache_clear()

    yield add
    monkeypatch.undo()
    forget()


def test_a_cheaper_algorithm_is_chosen(with_stub):
    with_stub([], 1e-12)
    assert plan(*SHAPES, **SETTINGS).algorithm == "stub"


def test_what_runs_by_name_alone_is_not_asked_for_its_cost_before_somebody_wants_it(with_stub):
    with_stub([], 1e-12)
    stub, asked = algorithms.ALGORITHMS["stub"], []
    stub.why_not_automatic = lambda problem: ["is a stub"]
    stub.cost = lambda problem: asked.append(problem) or 1e-12
    made = plan(*SHAPES, **SETTINGS)
    if not usable():
        assert made.algorithm != "stub"
        assert not asked
    (candidate,) = (c for c in made.candidates if c.name == "stub")
    assert candidate == candidates.Candidate("stub", 1e-12, (), ("is a stub",))


def test_an_algorithm_that_refuses_is_not_chosen_and_its_sentences_are_shown(with_stub):
    with_stub(["it is too warm", "it is Monday"], 1e-12)
    made = plan(*SHAPES, **SETTINGS)
    assert made.algorithm != "stub"
    assert "it is too warm; it is Monday" in repr(made)
    with pytest.raises(SettingError, match="stub refuses: it is too warm; it is Monday"):
        plan(*SHAPES, **SETTINGS, algorithm="stub")


def test_a_printed_plan_shows_sizes_counts_and_every_candidate():
    made = plan(*SHAPES, **SETTINGS)
    lines = repr(made).splitlines()
    assert lines[0] == f"Plan: forward by {made.algorithm} (float32, nchw)"
    for text in (str(SHAPES[0]), str(SHAPES[1]), str(made.problem.geometry.output_shape), f"{made.macs:,}"):
        assert text in repr(made)
    for candidate in made.candidates:
        (line,) = (line for line in lines if line.strip("* ").split()[:1] == [candidate.name])
        assert line.startswith("*") == (candidate.name == made.algorithm)


def test_a_printed_plan_shows_what_will_be_executed():
    made = plan(*SHAPES, **SETTINGS)
    text = repr(made)
    for shown in (f"{made.executed_macs:,} executed", made.isa, f"packed weight {made.packed_bytes:,}", *made.kernels):
        assert shown in text
    assert made.executed_macs >= made.macs


@pytest.mark.parametrize(
    ("c_in", "k", "s", "groups", "is_ahead"),
    [
        (256, 2, 2, 1, True),
        (40, 1, 1, 1, True),
        (512, 2, 2, 1, True),
        (513, 2, 2, 1, False),
        (256, 3, 2, 1, False),
        (256, 2, 2, 2, False),
    ],
)
@pytest.mark.parametrize("name", ["gemm", "gemm_fused_phases"])
def test_a_product_looks_ahead_under_one_tap_of_short_pixels(name, c_in, k, s, groups, is_ahead):
    if name == "gemm_fused_phases" and (k % s or s == 1 or groups > 1):
        pytest.skip("it refuses")
    made = plan(
        (1, c_in, 8, 8), (c_in, 64 // groups, k, k), stride=s, groups=groups, channels_last=True, algorithm=name
    )
    assert all(("_ahead" in each) == is_ahead for each in made.kernels if each.startswith("gemm_"))
    assert any(each.startswith("gemm_") for each in made.kernels)


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
@pytest.mark.parametrize("operation", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_every_algorithm_tells_its_details(name, operation, dtype):
    problem = Problem(operation, plan(*SHAPES, **SETTINGS).problem.geometry, dtype)
    if algorithms.ALGORITHMS[name].why_not(planning.choose(problem).inner):
        pytest.skip("it refuses")
    made = planning.choose(problem, name)
    assert made.kernels
    assert made.executed_macs >= made.macs
    assert made.threads >= 0
    assert made.packed_bytes >= 0


def test_an_algorithm_without_details_executes_what_is_useful(with_stub):
    with_stub([], 1e-12)
    made = plan(*SHAPES, **SETTINGS)
    assert (made.executed_macs, made.kernels) == (made.macs, ())
    assert "kernels none" in repr(made)


def test_making_a_plan_asks_for_no_details(with_stub, monkeypatch):
    with_stub([], 1e-12)
    asked = []
    monkeypatch.setattr(algorithms.ALGORITHMS["stub"], "details", asked.append, raising=False)
    plan(*SHAPES, **SETTINGS)
    assert asked == []


def test_plans_are_values():
    first, again = plan(*SHAPES, **SETTINGS), plan(*SHAPES, **SETTINGS)
    assert isinstance(first, Plan)
    assert first == again
    assert hash(first) == hash(again)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.algorithm = "loops"


def test_a_refused_plan_names_both_problems_and_the_way_out():
    made = plan(*SHAPES, **SETTINGS)
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(np.ones((1, 6, 9, 9), np.float32), np.ones(SHAPES[1], np.float32), **SETTINGS, algorithm=made)
    asked = dataclasses.replace(made.problem.geometry, h=Axis(9, 4, 2, 1, 1, 1), w=Axis(9, 3, 2, 2, 1, 0))
    for geometry in (made.problem.geometry, asked):
        assert str(geometry) in str(caught.value)
    assert "anew" in str(caught.value)


def test_the_cache_of_choices_forgets():
    planning._chosen.cache_clear()
    for width in range(1, 600):
        plan((1, 1, 1, width), (1, 1, 1, 1))
    assert planning._chosen.cache_info().currsize <= 512


def test_a_problem_is_the_same_in_another_process():
    """Hashes of words differ from process to process, so what was pickled in one is made anew in the other."""
    problem = plan(*SHAPES, **SETTINGS).problem
    script = """
import pickle, sys
problem = pickle.load(sys.stdin.buffer)
again = type(problem)(*(getattr(problem, name) for name in sys.argv[1:]))
assert problem == again and hash(problem) == hash(again) and problem.row is again.row and problem.bytes == again.bytes
"""
    names = [each.name for each in dataclasses.fields(problem) if each.init]
    subprocess.run([sys.executable, "-c", script, *names], input=pickle.dumps(problem), check=True, timeout=60)
    assert copy.deepcopy(problem) == problem


def test_a_choice_is_made_once_however_it_is_asked_for():
    problem = plan(*SHAPES, **SETTINGS).problem
    planning._chosen.cache_clear()
    assert planning.choose(problem) is planning.choose(problem, "auto") is planning.choose(problem, algorithm="auto")
    assert planning._chosen.cache_info().misses == 1


def test_a_dtype_is_said_as_in_the_layer():
    with pytest.raises(TypeError, match=r"dtype is 'foo'.*float16, bfloat16, float32.*int64"):
        plan((1, 1, 2, 2), (1, 1, 2, 2), dtype="foo")
    with pytest.raises(NotImplementedError, match="the plan has dtype int8"):
        plan((1, 1, 2, 2), (1, 1, 2, 2), dtype="int8")


def test_a_bias_of_another_dtype_is_compared_with_the_input_by_name():
    made = plan((1, 1, 2, 2), (1, 1, 2, 2))
    x = np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(SettingError, match=r"^input has dtype float32 and bias float64"):
        made(x, x, np.zeros(1))


def test_a_problem_knows_the_bytes_of_its_dtype():
    sizes = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "int64": 8}
    geometry = plan((1, 1, 2, 2), (1, 1, 2, 2)).problem.geometry
    assert {name: Problem("forward", geometry, name).itemsize for name in DTYPES} == sizes


def test_a_problem_is_of_an_operation_that_there_is():
    """Nothing else may be taken for one of them in silence."""
    with pytest.raises(KeyError, match="sideways"):
        Problem("sideways", Geometry(1, 1, 1, 1, Axis(2, 2, 2), Axis(2, 2, 2)), "float32")


@pytest.mark.parametrize("algorithm", ["auto", *algorithms.ALGORITHMS])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_batch_of_0_is_planned_or_refused_as_any_other(operation, algorithm):
    """Costs are made of amounts, none of which anything is divided by."""
    for channels, kernel, stride in itertools.product((1, 32), (1, 4, 5), (1, 2)):
        for dtype, layout, prepared in itertools.product(("float32", "float64"), LAYOUTS, (False, True)):
            axis = Axis(4, kernel, stride)
            geometry = Geometry(0, 32, 32, 32 // channels, axis, axis)
            # The name of dense weights of one tap is that of those that lie channels-last as well.
            weight = {} if kernel == 1 or operation == "grad_weight" else {"b_layout": WEIGHT_CHANNELS_LAST}
            for lies in ({}, weight):
                forms = {"prepared": prepared} if operation == "forward" else {}
                problem = Problem(operation, geometry, dtype, layout, **lies, **forms)
                with contextlib.suppress(SettingError):
                    str(planning.choose(problem, algorithm))
