"""Every kind of tensor that is not ours to compute gets torch's operator, and bad use gets a clear answer."""

import threading

import numpy as np
import pytest
from require import require

import upconv

torch = require("torch")
ut = require("upconv.torch")
F = torch.nn.functional
ours_, THEIRS = ut.conv_transpose2d, torch.conv_transpose2d


def outcome(function, *args, **kwargs):
    """(result, None) or (None, (type, text) of the exception)."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, (type(error), str(error))


class Tagged(torch.Tensor):
    """A subclass, which sees every operator."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        SEEN.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


SEEN = []


def quantized():
    return torch.quantize_per_tensor(torch.randn(1, 4, 3, 3), 0.1, 0, torch.quint8)


FOREIGN = {
    "meta": lambda: torch.randn(1, 4, 3, 3, device="meta"),
    "sparse": lambda: torch.randn(1, 4, 3, 3).to_sparse(),
    "mkldnn": lambda: torch.randn(1, 4, 3, 3).to_mkldnn(),
    "quantized": quantized,
    "nested": lambda: torch.nested.nested_tensor([torch.randn(4, 3, 3), torch.randn(4, 3, 3)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.randn(4, 3), torch.randn(2, 3)], layout=torch.jagged),
    "int32": lambda: torch.ones(1, 4, 3, 3, dtype=torch.int32),
    "bool": lambda: torch.ones(1, 4, 3, 3, dtype=torch.bool),
    "complex32": lambda: torch.ones(1, 4, 3, 3, dtype=torch.complex32),
    "array": lambda: np.ones((1, 4, 3, 3), np.float32),
    "none": lambda: None,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("place", ["input", "weight", "both"])
def test_foreign_operands_get_torchs_answer_or_its_refusal(kind, place, ours):
    made = FOREIGN[kind]()
    x = made if place != "weight" else torch.randn(1, 4, 3, 3)
    w = made if place != "input" else torch.randn(4, 2, 3, 3)
    if place == "input" and kind in ("meta", "int32", "bool", "complex32"):
        w = w.to(made.device if kind == "meta" else made.dtype)
    got, want = outcome(ours_, x, w), outcome(THEIRS, x, w)
    assert got[1] == want[1]
    if want[1] is None:
        assert (got[0].shape, got[0].device, got[0].dtype) == (want[0].shape, want[0].device, want[0].dtype)
    assert not ours


def test_subclasses_see_torchs_operator(ours):
    SEEN.clear()
    x = torch.randn(1, 4, 3, 3).as_subclass(Tagged)
    assert type(ours_(x, torch.randn(4, 2, 3, 3))) is Tagged
    assert THEIRS in SEEN
    assert not ours


def test_fake_tensors_and_flop_counters_see_torchs_operator(ours):
    from torch.utils.flop_counter import FlopCounterMode

    x, w = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3)
    with FlopCounterMode(display=False) as counted:
        ours_(x, w)
    with FlopCounterMode(display=False) as wanted:
        THEIRS(x, w)
    assert counted.get_total_flops() == wanted.get_total_flops() > 0
    with torch._subclasses.fake_tensor.FakeTensorMode() as mode:
        assert ours_(mode.from_tensor(x), mode.from_tensor(w)).shape == (1, 2, 5, 5)
    assert not ours


def test_a_default_device_changes_nothing(ours):
    x, w = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3)
    for device in ("cpu", "meta"):
        with torch.device(device):
            assert ours_(x, w).device.type == "cpu"
    assert len(ours) == 2


def test_lazy_conjugates_and_negatives_are_read_right(ours):
    x, w = torch.randn(1, 4, 3, 3, dtype=torch.complex128), torch.randn(4, 2, 3, 3, dtype=torch.complex128)
    torch.testing.assert_close(ours_(x.conj(), w), THEIRS(x.conj().resolve_conj(), w))
    w = w.conj().imag
    assert w.is_neg()
    torch.testing.assert_close(ours_(x.real, w), THEIRS(x.real, w.resolve_neg()))
    assert len(ours) == 2


