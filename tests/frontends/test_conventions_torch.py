"""Torch settings against live PyTorch: the same values, the same refusals, and back again."""

import random

import numpy as np
import pytest
from require import require

from upconv import SettingError, reference
from upconv.conventions import Torch, arguments, translate
from upconv.geometry import Axis, Geometry

torch = require("torch")


def random_steps(rng):
    return rng.randint(1, 4), rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 3)


def run_torch(x, weight, h, w, groups, **given):
    x, weight = torch.from_numpy(x), torch.from_numpy(weight)
    steps = {"stride": (h.s, w.s), "dilation": (h.d, w.d), "groups": groups}
    return torch.nn.functional.conv_transpose2d(x, weight, **steps, **given).numpy()


def arrays(rng, h, w, groups):
    generator = np.random.default_rng(rng.getrandbits(32))
    geometry = Geometry(2, 2 * groups, groups, groups, h, w)
    shapes = geometry.input_shape, geometry.weight_shape
    return geometry, *(generator.integers(-4, 5, shape).astype(float) for shape in shapes)


def random_axis(rng):
    """A setting that torch accepts, and its axis."""
    while True:
        steps = random_steps(rng)
        setting = Torch(rng.randrange(4), rng.randrange(max(steps[2:])))
        try:
            return setting, setting.axis(*steps)
        except SettingError:
            continue


@pytest.mark.parametrize("seed", range(8))
def test_values_and_sizes(seed):
    rng = random.Random(seed)
    for _ in range(50):
        (setting_h, h), (setting_w, w) = random_axis(rng), random_axis(rng)
        geometry, x, weight = arrays(rng, h, w, groups=rng.randint(1, 2))
        y = run_torch(x, weight, h, w, geometry.groups, **arguments(setting_h, setting_w))
        assert y.shape == geometry.output_shape
        np.testing.assert_array_equal(y, reference.scatter(geometry, x, weight))


def test_nearest_is_exact_where_it_says_so():
    rng = random.Random(9)
    exact = 0
    while exact < 100:
        h, w = (Axis(n, k, s, d, lo, lo - rng.randint(-1, 2)) for lo in (0, 1) for n, k, s, d in [random_large(rng)])
        translation = translate("torch", h, w)
        geometry, x, weight = arrays(rng, h, w, groups=1)
        y = run_torch(x, weight, h, w, 1, **arguments(*translation.setting))
        same = y.shape == geometry.output_shape and np.array_equal(y, reference.scatter(geometry, x, weight))
        assert same or translation.differences
        exact += not translation.differences


def random_large(rng):
    """Steps whose canvas outlasts the small crops of the test above."""
    return rng.randint(3, 5), rng.randint(2, 4), rng.randint(1, 3), rng.randint(1, 2)


def test_what_we_refuse_torch_refuses():
    rng = random.Random(10)
    refused = 0
    while refused < 60:
        n, k, s, d = random_steps(rng)
        setting = Torch(rng.randint(-1, 3), rng.randint(-1, 5))
        given = {"padding": (setting.padding, 0), "output_padding": (setting.output_padding, 0)}
        try:
            axis = setting.axis(n, k, s, d)
        except SettingError:
            refused += 1
            with pytest.raises((RuntimeError, ValueError)):
                run_torch(np.ones((1, 1, n, 1)), np.ones((1, 1, k, 1)), Axis(n, k, s, d), Axis(1, 1), 1, **given)
            continue
        y = run_torch(np.ones((1, 1, n, 1)), np.ones((1, 1, k, 1)), axis, Axis(1, 1), 1, **given)
        assert y.shape[2] == axis.out
