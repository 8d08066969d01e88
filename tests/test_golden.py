"""PyTorch's stored answers: values, gradients, accuracy, layouts, refusals, sizes and reprs, without PyTorch.

Made by make_golden.py. Operands are whole numbers, so every dtype must give torch's float64 answer, rounded once.
"""

import builtins
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from cases import ACCURACY, CASES, LAYOUTS, as_dtype, channels_last
from compare import assert_layout

import upconv

DATA = Path(__file__).parent / "data"
FACTS = json.loads((DATA / "golden.json").read_text())
ARRAYS = np.load(DATA / "golden.npz", allow_pickle=False)
COMPLEX = [case for case in CASES if f"{case.name}/complex/y" in ARRAYS]


def stored(case, name, dtype="float64"):
    """torch's answer as the dtype holds it; real answers serve complex dtypes where the operands are real."""
    return ARRAYS[f"{case.name}/{name}"].astype(dtype)


def stored_complex(case, name):
    parts = ARRAYS[f"{case.name}/complex/{name}"].astype(float)
    return parts[..., 0] + 1j * parts[..., 1]


def test_the_operands_are_those_that_torch_saw():
    for case in CASES:
        arrays = case.arrays("int64", kind="exact")
        checksum = zlib.crc32(b"".join(array.tobytes() for array in arrays))
        assert checksum == FACTS["checksums"][case.name], case
    assert FACTS["checksums"].keys() == {case.name for case in CASES}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_is_torchs_answer_exactly(case, dtype):
    for layout in LAYOUTS:
        x, w, b, _ = case.arrays(dtype, layout, kind="exact")
        y = upconv.conv_transpose2d(x, w, b, **case.settings)
        np.testing.assert_array_equal(y, stored(case, "y", y.dtype))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_torchs_answers_exactly(case):
    for dtype in ("float64", "float32", "float16")[: 2 + CASES.index(case) % 2]:
        x, w, _, grad_y = case.arrays(dtype, LAYOUTS[CASES.index(case) % 2], kind="exact")
        gradients = upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings)
        for name, gradient in zip(("grad_x", "grad_w", "grad_b"), gradients, strict=True):
            np.testing.assert_array_equal(gradient, stored(case, name, gradient.dtype), err_msg=f"{name} {dtype}")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_answers_and_gradients_conjugate_as_torch_does(dtype):
    assert len(COMPLEX) > 25
    for case in COMPLEX:
        x, w, b, grad_y = case.arrays(dtype, kind="exact")
        y = upconv.conv_transpose2d(x, w, b, **case.settings)
        gradients = upconv.grad.conv_transpose2d_backward(grad_y, x, w, **case.settings)
        for name, got in zip(("y", "grad_x", "grad_w", "grad_b"), (y, *gradients), strict=True):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, stored_complex(case, name), err_msg=f"{case} {name}")


def test_the_single_gradients_are_those_of_the_whole_backward_pass():
    for case in CASES[::7]:
        x, w, _, grad_y = case.arrays(kind="exact")
        by_input = upconv.grad.conv_transpose2d_input(x.shape, w, grad_y, **case.settings)
        by_weight = upconv.grad.conv_transpose2d_weight(x, w.shape, grad_y, **case.settings)
        np.testing.assert_array_equal(by_input, stored(case, "grad_x"))
        np.testing.assert_array_equal(by_weight, stored(case, "grad_w"))


def test_the_reference_gives_torchs_answers():
    for case in CASES[84:]:
        g, (x, w, b, grad_y) = case.geometry(), case.arrays(kind="exact")
        np.testing.assert_array_equal(upconv.reference.scatter(g, x, w, b), stored(case, "y"))
        np.testing.assert_array_equal(upconv.reference.grad_input(g, grad_y, w), stored(case, "grad_x"))
        np.testing.assert_array_equal(upconv.reference.grad_weight(g, x, grad_y), stored(case, "grad_w"))


def accuracy_cases():
    from_file = {}
    for key, error in FACTS["accuracy"].items():
        name, dtype, kind = key.split("/")
        from_file.setdefault(name, []).append((dtype, kind, error))
    return from_file


