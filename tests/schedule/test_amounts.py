"""What is counted of maps that are all border, of pixels of few channels, and of short rows."""

import pytest
from cases import Case

from upconv.algorithms import ALGORITHMS, col2im_channels, gemm
from upconv.kernels import col2im_channels as kernel
from upconv.problem import Problem
from upconv.runtime.kernel import isa, usable
from upconv.schedule.amounts import exchanged

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
# Segments of a row each, in bands of a row or two; the same, a few rows of it inside.
BORDERS = (
    Case("all", 4, 5, 15, 6, 256, (16, 4), (1, 8), (3, 0)),
    Case("some", 1, 16, 20, 30, 64, (16, 4), (1, 2), (3, 1)),
)


@pytest.mark.parametrize("case", BORDERS, ids=str)
def test_segments_at_borders_are_counted_in_the_bands_that_they_are_in(case):
    problem = Problem("forward", case.geometry(), "float32", "nchw")
    amounts = gemm.work(problem)
    counted = sum(amounts.get(f"gemm{wide}", 0) for wide in range(1, 5)) * isa().lanes(4)
    assert 0.6 < counted / ALGORITHMS["gemm"].details(problem).executed_macs < 1.6


def test_few_channels_of_pixels_take_as_long_as_a_vector_of_them():
    lanes = isa().lanes(4)
    few, whole = (
        Problem("forward", Case("", 1, c, 40, 3, c, (3, 3)).geometry(), "float32", "nhwc") for c in (2, lanes)
    )
    assert exchanged(few, lanes) == exchanged(whole, lanes)


def test_planes_of_few_columns_are_exchanged_in_whole_vectors():
    """Others go through squares, which so few columns fill for a small part."""
    lanes = isa().lanes(4)
    few, more = (
        Problem("forward", Case("", 1, 8, width, 1000, 8, (1, 1)).geometry(), "float32", "nchw") for width in (4, 11)
    )
    assert exchanged(few, lanes) == 2 * 8 * 4 * 1000 * 4
    assert exchanged(more, lanes) > 1.2 * (2 * 8 * 11 * 1000 * 4)


def test_sums_of_short_rows_are_counted_as_they_are_filled_up():
    """A row of one place takes as long as one that fills the tile."""

    def folded(width):
        case = Case("", 1, 16, 20, width, 4, (2, 2), (3, 3))
        return col2im_channels.work(Problem("forward", case.geometry(), "float32", "nhwc"))["folded"]

    assert folded(1) == folded(kernel.SUMS) < folded(kernel.SUMS + 1)
