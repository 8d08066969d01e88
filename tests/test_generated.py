"""Programs that are kept, what they say of themselves, the kernels that a plan names, and activations in every way."""

import itertools
import random
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from amount import some
from cases import LAYOUTS, Case
from compare import assert_close, assert_dtype
from fresh import fresh
from strided import ACTIVATIONS, SLOPE
from ways import AUTO, KERNELS, activation, result, truth, willing

import upconv
from upconv import generated, planning
from upconv.algorithms import ALGORITHMS
from upconv.codegen.interpreter import interpret
from upconv.generated import PROGRAM_BYTES
from upconv.geometry import Axis, Geometry
from upconv.layouts import STRIDED
from upconv.problem import OPERATIONS, Problem
from upconv.rewrites import COPIED_WEIGHTS
from upconv.runtime import kernel, program
from upconv.runtime.program_cache import ProgramCache
from upconv.schedule import account
from upconv.schedule.placed_problem import PlacedProblem

pytestmark = pytest.mark.skipif(bool(kernel.usable()), reason="no kernels can be made here")
# A case for each way, in the order of KERNELS.
CASES = (
    Case("dense", 2, 5, 4, 6, 7, (3, 3), (2, 2), (1, 1)),
    Case("fused", 1, 9, 5, 7, 2, (4, 4), (2, 2), (1, 1)),
    Case("depthwise", 2, 6, 5, 9, 6, (4, 4), (2, 2), (1, 1), groups=6),
    Case("grouped", 1, 8, 3, 9, 10, (3, 4), (2, 2), (1, 1), groups=2),
    Case("weight-streaming", 2, 31, 2, 3, 37, (3, 3), (2, 2), (1, 0)),
    Case("holes", 1, 4, 3, 3, 5, (2, 2), (4, 3)),
    Case("one-tap", 2, 7, 3, 5, 18, (1, 1)),
)


class Sized:
    """What the cache asks of a program."""

    def __init__(self, nbytes, shared=()):
        self.nbytes, self.shared = nbytes, shared


def test_the_cache_is_bounded_in_bytes_and_forgets_what_was_used_first():
    kept, made = ProgramCache(100), []

    def get(key, nbytes):
        return kept.get(key, lambda: (made.append(key), Sized(nbytes))[1])

    one = get("one", 40)
    get("two", 40)
    assert get("one", 40) is one
    get("three", 40)
    assert (len(kept), kept.nbytes, made) == (2, 80, ["one", "two", "three"])
    # "one" was used after "two".
    get("one", 40)
    assert made == ["one", "two", "three"]
    get("two", 40)
    assert made[-1] == "two"
    # At least the last one is kept, whatever its size.
    get("large", 1000)
    assert (len(kept), kept.nbytes) == (1, 1000)
    get("small", 1)
    assert (len(kept), kept.nbytes) == (1, 1)
    kept.cache_clear()
    assert (len(kept), kept.nbytes) == (0, 0)


def test_a_table_that_programs_share_counts_once():
    kept, table = ProgramCache(100), Sized(30)
    for key in "abc":
        kept.get(key, lambda: Sized(20, (table,)))
    assert (len(kept), kept.nbytes) == (3, 90)
    kept.get("alone", lambda: Sized(80))
    assert (len(kept), kept.nbytes) == (1, 80)
    kept.get("d", lambda: Sized(10, (table,)))
    assert (len(kept), kept.nbytes) == (1, 40)


def test_programs_of_a_layer_that_pack_its_weight_share_that_table():
    weight, programs = np.ones((64, 64, 4, 4), np.float32), generated.PROGRAMS
    with fresh():
        for height in (33, 35, 37):
            upconv.conv_transpose2d(np.ones((1, 64, height, 40), np.float32), weight, stride=2, algorithm="winograd")
        # A form of tiles for each, and of some the same.
        assert 0 < len({id(table) for made in programs._kept.values() for table in made.shared}) < len(programs)
        alone = sum(made.no_bias.nbytes + made.program.nbytes for made in programs._kept.values())
        assert _bytes_of(programs) == programs.nbytes < alone


