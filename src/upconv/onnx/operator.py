"""ConvTranspose for onnx's reference evaluator, and an evaluator that has it everywhere in a model."""

from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from .layer import Layer


class ConvTranspose(OpRun):
    """The operator ConvTranspose of ONNX computed by upconv, in one, two and three dimensions and in every opset.

    >>> import numpy as np, onnx
    >>> from onnx.reference import ReferenceEvaluator
    >>> node = onnx.helper.make_node("ConvTranspose", ["X", "W"], ["Y"], strides=[2, 2])
    >>> evaluator = ReferenceEvaluator(node, new_ops=[ConvTranspose])
    >>> evaluator.run(None, {"X": np.ones((1, 1, 2, 2), np.float32), "W": np.ones((1, 1, 2, 2), np.float32)})[0].shape
    (1, 1, 4, 4)
    """

    op_domain = ""
    # The weight of a model that was prepared, and what `Layer.prepared` made of it.
    known = None

    def _run(
        self,
        X,
        W,
        B=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        output_padding=None,
        output_shape=None,
        pads=None,
        strides=None,
    ):
        layer = self.layer(W.shape[2:])
        weight = W
        if self.known is not None and self.known[0] is W:
            weight = self.known[1]
        return (layer(X, weight, B),)

    def layer(self, kernel):
        """The `Layer` of the node."""
        return Layer.of({name: getattr(self, name, None) for name in NAMES}, kernel)

    def keep(self, weight):
        """Prepare the weight, for calls that pass this very array."""
        self.known = weight, self.layer(weight.shape[2:]).prepared(weight)


NAMES = (
    "auto_pad",
    "dilations",
    "group",
    "kernel_shape",
    "output_padding",
    "output_shape",
    "pads",
    "strides",
)


class Evaluator(ReferenceEvaluator):
    """onnx's reference evaluator with our operator, in subgraphs and in local functions too."""

    def __init__(self, proto, *arguments, new_ops=None, **options):
        super().__init__(proto, *arguments, new_ops=[ConvTranspose, *(new_ops or ())], **options)
