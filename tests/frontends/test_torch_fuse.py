"""Fusing modules with a forward of their own: what is proved is fused and equal, the rest says why not."""

import copy
import random

import pytest
from require import require

from upconv import calls
from upconv.problem import Activation

torch = require("torch")
ut = require("upconv.torch")
contraction = require("upconv.torch.contraction")
nn, F = torch.nn, torch.nn.functional
CLOSE = dict(rtol=1e-4, atol=1e-4)
SWITCH = True


def helper(x):
    return x * 2 if SWITCH else x


class Up(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.norm, self.act = nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.norm.running_mean.normal_(), self.norm.running_var.uniform_(0.5, 2)
        self.flag, self.scale = False, 2.0
        self.other = nn.Identity()


class Members(Up):
    def forward(self, x):
        return self.act(self.norm(self.up(x)))


class Lines(Up):
    def forward(self, x, skip=None):
        x = self.up(x)
        x = self.norm(x)
        return torch.cat([self.act(x), self.other(x.shape[0] * F.relu(x))], 1)


class Functional(Up):
    def forward(self, x):
        return F.leaky_relu(self.norm(self.up(x)), 0.3, inplace=True) + 1


class Method(Up):
    def forward(self, x):
        return self.norm(self.up(x)).tanh()


class Skip(Up):
    def forward(self, x):
        y = torch.sigmoid(self.norm(self.up(x)))
        return torch.cat([y, F.interpolate(x, scale_factor=2)], 1)


FUSED = {Members: 3, Lines: 2, Functional: 3, Method: 3, Skip: 3}


class Branch(Up):
    def forward(self, x):
        if self.flag:
            return self.up(x)
        return self.act(self.norm(self.up(x)))


class Loop(Up):
    def forward(self, x):
        for module in (self.up, self.norm):
            x = module(x)
        return x


class Chosen(Up):
    def forward(self, x):
        return self.norm(self.up(x)) if self.flag is False else self.up(x)


class Attribute(Up):
    def forward(self, x):
        return self.norm(self.up(x)) * self.scale


class Global(Up):
    def forward(self, x):
        return helper(self.norm(self.up(x)))


class Random(Up):
    def forward(self, x):
        return self.norm(self.up(x)) * random.random()


class Baked(Up):
    def forward(self, x):
        return self.norm(self.up(x)) * torch.rand(()).item()


class Nested(Up):
    def forward(self, x):
        return (lambda y: self.norm(y))(self.up(x))


class Kept(Up):
    def forward(self, x):
        self.last = self.up(x)
        return self.norm(self.last)


class Many(Up):
    def forward(self, *args):
        return self.norm(self.up(args[0]))


class Renamed(Up):
    def forward(this, x):
        return this.norm(this.up(x))


UNPROVED = {
    Branch: "branches or loops",
    Loop: "branches or loops",
    Chosen: "branches or loops",
    Attribute: "self.scale",
    Global: "uses helper",
    Random: "uses random",
    Baked: "not all that its forward calls",
    Nested: "a function within its forward",
    Kept: "its forward uses self",
    Many: "any number of arguments",
    Renamed: "does not call its module self",
}


class Tapped(Up):
    def forward(self, x):
        y = self.up(x)
        return self.norm(y) + y


@pytest.fixture
def x():
    return torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def alone(monkeypatch):
    """BatchNorms that ran on their own."""
    ran, forward = [], nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: ran.append(self) or forward(self, x))
    return ran


