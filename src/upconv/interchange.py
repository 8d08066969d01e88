"""Arrays of other libraries as views of NumPy's, and results as arrays of theirs: DLPack, and `__array__`.

No library is imported for it: whose array it is, is asked for its own functions.
"""

import sys

import numpy as np

from .dtypes import parse
from .errors import SettingError

# Devices of DLPack whose memory the processor can read: its own, and what is pinned for CUDA and ROCm.
CPU = (1, 3, 11)
DEVICES = {2: "a CUDA device", 8: "a Metal device", 10: "a ROCm device", 13: "CUDA's managed memory", 14: "oneAPI"}
BFLOAT16 = "bfloat16"


def is_foreign(value) -> bool:
    """Whether a value is another library's array, which results are to be like."""
    return not isinstance(value, np.ndarray | np.generic) and (
        hasattr(value, "__dlpack__") or hasattr(value, "__array__")
    )


def viewed(value, name: str) -> np.ndarray:
    """A foreign array as NumPy's, which shares its memory; a copy only where its library has no other way.

    Args:
        value: what has `__dlpack__` or `__array__`.
        name: what messages call it.

    Raises:
        SettingError: for what lies on a device, what wants gradients, and what its library does not give away.
    """
    if not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    _check(value, name)
    try:
        return np.from_dlpack(value)
    except Exception as error:
        # Libraries refuse in errors of every kind.
        refusal = error
    if str(value.dtype) == "torch.bfloat16":
        # DLPack has the dtype, NumPy's side of it has not: what is exchanged are the bits.
        return np.from_dlpack(value.view(_library(value).int16)).view(parse(BFLOAT16))
    try:
        if hasattr(value, "__array__"):
            return np.asarray(value)
    except Exception:
        pass
    raise SettingError(f"{name} is a {_kind(value)} that cannot be read as an array: {refusal}") from None


def like(value, result: np.ndarray):
    """A result as an array of the library whose array `value` is; itself beside NumPy's arrays and lists.

    It shares the result's memory. Libraries without a `from_dlpack` get NumPy's array.
    """
    if type(value) is np.ndarray or not is_foreign(value):
        return result
    library = _library(value)
    take = getattr(library, "from_dlpack", None)
    if take is None:
        return result
    if result.dtype.name != BFLOAT16:
        return take(result)
    if library.__name__ == "torch":
        return take(result.view(np.int16)).view(library.bfloat16)
    return library.asarray(result) if hasattr(library, "asarray") else result


def writable(out, name: str) -> np.ndarray:
    """A foreign array to write into, as NumPy's view of its memory; never a copy.

    Raises:
        TypeError: for what is no array, or shares no memory.
        SettingError: as in `viewed`.
    """
    if isinstance(out, np.ndarray):
        return out
    if not hasattr(out, "__dlpack__"):
        raise TypeError(f"{name} is {type(out).__name__}; it must be a NumPy array, or one that has __dlpack__")
    _check(out, name)
    if str(out.dtype) == "torch.bfloat16":
        return writable(out.view(_library(out).int16), name).view(parse(BFLOAT16))
    try:
        view = np.from_dlpack(out)
    except Exception as error:
        raise SettingError(f"{name} is a {_kind(out)} that cannot be written into: {error}") from None
    return view if view.flags.writeable else _without_lock(out, view, name)


def _without_lock(out, locked, name):
    """The memory of a read-only view as a writeable one, where the library hands it out so.

    NumPy before 2.1 locks whatever comes by DLPack, which then had no word for what may be written.
    """
    try:
        view = np.asarray(out)
    except Exception:
        view = None
    if isinstance(view, np.ndarray) and view.flags.writeable and _memory(view) == _memory(locked):
        return view
    raise SettingError(
        f"{name} is a {_kind(out)} that NumPy {np.__version__} reads only; pass a NumPy array"
        + ("" if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else ", or install NumPy 2.1 or later")
    )


def _memory(array):
    """All that tells where an array's values lie, and how: of what holds none, it does not matter where."""
    place = (array.__array_interface__["data"][0], array.strides) if array.size else None
    return place, array.shape, array.dtype


def _check(value, name):
    """Refuse what lies elsewhere, or means something else than its memory holds."""
    try:
        device, number = value.__dlpack_device__()
    except Exception as error:
        raise SettingError(f"{name} is a {_kind(value)} without memory of its own to read: {error}") from None
    if int(device) not in CPU:
        where = DEVICES.get(int(device), f"device {int(device)} of DLPack")
        raise SettingError(
            f"{name} is a {_kind(value)} on {where}, number {number}; upconv computes on the CPU: bring it there first "
            f"({name}.cpu(), or what its library calls it)"
        )
    if getattr(value, "requires_grad", False) is True:
        raise SettingError(
            f"{name} is a {_kind(value)} that wants gradients, which NumPy would not pass on; pass "
            f"{name}.detach(), or compute in PyTorch, where upconv.torch has the transposed convolutions"
        )
    for bit, cure in (("is_neg", "resolve_neg"), ("is_conj", "resolve_conj")):
        # DLPack would hand out the memory without the sign that the bit stands for.
        if hasattr(value, cure) and getattr(value, bit)():
            raise SettingError(f"{name} is a {_kind(value)} whose memory holds other values; pass {name}.{cure}()")


def _library(value):
    """The module with the functions of the library, or None."""
    if hasattr(value, "__array_namespace__"):
        return value.__array_namespace__()
    return sys.modules.get(type(value).__module__.split(".")[0])


def _kind(value):
    return f"{type(value).__module__.split('.')[0]} {type(value).__name__}"
