"""Lines of what pixels meet: a table that grows by a short list, however many groups of channels write lines."""

from upconv.algorithms import ALGORITHMS, input_gradient_columns
from upconv.geometry import Axis, Geometry
from upconv.problem import Problem

WORD = 8


def _table_bytes(monkeypatch, rows, groups):
    problem = Problem(
        "grad_input", Geometry(1, 8, 16, 1, Axis(rows, 6, 3, crop_lo=1, crop_hi=1), Axis(5, 6, 3)), "float32"
    )
    monkeypatch.setattr(input_gradient_columns, "_channels", lambda _: 16 // groups)
    return ALGORITHMS["input_gradient_columns"]._dense(problem, 1).program.nbytes


def test_all_groups_of_channels_share_the_lists_of_rows(monkeypatch):
    fewer, more = (_table_bytes(monkeypatch, rows, 8) for rows in (200, 400))
    # Four fields for a row; each group would list them again.
    assert 200 * 4 * WORD <= more - fewer < 200 * 6 * WORD


def test_how_many_rows_there_are_refuses_nothing():
    tall = Problem("grad_input", Geometry(1, 3, 3, 1, Axis(5000, 4, 2), Axis(3, 4, 2)), "float32")
    assert not ALGORITHMS["input_gradient_columns"].why_not(tall)
