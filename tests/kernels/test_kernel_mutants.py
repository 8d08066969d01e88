"""Wrong kernels and wrong tables, made on purpose: the comparisons must catch every one of them.

Each mutant is one plausible mistake that stays inside its memory, so that only its values can give it away. What would
leave its memory is for test_guard_pages.py.

Each is tried on one instruction set of the machine, in turn (on all of them under ``--full``), as each makes other
tables and other tiles.
"""

from collections import Counter
from functools import cache

import numpy as np
import pytest
import ways
from amount import some
from cases import BY_NAME, LAYOUTS, Case, channels_last
from compare import assert_result
from fresh import fresh, make_kernel, remembered
from isas import RUNNABLE
from mutants import EPILOGUES, MUTANTS
from mutations import is_of
from ways import ANY, AUTO, KERNELS, check, families, result, suite, truth, willing

from upconv.algorithms import direct_phases as phase_tasks
from upconv.algorithms import direct_rows as row_tasks
from upconv.algorithms import gemm as gemm_tasks
from upconv.algorithms import input_gradient_columns as input_tasks
from upconv.algorithms import weight_gradient_blocks as block_tasks
from upconv.algorithms import weight_gradient_columns as column_tasks
from upconv.algorithms import weight_gradient_depthwise as depthwise_tasks
from upconv.algorithms import weight_gradient_runs as run_tasks
from upconv.algorithms import weight_gradient_tap_rows as tap_row_tasks
from upconv.algorithms import weight_streaming as streaming_tasks
from upconv.codegen.lang import Builder
from upconv.kernels import (
    col2im_rows,
    convert,
    copy,
    depthwise_rows,
    direct_phases,
    direct_rows,
    gemm,
    phase_blocks,
    transpose,
    weight_streaming,
)
from upconv.layouts import WEIGHT_CHANNELS_LAST
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import kernel, tables
from upconv.runtime.cache import Cache
from upconv.runtime.kernel import made
from upconv.runtime.program import BIAS, PANELS, X_BAND, W, X, Y
from upconv.schedule import bands, depthwise_planes, pixel_parts, pixel_products, weight_tiles

