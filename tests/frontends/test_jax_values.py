"""upconv.jax against jax.lax on random settings: values, first and second derivatives, both layouts, every dtype."""

import numpy as np
import pytest
from amount import some
from fresh import fresh
from jax_layers import arrays, assert_near, by_lax, random_layer, run, x64
from require import require

import upconv
from upconv.algorithms import ALGORITHMS

jax = require("jax")
contraction = require("upconv.jax.contraction")
conv_transpose, conv_transpose2d = require("upconv.jax").conv_transpose, require("upconv.jax").conv_transpose2d


SEEDS = range(some(20, 500))


@pytest.fixture(autouse=True)
def float64():
    with x64():
        yield
    jax.clear_caches()


def everything(function, arrays, more=False):
    """Values, gradients, their forward derivatives; with more, forward ones of the values, and second ones backwards.

    One function, compiled.
    """
    *operands, along = arrays

    def loss(*operands):
        return (function(*operands) ** 2 * along).sum()

    def computed(*operands):
        gradient = jax.grad(loss, (0, 1, 2))
        tangents = tuple(operand + 1 for operand in operands)
        found = function(*operands), jax.jvp(gradient, operands, tangents)
        if not more:
            return found

        def projected(*operands):
            return sum((g * t).sum() for g, t in zip(gradient(*operands), tangents, strict=True))

        return found, jax.jvp(function, operands, tangents), jax.grad(projected, (0, 1, 2))(*operands)

    return run(computed, *operands)


def layer(case, layout="NCHW"):
    return lambda x, w, bias=None: conv_transpose2d(x, w, bias, **case.settings, layout=layout)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_derivatives_are_those_of_lax(seed):
    case, layout = random_layer(seed), ("NCHW", "NHWC")[seed % 2]
    given = arrays(case, "float64", layout)
    functions = layer(case, layout), by_lax(case, layout)
    assert_near(*(everything(function, given, more=seed % 5 == 0) for function in functions), 1e-11)


# 519: groups and a dilation, where XLA aborts on a convolution with less padding than the kernel reaches.
@pytest.mark.parametrize("seed", [519, *(seed for seed in range(500, 500 + some(6, 60)) if seed != 519)])
def test_where_there_are_no_kernels_it_is_xlas_convolution(seed, monkeypatch):
    monkeypatch.setattr(contraction, "usable", lambda: ["has no kernels"])
    case, layout = random_layer(seed), ("NCHW", "NHWC")[seed % 2]
    given = arrays(case, "float64", layout)
    assert "custom-call" not in jax.jit(layer(case, layout)).lower(*given[:3]).compile().as_text()
    assert_near(everything(layer(case, layout), given), everything(by_lax(case, layout), given), 1e-11)


def test_a_way_that_works_on_arrays_is_not_the_handlers(monkeypatch):
    """It cannot run here, however cheap it is."""
    monkeypatch.setattr(ALGORITHMS["matmul"], "cost", lambda problem: 0.0)
    monkeypatch.setattr(ALGORITHMS["matmul"], "why_not_automatic", lambda problem: [])
    case, layout = random_layer(0), "NCHW"
    given = arrays(case, "float64", layout)
    with fresh():
        plan = contraction.planned("forward", case.geometry(), "float64", False)
        assert plan.algorithm == "matmul"
        assert_near(everything(layer(case, layout), given), everything(by_lax(case, layout), given), 1e-11)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_other_dtypes(seed, dtype):
    case = random_layer(seed)
    x, w, bias, along = arrays(case, "float64")
    low = [array.astype(dtype) for array in (x, w, bias, along)]

    def both(function):
        def computed(x, w, bias, along):
            y, back = jax.vjp(function, x, w, bias)
            return y, *back(along)

        return computed

    got = run(both(layer(case)), *low)
    want = run(both(by_lax(case)), *(array.astype("float64") for array in low))
    assert all(array.dtype == dtype for array in got)
    # One rounding, or the sum's own.
    tolerance = (30 if dtype == "float32" else 1) * float(jax.numpy.finfo(dtype).eps)
    assert_near([array.astype("float64") for array in got], want, tolerance)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32_and_rounded_once(dtype):
    case = random_layer(7)
    x, w, bias, _ = (array.astype(dtype) for array in arrays(case))
    wide = layer(case)(*(array.astype("float32") for array in (x, w, bias)))
    np.testing.assert_array_equal(layer(case)(x, w, bias), wide.astype(dtype))


