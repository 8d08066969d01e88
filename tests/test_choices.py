"""What is chosen for the layers of the table is what was frozen: a choice that changes is meant, and is read."""

import dataclasses
import math
import re

import make_choices
import pytest
from amount import some
from make_choices import COLUMNS, ISAS, choices, frozen, planning_for

from upconv import machine, set_num_threads
from upconv.algorithms import ALGORITHMS
from upconv.bench.layers import table
from upconv.geometry import Axis, Geometry
from upconv.kernels import copy
from upconv.planning import choose
from upconv.problem import Problem
from upconv.runtime.kernel import entry, usable
from upconv.runtime.pool import get_num_threads

HOW = "if that is meant, write them anew by: PYTHONPATH=src python tests/make_choices.py"


def changes(isa, layers):
    """Sentences, one for each choice that is not the frozen one."""
    now, before = choices(isa, layers), frozen()[isa]
    return [
        f"{isa}, {layer}, {column}: {now[layer][column]}, where {before[layer][column]} is frozen"
        for layer in now
        for column in COLUMNS
        if now[layer][column] != before[layer][column]
    ]


@pytest.mark.parametrize("isa", ISAS)
def test_what_is_chosen_is_what_was_frozen(isa):
    found = changes(isa, table()[ISAS.index(isa) :: some(len(ISAS), 1)])
    assert not found, "\n".join(
        [f"{len(found)} choices are others than those of {make_choices.FILE.name};", HOW, *found]
    )


def test_the_file_has_every_layer_on_every_instruction_set():
    known = frozen()
    assert list(known) == list(ISAS)
    for isa, layers in known.items():
        assert list(layers) == [layer.name for layer in table()], f"{isa}: {HOW}"
        for chosen in layers.values():
            assert list(chosen) == COLUMNS
            assert set(chosen.values()) <= set(ALGORITHMS)


def test_a_changed_rate_is_seen_and_named(monkeypatch):
    """Ways that multiply matrices become slow: another one must be chosen, and the sentence says where."""
    row = machine.ROWS["avx512"]
    slow = {name: rate / 100 for name, rate in row.rates.items() if name.startswith("gemm")}
    monkeypatch.setitem(machine.ROWS, "avx512", dataclasses.replace(row, rates=row.rates | slow))
    found = changes("avx512", table()[:4])
    assert found
    assert all(re.fullmatch(r"avx512, [\w-]+, [\w ]+: \w+, where \w+ is frozen", sentence) for sentence in found)


@pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
def test_they_are_those_of_a_process_that_can_run_them(isa):
    layers = table()[5::11]
    chosen = [choose(Problem("forward", layer.geometry(), "float32", "nhwc")).algorithm for layer in layers]
    assert chosen == [row["forward nhwc"] for row in choices(isa, layers).values()]


def test_a_choice_depends_on_no_number_of_threads_and_no_order():
    layers, before = table()[::11], get_num_threads()
    try:
        set_num_threads(1)
        want = choices("avx2", layers)
        set_num_threads(7)
        assert choices("avx2", layers[::-1]) == want
    finally:
        set_num_threads(before)


def test_no_kernel_is_made_for_a_choice():
    """The guard that stands over all choices here does stop what makes one."""
    with planning_for("avx512"), pytest.raises(AssertionError, match="without making a kernel"):
        entry(copy.copy, "f32")


def of(k, s, channels, groups=1):
    """The problem of a small layer, channels-first."""
    (c_in, c_out), h = channels, Axis(6, k[0], s[0])
    return Problem("forward", Geometry(2, c_in, c_out, groups, h, Axis(57, k[1], s[1])), "float32", "nchw")


@pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
def test_what_loops_take_or_single_values_is_counted():
    def looped(k, s):
        return ALGORITHMS["depthwise_rows"].work(of(k, s, (24, 24), 24))["depthwise_rows_loops"]

    assert looped((4, 16), (1, 1)) == 0 < looped((4, 17), (1, 1)), "16 taps of a row are written out"

    def apart(s):
        return ALGORITHMS["direct_rows"].work(of((8, 8), (2, s), (5, 7)))["direct_rows_apart"]

    outputs = math.prod(of((8, 8), (2, 8), (5, 7)).result_shape)
    assert apart(4) == 0
    assert outputs <= apart(8) < 1.5 * outputs

    def loads(c_out):
        return ALGORITHMS["tap_streaming"].work(of((4, 4), (2, 2), (64, c_out)))["tap_streaming_loads"]

    assert loads(1) == loads(8) < loads(256)


