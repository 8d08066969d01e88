"""upconv for ONNX: models run with upconv's ConvTranspose, and what such nodes cost.

    prepare, run_model, run_node, supports_device     an ONNX backend (`onnx.backend.base.Backend`), as functions
    Backend                                           the same as a class
    ConvTranspose                                     the operator, for `onnx.reference.ReferenceEvaluator(new_ops=...)`
    state_dict, load_state_dict                       the weights of its initialisers, out of a model and into it
    report                                            the ConvTranspose nodes of a model: sizes, costs, plans, warnings

ConvTranspose in one, two and three dimensions is upconv's; every other operator is that of onnx's own reference
evaluator, which is there to be right and not to be fast.
"""

from .backend import Backend, is_compatible, prepare, run_model, run_node, supports_device
from .operator import ConvTranspose
from .report import report
from .weights import load_state_dict, state_dict

__all__ = [
    "Backend",
    "ConvTranspose",
    "is_compatible",
    "load_state_dict",
    "prepare",
    "report",
    "run_model",
    "run_node",
    "state_dict",
    "supports_device",
]
