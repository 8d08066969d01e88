"""The three operations of `bilinear` as primitives of JAX: what they are, their derivatives, batches, and lowering.

    contraction    a, b -> result    bilinear; its transposes are the other two operations, so it is closed under
                                     differentiation of every order, in both modes
    biased         x, w, b -> y      the forward one with a bias, which the kernels add; its derivatives need none

Arrays have torch's shapes, (n, c, h, w) and (c_in, c_out / groups, k_h, k_w); `last` says that maps lie channels-last
in memory. On the CPU XLA calls our handler, anywhere else, and where no kernels can be made, it is XLA's convolution.
"""

from dataclasses import replace
from functools import partial
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from ..algorithms import is_programmed
from ..bilinear import SLOTS, batched, enlarged, fill
from ..dtypes import DTYPES
from ..errors import SettingError
from ..geometry import Geometry
from ..planning import AUTO
from ..rewrites import EXCHANGED
from ..runtime.kernel import usable
from .handler import NAME, Spec, planned, states

DTYPE_NAMES = ("float16", "bfloat16", "float32", "float64")
# Physical order of the axes of a map that lies channels-last, and the way back.
TO_LAST, FROM_LAST = (0, 2, 3, 1), (0, 3, 1, 2)


class Call(NamedTuple):
    """One layer on one shape; `algorithm` computes its forward operation."""

    geometry: Geometry
    last: bool
    algorithm: str = AUTO

    def shape(self, slot):
        """The shape of the arrays of a slot."""
        g = self.geometry
        return {"x": g.input_shape, "w": g.weight_shape, "y": g.output_shape}[slot]

    def enlarged(self, axis, size):
        """The call of the layer in which an axis is so many times longer; of more groups no algorithm is named."""
        g = self.geometry
        x, w, groups = enlarged(self.shape("x"), self.shape("w"), g.groups, axis, size)
        made = replace(g, n=x[0], c_in=x[1], c_out=w[1] * groups, groups=groups)
        return self._replace(geometry=made, algorithm=AUTO if axis == "group" else self.algorithm)


contraction = Primitive("upconv")
biased = Primitive("upconv_biased")


def apply(a, b, bias, operation, call):
    """One operation, with a bias for the forward one or None; differentiable."""
    operands = _alike([_everywhere(each) for each in ((a, b) if bias is None else (a, b, bias))])
    return (contraction if bias is None else biased).bind(*operands, operation=operation, call=call)


def _everywhere(operand):
    """An operand as it is, whole on every device where an explicit axis of a mesh splits it: so are our results."""
    sharding = jax.typeof(operand).sharding
    if not any(part is not None for part in sharding.spec):
        return operand
    return jax.sharding.reshard(operand, NamedSharding(sharding.mesh, PartitionSpec(*[None] * operand.ndim)))


def _alike(operands):
    """Operands that vary over the same axes of a mesh, within `jax.shard_map`.

    Where one is the same on every device and another is not, that is said: backwards it is the sum over the devices.
    """
    axes = [_varying(jax.typeof(operand)) for operand in operands]
    every = frozenset().union(*axes)
    return [
        operand if own == every else _spread(operand, tuple(sorted(every - own)))
        for operand, own in zip(operands, axes, strict=True)
    ]


def _varying(aval):
    """The axes of a mesh over which an array varies; versions of JAX name them differently."""
    return aval.mat.varying if hasattr(aval, "mat") else getattr(aval, "vma", frozenset())


def _spread(operand, axes):
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(operand, axes, to="varying")
    return jax.lax.pvary(operand, axes)


def _manual(aval):
    """What says, in JAX's terms, that another array varies as this one does."""
    if not _varying(aval):
        return {}
    sharding = NamedSharding(aval.sharding.mesh, PartitionSpec(*[None] * aval.ndim))
    if hasattr(aval, "mat"):
        return {"sharding": sharding, "manual_axis_type": aval.mat}
    return {"sharding": sharding, "vma": aval.vma}


