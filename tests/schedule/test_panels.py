"""However the weight lies, the answer has the same bits: packed from planes, from pixels, or from a copy."""

import itertools

import numpy as np
import pytest
from cases import LAYOUTS, Case
from compare import assert_same_bits, computed, operands
from fresh import fresh

from upconv.algorithms import phase_gemm
from upconv.problem import Problem
from upconv.runtime.kernel import usable
from upconv.schedule import columns, packing

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
CASES = (
    Case("dense", 1, 21, 5, 4, 75, (3, 3), (2, 2), (1, 1)),
    Case("one-tap", 1, 20, 6, 7, 40, (1, 1)),
    Case("upright", 1, 20, 6, 1, 18, (3, 1), (2, 1)),
    Case("grouped", 1, 26, 4, 3, 34, (3, 2), (1, 1), groups=2),
    Case("merged", 1, 24, 6, 7, 20, (4, 4), (2, 2), (1, 1)),
    Case("merged-one-channel", 1, 24, 3, 3, 1, (4, 32), (2, 16), (1, 0)),
    Case("merged-in-blocks", 1, 5, 3, 4, 20, (2, 16), (2, 8)),
    # Few channels of many phases: merged whatever the vectors' length.
    Case("merged-everywhere", 2, 5, 3, 4, 3, (2, 16), (1, 8), ((0, 1), (1, 5))),
    Case("planes", 1, 6, 9, 19, 11, (3, 3), (1, 1), (1, 1)),
    Case("planes-of-two", 2, 5, 9, 19, 2, (4, 4), (2, 2), (1, 1)),
    Case("planes-5", 1, 6, 3, 19, 4, (3, 6), (1, 5), (1, 1)),
    Case("planes-grouped", 1, 8, 5, 18, 10, (3, 4), (2, 2), (1, 1), groups=2),
    Case("depthwise", 2, 21, 9, 5, 21, (3, 3), (2, 5), (1, 1), groups=21),
    Case("strips", 1, 6, 5, 18, 6, (3, 4), (2, 2), (1, 1), groups=6),
    Case("columns", 2, 31, 2, 3, 69, (3, 3), (2, 2), (1, 0)),
    Case("columns-upright", 1, 31, 2, 3, 69, (3, 1), (2, 2), (1, 0)),
)
WAYS = [(packing.Panels, way) for way in ("_channels", "_turns", "_copies", "_merging", "_turned")]
WAYS += [(columns.Columns, way) for way in ("_by_channels", "_by_taps")]
ORDERS = {
    "by channel": (0, 2, 3, 1),
    "by tap": (2, 3, 0, 1),
    "other channels first": (1, 0, 2, 3),
    "taps turned": (0, 1, 3, 2),
}


def lying(w):
    """The weight in other memory, by name."""
    for name, order in ORDERS.items():
        yield name, np.ascontiguousarray(w.transpose(order)).transpose(np.argsort(order))
    yield "reversed", np.ascontiguousarray(w[::-1, :, :, ::-1])[::-1, :, :, ::-1]
    wide = np.full((*w.shape[:3], 2 * w.shape[3]), np.nan, w.dtype)
    wide[..., ::2] = w
    yield "every other", wide[..., ::2]


@pytest.fixture
def small_is_large(isa, monkeypatch):
    """On one instruction set after the other; weights of a few vectors count as large."""
    monkeypatch.setattr(columns, "WEIGHTY_BYTES", 1 << 10)
    monkeypatch.setattr(columns, "LEAST_CHANNELS", 30)
    monkeypatch.setattr(columns, "MOST_CHANNELS", 32)
    with fresh():
        yield


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", ["forward", "grad_input"])
def test_the_bits_do_not_depend_on_how_the_weight_lies(operation, layout, case, small_is_large):
    g, arrays = case.geometry(), case.arrays("float32", layout)
    a, w = operands(operation, arrays)
    want = computed("phase_gemm", g, operation, "float32", layout, a, w)
    assert np.isfinite(want).all()
    for name, other in lying(w):
        np.testing.assert_array_equal(other, w)
        got = computed("phase_gemm", g, operation, "float32", layout, a, other)
        try:
            assert_same_bits(got, want)
        except AssertionError as error:
            raise AssertionError(f"{case}, {name}: {error}") from None


def test_the_cases_pack_in_every_way(monkeypatch, small_is_large):
    used = set()

    def watch(builder, way):
        right = getattr(builder, way)
        monkeypatch.setattr(builder, way, lambda *args: (used.add(way), right(*args))[1])

    for builder, way in WAYS:
        watch(builder, way)
    in_place, without = 0, 0
    for case, layout in itertools.product(CASES, LAYOUTS):
        a, w = operands("forward", case.arrays("float32", layout))
        problem = Problem("forward", case.geometry(), "float32", layout)
        y = np.zeros(problem.result_shape, np.float32)
        y = y if layout == "nchw" else np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        for _, other in (("", w), *lying(w)):
            program = phase_gemm.gather_program(problem, a.strides, y.strides, other.strides, 1).program
            without += program is None
            in_place += program is not None and program.sizes.get(packing.PANELS, 0) == 0
    assert used == {way for _, way in WAYS}
    assert without
    assert in_place
