"""Who computes, upconv or torch: by the rule, as it was measured, and what the report says of it before and after."""

import copy
import subprocess
import sys
import textwrap

import pytest
from require import require

torch = require("torch")
ut = require("upconv.torch")
from upconv.torch import choice, contraction, dispatch, measurements  # noqa: E402

nn = torch.nn


@pytest.fixture
def layer():
    return nn.ConvTranspose2d(32, 16, 4, 2, 1).eval()


@pytest.fixture
def x():
    return torch.randn(1, 32, 16, 16)


@pytest.fixture
def stub(monkeypatch):
    """Times of the two engines as they are told, in seconds: {is upconv: seconds}."""
    from upconv.torch import dispatch, examine

    told, ran = {False: 2.0, True: 1.0}, []
    run = dispatch.contract

    def contract(operation, a, b, bias, call, *rest):
        ran.append(call.is_ours)
        return run(operation, a, b, bias, call, *rest)

    def seconds(clock, function, args, kwargs):
        ran.clear()
        function(*args, **kwargs)
        clock.wall, clock.own = clock.wall + 1, clock.own + 1
        return told[bool(ran)]

    monkeypatch.setattr(dispatch, "contract", contract)
    monkeypatch.setattr(examine.Clock, "seconds", seconds)
    return told, ran


@pytest.mark.parametrize("torchs", [0.5, 0.99, 1.01, 2.0])
@pytest.mark.parametrize("rule", [True, False])
def test_what_was_measured_decides_and_where_it_is_close_the_rule(torchs, rule, layer, x, stub, monkeypatch):
    told, ran = stub
    told[False] = torchs
    monkeypatch.setattr(ut.choice, "slower", lambda plan: () if rule else ("a rule says so",))
    ut.contraction.call_of.cache_clear()
    wanted = rule if abs(torchs - 1) < 0.02 else torchs > 1
    report = ut.accelerate(layer, example_inputs=x)
    timing = report.layers[0].timings[0]
    assert timing.is_ours == wanted
    assert (timing.before, timing.after) == (torchs, 1.0 if wanted else torchs)
    assert repr(report).startswith(f"upconv.torch.accelerate: {int(wanted)} of 1 ")
    assert ("measured on the example" in repr(report)) == (wanted != rule)
    for grad, decided in ((False, wanted), (True, rule)):
        with torch.set_grad_enabled(grad):
            ran.clear()
            layer(x.clone().requires_grad_(grad))
            if not grad:
                assert bool(ran) == decided
        # Another size, and another number of threads, are the rule's.
        with torch.no_grad():
            ran.clear()
            layer(x[..., :9])
            assert bool(ran) == rule
    ut.accelerate(layer)
    assert not ut.state.state_of(layer).measured
    ut.contraction.call_of.cache_clear()


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_compiled_graph_holds_what_was_measured(is_ours, layer, x):
    graphs = []

    def backend(graph, inputs):
        graphs.append(str(graph.graph))
        return graph

    call = ut.dispatch.facts(x, layer.weight, layer.bias, (2, 1, 0, 1, 1))
    ut.accelerate(layer)
    state = ut.state.make_state(layer)
    state.measured[call.forward, torch.get_num_threads()] = measurements.TimedPair(1.0, 2.0, is_ours)
    want = ut.restore(nn.Sequential(layer)) and layer(x)
    ut.accelerate(layer)
    ut.state.make_state(layer).measured.update(state.measured)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(layer, backend=backend, fullgraph=True, dynamic=False)
        torch.testing.assert_close(compiled(x), want, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(compiled(x[..., :9]), ut.restore(layer)(x[..., :9]), rtol=1e-4, atol=1e-4)
    assert ["upconv" in graph for graph in graphs] == [is_ours, True]


def test_a_compiled_sound_is_upconvs(ours):
    layer, twin = nn.ConvTranspose1d(16, 8, 16, 8, 4), nn.ConvTranspose1d(16, 8, 16, 8, 4)
    twin.load_state_dict(layer.state_dict())
    ut.accelerate(layer)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    for shape in ((2, 16, 20), (2, 16, 33), (16, 21)):
        x = torch.randn(shape)
        results = []
        for each in (compiled, twin):
            leaf = x.clone().requires_grad_()
            y = each(leaf)
            results.append((y, *torch.autograd.grad(y.square().sum(), [leaf])))
        torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)
    assert {plan.problem.operation for plan in ours} >= {"forward", "grad_input"}


