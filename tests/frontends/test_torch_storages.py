"""Who manages memory by hand goes on doing so: FSDP empties the storage of every weight after its layer has run."""

import copy

import pytest
from require import require

torch = require("torch")
ut = require("upconv.torch")
nn = torch.nn
NAMED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "complex64": torch.complex64, "int64": torch.int64}


def operands(dtype):
    torch.manual_seed(0)
    shapes = (2, 16, 9, 8), (16, 8, 4, 4), (8,)
    return [(10 * torch.randn(shape)).to(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", NAMED)
def test_storages_can_be_resized_after_a_call(dtype, ours):
    given = operands(NAMED[dtype])
    ut.conv_transpose2d(*given, 2, 1)
    assert ours
    for tensor in given:
        tensor.untyped_storage().resize_(0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_has_been_emptied_is_refused(place):
    """NumPy takes fresh memory where there is none, so results were made of what happened to lie there."""
    given = operands(torch.float32)
    ut.conv_transpose2d(*given, 2, 1)
    given[place].untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="storage was emptied"):
        ut.conv_transpose2d(*given, 2, 1)


def test_storages_can_be_resized_after_a_training_step(ours):
    layer, x = ut.ConvTranspose2d(16, 8, 4, 2, 1), operands(torch.float32)[0].requires_grad_()
    y = layer(x)
    grad = torch.ones(y.shape)
    y.backward(grad)
    assert ours
    for tensor in (x.detach(), layer.weight.detach(), layer.bias.detach(), grad):
        tensor.untyped_storage().resize_(0)


def test_storages_can_be_resized_after_streaming_and_freezing():
    layer, chunk = nn.ConvTranspose1d(8, 4, 4, 2, 1).requires_grad_(False), torch.randn(1, 8, 5)
    ut.StreamingConvTranspose1d(layer).push(chunk)
    ut.accelerate(layer, frozen=True)
    layer(chunk)
    for tensor in (layer.weight, layer.bias, chunk):
        tensor.untyped_storage().resize_(0)


def test_views_of_one_storage_are_read_where_they_lie(ours):
    whole = torch.randn(4, 40, 9, 8)
    for x in (whole[1:3, 5:21], whole[:, ::2][:, :16, ::2], whole[:1, :1].expand(3, 16, 9, 8)):
        _, w, b = operands(torch.float32)
        want = torch.nn.functional.conv_transpose2d(x, w, b, 2, 1)
        torch.testing.assert_close(ut.conv_transpose2d(x, w, b, 2, 1), want, rtol=1e-4, atol=1e-3)
    assert ours


def decoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 4, 2, 1))


@pytest.fixture
def shard(tmp_path):
    """`fully_shard` for a group of this process alone."""
    distributed = require("torch.distributed")
    fsdp, meshes = require("torch.distributed.fsdp"), require("torch.distributed.device_mesh")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    mesh = meshes.init_device_mesh("cpu", (1,))
    yield lambda module: fsdp.fully_shard(module, mesh=mesh)
    distributed.destroy_process_group()


def train(model, twin, x):
    for _ in range(2):
        model(x).sin().sum().backward()
        twin(x).sin().sum().backward()
    got, want = model[2].weight.grad.full_tensor(), twin[2].weight.grad
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * want.abs().max().item())
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), twin.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"fuse": True}], ids=str)
def test_a_sharded_model_trains_as_torchs(options, ours, shard):
    twin = decoder()
    model = copy.deepcopy(twin)
    ut.accelerate(model, **options)
    for module in (*model, model):
        shard(module)
    train(model, twin, operands(torch.float32)[0])
    assert ours


@pytest.mark.parametrize("each", [False, True], ids=["the model alone", "every layer"])
@pytest.mark.parametrize("with_example", [False, True])
def test_the_report_on_a_sharded_model_says_who_computes_its_calls(each, with_example, ours, shard):
    """At rest its parameters are pieces of a class of their own, which upconv does not compute with."""
    twin = decoder()
    model, x = copy.deepcopy(twin), operands(torch.float32)[0]
    for module in (*(model if each else ()), model):
        shard(module)
    kinds = [type(module) for module in model]
    report = ut.accelerate(model, example_inputs=x if with_example else None)
    whole = ut.accelerate(copy.deepcopy(twin))
    assert [layer.names for layer in report.layers] == [("0",), ("2",)]
    if with_example:
        # Who wins is what was measured; both were, with weights that torch's operator and upconv took.
        assert all(len(layer.timings) == 1 and layer.timings[0].plan for layer in report.layers)
    else:
        assert [(layer.is_ours, layer.outlook) for layer in report.layers] == [
            (layer.is_ours, layer.outlook) for layer in whole.layers
        ]
        assert "2 of 2" in repr(report)
    train(model, twin.train(), x)
    assert ours
    ut.restore(model)
    assert [type(module) for module in model] == kinds
