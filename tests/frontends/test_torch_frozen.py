"""Frozen layers and fused sequences: equal while nothing changes, and never stale."""

import copy

import pytest
from require import require

import upconv
from upconv.generated import Generated
from upconv.runtime.kernel import usable

torch = require("torch")
ut = require("upconv.torch")
nn = torch.nn
CLOSE = dict(rtol=1e-5, atol=1e-5)


def random_norm(norm):
    for tensor in (norm.weight, norm.bias):
        if tensor is not None:
            nn.init.normal_(tensor)
    if norm.running_mean is not None:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


def decoder(activation=None, **settings):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(12, 8, 4, 2, 1, **settings)
    return nn.Sequential(layer, random_norm(nn.BatchNorm2d(8)), activation or nn.ReLU()).eval()


def data(n=2):
    return torch.randn(n, 12, 9, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def calls(monkeypatch):
    """How often a BatchNorm ran on its own."""
    ran, forward = [], nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: ran.append(self) or forward(self, x))
    return ran


EDITS = {
    "in place": lambda p: p.mul_(1.5),
    "one element in place": lambda p: p.view(-1)[-1].add_(1),
    ".data": lambda p: p.data.mul_(1.5),
    "new .data": lambda p: setattr(p, "data", p.data * 1.5),
    "numpy": lambda p: p.detach().numpy().__imul__(1.5),
    "copy_": lambda p: p.copy_(p * 2),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_change_of_a_frozen_parameter_is_an_error_with_a_hint(edit, name):
    net, x = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1)), data()
    ut.accelerate(net, frozen=True)
    with torch.no_grad():
        want = net(x)
        assert torch.equal(net(x), want)
        EDITS[edit](getattr(net[0], name))
        with pytest.raises(upconv.SettingError, match=rf"^{name} .*accelerate\(model, frozen=True\).*restore\(model\)"):
            net(x)
        ut.accelerate(net, frozen=True)
        changed = net(x)
        assert not torch.equal(changed, want)
        torch.testing.assert_close(changed, ut.restore(net)(x), **CLOSE)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_weight_is_packed_once_and_another_one_is_never_kept(frozen, ours, monkeypatch):
    if usable():
        pytest.skip("no kernels can be made here")
    made, pack = [], Generated.pack
    monkeypatch.setattr(Generated, "pack", lambda self, *given: made.append(self.name) or pack(self, *given))
    net, x = nn.Sequential(nn.ConvTranspose2d(64, 32, 4, 2, 1)), torch.randn(1, 64, 12, 12)
    ut.accelerate(net, frozen=frozen)
    with torch.no_grad():
        for _ in range(3):
            net(x)
    assert len(ours) == 3
    assert len(made) == frozen


def test_another_parameter_in_its_place_and_a_loaded_state_are_changes_too():
    for change in (
        lambda net: setattr(net[0], "weight", nn.Parameter(net[0].weight.detach().clone())),
        lambda net: net.load_state_dict(net.state_dict()),
        lambda net: net.double(),
        lambda net: setattr(net[0], "bias", None),
    ):
        net = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1))
        ut.accelerate(net, frozen=True)
        change(net)
        with torch.no_grad(), pytest.raises(upconv.SettingError, match="has changed"):
            net(data())


def test_an_optimizers_step_is_a_change():
    net = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(data()).square().sum().backward()
    ut.accelerate(net, frozen=True)
    optimizer.step()
    with torch.no_grad(), pytest.raises(upconv.SettingError):
        net(data())


def test_gradients_of_a_frozen_layer_are_refused():
    net, x = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1)), data()
    ut.accelerate(net, frozen=True)
    with pytest.raises(upconv.SettingError, match="no_grad"):
        net(x)
    net.requires_grad_(False)
    net(x)
    with pytest.raises(upconv.SettingError, match="no gradients"):
        net(x.clone().requires_grad_())
    with torch.inference_mode():
        net(x)


def test_a_nan_in_a_weight_is_no_change():
    net = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1))
    with torch.no_grad():
        net[0].weight.fill_(torch.nan)
        ut.accelerate(net, frozen=True)
        assert net(data()).isnan().any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.bfloat16, torch.float16], ids=str)
def test_every_dtype_and_channels_last_can_be_frozen(dtype):
    for last in (False, True):
        net = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1, dtype=dtype))
        net = net.to(memory_format=torch.channels_last) if last else net
        twin, x = copy.deepcopy(net), data().to(dtype)
        report = ut.accelerate(net, frozen=True)
        assert report.layers[0].frozen or dtype is torch.bfloat16
        with torch.no_grad():
            y, want = net(x), twin(x)
            assert y.stride() == want.stride()
            torch.testing.assert_close(y, want, rtol=2e-2, atol=2e-2)
            net[0].weight.data.mul_(2)
            if report.layers[0].frozen:
                with pytest.raises(upconv.SettingError):
                    net(x)


