"""Wrong kernels and wrong tables, made on purpose: the comparisons must catch every one of them.

Each mutant is one plausible mistake that stays inside its memory, so that only its values can give it away. What would
leave its memory is for test_guard_pages.py.

Each is tried on the best instruction set of the machine and on a lower one, in turn (on all of them under ``--full``),
as each makes other tables and other tiles.
"""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from amount import some
from cases import BY_NAME, Case, channels_last
from compare import assert_result, check, computed, expected, operands, suite
from fresh import fresh
from isas import RUNNABLE
from upconv.runtime.jobs import X_BAND, W

from upconv import arguments
from upconv.codegen.lang import Builder
from upconv.kernels import columns as columns_kernel
from upconv.kernels import copy, correlate, depthwise, gemm, planes, strips, transpose
from upconv.problem import OPERATIONS
from upconv.runtime import jobs, kernel
from upconv.runtime.kernel import made
from upconv.schedule import adapt, bands, columns, correlation, gather, packing, place
from upconv.schedule import planes as plane_jobs

# What the small suite lacks: many channels, sums that are cut, several bands, depthwise, merged phases.
MORE = (
    BY_NAME["long-sums"],
    BY_NAME["long-sums-grouped"],
    BY_NAME["depthwise-stride-1"],
    Case("wide", 2, 18, 5, 4, 35, (3, 3), (2, 2), (1, 1), (1, 1)),
    Case("wide-groups", 1, 26, 4, 3, 34, (3, 2), (1, 1), groups=2),
    Case("wide-depthwise", 2, 21, 9, 5, 21, (3, 3), (2, 2), (1, 1), groups=21),
    Case("merged", 1, 24, 6, 7, 20, (4, 4), (2, 2), (1, 1)),
    Case("merged-unequal", 2, 5, 5, 4, 9, (2, 6), (2, 3), ((0, 1), (2, 2))),
    # Few channels of many phases: merged whatever the vectors' length, with the first and the last place cut.
    Case("merged-everywhere", 2, 5, 3, 4, 3, (2, 16), (1, 8), ((0, 1), (1, 5))),
    Case("one-pixel-images", 3, 17, 1, 1, 18, (2, 2)),
    Case("wide-one-tap", 1, 20, 6, 7, 40, (1, 1)),
    Case("planes", 1, 6, 9, 19, 2, (3, 3), (1, 2), (1, 1)),
    Case("planes-1", 2, 5, 4, 37, 8, (3, 3), (2, 1), (1, 1)),
    Case("planes-3", 1, 5, 3, 20, 7, (2, 5), (1, 3), (0, 1)),
    Case("planes-4", 1, 3, 3, 35, 2, (2, 8), (2, 4), (0, 2), groups=1, d=(1, 3)),
    Case("planes-5", 1, 3, 3, 21, 3, (2, 6), (1, 5), (0, 2)),
    Case("crowded", 1, 14, 4, 32, 5, (3, 3), (1, 1), (1, 1)),
    Case("planes-groups", 1, 8, 3, 18, 6, (3, 4), (2, 2), (1, 1), groups=2),
    Case("strips-1", 2, 3, 5, 40, 3, (5, 5), (1, 1), (2, 2), groups=3),
    Case("strips-2", 1, 3, 4, 37, 3, (4, 4), (2, 2), (1, 1), groups=3),
    Case("strips-3", 1, 2, 3, 20, 2, (3, 7), (1, 3), (1, 2), groups=2),
    Case("strips-4", 1, 2, 3, 35, 2, (1, 4), (1, 4), groups=2),
    Case("columns", 2, 31, 2, 3, 69, (3, 3), (2, 2), (1, 0)),
    Case("columns-1-tap", 1, 32, 1, 5, 37, (1, 1), (2, 1)),
)
# Those whose weight may be read in other ways if the channels of a tap lie together.
WEIGHT_LAST = (
    "columns",
    "columns-1-tap",
    "merged",
    "merged-unequal",
    "merged-everywhere",
    "wide",
    "wide-groups",
    "planes-1",
)


