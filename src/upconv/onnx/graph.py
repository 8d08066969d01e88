"""The ConvTranspose nodes of a model, with the shapes that are inferred and the weights that initialisers give."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.inliner import inline_local_functions

from ..errors import SettingError


@dataclass(frozen=True, eq=False)
class Node:
    """One ConvTranspose node.

    Attributes:
        name: the node's, or its output's where it has none.
        given: attributes by name.
        dtype: NumPy name of the element type, or None where it is unknown.
        input_shape: as inferred; None stands for a size that is unknown; None alone, if even their number is.
        weight_shape: the same for the weight.
        weight: the array, if an initialiser gives it.
        has_bias: whether there is a bias.
    """

    name: str
    given: Mapping[str, Any]
    dtype: str | None
    input_shape: tuple[int | None, ...] | None
    weight_shape: tuple[int | None, ...] | None
    weight: np.ndarray | None = field(repr=False)
    has_bias: bool


@dataclass(frozen=True)
class Graph:
    """What is read of a model: its ConvTranspose nodes, how many nodes there are, the version of the operators."""

    nodes: tuple[Node, ...]
    total: int
    opset: int


def read(path: str | Path | onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """Read a model; subgraphs and local functions are searched too.

    Args:
        path: a file, or a model.
        shapes: sizes of inputs by name, in place of what the model says.

    Raises:
        OSError: for a file that cannot be read.
        SettingError: for what is no ONNX model, and for shapes of inputs that it does not have.
    """
    model, folder = loaded(path)
    if model.functions:
        model = inline_local_functions(model)
    _resize(model.graph, shapes or {})
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise SettingError(f"the shapes in the model cannot be inferred: {str(error).strip()}") from None
    scopes = list(scopes_of(model.graph))
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    nodes = (_node(node, scope, folder) for scope in scopes for node in scope.graph.node if is_ours(node))
    return Graph(tuple(nodes), sum(len(scope.graph.node) for scope in scopes), opset)


def loaded(path):
    """(a model of its own, the folder of its file): weights outside the file are not read yet."""
    if isinstance(path, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(path)
        return copy, ""
    try:
        # Weights that lie in files beside the model are read one by one, when they are asked for.
        model = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:
        raise SettingError(f"{path} is no ONNX model: {str(error).splitlines()[0]}") from None
    if not model.graph.node:
        raise SettingError(f"{path} is no ONNX model, or one without nodes")
    return model, str(Path(path).parent)


def _resize(graph, shapes):
    inputs = {value.name: value for value in graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            raise SettingError(f"the model has no input {name!r}; it has {', '.join(inputs) or 'none'}")
        kind = inputs[name].type.tensor_type.elem_type
        inputs[name].CopyFrom(helper.make_tensor_value_info(name, kind, list(shape)))
    if shapes:
        # What the file says of values inside may be for other sizes.
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")


@dataclass(frozen=True)
class Scope:
    """A graph, and what names mean in it: initialisers and types by name, its own and those of the graphs around it."""

    graph: onnx.GraphProto
    known: Mapping[str, onnx.TensorProto] = field(default_factory=dict)
    types: Mapping[str, onnx.TypeProto.Tensor] = field(default_factory=dict)


def scopes_of(graph: onnx.GraphProto, around: Scope | None = None) -> Iterator[Scope]:
    """The graph and every graph inside it. Two that lie side by side may give one name to different things."""
    around = around or Scope(graph)
    own = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
    known = {name: tensor for name, tensor in around.known.items() if name not in own}
    types = {name: kind for name, kind in around.types.items() if name not in own}
    known |= {tensor.name: tensor for tensor in graph.initializer}
    types |= {value.name: value.type.tensor_type for value in _values(graph)}
    scope = Scope(graph, known, types)
    yield scope
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from scopes_of(inner, scope)


def _values(graph):
    yield from (*graph.input, *graph.output, *graph.value_info)


def is_ours(node) -> bool:
    """Whether a node is the standard ConvTranspose."""
    return node.op_type == "ConvTranspose" and node.domain in ("", "ai.onnx")


def _node(node, scope, folder):
    types, known = scope.types, scope.known
    given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    x, w, *rest = node.input
    tensor = known.get(w)
    weight = None if tensor is None else numpy_helper.to_array(tensor, folder)
    shape = weight.shape if weight is not None else _shape(types.get(w))
    kind = types[x].elem_type if x in types else 0 if tensor is None else tensor.data_type
    dtype = None if not kind else np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name
    return Node(node.name or node.output[0], given, dtype, _shape(types.get(x)), shape, weight, any(rest))


def _shape(kind):
    if kind is None or not kind.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
