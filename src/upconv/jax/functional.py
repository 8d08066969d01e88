"""The functions: torch's contract on JAX's arrays, and `jax.lax.conv_transpose` as JAX has it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ..arrays import agree, batched, check_bias, check_weight_shape
from ..conventions import Jax
from ..errors import SettingError
from ..planning import AUTO, check_algorithm_name
from ..settings import Settings, pair, positive
from .contraction import DTYPE_NAMES, FROM_LAST, TO_LAST, Call, apply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal, SupportsIndex

    from jax import Array
    from jax.typing import ArrayLike, DTypeLike

    from ..typing import Padding, Pair

LAYOUTS = ("NCHW", "NHWC")
WORDS = ("SAME", "VALID")
PLAIN = (0, 1, 2, 3)
BOTH_AXES = 'it must be "SAME", "VALID", or a (lo, hi) pair for each of the two axes'


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding | Literal["SAME", "VALID"] = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    layout: Literal["NCHW", "NHWC"] = "NCHW",
    algorithm: str = AUTO,
) -> Array:
    """Transposed 2-D convolution, with the contract of `torch.nn.functional.conv_transpose2d`, on JAX's arrays.

    On each axis ``out = (in - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1``.

    Args:
        input: (n, c_in, h, w), or (c_in, h, w) without a batch; (n, h, w, c_in) and (h, w, c_in) with layout="NHWC".
        weight: (c_in, c_out // groups, k_h, k_w) in both layouts, of the same dtype.
        bias: (c_out,) or None.
        stride, dilation, output_padding: an int or (height, width).
        padding: how much is cut off each side of the canvas, as in torch: an int or (height, width). Beyond torch, a
            pair of signed (lo, hi) crops, "same", "same_lower" or "valid" as in `upconv.conv_transpose2d`; "SAME" and
            "VALID" as in JAX. JAX's pairs of numbers are something else (zeros to add), and belong to `conv_transpose`.
        groups: number of independent groups of channels; divides c_in.
        layout: the order of the axes of input and result.
        algorithm: "auto", or the name of one that makes programs of kernels, which then computes this call on the CPU,
            or refuses it when it is compiled; its derivatives are left to the choice.

    Returns:
        (n, c_out, h_out, w_out), or (n, h_out, w_out, c_out); unbatched if the input is.

    Raises:
        SettingError: settings or shapes that do not fit (a RuntimeError and a ValueError).
        TypeError: settings that are not integers, unknown strings.
        NotImplementedError: dtypes other than float16, bfloat16, float32 and float64.

    >>> x, w = jnp.ones((1, 1, 2, 2)), jnp.ones((1, 1, 3, 3))
    >>> conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)[0, 0]
    Array([[1., 2., 1., 1.],
           [2., 4., 2., 2.],
           [1., 2., 1., 1.],
           [1., 2., 1., 1.]], dtype=float32)
    """
    check_algorithm_name(algorithm)
    if layout not in LAYOUTS:
        raise SettingError(f"layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
    x, w, b = operands(input, weight, bias)
    x, is_batched = batched(x)
    last = layout == "NHWC"
    check_weight_shape(w.shape)
    n, c, h, v = x.shape if not last else (x.shape[0], x.shape[3], *x.shape[1:3])
    geometry = _geometry((n, c, h, v), w.shape, stride, padding, output_padding, groups, dilation)
    if b is not None:
        check_bias(b.shape, geometry.c_out)
    y = compute(x, w, b, call=Call(geometry, last, algorithm))
    return y if is_batched else y[0]


def conv_transpose(
    lhs: ArrayLike,
    rhs: ArrayLike,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    use_consistent_padding: bool = False,
) -> Array:
    """`jax.lax.conv_transpose` for two spatial axes: the same arguments, the same result.

    Args:
        lhs: input of four axes, (n, h, w, c_in) unless `dimension_numbers` says otherwise.
        rhs: kernel (k_h, k_w, c_in, c_out). It is not flipped: tap 0 reaches the furthest output. With
            `transpose_kernel` it is (k_h, k_w, c_out, c_in) and flipped: Keras's kernel.
        strides, rhs_dilation: (height, width).
        padding: "SAME", "VALID", or a (lo, hi) pair of zeros to add for each axis, that is
            ``dilation*(kernel - 1)`` minus the crop; with `use_consistent_padding` the crops themselves.
        dimension_numbers: as in JAX; (n, h, w, c) and (n, c, h, w) are computed as they lie.
        transpose_kernel: see `rhs`.
        precision: taken and ignored: sums are never made in less than float32.
        preferred_element_type: dtype of sums and result.
        use_consistent_padding: see `padding`.

    Returns:
        (n, h_out, w_out, c_out) unless `dimension_numbers` says otherwise.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `conv_transpose2d`.

    >>> x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
    >>> conv_transpose(x, kernel, (2, 2), "SAME").shape
    (1, 8, 8, 5)
    """
    return transpose(
        lhs,
        rhs,
        None,
        strides,
        padding,
        rhs_dilation,
        dimension_numbers,
        transpose_kernel,
        preferred_element_type,
        use_consistent_padding,
    )


def transpose(
    lhs,
    rhs,
    bias,
    strides,
    padding,
    rhs_dilation=None,
    dimension_numbers=None,
    transpose_kernel=False,
    preferred_element_type=None,
    use_consistent_padding=False,
):
    """`conv_transpose` with a bias, one value per output channel, or None."""
    x, kernel, b = operands(lhs, rhs, bias)
    if preferred_element_type is not None:
        x, kernel, b = (None if array is None else array.astype(preferred_element_type) for array in (x, kernel, b))
        _check_dtypes(input=x)
    if x.ndim != 4 or kernel.ndim != 4:
        raise SettingError(f"lhs has shape {x.shape} and rhs {kernel.shape}; both must have four axes here")
    x_axes, kernel_axes, y_axes = _axes(x.shape, kernel.shape, dimension_numbers)
    # Torch's weight: input channels first, every tap where it lands.
    if transpose_kernel:
        weight = kernel.transpose(kernel_axes)
    else:
        out_axis, in_axis, *taps = kernel_axes
        weight = jnp.flip(kernel.transpose(in_axis, out_axis, *taps), (2, 3))
    last = x_axes == FROM_LAST
    shape = tuple(x.shape[axis] for axis in x_axes)
    settings = strides, padding, rhs_dilation, use_consistent_padding
    call = Call(_jax_geometry(shape, weight.shape, *settings), last)
    if b is not None:
        check_bias(b.shape, call.geometry.c_out)
    y = compute(x if last else x.transpose(x_axes), weight, b, call=call)
    now = FROM_LAST if last else PLAIN
    order = tuple(now[y_axes.index(axis)] for axis in PLAIN)
    return y if order == PLAIN else y.transpose(order)


@partial(jax.jit, static_argnames=("call",), inline=True)
def compute(x, w, b, *, call):
    """The layer on arrays that lie as the call says; the result lies alike."""
    y = apply(x.transpose(FROM_LAST) if call.last else x, w, b, "forward", call)
    return y.transpose(TO_LAST) if call.last else y


def operands(input, weight, bias):
    """The operands as arrays of JAX's, of one dtype that the kernels have; bias may be None."""
    x, w = (jnp.asarray(value) for value in (input, weight))
    b = None if bias is None else jnp.asarray(bias)
    _check_dtypes(input=x, weight=w, bias=b)
    for name, array in (("input", x), ("weight", w)):
        if not all(isinstance(size, int) for size in array.shape):
            sizes = ", ".join(map(str, array.shape))
            raise SettingError(
                f"{name} has shape ({sizes}); sizes must be numbers, not symbols of jax.export, since a program is "
                "made for each: export with numbers, once for every size, or use jax.lax.conv_transpose, which takes "
                "symbols"
            )
    return x, w, b


def _check_dtypes(**arrays):
    first, a = next(iter(arrays.items()))
    if a.dtype.name not in DTYPE_NAMES:
        cure = "pass its .real and its .imag" if a.dtype.kind == "c" else ".astype('float32') converts it"
        refuse_dtype(f"{first} has dtype", a.dtype, cure)
    agree(**arrays)


def refuse_dtype(what, dtype, cure):
    raise NotImplementedError(f"{what} {dtype.name}; allowed are {', '.join(DTYPE_NAMES)}: {cure}")


def _geometry(x_shape, w_shape, stride, padding, output_padding, groups, dilation):
    """The geometry of torch's settings, or of JAX's words."""
    if isinstance(padding, str) and padding in WORDS:
        settings = Settings.of(stride, 0, output_padding, groups, dilation)
        if settings.output_padding != (0, 0):
            raise SettingError(f"output_padding is {output_padding} with padding={padding!r}; leave it at 0")
        sides = _crops(x_shape, w_shape, settings.stride, settings.dilation, (padding, padding), False)
        return Settings.of(stride, sides, 0, groups, dilation).geometry(x_shape, w_shape)
    return Settings.of(stride, padding, output_padding, groups, dilation).geometry(x_shape, w_shape)


def _jax_geometry(x_shape, w_shape, strides, padding, rhs_dilation, consistent):
    """The geometry of JAX's settings."""
    stride = positive(pair(strides, "strides"), "strides")
    dilation = positive(pair(1 if rhs_dilation is None else rhs_dilation, "rhs_dilation"), "rhs_dilation")
    if isinstance(padding, str):
        numbers = padding, padding
    elif not hasattr(padding, "__len__"):
        raise TypeError(f"padding is {padding!r}; {BOTH_AXES}")
    elif len(padding) != 2:
        raise SettingError(f"padding is {padding!r}; {BOTH_AXES}")
    else:
        numbers = tuple(padding)
    sides = _crops(x_shape, w_shape, stride, dilation, numbers, consistent)
    return Settings.of(stride, sides, 0, 1, dilation).geometry(x_shape, w_shape)


def _crops(x_shape, w_shape, stride, dilation, paddings, consistent):
    """JAX's padding of the two axes as signed crops."""
    found = []
    for number, padding in enumerate(paddings):
        settings = Jax(padding if isinstance(padding, str) else tuple(padding), consistent)
        n, k = x_shape[2 + number], w_shape[2 + number]
        found.append(settings.crops(n, k, stride[number], dilation[number]))
    return tuple(found)


def _axes(lhs_shape, rhs_shape, dimension_numbers):
    """Where (batch, channels, height, width) are in lhs, (out, in, height, width) in rhs, as lhs in the result."""
    given = ("NHWC", "HWIO", "NHWC") if dimension_numbers is None else dimension_numbers
    numbers = jax.lax.conv_dimension_numbers(lhs_shape, rhs_shape, given)
    return tuple(map(tuple, (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec)))
