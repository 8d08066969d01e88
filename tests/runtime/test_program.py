"""Programs: tasks as sums of short lists, units in three dimensions, stages, pieces, scratch, calls within calls."""

import ctypes
import itertools
import random

import numpy as np
import pytest

from upconv import calls, grad
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.kernels import execute as kernel
from upconv.kernels.execute import BASES, BIAS, FLAGS, MOVED, PANELS, SCRATCH_BYTES, W, X, Y, execute
from upconv.runtime import pool, program
from upconv.runtime.kernel import function, usable
from upconv.runtime.program import SUMS, X_BAND, Grid, Nest, Program, Rows, Stage
from upconv.runtime.tables import Table
from upconv.schedule.moves import copying, offsets, transposing

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
SIZE = 4
# Predicted seconds: one call that keeps the GIL, one that lets go of it, and many parts.
SECONDS = (0.0, 0.01, 100 * program.SECONDS_PER_PIECE)
NAMES = tuple("entry x y w bias panels n m a b c".split())


class Recorder:
    """A kernel in Python that writes down the fields of every task."""

    def __init__(self):
        self.tasks = []
        self._code = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._seen)
        self.entry = ctypes.cast(self._code, ctypes.c_void_p).value

    def _seen(self, at):
        self.tasks.append(tuple((ctypes.c_int64 * len(NAMES)).from_address(at)))


def random_rows(draw):
    names = tuple(draw.sample(NAMES[1:], draw.randrange(0, 6)))
    count = draw.choice((1, 1, 2, 3))
    values = [tuple(draw.randrange(-50, 50) for _ in names) for _ in range(count)]
    return Rows(names, np.array(values, np.int64).reshape(count, len(names)) if draw.random() < 0.3 else values)


def random_stages(draw, entry):
    """Some stages of grids of nests of products; lists are shared between nests now and then."""
    shared, added = random_rows(draw), {name: draw.randrange(-50, 50) for name in draw.sample(NAMES[1:], 3)}

    def nest():
        common = {"entry": entry} | {name: draw.randrange(1000) for name in draw.sample(NAMES[6:], 3)}
        pointers = draw.sample([("x", X), ("y", Y), ("w", W), ("bias", BIAS), ("panels", PANELS)], draw.randrange(6))
        common |= {name: (base, draw.randrange(100)) for name, base in pointers}
        lists = [random_rows(draw) for _ in range(draw.randrange(4))]
        if lists and draw.random() < 0.5:
            lists[0] = shared
        more = [added] * draw.randrange(3 - len(lists) + 1)
        return Nest(NAMES, common, tuple(lists), more)

    def grid():
        sizes = tuple(draw.choice((1, 1, 2, 3)) for _ in range(3))
        moved = draw.sample(MOVED, draw.randrange(4))
        steps = {base: tuple(draw.randrange(-200, 200) for _ in range(3)) for base in moved}
        return Grid([nest() for _ in range(draw.randrange(1, 4))], sizes, steps)

    return [
        Stage([grid() for _ in range(draw.randrange(1, 3))], draw.random() < 0.3) for _ in range(draw.randrange(1, 3))
    ]


def expected_tasks(stages, bases):
    """The definition: every field of a task is a sum, with the bases moved to the place of the unit."""
    for stage in stages:
        for grid in stage.grids:
            for place in itertools.product(*map(range, grid.sizes)):
                moved = list(bases)
                for base, steps in grid.steps.items():
                    moved[base] += sum(index * step for index, step in zip(place, steps, strict=True))
                for nest in grid.nests:
                    yield from nest_tasks(nest, moved)


def nest_tasks(nest, bases):
    common = dict.fromkeys(NAMES, 0)
    for name, value in nest.common.items():
        common[name] = bases[value[0]] + value[1] if isinstance(value, tuple) else value
    for name, value in itertools.chain.from_iterable(map(dict.items, nest.added)):
        common[name] += value
    for rows in itertools.product(*(values for _, values in nest.lists)):
        task = dict(common)
        for (names, _), row in zip(nest.lists, rows, strict=True):
            for name, value in zip(names, row, strict=True):
                task[name] += value
        yield tuple(task.values())


def job_of(made, bases, scratch, first=0, end=None):
    """The job of `execute` for some units of a program's only table, as an array."""
    (table,) = made.tables
    job = np.array(table.job(bases, first, table.units if end is None else end), np.int64)
    job[program.COUNTER], job[5] = job.ctypes.data + job.nbytes - 8, scratch.ctypes.data
    return job