def everything():
    """All cases in all operations; the small suite has the other dtypes and what is not finite."""
    suite("phase_gemm")
    for case in MORE:
        for operation in OPERATIONS:
            for layout in ("nchw", "nhwc"):
                check("phase_gemm", case, operation, "float32", layout)
        if case.name in WEIGHT_LAST:
            check_weight_last(case)


def check_weight_last(case):
    """The two operations that read a weight, on one whose channels lie together for each tap."""
    for operation in OPERATIONS[:2]:
        g, arrays = case.geometry(), case.arrays("float32")
        a, w = operands(operation, arrays)
        got = computed("phase_gemm", g, operation, "float32", "nchw", a, channels_last(w))
        try:
            assert_result(got, *expected(g, operation, a, w), "float32", "nchw")
        except AssertionError as error:
            raise AssertionError(f"phase_gemm {operation} with a weight channels-last on {case}: {error}") from None


@pytest.fixture(scope="module")
def cache_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("mutants")


@cache
def right_kernel(isa, make, *arguments):
    """A kernel that no mutant has touched, made once for all of them; `isa` is the name of the instruction set."""
    return make_kernel(make, *arguments)


make_kernel = kernel.linked.__wrapped__


def only_mutants_anew(isa, changed):
    """In place of `kernel.linked`: kernels of the modules that are changed are made anew, the others are remembered."""
    names = {module.__name__ for module, _, _ in changed}
    anew = cache(make_kernel)
    return lambda make, *arguments: (anew if make.__module__ in names else partial(right_kernel, isa))(make, *arguments)


@pytest.fixture
def setting(isa, monkeypatch, cache_directory):
    """Nothing remembered, a cache of its own, small bands, and room around every result."""
    monkeypatch.setenv("UPCONV_CACHE_DIR", str(cache_directory))
    monkeypatch.setattr(bands, "BAND_BYTES", 2048)
    monkeypatch.setattr(correlation, "BAND_BYTES", 2048)
    # What is for large layers begins with small ones.
    monkeypatch.setattr(plane_jobs, "CROWDING", 256)
    monkeypatch.setattr(columns, "WEIGHTY_BYTES", 1 << 10)
    monkeypatch.setattr(columns, "LEAST_CHANNELS", 30)
    monkeypatch.setattr(columns, "MOST_CHANNELS", 32)
    empty = arguments.empty

    def roomy(shape, dtype, layout):
        nothing = empty(shape, dtype, layout)
        room = 1 << 14
        memory = np.empty(nothing.nbytes + 2 * room, np.uint8)[room : room + nothing.nbytes]
        return np.ndarray(shape, dtype, memory, strides=nothing.strides)

    monkeypatch.setattr(arguments, "empty", roomy)
    with fresh():
        yield monkeypatch


def masks(module, method, wrong):
    """A Builder for one kernel alone, with one method that is wrong."""
    right = getattr(Builder, method)
    made = type("Builder", (Builder,), {method: lambda self, *args: wrong(self, right, *args)})
    return [(module, "Builder", made)]


def short_first(self, first, count, vector):
    return first(self, count - 1, vector)


def short_between(self, between, start, end, vector):
    return between(self, start, end - 1, vector)


def keep_left(self, add, left, right):
    return left


def table(kernel, change):
    """Every job of a kernel passes through `change`, which alters it in place."""

    def stage(table_rows):
        table_rows = list(table_rows)
        for row in table_rows:
            if is_of(row, kernel):
                change(row)
        return jobs.stage(table_rows)

    return [(module, "stage", stage) for module in (gather, packing, columns, correlation)]


def is_of(row, kernel):
    """Whether a job is for a kernel; those on planes have more words for more phases."""
    words = row["words"]
    return words is kernel.WORDS or (kernel in (planes, strips) and words[: len(kernel.WORDS)] == kernel.WORDS)


def one_less(name):
    def change(row):
        if row.get(name, 0) > 1:
            row[name] -= 1

    return change


