"""The NumPy door: values against the definition, the size formula, dtypes, memory, `out`, and `conv2d`.

The definition is `upconv.reference` in float64; the crops are worked out here from torch's formula, not by the package.
"""

import copy

import numpy as np
import pytest
from cases import LAYOUTS
from require import require

import upconv
from upconv import SettingError, conv2d, conv_transpose2d, reference
from upconv.arrays import lies_channels_last
from upconv.geometry import Axis, Geometry

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int64")
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "complex64": 2.0**-23}

# (input, weight, stride, padding, output_padding, groups, dilation)
CASES = [
    ((2, 3, 4, 5), (3, 2, 3, 2), (1, 1), (0, 0), (0, 0), 1, (1, 1)),
    ((1, 4, 3, 3), (4, 3, 4, 4), (2, 2), (1, 1), (0, 0), 2, (1, 1)),
    ((1, 2, 4, 3), (2, 1, 3, 3), (2, 3), (1, 0), (1, 2), 1, (1, 1)),
    ((2, 4, 3, 4), (4, 1, 3, 2), (2, 1), (2, 0), (1, 0), 4, (2, 3)),
    ((1, 1, 1, 1), (1, 1, 1, 1), (5, 1), (0, 0), (4, 0), 1, (1, 1)),
    ((1, 2, 2, 5), (2, 2, 2, 3), (6, 4), (1, 2), (3, 1), 1, (4, 6)),
    ((3, 1, 5, 1), (1, 5, 1, 7), (1, 2), (0, 3), (0, 1), 1, (3, 1)),
]
NAMES = ("stride", "padding", "output_padding", "groups", "dilation")


def settings_of(case):
    return dict(zip(NAMES, case[2:], strict=True))


def geometry_of(case):
    shape, weight_shape, s, p, op, groups, d = case
    axes = [Axis(shape[2 + i], weight_shape[2 + i], s[i], d[i], p[i], p[i] - op[i]) for i in (0, 1)]
    return Geometry(shape[0], shape[1], weight_shape[1] * groups, groups, *axes)


