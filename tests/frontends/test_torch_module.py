"""The layers: seed for seed, key for key and hook for hook torch's own."""

import contextlib
import copy
import itertools
import pickle

import pytest
from require import require

from upconv import SettingError

torch = require("torch")
ut = require("upconv.torch")
require("expecttest")
with pytest.MonkeyPatch.context() as patch:
    # This imports the table of operators, too, which must find ours when it is imported: test_torch_ops reads it.
    patch.setattr(torch.nn.functional, "conv_transpose2d", ut.conv_transpose2d)
    from torch.testing._internal.common_modules import module_db

LAYERS = {
    torch.nn.ConvTranspose1d: ut.ConvTranspose1d,
    torch.nn.ConvTranspose2d: ut.ConvTranspose2d,
    torch.nn.LazyConvTranspose2d: ut.LazyConvTranspose2d,
}
INFOS = [info for info in module_db if info.module_cls in LAYERS]
DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def twins(*args, **kwargs):
    """Torch's layer and ours, from one seed."""
    made = []
    for cls in (torch.nn.ConvTranspose2d, ut.ConvTranspose2d):
        torch.manual_seed(11)
        made.append(cls(*args, **kwargs))
    return made


def gradients(layer, *inputs):
    leaves = [i.detach().clone().requires_grad_() for i in inputs]
    y = layer(*leaves)
    wanted = leaves + [p for p in layer.parameters() if p.requires_grad]
    return [y.detach(), *torch.autograd.grad(y.abs().square().sum(), wanted)]


def test_the_wheel_has_its_modules_tests():
    assert {info.module_cls for info in INFOS} == set(LAYERS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_every_module_input_gives_torchs_outputs_and_gradients(info, dtype, ours):
    inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=True)
    for module_input in inputs:
        made = []
        for cls in (info.module_cls, LAYERS[info.module_cls]):
            torch.manual_seed(5)
            args, kwargs = module_input.constructor_input.args, module_input.constructor_input.kwargs
            layer = cls(*args, **kwargs, dtype=dtype)
            x = module_input.forward_input.args[0]
            layer(x)
            made.append(layer)
        theirs, ours_ = made
        assert repr(ours_) == repr(theirs)
        assert isinstance(ours_, type(theirs))
        for key, value in theirs.state_dict().items():
            assert torch.equal(ours_.state_dict()[key], value)
        torch.testing.assert_close(gradients(ours_, x), gradients(theirs, x), rtol=1e-4, atol=1e-4)
    assert ours


@pytest.mark.parametrize("formats", list(itertools.product((torch.contiguous_format, torch.channels_last), repeat=2)))
@pytest.mark.parametrize("settings", [{"groups": 2}, {"stride": 2, "padding": 1, "output_padding": 1}, {"bias": False}])
def test_results_lie_in_memory_as_torchs_and_gradients_as_their_operands(settings, formats, ours):
    theirs, layer = twins(4, 6, 3, **settings)
    for each in (theirs, layer):
        each.to(memory_format=formats[1])
    x = torch.randn(2, 4, 5, 7).to(memory_format=formats[0]).requires_grad_()
    y = layer(x)
    assert y.stride() == theirs(x).stride()
    y.sum().backward()
    assert x.grad.is_contiguous(memory_format=formats[0])
    assert layer.weight.grad.is_contiguous(memory_format=formats[1])
    assert ours


@pytest.mark.parametrize(
    "shape", [(4, 5, 7), (1, 4, 1, 1), (2, 4, 1, 1), (2, 1, 5, 5), (3, 1, 1, 1), (0, 4, 3, 3), (1, 4, 5, 1)]
)
def test_layout_where_both_orders_are_the_same_memory(shape, ours):
    for x_last, w_last in itertools.product((False, True), repeat=2):
        x, w = torch.randn(shape), torch.randn(shape[-3], 6, 3, 3)
        if x_last:
            x = x.movedim(-3, -1).contiguous().movedim(-1, -3)
        if w_last:
            w = w.to(memory_format=torch.channels_last)
        if x_last == w_last and x.ndim == 4 and x.shape[-1] == 1:
            _, c, height, width = x.shape
            x = x.as_strided(x.shape, (height * width * c, 1, width * c, c))
        got, want = ut.conv_transpose2d(x, w, None, 2), torch.conv_transpose2d(x, w, None, 2)
        assert got.shape == want.shape
        assert got.numel() == 0 or got.stride() == want.stride(), (x_last, w_last)
    assert ours


