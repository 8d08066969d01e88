"""Subclasses of arrays that lie about where and how they lie in memory: the base array is what counts, everywhere."""

import numpy as np
import pytest

import upconv

X, W, B = (1, 4, 6, 6), (4, 4, 4, 4), (4,)
LARGE_X = (4, 16, 40, 40)


class Liar(np.ndarray):
    """An array that claims to be a decoy: what reads or writes through the claim meets the decoy's memory."""

    decoy = None

    def as_claimed(self, name):
        return getattr(np.ndarray, name).__get__(self if self.decoy is None else self.decoy)

    @property
    def __array_interface__(self):
        return self.as_claimed("__array_interface__")

    @property
    def __array_struct__(self):
        return self.as_claimed("__array_struct__")

    @property
    def ctypes(self):
        return self.as_claimed("ctypes")


class ShapeLiar(Liar):
    """One that claims other sizes and strides too."""

    @property
    def strides(self):
        return tuple(2 * stride for stride in np.ndarray.strides.__get__(self))

    @property
    def flags(self):
        return np.ndarray.flags.__get__(self.decoy)

    def view(self, *_):
        return self.decoy


def liar(array, kind=Liar):
    """The array as one of the kind, whose decoy holds 7 everywhere."""
    made = np.ndarray.view(array, kind)
    made.decoy = np.full(np.ndarray.shape.__get__(array), 7, array.dtype)
    return made


def numbers(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(-3, 4, shape).astype(np.float32) for shape in shapes]


def calls(x, w, b, out):
    """Every door that takes arrays, by name; out is None or has the result's shape."""
    backward = upconv.grad.conv_transpose2d_backward
    layer = upconv.ConvTranspose2d(w.shape[0], w.shape[1], 4, 2, rng=0)
    y = upconv.conv_transpose2d(np.asarray(x), np.asarray(w), None, 2)
    return {
        "function": lambda: upconv.conv_transpose2d(x, w, b, 2, out=out),
        "plan": lambda: upconv.plan(x, w, b, 2)(x, w, b, out=out),
        "matmul": lambda: upconv.conv_transpose2d(x, w, b, 2, out=out, algorithm="matmul"),
        "conv2d": lambda: upconv.conv2d(x, w.swapaxes(0, 1)),
        "gradients": lambda: np.concatenate([np.ravel(g) for g in backward(np.asarray(y), x, w, 2)]),
        "layer": lambda: layer.load_state_dict({"weight": w, "bias": b}) and layer(x),
    }


@pytest.mark.parametrize("kind", [Liar, ShapeLiar])
@pytest.mark.parametrize("which", ["x", "w", "b", "out"])
@pytest.mark.parametrize("door", calls(*numbers(X, W, B), None))
@pytest.mark.parametrize("size", [X, LARGE_X], ids=["brief", "pooled"])
def test_what_a_subclass_claims_is_neither_read_nor_written(size, door, which, kind):
    x, w, b = numbers(size, (size[1], 4, 4, 4), B)
    want = calls(x, w, b, None)[door]()
    operands = {"x": x, "w": w, "b": b, "out": np.full(want.shape, np.nan, np.float32)}
    lying = operands | {which: liar(operands[which], kind)}
    if which != "out":
        lying["out"] = None
    got = calls(**lying)[door]()
    assert np.array_equal(np.asarray(got), want)
    assert (lying[which].decoy == 7).all()
    if which == "out" and door in ("function", "plan", "matmul"):
        assert got is lying["out"]
        assert np.array_equal(operands["out"], want), "the memory behind it holds something else"
