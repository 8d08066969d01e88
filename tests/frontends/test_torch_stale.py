"""Frozen and fused layers after whatever they were made of has changed: the new answer or an error, never the old one.

A way of changing a model is a function that changes it. It is applied to the accelerated model and to its twin of
torch's, which says what is right: the accelerated one must give the same, or name what changed.
"""

import copy
import io
import pickle

import pytest
from require import require

import upconv

torch = require("torch")
ut = require("upconv.torch")
nn = torch.nn
P = nn.utils.parametrizations
CLOSE = dict(rtol=1e-4, atol=1e-4)
NORM = {"eps": 0.3, "momentum": 0.9, "training": True, "track_running_stats": False, "num_features": 7}
SETTINGS = {"stride": (3, 3), "padding": (0, 0), "output_padding": (1, 1), "dilation": (2, 2), "groups": 2}


def parameter(*shape):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(7)))


class Scaled(nn.Module):
    """A parametrization with plain attributes, a tensor that is none of its buffers, and a child."""

    def __init__(self):
        super().__init__()
        self.factor, self.table, self.more = 2.0, torch.ones(()), {"shift": [0.5]}
        self.child = nn.Identity()

    def forward(self, w):
        return self.child(w) * self.factor * self.table + self.more["shift"][0]


def net(kind="plain"):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(12, 8, 4, 2, 1, bias=kind != "without bias")
    if kind == "parametrized":
        nn.utils.parametrize.register_parametrization(layer, "weight", Scaled())
    elif kind == "weight_norm":
        P.weight_norm(layer)
    elif kind == "spectral_norm":
        P.spectral_norm(layer)
    elif kind == "old weight_norm":
        layer = nn.utils.weight_norm(layer)
    elif kind == "old spectral_norm":
        layer = nn.utils.spectral_norm(layer)
    elif kind == "pruned":
        nn.utils.prune.l1_unstructured(layer, "weight", 0.3)
    norm = nn.BatchNorm2d(8, affine=kind != "without affine")
    norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    return nn.Sequential(layer, norm, nn.LeakyReLU(0.2)).eval()


def attribute(place, name, value):
    return lambda model: setattr(model.get_submodule(place), name, value)


def edit(tensor, change):
    def run(model):
        module, name = tensor.rsplit(".", 1)
        change(getattr(model.get_submodule(module), name))

    return run


def first_channel(tensor):
    tensor.data[0] *= 2


def last_tap(tensor):
    tensor.data[..., -1, -1] *= 2


def parametrize_again(model):
    nn.utils.parametrize.register_parametrization(model[0], "weight", Scaled())


def hook(place, kind="forward", result=None):
    def run(model):
        module = model.get_submodule(place)
        if kind == "forward":
            module.register_forward_hook(lambda _, given, made: made * 3 if result is None else result)
        else:
            module.register_forward_pre_hook(lambda _, given: (given[0] * 3,))

    return run


def restored(state):
    return lambda model: model.load_state_dict({**model.state_dict(), **state()}, assign=True)


def forward_of(place):
    def run(model):
        model.get_submodule(place).forward = lambda x: x.mean((2, 3), keepdim=True)

    return run