def test_parametrizations_are_computed_once(ours):
    torch.manual_seed(0)
    net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(12, 16, 4, 2, 1))).train()
    buffers, made = [b.clone() for b in net.buffers()], []
    net[0].parametrizations.weight[0].register_forward_hook(lambda *_: made.append(1))
    report = ut.accelerate(net, frozen=True)
    assert report.layers[0].frozen
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), buffers, strict=True))
    made.clear()
    with torch.no_grad():
        y = net(data())
        assert not made
        assert ours
        torch.testing.assert_close(y, ut.restore(net).eval()(data()), **CLOSE)
        assert made
        ut.accelerate(net, frozen=True)
        net[0].parametrizations.weight.original.mul_(2)
        with pytest.raises(upconv.SettingError, match="original"):
            net(data())


def test_what_is_not_on_the_cpu_is_not_frozen():
    report = ut.accelerate(nn.ConvTranspose2d(2, 2, 2, device="meta"), frozen=True)
    assert "not frozen, since its parameters are not dense tensors" in repr(report)


def test_output_sizes_and_unbatched_inputs_of_frozen_layers(ours):
    layer = nn.ConvTranspose2d(12, 4, 3, 2, 1)
    twin, x = copy.deepcopy(layer), data(1)[0]
    ut.accelerate(layer, frozen=True)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, [18, 14]), twin(x, [18, 14]), **CLOSE)
    assert ours


def test_a_frozen_model_compiles_and_traces_as_torchs():
    net = decoder()
    want = net(data())
    ut.accelerate(net, frozen=True, fuse=True)
    with torch.no_grad():
        traced = torch.jit.trace(net, data())
        assert "aten::_convolution" in str(traced.inlined_graph)
        torch.testing.assert_close(traced(data()), want, **CLOSE)
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(data()), want, **CLOSE)


def test_parameters_given_for_one_call_are_used(ours):
    net, x = decoder(), data()
    ut.accelerate(net, fuse=True)
    given = {name: value * 2 for name, value in net.named_parameters()}
    with torch.no_grad():
        before = net(x)
        got = torch.func.functional_call(net, given, (x,))
        assert torch.equal(net(x), before)
        torch.testing.assert_close(got, torch.func.functional_call(ut.restore(net), given, (x,)), **CLOSE)
        assert not torch.allclose(got, before)
    assert ours


@pytest.mark.parametrize("normed", [False, True], ids=["plain", "weight_norm"])
def test_parameters_given_for_one_call_of_a_frozen_model_are_refused_with_a_cure(normed, ours):
    net, x = decoder(), data()
    if normed:
        nn.utils.parametrizations.weight_norm(net[0])
    ut.accelerate(net, frozen=True)
    given = {name: value.detach() * 2 for name, value in net.named_parameters()}
    with torch.no_grad():
        with pytest.raises(
            upconv.SettingError, match=r"functional_call puts there, .*accelerate\(model\) without frozen"
        ):
            torch.func.functional_call(net, given, (x,))
        # What it says does help.
        ut.accelerate(net)
        got = torch.func.functional_call(net, given, (x,))
        torch.testing.assert_close(got, torch.func.functional_call(ut.restore(net), given, (x,)), **CLOSE)
    assert ours


def test_a_change_in_place_of_a_frozen_layer_asks_for_no_functional_call():
    net = decoder()
    ut.accelerate(net, frozen=True)
    with torch.no_grad():
        net[0].weight.mul_(2)
        with pytest.raises(upconv.SettingError, match="changed since it was frozen") as caught:
            net(data())
    assert "functional_call" not in str(caught.value)


ACTIVATIONS = [nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.3), nn.Tanh(), nn.Sigmoid(), nn.Identity(), nn.PReLU()]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"groups": 4}, {"groups": 2, "output_padding": 1}], ids=str)
def test_fused_is_equal(activation, settings, ours, calls):
    net, x = decoder(activation, **settings), data()
    want = net(x).detach()
    ut.accelerate(net, fuse=True)
    calls.clear()
    with torch.no_grad():
        torch.testing.assert_close(net(x), want, **CLOSE)
        assert calls == []
        assert ours
        torch.testing.assert_close(net[0](x), ut.restore(net)[0](x), **CLOSE)


@pytest.mark.parametrize("options", [{"affine": False}, {"track_running_stats": False}, {"eps": 0.5}], ids=str)
def test_norms_of_every_kind(options, ours):
    net = nn.Sequential(nn.ConvTranspose2d(12, 8, 4, 2, 1), random_norm(nn.BatchNorm2d(8, **options)), nn.ReLU()).eval()
    want = net(data()).detach()
    report = ut.accelerate(net, fuse=True)
    assert bool(report.fused) == ("track_running_stats" not in options)
    with torch.no_grad():
        torch.testing.assert_close(net(data()), want, **CLOSE)
    assert ours