def test_before_any_call_the_report_says_what_torch_will_compute(layer):
    small = nn.ConvTranspose2d(2, 2, 2)
    model = nn.ModuleDict({"large": nn.ConvTranspose2d(512, 256, 4, 2, 1), "small": small})
    model["away"] = nn.ConvTranspose2d(2, 2, 2, device="meta")
    report = ut.accelerate(model)
    said = {each.name: each.outlook for each in report.layers}
    assert said["large"] == ""
    assert "torch computes inputs of up to 32×32, since there 16384 multiply-adds take less time" in said["small"]
    assert "this is on meta" in said["away"]
    assert "2 of 3 transposed convolutions are upconv's" in repr(report)


def test_halves_that_torch_computes_are_not_counted_as_upconvs(monkeypatch):
    monkeypatch.setattr(ut.choice, "WITH_INSTRUCTIONS", frozenset({"bfloat16"}))
    ut.contraction.call_of.cache_clear()
    model = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)).bfloat16()
    report = ut.accelerate(model)
    assert "1 of 2 transposed convolutions is upconv's" in repr(report)
    assert "0: computed by torch, since" in repr(report)
    assert "oneDNN has instructions for bfloat16" in repr(report)
    ut.contraction.call_of.cache_clear()


# (operation, kernel, side from which the map is upconv's, and the same channels-last).
FIRST_SIDES = [
    ("forward", 2, 1, 7),
    ("forward", 3, 1, 7),
    ("forward", 4, 1, 1),
    ("grad_input", 3, 1, 23),
    ("grad_input", 4, 1, 23),
    ("grad_weight", 3, 1, 1),
    ("grad_weight", 4, 1, 1),
]


@pytest.mark.parametrize(("operation", "k", "first", "last"), FIRST_SIDES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "nhwc"])
def test_maps_on_which_packing_is_not_made_up_for_are_torchs(operation, k, first, last, channels_last):
    form = torch.channels_last if channels_last else torch.contiguous_format
    for side in (4, 6, 7, 8, 15, 22, 23, 40):
        x, w = torch.empty(1, 128, side, side).contiguous(memory_format=form), torch.empty(128, 64, k, k)
        plan, is_ours = ut.dispatch.facts(x, w, None, (1, 0, 0, 1, 1)).plan(operation)
        assert is_ours == (side >= (last if channels_last else first)) == (not ut.choice.small_map(plan.problem)), side


def test_a_busy_machine_is_said():
    from upconv.torch.report import Report, Times

    calm, wild = Times.of([1.0, 1.02, 0.98, 1.0, 0.99]), Times.of([1.0, 2.0, 0.5, 1.5])
    layers = ut.accelerate(nn.ConvTranspose2d(8, 8, 4)).layers
    assert "busy" not in repr(Report(layers, torch=calm, now=calm, threads=1))
    assert "vary by ±" in repr(Report(layers, torch=calm, now=wild, threads=1))
    assert "other work had 40% of the time" in repr(Report(layers, torch=calm, now=calm, stolen=0.4, threads=1))
    assert repr(calm) == "1 s ±1%"


def test_time_of_others_is_seen():
    import time

    from upconv.torch.examine import Clock

    clock = Clock()
    clock.seconds(lambda: time.sleep(0.05), (), {})
    assert clock.stolen > 0.5


WITHOUT = """
    import sys
    sys.modules["ml_dtypes"] = None
    import importlib.util as util
    found = util.find_spec
    util.find_spec = lambda name, *rest: None if name == "ml_dtypes" else found(name, *rest)
    import torch, upconv.torch as ut
    layer = torch.nn.ConvTranspose2d(32, 64, 4, 2, 1)
    half = torch.nn.ConvTranspose2d(32, 64, 4, 2, 1).bfloat16()
    print(ut.accelerate(half))
    ut.accelerate(layer)
    x = torch.randn(1, 32, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        print(layer(x).dtype)
        print(torch.compile(layer, backend="eager")(x).dtype)
        print(ut.accelerate(layer, example_inputs=x).layers[0].timings[0].is_ours)
    print(half(x.bfloat16()).dtype)
"""


