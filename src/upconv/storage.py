"""Weights that are kept in halves: the bits, and the error that was made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .errors import SettingError
from .halves import narrow, widen

STORAGES = ("float16", "bfloat16")


class Error(NamedTuple):
    """What was lost: the largest error relative to its number, and the root of the mean square, relative to that.

    >>> str(Error(2.0**-9, 2.0**-10))
    'off by at most 0.00195, rms 0.000977'
    """

    largest: float
    rms: float

    def __str__(self) -> str:
        return f"off by at most {self.largest:.3g}, rms {self.rms:.3g}"


def check(storage: str | None, dtype: str) -> str:
    """The storage that a user names, "" for None.

    Raises:
        SettingError: for another name, or a weight that is not float32.
    """
    if storage is None:
        return ""
    if storage not in STORAGES:
        raise SettingError(f"storage is {storage!r}; it must be {' or '.join(map(repr, STORAGES))}, or None")
    if dtype != "float32":
        raise SettingError(
            f"storage is {storage!r} for a weight of {dtype}; it is for float32 alone: pass weight.astype('float32'), "
            "or no storage"
        )
    return storage


def stored(weight: np.ndarray, storage: str) -> tuple[np.ndarray, Error]:
    """(the halves nearest to a weight, as uint16 that lie like it; the error).

    Raises:
        SettingError: for a number that is too large.
    """
    bits = np.empty_like(weight, np.uint16, order="K", subok=False)
    narrow(weight, bits, storage)
    wide = as_float32(bits, storage)
    lost = np.isinf(wide) & np.isfinite(weight)
    if lost.any():
        place = tuple(int(index) for index in np.argwhere(lost)[0])
        largest = "65504" if storage == "float16" else "3.39e38"
        other = "storage='bfloat16' can, or pass no storage" if storage == "float16" else "pass no storage"
        raise SettingError(
            f"weight holds {float(weight[place]):.7g} at {place}, which {storage} cannot (at most {largest}); {other}"
        )
    return bits, _error(weight, wide)


def as_float32(bits: np.ndarray, storage: str) -> np.ndarray:
    """Halves as float32, in fresh memory in the same order."""
    wide = np.empty_like(bits, np.float32)
    widen(bits, wide, storage)
    return wide


def _error(weight, wide):
    finite = np.isfinite(weight) & (weight != 0)
    exact = np.abs(weight[finite].astype(np.float64))
    if not exact.size:
        return Error(0.0, 0.0)
    wrong = np.abs(wide[finite].astype(np.float64) - weight[finite])
    # The scale keeps the squares of the largest numbers finite, and those of the least above zero.
    scale = exact.max()
    rms = np.sqrt(np.square(wrong / scale).sum() / np.square(exact / scale).sum())
    return Error(float((wrong / exact).max()), float(rms))
