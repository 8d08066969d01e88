"""Phases and segments against brute force: they walk every triple that meets, once, and only those."""

import time
from math import gcd

import pytest
from cases import CASES
from test_geometry import AXES, triples

from upconv.errors import SettingError
from upconv.geometry import Axis, ceil_div
from upconv.phases import (
    MOST_SEGMENTS,
    alike_phases,
    input_segments,
    live_segment_count,
    live_segments,
    most_segments,
    phases,
)

EVERY = [*AXES, *(axis for case in CASES for axis in (case.geometry().h, case.geometry().w))]


def walked(segments):
    """(place, tap, neighbour) for every product that the segments describe."""
    return [
        (s.start + j * s.step, t, s.source + j * s.source_step + a * s.tap_step)
        for s in segments
        for j in range(s.count)
        for a, t in enumerate(s.taps)
    ]


def places(segments):
    return [s.start + j * s.step for s in segments for j in range(s.count)]


def test_phases_walk_every_triple_exactly_once():
    for axis in EVERY:
        seen = walked([segment for phase in phases(axis) for segment in phase.segments])
        assert len(seen) == len(set(seen)), axis
        assert {(i, t, o) for o, t, i in seen} == triples(axis), axis


def test_input_segments_walk_every_triple_exactly_once():
    for axis in EVERY:
        seen = walked(input_segments(axis))
        assert len(seen) == len(set(seen)), axis
        assert set(seen) == triples(axis), axis


def test_every_output_and_every_input_belongs_to_one_segment():
    """Also those that nothing reaches, since they hold the bias."""
    for axis in EVERY:
        outputs = places([segment for phase in phases(axis) for segment in phase.segments])
        assert sorted(outputs) == list(range(axis.out)), axis
        assert places(input_segments(axis)) == list(range(axis.n)), axis


def test_the_slice_of_a_segment_is_its_places():
    for axis in EVERY:
        for phase in phases(axis):
            for segment in phase.segments:
                assert list(range(axis.out))[segment.places] == places([segment])


def test_a_phase_is_a_residue_class_of_the_canvas():
    for axis in EVERY:
        found = phases(axis)
        assert len({phase.residue for phase in found}) == len(found) == min(axis.s, axis.out)
        for number, phase in enumerate(found):
            assert phase.start == number
            assert phase.count == len(range(phase.start, axis.out, axis.s)) == sum(s.count for s in phase.segments)
            for place in places(phase.segments):
                assert (place + axis.crop_lo) % axis.s == phase.residue


def test_the_residue_selects_the_taps():
    """Holes where gcd(stride, dilation) does not divide it; elsewhere floor or ceil of k*g/s taps."""
    for axis in EVERY:
        g = gcd(axis.s, axis.d)
        for phase in phases(axis):
            assert list(phase.taps) == [t for t in range(axis.k) if (t * axis.d - phase.residue) % axis.s == 0]
            if phase.residue % g:
                assert not phase.taps
            else:
                assert len(phase.taps) in (axis.k * g // axis.s, ceil_div(axis.k * g, axis.s))


def test_segments_within_a_phase_differ_in_taps_and_at_most_one_has_them_all():
    for axis in EVERY:
        for phase in phases(axis):
            neighbours = zip(phase.segments, phase.segments[1:], strict=False)
            assert all(one.taps != other.taps for one, other in neighbours), axis
            assert len([segment for segment in phase.segments if segment.taps == phase.taps]) <= 1


def test_a_long_input_has_an_inside_in_every_phase_with_taps():
    for k, s, d in ((3, 2, 1), (4, 2, 1), (5, 3, 2), (3, 4, 2), (4, 6, 9)):
        axis = Axis(50, k, s, d, 1, 1)
        for phase in filter(lambda phase: phase.taps, phases(axis)):
            counts = [(segment.taps == phase.taps, segment.count) for segment in phase.segments]
            inside, border = (sum(count for is_full, count in counts if is_full == side) for side in (True, False))
            assert inside > border


def test_segments_never_leave_the_arrays():
    for axis in EVERY:
        for place, _, neighbour in walked(input_segments(axis)):
            assert 0 <= place < axis.n
            assert 0 <= neighbour < axis.out


def test_segments_are_counted_without_being_made():
    for axis in EVERY:
        assert live_segment_count(axis) == len(live_segments(axis)), axis
        assert live_segment_count(axis) <= most_segments(axis), axis
    axis = Axis(20, 64, 32)
    assert live_segment_count(axis) == most_segments(axis) == 96


def test_phases_that_are_alike_are_all_that_have_taps():
    for axis in EVERY:
        found = [
            s._replace(start=s.start + start, taps=range(s.taps.start + tap, s.taps.stop + tap, s.taps.step))
            for kind in alike_phases(axis)
            for start, tap in kind.shifts
            for s in kind.segments
        ]
        assert len(found) == len(live_segments(axis)), axis
        assert sorted(walked(found)) == sorted(walked(live_segments(axis))), axis


def test_products_and_live_taps_are_counted_without_visiting_them():
    for axis in EVERY:
        counts = axis.tap_counts
        assert (axis.pairs, axis.live_taps) == (sum(counts), sum(count > 0 for count in counts)), axis


# In seconds, on any machine; scanning all taps for every segment took from 0.4 to 100 times as long.
SOON = 3
TALL = Axis(50, 30_000, 2), Axis(3, 60_000), Axis(50, 30_000, 3, 2, 20_000, 20_000), Axis(30_000, 20_000, 1, 1, 9_000)


@pytest.mark.parametrize("axis", TALL, ids=str)
def test_a_tall_kernel_takes_a_time_that_grows_with_its_taps(axis):
    began = time.perf_counter()
    assert sum(s.count * len(s.taps) for s in live_segments(axis)) == axis.pairs
    assert sum(s.count * len(s.taps) for s in input_segments(axis)) == axis.pairs
    assert time.perf_counter() - began < SOON


@pytest.mark.parametrize(
    ("ask", "axis"),
    [
        (live_segments, Axis(4, 10**9, 7)),
        (live_segments, Axis(10**9, 10**9)),
        (live_segments, Axis(4, MOST_SEGMENTS, 1)),
        (input_segments, Axis(10**9, 10**9)),
        (phases, Axis(4, 3, 10**9)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_more_than_can_be_listed_is_refused_at_once(ask, axis):
    began = time.perf_counter()
    with pytest.raises(SettingError, match="too many to list; cut the weight into kernels of fewer taps"):
        ask(axis)
    assert time.perf_counter() - began < SOON
