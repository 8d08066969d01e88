"""Packed weights: every number where the form says, and the same bits however the weight lies, or came prepared."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cases import LAYOUTS, Case, channels_last
from compare import assert_same_bits, operands, poison
from fresh import fresh
from ways import KERNELS

import upconv
from upconv import planning
from upconv.algorithms import ALGORITHMS, gemm, weight_streaming
from upconv.arrays import empty
from upconv.layouts import TAPS_LAST, WEIGHT_CHANNELS_LAST
from upconv.problem import Problem
from upconv.runtime.kernel import usable
from upconv.schedule import panels
from upconv.schedule.panels import Lines
from upconv.schedule.streams import Streams
from upconv.schedule.tap_rows import TapRows

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
CASES = (
    Case("dense", 1, 21, 5, 4, 75, (3, 3), (2, 2), (1, 1)),
    Case("one-tap", 1, 20, 6, 7, 40, (1, 1)),
    Case("one-tap-grouped", 1, 34, 6, 5, 26, (1, 1), (2, 1), groups=2),
    Case("upright", 1, 20, 6, 1, 18, (3, 1), (2, 1)),
    Case("grouped", 1, 26, 4, 3, 34, (3, 2), (1, 1), groups=2),
    Case("fused", 1, 24, 6, 7, 20, (4, 4), (2, 2), (1, 1)),
    Case("fused-one-channel", 1, 24, 3, 3, 1, (4, 32), (2, 16), (1, 0)),
    Case("fused-in-blocks", 1, 5, 3, 4, 20, (2, 16), (2, 8)),
    # Few channels of many phases: fused whatever the vectors' length.
    Case("fused-everywhere", 2, 5, 3, 4, 3, (2, 16), (1, 8), ((0, 1), (1, 5))),
    Case("rows", 1, 6, 9, 19, 11, (3, 3), (1, 1), (1, 1)),
    Case("rows-of-two", 2, 5, 9, 19, 2, (4, 4), (2, 2), (1, 1)),
    Case("rows-5", 1, 6, 3, 19, 4, (3, 6), (1, 5), (1, 1)),
    Case("rows-grouped", 1, 8, 5, 18, 10, (3, 4), (2, 2), (1, 1), groups=2),
    Case("depthwise", 2, 21, 9, 5, 21, (3, 3), (2, 5), (1, 1), groups=21),
    Case("depthwise-rows", 1, 6, 5, 18, 6, (3, 4), (2, 2), (1, 1), groups=6),
    Case("weighty", 2, 31, 2, 3, 69, (3, 3), (2, 2), (1, 0)),
    Case("weighty-upright", 1, 31, 2, 3, 69, (3, 1), (2, 2), (1, 0)),
)
ORDERS = {
    "by channel": (0, 2, 3, 1),
    "by tap": (2, 3, 0, 1),
    "other channels first": (1, 0, 2, 3),
    "taps turned": (0, 1, 3, 2),
}
# Everything that puts a weight in order.
PACKING = [(panels.Panels, "_transposed"), (panels.Panels, "_copied"), (panels.Panels, "_shared_out")]
PACKING += [(panels.Panels, "_fused"), (panels.Lines, "packing"), (gemm, "_by_blocks")]
PACKING += [(weight_streaming, "_by_channels"), (weight_streaming, "_by_taps")]


def lying(w):
    """The weight in other memory, by name."""
    for name, order in ORDERS.items():
        yield name, np.ascontiguousarray(w.transpose(order)).transpose(np.argsort(order))
    yield "reversed", np.ascontiguousarray(w[::-1, :, :, ::-1])[::-1, :, :, ::-1]
    wide = np.full((*w.shape[:3], 2 * w.shape[3]), np.nan, w.dtype)
    wide[..., ::2] = w
    yield "every other", wide[..., ::2]
    more = np.full((2 * len(w), *w.shape[1:]), np.nan, w.dtype)
    more[::2] = w
    yield "every other channel", more[::2]


@pytest.fixture
def small_is_large(isa, monkeypatch):
    """On one instruction set after the other; weights of a few vectors count as large."""
    monkeypatch.setattr(gemm, "WEIGHTY_BYTES", 1 << 10)
    monkeypatch.setattr(panels, "TRANSPOSED_BYTES", 4096)
    monkeypatch.setattr(weight_streaming, "MOST_CHANNELS", 32)
    with fresh():
        yield


def solved(problem, way, a, w):
    with poison():
        out = empty(problem.result_shape, a.dtype, problem.layout)
        planning.solve(problem, way, a, w, None, out)
    return out


def willing(problem, a, w):
    """The ways of kernels that take operands as they lie."""
    strides = (array.strides for array in (a, w, empty(problem.result_shape, a.dtype, problem.layout)))
    asked = planning.fitted(problem, "auto", *strides).candidates
    return [candidate.name for candidate in asked if candidate.name in KERNELS and candidate.seconds is not None]


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", ["forward", "grad_input"])
def test_the_bits_do_not_depend_on_how_the_weight_lies(operation, layout, case, small_is_large):
    """Packed in the call from whatever memory, or once before: for every way that takes the case."""
    a, w = operands(operation, case.arrays("float32", layout))
    problem = Problem(operation, case.geometry(), "float32", layout)
    prepared = upconv.prepare(w, case.s, dilation=case.d, groups=case.groups)
    for way in willing(problem, a, w):
        want = solved(problem, way, a, w)
        assert np.isfinite(want).all()
        for name, other in (*lying(w), ("prepared", prepared)):
            assert name == "prepared" or np.array_equal(other, w)
            if way == "direct_phases" and name != "prepared" and way not in willing(problem, a, other):
                # It reads taps that lie one after another alone.
                continue
            try:
                assert_same_bits(solved(problem, way, a, other), want)
            except AssertionError as error:
                raise AssertionError(f"{way} on {case}, {name}: {error}") from None


def test_the_cases_pack_in_every_way(monkeypatch, small_is_large):
    used = set()

    def watch(builder, way):
        right = getattr(builder, way)
        monkeypatch.setattr(builder, way, lambda *args, **more: (used.add((builder, way)), right(*args, **more))[1])

    for builder, way in PACKING:
        watch(builder, way)
    for case, layout in itertools.product(CASES, LAYOUTS):
        a, w = operands("forward", case.arrays("float32", layout))
        problem = Problem("forward", case.geometry(), "float32", layout)
        for way in willing(problem, a, w):
            for other in (w, channels_last(w)):
                if way in willing(problem, a, other):
                    solved(problem, way, a, other)
    assert used == set(PACKING)


def numbers_of(form, w):
    """(offset in bytes, the numbers that lie there) of all lines of a form, by its definition."""
    if isinstance(form, Lines):
        for t_h, t_w in np.ndindex(form.k_h, form.k_w):
            yield t_h * form.row + t_w * form.tap, filled(w[:, 0, t_h, t_w], form.width)
        return
    if isinstance(form, TapRows):
        for block, start in zip(form.blocks, form.starts, strict=False):
            rows = w[block.first : block.first + block.columns]
            for t_h, t_w, c in np.ndindex(form.k_h, form.k_w, form.c_src):
                at = start + t_h * form.row(block.width) + t_w * form.tap(block.width) + c * block.width * form.size
                yield at, filled(rows[:, c, t_h, t_w], block.width)
        return
    if isinstance(form, Streams):
        w = w.reshape(form.groups, -1, *w.shape[1:])
        for group, (number, block) in itertools.product(range(form.groups), enumerate(form.blocks)):
            part = w[group, :, block.first : block.first + block.columns]
            for at, line in numbers_of(form.stream(number), part):
                yield group * form.group + form.block(number) + at, line
        return
    # (groups, source channel, channel of the result, taps)
    w = w.reshape(form.groups, -1, *w.shape[1:])
    w = w if form.is_forward else w.swapaxes(1, 2)
    # Where all taps are fused they are those of a kernel of one row.
    w = w.reshape(*w.shape[:3], form.k_h, form.k_w * form.fused)
    for group, t_h, t_w, c in np.ndindex(form.groups, form.k_h, form.k_w, form.c_src):
        taps = w[group, c, :, t_h, t_w * form.fused : (t_w + 1) * form.fused]
        columns, at = taps.T.ravel(), group * form.group + t_h * form.row + t_w * form.tap
        for block in form.blocks:
            for alike in range(block.alike):
                first = block.first + alike * block.columns
                yield at + c * block.width * form.size, filled(columns[first : first + block.columns], block.width)
                at += form.c_src * block.width * form.size


def filled(line, width):
    return np.concatenate([line, np.zeros(width - len(line), line.dtype)])


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("operation", ["forward", "grad_input"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_a_form_has_every_number_where_it_says(dtype, operation, case, isa):
    """Whether the taps of the weight lie together or its channels."""
    problem, w = Problem(operation, case.geometry(), dtype), case.arrays(dtype).w
    forms = 0
    for name in KERNELS:
        way = ALGORITHMS[name]
        if way.why_not(problem) or way.weight_form(problem) is None:
            continue
        form = way.weight_form(problem)
        lines = list(numbers_of(form, w))
        for layout, given in ((TAPS_LAST, w), (WEIGHT_CHANNELS_LAST, channels_last(w))):
            if layout == WEIGHT_CHANNELS_LAST and (operation == "grad_input" or w.shape[1] == 1):
                continue
            packed = way.pack(replace(problem, b_layout=layout), given)
            assert len(packed) >= form.nbytes
            for at, line in lines:
                assert packed[at : at + line.nbytes].tobytes() == line.tobytes(), f"{name} {layout} at {at}"
            forms += 1
        ends = [(at, at + line.nbytes) for at, line in lines]
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(sorted(ends))), f"{name}: lines overlap"
        assert max(end for _, end in ends) <= form.nbytes
    assert forms


def test_forms_are_the_same_for_every_size_of_the_map(isa):
    for case, operation in itertools.product(CASES, ("forward", "grad_input")):
        small, large = (
            Problem(operation, replace(case, h=case.h + more, w=case.w + more, n=1 + more).geometry(), "float32")
            for more in (0, 37)
        )
        for name in KERNELS:
            if not ALGORITHMS[name].why_not(small) and not ALGORITHMS[name].why_not(large):
                assert ALGORITHMS[name].weight_form(small) == ALGORITHMS[name].weight_form(large)
