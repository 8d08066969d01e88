"""The gradients: against the definition, as adjoints of the forward call, by finite differences, and their checks."""

import numpy as np
import pytest
from cases import LAYOUTS, channels_last
from require import require
from ways import KERNELS, willing

from upconv import (
    SettingError,
    conv2d,
    conv_transpose2d,
    get_num_threads,
    grad,
    prepare,
    reference,
    set_num_threads,
)
from upconv.algorithms import weight_gradient_blocks
from upconv.geometry import Axis, Geometry
from upconv.planning import choose, solve
from upconv.problem import Problem
from upconv.runtime import memory
from upconv.schedule.weight_tiles import arrangement

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
NAMES = ("stride", "padding", "output_padding", "groups", "dilation")
# (input, weight, stride, padding, output_padding, groups, dilation)
CASES = [
    ((2, 3, 4, 5), (3, 2, 3, 2), (1, 1), (0, 0), (0, 0), 1, (1, 1)),
    ((1, 4, 3, 3), (4, 3, 4, 4), (2, 2), (1, 1), (0, 0), 2, (1, 1)),
    ((1, 2, 4, 3), (2, 1, 3, 3), (2, 3), (1, 0), (1, 2), 1, (1, 1)),
    ((2, 4, 3, 4), (4, 1, 3, 2), (2, 1), (2, 0), (1, 0), 4, (2, 3)),
    ((1, 2, 2, 5), (2, 2, 2, 3), (6, 4), (1, 2), (3, 1), 1, (4, 6)),
]


def settings_of(case):
    return dict(zip(NAMES, case[2:], strict=True))


def geometry_of(case):
    shape, weight_shape, s, p, op, groups, d = case
    axes = [Axis(shape[2 + i], weight_shape[2 + i], s[i], d[i], p[i], p[i] - op[i]) for i in (0, 1)]
    return Geometry(shape[0], shape[1], weight_shape[1] * groups, groups, *axes)


