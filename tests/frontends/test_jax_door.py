"""upconv.jax's errors for people, and what importing it loads."""

import json
import subprocess
import sys

import numpy as np
import pytest
from require import require

import upconv

jax = require("jax")
jnp = jax.numpy
conv_transpose, conv_transpose2d = require("upconv.jax").conv_transpose, require("upconv.jax").conv_transpose2d


X, W = np.ones((1, 2, 4, 4), "float32"), np.ones((2, 3, 3, 3), "float32")
SETTING, TYPE, DTYPE = upconv.SettingError, TypeError, NotImplementedError
REFUSED = [
    (dict(stride=0), SETTING, "stride is"),
    (dict(stride=1.0), TYPE, "stride=1 would do"),
    (dict(padding=-1), SETTING, "padding is"),
    (dict(padding="smae"), TYPE, "padding is 'smae'"),
    (dict(padding="SAME", output_padding=1, stride=2), SETTING, "output_padding is 1 with padding='SAME'"),
    (dict(output_padding=2, stride=2), SETTING, "must be below"),
    (dict(groups=3), SETTING, "groups=3 does not divide"),
    (dict(padding=9), SETTING, "output size would be"),
    (dict(layout="NWHC"), SETTING, "layout is 'NWHC'"),
    (dict(input=X[0, 0]), SETTING, r"input has shape \(4, 4\)"),
    (dict(weight=W[0]), SETTING, r"weight has shape \(3, 3, 3\)"),
    (dict(input=np.ones((1, 3, 4, 4), "float32")), SETTING, "input has 3 channels and weight takes 2"),
    (dict(bias=np.ones(2, "float32")), SETTING, r"bias has shape \(2,\); it must be \(3,\)"),
    (dict(weight=W.astype("float16")), SETTING, r"either input.astype\('float16'\) or weight.astype\('float32'\)"),
    (dict(bias=np.ones(3, "float16")), SETTING, r"bias.astype\('float32'\) does it"),
    (dict(input=X.astype("complex64")), DTYPE, "input has dtype complex64; allowed are float16"),
    (dict(input=X.astype("int32")), DTYPE, r"input has dtype int32; allowed are .*\.astype\('float32'\)"),
    (dict(algorithm="depthwise_rows"), SETTING, "depthwise_rows refuses: every channel must have a kernel of its own"),
    (dict(algorithm="matmul"), SETTING, "algorithm='matmul' makes no program that XLA could call"),
    (dict(algorithm="cudnn"), TYPE, "algorithm is 'cudnn'"),
    (dict(algorithm=7), TYPE, "algorithm is 7"),
    (dict(algorithm=upconv.plan(X.shape, W.shape)), TYPE, "algorithm is a Plan"),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED, ids=[str(list(row[0])) for row in REFUSED])
def test_a_refusal_names_what_was_given_and_what_is_allowed(given, error, message):
    with pytest.raises(error, match=message):
        conv_transpose2d(**{"input": X, "weight": W, **given})


def test_an_unknown_algorithm_is_refused_while_jax_traces():
    for look in (jax.eval_shape, lambda function, *given: jax.make_jaxpr(function)(*given)):
        with pytest.raises(TypeError, match="algorithm is 'nope'; it must be 'auto' or one of"):
            look(lambda x, w: conv_transpose2d(x, w, algorithm="nope"), X, W)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(padding=1), TYPE, "padding is 1"),
        (dict(padding=[(1, 1)]), SETTING, "pair for each of the two axes"),
        (dict(padding="same"), TYPE, "padding is 'same'"),
        (dict(strides=(0, 1)), SETTING, "strides is"),
        (dict(lhs=jnp.ones((1, 4, 2)), rhs=jnp.ones((3, 2, 3))), SETTING, "four axes"),
        (dict(preferred_element_type="int32"), DTYPE, "int32"),
        (dict(rhs=jnp.ones((3, 3, 5, 3))), SETTING, "channels"),
    ],
    ids=str,
)
def test_refusals_of_conv_transpose(given, error, message):
    usual = dict(lhs=jnp.ones((1, 4, 4, 2)), rhs=jnp.ones((3, 3, 2, 3)), strides=(2, 2), padding="SAME")
    with pytest.raises(error, match=message):
        conv_transpose(**{**usual, **given})


def test_refusals_inside_jit_are_the_same():
    with pytest.raises(upconv.SettingError, match="must be below"):
        jax.jit(lambda x, w: conv_transpose2d(x, w, output_padding=2, stride=2))(X, W)


def test_symbolic_sizes_are_refused_with_what_to_do():
    export = require("jax.export")
    b, c = export.symbolic_shape("b, c")
    picture, weight = (jax.ShapeDtypeStruct(shape, "float32") for shape in ((b, 2, 4, 4), (2, c, 3, 3)))
    for given, name in (((picture, W), r"input has shape \(b, 2, 4, 4\)"), ((X, weight), r"weight has shape \(2, c")):
        with pytest.raises(upconv.SettingError, match=rf"{name}.*export with numbers"):
            export.export(jax.jit(conv_transpose2d))(*given)
    kernel = jax.ShapeDtypeStruct((3, 3, 2, c), "float32")
    with pytest.raises(upconv.SettingError, match="weight has shape"):
        export.export(jax.jit(lambda x, w: conv_transpose(x, w, (2, 2), "SAME")))(X.transpose(0, 2, 3, 1), kernel)


def test_lists_and_numpys_arrays_are_taken():
    y = conv_transpose2d([[[[1.0, 2.0]]]], [[[[1.0]]]], stride=(1, 2))
    assert isinstance(y, jax.Array)
    assert y.tolist() == [[[[1.0, 0.0, 2.0]]]]


def test_importing_it_loads_neither_flax_nor_the_compiler():
    code = f"import sys\nsys.path[:0] = {sys.path!r}\nimport upconv\nassert 'jax' not in sys.modules\nupconv.jax\n"
    code += "import json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "upconv.jax" in loaded
    assert loaded.isdisjoint({"flax", "llvmlite", "torch"})