def test_without_ml_dtypes_bfloat16_is_torchs():
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(WITHOUT)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "0 of 1 transposed convolution" in run.stdout
    assert "upconv does not compute in torch.bfloat16" in run.stdout
    assert run.stdout.count("torch.bfloat16") == 4
    assert "False" in run.stdout


VIEWS = {
    "negative": torch._neg_view,
    "conjugate": lambda t: t.conj() if t.is_complex() else torch._neg_view(t.neg()),
    "both": lambda t: torch._neg_view(t.conj()) if t.is_complex() else torch._neg_view(torch._neg_view(t)),
}
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_negated_and_conjugated_tensors(view, dtype, ours):
    torch.manual_seed(0)
    x, w, b = (torch.randn(*shape).to(dtype) for shape in ((2, 4, 5, 6), (4, 3, 3, 3), (3,)))
    plain = torch.nn.functional.conv_transpose2d(*(view(t).clone() for t in (x, w, b)), 2)
    tolerance = dict(rtol=3e-2, atol=5e-2) if dtype in (torch.bfloat16, torch.float16) else dict(rtol=1e-4, atol=1e-4)
    for which in ((0,), (1,), (2,), (0, 1, 2)):
        given = [view(t) if place in which else view(t).clone() for place, t in enumerate((x, w, b))]
        torch.testing.assert_close(ut.conv_transpose2d(*given, 2), plain, **tolerance)
        flat = [given[0][:, :, 0], given[1][:, :, 0], given[2]]
        want = torch.nn.functional.conv_transpose1d(*(t.clone() for t in flat), 2)
        torch.testing.assert_close(ut.conv_transpose1d(*flat, 2), want, **tolerance)
    layer = nn.Sequential(nn.ConvTranspose2d(4, 3, 3, 2), nn.Identity()).eval()
    layer[0].weight, layer[0].bias = nn.Parameter(view(w)), nn.Parameter(view(b))
    with torch.no_grad():
        for options in ({}, {"frozen": True}, {"frozen": True, "fuse": True}):
            ut.accelerate(layer, **options)
            torch.testing.assert_close(layer(view(x)), plain, **tolerance)
    assert ours


@pytest.fixture(params=["accelerated", "of upconv's class"])
def small(request):
    """A layer whose `few_pixels` are torch's by the rule, and one of torch's that is equal."""
    theirs = nn.ConvTranspose2d(32, 32, 2, 2).eval()
    if request.param == "accelerated":
        ours = copy.deepcopy(theirs)
        ut.accelerate(ours)
    else:
        ours = ut.ConvTranspose2d(32, 32, 2, 2).eval()
        ours.load_state_dict(theirs.state_dict())
        ut.state.make_state(ours)
    return ours, theirs


def few_pixels(*size):
    return torch.randn(1, 32, *(size or (6, 6))).to(memory_format=torch.channels_last)


@torch.no_grad()
def test_a_call_that_was_torchs_is_torchs_at_once(small, monkeypatch):
    ours, theirs = small
    x = few_pixels()
    first = ours(x)
    monkeypatch.setattr(ut.dispatch, "facts", None)
    assert torch.equal(ours(x), first)
    assert torch.equal(first, theirs(x))


def changed_settings(layer):
    layer.stride, layer.padding = (3, 1), (0, 1)


def changed_weight(layer):
    layer.weight = nn.Parameter(torch.randn(32, 16, 3, 3))
    layer.bias = None


def changed_dtype(layer):
    layer.double()


def changed_weight_of_a_norm(layer):
    torch.nn.utils.parametrizations.weight_norm(layer)
    layer.parametrizations.weight.original0.mul_(2)


