"""Models with ConvTranspose nodes, made for tests."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def of_one_node(shape, weight, given, opset=22, bias=None, is_known=True, name="up"):
    """A model of one node; the weight and the bias are initialisers, or inputs."""
    arrays = {"w": weight, **({} if bias is None else {"b": bias})}
    node = helper.make_node("ConvTranspose", ["x", *arrays], ["y"], name=name, **given)
    kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
    inputs = {"x": shape, **({} if is_known else {key: array.shape for key, array in arrays.items()})}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(key, kind, list(sizes)) for key, sizes in inputs.items()],
        [helper.make_tensor_value_info("y", kind, [None] * weight.ndim)],
        [numpy_helper.from_array(array, key) for key, array in arrays.items()] if is_known else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def of_nodes(nodes, known, outputs=("y",), shape=(1, 1, 2, 2), inside=()):
    """A model of these nodes between x and the outputs, with initialisers by name; `inside` are branches of one If."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    tensors = [numpy_helper.from_array(array, name) for name, array in known.items()]
    if inside:
        inputs.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
        names = ("then_branch", "else_branch")
        nodes = [helper.make_node("If", ["flag"], ["y"], **dict(zip(names, inside, strict=True))), *nodes]
    graph = helper.make_graph(nodes, "made", inputs, values, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def branch(name, weight, before=(), source="x"):
    """A graph for `of_nodes` with one node; the names of its values are those of every other branch."""
    node = helper.make_node("ConvTranspose", [source, "w"], ["up"], name=name)
    known = [] if weight is None else [numpy_helper.from_array(weight, "w")]
    outputs = [helper.make_tensor_value_info("up", TensorProto.FLOAT, [None] * 4)]
    return helper.make_graph([*before, node], name or "branch", [], outputs, known)


def two_ups(height="h", kernel=3):
    """Two nodes with a ReLU between them; the batch and the height of the input are open."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in (("w1", (8, 4, kernel, kernel)), ("w2", (4, 1, 4, 4)))
    }
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w1"], ["a"], name="first", strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ConvTranspose", ["b", "w2"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=4),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8, height, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
