"""The gradient in the weight of depthwise layers in planes, where a row's ends, or a row itself, have no products."""

import numpy as np
import pytest
from cases import Case
from compare import assert_result, expected
from ways import result

from upconv.problem import Problem
from upconv.schedule import depthwise_planes

WAY = "weight_gradient_depthwise"
# A line whose one row meets a single tap: that row is all of an image.
LINES = (
    Case("cut off", 4, 8, 1, 16, 8, (1, 2), (1, 2), ((-1, 1), (2, -1)), groups=8),
    Case("cut off, output_padding", 4, 8, 1, 4, 8, (1, 1), (4, 2), (1, 1), (2, 0), groups=8),
    Case("met", 4, 8, 1, 16, 8, (1, 4), (1, 2), (0, 1), groups=8),
)
# Kernels wider than a vector's columns are far from its ends: beside such as are not.
WIDE = tuple(
    Case(f"{k} taps, stride {s}, {columns} columns", 2, 3, 4, columns, 3, (3, k), (1, s), groups=3)
    for k, s in ((7, 1), (5, 1), (5, 2), (8, 2), (15, 1))
    for columns in (*range(5, 20), 27, 30, 60, 61)
)
# Strides by which the lanes of a vector cannot be divided, too.
STRIDES = tuple(
    Case(f"{k} taps, stride {s}", 2, 5, 4, 21, 5, (3, k), (2, s), (1, lo), groups=5)
    for s in (2, 3, 4, 5, 6, 7)
    for k in (s, s + 1, 2 * s)
    for lo in (0, 1)
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cases", [LINES, WIDE, STRIDES], ids=["lines", "wide", "strides"])
def test_it_is_what_the_definition_says(cases, dtype):
    in_planes = 0
    for case in cases:
        problem = Problem("grad_weight", case.geometry(), dtype)
        x, _, _, grad_y = case.arrays(dtype)
        want, bound = expected(case.geometry(), "grad_weight", x, grad_y)
        assert_result(result(problem, WAY, x, grad_y, None), want, bound, dtype, "nchw")
        in_planes += depthwise_planes.suits(problem)
    # Vectors of two lanes have hardly any such layer.
    assert in_planes >= 3 or dtype == "float64"


def test_what_is_not_finite_beside_a_row_stays_there():
    """A vector that ends beyond its row has lanes without a column, whatever the numbers of the next row are."""
    case = Case("tails", 2, 3, 4, 21, 3, (3, 4), (2, 2), (1, 1), groups=3)
    x, _, _, grad_y = case.arrays("float32")
    x[:, 1], grad_y[:, 2] = np.nan, np.inf
    got = result(Problem("grad_weight", case.geometry(), "float32"), WAY, x, grad_y, None)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()
    assert not np.isfinite(got[2]).any()
