"""Counts, verdicts and remedies against the definition."""

import re

import pytest
from explain.layers import AXES, every_axis, hits, torch_axis

from upconv.explain import korean_sentences
from upconv.explain.edges import beyond_note, border_note
from upconv.explain.overlap import (
    REASONS,
    counts,
    even_alternatives,
    is_settled,
    live_phases,
    live_residues,
    pairs,
    phases_with_outputs,
    taps_of,
    verdict,
    worst,
)
from upconv.geometry import Axis
from upconv.phases import phases

# Rules that no axis of `every_axis` meets.
RARE = Axis(9, 3, 1, 6, 8, 8), Axis(1, 3, 4, 2, -1, 5), Axis(8, 2, 1, 6, 9, -1)


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
            axis, inner = Axis(2 * k * d, k, s, d), inner_counts(k, s, d)
            expected = "even" if len(inner) == 1 else "holes" if 0 in inner else "uneven"
            assert verdict(axis).kind == expected, (k, s, d)
            assert {len(taps_of(axis, residue)) for residue in range(s)} == inner


def test_phases_are_counted_and_listed_as_the_definition_has_them():
    for axis in every_axis():
        shown = {(o + axis.crop_lo) % axis.s for o in range(axis.out)}
        live = sorted(shown & {t * axis.d % axis.s for t in range(axis.k)})
        assert (live_phases(axis), phases_with_outputs(axis)) == (len(live), len(shown)), axis
        assert live_residues(axis, 2) == live[:2], axis


def test_settled_means_that_every_phase_has_an_inner_output():
    for axis in every_axis(5):
        found = phases(axis)
        inner = all(any(each.taps == phase.taps for each in phase.segments) for phase in found if phase.taps)
        if min(axis.crop_lo, axis.crop_hi) >= 0:
            assert is_settled(axis) == (inner and len(found) == axis.s), axis


def test_a_verdict_never_contradicts_the_counts():
    for axis in every_axis(5):
        on_canvas = [len(hits(axis, o)) for o in range(axis.out) if 0 <= o + axis.crop_lo < axis.full]
        found = verdict(axis)
        if not on_canvas or min(on_canvas) == max(on_canvas):
            assert found.kind == ("even" if on_canvas and on_canvas[0] else "holes"), axis
        if found.kind == "holes":
            assert 0 in on_canvas or not on_canvas, axis
        for number in map(int, re.findall(r"(\d+) products?", found.reason)):
            assert number in on_canvas, (axis, found.reason)


@pytest.mark.parametrize(
    ("axis", "kind", "words"),
    [
        (Axis(1, 4, 8), "even", "1 product,"),
        (Axis(1, 3, 2), "even", "1 product,"),
        (Axis(3, 9, 1, 4), "holes", "1 of every 4 outputs holds"),
        (Axis(4, 1, 4, 2), "holes", "3 of every 4 outputs hold"),
        (Axis(4, 10**8), "even", "4 products"),
        (Axis(2, 3, 10**7), "holes", "9999997 of every 10000000"),
    ],
)
def test_the_verdict_of_short_inputs_and_vast_numbers(axis, kind, words):
    found = verdict(axis)
    assert found.kind == kind
    assert words in found.reason
    assert "one position in 2" not in found.reason


def test_gaps_that_no_number_of_inputs_fills_are_not_laid_to_few_inputs():
    for n in (4, 40):
        found = verdict(Axis(n, 4, 2, 4))
        assert (found.kind, found.facts) == ("holes", {"s": 2, "d": 4, "g": 2}), found
        assert "share the divisor 2" in found.reason
    assert "leave gaps that 1 input cannot fill" in verdict(Axis(1, 4, 2, 4)).reason


def test_what_is_cut_away_is_not_laid_to_the_input():
    # Two positions of the canvas receive both taps, and padding cuts them.
    axis = Axis(8, 2, 1, 6, 9, -1)
    assert max(counts(Axis(8, 2, 1, 6))) == 2
    assert set(counts(axis, range(5))) == {1}
    assert (
        verdict(axis).reason == "the outputs receive 1 product each; the input is too short, or cut too far, for more"
    )


def test_every_reason_has_its_sentence_in_korean():
    assert REASONS.keys() == korean_sentences.REASONS.keys()
    seen = {(found := verdict(axis)).why: found for axis in (*every_axis(5), *RARE)}
    assert seen.keys() == REASONS.keys()
    for found in seen.values():
        said = korean_sentences.reason(found)
        numbers = re.findall(r"\d+", found.reason)
        assert set(numbers) <= set(re.findall(r"\d+", said)), (found.reason, said)


def test_outputs_beyond_the_canvas_are_no_border():
    axis = torch_axis(4, 3, 2, 0, 1)
    assert border_note(axis).endswith("end: the first output and the last output on the canvas")
    assert beyond_note(axis) == "the last output lies beyond the canvas: bias alone"
    assert "the first 2 outputs" in beyond_note(AXES["extended"])
    assert beyond_note(AXES["even"]) is None
    assert "2 outputs there hold the bias alone" in border_note(Axis(8, 2, 2, 3))


def test_alternatives_reach_every_output():
    for axis in every_axis(5):
        assert not any(0 in counts(setting.axis(axis.n)) for setting in even_alternatives(axis)), axis


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
    assert border_note(torch_axis(4, 3, 2, 1, 1)).endswith("end: the last output")
    assert border_note(torch_axis(4, 2, 2)) is None
    assert border_note(torch_axis(5, 3, 1, 2)) is None
    assert "some of the first 4 and some of the last 4" in border_note(AXES["wide kernel"])
    assert "so short" in border_note(AXES["one input"])
