"""Border modes: exact adjoints of a convolution whose input was padded by `np.pad`, over random settings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upconv import SettingError, conv2d, conv_transpose2d, grad
from upconv.borders import MODES, Border

NUMPY_MODES = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}
WIDEST = {"circular": lambda size: size, "reflect": lambda size: size - 1, "replicate": lambda size: size + 4}


def np_pad(y, sides, mode):
    return np.pad(y, ((0, 0), (0, 0), *sides), mode=NUMPY_MODES[mode])


@st.composite
def layers(draw):
    """A padded convolution from (h, w) outwards: the mode, its border, kernel, stride, dilation, groups, channels."""
    mode = draw(st.sampled_from(sorted(NUMPY_MODES)))
    sizes = [draw(st.integers(1, 6)) for _ in "hw"]
    sides = [tuple(draw(st.integers(0, WIDEST[mode](size))) for _ in range(2)) for size in sizes]
    stride = [draw(st.integers(1, 4)) for _ in "hw"]
    reach = [size + sum(side) for size, side in zip(sizes, sides, strict=True)]
    dilation = [draw(st.integers(1, 3)) for _ in "hw"]
    kernel = [draw(st.integers(1, 1 + (r - 1) // d)) for r, d in zip(reach, dilation, strict=True)]
    groups, c_in, c_out = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return mode, sizes, sides, stride, dilation, kernel, groups, c_in, c_out, draw(st.integers(0, 2**32 - 1))


def build(layer):
    """(y, padded and convolved y, x, weight, arguments of the transposed call)."""
    mode, sizes, sides, stride, dilation, kernel, groups, c_in, c_out, seed = layer
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((2, c_out * groups, *sizes))
    weight = rng.standard_normal((c_in * groups, c_out, *kernel))
    convolved = conv2d(np_pad(y, sides, mode), weight, None, stride, 0, dilation, groups)
    reach = [size + sum(side) for size, side in zip(sizes, sides, strict=True)]
    rest = [(r - d * (k - 1) - 1) % s for r, d, k, s in zip(reach, dilation, kernel, stride, strict=True)]
    arguments = {
        "stride": stride, "padding": sides, "output_padding": rest, "groups": groups, "dilation": dilation,
        "padding_mode": mode,
    }  # fmt: skip
    return y, convolved, rng.standard_normal(convolved.shape), weight, arguments


@given(layers())
def test_the_layer_is_the_adjoint_of_the_padded_convolution(layer):
    y, convolved, x, weight, arguments = build(layer)
    back = conv_transpose2d(x, weight, **arguments)
    assert back.shape == y.shape
    np.testing.assert_allclose(np.vdot(back, y), np.vdot(x, convolved), rtol=1e-9, atol=1e-9)


@given(layers())
def test_its_gradient_in_the_input_is_the_padded_convolution(layer):
    y, convolved, x, weight, arguments = build(layer)
    np.testing.assert_allclose(grad.conv_transpose2d_input(x.shape, weight, y, **arguments), convolved, atol=1e-10)


@given(layers())
def test_its_gradient_in_the_weight_is_the_adjoint_of_the_forward_call(layer):
    y, _, x, weight, arguments = build(layer)
    direction = np.random.default_rng(layer[-1]).standard_normal(weight.shape)
    gradient = grad.conv_transpose2d_weight(x, weight.shape, y, **arguments)
    forward = np.vdot(y, conv_transpose2d(x, direction, **arguments))
    np.testing.assert_allclose(np.vdot(gradient, direction), forward, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_plain_padding_is_the_border_of_both_sides(mode):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 4, 5)), rng.standard_normal((2, 1, 4, 4))
    plain = conv_transpose2d(x, w, stride=2, padding=(1, 2), padding_mode=mode)
    assert np.array_equal(plain, conv_transpose2d(x, w, stride=2, padding=((1, 1), (2, 2)), padding_mode=mode))


@pytest.mark.parametrize("mode", MODES)
def test_without_padding_every_mode_is_zeros(mode):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 4, 5)), rng.standard_normal((2, 1, 3, 3))
    np.testing.assert_allclose(conv_transpose2d(x, w, stride=2, padding_mode=mode), conv_transpose2d(x, w, stride=2))


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_the_bias_is_added_once_and_not_folded(mode):
    x, w = np.zeros((1, 1, 4, 4)), np.ones((1, 2, 3, 3))
    y = conv_transpose2d(x, w, np.array([1.0, -2.0]), padding=1, padding_mode=mode)
    assert np.array_equal(y, np.broadcast_to([[[1.0]], [[-2.0]]], (1, 2, 4, 4)))


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_the_size_does_not_depend_on_the_mode(mode):
    x, w = np.ones((1, 1, 4, 5)), np.ones((1, 1, 3, 4))
    settings = {"stride": 2, "padding": 1, "output_padding": (1, 0)}
    assert conv_transpose2d(x, w, **settings, padding_mode=mode).shape == conv_transpose2d(x, w, **settings).shape


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_half_precision_folds_before_it_rounds(mode):
    # 2049 is no float16: folding rounded values would lose the ones.
    x = np.array([[[[1, 2048, 1]]]], np.float16)
    w = np.ones((1, 1, 1, 3), np.float16)
    y = conv_transpose2d(x, w, padding=(0, 1), padding_mode=mode)
    wide = conv_transpose2d(x.astype(float), w.astype(float), padding=(0, 1), padding_mode=mode)
    assert np.array_equal(y, wide.astype(np.float16))


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.int64])
def test_the_dtype_is_kept(mode, dtype):
    x, w, b = np.ones((1, 1, 3, 3), dtype), np.ones((1, 1, 3, 3), dtype), np.ones(1, dtype)
    y = conv_transpose2d(x, w, b, padding=1, padding_mode=mode)
    assert y.dtype == dtype
    assert y.sum() == 81 + 9


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_pad_is_that_of_numpy_and_fold_is_its_adjoint(mode):
    rng = np.random.default_rng(1)
    border, y = Border(mode, (2, 1), (0, 3)), rng.standard_normal((2, 3, 4, 5))
    padded = np_pad(y, [(2, 1), (0, 3)], mode)
    assert np.array_equal(border.pad(y), padded)
    canvas = rng.standard_normal(padded.shape)
    before = canvas.copy()
    np.testing.assert_allclose(np.vdot(border.fold(canvas), y), np.vdot(canvas, padded))
    assert np.array_equal(canvas, before)


@pytest.mark.parametrize(
    ("mode", "padding", "widest"),
    [("circular", ((6, 0), (0, 0)), 4), ("circular", ((0, 6), (0, 0)), 4), ("reflect", ((5, 0), (0, 0)), 4)],
)
def test_a_border_wider_than_its_inside_is_refused_with_the_widest(mode, padding, widest):
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(np.ones((1, 1, 8, 3)), np.ones((1, 1, 3, 3)), padding=padding, padding_mode=mode)
    message = str(caught.value)
    assert message.startswith("height")
    assert f"padding is {max(padding[0])}" in message
    assert f"at most {widest}" in message


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", ((-1, 0), (0, 0)), ((0, 0), (2, -1))])
def test_a_border_is_made_of_whole_numbers_from_zero(mode, padding):
    with pytest.raises(SettingError, match="from 0") as caught:
        conv_transpose2d(np.ones((1, 1, 8, 8)), np.ones((1, 1, 3, 3)), padding=padding, padding_mode=mode)
    assert repr(padding) in str(caught.value)
    assert repr(mode) in str(caught.value)
