"""First weights without a checkerboard, against their definitions and against PyTorch's own interpolation."""

import numpy as np
import pytest
from require import promised_or_there

import upconv
from upconv import SettingError, init
from upconv.explain import artifacts


def interpolated(x, s):
    """Bilinear enlargement of the last axis, half-pixel centres, as `interpolate(align_corners=False)` defines it."""
    places = (np.arange(x.shape[-1] * s) + 0.5) / s - 0.5
    low = np.floor(places).astype(int)
    share = places - low
    first, second = (x[..., np.clip(low + step, 0, x.shape[-1] - 1)] for step in (0, 1))
    return first * (1 - share) + second * share


@pytest.mark.parametrize("s", [1, 2, 3, 4, 5])
def test_bilinear_enlarges_as_interpolation_does(s):
    k = 2 * s - s % 2
    x = np.random.default_rng(0).normal(size=(1, 3, 9, 8))
    y = upconv.conv_transpose2d(x, init.bilinear((3, 3, k, k), s).astype(float), stride=s, padding=s // 2)
    expected = interpolated(np.swapaxes(interpolated(np.swapaxes(x, 2, 3), s), 2, 3), s)
    assert y.shape == expected.shape
    inner = slice(s, -s)
    np.testing.assert_allclose(y[..., inner, inner], expected[..., inner, inner], atol=1e-6)


@pytest.mark.parametrize("k", range(2, 9))
def test_bilinear_keeps_a_constant_whatever_the_kernel(k):
    found = artifacts(init.bilinear((2, 2, k, k), 2), 2)
    np.testing.assert_allclose(found.gains, 1, rtol=1e-6)
    assert found.score < 1e-12


def test_bilinear_connects_each_output_to_one_input_of_its_group():
    weight = init.bilinear((4, 3, 2, 2), 2, groups=2)
    used = {(i, o) for i in range(4) for o in range(3) if weight[i, o].any()}
    assert used == {(0, 0), (1, 1), (0, 2), (2, 0), (3, 1), (2, 2)}


@pytest.mark.parametrize(("kernel", "stride"), [((4, 4), (2, 2)), ((3, 2), (3, 1)), ((2, 6), (2, 3)), ((3, 3), (1, 1))])
def test_icnr_is_a_convolution_enlarged_by_nearest_neighbours(kernel, stride):
    weight = init.icnr((2, 3, *kernel), stride, rng=0).astype(float)
    x = np.random.default_rng(1).normal(size=(1, 2, 6, 7))
    y = upconv.conv_transpose2d(x, weight, stride=stride)
    small = weight[:, :, :: stride[0], :: stride[1]]
    expected = upconv.conv_transpose2d(x, small).repeat(stride[0], axis=2).repeat(stride[1], axis=3)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    assert artifacts(weight, stride).score < 1e-12


def test_icnr_draws_as_he_and_others_do_and_a_seed_repeats_it():
    weight = init.icnr((64, 64, 4, 4), 2, rng=3)
    y = upconv.conv_transpose2d(np.random.default_rng(0).normal(size=(4, 64, 9, 9)), weight.astype(float), stride=2)
    assert y[:, :, 4:-4, 4:-4].std() == pytest.approx(np.sqrt(2), rel=0.05)
    np.testing.assert_array_equal(weight, init.icnr((64, 64, 4, 4), 2, rng=np.random.default_rng(3)))
    assert (weight != init.icnr((64, 64, 4, 4), 2, rng=4)).any()


@pytest.mark.parametrize("fill", [init.bilinear, init.icnr])
def test_arrays_are_filled_in_place_and_shapes_give_new_ones(fill):
    array = np.full((2, 2, 4, 4), np.nan)
    assert fill(array, 2) is array
    assert np.isfinite(array).all()
    assert fill([2, 2, 4, 4], 2).dtype == np.float32


@pytest.mark.parametrize("fill", [init.bilinear, init.icnr])
def test_a_layers_weight_is_assigned_and_the_refusal_says_so(fill):
    layer = upconv.ConvTranspose2d(2, 2, 4, stride=2, rng=0)
    with pytest.raises(SettingError, match=r"layer\.weight = "):
        fill(layer.weight, 2)
    layer.weight = fill(layer.weight.shape, layer.stride)
    assert artifacts(layer.weight, 2).score < 1e-12


@pytest.mark.parametrize(
    ("fill", "arguments", "words"),
    [
        (
            init.icnr,
            ((1, 1, 3, 3), 2),
            "height: the stride 2 does not divide the kernel 3; a kernel of 2 or 4 would do",
        ),
        (init.icnr, ((1, 1, 4, 5), 2), "width: the stride 2"),
        (init.bilinear, ((1, 1, 2, 2), 3), "leaves holes at a stride of 3; it must have at least 3 taps"),
        (init.bilinear, ((1, 1, 4), 2), "the weight has the shape"),
        (init.bilinear, ((1, 1, 0, 4), 2), "the weight has the shape"),
        (init.bilinear, ((1, 1, 4, 4), 0), "stride"),
    ],
)
def test_what_cannot_be_even_is_refused_with_what_can(fill, arguments, words):
    with pytest.raises(SettingError, match=words):
        fill(*arguments)


def test_groups_must_divide_the_channels():
    with pytest.raises(SettingError, match="groups=2"):
        init.bilinear((3, 1, 4, 4), 2, groups=2)


@pytest.mark.skipif(not promised_or_there("torch"), reason="torch is not installed")
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_tensors_are_filled_in_place_also_as_parameters_that_want_gradients(dtype):
    import torch

    layer = torch.nn.ConvTranspose2d(2, 2, 4, 2, 1, dtype=getattr(torch, dtype))
    weight = layer.weight
    assert init.bilinear(weight, 2) is weight
    assert weight.requires_grad
    assert weight.is_leaf
    np.testing.assert_array_equal(weight.detach().double().numpy(), init.bilinear((2, 2, 4, 4), 2))
    init.icnr(weight, layer.stride, rng=0)
    assert artifacts(weight, 2).score < 1e-6
    x = torch.rand(1, 2, 6, 6, dtype=getattr(torch, dtype))
    layer(x).sum().backward()
    assert weight.grad is not None


@pytest.mark.skipif(not promised_or_there("torch"), reason="torch is not installed")
def test_bilinear_agrees_with_torchs_interpolation():
    import torch

    x = torch.rand(1, 2, 7, 7, dtype=torch.float64)
    weight = torch.empty(2, 2, 4, 4, dtype=torch.float64)
    y = torch.nn.functional.conv_transpose2d(x, init.bilinear(weight, 2), stride=2, padding=1)
    expected = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(y[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
