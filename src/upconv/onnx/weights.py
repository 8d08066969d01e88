"""The weights of a model's ConvTranspose nodes, out of its initialisers and back into them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..errors import SettingError
from .graph import graphs_of, is_ours, loaded


def state_dict(model: str | Path | onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights and biases of all ConvTranspose nodes that initialisers give, under the names of torch's layers.

    Args:
        model: a file, or a `ModelProto`.

    Returns:
        Arrays by name, "node.weight" and "node.bias"; a node without a name goes by its output's. A source of
        `upconv.weights.load`.

    Raises:
        OSError, SettingError: for what cannot be read.
    """
    proto, folder = loaded(model)
    return {key: numpy_helper.to_array(tensor, folder) for key, tensor in _tensors(proto).items()}


def load_state_dict(model: onnx.ModelProto, found: Mapping[str, Any]) -> None:
    """Put weights and biases into a model, in place of those of its initialisers.

    Args:
        model: a `ModelProto`, which is changed.
        found: arrays by the names that `state_dict` gives; some of them will do.

    Raises:
        SettingError: for names that the model does not have and shapes that do not fit; then nothing has changed.
    """
    tensors = _tensors(model)
    made = {}
    for key, value in found.items():
        if key not in tensors:
            raise SettingError(f"the model has no {key!r}; it has {', '.join(tensors) or 'none'}")
        array, old = np.asarray(value), tensors[key]
        if array.shape != tuple(old.dims):
            raise SettingError(f"{key} has shape {array.shape}; in the model it is {tuple(old.dims)}")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(old.data_type)
        made[key] = numpy_helper.from_array(np.ascontiguousarray(array.astype(dtype)), old.name)
    for key, tensor in made.items():
        tensors[key].CopyFrom(tensor)


def _tensors(proto):
    """Initialisers by our names."""
    found = {}
    known = {tensor.name: tensor for graph in graphs_of(proto.graph) for tensor in graph.initializer}
    for graph in graphs_of(proto.graph):
        for node in filter(is_ours, graph.node):
            for name, place in (("weight", 1), ("bias", 2)):
                if place < len(node.input) and node.input[place] in known:
                    found[f"{node.name or node.output[0]}.{name}"] = known[node.input[place]]
    return found