def numpy_dtype(name):
    return require("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)


def draw(name, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    values = [rng.integers(-9, 9, shape) if name == "int64" else rng.standard_normal(shape) for shape in shapes]
    if name.startswith("complex"):
        values = [value + 1j * rng.standard_normal(value.shape) for value in values]
    return [np.asarray(value).astype(numpy_dtype(name)) for value in values]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_output_has_the_size_of_the_formula(case):
    shape, weight_shape, s, p, op, groups, d = case
    x, w = draw("float64", shape, weight_shape)
    sizes = [(shape[2 + i] - 1) * s[i] - 2 * p[i] + d[i] * (weight_shape[2 + i] - 1) + op[i] + 1 for i in (0, 1)]
    assert conv_transpose2d(x, w, **settings_of(case)).shape == (shape[0], weight_shape[1] * groups, *sizes)


@pytest.mark.parametrize("algorithm", ["auto", "matmul", "loops"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_values_are_those_of_the_definition(case, algorithm):
    x, w = draw("float64", *case[:2])
    (b,) = draw("float64", case[1][1] * case[5], seed=1)
    y = conv_transpose2d(x, w, b, **settings_of(case), algorithm=algorithm)
    np.testing.assert_allclose(y, reference.scatter(geometry_of(case), x, w, b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("case", CASES[:4], ids=str)
def test_each_dtype_gives_its_own_dtype_and_is_as_exact_as_its_rounding(case, name):
    x, w = draw(name, *case[:2])
    (b,) = draw(name, case[1][1] * case[5], seed=1)
    y = conv_transpose2d(x, w, b, **settings_of(case))
    assert y.dtype == numpy_dtype(name)
    exact = reference.scatter(geometry_of(case), x, w, b)
    if name == "int64":
        assert np.array_equal(y, exact)
        return
    size = reference.scatter(geometry_of(case), np.abs(x), np.abs(w), np.abs(b))
    assert (np.abs(y.astype(exact.dtype) - exact) <= 4 * EPS.get(name, 2.0**-52) * size).all()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_sums_in_float32_and_rounds_once(name):
    x = np.ones((1, 3001, 1, 1), numpy_dtype(name))
    w = np.full((3001, 1, 1, 1), 1, numpy_dtype(name))
    expected = np.float32(3001).astype(numpy_dtype(name))
    assert conv_transpose2d(x, w)[0, 0, 0, 0] == expected
    x[:, 0] = 1000
    bias = np.array([-4000], numpy_dtype(name))
    exact = np.float32(1000 + 3000) + bias.astype(np.float32)[0]
    assert conv_transpose2d(x, w, bias)[0, 0, 0, 0] == np.float32(exact).astype(numpy_dtype(name))


def test_int64_wraps_around_as_numpy_does():
    x = np.full((1, 1, 1, 2), 2**62)
    assert conv_transpose2d(x, np.full((1, 1, 1, 2), 2)).tolist() == [[[[-(2**63), 0, -(2**63)]]]]


def test_int64_is_exact_beyond_the_integers_of_float64():
    x = np.full((1, 1, 1, 1), 2**53 + 1)
    assert conv_transpose2d(x, np.ones((1, 1, 1, 1), np.int64)).item() == 2**53 + 1


def test_complex_operands_are_not_conjugated():
    y = conv_transpose2d(np.full((1, 1, 1, 1), 1j), np.full((1, 1, 1, 1), 1j))
    assert y.item() == -1


def test_long_sums_do_not_lose_small_terms():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 20000, 1, 1)) * 10.0 ** rng.uniform(-3, 3, (1, 20000, 1, 1))
    w = rng.standard_normal((20000, 1, 1, 1))
    exact = np.sum(x[0, :, 0, 0].astype(np.float32).astype(float) * w[:, 0, 0, 0].astype(np.float32).astype(float))
    size = np.sum(np.abs(x[0, :, 0, 0] * w[:, 0, 0, 0]))
    y = conv_transpose2d(x.astype(np.float32), w.astype(np.float32)).item()
    assert abs(y - exact) <= 8 * 2.0**-24 * size


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("case", CASES[:4], ids=str)
def test_a_nan_or_infinity_reaches_the_outputs_of_the_definition_and_no_other(case, value):
    x, w = draw("float64", *case[:2])
    x[0, 0, -1, 0] = value
    y, expected = conv_transpose2d(x, w, **settings_of(case)), reference.scatter(geometry_of(case), x, w)
    assert np.array_equal(np.isfinite(y), np.isfinite(expected))
    x, w = draw("float64", *case[:2])
    w[0, 0, 0, -1] = value
    y, expected = conv_transpose2d(x, w, **settings_of(case)), reference.scatter(geometry_of(case), x, w)
    assert np.array_equal(np.isfinite(y), np.isfinite(expected))


@pytest.mark.parametrize("name", DTYPES)
def test_without_a_batch_the_result_has_none(name):
    x, w, b = draw(name, (3, 4, 5), (3, 2, 3, 2), (2,))
    y = conv_transpose2d(x, w, b, stride=2)
    assert y.shape == (2, 9, 10)
    assert np.array_equal(y, conv_transpose2d(x[None], w, b, stride=2)[0])


@pytest.mark.parametrize("settings", [{}, {"padding_mode": "circular", "padding": 1}, {"padding": "same"}], ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_an_empty_batch_gives_an_empty_result_of_the_right_shape(name, settings):
    x, w, b = draw(name, (0, 3, 4, 5), (3, 2, 3, 3), (2,))
    y = conv_transpose2d(x, w, b, stride=2, **settings)
    assert y.shape == (0, *conv_transpose2d(np.ones((3, 4, 5)), np.ones((3, 2, 3, 3)), stride=2, **settings).shape)
    assert y.dtype == numpy_dtype(name)
    out = np.empty(y.shape, y.dtype)
    assert conv_transpose2d(x, w, b, stride=2, out=out, **settings) is out


def test_an_empty_batch_excuses_no_setting():
    x, w = np.ones((0, 2, 4, 4)), np.ones((2, 3, 3, 3))
    for settings in ({"output_padding": 1}, {"padding": 4}, {"stride": 0}, {"groups": 3}):
        with pytest.raises(SettingError):
            conv_transpose2d(x, w, **settings)
    with pytest.raises(SettingError, match="float64"):
        conv_transpose2d(x, w.astype(np.float32))


def test_all_arguments_up_to_dilation_are_positional_in_the_order_of_torch():
    x, w, b = draw("float64", (1, 2, 3, 3), (2, 2, 3, 3), (4,))
    named = conv_transpose2d(x, w, b, stride=3, padding=1, output_padding=2, groups=2, dilation=2)
    assert np.array_equal(conv_transpose2d(x, w, b, 3, 1, 2, 2, 2), named)
    with pytest.raises(TypeError, match="positional"):
        conv_transpose2d(x, w, b, 3, 1, 2, 2, 2, "zeros")


def odd_memory(array):
    """The same values in memory that no library hands out by itself, by name."""
    unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    wide = np.zeros((*array.shape[:-1], 3 * array.shape[-1]), array.dtype)
    wide[..., 1::3] = array
    return {
        "read-only": frozen,
        "fortran": np.asfortranarray(array),
        "channels last": np.ascontiguousarray(np.moveaxis(array, 1, -1)).transpose(0, 3, 1, 2),
        "negative strides": array[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
        "gaps": wide[..., 1::3],
        "unaligned": unaligned,
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "a subclass": array.view(type("Sub", (np.ndarray,), {})),
    }


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "complex64", "int64"])
@pytest.mark.parametrize("memory", odd_memory(np.zeros((1, 1, 1, 1))))
@pytest.mark.parametrize("case", CASES[1:4], ids=str)
def test_operands_may_lie_in_memory_in_any_way(case, memory, name):
    x, w = draw(name, *case[:2])
    (b,) = draw(name, case[1][1] * case[5], seed=1)
    expected = conv_transpose2d(x, w, b, **settings_of(case))
    for a, c in ((odd_memory(x)[memory], w), (x, odd_memory(w)[memory])):
        y = conv_transpose2d(a, c, b, **settings_of(case))
        assert type(y) is np.ndarray
        assert y.dtype == np.dtype(name)
        np.testing.assert_allclose(y, expected, rtol=1e-2 if name == "float16" else 1e-5, atol=1e-2)
    strided = np.repeat(b, 2)[::2]
    np.testing.assert_array_equal(conv_transpose2d(x, w, strided, **settings_of(case)), expected)


def test_broadcast_operands_count_as_their_copies():
    x = np.broadcast_to(np.float64(2), (2, 3, 4, 5))
    w = np.broadcast_to(np.arange(3.0)[:, None, None, None], (3, 2, 3, 3))
    b = np.broadcast_to(np.float64(1), (2,))
    y = conv_transpose2d(x, w, b, stride=2)
    np.testing.assert_allclose(y, conv_transpose2d(x.copy(), w.copy(), b.copy(), stride=2))


def test_operands_are_never_written_to():
    case = CASES[3]
    x, w = draw("float64", *case[:2])
    before = copy.deepcopy((x, w))
    conv_transpose2d(x, w, **settings_of(case))
    conv_transpose2d(x, w, stride=2, padding=1, groups=4, padding_mode="replicate")
    assert np.array_equal(x, before[0])
    assert np.array_equal(w, before[1])


def test_the_result_is_a_new_array_each_time():
    x, w = draw("float64", (1, 1, 1, 1), (1, 1, 1, 1))
    first = conv_transpose2d(x, w)
    first[...] = 9
    assert conv_transpose2d(x, w).item() == (x * w).item()
    assert not np.shares_memory(first, x)


@pytest.mark.parametrize("name", ["float16", "float32", "complex128", "int64"])
@pytest.mark.parametrize("memory", sorted(odd_memory(np.zeros((1, 1, 1, 1))).keys() - {"read-only"}))
def test_out_may_have_any_strides_and_is_what_is_returned(name, memory):
    x, w, b = draw(name, (2, 3, 4, 5), (3, 2, 3, 2), (2,))
    expected = conv_transpose2d(x, w, b, stride=2)
    out = odd_memory(np.ones_like(expected))[memory]
    assert conv_transpose2d(x, w, b, stride=2, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_gaps_between_the_elements_of_out_are_left_alone():
    x, w = draw("float64", (1, 1, 2, 2), (1, 1, 2, 2))
    wide = np.full((1, 1, 3, 9), 7.0)
    conv_transpose2d(x, w, out=wide[..., 1::3])
    assert (np.delete(wide, np.s_[1::3], axis=3) == 7).all()
    assert np.array_equal(wide[..., 1::3], conv_transpose2d(x, w))


def test_out_of_an_unbatched_call_has_no_batch_axis():
    x, w = draw("float32", (3, 4, 5), (3, 2, 3, 2))
    out = np.empty((2, 6, 6), np.float32)
    assert conv_transpose2d(x, w, out=out) is out
    assert np.array_equal(out, conv_transpose2d(x, w))
    with pytest.raises(SettingError, match=r"\(2, 6, 6\)"):
        conv_transpose2d(x, w, out=out[None])


def test_out_works_with_a_border():
    x, w = draw("float16", (1, 3, 4, 5), (3, 2, 3, 3))
    settings = {"stride": 2, "padding": 1, "padding_mode": "circular"}
    out = np.empty((1, 2, 7, 9), np.float16)
    assert conv_transpose2d(x, w, out=out, **settings) is out
    assert np.array_equal(out, conv_transpose2d(x, w, **settings))


def test_stale_memory_of_out_never_shows():
    case = CASES[5]
    x, w = draw("float64", *case[:2])
    out = np.full(geometry_of(case).output_shape, np.nan)
    assert np.isfinite(conv_transpose2d(x, w, out=out, **settings_of(case))).all()


def test_outputs_that_no_tap_reaches_hold_the_bias_alone():
    x, w = draw("float64", (1, 1, 2, 2), (1, 1, 1, 1))
    y = conv_transpose2d(x, w, np.array([5.0]), stride=3)[0, 0]
    assert (y[1:3] == 5).all()
    assert (y[:, 1:3] == 5).all()
    np.testing.assert_allclose(y[::3, ::3], x[0, 0] * w.item() + 5)


@pytest.mark.parametrize("name", ["fourier", "", None, 3])
def test_an_unknown_algorithm_is_a_type_error_that_lists_the_known_ones(name):
    with pytest.raises(TypeError, match=r"algorithm is .*'auto'.*matmul, loops") as caught:
        conv_transpose2d(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1)), algorithm=name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (1, 2, 4, 4)])
def test_an_unknown_algorithm_is_refused_where_nothing_is_computed_too(shape):
    x, w = np.ones(shape), np.ones((2, 3, 3, 3))
    gy = np.ones((shape[0], 3, 6, 6))
    calls = [
        lambda: conv_transpose2d(x, w, algorithm="nope"),
        lambda: upconv.conv2d(gy, w, algorithm="nope"),
        lambda: upconv.grad.conv_transpose2d_input(shape, w, gy, algorithm="nope"),
        lambda: upconv.grad.conv_transpose2d_weight(x, w.shape, gy, algorithm="nope"),
        lambda: upconv.grad.conv_transpose2d_backward(gy, x, w, output_mask=(False, False, True), algorithm="nope"),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="algorithm is 'nope'"):
            call()


@pytest.mark.parametrize("s", [1, 2, 3, 5])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (2, 1), (3, 1), (4, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_gives_stride_times_the_input_and_cuts_the_odd_one_on_its_side(word, s, k, d):
    x, w = draw("float64", (1, 1, 4, 3), (1, 1, k, k))
    y = conv_transpose2d(x, w, stride=s, dilation=d, padding=word)
    assert y.shape[2:] == (4 * s, 3 * s)
    full = conv_transpose2d(x, w, stride=s, dilation=d, padding=((0, -s), (0, -s)))
    excess = max(d * (k - 1) + 1 - s, 0)
    lo = excess // 2 if word == "same" else excess - excess // 2
    np.testing.assert_allclose(y, full[:, :, lo : lo + 4 * s, lo : lo + 3 * s])


@pytest.mark.parametrize("s", [1, 2, 3])
def test_valid_cuts_nothing(s):
    x, w = draw("float64", (1, 2, 4, 3), (2, 1, 3, 2))
    assert np.array_equal(conv_transpose2d(x, w, stride=s, padding="valid"), conv_transpose2d(x, w, stride=s))


@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_refuses_an_output_padding_since_the_size_is_fixed(word):
    with pytest.raises(SettingError, match=f"output_padding is 1.*{word}.*output_padding at 0"):
        conv_transpose2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), stride=2, padding=word, output_padding=1)


@pytest.mark.parametrize("sides", [((0, 0), (0, 0)), ((1, 0), (0, 2)), ((-3, 1), (2, -4)), ((-1, -1), (-2, -2))])
@pytest.mark.parametrize("op", [0, (5, 0), (0, 9)])
def test_signed_sides_crop_or_extend_each_side_by_itself(sides, op):
    x, w, b = draw("float64", (2, 3, 4, 5), (3, 2, 3, 2), (2,))
    y = conv_transpose2d(x, w, b, stride=2, padding=sides, output_padding=op)
    ops = op if isinstance(op, tuple) else (op, op)
    # The canvas in a wide frame of bias, from which every window can be cut.
    frame = np.broadcast_to(b[:, None, None], (2, 2, 9 + 40, 10 + 40)).copy()
    frame[:, :, 20:29, 20:30] = conv_transpose2d(x, w, b, stride=2)
    (top, bottom), (left, right) = sides
    expected = frame[:, :, 20 + top : 29 - bottom + ops[0], 20 + left : 30 - right + ops[1]]
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_equal_sides_are_the_plain_padding():
    x, w = draw("float64", (1, 2, 4, 5), (2, 2, 3, 3))
    sides = conv_transpose2d(x, w, stride=2, padding=((1, 1), (2, 2)), output_padding=1)
    assert np.array_equal(sides, conv_transpose2d(x, w, stride=2, padding=(1, 2), output_padding=1))


def conv2d_by_hand(x, w, stride, dilation, groups, sides):
    """The ordinary convolution as a sum over taps of shifted, strided, zero-padded inputs."""
    x = np.pad(x, ((0, 0), (0, 0), *sides))
    k_h, k_w = w.shape[2:]
    out = [(x.shape[2 + i] - dilation[i] * (w.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in (0, 1)]
    c_in, c_out = w.shape[1], w.shape[0] // groups
    y = np.zeros((x.shape[0], w.shape[0], *out), x.dtype)
    for g in range(groups):
        for a in range(k_h):
            for b in range(k_w):
                rows = slice(a * dilation[0], a * dilation[0] + (out[0] - 1) * stride[0] + 1, stride[0])
                cols = slice(b * dilation[1], b * dilation[1] + (out[1] - 1) * stride[1] + 1, stride[1])
                ins, outs = slice(g * c_in, (g + 1) * c_in), slice(g * c_out, (g + 1) * c_out)
                y[:, outs] += np.einsum("ncij,oc->noij", x[:, ins, rows, cols], w[outs, :, a, b])
    return y


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (3, 0)])
def test_conv2d_is_the_ordinary_convolution(stride, dilation, groups, padding):
    x, w, b = draw("float64", (2, 4, 7, 6), (6, 4 // groups, 3, 2), (6,))
    sides = [(p, p) for p in padding]
    expected = conv2d_by_hand(x, w, stride, dilation, groups, sides) + b[:, None, None]
    y = conv2d(x, w, b, stride, padding, dilation, groups)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    np.testing.assert_allclose(conv2d(x[0], w, b, stride, padding, dilation, groups), expected[0], atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("d", [1, 2])
def test_conv2d_same_keeps_the_size_and_pads_the_odd_one_at_the_end(k, d):
    x, w = draw("float64", (1, 2, 5, 6), (3, 2, k, k))
    total = d * (k - 1)
    sides = [(total // 2, total - total // 2)] * 2
    y = conv2d(x, w, padding="same", dilation=d)
    assert y.shape == (1, 3, 5, 6)
    np.testing.assert_allclose(y, conv2d_by_hand(x, w, (1, 1), (d, d), 1, sides), atol=1e-12)


def test_conv2d_valid_pads_nothing():
    x, w = draw("float64", (1, 2, 5, 6), (3, 2, 2, 2))
    assert np.array_equal(conv2d(x, w, stride=2, padding="valid"), conv2d(x, w, stride=2))


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        ({"padding": "same", "stride": 2}, ("same", "stride is 2", "stride 1")),
        ({"dilation": 4}, ("height", "covers 9", "7")),
        ({"groups": 3}, ("groups=3",)),
        ({"stride": 0}, ("stride is (0, 0)", "at least 1")),
        ({"padding": "SAME"}, ("padding is 'SAME'", "same", "valid")),
        ({"padding": -1}, ("padding is (-1, -1)", "at least 0")),
    ],
    ids=str,
)
def test_conv2d_refuses_what_torch_refuses_and_says_what_is_allowed(settings, fragments):
    with pytest.raises((SettingError, TypeError)) as caught:
        conv2d(np.ones((1, 4, 7, 7)), np.ones((4, 4, 3, 3)), **settings)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "weight_shape", "says"),
    [
        ((1, 4, 7, 7), (4, 4, 3), r"weight has shape \(4, 4, 3\); that of conv2d must be \(c_out, c_in / groups, k_h"),
        ((1, 4, 7, 7), (4, 4, 3, 3, 3), r"weight has shape \(4, 4, 3, 3, 3\); that of conv2d must be"),
        ((1, 4, 7, 7), (4, 4, 3, 0), "width: the kernel has 0 elements; it must have at least 1"),
        ((1, 4, 0, 7), (4, 4, 3, 3), "height: the input has 0 elements; it must have at least 1"),
    ],
    ids=str,
)
def test_conv2d_speaks_of_its_own_shapes(shape, weight_shape, says):
    weights = [np.ones(weight_shape)]
    if len(weight_shape) == 5:
        weights.append(upconv.prepare(weights[0]))
    for weight in weights:
        with pytest.raises(SettingError, match=says) as caught:
            conv2d(np.ones(shape), weight)
        assert "transpose" not in str(caught.value)


def test_conv2d_speaks_of_its_own_input_and_output_channels():
    with pytest.raises(SettingError, match="out_channels is 3, which groups=2 does not divide"):
        conv2d(np.ones((1, 4, 5, 5)), np.ones((3, 2, 3, 3)), groups=2)
    with pytest.raises(SettingError, match=r"input has 5 channels.*takes 4"):
        conv2d(np.ones((1, 5, 5, 5)), np.ones((4, 2, 3, 3)), groups=2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conv2d_and_conv_transpose2d_are_adjoint(case):
    (shape, weight_shape, s, p, op, groups, d), geometry = case, geometry_of(case)
    x, w, y = draw("float64", shape, weight_shape, geometry.output_shape)
    back = conv2d(y, w, None, s, p, d, groups)
    forth = conv_transpose2d(x, w, None, s, p, op, groups, d)
    # With an output_padding of at least the stride the convolution fits once more into its input.
    inner = np.vdot(back[:, :, : shape[2], : shape[3]], x)
    np.testing.assert_allclose(inner, np.vdot(y, forth), rtol=1e-12)


@pytest.mark.parametrize("name", DTYPES)
def test_conv2d_keeps_the_dtype(name):
    x, w, b = draw(name, (1, 2, 5, 6), (3, 2, 2, 2), (3,))
    y = conv2d(x, w, b, padding=1)
    assert y.dtype == numpy_dtype(name)
    wide = np.complex128 if name.startswith("complex") else np.float64
    x, w, b, y = (array.astype(wide) for array in (x, w, b, y))
    expected = conv2d_by_hand(x, w, (1, 1), (1, 1), 1, [(1, 1)] * 2) + b[:, None, None]
    np.testing.assert_allclose(y, expected, rtol=0.02, atol=8 * EPS.get(name, 1e-9))


@pytest.mark.parametrize("storage", [None, "bfloat16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_conv2d_takes_a_prepared_weight(layout, storage):
    """By the same way the bits of the weight as given, or of what its halves stand for, on maps of any size."""
    rng = np.random.default_rng(6)
    w, b = rng.random((21, 8, 3, 2), np.float32) - np.float32(0.5), rng.random(21, np.float32)
    settings = {"stride": (2, 1), "dilation": (1, 2), "groups": 3}
    kept = upconv.prepare(w, **settings, storage=storage)
    for size in ((9, 8), (9, 8), (5, 31)):
        y = rng.random((2, 24, *size), np.float32)
        y = np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if layout == "nhwc" else y
        x = conv2d(y, kept, b, padding=1, **settings)
        np.testing.assert_allclose(x, conv2d(y, kept.array, b, padding=1, **settings), rtol=1e-5, atol=1e-5)
        ours, given = (conv2d(y, each, b, padding=1, **settings, algorithm="gemm") for each in (kept, kept.array))
        assert np.array_equal(ours, given)
        assert x.strides == conv2d(y, w, b, padding=1, **settings).strides
    with pytest.raises(SettingError, match=r"stride is \(1, 1\), and the weight was prepared for stride=\(2, 1\)"):
        conv2d(y, kept, dilation=(1, 2), groups=3)


def test_conv2d_takes_channels_last_and_empty_batches():
    x, w = draw("float32", (2, 3, 5, 6), (4, 3, 3, 3))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y = conv2d(last, w)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(y, conv2d(x, w), rtol=1e-4, atol=1e-5)
    assert conv2d(x[:0], w).shape == (0, 4, 3, 4)


def test_the_exceptions_can_be_caught_as_torch_and_as_numpy_users_do():
    assert issubclass(upconv.SettingError, RuntimeError)
    assert issubclass(upconv.SettingError, ValueError)


HUGE = [2**40 + 1, 2**62, 2**63, 2**64]


@pytest.mark.parametrize("algorithm", ["auto", "matmul", "loops"])
@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("name", ["stride", "dilation"])
def test_a_huge_step_that_is_never_taken_changes_nothing(name, value, algorithm):
    x, w, b = np.full((1, 1, 1, 1), 2.0), np.full((1, 1, 1, 1), 3.0), np.ones(1)
    assert conv_transpose2d(x, w, b, algorithm=algorithm, **{name: value}).tolist() == [[[[7.0]]]]


@pytest.mark.parametrize("value", HUGE)
def test_conv2d_of_a_huge_stride_is_its_first_place(value):
    x, w = draw("float64", (1, 2, 4, 4), (3, 2, 3, 3))
    np.testing.assert_array_equal(conv2d(x, w, stride=value), conv2d(x, w, stride=4))


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"stride": (1, 2**62)}, "width: stride is 4611686018427387904"),
        ({"dilation": 2**62}, "height: dilation is 4611686018427387904"),
        ({"padding": ((-(2**62), 0), (0, 0))}, "height: padding is -4611686018427387904"),
        ({"stride": 2**31}, "the result would be"),
    ],
)
def test_sizes_that_no_memory_can_hold_are_a_setting_error(settings, fragment):
    with pytest.raises(SettingError, match=fragment):
        conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), **settings)


