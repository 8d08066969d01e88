"""The integers: sizes, taps and counts against brute force, and messages that help."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from cases import CASES

import upconv
from upconv import SettingError
from upconv.geometry import Axis, Geometry, ceil_div, check_channels, output_length
from upconv.volume import Line, Volume

AXES = [
    Axis(n, k, s, d, lo, hi)
    for n, k, s, d in itertools.product((1, 2, 5), (1, 2, 4), (1, 2, 3, 4), (1, 2, 3))
    for lo, hi in ((0, 0), (1, 0), (2, 3), (-1, 2), (3, -4), (-5, -2))
    if output_length(n, k, s, d, lo, hi) > 0
]


def triples(axis):
    """(input, tap, output) that meet, by walking the stamped canvas."""
    canvas = {}
    for i in range(axis.n):
        for t in range(axis.k):
            canvas.setdefault(i * axis.s + t * axis.d, []).append((i, t))
    kept = range(axis.crop_lo, axis.full - axis.crop_hi)
    return {(i, t, place - axis.crop_lo) for place, pairs in canvas.items() if place in kept for i, t in pairs}


class Symbol:
    """An integer that is only known by name: arithmetic gives text, comparison and truth are errors."""

    def __init__(self, text):
        self.text = text

    def _binary(self, sign, other, swapped=False):
        a, b = self.text, other.text if isinstance(other, Symbol) else str(other)
        return Symbol(f"({b} {sign} {a})" if swapped else f"({a} {sign} {b})")

    def __add__(self, other):
        return self._binary("+", other)

    def __radd__(self, other):
        return self._binary("+", other, True)

    def __sub__(self, other):
        return self._binary("-", other)

    def __rsub__(self, other):
        return self._binary("-", other, True)

    def __mul__(self, other):
        return self._binary("*", other)

    def __rmul__(self, other):
        return self._binary("*", other, True)

    def __bool__(self):
        raise AssertionError("a symbolic integer has no truth value")

    __eq__ = __lt__ = __index__ = __bool__
    __hash__ = None


def test_the_brute_force_has_enough_axes_with_holes_and_crops():
    assert len(AXES) > 400
    assert sum(axis.g > 1 for axis in AXES) > 100
    assert sum(min(axis.crop_lo, axis.crop_hi) < 0 for axis in AXES) > 100


def test_sizes_follow_the_stamped_canvas():
    for axis in AXES:
        farthest = max(i * axis.s + t * axis.d for i in range(axis.n) for t in range(axis.k))
        assert axis.full == farthest + 1
        assert axis.out == len(range(axis.crop_lo, axis.full - axis.crop_hi))
        assert axis.k_eff == axis.d * (axis.k - 1) + 1


def test_tap_ranges_and_counts_name_exactly_the_triples_that_meet():
    for axis in AXES:
        want = triples(axis)
        got = {(i, t, i * axis.s + t * axis.d - axis.crop_lo) for t in range(axis.k) for i in range(*axis.tap_range(t))}
        assert got == want, axis
        assert axis.tap_counts == [sum(t == tap for _, t, _ in want) for tap in range(axis.k)], axis


def test_multiply_adds_and_live_weights_are_counted_one_by_one():
    for case in CASES:
        g = case.geometry()
        meet_h, meet_w = triples(g.h), triples(g.w)
        per_pixel_pair = g.n * sum(1 for _ in range(g.c_out) for _ in range(g.c_in // g.groups))
        assert g.macs == per_pixel_pair * len(meet_h) * len(meet_w), case
        live = len({t for _, t, _ in meet_h}) * len({t for _, t, _ in meet_w})
        assert g.live_weights == g.c_in * (g.c_out // g.groups) * live, case
        elements = g.n * (g.c_in * g.h.n * g.w.n + g.c_out * g.h.out * g.w.out) + g.live_weights
        assert g.elements() == elements, case


def test_overlap_is_even_when_every_inner_output_meets_as_many_inputs():
    """On an input long enough to have an inside, cropped to that inside."""
    for k, s, d in itertools.product(range(1, 7), range(1, 5), range(1, 5)):
        reach = d * (k - 1)
        axis = Axis(2 * reach + 3 * s, k, s, d, reach, reach)
        counts = [sum(o == out for _, _, o in triples(axis)) for out in range(axis.out)]
        assert axis.even_overlap == (len(set(counts)) == 1), (k, s, d)


def test_a_window_makes_its_outputs_from_the_inputs_that_reach_them_and_no_others():
    """The triples of the window, moved back, are those of the whole axis that end in lo..hi - 1."""
    for axis in AXES:
        whole = triples(axis)
        for lo, hi in runs(axis.out):
            first, part = axis.window(lo, hi)
            assert part.out == hi - lo, (axis, lo, hi)
            assert 0 <= first <= first + part.n <= axis.n, (axis, lo, hi)
            assert {(first + i, t, lo + o) for i, t, o in triples(part)} == {
                triple for triple in whole if lo <= triple[2] < hi
            }, (axis, lo, hi)


def test_an_input_window_reaches_the_outputs_of_its_inputs_and_no_others():
    for axis in AXES:
        whole = triples(axis)
        for lo, hi in runs(axis.n):
            first, part = axis.input_window(lo, hi)
            assert part.n == hi - lo, (axis, lo, hi)
            assert 0 <= first < first + part.out <= axis.out, (axis, lo, hi)
            assert {(lo + i, t, first + o) for i, t, o in triples(part)} == {
                triple for triple in whole if lo <= triple[0] < hi
            }, (axis, lo, hi)


def runs(size):
    """(lo, hi) of some runs inside 0..size: single places, halves, the whole."""
    return {(0, size), (0, 1), (size - 1, size), (size // 2, size), (size // 3, max(size // 3 + 1, 2 * size // 3))}


def test_meeting_lists_the_pairs_of_a_tap_in_order():
    for axis in AXES:
        whole = triples(axis)
        for t in range(axis.k):
            first_in, first_out, count = axis.meeting(t)
            pairs = {(first_in + j, t, first_out + j * axis.s) for j in range(count)}
            assert pairs == {triple for triple in whole if triple[1] == t}, (axis, t)
            assert len(pairs) == count, (axis, t)


def test_the_output_size_accepts_symbols_and_fractions():
    n, k, s, d, lo, hi = (Symbol(name) for name in ("n", "k", "s", "d", "lo", "hi"))
    formula = output_length(n, k, s, d, lo, hi).text
    for values in ((7, 3, 2, 1, 1, 0), (5, 4, 3, 2, -1, 2)):
        named = dict(zip(("n", "k", "s", "d", "lo", "hi"), values, strict=True))
        assert eval(formula, named) == output_length(*values)
    assert output_length(Fraction(9, 2), 3, 2) == 10


def test_shapes_follow_from_the_axes():
    g = Geometry(3, 8, 12, 4, Axis(5, 3, 2), Axis(6, 4, 1, 2, 1, -1))
    assert (g.input_shape, g.weight_shape, g.output_shape) == ((3, 8, 5, 6), (8, 3, 3, 4), (3, 12, 11, 12))


def test_a_geometry_is_a_value():
    one, other = (Geometry(1, 1, 1, 1, Axis(5, 3, 2), Axis(6, 3, 2)) for _ in "ab")
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        one.n = 2


def test_division_rounds_up():
    for a, b in itertools.product(range(-9, 10), range(1, 5)):
        assert ceil_div(a, b) * b >= a > (ceil_div(a, b) - 1) * b


@pytest.mark.parametrize(
    ("make", "received", "allowed"),
    [
        (lambda: Axis(0, 3), "input size is 0", "at least 1"),
        (lambda: Axis(4, -2), "kernel is -2", "at least 1"),
        (lambda: Axis(4, 3, s=0), "stride is 0", "at least 1"),
        (lambda: Axis(4, 3, d=0), "dilation is 0", "at least 1"),
        (lambda: Axis(2, 3, s=2, crop_lo=4, crop_hi=3), "cuts (4, 3)", "at most 4"),
        (lambda: Geometry(-1, 1, 1, 1, Axis(1, 1), Axis(1, 1)), "-1", "at least 0"),
        (lambda: check_channels(0, 1, 1), "in_channels is 0", "at least 1"),
        (lambda: check_channels(1, 1, 0), "groups is 0", "at least 1"),
        (lambda: check_channels(8, 6, 4), "out_channels is 6", "groups=2"),
        (lambda: check_channels(7, 6, 3), "in_channels is 7", "groups=1"),
    ],
)
def test_messages_say_what_was_received_and_what_is_allowed(make, received, allowed):
    with pytest.raises(SettingError) as refusal:
        make()
    assert received in str(refusal.value)
    assert allowed in str(refusal.value)


def test_the_nearest_number_of_groups_really_divides():
    for channels, groups in itertools.product(range(1, 13), range(2, 14)):
        if channels % groups:
            with pytest.raises(SettingError) as refusal:
                check_channels(channels, groups, groups)
            advice = int(str(refusal.value).split("groups=")[2].split()[0])
            assert channels % advice == 0
            assert advice < groups


@pytest.mark.parametrize(
    ("settings", "received", "allowed"),
    [
        ({"stride": 0}, "stride is (0, 0)", "at least 1"),
        ({"dilation": (1, -3)}, "dilation is (1, -3)", "at least 1"),
        ({"padding": -1}, "padding is (-1, -1)", "at least 0"),
        ({"output_padding": (0, -1)}, "output_padding is (0, -1)", "at least 0"),
        ({"stride": 2, "output_padding": 3}, "output_padding is 3", "at most 1"),
        ({"stride": 2, "dilation": (1, 3), "output_padding": (1, 3)}, "width: output_padding is 3", "at most 2"),
        ({"padding": 4}, "height: the output size would be -2", "at most 5"),
        ({"groups": 0}, "groups is 0", "at least 1"),
        ({"stride": (1, 2, 3)}, "(1, 2, 3) with 3 elements", "give one, or two"),
    ],
)
def test_the_same_holds_for_the_settings_of_a_call(settings, received, allowed):
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(SettingError) as refusal:
        upconv.conv_transpose2d(x, x[..., :3, :3], **settings)
    assert received in str(refusal.value)
    assert allowed in str(refusal.value)


@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (8, 12), (9, 9), (7, 13), (36, 48), (64, 64)])
def test_the_groups_proposed_are_the_most_below_those_asked_for(c_in, c_out):
    for groups in range(2, 70):
        if c_in % groups or c_out % groups:
            best = max(g for g in range(1, groups) if c_in % g == c_out % g == 0)
            with pytest.raises(SettingError, match=f"groups={best} would"):
                check_channels(c_in, c_out, groups)


HUGE = 2**62


@pytest.mark.parametrize(
    ("axis", "computed"),
    [
        (Axis(1, 3, s=HUGE), Axis(1, 3)),
        (Axis(3, 1, d=HUGE), Axis(3, 1)),
        (Axis(1, 1, s=HUGE, d=HUGE, crop_lo=-1), Axis(1, 1, crop_lo=-1)),
        (Axis(1, 1, s=3, d=5), Axis(1, 1, s=3, d=5)),
        (Axis(2, 2, s=2**40, d=2**40), Axis(2, 2, s=2**40, d=2**40)),
    ],
)
def test_a_huge_step_that_is_never_taken_is_computed_as_one(axis, computed):
    assert axis.computable() == computed
    assert axis.computable().out == axis.out


@pytest.mark.parametrize(
    ("axis", "name"),
    [
        (Axis(2, 1, s=HUGE), "stride is 4611686018427387904"),
        (Axis(2, 1, s=HUGE, crop_lo=HUGE), "stride is 4611686018427387904"),
        (Axis(1, 2, d=HUGE), "dilation is 4611686018427387904"),
        (Axis(1, 1, crop_lo=-HUGE, crop_hi=HUGE), "padding is -4611686018427387904"),
        (Axis(1, 1, crop_lo=HUGE, crop_hi=-HUGE), "padding is 4611686018427387904"),
    ],
)
def test_a_huge_step_that_is_taken_is_refused_by_name(axis, name):
    with pytest.raises(SettingError, match=name):
        axis.computable()


def test_a_negative_batch_is_refused_whatever_the_dimensions():
    ends = {"n": -1, "c_in": 2, "c_out": 2, "groups": 1, "w": Axis(4, 3)}
    for made in (
        lambda: Line(**ends),
        lambda: Geometry(**ends, h=Axis(4, 3)),
        lambda: Volume(**ends, d=Axis(4, 3), h=Axis(4, 3)),
    ):
        with pytest.raises(SettingError, match="the batch size is -1; it must be at least 0"):
            made()
