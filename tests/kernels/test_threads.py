"""The same bits for every number of threads, on small cases that are cut as if they were large."""

import itertools

import numpy as np
import pytest
from amount import some
from cases import BY_NAME, LAYOUTS, Case
from compare import assert_close, assert_same_bits, computed, operands
from fresh import fresh
from ways import KERNELS, result, truth, willing

from upconv import planning
from upconv.algorithms import (
    ALGORITHMS,
    depthwise_rows,
    gemm,
    gemm_planes,
    input_gradient_columns,
    weight_gradient_blocks,
    weight_gradient_columns,
    weight_gradient_depthwise,
    weight_gradient_runs,
    weight_gradient_tap_rows,
)
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import pool, program
from upconv.runtime.memory import poisoned
from upconv.schedule import (
    bands,
    depthwise_planes,
    next_block,
    pixel_parts,
    pixel_products,
    placed_problem,
    weight_tiles,
)

THREADS = (1, 2, 3, 7)
CUT = (
    Case("many-rows", 3, 20, 17, 9, 18, (4, 4), (2, 2), (1, 1)),
    Case("long-rows", 1, 5, 2, 150, 3, (3, 3), (2, 2), (1, 1), (1, 1)),
    Case("grouped", 2, 12, 11, 10, 18, (3, 3), (1, 2), (1, 0), groups=3),
    Case("wide-groups", 1, 34, 5, 6, 36, (3, 2), (2, 1), groups=2),
    Case("depthwise", 2, 19, 13, 12, 19, (5, 5), (2, 2), (2, 2), groups=19),
    Case("long-sums", 1, 150, 7, 7, 40, (3, 3), (1, 1), (1, 1)),
    Case("weight-streaming", 2, 31, 4, 3, 70, (3, 3), (2, 2), (1, 0)),
    Case("plane-products", 2, 19, 15, 14, 16, (1, 1)),
    # Tiles of phases that begin within a stride, under sums that are cut.
    Case("phases-in-part", 1, 40, 3, 70, 16, (5, 5), (2, 2), (1, 1)),
    # Bands of rows that end within a stride, where there are fewer rows of taps.
    Case("phases-in-part-down", 2, 33, 21, 20, 16, (5, 4), (3, 1), ((-1, 0), (0, 0))),
    Case("columns", 2, 19, 5, 4, 16, (4, 4), (2, 2), (1, 1)),
    BY_NAME["primes"],
    BY_NAME["gcd2-k5s4d6-holes"],
    BY_NAME["crops-of-both-signs"],
)

# Of three vectors, or five of half the width: units of two, as some numbers of threads have them, are not filled.
DEPTHWISE_IN_PART = Case("depthwise-in-part", 2, 35, 13, 12, 35, (5, 5), (2, 2), (2, 2), groups=35)


@pytest.fixture
def cut(monkeypatch):
    """Bands of a few rows, parts for every thread, several parts even on one."""
    for name in ("BRIEF", "WORTH_WAKING"):
        monkeypatch.setattr(program, name, 0)
    monkeypatch.setattr(placed_problem, "PART_SECONDS", 1e-12)
    monkeypatch.setattr(bands, "BAND_BYTES", 4096)
    # Smaller planes are shared out by channels, larger ones by rows.
    monkeypatch.setattr(depthwise_rows, "MOST_PLANE_BYTES", 4096)
    for module in (
        weight_gradient_blocks,
        weight_gradient_columns,
        weight_gradient_depthwise,
        weight_gradient_runs,
        weight_gradient_tap_rows,
    ):
        monkeypatch.setattr(module, "PIXELS", 8)
    monkeypatch.setattr(weight_tiles, "LEAST_PIXELS", 1)
    monkeypatch.setattr(gemm_planes, "PANELS_BYTES", 1 << 12)
    monkeypatch.setattr(input_gradient_columns, "COLUMNS_BYTES", 1 << 12)
    monkeypatch.setattr(input_gradient_columns, "LANE_PRODUCTS", 2)
    monkeypatch.setattr(weight_gradient_depthwise, "UNIT_VECTORS", 1)
    monkeypatch.setattr(weight_gradient_depthwise, "PIECE_PRODUCTS", 100)
    # Sums that are put aside, several parts, several units.
    monkeypatch.setattr(depthwise_planes, "LONGEST", 4)
    monkeypatch.setattr(depthwise_planes, "UNIT_PRODUCTS", 100)
    monkeypatch.setattr(pixel_parts, "PART_CYCLES", 1000)
    monkeypatch.setattr(next_block, "FAR_BYTES", 0)
    monkeypatch.setattr(pixel_parts, "PIECE_CYCLES", 2000)
    monkeypatch.setattr(pool, "_wanted", 1)
    with fresh(), poisoned():
        yield


