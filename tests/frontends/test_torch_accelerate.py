"""`accelerate` and `restore`: what they change, what they must leave alone, and what their report says."""

import copy
import gc
import pickle
import random
import warnings

import numpy as np
import pytest
from require import require

import upconv

torch = require("torch")
ut = require("upconv.torch")
nn = torch.nn


def model(norm=True, seed=0):
    """A decoder of two layers up, one of them in one piece with its norm and activation."""
    torch.manual_seed(seed)
    first = nn.ConvTranspose2d(12, 16, 4, 2, 1, bias=False)
    made = nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 4, 4, 2, 1), nn.Tanh())
    nn.init.normal_(made[1].weight)
    nn.init.normal_(made[1].bias)
    made[1].running_mean.normal_()
    made[1].running_var.uniform_(0.5, 2)
    return made


def data(seed=1):
    return torch.randn(2, 12, 9, 7, generator=torch.Generator().manual_seed(seed))


def classes(module):
    return [type(m) for m in module.modules()]


def accelerated(module):
    """Which modules have a forward of upconv's on them."""
    return [ut.instance.is_put_on(m) for m in module.modules()]


def attributes(module):
    return [sorted(vars(m)) for m in module.modules()]


def gradients(module, x):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(module(leaf).square().sum(), [leaf, *module.parameters()])


def test_layers_get_a_forward_and_what_upconv_remembers_and_nothing_else(ours):
    net, x = model(), data()
    twin = copy.deepcopy(net)
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append("hook"))
    held = [id(t) for t in [*net.parameters(), *net.buffers()]]
    before = attributes(net)
    report = ut.accelerate(net)
    assert classes(net) == classes(twin)
    assert accelerated(net) == [False, True, False, False, True, False]
    assert [id(t) for t in [*net.parameters(), *net.buffers()]] == held
    assert [[name for name in names if name not in ("forward", "_upconv")] for names in attributes(net)] == before
    assert repr(net) == repr(twin)
    assert list(net.state_dict()) == list(twin.state_dict())
    torch.testing.assert_close(net(x), twin(x), rtol=1e-5, atol=1e-5)
    assert seen == ["hook"]
    assert len(ours) == 2
    assert "2 of 2" in repr(report)
    torch.testing.assert_close(gradients(net, x), gradients(twin, x), rtol=1e-4, atol=1e-4)


def test_twice_is_once_and_restore_undoes_it():
    net = model()
    before = attributes(net)
    first = ut.accelerate(net)
    during = attributes(net)
    assert repr(ut.accelerate(net)) == repr(first)
    assert attributes(net) == during != before
    assert ut.restore(net) is net
    assert attributes(net) == before
    assert attributes(ut.restore(net)) == before


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"fuse": True}, {"frozen": True, "fuse": True}], ids=str)
def test_copies_and_files_of_a_model_work_as_it_does(options, tmp_path):
    net, x = model().eval(), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, **options)
    with torch.no_grad():
        want = twin(x)
        net(x)
        torch.save(net, tmp_path / "net.pt")
        copies = [
            copy.deepcopy(net),
            pickle.loads(pickle.dumps(net)),
            torch.load(tmp_path / "net.pt", weights_only=False),
        ]
        assert b"upconv.torch" not in (tmp_path / "net.pt").read_bytes()
        for other in copies:
            assert classes(other) == classes(net)
            assert accelerated(other) == (accelerated(net) if other is copies[0] else [False] * 6)
            torch.testing.assert_close(other(x), want, rtol=1e-5, atol=1e-5)
            assert classes(ut.restore(other)) == classes(twin)
            assert all(sorted(vars(a)) == sorted(vars(b)) for a, b in zip(other.modules(), twin.modules(), strict=True))
            torch.testing.assert_close(other(x), want, rtol=1e-5, atol=1e-5)
    for key, value in twin.state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key


@pytest.mark.parametrize("options", [{}, {"frozen": True, "fuse": True}], ids=str)
def test_restore_leaves_nothing_behind(options):
    net, x = model().eval(), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, **options, example_inputs=x)
    ut.restore(net)
    assert classes(net) == classes(twin)
    for a, b in zip(net.modules(), twin.modules(), strict=True):
        assert sorted(vars(a)) == sorted(vars(b))
        assert not a._forward_hooks
        assert not a._forward_pre_hooks
    assert torch.equal(net(x), twin(x))


def test_a_model_without_such_layers_is_told_so():
    net = nn.Linear(2, 2)
    with pytest.warns(UserWarning, match="no transposed convolution"):
        report = ut.accelerate(net, example_inputs=torch.ones(2))
    assert "no transposed convolution" in repr(report)
    assert "active()" in repr(report)
    assert report.layers == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.accelerate(model())