def zero(name):
    return lambda row: row.update({name: 0} if name in row else {})


def line_of_a_band_not_turned(row):
    if row["dst"][0] == X_BAND:
        one_less("m")(row)


def first_column_too_late(row):
    if row["first_column"]:
        row["first_column"] += 1


def last_column_lost(row):
    if row["first_column"]:
        row["columns"] -= 1


def totals_lost(k, totals, vector, sums, cut):
    """The sums so far are forgotten when a sum is cut."""
    for variable in sums:
        variable.set(k.zero(vector))


def shared_taps_are_own():
    """A tap that all phases have is added once more for each of them."""
    right = plane_jobs._own
    return [(plane_jobs, "_own", lambda taps, step: right([replace(each, a=0) for each in taps], step))]


def phases_exchanged(module):
    """The phases, or the channels of a pixel, are interleaved in the wrong order."""
    return [(module, "interleaved", lambda k, lines: strips_interleaved(k, lines[::-1]))]


strips_interleaved = strips.interleaved


def written_taps(change):
    """Kernels with other taps written out than the layer has."""
    right = plane_jobs._written

    def wrong(n_h, taps):
        made_for = right(n_h, taps)
        return change(*made_for) if made_for else made_for

    return [(plane_jobs, "_written", wrong)]


def crowded_channels_not_copied():
    """All but the first of the channels that are spread keep what lay there."""
    right = place.copying
    return [(plane_jobs, "copying", lambda *args, n, **rest: right(*args, n=(1, *n[1:]), **rest))]


def chunk_forgotten():
    return [(columns, "join", lambda stages: jobs.join(stages[:-1] or stages))]


def bias_of_the_first_chunk():
    right = columns.Columns._sum

    def wrong(self, *args):
        return right(self, *args[:-2], 0, args[-1])

    return [(columns.Columns, "_sum", wrong)]


def every_unit_at_the_first(which):
    """All bands read, or write, where the first one does."""

    def wrong(stage, x, y):
        first = {"x": ([x[0]] * len(x), y), "y": (x, [y[0]] * len(y))}[which]
        return jobs.repeat(stage, *first)

    return [(gather, "repeat", wrong)]


def merged_weight(method, base):
    """The last source channel is left out where the merged weight is turned, or copied from `base`."""
    right = getattr(packing.Panels, method)

    def wrong(self, *args):
        row = right(self, *args)
        if row["src"][0] == base:
            one_less("n" if method == "_turned" else "m")(row)
        return row

    return [(packing.Panels, method, wrong)]


def band_off_by_a_row():
    def wrong(*args):
        for band in bands.bands(*args):
            yield replace_row(band)

    def replace_row(band):
        values = {name: getattr(band, name) for name in band.__dataclass_fields__}
        return type(band)(**values | {"src_row": max(0, band.src_row - 1)})

    return [(gather, "bands", wrong)]


def last_band_forgotten():
    def wrong(*args):
        every = list(bands.bands(*args))
        return every[:-1] or every

    return [(gather, "bands", wrong)]


def bias_off_by_a_lane():
    def run(program, x, y, w, bias):
        jobs_run(program, x, y, w, None if bias is None else np.roll(bias, 1))

    jobs_run = jobs.run
    return [(jobs, "run", run)]


def merged_taps_reversed():
    right = packing.Panels._phases

    def wrong(self, t_h, t_w):
        return right(self, t_h, self.k_w - 1 - t_w)

    return [(packing.Panels, "_phases", wrong)]


def imaginary_sign_lost():
    right = adapt._matrices
    return [(adapt, "_matrices", lambda weight, real: right(weight.conj(), real))]


