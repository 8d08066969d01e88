"""Winograd for the gradient in the weight: errors, threads, layouts, what is not finite, mistakes that are found."""

import os
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from amount import some
from cases import LAYOUTS, Case, channels_last
from children import script
from compare import assert_close, assert_same_bits, poison
from fresh import fresh
from isas import tried

from upconv.algorithms import ALGORITHMS, matmul
from upconv.algorithms import weight_gradient_winograd as way
from upconv.arrays import empty
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.grad import conv_transpose2d_weight
from upconv.kernels import sum_parts, transpose, weight_gradient_blocks, winograd_gather, winograd_spread
from upconv.planning import choose, fitted, solve
from upconv.problem import Problem
from upconv.runtime import kernel, pool, program, tables
from upconv.runtime.program import address
from upconv.schedule import winograd_gradient
from upconv.winograd_forms import form

pytestmark = pytest.mark.skipif(bool(kernel.usable()), reason="no kernels can be made here")
NAME = "weight_gradient_winograd"
# Blocks of several rows, columns, images and channels; borders that are cut and extended; one axis alone.
CASES = (
    Case("k4s2", 1, 30, 20, 9, 40, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-blocks", 2, 131, 9, 8, 70, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-large", 1, 17, 50, 75, 9, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-images", 11, 24, 8, 7, 24, (4, 4), (2, 2), ((2, 1), (0, 3))),
    Case("k3s1", 2, 19, 25, 33, 33, (3, 3), (1, 1), (1, 1)),
    Case("row", 2, 20, 1, 150, 20, (1, 4), (1, 2), (0, 1)),
    Case("row-s8", 3, 20, 1, 40, 9, (1, 16), (1, 8), (0, 4)),
    # Each phase with tiles of its own.
    Case("k4s2-apart", 19, 20, 4, 4, 24, (4, 4), (2, 2), (1, 1)),
    Case("k5s2", 1, 20, 21, 30, 40, (5, 5), (2, 2), ((2, 1), (2, 1))),
    Case("k3s2", 3, 20, 17, 12, 20, (3, 3), (2, 2), ((1, 0), (0, 1))),
    Case("k5s3", 3, 20, 12, 14, 20, (5, 6), (3, 3), ((1, 1), (2, 1))),
    # Blocks of 112, twice 96, and 92 channels of the output; of 32 and 8.
    Case("row-columns", 2, 20, 1, 75, 396, (1, 4), (1, 2), (0, 1)),
    Case("k4s2-columns", 2, 20, 9, 8, 40, (4, 4), (2, 2), (1, 1)),
    Case("k6s2", 2, 20, 11, 14, 24, (6, 6), (2, 2), ((2, 3), (2, 2))),
    # What dilation keeps apart has its sums in common; on one axis alone; residues of different numbers of pixels.
    Case("k3s1d2", 2, 20, 19, 25, 33, (3, 3), (1, 1), (2, 2), d=(2, 2)),
    Case("k3s1d3", 3, 20, 13, 17, 24, (3, 3), (1, 1), ((3, 1), (2, 4)), d=(1, 3)),
)
# More channels than sums are kept of, and more images than are turned at once.
LARGE = Case("large", 64, 2048, 8, 8, 1024, (4, 4), (2, 2), (1, 1))
# Errors are measured by the largest sum of absolute values, since the taps of a phase share their products.
TOLERANCE = 8
GUARDED = "t.CASES[:2] + t.CASES[4:6] + t.CASES[8:9] + t.CASES[-2:]"


def operands(case, seed=0):
    g, rng = case.geometry(), np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in (g.input_shape, g.output_shape)]


def lying(array, layout):
    return channels_last(array) if layout == "nhwc" else array


def answer(case, layout, x, gy, algorithm=NAME):
    problem = Problem("grad_weight", case.geometry(), "float32", layout)
    with poison():
        out = empty(problem.result_shape, np.float32, layout)
        solve(problem, algorithm, lying(x, layout), lying(gy, layout), None, out)
    return out


def truth(case, x, gy):
    problem = Problem("grad_weight", case.geometry(), "float64")
    out = np.empty(problem.result_shape)
    matmul.run(problem, x.astype(np.float64), gy.astype(np.float64), None, out)
    return out