@pytest.mark.parametrize("wrap", ["spectral_norm", "weight_norm", "orthogonal"])
def test_parametrizations_choose_torchs_axis(wrap, ours):
    made = []
    for layer in twins(4, 6, 3, stride=2):
        torch.manual_seed(3)
        made.append(getattr(torch.nn.utils.parametrizations, wrap)(layer))
    theirs, layer = made
    x = torch.randn(2, 4, 5, 5)
    for key, value in theirs.state_dict().items():
        assert torch.equal(layer.state_dict()[key], value), key
    torch.testing.assert_close(gradients(layer, x), gradients(theirs, x), rtol=1e-4, atol=1e-4)
    assert ours


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("wrap", ["spectral_norm", "weight_norm"])
def test_the_old_norms_too(wrap, ours):
    made = []
    for layer in twins(4, 6, 3):
        torch.manual_seed(3)
        made.append(getattr(torch.nn.utils, wrap)(layer))
    x = torch.randn(2, 4, 5, 5)
    for _ in range(3):
        torch.testing.assert_close(made[1](x), made[0](x), rtol=1e-5, atol=1e-5)
        # Weight norm makes a new weight for every call, often where the last one lay.
        for layer in made:
            for p in layer.parameters():
                p.data.mul_(1.5)
    assert len(ours) == 3


def test_copies_and_pickles(ours):
    _, layer = twins(4, 6, 3, 2, 1, dilation=2, bias=False)
    x = torch.randn(1, 4, 5, 5)
    for other in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is ut.ConvTranspose2d
        assert repr(other) == repr(layer)
        assert torch.equal(other(x), layer(x))
    assert len(ours) == 6


def test_state_dicts_go_both_ways_and_lazy_layers_load_them():
    theirs, layer = twins(4, 6, 3)
    torch.nn.init.zeros_(layer.weight)
    layer.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(layer.state_dict())
    lazy = ut.LazyConvTranspose2d(6, 3)
    lazy.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(lazy(x), theirs(x))
    assert type(lazy) is ut.ConvTranspose2d


def test_hooks_run():
    _, layer = twins(4, 6, 3)
    seen = []
    layer.register_forward_hook(lambda *_: seen.append("forward"))
    layer.register_full_backward_hook(lambda *_: seen.append("backward"))
    layer(torch.randn(1, 4, 3, 3, requires_grad=True)).sum().backward()
    assert seen == ["forward", "backward"]


def test_output_size(ours):
    theirs, layer = twins(4, 6, 3, stride=2, padding=1)
    x = torch.randn(2, 4, 5, 5)
    for size in ([9, 10], [10, 10], [2, 6, 10, 9]):
        torch.testing.assert_close(layer(x, size), theirs(x, size))
    assert layer(x, torch.Size([9, 9])).shape == (2, 6, 9, 9)
    assert ut.ConvTranspose1d(4, 6, 3, 2)(torch.randn(2, 4, 5), [12]).shape == (2, 6, 12)


