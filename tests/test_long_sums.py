"""How many products a way adds up in one sum: 2**24 with ones behind it loses those of its own sum, and no others."""

import math

import numpy as np
import pytest
from cases import LAYOUTS
from ways import result, willing

import upconv
from upconv.algorithms import weight_gradient_depthwise
from upconv.arrays import empty
from upconv.geometry import Axis, Geometry
from upconv.kernels import gemm, weight_gradient, weight_gradient_blocks
from upconv.planning import solve
from upconv.problem import OPERATIONS, Problem

HUGE = 2.0**24
# Sums of few products, which are cut into shorter parts, as even as the channels of a tap allow.
PLAIN = "gemm", "gemm_tap_rows", "direct_rows", "direct_columns"
FEW = {
    ("a tap", "forward"): {
        "gemm": 28,
        "col2im_channels": 28,
        "direct_rows": 26,
        "direct_columns": 26,
        "tap_streaming": 32,
    },
    ("a pixel", "forward"): {"gemm": 32, "col2im_channels": 32, "direct_rows": 30, "direct_columns": 30},
    ("few pixels", "grad_input"): dict.fromkeys(PLAIN, 24),
    ("few products", "grad_input"): dict.fromkeys(PLAIN, 72),
    ("taps", "grad_input"): dict.fromkeys(PLAIN, 72),
    ("halves", "forward"): dict.fromkeys(PLAIN, 24),
    ("halves of channels", "forward"): dict.fromkeys((*PLAIN, "tap_streaming"), 16),
    ("halves of channels", "grad_input"): dict.fromkeys((*PLAIN, "gemm_planes"), 20),
    ("some taps", "forward"): dict.fromkeys((*PLAIN, "tap_streaming"), 64),
    ("some taps", "grad_input"): dict.fromkeys(PLAIN, 72),
    ("taps of two phases", "forward"): dict.fromkeys(PLAIN, 35),
    ("runs", "grad_input"): {"gemm_tap_rows": 48},
    ("two runs", "grad_input"): {"gemm_tap_rows": 24},
    ("seven runs", "grad_input"): {"gemm_tap_rows": 32},
    ("channels", "forward"): {"col2im_channels": 64},
    ("a tap of two phases", "forward"): dict.fromkeys(("direct_rows", "direct_columns"), 64),
    ("fewer channels of two phases", "forward"): dict.fromkeys(("direct_rows", "direct_columns"), 32),
    ("blocks of few channels", "forward"): {"gemm_phase_blocks": 24},
    ("blocks", "forward"): {"gemm_phase_blocks": 72},
    ("chunks", "forward"): {"tap_streaming": 24},
    ("a strided tap", "grad_input"): {"gemm": 64, "gemm_tap_rows": 64},
    ("a row of taps", "grad_input"): {"gemm": 64, "gemm_tap_rows": 64},
    ("a row of taps over a pixel", "grad_input"): {"gemm_tap_rows": 24},
    ("few products over a pixel", "grad_input"): {"gemm_tap_rows": 12},
    ("columns of channels", "forward"): {"col2im_channels": 32},
    ("many channels under two taps", "forward"): dict.fromkeys(("direct_rows", "direct_columns"), 64),
    ("channels of four taps", "grad_input"): dict.fromkeys(("direct_rows", "direct_columns"), 48),
}
LAYERS = {
    "a row": Geometry(1, 2, 24, 1, Axis(1, 1), Axis(1000, 1)),
    "rows of 100": Geometry(1, 3, 3, 1, Axis(11, 2, 1), Axis(100, 2, 2)),
    "rows of 7": Geometry(19, 5, 70, 1, Axis(7, 2, 2), Axis(7, 2, 2)),
    "a column": Geometry(3, 16, 16, 1, Axis(400, 3, 1, 1, 1, 1), Axis(1, 1)),
    "channels": Geometry(1, 700, 3, 1, Axis(6, 2, 2), Axis(6, 2, 2)),
    "channels of few pixels": Geometry(1, 700, 70, 1, Axis(2, 3, 1, 1, 1, 1), Axis(3, 3, 1, 1, 1, 1)),
    "channels of the result": Geometry(2, 4, 700, 1, Axis(5, 2, 1), Axis(9, 2, 1)),
    "groups": Geometry(2, 400, 400, 2, Axis(5, 2, 1), Axis(5, 2, 1)),
    "depthwise": Geometry(3, 20, 20, 20, Axis(19, 3, 2), Axis(23, 3, 2)),
    "few pixels": Geometry(5, 5, 24, 1, Axis(7, 2, 2), Axis(9, 2, 2)),
    "few pixels, depthwise": Geometry(5, 20, 20, 20, Axis(7, 2, 2), Axis(9, 2, 2)),
    "a tap": Geometry(1, 130, 24, 1, Axis(9, 1), Axis(9, 1)),
    "a pixel": Geometry(3, 120, 24, 1, Axis(1, 4), Axis(1, 4)),
    "few products": Geometry(1, 20, 24, 1, Axis(9, 3, 1), Axis(9, 3, 1)),
    "taps": Geometry(1, 20, 2, 1, Axis(6, 9, 1), Axis(6, 9, 1)),
    "halves": Geometry(1, 4, 24, 1, Axis(5, 1, 1), Axis(40, 9, 1)),
    "halves of channels": Geometry(1, 32, 40, 1, Axis(5, 1, 1), Axis(20, 1, 1)),
    "some taps": Geometry(1, 32, 48, 1, Axis(9, 3, 1), Axis(20, 5, 1)),
    "taps of two phases": Geometry(1, 7, 17, 1, Axis(9, 1, 1), Axis(40, 16, 2)),
    "runs": Geometry(1, 20, 3, 1, Axis(6, 7, 2), Axis(9, 7, 2)),
    "two runs": Geometry(1, 20, 12, 1, Axis(6, 2, 3), Axis(9, 2, 3)),
    "seven runs": Geometry(1, 20, 4, 1, Axis(6, 7, 3), Axis(9, 2, 3)),
    "a tap of two phases": Geometry(1, 320, 3, 1, Axis(2, 1, 2), Axis(6, 1, 2)),
    "fewer channels of two phases": Geometry(1, 100, 3, 1, Axis(2, 1, 2), Axis(6, 1, 2)),
    "blocks of few channels": Geometry(1, 12, 7, 1, Axis(5, 5, 2), Axis(9, 5, 2)),
    "blocks": Geometry(1, 36, 7, 1, Axis(5, 3, 2), Axis(9, 3, 2)),
    "chunks": Geometry(1, 90, 24, 1, Axis(5, 1), Axis(5, 1)),
    "a row of taps": Geometry(1, 24, 192, 1, Axis(5, 1, 2), Axis(6, 2, 8)),
    "a row of taps over a pixel": Geometry(1, 24, 16, 1, Axis(1, 1), Axis(1, 9, 8)),
    "few products over a pixel": Geometry(1, 19, 8, 1, Axis(1, 1), Axis(1, 3, 2)),
    "columns of channels": Geometry(1, 192, 3, 1, Axis(2, 1), Axis(3, 2, 1, 3)),
    "many channels under two taps": Geometry(1, 512, 2, 1, Axis(3, 1), Axis(11, 3, 2)),
    "channels of four taps": Geometry(1, 3, 48, 1, Axis(5, 2, 2), Axis(9, 2, 2)),
    "a strided tap": Geometry(1, 24, 320, 1, Axis(5, 1, 2), Axis(5, 1, 2)),
}


