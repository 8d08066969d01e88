"""ONNX settings against live ONNX Runtime, ONNX shape inference and the official node cases."""

import random

import numpy as np
import pytest
from require import require

from upconv import SettingError, reference
from upconv.conventions import AUTO_PADS, Onnx, arguments, translate, weight_steps
from upconv.geometry import Axis, Geometry

onnx = require("onnx")
onnxruntime = require("onnxruntime")
node_cases = require("onnx.backend.test.case.node")
require("onnx.backend.test.case.node.convtranspose")
onnxruntime.set_default_logger_severity(4)


def make_model(geometry, weight, given, opset=11):
    h, w = geometry.h, geometry.w
    steps = {"strides": [h.s, w.s], "dilations": [h.d, w.d], "kernel_shape": [h.k, w.k], "group": geometry.groups}
    node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], **steps, **given)
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info("x", kind, geometry.input_shape)],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)


def run_onnxruntime(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype(np.float32)})[0]


def inferred_shape(model):
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return tuple(dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim)


def arrays(rng, h, w, groups=1):
    generator = np.random.default_rng(rng.getrandbits(32))
    geometry = Geometry(1, 2 * groups, groups, groups, h, w)
    shapes = geometry.input_shape, geometry.weight_shape
    return geometry, *(generator.integers(-4, 5, shape).astype(float) for shape in shapes)


@pytest.fixture(scope="module")
def strict():
    """Whether this ONNX Runtime refuses an output_padding as large as the stride; old ones compute wrong values."""
    ones = np.ones((1, 1, 1, 3))
    model = make_model(Geometry(1, 1, 1, 1, Axis(1, 1), Axis(3, 3, 2)), ones, {"output_padding": [0, 2]})
    try:
        run_onnxruntime(model, ones)
    except Exception:
        return True
    return False


def random_setting(rng, auto_pad, sized):
    """A setting that we accept and its axis."""
    while True:
        n, k, s, d = rng.randint(1, 4), rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 3)
        pads = (rng.randrange(4), rng.randrange(4)) if auto_pad == "NOTSET" else (0, 0)
        out = rng.randint(1, Axis(n, k, s, d).full + s) if sized else None
        setting = Onnx(auto_pad, pads, rng.choice([0, rng.randrange(max(s, d))]), out)
        try:
            return setting, setting.axis(n, k, s, d)
        except SettingError:
            continue


def inference_is_right(pairs):
    """False where shape inference of onnx 1.23 errs: an output_shape below the input is dropped from the shape, and
    output_padding is added to n*s."""
    if pairs[0][0].output_shape is not None:
        return all(setting.output_shape >= axis.n for setting, axis in pairs)
    return not pairs[0][0].auto_pad.startswith("SAME") or not any(setting.output_padding for setting, _ in pairs)


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("auto_pad", AUTO_PADS)
def test_values_sizes_and_refusals(auto_pad, sized, strict):
    rng = random.Random(f"{auto_pad} {sized}")
    ran = 0
    while ran < 60:
        settings, axes = zip(*(random_setting(rng, auto_pad, sized) for _ in "hw"), strict=True)
        geometry, x, weight = arrays(rng, *axes, groups=rng.randint(1, 2))
        model = make_model(geometry, weight, arguments(*settings), opset=rng.choice([1, 11]))
        pairs = list(zip(settings, axes, strict=True))
        if any(setting.output_padding >= axis.s for setting, axis in pairs):
            # The specification asks for less than the stride or the dilation; ONNX Runtime for less than the stride.
            if strict:
                with pytest.raises(Exception, match="ONNXRuntimeError"):
                    run_onnxruntime(model, x)
            continue
        y = run_onnxruntime(model, x)
        assert y.shape == geometry.output_shape
        np.testing.assert_array_equal(y, reference.scatter(geometry, x, weight))
        if inference_is_right(pairs):
            assert inferred_shape(model) == geometry.output_shape
        ran += 1


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_same_with_a_kernel_that_does_not_reach_the_next_input(auto_pad):
    """ONNX Runtime and shape inference cut nothing and add nothing, though the text promises n*s outputs."""
    axis = Onnx(auto_pad).axis(3, 2, 5)
    weight = np.array([1.0, 2.0]).reshape(1, 1, 1, 2)
    model = make_model(Geometry(1, 1, 1, 1, Axis(1, 1), axis), weight, {"auto_pad": auto_pad})
    assert inferred_shape(model) == (1, 1, 1, axis.out) == (1, 1, 1, 12)
    assert run_onnxruntime(model, np.ones((1, 1, 1, 3))).ravel().tolist() == [1, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 2]