# Planes as they lie, in one way that there is for one operation in one layout.
PLANES = (
    Case("planes", 2, 19, 5, 7, 18, (1, 1)),
    Case("planes-groups", 1, 8, 9, 31, 12, (1, 1), groups=2),
    Case("planes-long-sums", 1, 9, 3, 5, 300, (1, 1)),
    Case("planes-of-a-row", 3, 7, 1, 70, 5, (1, 1)),
    Case("planes-of-few", 1, 3, 13, 11, 2, (1, 1)),
)
# What the small suite lacks: many channels, sums that are cut, several bands, depthwise, fused phases.
MORE = (
    BY_NAME["long-sums"],
    BY_NAME["long-sums-grouped"],
    BY_NAME["depthwise-stride-1"],
    Case("wide", 2, 18, 5, 4, 35, (3, 3), (2, 2), (1, 1), (1, 1)),
    Case("wide-groups", 1, 26, 4, 3, 34, (3, 2), (1, 1), groups=2),
    Case("wide-depthwise", 2, 21, 9, 5, 21, (3, 3), (2, 2), (1, 1), groups=21),
    Case("fused", 1, 24, 6, 7, 20, (4, 4), (2, 2), (1, 1)),
    Case("fused-unequal", 2, 5, 5, 4, 9, (2, 6), (2, 3), ((0, 1), (2, 2))),
    # Few channels of many phases: fused whatever the vectors' length, with the first and the last place cut.
    Case("fused-everywhere", 2, 5, 3, 4, 3, (2, 16), (1, 8), ((0, 1), (1, 5))),
    # Rows of taps that are whole vectors, met by every pixel.
    Case("runs-of-taps", 2, 30, 3, 5, 3, (3, 32), (2, 9)),
    Case("runs-of-taps-apart", 3, 13, 5, 3, 2, (3, 16), (4, 8), ((1, 2), (0, 0)), d=(2, 1)),
    Case("runs-of-taps-in-a-row", 2, 7, 1, 9, 5, (1, 48), (1, 20)),
    Case("runs-of-taps-without-a-gap", 1, 9, 2, 3, 4, (2, 16), (2, 16)),
    Case("runs-of-taps-down-a-column", 2, 6, 9, 1, 2, (3, 16), (1, 1)),
    Case("runs-of-taps-of-a-channel", 1, 13, 4, 4, 1, (2, 64), (1, 30)),
    Case("one-pixel-images", 3, 17, 1, 1, 18, (2, 2)),
    Case("wide-one-tap", 1, 20, 6, 7, 40, (1, 1)),
    Case("weighty", 1, 40, 3, 2, 75, (3, 3), (2, 2), (1, 1)),
    Case("weighty-groups", 1, 36, 3, 2, 150, (2, 2), (2, 2), groups=2),
    Case("rows", 1, 6, 9, 19, 2, (3, 3), (1, 2), (1, 1)),
    Case("rows-1", 2, 5, 4, 37, 8, (3, 3), (2, 1), (1, 1)),
    Case("rows-3", 1, 5, 3, 20, 7, (2, 5), (1, 3), (0, 1)),
    Case("rows-4", 1, 3, 3, 35, 2, (2, 8), (2, 4), (0, 2), groups=1, d=(1, 3)),
    # One product for each output: from strips, of two kinds of blocks, whose sums are cut.
    Case("strips", 2, 70, 3, 37, 13, (2, 2), (2, 2)),
    Case("strips-by-rows", 2, 9, 4, 34, 14, (1, 1), (2, 1)),
    # Of which a band has several rows, or images.
    Case("strips-of-few", 1, 2, 2, 16, 3, (4, 1), (4, 1)),
    Case("strips-of-images", 2, 2, 1, 16, 3, (4, 1), (4, 1)),
    Case("rows-5", 1, 3, 3, 21, 3, (2, 6), (1, 5), (0, 2)),
    Case("crowded", 1, 14, 4, 32, 5, (3, 3), (1, 1), (1, 1)),
    Case("rows-groups", 1, 8, 3, 18, 6, (3, 4), (2, 2), (1, 1), groups=2),
    Case("rows-many-taps", 1, 3, 2, 20, 2, (1, 18), (1, 1), (0, 8)),
    Case("depthwise-1", 2, 3, 5, 40, 3, (5, 5), (1, 1), (2, 2), groups=3),
    Case("depthwise-2", 1, 3, 4, 37, 3, (4, 4), (2, 2), (1, 1), groups=3),
    Case("depthwise-many-taps", 1, 2, 4, 21, 2, (3, 19), (1, 1), (1, 9), groups=2),
    Case("depthwise-8", 1, 2, 4, 19, 2, (16, 16), (8, 8), (4, 4), groups=2),
    Case("depthwise-columns", 2, 3, 61, 1, 3, (5, 3), (2, 2), (1, 1), groups=3),
    Case("rows-down", 2, 5, 61, 2, 2, (4, 3), (2, 2), (1, 1)),
    Case("depthwise-3", 1, 2, 3, 20, 2, (3, 7), (1, 3), (1, 2), groups=2),
    Case("depthwise-row", 3, 2, 1, 40, 2, (1, 4), (1, 2), groups=2),
    Case("depthwise-4", 1, 2, 3, 35, 2, (1, 4), (1, 4), groups=2),
    Case("streaming", 2, 31, 2, 3, 69, (3, 3), (2, 2), (1, 0)),
    Case("columns", 2, 19, 3, 4, 16, (3, 4), (2, 2), (1, 1)),
    Case("phases", 2, 6, 3, 4, 3, (3, 72), (2, 35), ((1, 1), (9, 20))),
    Case("phases-groups-in-parts", 1, 82, 5, 13, 6, (3, 40), (2, 17), ((1, 0), (3, 30)), groups=2),
    Case("phases-in-blocks", 3, 3, 3, 2, 1, (2, 130), (3, 130)),
    # Phases of rows so many and so alike that they are a list of their own.
    Case("phases-of-alike-rows", 2, 3, 3, 3, 2, (64, 24), (32, 18), ((5, 3), (0, 5))),
    Case("streaming-1-tap", 1, 32, 1, 5, 37, (1, 1), (2, 1)),
    *PLANES,
)
# Those whose weight may be read in other ways if the channels of a tap lie together.
WEIGHT_LAST = (
    "streaming",
    "streaming-1-tap",
    "fused",
    "fused-unequal",
    "fused-everywhere",
    "wide",
    "wide-groups",
    "rows-1",
)
# Those that pass through an activation too, and those whose weight comes prepared.
ACTIVATED = ("phases", "strips", "wide", "fused-everywhere", "rows", "depthwise-2", "wide-depthwise", "streaming")
PREPARED = ("phases", "strips", "wide", "wide-groups", "fused", "rows-3", "wide-depthwise", "depthwise-2", "streaming")
PREPARED += tuple(case.name for case in PLANES)


