"""Counts, verdicts and remedies against the definition."""

import pytest
from explain.layers import AXES, every_axis, hits, torch_axis

from upconv.explain.overlap import (
    border_note,
    counts,
    even_alternatives,
    pairs,
    taps_by_residue,
    verdict,
    worst,
)
from upconv.geometry import Axis


def inner_counts(k, s, d):
    """The counts of one period of outputs in the middle of an input too long to have borders there."""
    axis = Axis(2 * d * k + 9, k, s, d)
    middle = axis.full // 2
    return {len(hits(axis, o)) for o in range(middle, middle + s)}


def test_pairs_and_counts_are_those_of_the_definition():
    for axis in every_axis(3):
        assert [set(pairs(axis, o)) for o in range(axis.out)] == [hits(axis, o) for o in range(axis.out)]
        assert counts(axis) == [len(hits(axis, o)) for o in range(axis.out)]
        assert sum(counts(axis)) == sum(axis.tap_counts)


def test_counts_of_a_part_are_part_of_the_counts():
    axis = AXES["long"]
    assert counts(axis, range(5, 11)) == counts(axis)[5:11]


@pytest.mark.parametrize("k", range(1, 8))
def test_the_verdict_is_even_exactly_when_inner_counts_agree(k):
    for s in range(1, 5):
        for d in range(1, 5):
            axis, inner = Axis(3, k, s, d), inner_counts(k, s, d)
            expected = "even" if len(inner) == 1 else "holes" if 0 in inner else "uneven"
            assert verdict(axis).kind == expected, (k, s, d)
            assert set(taps_by_residue(axis)) == inner


def test_the_verdict_names_its_numbers():
    assert "2 and 1 products" in verdict(AXES["uneven"]).reason
    assert "2 products" in verdict(AXES["even"]).reason
    assert "1 of every 3 outputs holds" in verdict(AXES["gaps"]).reason
    assert "one position in 2" in verdict(AXES["holes"]).reason


def test_worst_of_two_axes():
    even, uneven, holes = (AXES[name] for name in ("even", "uneven", "holes"))
    assert [worst(axes) for axes in ([even, even], [even, uneven], [holes, uneven])] == ["even", "uneven", "holes"]


@pytest.mark.parametrize("name", ["uneven", "gaps", "holes", "deep cut", "extended"])
def test_alternatives_keep_the_sizes_and_are_even(name):
    axis = AXES[name]
    found = even_alternatives(axis)
    assert found
    for setting in found:
        other = setting.axis(axis.n)
        assert (other.out, other.s, other.even_overlap) == (axis.out, axis.s, True)


def test_border_notes_mark_the_outputs_that_receive_fewer():
    assert "the first output and the last output" in border_note(AXES["even"])
    assert border_note(torch_axis(4, 3, 2, 1, 1)).endswith("layer: the last output")
    assert border_note(torch_axis(4, 2, 2)) is None
    assert border_note(torch_axis(5, 3, 1, 2)) is None
    assert "some of the first 4 and some of the last 4" in border_note(AXES["wide kernel"])
    assert "so short" in border_note(AXES["one input"])
