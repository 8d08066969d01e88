"""Bands and segments of an axis against brute force: every place once, with the window of the source that it needs."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from upconv.geometry import Axis, Geometry
from upconv.problem import Problem
from upconv.runtime.program import X, Y
from upconv.schedule import bands, segments
from upconv.schedule.placed_problem import PlacedProblem


def axes(number, count):
    """Axes at random, of which most have borders, holes or several phases."""
    draw, found = random.Random(number), 0
    while found < count:
        n, k, s, d = (draw.randrange(1, limit) for limit in (30, 8, 6, 4))
        crops = draw.randrange(-9, 9), draw.randrange(-9, 9)
        if sum(crops) < Axis(n, k, s, d).full:
            found += 1
            yield Axis(n, k, s, d, *crops)


def triples(axis):
    """(output, input, tap) of every product of the definition."""
    for i, t in itertools.product(range(axis.n), range(axis.k)):
        o = i * axis.s + t * axis.d - axis.crop_lo
        if 0 <= o < axis.out:
            yield o, i, t


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 1000])
def test_the_runs_of_an_axis_are_its_outputs_once_with_their_products(step):
    """The products of every band, moved to where it is, are together those of the axis."""
    many = 0
    for axis in axes(step, 250):
        found, places = Counter(), []
        for run in bands.runs(axis, True, step):
            assert (run.axis.out, run.axis.n, run.step) == (run.size, run.source_size, step)
            many += run.count > 1
            for number in range(run.count):
                first, source = run.first + number * run.step, run.source + number * run.source_step
                places += range(first, first + run.size)
                assert 0 <= source <= source + run.source_size <= axis.n
                found.update((o + first, i + source, t) for o, i, t in triples(run.axis))
        assert places == list(range(axis.out)), axis
        assert found == Counter(triples(axis)), axis
    assert many or step == 1000


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 1000])
def test_likewise_for_the_gradient(step):
    """Its result is the input, and the window is of the outputs."""
    for axis in axes(step + 50, 250):
        found, places = Counter(), []
        for run in bands.runs(axis, False, step):
            assert (run.axis.n, run.axis.out) == (run.size, run.source_size)
            for number in range(run.count):
                first, source = run.first + number * run.step, run.source + number * run.source_step
                places += range(first, first + run.size)
                assert 0 <= source <= source + run.source_size <= axis.out
                found.update((o + source, i + first, t) for o, i, t in triples(run.axis))
        assert places == list(range(axis.n)), axis
        assert found == Counter(triples(axis)), axis


def test_a_long_axis_has_few_runs():
    for n in (1000, 100_000, 10_000_000):
        assert len(bands.runs(Axis(n, 4, 2, 1, 1, 1), True, 64)) <= 4


@pytest.mark.parametrize("forward", [True, False])
def test_the_grids_of_a_task_are_every_place_of_the_result_once(forward, monkeypatch):
    """Units mark where they write; the addresses are those of a channels-last map."""
    monkeypatch.setattr(bands, "BAND_BYTES", 4096)
    draw, several = random.Random(3), 0
    for h, w in zip(axes(1, 60), axes(2, 60), strict=True):
        geometry = Geometry(draw.choice((1, 2, 5)), draw.choice((1, 3)), draw.choice((1, 9)), 1, h, w)
        task = PlacedProblem.dense(Problem("forward" if forward else "grad_input", geometry, "float32", "nhwc"))
        seen = []
        grids = bands.grids(task, lambda band, seen=seen: seen.append(band) or (), task.source, task.result)
        shape = (geometry.n, h.out, w.out) if forward else (geometry.n, h.n, w.n)
        written, pixel = np.zeros(shape, int), task.y
        for grid, band in zip(grids, seen, strict=True):
            rows, cols = (band.h.out, band.w.out) if forward else (band.h.n, band.w.n)
            for place in itertools.product(*map(range, grid.sizes)):
                at = band.y.offset + sum(i * step for i, step in zip(place, grid.steps[Y], strict=True))
                image, at = divmod(at, pixel.n)
                row, at = divmod(at, pixel.h)
                written[image : image + band.n, row : row + rows, at // pixel.w : at // pixel.w + cols] += 1
                source = band.x.offset + sum(i * step for i, step in zip(place, grid.steps[X], strict=True))
                assert source >= 0
            several += max(grid.sizes) > 1
        assert (written == 1).all(), geometry
    assert several > 20


def walked(found, rows):
    """(place of y, place of x, place of w) of every product of some segments, from the values of a list."""
    for x, y, w, taps, x_tap, w_tap, count, x_step, y_step in rows:
        for place, tap in itertools.product(range(count), range(taps)):
            yield y + place * y_step, x + place * x_step + tap * x_tap, w + tap * w_tap


@pytest.mark.parametrize("forward", [True, False])
def test_the_values_of_segments_are_every_product_once(forward):
    """In bytes: 3 from place to place of x, 5 of y, 7 of w."""
    for axis in axes(7, 600):
        rows = segments.values(segments.segments(axis, forward), 3, 5, 7)
        assert all(len(row) == len(segments.ROWS) == len(segments.COLS) for row in rows)
        want = Counter((5 * o, 3 * i, 7 * t) if forward else (5 * i, 3 * o, 7 * t) for o, i, t in triples(axis))
        assert Counter(walked(axis, rows)) == want, axis


def test_places_without_taps_are_said_to_exist():
    for h, w in zip(axes(8, 300), axes(9, 300), strict=True):
        some = any(len({o for o, _, _ in triples(axis)}) < axis.out for axis in (h, w))
        assert segments.some_are_holes(h, w, True) == some
        assert not segments.some_are_holes(h, w, False)


def test_places_without_taps_are_written_once():
    """Together with those that have taps they are all outputs; under a large stride all are written first."""
    kinds = Counter()
    strides = ((axis, Axis(axis.n, axis.k, 5 * axis.s, axis.d)) for axis in axes(12, 300))
    for h, w in zip(axes(8, 600), itertools.chain.from_iterable(strides), strict=True):
        found = segments.holes(h, w, True)
        live = [(segments.segments(h, True), segments.segments(w, True))]
        written = np.zeros((h.out, w.out), int)
        for rows, cols in (*found, *live):
            for row, col in itertools.product(rows, cols):
                written[row.places, col.places] += 1
        has_taps = np.outer(*(np.isin(range(axis.out), [o for o, _, _ in triples(axis)]) for axis in (h, w)))
        everything = segments.fills_all(h, w, True)
        assert (written == 1 + everything * has_taps).all(), (h, w)
        assert all(not row.taps or not col.taps for rows, cols in found for row in rows for col in cols)
        assert segments.holes(h, w, False) == ()
        kinds[everything, len(found)] += 1
    assert min(kinds[False, 0], kinds[False, 1], kinds[False, 2], kinds[True, 1]) > 1, kinds


def test_blocks_of_phases_are_every_product_and_every_output_once():
    """A place is a block of s outputs, those of the phases that are kept; a tap is one of each phase that has it."""
    cut = 0
    for axis in axes(11, 4000):
        if axis.d != 1:
            continue
        found, outputs = Counter(), Counter()
        for segment, (low, high) in segments.phase_blocks(axis):
            starts = (segment.start + place * segment.step for place in range(segment.count))
            outputs.update(start + phase for start in starts for phase in range(low, high))
            cut += (low, high) != (0, axis.s)
            for place, (number, tap) in itertools.product(range(segment.count), enumerate(segment.taps)):
                source = segment.source + place * segment.source_step + number * segment.tap_step
                for phase in range(low, high):
                    output = segment.start + place * segment.step + phase
                    assert 0 <= output < axis.out
                    if tap * axis.s + phase < axis.k:
                        found[output, source, tap * axis.s + phase] += 1
        assert found == Counter(triples(axis)), axis
        assert outputs == Counter(range(axis.out)), axis
        assert segments.fused_segments(axis) == tuple(each for each in segments.phase_blocks(axis) if each[0].taps)
    assert cut > 100


def test_tallies_count_the_segments():
    for axis in axes(12, 500):
        for forward in (True, False):
            counted = Counter((segment.count, len(segment.taps)) for segment in segments.segments(axis, forward))
            assert {(places, taps): number for places, taps, number in segments.tally(axis, forward)} == counted


@pytest.mark.parametrize("forward", [True, False])
def test_bands_beside_a_weight_larger_than_they_are_have_twice_the_bytes(forward):
    def rows(channels, most=None):
        axis = Axis(1000, 2, 2)
        return bands.largest(Geometry(1, channels, channels, 1, axis, Axis(8, 2, 2)), forward, 4, most=most)[1]

    # 2 x 2 taps: the weight of 256 channels is 1 MiB, that of 128 is 256 KiB.
    assert rows(128) == rows(128, bands.BAND_BYTES)
    assert rows(256) == rows(256, 2 * bands.BAND_BYTES) > rows(256, bands.BAND_BYTES)


def test_the_list_of_segments_is_that_of_each():
    """Made of the numbers that are kept with them, or of what is no more than a list of segments."""
    for axis, forward in itertools.product(axes(4, 100), (True, False)):
        found = segments.segments(axis, forward)
        wanted = segments.values(found, 12, 400, 7)
        for some in (found, list(found)):
            rows = segments.listed(segments.ROWS, some, 12, 400, 7)
            assert [tuple(row) for row in rows.values] == wanted


def test_bands_of_the_source_alone_have_as_much_of_it_however_large_the_result_is():
    for channels in (1, 16, 300):
        geometry = Geometry(1, 64, channels, 1, Axis(512, 2, 2), Axis(16, 2, 2))
        rows = bands.largest(geometry, True, 4, most=bands.of_source(geometry, 4))[1]
        assert 0.9 * bands.BAND_BYTES < rows // 2 * 16 * 64 * 4 <= bands.BAND_BYTES


@pytest.mark.parametrize("strides", [1, 2, 5])
def test_what_bands_read_is_counted_as_it_is_cut(strides):
    """Places of the source that the bands of an axis read together: those of its runs, nearly."""
    many = is_exact = 0
    for axis in axes(7, 400):
        step = strides * axis.s
        runs = bands.runs(axis, True, step)
        read = bands.overlapping(axis, step)
        if axis.out <= step or min(axis.crop_lo, axis.crop_hi) < 0 or step < axis.d * (axis.k - 1):
            continue
        many += 1
        exact = sum(run.count * run.source_size for run in runs)
        assert read.number == sum(run.count for run in runs)
        if axis.k >= axis.s and axis.d == 1:
            # What the last band but one would read beyond the end is counted.
            assert exact <= read.places <= exact + (axis.k - 1) // axis.s, axis
            assert read.each >= max(run.source_size for run in runs)
            is_exact += read.places == exact
    assert many > 20
    assert is_exact > 5


def _products(c_in, axis, times):
    """(bytes of products in a band of whole rows of a square map, places that all bands read) for so many times."""
    pixel = axis.k * axis.k * 4
    geometry = Geometry(1, c_in, 1, 1, axis, axis)
    most = bands.BAND_BYTES * (axis.n * c_in + axis.s * axis.out) * 4 // (axis.n * pixel + axis.s * axis.out * 4)
    _, rows, _ = bands.largest(geometry, True, 4, most=times * most)
    assert bands.beside_products(geometry, 4, pixel) % most == 0
    return bands.beside_products(geometry, 4, pixel) // most, bands.overlapping(axis, rows).places


def test_bands_whose_products_would_be_made_twice_are_larger():
    tall, even = Axis(128, 9, 2, 4, 3), Axis(128, 2, 2)
    times, read = _products(56, tall, 1)
    assert times == bands.MOST_TIMES
    # That is what they save.
    assert (read - _products(56, tall, times)[1]) * 56 > bands.WORTH * tall.n
    # Neighbours that read nothing twice, or whose products are quickly made again, stay near.
    assert _products(56, even, 1) == (1, even.n)
    assert _products(2, tall, 1)[0] == 1