def draw(name, *shapes, seed=0):
    dtype = require("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(shape) for shape in shapes]
    if name.startswith("complex"):
        values = [value + 1j * rng.standard_normal(value.shape) for value in values]
    return [np.asarray(value).astype(dtype) for value in values]


def operands(case, name="float64"):
    return draw(name, case[0], case[1], geometry_of(case).output_shape)


def backward(gy, x, w, **settings):
    return grad.conv_transpose2d_backward(gy, x, w, **settings)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_three_gradients_are_those_of_the_definition(case):
    x, w, gy = operands(case)
    geometry = geometry_of(case)
    gx, gw, gb = backward(gy, x, w, **settings_of(case))
    np.testing.assert_allclose(gx, reference.grad_input(geometry, gy, w), atol=1e-12)
    np.testing.assert_allclose(gw, reference.grad_weight(geometry, x, gy), atol=1e-12)
    np.testing.assert_allclose(gb, gy.sum((0, 2, 3)), atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_gradient_alone_is_the_one_of_the_joint_pass(case):
    x, w, gy = operands(case)
    gx, gw, _ = backward(gy, x, w, **settings_of(case))
    settings = settings_of(case)
    assert np.array_equal(grad.conv_transpose2d_input(x.shape, w, gy, **settings), gx)
    assert np.array_equal(grad.conv_transpose2d_weight(x, w.shape, gy, **settings), gw)
    positional = (settings[name] for name in NAMES)
    assert np.array_equal(grad.conv_transpose2d_input(x.shape, w, gy, *positional), gx)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_gradients_are_the_adjoints_of_the_forward_call(case):
    x, w, gy = operands(case)
    forward = np.vdot(gy, conv_transpose2d(x, w, **settings_of(case)))
    gx, gw, _ = backward(gy, x, w, **settings_of(case))
    np.testing.assert_allclose([np.vdot(gx, x), np.vdot(gw, w)], [forward, forward], rtol=1e-11)


MODES = [
    {"padding_mode": mode, "padding": p} for mode in ("circular", "reflect", "replicate") for p in (1, ((2, 0), (0, 1)))
]
BEYOND = [{"padding": "same"}, {"padding": "same_lower"}, {"padding": ((-2, 1), (1, -3))}, *MODES]


@pytest.mark.parametrize("settings", [{}, {"padding": 1, "output_padding": (0, 1)}, *BEYOND], ids=str)
def test_the_gradients_agree_with_finite_differences(settings):
    settings = {"stride": (2, 2), "dilation": (1, 2), "groups": 2, **settings}
    rng = np.random.default_rng(3)
    values = [rng.standard_normal(shape) for shape in ((2, 2, 3, 4), (2, 2, 3, 2), (4,))]
    gy = rng.standard_normal(conv_transpose2d(*values, **settings).shape)
    found = backward(gy, *values[:2], **settings)
    for which, gradient in enumerate(found):
        direction = rng.standard_normal(values[which].shape)
        ends = []
        for step in (1.0, -1.0):
            moved = [value + step * direction if i == which else value for i, value in enumerate(values)]
            ends.append(np.vdot(gy, conv_transpose2d(*moved, **settings)))
        # The call is linear in each operand, so a long step has no error but rounding.
        np.testing.assert_allclose(np.vdot(gradient, direction), (ends[0] - ends[1]) / 2, rtol=1e-10)


@pytest.mark.parametrize("settings", BEYOND, ids=str)
def test_the_supersets_of_padding_have_one_gradient_however_it_is_asked_for(settings):
    settings = {"stride": 2, **settings}
    x, w = draw("float64", (1, 2, 4, 5), (2, 3, 3, 3))
    (gy,) = draw("float64", conv_transpose2d(x, w, **settings).shape, seed=1)
    gx, gw, gb = backward(gy, x, w, **settings)
    assert np.array_equal(grad.conv_transpose2d_input(x.shape, w, gy, **settings), gx)
    assert np.array_equal(grad.conv_transpose2d_weight(x, w.shape, gy, **settings), gw)
    np.testing.assert_allclose(gb, gy.sum((0, 2, 3)))


def test_the_gradient_in_the_input_is_the_ordinary_convolution():
    x, w, gy = operands(CASES[1])
    settings = settings_of(CASES[1])
    del settings["output_padding"]
    np.testing.assert_allclose(grad.conv_transpose2d_input(x.shape, w, gy, **settings), conv2d(gy, w, **settings))


@pytest.mark.parametrize("name", DTYPES)
def test_each_dtype_gives_its_own(name):
    x, w, gy = operands(CASES[1], name)
    wide = [array.astype(np.complex128 if name.startswith("complex") else np.float64) for array in (gy, x, w)]
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(name, 1e-5)
    found, exact = backward(gy, x, w, **settings_of(CASES[1])), backward(*wide, **settings_of(CASES[1]))
    for value, expected in zip(found, exact, strict=True):
        assert value.dtype == x.dtype
        np.testing.assert_allclose(value.astype(expected.dtype), expected, atol=eps * np.abs(expected).max())


def test_complex_gradients_are_those_of_a_real_loss():
    x, w, gy = operands(CASES[0], "complex128")
    gx, gw, _ = backward(gy, x, w)
    rng = np.random.default_rng(0)
    dx, dw = (rng.standard_normal(a.shape) + 1j * rng.standard_normal(a.shape) for a in (x, w))
    # d Re<gy, y> in a direction is Re<gradient, direction>, where <a, b> conjugates a.
    np.testing.assert_allclose(np.vdot(gx, dx).real, np.vdot(gy, conv_transpose2d(dx, w)).real, rtol=1e-10)
    np.testing.assert_allclose(np.vdot(gw, dw).real, np.vdot(gy, conv_transpose2d(x, dw)).real, rtol=1e-10)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_without_a_batch_the_gradient_in_the_input_has_none(mode):
    settings = {"stride": 2, "padding": 1, "padding_mode": mode}
    x, w = draw("float64", (3, 4, 5), (3, 2, 3, 2))
    (gy,) = draw("float64", conv_transpose2d(x, w, **settings).shape, seed=1)
    gx, gw, gb = backward(gy, x, w, **settings)
    batched = backward(gy[None], x[None], w, **settings)
    assert gx.shape == x.shape
    assert np.array_equal(gx, batched[0][0])
    assert np.array_equal(gw, batched[1])
    assert np.array_equal(gb, batched[2])
    assert np.array_equal(grad.conv_transpose2d_input(x.shape, w, gy, **settings), gx)
    assert np.array_equal(grad.conv_transpose2d_weight(x, w.shape, gy, **settings), gw)


@pytest.mark.parametrize("mask", [(True, False, True), (False, True, False), (0, 0, 0), [1, 1, 0]])
def test_output_mask_leaves_out_what_is_not_wanted(mask):
    x, w, gy = operands(CASES[0])
    found, full = backward(gy, x, w, output_mask=mask), backward(gy, x, w)
    for wanted, value, expected in zip(mask, found, full, strict=True):
        assert np.array_equal(value, expected) if wanted else value is None


def test_an_empty_batch_has_gradients_of_zero():
    gx, gw, gb = backward(np.ones((0, 2, 6, 6)), np.ones((0, 3, 4, 4)), np.ones((3, 2, 3, 3)))
    assert gx.shape == (0, 3, 4, 4)
    assert gw.shape == (3, 2, 3, 3)
    assert not gw.any()
    assert gb.tolist() == [0, 0]


def test_inputs_and_weights_that_reach_no_output_have_a_gradient_of_zero():
    gx, gw, _ = backward(np.ones((1, 1, 1, 1)), np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1)), padding=1)
    assert np.array_equal(gx[0, 0], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert gw.item() == 1
    _, gw, _ = backward(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)), np.ones((1, 1, 4, 4)), padding=1)
    assert np.array_equal(gw[0, 0], np.pad(np.ones((2, 2)), 1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_in_the_gradient_reaches_what_it_reaches_in_the_definition(value):
    x, w, gy = operands(CASES[2])
    gy[0, 0, -1, -1] = value
    gx, gw, gb = backward(gy, x, w, **settings_of(CASES[2]))
    geometry = geometry_of(CASES[2])
    assert np.array_equal(np.isfinite(gx), np.isfinite(reference.grad_input(geometry, gy, w)))
    assert np.array_equal(np.isfinite(gw), np.isfinite(reference.grad_weight(geometry, x, gy)))
    assert not np.isfinite(gb[0])


def last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def is_last(array):
    return array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("which", "expected"), [(0, (True, True)), (1, (False, True)), (2, (True, False)), (None, (False, False))]
)
def test_each_gradient_lies_channels_last_if_one_of_its_own_operands_does(which, expected):
    x, w, gy = operands(CASES[0])
    arrays = [last(array) if i == which else array for i, array in enumerate((gy, x, w))]
    gx, gw, _ = backward(*arrays)
    assert (is_last(gx), is_last(gw)) == expected
    np.testing.assert_allclose(gx, backward(gy, x, w)[0])
    np.testing.assert_allclose(gw, backward(gy, x, w)[1])


@pytest.mark.parametrize("lies", [np.asarray, last], ids=["nchw", "nhwc"])
def test_the_gradient_in_the_input_lies_as_the_input_does_where_that_in_the_output_lies_either_way(lies):
    x, w, gy = (
        some.astype("f") for some in (lies(np.ones((2, 3, 4, 5))), np.ones((3, 1, 3, 3)), np.ones((2, 1, 6, 7)))
    )
    x = lies(x)
    gx, _, _ = backward(gy, x, w)
    assert is_last(gx) == is_last(x) == (lies is last)
    np.testing.assert_array_equal(gx, grad.conv_transpose2d_input(x.shape, w, gy))


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "complex64"])
def test_operands_of_any_strides_and_byte_order_give_the_same(name):
    x, w, gy = operands(CASES[3], name)
    expected = backward(gy, x, w, **settings_of(CASES[3]))
    swapped = [array.astype(array.dtype.newbyteorder(">")) for array in (gy, x, w)]
    turned = [array[..., ::-1].copy()[..., ::-1] for array in (gy, x, w)]
    fortran = [np.asfortranarray(array) for array in (gy, x, w)]
    for arrays in (swapped, turned, fortran):
        found = backward(*arrays, **settings_of(CASES[3]))
        for value, right in zip(found, expected, strict=True):
            assert value.dtype == right.dtype
            np.testing.assert_allclose(value, right, rtol=1e-2 if name == "float16" else 1e-4, atol=1e-2)


