"""What goes beyond torch by name, in the torch front-end: against compositions of torch's own operations."""

import random

import pytest
from amount import some

torch = pytest.importorskip("torch")
F = torch.nn.functional
import upconv  # noqa: E402
import upconv.torch as ut  # noqa: E402
from upconv import SettingError  # noqa: E402

SEEDS = some(range(30), range(500))
MODES = ("circular", "reflect", "replicate")


def canvas(x, w, stride, dilation, groups):
    return F.conv_transpose2d(x, w, None, stride, 0, 0, groups, dilation)


def cropped(full, crops):
    """Positive crops cut, negative ones extend by zeros."""
    (top, bottom), (left, right) = crops
    return F.pad(F.pad(full, [max(0, -side) for side in (left, right, top, bottom)]), [
        -max(0, side) for side in (left, right, top, bottom)
    ])  # fmt: skip


def operands(draw, seed, dtype=torch.float64):
    groups = draw.choice((1, 2))
    made = torch.Generator().manual_seed(seed)
    each = lambda least, most: (draw.randint(least, most), draw.randint(least, most))  # noqa: E731
    k, s, d, size = each(1, 4), each(1, 3), each(1, 2), each(2, 5)
    shapes = (draw.choice((1, 2)), 2 * groups, *size), (2 * groups, 3, *k), (3 * groups,)
    x, w, b = (torch.randn(shape, generator=made, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes)
    full = [(n - 1) * step + far * (taps - 1) + 1 for n, step, far, taps in zip(size, s, d, k, strict=True)]
    return (x, w, b), k, s, d, groups, full


def assert_same(got, want, leaves):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    grad = torch.randn_like(want)
    for one, other in zip(*(torch.autograd.grad((y * grad).sum(), leaves) for y in (got, want)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_signed_crops_cut_and_extend_the_canvas(seed):
    draw = random.Random(seed)
    (x, w, b), _, s, d, groups, full = operands(draw, seed)
    crops = []
    for length in full:
        lo = draw.randint(-3, length - 1)
        crops.append((lo, draw.randint(-3, length - 1 - max(lo, 0))))
    want = cropped(canvas(x, w, s, d, groups), crops) + b[:, None, None]
    got = ut.conv_transpose2d(x, w, b, s, tuple(crops), 0, groups, d)
    assert_same(got, want, (x, w, b))
    assert got.is_contiguous()


@pytest.mark.parametrize("word", ["same", "same_lower", "valid"])
@pytest.mark.parametrize("seed", range(8))
def test_words_are_crops(word, seed):
    (x, w, b), k, s, d, groups, _ = operands(random.Random(seed), seed)
    crops = []
    for taps, step, far in zip(k, s, d, strict=True):
        total = 0 if word == "valid" else far * (taps - 1) + 1 - step
        # A kernel that does not reach the next input is not cut: what is missing goes to the end.
        half = 0 if total < 0 else total // 2 if word == "same" else total - total // 2
        crops.append((half, total - half))
    want = cropped(canvas(x, w, s, d, groups), crops) + b[:, None, None]
    got = ut.conv_transpose2d(x, w, b, s, word, 0, groups, d)
    assert_same(got, want, (x, w, b))
    if word != "valid":
        assert got.shape[2:] == tuple(n * step for n, step in zip(x.shape[2:], s, strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(8))
def test_a_padding_mode_is_the_adjoint_of_the_padded_convolution(mode, seed):
    (x, w, b), k, s, d, groups, full = operands(random.Random(seed), seed)
    sizes = [length - 2 for length in full]
    if min(sizes) < 2:
        sizes, x = [6, 6], x
        s, d = (1, 1), (1, 1)
        x = torch.randn(1, x.shape[1], *(8 - taps + 1 for taps in k), dtype=torch.float64, requires_grad=True)
    got = ut.conv_transpose2d(x, w, b, s, 1, 0, groups, d, mode)
    y = torch.zeros(got.shape, dtype=torch.float64, requires_grad=True)
    padded = F.conv2d(F.pad(y, (1, 1, 1, 1), mode=mode), w, None, s, 0, d, groups)
    (want,) = torch.autograd.grad((padded * x).sum(), y, create_graph=True)
    assert_same(got, want + b[:, None, None], (x, w, b))


def test_the_numpy_door_says_the_same():
    x, w, b = torch.randn(2, 4, 5, 6), torch.randn(4, 3, 3, 4), torch.randn(3)
    arrays = x.numpy(), w.numpy(), b.numpy()
    for settings in (
        {"padding": "same"},
        {"padding": ((-1, 2), (3, -2))},
        *({"padding": 1, "padding_mode": mode, "output_padding": 1} for mode in MODES),
    ):
        want = torch.from_numpy(upconv.conv_transpose2d(*arrays, stride=2, **settings))
        torch.testing.assert_close(ut.conv_transpose2d(x, w, b, stride=2, **settings), want, rtol=1e-4, atol=1e-4)
        got = ut.conv_transpose2d(x[0], w, b, stride=2, **settings)
        torch.testing.assert_close(got, want[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("padding", "mode"), [("same", "zeros"), (((0, 1), (-1, 2)), "zeros"), (1, "reflect")])
def test_a_layer_goes_beyond_by_its_class_alone(padding, mode):
    torch.manual_seed(0)
    layer = ut.ConvTranspose2d(4, 3, 3, stride=2, padding=padding, padding_mode=mode)
    x = torch.randn(2, 4, 5, 5)
    want = ut.conv_transpose2d(x, layer.weight, layer.bias, 2, padding, padding_mode=mode)
    assert torch.equal(layer(x), want)
    torch.manual_seed(0)
    assert torch.equal(layer.weight, torch.nn.ConvTranspose2d(4, 3, 3, 2).weight)
    assert ("padding_mode" in repr(layer)) == (mode != "zeros")
    net = torch.nn.Sequential(layer)
    report = ut.accelerate(net)
    assert "beyond" in report.layers[0].left
    assert torch.equal(ut.restore(net)(x), want)


def test_an_output_size_finds_its_output_padding():
    layer = ut.ConvTranspose2d(2, 2, 3, stride=2, padding=1, padding_mode="replicate")
    assert layer(torch.ones(1, 2, 4, 4), [8, 8]).shape == (1, 2, 8, 8)
    with pytest.raises(SettingError, match="output_size asks for"):
        layer(torch.ones(1, 2, 4, 4), [20, 8])


def test_impossible_settings_are_refused_in_words():
    x, w = torch.ones(1, 2, 4, 4), torch.ones(2, 2, 3, 3)
    for settings, words in (
        ({"padding": "same", "output_padding": 1, "stride": 2}, "output_padding is 1 with padding='same'"),
        ({"padding": ((9, 9), (0, 0))}, "height: the output size"),
        ({"padding": 5, "padding_mode": "reflect", "stride": 3}, "can fill at most"),
        ({"padding_mode": "mirror"}, "padding_mode is 'mirror'"),
        ({"padding": "same", "padding_mode": "reflect"}, "folded back"),
    ):
        with pytest.raises(SettingError, match=words):
            ut.conv_transpose2d(x, w, **settings)


def test_transforms_and_halves_come_with_it():
    x, w = torch.randn(3, 1, 2, 4, 4), torch.randn(2, 2, 3, 3)
    mapped = torch.func.vmap(lambda one: ut.conv_transpose2d(one, w, None, 2, "same"))(x)
    torch.testing.assert_close(mapped[1], ut.conv_transpose2d(x[1], w, None, 2, "same"))
    half = ut.conv_transpose2d(x[0].half(), w.half(), None, 1, 1, padding_mode="circular")
    assert half.dtype is torch.float16
    want = ut.conv_transpose2d(x[0], w, None, 1, 1, padding_mode="circular")
    torch.testing.assert_close(half.float(), want, rtol=1e-2, atol=2e-2)
