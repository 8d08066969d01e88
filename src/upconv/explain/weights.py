"""Weights out of files: NumPy's npz and npy, and safetensors, which is a header in JSON and the numbers behind it."""

import json
import struct
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from ..errors import SettingError

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
TORCH = (".pt", ".pth", ".bin", ".ckpt")
LONGEST_HEADER = 100_000_000


def arrays(path, torch_arrays=None) -> dict[str, np.ndarray]:
    """Every array of a file by name.

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
        raise ValueError(f"{path.name} ends in {kind!r}; it must be one of {', '.join([*readers, *TORCH])}")
    return readers[kind](path)


def kernels(found) -> dict[str, np.ndarray]:
    """Those arrays that can be the weight of a 2-D layer: real, four axes, more than one tap.

    >>> sorted(kernels({"up.weight": np.ones((2, 1, 3, 3)), "up.bias": np.ones(2), "one": np.ones((2, 2, 1, 1))}))
    ['up.weight']
    """
    return {
        name: array
        for name, array in found.items()
        if array.ndim == 4 and array.dtype.kind == "f" and array.shape[2] * array.shape[3] > 1
    }


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
        entries = {name: (each["dtype"], tuple(each["shape"]), each["data_offsets"]) for name, each in _tensors(header)}
        body = data[8 + length :]
        return {name: _array(body, *entry) for name, entry in entries.items() if entry[0] in (*TYPES, "BF16")}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingError(f"{path.name} is no safetensors file: {error}") from None


def _tensors(header):
    return ((name, each) for name, each in header.items() if name != "__metadata__")


def _array(body, dtype, shape, offsets):
    begin, end = offsets
    part = body[begin:end]
    count = int(np.prod(shape, dtype=np.int64))
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        halves = np.frombuffer(part, "<u2").astype(np.uint32) << 16
        values = halves.view(np.float32)
    else:
        values = np.frombuffer(part, TYPES[dtype])
    if values.size != count:
        raise SettingError(f"a tensor of shape {shape} has {values.size} values in the file, not {count}")
    return values.reshape(shape)
