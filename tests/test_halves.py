"""float16 and bfloat16 as arrays of any strides, by kernels and without; and in every operation."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from amount import some
from cases import LAYOUTS, Case
from fresh import fresh, make_kernel

import upconv
from upconv import halves, planning, rewrites
from upconv.algorithms import ALGORITHMS
from upconv.geometry import Axis, Geometry
from upconv.kernels import stored
from upconv.layouts import CHANNELS_SLICED, STRIDED, WEIGHT_CHANNELS_LAST, Operand, map_layout
from upconv.problem import OPERATIONS, Activation, Problem
from upconv.runtime import kernel
from upconv.runtime.kernel import CodeRefused
from upconv.runtime.program import X, Y
from upconv.schedule import bands, moves, winograd_setting
from upconv.schedule.placed_problem import PlacedProblem

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
SHAPES = ((2, 17, 13, 29), (1, 64, 16, 16), (1, 5000, 1, 1), (5000, 1, 1, 1), (1, 1, 3, 1))


def views(shape, dtype):
    """Empty arrays of a shape in every order and with gaps in every place."""
    n, c, h, w = shape
    yield np.empty(shape, dtype)
    yield np.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    yield np.empty((n, h, w, 2 * c), dtype)[..., :c].transpose(0, 3, 1, 2)
    yield np.empty((n, c, h + 2, w + 3), dtype)[:, :, 1:-1, 2:-1]
    yield np.empty((n, c, h, 2 * w), dtype)[..., ::2]
    yield np.empty(shape, dtype)[:, ::-1, ::-1]
    yield np.empty(shape, dtype)[..., ::-1]
    yield np.empty((h, w, n, c), dtype).transpose(2, 3, 0, 1)
    yield np.frombuffer(bytearray(np.empty(shape, dtype).nbytes + 1), np.uint8)[1:].view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_whatever_strides_two_arrays_have(dtype):
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        values = rng.standard_normal(shape, np.float32)
        for narrow, wide in itertools.product(views(shape, dtype), views(shape, np.float32)):
            narrow[...] = values
            wide[...] = 7
            halves.widen(narrow, wide)
            np.testing.assert_array_equal(wide, narrow.astype(np.float32))
            wide[...] = values
            narrow[...] = 7
            halves.narrow(wide, narrow)
            np.testing.assert_array_equal(narrow, values.astype(dtype))


def test_threads_give_the_same_bits():
    wide = np.random.default_rng(0).standard_normal((3, 41, 50, 70), np.float32)
    for dtype in DTYPES:
        made, threads = [], upconv.get_num_threads()
        try:
            for count in (1, 2, 3, 7):
                upconv.set_num_threads(count)
                made.append(np.empty(wide.shape, dtype))
                halves.narrow(wide, made[-1])
        finally:
            upconv.set_num_threads(threads)
        assert len({each.tobytes() for each in made}) == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_kernels_numpy_gives_the_same(dtype, monkeypatch):
    bits = np.arange(1 << 16, dtype=np.uint16)
    wide, again = np.empty(bits.size, np.float32), np.empty_like(bits)
    halves.widen(bits, wide, dtype.name)
    with monkeypatch.context() as patch:
        patch.setattr(halves, "usable", lambda: ["not here"])
        for given in (bits, bits.view(dtype)):
            other = np.empty_like(wide)
            halves.widen(given, other, dtype.name)
            np.testing.assert_array_equal(other, wide)
        with np.errstate(all="ignore"):
            odd = wide * np.float32(1.0009765)
            want = odd.astype(dtype)
        for target in (again, again.view(dtype)):
            halves.narrow(odd, target, dtype.name)
            finite = np.isfinite(odd)
            np.testing.assert_array_equal(again.view(dtype)[finite], want[finite])
            assert np.isnan(again.view(dtype)[np.isnan(odd)]).all()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_keep_their_order_and_are_converted_once(operation, layout):
    geometry = Geometry(2, 8, 6, 1, Axis(5, 3, 2, 1, 1, 1), Axis(7, 3, 2, 1, 1, 1))
    for a in ("nchw", "nhwc", CHANNELS_SLICED, STRIDED):
        problem = Problem(operation, geometry, "float16", layout, a_layout=a)
        (step,) = rewrites.steps(problem)
        assert step.after.dtype == "float32"
        assert step.amount == "converted"
        (left,) = rewrites.steps(problem, True, True)
        if STRIDED in (a, layout) or operation == "grad_weight":
            assert not left.after.maps
        else:
            assert (left.after.a_layout, left.after.layout, left.after.maps) == (a, layout, "float16")
            assert left.nbytes < step.nbytes
        assert step.after.a_layout == {"nhwc": "nhwc", CHANNELS_SLICED: "nhwc"}.get(a, "nchw")
        assert step.after.layout == (layout if operation != "grad_weight" else "nchw")


def test_a_weight_whose_channels_lie_together_stays_so():
    geometry = Geometry(1, 8, 6, 1, Axis(5, 3, 2), Axis(7, 3, 2))
    problem = Problem("forward", geometry, "bfloat16", b_layout=WEIGHT_CHANNELS_LAST)
    assert rewrites.steps(problem)[-1].after.b_layout == WEIGHT_CHANNELS_LAST
    w = np.ones((8, 3, 3, 6), np.float32).astype(DTYPES[1]).transpose(0, 3, 1, 2)
    y = upconv.conv_transpose2d(np.ones((1, 8, 5, 7), DTYPES[1]), w, stride=2)
    assert y[0, 0, 0, 0] == 8


def test_a_plan_knows_what_the_conversion_takes():
    # Of an odd number, which are multiplied in no pairs.
    geometry = Geometry(1, 33, 32, 1, Axis(128, 2, 2), Axis(128, 2, 2))
    plans = [planning.choose(Problem("forward", geometry, dtype)) for dtype in ("float32", "float16", "bfloat16")]
    wide, *narrow = ({c.name: c.seconds for c in made.candidates if c.seconds is not None} for made in plans)
    moved = geometry.elements() * 6
    for each in narrow:
        # Whole maps, before and after; and bands, for which less comes from memory.
        assert moved / 40e9 < each["matmul"] - wide["matmul"] < moved / 2e9
        assert 0 < abs(each["gemm"] - wide["gemm"]) < moved / 20e9
    assert plans[1].workspace_bytes < moved
    with fresh():
        prepared = Problem("forward", geometry, "float16", prepared=True)
        assert rewrites.steps(prepared)[0].nbytes == moved - 6 * geometry.live_weights


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_more_loops_than_a_program_has(dtype):
    """Five and six axes, none of which follows another."""
    rng = np.random.default_rng(0)
    for shape in ((8, 8, 3, 3, 8), (2, 3, 4, 3, 5, 16)):
        whole = tuple(size + 1 for size in shape)
        inside = tuple(slice(size) for size in shape)
        for order in (tuple(range(len(shape))), tuple(reversed(range(len(shape))))):
            wide = rng.standard_normal([whole[axis] for axis in order], np.float32).transpose(np.argsort(order))[inside]
            low = np.empty(whole, dtype)[inside]
            halves.narrow(wide, low)
            np.testing.assert_array_equal(low, wide.astype(dtype))
            back = np.empty(whole, np.float32)[inside]
            halves.widen(low, back)
            np.testing.assert_array_equal(back, low.astype(np.float32))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_where_code_is_refused_from_now_on_numpy_converts(dtype, monkeypatch):
    def refused(*_):
        raise CodeRefused("no more")

    monkeypatch.setattr(halves, "_program", refused)
    wide = np.random.default_rng(0).standard_normal(2 * halves.FEW).astype(np.float32)
    low, back = np.empty(wide.shape, dtype), np.empty_like(wide)
    halves.narrow(wide, low)
    halves.widen(low, back)
    np.testing.assert_array_equal(low, wide.astype(dtype))
    np.testing.assert_array_equal(back, low.astype(np.float32))


CASES = (
    Case("tiles", 2, 12, 9, 19, 20, (4, 4), (2, 2), (1, 1)),
    Case("few", 3, 5, 7, 33, 3, (3, 3), (2, 2), (1, 1)),
    Case("one-tap", 2, 17, 6, 5, 16, (2, 2), (2, 2)),
    Case("stride-1", 1, 6, 9, 21, 8, (3, 3), (1, 1), (1, 1)),
    Case("groups", 2, 8, 6, 9, 6, (3, 4), (2, 2), (1, 1), groups=2),
    Case("depthwise", 2, 19, 6, 9, 19, (4, 4), (2, 2), (1, 1), groups=19),
    Case("columns-of-one", 2, 9, 8, 1, 6, (2, 3), (2, 3), (0, 1)),
    Case("streaming", 2, 31, 2, 3, 37, (3, 3), (2, 2), (1, 0)),
    Case("winograd", 2, 64, 9, 13, 72, (4, 4), (2, 2), (1, 1)),
)


def lying(array, layout):
    """A copy of a map that lies in a layout; what is sliced or strided has gaps."""
    n, c, h, w = array.shape
    made = {
        "nchw": lambda: np.zeros(array.shape, array.dtype),
        "nhwc": lambda: np.zeros((n, h, w, c), array.dtype).transpose(0, 3, 1, 2),
        CHANNELS_SLICED: lambda: np.zeros((n, h, w, 2 * c), array.dtype)[..., :c].transpose(0, 3, 1, 2),
        "cropped": lambda: np.zeros((n, c, h + 2, w + 3), array.dtype)[:, :, 1:-1, 2:-1],
    }[layout]()
    made[...] = array
    return made


def check_bands(case, operation, dtype, layouts, after="none"):
    """Every way on halves, against itself on the float32 that they stand for; yields (name, whether by bands)."""
    x, w, b, grad_y = (array.astype(dtype) for array in case.arrays("float32"))
    a, bias = (x, b) if operation == "forward" else (grad_y, np.resize(b, case.c_in))
    wide = Problem(operation, case.geometry(), "float32", activation=Activation(after))
    lie = [map_layout(lying(each, layout).shape, lying(each, layout).strides, 2) for each, layout in zip(
        (a, np.empty(wide.result_shape, dtype)), layouts, strict=True)]  # fmt: skip
    problem = replace(wide, dtype=dtype.name, a_layout=lie[0], layout=lie[1])
    for candidate in planning.choose(problem).candidates:
        if candidate.seconds is None or candidate.name == "loops":
            continue
        made = planning.choose(problem, candidate.name)
        out = lying(np.full(problem.result_shape, 7, dtype), layouts[1])
        around = out.base if out.base is not None else out
        outside = around.copy()
        made.execute(lying(a, layouts[0]), w, bias, out)
        # The same order of maps, so that sums are cut alike.
        order = [each if each in LAYOUTS else "nhwc" for each in lie]
        plain = planning.choose(replace(wide, a_layout=order[0], layout=order[1]), candidate.name)
        want = lying(np.empty(problem.result_shape, np.float32), order[1])
        plain.execute(lying(a.astype(np.float32), order[0]), w.astype(np.float32), bias.astype(np.float32), want)
        np.testing.assert_array_equal(out, want.astype(dtype), err_msg=f"{candidate.name} {case} {operation} {layouts}")
        out[...] = 7
        assert (around == outside).all(), f"{candidate.name} wrote beside the result"
        yield candidate.name, bool(made.inner.maps), bool(made.inner.storage)


@pytest.fixture
def small(monkeypatch):
    """Several bands, and Winograd's blocks, in small maps."""
    monkeypatch.setattr(bands, "BAND_BYTES", 1 << 15)
    monkeypatch.setattr(winograd_setting, "MOST_TILES", 12)
    # Pairs of bfloat16 are added up in another order: see test_pairs.
    monkeypatch.setattr(rewrites, "_can_be_pairs", lambda problem, whole: False)
    with fresh():
        yield


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_maps_are_converted_band_by_band_to_the_same_bits(dtype, isa, small):
    turns = itertools.cycle(itertools.product(("nchw", "nhwc", CHANNELS_SLICED, "cropped"), repeat=2))
    ran = Counter()
    for case, operation in itertools.product(CASES, OPERATIONS[:2]):
        for after in ("none", "relu", "tanh") if operation == "forward" else ("none",):
            for _ in range(some(1, 16)):
                ran.update(check_bands(case, operation, dtype, next(turns), after))
    for name, algorithm in ALGORITHMS.items():
        if getattr(algorithm, "converts_maps", False):
            # The weight too, if its kernels take halves.
            assert ran[name, True, getattr(algorithm, "reads_halves", False)] > 1, (name, ran)
        elif getattr(algorithm, "reads_halves", False):
            assert ran[name, False, True] > 1, (name, ran)