@pytest.mark.parametrize("number", range(60))
def test_native_code_makes_the_tasks_of_the_definition(number, isa):
    draw, seen = random.Random(number), Recorder()
    stages = random_stages(draw, seen.entry)
    made, bases = Program(stages, {}, 0.0), [0, *(10000 * draw.randrange(100) for _ in range(BASES - 1))]
    scratch = np.zeros(SCRATCH_BYTES, np.uint8)
    # In two pieces: units are taken in order, and a piece begins in any grid.
    units = made.tables[0].units
    middle = draw.randrange(units + 1)
    for first, end in ((0, middle), (middle, units)):
        function(execute, False)(job_of(made, bases, scratch, first, end).ctypes.data)
    assert seen.tasks == list(expected_tasks(stages, bases))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("number", range(60, 64))
def test_so_does_the_interpreter(number, name):
    """Which also sees every access outside the job, the table and the scratch."""
    draw, seen = random.Random(number), Recorder()
    stages = random_stages(draw, seen.entry)
    made, bases = Program(stages, {}, 0.0), [0, *(10000 * draw.randrange(100) for _ in range(BASES - 1))]
    scratch = np.zeros(SCRATCH_BYTES, np.uint8)
    interpret(execute(ROWS[name]), job_of(made, bases, scratch), np.asarray(made.tables[0].words), scratch)
    assert seen.tasks == list(expected_tasks(stages, bases))


def test_the_longest_task_fits_the_scratch():
    """With the interpreter to see what is touched beyond it."""
    seen, names = Recorder(), ("entry", *(f"f{number}" for number in range(1, kernel.FIELDS_MOST)))
    lists = tuple(Rows(names[-1:], [(1,), (2,)]) for _ in range(3))
    made = Program([Stage([Grid([Nest(names, {"entry": seen.entry}, lists)])])], {}, 0.0)
    scratch = np.zeros(SCRATCH_BYTES, np.uint8)
    interpret(execute(ROWS["avx512"]), job_of(made, [0] * BASES, scratch), np.asarray(made.tables[0].words), scratch)
    assert len(seen.tasks) == 8


def test_a_product_of_lists_is_no_longer_than_the_lists():
    """4,096 tasks from 2 x 64 rows; a list that many nests have in common is there once."""
    rows, cols = (Rows((name,), [(number,) for number in range(64)]) for name in ("n", "m"))
    nest = Nest(NAMES, {"entry": 1}, (rows, cols))
    one, many = (Program([Stage([Grid([nest] * count)])], {}, 0.0).nbytes for count in (1, 10))
    assert one < 8 * (64 + 64) + 1024
    assert many - one < 9 * 8 * 60


def test_what_nests_have_in_common_is_there_once():
    """The fields that they share, and what is added to them, each for as many nests as there are."""
    common, added = {"entry": 1, "x": (X, 0), "c": 7}, ({"n": 1, "m": 2}, {"m": 3})
    one, many = (
        Program([Stage([Grid([Nest(NAMES, common, (), added) for _ in range(count)])])], {}, 0.0).nbytes
        for count in (1, 10)
    )
    assert many - one == 9 * 8 * kernel.NEST


def test_a_nest_of_too_many_lists_is_refused():
    """Its record would go on where the next one begins."""
    rows = Rows(("n",), [(1,)])
    nest = Nest(NAMES, {"entry": 1}, (rows, rows), ({"m": 1}, {"a": 1}))
    with pytest.raises(ValueError, match="4 lists"):
        Program([Stage([Grid([nest])])], {}, 0.0)


# Programs that move values -------------------------------------------------------------------------------------------


def move(src, dst, count, lists=()):
    """The nest that copies values; places are (base, number of the first value)."""
    return copying("f32", (src[0], SIZE * src[1]), (dst[0], SIZE * dst[1]), count, lists=lists)


def grid(nests, sizes=(1, 1, 1), **steps):
    """A Grid whose steps are counted in values."""
    bases = {"x": X, "y": Y, "w": W, "panels": PANELS, "flags": FLAGS}
    return Grid(nests, sizes, {bases[name]: tuple(SIZE * each for each in step) for name, step in steps.items()})


