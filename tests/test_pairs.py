"""bfloat16 multiplied in pairs of channels, where the machine does: right, and the same on any threads."""

import itertools
from collections import Counter
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from cases import Case
from compare import assert_close, assert_same_nonfinite, expected
from fresh import fresh

import upconv
from upconv import planning, rewrites
from upconv.algorithms import ALGORITHMS
from upconv.algorithms import gemm as gemm_tasks
from upconv.codegen import llvm
from upconv.codegen.isa import ROWS
from upconv.geometry import Axis, Geometry
from upconv.kernels.gemm import PAIRS
from upconv.layouts import CHANNELS_SLICED, STRIDED, WEIGHT_CHANNELS_LAST
from upconv.problem import Activation, Problem
from upconv.runtime.kernel import isa
from upconv.schedule import bands, pixel_products
from upconv.schedule.placed_problem import PlacedProblem

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = np.dtype(ml_dtypes.bfloat16)
CASES = (
    Case("tiles", 2, 12, 9, 19, 20, (4, 4), (2, 2), (1, 1)),
    Case("one-tap", 2, 34, 6, 5, 16, (2, 2), (2, 2)),
    Case("stride-1", 1, 6, 9, 21, 8, (3, 3), (1, 1), (1, 1)),
    Case("one", 1, 130, 9, 7, 70, (1, 1), (1, 1)),
    Case("groups", 2, 8, 6, 9, 6, (3, 4), (2, 2), (1, 1), groups=2),
    Case("holes", 2, 4, 6, 9, 6, (2, 1), (3, 2)),
    Case("column", 2, 8, 9, 1, 6, (3, 1), (2, 1), (1, 0)),
    Case("many", 1, 600, 3, 5, 40, (2, 2), (2, 2)),
    Case("cut", 1, 2200, 3, 5, 20, (2, 2), (2, 2)),
    Case("cut-taps", 1, 1040, 3, 5, 20, (4, 4), (2, 2), (1, 1)),
)
# How a line lies, and a column.
LYING = (("nchw", "nchw"), ("nhwc", "nhwc"), (CHANNELS_SLICED, CHANNELS_SLICED), (STRIDED, STRIDED))
WAYS = [name for name, each in ALGORITHMS.items() if getattr(each, "multiplies_pairs", False)]

needs_pairs = pytest.mark.skipif(
    not (llvm.host()[0] == "x86_64" and ROWS["avx512"].pairs in llvm.host()[1] and isa().multiplies_pairs),
    reason="this machine does not multiply pairs of bfloat16",
)


def last(array, gap=0):
    """A copy of a 4-D array that lies channels-last, with a gap behind each pixel's."""
    n, c, h, w = array.shape
    made = np.full((n, h, w, c + gap), 7, array.dtype)[..., :c].transpose(0, 3, 1, 2)
    made[...] = array
    return made


def crop_of(array):
    """A copy that lies channels-first in a map with a row above it and, of more than a column, columns beside it."""
    n, c, h, w = array.shape
    made = np.full((n, c, h + 1, w + 3 * (w > 1)), 7, array.dtype)[:, :, 1:, :w]
    made[...] = array
    return made


def arrays_of(case):
    x, w, b, _ = (array.astype(BF16) for array in case.arrays("float32"))
    return last(x), w, b


def check(case, way, x, w, b, after="none"):
    """A way by pairs beside the definition, for a weight in either order and prepared; the results."""
    problem = Problem("forward", case.geometry(), "bfloat16", "nhwc", activation=Activation(after))
    sliced = replace(problem, a_layout=CHANNELS_SLICED, b_layout=WEIGHT_CHANNELS_LAST, layout=CHANNELS_SLICED)
    first = replace(problem, a_layout="nchw", layout="nchw")
    settings = {"stride": case.s, "dilation": case.d, "groups": case.groups}
    made = []
    for each, source, weight, gap in (
        (problem, x, w, 0),
        (sliced, last(x, 3), w.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), 2),
        (replace(problem, prepared=True), x, upconv.prepare(w, **settings), 0),
        (first, crop_of(x), w, 0),
        (replace(first, layout="nhwc", prepared=True), x.copy(), upconv.prepare(w, **settings), 0),
        (replace(first, a_layout="nhwc"), x, w, 0),
        (replace(first, a_layout=STRIDED), x.T.copy().T, w, 0),
    ):
        (*_, step) = rewrites.steps_by_pairs(each)
        assert step.after.pairs
        if ALGORITHMS[way].why_not(step.after):
            assert each.layout == CHANNELS_SLICED
            continue
        plan = planning.Plan(each, way, rewrites.steps_by_pairs(each))
        lies = (lambda array, _: crop_of(array)) if each.layout == "nchw" else last
        made.append(lies(np.full(each.result_shape, 9, BF16), gap))
        around = made[-1].base.copy()
        plan.execute(source, weight, b, made[-1])
        if each.layout == "nchw" and each.result_shape[3] > 1:
            assert (made[-1].base[..., -3:] == around[..., -3:]).all(), "written beside the result"
        if gap:
            assert (made[-1].base[..., -gap:] == around[..., -gap:]).all(), "written beside the result"
    want, bound = expected(case.geometry(), "forward", x, w, b)
    if after == "relu":
        want = np.maximum(want, 0)
    for each in made:
        assert_close(each, want, bound, "bfloat16")
        assert_same_nonfinite(each, want)
        assert np.array_equal(each.view(np.uint16), made[0].view(np.uint16))
    return made[0]


