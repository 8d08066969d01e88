"""The dtypes that the layer accepts: a row each."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Dtype:
    """How values of one dtype are stored and summed.

    `compute` is the NumPy dtype of products and sums; the result is rounded to `name` once, at the end. `eps` is the
    spacing of `name` at 1 (0 for integers, which wrap around as NumPy's and torch's do). Integers have no gradients.
    """

    name: str
    compute: type
    eps: float
    differentiable: bool = True


DTYPES = {
    row.name: row
    for row in (
        Dtype("float16", np.float32, 2.0**-10),
        Dtype("bfloat16", np.float32, 2.0**-7),
        Dtype("float32", np.float32, 2.0**-23),
        Dtype("float64", np.float64, 2.0**-52),
        Dtype("complex64", np.complex64, 2.0**-23),
        Dtype("complex128", np.complex128, 2.0**-52),
        Dtype("int64", np.int64, 0.0, differentiable=False),
    )
}


def lookup(dtype, name="input"):
    """The row of a NumPy dtype of any byte order.

    Raises:
        NotImplementedError: for every other dtype.

    >>> lookup(np.dtype(">f4")).name
    'float32'
    """
    row = DTYPES.get(np.dtype(dtype).name)
    if row is None:
        raise NotImplementedError(
            f"{name} has dtype {np.dtype(dtype).name}; allowed are {', '.join(DTYPES)}. Convert it with "
            f".astype({_nearest(np.dtype(dtype))!r})"
        )
    return row


def _nearest(dtype):
    return {"i": "int64", "u": "float32", "b": "float32", "c": "complex128"}.get(dtype.kind, "float64")
