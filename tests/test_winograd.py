"""Winograd as one algorithm among the others: layouts, threads, prepared weights, gradients, what is not finite."""

import os
import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from amount import some
from cases import LAYOUTS, Case, channels_last
from compare import assert_same_bits, check_nonfinite, poison
from fresh import fresh
from rooms import Room

import upconv
from upconv.algorithms import ALGORITHMS, matmul, winograd
from upconv.arrays import empty
from upconv.geometry import Axis, Geometry
from upconv.kernels import transpose, winograd_gather
from upconv.kernels.winograd_product import UNROLL, cut
from upconv.planning import choose, fitted, solve
from upconv.problem import Activation, Problem
from upconv.runtime import pool, program
from upconv.runtime.kernel import isa, made, usable
from upconv.runtime.program import BIAS, LINE, W
from upconv.schedule import winograd_setting
from upconv.schedule.placed_problem import PlacedProblem
from upconv.schedule.winograd import total

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
# Blocks of several rows, columns and images; borders that are cut and extended; one axis alone.
CASES = (
    Case("k4s2", 1, 64, 30, 9, 40, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-large", 1, 64, 70, 75, 17, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-images", 5, 64, 8, 7, 24, (4, 4), (2, 2), ((2, 1), (0, 3))),
    Case("k3s1", 2, 64, 25, 33, 33, (3, 3), (1, 1), (1, 1)),
    # Blocks of columns that are not all as wide.
    Case("k4s2-columns", 1, 64, 9, 9, 136, (4, 4), (2, 2), (1, 1)),
    Case("k3s1-columns", 1, 64, 9, 13, 280, (3, 3), (1, 1), (1, 1)),
    Case("k6s2", 1, 128, 13, 11, 20, (6, 6), (2, 2), (2, 2)),
    Case("row", 2, 70, 1, 150, 20, (1, 4), (1, 2), (0, 1)),
    Case("row-s8", 1, 64, 1, 40, 9, (1, 16), (1, 8), (0, 4)),
    # Each phase with tiles of its own; the last block of images is smaller.
    Case("k4s2-apart", 19, 64, 4, 4, 24, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-apart-rows", 2, 64, 6, 33, 18, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-four", 1, 256, 9, 8, 20, (4, 4), (2, 2), (1, 1)),
    Case("k5s2", 1, 64, 21, 40, 40, (5, 5), (2, 2), ((2, 1), (2, 1))),
    Case("k3s2", 2, 64, 17, 30, 70, (3, 3), (2, 2), ((1, 0), (0, 1))),
    # In the gradient, parts of two sources and of one, whose channels do not fill whole vectors.
    Case("k5s3", 1, 66, 9, 11, 70, (5, 6), (3, 3), ((1, 1), (2, 1))),
    Case("row-k5", 1, 64, 1, 90, 20, (1, 5), (1, 2), ((0, 0), (2, 1))),
    # Every second row and third column by itself, of which there is not always the same number.
    Case("k3s1-dilated", 2, 64, 17, 32, 70, (3, 3), (1, 1), ((2, 1), (5, 3)), (0, 0), 1, (2, 3)),
    Case("k3s1-dilated-rows", 1, 70, 80, 6, 20, (3, 3), (1, 1), ((4, 4), (1, 1)), (0, 0), 1, (4, 1)),
    Case("k5s2-dilated-row", 1, 64, 20, 25, 66, (5, 3), (2, 1), ((1, 2), (0, 7)), (0, 0), 1, (1, 5)),
    # Few channels, and no whole vectors of them: shorter sums, and smaller tiles where three taps meet.
    Case("k3s1-few", 1, 37, 26, 33, 19, (3, 3), (1, 1), (1, 1)),
    Case("k4s2-few", 2, 32, 17, 12, 40, (4, 4), (2, 2), (1, 1)),
    Case("k5s2-few", 1, 50, 11, 14, 16, (5, 5), (2, 2), ((2, 1), (2, 1))),
    Case("k6s2-few", 1, 33, 9, 13, 25, (6, 6), (2, 2), (2, 2)),
    Case("row-few", 2, 47, 1, 90, 31, (1, 5), (1, 2), ((0, 0), (2, 1))),
    Case("k3s1-few-groups", 1, 96, 12, 17, 51, (3, 3), (1, 1), (2, 0), (0, 0), 3),
    Case("k4s2-groups", 2, 192, 8, 9, 60, (4, 4), (2, 2), (1, 1), (0, 0), 3),
    Case("k3s2-groups", 1, 128, 17, 16, 140, (3, 3), (2, 2), ((1, 0), (0, 1)), (0, 0), 2),
    Case("k3s1-dilated-groups", 1, 128, 13, 14, 136, (3, 3), (1, 1), (2, 2), (0, 0), 2, (2, 2)),
)
OPERATIONS = ("forward", "grad_input")
KERNELS = (
    *(((4, 4), (2, 2)), ((3, 3), (1, 1)), ((1, 4), (1, 2)), ((4, 3), (2, 1)), ((2, 2), (1, 1))),
    *(((5, 5), (2, 2)), ((3, 3), (2, 2)), ((3, 5), (1, 2)), ((4, 3), (2, 2)), ((5, 6), (3, 3))),
)
# Errors are measured by the largest sum of absolute values nearby, since the outputs of a tile share their products.
TOLERANCE = 40