def ways_for(case):
    problem = Problem("forward", case.geometry(), "bfloat16", "nhwc")
    inner = rewrites.steps_by_pairs(problem)[-1].after
    return [name for name in WAYS if inner.pairs and not ALGORITHMS[name].why_not(inner)]


@pytest.fixture
def small(monkeypatch):
    """Several bands in small maps."""
    monkeypatch.setattr(bands, "BAND_BYTES", 1 << 14)
    with fresh():
        yield


@needs_pairs
def test_every_way_gives_what_the_definition_says(small):
    ran = Counter()
    for case, after in itertools.product(CASES, ("none", "relu")):
        for way in ways_for(case):
            check(case, way, *arrays_of(case), after)
            ran[way] += 1
    assert min(ran[way] for way in WAYS) > 3, ran


@needs_pairs
def test_not_finite_numbers_reach_what_they_reach(small):
    for case in CASES:
        x, w, b = arrays_of(case)
        x[0, 1, 2, 0], x[-1, 0, -1, 0], w[0, 0, 0, 0], w[-1, -1, 0, 0] = np.inf, np.nan, 0, -np.inf
        for way in ways_for(case):
            check(case, way, x, w, b)


@needs_pairs
def test_groups_of_a_weight_that_goes_block_by_block(small, monkeypatch):
    """Channels-first, the numbers of a pair are channels of their own: twice as many lie from group to group."""
    monkeypatch.setattr(gemm_tasks, "WEIGHTY_BYTES", 1 << 10)
    monkeypatch.setattr(gemm_tasks, "_by_blocks", Mock(wraps=gemm_tasks._by_blocks))
    case = Case("blocks", 2, 24, 3, 4, 200, (4, 4), (2, 2), (1, 1), groups=2)
    with fresh():
        check(case, "gemm", *arrays_of(case))
    assert gemm_tasks._by_blocks.called


@needs_pairs
def test_a_sum_is_cut_where_it_has_pairs_enough():
    """What comes after a large product in the same part is lost beside it, and no more than that."""
    part = 1024
    x, w = (np.ones(shape, BF16) for shape in ((1, 6 * part, 5, 5), (6 * part, 16, 1, 1)))
    # The first part has only what is lost, the last one takes it away from what it adds up.
    x[0, 0], x[0, -1] = 2.0**26, -(2.0**26)
    for map_ in (x, last(x)):
        made = planning.plan(map_, w, algorithm="gemm")
        assert made.inner.pairs
        got = made(map_, w).astype(np.float32)
        assert np.abs(got - 4 * part).max() <= part // 16


@needs_pairs
def test_threads_give_the_same_bits(small):
    threads, made = upconv.get_num_threads(), {}
    try:
        for count in (1, 2, 3, 7):
            upconv.set_num_threads(count)
            for case, way in itertools.product(CASES[:2], WAYS):
                x, w, b = arrays_of(case)
                settings = {"stride": case.s, "padding": case.p, "algorithm": way}
                made.setdefault((case.name, way), set()).add(upconv.conv_transpose2d(x, w, b, **settings).tobytes())
    finally:
        upconv.set_num_threads(threads)
    assert {key: len(each) for key, each in made.items()} == dict.fromkeys(made, 1)


