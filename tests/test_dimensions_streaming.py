"""A 1-D layer over a signal in chunks: whatever the chunks, what comes out is the whole, bit for bit."""

import random

import numpy as np
import pytest
from amount import some
from require import require

import upconv
from upconv import ConvTranspose1d, SettingError, StreamingConvTranspose1d

CHUNKINGS = some(60, 1000)
# (in, out, kernel, settings): of vocoders and codecs, and awkward ones.
LAYERS = [
    (64, 32, 16, {"stride": 8, "padding": 4}),
    (48, 24, 4, {"stride": 2, "padding": 1}),
    (32, 16, 10, {"stride": 5, "padding": ((0, 5),)}),
    (24, 24, 8, {"stride": 4, "groups": 24, "padding": 2}),
    (20, 12, 3, {"stride": 5, "output_padding": 2, "groups": 4}),
    (8, 8, 5, {"stride": 1, "dilation": 3, "padding": ((12, 0),)}),
    (6, 4, 2, {"stride": 6, "dilation": 4, "padding": ((-3, -4),)}),
    (4, 4, 9, {"stride": 3, "padding": "same"}),
    (5, 3, 3, {"stride": 2, "padding": ((4, 5),)}),
    (1100, 8, 4, {"stride": 2, "padding": 1}),
]


def made(layer, dtype="float32"):
    c_in, c_out, kernel, settings = layer
    return ConvTranspose1d(c_in, c_out, kernel, **settings, rng=3, dtype=dtype)


