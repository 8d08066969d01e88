"""float16 and bfloat16 as arrays of any strides, by kernels and without; and in every operation."""

import itertools

import numpy as np
import pytest
from cases import LAYOUTS
from fresh import fresh

import upconv
from upconv import halves, planning, rewrites
from upconv.geometry import Axis, Geometry
from upconv.layouts import CHANNELS_SLICED, STRIDED, WEIGHT_CHANNELS_LAST
from upconv.problem import OPERATIONS, Problem
from upconv.runtime.kernel import CodeRefused

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
    geometry = Geometry(1, 32, 32, 1, Axis(128, 2, 2), Axis(128, 2, 2))
    plans = [planning.choose(Problem("forward", geometry, dtype)) for dtype in ("float32", "float16", "bfloat16")]
    wide, *narrow = (min(c.seconds for c in made.candidates if c.seconds is not None) for made in plans)
    moved = geometry.elements() * 6
    for each in narrow:
        assert moved / 40e9 < each - wide < moved / 2e9
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
