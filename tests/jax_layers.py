"""Random layers for the tests of the JAX front-end, and the same layers by `jax.lax` alone."""

import random
from contextlib import contextmanager

import numpy as np
from cases import Case
from require import require

from upconv import SettingError

jax = require("jax")
# XLA compiles each setting, and takes its time to do it well.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@contextmanager
def x64():
    """Within it JAX has float64."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def random_layer(seed, most=6):
    """A Case with maps of at most `most` pixels a side; signed crops in one of four."""
    rng = random.Random(f"jax {seed}")
    while True:
        groups = rng.choice([1, 1, 1, 2, 3])
        c_in, c_out = (groups * rng.randint(1, 4) for _ in "io")
        k, s, d = (tuple(rng.randint(1, top) for _ in "hw") for top in (5, 4, 3))
        if rng.random() < 0.25:
            p = tuple((rng.randint(-3, 3), rng.randint(-3, 3)) for _ in "hw")
        else:
            p = tuple(rng.randint(0, d[axis] * (k[axis] - 1)) for axis in (0, 1))
        op = tuple(rng.randrange(max(s[axis], d[axis])) for axis in (0, 1))
        sizes = rng.randint(1, most), rng.randint(1, most)
        case = Case(f"jax-{seed}", rng.randint(1, 3), c_in, *sizes, c_out, k, s, p, op, groups, d)
        try:
            case.geometry()
        except SettingError:
            continue
        return case


def arrays(case, dtype="float64", layout="NCHW"):
    """(x, w, bias, gradient in the output) of a case as JAX's arrays, the maps in the order that the layout says."""
    found = case.arrays(dtype)
    if layout == "NHWC":
        found = [array.transpose(0, 2, 3, 1) if array.ndim == 4 and i != 1 else array for i, array in enumerate(found)]
    return [jax.numpy.asarray(np.ascontiguousarray(array)) for array in found]


def by_lax(case, layout="NCHW"):
    """``f(x, w, bias)`` by `jax.lax.conv_general_dilated`: a convolution of the dilated input with the turned weight.

    The whole canvas is made, then cut or filled up: XLA's compiler aborts on the gradients of some convolutions with a
    negative padding.
    """
    g, names = case.geometry(), (layout, "OIHW", layout)

    def function(x, w, bias=None):
        kernel = w.reshape(g.groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(g.c_out, -1, *w.shape[2:])
        y = jax.lax.conv_general_dilated(
            x,
            kernel[..., ::-1, ::-1],
            (1, 1),
            [(axis.k_eff - 1, axis.k_eff - 1) for axis in (g.h, g.w)],
            lhs_dilation=case.s,
            rhs_dilation=case.d,
            dimension_numbers=names,
            feature_group_count=g.groups,
        )
        sides = [(-axis.crop_lo, -axis.crop_hi, 0) for axis in (g.h, g.w)]
        none = (0, 0, 0)
        y = jax.lax.pad(y, np.zeros((), y.dtype), [none, *sides, none] if layout == "NHWC" else [none, none, *sides])
        if bias is None:
            return y
        return y + (bias if layout == "NHWC" else bias[:, None, None])

    return function


def run(function, *operands):
    """A function compiled for once."""
    return jax.jit(function, compiler_options=QUICKLY)(*operands)


def assert_near(got, want, tolerance):
    """Trees of arrays of the same shapes and dtypes, near each other measured by the largest value of each."""
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = (np.asarray(array, np.float64) for array in (a, b))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-30, np.abs(b).max(initial=0)))