@pytest.fixture
def parts(monkeypatch):
    """How many parts each wave had."""
    counted, jobs = [], program.Program.jobs

    def counting(self, threads):
        made = jobs(self, threads)
        counted.extend(made[1])
        return made

    monkeypatch.setattr(program.Program, "jobs", counting)
    return counted


@pytest.mark.parametrize("dtype", some(["float32", "bfloat16"], ["float32", "float64", "bfloat16", "complex64"]))
@pytest.mark.parametrize("seconds_per_piece", [program.SECONDS_PER_PIECE, 1e-6], ids=["", "many pieces"])
def test_bits_do_not_depend_on_the_number_of_threads(dtype, seconds_per_piece, cut, parts, monkeypatch):
    monkeypatch.setattr(program, "SECONDS_PER_PIECE", seconds_per_piece)
    ran = set()
    for case, operation, layout in itertools.product(CUT, OPERATIONS, LAYOUTS):
        a, b, bias, want, bound = truth(case, operation, dtype, layout, "rough")
        problem = Problem(operation, case.geometry(), dtype, layout)
        for way in willing(problem):
            results = []
            for threads in THREADS:
                pool.set_num_threads(threads)
                results.append(result(problem, way, a, b, bias))
            assert_close(results[0], want, bound, dtype)
            for other in results[1:]:
                assert_same_bits(other, results[0])
            ran.add(way)
    # A complex layer is never depthwise, since its channels come in pairs; nor do its planes lie by themselves.
    apart = {way for way in KERNELS if "depthwise" in way or way == "gemm_planes"}
    assert set(KERNELS) - ran == (apart if dtype == "complex64" else set())
    # Some tables were for one thread, some for all. In pieces, of which a slower instruction set has more, none need
    # have a part for each of the most threads.
    assert min(parts) == 1
    assert max(parts) == max(THREADS) or (seconds_per_piece == 1e-6 and max(parts) >= THREADS[-2])


# Sums of so many bytes in all stay near: of some of these there is a part more or less for a vector that is not filled.
@pytest.mark.parametrize("nbytes", [5_000, 9_000, 10_500, 18_000, 22_000])
def test_how_many_parts_the_pixels_have_does_not_depend_on_the_number_of_threads(nbytes, cut, monkeypatch):
    monkeypatch.setattr(pixel_parts, "PARTS_BYTES", nbytes)
    for module in (pixel_parts, weight_gradient_depthwise):
        monkeypatch.setattr(module, "PART_PIXELS", 4)
    ran = set()
    for case, layout in itertools.product((DEPTHWISE_IN_PART, *CUT), ("nhwc", "nchw")):
        a, b, bias, want, bound = truth(case, "grad_weight", "float32", layout, "rough")
        problem = Problem("grad_weight", case.geometry(), "float32", layout)
        for way in willing(problem):
            results = []
            for threads in THREADS:
                pool.set_num_threads(threads)
                results.append(result(problem, way, a, b, bias))
            assert_close(results[0], want, bound, "float32")
            for other in results[1:]:
                assert_same_bits(other, results[0])
            ran.add(way)
    assert "weight_gradient_depthwise" in ran