def test_train_takes_apart_and_eval_puts_together(calls, ours):
    net, x = decoder(), data(8)
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    for mode in (True, False, True, False):
        calls.clear()
        net.train(mode), twin.train(mode)
        with torch.no_grad():
            torch.testing.assert_close(net(x), twin(x), **CLOSE)
        assert calls.count(net[1]) == mode
    assert ours
    for key, value in twin.state_dict().items():
        torch.testing.assert_close(net.state_dict()[key], value, msg=key)


def test_training_a_fused_model_is_training_the_model(ours):
    net, x = decoder().train(), data(8)
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    for module in (net, twin):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), twin.eval()(x), **CLOSE)
    assert ours


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("what", ["0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"])
def test_a_changed_parameter_is_folded_in_again(what, edit):
    # No channel is dead behind this activation.
    net, x = decoder(nn.LeakyReLU(0.5)), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    with torch.no_grad():
        stale = net(x)
        for module in (net, twin):
            place, name = what.split(".")
            EDITS[edit](getattr(module[int(place)], name))
        torch.testing.assert_close(net(x), twin(x), **CLOSE)
        assert not torch.allclose(net(x), stale, **CLOSE)


@pytest.mark.parametrize("what", ["0.weight", "1.running_mean"])
def test_frozen_and_fused_refuses_changes_of_the_layer_and_follows_the_norm(what):
    net, x = decoder(), data()
    ut.accelerate(net, frozen=True, fuse=True)
    place, name = what.split(".")
    with torch.no_grad():
        net(x)
        getattr(net[int(place)], name).add_(1)
        if place == "0":
            with pytest.raises(upconv.SettingError, match="frozen"):
                net(x)
        else:
            torch.testing.assert_close(net(x), ut.restore(copy.deepcopy(net))(x), **CLOSE)


def test_gradients_are_taken_of_the_layers_themselves(calls, ours):
    net, x = decoder(), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    found = [torch.autograd.grad(m(x).square().sum(), [*m.parameters()]) for m in (net, twin)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    assert net[1] in calls
    assert ours


def test_autocast_is_torchs_to_apply(calls):
    net, x = decoder(), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        got, want = net(x), twin(x)
    assert got.dtype is want.dtype
    assert net[1] in calls
    torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)


def test_transforms_see_the_members(ours):
    net, x = decoder(), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    with torch.no_grad():
        batch = torch.stack([x, x + 1, x * 2])
        torch.testing.assert_close(torch.vmap(net)(batch), torch.vmap(twin)(batch), **CLOSE)
        got, want = (torch.func.jvp(m, (x,), (x,)) for m in (net, twin))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert ours


def test_who_looks_at_a_member_sees_what_torch_would_show():
    net, x = decoder(), data()
    twin, seen = copy.deepcopy(net), []
    ut.accelerate(net, fuse=True)
    with torch.no_grad():
        net(x)
        for module in (net, twin):
            module[1].register_forward_hook(lambda _, given, made: seen.append((given[0], made)))
            module(x)
    torch.testing.assert_close(seen[0], seen[1], **CLOSE)


def test_replaced_members_and_slices_are_followed(ours):
    net, x = decoder(), data()
    twin = copy.deepcopy(net)
    ut.accelerate(net, fuse=True)
    with torch.no_grad():
        net(x)
        torch.testing.assert_close(net[:1](x), twin[:1](x), **CLOSE)
        torch.testing.assert_close(net[:2](x), twin[:2](x), **CLOSE)
        for module in (net, twin):
            module[2] = nn.Tanh()
            module[1].running_mean = module[1].running_mean + 1
        torch.testing.assert_close(net(x), twin(x), **CLOSE)
        net.insert(1, nn.ReLU()), twin.insert(1, nn.ReLU())
        torch.testing.assert_close(net(x), twin(x), **CLOSE)
    assert ours


def test_inputs_without_a_batch_are_torchs_to_refuse():
    net = decoder()
    ut.accelerate(net, fuse=True)
    with torch.no_grad(), pytest.raises(ValueError, match="4D"):
        net(data()[0])


def test_subclasses_of_sequential_and_distant_norms_are_not_fused():
    class Block(nn.Sequential):
        def forward(self, x):
            return super().forward(x) * 2

    block = Block(nn.ConvTranspose2d(12, 8, 2), nn.BatchNorm2d(8))
    apart = nn.Sequential(nn.ConvTranspose2d(12, 8, 2), nn.Dropout(), nn.BatchNorm2d(8))
    report = ut.accelerate(nn.ModuleList([block, apart]).eval(), fuse=True)
    assert report.fused == ()
    assert "it has a forward of its own" in repr(report)
    assert "nothing that can be folded is certain to follow" in repr(report)
    assert not ut.instance.is_put_on(block)


