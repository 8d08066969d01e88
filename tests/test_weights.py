"""Weights carried between layers, frameworks and files; the frameworks themselves are asked in tests/frontends."""

import json
import struct

import numpy as np
import pytest
from require import promised_or_there

import upconv
from upconv import ConvTranspose2d, SettingError, weights
from upconv.conventions import CONVENTIONS, weight_order, weight_steps
from upconv.weight_files import arrays, write


def layer(seed=0, **settings):
    return ConvTranspose2d(4, 6, (3, 2), stride=2, rng=seed, **settings)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("name", ["", "decoder.up1"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_layer_goes_through_a_file(tmp_path, ending, name, dtype):
    path, made = tmp_path / f"up.{ending}", layer(groups=2, dtype=dtype)
    weights.save(made, path, name)
    same(weights.load(path), made.state_dict())
    same(weights.load(str(path), name), made.state_dict())
    other = layer(1, groups=2, dtype=dtype)
    other.load_state_dict(weights.load(path))
    same(other.state_dict(), made.state_dict())


def test_a_layer_without_bias():
    assert list(weights.load(layer(bias=False))) == ["weight"]
    assert list(weights.export(layer(bias=False), "keras")) == ["kernel"]


def test_bfloat16_goes_into_safetensors_alone(tmp_path):
    if not promised_or_there("ml_dtypes"):
        pytest.skip("ml_dtypes is not installed")
    made = layer(dtype="bfloat16")
    weights.save(made, tmp_path / "a.safetensors")
    other = layer(1, dtype="bfloat16")
    other.load_state_dict(weights.load(tmp_path / "a.safetensors"))
    same(other.state_dict(), made.state_dict())
    with pytest.raises(SettingError, match=r"weight has dtype bfloat16.*safetensors"):
        weights.save(made, tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_the_header_of_safetensors_is_as_its_readers_want_it(tmp_path):
    found = {"a": np.arange(3, dtype=">f4"), "b": np.ones((2, 2), np.int64)[:, ::2], "c": np.array(2.0)}
    write(tmp_path / "x.safetensors", found)
    data = (tmp_path / "x.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    assert header["b"] == {"dtype": "I64", "shape": [2, 1], "data_offsets": [12, 28]}
    assert len(data) == 8 + length + 12 + 16 + 8
    for name, array in arrays(tmp_path / "x.safetensors").items():
        np.testing.assert_array_equal(array, found[name])


def test_files_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '.h5'; it must be one of .npz, .safetensors"):
        weights.save(layer(), tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"a has no ending; it must be one of .npz, .safetensors"):
        weights.save(layer(), tmp_path / "a")
    with pytest.raises(SettingError, match="complex64; safetensors has F64"):
        weights.save(layer(dtype="complex64"), tmp_path / "a.safetensors")


def test_a_layer_is_found_in_a_model_by_its_name():
    one, two = layer(0), layer(1)
    model = {"norm.weight": np.ones(4)}
    for name, each in (("a.up", one), ("b", two)):
        model |= {f"{name}.{key}": array for key, array in each.state_dict().items()}
    same(weights.load(model, "a.up"), one.state_dict())
    nested = {"a": {"up": one.state_dict()}, "b": two.state_dict()}
    same(weights.load(nested, "b"), two.state_dict())
    with pytest.raises(SettingError, match=r"there are 2 layers in the source: 'a.up', 'b'; say which"):
        weights.load(model)
    with pytest.raises(SettingError, match=r"has no layer 'c'; it has 'a.up', 'b'"):
        weights.load(model, "c")
    with pytest.raises(SettingError, match="there is no layer in the source: none of its 1 arrays is called weight"):
        weights.load({"norm.weight": np.ones(4)})
    with pytest.raises(SettingError, match="there is no layer in the source: it has no arrays"):
        weights.load({})
    with pytest.raises(TypeError, match="the source is int"):
        weights.load(3)
    with pytest.raises(SettingError, match=r"torch\.load"):
        weights.load("model.pt")


@pytest.mark.parametrize("target", CONVENTIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_every_order_and_back(target, dimensions):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 6, *(2, 3, 5)[:dimensions]))
    there = weights.convert(weight, "torch", target)
    assert np.shares_memory(there, weight)
    np.testing.assert_array_equal(weights.convert(there, target, "torch"), weight)


@pytest.mark.parametrize("source", CONVENTIONS)
@pytest.mark.parametrize("target", CONVENTIONS)
def test_what_is_done_is_what_the_printed_steps_do(source, target):
    weight = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    scope = {"weight": weight}
    for step in weight_steps(source, target):
        exec(step, scope)
    np.testing.assert_array_equal(weights.convert(weight, source, target), scope["weight"])


def test_order_of_a_volume():
    assert weight_order("torch", "keras", 3) == ((2, 3, 4, 1, 0), ())
    assert weight_order("jax", "torch", 3) == ((3, 4, 0, 1, 2), (2, 3, 4))


@pytest.mark.parametrize("framework", ["torch", "onnx", "keras", "jax", "flax"])
def test_export_and_load_are_inverse(framework):
    made = layer()
    found = weights.export(made, framework)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in found.values())
    same(weights.load(found, framework=framework), {k: np.ascontiguousarray(v) for k, v in made.state_dict().items()})


@pytest.mark.parametrize("ending", ["", "npz", "safetensors"])
def test_a_kernel_has_the_order_of_whom_the_caller_says(tmp_path, ending):
    made = layer()
    source = {"up": weights.export(made, "keras")}
    if ending:
        weights.save(source["up"], tmp_path / f"a.{ending}", "up")
        source = tmp_path / f"a.{ending}"
    same(weights.load(source, "up", "keras"), made.state_dict())
    with pytest.raises(SettingError, match=r'up\.kernel is called as .* say whose it is by framework="keras"'):
        weights.load(source, "up")


class Keras(ConvTranspose2d):
    """A layer that somebody derived from one of Keras's: its own module is none of Keras's, that of its base is."""

    __module__ = "keras.src.layers"
    kernel, bias = property(lambda self: weights.convert(self.weight, "torch", "keras")), np.arange(6.0)


def test_layers_derived_from_a_frameworks_have_its_order(tmp_path):
    derived = type("Mine", (Keras,), {"__module__": "mine"})(4, 6, (3, 2), rng=0)
    np.testing.assert_array_equal(weights.load(derived)["weight"], derived.weight)
    weights.save(derived, tmp_path / "a.npz", "up")
    assert list(arrays(tmp_path / "a.npz")) == ["up.weight", "up.bias"]
    same(weights.load(tmp_path / "a.npz", "up"), {"weight": derived.weight, "bias": derived.bias})
    stranger = type("Stranger", (), {"kernel": derived.kernel})()
    for ask in (lambda: weights.load(stranger), lambda: weights.save(stranger, tmp_path / "b.npz")):
        with pytest.raises(SettingError, match="say whose it is by framework="):
            ask()
    assert weights.load(stranger, framework="keras")["weight"].shape == derived.weight.shape


def test_groups_where_there_are_none():
    with pytest.raises(SettingError, match="groups is 2; keras has none"):
        weights.export(layer(groups=2), "keras")
    assert weights.export(layer(groups=2), "onnx")["weight"].shape == (4, 3, 3, 2)
    with pytest.raises(TypeError, match="framework is 'caffe'"):
        weights.export(layer(), "caffe")


def test_only_whole_pairs_are_folded():
    for found in ({"weight_g": np.ones((1, 1, 1, 1))}, {"g": 1}, {"xweight_g": np.ones(1), "xweight_v": np.ones(1)}):
        assert weights.fold(found).keys() == found.keys()


def test_objects_and_dtypes_that_npz_would_not_give_back_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"up.weight has dtype object, which npz would keep as a pickle"):
        weights.save({"weight": np.array(["x"], object)}, tmp_path / "a.npz", "up")
    with pytest.raises(SettingError, match="as a pickle"):
        weights.save({"weight": np.zeros(1, [("a", object)])}, tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_of_a_prepared_weight_its_array_is_wanted(tmp_path, dimensions):
    weight = np.ones((4, 6, 3, 3, 3)[: 2 + dimensions], np.float32)
    prepared = upconv.prepare(weight, 2)
    asks = (
        lambda found: weights.export(found, "keras"),
        lambda found: weights.load(found),
        lambda found: weights.save(found, tmp_path / "a.npz"),
        lambda found: weights.convert(found["weight"], "torch", "keras"),
    )
    for ask in asks:
        with pytest.raises(TypeError, match=r"is a Prepared(Weight|Volume); pass its \.array"):
            ask({"weight": prepared})
    same(weights.load({"weight": prepared.array}), {"weight": weight})


@pytest.mark.parametrize(
    "parts",
    [
        {"weight_orig": np.ones((4, 6, 3, 3)), "weight_u": np.ones(6)},
        {"parametrizations.weight.original": np.ones((4, 6, 3, 3)), "parametrizations.weight.0.mask": np.ones(1)},
    ],
)
def test_parts_that_are_not_folded_are_named(parts):
    found = {f"up.{key}": array for key, array in parts.items()}
    for name in (None, "up"):
        with pytest.raises(SettingError, match=rf"up.weight is computed from up.{next(iter(parts))}, .*remove_"):
            weights.load({**found, "up.bias": np.ones(6)}, name)
    found = {key.replace("weight", "bias"): array for key, array in found.items()}
    with pytest.raises(SettingError, match=r"up.bias is computed from"):
        weights.load({**found, "up.weight": np.ones((4, 6, 3, 3))})


def test_weights_are_imported_when_they_are_asked_for():
    assert upconv.weights is weights
    assert "weights" in dir(upconv)


# PyTorch -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    if not promised_or_there("torch"):
        pytest.skip("torch is not installed")
    import torch

    torch.manual_seed(0)
    return torch


def test_a_model_of_torch_is_a_source_and_takes_what_comes_back(torch):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ConvTranspose2d(4, 6, (3, 2), 2))
    made = layer()
    made.load_state_dict(weights.load(model, "1"))
    x = torch.randn(1, 4, 5, 5)
    np.testing.assert_allclose(made(x.numpy()), model[1](x).detach(), rtol=1e-4, atol=1e-5)
    other = torch.nn.ConvTranspose2d(4, 6, (3, 2), 2)
    found = weights.export(made, "torch")
    other.load_state_dict({name: torch.from_numpy(array) for name, array in found.items()})
    assert torch.equal(other.weight, model[1].weight)


def test_a_model_of_torch_may_have_a_kernel_of_another_kind(torch):
    model = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 6, 3))
    model.kernel = 3
    assert weights.load(model, "0")["weight"].shape == (4, 6, 3, 3)


