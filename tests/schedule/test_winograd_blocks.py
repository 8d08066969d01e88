"""Blocks of tiles of an axis: what each reads and writes, and which of them are alike."""

import random

import pytest

from upconv.errors import SettingError
from upconv.geometry import Axis
from upconv.schedule import winograd_blocks
from upconv.schedule.winograd_blocks import cut
from upconv.winograd_parts import parts, ways_alone


def cuts(count):
    """(the axis, the way, whether forward, the Cut) of random axes, some of them cropped to bits or extended far."""
    draw, found = random.Random(7), []
    while len(found) < count:
        n, k = draw.choice((draw.randint(1, 9), draw.randint(1, 200))), draw.randint(1, 8)
        crops = draw.randint(-20, 9), draw.randint(-20, 9)
        try:
            axis = Axis(n, k, draw.choice((1, 1, 2, 2, 3, 4, 8)), draw.choice((1, 1, 1, 2, 3)), *crops)
        except SettingError:
            continue
        forward = draw.random() < 0.6
        for way in ways_alone(axis, forward):
            found.append((axis, way, forward, cut(axis, way.outputs, forward, way.apart, draw.randint(1, 12))))
    return found


def test_blocks_that_are_not_looked_at_are_as_if_they_were():
    """Those between the ends of a map follow from the first of them."""
    passed_over = 0
    for axis, way, forward, made in cuts(400):
        there = parts(axis, way.outputs, forward, way.apart)
        first, end = winograd_blocks._inner(there, made.size)
        passed_over += max(0, min(end, len(made.blocks)) - first - 1)
        for number, spans in enumerate(zip(made.src, made.dst, strict=True)):
            assert winograd_blocks._extents(made.pieces, number)[:2] == spans, (axis, way)
    assert passed_over > 1000


@pytest.mark.parametrize("name", ["runs", "in_place"])
def test_runs_are_all_blocks_once_and_of_as_many_tiles(name):
    for axis, way, _, made in cuts(400):
        numbers = []
        for run in getattr(made, name):
            some = range(run.first, run.first + run.count)
            numbers += some
            counts = [[own[i][1] for _, _, own in made.pieces if i < len(own)] for i in some]
            assert counts == [counts[0]] * run.count, (axis, way)
            assert [made.blocks[i][0] for i in some] == [
                made.blocks[run.first][0] + j * run.tiles for j in range(run.count)
            ]
        assert numbers == [*range(len(made.blocks))]


def test_ends_of_a_map_make_no_difference_where_it_lies():
    """A block beyond an end reads zeros there, as the others would."""
    made = cut(Axis(100, 4, 2, 1, 1, 1), {2: 3}, True, False, 2)
    assert [run.count for run in made.runs] == [1, 15, 1]
    assert [run.count for run in made.in_place] == [17]