def test_output_padding_beside_same_keeps_the_size():
    """ONNX Runtime cuts one more instead; shape inference of onnx 1.23 says 7 here."""
    setting = Onnx("SAME_UPPER", output_padding=1)
    geometry = Geometry(1, 1, 1, 1, Axis(1, 1), setting.axis(3, 3, 2))
    model = make_model(geometry, np.ones((1, 1, 1, 3)), {"auto_pad": "SAME_UPPER", "output_padding": [0, 1]})
    assert run_onnxruntime(model, np.ones((1, 1, 1, 3))).shape == geometry.output_shape == (1, 1, 1, 6)


def test_nearest_is_exact_where_it_says_so():
    rng = random.Random(11)
    exact = 0
    while exact < 100:
        steps = [(rng.randint(3, 5), rng.randint(2, 4), rng.randint(1, 3), rng.randint(1, 2)) for _ in "hw"]
        h, w = (Axis(*step, rng.randint(-1, 2), rng.randint(-1, 2)) for step in steps)
        translation = translate("onnx", h, w)
        geometry, x, weight = arrays(rng, h, w)
        if any("ONNX Runtime" in sentence for sentence in translation.differences):
            continue
        y = run_onnxruntime(make_model(geometry, weight, arguments(*translation.setting)), x)
        same = y.shape == geometry.output_shape and np.array_equal(y, reference.scatter(geometry, x, weight))
        assert same or translation.differences
        exact += not translation.differences
    assert weight_steps("torch", "onnx") == []


@pytest.mark.parametrize(
    ("setting", "given"),
    [
        (Onnx(pads=(0, -1)), {"pads": [0, 0, 0, -1]}),
        (Onnx(output_padding=2), {"output_padding": [0, 2]}),
        (Onnx(output_padding=-1), {"output_padding": [0, -1]}),
        (Onnx("VALID", (1, 0)), {"auto_pad": "VALID", "pads": [0, 1, 0, 0]}),
        (Onnx("SAME_LOWER", (1, 0)), {"auto_pad": "SAME_LOWER", "pads": [0, 1, 0, 0]}),
        (Onnx(output_shape=9), {"output_shape": [1, 9]}),
        (Onnx("SAME_UPPER", output_shape=9), {"auto_pad": "SAME_UPPER", "output_shape": [1, 9]}),
        (Onnx(pads=(3, 4)), {"pads": [0, 3, 0, 4]}),
    ],
)
def test_what_we_refuse_onnxruntime_refuses(setting, given, strict):
    with pytest.raises(SettingError):
        setting.axis(3, 3, 2)
    if not strict:
        pytest.skip("this ONNX Runtime does not check what it is given")
    geometry = Geometry(1, 1, 1, 1, Axis(1, 1), Axis(3, 3, 2))
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        run_onnxruntime(make_model(geometry, np.ones((1, 1, 1, 3)), given), np.ones((1, 1, 1, 3)))


def test_unknown_auto_pad_is_refused_by_both():
    with pytest.raises(TypeError):
        Onnx("SAME")
    geometry = Geometry(1, 1, 1, 1, Axis(1, 1), Axis(3, 3, 2))
    with pytest.raises(Exception, match="AutoPad"):
        run_onnxruntime(make_model(geometry, np.ones((1, 1, 1, 3)), {"auto_pad": "SAME"}), np.ones((1, 1, 1, 3)))


OFFICIAL = [
    case
    for case in node_cases._NodeTestCases
    if case.name.startswith("test_convtranspose") and not case.name.endswith(("_1d", "_3d"))
]


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: case.name)
def test_official_node_cases(case):
    given = {item.name: onnx.helper.get_attribute_value(item) for item in case.model.graph.node[0].attribute}
    (x, weight), (y,) = case.data_sets[0]
    pads, output_shape = given.get("pads", [0] * 4), given.get("output_shape", [None] * 2)
    axes = []
    for i in range(2):
        setting = Onnx(
            given.get("auto_pad", b"NOTSET").decode(),
            (pads[i], pads[i + 2]),
            given.get("output_padding", [0, 0])[i],
            output_shape[i],
        )
        s, d = (given.get(name, [1, 1])[i] for name in ("strides", "dilations"))
        axes.append(setting.axis(x.shape[2 + i], weight.shape[2 + i], s, d))
    groups = given.get("group", 1)
    geometry = Geometry(x.shape[0], x.shape[1], weight.shape[1] * groups, groups, *axes)
    np.testing.assert_allclose(reference.scatter(geometry, x, weight), y, rtol=1e-6)
