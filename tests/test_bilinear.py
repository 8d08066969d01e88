"""The algebra with NumPy as its framework: every derivative by inner products, every batch against a loop."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from cases import BY_NAME, values

from upconv import bilinear
from upconv.geometry import Geometry
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem

CASES = [BY_NAME[name] for name in ("primes", "groups-2-several-outputs", "depthwise-multiplier-3")]
SIZE = 3


@dataclass(frozen=True)
class Call:
    """All that the algebra needs to know of a layer, and more."""

    geometry: Geometry
    dtype: str = "float64"

    def enlarged(self, axis, size):
        g = self.geometry
        x, w, groups = bilinear.enlarged(g.input_shape, g.weight_shape, g.groups, axis, size)
        return replace(self, geometry=Geometry(x[0], x[1], w[1] * groups, groups, g.h, g.w))

    def shape(self, slot):
        g = self.geometry
        return {"x": g.input_shape, "w": g.weight_shape, "y": g.output_shape}[slot]

    def operands(self, operation, seed=0):
        shapes = [self.shape(slot) for slot in bilinear.SLOTS[operation]]
        return [values(shape, (seed, i), self.dtype, "exact") for i, shape in enumerate(shapes)]


def apply(a, b, bias, operation, call):
    problem = Problem(operation, call.geometry, call.dtype)
    out = np.empty(problem.result_shape, call.dtype)
    choose(problem).run(a, b, None, out)
    return out if bias is None else out + bias[:, None, None]


@pytest.fixture(params=CASES, ids=str)
def geometry(request):
    return request.param.geometry()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_are_the_adjoints(geometry, operation, dtype):
    """The real part of <op(a, b), grad> is that of <a, gradient in a>, and of <b, gradient in b>."""
    call = Call(geometry, dtype)
    a, b, grad = call.operands(operation)
    in_a, in_b, in_bias = bilinear.gradients(apply, (True, True, True), a, b, operation, call, grad)
    want = np.vdot(apply(a, b, None, operation, call), grad).real
    assert want
    assert np.vdot(a, in_a).real == want
    assert np.vdot(b, in_b).real == want
    np.testing.assert_array_equal(in_bias, grad.sum((0, 2, 3)))
    assert bilinear.gradients(apply, (False, False, False), a, b, operation, call, grad) == (None, None, None)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_tangent_is_the_difference_of_the_operation(geometry, operation):
    call = Call(geometry)
    (a, b, _), (along_a, along_b, _) = call.operands(operation), call.operands(operation, seed=1)
    # In whole numbers: op(a + da, b + db) = op(a, b) + tangent + op(da, db).
    both = apply(a + along_a, b + along_b, None, operation, call)
    rest = apply(a, b, None, operation, call) + apply(along_a, along_b, None, operation, call)
    found = bilinear.tangent(apply, (along_a, along_b, None), a, b, operation, call)
    np.testing.assert_array_equal(found, both - rest)
    only = bilinear.tangent(apply, (None, along_b, None), a, b, operation, call)
    np.testing.assert_array_equal(only, apply(a, along_b, None, operation, call))
    assert bilinear.tangent(apply, (None, None, None), a, b, operation, call) is None


@pytest.mark.parametrize(
    "dims",
    [d for d in itertools.product((None, 0, 2), (None, 0, 4), (None, 1)) if any(place is not None for place in d)],
    ids=str,
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_batch_is_as_many_calls(geometry, operation, dims):
    call = Call(geometry)
    a, b, result = call.operands(operation)
    bias = None if operation == "grad_weight" else values((result.shape[1],), (9,), kind="exact")
    if bias is None and dims[:2] == (None, None):
        return
    scales = np.arange(1.0, 1 + SIZE)
    single, many = [a, b, bias], []
    for operand, dim in zip(single, dims, strict=True):
        several = operand if operand is None or dim is None else np.stack([operand * s for s in scales], axis=dim)
        many.append(several)
    got = bilinear.batched(apply, Call.enlarged, SIZE, dims, *many, operation, call, geometry.groups)
    want = [
        apply(*(o if o is None or d is None else o * s for o, d in zip(single, dims, strict=True)), operation, call)
        for s in scales
    ]
    np.testing.assert_array_equal(got, np.stack(want))
