"""The arrays that people pass, and those that they get: what is taken, how it lies, memory for results.

Everything here runs before any work, so a call that is refused has changed nothing.
"""

import numpy as np

from .dtypes import WITH_GRADIENTS, lookup
from .errors import SettingError
from .interchange import is_foreign, viewed, writable
from .runtime import memory

# Sizes of a map and of a kernel by the number of axes, as messages show them.
SIZES = {1: "c, length", 2: "c, h, w", 3: "c, d, h, w"}
KERNELS = {1: "k", 2: "k_h, k_w", 3: "k_d, k_h, k_w"}


class NoArray:
    """What has an array and is none: a prepared weight, which only doors that know it take."""

    __slots__ = ()

    array: np.ndarray


def as_array(value, name):
    """A plain NumPy array of an accepted dtype, in whatever byte order and strides it came, without a copy.

    Raises:
        TypeError: for masked arrays, and for prepared weights.
        SettingError: for arrays of other libraries that cannot be read in place (see `interchange`).
        NotImplementedError: for dtypes that are not supported.
    """
    if type(value) is np.ndarray:
        lookup(value.dtype, name)
        return value
    if value is None:
        raise TypeError(f"{name} is None; it must be an array")
    refuse_masked(value, name)
    refuse_prepared(value, name)
    array = viewed(value, name) if is_foreign(value) else np.asarray(value)
    lookup(array.dtype, name)
    return array


def differentiable(value, name):
    """The same of a dtype that has gradients."""
    array = as_array(value, name)
    check_differentiable(array.dtype, name)
    return array


def check_differentiable(dtype, name):
    """Refuse a dtype that has no gradients."""
    if not lookup(dtype).differentiable:
        raise NotImplementedError(
            f"{name} has dtype {dtype.name}, which has no gradients; allowed are {WITH_GRADIENTS}. Convert it with "
            ".astype('float64')"
        )


def refuse_masked(value, name):
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be ignored; pass {name}.filled(0)")


def refuse_prepared(value, name):
    if isinstance(value, NoArray):
        near = f"{name}.array"
        if value.array.ndim == 4 and value.array.shape[2] == 1:
            near += f", or {near}[:, :, 0] in one dimension"
        raise TypeError(
            f"{name} is a {type(value).__name__}, a weight prepared for conv_transpose1d, conv_transpose2d, "
            f"conv_transpose3d, conv2d and the gradients in two dimensions; here pass {near}"
        )


def agree(**arrays):
    """Refuse operands of different dtypes; None is skipped. Nothing is promoted, as in torch."""
    (first, a), *others = [(name, array) for name, array in arrays.items() if array is not None]
    for name, b in others:
        if a.dtype != b.dtype and a.dtype.name != b.dtype.name:
            cure = f"{name}.astype({a.dtype.name!r}) does it"
            if name != "bias":
                cure = f"either {first}.astype({b.dtype.name!r}) or {cure}"
            raise SettingError(
                f"{first} has dtype {a.dtype.name} and {name} {b.dtype.name}; they must agree, since nothing is "
                f"promoted: {cure}"
            )


def batched(array, name="input", dimensions=2):
    """(array with a batch axis, whether it had one), for maps of so many dimensions."""
    if array.ndim not in (dimensions + 1, dimensions + 2):
        sizes = SIZES[dimensions]
        raise SettingError(f"{name} has shape {array.shape}; it must be (n, {sizes}), or ({sizes}) without a batch")
    return (array, True) if array.ndim == dimensions + 2 else (array[None], False)


def check_convolution_weight_shape(shape):
    """Refuse the shape of what is no weight of a `conv2d`."""
    if len(shape) != 4:
        raise SettingError(f"weight has shape {tuple(shape)}; that of conv2d must be (c_out, c_in / groups, k_h, k_w)")


def check_weight(weight, dimensions=2):
    """The weight, if it is one of a layer of so many dimensions."""
    check_weight_shape(weight.shape, dimensions)
    return weight


def check_weight_shape(shape, dimensions=2):
    """Refuse the shape of what is no weight of a layer of so many dimensions."""
    if len(shape) != dimensions + 2:
        other = len(shape) - 2
        near = f"; a {other}-D layer is computed by upconv.conv_transpose{other}d" if other in SIZES else ""
        wanted = f"(c_in, c_out / groups, {KERNELS[dimensions]})"
        raise SettingError(f"weight has shape {tuple(shape)}; it must be {wanted}{near}")


