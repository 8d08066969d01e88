"""What JAX does with functions, on upconv's: vmap over any operands, both modes, nested, scanned, checkpointed."""

import itertools

import numpy as np
import pytest
from amount import some
from cases import Case
from jax_layers import arrays, assert_near, by_lax, run, x64
from require import require

jax = require("jax")
contraction = require("upconv.jax.contraction")
jnp, conv_transpose2d = jax.numpy, require("upconv.jax").conv_transpose2d


PLAIN = Case("plain", 2, 3, 4, 5, 4, (4, 3), (2, 1), (1, 0))
GROUPED = Case("grouped", 2, 4, 3, 4, 6, (3, 2), (2, 2), (1, 0), (1, 0), 2)
BATCH = 3


@pytest.fixture(autouse=True)
def float64():
    with x64():
        yield


def layer(case):
    return lambda x, w, bias=None: conv_transpose2d(x, w, bias, **case.settings)


def loss(function):
    return lambda *operands: (jnp.sin(function(*operands)) ** 2).sum()


def stacked(array, place):
    """So many different arrays, the batch axis at a place; the array itself for None."""
    if place is None:
        return array
    return jnp.moveaxis(jnp.stack([array * (1 + i) + i for i in range(BATCH)]), 0, place)


def one_by_one(function, operands, places):
    picked = [
        [
            operand if place is None else jnp.take(operand, i, place)
            for operand, place in zip(operands, places, strict=True)
        ]
        for i in range(BATCH)
    ]
    return jnp.stack([function(*each) for each in picked])


PLACES = [
    places for places in itertools.product((None, 0, 3), (None, 0, 2), (None, 1)) if any(p is not None for p in places)
]


@pytest.mark.parametrize("case", [PLAIN, GROUPED], ids=str)
@pytest.mark.parametrize("places", some(PLACES[::3], PLACES), ids=str)
def test_vmap_over_any_operands(places, case):
    operands = [stacked(array, place) for array, place in zip(arrays(case)[:3], places, strict=True)]
    got = jax.vmap(layer(case), places)(*operands)
    assert_near(got, one_by_one(by_lax(case), operands, places), 1e-12)