def test_the_report_names_what_is_one_layer_now():
    net = nn.ModuleDict({"up": decoder()}).train()
    report = ut.accelerate(net, fuse=True)
    assert report.fused == (("up.0", "up.1", "up.2"),)
    assert "up.0 + up.1 + up.2" in repr(report)
    assert "after model.eval()" in repr(report)


def test_a_fused_sequence_is_scripted_as_torchs():
    net = decoder()
    want = net(data())
    ut.accelerate(net, fuse=True)
    torch.testing.assert_close(torch.jit.script(net)(data()), want, **CLOSE)


def rounded(weight, storage):
    return weight.to(getattr(torch, storage)).float()


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_frozen_weight_kept_in_halves_is_the_rounded_weight(storage, dimensions, ours):
    layer = getattr(nn, f"ConvTranspose{dimensions}d")(12, 16, 4, 2, 1)
    x, given = torch.randn(2, 12, *[6] * dimensions), layer.weight.detach().clone()
    twin = copy.deepcopy(layer)
    twin.weight.data = rounded(given, storage)
    for used in (layer, copy.deepcopy(layer)):
        report = ut.accelerate(used, frozen=True, storage=storage)
        with torch.no_grad():
            torch.testing.assert_close(used(x), twin(x), **CLOSE)
            torch.testing.assert_close(copy.deepcopy(used)(x), twin(x), **CLOSE)
        assert torch.equal(used.weight, given)
        prepared = ut.state.state_of(used).frozen.weight.upconv_prepared
        assert prepared.storage == storage
        assert f"kept in {storage}, the worst of them {prepared.error}" in repr(report)
    assert ours
    assert "kept in" not in repr(ut.accelerate(layer, frozen=True))


def test_torchs_operator_computes_with_the_same_rounded_weight(monkeypatch):
    layer, x = nn.ConvTranspose2d(3, 2, 2), torch.randn(1, 3, 2, 2)
    want = nn.functional.conv_transpose2d(x, rounded(layer.weight, "bfloat16"), layer.bias)
    ut.accelerate(layer, frozen=True, storage="bfloat16")
    with torch.no_grad():
        torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-6)


def test_what_is_folded_is_rounded_once(ours):
    net, x = decoder(), data()
    weight, bias = ut.fusion.fold(net[0].weight, net[0].bias, net[1], 1)
    ut.accelerate(net, frozen=True, fuse=True, storage="bfloat16")
    with torch.no_grad():
        want = torch.relu(nn.functional.conv_transpose2d(x, rounded(weight, "bfloat16"), bias, 2, 1))
        torch.testing.assert_close(net(x), want, **CLOSE)


def test_a_storage_that_cannot_be_is_refused_before_anything_changes():
    net = nn.Sequential(nn.ConvTranspose2d(4, 4, 2), nn.ConvTranspose2d(4, 4, 2))
    with pytest.raises(upconv.SettingError, match="without frozen=True"):
        ut.accelerate(net, storage="float16")
    with pytest.raises(upconv.SettingError, match="it must be 'float16' or 'bfloat16'"):
        ut.accelerate(net, frozen=True, storage="int8")
    net[1].weight.data.mul_(1e8)
    with pytest.raises(upconv.SettingError, match="which float16 cannot"):
        ut.accelerate(net, frozen=True, storage="float16")
    with pytest.raises(upconv.SettingError, match="float32 alone"):
        ut.accelerate(net.double(), frozen=True, storage="bfloat16")
    assert not any(map(ut.instance.is_put_on, net))


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("with_example", [False, True])
def test_a_fused_layer_kept_in_halves_computes_with_them(activation, norm, with_example):
    torch.manual_seed(0)
    x = torch.randn(1, 16, 8, 8)
    net = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(16, 16, 4, 2, 1), *[torch.nn.BatchNorm2d(16)] * norm, activation()
    ).eval()
    with torch.no_grad():
        exact = net(x)
        report = ut.accelerate(
            net, frozen=True, fuse=True, storage="bfloat16", example_inputs=x if with_example else None
        )
        assert report.fused
        apart = (net(x) - exact).abs().max().item()
    assert 1e-4 < apart < 2**-6


def test_what_is_too_large_once_it_is_folded_is_refused_at_once():
    net = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 4, 4, 2, 1), torch.nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        net[0].weight.fill_(100.0)
        net[1].weight.fill_(1e3)
        before = net(torch.ones(1, 4, 3, 3))
        with pytest.raises(upconv.SettingError, match="65504"):
            ut.accelerate(net, frozen=True, fuse=True, storage="float16")
        assert type(net[0]) is torch.nn.ConvTranspose2d
        assert torch.equal(net(torch.ones(1, 4, 3, 3)), before)
