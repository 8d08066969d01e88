"""`upconv.onnx`: every official case of the operator; what they leave out, against ONNX Runtime and against torch."""

import random
import subprocess
import sys
import unittest
import warnings

import amount
import numpy as np
import pytest
from require import require

from upconv import SettingError, conv_transpose2d
from upconv.conventions import AUTO_PADS, Onnx
from upconv.geometry import Axis

onnx = require("onnx")
onnxruntime = require("onnxruntime")
require("onnx.backend.test")
from onnx import helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx_models import of_one_node, two_ups  # noqa: E402

import upconv.onnx as uo  # noqa: E402

onnxruntime.set_default_logger_severity(4)
OFFICIAL = (
    "test_convtranspose_cpu test_convtranspose_1d_cpu test_convtranspose_3d_cpu test_convtranspose_autopad_same_cpu "
    "test_convtranspose_dilations_cpu test_convtranspose_group_2_cpu test_convtranspose_group_2_image_3_cpu "
    "test_convtranspose_kernel_shape_cpu test_convtranspose_output_shape_cpu test_convtranspose_pad_cpu "
    "test_convtranspose_pads_cpu test_ConvTranspose2d_cpu test_ConvTranspose2d_no_bias_cpu "
    "test_operator_convtranspose_cpu"
).split()


@pytest.fixture(scope="module")
def official():
    """The official cases of the operator for our backend, by name."""
    from onnx.backend.test import BackendTest

    with warnings.catch_warnings():
        # Making the cases of all operators divides by zero, among other things.
        warnings.simplefilter("ignore")
        cases = BackendTest(uo.Backend, __name__).test_cases
    found = {name: case for case in cases.values() for name in vars(case)}
    return {name: case for name, case in found.items() if "convtranspose" in name.lower()}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_case(official, name):
    outcome = unittest.TestResult()
    official[name](name).run(outcome)
    assert outcome.testsRun == 1
    assert not outcome.skipped
    assert outcome.wasSuccessful(), [text for _, text in outcome.errors + outcome.failures]


def test_no_official_case_is_left_out(official):
    assert {name for name in official if name.endswith("_cpu")} - set(OFFICIAL) == set()


def run_onnxruntime(model, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def random_axis(rng, auto_pad, sized):
    """(size, kernel, stride, dilation, setting) that ONNX Runtime computes as the specification says."""
    while True:
        n, k, s, d = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 3)
        pads = (rng.randrange(3), rng.randrange(3)) if auto_pad == "NOTSET" else (0, 0)
        out = rng.randint(1, Axis(n, k, s, d).full) if sized else None
        # From the stride on, ONNX Runtime refuses an output_padding that the specification allows.
        setting = Onnx(auto_pad, pads, rng.randrange(s), out)
        try:
            setting.axis(n, k, s, d)
        except SettingError:
            continue
        return n, k, s, d, setting


def random_node(rng, auto_pad, sized, dimensions):
    """(attributes, shape of the input, shape of the weight)."""
    found = [random_axis(rng, auto_pad, sized) for _ in range(dimensions)]
    sizes, kernel, strides, dilations, settings = zip(*found, strict=True)
    groups = rng.randint(1, 3)
    given = {"strides": strides, "dilations": dilations, "group": groups}
    given["output_padding"] = [setting.output_padding for setting in settings]
    if auto_pad != "NOTSET":
        given["auto_pad"] = auto_pad
    if sized:
        given["output_shape"] = [setting.output_shape for setting in settings]
    elif auto_pad == "NOTSET":
        given["pads"] = [setting.pads[side] for side in (0, 1) for setting in settings]
    if rng.randrange(2):
        given["kernel_shape"] = kernel
    c_in, c_out = groups * rng.randint(1, 3), rng.randint(1, 3)
    return given, (rng.randint(1, 2), c_in, *sizes), (c_in, c_out, *kernel)


def numbers(rng, *shape):
    return np.random.default_rng(rng.getrandbits(32)).integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("auto_pad", AUTO_PADS)