def _bytes_of(programs):
    """What the programs that are kept hold, and what they share, once."""
    shared = {id(table): table.nbytes for made in programs._kept.values() for table in made.shared}
    return sum(made.nbytes for made in programs._kept.values()) + sum(shared.values())


@pytest.mark.parametrize("threads", [1, 4])
def test_ten_thousand_widths_leave_memory_flat(threads, monkeypatch):
    """Programs are made and not run; what is kept never exceeds the bound, and each of them is small."""
    draw, most, total = random.Random(0), 0, 0
    programs, bound = generated.PROGRAMS, PROGRAM_BYTES // 4
    # They are so small that few of the widths fill what is kept by default.
    monkeypatch.setattr(programs, "most_bytes", bound)
    with fresh():
        for number in range(some(2000, 10_000)):
            width, s = draw.randrange(1, 5000), draw.choice((2, 4, 7, 256))
            geometry = Geometry(1, 4, 4, 1, Axis(1, 1), Axis(width, 2 * s, s))
            plan = planning.choose(Problem("forward", geometry, "float32"))
            way = ALGORITHMS[plan.algorithm]
            made = way._make(PlacedProblem.dense(plan.inner, threads, 0.001 * number))
            programs.get((way.name, plan.inner, threads, number), lambda made=made: made)
            most, total = max(most, made.nbytes), total + made.nbytes
            assert programs.nbytes <= bound
        assert _bytes_of(programs) == programs.nbytes
        assert total > 2 * bound
        assert most <= 256 << 10
    assert programs.nbytes == 0


def test_a_program_is_found_again():
    with fresh():
        problem = Problem("forward", CASES[0].geometry(), "float32")
        a, b, bias, *_ = truth(CASES[0], "forward", "float32", "nchw", "rough")
        for expected in (1, 1):
            result(problem, "gemm", a, b, bias)
            assert len(generated.PROGRAMS) == expected