@pytest.mark.parametrize("kind", FUSED)
def test_a_straight_forward_is_fused_and_equal(kind, x, ours, alone):
    model = nn.Sequential(nn.Identity(), kind()).eval()
    twin = copy.deepcopy(model)
    report = ut.accelerate(model, fuse=True, example_inputs=x)
    assert [len(names) for names in report.fused] == [FUSED[kind]]
    assert report.unfused == ()
    alone.clear()
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(model(x), twin(x), **CLOSE)
        assert model[1].norm not in alone
        torch.testing.assert_close(model[1](x=x), twin[1](x), **CLOSE)
        other = copy.deepcopy(model)
        other[1].norm.weight.mul_(3), twin[1].norm.weight.mul_(3)
        alone.clear()
        torch.testing.assert_close(other(x), twin(x), **CLOSE)
        assert other[1].norm not in alone
        model[1].norm, twin[1].norm = nn.BatchNorm2d(4).eval(), nn.BatchNorm2d(4).eval()
        torch.testing.assert_close(model(x), twin(x), **CLOSE)
    model.train(), twin.train()
    torch.testing.assert_close(model(x), twin(x), **CLOSE)
    assert not ut.instance.is_put_on(ut.restore(model)[1])


@pytest.mark.parametrize("kind", UNPROVED)
def test_what_is_not_proved_is_not_fused_and_the_reason_is_said(kind, x, ours):
    torch.manual_seed(0), random.seed(0)
    model = kind().eval()
    twin = copy.deepcopy(model)
    report = ut.accelerate(model, fuse=True, example_inputs=x)
    assert report.fused == ()
    assert f"not fused: up, since {kind.__name__}: " in repr(report)
    assert UNPROVED[kind] in repr(report)
    with torch.no_grad():
        for each in (model, twin):
            each.flag, each.scale = True, 5.0
        results = []
        for each in (model, twin):
            torch.manual_seed(0), random.seed(0)
            results.append(each(x))
    torch.testing.assert_close(*results, **CLOSE)