def test_strides_of_every_kind_are_read_in_place(ours):
    base = torch.randn(2, 8, 9, 10)
    w = torch.randn(4, 2, 3, 3)
    for x in (base[:, ::2, ::2, 1::3], base[:1, :1].expand(3, 4, 9, 10), base.transpose(2, 3)[:, :4], base[:, 2:6]):
        for weight in (w, w.flip(2), w.transpose(2, 3), w[:, :1].expand(4, 5, 3, 3)):
            torch.testing.assert_close(ours_(x, weight), THEIRS(x, weight), rtol=1e-4, atol=1e-5)
    x = torch.randn(1, 4, 64, 64)
    before = x.clone()
    ours_(x, w)
    assert torch.equal(x, before)


BAD = [
    ({"stride": 0}, upconv.SettingError),
    ({"stride": (1, 2, 3)}, upconv.SettingError),
    ({"padding": -1}, upconv.SettingError),
    ({"padding": 9}, upconv.SettingError),
    ({"dilation": 0}, upconv.SettingError),
    ({"groups": 0}, ValueError),
    ({"groups": 3}, ValueError),
    ({"output_padding": 2}, upconv.SettingError),
    ({"stride": 1.5}, TypeError),
    ({"stride": True}, TypeError),
    ({"padding": "full"}, TypeError),
    ({"stride": None}, TypeError),
]


@pytest.mark.parametrize(("settings", "error"), BAD, ids=str)
def test_impossible_settings_are_refused_as_for_numpy(settings, error):
    x, w = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3)
    # What is remembered of a valid call must not let an invalid one through.
    ours_(x, w, None, 1, 0, 0, 1, 1)
    with pytest.raises(error) as ours:
        ours_(x, w, **settings)
    with pytest.raises(error) as numpys:
        upconv.conv_transpose2d(x.numpy(), w.numpy(), **settings)
    assert (type(ours.value), str(ours.value)) == (type(numpys.value), str(numpys.value))


@pytest.mark.parametrize(("x", "w", "b"), [((4, 3), (4, 2, 3, 3), None), ((1, 4, 3, 3), (4, 2, 3), None),
    ((1, 4, 3, 3), (5, 2, 3, 3), None), ((1, 4, 3, 3), (4, 2, 3, 3), (3,)), ((1, 4, 3, 3), (4, 2, 3, 3), (1, 2)),
    ((1, 0, 3, 3), (0, 2, 3, 3), None), ((1, 4, 0, 3), (4, 2, 3, 3), None)])  # fmt: skip
def test_impossible_shapes_are_refused_as_for_numpy(x, w, b):
    x, w, b = (None if shape is None else torch.ones(shape) for shape in (x, w, b))
    with pytest.raises(upconv.SettingError) as ours:
        ours_(x, w, b)
    with pytest.raises(upconv.SettingError) as numpys:
        upconv.conv_transpose2d(*(None if t is None else t.numpy() for t in (x, w, b)))
    assert str(ours.value) == str(numpys.value)


def test_a_mix_of_dtypes_is_refused_with_both_cures():
    x, w = torch.randn(1, 4, 3, 3).double(), torch.randn(4, 2, 3, 3)
    with pytest.raises(RuntimeError, match=r"input.to\(torch.float32\) or weight.to\(torch.float64\)"):
        ours_(x, w)
    with pytest.raises(RuntimeError, match=r"bias.to\(torch.float32\) does it"):
        ours_(x.float(), w, torch.ones(2).double())