def tasks_that_ran(way, problem):
    """The tasks of a program, recorded by the interpreter of `execute` in the place of running them."""
    made = way._dense(problem, 1).program
    seen, scratch = [], np.zeros(program.SCRATCH_BYTES, np.uint8)

    def call(place, task):
        called = kernel.made(place.address)
        fields = account.fields(called)
        values = np.frombuffer(task.memory.span(task.address, 8 * len(fields)), np.int64)
        seen.append((called, dict(zip(fields, values.tolist(), strict=True))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upconv.codegen.interpreter.Pointer.call", call)
        for table in made.tables:
            job = np.array(table.job([0] * program.BASES, 0, table.units), np.int64)
            job[program.COUNTER], job[5] = job.ctypes.data + job.nbytes - 8, scratch.ctypes.data
            interpret(program.execute(kernel.isa()), job, np.asarray(table.words), scratch)
    return made, seen


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_account_is_that_of_the_tasks_that_run(operation, case):
    """Kernels and multiply-adds as they are read from the table, against the tasks that `execute` makes of it."""
    problem, lanes = Problem(operation, case.geometry(), "float32"), kernel.isa().lanes(4)
    for name in willing(problem):
        made, ran = tasks_that_ran(ALGORITHMS[name], problem)
        macs = sum(
            sys.modules[each.make.__module__].macs(task, lanes, *each.arguments)
            for each, task in ran
            if hasattr(sys.modules[each.make.__module__], "macs")
        )
        names = list(dict.fromkeys(each.name for each, _ in ran))
        assert account.account(made, 4) == (macs, tuple(names))
        assert account.kernels(made) == tuple(names)
        assert macs >= problem.macs
        details = ALGORITHMS[name].details(problem)
        assert (details.executed_macs, details.kernels) == (macs, tuple(names))
        assert sum(times for times, _, _ in account.tasks(made)) == len(ran)


def test_more_taps_than_the_result_needs_are_not_executed():
    """Padding is counted: a tile is whole, and yet no kernel computes twice what is wanted where tiles are full."""
    problem = Problem("forward", Geometry(1, 64, 64, 1, Axis(16, 2, 2), Axis(16, 2, 2)), "float32")
    made = planning.choose(problem, "gemm")
    assert problem.macs <= made.executed_macs < 1.3 * problem.macs


# A plan is what runs -------------------------------------------------------------------------------------------------


def strided(draw, shape, dtype):
    """An array in memory of some order, sliced, cropped, turned round, or spread."""
    order = draw.choice(((0, 1, 2, 3), (0, 1, 2, 3), (0, 2, 3, 1), (0, 2, 3, 1), tuple(draw.sample(range(4), 4))))
    gaps = [draw.choice((0, 0, 0, 1, 3)) if draw.random() < 0.5 else 0 for _ in range(4)]
    steps = [draw.choice((1, 1, 1, 1, 2)) if draw.random() < 0.2 else 1 for _ in range(4)]
    large = np.zeros([shape[axis] * steps[axis] + gaps[axis] for axis in order], dtype).transpose(np.argsort(order))
    array = large[tuple(slice(None, size * step, step) for size, step in zip(shape, steps, strict=True))]
    return array[..., ::-1] if draw.random() < 0.1 else array


def random_problem(draw):
    groups = draw.choice((1, 1, 1, 2, 5))
    c_in, c_out = (groups * draw.choice((1, 2, 3, 9, 20)) for _ in "io")
    if groups > 1 and draw.random() < 0.5:
        c_in = c_out = groups
    k, s = draw.randrange(1, 5), draw.randrange(1, 4)
    axes = Axis(draw.randrange(1, 5), draw.randrange(1, 4), draw.randrange(1, 3)), Axis(draw.randrange(1, 7), k, s)
    geometry = Geometry(draw.randrange(1, 3), c_in, c_out, groups, *axes)
    return Problem(draw.choice(OPERATIONS), geometry, draw.choice(("float32", "float64", "int64")))


def test_the_kernels_that_run_are_those_that_the_plan_names(monkeypatch):
    """On random strided operands: by their strides where they are read in place, dense where the plan copies them."""
    ran, run = [], program.run
    monkeypatch.setattr(program, "run", lambda made, *rest: (ran.append(made), run(made, *rest))[1])
    seen, competing, copied = Counter(), set(), 0
    for number in range(some(700, 2000)):
        draw = random.Random(number)
        problem = random_problem(draw)
        a, b = (strided(draw, shape, problem.dtype) for shape in problem.operand_shapes)
        out = strided(draw, problem.result_shape, problem.dtype)
        plan = planning.fitted(problem, AUTO, a.strides, b.strides, out.strides)
        del ran[:]
        planning.solve(problem, AUTO, a, b, None, out)
        (made,) = ran
        seen[plan.algorithm] += 1
        competing |= {each.name for each in plan.candidates if each.seconds is not None and not each.by_name}
        way = ALGORITHMS[plan.algorithm]
        names = account.kernels(made)
        if plan.steps:
            is_row = plan.steps[0].exchanges_axes
            copied += not is_row
            lie = plan.problem.a_layout, plan.problem.b_layout, plan.problem.layout
            assert is_row or STRIDED in lie or COPIED_WEIGHTS.get(problem.operation) == lie[1]
            assert plan.copies
        else:
            x_w_y = (a, b, out) if problem.operation != "grad_weight" else (a, out, b)
            assert names == way.kernels(plan.inner, *(array.strides for array in x_w_y)), number
        # The kernel that computes is the plan's; what is moved for it depends on strides alone.
        assert computing(names) == computing(plan.kernels), number
    # Those that add up all taps are for larger maps than these, phases along the vector for larger strides, and weights
    # that are streamed for larger ones.
    others = {"col2im_channels", "col2im_rows", "col2im_columns", "direct_phases", "weight_streaming"}
    assert competing & set(KERNELS) - set(seen) <= others, seen
    assert len(seen) > len(KERNELS) / 2
    assert 200 < copied < 1800


def computing(names):
    """Names of kernels but for those that move values."""
    return {name for name in names if not name.startswith(("transpose", "copy"))}


def test_another_plan_is_seen():
    """The test above can fail: a way that runs another's program has other kernels."""
    problem = Problem("forward", CASES[1].geometry(), "float32")
    gemm, rows = (ALGORITHMS[name].kernels(problem) for name in ("gemm", "direct_rows"))
    assert computing(gemm) != computing(rows)


# Activations ---------------------------------------------------------------------------------------------------------


def by_numpy(name, y):
    """What torch defines."""
    wide = y.astype(np.float64)
    with np.errstate(all="ignore"):
        return {
            "relu": lambda: np.where(wide < 0, 0, wide),
            "leaky_relu": lambda: np.where(wide < 0, SLOPE * wide, wide),
            "tanh": lambda: np.tanh(wide),
            "sigmoid": lambda: 1 / (1 + np.exp(-wide)),
        }[name]()


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_activations_in_every_way(dtype, name, isa):
    """Against NumPy, the bias included; what kernels have is applied by them, the rest in a pass of its own."""
    ran = Counter()
    # NumPy's loops take their time, and are by default tried on every fifth case.
    others, turn = ("matmul", "loops"), len(dtype) + len(name)
    for number, (case, operation, layout) in enumerate(itertools.product(CASES, OPERATIONS[:2], LAYOUTS)):
        a, b, bias, want, bound = truth(case, operation, dtype, layout, "rough")
        problem = Problem(operation, case.geometry(), dtype, layout, activation=activation(name))
        for way in (*willing(problem), *(others if (number + turn) % some(5, 1) == 0 else others[:1]), AUTO):
            got = result(problem, way, a, b, bias)
            assert_dtype(got, dtype)
            # Half an eps more for the rounding of the activation itself.
            assert_close(got, by_numpy(name, want), bound + 1, dtype)
            ran[way] += 1
    assert set(ran) >= {*(way for way in KERNELS if "weight_gradient" not in way), *others}


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_what_is_not_finite_passes_activations_as_in_numpy(name, isa):
    """NaN stays NaN, in every vector and at its edges; infinities become what the function says."""
    for case, layout in itertools.product(CASES, LAYOUTS):
        x, w, bias, *_ = truth(case, "forward", "float32", layout, "rough")
        for value in (np.nan, np.inf, -np.inf):
            given = x.copy(order="K")
            given[0, -1, 0, 0] = value
            plain = Problem("forward", case.geometry(), "float32", layout)
            for way in (*willing(plain), "matmul"):
                before = result(plain, way, given, w, bias)
                got = result(replace(plain, activation=activation(name)), way, given, w, bias)
                assert not np.isfinite(before).all()
                with np.errstate(all="ignore"):
                    np.testing.assert_allclose(got, by_numpy(name, before), rtol=2e-6, atol=2e-7)


def test_an_activation_is_in_the_kernels_that_have_it():
    """Otherwise the tests above would be of a pass of NumPy's alone."""
    for case in CASES:
        for name in ACTIVATIONS[1:]:
            problem = Problem("forward", case.geometry(), "float32", activation=activation(name))
            for way in willing(problem):
                assert any(name in made for made in ALGORITHMS[way].kernels(problem)), (way, name)


# So few channels that the phases of each instruction set fit into a tile, and more.
@pytest.mark.parametrize("channels", [7, 24])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [Axis(2, 2, 2, 1, 1, 2), Axis(1, 4, 2, 1, 1, 2), Axis(3, 4, 4, 1, 6, 5)])
def test_a_result_of_one_column_begins_within_a_block_of_phases(axis, layout, channels):
    """Its stride from column to column is any, so what lies before it is not found by that."""
    problem = Problem("forward", Geometry(2, 3, channels, 1, Axis(3, 2, 2), axis), "float32", layout)
    assert axis.out == 1
    x, w = (np.random.default_rng(0).integers(-4, 5, shape).astype("f4") for shape in problem.operand_shapes)
    right, asked = planning.choose(problem, "matmul")(x, w), planning.choose(problem).candidates
    names = [each.name for each in asked if not each.refusals]
    fused = {"gemm_fused_phases"} if channels == 7 else set()
    assert fused | {"col2im_channels", "gemm_phase_blocks"} <= set(names)
    for name in names:
        np.testing.assert_array_equal(planning.choose(problem, name)(x, w), right, err_msg=name)
