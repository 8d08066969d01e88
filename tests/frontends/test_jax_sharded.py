"""Layers on a mesh of two devices: what varies over it, and which gradients are sums over the devices."""

import pytest
from children import script
from require import require

from upconv.runtime.kernel import usable

require("jax")

PROGRAM = """
import itertools
import jax, numpy as np
import upconv
from upconv.jax import contraction
from jax.sharding import PartitionSpec as P

def layer(x, w, b=None):
    return upconv.jax.conv_transpose2d(x, w, b, stride=2, padding=1)

rng = np.random.default_rng(0)
x, w, b = (jax.numpy.asarray(rng.normal(size=s), "float32") for s in ((4, 6, 5, 4), (6, 4, 4, 3), (4,)))
mesh = jax.sharding.Mesh(jax.devices(), ("d",))

def loss(f):
    return lambda *operands: (f(*operands) ** 3).sum()

def near(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())

SPLITS = {
    "batch": ((P("d"), P(), P()), P("d")),
    "channels of the result": ((P(), P(None, "d"), P("d")), P(None, "d")),
}
for (name, (given, made)), check in itertools.product(SPLITS.items(), (True, False)):
    split = jax.shard_map(layer, mesh=mesh, in_specs=given, out_specs=made, check_vma=check)
    near(split(x, w, b), layer(x, w, b))
    near(jax.jit(split)(x, w, b), layer(x, w, b))
    for wanted in ((0,), (1,), (2,), (0, 1, 2)):
        near(jax.grad(loss(split), wanted)(x, w, b), jax.grad(loss(layer), wanted)(x, w, b))
    tangents = x, w * 2, b + 1
    near(jax.jvp(jax.grad(loss(split), 1), (x, w, b), tangents), jax.jvp(jax.grad(loss(layer), 1), (x, w, b), tangents))
    print("near", name, check)

inside = jax.shard_map(jax.grad(loss(layer), (1, 2)), mesh=mesh, in_specs=(P("d"), P(), P()), out_specs=P())
near(inside(x, w, b), jax.grad(loss(layer), (1, 2))(x, w, b))
print("near inside")

# By XLA's own convolution, where no kernels can be made.
contraction.usable = lambda: "none"
jax.clear_caches()
split = jax.shard_map(layer, mesh=mesh, in_specs=(P("d"), P(), P()), out_specs=P("d"))
near(jax.grad(loss(split), (0, 1, 2))(x, w, b), jax.grad(loss(layer), (0, 1, 2))(x, w, b))
print("near by XLA")
"""

EXPLICIT = """
import jax, numpy as np
import upconv
from upconv.jax import contraction
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

if {kernels}:
    assert not contraction.usable()
else:
    contraction.usable = lambda: ["has no kernels"]

def layer(x, w, b):
    return upconv.jax.conv_transpose2d(x, w, b, stride=2, padding=1)

def loss(*operands):
    return (layer(*operands) ** 3).sum()

rng = np.random.default_rng(0)
given = [jax.numpy.asarray(rng.normal(size=s), "float32") for s in ((4, 6, 5, 4), (6, 4, 4, 3), (4,))]
want = layer(*given), jax.grad(loss, (0, 1, 2))(*given)
mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))
with jax.set_mesh(mesh):
    for split in ((P("d"), P(), P()), (P(), P(None, "d"), P("d")), (P(), P(), P())):
        operands = [jax.device_put(each, NamedSharding(mesh, part)) for each, part in zip(given, split)]
        for wrap in (jax.jit, lambda function: function):
            got = wrap(layer)(*operands), wrap(jax.grad(loss, (0, 1, 2)))(*operands)
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
            print("near")
"""


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "XLA's convolution"])
def test_gradients_exist_where_an_explicit_axis_splits_an_operand(kernels):
    if kernels and usable():
        pytest.skip("no kernels can be made here")
    printed = script(EXPLICIT.format(kernels=kernels), XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert printed.count("near") == 6


def test_shards_and_their_gradients_are_the_whole_layers():
    printed = script(PROGRAM, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert printed.count("near") == 6