def halves(value, shape):
    return np.full(shape, value, np.float16)


@pytest.mark.parametrize("settings", [{}, {"padding": 1, "padding_mode": "circular"}], ids=repr)
@pytest.mark.parametrize(("value", "weight"), [(60000, 60000), (6e-8, 1e-3), (np.inf, 0)])
@pytest.mark.parametrize("algorithm", ["auto", "matmul", "loops"])
def test_overflow_and_underflow_are_results_and_not_warnings(algorithm, value, weight, settings):
    x, w = halves(value, (1, 1, 4, 4)), halves(weight, (1, 1, 3, 3))
    with np.errstate(all="raise"):
        y = conv_transpose2d(x, w, algorithm=algorithm, **settings)
    assert not np.isfinite(y).all() or (np.abs(y) < 1e-6).all()


def test_the_canvas_of_a_border_lies_as_the_result_does(monkeypatch):
    canvases = []
    execute = upconv.Plan.execute
    monkeypatch.setattr(
        upconv.Plan, "execute", lambda plan, *operands: (canvases.append(operands[-1]), execute(plan, *operands))
    )
    x, w = draw("float32", (2, 3, 5, 4), (3, 2, 3, 3))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for operand in (x, last):
        y = conv_transpose2d(operand, w, padding=1, padding_mode="circular")
        assert lies_channels_last(canvases[-1]) == lies_channels_last(y) == (operand is last)


def test_conv2d_takes_signed_sides_of_which_negative_ones_cut():
    x, w = draw("float64", (1, 2, 5, 6), (3, 2, 2, 2))
    cut = np.pad(x[:, :, 1:, :-1], ((0, 0), (0, 0), (0, 0), (2, 0)))
    np.testing.assert_array_equal(conv2d(x, w, padding=((-1, 0), (2, -1))), conv2d(cut, w))
