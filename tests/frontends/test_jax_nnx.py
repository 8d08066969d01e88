"""The layers for flax: flax's own by upconv, and torch's as a flax module."""

import inspect

import numpy as np
import pytest
from amount import some
from jax_layers import assert_near
from require import require

import upconv

jax, nnx = require("jax"), require("flax.nnx")
jnp, ours = jax.numpy, require("upconv.jax.nnx")


PADDINGS = ("SAME", "VALID", 2, (1, 2), ((1, 2), (0, 3)))
SETTINGS = [
    (padding, strides, transposed, dilation)
    for padding in PADDINGS
    for strides in (None, 2, (2, 3))
    for transposed in (False, True)
    for dilation in (None, 2)
]


@pytest.mark.parametrize(("padding", "strides", "transposed", "dilation"), some(SETTINGS[::7], SETTINGS), ids=str)
def test_flaxs_layer(padding, strides, transposed, dilation):
    given = dict(padding=padding, transpose_kernel=transposed, kernel_dilation=dilation)
    theirs, mine = (
        layer(5, 4, (3, 4), strides, **given, rngs=nnx.Rngs(1)) for layer in (nnx.ConvTranspose, ours.ConvTranspose)
    )
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 5))
    assert_near(mine(x), theirs(x), 1e-5)


@pytest.mark.parametrize("shape", [(6, 7, 5), (1, 6, 7, 5), (2, 3, 6, 7, 5)], ids=str)
def test_any_number_of_leading_axes(shape):
    layers = [layer(5, 4, (3, 4), 2, rngs=nnx.Rngs(1)) for layer in (nnx.ConvTranspose, ours.ConvTranspose)]
    x = jax.random.normal(jax.random.key(0), shape)
    assert_near(*(layer(x) for layer in layers), 1e-5)


@pytest.mark.parametrize(
    "given",
    [
        dict(kernel_size=(3,), strides=(2,)),
        dict(kernel_size=(2, 3, 2), strides=2),
        dict(kernel_size=(6, 6), strides=(2, 2), padding="CIRCULAR"),
        dict(kernel_size=(3, 3), use_bias=False),
        dict(kernel_size=(3, 3), dtype="bfloat16"),
        dict(kernel_size=(3, 3), param_dtype="float16"),
        dict(kernel_size=(3, 3), preferred_element_type="float32", dtype="float16"),
        dict(kernel_size=(3, 3), mask=np.tril(np.ones((3, 3)))[:, :, None, None] * np.ones((3, 3, 5, 4), "float32")),
    ],
    ids=lambda given: " ".join(map(str, (key for key in given if key != "kernel_size"))),
)
def test_what_else_flaxs_layer_does(given):
    if not set(given) <= set(inspect.signature(nnx.ConvTranspose.__init__).parameters):
        pytest.skip("this flax has no such argument")
    layers = [layer(5, 4, **given, rngs=nnx.Rngs(1)) for layer in (nnx.ConvTranspose, ours.ConvTranspose)]
    x = jax.random.normal(jax.random.key(0), (2, *(6,) * len(given["kernel_size"]), 5))
    low = "16" in f"{given.get('dtype')} {given.get('param_dtype')}"
    assert_near(*(layer(x) for layer in layers), 2e-2 if low else 1e-5)


def test_a_mask_of_another_shape():
    layer = ours.ConvTranspose(5, 4, (3, 3), mask=jnp.ones((3, 3, 5, 5)), rngs=nnx.Rngs(1))
    with pytest.raises(upconv.SettingError, match=r"mask has shape \(3, 3, 5, 5\)"):
        layer(jnp.ones((1, 4, 4, 5)))


def test_it_is_the_kernels_that_compute():
    layer = ours.ConvTranspose(5, 4, (3, 3), 2, rngs=nnx.Rngs(1))
    text = nnx.jit(lambda layer, x: layer(x)).lower(layer, jnp.ones((1, 4, 4, 5))).compile().as_text()
    assert "upconv_transposed_convolution" in text


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_torchs_layer(layout):
    settings = dict(stride=(2, 3), padding=1, output_padding=(1, 0), groups=2, dilation=(1, 2))
    layer = ours.ConvTranspose2d(4, 6, (3, 4), **settings, layout=layout, rngs=nnx.Rngs(0))
    assert layer.weight.shape == (4, 3, 3, 4)
    assert layer.bias.shape == (6,)
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype("float32")
    want = upconv.conv_transpose2d(x, np.asarray(layer.weight[...]), np.asarray(layer.bias[...]), **settings)
    y = layer(x) if layout == "NCHW" else layer(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y, want, atol=1e-6)


def test_initial_values_are_torchs_distribution():
    layer = ours.ConvTranspose2d(64, 32, 4, groups=2, rngs=nnx.Rngs(0))
    reach = (2 / (32 * 16)) ** 0.5
    for values in (layer.weight[...], layer.bias[...]):
        assert 0.8 * reach < np.abs(values).max() <= reach
    assert abs(float(layer.weight[...].mean())) < 0.02 * reach
    assert float(layer.weight[...].std()) == pytest.approx(reach / 3**0.5, rel=0.02)


def test_a_step_of_training():
    layer = ours.ConvTranspose2d(3, 2, 4, 2, "SAME", bias=False, layout="NHWC", rngs=nnx.Rngs(0))
    x = jnp.ones((2, 5, 5, 3))

    @nnx.jit
    def loss_and_gradient(layer):
        return nnx.value_and_grad(lambda layer: ((layer(x) - 1) ** 2).mean())(layer)

    losses = []
    for _ in range(4):
        loss, gradient = loss_and_gradient(layer)
        losses.append(float(loss))
        nnx.update(layer, jax.tree.map(lambda value, g: value - 0.5 * g, nnx.state(layer, nnx.Param), gradient))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(groups=2), upconv.SettingError, "groups=2 does not divide"),
        (dict(kernel_size=0), upconv.SettingError, "kernel_size"),
        (dict(padding="sme"), TypeError, "padding is 'sme'"),
        (dict(layout="CHWN"), upconv.SettingError, "layout is 'CHWN'"),
        (dict(stride=1.5), TypeError, "stride"),
        (dict(param_dtype="int64"), NotImplementedError, "param_dtype is int64; allowed are .*param_dtype='float32'"),
    ],
)
def test_what_no_input_could_make_valid_is_refused_at_once(given, error, message):
    with pytest.raises(error, match=message):
        ours.ConvTranspose2d(3, 2, **{"kernel_size": 3, **given}, rngs=nnx.Rngs(0))