def operands(case, operation, seed=0):
    """(a, w, bias) in float32."""
    g, rng = case.geometry(), np.random.default_rng(seed)
    shape, channels = (g.input_shape, g.c_out) if operation == "forward" else (g.output_shape, g.c_in)
    return [rng.standard_normal(s).astype(np.float32) for s in (shape, g.weight_shape, (channels,))]


def lying(array, layout):
    return channels_last(array) if layout == "nhwc" else array


def answer(case, operation, layout, a, w, bias, algorithm="winograd"):
    problem = Problem(operation, case.geometry(), "float32", layout)
    with poison():
        out = empty(problem.result_shape, np.float32, layout)
        solve(problem, algorithm, lying(a, layout), w, bias, out)
    return out


def truth(case, operation, a, w, bias):
    problem = Problem(operation, case.geometry(), "float64")
    out = np.empty(problem.result_shape)
    matmul.run(problem, *(np.ascontiguousarray(array, np.float64) for array in (a, w, bias)), out)
    return out


def willing(case, operation):
    return not ALGORITHMS["winograd"].why_not(Problem(operation, case.geometry(), "float32"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_agrees_with_the_definition_whatever_the_number_of_threads(case, operation, layout, monkeypatch):
    if not willing(case, operation):
        assert operation == "grad_input"
        pytest.skip("the gradient has too few channels to sum over")
    a, w, bias = operands(case, operation)
    want, bound = truth(case, operation, a, w, bias), truth(case, operation, *map(np.abs, (a, w, bias)))
    for name in ("BRIEF", "WORTH_WAKING"):
        monkeypatch.setattr(program, name, 0)
    results = []
    with fresh():
        for threads in (1, 2, 3, 7):
            monkeypatch.setattr(pool, "_wanted", threads)
            results.append(answer(case, operation, layout, a, w, bias))
    assert np.abs(results[0] - want).max() <= TOLERANCE * 2.0**-23 * bound.max()
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("across", [False, True])
def test_any_number_of_blocks_of_rows_and_columns(across):
    """Two blocks that are cut at the two ends of a map are as large as each other, and yet no run of equal ones."""
    for size in some(range(20, 42, 2), range(8, 90)):
        sizes = (9, size) if across else (size, 24)
        case = Case("blocks", 1, 64, *sizes, 64, (3, 3), (1, 1), (1, 1))
        for operation in OPERATIONS:
            a, w, bias = operands(case, operation)
            problem, found = Problem(operation, case.geometry(), "float32"), []
            for algorithm in ("gemm", "winograd"):
                # Not poisoned: what reads NaN where it should not is flagged, and healed.
                found.append(np.empty(problem.result_shape, np.float32))
                solve(problem, algorithm, a, w, bias, found[-1])
            np.testing.assert_allclose(*found, atol=1e-3, err_msg=f"{case.h}x{case.w} {operation}")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_prepared_weight_gives_the_same_bits_where_it_is_cut_alike(case, monkeypatch):
    """A transform that is made once may be a larger one; where both are the same, so are all bits."""
    x, w, bias = operands(case, "forward")
    problem = Problem("forward", case.geometry(), "float32")
    for name in ("MADE", "MADE_NEAR"):
        monkeypatch.setattr(winograd_setting, name, winograd_setting.MOVED)
    with fresh():
        assert winograd.setting(problem) == winograd.setting(replace(problem, prepared=True))
        prepared = upconv.prepare(w, case.s, groups=case.groups, dilation=case.d)
        given = upconv.conv_transpose2d(x, w, bias, **case.settings, algorithm="winograd")
        assert_same_bits(upconv.conv_transpose2d(x, prepared, bias, **case.settings, algorithm="winograd"), given)
        assert "Winograd" in repr(prepared)


def test_blocks_of_columns_of_another_width_need_another_form_of_the_weight():
    """Columns of a map of few blocks of tiles are shared out; a weight that was prepared for one map serves others."""
    cases = [Case("map", 1, 64, size, size, 64, (4, 4), (2, 2), (1, 1)) for size in (20, 40, 20)]
    w = operands(cases[0], "forward")[1]
    prepared, widths = upconv.prepare(w, 2), []
    for case in cases:
        x, *_ = operands(case, "forward")
        problem = Problem("forward", case.geometry(), "float32", "nhwc", prepared=True)
        widths.append(winograd.setting(problem).channels)
        assert winograd.weight_form(problem).block == widths[-1]
        got, want = (
            upconv.conv_transpose2d(x, weight, None, 2, 1, algorithm=way)
            for weight, way in ((prepared, "winograd"), (w, "gemm"))
        )
        np.testing.assert_allclose(got, want, atol=1e-3)
    assert len(set(widths)) == 2


def test_a_weight_as_given_is_transformed_into_less():
    geometry = Case("large", 1, 256, 32, 32, 64, (3, 3), (2, 2), (1, 1)).geometry()
    given, prepared = (
        winograd.weight_form(Problem("forward", geometry, "float32", prepared=is_prepared)).nbytes
        for is_prepared in (False, True)
    )
    assert given < prepared


# Large weights for one block of tiles: each block of columns is transformed when it is wanted. The last one is smaller;
# parts that are added up; and channels of several sources that do not fill whole vectors.
MADE_WHEN_WANTED = (
    Case("made-k4s2", 1, 130, 9, 8, 150, (4, 4), (2, 2), (1, 1)),
    Case("made-k4s2-images", 9, 256, 4, 4, 70, (4, 4), (2, 2), (1, 1)),
    Case("made-k5s2", 1, 128, 9, 7, 167, (5, 5), (2, 2), ((2, 1), (2, 1))),
    Case("made-row", 1, 512, 1, 40, 81, (1, 16), (1, 8), (0, 4)),
)


def test_the_tiles_of_all_parts_are_no_more_than_the_weight_that_is_made_piece_by_piece():
    few, many = (
        Case("", 1, 512, 16, 16, 32, (5, 5), (3, 3), (1, 1)),
        Case("", 1, 512, 8, 8, 256, (4, 4), (2, 2), (1, 1)),
    )
    for case, makes in ((few, False), (many, True)):
        problem = Problem("forward", case.geometry(), "float32")
        made, form = program_of(problem), winograd.weight_form(problem)
        assert form.nbytes > winograd.BLOCK_BYTES
        assert winograd._makes(problem) == makes
        assert (made.sizes[program.PANELS] < form.nbytes) == makes
        assert made.sizes[program.V] + made.sizes[program.M] <= form.nbytes


def program_of(problem):
    return winograd.program(PlacedProblem.dense(problem, 1, 1e-3))


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("case", MADE_WHEN_WANTED, ids=str)
def test_a_weight_that_is_made_when_it_is_wanted_is_the_same(case, operation, monkeypatch):
    """Turned, or read where it lies if channels of the result are consecutive there; up to its last byte."""
    a, w, bias = operands(case, operation)
    problem = Problem(operation, case.geometry(), "float32")
    assert winograd._makes(problem) or operation == "grad_input"
    # The channels of the result last, whichever of the two they are.
    axes = (0, 2, 3, 1) if operation == "forward" else (1, 2, 3, 0)
    last = np.ascontiguousarray(w.transpose(axes)).transpose(np.argsort(axes))
    room, found = Room(w.nbytes), []
    for name in ("BRIEF", "WORTH_WAKING"):
        monkeypatch.setattr(program, name, 0)
    for makes in (True, False):
        if not makes:
            monkeypatch.setattr(winograd, "_makes", lambda problem: False)
        with fresh():
            for threads in (1, 2, 5):
                monkeypatch.setattr(pool, "_wanted", threads)
                for array, at_end in product((w, last), (False, True)):
                    weight = room.copy(array, at_end)
                    found += [answer(case, operation, layout, a, weight, bias) for layout in LAYOUTS]
    want, bound = truth(case, operation, a, w, bias), truth(case, operation, *map(np.abs, (a, w, bias)))
    assert np.abs(found[0] - want).max() <= TOLERANCE * 2.0**-23 * bound.max()
    for each in found[1:]:
        assert_same_bits(each, found[0])


def turned_and_prefetched(operation, case, places):
    """(where in the weight each task reads what it turns, where products prefetch), both in their order.

    `places` gives those of a task, from the first one on.
    """
    problem = Problem(operation, case.geometry(), "float32", "nhwc")
    layer = winograd._layer(PlacedProblem.dense(problem, 1, 1e-3), makes=True)
    turned, prefetched = [], []
    for count, unit, steps in layer.made_units(1):
        tasks = [total(*sums) for sums in unit]
        for moved in range(0, count * steps[W], steps[W]):
            for task in tasks:
                if task["fields"] is transpose.FIELDS:
                    turned.append([task["src"][1] + moved + place for place in places(task)])
                elif task.get("next_all"):
                    first, rows = task["next"][1] + moved, task["next_all"] // task["next_pieces"]
                    prefetched += [first + number * task["next_row"] for number in range(rows)]
    return turned, prefetched


@pytest.mark.parametrize("case", MADE_WHEN_WANTED, ids=str)
def test_what_is_turned_next_is_prefetched_once_while_something_else_is_multiplied(case):
    """Products are told of all but what is turned first: rows of the weight, each from its first byte."""
    turned, prefetched = turned_and_prefetched(
        "forward", case, lambda task: [number * task["src_m"] for number in range(task["m"])]
    )
    wanted = [row for rows in turned[1:] for row in rows]
    assert len(turned) > 1
    assert prefetched[: len(wanted)] == wanted
    # The last of blocks that are alike is told of one behind it, which may not be there.
    assert len(prefetched) - len(wanted) <= len(turned[0])


def test_what_a_gradient_turns_next_is_prefetched_too():
    """Of every channel of the result a piece, as many channels of the source as are turned at once."""

    def places(task):
        lines = product(range(task["n"]), range(task["rows"]))
        return [n * task["src_n"] + row * task["src_row"] for n, row in lines]

    turned, prefetched = turned_and_prefetched("grad_input", MADE_WHEN_WANTED[2], places)
    # What is turned first comes in whole vectors of channels, and the rest of them.
    assert len(turned) > 4
    assert set().union(*turned[2:]) - set().union(*turned[:2]) <= set(prefetched)


@pytest.mark.parametrize("threads", [1, 3, 17])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", MADE_WHEN_WANTED, ids=str)
def test_units_make_each_part_of_each_block_of_columns_once(case, layout, threads):
    """And there are enough of them for some threads, where parts need not stay together."""
    problem = Problem("forward", case.geometry(), "float32", layout)
    layer = winograd._layer(PlacedProblem.dense(problem, threads, 1e-3), makes=True)
    units = [(count, [total(*sums) for sums in unit], steps) for count, unit, steps in layer.made_units(threads)]
    channels = layer.sizes[0].c_dst
    covered = [
        task["bias"][1] // problem.itemsize + moved + channel
        for count, tasks, steps in units
        for number in range(count)
        for moved in [number * steps[BIAS] // problem.itemsize]
        for task in tasks
        if task["fields"] is winograd_gather.FIELDS
        for channel in range(task["c"])
    ]
    assert sorted(covered) == sorted([*range(channels)] * len(layer.sizes))
    if layer._parts_are_apart:
        assert sum(count for count, *_ in units) >= min(threads, len(layer.sizes) * len(layer.sizes[0].blocks))


@pytest.mark.parametrize("width", [25, 60, 130])
@pytest.mark.parametrize("kernel", [(4, 2), (8, 4), (16, 8)])
def test_however_brief_a_product_is_it_prefetches_all_that_is_turned_next(kernel, width):
    """Of one row, which has few positions: whole rows, and in no more channels than go by."""
    k, s = kernel
    case = Case("brief", 1, 768, 1, width, 256, (1, k), (1, s), (0, (k - s) // 2))
    problem = Problem("forward", case.geometry(), "float32", "nhwc")
    layer = winograd._layer(PlacedProblem.dense(problem, 1, 1e-3), makes=True)
    tasks = [total(*sums) for _, unit, _ in layer.made_units(1) for sums in unit]
    asking = [task for task in tasks if task.get("next_row")]
    assert asking
    for task in asking:
        _, mr, _, chunk, *_, lines = made(task["entry"]).arguments
        runs = task["positions"] * task["panels"] * sum(cut(task["n"] * task["tiles_h"] * task["tiles_w"], mr))
        assert task["next_all"] * task["next_c"] <= runs * chunk
        nbytes = layer.sizes[0].phase_channels * k * 4
        assert nbytes <= task["next_pieces"] * task["next_c"] // UNROLL * lines * LINE


@pytest.mark.parametrize(("operation", "order"), [("grad_input", (0, 1, 2, 3)), ("forward", (0, 2, 3, 1))])
def test_a_weight_that_is_turned_for_all_parts_at_once_or_not_at_all_is_not_prefetched(operation, order):
    case = MADE_WHEN_WANTED[0]
    problem = Problem(operation, case.geometry(), "float32", "nhwc")
    w = np.empty([problem.geometry.weight_shape[axis] for axis in order], np.float32).transpose(np.argsort(order))
    placed = replace(PlacedProblem.dense(problem, 1, 1e-3), w=w.strides)
    units = winograd._layer(placed, makes=True).made_units(1)
    tasks = [total(*sums) for _, unit, _ in units for sums in unit]
    assert not any("next" in task for task in tasks)
    assert any(task["fields"] is transpose.FIELDS for task in tasks) == (operation == "grad_input")


@pytest.mark.parametrize("case", MADE_WHEN_WANTED[:2], ids=str)
def test_a_weight_that_is_made_when_it_is_wanted_may_not_be_finite(case):
    x, w, bias = operands(case, "forward")
    for place in ((0, 0, 0, 0), (case.c_in - 1, case.c_out - 1, 3, 3)):
        w = w.copy()
        w[place] = np.inf
        for weight in (w, channels_last(w)):
            got, want = (answer(case, "forward", "nhwc", x, weight, bias, name) for name in ("winograd", "gemm"))
            assert_same_bits(got, want)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", some([CASES[0], *CASES[2:4], CASES[10]], [*CASES[:4], *CASES[9:]]), ids=str)
def test_a_value_that_is_not_finite_reaches_exactly_what_it_should(case, value):
    for layout in LAYOUTS:
        assert check_nonfinite("winograd", case, "forward", value, layout)


def test_an_overflow_in_the_transforms_is_healed():
    """Sums of large numbers overflow where the results do not."""
    case = CASES[0]
    x, w, bias = operands(case, "forward")
    large = np.full_like(x, 2.0**126)
    large[:, 1::2] *= -1
    pairs = np.repeat(w[::2], 2, axis=0) * np.float32(2.0**-20)
    got = answer(case, "forward", "nchw", large, pairs, bias)
    assert np.isfinite(got).all()
    assert_same_bits(got, answer(case, "forward", "nchw", large, pairs, bias, "gemm"))


def test_strided_operands_are_read_in_place_and_activations_follow():
    case = CASES[3]
    x, w, bias = operands(case, "forward")
    wide = np.full((2, 70, 30, 40), np.nan, np.float32)
    wide[:, 3:67, 2:27, 5:38] = x
    got = upconv.conv_transpose2d(
        wide[:, 3:67, 2:27, 5:38], w, bias, **case.settings, activation="relu", algorithm="winograd"
    )
    want = np.maximum(upconv.conv_transpose2d(x, w, bias, **case.settings, algorithm="winograd"), 0)
    np.testing.assert_array_equal(got, want)


def test_small_maps_take_the_way_with_the_fewest_products():
    """On maps of 4 x 4, tiles for the canvas that all phases share would be of no use to a half of their products."""
    for channels, size, apart, useful in (
        (128, 4, (True, True), 1.36),
        (128, 8, (True, False), 1.88),
        (128, 12, (True, True), 2.07),
        (512, 8, (True, True), 2.25),
    ):
        case = Case("square", 16, channels, size, size, 64, (4, 4), (2, 2), (1, 1))
        problem = Problem("forward", case.geometry(), "float32", prepared=True)
        made = choose(problem, "winograd")
        assert winograd.setting(problem).apart == apart
        assert made.macs / made.executed_macs == pytest.approx(useful, rel=0.05)


def test_tiles_of_four_outputs_are_for_long_sums():
    """Whose own errors leave room for theirs; the products of a gradient are sums over the phases as well."""

    def outputs(operation, channels, images=1, size=32):
        case = Case("square", images, channels, size, size, channels, (4, 4), (2, 2), (1, 1))
        return winograd.setting(Problem(operation, case.geometry(), "float32", prepared=True)).outputs

    assert outputs("forward", 512) == ({2: 4}, {2: 4})
    assert outputs("forward", 128, 16, 16) == ({2: 4}, {2: 3})
    few = outputs("forward", 64, 16, 16), outputs("grad_input", 256)
    assert 4 not in {m for each in few for axis in each for m in axis.values()}


def test_it_is_chosen_for_what_it_is_good_at_and_says_why_not_elsewhere():
    def chosen(*shapes, **settings):
        return upconv.plan(*shapes, **settings).algorithm

    assert chosen((1, 256, 64, 64), (256, 128, 3, 3), padding=1) == "winograd"
    assert chosen((1, 256, 32, 32), (256, 128, 2, 2), stride=2) != "winograd"
    assert chosen((1, 128, 48, 48), (128, 128, 3, 3), padding=2, dilation=2) == "winograd"
    planned = upconv.plan((1, 8, 9, 9), (8, 8, 3, 3), stride=2, dilation=2)
    refused = {c.name: c.refusals for c in planned.candidates}["winograd"]
    assert any("dilation 2" in sentence for sentence in refused)
    assert any("8 channels" in sentence for sentence in refused)
    wide = choose(Problem("forward", CASES[0].geometry(), "float64")).candidates
    assert any("float64" in sentence for c in wide if c.name == "winograd" for sentence in c.by_name)


@pytest.mark.parametrize(("layout", "units"), [("nhwc", (1, 4, 12)), ("nchw", (1, 2, 6))])
def test_a_map_of_one_block_of_tiles_has_units_for_all_threads(layout, units):
    """By its four parts and their blocks of columns; by the blocks alone where maps are turned."""
    g = Geometry(1, 256, 768, 1, Axis(9, 5, 2, 1, 2, 1), Axis(9, 5, 2, 1, 2, 1))
    problem = Problem("forward", g, "float32", layout, prepared=True)
    assert len(winograd.sizes(replace(problem, geometry=replace(g, c_out=96)))[0].blocks) == 2
    found = []
    for threads in (1, 2, 6):
        made = winograd.program(PlacedProblem.dense(problem, threads, 1e-3))
        found.append(sum(table.units for table in made.tables))
    assert tuple(found) == units


def tiles_of_the_later(blocks, threads=2):
    """Tiles of the thread that is done last, where each takes the next block when it is free."""
    done = [0] * threads
    for tiles in blocks:
        done[done.index(min(done))] += tiles
    return max(done)


@pytest.mark.parametrize("size", [60, 64, 66, 72, 90])
def test_few_blocks_of_tiles_are_shared_out_evenly(size):
    problem = Problem("forward", Geometry(1, 64, 64, 1, *[Axis(size, 4, 2, 1, 1)] * 2), "float32", "nhwc")
    (sizes,) = winograd.sizes(problem)
    rows, columns = ([count for _, count in each] for each in sizes.tile_lists[1:])
    blocks = [h * w for h in rows for w in columns]
    assert 4 < len(blocks) < 20
    assert tiles_of_the_later(blocks) <= 1.04 * sum(blocks) / 2


def test_an_activation_is_in_the_kernels_or_takes_a_pass_of_its_own():
    def planned(*activation):
        return choose(
            Problem("forward", CASES[0].geometry(), "float32", activation=Activation(*activation)), "winograd"
        )

    for activation in (("relu",), ("leaky_relu", 0.2)):
        made = planned(*activation)
        assert not made.copies
        assert any(f"gather_{activation[0]}" in name for name in made.kernels)
    assert "tanh in a pass of its own" in planned("tanh").copies


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_activation_after_what_is_computed_again(value):
    """The fallback applies it as well, and once."""
    case = CASES[0]
    a, w, bias = operands(case, "forward")
    a[0, 3, 4, 5] = value
    settings = case.settings | {"algorithm": "winograd", "activation": ("leaky_relu", 0.25)}
    got = upconv.conv_transpose2d(a, w, bias, **settings)
    want = upconv.conv_transpose2d(a, w, bias, **case.settings, algorithm="gemm", activation=("leaky_relu", 0.25))
    assert_same_bits(np.isnan(got), np.isnan(want))
    assert_same_bits(np.isposinf(got), np.isposinf(want))
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_executes_fewer_products_than_the_definition_has(operation):
    """Four taps by F(3, 2) in each direction: at most 16 products for 36; and the estimate counts as the plan does."""
    problem = Problem(operation, Case("square", 1, 64, 48, 48, 64, (4, 4), (2, 2), (1, 1)).geometry(), "float32")
    made = choose(problem, "winograd")
    assert made.macs / (36 / 16) <= made.executed_macs * 1.001 < made.macs
    estimated = ALGORITHMS["winograd"].work(problem)["winograd"] * isa().lanes(4)
    assert made.executed_macs == pytest.approx(estimated, rel=0.1)
    assert f"each for {made.macs / made.executed_macs:.2f} useful" in repr(made)


@pytest.mark.parametrize("operation", ["forward", "grad_weight"])
def test_no_column_is_computed_in_vain(operation):
    """Results of few channels have panels of so many vectors: with those of 64 columns, 16 would cost as much as 64."""
    algorithm, amount = (
        ("winograd", "winograd") if operation == "forward" else ("weight_gradient_winograd", "weight_blocks")
    )
    amounts = []
    for channels in (16, 32, 48, 64, 96, 112, 144, 208, 272, 400):
        geometry = Case("few", 1, 128, 64, 64, channels, (3, 3), (1, 1), (1, 1)).geometry()
        amounts.append(ALGORITHMS[algorithm].work(Problem(operation, geometry, "float32"))[amount] / channels)
    assert max(amounts) == pytest.approx(min(amounts))


@pytest.mark.parametrize(
    ("crops", "operation"),
    [((1, -1), "forward"), ((-2, 1), "forward"), ((4, 0), "grad_input"), ((0, 5), "grad_input")],
)
def test_it_refuses_where_some_results_have_no_taps(crops, operation):
    """They are exactly the bias, which the shared products of a tile could not promise."""
    for pair in ((crops, (1, 1)), ((1, 1), crops)):
        problem = Problem(operation, Case("bare", 1, 64, 30, 30, 64, (4, 4), (2, 2), pair).geometry(), "float32")
        assert any("no tap reaches" in sentence for sentence in ALGORITHMS["winograd"].why_not(problem))
        other = "grad_input" if operation == "forward" else "forward"
        problem = Problem(other, problem.geometry, "float32")
        assert not ALGORITHMS["winograd"].why_not(problem)


def assert_not_flagged(case, operation, layout, seed=0):
    a, w, bias = operands(case, operation, seed)
    problem = Problem(operation, case.geometry(), "float32", layout)
    out, a_lying = np.full(problem.result_shape, np.nan, np.float32), lying(a, layout)
    out = lying(out, layout)
    with poison():
        made = fitted(problem, "winograd", a_lying.strides, w.strides, out.strides)
        flags = ALGORITHMS["winograd"].run(made.problem, a_lying, w, bias, out)
    want, bound = truth(case, operation, a, w, bias), truth(case, operation, *map(np.abs, (a, w, bias)))
    assert not flags.any(), case
    assert np.abs(out - want).max() <= TOLERANCE * 2.0**-23 * bound.max(), case


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [(4, 4), (5, 5), (5, 6), (4, 5)], ids=str)
def test_parts_of_a_gradient_with_different_numbers_of_sources(k, layout):
    """Under a stride of 3: the weight of one part is not where that of another ends, and all of it is transformed."""
    assert_not_flagged(Case("parts", 1, 17, 9, 11, 70, k, (3, 3), ((1, 1), (2, 1))), "grad_input", layout)


def test_what_is_finite_is_never_computed_again():
    """Random layers: a flag that finite numbers raise would heal, and hide, whatever read the wrong memory."""
    draw, computed = random.Random(0), 0
    for number in range(some(20, 400)):
        k, s = draw.choice(KERNELS)
        sizes = draw.choice((1, 2, 5, 13, 26, 47)) if k[0] > 1 else 1, draw.choice((3, 8, 26, 31, 65, 100))
        crops = tuple((draw.randrange(0, size), draw.randrange(0, size)) for size in k)
        inside, outside = draw.choice((17, 33, 64, 65, 70)), draw.choice((3, 17, 33))
        operation, layout = draw.choice(OPERATIONS), draw.choice(LAYOUTS)
        channels = (inside, outside) if operation == "forward" else (outside, inside)
        case = Case(f"{number}", draw.choice((1, 1, 2, 9)), channels[0], *sizes, channels[1], k, s, crops)
        if min(n * step + size - step - sum(cut) for n, step, size, cut in zip(sizes, s, k, crops, strict=True)) < 1:
            continue
        if not willing(case, operation):
            continue
        assert_not_flagged(case, operation, layout, number)
        computed += 1
    assert computed > 5


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("kernel", [(3, 1), (4, 2), (5, 2)])
def test_maps_that_repeat_along_an_axis_are_read_where_they_lie(axis, kernel):
    """Steps of 0 bytes: all images, channels, rows or columns are one."""
    k, s = kernel
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 96, 20, 20), np.float32)
    x = np.broadcast_to(x.take([0], axis), x.shape)
    w = rng.standard_normal((96, 64, k, k), np.float32) / 30
    for weight in (w, upconv.prepare(w, s, 1)):
        y, dense = (upconv.conv_transpose2d(each, weight, None, s, 1, algorithm="winograd") for each in (x, x.copy()))
        assert_same_bits(y, dense)