def check_shape(array, shape, name):
    if array.shape != tuple(shape):
        raise SettingError(f"{name} has shape {array.shape}; here it must be {tuple(shape)}")


def parse_bias(bias, channels):
    """The bias as a vector of `channels` values, or None."""
    if bias is None:
        return None
    bias = as_array(bias, "bias")
    check_bias(bias.shape, channels)
    return bias


def check_bias(shape, channels):
    """Refuse a bias of another shape than a vector of `channels` values."""
    if shape != (channels,):
        near = "" if shape else "; a stride is passed as stride="
        raise SettingError(f"bias has shape {shape}; it must be ({channels},), one value per output channel{near}")


def lies_channels_last(array):
    """Whether an array (n, c, ...) lies channels-last in memory, so that kernels read its channels side by side.

    Axes of length 1 do not matter, whatever their strides: torch's rule (`is_channels_last` in torch/operands.py) minds
    them, since it says in which memory format torch's operators answer. Where both layouts are the same memory (one
    channel, or 1x1 maps) and for empty arrays the answer is no.
    """
    # In the order of its axes, as most arrays are, or empty, or either way.
    if array.flags.c_contiguous or array.size == 0 or lies_either_way(array):
        return False
    least = 0
    # From the innermost axis outwards, each stride must reach beyond everything inside it.
    for axis in (1, *range(array.ndim - 1, 1, -1), 0):
        size, stride = array.shape[axis], array.strides[axis]
        if size == 1:
            continue
        if stride <= 0 or stride < least:
            return False
        least = stride * size
    return True


def lies_either_way(array):
    """Whether both layouts of an array (n, c, ...) are the same memory: one channel, or maps of one place."""
    _, c, *sizes = array.shape
    return c == 1 or max(sizes) == 1


def preferred_layout(*arrays, is_batched=True):
    """The layout of a result: "nhwc" if any of the operands lies channels-last, "nchw" else and unbatched."""
    return "nhwc" if is_batched and any(map(lies_channels_last, arrays)) else "nchw"


def check_out(out, shape, dtype, operands):
    """`out` as a plain array; one of another shape or dtype, read-only, overlapping itself or an operand is refused."""
    refuse_masked(out, "out")
    # A subclass may say anything of itself, even where it lies.
    out = np.asarray(writable(out, "out"))
    if out.shape != tuple(shape) or out.dtype.name != dtype:
        raise SettingError(f"out is {out.dtype.name} {out.shape}; it must be {dtype} {tuple(shape)}")
    if not out.flags.writeable:
        raise SettingError("out is read-only; pass a writeable array")
    if _overlaps_itself(out):
        raise SettingError(f"out overlaps itself (strides {out.strides}); its elements must be distinct")
    for operand in operands:
        if operand is not None and _overlap(out, operand):
            raise SettingError("out overlaps an operand in memory; pass a separate array, or a copy of the operand")
    return out


def _overlaps_itself(array):
    """Whether two elements share memory; each stride reaching beyond all shorter ones is the usual proof that not."""
    if not array.size:
        return False
    axes = sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True) if size > 1)
    reach = array.itemsize
    for stride, size in axes:
        if stride < reach:
            return _elements_meet(axes, array.itemsize)
        reach += stride * (size - 1)
    return False


def _elements_meet(axes, itemsize):
    """The same for interleaved strides, by looking at every address."""
    addresses = np.zeros(1, np.int64)
    for stride, size in axes:
        addresses = np.add.outer(addresses, stride * np.arange(size)).ravel()
    addresses.sort()
    return bool((np.diff(addresses) < itemsize).any())


def _overlap(a, b):
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:
        return True


def native_dtype(array):
    """The array's dtype in native byte order."""
    return array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")


def native(array):
    """The array in native byte order; itself if it already is."""
    return array if array.dtype.isnative else array.astype(native_dtype(array))


def empty(shape, dtype, layout_name):
    """An uninitialised array of shape (n, c, ...) that lies in memory as the layout says."""
    if layout_name == "nchw":
        return memory.empty(shape, dtype)
    n, c, *sizes = shape
    return memory.empty((n, *sizes, c), dtype).transpose(0, len(shape) - 1, *range(1, len(shape) - 1))
