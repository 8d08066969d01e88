"""Keras settings against the live layer, with a backend that is installed, or the one that KERAS_BACKEND names."""

import random

import numpy as np
import pytest
from require import choose_keras_backend, require

from upconv import SettingError, reference
from upconv.conventions import Keras, arguments, translate, weight_steps
from upconv.geometry import Axis, Geometry

backend, why_not = choose_keras_backend()
if why_not:
    pytest.skip(why_not, allow_module_level=True)
require(backend)
keras = require("keras")

if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15):
    pytest.skip("before 3.15 the torch backend of Keras shifts 'same'", allow_module_level=True)


def make_layer(h, w, **given):
    steps = {"strides": (h.s, w.s), "dilation_rate": (h.d, w.d)}
    return keras.layers.Conv2DTranspose(2, (h.k, w.k), **steps, **given, use_bias=False, data_format="channels_last")


def run_keras(x, weight, h, w, **given):
    """x and weight in torch's layout; the weight goes through weight_steps."""
    scope = {"weight": weight}
    for step in weight_steps("torch", "keras"):
        exec(step, scope)
    layer = make_layer(h, w, **given)
    x = x.transpose(0, 2, 3, 1).astype(np.float32)
    layer.build(x.shape)
    layer.set_weights([scope["weight"]])
    y = keras.ops.convert_to_numpy(keras.ops.stop_gradient(layer(x)))
    assert tuple(layer.compute_output_shape(x.shape)) == y.shape
    return y.transpose(0, 3, 1, 2)


def arrays(rng, h, w):
    generator = np.random.default_rng(rng.getrandbits(32))
    geometry = Geometry(2, 3, 2, 1, h, w)
    shapes = geometry.input_shape, geometry.weight_shape
    return geometry, *(generator.integers(-4, 5, shape).astype(float) for shape in shapes)


def random_steps(rng, strided):
    """Steps that go together: all strides or all dilations are 1."""
    return rng.randint(1, 4), rng.randint(1, 5), *((rng.randint(1, 4), 1) if strided else (1, rng.randint(1, 3)))


def random_pair(rng):
    """One setting per axis, with the same padding and both or neither output_padding, and the axes."""
    strided, padding, filled = rng.random() < 0.7, rng.choice(["same", "valid"]), rng.random() < 0.5
    while True:
        steps = [random_steps(rng, strided) for _ in "hw"]
        settings = [Keras(padding, rng.randrange(s) if filled else None) for _, _, s, _ in steps]
        try:
            return settings, [setting.axis(*step) for setting, step in zip(settings, steps, strict=True)]
        except SettingError:
            continue


@pytest.mark.parametrize("seed", range(8))
def test_values_and_sizes(seed):
    rng = random.Random(seed)
    for _ in range(40):
        settings, axes = random_pair(rng)
        geometry, x, weight = arrays(rng, *axes)
        y = run_keras(x, weight, *axes, **arguments(*settings))
        assert y.shape == geometry.output_shape
        np.testing.assert_array_equal(y, reference.scatter(geometry, x, weight))


def test_translation_is_exact_where_it_says_so():
    rng = random.Random(20)
    exact = 0
    while exact < 60:
        lo = rng.randrange(2)
        h, w = (Axis(rng.randint(3, 4), rng.randint(3, 5), 2, 1, lo, lo + rng.randint(-1, 1)) for _ in "hw")
        translation = translate("keras", h, w)
        geometry, x, weight = arrays(rng, h, w)
        y = run_keras(x, weight, h, w, **arguments(*translation.setting))
        same = y.shape == geometry.output_shape and np.array_equal(y, reference.scatter(geometry, x, weight))
        assert same or translation.differences
        exact += not translation.differences


def test_a_kernel_spread_by_zeros_stands_in_for_dilation_with_stride():
    h, w = Axis(4, 3, 2, 2, 1, 2), Axis(3, 2, 3, 3, 0, 1)
    translation = translate("keras", h, w)
    assert len(translation.differences) == 1
    geometry, x, weight = arrays(random.Random(21), h, w)
    spread = np.zeros((*weight.shape[:2], h.k_eff, w.k_eff))
    spread[:, :, :: h.d, :: w.d] = weight
    wide = [Axis(axis.n, axis.k_eff, axis.s) for axis in (h, w)]
    y = run_keras(x, spread, *wide, **arguments(*translation.setting))
    np.testing.assert_array_equal(y, reference.scatter(geometry, x, weight))


@pytest.mark.parametrize(
    ("setting", "s", "d"),
    [
        (Keras("same", 2), 2, 1),
        (Keras("valid", 1), 1, 1),
        (Keras("valid", 1), 1, 2),
        (Keras("valid", -1), 2, 1),
        (Keras("same"), 2, 2),
        (Keras("valid"), 3, 2),
    ],
)
def test_what_we_refuse_keras_refuses(setting, s, d):
    axis = Axis(4, 3, s, d)
    with pytest.raises(SettingError):
        setting.axis(4, 3, s, d)
    with pytest.raises(ValueError, match=r"output_padding|strides > 1"):
        make_layer(axis, axis, **arguments(setting, setting))


def test_stride_on_one_axis_and_dilation_on_the_other():
    h, w = Axis(4, 3, 2, 1), Axis(4, 3, 1, 2)
    assert any("Keras refuses stride 2" in sentence for sentence in translate("keras", h, w).differences)
    with pytest.raises(ValueError, match="strides > 1"):
        make_layer(h, w, padding="valid")


def test_words():
    assert Keras("SAME") == Keras("same")
    make_layer(Axis(4, 3), Axis(4, 3), padding="SAME")
    with pytest.raises(TypeError):
        Keras("same_lower")
    with pytest.raises(ValueError, match="same_lower"):
        make_layer(Axis(4, 3), Axis(4, 3), padding="same_lower")
