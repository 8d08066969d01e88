"""The dtypes that the layer accepts: a row each, and nothing else anywhere that a new one would need."""

from dataclasses import dataclass

import numpy as np

from .errors import SettingError


@dataclass(frozen=True, slots=True)
class Dtype:
    """How values of one dtype are stored and summed.

    `itemsize` is the number of bytes of one value. `compute` is the NumPy dtype of products and sums; the result is
    rounded to `name` once, at the end. `eps` is the spacing of `name` at 1 (0 for integers, which wrap around as
    NumPy's and torch's do). Integers have no gradients.

    A problem of this dtype is computed in one of three ways: by kernels whose elements have the type `element` of the
    staged language; by way of the dtype `wider`, converted before and after; or, if `compute` is complex, as a real
    problem of twice the channels in `wider`. With neither, NumPy's products compute it.
    """

    name: str
    itemsize: int
    compute: type
    eps: float
    differentiable: bool = True
    element: str = ""
    wider: str = ""

    @property
    def kind(self) -> str:
        """NumPy's letter for the kind of number that it computes with: f, c or i."""
        return np.dtype(self.compute).kind


DTYPES = {
    row.name: row
    for row in (
        Dtype("float16", 2, np.float32, 2.0**-10, wider="float32"),
        Dtype("bfloat16", 2, np.float32, 2.0**-7, wider="float32"),
        Dtype("float32", 4, np.float32, 2.0**-23, element="f32"),
        Dtype("float64", 8, np.float64, 2.0**-52, element="f64"),
        Dtype("complex64", 8, np.complex64, 2.0**-23, wider="float32"),
        Dtype("complex128", 16, np.complex128, 2.0**-52, wider="float64"),
        Dtype("int64", 8, np.int64, 0.0, differentiable=False, element="i64"),
    )
}

WITH_GRADIENTS = ", ".join(row.name for row in DTYPES.values() if row.differentiable)


def quiet():
    """A context in which NumPy does not warn: infinities, and zeros by rounding, are results like others here."""
    return np.errstate(invalid="ignore", over="ignore", under="ignore")


def parse(value):
    """The NumPy dtype that a user names, float32 for None; "bfloat16" is ml_dtypes'.

    Raises:
        TypeError: for what is no dtype.

    >>> parse(None), parse("f8")
    (dtype('float32'), dtype('float64'))
    """
    if isinstance(value, str) and value == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise TypeError("dtype is 'bfloat16', which needs ml_dtypes: pip install 'upconv[bfloat16]'") from None
        return np.dtype(ml_dtypes.bfloat16)
    try:
        return np.dtype(np.float32 if value is None else value)
    except (TypeError, ValueError):
        raise TypeError(f"dtype is {value!r}; it must be one of NumPy's {', '.join(DTYPES)}") from None


def parse_of_parameters(value):
    """The same for what has gradients, as a layer's parameters.

    Raises:
        TypeError: for what is no dtype.
        SettingError: for one that has no gradients.
        NotImplementedError: for one that is not supported at all.

    >>> parse_of_parameters("int64")
    Traceback (most recent call last):
    upconv.errors.SettingError: dtype is int64; ... allowed are float16, ..., complex128: dtype='float32' would do
    """
    dtype = parse(value)
    row = DTYPES.get(dtype.name)
    if row is not None and row.differentiable:
        return dtype
    near = "complex128" if dtype.kind == "c" else "float64" if dtype.itemsize > 8 else "float32"
    raise (NotImplementedError if row is None else SettingError)(
        f"dtype is {dtype.name}; a layer has floating-point or complex parameters, and allowed are {WITH_GRADIENTS}: "
        f"dtype={near!r} would do"
    )


def lookup(dtype, name="input"):
    """The row of a NumPy dtype of any byte order.

    Raises:
        NotImplementedError: for every other dtype.

    >>> lookup(np.dtype(">f4")).name
    'float32'
    """
    # The name of a dtype takes microseconds to make, its hash does not.
    row = _seen.get(dtype)
    if row is not None:
        return row
    row = DTYPES.get(np.dtype(dtype).name)
    if row is None:
        raise NotImplementedError(
            f"{name} has dtype {np.dtype(dtype).name}; allowed are {', '.join(DTYPES)}. Convert it with "
            f".astype({_nearest(np.dtype(dtype))!r})"
        )
    return _seen.setdefault(dtype, row)


_seen = {}


def _nearest(dtype):
    return {"i": "int64", "u": "float32", "b": "float32", "c": "complex128"}.get(dtype.kind, "float64")
