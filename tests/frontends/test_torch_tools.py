"""Tools that look at a model after `accelerate`: what they see is what they saw of torch's layers."""

import copy
import warnings

import pytest
from require import require

torch = require("torch")
ut = require("upconv.torch")
nn = torch.nn
CLOSE = dict(rtol=1e-4, atol=1e-4)
OPTIONS = {"plain": {}, "fuse": {"fuse": True}, "frozen": {"frozen": True, "fuse": True}}


def decoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS)
def twins(request, ours):
    """(accelerated, torch's) of one model."""
    model = decoder()
    twin = copy.deepcopy(model)
    ut.accelerate(model, **request.param)
    return model, twin


@pytest.fixture
def x():
    return torch.randn(2, 8, 7, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_types_and_tables_by_class(twins):
    model, twin = twins
    assert [type(m) for m in model.modules()] == [type(m) for m in twin.modules()]
    assert isinstance(model[0], nn.ConvTranspose2d)
    assert repr(model) == repr(twin)


def test_eager_quantization(twins, x):
    quantization = require("torch.ao.quantization")
    kinds = []
    with torch.no_grad():
        for model in twins:
            wrapped = quantization.QuantWrapper(nn.Sequential(copy.deepcopy(model)[0])).eval()
            wrapped.qconfig = quantization.default_qconfig
            quantization.prepare(wrapped, inplace=True)
            wrapped(x)
            quantization.convert(wrapped, inplace=True)
            kinds.append((type(wrapped.module[0]), wrapped(x)))
    assert kinds[0][0] is kinds[1][0] is not nn.ConvTranspose2d
    torch.testing.assert_close(kinds[0][1], kinds[1][1], rtol=0.1, atol=0.1)


def test_fuse_modules(twins, x):
    quantization = require("torch.ao.quantization")
    with torch.no_grad():
        want = twins[1](x)
        for model in twins:
            fused = quantization.fuse_modules(model, ["0", "1"])
            assert type(fused[1]) is nn.Identity
            torch.testing.assert_close(fused(x), want, **CLOSE)


def test_graph_mode_quantization(twins, x):
    quantize = require("torch.ao.quantization.quantize_fx")
    mapping = require("torch.ao.quantization").get_default_qconfig_mapping()
    made = []
    with torch.no_grad():
        for model in twins:
            prepared = quantize.prepare_fx(copy.deepcopy(model), mapping, (x,))
            prepared(x)
            made.append([type(m) for m in quantize.convert_fx(prepared).children()])
    assert made[0] == made[1]


def test_symbolic_traces(twins, x):
    graphs = [torch.fx.symbolic_trace(model) for model in twins]
    nodes = [[(node.op, str(node.target)) for node in graph.graph.nodes] for graph in graphs]
    assert nodes[0] == nodes[1]
    with torch.no_grad():
        torch.testing.assert_close(graphs[0](x), twins[1](x), **CLOSE)


@pytest.mark.parametrize("gradients", [False, True])
def test_counters_of_flops(gradients, twins, x):
    counter = require("torch.utils.flop_counter").FlopCounterMode
    counts = []
    for model in twins if not (gradients and ut.instance.state_of(twins[0][0])) else twins[1:] * 2:
        with counter(display=False) as counting, torch.set_grad_enabled(gradients):
            y = model(x)
            if gradients:
                y.sum().backward()
        counts.append(counting.get_flop_counts())
    assert counts[0] == counts[1]
    assert counts[0]["Sequential.0"]


def test_counters_that_replace_torchs_functions(twins, x, monkeypatch):
    functions, calls = nn.functional, []
    taken = functions.conv_transpose2d
    monkeypatch.setattr(functions, "conv_transpose2d", lambda *args: calls.append(args) or taken(*args))
    with torch.no_grad():
        torch.testing.assert_close(twins[0](x), twins[1](x), **CLOSE)
    assert len(calls) == 2


def test_who_replaces_the_forward_of_torchs_class_is_heard(twins, x, monkeypatch):
    calls, forward = [], nn.ConvTranspose2d.forward

    def other(self, x, output_size=None):
        calls.append(self)
        return forward(self, x, output_size)

    monkeypatch.setattr(nn.ConvTranspose2d, "forward", other)
    with torch.no_grad():
        torch.testing.assert_close(twins[0](x), twins[1](x), **CLOSE)
    assert calls == [twins[0][0], twins[1][0]]
    assert "the forward of its class has been replaced" in repr(ut.accelerate(decoder()))


def test_a_profiler_has_an_entry(x, ours):
    layer = nn.ConvTranspose2d(8, 4, 4, 2, 1)
    ut.accelerate(layer)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        layer(x.clone().requires_grad_()).square().sum().backward()
    names = {entry.key: entry.count for entry in profile.key_averages()}
    for suffix in ("", "_grad_input", "_grad_weight"):
        assert names["upconv::conv_transpose2d" + suffix] == 1


def test_traced_and_scripted_by_torchscript(twins, x):
    model, twin = twins
    with torch.no_grad():
        want = twin(x)
        for made in (torch.jit.trace(model, x), torch.jit.script(model), torch.jit.freeze(torch.jit.script(model))):
            torch.testing.assert_close(made(x), want, **CLOSE)
        scripted = torch.jit.script(model[0])
        torch.testing.assert_close(scripted(x, [15, 19]), twin[0](x, [15, 19]), **CLOSE)


def test_exported(twins, x):
    with torch.no_grad():
        for strict in (True, False):
            exported = torch.export.export(twins[0], (x,), strict=strict)
            assert "upconv" not in str(exported.graph)
            torch.testing.assert_close(exported.module()(x), twins[1](x), **CLOSE)


def test_compiled(twins, x):
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(twins[0], fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), twins[1](x), **CLOSE)
        twins[0].compile(backend="eager")
        torch.testing.assert_close(twins[0](x), twins[1](x), **CLOSE)