@torch.no_grad()
@pytest.mark.parametrize("change", [changed_settings, changed_weight, changed_dtype, changed_weight_of_a_norm])
def test_what_was_left_to_torch_follows_the_layer(small, change):
    """The result is that of the layer as it is, and who computes it is asked anew, since it may have become large."""
    ours, theirs = small
    x, state = few_pixels(), ut.state.state_of(ours)
    ours(x)
    assert ut.state.left(ours, state, x) is not None
    for layer in small:
        torch.manual_seed(0)
        change(layer)
    assert ut.state.left(ours, state, x) is None
    x = x.to(theirs.weight.dtype)
    assert torch.equal(ours(x), theirs(x))


class Doubled(nn.Module):
    def forward(self, bias):
        return 2 * bias


@torch.no_grad()
def test_a_parametrized_bias_is_not_forgotten(small):
    x = few_pixels()
    small[0](x)
    for layer in small:
        torch.nn.utils.parametrize.register_parametrization(layer, "bias", Doubled())
    ours, theirs = small
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours(x), theirs(x))


@torch.no_grad()
def test_another_padding_mode_is_not_what_was_left_to_torch():
    layer = ut.ConvTranspose2d(4, 4, 3, padding=1).eval()
    x = torch.randn(1, 4, 8, 8)
    zeros = layer(x)
    layer.padding_mode = "circular"
    want = ut.conv_transpose2d(x, layer.weight, layer.bias, padding=1, padding_mode="circular")
    assert torch.equal(layer(x), want)
    assert not torch.equal(want, zeros)


@torch.no_grad()
def test_a_measurement_overrules_what_was_left_to_torch(small):
    ours, theirs = small
    x = few_pixels()
    ours(x)
    state = ut.state.state_of(ours)
    call = ut.dispatch.facts(x, ours.weight, ours.bias, (2, 0, 0, 1, 1))
    state.measured[call.forward, torch.get_num_threads()] = measurements.TimedPair(2.0, 1.0, True)
    assert ut.state.left(ours, state, x) is None
    torch.testing.assert_close(ours(x), theirs(x))
    assert ut.state.left(ours, state, x) is None


@torch.no_grad()
def test_what_autocast_left_to_torch_is_not_left_outside_of_it(small):
    ours, _ = small
    x, state = few_pixels(), ut.state.state_of(ours)
    with torch.autocast("cpu", torch.bfloat16):
        ours(x)
    assert ut.state.left(ours, state, x) is None
    ours(x)
    assert ut.state.left(ours, state, x) is not None


@torch.no_grad()
def test_inputs_that_torch_refuses_are_refused_in_its_words(small):
    ours, theirs = small
    ours(few_pixels())
    nested = torch.nested.nested_tensor([torch.randn(32, 8, 8), torch.randn(32, 8, 8)])
    with pytest.raises(Exception) as wanted:  # noqa: PT011
        theirs(nested)
    with pytest.raises(type(wanted.value)) as caught:
        ours(nested)
    assert str(caught.value) == str(wanted.value)


@torch.no_grad()
def test_what_is_remembered_as_torchs_is_bounded(small, monkeypatch):
    monkeypatch.setattr(measurements, "MOST_LEFT", 8)
    ours, _ = small
    for width in range(1, 30):
        x = few_pixels(1, width)
        ours(x)
        assert ut.state.left(ours, ut.state.state_of(ours), x) is not None
    assert len(ut.state.state_of(ours).measured._left) <= 8


@pytest.mark.parametrize("compiles", [False, True])
def test_gradients_of_few_channels_under_a_wide_kernel_in_bfloat16_are_not_left_to_torch(compiles):
    torch.manual_seed(0)
    w = torch.randn(32, 16, 4, 4).bfloat16()

    def ours(x):
        return ut.conv_transpose2d(x, w, None, 4)

    x = torch.randn(2, 32, 16, 16).bfloat16().requires_grad_()
    y = (torch.compile(ours, backend="aot_eager") if compiles else ours)(x)
    gy = torch.randn_like(y)
    wide = x.detach().double().requires_grad_()
    (want,) = torch.autograd.grad(nn.functional.conv_transpose2d(wide, w.double(), None, 4), wide, gy.double())
    (got,) = torch.autograd.grad(y, x, gy)
    assert (got.double() - want).abs().max() < 0.03 * want.abs().max()