@pytest.mark.parametrize("threads", THREADS)
def test_a_weight_that_is_packed_block_by_block_gives_the_same_bits(threads, cut, monkeypatch):
    """The way of weights that leave the cache, forced on small ones."""
    pool.set_num_threads(threads)
    used, by_blocks = [], gemm._by_blocks

    def watched(*args):
        used.append(args)
        return by_blocks(*args)

    case = Case("weighty", 2, 70, 3, 2, 150, (3, 3), (2, 2), (1, 1), groups=2)
    for operation, dtype, layout in itertools.product(OPERATIONS[:2], ("float32", "float64"), LAYOUTS):
        pair, results = operands(operation, case.arrays(dtype, layout)), []
        for least in (1 << 40, 0):
            with fresh(), monkeypatch.context() as patch:
                patch.setattr(gemm, "WEIGHTY_BYTES", least)
                patch.setattr(gemm, "_by_blocks", watched)
                results.append(computed("gemm", case.geometry(), operation, dtype, layout, *pair))
        assert_same_bits(results[1], results[0])
    assert used


@pytest.mark.parametrize("way", ["gemm", "gemm_tap_rows"])
def test_a_panel_from_afar_gives_the_same_bits(way, cut, monkeypatch):
    """Tiles that wait for one another, forced on small layers: sums of less, just, and more than are cut."""
    seen = set()
    for c_out, operation, dtype in itertools.product((5, 63, 64, 130), OPERATIONS[:2], ("float32", "float64")):
        case = Case("afar", 2, c_out, 5, 7, c_out, (3, 4), (2, 2), (1, 1))
        pair, results = operands(operation, case.arrays(dtype, "nhwc")), []
        if ALGORITHMS[way].why_not(Problem(operation, case.geometry(), dtype, "nhwc")):
            continue
        for near in (1 << 40, 0):
            with fresh(), monkeypatch.context() as patch:
                patch.setattr(pixel_products, "NEAR_BYTES", near)
                results.append(computed(way, case.geometry(), operation, dtype, "nhwc", *pair))
        assert_same_bits(results[1], results[0])
        seen.add(operation)
    assert "grad_input" in seen


MACS_PER_SECOND = 3e10
# Seconds of work each; the pool looks at signals between parts only, and shares out nothing smaller.
LONG = {
    "large map": Case("large-map", 1, 64, 512, 512, 64, (8, 8), (2, 2), (3, 3)),
    "large kernel": Case("large-kernel", 1, 64, 256, 256, 64, (24, 24)),
    "large weight": Case("large-weight", 1, 256, 128, 256, 128, (16, 16), (2, 2)),
    "few channels": Case("few-channels", 1, 64, 1024, 1024, 3, (16, 16), (2, 2), (7, 7)),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", LONG)
def test_no_part_of_a_long_call_takes_long(kind, operation, threads, monkeypatch):
    """Nothing is computed: the units are counted of each piece that the pool would have been given, and its threads."""
    problem = Problem(operation, LONG[kind].geometry(), "float32")
    monkeypatch.setattr(pool, "_wanted", threads)
    parts = []
    # A row of a piece says where its units end, and at last where they begin; all rows take from the same.
    monkeypatch.setattr(pool, "run", lambda fn, rows: parts.append((rows[0, 3] - rows[0, -1], len(rows))))
    monkeypatch.setattr(program, "function", lambda kernel, keeps_gil: lambda job: parts.append((1, 1)))
    shapes = {"forward": "xw", "grad_input": "yw", "grad_weight": "xy"}[operation]
    g = problem.geometry
    sizes = {"x": g.input_shape, "w": g.weight_shape, "y": g.output_shape}
    a, b = (np.empty(sizes[letter], np.float32) for letter in shapes)
    out, ways = np.empty(problem.result_shape, np.float32), willing(problem)
    for way in ways:
        del parts[:]
        planning.solve(problem, way, a, b, None, out)
        seconds = problem.macs / MACS_PER_SECOND
        share = max(units / rows for units, rows in parts) / sum(units for units, _ in parts)
        assert share * seconds < 0.5, f"a piece of {way} has {share:.0%} of the units of {seconds:.1f} s"
    assert ways


def test_fresh_programs_see_a_changed_constant(cut, parts):
    """Without the fixture the cases above would be one part each, and prove nothing."""
    pair = operands("forward", CUT[0].arrays("float32"))
    for threads, least in ((1, 1), (7, 7)):
        pool.set_num_threads(threads)
        del parts[:]
        computed("gemm", CUT[0].geometry(), "forward", "float32", "nchw", *pair)
        # One part on one thread needs no pool.
        assert max(parts, default=1) >= least
    assert not np.array_equal(parts, [1])
