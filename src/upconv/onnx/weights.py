"""The weights of a model's ConvTranspose nodes, out of its initialisers and back into them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..errors import SettingError
from .graph import is_ours, loaded, scopes_of


def state_dict(model: str | Path | onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights and biases of all ConvTranspose nodes that initialisers give, under the names of torch's layers.

    Args:
        model: a file, or a `ModelProto`.

    Returns:
        Arrays by name, "node.weight" and "node.bias"; a node without a name goes by its output's. A source of
        `upconv.weights.load`.

    Raises:
        OSError, SettingError: for what cannot be read, and for two nodes of one name with weights of their own.
    """
    proto, folder = loaded(model)
    return {key: numpy_helper.to_array(tensor, folder) for key, tensor in _tensors(proto).items()}


def load_state_dict(model: onnx.ModelProto, found: Mapping[str, Any]) -> None:
    """Put weights and biases into a model, in place of those of its initialisers.

    An initialiser changes for all nodes that read it.

    Args:
        model: a `ModelProto`, which is changed.
        found: arrays by the names that `state_dict` gives; some of them will do.

    Raises:
        SettingError: for names that the model does not have or has twice, shapes that do not fit, and different values
            for one initialiser; then nothing has changed.
    """
    tensors = _tensors(model)
    made: dict[int, tuple[str, onnx.TensorProto, onnx.TensorProto]] = {}
    for key, value in found.items():
        if key not in tensors:
            raise SettingError(f"the model has no {key!r}; it has {', '.join(tensors) or 'none'}")
        array, old = np.asarray(value), tensors[key]
        if array.shape != tuple(old.dims):
            raise SettingError(f"{key} has shape {array.shape}; in the model it is {tuple(old.dims)}")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(old.data_type)
        new = numpy_helper.from_array(np.ascontiguousarray(array.astype(dtype)), old.name)
        first, _, before = made.setdefault(id(old), (key, old, new))
        if before != new:
            raise SettingError(f"{first} and {key} are one initialiser of the model, {old.name!r}; the values differ")
    for _, old, new in made.values():
        old.CopyFrom(new)


def _tensors(proto):
    """Initialisers by our names."""
    parts: dict[str, dict[str, onnx.TensorProto]] = {}
    for scope in scopes_of(proto.graph):
        for node in filter(is_ours, scope.graph.node):
            given = zip(("weight", "bias"), node.input[1:], strict=False)
            own = {part: scope.known[name] for part, name in given if name in scope.known}
            called = node.name or node.output[0]
            before = parts.setdefault(called, own)
            if before.keys() != own.keys() or any(own[part] is not before[part] for part in own):
                raise SettingError(
                    f"two ConvTranspose nodes are called {called!r}, and their initialisers are not the same: give the "
                    "nodes names that differ"
                )
    return {f"{called}.{part}": tensor for called, own in parts.items() for part, tensor in own.items()}