@pytest.mark.parametrize("door", ["accelerate", "restore"])
@pytest.mark.parametrize("thing", [None, "model", torch.ones(2), model().state_dict(), nn.Linear])
def test_what_is_no_module_is_refused(door, thing):
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        getattr(ut, door)(thing)


@pytest.mark.parametrize("example", [[torch.ones(1, 12, 4, 4)], np.ones((1, 12, 4, 4)), 3])
def test_examples_in_another_form_are_refused_before_anything_changes(example):
    net = model()
    before = classes(net)
    with pytest.raises(TypeError, match="example_inputs"):
        ut.accelerate(net, example_inputs=example)
    assert classes(net) == before


@pytest.mark.parametrize("first", [None, {}, {"frozen": True, "fuse": True}], ids=str)
def test_an_example_that_fails_changes_nothing(first):
    net, x = model().eval(), data()
    if first is not None:
        ut.accelerate(net, **first)
    before = classes(net)
    with pytest.raises(RuntimeError):
        ut.accelerate(net, example_inputs=torch.ones(1, 5, 4, 4))
    assert classes(net) == before
    with torch.no_grad():
        torch.testing.assert_close(net(x), model().eval()(x), rtol=1e-5, atol=1e-5)
    assert not any(m._forward_hooks for m in net.modules())


class Own(nn.ConvTranspose2d):
    def forward(self, x):
        return super().forward(x) + 1