def assert_right(case, got, x, gy):
    bound = truth(case, np.abs(x), np.abs(gy)).max()
    error = np.abs(got - truth(case, x, gy)).max() / (np.finfo(got.dtype).eps * bound)
    assert error <= TOLERANCE, error


def test_the_forms_are_the_adjoints_of_the_forward_ones():
    """dg[b] is the sum over i of dy[i] * d[i + b], exactly, for every form."""
    for m, r in ((3, 2), (2, 2), (2, 3), (4, 3), (3, 1)):
        f, n = form(m, r), m + r - 1
        adjoint, taps = (winograd_gradient.transposed(each) for each in (f.output, f.weight))
        for i, j, b in product(range(m), range(n), range(r)):
            products = [adjoint[p][i] * f.source[p][j] for p in range(n)]
            assert sum(taps[b][p] * products[p] for p in range(n)) == Fraction(int(j == i + b))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_agrees_with_the_definition_whatever_the_number_of_threads(case, layout, monkeypatch):
    x, gy = operands(case)
    for name in ("BRIEF", "WORTH_WAKING"):
        monkeypatch.setattr(program, name, 0)
    # Several parts and several rounds of each, as of large maps.
    monkeypatch.setattr(way, "LEAST_PART", 1000)
    monkeypatch.setattr(way, "TILES_AT_ONCE", 12)
    monkeypatch.setattr(way, "MOST_PIECE", 20_000)
    monkeypatch.setattr(way, "TURNED_BYTES", 1 << 15)
    results = []
    with fresh():
        for threads in (1, 2, 3, 7):
            monkeypatch.setattr(pool, "_wanted", threads)
            results.append(answer(case, layout, x, gy))
    assert_right(case, results[0], x, gy)
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_instruction_set_agrees_with_the_definition(dtype, isa):
    for case, layout in product(some(CASES[::2], CASES), LAYOUTS):
        x, gy = (lying(each.astype(dtype), layout) for each in operands(case))
        got = choose(Problem("grad_weight", case.geometry(), dtype, layout), NAME)(x, gy)
        assert_right(case, got, x, gy)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_the_meaning_of_a_spread_whose_matrices_are_not_square(isa):
    """Interpreted, also for instruction sets that this machine lacks: whole numbers, beyond two borders of the map."""
    matrices = [winograd_gradient.transposed(form(*each).output) for each in ((3, 2), (2, 3))]
    rng = np.random.default_rng(2)
    x, zeros, c = rng.integers(-9, 9, (5, 4, 7)).astype(np.float32), np.zeros(7, np.float32), 7
    v, line = np.full((16, 4, 16), np.nan, np.float32), 64
    fields = {"x": address(x), "v": address(v), "zeros": address(zeros), "c": c, "n": 1, "tiles_h": 2, "tiles_w": 2}
    fields |= {"x_row": 3 * 4 * c * 4, "x_col": 2 * c * 4, "x_h": 4 * c * 4, "x_w": c * 4, "row_m": 3, "col_m": 2}
    fields |= {"row": -1, "height": 5, "col": 0, "width": 3, "v_pos": 4 * line, "v_tile": line}
    fields["x"] -= fields["x_h"]
    task = np.array([fields.get(name, 0) for name in winograd_spread.FIELDS], np.int64)
    interpret(winograd_spread.winograd_spread(isa, "f32", *matrices), task, x, zeros, v)
    padded = np.pad(x[:, :3], ((1, 0), (0, 1), (0, 0)))
    rows, cols = (np.array(each, np.float64) for each in matrices)
    for number, (i, j) in enumerate(product(range(2), range(2))):
        tile = padded[3 * i : 3 * i + 3, 2 * j : 2 * j + 2]
        want = np.einsum("pr,qs,rsc->pqc", rows, cols, tile).reshape(16, c)
        np.testing.assert_array_equal(v[:, number, :c], want)


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("isa", tried())
def test_nothing_beyond_memory_is_touched(isa):
    """Between forbidden pages, at both ends; what is printed last names the case of a crash."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent / "kernels")!r})
import fresh; fresh.share()
import guarded
import test_weight_gradient_winograd as t
count = 0
for case, layout, end in t.product({GUARDED}, t.LAYOUTS, (True, False)):
    print(case, layout, end, flush=True)
    guard = guarded.Guard() if not count else guard
    guard.at_end = end
    a, b = guarded.operands("grad_weight", case.arrays("float32", layout))
    want = guarded.expected(case.geometry(), "grad_weight", a, b, None)
    guard.check(t.NAME, case, "grad_weight", "float32", layout, None, want)
    count += 1
print(count)
"""
    assert int(script(program, UPCONV_ISA=isa).splitlines()[-1]) > 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_flagged_where_all_is_finite(layout):
    """The fallback would hide what is wrong: no result may come from it."""
    for case in CASES:
        x, gy = (lying(each, layout) for each in operands(case))
        problem = Problem("grad_weight", case.geometry(), "float32", layout)
        with poison():
            out = empty(problem.result_shape, np.float32, layout)
            made = fitted(problem, NAME, x.strides, gy.strides, out.strides)
            flags = ALGORITHMS[NAME].run(made.problem, x, gy, None, out)
        assert not flags.any(), case
        assert_right(case, out, x, gy)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_finite_is_where_the_definition_has_it(layout, value):
    for case in (CASES[0], CASES[4], CASES[8], CASES[-2]):
        for number, where in product((0, 1), [(0, 0, 0, 0), (0, 3, 5, 4), (-1, -1, -1, -1)]):
            pair = operands(case)
            pair[number][where] = value
            with np.errstate(all="ignore"):
                got, want = (answer(case, layout, *pair, each) for each in (NAME, "weight_gradient_blocks"))
            assert not np.isfinite(want).all()
            assert_same_bits(got, want)


