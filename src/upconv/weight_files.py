"""Files of arrays: NumPy's npz and npy, and safetensors, which is a header in JSON and the numbers behind it."""

import io
import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn
from zipfile import is_zipfile

import numpy as np

from .errors import SettingError
from .files import write_atomically

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
TORCH = (".pt", ".pth", ".bin", ".ckpt")
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Unreadable:
    """A tensor of a dtype that is not read here; who asks for its values is told so, and nobody else."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def refuse(self) -> NoReturn:
        """Say which dtype it is."""
        known = ", ".join([*TYPES, "BF16"])
        raise SettingError(f"{self.name} has dtype {self.dtype}; of safetensors these are read: {known}")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        self.refuse()


def arrays(path, torch_arrays=None) -> dict[str, Any]:
    """Every array of a file by name; a tensor of a dtype that is not read is an `Unreadable`.

    Args:
        path: a file ending in .npz, .npy, .safetensors, or one of PyTorch's: .pt, .pth, .bin, .ckpt.
        torch_arrays: the function that reads PyTorch's files, of one path.

    Raises:
        OSError: for a file that is not there.
        ValueError: for an ending that is none of these, and for files that are damaged.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind in TORCH and torch_arrays is not None:
        return torch_arrays(path)
    readers = {".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}
    if kind not in readers:
        raise _unknown(path, [*readers, *TORCH])
    return readers[kind](path)


def write(path, found) -> None:
    """Write arrays by name into a file.

    Args:
        path: a file ending in .npz or .safetensors; one that exists is replaced.
        found: NumPy arrays by name.

    Raises:
        OSError: when the file cannot be written.
        ValueError: for another ending, and dtypes that safetensors does not have.
    """
    path = Path(path)
    writers = {".npz": _npz_bytes, ".safetensors": _safetensors_bytes}
    kind = path.suffix.lower()
    if kind not in writers:
        raise _unknown(path, writers)
    write_atomically(path, writers[kind](found))


def _unknown(path, kinds):
    ends = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
    return ValueError(f"{path.name} {ends}; it must be one of {', '.join(kinds)}")


def _npz(path):
    if path.exists() and not is_zipfile(path):
        raise SettingError(f"{path.name} is no npz file: it is not a zip archive")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _npy(path):
    return {path.stem: np.load(path, allow_pickle=False)}


def _safetensors(path):
    data = path.read_bytes()
    if len(data) < 8 or not 0 < (length := struct.unpack("<Q", data[:8])[0]) <= min(len(data) - 8, LONGEST_HEADER):
        raise SettingError(f"{path.name} is no safetensors file: its header has no sensible length")
    try:
        header = json.loads(data[8 : 8 + length])
        body = data[8 + length :]
        return {
            name: _array(body, name, str(each["dtype"]), each["shape"], each["data_offsets"])
            for name, each in _tensors(header)
        }
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise SettingError(f"{path.name} is no safetensors file: {error}") from None


def _tensors(header):
    return ((name, each) for name, each in header.items() if name != "__metadata__")


def _array(body, name, dtype, shape, offsets):
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= len(body):
        raise ValueError(f"{name} has data_offsets {offsets}, in a file with {len(body)} bytes of numbers")
    if not _are_sizes(shape):
        raise ValueError(f"{name} has shape {shape}")
    shape, part = tuple(shape), body[offsets[0] : offsets[1]]
    if dtype not in TYPES and dtype != "BF16":
        return Unreadable(name, dtype, shape)
    # A bfloat16 is the upper half of a float32.
    kept = np.dtype(TYPES.get(dtype, "<u2"))
    count = prod(shape)
    if len(part) != count * kept.itemsize:
        raise ValueError(f"{name} has {len(part)} bytes in the file; {count} of {dtype} take {count * kept.itemsize}")
    values = np.frombuffer(part, kept)
    if dtype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def _are_sizes(values):
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _npz_bytes(found):
    for name, array in found.items():
        if array.dtype.hasobject:
            raise SettingError(
                f"{name} has dtype {array.dtype}, which npz would keep as a pickle; make it numbers first"
            )
        if array.dtype.name == "bfloat16":
            raise SettingError(f"{name} has dtype {array.dtype}, which npz would not give back; save as .safetensors")
    made = io.BytesIO()
    np.savez(made, **found)
    return made.getvalue()


def _safetensors_bytes(found):
    header, parts, begin = {}, [], 0
    for name, array in found.items():
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        shape, end = list(array.shape), begin + len(data)
        header[name] = {"dtype": _type_of(name, array), "shape": shape, "data_offsets": [begin, end]}
        parts.append(data)
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    # The numbers begin at a multiple of 8, so that they can be read where they lie.
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def _type_of(name, array):
    if array.dtype.name == "bfloat16":
        return "BF16"
    found = next((key for key, value in TYPES.items() if np.dtype(value) == array.dtype.newbyteorder("<")), None)
    if found is None:
        raise SettingError(f"{name} has dtype {array.dtype}; safetensors has {', '.join([*TYPES, 'BF16'])}")
    return found
