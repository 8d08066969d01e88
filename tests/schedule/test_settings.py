"""Random settings for each way of computing, in both layouts, also of the weight, and on operands with gaps.

The answers are compared with NumPy's products in float64; in every third setting one value is not finite, and must
reach exactly the outputs that the definition says.
"""

import random
from collections import Counter

import numpy as np
import pytest
from amount import some
from cases import Case, channels_last, values
from compare import assert_close, assert_same_nonfinite
from fresh import fresh

from upconv import SettingError
from upconv.algorithms import direct_rows, gemm, matmul, tap_streaming, weight_streaming
from upconv.planning import fitted
from upconv.problem import Problem
from upconv.runtime import kernel, memory

pytestmark = pytest.mark.skipif(bool(kernel.usable()), reason="no kernels can be made here")
SETTINGS = some(60, 250)
NOT_FINITE = (np.nan, np.inf, -np.inf)


def crops(draw, least, most):
    return draw.randrange(least, most), draw.randrange(least, most)


def few_channels(draw):
    """What rows are for: any stride, short and long rows."""
    groups = draw.choice((1, 1, 1, 2, 3))
    c_in, c_out = draw.choice((1, 2, 5, 8, 20, 140)), draw.randrange(1, 12)
    w, k_w = draw.choice((1, 2, 5, 9, 16, 17, 33, 40, 70)), draw.randrange(1, 10)
    s, d = (draw.randrange(1, 4), draw.randrange(1, 7)), (draw.randrange(1, 3), draw.randrange(1, 4))
    return {
        **{"c_in": groups * c_in, "c_out": groups * c_out, "groups": groups, "h": draw.randrange(1, 6), "w": w},
        **{"k": (draw.randrange(1, 5), k_w), "s": s, "d": d, "p": (crops(draw, -1, 3), crops(draw, -3, 6))},
    }


def depthwise(draw):
    """A kernel for each channel."""
    return few_channels(draw) | dict.fromkeys(("c_in", "c_out", "groups"), draw.choice((2, 3, 17)))


def fused(draw):
    """Kernels that the stride divides."""
    s_w = draw.randrange(2, 9)
    return {
        # Half of them with as few channels as have room in the narrowest tile.
        **{"c_in": draw.randrange(1, 50), "c_out": draw.randrange(1, draw.choice((9, 80))), "h": draw.randrange(1, 6)},
        **{"w": draw.randrange(1, 12), "k": (draw.randrange(1, 4), s_w * draw.randrange(1, 4))},
        **{"s": (draw.randrange(1, 4), s_w), "p": (crops(draw, -1, 3), crops(draw, -1, 4))},
    }


def weighty(draw):
    """Small maps under weights that are read in place."""
    return {
        # Some with several parts of a weight that is packed in the call.
        **{"c_in": draw.randrange(1, draw.choice((60, 60, 150))), "c_out": draw.randrange(8, 120)},
        **{"h": draw.randrange(1, 5), "w": draw.randrange(1, 6), "k": (draw.randrange(1, 6), draw.randrange(1, 6))},
        **{"s": (draw.randrange(1, 4), draw.randrange(1, 4)), "d": (draw.randrange(1, 3), draw.randrange(1, 4))},
        "p": (crops(draw, -1, 3), crops(draw, -1, 2)),
    }


# The kinds, and the ways that take most of them in the forward pass.
KINDS = {
    "few channels": (few_channels, ("gemm", "direct_rows", "col2im_channels", "col2im_rows")),
    "depthwise": (depthwise, ("depthwise_rows", "depthwise_channels")),
    "fused": (fused, ("gemm", "gemm_fused_phases", "gemm_phase_blocks", "col2im_channels")),
    "weighty": (weighty, ("gemm", "tap_streaming", "weight_streaming")),
}


