"""The explanation in words."""

import re

import pytest
from explain.layers import AXES, square, torch_axis

from upconv.explain.text import COLUMNS, explanation
from upconv.geometry import Geometry

SECTIONS = (
    "The size, step by step",
    "The same in the documentation's words",
    "Why ",
    "Phases",
    "Which taps reach",
    "Products per output",
    "Groups",
    "Cost",
)


@pytest.mark.parametrize("name", AXES)
def test_every_section_is_there_and_fits_the_width(name):
    text = explanation(square(AXES[name]))
    assert [title for title in SECTIONS if f"\n{title}" not in text] == []
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_two_different_axes_are_explained_apart():
    text = explanation(Geometry(1, 1, 1, 1, AXES["uneven"], AXES["gaps"]))
    assert "Phases (height)" in text
    assert "Phases (width)" in text
    assert "alike" in explanation(square(AXES["even"]))


def test_the_tap_table_lists_the_sums():
    text = explanation(square(AXES["uneven"]))
    assert "y1      2         x1*w0 + x0*w2\n" in text
    assert "nothing: bias alone" in explanation(square(AXES["gaps"]))


def test_the_phase_table_gives_the_small_kernels():
    text = explanation(square(AXES["uneven"]))
    rows = re.findall(r"^  (\d) +([\d, ]+?)  +([\d, ]+?)  +(\[.*\])$", text, re.MULTILINE)
    assert rows == [("1", "0, 2, 4, 6", "1", "[w1]"), ("0", "1, 3, 5, 7", "0, 2", "[w2, w0]")]


def test_uneven_layers_are_told_what_would_be_even():
    assert "kernel_size=4, stride=2, padding=1" in explanation(square(AXES["uneven"]))
    assert "necessary, not sufficient" in explanation(square(AXES["even"]))
    assert "not sufficient" not in explanation(square(AXES["uneven"]))


def test_groups_say_who_is_connected_to_whom():
    text = explanation(Geometry(2, 8, 12, 4, AXES["even"], AXES["even"]))
    assert "input channels 2-3 -> output channels 3-5" in text
    assert "weight (8, 3, 4, 4) = (c_in, c_out / groups, k_h, k_w): 384 parameters, and 12 biases" in text
    assert "more groups" not in text
    assert "... and 4 more groups" in explanation(Geometry(1, 8, 8, 8, AXES["even"], AXES["even"]))


def test_the_cost_is_the_geometrys():
    geometry = Geometry(2, 8, 12, 4, AXES["even"], AXES["even"])
    text = explanation(geometry)
    assert f"{geometry.macs:,} useful multiply-adds" in text
    assert f"{geometry.elements():,} values moved" in text
    assert f"{2 * 12 * 2 * 8 * 8 * 16:,} if the inserted zeros" in text


def test_vast_numbers_are_explained_at_once():
    for axis in (torch_axis(2, 3, 10**7), torch_axis(4, 10**8), torch_axis(10**8, 3)):
        text = explanation(square(axis))
        assert len(text.splitlines()) < 84
    assert "... and 9999992 more" in explanation(square(torch_axis(2, 3, 10**7)))


def test_long_axes_are_shortened():
    text = explanation(square(torch_axis(5000, 4, 2, 1)))
    assert "... and 9992 more outputs" in text
    assert len(text.splitlines()) < 80
