"""The Rows of an axis against the definition, and how channels are cut into blocks."""

import itertools
import random
from collections import Counter

import pytest

from upconv.algorithms import direct_rows, gemm, gemm_fused_phases
from upconv.geometry import Axis
from upconv.kernels.gemm import heights
from upconv.runtime import kernel
from upconv.schedule import rows as lists

ODD = (
    Axis(1, 1, 1),
    Axis(5, 4, 2, 1, 1, 1),
    Axis(3, 5, 3, 2, 0, 0),
    Axis(2, 2, 4, 2, -3, -3),
    Axis(4, 7, 2, 3, 5, 4),
    Axis(3, 3, 4, 4, 0, 0),
    Axis(2, 1, 4, 1, 2, 0),
    Axis(2, 3, 7, 5, 1, -2),
)


def axes(number):
    """Axes at random, of which most have borders, holes or several phases."""
    draw = random.Random(number)
    while True:
        n, k, s, d = (draw.randrange(1, limit) for limit in (7, 8, 8, 4))
        crops = draw.randrange(-3, 6), draw.randrange(-3, 6)
        if sum(crops) < Axis(n, k, s, d).full:
            yield Axis(n, k, s, d, *crops)


def forward_triples(axis):
    """(output, input, tap) of every product of the definition."""
    for i, t in itertools.product(range(axis.n), range(axis.k)):
        o = i * axis.s + t * axis.d - axis.crop_lo
        if 0 <= o < axis.out:
            yield o, i, t


def triples(row, lists):
    """(output, source, tap) of a Row through lists of (phase, first offset, taps)."""
    phases = len(row.own)
    for p, a, taps in lists:
        for place in range(p, row.columns, phases):
            for m, t in enumerate(taps):
                source = place // phases + a - m * row.back
                if 0 <= source < row.in_cols:
                    yield row.start + place * row.step, source, t


def in_parts(row):
    """The products of the shared taps, and of those that are left to each phase."""
    lists = [(p, row.a, taps) for p, taps in enumerate(row.shared)] + [(p, o.a, o.taps) for p, o in enumerate(row.own)]
    assert {len(taps) for taps in row.shared} == {row.count}
    # A kernel has one step from tap to tap for all.
    assert len({taps.step for _, _, taps in lists if len(taps) > 1}) <= 1
    return triples(row, lists)


def as_a_whole(row):
    return triples(row, [(p, each.a, each.taps) for p, each in enumerate(row.whole)])


@pytest.mark.parametrize("walk", [in_parts, as_a_whole])
def test_every_product_is_in_the_rows_once(walk):
    shared = 0
    for axis in (*ODD, *itertools.islice(axes(0), 6000)):
        rows = lists.rows_of(axis, forward=True)
        assert len(rows) == 1 or axis.s > lists.MOST_INTERLEAVED
        found = Counter(triple for row in rows for triple in walk(row))
        assert found == Counter(forward_triples(axis)), axis
        assert sum(row.columns for row in rows) <= axis.out
        shared += any(row.count for row in rows if len(row.own) > 1)
    assert shared > 300


@pytest.mark.parametrize("walk", [in_parts, as_a_whole])
def test_likewise_for_the_gradient(walk):
    """Kernels of whole rows compute it for stride 1: the roles of input and output are exchanged."""
    for axis in itertools.islice((axis for axis in axes(1) if axis.s == 1), 300):
        (row,) = lists.rows_of(axis, forward=False)
        assert Counter(walk(row)) == Counter((i, o, t) for o, i, t in forward_triples(axis)), axis
        assert (row.start, row.step, row.columns) == (0, 1, axis.n)


def test_what_is_shared_is_as_much_as_can_be():
    """k4 s2: two taps at three places, of which both phases have the middle one. k2 s2: everything."""
    (row,) = lists.rows_of(Axis(9, 4, 2, 1, 1, 1), True)
    assert (row.count, [len(own.taps) for own in row.own]) == (1, [1, 1])
    (row,) = lists.rows_of(Axis(9, 2, 2), True)
    assert (row.count, [len(own.taps) for own in row.own]) == (1, [0, 0])
    (row,) = lists.rows_of(Axis(9, 3, 2, 2), True)
    assert row.count == 0


