"""Programs of a few jobs that only move values: units, stages, parts, scratch; and calls within calls."""

import itertools

import numpy as np
import pytest
from upconv.runtime.jobs import PANELS, X_BAND, Program, in_turn, join, repeat, stage
from upconv.schedule.place import copying, transposing

from upconv import grad
from upconv.kernels.execute import BASES, X, Y
from upconv.runtime import jobs, pool
from upconv.runtime.kernel import usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
SIZE = 4
# Predicted seconds: one call that keeps the GIL, one that lets go of it, and many parts.
SECONDS = (0.0, 0.01, 100 * jobs.SECONDS_PER_PIECE)


def move(src, dst, count):
    """The job that copies values; places are (base, number of the first value)."""
    return copying("f32", (src[0], SIZE * src[1]), (dst[0], SIZE * dst[1]), count)


def ran(stages, values, scratch=None, seconds=0.0, length=40):
    """What a program makes of a result full of -1."""
    x, y, w = np.arange(values, dtype=np.float32), np.full(length, -1, np.float32), np.zeros(1, np.float32)
    jobs.run(Program(stages, scratch or {}, seconds), x, y, w, None)
    return y.tolist()


@pytest.fixture(params=[1, 2, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(pool, "_wanted", request.param)


def test_the_bases_are_those_that_the_kernel_moves():
    assert (jobs.X, jobs.Y) == (X, Y)
    assert jobs.ROW == BASES - 1


@pytest.mark.parametrize("seconds", SECONDS)
def test_the_same_jobs_again_at_other_places(seconds, threads):
    x, y = (5, 0, 20, 5), (0, 10, 3, 30)
    unit = repeat(
        stage([move((X, 1), (Y, 0), 2), move((X, 0), (Y, 2), 1)]), [SIZE * at for at in x], [SIZE * at for at in y]
    )
    want = [-1] * 40
    for source, target in zip(x, y, strict=True):
        want[target : target + 3] = [source + 1, source + 2, source]
    assert ran((unit,), 30, seconds=seconds) == want


@pytest.mark.parametrize("seconds", SECONDS)
def test_units_go_through_scratch_that_does_not_move_with_them(seconds, threads):
    """Each unit turns a 2x3 matrix by way of its own scratch; so do parts that run at the same time."""
    there = transposing("f32", (X, 0), (X_BAND, 0), (2, 3 * SIZE), (3, 2 * SIZE))
    units = repeat(stage([there, move((X_BAND, 0), (Y, 0), 6)]), [24 * u for u in range(6)], [24 * u for u in range(6)])
    want = np.arange(36).reshape(6, 2, 3).swapaxes(1, 2).ravel().tolist()
    assert ran((units,), 36, {X_BAND: 24}, seconds, length=36) == want


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_stage_sees_what_the_stage_before_has_made(seconds, threads):
    """All parts share the panels."""
    pack = stage(move((X, 9 - u), (PANELS, u), 1) for u in range(10))
    use = repeat(stage([move((PANELS, 0), (Y, 0), 10)]), [0, 0, 0], [0, 40, 80])
    assert ran((pack, use), 10, {PANELS: 40}, seconds, length=30) == [*range(9, -1, -1)] * 3


@pytest.mark.parametrize("seconds", SECONDS)
def test_what_is_in_turn_stays_together(seconds, threads):
    """Two pairs, of which the second job reads what the first has made; the pairs themselves may run at once."""
    pairs = [
        in_turn(
            [stage([move((X, 4 * u), (X_BAND, 0), 4)]), stage([move((X_BAND, v), (Y, 4 * u + v), 1) for v in range(4)])]
        )
        for u in range(5)
    ]
    assert ran((join(pairs),), 20, {X_BAND: 16}, seconds, length=20) == [*range(20)]


def test_nothing_to_do_is_done():
    assert ran((stage([]), stage([])), 1, length=2) == [-1, -1]


def test_rows_units_and_starts_of_stages_together():
    one, two = stage([move((X, u), (Y, u), 1) for u in range(3)]), stage([move((X, 0), (Y, 9), 1)] * 2)
    again = repeat(two, [0, 8, 16], [4, 12, 20])
    assert one.units == [(0, 1, 0, 0), (1, 2, 0, 0), (2, 3, 0, 0)]
    assert one.starts == [0, 1, 2, 3]
    assert again.units == [(0, 2, 0, 4), (0, 2, 8, 12), (0, 2, 16, 20)]
    assert again.words == two.words
    together = join([one, again])
    assert together.units == [*one.units, (3, 5, 0, 4), (3, 5, 8, 12), (3, 5, 16, 20)]
    assert together.starts == [0, 1, 2, 3, 4, 5, 6]
    assert together.words == one.words + two.words
    assert in_turn([one, again]).starts == [0, 6]
    assert in_turn([one, again]).units == together.units
    assert join([in_turn([one, one]), again]).starts == [0, 6, 7, 8, 9]


def test_stages_of_a_program_are_runs_of_one_table():
    one, two = (
        stage([move((X, u), (Y, u), 1) for u in range(3)]),
        repeat(stage([move((X, 0), (Y, 9), 1)]), [0, 8], [0, 8]),
    )
    program = Program((one, in_turn([one]), two), {}, 0.0)
    assert program.stages == [(0, 3), (3, 4), (4, 6)]
    assert program.starts.tolist() == [0, 1, 2, 3, 6, 7, 8]
    assert len(program.words) == 7
    assert program.units[:, :2].tolist() == [[u, u + 1] for u in range(6)] + [[6, 7]] * 2
    assert program.nbytes >= program.words.nbytes + program.bases.nbytes + program.units.nbytes


@pytest.mark.parametrize("wanted", [1, 2, 3, 5, 7, 100])
def test_pieces_are_runs_of_groups_one_after_another(wanted):
    pieces = jobs._cut(3, 10, wanted)
    assert len(pieces) == min(wanted, 7)
    assert (pieces[0][0], pieces[-1][1]) == (3, 10)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(pieces))
    assert all(start < end for start, end in pieces)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_a_stage_has_a_row_for_each_thread_and_what_is_in_order_has_one(threads):
    independent, ordered = stage([move((X, 0), (Y, 0), 1)] * 5), in_turn([stage([move((X, 0), (Y, 0), 1)] * 4)])
    waves, _ = Program((independent, ordered, independent), {}, 0.0).waves(threads)
    assert [len(rows) for rows in waves] == [min(threads, 5), 1, min(threads, 5)]
    # The end of the groups, and the first of them: by group where they are shared out, by unit where they are in order.
    assert [(rows[0, 5], rows[0, -1]) for rows in waves] == [(5, 0), (9, 5), (11, 6)]


def test_what_parts_share_is_there_once_and_what_is_their_own_for_each():
    program = Program((stage([]),), {PANELS: 100, X_BAND: 1000}, 0.0)
    (offsets, one, steps), (_, three, _) = program.frame(1), program.frame(3)
    assert offsets == sorted(offsets)
    assert all(offset % 64 == step % 64 == 0 for offset, step in zip(offsets, steps, strict=True))
    assert [step > 0 for step in steps] == [False, False, True, False, True, True, True]
    assert three - one == 2 * sum(steps)
    assert program.scratch_bytes(3) == three
    apart = Program((stage([]),), {PANELS: 100, X_BAND: 1000}, 0.0, shared=())
    assert apart.frame(1)[2][0] > 0


def test_sums_begin_with_zeros_whatever_comes_between(monkeypatch):
    """A signal's handler may run after the scratch is taken and before the kernels begin; here it computes the same."""
    rng = np.random.default_rng(0)
    x, grad_y = (rng.standard_normal((1, 3, 4, 4)).astype(np.float32) for _ in range(2))

    def answer():
        return grad.conv_transpose2d_weight(x, (3, 3, 1, 1), grad_y)

    want, row, within = answer(), jobs._row, []

    def handled(*args):
        if not within:
            within.append(True)
            np.testing.assert_array_equal(answer(), want)
        return row(*args)

    monkeypatch.setattr(jobs, "_row", handled)
    np.testing.assert_array_equal(answer(), want)
    assert within
