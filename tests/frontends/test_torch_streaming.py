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
