"""Weights kept in halves: the bits of the rounded weight by every way, what was lost, and what is refused."""

import copy
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cases import LAYOUTS, Case
from compare import assert_same_bits, poison
from fresh import fresh
from strided import ACTIVATIONS
from ways import KERNELS, activation

import upconv
from upconv import SettingError, generated, halves, planning
from upconv.arrays import empty
from upconv.measuring import random_operands
from upconv.problem import Problem
from upconv.runtime.kernel import usable
from upconv.schedule.placed_problem import PlacedProblem
from upconv.storage import STORAGES, Error

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
CASES = (
    Case("dense", 2, 5, 4, 6, 19, (3, 3), (2, 2), (1, 1)),
    Case("fused", 1, 9, 5, 7, 2, (4, 4), (2, 2), (1, 1)),
    Case("rows", 1, 4, 3, 11, 3, (3, 3), (1, 1), (1, 1)),
    Case("dilated", 1, 4, 3, 5, 5, (3, 2), (2, 1), (1, 1), d=(2, 3)),
    Case("grouped", 1, 8, 3, 9, 70, (3, 4), (2, 2), (1, 1), groups=2),
    Case("depthwise", 2, 6, 5, 9, 6, (4, 4), (2, 2), (1, 1), groups=6),
    Case("weight-streaming", 2, 31, 2, 3, 37, (3, 3), (2, 2), (1, 0)),
    # More than a chunk of channels, blocks of several widths, dead taps.
    Case("streaming", 1, 130, 1, 2, 100, (4, 4), (2, 2), (1, 1)),
    Case("winograd", 1, 64, 8, 8, 64, (4, 4), (2, 2), (1, 1)),
)
# Bounds of what is lost, relative to a number that is not subnormal as a half.
LOST = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def prepared(case, w, storage=None):
    return upconv.prepare(w, case.s, groups=case.groups, dilation=case.d, storage=storage)


def rounded(w, storage):
    """The weight that the halves stand for, by NumPy."""
    bits, wide = np.empty(w.shape, np.uint16), np.empty(w.shape, np.float32)
    halves._narrow_by_numpy(w, bits, storage)
    halves._widen_by_numpy(bits, wide, storage)
    return wide


def solved(problem, way, x, w, bias):
    with poison():
        out = empty(problem.result_shape, x.dtype, problem.layout)
        planning.solve(problem, way, x, w, bias, out)
    return out


def check(case, storage, layout, after="none"):
    """Every way that takes it, against itself on the rounded weight; yields their names."""
    x, w, b, _ = case.arrays("float32", layout)
    kept, plain = prepared(case, w, storage), prepared(case, rounded(w, storage))
    problem = Problem("forward", case.geometry(), "float32", layout, prepared=True, activation=activation(after))
    for candidate in planning.choose(replace(problem, storage=storage)).candidates:
        if candidate.seconds is not None and candidate.name != "loops":
            got = solved(problem, candidate.name, x, kept, b)
            assert_same_bits(got, solved(problem, candidate.name, x, plain, b))
            yield candidate.name


@pytest.mark.parametrize("storage", STORAGES)
def test_the_bits_are_those_of_the_rounded_weight(storage, isa):
    ran = Counter(way for case in CASES for layout in LAYOUTS for way in check(case, storage, layout))
    missing = {*KERNELS, "winograd", "matmul"} - set(ran) - {"gemm_planes", "gemm_tap_rows"}
    assert {way for way in missing if "_gradient" not in way} == set()


def test_so_they_are_behind_an_activation(isa):
    for case, after in zip(CASES[-3:], ACTIVATIONS, strict=True):
        assert "tap_streaming" in set(check(case, "bfloat16", "nchw", after))


@pytest.mark.parametrize("storage", STORAGES)
def test_threads_give_the_same_bits(storage):
    case, threads, made = CASES[-2], upconv.get_num_threads(), {}
    x, w, b, _ = case.arrays("float32")
    try:
        for count in (1, 2, 3, 7):
            upconv.set_num_threads(count)
            for way in ("tap_streaming", "weight_streaming", "gemm"):
                kept = prepared(case, w, storage)
                problem = Problem("forward", case.geometry(), "float32", prepared=True)
                made.setdefault(way, set()).add(solved(problem, way, x, kept, b).tobytes())
    finally:
        upconv.set_num_threads(threads)
    assert {way: len(each) for way, each in made.items()} == dict.fromkeys(made, 1)


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_not_finite_stays_so(storage):
    case = CASES[-2]
    x, w, b, _ = case.arrays("float32")
    w[3, 5, 1, 2], w[4, 6, 0, 0], w[5, 7] = np.nan, np.inf, -np.inf
    x = np.abs(x) + 1
    for way in ("tap_streaming", "weight_streaming", "gemm", "direct_rows"):
        problem = Problem("forward", case.geometry(), "float32", prepared=True)
        got = solved(problem, way, x, prepared(case, w, storage), b)
        np.testing.assert_array_equal(got, solved(problem, way, x, prepared(case, rounded(w, storage)), b))