def everything():
    """All cases by all ways in all operations; the small suite has the other dtypes and what is not finite.

    Returns how often each way ran.
    """
    ran = Counter()
    for case in MORE:
        for operation in OPERATIONS:
            for layout in LAYOUTS:
                ran += check(case, operation, "float32", layout)
        if case.name in WEIGHT_LAST:
            check_weight_last(case)
        for layout in LAYOUTS:
            if case.name in ACTIVATED:
                ran += check(case, "forward", "float32", layout, after="relu")
                ran += check(case, "forward", "float32", layout, after="leaky_relu")
            if case.name in PREPARED:
                ran += check(case, "forward", "float32", layout, prepared=True)
                ran += check(case, "grad_input", "float32", layout, prepared=True)
    return ran + suite()


def check_weight_last(case):
    """The two operations that read a weight, on one whose channels lie together for each tap."""
    for operation in OPERATIONS[:2]:
        a, w, bias, want, bound = truth(case, operation, "float32", "nchw", "rough")
        problem = Problem(operation, case.geometry(), "float32", b_layout=WEIGHT_CHANNELS_LAST)
        for way in willing(problem):
            try:
                assert_result(result(problem, way, a, channels_last(w), bias), want, bound, "float32", "nchw")
            except AssertionError as error:
                raise AssertionError(f"{way} {operation} with a weight channels-last on {case}: {error}") from None


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Where kernels of mutants are kept, so that nobody else's cache grows by them."""
    return Cache(tmp_path_factory.mktemp("mutants"))


def only_mutants_anew(changed, apart):
    """In place of `kernel.linked`: kernels of the modules that are changed are made anew, the others are remembered."""
    names = {module.__name__ for module, _, _ in changed}

    @cache
    def anew(*make):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel, "cache", lambda: apart)
            return make_kernel(*make)

    return lambda make, *arguments: (anew if make.__module__ in names else remembered)(make, *arguments)


@pytest.fixture
def setting(isa, monkeypatch):
    """No program remembered, small bands, and room around every result."""
    monkeypatch.setattr(bands, "BAND_BYTES", 2048)
    # What is for large layers begins with small ones.
    monkeypatch.setattr(row_tasks, "CROWDING", 256)
    monkeypatch.setattr(gemm_tasks, "WEIGHTY_BYTES", 1 << 15)
    monkeypatch.setattr(streaming_tasks, "MOST_CHANNELS", 32)
    monkeypatch.setattr(streaming_tasks, "CHUNK", 512)
    monkeypatch.setattr(phase_tasks, "WAITING", 32)
    for tasks in (block_tasks, column_tasks, depthwise_tasks, run_tasks, tap_row_tasks):
        monkeypatch.setattr(tasks, "PIXELS", 16)
    monkeypatch.setattr(depthwise_planes, "LONGEST", 8)
    monkeypatch.setattr(depthwise_planes, "IMAGES", 1)
    monkeypatch.setattr(weight_tiles, "LEAST_PIXELS", 1)
    monkeypatch.setattr(input_tasks, "COLUMNS_BYTES", 1 << 12)
    monkeypatch.setattr(input_tasks, "LANE_PRODUCTS", 2)
    monkeypatch.setattr(pixel_parts, "PART_CYCLES", 1000)
    monkeypatch.setattr(pixel_products, "NEAR_BYTES", 1 << 12)
    empty = ways.empty

    def roomy(shape, dtype, layout):
        nothing = empty(shape, dtype, layout)
        room = 1 << 14
        # Not what another way has left there: every float is a NaN.
        memory = np.full(nothing.nbytes + 2 * room, 0xFF, np.uint8)[room : room + nothing.nbytes]
        return np.ndarray(shape, dtype, memory, strides=nothing.strides)

    monkeypatch.setattr(ways, "empty", roomy)
    with fresh(), monkeypatch.context() as patch:
        yield patch


# Every mutant on every instruction set under `--full`; by default every third, on one of them in turn.
TRIED = [
    (mutant, isa)
    for number, mutant in enumerate(list(MUTANTS)[:: some(3, 1)])
    for place, isa in enumerate(RUNNABLE)
    if place in some((number % len(RUNNABLE),), range(len(RUNNABLE)))
]


# What stands where a mutant is put, before any of them.
BEFORE = {(module, name): getattr(module, name) for make in MUTANTS.values() for module, name, _ in make()}


@pytest.mark.parametrize(("mutant", "isa"), TRIED, indirect=["isa"])
def test_the_comparisons_catch(mutant, isa, setting, apart):
    changes = MUTANTS[mutant]()
    setting.setattr(kernel, "linked", only_mutants_anew(changes, apart))
    for module, name, wrong in changes:
        assert hasattr(module, name), f"{module.__name__} has no {name}: the mutant would change nothing"
        setting.setattr(module, name, wrong)
    with pytest.raises(AssertionError, match=ANY), np.errstate(all="ignore"):
        everything()