def test_an_overflow_of_the_transforms_is_mended():
    case = CASES[0]
    x, gy = operands(case)
    x[:] = np.float32(3e38) * np.sign(x)
    gy *= np.float32(1e-30)
    got = answer(case, "nhwc", x, gy)
    assert np.isfinite(got).all()
    assert_same_bits(got, answer(case, "nhwc", x, gy, "weight_gradient_blocks"))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_errors_stay_near_those_of_plain_sums(case, signed):
    """By the root of their mean square, over those of `weight_gradient_blocks`, which are below torch's."""
    x, gy = operands(case)
    if not signed:
        x = np.maximum(x, 0)
    want = truth(case, x, gy)
    plain = answer(case, "nhwc", x, gy, "weight_gradient_blocks")
    ours, theirs = (np.sqrt(np.mean((each - want) ** 2)) for each in (answer(case, "nhwc", x, gy), plain))
    # Three taps on both axes have the largest. The plain sums of so few pixels are cut into shorter parts than these.
    has_three = all(k == 3 * s for k, s in zip(case.k, case.s, strict=True))
    assert ours <= theirs * (4.5 if has_three else 3)


def test_sums_of_few_tiles_are_shorter_beside_engines_that_are_more_exact():
    """Sums of 64 of them have 2.8 epsilons here, beside which plain sums of AVX-512 have 1.6 channels-last."""
    case = Case("few tiles", 1, 46, 46, 16, 16, (3, 3), (1, 1), (1, 1))
    x, gy = operands(case)
    want = truth(case, x, gy)
    for layout in LAYOUTS:
        error = answer(case, layout, x, gy) - want
        is_shorter = layout == "nhwc" and kernel.isa().name == "avx512"
        most = 2.55 if is_shorter else 3.1
        assert np.sqrt(np.mean(error**2) / np.mean(want**2)) < most * np.finfo(np.float32).eps