@pytest.mark.parametrize("compiles", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_forwards_in_halves_of_which_nothing_is_left_are_not_left_to_torch(dtype, compiles, monkeypatch):
    """Torch's operator writes beyond its memory there, so it is not called: who measured it is not believed either."""
    x, w = torch.ones(1, 5, 1, 1, dtype=dtype), torch.ones(5, 64, 2, 2, dtype=dtype)

    def refuse(*_):
        raise AssertionError("left to torch")

    monkeypatch.setattr(dispatch, "THEIRS", refuse)
    monkeypatch.setattr(contraction, "theirs", refuse)

    def ours(x):
        return ut.conv_transpose2d(x, w, torch.ones(64, dtype=dtype), 1, (1, 0), dilation=3)

    y = (torch.compile(ours, backend="aot_eager") if compiles else ours)(x)
    assert torch.equal(y, torch.ones(1, 64, 2, 4, dtype=dtype))
    problem = contraction.call_of(
        1, (1, 0), 0, 1, 3, tuple(x.shape), x.stride(), tuple(w.shape), w.stride(), None, dtype
    ).forward
    measured = measurements.Measurements()
    measured[problem, torch.get_num_threads()] = measurements.TimedPair(1.0, 2.0, is_ours=False)
    assert choice.decide(problem, measured).is_ours


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_volumes_shorter_than_their_padding_are_not_left_to_torch(dtype, monkeypatch):
    """Channels-last, oneDNN leaves some of their numbers as they lay in memory, or ends the process."""
    theirs = contraction.theirs

    def forward_alone(operation, *rest):
        assert operation == "forward"
        return theirs(operation, *rest)

    monkeypatch.setattr(dispatch, "THEIRS_3D", None)
    monkeypatch.setattr(contraction, "theirs", forward_alone)
    torch.manual_seed(0)
    tensors = torch.randn(1, 4, 3, 3, 1).to(dtype), torch.randn(4, 2, 5, 5, 5).to(dtype)
    given = [each.contiguous(memory_format=torch.channels_last_3d).requires_grad_() for each in tensors]
    wide = [each.double().requires_grad_() for each in tensors]
    settings = None, 2, (3, 1, 2), (0, 1, 0), 2
    y, exact = ut.conv_transpose3d(*given, *settings), nn.functional.conv_transpose3d(*wide, *settings)
    gy = torch.randn_like(exact).to(dtype)
    want = torch.autograd.grad(exact, wide, gy.double())
    for one, other in zip(torch.autograd.grad(y, given, gy), want, strict=True):
        assert (one.double() - other).abs().max() < 0.03 * other.abs().max()


@pytest.mark.parametrize(
    ("dimensions", "columns", "compiles"),
    [(1, 1, False), (2, 1, False), (2, 2, False), (3, 1, False), (1, 1, True), (2, 1, True), (2, 2, True)],
)
def test_gradients_of_narrow_maps_in_bfloat16_are_not_left_to_torch(dimensions, columns, compiles):
    """oneDNN leaves some of their numbers as they lay in memory, or NaN, where it has matrix tiles."""
    torch.manual_seed(0)
    layer = getattr(nn, f"ConvTranspose{dimensions}d")(33, 16, 4, 3, 1 if columns == 1 else 2, 1).bfloat16()
    x = torch.randn(2, 33, *(9,) * (dimensions - 1), columns).bfloat16().requires_grad_()
    exact, model = copy.deepcopy(layer).double(), nn.Sequential(layer)
    ut.accelerate(model)
    call = torch.compile(model, backend="aot_eager") if compiles else model
    for _ in range(3):
        y = call(x)
        gy = torch.randn_like(y)
        wide = x.detach().double().requires_grad_()
        want = torch.autograd.grad(exact(wide), (wide, exact.weight), gy.double())
        for one, other in zip(torch.autograd.grad(y, (x, layer.weight), gy), want, strict=True):
            assert (one.double() - other).abs().max() < 0.03 * other.abs().max()