def test_norms_put_on_later(x, ours):
    for wrap in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm, nn.utils.weight_norm):
        layers = [nn.ConvTranspose2d(8, 4, 4, 2, 1) for _ in range(2)]
        layers[1].load_state_dict(layers[0].state_dict())
        ut.accelerate(layers[0])
        torch.manual_seed(0), wrap(layers[0])
        torch.manual_seed(0), wrap(layers[1])
        ours.clear()
        torch.testing.assert_close(layers[0](x), layers[1](x), **CLOSE)
        assert ours


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ensembles(options, ours, x):
    models = [decoder() for _ in range(3)]
    for place, model in enumerate(models):
        nn.init.constant_(model[0].weight, 0.1 * place)
        ut.accelerate(model, **options)
    parameters, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")
    with torch.no_grad():
        got = torch.vmap(lambda p, b: torch.func.functional_call(base, (p, b), (x,)))(parameters, buffers)
    torch.testing.assert_close(got, torch.stack([ut.restore(model)(x) for model in models]), **CLOSE)


def test_a_wrapped_forward_is_left_to_the_wrapper(x, ours):
    """As device-placing libraries do: they keep the forward that they found and put theirs on the module."""
    model, twin = decoder(), decoder()
    ut.accelerate(model)
    kept = model[0].forward
    model[0].forward = lambda x: kept(x) * 2
    with torch.no_grad():
        torch.testing.assert_close(model[0](x), twin[0](x) * 2, **CLOSE)
        ut.restore(model)
        torch.testing.assert_close(model[0](x), twin[0](x) * 2, **CLOSE)
        assert "replaced" in repr(ut.accelerate(model))


def test_a_shallow_copy_is_repaired_by_accelerating_it(x, ours):
    layer = nn.ConvTranspose2d(8, 4, 4, 2, 1)
    ut.accelerate(layer)
    other = copy.copy(layer)
    other.stride = (3, 3)
    ut.accelerate(other)
    with torch.no_grad():
        assert other(x).shape == ut.restore(copy.deepcopy(other))(x).shape != layer(x).shape
        assert ut.restore(copy.copy(other)).forward.__func__ is nn.ConvTranspose2d.forward


def test_a_module_that_makes_a_tensor_of_another_class(twins):
    class Own(torch.Tensor):
        pass

    y = torch.randn(1, 8, 4, 4).as_subclass(Own)
    with torch.no_grad():
        got, want = twins[0](y), twins[1](y)
    assert type(got) is type(want)
    torch.testing.assert_close(got.as_subclass(torch.Tensor), want.as_subclass(torch.Tensor), **CLOSE)
