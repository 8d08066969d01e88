"""Tensors as arrays in place, results as tensors, and what of torch's many kinds of tensors is ours to compute."""

import ctypes
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import torch

from .. import dtypes
from ..arrays import SIZES, check_bias, check_weight_shape
from ..errors import SettingError
from ..prepared import prepared_of
from ..settings import Settings

NAMES = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
    torch.int64: "int64",
}
# NumPy's bfloat16 is ml_dtypes'; where that is missing, torch's operator computes it.
if find_spec("ml_dtypes") is None:
    del NAMES[torch.bfloat16]
PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})


def is_plain(tensor):
    """Whether a tensor is of a dtype of ours, dense, on the CPU, and of no class that has operators of its own."""
    return (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.dtype in NAMES
        and tensor.layout is torch.strided
        and not tensor.is_nested
    )


def has_memory(tensor):
    """Whether its elements lie in memory: a tensor inside a transform of torch's can be plain and yet hold none."""
    return torch._C._has_storage(tensor)


class _Memory(ctypes.c_char * 2**62):
    """What begins at an address, for NumPy; its `tensor` lives as long."""

    __slots__ = ("tensor",)


def array(tensor):
    """The array that shares a plain tensor's memory, or that of its values where they lie conjugated or negated.

    Not by `Tensor.numpy`, which forbids for good that the storage is resized, as FSDP does with every weight.

    Raises:
        SettingError: for a tensor whose storage has been emptied.
    """
    if tensor.is_neg() or tensor.is_conj():
        tensor = tensor.detach().resolve_neg().resolve_conj()
    address = tensor.data_ptr()
    if not address and tensor.numel():
        # NumPy would take fresh memory for it, and what lies there.
        raise SettingError(
            f"a tensor of shape {tuple(tensor.shape)} has no memory: its storage was emptied, as FSDP does with the "
            "weights of a layer that is not running"
        )
    memory = _Memory.from_address(address)
    memory.tensor = tensor
    strides = _in_bytes(tensor.stride(), tensor.element_size())
    return np.ndarray(tensor.shape, numpy_dtype(tensor.dtype), memory, 0, strides)


@lru_cache(maxsize=512)
def _in_bytes(strides, size):
    return tuple(size * stride for stride in strides)


def own(weight, storage=""):
    """A tensor that nobody else holds or writes to, packed once from now on, as by `upconv.prepare`; gives it back.

    With a storage it is rounded to what these halves can say, so that torch's operator computes with the same numbers.
    """
    if weight.ndim in (3, 4, 5) and is_plain(weight) and has_memory(weight):
        values = array(weight)
        weight.upconv_prepared = prepared_of(values, Settings.of(dimensions=weight.ndim - 2), storage)
        if storage:
            values[...] = weight.upconv_prepared.array.reshape(values.shape)
    return weight


def operand(tensor):
    """The second operand of an operation: the array of a tensor, or what was prepared from one that is upconv's own."""
    prepared = getattr(tensor, "upconv_prepared", None)
    return array(tensor) if prepared is None else prepared


def as_2d(weight):
    """The weight of a 1-D layer as that of a map of height 1, with what was prepared from it."""
    whole = weight.unsqueeze(-2)
    prepared = getattr(weight, "upconv_prepared", None)
    if prepared is not None:
        whole.upconv_prepared = prepared
    return whole


def tensor(array, dtype):
    """The tensor that shares an array's memory; the memory goes back to upconv's list with the tensor's last view."""
    if dtype is torch.bfloat16:
        return torch.from_numpy(array.view("int16")).view(dtype)
    return torch.from_numpy(array)


@lru_cache(maxsize=8)
def numpy_dtype(dtype):
    """The NumPy dtype of a torch dtype of ours."""
    return dtypes.parse(NAMES[dtype])


def is_channels_last(shape, strides):
    """Torch's rule on the strides of a map or a volume, which decides in which memory format its operators answer.

    From the innermost axis outwards no stride may be below the extent of what is inside, not even that of an axis of
    length 1, and where both orders are the same memory the answer is no. Sizes and strides may be symbolic.
    """
    if strides[1] == 0 or any(size == 0 for size in shape):
        return False
    extent = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if strides[axis] < extent or (axis == 0 and extent == strides[1]):
            return False
        extent = strides[axis] * shape[axis]
    return True


def check_dtypes(**tensors):
    """Refuse tensors of different dtypes; None is skipped. Nothing is promoted, as in torch."""
    (first, a), *others = [(name, tensor) for name, tensor in tensors.items() if tensor is not None]
    for name, b in others:
        if a.dtype is not b.dtype:
            cure = f"{name}.to({a.dtype}) does it"
            if name != "bias":
                cure = f"either {first}.to({b.dtype}) or {cure}"
            raise SettingError(
                f"{first} has dtype {_name(a)} and {name} {_name(b)}; they must agree, since nothing is "
                f"promoted: {cure}"
            )


def _name(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def geometry_of(settings, x_shape, w_shape, b_shape):
    """The Geometry or Volume of operands of these shapes, after refusing what does not fit, in the order of NumPy's."""
    x_shape, w_shape = tuple(x_shape), tuple(w_shape)
    if len(x_shape) != settings.dimensions + 2:
        sizes = SIZES[settings.dimensions]
        raise SettingError(f"input has shape {x_shape}; it must be (n, {sizes}), or ({sizes}) without a batch")
    check_weight_shape(w_shape, settings.dimensions)
    geometry = settings.geometry(x_shape, w_shape)
    if b_shape is not None:
        check_bias(tuple(b_shape), geometry.c_out)
    return geometry
