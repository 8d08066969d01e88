"""Outputs without taps, between stamps and behind them, hold the bias alone in every way, however the result lies."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import upconv
from upconv.algorithms import ALGORITHMS, gemm, is_programmed
from upconv.errors import SettingError
from upconv.geometry import Axis, Geometry
from upconv.problem import Problem
from upconv.runtime import memory
from upconv.runtime.kernel import usable
from upconv.schedule import bands, pixel_products, segments

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")

SLOPE = 0.25
# (n, c_in, c_out, size, kernel, settings): holes in rows alone, in columns alone, in both, few and most, one run of
# rows and several, more than are listed, at the end alone, in pixels of one vector and of several.
LAYERS = {
    "k2 s3": (2, 4, 5, (7, 9), (2, 2), {"stride": 3}),
    "k2 s3, many channels": (2, 4, 40, (7, 9), (2, 2), {"stride": 3}),
    "k1 s4": (1, 3, 3, (6, 5), (1, 1), {"stride": 4, "output_padding": 1}),
    "rows alone": (2, 3, 8, (6, 20), (1, 4), {"stride": (4, 2)}),
    "columns alone": (2, 3, 8, (6, 20), (4, 1), {"stride": (2, 4)}),
    "few columns": (2, 3, 8, (9, 7), (9, 7), {"stride": (2, 8)}),
    "dilated": (2, 5, 19, (9, 6), (6, 6), {"stride": 3, "dilation": 3, "padding": 2}),
    "dilated by another": (1, 5, 4, (9, 6), (3, 4), {"stride": 4, "dilation": 2}),
    "narrow and dilated": (2, 2, 5, (9, 2), (16, 16), {"stride": 8, "dilation": 3, "padding": 3}),
    "low and dilated": (2, 2, 40, (3, 9), (16, 16), {"stride": 8, "dilation": 3, "padding": 3}),
    "large stride": (1, 3, 40, (5, 4), (3, 3), {"stride": 11}),
    "behind the last": (3, 4, 6, (9, 20), (2, 2), {"stride": 2, "output_padding": 1}),
    "groups": (2, 6, 15, (9, 7), (2, 2), {"stride": 3, "groups": 3}),
    "depthwise": (2, 5, 5, (20, 7), (4, 1), {"stride": 4, "groups": 5}),
    "one column": (2, 4, 6, (30, 1), (2, 1), {"stride": (3, 1)}),
    "bands": (1, 8, 20, (90, 140), (1, 2), {"stride": 3}),
}


def of(layer):
    n, c_in, c_out, size, kernel, settings = LAYERS[layer]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c_in, *size)).astype(np.float32)
    w = rng.standard_normal((c_in, c_out // settings.get("groups", 1), *kernel)).astype(np.float32)
    return x, w, rng.standard_normal(c_out).astype(np.float32), settings


def lying(array, layout):
    """A copy that lies channels-first, channels-last, or channels-last with gaps between its pixels."""
    if layout == "nchw":
        return array.copy()
    n, c, h, w = array.shape
    whole = np.full((n, h, w, c + (3 if layout == "gaps" else 0)), np.nan, array.dtype)
    whole[..., :c] = array.transpose(0, 2, 3, 1)
    return whole[..., :c].transpose(0, 3, 1, 2)


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "gaps"])
@pytest.mark.parametrize("layer", LAYERS)
def test_holes_hold_the_bias_in_every_way(layer, layout):
    x, w, b, settings = of(layer)
    exact = upconv.conv_transpose2d(*(each.astype(np.float64) for each in (x, w, b)), algorithm="loops", **settings)
    exact = np.where(exact < 0, SLOPE * exact, exact)
    tried = 0
    for name in filter(is_programmed, ALGORITHMS):
        out = lying(np.full(exact.shape, np.nan, np.float32), layout)
        try:
            with memory.poisoned():
                upconv.conv_transpose2d(
                    lying(x, layout), w, b, out=out, algorithm=name, activation=("leaky_relu", SLOPE), **settings
                )
        except SettingError:
            continue
        np.testing.assert_allclose(out, exact, rtol=1e-4, atol=1e-4, err_msg=name)
        if layout == "gaps":
            assert np.isnan(out.base.reshape(-1, out.shape[1] + 3)[:, -3:]).all(), name
        tried += 1
    assert tried > 2


def test_a_line_is_copied_to_rows_without_taps_where_pixels_follow_one_another():
    x, w, _, settings = of("k2 s3")
    plan = upconv.plan(lying(x, "nhwc"), w, algorithm="gemm", **settings)
    assert any(name.startswith("copy") for name in plan.kernels)
    x, w, _, settings = of("few columns")
    plan = upconv.plan(lying(x, "nhwc"), w, algorithm="gemm", **settings)
    assert not any(name.startswith("copy") for name in plan.kernels)


def test_what_is_priced_is_what_has_no_taps():
    lines = set()
    for x, w, _, settings in map(of, LAYERS):
        problem = upconv.plan(x, w, **settings).problem
        problem = Problem("forward", problem.geometry, "float32", "nhwc")
        g, counted = problem.geometry, pixel_products.hole_work(problem)
        holes = upconv.conv_transpose2d(*map(np.ones_like, (x, w)), algorithm="loops", **settings)[0, 0] == 0
        rows, rest = divmod(counted.copied, g.n * g.w.out * g.c_out * 4)
        assert rest == 0
        if rows == len(holes):
            assert counted.places == 0
        elif counted.places != g.n * holes.size:
            assert rows in (0, holes.all(1).sum())
            assert counted.places == g.n * (holes.sum() - rows * g.w.out)
        lines.add("all" if rows == len(holes) else bool(rows))
    assert lines == {"all", True, False}


def test_places_without_taps_are_written_in_few_runs():
    """A run is a task: one place for each phase, in each kind of row, took longer than all products."""
    for axis, most in ((Axis(2, 16, 8, 3, 3, 3), 4), (Axis(1, 2, 4, 5), 3), (Axis(300, 7, 8), 7)):
        empty, live = np.zeros((axis.out, axis.out), int), np.zeros(axis.out, bool)
        for rows, cols in (found := segments.holes(axis, axis, True)):
            assert len(rows) * len(cols) <= most * (most if axis.d > 1 else 1)
            for row, col in itertools.product(rows, cols):
                empty[row.places, col.places] += 1
        for each in segments.segments(axis, True):
            live[each.places] = True
        np.testing.assert_array_equal(empty, ~np.outer(live, live), err_msg="each of them once")
        assert len(found) == 2


def test_bands_are_larger_where_their_tasks_would_have_few_pixels():
    """What lies channels-last is written once, in whole; what is transposed has to stay near until then."""
    narrow, wide = Axis(21, 16, 8, 3, 3, 3), Axis(64, 4, 2, 1, 1, 1)
    few = Problem("forward", Geometry(16, 1, 32, 1, narrow, Axis(2, 16, 8, 3, 3, 3)), "float32", "nhwc")
    assert gemm._most(few) > 2 * bands.BAND_BYTES
    assert gemm._most(replace(few, layout="nchw")) is None
    assert gemm._most(Problem("forward", Geometry(4, 32, 32, 1, wide, wide), "float32", "nhwc")) is None
