"""`algorithm=` of `upconv.torch`'s functions: the bits of NumPy's by the same name, or their refusal; never torch's."""

import inspect
import re

import numpy as np
import pytest
from require import require

import upconv
from upconv import SettingError
from upconv.algorithms import ALGORITHMS

torch = require("torch")
ut = require("upconv.torch")

SHAPES = {1: ((2, 24, 9), (24, 8, 4)), 2: ((2, 24, 6, 7), (24, 8, 4, 4)), 3: ((2, 24, 3, 4, 5), (24, 8, 2, 4, 4))}
THREE = [1, 2, 3]


def operands(dimensions):
    made = torch.Generator().manual_seed(0)
    return *(torch.randn(shape, generator=made) for shape in SHAPES[dimensions]), torch.randn(8, generator=made)


def both(dimensions):
    """(the function for tensors, that for arrays) under a stride of 2, both on tensors."""
    name = f"conv_transpose{dimensions}d"

    def theirs(*tensors, **settings):
        return torch.from_numpy(getattr(upconv, name)(*(t.detach().numpy() for t in tensors), stride=2, **settings))

    return lambda *tensors, **settings: getattr(ut, name)(*tensors, stride=2, **settings), theirs


@pytest.mark.parametrize("dimensions", THREE)
def test_every_way_computes_or_refuses_as_in_numpy(dimensions):
    tensors, (ours, numpys), found = operands(dimensions), both(dimensions), {}
    for name in ALGORITHMS:
        try:
            want = numpys(*tensors, algorithm=name)
        except SettingError as error:
            with pytest.raises(SettingError, match=f"^{re.escape(str(error))}$"):
                ours(*tensors, algorithm=name)
        else:
            got = found[name] = ours(*tensors, algorithm=name)
            assert torch.equal(got, want)
            assert torch.equal(ours(tensors[0][0], *tensors[1:], algorithm=name), want[0])
            # The bits of a call that is remembered are the same.
            assert torch.equal(ours(*tensors, algorithm=name), want)
    # Otherwise nobody would see whether it was another one that computed.
    assert len({y.numpy().tobytes() for y in found.values()}) >= 3


@pytest.mark.parametrize("dimensions", THREE)
def test_gradients_are_left_to_the_choice(dimensions):
    ours, _ = both(dimensions)
    by_name, plain = ([each.clone().requires_grad_() for each in operands(dimensions)] for _ in range(2))
    # It computes no gradients, and would refuse them.
    ours(*by_name, algorithm="col2im_rows").square().sum().backward()
    ours(*plain).square().sum().backward()
    for got, want in zip(by_name, plain, strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("settings", [{"padding": ((3, -1), (0, 2))}, {"padding": 1, "padding_mode": "circular"}])
def test_settings_beyond_torch_go_by_the_name_too(settings):
    x, w, b = operands(2)
    want = ut.conv_transpose2d(x, w, b, **settings)
    for name in ("gemm", "direct_rows", "loops"):
        torch.testing.assert_close(ut.conv_transpose2d(x, w, b, **settings, algorithm=name), want, rtol=1e-4, atol=1e-4)
    with pytest.raises(SettingError, match="depthwise_rows refuses"):
        ut.conv_transpose2d(x, w, b, **settings, algorithm="depthwise_rows")


@pytest.mark.parametrize("dimensions", THREE)
def test_what_is_not_upconvs_to_compute_is_refused(dimensions):
    x, w, b = operands(dimensions)
    ours, _ = both(dimensions)
    for tensors in ((x.to("meta"), w.to("meta")), (x.int(), w.int())):
        with pytest.raises(SettingError, match="algorithm='gemm' is for tensors that upconv computes itself"):
            ours(*tensors, algorithm="gemm")
    with pytest.raises(SettingError, match="while torch traces"):
        torch.jit.trace(lambda x: ours(x, w, algorithm="gemm"), x)
    for name in ("cudnn", 7, ["gemm"]):
        for tensors in ((x, w, b), (x.to("meta"), w.to("meta"))):
            with pytest.raises(TypeError, match=r"algorithm is .*must be 'auto' or one of gemm"):
                ours(*tensors, algorithm=name)
    with pytest.raises(TypeError, match="algorithm is a Plan"):
        ours(x, w, b, algorithm=upconv.plan((1, 1, 2, 2), (1, 1, 2, 2)))


def test_transforms_of_derivatives_are_left_to_the_choice():
    """A way that refuses the larger problem of a transform, and the gradients, computes the call alone."""
    x, w = torch.randn(2, 3, 3, 4, dtype=torch.double), torch.randn(3, 2, 2, 3, dtype=torch.double)

    def call(x, w=w, **more):
        return ut.conv_transpose2d(x, w, None, 2, 1, **more)

    y, vjp = torch.func.vjp(lambda x: call(x, algorithm="tap_streaming"), x)
    seeds = torch.randn(200, *y.shape, dtype=torch.double)
    (got,) = torch.func.vmap(vjp)(seeds)
    _, plain = torch.func.vjp(call, x)
    torch.testing.assert_close(got, torch.func.vmap(plain)(seeds)[0])
    jacobian = torch.func.jacrev(lambda x: call(x, algorithm="tap_streaming"))
    torch.testing.assert_close(jacobian(x), torch.func.jacrev(call)(x))
    # Of both operands it becomes a layer of more groups.
    xs, ws = torch.stack([x] * 5), torch.stack([w, 2 * w, 3 * w, 4 * w, 5 * w])
    got = torch.func.vmap(lambda x, w: call(x, w, algorithm="col2im_channels"))(xs, ws)
    torch.testing.assert_close(got, torch.func.vmap(call)(xs, ws))


def test_a_compiler_leaves_its_graph_for_it():
    x, w, b = operands(2)
    ours, numpys = both(2)
    compiled = torch.compile(lambda x: ours(x + 1, w, b, algorithm="loops") * 2, backend="eager")
    assert torch.equal(compiled(x), numpys(x + 1, w, b, algorithm="loops") * 2)


def test_autocast_lowers_the_operands_before():
    x, w, b = operands(2)
    with torch.autocast("cpu", torch.float16):
        got = ut.conv_transpose2d(x, w, b, algorithm="loops")
    want = upconv.conv_transpose2d(*(each.half().numpy() for each in (x, w, b)), algorithm="loops")
    assert np.array_equal(got.numpy(), want)


@pytest.mark.parametrize("dimensions", THREE)
def test_the_default_is_the_choice(dimensions):
    function = getattr(ut, f"conv_transpose{dimensions}d")
    assert inspect.signature(function).parameters["algorithm"].default == upconv.planning.AUTO
