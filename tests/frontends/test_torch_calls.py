"""Calls of the PyTorch front-end remembered: the same bits, on torch's threads and on one."""

import pytest
from fresh import fresh
from require import require
from test_calls import through  # noqa: F401 - a fixture

from upconv.problem import Activation
from upconv.runtime import program
from upconv.runtime.kernel import usable

torch = require("torch")
ut = require("upconv.torch")
activated, transpose = ut.contraction.activated, ut.dispatch.transpose
pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")


@pytest.fixture(autouse=True)
def nothing_remembered(ours):
    with fresh():
        yield


def operations(made):
    return [asked[0] for *_, asked in made]


def step(layer, x, grad):
    """(y, the gradients) of one training step of a layer."""
    y = layer(x)
    return y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), grad)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("is_longer", [False, True])
def test_repeated_steps_have_the_bits_of_the_first(count, last, is_longer, through, monkeypatch):  # noqa: F811
    if is_longer:
        for name in ("BRIEF", "WORTH_WAKING"):
            monkeypatch.setattr(program, name, 0)
    torch.set_num_threads(count)
    torch.manual_seed(0)
    form = torch.channels_last if last else torch.contiguous_format
    layer, x = ut.ConvTranspose2d(8, 6, 4, stride=2, padding=1), torch.randn(2, 8, 5, 7).to(memory_format=form)
    x.requires_grad_()
    grad = torch.randn(2, 6, 10, 14).to(memory_format=form)
    first = step(layer, x, grad)
    assert not through
    for each, other in zip(step(layer, x, grad), first, strict=True):
        assert torch.equal(each, other)
        assert each.stride() == other.stride()
    assert operations(through) == ["forward", "grad_input", "grad_weight"]
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.zero_()
        doubled, plain = layer(x), torch.nn.functional.conv_transpose2d(x, layer.weight, None, 2, 1)
    torch.testing.assert_close(doubled, plain)


def test_activations_and_settings_are_told_apart(through):  # noqa: F811
    x, w = torch.randn(1, 4, 6, 6), torch.randn(4, 3, 3, 3)
    for _ in range(3):
        plain, other = (ut.conv_transpose2d(x, w, None, 1, padding) for padding in (0, 1))
        torch.testing.assert_close(other, plain[..., 1:-1, 1:-1])
    for activation in (Activation("relu"), Activation("leaky_relu", 0.5), Activation("leaky_relu", 0.25)):
        for _ in range(2):
            found = transpose(x, w, None, 1, 0, 0, 1, 1, activation=activation)
            torch.testing.assert_close(found, activated(plain.clone(), activation))
    assert operations(through) == ["forward"] * 7
