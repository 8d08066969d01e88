"""A node timed beside ONNX Runtime: the same operands, results compared first, runs in turn."""

import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..runtime.pool import get_num_threads, set_num_threads

ROUNDS, SECONDS, PATIENCE = 7, 0.3, 10.0
ALLOWED = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-10, "bfloat16": 5e-2}


@dataclass(frozen=True, slots=True)
class Times:
    """Median seconds of a node; `theirs` is None where ONNX Runtime does not run it, and `reason` says why."""

    ours: float
    theirs: float | None
    threads: int
    reason: str = ""

    @property
    def head(self) -> tuple[str, str, str]:
        """The names of the columns that `cells` gives."""
        return f"upconv, {self.threads} thread{'s' * (self.threads > 1)}", "onnxruntime", "gain"

    def cells(self) -> tuple[str, str, str]:
        """Both times and their ratio."""
        if self.theirs is None:
            return _said(self.ours), self.reason, ""
        return _said(self.ours), _said(self.theirs), f"{self.theirs / self.ours:.2f}×"


def times(row, opset: int, threads: int | None = None) -> Times:
    """Time one row of a report.

    The weight is known beforehand to both if an initialiser gives it, and comes with the call if not.
    """
    rng = np.random.default_rng(0)
    node, before = row.node, get_num_threads()
    dtype = np.dtype(node.dtype or "float32")
    x = rng.standard_normal(row.input_shape).astype(dtype)
    weight = rng.standard_normal(node.weight_shape).astype(dtype) if node.weight is None else node.weight
    bias = rng.standard_normal(row.output_shape[1]).astype(dtype) if node.has_bias else None
    known = weight if node.weight is None else row.layer.prepared(weight)
    set_num_threads(threads or before)
    try:
        used = get_num_threads()
        runs = [lambda: row.layer(x, known, bias)]
        reason = ""
        try:
            runs.append(_session(node, opset, x, weight, bias, used))
            if not _agree(runs[0](), runs[1](), dtype.name):
                runs, reason = runs[:1], "gives other values"
        except ImportError:
            raise
        except Exception as error:
            # Its exceptions have no public class in common.
            runs, reason = runs[:1], _refusal(error)
        found = _medians(runs)
        return Times(found[0], found[1] if len(found) > 1 else None, used, reason)
    finally:
        set_num_threads(before)


def _session(node, opset, x, weight, bias, threads):
    """A call of ONNX Runtime's with this node alone."""
    import onnxruntime

    operands = {"x": x, "w": weight, **({} if bias is None else {"b": bias})}
    fixed = ("w", "b") if node.weight is not None else ()
    one = helper.make_node("ConvTranspose", list(operands), ["y"], **node.given)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    free = {name: array for name, array in operands.items() if name not in fixed}
    graph = helper.make_graph(
        [one],
        "one",
        [helper.make_tensor_value_info(name, kind, array.shape) for name, array in free.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(operands[name], name) for name in fixed if name in operands],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    # Runtimes are older than the format of the newest onnx; nothing here needs it.
    model.ir_version = min(model.ir_version, onnx.helper.VERSION_TABLE[-1][1], 10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, free)[0]


def _agree(ours, theirs, dtype):
    scale = float(np.abs(theirs.astype(np.float64)).max(initial=0)) or 1.0
    if ours.shape != theirs.shape:
        return False
    worst = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0)
    return worst <= ALLOWED.get(dtype, 1e-4) * scale


def _refusal(error):
    text = str(error).split(" : ")[-1].strip().splitlines()
    return f"refuses: {text[0][:80] if text else type(error).__name__}"


def _medians(runs):
    """Median seconds of every call; they take turns, so that what disturbs one disturbs all."""
    found: list[list[float]] = [[] for _ in runs]
    start = time.perf_counter()
    while len(found[0]) < ROUNDS or time.perf_counter() - start < SECONDS:
        for run, seconds in zip(runs, found, strict=True):
            before = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - before)
        if time.perf_counter() - start > PATIENCE:
            break
    return [median(seconds) for seconds in found]


def _said(seconds):
    return f"{seconds * 1e3:.3g} ms"
