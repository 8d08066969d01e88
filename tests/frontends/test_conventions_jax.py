"""JAX settings against live jax.lax.conv_transpose."""

import inspect
import random

import numpy as np
import pytest
from require import require

from upconv import SettingError, reference
from upconv.conventions import Jax, arguments, same, translate, weight_steps
from upconv.geometry import Axis, Geometry

jax = require("jax")

HAS_CONSISTENT = "use_consistent_padding" in inspect.signature(jax.lax.conv_transpose).parameters


def run_jax(x, weight, h, w, transpose_kernel=False, **given):
    """x and weight in torch's layout; with transpose_kernel JAX takes Keras's weight."""
    scope = {"weight": weight}
    for step in weight_steps("torch", "keras" if transpose_kernel else "jax"):
        exec(step, scope)
    x, weight = (array.astype(np.float32) for array in (x.transpose(0, 2, 3, 1), scope["weight"]))
    y = jax.lax.conv_transpose(
        x, weight, (h.s, w.s), rhs_dilation=(h.d, w.d), transpose_kernel=transpose_kernel, **given
    )
    return np.asarray(y).transpose(0, 3, 1, 2)


def arrays(rng, h, w):
    generator = np.random.default_rng(rng.getrandbits(32))
    geometry = Geometry(1, 2, 3, 1, h, w)
    shapes = geometry.input_shape, geometry.weight_shape
    return geometry, *(generator.integers(-4, 5, shape).astype(float) for shape in shapes)


def random_pair(rng):
    word, consistent = rng.choice(["SAME", "VALID", None, None]), HAS_CONSISTENT and rng.random() < 0.5
    while True:
        steps = [(rng.randint(1, 4), rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 3)) for _ in "hw"]
        numbers = [rng.choice([(rng.randint(-2, 4), rng.randint(-2, 4)), rng.randrange(3)]) for _ in "hw"]
        settings = [Jax(word or number, consistent) for number in numbers]
        try:
            return settings, [setting.axis(*step) for setting, step in zip(settings, steps, strict=True)]
        except SettingError:
            continue


@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_values_and_sizes(seed, transpose_kernel):
    rng = random.Random(f"{seed} {transpose_kernel}")
    for _ in range(35):
        settings, axes = random_pair(rng)
        geometry, x, weight = arrays(rng, *axes)
        y = run_jax(x, weight, *axes, transpose_kernel, **arguments(*settings))
        assert y.shape == geometry.output_shape
        np.testing.assert_array_equal(y, reference.scatter(geometry, x, weight))


def test_every_translation_is_exact():
    rng = random.Random(30)
    for i in range(60):
        steps = [(rng.randint(3, 5), rng.randint(2, 4), rng.randint(1, 3), rng.randint(1, 2)) for _ in "hw"]
        h, w = (Axis(*step, rng.randint(-3, 2), rng.randint(-3, 2)) for step in steps)
        if i % 3 == 0:
            h, w = (same(axis.n, axis.k, axis.s, axis.d) for axis in (h, w))
        translation = translate("jax", h, w)
        assert translation.differences == ()
        geometry, x, weight = arrays(rng, h, w)
        y = run_jax(x, weight, h, w, **arguments(*translation.setting))
        np.testing.assert_array_equal(y, reference.scatter(geometry, x, weight))


def test_outputs_wholly_outside_the_canvas():
    outside = Axis(3, 2, 3, 1, crop_lo=9, crop_hi=-3)
    translation = translate("jax", Axis(1, 1), outside)
    assert translation.differences == ()
    y = run_jax(np.ones((1, 1, 1, 3)), np.ones((1, 1, 1, 2)), Axis(1, 1), outside, **arguments(*translation.setting))
    assert y.ravel().tolist() == [0, 0]


@pytest.mark.parametrize("padding", ["same", "SAME_LOWER"])
def test_other_words_are_refused_by_both(padding):
    with pytest.raises(TypeError):
        Jax(padding)
    axis = Axis(4, 3, 2)
    with pytest.raises((ValueError, TypeError)):
        run_jax(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), axis, axis, padding=padding)


@pytest.mark.parametrize("padding", [1, (1, 1)])
def test_jax_itself_takes_pairs_only(padding):
    """Our one number for both sides is a shorthand; `arguments` writes the pair that JAX wants."""
    axis = Axis(4, 3, 2)
    with pytest.raises((ValueError, TypeError)):
        run_jax(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), axis, axis, padding=padding)
    assert arguments(Jax(1), Jax(2)) == {"padding": ((1, 1), (2, 2))}


def test_nothing_left_is_refused_here_and_empty_there():
    setting = Jax((-3, -3))
    with pytest.raises(SettingError, match="output size would be"):
        setting.axis(4, 2, 2)
    y = run_jax(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), *[Axis(4, 2, 2)] * 2, **arguments(setting, setting))
    assert y.size == 0