def _abstract(a, b, *bias, operation, call):
    first, second, result = SLOTS[operation]
    for array, slot in ((a, first), (b, second)):
        if array.shape != call.shape(slot) or array.dtype != a.dtype:
            raise SettingError(f"{operation} of {call} takes {call.shape(slot)} of {a.dtype}; {slot} is {array}")
    return ShapedArray(call.shape(result), a.dtype, **_manual(a))


# Derivatives and batches ---------------------------------------------------------------------------------------------


def _transposed(place, grad, a, b, *, operation, call):
    """The gradient in one of the two operands, given the other one."""
    slots = SLOTS[operation]
    other = b if place == 0 else a
    return fill(apply, slots[place], {slots[2]: grad, slots[1 - place]: other}, call)


def _biased_jvp(primals, tangents, *, operation, call):
    x, w, _ = primals
    along_x, along_w, along_bias = tangents
    result = biased.bind(*primals, operation=operation, call=call)
    parts = []
    if type(along_x) is not ad.Zero:
        parts.append(apply(along_x, w, None, operation, call))
    if type(along_w) is not ad.Zero:
        parts.append(apply(x, along_w, None, operation, call))
    if type(along_bias) is not ad.Zero:
        # In the dtype of the sums, since this backwards is a sum.
        wide = along_bias.astype(DTYPES[result.dtype.name].wider or result.dtype)
        parts.append(jnp.broadcast_to(wide[:, None, None], result.shape).astype(result.dtype))
    return result, sum(parts[1:], parts[0]) if parts else ad.Zero.from_primal_value(result)


def _batch(operands, dims, *, operation, call):
    size = next(operand.shape[dim] for operand, dim in zip(operands, dims, strict=True) if dim is not None)
    a, b, bias = (*operands, None)[:3]
    dims = (*dims, None)[:3]
    result = batched(apply, Call.enlarged, size, dims, a, b, bias, operation, call, call.geometry.groups)
    return jnp.broadcast_to(result, (size, *result.shape[1:])), 0


# Computing -----------------------------------------------------------------------------------------------------------


def ours(a, b, bias=None, *, operation, call):
    """One operation by upconv's kernels, as XLA compiles it for the CPU."""
    g, dtype = call.geometry, a.dtype
    result_shape = call.shape(SLOTS[operation][2])
    if not (prod(a.shape) and prod(b.shape)):
        empty = jnp.zeros(result_shape, dtype)
        return empty if bias is None else empty + bias[:, None, None]
    if DTYPES[dtype.name].wider:
        wide = DTYPES[dtype.name].wider
        wider = (None if array is None else array.astype(wide) for array in (a, b, bias))
        return ours(*wider, operation=operation, call=call).astype(dtype)
    algorithm = call.algorithm if operation == "forward" else AUTO
    plan = None if usable() else planned(operation, g, dtype.name, call.last, algorithm)
    if plan is not None and plan.steps and plan.steps[0].exchanges_axes:
        # The same memory, see `rewrites`.
        a, b = (array.swapaxes(2, 3) for array in (a, b))
        row = call._replace(geometry=plan.steps[0].after.geometry)
        return ours(a, b, bias, operation=operation, call=row).swapaxes(2, 3)
    if plan is None or not is_programmed(plan.algorithm) or any(step.after.geometry == g for step in plan.steps):
        return _not_ours(a, b, bias, operation=operation, call=call)
    if plan.steps:
        return _exchanged(a, b, bias, operation, Call(plan.steps[0].after.geometry, False, algorithm))
    return _called(a, b, bias, Spec.here(operation, g, dtype.name, call.last, algorithm))


def _exchanged(a, b, bias, operation, call):
    """With the roles of input and weight exchanged, see `rewrites`."""
    a, b = (array.swapaxes(0, 1) for array in (b, a))
    result = ours(a, b, operation=EXCHANGED[operation], call=call).swapaxes(0, 1)
    return result if bias is None else result + bias[:, None, None]