PLAIN = {
    "bias given later": ("without bias", attribute("0", "bias", parameter(8))),
    "bias taken": ("plain", attribute("0", "bias", None)),
    "weight replaced": ("plain", attribute("0", "weight", parameter(12, 8, 4, 4))),
    "weight of another kernel": ("plain", attribute("0", "weight", parameter(12, 8, 6, 6))),
    "weight's first channel by .data": ("plain", edit("0.weight", first_channel)),
    "weight's last tap by .data": ("plain", edit("0.weight", last_tap)),
    "weight resized": ("plain", lambda model: model[0].weight.set_(parameter(12, 8, 6, 6).detach())),
    "weight's strides": ("plain", lambda model: setattr(model[0].weight, "data", model[0].weight.data.flip(0))),
    "weight by assign": ("plain", restored(lambda: {"0.weight": parameter(12, 8, 4, 4).detach()})),
    "statistics by assign": ("plain", restored(lambda: {"1.running_mean": torch.ones(8)})),
    "weight no parameter": (
        "plain",
        lambda m: (delattr(m[0], "weight"), setattr(m[0], "weight", torch.ones(12, 8, 4, 4))),
    ),
    "weight a buffer": (
        "plain",
        lambda m: (delattr(m[0], "weight"), m[0].register_buffer("weight", torch.ones(12, 8, 4, 4))),
    ),
    "weight parametrized": ("plain", parametrize_again),
    "weight_norm put on": ("plain", lambda model: P.weight_norm(model[0])),
    "old weight_norm put on": ("plain", lambda model: nn.utils.weight_norm(model[0])),
    "pruned later": ("plain", lambda model: nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)),
    "affine weight given later": ("without affine", attribute("1", "weight", parameter(8))),
    "affine bias given later": ("without affine", attribute("1", "bias", parameter(8))),
    "affine weight taken": ("plain", attribute("1", "weight", None)),
    "affine weight replaced": ("plain", attribute("1", "weight", parameter(8))),
    "statistics replaced": ("plain", attribute("1", "running_var", torch.full((8,), 3.0))),
    "statistics taken": ("plain", lambda m: (setattr(m[1], "running_mean", None), setattr(m[1], "running_var", None))),
    "one statistic taken": ("plain", attribute("1", "running_var", None)),
    "affine weight of one value": ("plain", attribute("1", "weight", parameter(1))),
    "norm in another dtype": ("plain", lambda model: model[1].double()),
    "all in another dtype": ("plain", lambda model: model.double()),
    "to half and back": ("plain", lambda model: model.half().float()),
    "to another device": ("plain", lambda model: model.to("meta")),
    "norm replaced": ("plain", lambda model: setattr(model, "1", nn.BatchNorm2d(8).eval())),
    "norm replaced by none": ("plain", lambda model: setattr(model, "1", nn.Identity())),
    "norm of another class": ("plain", lambda model: setattr(model, "1", nn.InstanceNorm2d(8))),
    "layer replaced": ("plain", lambda model: setattr(model, "0", nn.ConvTranspose2d(12, 8, 2, 2))),
    "activation replaced": ("plain", lambda model: setattr(model, "2", nn.Tanh())),
    "activation's slope": ("plain", attribute("2", "negative_slope", 0.9)),
    "class changed": ("plain", lambda model: setattr(model[1], "__class__", nn.SyncBatchNorm)),
    "layer hooked": ("plain", hook("0")),
    "layer hooked before": ("plain", hook("0", "pre")),
    "norm hooked": ("plain", hook("1")),
    "activation hooked": ("plain", hook("2")),
    "sequence hooked": ("plain", hook("")),
    "layer's forward replaced": ("plain", forward_of("0")),
    "norm's forward replaced": ("plain", forward_of("1")),
    "activation's forward replaced": ("plain", forward_of("2")),
    "padding mode": ("plain", attribute("0", "padding_mode", "reflect")),
    "parameters shared elsewhere": ("plain", lambda m: setattr(m[0], "weight", nn.ConvTranspose2d(12, 8, 4).weight)),
    "to_empty": ("plain", lambda model: model[1].to_empty(device="cpu").reset_parameters()),
    "functional": ("plain", lambda model: model[0].requires_grad_(False).reset_parameters()),
    **{f"norm's {name}": ("plain", attribute("1", name, value)) for name, value in NORM.items()},
    **{f"layer's {name}": ("plain", attribute("0", name, value)) for name, value in SETTINGS.items()},
}
MADE = {
    "factor": ("parametrized", attribute("0.parametrizations.weight.0", "factor", 5.0)),
    "plain tensor": ("parametrized", edit("0.parametrizations.weight.0.table", lambda t: t.mul_(3))),
    "list within a dict": ("parametrized", lambda m: m[0].parametrizations.weight[0].more["shift"].insert(0, 2.0)),
    "child replaced": ("parametrized", attribute("0.parametrizations.weight.0", "child", nn.Tanh())),
    "parametrization hooked": ("parametrized", hook("0.parametrizations.weight.0")),
    "child hooked": ("parametrized", hook("0.parametrizations.weight.0.child")),
    "parametrization's forward": (
        "parametrized",
        lambda m: setattr(m[0].parametrizations.weight[0], "forward", lambda w: w * 0.1),
    ),
    "another one behind": ("parametrized", parametrize_again),
    "original": ("parametrized", edit("0.parametrizations.weight.original", lambda t: t.mul_(2))),
    "removed": ("weight_norm", lambda m: nn.utils.parametrize.remove_parametrizations(m[0], "weight")),
    "removed and changed": (
        "weight_norm",
        lambda m: nn.utils.parametrize.remove_parametrizations(m[0], "weight").weight.mul_(3),
    ),
    "removed, left as original": (
        "weight_norm",
        lambda m: nn.utils.parametrize.remove_parametrizations(m[0], "weight", leave_parametrized=True),
    ),
    "magnitude": ("weight_norm", edit("0.parametrizations.weight.original0", first_channel)),
    "dim": ("weight_norm", attribute("0.parametrizations.weight.0", "dim", 1)),
    "vector of a norm": ("spectral_norm", edit("0.parametrizations.weight.0._u", lambda t: t.fill_(0.1))),
    "training": ("spectral_norm", lambda model: model[0].train()),
    "bias beside it": ("weight_norm", attribute("0", "bias", parameter(8))),
    "old: g": ("old weight_norm", edit("0.weight_g", lambda t: t.mul_(2))),
    "old: v by .data": ("old weight_norm", edit("0.weight_v", first_channel)),
    "old: dim": ("old weight_norm", lambda m: setattr(next(iter(m[0]._forward_pre_hooks.values())), "dim", 1)),
    "old: removed": ("old weight_norm", lambda m: nn.utils.remove_weight_norm(m[0])),
    "old: removed and changed": ("old weight_norm", lambda m: nn.utils.remove_weight_norm(m[0]).weight.mul_(2)),
    "old: bias": ("old weight_norm", edit("0.bias", lambda t: t.add_(1))),
    "old: g by assign": ("old weight_norm", restored(lambda: {"0.weight_g": torch.ones(12, 1, 1, 1)})),
    "old: weight_orig": ("old spectral_norm", edit("0.weight_orig", lambda t: t.add_(0.1))),
    "old: u": ("old spectral_norm", edit("0.weight_u", lambda t: t.fill_(0.1))),
    "old: removed spectral": ("old spectral_norm", lambda m: nn.utils.remove_spectral_norm(m[0])),
    "old: training": ("old spectral_norm", lambda model: model[0].train()),
    "mask": ("pruned", edit("0.weight_mask", lambda t: t.fill_(1))),
    "pruned again": ("pruned", lambda m: nn.utils.prune.l1_unstructured(m[0], "weight", 0.5)),
    "pruning removed": ("pruned", lambda m: nn.utils.prune.remove(m[0], "weight").weight.mul_(2)),
}
OPTIONS = {"frozen": {"frozen": True}, "fuse": {"fuse": True}, "both": {"frozen": True, "fuse": True}}


