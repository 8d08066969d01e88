"""Planes of depthwise layers, some images by some channels at a time, against the definition."""

import pytest
from cases import Case
from compare import check
from fresh import fresh

from upconv.algorithms import depthwise_rows
from upconv.problem import Problem
from upconv.runtime.kernel import usable
from upconv.schedule import bands
from upconv.schedule.placed_problem import PlacedProblem

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
CASES = (
    Case("phases", 3, 7, 9, 20, 7, (4, 4), (2, 2), (1, 1), groups=7),
    Case("holes", 5, 4, 5, 18, 4, (3, 3), (2, 2), (1, 1), groups=4, d=(2, 2)),
    Case("upright", 2, 5, 11, 3, 5, (3, 1), (2, 1), (1, 0), groups=5),
)


@pytest.mark.parametrize("operation", ["forward", "grad_input"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_channel_of_every_image_is_computed(case, operation, monkeypatch):
    """By channels of one image, with some left over; by images; and by rows where a plane is too large."""
    task = PlacedProblem.dense(Problem(operation, case.geometry(), "float32", "nchw"))
    plane, kinds = depthwise_rows._plane_bytes(task), set()
    for planes in (1, 3, case.c_in, 2 * case.c_in, 100 * case.c_in):
        monkeypatch.setattr(bands, "BAND_BYTES", planes * plane)
        kinds.add(tuple(grid.sizes for grid in depthwise_rows._by_channels(task, bands.Scratch())))
        with fresh():
            check("depthwise_rows", case, operation, "float32", "nchw")
    assert len(kinds) > 3
    monkeypatch.setattr(depthwise_rows, "MOST_PLANE_BYTES", plane - 1)
    with fresh():
        check("depthwise_rows", case, operation, "float32", "nchw")
