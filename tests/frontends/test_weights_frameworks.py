"""Weights carried to the frameworks themselves and back: the layers must give the same values."""

from importlib import import_module

import numpy as np
import pytest
from require import require

from upconv import ConvTranspose2d, SettingError, weights

X = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32)


def layer(seed=0, **settings):
    return ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), rng=seed, **settings)


def check_values(made, run):
    """`run` takes channels last and cuts nothing."""
    np.testing.assert_allclose(run(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), made(X), rtol=1e-4, atol=1e-5)


def check_saved(theirs, folder):
    """What is in the file is torch's, in name and order, so that the file alone gives the layer back."""
    for ending in ("npz", "safetensors"):
        weights.save(theirs, folder / f"a.{ending}", "up")
        found, wanted = weights.load(folder / f"a.{ending}", "up"), weights.load(theirs)
        assert list(found) == list(wanted) == ["weight", "bias"]
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


def test_keras(tmp_path):
    keras = pytest.importorskip("keras")
    theirs = keras.layers.Conv2DTranspose(6, (3, 2), (2, 3))
    theirs.build((None, 5, 6, 4))
    made = layer()
    theirs.set_weights(list(weights.export(made, "keras").values()))

    def run(x):
        return keras.ops.convert_to_numpy(theirs(x))

    # Where the kernel does not reach the next input, Keras extends the output.
    made_valid = ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=((0, 0), (0, -1)), rng=0)
    check_values(made_valid, run)
    other = layer(1)
    other.load_state_dict(weights.load(theirs))
    np.testing.assert_array_equal(other.weight, made.weight)
    np.testing.assert_array_equal(other.bias, made.bias)
    check_saved(theirs, tmp_path)


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_flax(transposed, ours, tmp_path):
    require("flax")
    from flax import nnx

    options = {"strides": 2, "padding": "VALID", "transpose_kernel": transposed}
    maker = import_module("upconv.jax.nnx") if ours else nnx
    theirs = maker.ConvTranspose(4, 6, (3, 3), rngs=nnx.Rngs(0), **options)
    made = ConvTranspose2d(4, 6, 3, stride=2)
    made.load_state_dict(weights.load(theirs))
    check_values(made, lambda x: np.asarray(theirs(x)))
    found = weights.export(made, "keras" if transposed else "flax")
    np.testing.assert_array_equal(found["kernel"], np.asarray(theirs.kernel))
    check_saved(theirs, tmp_path)


def test_the_mask_of_a_flax_layer_counts(tmp_path):
    require("flax")
    from flax import nnx

    mask = (np.arange(9 * 24).reshape(3, 3, 4, 6) % 3 > 0).astype(np.float32)
    theirs = nnx.ConvTranspose(4, 6, (3, 3), strides=2, padding="VALID", mask=mask, rngs=nnx.Rngs(0))
    made = ConvTranspose2d(4, 6, 3, stride=2)
    made.load_state_dict(weights.load(theirs))
    check_values(made, lambda x: np.asarray(theirs(x)))
    check_saved(theirs, tmp_path)


def test_safetensors(tmp_path):
    numpy = require("safetensors.numpy")
    made = layer()
    weights.save(made, tmp_path / "ours.safetensors", "up")
    found = numpy.load_file(tmp_path / "ours.safetensors")
    np.testing.assert_array_equal(found["up.weight"], made.weight)
    numpy.save_file(
        {name: np.ascontiguousarray(array) for name, array in found.items()}, tmp_path / "theirs.safetensors"
    )
    other = layer(1)
    other.load_state_dict(weights.load(tmp_path / "theirs.safetensors", "up"))
    np.testing.assert_array_equal(other.weight, made.weight)


def test_safetensors_of_bfloat16_is_torchs_too(tmp_path):
    torch, theirs = require("torch"), require("safetensors.torch")
    require("ml_dtypes")
    weights.save(layer(dtype="bfloat16"), tmp_path / "a.safetensors")
    found = theirs.load_file(tmp_path / "a.safetensors")["weight"]
    assert found.dtype == torch.bfloat16
    np.testing.assert_array_equal(found.float().numpy(), layer(dtype="bfloat16").weight.astype(np.float32))