def test_the_gradient_in_the_bias_is_summed_wide():
    gy = np.array([2.0**25, 1, -(2.0**25)], np.float32).reshape(1, 1, 1, 3)
    gb = backward(gy, np.ones((1, 1, 1, 3), np.float32), np.ones((1, 1, 1, 1), np.float32))[2]
    assert gb.dtype == np.float32
    assert gb.item() == 1


@pytest.mark.parametrize("lies", LAYOUTS)
@pytest.mark.parametrize("channels", [(5, 7), (7, 5), (24, 16), (16, 24), (6, 1), (1, 16)], ids=str)
@pytest.mark.parametrize("k", [1, 3, 4])
def test_a_gradient_in_the_weight_is_written_in_either_layout_without_a_copy(k, channels, lies):
    g = Geometry(2, *channels, 1, Axis(4, k, 2), Axis(5, k, 2))
    rng = np.random.default_rng(0)
    x, gy = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (g.input_shape, g.output_shape))
    want = reference.grad_weight(g, x, gy)
    if lies == "nhwc":
        x, gy = channels_last(x), channels_last(gy)
    for layout in LAYOUTS:
        out = np.empty(g.weight_shape, np.float32)
        out = channels_last(out) if layout == "nhwc" else out
        problem = Problem("grad_weight", g, "float32", lies)
        for way in willing(Problem("grad_weight", g, "float32", layout, problem.a_layout, problem.b_layout)):
            out[...] = np.nan
            made = solve(problem, way, x, gy, None, out)
            assert not made.steps, made.copies
            np.testing.assert_array_equal(out, want, err_msg=way)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "g",
    [
        Geometry(1, 64, 64, 2, Axis(9, 3, 2), Axis(8, 2, 3)),
        Geometry(1, 66, 128, 1, Axis(13, 7, 2, 1, 2, 1), Axis(23, 7, 1, 1, 9, 0)),
        Geometry(4, 34, 512, 1, Axis(11, 6, 3), Axis(13, 11, 1)),
    ],
    ids=["one part", "one block of two", "tiles of the weight, some blocks"],
)
def test_sums_are_added_up_where_the_weight_lies(g, layout):
    problem, rng = Problem("grad_weight", g, "float32", layout), np.random.default_rng(0)
    x, gy = (rng.integers(-3, 4, shape).astype(np.float32) for shape in problem.operand_shapes)
    want = choose(problem, "matmul")(x, gy)
    if layout == "nhwc":
        x, gy = channels_last(x), channels_last(gy)
    arrangement.cache_clear()
    sums = weight_gradient_blocks._Sums(problem)
    assert sums.are_weight == (layout == "nhwc")
    with memory.poisoned():
        got = choose(problem, "weight_gradient_blocks")(x, gy)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "g",
    [
        Geometry(1, 310, 130, 1, Axis(8, 5, 2, 1, 1), Axis(7, 5, 2, 1, 1)),
        Geometry(2, 130, 302, 2, Axis(5, 4, 2, 1, 1), Axis(6, 4, 2, 1, 1)),
        Geometry(1, 70, 40, 1, Axis(8, 33, 2), Axis(8, 17, 3)),
    ],
    ids=["runs of channels", "groups", "rows of taps"],
)
def test_sums_of_one_block_become_the_weight_run_by_run(g, layout):
    problem, rng = Problem("grad_weight", g, "float32", layout), np.random.default_rng(0)
    x, gy = (rng.integers(-3, 4, shape).astype(np.float32) for shape in problem.operand_shapes)
    want = reference.grad_weight(g, x, gy)
    if layout == "nhwc":
        x, gy = channels_last(x), channels_last(gy)
    out = np.empty(g.weight_shape, np.float32)
    assert layout == "nhwc" or weight_gradient_blocks._Sums(problem).is_brief
    before = get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            set_num_threads(threads)
            out[...] = np.nan
            with memory.poisoned():
                solve(problem, "weight_gradient_blocks", x, gy, None, out)
            np.testing.assert_array_equal(out, want)
    finally:
        set_num_threads(before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_longest_sums_of_a_gradient_in_the_weight_are_rounded_as_few_times_as_those_of_short_ones(layout):
    """64 maps of 128 x 128 into one weight; positive numbers, of which a sum in one chain would lose 5 bits."""
    rng = np.random.default_rng(0)
    x, gy = (rng.random((64, c, 128, 128), np.float32) for c in (4, 3))
    want = np.tensordot(x.astype(np.float64), gy.astype(np.float64), ((0, 2, 3), (0, 2, 3)))
    if layout == "nhwc":
        x, gy = channels_last(x), channels_last(gy)
    problem = Problem("grad_weight", Geometry(64, 4, 3, 1, Axis(128, 1), Axis(128, 1)), "float32", layout)
    made = choose(problem)
    ways = [each.name for each in made.candidates if each.seconds and not each.by_name and each.name in KERNELS]
    assert made.algorithm in ways
    for way in ways:
        got = choose(problem, way)(x, gy)[:, :, 0, 0]
        assert np.abs(got / want - 1).max() < 5 * 2**-24, way


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        (lambda x, w, gy: backward(gy[..., 1:], x, w), SettingError, ("grad_output", "(2, 2, 6, 5)", "(2, 2, 6, 6)")),
        (lambda x, w, gy: backward(gy[0], x, w), SettingError, ("grad_output", "(2, 2, 6, 6)")),
        (lambda x, w, gy: backward(gy, x[0], w), SettingError, ("grad_output", "(2, 6, 6)")),
        (lambda x, w, gy: backward(gy.astype(np.float32), x, w), SettingError, ("float32", "float64")),
        (lambda x, w, gy: backward(gy, x, w.astype(np.float32)), SettingError, ("float32", "float64")),
        (lambda x, w, gy: backward(gy, x[:, :2], w), SettingError, ("2 channels", "takes 3")),
        (lambda x, w, gy: backward(gy, x, w, stride=0), SettingError, ("stride is (0, 0)",)),
        (lambda x, w, gy: backward(gy, x, w, output_padding=1), SettingError, ("output_padding is 1", "at most 0")),
        (lambda x, w, gy: backward(gy, x, w, padding_mode="mirror"), ValueError, ("'mirror'", "circular")),
        (lambda x, w, gy: backward(gy, x, w, output_mask=(1, 1)), SettingError, ("output_mask is (1, 1)", "3")),
        (lambda x, w, gy: backward(gy, x, w, output_mask=None), TypeError, ("output_mask is None", "three booleans")),
        (lambda x, w, gy: backward(gy, x, w, output_mask="yes"), TypeError, ("output_mask is 'yes'", "three booleans")),
        (lambda x, w, gy: backward(gy, x, w, output_mask=True), TypeError, ("output_mask is True",)),
        (lambda x, w, gy: backward(np.ma.array(gy), x, w), TypeError, ("grad_output is a masked array",)),
        (lambda x, w, gy: grad.conv_transpose2d_input((4, 5), w, gy), SettingError, ("input_size is (4, 5)", "3 or 4")),
        (lambda x, w, gy: grad.conv_transpose2d_input(5, w, gy), TypeError, ("input_size is 5",)),
        (lambda x, w, gy: grad.conv_transpose2d_input((2, 3, 4.0, 5), w, gy), TypeError, ("input_size is 4.0",)),
        (lambda x, w, gy: grad.conv_transpose2d_input((-2, 3, 4, 5), w, gy), SettingError, ("batch size is -2",)),
        (lambda x, w, gy: grad.conv_transpose2d_input((2, 3, 0, 5), w, gy), SettingError, ("input size is 0",)),
        (lambda x, w, gy: grad.conv_transpose2d_weight(x, (3, 2, 3), gy), SettingError, ("weight_size is (3, 2, 3)",)),
        (lambda x, w, gy: grad.conv_transpose2d_weight(x, (3, 2, 3, 3), gy), SettingError, ("grad_output",)),
        (lambda x, w, gy: grad.conv_transpose2d_weight(x, w.shape, gy, groups=2), ValueError, ("groups=2",)),
    ],
    ids=range(22),
)  # fmt: skip
def test_gradients_refuse_what_the_forward_call_refuses_and_what_does_not_fit_it(call, error, fragments):
    with pytest.raises(error) as caught:
        call(*operands(CASES[0]))
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_integers_have_no_gradients(which):
    arrays = list(operands(CASES[0]))
    arrays[which] = arrays[which].astype(np.int64)
    x, w, gy = arrays
    with pytest.raises(
        NotImplementedError, match=r"int64, which has no gradients; allowed are float16, .*, complex128\. .*'float64'"
    ):
        backward(gy, x, w)