class Thin(nn.Module):
    """One layer in two places, and a name beside it."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.again = self.up

    def forward(self, x, *, twice=True):
        return self.again(self.up(x)) if twice else self.up(x)


def test_a_shared_layer_is_one_layer_with_two_names(ours):
    net = Thin()
    twin = copy.deepcopy(net)
    x = torch.randn(1, 8, 5, 6)
    report = ut.accelerate(net, example_inputs=x)
    assert net.up is net.again
    assert [layer.names for layer in report.layers] == [("up", "again")]
    assert [t.input_shape for t in report.layers[0].timings] == [(1, 8, 5, 6), (1, 8, 10, 12)]
    assert "up, again" in repr(report)
    torch.testing.assert_close(net(x), twin(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients(net, x), gradients(twin, x), rtol=1e-4, atol=1e-4)


def test_a_dict_is_arguments_by_name():
    report = ut.accelerate(Thin(), example_inputs={"x": torch.randn(1, 8, 5, 6), "twice": False})
    assert len(report.layers[0].timings) == 1


def test_classes_of_ones_own_and_forwards_put_on_a_layer_are_left_alone():
    net = nn.ModuleDict({"own": Own(4, 4, 2), "three": nn.ConvTranspose3d(2, 2, 2), "put": nn.ConvTranspose2d(2, 2, 2)})
    net["put"].forward = lambda x: x
    before = classes(net)
    x = torch.randn(1, 4, 3, 3)
    want = net["own"](x)
    report = ut.accelerate(net)
    assert classes(net) == before
    assert torch.equal(net["own"](x), want)
    said = {layer.name: layer.left for layer in report.layers}
    assert "class of its own" in said["own"]
    assert "active()" in said["own"]
    assert said["three"] == ""
    assert "replaced" in said["put"]
    assert "1 of 3" in repr(report)


def test_what_torchscript_compiled_is_left_alone():
    net = nn.ModuleList([torch.jit.script(nn.ConvTranspose2d(2, 3, 2)), nn.ConvTranspose2d(2, 3, 2)])
    report = ut.accelerate(net)
    assert [bool(layer.left) for layer in report.layers] == [True, False]
    assert "TorchScript" in report.layers[0].left


def test_a_single_layer_is_a_model(ours):
    layer = nn.ConvTranspose2d(8, 8, 4, 2, 1)
    report = ut.accelerate(layer, example_inputs=torch.randn(1, 8, 5, 6))
    assert ut.instance.is_put_on(layer)
    assert "(the model)" in repr(report)
    assert ours


def test_layers_of_one_dimension(ours):
    net = nn.Sequential(nn.ConvTranspose1d(8, 6, 4, 2, 1), nn.BatchNorm1d(6), nn.LeakyReLU(0.2)).eval()
    net[1].running_mean.normal_()
    twin, x = copy.deepcopy(net), torch.randn(2, 8, 11)
    report = ut.accelerate(net, fuse=True, frozen=True, example_inputs=x)
    timing = report.layers[0].timings[0]
    assert (timing.input_shape, timing.weight_shape, timing.output_shape) == ((2, 8, 11), (8, 6, 4), (2, 6, 22))
    ours.clear()
    with torch.no_grad():
        torch.testing.assert_close(net(x), twin(x), rtol=1e-5, atol=1e-5)
    assert ours
    assert type(ut.restore(net)[0]) is nn.ConvTranspose1d


def test_lazy_layers_become_upconvs_when_they_learn_their_sizes(ours):
    net = nn.Sequential(nn.LazyConvTranspose2d(4, 4, 2, 1), nn.ReLU())
    report = ut.accelerate(net, frozen=True)
    assert "not frozen, since it is lazy" in repr(report)
    net(torch.randn(1, 3, 5, 5))
    assert type(net[0]) is nn.ConvTranspose2d
    assert len(ours) == 1
    net(torch.randn(1, 3, 5, 5))
    assert len(ours) == 2
    assert type(ut.restore(net)[0]) is nn.ConvTranspose2d
    sound = nn.Sequential(nn.LazyConvTranspose1d(4, 4, 2, 1))
    ut.accelerate(sound)
    sound(torch.randn(1, 3, 5))
    assert len(ours) == 3
    lazy = nn.Sequential(nn.LazyConvTranspose2d(4, 4, 2, 1))
    assert type(ut.restore(nn.Sequential(ut.LazyConvTranspose2d(4, 4)))[0]) is nn.LazyConvTranspose2d
    assert ut.accelerate(lazy, example_inputs=torch.randn(1, 3, 5, 5)).layers[0].timings


@pytest.mark.parametrize("wrap", ["spectral_norm", "weight_norm"])
def test_parametrized_layers(wrap, ours):
    torch.manual_seed(0)
    net = nn.Sequential(getattr(nn.utils.parametrizations, wrap)(nn.ConvTranspose2d(4, 6, 3, 2)))
    twin, other = copy.deepcopy(net), copy.deepcopy(net)
    ut.accelerate(net)
    assert accelerated(net)[1]
    assert not any(accelerated(other))
    assert classes(net) == classes(other)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(gradients(net, x), gradients(twin, x), rtol=1e-4, atol=1e-4)
    assert ours
    assert list(net.state_dict()) == list(twin.state_dict())
    ut.restore(net)
    assert not any(accelerated(net))
    torch.testing.assert_close(net(x), twin(x))
    ours.clear()
    nn.utils.parametrize.remove_parametrizations(ut.accelerate(net) and net[0], "weight")
    net(x)
    assert ours


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_that_others_put_on_a_layer_are_accelerated_and_not_frozen(ours):
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2))
    weight = net[0].weight
    del net[0].weight
    net[0].register_forward_pre_hook(lambda layer, _: setattr(layer, "weight", weight * 2))
    x = torch.randn(2, 4, 5, 5)
    want = net(x)
    report = ut.accelerate(net, frozen=True)
    assert "its weight is put on it from outside" in repr(report)
    torch.testing.assert_close(net(x), want, rtol=1e-5, atol=1e-5)
    assert ours


def test_active_inside_and_outside(ours):
    net, x = model().eval(), data()
    want = net(x)
    ut.accelerate(net)
    with ut.active():
        torch.testing.assert_close(net(x), want, rtol=1e-5, atol=1e-5)
    assert len(ours) == 2
    own = nn.Sequential(Own(12, 4, 4, 2))
    ut.accelerate(own)
    with ut.active():
        own(x)
    assert len(ours) == 3


class Restless(nn.Module):
    """Draws random numbers, counts its calls in a buffer and by a new one, and behaves otherwise in training."""

    def __init__(self):
        super().__init__()
        self.up, self.drop = nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        self.last = x.mean()
        x = x.add_(torch.randn(()) + random.random() + np.random.rand())
        return self.drop(self.norm(self.up(x)))


def test_an_example_leaves_modes_buffers_random_numbers_and_itself_alone():
    net = Restless().train()
    net.norm.eval()
    x = torch.randn(2, 4, 5, 5)
    kept, modes = x.clone(), [m.training for m in net.modules()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    held = [id(t) for t in [*net.parameters(), *net.buffers()]]
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    report = ut.accelerate(net, example_inputs=x)
    assert torch.equal(torch.rand(3), torch.manual_seed(3) and torch.rand(3))
    assert [random.random(), np.random.rand()] == [
        random.seed(3) or random.random(),
        np.random.seed(3) or np.random.rand(),
    ]
    assert report.before > 0
    assert report.after > 0
    assert [m.training for m in net.modules()] == modes
    assert [id(t) for t in [*net.parameters(), *net.buffers()]] == held
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert torch.equal(x, kept)
    assert all(p.grad is None for p in net.parameters())


def test_the_report_says_what_runs_and_how_long(ours):
    net = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1, bias=False), nn.ConvTranspose2d(16, 4, 4, 2, 1)).double()
    x = data().double()
    report = ut.accelerate(net, example_inputs=x)
    timing = report.layers[0].timings[0]
    assert (timing.input_shape, timing.weight_shape) == ((2, 12, 9, 7), (12, 16, 4, 4))
    assert timing.output_shape == (2, 16, 18, 14)
    want = upconv.plan((2, 12, 9, 7), (12, 16, 4, 4), stride=2, padding=1, dtype="float64")
    assert timing.plan.problem == want.problem
    assert timing.predicted == next(c.seconds for c in want.candidates if c.name == want.algorithm)
    assert min(timing.before, timing.after, timing.predicted) > 0
    said = repr(report)
    assert "2×12×9×7" in said
    assert f"upconv {want.algorithm}" in said
    assert "the whole model: torch" in said
    assert "1 thread" in said


def test_the_report_says_why_torch_computes():
    net = nn.Sequential(nn.ConvTranspose2d(1, 1, 2)).eval()
    report = ut.accelerate(net, example_inputs=torch.ones(1, 1, 2, 2))
    assert not report.layers[0].timings[0].is_ours
    assert "multiply-adds take less time than a call" in repr(report)
    meta = nn.ConvTranspose2d(2, 2, 2, device="meta")
    assert "this is on meta" in repr(ut.accelerate(meta, example_inputs=torch.ones(1, 2, 2, 2, device="meta")))


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_gradients_that_upconv_is_slower_at_are_torchs(last):
    from upconv.torch import choice, dispatch

    # c_out, k, groups, stride, whether the gradient in the weight is upconv's, and with channels last.
    rows = (1, 4, 1, 2, True, True), (2, 4, 1, 2, True, True), (3, 4, 1, 2, True, True), (8, 1, 1, 2, True, True)
    rows += (8, 1, 1, 1, False, False), (8, 4, 4, 2, True, False), (24, 4, 4, 2, True, False)
    rows += (28, 4, 4, 2, True, True), (32, 4, 32, 2, True, True)
    form = torch.channels_last if last else torch.contiguous_format

    def call(c_out, k, groups, stride, dtype=torch.float32, side=32):
        x, w = torch.randn(1, 32, side, side, dtype=dtype), torch.randn(32, c_out // groups, k, k, dtype=dtype)
        return dispatch.facts(x.contiguous(memory_format=form), w, None, (stride, 0, 0, groups, 1))

    for *sizes, first, second in rows:
        plan, found = call(*sizes).plan("grad_weight")
        assert found == (second if last else first) == (not choice.slower(plan)), sizes
        if "float16" not in choice.WITH_INSTRUCTIONS:
            assert call(*sizes, torch.float16).plan("grad_weight")[1], sizes
    assert call(64, 4, 4, 2).plan("grad_input")[1]
    assert call(8, 4, 4, 2, side=15).plan("grad_weight")[1]
    assert call(8, 4, 4, 2, side=16).plan("grad_weight")[1] is not last
    # Of depthwise layers only channels-last ones in bfloat16 are.
    assert call(64, 4, 32, 2).plan("grad_input")[1]
    assert call(64, 4, 32, 2, torch.bfloat16).plan("grad_input")[1] is not last


def test_a_layer_that_the_example_misses_is_named():
    net = Thin()
    net.other = nn.ConvTranspose2d(2, 2, 2)
    assert "other: the example does not come by" in repr(ut.accelerate(net, example_inputs=torch.ones(1, 8, 4, 4)))


def test_models_are_not_kept_alive():
    net = model().eval()
    ut.accelerate(net, frozen=True, fuse=True, example_inputs=data())
    import weakref

    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("taken", "layers", "words"),
    [
        (0, 1, "0 of 1 transposed convolution is"),
        (1, 1, "1 of 1 transposed convolution is"),
        (0, 2, "0 of 2 transposed convolutions are"),
        (1, 2, "1 of 2 transposed convolutions is"),
        (2, 2, "2 of 2 transposed convolutions are"),
    ],
)
def test_the_report_counts_in_english(taken, layers, words):
    # A class of somebody's own is left alone.
    own = type("Own", (torch.nn.ConvTranspose2d,), {})
    kinds = [torch.nn.ConvTranspose2d] * taken + [own] * (layers - taken)
    model = torch.nn.Sequential(*(kind(2, 2, 3) for kind in kinds))
    assert words in repr(ut.accelerate(model))


def test_what_is_no_model_is_named_without_an_article():
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module, and was given OrderedDict"):
        ut.accelerate(torch.nn.Linear(1, 1).state_dict())