def signal(shape, dtype="float32", seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return values.astype(require("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)


def whole(layer, stream, x):
    settings = {name: getattr(layer, name) for name in ("stride", "padding", "output_padding", "groups", "dilation")}
    return upconv.conv_transpose1d(x, layer.weight, layer.bias, **settings, algorithm=stream.algorithm)


def cut(x, draw):
    """The signal in chunks of random lengths, some of them empty."""
    length, at = x.shape[-1], 0
    longest = draw.choice((1, 3, 10, length))
    while at < length:
        step = draw.randint(0, longest)
        yield x[..., at : at + step]
        at += step


def streamed(stream, chunks):
    return np.concatenate([*map(stream.push, chunks), stream.flush()], axis=-1)


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_random_chunkings_are_the_whole_bit_for_bit(number):
    layer, draw = made(LAYERS[number]), random.Random(number)
    stream = StreamingConvTranspose1d(layer)
    x = signal((draw.choice((1, 2)), layer.in_channels, draw.randint(60, 90)), seed=number)
    want = whole(layer, stream, x)
    for _ in range(CHUNKINGS // len(LAYERS)):
        assert streamed(stream, cut(x, draw)).tobytes() == want.tobytes()
    # The layer itself may sum in another order.
    np.testing.assert_allclose(want, layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "complex64"])
def test_every_dtype_and_no_batch(dtype):
    layer, draw = made(LAYERS[1], upconv.prepare(signal((1, 1, 1), dtype)).dtype), random.Random(5)
    stream = StreamingConvTranspose1d(layer)
    x = signal((layer.in_channels, 50), dtype)
    for _ in range(3):
        assert streamed(stream, cut(x, draw)).tobytes() == whole(layer, stream, x).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_bits_do_not_depend_on_threads(threads):
    layer = made(LAYERS[0])
    stream, x = StreamingConvTranspose1d(layer), signal((1, 64, 3000))
    before = upconv.get_num_threads()
    want = whole(layer, stream, x)
    try:
        upconv.set_num_threads(threads)
        assert streamed(stream, [x[..., :2900], x[..., 2900:]]).tobytes() == want.tobytes()
    finally:
        upconv.set_num_threads(before)


def test_a_nan_reaches_what_it_reaches_in_the_whole():
    layer, draw = made(LAYERS[3]), random.Random(1)
    stream, x = StreamingConvTranspose1d(layer), signal((1, 24, 40))
    x[0, 3, 17] = np.nan
    got = streamed(stream, cut(x, draw))
    assert np.array_equal(np.isnan(got), np.isnan(layer(x)))


def test_causal_crops_hold_nothing_back():
    layer = ConvTranspose1d(4, 2, 8, stride=4, padding=((0, 4),), rng=0)
    stream = StreamingConvTranspose1d(layer)
    assert stream.held == 0
    x = signal((1, 4, 10))
    pieces = [stream.push(x[..., i : i + 1]) for i in range(10)]
    assert [piece.shape[-1] for piece in pieces] == [4] * 10
    assert stream.flush().shape == (1, 2, 0)
    assert StreamingConvTranspose1d(made(LAYERS[0])).held == 4


def test_no_more_is_kept_than_later_outputs_need():
    layer = made(LAYERS[0])
    stream = StreamingConvTranspose1d(layer)
    for _ in range(20):
        stream.push(signal((1, 64, 5)))
    assert stream._kept.shape[-1] <= 2


def test_a_stream_has_its_own_copy_and_begins_again_after_the_end():
    layer, x = made(LAYERS[1]), signal((1, 48, 20))
    stream = StreamingConvTranspose1d(layer)
    want = whole(layer, stream, x)
    layer.weight = np.zeros_like(layer.weight)
    assert streamed(stream, [x]).tobytes() == streamed(stream, [x[..., :7], x[..., 7:]]).tobytes() == want.tobytes()
    stream.push(x)
    stream.reset()
    assert stream.flush().shape[-1] == 0
    chunk = x.copy()
    first = stream.push(chunk[..., :9])
    chunk[...] = 0
    assert np.concatenate([first, stream.push(x[..., 9:]), stream.flush()], axis=-1).tobytes() == want.tobytes()


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_a_layer_that_keeps_its_weight_in_halves_is_streamed_with_them(storage):
    c_in, c_out, kernel, settings = LAYERS[0]
    layer = ConvTranspose1d(c_in, c_out, kernel, **settings, rng=3, storage=storage)
    stream, x = StreamingConvTranspose1d(layer), signal((1, c_in, 50))
    want = upconv.conv_transpose1d(x, layer.prepared, layer.bias, **settings, algorithm=stream.algorithm)
    assert np.array_equal(streamed(stream, cut(x, random.Random(1))), want)
    assert not np.allclose(want, whole(layer, stream, x), rtol=1e-6, atol=1e-6)


def test_what_does_not_go_on_as_it_began_is_refused():
    stream = StreamingConvTranspose1d(made(LAYERS[1]))
    with pytest.raises(SettingError, match="dtype float64"):
        stream.push(signal((1, 48, 5), "float64"))
    with pytest.raises(SettingError, match="3 channels"):
        stream.push(signal((1, 3, 5)))
    stream.push(signal((2, 48, 5)))
    for wrong in ((1, 48, 5), (48, 5)):
        with pytest.raises(SettingError, match="a batch of 2"):
            stream.push(signal(wrong))
    with pytest.raises(SettingError, match="chunk has shape"):
        stream.push(signal((5,)))
    with pytest.raises(TypeError, match="ConvTranspose1d"):
        StreamingConvTranspose1d(np.ones(3))
    with pytest.raises(SettingError, match="weight has shape"):
        StreamingConvTranspose1d(upconv.ConvTranspose2d(1, 1, 3))
    with pytest.raises(SettingError, match="both ends"):
        StreamingConvTranspose1d(ConvTranspose1d(1, 1, 3, padding_mode="circular"))
    short = StreamingConvTranspose1d(ConvTranspose1d(1, 1, 3, padding=4))
    short.push(np.ones((1, 1, 2), np.float32))
    with pytest.raises(SettingError, match="output size"):
        short.flush()


def test_without_kernels_the_definition_computes_every_chunk(monkeypatch):
    def refuse(problem, algorithm):
        raise SettingError("no kernels")

    monkeypatch.setattr("upconv.streaming.choose", refuse)
    layer, draw = made(LAYERS[2]), random.Random(2)
    stream, x = StreamingConvTranspose1d(layer), signal((1, 32, 30))
    assert stream.algorithm == "loops"
    assert streamed(stream, cut(x, draw)).tobytes() == whole(layer, stream, x).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_chunks_that_lie_channels_last_have_the_bits_of_the_whole(dtype):
    """Of which pieces lie one way or the other, since what is kept of one is put before the next."""
    x = signal((1, 1097, 114), dtype).transpose(0, 2, 1)
    layer = made((114, 115, 1, {"stride": 3}), dtype)
    found = []
    for cut in (1097, 64):
        stream = StreamingConvTranspose1d(layer)
        parts = [stream.push(x[..., start : start + cut]) for start in range(0, 1097, cut)]
        found.append(np.concatenate([*parts, stream.flush()], -1))
    assert [each.tobytes() for each in found] == [layer(x).tobytes()] * 2