def test_an_overflow_of_the_gradient_in_the_bias_is_an_infinity_and_not_a_warning():
    gy, x, w = (np.full(shape, 600, np.float16) for shape in ((1, 1, 64, 64), (1, 1, 64, 64), (1, 1, 1, 1)))
    with np.errstate(all="raise"):
        assert np.isinf(grad.conv_transpose2d_backward(gy, x, w)[2]).all()


@pytest.mark.parametrize("name", ["stride", "dilation"])
def test_a_huge_step_that_is_never_taken_changes_no_gradient(name):
    one = np.full((1, 1, 1, 1), 3.0)
    gradients = grad.conv_transpose2d_backward(one, one, one, **{name: 2**62})
    assert [gradient.ravel().tolist() for gradient in gradients] == [[9.0], [9.0], [3.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_map_of_one_column_says_nothing_by_its_stride(dtype):
    """Every way of the gradient in the weight, on a gradient of which the crops leave one column, channels-last."""
    g = Geometry(1, 4, 8, 1, Axis(1, 1, 4, 4, 0, -1), Axis(2, 3, 1, 1, 1, 2))
    problem = Problem("grad_weight", g, dtype, "nhwc")
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal(shape).astype(dtype) for shape in problem.operand_shapes]
    want = choose(problem, "loops")(*operands)
    for candidate in choose(problem).candidates:
        if candidate.seconds is not None:
            got = choose(problem, candidate.name)(*operands)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=candidate.name)