def longest_of(way, layer, operation):
    """The longest sum of a way."""
    if way == "weight_gradient":
        return weight_gradient.longest_list(LAYERS[layer].pixels)
    if way in ("weight_gradient_blocks", "weight_gradient_runs", "weight_gradient_tap_rows"):
        g = LAYERS[layer]
        return weight_gradient_blocks.longest_sum_over_pixels(g.pixels, math.prod(g.weight_shape))
    if way == "weight_gradient_depthwise":
        return weight_gradient_depthwise.longest_sum_over_pixels(LAYERS[layer].pixels)
    return FEW.get((layer, operation), {}).get(way, gemm.LONGEST_SUM)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("corner", [0, -1])
def test_no_sum_is_longer_than_it_may_be(corner, layer, operation, layout):
    g = LAYERS[layer]
    a, b = (np.ones(shape, np.float32) for shape in Problem(operation, g, "float32").operand_shapes)
    # Of what comes after the first product of a sum; ways differ in which of two corners that is.
    a[0, 0, corner, corner] = HUGE
    wide = Problem(operation, g, "float64", layout)
    want = empty(wide.result_shape, np.float64, layout)
    solve(wide, "auto", a.astype(float), b.astype(float), None, want)
    is_weight = operation == "grad_weight"
    products = g.n * g.h.n * g.w.n if is_weight else Problem(operation, g, "float32").channels[0] * g.h.k * g.w.k
    for prepared in (False, True)[: 2 - is_weight]:
        weight = upconv.prepare(b, (g.h.s, g.w.s), groups=g.groups) if prepared else b
        problem = Problem(operation, g, "float32", layout, prepared=prepared)
        ways = willing(problem)
        assert ways
        for way in ways:
            lost = np.abs(result(problem, way, a, weight, None) - want).max()
            longest = longest_of(way, layer, operation)
            # One more for each part whose sum is odd.
            assert lost <= longest + products / longest, f"{way}{' prepared' * prepared} of {products}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_of_many_channels_are_no_long_chain(layout):
    """Sums of a few rows of a weight are added to one another: 2**27 loses those of its own chain, and no others."""
    g = Geometry(1, 2048, 20, 1, Axis(2, 2, 2), Axis(1, 2, 2))
    x, w = (np.ones(shape, np.float32) for shape in (g.input_shape, g.weight_shape))
    x[0, 0] = HUGE * 8
    for stored in (w, np.ascontiguousarray(w.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)):
        got = result(Problem("forward", g, "float32", layout), "weight_streaming", x, stored, None)
        lost = np.abs(got.astype(float) - (HUGE * 8 + 2047)).max()
        # 40 blocks of 6, and half of its last bit for each part that is added to it.
        assert lost <= 320