def outcome(model, x):
    """What a model gives, or the exception that it raises."""
    torch.manual_seed(0)
    try:
        return model(x.to(next(model.parameters()).device, next(model.parameters()).dtype))
    except Exception as error:
        return error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("kind", "change"), [*PLAIN.values(), *MADE.values()], ids=[*PLAIN, *MADE])
def test_the_new_value_is_used_or_an_error_names_what_changed(kind, change, options, ours):
    model = net(kind)
    # No deep copy, since copies share the class that holds the parametrized names, and removing takes them from it.
    twin, x = net(kind), torch.randn(2, 12, 9, 7)
    ut.accelerate(model, **options)
    with torch.no_grad():
        torch.testing.assert_close(model(x), twin(x), **CLOSE)
        assert ours
        for each in (model, twin):
            torch.manual_seed(1)
            change(each)
        got, want = outcome(model, x), outcome(twin, x)
        if isinstance(got, upconv.SettingError) and "frozen layer has changed" in str(got):
            assert "frozen" in options
            assert "upconv.torch.restore(model)" in str(got)
        elif isinstance(want, Exception):
            assert isinstance(got, Exception), "torch refuses this"
        else:
            assert not isinstance(got, Exception), got
            torch.testing.assert_close(got, want, **CLOSE)
        again = outcome(ut.restore(model), x)
        assert isinstance(again, Exception) == isinstance(want, Exception)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["old weight_norm", "old spectral_norm", "pruned"])
def test_old_hooks_rest_while_frozen_and_wake_when_restored(name, ours):
    model, twin, x = net(name), net(name), torch.randn(2, 12, 9, 7)
    report = ut.accelerate(model, frozen=True, fuse=True)
    assert report.layers[0].frozen
    assert report.fused == (("0", "1", "2"),)
    made = model[0].weight
    with torch.no_grad():
        torch.testing.assert_close(model(x), twin(x), **CLOSE)
        assert model[0].weight is made
        copies = [copy.deepcopy(model), model]
        for each in copies:
            torch.testing.assert_close(each(x), twin(x), **CLOSE)
    ut.restore(model)
    assert [type(h) for h in model[0]._forward_pre_hooks.values()] == [
        type(h) for h in twin[0]._forward_pre_hooks.values()
    ]
    for each in (model, twin):
        leaf = x.clone().requires_grad_()
        each(leaf).square().sum().backward()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["old weight_norm", "old spectral_norm", "pruned"])
def test_a_file_of_a_layer_whose_hooks_rest_has_torchs_own(name):
    model, x = net(name), torch.randn(2, 12, 9, 7)
    kinds = [type(hook) for hook in model[0]._forward_pre_hooks.values()]
    with torch.no_grad():
        want = model(x)
        ut.accelerate(model, frozen=True)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        pickles = [pickle.loads(pickle.dumps(model, protocol)) for protocol in (2, pickle.HIGHEST_PROTOCOL)]
        for other in (copy.deepcopy(model), torch.load(file, weights_only=False), *pickles):
            torch.testing.assert_close(other(x), want, **CLOSE)
        for other in pickles:
            assert [type(hook) for hook in other[0]._forward_pre_hooks.values()] == kinds


@pytest.mark.filterwarnings("ignore")
def test_an_unfrozen_old_norm_is_not_called_fused():
    model = net("old weight_norm")
    report = ut.accelerate(model, fuse=True)
    assert report.fused == ()
    assert "a hook makes its weight in every call; frozen=True" in repr(report)


@pytest.mark.parametrize("size", [(700, 3, 1, 1), (3, 700, 2, 2), (64, 64, 3, 3), (5, 6, 50, 50)], ids=str)
def test_an_edit_of_any_slice_of_a_large_weight_is_seen(size):
    from upconv.torch.seal import Mark

    for memory_format in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(torch.randn(size).contiguous(memory_format=memory_format))
        for axis in range(4):
            for index in {0, 1, size[axis] // 2, size[axis] - 1} & set(range(size[axis])):
                mark = Mark("weight", lambda weight=weight: weight)
                assert not mark.is_broken()
                weight.data.select(axis, index).add_(1)
                assert mark.is_broken(), (axis, index)