@pytest.mark.parametrize("algorithm", [name for name in KERNELS if name.startswith("weight_gradient")])
def test_a_result_with_gaps_between_input_channels(algorithm):
    """What lies channels-last is every other one of a larger array, of which nothing else may be written."""
    problem = Problem("grad_weight", Geometry(1, 28, 16, 1, Axis(3, 3), Axis(3, 3)), "float64", "nhwc")
    if algorithm not in willing(problem):
        pytest.skip("refuses")
    rng = np.random.default_rng(0)
    x, gy = (channels_last(rng.standard_normal(shape)) for shape in problem.operand_shapes)
    whole = np.full((56, 3, 3, 16), -77.0)
    solve(problem, algorithm, x, gy, None, whole[::2].transpose(0, 3, 1, 2))
    want = choose(problem, "loops")(x, gy)
    np.testing.assert_allclose(whole[::2].transpose(0, 3, 1, 2), want, rtol=1e-10)
    assert (whole[1::2] == -77).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", ["grad_input", "grad_weight"])
def test_each_gradient_is_computed_by_the_algorithm_that_is_asked_for(operation, layout):
    x, w, gy = draw("float32", (2, 24, 6, 7), (24, 16, 4, 4), (2, 16, 12, 14))
    x, gy = (channels_last(each) if layout == "nhwc" else each for each in (x, gy))
    settings = {"stride": 2, "padding": 1}
    if operation == "grad_input":
        calls = {"grad": lambda name: grad.conv_transpose2d_input(x.shape, w, gy, **settings, algorithm=name),
                 "conv2d": lambda name: conv2d(gy, w, **settings, algorithm=name)}  # fmt: skip
    else:
        calls = {"grad": lambda name: grad.conv_transpose2d_weight(x, w.shape, gy, **settings, algorithm=name)}
    geometry = Geometry(2, 24, 16, 1, Axis(6, 4, 2, 1, 1, 1), Axis(7, 4, 2, 1, 1, 1))
    problem = Problem(operation, geometry, "float32", layout)
    names = {each.name for each in choose(problem).candidates if not each.refusals}
    assert len(names) >= 3
    wanted = (
        reference.grad_input(geometry, gy, w) if operation == "grad_input" else reference.grad_weight(geometry, x, gy)
    )
    for call in calls.values():
        for name in sorted(names):
            got = call(name)
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
            assert np.array_equal(got, call(choose(problem, name)))
        with pytest.raises(SettingError, match="weight_streaming" if operation == "grad_weight" else "weight_gradient"):
            call("weight_streaming" if operation == "grad_weight" else "weight_gradient")
        with pytest.raises(TypeError, match="algorithm is 7"):
            call(7)