CHANGES = {
    "eps": lambda m: setattr(m.norm, "eps", 0.5),
    "stride": lambda m: setattr(m.up, "stride", (3, 3)),
    "weight": lambda m: m.up.weight.mul_(2),
    "bias": lambda m: setattr(m.up, "bias", None),
    "norm's forward": lambda m: setattr(m.norm, "forward", torch.neg),
    "activation's forward": lambda m: setattr(m.act, "forward", torch.neg),
    "layer's forward": lambda m: setattr(m.up, "forward", lambda x: x[:, :4]),
    "norm's class": lambda m: setattr(m.norm, "__class__", nn.InstanceNorm2d),
    "activation's class": lambda m: setattr(m.act, "__class__", nn.Tanh),
    "no statistics": lambda m: (setattr(m.norm, "running_mean", None), setattr(m.norm, "running_var", None)),
    "norm replaced": lambda m: setattr(m, "norm", nn.Identity()),
    "norm hooked": lambda m: m.norm.register_forward_hook(lambda module, given, made: made * 2),
    "norm trained": lambda m: m.norm.train(),
    "class": lambda m: setattr(m, "__class__", Method),
    "code": lambda m: setattr(type(m), "forward", lambda self, x: self.up(x)),
    "itself hooked": lambda m: m.register_forward_hook(lambda module, given, made: made * 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_after_tracing_is_followed(change, x, ours):
    class Own(Members):
        def forward(self, x):
            return self.act(self.norm(self.up(x)))

    model = Own().eval()
    twin = copy.deepcopy(model)
    assert ut.accelerate(model, fuse=True, example_inputs=x).fused
    with torch.no_grad():
        model(x)
        for each in (model, twin):
            change(each)
        torch.testing.assert_close(model(x), twin(x), **CLOSE)


def test_what_somebody_else_uses_is_not_fused(x, ours):
    model = Tapped().eval()
    twin = copy.deepcopy(model)
    report = ut.accelerate(model, fuse=True, example_inputs=x)
    assert report.fused == ()
    with torch.no_grad():
        torch.testing.assert_close(model(x), twin(x), **CLOSE)


def test_without_an_example_nothing_traced_is_fused():
    report = ut.accelerate(Members().eval(), fuse=True)
    assert report.fused == ()
    assert "when example_inputs are given" in repr(report)


def test_a_sequence_that_is_not_called_as_one_is_not_called_fused(x):
    class Walk(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.Sequential(nn.ConvTranspose2d(6, 4, 2), nn.BatchNorm2d(4))

        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return x

    report = ut.accelerate(Walk().eval(), fuse=True, example_inputs=x)
    assert report.fused == ()
    assert "their owner is not called as a whole" in repr(report)


def test_a_fusion_that_differs_on_the_example_is_taken_apart(x, ours, monkeypatch):
    from upconv.torch import fusion

    model = Members().eval()
    twin = copy.deepcopy(model)
    monkeypatch.setattr(fusion, "in_kernels", lambda *_: Activation("leaky_relu", 0.5))
    report = ut.accelerate(model, fuse=True, example_inputs=x)
    assert report.fused == ()
    assert "on the example that gives another result" in repr(report)
    with torch.no_grad():
        torch.testing.assert_close(model(x), twin(x), **CLOSE)


def test_sequences_within_sequences_and_subclasses_are_fused(x, ours, alone):
    class Block(nn.Sequential):
        pass

    model = nn.Sequential(Block(nn.ConvTranspose2d(6, 4, 2, 2), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())), nn.Tanh())
    twin = copy.deepcopy(model.eval())
    report = ut.accelerate(model, fuse=True, example_inputs=x)
    assert report.fused == (("0.0", "0.1.0", "0.1.1"),)
    alone.clear()
    with torch.no_grad():
        torch.testing.assert_close(model(x), twin(x), **CLOSE)
        assert model[0][1][0] not in alone
        model[0][1].register_forward_hook(lambda *_: None)
        torch.testing.assert_close(model(x), twin(x), **CLOSE)
        assert model[0][1][0] in alone


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("slope", [None, 0.2, 0.0, -0.5, 2.0])
@pytest.mark.parametrize("channels", [4, 64])
def test_kernels_apply_what_they_can(channels, slope, dimensions, monkeypatch):
    """Relu, and leaky_relu with a slope above 0 and up to 1; the rest takes torch's pass in place."""
    layer, size = (nn.ConvTranspose1d, (700,)) if dimensions == 1 else (nn.ConvTranspose2d, (26, 25))
    act = nn.ReLU() if slope is None else nn.LeakyReLU(slope)
    model = nn.Sequential(layer(channels, 12, 4, 2, 1), act).eval()
    x = torch.randn(2, channels, *size)
    x[0, 1, 2], x[1, 0, 3] = float("inf"), float("nan")
    with torch.no_grad():
        want = model(x)
        ut.accelerate(model, fuse=True)
        solved, asked = [], contraction.solve
        # Nothing that was remembered goes by without it.
        monkeypatch.setattr(calls, "_find", lambda *_: None)
        monkeypatch.setattr(
            contraction, "solve", lambda problem, *rest: solved.append(problem) or asked(problem, *rest)
        )
        got = model(x)
    torch.testing.assert_close(got, want, **CLOSE, equal_nan=True)
    assert [problem.activation.name for problem in solved] == (
        ["relu"] if slope is None else ["leaky_relu"] if slope == 0.2 else ["none"]
    )


@pytest.mark.parametrize("act", [nn.ReLU(), nn.LeakyReLU(0.1)], ids=str)
def test_where_torch_computes_it_applies_the_activation(act, monkeypatch):
    """A layer that is torch's to compute, by rule, by dtype or since nothing lies in memory."""
    model = nn.Sequential(nn.ConvTranspose2d(2, 3, 2), act).eval()
    for x in (torch.randn(1, 2, 2, 2), torch.zeros(0, 2, 3, 3), torch.randn(2, 2, 2, 2)[::2]):
        with torch.no_grad():
            want = model(x)
            ut.accelerate(model, fuse=True)
            torch.testing.assert_close(model(x), want)
            ut.restore(model)