@needs_pairs
def test_what_is_subnormal_counts_as_zero():
    """Numbers, and sums of products, below 2**-126: torch's channels-last bfloat16 has the same instruction."""
    x = last(np.full((1, 64, 40, 40), 2.0**-130, np.float32).astype(BF16))
    w = np.ones((64, 64, 2, 2), BF16)
    plan = planning.plan(x, w, stride=2)
    assert plan.inner.pairs
    assert (plan(x, w) == 0).all()
    x[...] = 2.0**-70
    w[...] = 2.0**-70
    assert (plan(x, w) == 0).all()
    x[...] = 2.0**-50
    assert (plan(x, w).astype(np.float32) == 2.0**-114).all()


@needs_pairs
def test_pairs_are_taken_where_they_can_be_and_are_faster(monkeypatch):
    problem = Problem("forward", CASES[1].geometry(), "bfloat16", "nhwc")
    assert rewrites.steps_by_pairs(problem)[0].after.geometry.c_in == 17
    others = [
        replace(problem, geometry=replace(problem.geometry, c_in=33)),
        replace(problem, operation="grad_input"),
        replace(problem, dtype="float16"),
        replace(problem, activation=Activation("tanh")),
    ]
    for each in others:
        assert rewrites.steps_by_pairs(each) == rewrites.steps(each)
    assert [step.after.pairs for step in rewrites.steps_by_pairs(replace(problem, a_layout=STRIDED))] == [False, True]
    large = Problem("forward", Case("large", 1, 256, 80, 80, 256, (2, 2), (2, 2)).geometry(), "bfloat16", "nhwc")
    made = planning.choose(large)
    assert made.inner.pairs
    assert any(f"_{PAIRS}_" in name for name in made.kernels)
    assert made.executed_macs >= made.macs
    wide = planning.choose(replace(large, dtype="float32"))
    assert min(c.seconds for c in made.candidates if c.seconds) < min(c.seconds for c in wide.candidates if c.seconds)
    with monkeypatch.context() as patch:
        patch.setenv("UPCONV_ISA", "avx2")
        with fresh():
            assert not planning.choose(large).inner.pairs


@needs_pairs
def test_others_refuse_pairs():
    inner = rewrites.steps_by_pairs(Problem("forward", CASES[0].geometry(), "bfloat16", "nhwc"))[0].after
    for name, algorithm in ALGORITHMS.items():
        if hasattr(algorithm, "multiplies_pairs") and name not in WAYS:
            assert algorithm.why_not(inner) == ["multiplies no pairs of bfloat16"]


@needs_pairs
def test_a_layer_of_float32_with_half_the_channels_has_its_own_kernels():
    """Both pack their weights into the same form."""
    case = CASES[1]
    check(case, "gemm", *arrays_of(case))
    half = Case("half", 2, 17, 6, 5, 16, (2, 2), (2, 2))
    x, w, b, _ = half.arrays("float32")
    made = upconv.conv_transpose2d(last(x), w, b, stride=2, algorithm="gemm")
    assert_close(made, *expected(half.geometry(), "forward", x, w, b), "float32")


@needs_pairs
def test_lines_are_multiplied_in_pairs_whatever_their_length_and_however_they_lie():
    """So chunks of a stream have the bits of the whole; those of an odd number of channels are none of pairs at all."""
    found = set()
    for c_in, length, layout, packed in itertools.product((8, 130), (1, 7, 4000), LYING, (False, True)):
        geometry = Geometry(1, c_in, 6, 1, Axis(1, 1), Axis(length, 4, 2))
        for g, a in ((geometry, layout[0]), (replace(geometry, h=geometry.w, w=geometry.h), layout[1])):
            problem = Problem("forward", g, "bfloat16", a_layout=a, prepared=packed)
            assert planning.choose(problem, "gemm").inner.pairs
            assert rewrites.adds_by_pairs(problem)
            odd = replace(problem, geometry=replace(g, c_in=c_in + 1))
            assert not planning.choose(odd, "gemm").inner.pairs
            found.add(planning.choose(problem).inner.pairs)
    assert True in found
    assert not rewrites.adds_by_pairs(Problem("forward", CASES[0].geometry(), "bfloat16"))


KEY = pixel_products.kernel_key
MUTANTS = {
    "the first number of a pair taken twice": (PlacedProblem, "w_apart", 0),
    "numbers of a weight that follow one another taken for pairs": (
        PlacedProblem, "w_apart", property(lambda self: self.w_dst),
    ),
    "float32 taken for pairs": (pixel_products, "kernel_key", lambda placed: KEY(placed)[2:]),
}  # fmt: skip


@needs_pairs
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_is_caught(mutant, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(*MUTANTS[mutant])
        with fresh(), pytest.raises(AssertionError):
            test_a_layer_of_float32_with_half_the_channels_has_its_own_kernels()
