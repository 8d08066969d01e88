"""The ONNX backend: models and single nodes, with upconv's ConvTranspose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx.backend.base import Backend as Base
from onnx.backend.base import BackendRep, namedtupledict

from .operator import ConvTranspose, Evaluator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeAlias

    Inputs: TypeAlias = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]


class Prepared(BackendRep):
    """A model that is ready to run, as `prepare` returns it; weights of ConvTranspose nodes are packed once."""

    def __init__(self, model: onnx.ModelProto):
        self._evaluator = Evaluator(model)
        known = self._evaluator.rt_inits_
        self._inputs = [name for name in self._evaluator.input_names if name not in known]
        for node in self._evaluator.rt_nodes_:
            if isinstance(node, ConvTranspose) and node.input[1] in known:
                node.keep(known[node.input[1]])

    def run(self, inputs: Inputs, **options: Any) -> tuple[Any, ...]:
        """Run the model.

        Args:
            inputs: arrays in the order of the graph's inputs that no initialiser gives, a dictionary by name (which may
                replace initialisers), or one array.
            options: taken as the base class does, and ignored.

        Returns:
            A named tuple of arrays, one for each output of the graph.

        Raises:
            ValueError: for another number of inputs.
        """
        feeds = _feeds(self._inputs, inputs)
        outputs = self._evaluator.run(None, feeds)
        return namedtupledict("Outputs", self._evaluator.output_names)(*outputs)


class Backend(Base):
    """`onnx.backend.base.Backend` on the CPU: `prepare`, `run_model`, `run_node`, `supports_device`.

    >>> import numpy as np, onnx
    >>> node = onnx.helper.make_node("ConvTranspose", ["X", "W"], ["Y"], strides=[2])
    >>> Backend.run_node(node, [np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2), np.float32)])[0].shape
    (1, 1, 6)
    """

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device is the CPU.

        Args:
            device: "CPU", "CPU:0", "CUDA", ...
        """
        return device.split(":")[0] == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> Prepared:
        """A model that is ready to run.

        Args:
            model: a ModelProto, which is checked.
            device: "CPU".
            options: as the base class takes them.

        Returns:
            Prepared: its ``run(inputs)`` gives the outputs.

        Raises:
            ValueError: for another device.
            onnx.checker.ValidationError: for a model that breaks the specification.
        """
        cls._check_device(device)
        super().prepare(model, device, **options)
        return Prepared(model)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Inputs, device: str = "CPU", outputs_info: Any = None, **options: Any
    ) -> tuple[Any, ...]:
        """Run one node.

        Args:
            node: a NodeProto.
            inputs: arrays in the order of the node's inputs, a dictionary by name, or one array.
            device: "CPU".
            outputs_info: ignored.
            options: `opset_version` is what the node is checked against.

        Returns:
            A named tuple of arrays.
        """
        cls._check_device(device)
        super().run_node(node, inputs, device, outputs_info, **options)
        evaluator = Evaluator(node)
        outputs = evaluator.run(None, _feeds([name for name in node.input if name], inputs))
        return namedtupledict("Outputs", list(node.output))(*outputs)

    @classmethod
    def _check_device(cls, device):
        if not cls.supports_device(device):
            raise ValueError(f"device is {device!r}; this backend runs on the CPU, so it must be 'CPU'")


def _feeds(names, inputs):
    if isinstance(inputs, dict):
        return inputs
    inputs = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    if len(inputs) != len(names):
        raise ValueError(f"there are {len(inputs)} inputs; it takes {len(names)}: {', '.join(names)}")
    return dict(zip(names, inputs, strict=True))


def run_model(model: onnx.ModelProto, inputs: Inputs, device: str = "CPU", **options: Any) -> tuple[Any, ...]:
    """`Backend.run_model`: prepare a model, and run it once.

    Args:
        model: a ModelProto.
        inputs: arrays in the order of the graph's inputs, a dictionary by name, or one array.
        device, options: as in `Backend.prepare`.

    Returns:
        A named tuple of arrays.
    """
    return Backend.run_model(model, inputs, device, **options)


is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_node = Backend.run_node
supports_device = Backend.supports_device
