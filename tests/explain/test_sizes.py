"""The derivations: every equation that is printed must be true."""

import re

import pytest
from explain.layers import AXES, every_axis, torch_axis

from upconv.explain.sizes import ambiguity, documented, inserted_zeros, listed, written
from upconv.geometry import Axis

NUMERIC = re.compile(r"[-+*() \d]+")


def equations(line):
    """The parts of an equation that are plain arithmetic, evaluated."""
    sides = [side.strip() for side in re.split(r"[=:,]", line)]
    leading = [re.match(r"[-+*() \d]*", side).group().strip() for side in sides]
    return [eval(side) for side in leading if re.search(r"\d", side) and side.count("(") == side.count(")")]


def test_the_arithmetic_of_the_canvas_holds():
    for axis in every_axis(3):
        full, _, out = written(axis)
        assert set(equations(full)) == {axis.full}
        assert set(equations(out)) == {axis.out}


def test_the_documentations_zeros_give_the_same_size():
    for axis in every_axis(3):
        before, after = inserted_zeros(axis)
        length = (axis.n - 1) * axis.s + 1 + before + after
        assert length - axis.d * (axis.k - 1) == axis.out
        spread, lo, _, total, last = documented(axis)
        assert spread.endswith(f"= {(axis.n - 1) * axis.s + 1} value{'s' * ((axis.n - 1) * axis.s > 0)}")
        assert equations(lo) == [before, before] if before >= 0 else f"{-before} value" in lo
        assert set(equations(total)) == {length}
        assert last.endswith(f"= {axis.out} output{'s' * (axis.out > 1)}")


def test_documented_speaks_of_padding_where_torch_can():
    assert any("padding + output_padding = 1*(3 - 1) - 1 + 1 = 2" in line for line in documented(AXES["uneven"]))
    assert not any("padding" in line for line in documented(AXES["extended"]))


def test_why_31_and_not_32():
    text = "\n".join(ambiguity(torch_axis(16, 3, 2, 1)))
    assert "turns 31 and 32 alike into 16" in text
    assert "output_padding=0 gives 31, output_padding=1 gives 32" in text
    assert "To get 32 instead: kernel_size=3, stride=2, padding=1, output_padding=1." in text


@pytest.mark.parametrize("name", [name for name, axis in AXES.items() if axis.crop_lo >= 0])
def test_suggestions_for_the_neighbours_work(name):
    axis = AXES[name]
    for line in ambiguity(axis):
        if match := re.fullmatch(r"To get (\d+) instead: (.*)\.", line):
            given = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match[2])}
            k, s, p, op, d = (
                given.get(key, default)
                for key, default in (
                    ("kernel_size", 1),
                    ("stride", 1),
                    ("padding", 0),
                    ("output_padding", 0),
                    ("dilation", 1),
                )
            )
            assert torch_axis(axis.n, k, s, p, op, d).out == int(match[1])
            assert int(match[1]) in (axis.out - 1, axis.out + 1)


def test_crops_that_torch_cannot_say_are_called_that():
    assert "PyTorch cannot say crops of -2 and 1" in ambiguity(AXES["extended"])[0]


def test_lists_in_words():
    words = [listed(values) for values in ([3], [3, 4], [3, 4, 5], range(3, 9))]
    assert words == ["3", "3 and 4", "3, 4 and 5", "3 to 8"]


def test_output_paddings_that_leave_nothing_are_not_offered_and_shift_no_number():
    text = "\n".join(ambiguity(torch_axis(1, 1, 3, 1, 2)))
    assert "output_padding says it: output_padding=2 gives 1." in text


def test_output_padding_beyond_the_canvas_is_said_to_give_the_bias_alone():
    beyond = "\n".join(ambiguity(torch_axis(4, 3, 2, 0, 1)))
    assert "the last output lies beyond it, bias alone" in beyond
    assert "It adds no zeros" not in beyond
    assert "the last 2 outputs lie beyond it" in "\n".join(ambiguity(torch_axis(4, 3, 3, 0, 2)))
    assert "It adds no zeros" in "\n".join(ambiguity(torch_axis(4, 3, 2, 1, 1)))
    # Seven places beyond it, of which padding has cut the first.
    assert "the last 6 outputs lie beyond it" in "\n".join(ambiguity(torch_axis(1, 1, 10, 2, 9)))


def test_dilation_lets_a_layer_give_back_more_than_one_size():
    only = "this layer can give back only that one"
    assert only not in "\n".join(ambiguity(torch_axis(4, 3, 1, 0, 1, 3)))
    assert only in "\n".join(ambiguity(torch_axis(4, 3)))


def test_crops_that_extend_both_sides_alike_are_not_called_unequal():
    assert "which PyTorch cannot say" in written(Axis(4, 3, crop_lo=-1, crop_hi=-1))[1]
