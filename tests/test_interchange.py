"""Arrays of other libraries: read where they lie, answered in kind, refused in words."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from require import promised_or_there

import upconv
from upconv import SettingError, conv2d, conv_transpose2d, grad
from upconv.interchange import like, viewed, writable

CPU, CUDA = 1, 2


class Array:
    """An array of a library of its own, which remembers how often its memory was read."""

    __module__ = "library.arrays"

    def __init__(self, values, device=CPU):
        self.values, self.device, self.reads = values, device, 0
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __array_namespace__(self, api_version=None):
        return SimpleNamespace(__name__="library", from_dlpack=lambda array: Array(np.from_dlpack(array)))

    def __dlpack__(self, **options):
        self.reads += 1
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device, 3


class Shared(Array):
    """An array that shows its memory by `__array__` too, as torch's do."""

    def __array__(self, dtype=None, copy=None):
        return self.values


class Converted:
    """What has `__array__` alone."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def operands(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 5, 6), (4, 3, 3, 2), (3,))]


def test_the_result_is_of_the_inputs_kind():
    x, w, b = operands()
    y = conv_transpose2d(x, w, b, 2)
    made = conv_transpose2d(Array(x), Array(w), Array(b), 2)
    assert type(made) is Array
    np.testing.assert_array_equal(made.values, y)
    assert type(conv_transpose2d(x, Array(w), Array(b), 2)) is np.ndarray
    assert type(conv_transpose2d(Array(x), w, b, 2)) is Array
    assert type(conv_transpose2d(Array(x[0]), w, b, 2)) is Array
    assert type(conv_transpose2d(Array(x), upconv.prepare(Array(w), 2), None, 2)) is Array


def test_memory_is_shared_both_ways():
    x, _, _ = operands()
    view = viewed(Array(x), "input")
    assert np.shares_memory(view, x)
    assert view.strides == x.strides
    crop = x[:, ::2, 1:, ::-1]
    assert np.shares_memory(viewed(Array(crop), "input"), crop)
    result = np.ones((2, 3))
    assert np.shares_memory(like(Array(x), result).values, result)


def test_every_door_takes_and_returns_them():
    x, w, _ = operands()
    y = conv_transpose2d(x, w)
    plan = upconv.plan(Array(x), Array(w))
    layer = upconv.ConvTranspose2d(4, 3, (3, 2), rng=0)
    doors = {
        "conv2d": conv2d(Array(y), Array(w)),
        "plan": plan(Array(x), Array(w)),
        "layer": layer(Array(x)),
        "input": grad.conv_transpose2d_input(x.shape, Array(w), Array(y)),
        "weight": grad.conv_transpose2d_weight(Array(x), w.shape, Array(y)),
        **dict(enumerate(grad.conv_transpose2d_backward(Array(y), Array(x), Array(w)))),
    }
    assert {name: type(made) for name, made in doors.items()} == dict.fromkeys(doors, Array)
    for name, expected in (("conv2d", conv2d(y, w)), ("plan", y), ("layer", layer(x))):
        np.testing.assert_array_equal(doors[name].values, expected)
    for place, expected in enumerate(grad.conv_transpose2d_backward(y, x, w)):
        np.testing.assert_array_equal(doors[place].values, expected)


def test_one_and_three_dimensions_answer_in_kind():
    x, w, _ = operands()
    for name, a, b in (("1d", x[..., 0], w[..., 0]), ("3d", x[:, :, None], w[:, :, None])):
        forward, backward = getattr(upconv, f"conv_transpose{name}"), getattr(grad, f"conv_transpose{name}_backward")
        y = forward(a, b)
        made = [forward(Array(a), Array(b)), *backward(Array(y), Array(a), Array(b))]
        assert [type(each) for each in made] == [Array] * 4
        for each, expected in zip(made, (y, *backward(y, a, b)), strict=True):
            np.testing.assert_array_equal(each.values, expected)


def test_a_layer_answers_an_output_size_too():
    x, _, _ = operands()
    layer = upconv.ConvTranspose2d(4, 3, 3, stride=2, padding=1, rng=0)
    assert layer(Array(x), output_size=(10, 11)).shape == (2, 3, 10, 11)


def test_what_has_array_alone_is_read_and_answered_by_numpy():
    x, w, _ = operands()
    y = conv_transpose2d(Converted(x), Converted(w))
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, conv_transpose2d(x, w))


def test_a_library_without_from_dlpack_is_answered_by_numpy():
    x, w, _ = operands()
    bare = type("Bare", (Array,), {"__array_namespace__": lambda self: SimpleNamespace(__name__="bare")})
    assert type(conv_transpose2d(bare(x), w)) is np.ndarray


@pytest.mark.parametrize("locked", [False, True])
def test_an_out_of_another_library_is_written_in_place(monkeypatch, locked):
    x, w, _ = operands()
    y = conv_transpose2d(x, w)
    memory = np.zeros_like(y)
    out = Shared(memory)
    if locked:
        monkeypatch.setattr(np, "from_dlpack", _locking(np.from_dlpack))
    assert conv_transpose2d(x, w, out=out) is out
    np.testing.assert_array_equal(memory, y)
    memory[...] = 0
    assert upconv.plan(x, w)(x, w, out=out) is out
    np.testing.assert_array_equal(memory, y)
    with pytest.raises(SettingError, match="overlaps"):
        conv_transpose2d(x, np.ones((4, 4, 1, 1), np.float32), out=Shared(x))
    with pytest.raises(TypeError, match="out is Converted; it must be a NumPy array, or one that has __dlpack__"):
        conv_transpose2d(x, w, out=Converted(memory))


def _locking(from_dlpack):
    """NumPy's function as it was before 2.1: what it returns is read-only."""

    def before(array):
        view = from_dlpack(array)
        view.flags.writeable = False
        return view

    return before


