"""Three dimensions for PyTorch: values, derivatives, memory formats, layers and `accelerate`, against torch's own."""

import random

import pytest
from amount import some

torch = pytest.importorskip("torch")
import upconv.torch as ut  # noqa: E402
from upconv import SettingError  # noqa: E402
from upconv.problem import Problem  # noqa: E402
from upconv.settings import Settings  # noqa: E402

THEIRS = torch.nn.functional.conv_transpose3d
LAST = torch.channels_last_3d
SEEDS = some(range(25), range(500))
# (stride, padding, output padding, dilation) of depth, height and width: nothing is left along the depth.
SETTINGS_WITHOUT_PRODUCTS = (1, 3, 5), (3, 1, 3), (0, 1, 0), (2, 3, 3)


class Setting:
    """Random operands and settings, for which there is an output."""

    def __init__(self, seed, dtype=torch.float64):
        draw = random.Random(seed)
        each = lambda least, most: tuple(draw.randint(least, most) for _ in range(3))  # noqa: E731
        groups = draw.choice((1, 1, 2, 3))
        while True:
            k, s, d, p, size = each(1, 3), each(1, 3), each(1, 2), each(0, 2), each(2, 4)
            op = tuple(draw.randrange(max(pair)) for pair in zip(s, d, strict=True))
            ends = zip(size, s, p, d, k, op, strict=True)
            out = [(a - 1) * b - 2 * c + e * (f - 1) + g + 1 for a, b, c, e, f, g in ends]
            if min(out) > 0:
                break
        made = torch.Generator().manual_seed(seed)
        shapes = (draw.randint(1, 3), groups * draw.randint(1, 3), *size), (0, draw.randint(1, 3), *k)
        shapes = shapes[0], (shapes[0][1], *shapes[1][1:]), (shapes[1][1] * groups,)
        self.operands = [torch.randn(shape, generator=made, dtype=torch.float64).to(dtype) for shape in shapes]
        for place in (0, 1):
            if draw.random() < 0.3:
                self.operands[place] = self.operands[place].contiguous(memory_format=LAST)
        for operand in self.operands:
            operand.requires_grad_()
        self.settings = s, p, op, groups, d


def derivatives(y, operands, grad):
    """First derivatives, and those of their squares."""
    first = torch.autograd.grad((y * grad).sum(), operands, create_graph=True)
    return *first, *torch.autograd.grad(sum((one**2).sum() for one in first), operands[:2])


def assert_close(got, want, tolerance=1e-9):
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * max(1.0, want.abs().max().item()))


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_two_orders_of_derivatives(seed, ours):
    setting = Setting(seed)
    want = THEIRS(*setting.operands, *setting.settings)
    got = ut.conv_transpose3d(*setting.operands, *setting.settings)
    assert len(ours) == 1
    grad = torch.randn_like(want)
    assert_close(got, want)
    for one, other in zip(
        derivatives(got, setting.operands, grad), derivatives(want, setting.operands, grad), strict=True
    ):
        assert_close(one, other)
    assert got.is_contiguous() or max(got.shape[1:]) == 1