@pytest.mark.parametrize("change", ["data", "ema", "numpy", "no_grad", "load", "swap"])
def test_no_weight_is_remembered(change, ours):
    """Changes that leave the version counter, or the address, as it was."""
    theirs, layer = twins(4, 6, 3, stride=2)
    x = torch.randn(2, 4, 5, 5)
    other = torch.randn(4, 6, 3, 3)
    for _ in range(3):
        before = layer(x)
        for each in (theirs, layer):
            weight = each.weight
            if change == "data":
                weight.data[0, 0] += 1
            elif change == "ema":
                weight.data.lerp_(other, 0.1)
            elif change == "numpy":
                weight.detach().numpy()[...] *= 1.5
            elif change == "no_grad":
                with torch.no_grad():
                    weight += 1
            elif change == "load":
                each.load_state_dict({"weight": weight.detach() + other, "bias": each.bias.detach()})
            else:
                each.weight = torch.nn.Parameter(weight.detach() * 2)
        assert not torch.equal(layer(x), before)
        torch.testing.assert_close(layer(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_a_recycled_pointer(ours):
    """New weights at the address of one that is gone."""
    x, addresses = torch.randn(2, 4, 5, 5), []
    for seed in range(20):
        torch.manual_seed(seed)
        w = torch.randn(4, 6, 3, 3)
        addresses.append(w.data_ptr())
        torch.testing.assert_close(ut.conv_transpose2d(x, w), torch.conv_transpose2d(x, w), rtol=1e-4, atol=1e-5)
        del w
    assert len(set(addresses)) < 20


def test_inference_mode(ours):
    theirs, layer = twins(4, 6, 3)
    with torch.inference_mode():
        x = torch.randn(2, 4, 5, 5)
        y = layer(x)
        assert y.is_inference()
        torch.testing.assert_close(y, theirs(x))
        layer.weight.data.mul_(2)
        theirs.weight.data.mul_(2)
        torch.testing.assert_close(layer(x), theirs(x))
    with pytest.raises(RuntimeError, match=r"(?i)inference"):
        layer(x).sum().backward()
    assert len(ours) >= 2


def test_results_may_be_changed_in_place_and_kept(ours):
    """Memory of a result is not given to the next one while a view lives."""
    _, layer = twins(8, 16, 4, 2, 1)
    x = torch.randn(1, 8, 128, 128)
    with torch.no_grad():
        views = [layer(x * k)[0, k].add_(k) for k in range(4)]
        for k, view in enumerate(views):
            torch.testing.assert_close(view, layer(x * k)[0, k] + k)


def test_frozen_and_partly_frozen_parameters(ours):
    theirs, layer = twins(4, 6, 3)
    x = torch.randn(2, 4, 5, 5)
    for each in (theirs, layer):
        each.weight.requires_grad_(False)
    torch.testing.assert_close(gradients(layer, x), gradients(theirs, x), rtol=1e-5, atol=1e-4)
    assert not any(plan.problem.operation == "grad_weight" for plan in ours)


def test_checkpointing_and_saved_tensor_hooks(ours):
    theirs, layer = twins(4, 6, 3)
    x = torch.randn(2, 4, 5, 5)

    def again(layer):
        return lambda x: torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)

    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for each, leaf in zip((theirs, layer), leaves, strict=True):
        with torch.autograd.graph.save_on_cpu():
            again(each)(leaf).square().sum().backward()
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(layer.weight.grad, theirs.weight.grad, rtol=1e-5, atol=1e-4)


def test_a_saved_operand_changed_in_place_is_an_error():
    _, layer = twins(8, 16, 4, 2)
    x = torch.randn(1, 8, 32, 32)
    y = layer(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_generator_trains_the_same():
    """DCGAN's generator at full size, each layer with whom its plan prefers: outputs and gradients to 1e-5 rms."""

    def generator(layer):
        torch.manual_seed(2)
        layers, wide = [], [64, 256, 128, 64, 3]
        for number, (c_in, c_out) in enumerate(itertools.pairwise(wide)):
            layers += [layer(c_in, c_out, 4, 2 if number else 1, 1 if number else 0, bias=False)]
            layers += [torch.nn.BatchNorm2d(c_out), torch.nn.ReLU()] if c_out != 3 else [torch.nn.Tanh()]
        return torch.nn.Sequential(*layers)

    x = torch.randn(4, 64, 1, 1)
    # What comes from a ReLU must not be decided by a last bit, so the oracle is double.
    want = gradients(generator(torch.nn.ConvTranspose2d).double(), x.double())
    for made, context in (
        (generator(ut.ConvTranspose2d), contextlib.nullcontext()),
        (generator(torch.nn.ConvTranspose2d), ut.active()),
    ):
        with context:
            got = gradients(made, x)
        for one, other in zip(got, want, strict=True):
            error = (one.double() - other).square().mean().sqrt() / other.square().mean().sqrt()
            assert error < 1e-5


def test_a_bias_or_weight_that_does_not_fit_is_refused_after_calls_that_were_torchs():
    layer, x = ut.ConvTranspose2d(2, 3, 3), torch.ones(1, 2, 3, 3)
    with torch.no_grad():
        for _ in range(3):
            layer(x)
        right = layer.bias
        for wrong in (torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float16), torch.zeros(4)):
            layer.bias = torch.nn.Parameter(wrong)
            with pytest.raises(SettingError):
                layer(x)
        layer.bias = right
        layer.weight.data = torch.ones(5, 3, 3, 3)
        with pytest.raises(SettingError):
            layer(x)