@pytest.mark.parametrize("kind", [Array, Shared], ids=["DLPack alone", "a copy by __array__"])
def test_an_out_that_is_only_read_is_refused(monkeypatch, kind):
    x, w, _ = operands()
    memory = np.zeros_like(conv_transpose2d(x, w))
    monkeypatch.setattr(np, "from_dlpack", _locking(np.from_dlpack))
    monkeypatch.setattr(Shared, "__array__", lambda self, dtype=None, copy=None: self.values.copy())
    with pytest.raises(SettingError, match=rf"out is a \w+ {kind.__name__} that NumPy .* reads only; pass a NumPy"):
        conv_transpose2d(x, w, out=kind(memory))
    assert not memory.any()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_lies_on_a_device_is_refused_before_it_is_read(which):
    arrays = operands()
    arrays[which] = Array(arrays[which], CUDA)
    name = ("input", "weight", "bias")[which]
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(*arrays)
    assert str(caught.value).startswith(f"{name} is a library Array on a CUDA device, number 3; upconv computes")
    assert f"{name}.cpu()" in str(caught.value)
    assert arrays[which].reads == 0


def test_an_out_on_a_device_is_refused():
    x, w, _ = operands()
    with pytest.raises(SettingError, match="out is a library Array on device 99 of DLPack"):
        conv_transpose2d(x, w, out=Array(np.empty_like(x), 99))


def test_memory_pinned_for_a_device_is_the_processors():
    x, w, _ = operands()
    assert type(conv_transpose2d(Array(x, 3), w)) is Array


@pytest.mark.parametrize("bit", ["is_neg", "is_conj"])
def test_a_sign_that_is_not_in_memory_is_not_lost(bit):
    x, w, _ = operands()
    cure = bit.replace("is_", "resolve_")
    lazy = type("Lazy", (Array,), {bit: lambda self: True, cure: lambda self: self})
    with pytest.raises(SettingError, match=rf"other values; pass input.{cure}\(\)"):
        conv_transpose2d(lazy(x), w)


def test_what_its_library_does_not_give_away_is_said_with_its_reason():
    x, w, _ = operands()

    def refuse(self, **options):
        raise BufferError("it is sparse")

    with pytest.raises(SettingError, match="Sparse that cannot be read as an array: it is sparse"):
        conv_transpose2d(type("Sparse", (Array,), {"__dlpack__": refuse})(x), w)
    with pytest.raises(SettingError, match="without memory of its own to read: it is sparse"):
        conv_transpose2d(type("Meta", (Array,), {"__dlpack_device__": refuse})(x), w)
    # Where the library has another way, that one is taken.
    both = type("Both", (Array,), {"__dlpack__": refuse, "__array__": lambda self, *_, **__: x})
    np.testing.assert_array_equal(conv_transpose2d(both(x), w).values, conv_transpose2d(x, w))


def test_dtypes_are_those_of_numpys_arrays():
    with pytest.raises(NotImplementedError, match="input has dtype int32"):
        conv_transpose2d(Array(np.ones((1, 1, 2, 2), np.int32)), np.ones((1, 1, 1, 1), np.float32))