def large(operation, layout, channels=(512, 512), prepared=False, size=16):
    """The problem of a layer whose weight is far larger than what stays near."""
    h = Axis(size, 4, 2, 1, 1, 1)
    return Problem(operation, Geometry(1, *channels, 1, h, h), "float32", layout, prepared=prepared)


@pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
def test_what_comes_again_is_counted():
    gemm, winograd = ALGORITHMS["gemm"], ALGORITHMS["winograd"]
    # Of a weight that is packed block by block the source comes again for each, and is transposed again.
    nhwc, nchw = (large("grad_input", layout, size=4) for layout in ("nhwc", "nchw"))
    source, result = (math.prod(shape) * 4 for shape in nhwc.map_shapes)
    again = len(gemm.weight_form(nhwc).blocks) - 1
    assert gemm.work(nhwc)["streamed"] == again * source > 0 == gemm.work(nhwc)["transposed"]
    assert gemm.work(nchw)["transposed"] == (1 + again) * source + result
    # Panels of a block are read by every task: near, unless they and the source are larger than the cache.
    assert gemm.work(large("grad_input", "nhwc", (512, 128), size=4))["panels"] == 0
    assert gemm.work(large("grad_input", "nhwc", (512, 8192), size=4))["panels"] > 0
    # Of many bands that would be dearer than to read all of the weight for each.
    axis = Axis(64, 2, 2)
    assert "panels" in gemm.work(Problem("grad_input", Geometry(1, 768, 384, 1, axis, axis), "float32", "nchw"))
    # One that is prepared is read by every task from where it is.
    ready = large("forward", "nhwc", prepared=True)
    assert gemm.work(ready)["panels"] >= math.prod(ready.geometry.weight_shape) * 4
    # So is a transformed one, by every block of tiles.
    assert winograd.work(ready)["panels"] % winograd.weight_form(ready).nbytes == 0 < winograd.work(ready)["panels"]
    assert winograd.work(large("forward", "nhwc", (64, 16)))["panels"] == 0
    # Of one that is made chunk by chunk, nothing is far away.
    for made in (large("grad_input", "nhwc", size=8), large("grad_input", "nhwc", (1024, 1024), size=8)):
        work, form = winograd.work(made), winograd.weight_form(made)
        assert work["panels"] == work["winograd_weight"] == 0 < form.nbytes == work["winograd_weight_near"]
    assert winograd.work(ready)["winograd_weight_near"] == 0


@pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")
def test_lines_that_stay_near_cost_nothing():
    work = ALGORITHMS["weight_gradient_columns"].work
    few = Geometry(1, 2048, 256, 1, Axis(8, 4, 2), Axis(6, 4, 2))
    many = dataclasses.replace(few, h=Axis(16, 4, 2), w=Axis(16, 4, 2))
    near, far = (work(Problem("grad_weight", g, "float32", "nhwc"))["columns"] for g in (few, many))
    assert near == 0 < far


def test_results_under_masks_are_dear_where_masks_are():
    axis = Axis(128, 4, 2, crop_lo=1, crop_hi=1)
    problem = Problem("forward", Geometry(1, 1, 1, 1, axis, axis), "float32", "nchw", prepared=True)
    with planning_for("avx2"):
        # Two phases of one channel fill no vector.
        work = ALGORITHMS["direct_phases"].work(problem)
        assert work["direct_phases_masked"] == work["direct_phases_sums"] > 0
        assert choose(problem).algorithm == "col2im_rows"
    with planning_for("avx512"):
        rates = (machine.row(name).rates["direct_phases_masked"] for name in ("avx512", "avx2"))
        assert next(rates) > 50 * next(rates)
        # Those of a stride of one vector fill it.
        whole = Axis(32, 32, 16)
        full = Problem("forward", Geometry(1, 1, 1, 1, whole, whole), "float32", "nchw")
        assert ALGORITHMS["direct_phases"].work(full)["direct_phases_masked"] == 0