def test_views_are_read_where_they_lie_and_nothing_beside_the_result_is_written():
    case = CASES[0]
    x, gy = operands(case)
    wide = [np.full((a.shape[0], a.shape[1] + 5, a.shape[2] + 2, a.shape[3] + 3), np.nan, np.float32) for a in (x, gy)]
    inner = []
    for whole, array in zip(wide, (x, gy), strict=True):
        whole = channels_last(whole)
        view = whole[:, 2:-3, 1:-1, 2:-1]
        view[...] = array
        inner.append(view)
    around = np.full((2 * case.c_in, *case.k, case.c_out), -77.0, np.float32)
    out = around[::2].transpose(0, 3, 1, 2)
    problem = Problem("grad_weight", case.geometry(), "float32", "nhwc")
    solve(problem, NAME, *inner, None, out)
    assert_same_bits(np.ascontiguousarray(out), np.ascontiguousarray(answer(case, "nhwc", x, gy)))
    assert (around[1::2] == -77).all()


def test_it_is_chosen_refused_and_counted():
    def problem(k=4, s=2, h=32, dtype="float32", crops=(1, 1), n=2, **more):
        case = Case("square", n, 128, h, h, 64, (k, k), (s, s), crops, **more)
        return Problem("grad_weight", case.geometry(), dtype, "nhwc")

    asked = problem()
    made = choose(asked)
    assert made.algorithm == NAME
    assert made.executed_macs < made.macs / 1.8
    estimated = ALGORITHMS[NAME].work(asked)["weight_blocks"] * kernel.isa().lanes(4)
    assert made.executed_macs == pytest.approx(estimated, rel=0.1)
    assert choose(problem(dtype="float64")).algorithm != NAME
    for refused, words in (
        (problem(k=1, s=1, crops=(0, 0)), "nothing to save"),
        (problem(k=5, s=1), "no form"),
        (problem(k=8), "no form"),
        (problem(d=(2, 2)), "no form"),
        (problem(k=3, s=1, d=(7, 7)), "no form"),
        (problem(h=3), "too short"),
        (problem(groups=2), "one group"),
        (Problem("grad_weight", LARGE.geometry(), "float32"), "sums would take"),
        (problem(n=0), "none"),
        (problem(dtype="int64"), "floating-point"),
        (problem(k=4, h=1), "meet no pixel"),
        (Problem("forward", asked.geometry, "float32"), "alone"),
    ):
        assert any(words in sentence for sentence in ALGORITHMS[NAME].why_not(refused)), words


