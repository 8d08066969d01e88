"""Predictions beside measurements."""

import numpy as np
import pytest

from upconv import machine, measuring
from upconv.algorithms import ALGORITHMS
from upconv.machine import AMOUNTS, ROWS, row
from upconv.measuring import Measured, measure, random_operands, table
from upconv.planning import choose, plan
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import kernel, pool
from upconv.runtime.kernel import usable

# The amounts that are multiply-adds of vectors.
MULTIPLIED = {"gemm", "direct_rows", "depthwise_rows", "depthwise_channels", "weight_streaming", "weight_gradient"}
MULTIPLIED |= {
    "depthwise_rows_taps",
    "depthwise_rows_loops",
    "strips",
    "tap_streaming",
    "weight_blocks",
    "weight_depthwise",
    "weight_planes",
    "phase_blocks",
    "column_products",
    "direct_phases",
}
SMALL = plan((2, 6, 5, 4), (6, 2, 4, 3), stride=2, padding=1).problem
needs_kernels = pytest.mark.skipif(bool(usable()), reason="no kernels here")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_every_willing_algorithm_is_timed_on_operands_that_fit(operation, layout, monkeypatch):
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    problem = Problem(operation, SMALL.geometry, "float32", layout)
    begun = []
    rows = measure(problem, begun.append)
    assert [r.name for r in rows] == list(ALGORITHMS)
    assert begun == [c.name for c in choose(problem).candidates if c.seconds is not None]
    assert len(begun) >= (4 if operation == "forward" else 3) - bool(usable())
    assert all(r.seconds > 0 and r.predicted > 0 for r in rows if r.name in begun)


def test_random_operands_lie_in_the_layout_and_are_the_same_every_time():
    x, w = random_operands(Problem("forward", SMALL.geometry, "complex64", "nhwc"))
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous
    assert w.flags.c_contiguous
    assert x.dtype == np.complex64
    np.testing.assert_array_equal(x, random_operands(Problem("forward", SMALL.geometry, "complex64", "nhwc"))[0])


def test_what_would_take_too_long_is_not_run(monkeypatch):
    monkeypatch.setattr(measuring, "PATIENCE", 0.0)
    rows = measure(SMALL)
    assert all(r.seconds is None for r in rows)
    assert "not run: predicted to take more than 0 s" in table(rows, "loops", 1)


def test_the_table_marks_the_choice_and_shows_refusals():
    rows = [Measured("a", 0.001, 0.0025), Measured("b", None, None, "it is Monday"), Measured("c", 3.0, 2.0)]
    assert table(rows, "a", 2).splitlines() == [
        "  candidate  predicted, 1 thread  measured, threads: 2",
        "* a          1 ms                 2.5 ms",
        "  b          refuses              it is Monday",
        "  c          3 s                  2 s",
    ]


@pytest.mark.parametrize("name", ROWS)
def test_a_machine_is_a_row_of_positive_rates(name):
    # An amount without a rate would cost nothing, and nobody would know.
    assert set(ROWS[name].rates) == set(AMOUNTS)
    assert all(rate > 0 for rate in ROWS[name].rates.values())
    assert ROWS[name].int64 >= 1
    assert row(name) is ROWS[name]


def test_an_instruction_set_that_nobody_measured_has_a_row_all_the_same():
    assert row("sve") in ROWS.values()


@needs_kernels
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "int64"])
def test_work_is_counted_in_units_that_a_machine_has_rates_for(operation, dtype, isa):
    made = choose(Problem(operation, SMALL.geometry, dtype))
    for candidate in made.candidates:
        algorithm = ALGORITHMS[candidate.name]
        if candidate.seconds is not None and hasattr(algorithm, "work"):
            work = algorithm.work(made.inner)
            assert set(work) <= set(AMOUNTS)
            assert all(amount >= 0 for amount in work.values())
            assert 1 <= work["calls"] < 2


def test_integers_take_longer_for_all_that_a_kernel_does_that_multiplies_them():
    """But for weights that one copies and results under masks. `winograd` takes no integers."""
    says = {name for name, sentence in AMOUNTS.items() if sentence.startswith("multiply-adds")}
    assert says - {"winograd"} <= machine.MULTIPLIED
    named = {
        name
        for name in AMOUNTS
        if name.rstrip("1234") in MULTIPLIED or name.startswith(tuple(f"{each}_" for each in MULTIPLIED))
    }
    assert named - {"direct_phases_copied", "direct_phases_masked"} == machine.MULTIPLIED


@needs_kernels
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("x", "w", "settings"),
    [
        ((2, 32, 9, 7), (32, 48, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 20, 6, 6), (20, 3, 3, 3), {"stride": 2}),
        ((1, 40, 8, 8), (40, 1, 3, 3), {"groups": 40}),
        ((1, 16, 9, 9), (16, 8, 2, 2), {"stride": 2}),
    ],
)
def test_the_estimate_counts_the_multiply_adds_that_the_program_has(
    operation, layout, x, w, settings, isa, monkeypatch
):
    """It is for one thread; cut for more of them, a program has more borders, and tiles that are filled in part."""
    monkeypatch.setattr(pool, "_wanted", 1)
    forward = plan(x, w, **settings).problem
    problem = Problem(operation, forward.geometry, "float32", layout)
    counted = 0
    for name, algorithm in ALGORITHMS.items():
        if not hasattr(algorithm, "work") or algorithm.why_not(problem):
            continue
        work, executed = algorithm.work(problem), algorithm.details(problem).executed_macs
        vectors = sum(amount for key, amount in work.items() if key.rstrip("1234") in MULTIPLIED | {"winograd"})
        # Winograd's forms are there to execute fewer.
        assert problem.macs <= executed or "winograd" in name
        assert kernel.isa().lanes(4) * vectors == pytest.approx(executed, rel=0.3), name
        counted += 1
    assert counted >= (2 if operation == "forward" else 1)