def test_initialisers_of_onnx():
    require("onnx")
    from onnx_models import of_one_node, two_ups

    import upconv.onnx as uo

    model = of_one_node(X.shape, layer().weight, {"strides": [2, 3]}, bias=np.array(layer().bias))
    found = uo.state_dict(model)
    assert list(found) == ["up.weight", "up.bias"]
    other = layer(1)
    other.load_state_dict(weights.load(found, "up"))
    np.testing.assert_array_equal(other.weight, layer().weight)
    new = layer(2).state_dict()
    uo.load_state_dict(model, {f"up.{name}": array for name, array in new.items()})
    np.testing.assert_allclose(uo.run_model(model, [X])[0], layer(2)(X), rtol=1e-5, atol=1e-5)
    before = model.SerializeToString()
    with pytest.raises(SettingError, match=r"has no 'down.weight'; it has up.weight, up.bias"):
        uo.load_state_dict(model, {"up.bias": np.zeros(6), "down.weight": new["weight"]})
    with pytest.raises(SettingError, match=r"up.weight has shape \(2,\); in the model it is \(4, 6, 3, 2\)"):
        uo.load_state_dict(model, {"up.bias": np.zeros(6), "up.weight": np.zeros(2)})
    assert model.SerializeToString() == before
    assert list(uo.state_dict(two_ups())) == ["first.weight", "y.weight"]


ONE = np.ones((1, 1, 2, 2), np.float32)


def test_initialisers_of_branches_are_told_apart():
    require("onnx")
    from onnx_models import branch, of_nodes

    import upconv.onnx as uo

    model = of_nodes([], {}, inside=[branch("a", ONE), branch("b", 2 * ONE)])
    x = np.ones((1, 1, 2, 2), np.float32)

    def largest():
        return [uo.run_model(model, {"x": x, "flag": np.array(flag)})[0].max() for flag in (True, False)]

    assert largest() == [4, 8]
    assert {key: array.max() for key, array in uo.state_dict(model).items()} == {"a.weight": 1, "b.weight": 2}
    uo.load_state_dict(model, {"a.weight": 10 * ONE, "b.weight": 20 * ONE})
    assert largest() == [40, 80]
    uo.load_state_dict(model, {"b.weight": ONE})
    assert largest() == [40, 4]


def test_nodes_of_one_name_and_nodes_that_share_an_initialiser():
    onnx = require("onnx")
    from onnx_models import branch, of_nodes

    import upconv.onnx as uo

    def nodes(*names, inputs=(("x", "w"), ("x", "w"))):
        both = zip(inputs, "yz", names, strict=True)
        return [onnx.helper.make_node("ConvTranspose", each, [out], name=name) for each, out, name in both]

    bias = np.zeros(1, np.float32)
    apart = of_nodes(nodes("up", "up", inputs=(("x", "w"), ("x", "v"))), {"w": ONE, "v": ONE}, "yz")
    halves = of_nodes(nodes("up", "up", inputs=(("x", "w"), ("x", "x", "b"))), {"w": ONE, "b": bias}, "yz")
    nameless = of_nodes([], {}, inside=[branch("", ONE), branch("", ONE)])
    for model in (apart, halves, nameless):
        for ask in (lambda model: uo.state_dict(model), lambda model: uo.load_state_dict(model, {"up.weight": ONE})):
            with pytest.raises(SettingError, match=r"two ConvTranspose nodes are called 'up'.*names that differ"):
                ask(model)
    shared = of_nodes(nodes("a", "b"), {"w": ONE}, "yz")
    before = shared.SerializeToString()
    assert list(uo.state_dict(shared)) == ["a.weight", "b.weight"]
    with pytest.raises(SettingError, match=r"a.weight and b.weight are one initialiser of the model, 'w'"):
        uo.load_state_dict(shared, {"a.weight": 10 * ONE, "b.weight": 20 * ONE})
    assert shared.SerializeToString() == before
    uo.load_state_dict(shared, {"a.weight": 3 * ONE, "b.weight": 3 * ONE})
    np.testing.assert_array_equal(uo.state_dict(shared)["b.weight"], 3 * ONE)
    assert list(uo.state_dict(of_nodes(nodes("up", "up"), {"w": ONE}, "yz"))) == ["up.weight"]