def test_without_a_mutant_everything_passes(setting):
    """And the cases reach every kernel in every way that a mutant is about."""
    seen, right = [], tables._encode
    setting.setattr(tables, "_encode", lambda stages: (seen.extend(stages), right(stages))[1])
    ran = everything()
    seen = [grid for stage in seen for grid in stage.grids]
    assert set(ran) == {*KERNELS, AUTO}
    assert min(ran.values()) > 10, ran
    every = [nest for grid in seen for nest in grid.nests]
    ways = {(made(entry).make, *made(entry).arguments[1:]) for nest in every for entry in entries(nest)}
    wanted = {getattr(module, name) for name, module in families().items()}
    assert {way[0] for way in ways} == wanted | {convert.convert}
    # A tile of one channel writes both layouts alike.
    several = [s for s, most in row_tasks.CHANNELS[kernel.isa().registers].items() if most > 1]
    rows = [rest for make, *rest in ways if make is direct_rows.direct_rows]
    assert {(s, joined) for _, s, _, joined, *_ in rows} >= {
        *((s, False) for s in (1, 2, 3, 4)),
        *((s, True) for s in several),
    }
    whole = [rest for make, *rest in ways if make is depthwise_rows.depthwise_rows]
    assert {s for s, *_ in whole} >= {1, 2, 3, 4, 8}
    # All taps, those of a row, none; some rows at a time, and one.
    assert {(n_h is None, counts is None) for _, n_h, counts, *_ in whole} == {
        (True, True),
        (True, False),
        (False, False),
    }
    assert {height > 1 for *_, height, _ in whole} == {True, False}
    blocks = [rest for make, *rest in ways if make is phase_blocks.phase_blocks]
    # All phases of a place, of a row or of a column; with a tap for some of them alone, down and across.
    assert {(down > 1, across > 1) for _, _, (down, across), *_ in blocks} >= {
        (True, True),
        (False, True),
        (True, False),
    }
    assert {(down > 0, across > 0) for _, _, _, (down, across), *_ in blocks} >= {(False, False), (True, True)}
    assert {rest[1] for make, *rest in ways if make is col2im_rows.col2im_rows} >= {None, (2, 1)}
    for module in EPILOGUES.values():
        make = getattr(module, module.__name__.split(".")[-1])
        # The last name that a kernel is made for, whatever follows it.
        assert {[part for part in way if isinstance(part, str)][-1] for way in ways if way[0] is make} == {
            "none",
            "relu",
            "leaky_relu",
        }
    # Phases in several vectors, all of them full or not, and those of several channels.
    tiles = {tuple(rest[1:3]) for make, *rest in ways if make is direct_phases.direct_phases}
    assert tiles >= {(2, False), (2, True), (1, True)}
    # Single phases on a step of their own, several blocks, both ways of streaming, units in every dimension and base.
    said = {module: list(rows_of(every, module)) for module in (direct_rows, weight_streaming)}
    assert any(row.get("y_col") == 5 * 4 for row in said[direct_rows])
    assert any(row.get("blocks", 0) > 1 and row["w_b"] for row in said[direct_rows])
    assert {row["pieces"] for row in said[weight_streaming]} >= {1, 9}
    moved = [nest for nest in every if is_of(nest, copy) or is_of(nest, transpose)]
    assert {(X, X_BAND), (W, X_BAND), (X_BAND, PANELS), (W, PANELS)} <= {
        (nest.common["src"][0], nest.common["dst"][0]) for nest in moved
    }
    assert all(any(grid.sizes[dimension] > 1 for grid in seen) for dimension in range(3))
    assert {base for grid in seen for base, step in grid.steps.items() if any(step)} == {X, Y, W, BIAS, PANELS}


def entries(nest):
    """Addresses of the kernels of a nest."""
    if "entry" in nest.common:
        return [nest.common["entry"]]
    (rows,) = [rows for rows in nest.lists if "entry" in rows.fields]
    return [row[rows.fields.index("entry")] for row in rows.values]


def rows_of(every, module):
    """What the lists of a kernel's nests say, and what they have in common, as dicts."""
    for nest in every:
        if is_of(nest, module):
            yield dict(nest.common)
            for rows in nest.lists:
                yield from (dict(zip(rows.fields, row, strict=True)) for row in rows.values)


def test_nothing_of_a_mutant_is_left(isa):
    """After them, whatever one of them changes is what it was, and so are the kernels of everybody else."""
    assert gemm.Builder is direct_rows.Builder is Builder
    assert {place: getattr(*place) for place in BEFORE} == BEFORE
    suite()