@pytest.fixture
def small_is_large(monkeypatch):
    """What is for large layers begins with small ones."""
    monkeypatch.setattr(gemm, "WEIGHTY_BYTES", 1 << 10)
    monkeypatch.setattr(direct_rows, "CROWDING", 64)
    monkeypatch.setattr(weight_streaming, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(tap_streaming, "PART_BYTES", 1 << 10)
    with fresh(), memory.poisoned():
        yield


def lying(draw, array):
    """The array in one of several kinds of memory."""
    kind = draw.choice(("planes", "planes", "pixels", "pixels", "wide", "wide pixels", "turned"))
    if kind == "pixels":
        return channels_last(array)
    if kind == "turned":
        # Every axis the other way round, so that columns are further apart than rows.
        return np.asfortranarray(array)
    if kind.startswith("wide"):
        # A window of a larger map, which ends neither rows nor channels where the array does.
        large = np.full([size + 2 for size in array.shape], np.nan, array.dtype)
        if kind == "wide pixels":
            large = channels_last(large)
        window = large[1:-1, 1:-1, 1:-1, 1:-1]
        window[...] = array
        return window
    return array


def operands(draw, case, operation, dtype, number):
    """(a, w, bias) of small numbers; in every third setting one of a or of w is not finite."""
    g = case.geometry()
    shapes = g.input_shape if operation == "forward" else g.output_shape, g.weight_shape
    a, w = (values(shape, (number, key), dtype) for key, shape in enumerate(shapes))
    bias = values((g.c_out if operation == "forward" else g.c_in,), (number, 2), dtype)
    if number % 3 == 0:
        target = draw.choice((a, w))
        target[tuple(draw.randrange(size) for size in target.shape)] = draw.choice(NOT_FINITE)
    return lying(draw, a), lying(draw, w), draw.choice((bias, None))


def truth(problem, a, w, bias):
    """(answer, bound) in float64; the bound has ones where the operands are not finite."""
    wide = Problem(problem.operation, problem.geometry, "float64")

    def solve(*arrays):
        out = np.empty(problem.result_shape)
        with np.errstate(invalid="ignore"):
            matmul.run(wide, *arrays, out)
        return out

    each = [None if array is None else array.astype(np.float64) for array in (a, w, bias)]
    sizes = [None if array is None else np.abs(np.where(np.isfinite(array), array, 1)) for array in each]
    return solve(*each), solve(*sizes)


@pytest.mark.parametrize("operation", ["forward", "grad_input"])
@pytest.mark.parametrize("kind", KINDS)
def test_random_settings(kind, operation, small_is_large):
    """By every way that takes the operands as they lie."""
    make, wanted = KINDS[kind]
    used = Counter()
    for number in range(SETTINGS):
        draw = random.Random(f"{kind} {operation} {number}")
        case = Case(f"{kind}-{number}", draw.randrange(1, 3), **make(draw))
        try:
            g = case.geometry()
        except SettingError:
            continue
        dtype = draw.choice(("float32", "float32", "float32", "float64"))
        a, w, bias = operands(draw, case, operation, dtype, number)
        problem = Problem(operation, g, dtype)
        out = lying(draw, np.full(problem.result_shape, np.nan, dtype))
        want, bound = truth(problem, a, w, bias)
        asked = fitted(problem, "auto", a.strides, w.strides, out.strides).candidates
        ways = [each.name for each in asked if each.seconds is not None and each.name not in ("matmul", "loops")]
        for way in (*ways, "auto"):
            out[...] = np.nan
            fitted(problem, way, a.strides, w.strides, out.strides).run(a, w, bias, out)
            try:
                assert_close(out, want, bound, dtype)
                assert_same_nonfinite(out, want)
            except AssertionError as error:
                raise AssertionError(f"{way} {operation} {dtype} on {case!r}: {error}") from None
            assert_untouched_around(out)
            used[way] += 1
    # The gradient reads whole rows for stride 1 alone, has no fused phases, and streams no weight.
    ran = wanted if operation == "forward" else {"gemm", "direct_rows", "depthwise_channels"}.intersection(wanted)
    assert all(used[way] > SETTINGS // (5 if operation == "forward" else 10) for way in ran), used


def assert_untouched_around(out):
    """What lies around a window of a larger map is as it was."""
    if out.base is not None and out.base.ndim == 4 and out.base.shape[0] == out.shape[0] + 2:
        inside = np.zeros(out.base.shape, bool)
        inside[1:-1, 1:-1, 1:-1, 1:-1] = True
        assert np.isnan(out.base[~inside]).all()