NORMS = [f"utils.{where}{kind}_norm" for where in ("", "parametrizations.") for kind in ("weight", "spectral")]


@pytest.mark.parametrize("path", NORMS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.filterwarnings("ignore")
def test_norms_of_torch_are_folded(torch, path, dimensions):
    norm = torch.nn
    for part in path.split("."):
        norm = getattr(norm, part)
    up = norm(getattr(torch.nn, f"ConvTranspose{dimensions}d")(4, 6, 3, 2))
    for _ in range(3):
        # spectral_norm's vectors have not settled at first.
        up(torch.randn(1, 4, *(5,) * dimensions))
    model = torch.nn.Sequential(up).eval()
    model(torch.randn(1, 4, *(5,) * dimensions))
    found = weights.load(model, "0")
    np.testing.assert_allclose(found["weight"], up.weight.detach(), rtol=1e-4, atol=1e-6)
    assert weights.fold(model.state_dict()).keys() == {"0.weight", "0.bias"}


@pytest.mark.parametrize("kind", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pruned_layers_of_torch_are_folded(torch, tmp_path, dimensions, kind):
    from torch.nn.utils import prune

    up = getattr(torch.nn, f"ConvTranspose{dimensions}d")(4, 6, 3, dtype=getattr(torch, kind))
    for name in ("weight", "bias"):
        prune.random_unstructured(up, name, 0.5)
    model = torch.nn.Sequential(up)
    weights.save(model, tmp_path / "a.safetensors")
    for source in (model, model.state_dict(), tmp_path / "a.safetensors"):
        found = weights.load(source, "0")
        np.testing.assert_array_equal(found["weight"], up.weight.detach().float())
        np.testing.assert_array_equal(found["bias"], up.bias.detach().float())
        assert (found["weight"] == 0).mean() == pytest.approx(0.5, abs=0.01)
        assert found["weight"].dtype == ("float16" if kind == "float16" else "float32")
    assert weights.fold(model.state_dict()).keys() == {"0.weight", "0.bias"}
    prune.remove(up, "weight")
    np.testing.assert_array_equal(weights.load(model)["weight"], found["weight"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_what_is_pruned_under_a_norm_is_folded(torch, norm):
    from torch.nn.utils import prune

    up = getattr(torch.nn.utils, norm)(torch.nn.ConvTranspose2d(4, 6, 3)).eval()
    prune.l1_unstructured(up, "weight_v" if norm == "weight_norm" else "weight_orig", 0.5)
    # The hook of the norm ran first: once more, behind the mask.
    for _ in range(2):
        up(torch.randn(1, 4, 5, 5))
    found = weights.load(up)
    np.testing.assert_allclose(found["weight"], up.weight.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_along_any_axis(torch, dim):
    up = torch.nn.utils.weight_norm(torch.nn.ConvTranspose2d(4, 6, 3), dim=dim)
    with torch.no_grad():
        up.weight_g.mul_(torch.rand_like(up.weight_g) + 1)
        up(torch.randn(1, 4, 5, 5))
    np.testing.assert_allclose(weights.load(up)["weight"], up.weight.detach(), rtol=1e-5, atol=1e-6)


def test_spectral_norm_of_another_kind_of_layer_is_left_alone(torch):
    found = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(4, 7, 3)).state_dict()
    assert weights.fold(found).keys() == found.keys()