@pytest.mark.parametrize("case", [PLAIN, GROUPED], ids=str)
@pytest.mark.parametrize("operation", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("places", [(0, None), (None, 1), (2, 0), (4, 4)], ids=str)
def test_vmap_over_each_operation(places, operation, case):
    x, w, _, y = arrays(case)
    call = contraction.Call(case.geometry(), False)
    operands = {"forward": (x, w), "grad_input": (y, w), "grad_weight": (x, y)}[operation]

    def function(a, b):
        return contraction.apply(a, b, None, operation, call)

    operands = [stacked(array, place) for array, place in zip(operands, places, strict=True)]
    got = jax.jit(jax.vmap(function, places))(*operands)
    assert_near(got, one_by_one(function, operands, places), 1e-12)


@pytest.mark.parametrize("case", [PLAIN, GROUPED], ids=str)
def test_per_sample_gradients(case):
    x, w, bias, _ = arrays(case)
    functions = [jax.vmap(jax.grad(loss(f), (1, 2)), (0, None, None)) for f in (layer(case), by_lax(case))]
    assert_near(*(run(function, x[:, None], w, bias) for function in functions), 1e-11)


def test_nested_vmap():
    x, w, bias, _ = arrays(PLAIN)
    xs, ws = jnp.stack([x, x + 1]), jnp.stack([w, w * 2, w - 1])
    both = [
        jax.vmap(jax.vmap(lambda x, w, f=f: f(x, w, bias), (None, 0)), (0, None))(xs, ws)
        for f in (layer(PLAIN), by_lax(PLAIN))
    ]
    assert_near(*both, 1e-12)


@pytest.mark.parametrize("places", [(0, None, None), (None, 1, None), (0, 2, 0), (None, None, 1)], ids=str)
def test_vmap_over_nothing_is_empty(places):
    operands = [
        array if place is None else jnp.zeros((*array.shape[:place], 0, *array.shape[place:]))
        for array, place in zip(arrays(PLAIN)[:3], places, strict=True)
    ]
    got, want = (jax.vmap(f, places)(*operands) for f in (layer(PLAIN), by_lax(PLAIN)))
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    grads = jax.grad(lambda *o: jax.vmap(layer(PLAIN), places)(*o).sum(), (0, 1, 2))(*operands)
    assert [grad.shape for grad in grads] == [array.shape for array in operands]
    assert not any(grad.any() for grad in grads)


def test_jacobians_by_either_mode_and_hessians():
    case = Case("tiny", 1, 2, 2, 2, 2, (2, 3), (1, 2), (0, 1))
    x, w, bias, _ = arrays(case)

    def computed(f):
        def function(x, w, bias):
            jacobians = [transform(f, (0, 1, 2))(x, w, bias) for transform in (jax.jacfwd, jax.jacrev)]
            return jacobians, jax.hessian(loss(f), (0, 1))(x, w, bias)

        return run(function, x, w, bias)

    assert_near(computed(layer(case)), computed(by_lax(case)), 1e-11)


def test_third_order():
    case = Case("tiny", 1, 2, 3, 2, 2, (2, 3), (2, 1), (0, 1))
    x, w, bias, _ = arrays(case)

    def third(f):
        first = jax.grad(loss(f))
        second = jax.grad(lambda x, w: (first(x, w, bias) ** 2).sum(), 1)
        return run(jax.grad(lambda x, w: jnp.cos(second(x, w)).sum(), (0, 1)), x, w)

    assert_near(third(layer(case)), third(by_lax(case)), 1e-10)


def test_the_rest_of_the_toolbox():
    """linearize, linear_transpose, checkpoint, scan, cond, custom batching by lax.map."""
    x, w, bias, along = arrays(PLAIN)
    ours, theirs = layer(PLAIN), by_lax(PLAIN)

    def used(f):
        y, linear = jax.linearize(lambda x: f(x, w, bias), x)
        transposed = jax.linear_transpose(lambda x: f(x, w), x)(along)
        kept = jax.grad(jax.checkpoint(loss(f)), (0, 1, 2))(x, w, bias)
        scanned, _ = jax.lax.scan(lambda carry, x: (carry + f(x[None], w, bias), None), jnp.zeros_like(y[:1]), x)
        chosen = jax.lax.cond(True, lambda x: f(x, w, bias), lambda x: -f(x, w, bias), x)
        mapped = jax.lax.map(lambda x: f(x[None], w), x)
        return y, linear(x + 1), transposed, kept, scanned, chosen, mapped

    assert_near(run(lambda: used(ours)), run(lambda: used(theirs)), 1e-11)


def test_gradients_need_no_more_than_the_other_two_operations():
    x, w, bias, _ = arrays(PLAIN)
    found = str(jax.make_jaxpr(jax.grad(loss(layer(PLAIN)), (0, 1, 2)))(x, w, bias))
    assert [found.count(f"operation={name}") for name in ("forward", "grad_input", "grad_weight")] == [1, 1, 1]
    found = str(jax.make_jaxpr(jax.grad(loss(layer(PLAIN)), 1))(x, w, bias))
    assert "grad_input" not in found


def test_an_empty_batch():
    case = Case("empty", 0, 3, 4, 5, 4, (4, 3), (2, 1), (1, 0))
    x, w, bias, _ = arrays(case)
    assert layer(case)(x, w, bias).shape == case.geometry().output_shape
    gradients = jax.grad(loss(layer(case)), (0, 1, 2))(x, w, bias)
    assert [array.shape for array in gradients] == [x.shape, w.shape, bias.shape]
    assert not any(np.asarray(array).any() for array in gradients)


def test_symbolic_zeros_and_unused_operands():
    x, w, bias, _ = arrays(PLAIN)
    along = jnp.ones_like(bias)
    for f in (layer(PLAIN), by_lax(PLAIN)):
        _, tangent = jax.jvp(lambda bias, f=f: f(x, w, bias), (bias,), (along,))
        np.testing.assert_array_equal(tangent, jnp.ones_like(tangent))