@pytest.mark.parametrize("place", [None, 0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_formats_are_torchs(place, dtype, ours):
    made = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 8, 12, 12, 12, generator=made), torch.randn(8, 6, 2, 2, 2, generator=made)
    operands = [operand.to(dtype) for operand in (x, w)]
    if place is not None:
        operands[place] = operands[place].contiguous(memory_format=LAST)
    results = []
    for function in (THEIRS, ut.conv_transpose3d):
        leaves = [operand.detach().requires_grad_() for operand in operands]
        y = function(*leaves, stride=2)
        y.sum().backward()
        results.append([y, *(leaf.grad for leaf in leaves)])
    for want, got in zip(*results, strict=True):
        assert_close(got, want, 1e-4)
        assert got.stride() == want.stride()
    assert len(ours) == 3


def test_transforms_see_through(ours):
    x, w = torch.randn(3, 2, 4, 3, 3, 3), torch.randn(4, 2, 2, 2, 2)
    b = torch.randn(2)
    mapped = torch.func.vmap(lambda one: ut.conv_transpose3d(one, w, b, 2))(x)
    assert_close(mapped, THEIRS(x.flatten(0, 1), w, b, 2).unflatten(0, (3, 2)), 1e-5)
    kernels = torch.stack([w, 2 * w, 3 * w])
    both = torch.func.vmap(lambda one, kernel: ut.conv_transpose3d(one, kernel, b, 2))(x, kernels)
    assert_close(both, torch.stack([THEIRS(one, kernel, b, 2) for one, kernel in zip(x, kernels, strict=True)]), 1e-5)
    tangents = (x[0], w, b), (x[1], 2 * w, b)
    got, want = (torch.func.jvp(lambda *o, f=f: f(*o, 2), *tangents)[1] for f in (ut.conv_transpose3d, THEIRS))
    assert_close(got, want, 1e-5)
    alone = torch.func.jvp(lambda bias: ut.conv_transpose3d(x[0], w, bias, 2), (b,), (b,))[1]
    assert_close(alone, b.reshape(-1, 1, 1, 1).expand_as(alone))
    assert ours


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.int64])
def test_other_dtypes(dtype, ours):
    if dtype is torch.bfloat16:
        pytest.importorskip("ml_dtypes")
    x, w = (torch.randint(-4, 5, shape).to(dtype) for shape in ((2, 3, 3, 3, 3), (3, 2, 2, 2, 2)))
    got = ut.conv_transpose3d(x, w, stride=2)
    assert got.dtype is dtype
    wide = torch.complex128 if dtype.is_complex else torch.float64
    assert_close(got.to(wide), THEIRS(x.to(wide), w.to(wide), stride=2))
    assert len(ours) == 1


def test_refusals_name_the_axis_and_come_before_any_work(ours):
    x, w = torch.ones(1, 2, 3, 3, 3), torch.ones(2, 2, 2, 2, 2)
    with pytest.raises(SettingError, match="depth: output_padding is 5"):
        ut.conv_transpose3d(x, w, stride=2, output_padding=(5, 0, 0))
    with pytest.raises(SettingError, match="for torch it must be"):
        ut.conv_transpose3d(x, w, padding="same")
    with pytest.raises(SettingError, match="dtype"):
        ut.conv_transpose3d(x, w.double())
    with pytest.raises(TypeError, match="stride"):
        ut.conv_transpose3d(x, w, stride=1.5)
    assert not ours


def test_a_layer_is_torchs_seed_for_seed(ours):
    torch.manual_seed(3)
    want = torch.nn.ConvTranspose3d(4, 6, (1, 2, 2), (1, 2, 2))
    torch.manual_seed(3)
    got = ut.ConvTranspose3d(4, 6, (1, 2, 2), (1, 2, 2))
    assert repr(got) == repr(want)
    x = torch.randn(2, 4, 3, 5, 5)
    assert_close(got(x), want(x), 1e-5)
    assert_close(got(x[0]), want(x[0]), 1e-5)
    assert_close(got(x, output_size=(3, 11, 10)), want(x, output_size=(3, 11, 10)), 1e-5)
    assert ours
    assert type(ut.restore(torch.nn.Sequential(got))[0]) is torch.nn.ConvTranspose3d
    scripted = torch.jit.script(ut.ConvTranspose3d(4, 6, 2))
    assert scripted(x).shape == (2, 6, 4, 6, 6)


