"""Wrong kernels and wrong tables, made on purpose: the comparisons must catch every one of them.

Each mutant is one plausible mistake that stays inside its memory, so that only its values can give it away. What would
leave its memory is for test_guard_pages.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from cases import BY_NAME, Case
from compare import check, suite
from fresh import fresh

from upconv import arguments
from upconv.codegen.lang import Builder
from upconv.kernels import copy, correlate, depthwise, gemm, planes, strips, transpose
from upconv.problem import OPERATIONS
from upconv.runtime import jobs
from upconv.runtime.jobs import X_BAND
from upconv.schedule import adapt, bands, columns, correlation, gather, packing
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
    Case("one-pixel-images", 3, 17, 1, 1, 18, (2, 2)),
    Case("wide-one-tap", 1, 20, 6, 7, 40, (1, 1)),
    Case("planes", 1, 6, 9, 19, 2, (3, 3), (1, 2), (1, 1)),
)


def everything():
    """All cases in all operations; the small suite has the other dtypes and what is not finite."""
    suite("phase_gemm")
    for case in MORE:
        for operation in OPERATIONS:
            for layout in ("nchw", "nhwc"):
                check("phase_gemm", case, operation, "float32", layout)


@pytest.fixture(scope="module")
def cache_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("mutants")


@pytest.fixture
def setting(monkeypatch, cache_directory):
    """Nothing remembered, a cache of its own, small bands, and room around every result."""
    monkeypatch.setenv("UPCONV_CACHE_DIR", str(cache_directory))
    monkeypatch.setattr(bands, "BAND_BYTES", 2048)
    monkeypatch.setattr(correlation, "BAND_BYTES", 2048)
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


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_comparisons_catch(mutant, setting):
    for module, name, wrong in MUTANTS[mutant]():
        assert hasattr(module, name), f"{module.__name__} has no {name}: the mutant would change nothing"
        setting.setattr(module, name, wrong)
    with pytest.raises(AssertionError, match="phase_gemm"), np.errstate(all="ignore"):
        everything()


def test_without_a_mutant_everything_passes(setting):
    everything()


def test_nothing_of_a_mutant_is_left():
    """After all of them, with the kernels and constants of everybody else."""
    assert gather.stage is packing.stage is jobs.stage
    assert gemm.Builder is planes.Builder is Builder
    everything()