MUTANTS = {
    "planes, mask a lane short": lambda: masks(planes, "first", short_first),
    "planes, border a lane short": lambda: masks(planes, "between", short_between),
    "strips, mask a lane short": lambda: masks(strips, "first", short_first),
    "strips, border a lane short": lambda: masks(strips, "between", short_between),
    "depthwise, mask a lane short": lambda: masks(depthwise, "first", short_first),
    "correlate, mask a lane short": lambda: masks(correlate, "first", short_first),
    "transpose, mask a lane short": lambda: masks(transpose, "first", short_first),
    "copy, mask a lane short": lambda: masks(copy, "first", short_first),
    "gemm, mask a lane short": lambda: masks(gemm, "between", short_between),
    "correlate, totals lost": lambda: masks(correlate, "add", keep_left),
    "gemm, totals lost when a sum is cut": lambda: [(gemm, "put_aside", totals_lost)],
    "planes, totals lost when a sum is cut": lambda: [(planes, "put_aside", totals_lost)],
    "gemm, last tap dropped": lambda: table(gemm, one_less("n_w")),
    "planes, last row of taps dropped": lambda: table(planes, one_less("n_h")),
    "planes, last tap of a phase dropped": lambda: table(planes, one_less("n_0")),
    "planes, last shared tap dropped": lambda: table(planes, one_less("shared_count")),
    "planes, taps read elsewhere": shared_taps_are_own,
    "strips, last phase reads elsewhere": lambda: table(strips, zero("a_1")),
    "depthwise, last tap dropped": lambda: table(depthwise, one_less("n_w")),
    "gemm, last channel dropped": lambda: table(gemm, one_less("c")),
    "gemm, last pixel not written": lambda: table(gemm, one_less("cols")),
    "planes, last row not written": lambda: table(planes, one_less("rows")),
    "planes, last column not written": lambda: table(planes, one_less("out_cols")),
    "strips, last column not written": lambda: table(strips, one_less("out_cols")),
    "depthwise, last pixel not written": lambda: table(depthwise, one_less("cols")),
    "correlate, last pixel not summed": lambda: table(correlate, one_less("cols")),
    "gemm, last image not written": lambda: table(gemm, one_less("n")),
    "gemm, weight of the first group for all": lambda: table(gemm, zero("w_g")),
    "gemm, source of the first group for all": lambda: table(gemm, zero("x_g")),
    "gemm, all groups to the first": lambda: table(gemm, zero("y_g")),
    "gemm, bias of the first group for all": lambda: table(gemm, zero("bias_g")),
    "planes, weight of the first group for all": lambda: table(planes, zero("w_g")),
    "strips, weight of the first plane for all": lambda: table(strips, zero("w_g")),
    "planes, bias of the first group for all": lambda: table(planes, zero("bias_g")),
    "strips, bias of the first plane for all": lambda: table(strips, zero("bias_g")),
    "planes, weight of the first channel for all": lambda: table(planes, zero("w_c")),
    "planes, weight of the first block for all": lambda: table(planes, zero("w_b")),
    "planes, last block not written": lambda: table(planes, one_less("blocks")),
    "planes, phases exchanged": lambda: phases_exchanged(planes),
    "planes, every column at the first": lambda: table(planes, zero("y_col")),
    "planes, channels that are spread not copied": crowded_channels_not_copied,
    "strips, phases exchanged": lambda: phases_exchanged(strips),
    "strips, last row of taps dropped": lambda: written_taps(lambda n_h, counts: (n_h - 1, counts)),
    "strips, last tap dropped": lambda: written_taps(lambda n_h, counts: (n_h, (*counts[:-1], max(0, counts[-1] - 1)))),
    "columns, mask a lane short": lambda: masks(columns_kernel, "first", short_first),
    "columns, sums not added up": lambda: masks(columns_kernel, "add", keep_left),
    "columns, last channel dropped": lambda: table(columns_kernel, one_less("c")),
    "columns, last pixel dropped": lambda: table(columns_kernel, one_less("pixels")),
    "columns, last column dropped": lambda: table(columns_kernel, one_less("count")),
    "columns, last tap dropped": lambda: table(columns_kernel, one_less("pieces")),
    "columns, weight of the first tap for all": lambda: table(columns_kernel, zero("w_piece")),
    "columns, last chunk forgotten": chunk_forgotten,
    "columns, bias of the first chunk for all": bias_of_the_first_chunk,
    "merged phases, last channel not turned": lambda: merged_weight("_turned", W),
    "merged phases, last channel of turned ones not copied": lambda: merged_weight("_columns", X_BAND),
    "merged phases, last channel not copied": lambda: merged_weight("_columns", W),
    "every band reads where the first does": lambda: every_unit_at_the_first("x"),
    "every band writes where the first does": lambda: every_unit_at_the_first("y"),
    "correlate, groups all summed in the first": lambda: table(correlate, zero("total_g")),
    "gemm, first column too late": lambda: table(gemm, first_column_too_late),
    "gemm, first column ignored": lambda: table(gemm, zero("first_column")),
    "gemm, last column of a cut block lost": lambda: table(gemm, last_column_lost),
    "a line of a band is the last band's": lambda: table(transpose, line_of_a_band_not_turned),
    "band off by a row": band_off_by_a_row,
    "last band forgotten": last_band_forgotten,
    "bias off by a lane": bias_off_by_a_lane,
    "merged phases with their taps reversed": merged_taps_reversed,
    "imaginary sign lost": imaginary_sign_lost,
}


