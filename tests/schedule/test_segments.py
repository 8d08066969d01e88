"""The lists of segments against the segments that they are made from."""

import random

from upconv.geometry import Axis
from upconv.phases import live_segments
from upconv.schedule.segments import FEW_PHASES, ROWS, live_rows, values


def test_lists_of_phases_that_are_alike_are_all_segments():
    """As a sum of a row of each list; 8 bytes from row to row of x, 40 of y, 12 of the weight."""
    draw, numbers = random.Random(5), set()
    for _ in range(2000):
        n, k, s, d = draw.randrange(1, 9), draw.randrange(1, 80), draw.randrange(1, 70), draw.choice((1, 1, 2, 3))
        crops = draw.randrange(-40, 60), draw.randrange(-40, 60)
        if sum(crops) >= Axis(n, k, s, d).full:
            continue
        axis, found = Axis(n, k, s, d, *crops), []
        made = live_rows(axis, 8, 40, 12)
        numbers.add(len(made[0]) if made else 0)
        for first, *second in made:
            for row in first.values:
                moved = dict(zip(first.fields, row, strict=True))
                for rest in second[0].values if second else ((0,) * len(ROWS),):
                    found.append(tuple(value + moved.get(name, 0) for name, value in zip(ROWS, rest, strict=True)))
        assert sorted(found) == sorted(values(live_segments(axis), 8, 40, 12)), axis
    assert numbers == {0, 1, 2}


def test_a_tall_stride_has_a_row_for_each_phase_and_each_kind_of_run():
    ((phases, runs),) = live_rows(Axis(9, 64, 32), 8, 40, 12)
    assert (len(phases.values), len(runs.values)) == (32, 3)
    # Kinds of few phases each stay one list.
    assert len(live_rows(Axis(9, 2 * FEW_PHASES, FEW_PHASES), 8, 40, 12)) == 1