def test_nearly_half_of_the_bytes_are_kept_whatever_form_is_asked_for():
    case = CASES[-2]
    x, w, b, _ = case.arrays("float32")
    sizes = {}
    for storage in (None, *STORAGES):
        made = prepared(case, w, storage)
        assert made.nbytes == w.nbytes // (2 if storage else 1)
        for way in ("tap_streaming", "gemm"):
            upconv.conv_transpose2d(x, made, b, stride=case.s, padding=case.p, algorithm=way)
        sizes[storage] = made.nbytes
    assert all(0.5 <= sizes[storage] / sizes[None] < 0.51 for storage in STORAGES)


@pytest.mark.parametrize("storage", STORAGES)
def test_what_was_lost_is_said(storage):
    w = np.random.default_rng(0).standard_normal((16, 24, 3, 3), np.float32)
    made = upconv.prepare(w, 2, storage=storage)
    wide = made.array.astype(np.float64)
    assert_same_bits(made.array, rounded(w, storage))
    assert made.error.largest == pytest.approx(np.abs(wide / w - 1).max())
    assert made.error.rms == pytest.approx(np.linalg.norm(wide - w) / np.linalg.norm(w))
    # Subnormal halves lose more of themselves, and there are few of them in such a weight.
    assert LOST[storage] / 2 < np.quantile(np.abs(wide / w - 1), 0.9999) <= LOST[storage]
    assert LOST[storage] / 4 < made.error.rms < LOST[storage] / 2
    assert f"float32 kept in {storage}, {made.error}" in repr(made)
    assert (made.dtype, made.storage) == (np.float32, storage)
    assert upconv.prepare(w * 0, storage=storage).error == Error(0, 0)
    assert upconv.prepare(np.full((1, 1, 1, 1), 2e37, np.float32), storage="bfloat16").error.rms < 2**-8


def test_a_number_that_is_too_large_is_refused_and_named():
    w = np.ones((2, 3, 2, 2), np.float32)
    w[1, 2, 0, 1] = -70000
    with pytest.raises(SettingError, match=r"holds -70000 at \(1, 2, 0, 1\), which float16 cannot .*'bfloat16' can"):
        upconv.prepare(w, storage="float16")
    w[0, 0, 1, 1] = 3.4e38
    with pytest.raises(SettingError, match=r"holds 3.4e\+38 at \(0, 0, 1, 1\), which bfloat16 cannot"):
        upconv.prepare(w, storage="bfloat16")
    w[w > 1] = np.inf
    w[1, 2] = 65519
    assert np.isinf(upconv.prepare(w, storage="float16").array).sum() == 1


@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64", "int64"])
def test_only_float32_is_kept_so(dtype):
    with pytest.raises(SettingError, match=f"for a weight of {dtype}; it is for float32 alone"):
        upconv.prepare(np.ones((1, 1, 2, 2), dtype), storage="bfloat16")
    with pytest.raises(SettingError, match="it must be 'float16' or 'bfloat16'"):
        upconv.prepare(np.ones((1, 1, 2, 2), np.float32), storage="int8")


@pytest.mark.parametrize("storage", STORAGES)
def test_pickles_and_copies_keep_it(storage):
    case = CASES[0]
    x, w, b, _ = case.arrays("float32")
    made = prepared(case, w, storage)
    want = upconv.conv_transpose2d(x, made, b, stride=case.s)
    assert copy.deepcopy(made) is made
    again = pickle.loads(pickle.dumps(made))
    assert len(pickle.dumps(made)) < w.nbytes / 2 + 2000
    assert (again.storage, again.error, again.nbytes) == (storage, made.error, w.nbytes / 2)
    assert_same_bits(upconv.conv_transpose2d(x, again, b, stride=case.s), want)


