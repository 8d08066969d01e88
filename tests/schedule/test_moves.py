"""Nests that move maps: what they refuse to move."""

import pytest

from upconv.layouts import Operand
from upconv.runtime.program import X, Y
from upconv.schedule.moves import PlacedOperand, transpose_layout


def placed(base, strides):
    return PlacedOperand(base, 0, Operand.of((1, 8, 4, 5), strides, 4))


def test_a_map_without_a_consecutive_axis_is_not_taken_for_one_whose_axes_are_exchanged():
    first, last = placed(X, (640, 80, 20, 4)), placed(Y, (640, 4, 160, 32))
    columns, apart = placed(X, (640, 80, 4, 16)), placed(X, (1280, 160, 40, 8))
    assert transpose_layout("f32", first, last, (1, 8, 4, 5)).common["rows"] == 8
    assert transpose_layout("f32", columns, placed(Y, first.at[:4]), (1, 8, 4, 5)).common["rows"] == 5
    with pytest.raises(ValueError, match="no consecutive axis for numbers of 4 bytes"):
        transpose_layout("f32", apart, last, (1, 8, 4, 5))