def test_bands_of_halves_have_the_same_bits_on_any_threads(small):
    case, threads, made = CASES[0], upconv.get_num_threads(), {}
    x, w, b, _ = (array.astype(np.float16) for array in case.arrays("float32"))
    try:
        for count, layout in itertools.product((1, 2, 3, 7), LAYOUTS):
            upconv.set_num_threads(count)
            for way in ("gemm", "direct_rows", "tap_streaming"):
                made.setdefault((way, layout), set()).add(
                    upconv.conv_transpose2d(lying(x, layout), w, b, stride=2, padding=1, algorithm=way).tobytes()
                )
    finally:
        upconv.set_num_threads(threads)
    assert {way: len(each) for way, each in made.items()} == dict.fromkeys(made, 1)


def crossed(elem, src, dst, shape, halves="", *, writes=False):
    return moves.carried(elem, src, dst, shape, {"f16": "bf16", "bf16": "f16"}.get(halves, ""), writes=writes)


MUTANTS = {
    "the other halves": (bands, "carried", crossed),
    "a packed weight of the other halves": (
        PlacedProblem, "packs_halves", property(lambda task: "f16" if task.problem.storage else ""),
    ),
    "a weight of halves taken for float32": (PlacedProblem, "packs_halves", property(lambda task: "")),
    "edges of a transposed map taken for zeros": (stored.Stored, "load", lambda self, pointer, mask=None: (
        self.k.zero(self.vector) if mask is not None and self.storage else LOAD(self, pointer, mask))),
    "edges are cut, not rounded": (stored.Stored, "store", lambda self, value, pointer, mask=None: STORE(
        self, self.k.muladd(value, value, value) if self.storage and mask is not None else value, pointer, mask)),
}  # fmt: skip
LOAD, STORE = stored.Stored.load, stored.Stored.store