@pytest.mark.parametrize("mask", [(True, True, True), (True, False, True), (False, True, False)])
def test_backward_computes_what_is_wanted_by_the_algorithm_that_is_asked_for(mask):
    x, w, gy = draw("float32", (2, 24, 6, 7), (24, 16, 4, 4), (2, 16, 12, 14))
    settings, found = {"stride": 2, "padding": 1}, set()
    wants_one = mask[:2] != (True, True)
    for name in ("loops", "matmul", *(["gemm", "direct_rows"] if mask[0] else ["weight_gradient"]) * wants_one):
        got = backward(gy, x, w, **settings, output_mask=mask, algorithm=name)
        want = (
            grad.conv_transpose2d_input(x.shape, w, gy, **settings, algorithm=name) if mask[0] else None,
            grad.conv_transpose2d_weight(x, w.shape, gy, **settings, algorithm=name) if mask[1] else None,
        )
        for one, other in zip(got, want, strict=False):
            assert (one is None) == (other is None)
            assert one is None or np.array_equal(one, other)
        found.add(b"".join(each.tobytes() for each in want if each is not None))
    assert len(found) >= 2
    if not wants_one:
        with pytest.raises(SettingError, match="gemm refuses: computes no gradient in the weight"):
            backward(gy, x, w, **settings, algorithm="gemm")
    with pytest.raises(TypeError, match="algorithm is 7"):
        backward(gy, x, w, **settings, output_mask=mask, algorithm=7)


@pytest.mark.parametrize("name", ["float32", "float64", "complex64"])
def test_a_prepared_weight_serves_the_gradient_in_the_input(name):
    x, w, gy = operands(CASES[2], name)
    made = prepare(w, **settings_of(CASES[2]))
    gx, gw, _ = backward(gy, x, w, **settings_of(CASES[2]))
    for weight in (w, made):
        got = grad.conv_transpose2d_input(x.shape, weight, gy, **settings_of(CASES[2]))
        np.testing.assert_allclose(got, gx, rtol=1e-5, atol=1e-5)
        got = backward(gy, x, weight, **settings_of(CASES[2]))
        np.testing.assert_allclose(got[0], gx, rtol=1e-5, atol=1e-5)
        assert np.array_equal(got[1], gw)
    with pytest.raises(SettingError, match="stride"):
        grad.conv_transpose2d_input((1, 2, 10, 10), made, gy)
    whole = prepare(w.real.astype(np.int64), **settings_of(CASES[2]))
    with pytest.raises(NotImplementedError, match="weight has dtype int64"):
        grad.conv_transpose2d_input(x.shape, whole, gy, **settings_of(CASES[2]))