def test_random_nodes_are_those_of_onnxruntime(auto_pad, sized, dimensions):
    rng = random.Random(f"{auto_pad} {sized} {dimensions}")
    for _ in range(amount.some(12, 60)):
        given, shape, kernel = random_node(rng, auto_pad, sized, dimensions)
        x, weight = numbers(rng, *shape), numbers(rng, *kernel)
        bias = numbers(rng, kernel[1] * given["group"]) if rng.randrange(2) else None
        model = of_one_node(shape, weight, given, rng.choice([1, 11, 22]), bias, is_known=bool(rng.randrange(2)))
        feeds = dict(zip((value.name for value in model.graph.input), (x, weight, bias), strict=False))
        (y,) = uo.run_model(model, feeds)
        np.testing.assert_array_equal(y, run_onnxruntime(model, feeds), err_msg=str(given))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_random_nodes_of_every_dtype_are_those_of_torch(dimensions, dtype):
    """Torch computes the whole canvas, of which the crops are cut; the crops are checked against ONNX Runtime above."""
    torch = pytest.importorskip("torch")
    rng = random.Random(f"{dimensions} {dtype}")
    theirs = getattr(torch.nn.functional, f"conv_transpose{dimensions}d")
    for _ in range(amount.some(10, 50)):
        given, shape, kernel = random_node(rng, "NOTSET", False, dimensions)
        x, weight = (numbers(rng, *sizes).astype(dtype) for sizes in (shape, kernel))
        (y,) = uo.run_node(helper.make_node("ConvTranspose", ["X", "W"], ["Y"], **given), [x, weight])
        assert y.dtype == dtype
        wide = [torch.from_numpy(array.astype("float64")) for array in (x, weight)]
        full = theirs(*wide, stride=given["strides"], groups=given["group"], dilation=given["dilations"]).numpy()
        pads, more = given["pads"], given["output_padding"]
        width = [(0, 0), (0, 0), *((0, extra) for extra in more)]
        cut = tuple(slice(pads[i], full.shape[2 + i] + more[i] - pads[dimensions + i]) for i in range(dimensions))
        np.testing.assert_array_equal(y, np.pad(full, width)[(..., *cut)])


def test_bfloat16_of_opset_22():
    ml_dtypes = require("ml_dtypes")
    x, weight = np.ones((1, 2, 3, 3), ml_dtypes.bfloat16), np.ones((2, 2, 2, 2), ml_dtypes.bfloat16)
    (y,) = uo.run_model(of_one_node(x.shape, weight, {"strides": [2, 2]}), [x])
    assert y.dtype == ml_dtypes.bfloat16
    assert (y == 2).all()


def test_an_output_padding_below_the_dilation_is_computed_though_onnxruntime_refuses():
    given = {"dilations": [1, 3], "output_padding": [0, 2]}
    (y,) = uo.run_node(helper.make_node("ConvTranspose", ["X", "W"], ["Y"], **given), [np.ones((1, 1, 1, 2))] * 2)
    assert y.tolist() == [[[[1, 1, 0, 1, 1, 0, 0]]]]


# The doors -----------------------------------------------------------------------------------------------------------


def test_the_module_is_a_backend():
    assert issubclass(uo.Backend, onnx.backend.base.Backend)
    assert uo.supports_device("CPU")
    assert uo.supports_device("CPU:0")
    assert not uo.supports_device("CUDA")
    model = two_ups(5)
    assert uo.is_compatible(model)
    prepared = uo.prepare(model)
    x = numbers(random.Random(0), 2, 8, 5, 6)
    expected = run_onnxruntime(model, {"x": x})
    for inputs in ([x], x, {"x": x}):
        outputs = prepared.run(inputs)
        np.testing.assert_allclose(outputs[0], expected, rtol=1e-4, atol=1e-4)
        assert outputs.y is outputs["y"] is outputs[0]
    with pytest.raises(ValueError, match="must be 'CPU'"):
        uo.prepare(model, "CUDA")
    with pytest.raises(ValueError, match="it takes 1: x"):
        prepared.run([x, x])


def test_a_model_that_breaks_the_specification_is_refused():
    model = two_ups(5)
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(onnx.checker.ValidationError):
        uo.prepare(model)


def test_an_operator_for_the_reference_evaluator():
    x, weight = np.ones((1, 4, 2, 2), np.float32), numbers(random.Random(1), 4, 3, 3, 3)
    model = of_one_node(x.shape, weight, {"group": 2})
    (y,) = ReferenceEvaluator(model, new_ops=[uo.ConvTranspose]).run(None, {"x": x})
    np.testing.assert_array_equal(y, conv_transpose2d(x, weight, groups=2))