def ran(stages, values, scratch=None, seconds=0.0, length=40, w=None, panels=None):
    """What a program makes of a result full of -1."""
    x, y = np.arange(values, dtype=np.float32), np.full(length, -1, np.float32)
    w = np.zeros(1, np.float32) if w is None else w
    program.run(Program(stages, scratch or {}, seconds), x, y, w, None, panels)
    return y.tolist()


@pytest.fixture(params=[1, 2, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(pool, "_wanted", request.param)


@pytest.mark.parametrize("seconds", SECONDS)
def test_units_move_in_three_dimensions(seconds, threads):
    """A transposition of a (2, 3, 4) array, a value for each unit."""
    unit = grid([move((X, 0), (Y, 0), 1)], (2, 3, 4), x=(12, 4, 1), y=(1, 2, 6))
    want = np.arange(24).reshape(2, 3, 4).transpose(2, 1, 0).ravel().tolist()
    assert ran([Stage([unit])], 24, seconds=seconds, length=24) == want


@pytest.mark.parametrize("seconds", SECONDS)
def test_the_rows_of_a_list_are_tasks_at_other_places(seconds, threads):
    lists = (offsets("src", "dst")([(0, 0), (40, 40)]), offsets("dst")([(0,), (20,)]))
    assert ran([Stage([grid([move((X, 0), (Y, 0), 5, lists)])])], 20, seconds=seconds, length=20) == [
        *range(5),
        *range(5),
        *range(10, 15),
        *range(10, 15),
    ]


@pytest.mark.parametrize("seconds", SECONDS)
def test_units_go_through_scratch_that_does_not_move_with_them(seconds, threads):
    """Each unit turns a 2x3 matrix by way of its own scratch; so do parts that run at the same time."""
    there = transposing("f32", (X, 0), (X_BAND, 0), (2, 3 * SIZE), (3, 2 * SIZE))
    units = grid([there, move((X_BAND, 0), (Y, 0), 6)], (1, 1, 6), x=(0, 0, 6), y=(0, 0, 6))
    want = np.arange(36).reshape(6, 2, 3).swapaxes(1, 2).ravel().tolist()
    assert ran([Stage([units])], 36, {X_BAND: 24}, seconds, length=36) == want


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_stage_sees_what_the_stage_before_has_made(seconds, threads):
    """All parts share the panels."""
    pack = grid([move((X, 9), (PANELS, 0), 1)], (1, 1, 10), x=(0, 0, -1), panels=(0, 0, 1))
    use = grid([move((PANELS, 0), (Y, 0), 10)], (1, 1, 3), y=(0, 0, 10))
    assert ran([Stage([pack]), Stage([use])], 10, {PANELS: 40}, seconds, length=30) == [*range(9, -1, -1)] * 3


@pytest.mark.parametrize("seconds", SECONDS)
def test_what_is_sequential_stays_in_order(seconds, threads):
    """Every unit reads what the unit before has written; two grids, the second after the first."""
    first = grid([move((Y, 0), (Y, 1), 1)], (1, 1, 20), y=(0, 0, 1))
    then = grid([move((Y, 20), (Y, 21), 1)], (1, 1, 19), y=(0, 0, 1))
    begin = Stage([grid([move((X, 7), (Y, 0), 1)])])
    assert ran([begin, Stage([first, then], sequential=True)], 8, seconds=seconds) == [7] * 40


@pytest.mark.parametrize("seconds", SECONDS)
def test_panels_that_come_prepared_are_read_where_they_are(seconds, threads):
    ready = np.arange(50, 60, dtype=np.float32)
    use = grid([move((PANELS, 0), (Y, 0), 5)], (1, 1, 2), panels=(0, 0, 5), y=(0, 0, 5))
    found = ran([Stage([use])], 1, {}, seconds, length=10, panels=program.address(ready))
    assert found == ready.tolist()


@pytest.mark.parametrize("seconds", SECONDS)
def test_flags_begin_with_zeros_and_come_back(seconds, threads):
    """A unit marks its own flag; those of others stay zero."""
    x = np.full(3, np.inf, np.float32)
    mark = grid([move((X, 0), (FLAGS, 1), 1)], (1, 1, 2), flags=(0, 0, 2))
    made = Program([Stage([mark])], {FLAGS: 5 * SIZE}, seconds)
    for _ in range(2):
        flags = program.run(made, x, np.zeros(1, np.float32), np.zeros(1, np.float32), None)
        assert flags.view(np.float32).tolist() == [0, np.inf, 0, np.inf, 0]
    none = Program([Stage([grid([move((X, 0), (Y, 0), 1)])])], {}, seconds)
    assert program.run(none, x, np.zeros(1, np.float32), None, None) is None


@pytest.mark.parametrize("seconds", SECONDS)
def test_sums_begin_with_zeros(seconds, threads):
    stages = [Stage([grid([move((SUMS, 0), (Y, 0), 4), move((X, 1), (SUMS, 0), 4)])], sequential=True)]
    for _ in range(2):
        assert ran(stages, 9, {SUMS: 16}, seconds, length=4) == [0] * 4


def test_nothing_to_do_is_done():
    assert ran([Stage([]), Stage([grid([move((X, 0), (Y, 0), 1)], (1, 0, 1))])], 1, length=2) == [-1, -1]


def units(count):
    return Stage([grid([move((X, 0), (Y, 0), 1)], (1, 1, count))])


@pytest.mark.parametrize("wanted", [1, 2, 3, 5, 7, 100])
def test_pieces_are_runs_of_units_one_after_another(wanted):
    pieces = program.cut(3, 10, wanted)
    assert len(pieces) == min(wanted, 7)
    assert (pieces[0][0], pieces[-1][1]) == (3, 10)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(pieces))
    assert all(start < end for start, end in pieces)
    assert program.cut(4, 4, wanted) == []


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_a_stage_has_a_row_for_each_thread_and_what_is_in_order_has_one(threads):
    ordered = units(4)._replace(sequential=True)
    waves, _ = Program([units(5), ordered, units(5)], {}, 0.0).waves(threads)
    assert [len(rows) for rows in waves] == [min(threads, 5), 1, min(threads, 5)]
    # Where the units end, and at last where they begin.
    assert [(rows[0, 3], rows[0, -1]) for rows in waves] == [(5, 0), (9, 5), (14, 9)]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("seconds", SECONDS)
def test_waves_are_all_units_once(seconds, threads):
    made = Program([units(40), units(3), units(17)._replace(sequential=True)], {}, seconds)
    waves, _ = made.waves(threads)
    spans = [(rows[0, -1], rows[0, 3]) for rows in waves]
    assert [unit for first, end in spans for unit in range(first, end)] == list(range(60))
    # Everything but the scratch is the same in all rows of a wave.
    shared = [0, *range(1, 5), *range(7, 7 + X_BAND), -1]
    assert all((rows[:, shared] == rows[:1, shared]).all() for rows in waves)
    assert threads > 1 or seconds < 1 or len(waves) > 40


def test_what_parts_share_is_there_once_and_what_is_their_own_for_each():
    made = Program([], {PANELS: 100, X_BAND: 1000}, 0.0)
    (offsets_, one, steps), (_, three, _) = made.frame(1), made.frame(3)
    assert all(offset % 64 == step % 64 == 0 for offset, step in zip(offsets_, steps, strict=True))
    # Their own are the bands, and the row in which tasks are made.
    assert [base for base, step in enumerate(steps) if step] == [X_BAND, program.ROW]
    assert steps[X_BAND] >= 1000
    assert three - one == 2 * sum(steps)
    assert made.scratch_bytes(3) == three
    apart = Program([], {PANELS: 100, X_BAND: 1000}, 0.0, shared=())
    assert apart.frame(1)[2][PANELS] > 0
    # Nothing lies upon anything else.
    taken = sorted((offsets_[base], made.sizes[base]) for base in made.sizes)
    assert all(start + size <= after for (start, size), (after, _) in itertools.pairwise(taken))


def test_sums_begin_with_zeros_whatever_comes_between(monkeypatch):
    """A signal's handler may run after the scratch is taken and before the kernels begin; here it computes the same."""
    rng = np.random.default_rng(0)
    # Without a batch: no call that is remembered, whose jobs are not made in Python.
    x, grad_y = (rng.standard_normal((3, 4, 4)).astype(np.float32) for _ in range(2))

    def answer():
        return grad.conv_transpose2d_weight(x, (3, 3, 1, 1), grad_y)

    # A call that is remembered runs in one go, with no Python in between.
    monkeypatch.setattr(calls, "_find", lambda *_: None)
    want, job, within = answer(), Table.job, []

    def handled(*args):
        if not within:
            within.append(True)
            np.testing.assert_array_equal(answer(), want)
        return job(*args)

    monkeypatch.setattr(Table, "job", handled)
    np.testing.assert_array_equal(answer(), want)
    assert within