def test_writable_leaves_numpys_arrays_as_they_are():
    x, _, _ = operands()
    assert writable(x, "out") is x


# PyTorch -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    if not promised_or_there("torch"):
        pytest.skip("torch is not installed")
    import torch

    return torch


DTYPES = ["float16", "float32", "float64", "complex64", "int64", "bfloat16"]


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tensor_of_torch_is_written_into(torch, dtype, locked, monkeypatch):
    if dtype == "bfloat16" and not promised_or_there("ml_dtypes"):
        pytest.skip("ml_dtypes is not installed")
    x, w, _ = (torch.from_numpy(array).to(getattr(torch, dtype)) for array in operands())
    y = conv_transpose2d(x, w)
    out = torch.zeros_like(y)
    if locked:
        monkeypatch.setattr(np, "from_dlpack", _locking(np.from_dlpack))
    assert conv_transpose2d(x, w, out=out) is out
    assert torch.equal(out, y)
    assert out.any()


def test_a_result_without_values_may_lie_anywhere(monkeypatch):
    monkeypatch.setattr(np, "from_dlpack", _locking(np.from_dlpack))
    x, out = np.empty((0, 4, 5, 6), np.float32), Shared(np.empty((0, 3, 7, 7), np.float32))
    assert conv_transpose2d(x, operands()[1], out=out) is out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
def test_tensors_of_torch_go_in_and_come_out(torch, dtype, last):
    if dtype == "bfloat16" and not promised_or_there("ml_dtypes"):
        pytest.skip("ml_dtypes is not installed")
    x, w, b = (torch.from_numpy(array.round(1) * 10).to(getattr(torch, dtype)) for array in operands())
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    y = conv_transpose2d(x, w, b, 2)
    assert type(y) is torch.Tensor
    assert y.dtype == x.dtype
    assert y.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    wide = torch.complex128 if dtype.startswith("complex") else torch.float64
    expected = torch.nn.functional.conv_transpose2d(x.to(wide), w.to(wide), b.to(wide), 2)
    tolerance = {"float16": 1e-2, "bfloat16": 5e-2}.get(dtype, 1e-5)
    torch.testing.assert_close(y.to(wide), expected, rtol=tolerance, atol=10 * tolerance)
    out = torch.zeros_like(y)
    assert conv_transpose2d(x, w, b, 2, out=out) is out
    assert torch.equal(out, y)


def test_memory_of_torch_is_not_copied(torch):
    tensor = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert viewed(tensor, "input").ctypes.data == tensor.data_ptr()
    half = tensor.bfloat16()
    if promised_or_there("ml_dtypes"):
        assert viewed(half, "input").ctypes.data == half.data_ptr()
    result = np.ones(3)
    assert like(tensor, result).data_ptr() == result.ctypes.data


def test_tensors_that_cannot_be_read_in_place_are_refused(torch):
    x, w, _ = map(torch.from_numpy, operands())
    complex_ = torch.complex(x, x)
    for given, says in (
        (x.clone().requires_grad_(), "wants gradients"),
        (torch.nn.Parameter(x), "wants gradients"),
        (complex_.conj(), r"pass input.resolve_conj\(\)"),
        (complex_.conj().imag, r"pass input.resolve_neg\(\)"),
        (x.to("meta"), "without memory of its own"),
        (x.to_sparse(), "cannot be read as an array"),
    ):
        with pytest.raises(SettingError, match=says):
            conv_transpose2d(given, w)


def test_torch_is_not_imported_for_it():
    assert not {"torch"} & set(vars(sys.modules["upconv.interchange"]))


def test_arrays_of_jax_go_in_and_come_out():
    if not promised_or_there("jax"):
        pytest.skip("jax is not installed")
    import jax

    x, w, b = operands()
    y = conv_transpose2d(*map(jax.numpy.asarray, (x, w, b)), 2)
    assert isinstance(y, jax.Array)
    np.testing.assert_array_equal(np.asarray(y), conv_transpose2d(x, w, b, 2))
    half = [jax.numpy.asarray(array, jax.numpy.bfloat16) for array in (x, w)]
    made = conv_transpose2d(*half)
    assert made.dtype == jax.numpy.bfloat16
    np.testing.assert_allclose(np.asarray(made, np.float32), conv_transpose2d(x, w), rtol=0.05, atol=0.2)