def check_two():
    for case, layouts in itertools.product(
        (CASES[0], CASES[-2]), (("nchw", "nhwc"), ("nhwc", "nchw"), ("cropped", "cropped"))
    ):
        list(check_bands(case, "forward", DTYPES[1], layouts))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_in_a_band_is_caught(mutant, monkeypatch, small):
    # Taken back before what `small` has changed.
    with monkeypatch.context() as patch:
        if MUTANTS[mutant][0] is stored.Stored:
            patch.setattr(kernel, "linked", make_kernel)
        patch.setattr(*MUTANTS[mutant])
        with pytest.raises(AssertionError):
            check_two()


def test_a_map_without_two_axes_that_follow_one_another_has_a_task_for_each_image():
    cropped = moves.PlacedOperand(X, 6, Operand.of((3, 4, 5, 6), (1000, 200, 30, 2), 2))
    apart = moves.PlacedOperand(Y, 0, Operand.of((3, 4, 5, 6), (4000, 800, 64, 4), 4))
    nest = moves.carried("f32", cropped, apart, (3, 4, 5, 6), "f16")
    assert [rows.values for rows in nest.lists] == [[(0, 0), (1000, 4000), (2000, 8000)]]
    assert [nest.common[name] for name in ("n", "m", "count", "src_m", "dst_n")] == [4, 5, 6, 30, 800]


def test_a_band_of_halves_is_no_larger_for_a_result_that_lies_in_whole_lines():
    """gemm writes such a result where it lies, but not one of halves."""
    problem = Problem("forward", Geometry(1, 16, 128, 1, Axis(96, 8, 4), Axis(96, 8, 4)), "bfloat16", "nhwc")
    inner = rewrites.steps(problem, True)[-1].after
    assert inner.maps
    assert ALGORITHMS["gemm"].workspace_bytes(inner) < 8 << 20 < np.prod(problem.result_shape)