def test_a_row_without_taps_holds_the_bias():
    row = lists.everything(7)
    assert [*in_parts(row), *as_a_whole(row)] == []
    assert (row.start, row.step, row.columns, len(row.own)) == (0, 1, 7, 1)


@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_blocks_are_all_channels_and_even(s, isa):
    most = direct_rows.CHANNELS[kernel.isa().registers][s]
    for channels in range(1, 70):
        found = direct_rows.blocks_of(channels, s)
        every = [(start + place * mr, mr) for start, mr, number in found for place in range(number)]
        assert [start for start, _ in every] == [0, *itertools.accumulate(mr for _, mr in every)][:-1]
        assert sum(mr for _, mr in every) == channels
        sizes = {mr for _, mr in every}
        assert max(sizes) <= most
        assert max(sizes) - min(sizes) <= 1
        assert len(found) <= 2
        assert all(1 <= direct_rows.across(mr, s) <= direct_rows.ACROSS for mr in sizes)
        assert all(mr * s * direct_rows.across(mr, s) <= direct_rows.SUMS[kernel.isa().registers] for mr in sizes)


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_blocks_of_fused_phases_fill_their_vectors(lanes, isa):
    most = max(heights(kernel.isa()))
    for channels, phases in itertools.product(range(1, 80), range(1, 10)):
        found = gemm_fused_phases.blocks_of(channels, phases, lanes)
        starts, columns = [block.first for block in found], [block.columns for block in found]
        assert columns == [end - start for start, end in itertools.pairwise([*starts, phases * channels])]
        assert starts[0] == 0
        assert all(count == block.width for count, block in zip(columns[:-1], found[:-1], strict=True))
        assert 0 <= found[-1].width - columns[-1] < lanes
        assert max(block.width for block in found) <= most * lanes


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_blocks_of_channels_are_even(lanes, isa):
    most = max(heights(kernel.isa()))
    for channels in range(1, 300):
        found = gemm.blocks_of(channels, lanes)
        wide = [block.width // lanes for block in found]
        assert [block.first for block in found] == [lanes * sum(wide[:number]) for number in range(len(wide))]
        assert sum(wide) == -(-channels // lanes)
        assert sum(block.columns for block in found) == channels
        assert all(block.width - lanes < block.columns <= block.width for block in found)
        assert 1 <= min(wide) <= max(wide) <= most
        assert max(wide) - min(wide) <= 1


@pytest.mark.parametrize("shares", [True, False])
def test_a_list_says_all_of_a_row(shares):
    """Read back from its fields, every row is what it was; 12 bytes from column to column of y, 20 from tap to tap."""
    for axis in (*ODD, *itertools.islice(axes(2), 500)):
        found = lists.rows_of(axis, True)
        if not found or (not shares and len(found[0].own) != axis.s):
            continue
        listed = lists.row_list(found, 12, 20, shares=shares)
        assert len(listed.values) == len(found)
        for row, values in zip(found, listed.values, strict=True):
            said = dict(zip(listed.fields, values, strict=True))
            assert len(said) == len(values)
            assert (said["y"], said["in_cols"], said["out_cols"]) == (12 * row.start, row.in_cols, row.columns)
            assert said["back"] == row.back
            assert said.get("y_col", 12 * row.step) == 12 * row.step
            own = row.own if shares else row.whole
            for p, each in enumerate(own):
                assert (said[f"a_{p}"], said[f"n_{p}"]) == (each.a, len(each.taps))
                read = [said[f"first_{p}"] + m * said["w_w"] for m in range(len(each.taps))]
                assert read == [20 * tap for tap in each.taps]
            if shares:
                assert (said["shared_a"], said["shared_count"]) == (row.a, row.count)
                for p, taps in enumerate(row.shared):
                    read = [said[f"shared_{p}"] + m * said["w_w"] for m in range(row.count)]
                    assert read == [20 * tap for tap in taps]