@pytest.mark.parametrize("case", ACCURACY, ids=str)
def test_the_error_is_at_most_twice_that_of_torch(case):
    for dtype, kind, torchs in accuracy_cases()[case.name]:
        for layout in LAYOUTS:
            arrays = case.arrays(dtype, layout, kind=kind)
            want = upconv.reference.scatter(case.geometry(), *arrays[:3])
            got = upconv.conv_transpose2d(*arrays[:3], **case.settings)
            error = rms(got.astype(want.dtype) - want) / rms(want)
            assert error <= 2 * torchs, (dtype, kind, layout, error, torchs)


def rms(array):
    return float(np.sqrt(np.mean(np.abs(array) ** 2)))


def is_tie(shape):
    """One channel, 1x1 maps, nothing at all, or no batch: both layouts are the same memory."""
    return len(shape) == 3 or shape[1] == 1 or shape[2] == shape[3] == 1 or 0 in shape


def test_the_layout_is_that_of_torch_and_nchw_for_ties():
    """torch reads strides of axes of size 1, which NumPy leaves arbitrary, and so calls some ties channels-last."""
    differing = 0
    for x_shape, w_shape, x_last, w_last, torchs in FACTS["layouts"]:
        x, w = np.zeros(x_shape), np.zeros(w_shape)
        if x_last:
            x = channels_last(x.reshape((1,) * (4 - x.ndim) + x.shape)).reshape(x.shape)
        w = channels_last(w) if w_last else w
        decided = [shape for shape, last in ((x_shape, x_last), (w_shape, w_last)) if last and not is_tie(shape)]
        want = "nchw" if not decided else torchs
        differing += want != torchs
        y = upconv.conv_transpose2d(x, w)
        if y.ndim == 4 and y.size:
            assert_layout(y, want)
    assert differing == 3


def raises(name, call):
    with pytest.raises((RuntimeError, ValueError, TypeError, NotImplementedError)) as refusal:
        call()
    assert isinstance(refusal.value, getattr(builtins, name)), (name, refusal)


@pytest.mark.parametrize("entry", FACTS["refusals"], ids=lambda entry: json.dumps(entry[0]))
def test_what_torch_refuses_is_refused_with_an_exception_that_its_users_catch(entry):
    call, torchs = entry
    settings = {key: value for key, value in call.items() if key not in ("x", "w", "b", "x_dtype", "w_dtype")}
    x = np.zeros(call.get("x", (1, 4, 5, 6)), as_dtype(call.get("x_dtype", "float32")))
    w = np.zeros(call.get("w", (4, 3, 3, 3)), as_dtype(call.get("w_dtype", "float32")))
    b = np.zeros(call["b"], np.float32) if "b" in call else None
    raises(torchs, lambda: upconv.conv_transpose2d(x, w, b, **settings))


def plain(value):
    return tuple(value) if isinstance(value, list) else value


def layer(positional, named):
    return upconv.ConvTranspose2d(*map(plain, positional), **{key: plain(value) for key, value in named.items()})


@pytest.mark.parametrize("entry", FACTS["layer_refusals"], ids=lambda entry: json.dumps(entry[:2]))
def test_constructors_that_torch_refuses_are_refused(entry):
    positional, named, torchs = entry
    raises(torchs, lambda: layer(positional, named))


@pytest.mark.parametrize("entry", FACTS["reprs"], ids=lambda entry: entry[2])
def test_the_repr_is_torchs(entry):
    positional, named, text = entry
    assert repr(layer(positional, named)) == text


def test_output_size_accepts_what_torch_accepts_and_nothing_else():
    for positional, named, accepted in FACTS["output_sizes"]:
        made = layer(positional, {**named, "dtype": "float32"})
        x = np.zeros((1, made.in_channels, 5, 5), np.float32)
        found = []
        for size in range(41):
            try:
                assert made(x, [size, size]).shape[2:] == (size, size)
                found.append(size)
            except upconv.SettingError:
                pass
        assert found == accepted, (positional, named)