def test_a_node_inside_a_local_function_is_ours_too():
    """onnx's own evaluator is wrong for groups of several output channels, and keeps new operators from functions."""
    node = helper.make_node("ConvTranspose", ["a", "b"], ["c"], group=2)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Up", ["a", "b"], ["c"], [node], opsets[:1])
    values = [helper.make_tensor_value_info(name, 1, [None] * 4) for name in "xwy"]
    graph = helper.make_graph([helper.make_node("Up", ["x", "w"], ["y"], domain="own")], "g", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    x, weight = numbers(random.Random(2), 1, 4, 3, 3), numbers(random.Random(3), 4, 3, 2, 2)
    np.testing.assert_array_equal(uo.run_model(model, [x, weight])[0], conv_transpose2d(x, weight, groups=2))


def test_weights_of_a_model_are_packed_once_and_may_be_replaced(monkeypatch):
    weight, other = numbers(random.Random(4), 64, 32, 4, 4), numbers(random.Random(5), 64, 32, 4, 4)
    model = of_one_node((1, 64, 8, 8), weight, {"strides": [2, 2]})
    model.graph.input.append(helper.make_tensor_value_info("w", 1, weight.shape))
    prepared, x = uo.prepare(model), numbers(random.Random(6), 1, 64, 8, 8)
    seen = []
    from upconv.onnx import operator

    call = operator.Layer.__call__
    monkeypatch.setattr(operator.Layer, "__call__", lambda layer, x, w, b: seen.append(type(w)) or call(layer, x, w, b))
    for feeds, used in (({"x": x}, weight), ({"x": x, "w": other}, other), ([x], weight)):
        np.testing.assert_allclose(prepared.run(feeds)[0], conv_transpose2d(x, used, stride=2), rtol=1e-4, atol=1e-3)
    assert [kind.__name__ for kind in seen] == ["PreparedWeight", "ndarray", "PreparedWeight"]


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shape", "kernel", "says"),
    [
        ({"kernel_shape": [2, 3]}, (1, 1, 3, 3), (1, 1, 3, 3), "kernel_shape is [2, 3], and the weight has [3, 3]"),
        ({"pads": [1, 1]}, (1, 1, 3, 3), (1, 1, 3, 3), "pads is [1, 1], 2 values; here it must have 4"),
        ({"strides": [2]}, (1, 1, 3, 3), (1, 1, 3, 3), "strides is [2], 1 values; here it must have 2"),
        ({"strides": [0, 1]}, (1, 1, 3, 3), (1, 1, 3, 3), "strides is [0, 1]; every one must be at least 1"),
        ({"output_shape": [9, 9]}, (1, 1, 3, 3), (1, 1, 3, 3), "height: output_shape is 9"),
        ({"output_padding": [0, 1]}, (1, 1, 3, 3), (1, 1, 3, 3), "width: output_padding is 1"),
        ({"output_padding": [0, 0, 4]}, (1, 1, 3, 3, 3), (1, 1, 3, 3, 3), "width: output_padding is 4"),
        ({"pads": [9, 0]}, (1, 1, 3), (1, 1, 3), "length: "),
        ({}, (1, 2, 3, 3), (1, 1, 3, 3), "X has 2 channels and W (1, 1, 3, 3) takes 1"),
        ({}, (1, 1, 3), (1, 1, 3, 3), "both must have as many axes"),
        ({}, (1, 1, 2, 2, 2, 2), (1, 1, 2, 2, 2, 2), "the weight has 4 axes of taps"),
        ({"group": 2}, (1, 3, 3, 3), (3, 1, 3, 3), "which groups=2 does not divide"),
        ({"auto_pad": "SAME"}, (1, 1, 3, 3), (1, 1, 3, 3), "auto_pad is 'SAME'"),
    ],
)
def test_what_is_wrong_is_said(given, shape, kernel, says):
    node = helper.make_node("ConvTranspose", ["X", "W"], ["Y"], **given)
    with pytest.raises(SettingError) as caught:
        uo.run_node(node, [np.ones(shape, np.float32), np.ones(kernel, np.float32)])
    assert says in str(caught.value)


def test_onnx_is_imported_when_it_is_asked_for():
    code = f"import sys\nsys.path[:0] = {sys.path!r}\nimport upconv\n"
    code += "print('onnx' in sys.modules, 'onnx' in dir(upconv))\nupconv.onnx.Backend\nprint('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]