def _called(a, b, bias, spec):
    """A call of the handler; maps that lie channels-last are passed as what they are in memory."""
    prepared = states().prepare(spec)
    slots = SLOTS[spec.operation]
    last = [spec.last and slot != "w" for slot in slots]
    shape = Call(spec.geometry, spec.last).shape(slots[2])
    if last[2]:
        shape = tuple(shape[axis] for axis in TO_LAST)
    operands = [array.transpose(TO_LAST) if is_last else array for array, is_last in zip((a, b), last, strict=False)]
    if bias is not None:
        operands.append(_filled(bias, prepared.biases))
    results = jax.ShapeDtypeStruct(shape, a.dtype), jax.ShapeDtypeStruct((prepared.scratch_bytes,), np.uint8)
    result, _ = jax.ffi.ffi_call(NAME, results)(*operands, key=np.int64(spec.key), spec=spec.text)
    return result.transpose(FROM_LAST) if last[2] else result


def _filled(bias, forms):
    """A bias as the programs read it: in whole vectors, repeated where a product makes all phases at once."""
    parts = []
    for repeats, length in forms:
        parts += [bias] * repeats
        parts.append(jnp.zeros(length - repeats * len(bias), bias.dtype))
    return jnp.concatenate(parts)


def _not_ours(a, b, bias=None, *, operation, call):
    """One operation where XLA cannot call our kernels; refused if it is asked for by name."""
    if operation == "forward" and call.algorithm != AUTO:
        raise SettingError(
            f"algorithm={call.algorithm!r} makes no program that XLA could call here; only ways of kernels do, on the "
            f"CPU: use algorithm={AUTO!r}"
        )
    return theirs(a, b, bias, operation=operation, call=call)


def theirs(a, b, bias=None, *, operation, call):
    """One operation by XLA's own convolution."""
    g = call.geometry
    if operation == "forward":
        result = _forward(a, b, g)
        return result if bias is None else result + bias[:, None, None]
    if operation == "grad_input":
        function, wanted = (lambda x: _forward(x, b, g)), g.input_shape
    else:
        function, wanted = (lambda w: _forward(a, w, g)), g.weight_shape
    grad = a if operation == "grad_input" else b
    wanted = jax.ShapeDtypeStruct(wanted, a.dtype, **_manual(jax.typeof(a)))
    return jax.linear_transpose(function, wanted)(grad)[0]


def _forward(x, w, g):
    """A convolution of the dilated input with the turned weight.

    Its padding is kept from 0 to what the kernel reaches, and the rest added to the result or cut from it: XLA's
    compiler for the CPU aborts the process on the gradients of some convolutions with a negative padding. So it does on
    some with groups, a dilation and less padding than the kernel reaches; those make the whole canvas, which is cut.
    """
    kernel = w.reshape(g.groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(g.c_out, -1, *w.shape[2:])[..., ::-1, ::-1]
    zeros, beyond = [], []
    for axis in (g.h, g.w):
        reach = axis.k_eff - 1
        wanted = [reach - crop for crop in (axis.crop_lo, axis.crop_hi)]
        zeros.append(tuple(min(max(side, 0 if g.groups == 1 else reach), reach) for side in wanted))
        beyond.append((*(side - done for side, done in zip(wanted, zeros[-1], strict=True)), 0))
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        zeros,
        lhs_dilation=(g.h.s, g.w.s),
        rhs_dilation=(g.h.d, g.w.d),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=g.groups,
    )
    return jax.lax.pad(y, np.zeros((), y.dtype), [(0, 0, 0), (0, 0, 0), *beyond])


@partial(jax.jit, static_argnames=("primitive", "operation", "call"))
def _alone(*operands, primitive, operation, call):
    """An operation outside any `jax.jit`, compiled for itself."""
    return primitive.bind(*operands, operation=operation, call=call)


ad.defbilinear(contraction, partial(_transposed, 0), partial(_transposed, 1))
ad.primitive_jvps[biased] = _biased_jvp
for each in (contraction, biased):
    each.def_abstract_eval(_abstract)
    each.def_impl(partial(_alone, primitive=each))
    batching.primitive_batchers[each] = _batch
    mlir.register_lowering(each, mlir.lower_fun(_not_ours, multiple_results=False))
    mlir.register_lowering(each, mlir.lower_fun(ours, multiple_results=False), platform="cpu")