TRIED = [
    (mutant, isa)
    for number, mutant in enumerate(MUTANTS)
    for place, isa in enumerate(RUNNABLE)
    if place in some((0, 1 + number % max(1, len(RUNNABLE) - 1)), range(len(RUNNABLE)))
]


@pytest.mark.parametrize(("mutant", "isa"), TRIED, indirect=["isa"])
def test_the_comparisons_catch(mutant, isa, setting):
    changes = MUTANTS[mutant]()
    setting.setattr(kernel, "linked", only_mutants_anew(isa, changes))
    for module, name, wrong in changes:
        assert hasattr(module, name), f"{module.__name__} has no {name}: the mutant would change nothing"
        setting.setattr(module, name, wrong)
    with pytest.raises(AssertionError, match="phase_gemm"), np.errstate(all="ignore"):
        everything()


def test_without_a_mutant_everything_passes(setting):
    """And the cases reach every kernel in every way that a mutant is about."""
    rows = []
    for module in (gather, packing, columns, correlation):
        setting.setattr(module, "stage", lambda table: jobs.stage([rows.append(row) or row for row in table]))
    everything()
    ways = {(made(row["entry"]).make, *made(row["entry"]).arguments[1:]) for row in rows}
    kernels = (
        columns_kernel.columns,
        copy.copy,
        correlate.correlate,
        depthwise.depthwise,
        gemm.gemm,
        transpose.transpose,
    )
    assert {way[0] for way in ways} == {*kernels, planes.planes, strips.strips}
    # A tile of one channel writes planes and pixels alike.
    several = [s for s, most in plane_jobs.CHANNELS[kernel.isa().registers].items() if most > 1]
    assert {(s, pixels) for make, *rest in ways if make is planes.planes for _, s, _, pixels in [rest]} >= {
        *((s, False) for s in (1, 2, 3, 4)),
        *((s, True) for s in several),
    }
    assert {way[1] for way in ways if way[0] is strips.strips} == {1, 2, 3, 4}
    assert {len(way) for way in ways if way[0] is strips.strips} == {2, 4}
    # Single phases on a step of their own, a row of channels spread, several blocks, both ways of columns.
    every = {
        module: [row for row in rows if is_of(row, module)] for module in (planes, copy, columns_kernel, transpose)
    }
    assert any(row["y_col"] == 5 * 4 for row in every[planes])
    assert any(row["blocks"] > 1 and row["w_b"] for row in every[planes])
    assert any(row["dst"][0] == X_BAND for row in every[copy])
    assert {row["pieces"] for row in every[columns_kernel]} == {1, 9}
    assert any(row["src"][0] == W and row["dst"][0] == X_BAND for row in every[transpose])


def test_nothing_of_a_mutant_is_left(isa):
    """After all of them, with the kernels and constants of everybody else."""
    assert gather.stage is packing.stage is jobs.stage
    assert gemm.Builder is planes.Builder is Builder
    everything()