@pytest.mark.parametrize("storage", STORAGES)
def test_every_door_takes_it(storage):
    case = CASES[0]
    x, w, b, _ = case.arrays("float32")
    settings = {"stride": case.s, "padding": case.p}
    made, plain = prepared(case, w, storage), prepared(case, rounded(w, storage))
    plan = upconv.plan(x, made, **settings)
    assert plan.problem.storage == storage
    assert f"weight prepared, kept in {storage}" in str(plan)
    for _ in range(3):
        # The second call may be one that is remembered.
        assert_same_bits(upconv.conv_transpose2d(x, made, b, **settings), plan(x, made, b))
    folded = {**settings, "padding_mode": "circular", "algorithm": "gemm"}
    got, want = (upconv.conv_transpose2d(x, each, b, **folded) for each in (made, plain))
    assert_same_bits(got, want)
    out = np.empty_like(want)
    assert upconv.conv_transpose2d(x, made, b, out=out, algorithm="gemm", **settings) is out
    last = np.ascontiguousarray(w.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y = upconv.conv_transpose2d(x, prepared(case, last, storage), b, **settings)
    assert y.strides[1] == y.itemsize
    np.testing.assert_allclose(y, out, rtol=1e-4, atol=1e-4)


def test_a_plan_for_one_storage_refuses_another():
    case = CASES[0]
    x, w, *_ = case.arrays("float32")
    settings = {"stride": case.s, "padding": case.p}
    kept, plain = prepared(case, w, "float16"), prepared(case, w)
    with pytest.raises(SettingError, match="kept in float16, and this one is kept in float32; plan with it"):
        upconv.plan(x, kept, **settings)(x, plain)
    with pytest.raises(SettingError, match="kept in float32, and this one is kept in float16"):
        upconv.plan(x, plain, **settings)(x, kept)
    # A plan for arrays takes any.
    upconv.plan(x, w, **settings)(x, kept)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_of_one_and_three_dimensions(dimensions):
    rng, transpose = np.random.default_rng(0), getattr(upconv, f"conv_transpose{dimensions}d")
    x = rng.standard_normal((1, 20, *(3,) * dimensions), np.float32)
    w = rng.standard_normal((20, 18, *(3,) * dimensions), np.float32)
    for storage in STORAGES:
        kept = upconv.prepare(w, 2, storage=storage)
        want = transpose(x, rounded(w, storage), stride=2)
        np.testing.assert_allclose(transpose(x, kept, stride=2), want, rtol=1e-4, atol=1e-4)
        assert storage in repr(kept)


def test_a_layer_reads_its_weight_so():
    layer = upconv.ConvTranspose2d(32, 16, 4, stride=2, padding=1, rng=0, storage="bfloat16")
    plain = upconv.ConvTranspose2d(32, 16, 4, stride=2, padding=1, rng=0)
    x = np.random.default_rng(0).standard_normal((1, 32, 4, 4), np.float32)
    assert "storage=bfloat16" in repr(layer)
    assert layer.prepared.storage == layer.storage == "bfloat16"
    assert_same_bits(layer.weight, plain.weight)
    assert 0 < np.abs(layer(x) - plain(x)).max() < 0.05
    again = pickle.loads(pickle.dumps(layer))
    assert again.storage == "bfloat16"
    assert_same_bits(again(x), layer(x))
    plain.weight = layer.prepared.array
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    narrow = upconv.ConvTranspose2d(32, 16, 4, rng=0, storage="float16")
    before = narrow.weight
    with pytest.raises(SettingError, match="which float16 cannot"):
        narrow.weight = before * 1e8
    with pytest.raises(SettingError, match="which float16 cannot"):
        narrow.load_state_dict({"weight": before * 1e8, "bias": narrow.bias})
    assert_same_bits(narrow.weight, before)
    with pytest.raises(SettingError, match="float32 alone"):
        upconv.ConvTranspose2d(2, 2, 2, dtype="float64", storage="float16")


def test_the_prediction_knows_both():
    """A streamed weight of halves takes less, a form that is widened first takes more."""
    g = Case("large", 1, 512, 1, 1, 512, (4, 4), (2, 2), (1, 1)).geometry()
    plain = Problem("forward", g, "float32", prepared=True)
    narrow = replace(plain, storage="bfloat16")
    assert narrow.bytes == plain.bytes - 2 * g.live_weights
    seconds = [{c.name: c.seconds for c in planning.choose(each).candidates} for each in (plain, narrow)]
    assert seconds[1]["tap_streaming"] < seconds[0]["tap_streaming"]
    assert seconds[1]["gemm"] > seconds[0]["gemm"]
    assert random_operands(narrow)[1].storage == "bfloat16"
    for problem in (plain, narrow):
        made = planning.choose(problem, "gemm")
        assert made.workspace_bytes > (4 * 512 * 512 * 16 if problem.storage else 0)


def nearer(placed, nbytes):
    """Taps that lie too near to one another, inside the form."""
    return nbytes * placed.problem.weight_itemsize // placed.size // 2


MUTANTS = {
    "taps lie elsewhere": (PlacedProblem, "stored", nearer),
    "kernels read the other halves": (
        PlacedProblem,
        "storage",
        property(lambda placed: ("f16",) if placed.problem.storage else ()),
    ),
    "forms are widened as the other halves": (generated, "widen", lambda a, b, _: halves.widen(a, b, "float16")),
    "forms are narrowed to the other halves": (generated, "narrow", lambda a, b, _: halves.narrow(a, b, "float16")),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_is_caught(mutant, monkeypatch):
    with fresh():
        monkeypatch.setattr(*MUTANTS[mutant])
        with pytest.raises(AssertionError):
            list(check(CASES[-2], "bfloat16", "nchw"))
