"""The code that the page shows runs in the frameworks that are installed, and computes what the page says."""

import json
import random

import numpy as np
import pytest
import require
from page.golden import axis, torch_axis
from page.tools import PAGE, run_node

from upconv.cli import build_parser
from upconv.explain.page.build import link
from upconv.geometry import Geometry
from upconv.layer_options import layer_geometry
from upconv.reference import scatter

LAYERS = 40
NEEDED = {
    "torch": ["torch"],
    "upconv": [],
    "onnx": ["onnx", "onnxruntime"],
    "keras": ["keras"],
    "jax": ["jax"],
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """(geometry, what the page shows for it) of random layers, half of which torch can say."""
    rng = random.Random(4)
    layers = []
    for number in range(LAYERS):
        groups = rng.randint(1, 2)
        make = axis if number % 2 else torch_axis
        layers.append(Geometry(1, 2 * groups, groups, groups, make(rng), make(rng)))
    path = tmp_path_factory.mktemp("code") / "links.json"
    path.write_text(json.dumps([link(geometry) for geometry in layers]))
    return list(zip(layers, json.loads(run_node("run_code.js", PAGE, path)), strict=True))


@pytest.mark.parametrize("target", NEEDED)
def test_it_runs_and_is_as_good_as_its_badge(shown, target):
    for name in NEEDED[target]:
        if not require.promised_or_there(name):
            pytest.skip(f"{name} is not installed")
    if target == "keras":
        _, why_not = require.choose_keras_backend()
        if why_not:
            pytest.skip(why_not)
    exact = 0
    for geometry, codes in shown:
        code = codes[target]
        if target in ("keras", "jax") and geometry.groups > 1:
            geometry = Geometry(1, 2, 1, 1, geometry.h, geometry.w)
        values = np.random.default_rng(7)
        x = values.integers(-4, 5, geometry.input_shape).astype(np.float32)
        weight = values.integers(-4, 5, geometry.weight_shape).astype(np.float32)
        wanted = scatter(geometry, x, weight)
        for lines, same in ((code["lines"], code["badge"] == "same"), (code["exact"], True)):
            if lines is None or code["badge"] == "cannot":
                continue
            got = run(target, lines, x, weight)
            agrees = got.shape == wanted.shape and np.array_equal(got, wanted)
            assert agrees == same or not (same or wanted.any()), "\n".join(lines)
            exact += agrees
    assert exact > LAYERS // 3


def run(target, lines, x, weight):
    """What the code makes of x and weight, in torch's layout."""
    names = {"x": x, "weight": weight}
    exec("\n".join(lines), names)
    if target == "onnx":
        return run_node_of_onnx(names["node"], lines, x, weight)
    y = names["y"]
    y = np.asarray(y.detach() if hasattr(y, "detach") else y)
    return y.transpose(0, 3, 1, 2) if target in ("keras", "jax") else y


def run_node_of_onnx(node, lines, x, weight):
    import onnx
    import onnxruntime

    def tensor(name, shape):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    inputs = [tensor("x", x.shape), tensor("weight", weight.shape)]
    graph = onnx.helper.make_graph([node], "layer", inputs, [tensor("y", [None] * 4)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {"y": session.run(["y"], {"x": x, "weight": weight})[0]}
    cuts = [line.removeprefix("# ") for line in lines if line.startswith("# y = ")]
    exec("\n".join(cuts), names)
    return names["y"]


def test_the_command_means_the_same_layer(shown):
    for geometry, codes in shown:
        words = codes["torch"]["command"].split()[1:]
        assert layer_geometry(build_parser().parse_args(words)) == geometry
