"""A 1-D layer of torch's over a signal in chunks: the whole, bit for bit, whatever the chunks."""

import random

import pytest
from amount import some

torch = pytest.importorskip("torch")
import upconv  # noqa: E402
import upconv.torch as ut  # noqa: E402
from upconv import SettingError  # noqa: E402

CHUNKINGS = some(20, 1000)


def cut(x, draw):
    at = 0
    while at < x.shape[-1]:
        step = draw.randint(0, 12)
        yield x[..., at : at + step]
        at += step


def streamed(stream, chunks):
    return torch.cat([*map(stream.push, chunks), stream.flush()], dim=-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_chunkings_are_the_whole(dtype):
    if dtype is torch.bfloat16:
        pytest.importorskip("ml_dtypes")
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose1d(32, 16, 16, 8, 4).to(dtype)
    stream, draw, x = ut.StreamingConvTranspose1d(layer), random.Random(0), torch.randn(2, 32, 70).to(dtype)
    want = streamed(stream, [x])
    for _ in range(CHUNKINGS):
        assert torch.equal(streamed(stream, cut(x, draw)), want)
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2
    with torch.no_grad():
        torch.testing.assert_close(want, layer(x), rtol=tolerance, atol=tolerance)


def test_a_generator_is_streamed_with_its_parametrizations():
    """Two upsamplings as a HiFi-GAN has them, each under weight_norm; a chunk of mel frames in, its samples out."""
    torch.manual_seed(1)
    layers = [torch.nn.ConvTranspose1d(24, 12, 16, 8, 4), torch.nn.ConvTranspose1d(12, 6, 4, 2, 1)]
    layers = [torch.nn.utils.parametrizations.weight_norm(layer) for layer in layers]
    streams, x = [ut.StreamingConvTranspose1d(layer) for layer in layers], torch.randn(1, 24, 40)

    def run(chunks):
        pieces, (first, second) = [], streams
        for chunk in chunks:
            pieces.append(second.push(first.push(chunk).relu()))
        return torch.cat([*pieces, second.push(first.flush().relu()), second.flush()], dim=-1)

    want = run([x])
    assert torch.equal(run(x.split(5, dim=-1)), want)
    with torch.no_grad():
        torch.testing.assert_close(want, layers[1](layers[0](x).relu()), rtol=1e-4, atol=1e-5)
    assert [stream.held for stream in streams] == [4, 1]


def test_what_it_cannot_do_is_said():
    stream = ut.StreamingConvTranspose1d(torch.nn.ConvTranspose1d(2, 2, 4, 2))
    with pytest.raises(SettingError, match=r"no gradients"):
        stream.push(torch.ones(1, 2, 3, requires_grad=True))
    with torch.no_grad():
        assert stream.push(torch.ones(1, 2, 3, requires_grad=True)).shape == (1, 2, 6)
    stream.reset()
    assert stream.algorithm == "gemm"
    assert stream.flush().shape == (1, 2, 0)
    with pytest.raises(SettingError, match="CPU"):
        stream.push(torch.ones(1, 2, 3, device="meta"))
    with pytest.raises(TypeError, match="tensor"):
        stream.push([1.0])
    with pytest.raises(TypeError, match=r"torch\.nn\.ConvTranspose1d"):
        ut.StreamingConvTranspose1d(torch.nn.ConvTranspose2d(1, 1, 2))
    with pytest.raises(SettingError, match="parameters"):
        ut.StreamingConvTranspose1d(torch.nn.ConvTranspose1d(1, 1, 2, device="meta"))
    with pytest.raises(SettingError, match="wants gradients"):
        upconv.StreamingConvTranspose1d(torch.nn.ConvTranspose1d(2, 2, 4, 2))


def old_weight_norm(layer):
    return torch.nn.utils.weight_norm(layer)


def old_spectral_norm(layer):
    layer = torch.nn.utils.spectral_norm(layer, n_power_iterations=3)
    layer(torch.ones(1, 8, 5))
    return layer


def pruned(layer):
    from torch.nn.utils import prune

    return prune.random_unstructured(prune.random_unstructured(layer, "weight", 0.5), "bias", 0.5)


OLD = {make.__name__: make for make in (old_weight_norm, old_spectral_norm, pruned)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("make", OLD.values(), ids=OLD)
def test_a_weight_that_an_old_hook_makes_is_made_before_it_is_streamed(make, mode):
    """A vocoder from a checkpoint: nothing has called the layer since its parameters were loaded."""
    torch.manual_seed(0)
    trained, x = make(torch.nn.ConvTranspose1d(8, 4, 4, 2, 1)), torch.randn(2, 8, 30)
    layer = make(torch.nn.ConvTranspose1d(8, 4, 4, 2, 1)).train(mode)
    layer.load_state_dict(trained.state_dict())
    held, buffers = layer.weight, [buffer.clone() for buffer in layer.buffers()]
    got = streamed(ut.StreamingConvTranspose1d(layer), x.split(7, dim=-1))
    with torch.no_grad():
        torch.testing.assert_close(got, trained.eval()(x), rtol=1e-5, atol=1e-6)
    # The layer is left as it was.
    assert layer.weight is held
    assert layer.training is mode
    assert all(map(torch.equal, layer.buffers(), buffers))


def test_streaming_makes_no_step_of_a_spectral_norm():
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.ConvTranspose1d(8, 4, 4, 2, 1))
    buffers = [buffer.clone() for buffer in layer.buffers()]
    ut.StreamingConvTranspose1d(layer)
    assert all(map(torch.equal, layer.buffers(), buffers))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", OLD.values(), ids=OLD)
def test_a_frozen_layer_is_streamed_as_it_computes(make):
    torch.manual_seed(0)
    layer, x = make(torch.nn.ConvTranspose1d(8, 4, 4, 2, 1)).eval(), torch.randn(1, 8, 30)
    ut.accelerate(layer, frozen=True)
    with torch.no_grad():
        want = layer(x)
        torch.testing.assert_close(streamed(ut.StreamingConvTranspose1d(layer), [x]), want, rtol=1e-5, atol=1e-6)
        next(layer.parameters()).mul_(2)
        with pytest.raises(SettingError, match="frozen layer has changed"):
            layer(x)
        with pytest.raises(SettingError, match="frozen layer has changed"):
            ut.StreamingConvTranspose1d(layer)


def test_a_weight_that_an_unknown_hook_makes_is_not_streamed():
    layer = torch.nn.ConvTranspose1d(8, 4, 4, 2, 1)
    layer.gain, weight = torch.nn.Parameter(layer.weight.detach()), layer.weight.detach()
    del layer.weight
    layer.weight = weight
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.gain * 2))
    with pytest.raises(SettingError, match="weight is put on it from outside"):
        ut.StreamingConvTranspose1d(layer)


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_a_weight_kept_in_halves_is_streamed_as_the_layer_computes(storage):
    torch.manual_seed(0)
    layer, x = torch.nn.ConvTranspose1d(32, 16, 16, 8, 4), torch.randn(1, 32, 70)
    whole = streamed(ut.StreamingConvTranspose1d(layer), [x])
    ut.accelerate(layer, frozen=True, storage=storage)
    got = streamed(ut.StreamingConvTranspose1d(layer), x.split(9, dim=-1))
    with torch.no_grad():
        torch.testing.assert_close(got, layer(x), rtol=1e-5, atol=1e-5)
    assert (got - whole).abs().max() > 1e-4