def test_layers_refuse_at_construction_what_is_certain():
    for settings in ({"stride": 0}, {"kernel_size": 0}, {"padding": -1}, {"groups": 3}, {"padding_mode": "mirror"}):
        with pytest.raises(ValueError, match=r".+ is .+"):
            ut.ConvTranspose2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, **settings})
    with pytest.raises(TypeError):
        ut.ConvTranspose2d(4, 4, 3, stride=1.5)
    layer = ut.ConvTranspose2d(4, 4, np.int64(3), stride=[2], output_padding=5)
    assert repr(layer) == "ConvTranspose2d(4, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(5, 5))"
    with pytest.raises(upconv.SettingError, match="output_padding"):
        layer(torch.ones(1, 4, 3, 3))
    with pytest.raises(ValueError, match="output_size asks for a height of 99"):
        layer(torch.ones(1, 4, 3, 3), [99, 7])


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_an_empty_batch_has_connected_gradients(whose, request):
    if whose == "ours":
        request.getfixturevalue("ours")
    x, w = torch.randn(0, 4, 3, 3, requires_grad=True), torch.randn(4, 2, 3, 3, requires_grad=True)
    b = torch.randn(2, requires_grad=True)
    y = ours_(x, w, b, 2)
    assert y.shape == (0, 2, 7, 7)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert torch.equal(w.grad, torch.zeros_like(w))
    assert torch.equal(b.grad, torch.zeros_like(b))


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"stride": [3], "dilation": (2,), "groups": 2}])
@pytest.mark.parametrize("shape", [(2, 4, 9), (4, 9)])
def test_one_dimension_is_a_map_of_height_1(shape, settings, ours):
    tensors = [torch.randn(shape), torch.randn(4, 3, 5), torch.randn(3 * settings.get("groups", 1))]
    results = []
    for conv in (ut.conv_transpose1d, F.conv_transpose1d):
        leaves = [t.clone().requires_grad_() for t in tensors]
        y = conv(*leaves, **settings)
        results.append((y.detach(), *torch.autograd.grad(y.square().sum(), leaves)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
    assert ours


def test_active_catches_every_name_of_torchs_and_nothing_else(ours):
    x, w, layer = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3), torch.nn.ConvTranspose2d(4, 2, 3)
    calls = [lambda: F.conv_transpose2d(x, w), lambda: torch.conv_transpose2d(x, w), lambda: layer(x)]
    calls += [lambda: F.conv_transpose1d(x[..., 0], w[..., 0]), lambda: ours_(x, w)]
    calls += [lambda: F.conv_transpose3d(x[..., None], w[..., None])]
    wanted = [call() for call in calls]
    ours.clear()
    with ut.active():
        got = [call() for call in calls]
        assert len(ours) == len(calls)
        F.conv2d(x, w.transpose(0, 1))
        F.conv3d(x[..., None], w.transpose(0, 1)[..., None])
        assert len(ours) == len(calls)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_active_nests_and_ends_by_an_exception_and_with_its_thread(ours):
    x, w = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3)

    def count():
        before = len(ours)
        F.conv_transpose2d(x, w)
        return len(ours) - before

    with pytest.raises(ZeroDivisionError), ut.active(), ut.active():
        1 / (count() - 1)
    assert count() == 0
    with ut.active():
        with ut.active():
            pass
        assert count() == 1
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(count()))
        thread.start()
        thread.join()
        assert elsewhere == [0]
    assert count() == 0


def test_gradients_of_what_was_computed_within_active_come_after_it(ours):
    x, layer = torch.randn(1, 4, 3, 3), torch.nn.ConvTranspose2d(4, 2, 3)
    with ut.active():
        y = layer(x)
    y.sum().backward()
    assert {plan.problem.operation for plan in ours} == {"forward", "grad_weight"}


def test_small_layers_are_left_to_torch_and_large_ones_are_not():
    x, w = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3)
    assert torch.equal(ours_(x, w), THEIRS(x, w))
    settings = (2, 1, 0, 1, 1)
    small = ut.dispatch.facts(x, w, None, settings)
    large = ut.dispatch.facts(torch.randn(1, 64, 16, 16), torch.randn(64, 32, 4, 4), None, settings)
    assert not small.is_ours
    assert large.is_ours
    assert "less time" in ut.choice.by_rule(small.forward).why[0]


def test_the_gradient_in_the_weight_of_groups_of_few_channels_is_left_to_torch_channels_last():
    x = torch.randn(2, 16, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(16, 2, 4, 4, requires_grad=True)
    call = ut.dispatch.facts(x, w, None, (2, 1, 0, 2, 1))
    assert [operation for operation in upconv.bilinear.SLOTS if not call.plan(operation)[1]] == ["grad_weight"]
    results = []
    for conv in (ours_, THEIRS):
        y = conv(x, w, None, 2, 1, 0, 2)
        results.append(torch.autograd.grad(y.square().sum(), (x, w)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("formats", [(0, 1), (1, 0), (1, 1)], ids=str)
def test_torchs_gradients_lie_in_memory_as_ours_would(formats):
    kinds = torch.contiguous_format, torch.channels_last
    x = torch.randn(2, 16, 16, 16).to(memory_format=kinds[formats[0]]).requires_grad_()
    w = torch.randn(16, 8, 4, 4).to(memory_format=kinds[formats[1]]).requires_grad_()
    grads = torch.autograd.grad(ours_(x, w, None, 2, 1, 0, 2).sum(), (x, w))
    for gradient, kind in zip(grads, formats, strict=True):
        assert gradient.is_contiguous(memory_format=kinds[kind])