# The fewest pixels with which it is chosen, or about so many; small maps, large ones, and one row.
FEWEST = (
    Case("k4s2", 1, 24, 26, 26, 24, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-small", 13, 24, 8, 8, 24, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-least", 70, 24, 4, 4, 24, (4, 4), (2, 2), (1, 1)),
    Case("row", 1, 24, 1, 630, 24, (1, 4), (1, 2), (0, 1)),
    Case("k3s1", 2, 24, 20, 20, 24, (3, 3), (1, 1), (1, 1)),
    Case("k5s2", 15, 24, 8, 8, 24, (5, 5), (2, 2), (2, 2)),
    Case("k5s2-map", 1, 24, 28, 28, 24, (5, 5), (2, 2), (2, 2)),
    Case("k3s2", 13, 24, 8, 8, 24, (3, 3), (2, 2), (1, 1)),
    Case("k6s2", 1, 24, 28, 28, 24, (6, 6), (2, 2), (2, 2)),
    Case("k3s1d2", 1, 24, 29, 29, 24, (3, 3), (1, 1), (2, 2), d=(2, 2)),
)
# The fewest with which sums are long, and three taps have tiles of three outputs.
MANY = (
    Case("k4s2", 1, 24, 31, 31, 24, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-small", 19, 24, 8, 8, 24, (4, 4), (2, 2), (1, 1)),
    Case("k4s2-least", 100, 24, 4, 4, 24, (4, 4), (2, 2), (1, 1)),
    Case("row", 1, 24, 1, 910, 24, (1, 4), (1, 2), (0, 1)),
    Case("k3s1", 2, 24, 33, 33, 24, (3, 3), (1, 1), (1, 1)),
    Case("k5s2", 39, 24, 8, 8, 24, (5, 5), (2, 2), (2, 2)),
    Case("k5s2-map", 1, 24, 45, 45, 24, (5, 5), (2, 2), (2, 2)),
    Case("k3s2", 19, 24, 8, 8, 24, (3, 3), (2, 2), (1, 1)),
    Case("k6s2", 1, 24, 45, 45, 24, (6, 6), (2, 2), (2, 2)),
    Case("k3s1d2", 1, 24, 46, 46, 24, (3, 3), (1, 1), (2, 2), d=(2, 2)),
)


def fewer(case):
    return replace(case, n=case.n - 1) if case.n > 1 else replace(case, w=case.w - 30 if case.h == 1 else case.w - 3)


@pytest.mark.parametrize("case", FEWEST, ids=lambda case: case.name)
def test_where_it_is_chosen_on_its_own_a_range_of_a_million_keeps_the_bound(case):
    assert ALGORITHMS[NAME].why_not_automatic(Problem("grad_weight", fewer(case).geometry(), "float32", "nhwc"))
    assert_bound_of_a_range(case)


@pytest.mark.parametrize("case", MANY, ids=lambda case: case.name)
def test_where_sums_are_long_a_range_of_a_million_keeps_the_bound(case):
    def pairs(case):
        return way._plan(Problem("grad_weight", case.geometry(), "float32", "nhwc")).pairs

    assert {pair.longest for pair in pairs(case)} == {way.TILES_AT_ONCE}
    assert {pair.longest for pair in pairs(fewer(case))} == {way.SHORT_SUM}
    for pair in pairs(fewer(case)):
        assert all(part.form.m == 2 for part in (pair.h, pair.w) if part.form.r == 3)
    assert_bound_of_a_range(case)


def assert_bound_of_a_range(case):
    """The elementwise law on data of a range of a million, where it is chosen on its own."""
    problem = Problem("grad_weight", case.geometry(), "float32", "nhwc")
    assert not ALGORITHMS[NAME].why_not_automatic(problem)
    arrays = case.arrays("float64", kind="range")
    want, bound = (
        choose(Problem("grad_weight", case.geometry(), "float64"), "matmul")(*(change(array) for array in pair))
        for pair in [(arrays.x, arrays.grad_y)]
        for change in (np.asarray, np.abs)
    )
    pair = (channels_last(array.astype(np.float32)) for array in (arrays.x, arrays.grad_y))
    assert_close(choose(problem, NAME)(*pair), want, bound, "float32")


def test_few_rows_of_each_remainder_of_a_dilation_are_refused_on_their_own():
    for h, refused in ((71, True), (72, False)):
        case = Case("k3s1d6", 2, 24, h, 80, 24, (3, 3), (1, 1), (6, 6), d=(6, 6))
        found = ALGORITHMS[NAME].why_not_automatic(Problem("grad_weight", case.geometry(), "float32"))
        assert any("remainder" in sentence for sentence in found) == refused


def test_what_all_phases_read_is_turned_once(monkeypatch):
    """Of three taps under stride 2 each phase is a part of its own; where their tiles differ, each turns for itself."""
    case = Case("k3s2", 2, 40, 40, 40, 40, (3, 3), (2, 2), ((1, 0), (1, 0)))
    problem, pair = Problem("grad_weight", case.geometry(), "float32"), operands(case)
    alike = way._plan(problem)
    assert alike.is_near
    assert (alike.turns, len(alike.pairs)) == (1, 4)
    right, turned, results = tables._encode, [], []

    def counted(stages):
        nests = [nest for stage in stages for grid in stage.grids for nest in grid.nests]
        turned.append(sum(nest.fields is transpose.FIELDS for nest in nests))
        return right(stages)

    monkeypatch.setattr(tables, "_encode", counted)
    monkeypatch.setattr(way, "NEAR", 100)
    for shape in (way._shape, lambda pair: pair):
        monkeypatch.setattr(way, "_shape", shape)
        with fresh():
            way._plan.cache_clear()
            results.append(answer(case, "nchw", *pair))
    way._plan.cache_clear()
    # Besides, the weight is turned in the end.
    assert turned[1] - 1 == 4 * (turned[0] - 1) > 4
    assert_same_bits(*results)


def test_images_too_large_to_be_turned_as_a_whole_are_turned_block_by_block():
    wide = Case("wide", 1, 512, 128, 128, 256, (3, 3), (2, 2), ((1, 0), (1, 0)))
    problem = Problem("grad_weight", wide.geometry(), "float32")
    assert way._image_bytes(problem) > way.MOST_TURNED
    assert way._plan(problem).is_near
    assert not ALGORITHMS[NAME].why_not(problem)


def test_a_call_takes_it():
    """By the front door, as torch's order of the weight, and channels-last."""
    case = Case("square", 4, 64, 32, 32, 64, (4, 4), (2, 2), (1, 1))
    x, gy = operands(case)
    for layout in LAYOUTS:
        pair = lying(x, layout), lying(gy, layout)
        got = conv_transpose2d_weight(pair[0], case.geometry().weight_shape, pair[1], stride=2, padding=1)
        assert_same_bits(got, answer(case, layout, x, gy))


# Mistakes ------------------------------------------------------------------------------------------------------------

SPREAD = "c n tiles_h tiles_w x_n x_row x_col x_h x_w row row_m height col col_m width v_pos v_tile"
DROPPED = {
    winograd_spread: SPREAD,
    weight_gradient_blocks: "cols a_col b_col a_tiles a_tile b_tiles b_tile total_row add",
    winograd_gather: "c tiles_w y_col y_h y_w phases_h phases_w y_ph y_pw m_pos m_tile m_phase",
    sum_parts: "part nbytes",
}
MUTANTS = [(kernel, word) for kernel, words in DROPPED.items() for word in words.split()]


@pytest.mark.parametrize(("kernel", "word"), MUTANTS[:: some(3, 1)], ids=lambda each: getattr(each, "__name__", each))
def test_a_word_that_is_wrong_is_found(kernel, word, monkeypatch):
    """Tables that are wrong in one word, by as little as it can be, without leaving their memory."""
    right, changed = tables._encode, []

    def wrong(stages):
        return right([stage._replace(grids=[*map(changed_grid, stage.grids)], kept=None) for stage in stages])

    def changed_grid(grid):
        return grid._replace(nests=[*map(changed_nest, grid.nests)])

    def changed_nest(nest):
        if nest.fields is not kernel.FIELDS:
            return nest
        changed.append(nest)
        lists = [rows._replace(values=[_less(rows.fields, row, word) for row in rows.values]) for rows in nest.lists]
        common = nest.common
        if word in common:
            common = {**common, word: _off(common[word], word)}
        return nest._replace(common=common, lists=tuple(lists))

    monkeypatch.setattr(tables, "_encode", wrong)
    monkeypatch.setattr(way, "LEAST_PART", 1000)
    monkeypatch.setattr(way, "TILES_AT_ONCE", 12)
    found = False
    # The last has phases of one tile along a row, the others along a column.
    for case, layout in product((CASES[0], CASES[3], CASES[6]), LAYOUTS):
        if found:
            break
        x, gy = operands(case)
        with fresh():
            problem = Problem("grad_weight", case.geometry(), "float32", layout)
            out = empty(problem.result_shape, np.float32, layout)
            with poison(), np.errstate(all="ignore"):
                pair = lying(x, layout), lying(gy, layout)
                made = fitted(problem, NAME, *(each.strides for each in pair), out.strides)
                out = roomy(out)
                ALGORITHMS[NAME].run(made.problem, *map(roomy, pair), None, out)
            try:
                assert_right(case, out, x, gy)
            except AssertionError:
                found = True
    assert changed
    assert found


def _off(value, word):
    if word in ("row", "col"):
        return value + 1
    if word == "add":
        return 1 - value
    if word == "nbytes":
        # Less than a vector makes no difference, and between positions there is a line that nobody reads.
        return value // 2
    return value - 4 if abs(value) >= 64 else value - 1


def _less(fields, row, word):
    return tuple(_off(value, word) if name == word else value for name, value in zip(fields, row, strict=True))


ROOM = 1 << 18


def roomy(array):
    """A copy that lies alike, in the middle of memory that is NaN."""
    memory = np.full(array.nbytes + 2 * ROOM, 0xFF, np.uint8)
    twin = np.ndarray(array.shape, array.dtype, memory[ROOM:], strides=array.strides)
    twin[...] = array
    return twin