def net():
    torch.manual_seed(0)
    up, norm = torch.nn.ConvTranspose3d(8, 4, 2, 2), torch.nn.BatchNorm3d(4)
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    return torch.nn.Sequential(torch.nn.Conv3d(2, 8, 3, padding=1), up, norm, torch.nn.LeakyReLU(0.1)).eval()


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"fuse": True}, {"fuse": True, "frozen": True}], ids=str)
@pytest.mark.parametrize("has_example", [False, True])
def test_accelerate_takes_volumes(options, has_example, ours):
    model, x = net(), torch.randn(1, 2, 8, 8, 8)
    with torch.no_grad():
        want = model(x)
        report = ut.accelerate(model, **options, **({"example_inputs": x} if has_example else {}))
        ours.clear()
        assert_close(model(x), want, 1e-5)
        assert_close(model(torch.cat([x, x])), torch.cat([want, want]), 1e-5)
    assert ours
    assert [layer.left for layer in report.layers] == [""]
    assert type(model[1]) is torch.nn.ConvTranspose3d
    if not options:
        model(x).sum().backward()
        assert model[1].weight.grad.abs().sum() > 0
    ut.restore(model)
    with torch.no_grad():
        assert torch.equal(model(x), want)


def test_within_active_torchs_name_is_upconvs(ours):
    x, w = torch.randn(1, 2, 3, 4, 4), torch.randn(2, 3, 2, 2, 2)
    with ut.active():
        got = torch.nn.functional.conv_transpose3d(x, w, stride=2)
    assert len(ours) == 1
    assert_close(got, THEIRS(x, w, stride=2), 1e-5)


def test_small_volumes_are_torchs_by_rule():
    x, w = torch.randn(1, 2, 2, 2, 2), torch.randn(2, 2, 2, 2, 2)
    assert torch.equal(ut.conv_transpose3d(x, w, stride=2), THEIRS(x, w, stride=2))
    model = torch.nn.Sequential(torch.nn.ConvTranspose3d(64, 32, 2, 2))
    report = ut.accelerate(model)
    assert report.layers[0].is_ours
    assert "up to 2×2×2" in report.layers[0].outlook


def test_gradients_of_few_voxels_are_torchs_but_for_depthwise_layers():
    from upconv.torch.choice import VolumeProblem, by_rule_of_volumes

    def is_ours(operation, groups, side, channels=64):
        volume = Settings.of(2, 0, 0, groups, 1, dimensions=3).geometry(
            (1, channels, *[side] * 3), (channels, channels // groups, 2, 2, 2)
        )
        return by_rule_of_volumes(VolumeProblem(operation, volume, "float32", "nchw")).is_ours

    for operation in ("grad_input", "grad_weight"):
        assert not is_ours(operation, 1, 7)
        assert is_ours(operation, 1, 8)
        assert is_ours(operation, 256, 7, 256)
    assert not is_ours("grad_weight", 32, 16)


def test_compiled_it_is_torchs_operator():
    layer = ut.ConvTranspose3d(4, 4, 2, 2)
    x = torch.randn(1, 4, 4, 4, 4)
    assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), layer(x), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_gradients_of_which_padding_cuts_all_off_are_zeros_and_not_torchs(dtype, dimensions, monkeypatch):
    """Torch's operator ends the process there, now and then."""
    from upconv.torch import choice

    monkeypatch.setattr(choice, "WITH_INSTRUCTIONS", frozenset(choice.HALVES))
    x = torch.randn(1, 32, *(1, 3, 4)[:dimensions]).to(dtype).requires_grad_()
    w = torch.randn(32, 16, *(4, 2, 2)[:dimensions]).to(dtype).requires_grad_()
    stride, padding, extra, dilation = ((value, *rest)[:dimensions] for value, *rest in SETTINGS_WITHOUT_PRODUCTS)
    settings = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
    parsed = Settings.of(stride, padding, extra, 1, dilation, dimensions=dimensions)
    geometry = parsed.geometry(x.shape, w.shape)
    assert geometry.macs == 0
    for operation in ("grad_input", "grad_weight"):
        if dimensions == 3:
            assert choice.by_rule(choice.VolumeProblem(operation, geometry, str(dtype)[6:], "nchw")).is_ours
        else:
            assert choice.by_rule(Problem(operation, geometry, str(dtype)[6:])).is_ours
    y = getattr(ut, f"conv_transpose{dimensions}d")(x, w, **settings)
    assert not y.any()
    y.backward(torch.randn_like(y))
    for operand in (x, w):
        assert operand.grad.shape == operand.shape
        assert not operand.grad.any()