AXES = (
    None,
    ("NHWC", "HWIO", "NHWC"),
    ("NCHW", "OIHW", "NCHW"),
    ("NHWC", "OHWI", "NCHW"),
    ("HWNC", "IOHW", "CNHW"),
)
PADDINGS = ("SAME", "VALID", "pairs", "consistent")


def jax_setting(seed):
    """(kernel, strides, dilation, padding, keywords) of `jax.lax.conv_transpose`."""
    rng = np.random.default_rng(seed)
    k, s, d = (tuple(int(v) for v in rng.integers(1, top, 2)) for top in (5, 4, 3))
    how = PADDINGS[seed % len(PADDINGS)]
    keywords = {"transpose_kernel": bool(seed // 4 % 2), "use_consistent_padding": how == "consistent"}
    pairs = tuple((int(lo), int(hi)) for lo, hi in rng.integers(0, 3, (2, 2)))
    return rng, k, s, d, how if how in ("SAME", "VALID") else pairs, keywords


@pytest.mark.parametrize("seed", range(some(16, 200)))
def test_conv_transpose_is_that_of_lax(seed):
    rng, k, s, d, padding, keywords = jax_setting(seed)
    names = [
        None,
        ("NHWC", "HWIO", "NHWC"),
        ("NCHW", "OIHW", "NCHW"),
        ("NHWC", "OHWI", "NCHW"),
        ("HWNC", "IOHW", "CNHW"),
    ]
    numbers = names[seed % 5]
    sizes = {"N": 2, "C": 3, "O": 5, "I": 3, "H": 6, "W": 7}
    lhs_names, rhs_names, _ = numbers or AXES[1]
    channels = {"O": 3, "I": 5} if keywords["transpose_kernel"] else {"O": 5, "I": 3}
    x = jax.numpy.asarray(rng.standard_normal([sizes[name] for name in lhs_names]))
    rhs_sizes = {**channels, "H": k[0], "W": k[1]}
    kernel = jax.numpy.asarray(rng.standard_normal([rhs_sizes[name] for name in rhs_names]))
    given = s, padding, d, numbers
    try:
        want = jax.lax.conv_transpose(x, kernel, *given, **keywords)
    except ValueError:
        pytest.skip("JAX itself refuses it")
    if not want.size:
        with pytest.raises(upconv.SettingError, match="output size"):
            conv_transpose(x, kernel, *given, **keywords)
        return
    assert_near(conv_transpose(x, kernel, *given, **keywords), want, 1e-12)


def test_conv_transpose_in_another_dtype():
    x, kernel = jax.numpy.ones((1, 4, 4, 2), "float16"), jax.numpy.ones((3, 3, 2, 5), "float16")
    y = conv_transpose(x, kernel, (2, 2), "SAME", preferred_element_type="float32")
    assert y.dtype == "float32"


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_without_a_batch(layout):
    case = random_layer(11)
    x, w, bias, _ = arrays(case, "float64", layout)
    np.testing.assert_array_equal(layer(case, layout)(x[0], w, bias), layer(case, layout)(x[:1], w, bias)[0])


@pytest.mark.parametrize("word", ["SAME", "VALID"])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_jaxs_words_in_torchs_function(word, k):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((3, 4, k, k))
    kernel = np.flip(w.transpose(2, 3, 0, 1), (0, 1))
    want = jax.lax.conv_transpose(x, kernel, (3, 2), word, dimension_numbers=("NCHW", "HWIO", "NCHW"))
    assert_near(conv_transpose2d(x, w, None, (3, 2), word), want, 1e-12)


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", ((1, -2), (0, 3))])
def test_what_the_numpy_door_takes_beyond_torch(padding):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((3, 4, 4, 3))
    want = upconv.conv_transpose2d(x, w, stride=(2, 3), padding=padding)
    np.testing.assert_array_equal(conv_transpose2d(x, w, stride=(2, 3), padding=padding), want)
