"""What the ConvTranspose nodes of a model cost, how upconv computes them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import planes
from ..errors import SettingError
from ..explain.checkerboard import HARDLY, artifacts
from ..explain.overlap import EVEN, verdict
from ..geometry import Axis, Geometry
from ..planning import choose
from ..plans import Plan
from ..problem import Problem
from ..table import aligned
from ..volume import Volume
from .graph import Node, read
from .layer import AXES, Layer
from .timing import Times, times

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Row:
    """One node: its layer, shapes, cost, plan and warnings; or, in `note`, why there are none.

    `plans` are those of the 2-D problems that are computed, each with how often: one, and in three dimensions one for
    every run of planes that read the same depth taps. `plan` is the one that takes the longest.
    """

    node: Node
    layer: Layer | None = None
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    macs: int = 0
    plans: tuple[tuple[int, Plan], ...] = ()
    warnings: tuple[str, ...] = ()
    note: str = ""
    times: Times | None = None

    @property
    def plan(self) -> Plan | None:
        return max(self.plans, key=lambda each: each[0] * (_predicted(each[1]) or 0))[1] if self.plans else None

    @property
    def seconds(self) -> float | None:
        """Predicted for one thread, all problems together; None where an algorithm makes no prediction."""
        each = [(count, _predicted(plan)) for count, plan in self.plans]
        return None if None in (seconds for _, seconds in each) else sum(count * seconds for count, seconds in each)

    def cells(self) -> tuple[str, ...]:
        """The row as cells of a table."""
        if self.layer is None or not self.plans:
            return self.node.name, *[""] * 5
        kernel = "×".join(map(str, self.layer.kernel)) + f" s{'×'.join(map(str, self.layer.strides))}"
        names = " and ".join(dict.fromkeys(plan.algorithm for _, plan in self.plans))
        where = " in planes" * (self.layer.dimensions == 3)
        predicted = "" if self.seconds is None else f"{self.seconds * 1e3:.3g} ms"
        sizes = f"{_sizes(self.input_shape)} to {_sizes(self.output_shape)}"
        return self.node.name, sizes, kernel, f"{self.macs:,}", names + where, predicted


@dataclass(frozen=True, eq=False)
class Report:
    """The ConvTranspose nodes of a model. Print it.

    Attributes:
        rows: one `Row` for each node.
        total: how many nodes the model has.
        opset: version of the operators.
        name: of the file.
    """

    rows: tuple[Row, ...]
    total: int
    opset: int
    name: str = "the model"

    def lines(self) -> list[str]:
        """The report as lines of text."""
        number = len(self.rows)
        what = f"{number} of {self.total} node{'s' * (self.total != 1)} {'is' if number == 1 else 'are'} ConvTranspose"
        lines = [f"{self.name}: {what} (opset {self.opset})"]
        if not self.rows:
            return lines
        head = ("node", "input to output", "kernel", "multiply-adds", "plan", "predicted, 1 thread")
        timed = [row for row in self.rows if row.times is not None]
        table, times = [row.cells() for row in self.rows], [_time_cells(row.times) for row in self.rows]
        if timed:
            head = (*head, *timed[0].times.head)
            table = [(*cells, *more) for cells, more in zip(table, times, strict=True)]
        lines += aligned([head, *table], right=(3, 5, 6, 7, 8))
        for row in self.rows:
            lines += [f"  {row.node.name}: {sentence}" for sentence in (row.note, *row.warnings) if sentence]
        return lines

    def __repr__(self):
        return "\n".join(self.lines())


def report(model: str | Path | onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None) -> Report:
    """Look at the ConvTranspose nodes of a model; nothing is run.

    Args:
        model: a file, or a `ModelProto`.
        shapes: sizes of inputs by name, for those that the model leaves open. A batch that is left open counts as 1.

    Returns:
        Report: printable; its `rows` have the plans.

    Raises:
        OSError: for a file that cannot be read.
        SettingError: for what is no ONNX model, and shapes that do not fit.

    >>> from onnx import helper
    >>> node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    >>> x, w = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 8, 5, 5]), ("w", [8, 4, 3, 3])))
    >>> y = helper.make_tensor_value_info("y", 1, None)
    >>> print(report(helper.make_model(helper.make_graph([node], "g", [x, w], [y]))))  # doctest: +ELLIPSIS
    the model: 1 of 1 node is ConvTranspose (opset ...)
    ...
      y: height and width: outputs take turns between 2 and 1 products, because s = 2 does not divide k = 3
    """
    graph = read(model, shapes)
    rows = tuple(_row(node) for node in graph.nodes)
    name = Path(model).name if isinstance(model, str | Path) else "the model"
    return Report(rows, graph.total, graph.opset, name)


def _row(node):
    if node.input_shape is None or node.weight_shape is None or None in node.weight_shape:
        return Row(node, note="its sizes are unknown: say the shapes of the model's inputs (--shape NAME=1x3x64x64)")
    shape, batch = node.input_shape, ""
    if shape[0] is None:
        shape, batch = (1, *shape[1:]), "the batch is left open; here it is 1"
    # The weight tells the channels where the shape does not.
    shape = (shape[0], node.weight_shape[0] if shape[1] is None else shape[1], *shape[2:])
    if None in shape:
        said = _sizes(["?" if size is None else size for size in shape])
        return Row(node, note=f"its input is {said}: say the shapes of the model's inputs (--shape NAME=1x3x64x64)")
    try:
        layer = Layer.of(node.given, node.weight_shape[2:])
        out = layer.output_shape(shape, node.weight_shape)
        plans = _plans(layer, shape, node)
        warnings = _warnings(node, layer, layer.axes(shape[2:]))
    except (SettingError, TypeError, NotImplementedError) as error:
        return Row(node, note=f"upconv refuses it: {error}")
    return Row(node, layer, shape, out, layer.macs(shape, node.weight_shape), plans, tuple(warnings), batch)


def _plans(layer, shape, node):
    """((how often, Plan), ...) of the 2-D problems of a node."""
    axes = layer.axes(shape[2:])
    c_in, c_out = node.weight_shape[:2]
    dtype, prepared = node.dtype or "float32", node.weight is not None
    sizes = shape[0], c_in, c_out * layer.groups, layer.groups
    if layer.dimensions == 3:
        return tuple(planes.plans(Volume(*sizes, *axes), dtype, prepared=prepared))
    geometry = Geometry(*sizes, *(Axis(1, 1), *axes)[-2:])
    return ((1, choose(Problem("forward", geometry, dtype, prepared=prepared))),)


def _predicted(plan):
    return next(each.seconds for each in plan.candidates if each.name == plan.algorithm)


def _warnings(node, layer, axes):
    # Axes of the same setting share a sentence.
    reasons: dict[str, list[str]] = {}
    for name, axis in zip(AXES[layer.dimensions], axes, strict=True):
        found = verdict(axis)
        if found.kind != EVEN:
            reasons.setdefault(found.reason, []).append(name)
    yield from (f"{' and '.join(names)}: {reason}" for reason, names in reasons.items())
    if node.weight is None or layer.dimensions == 3:
        return
    weight = node.weight.astype(np.float32).reshape(*node.weight_shape[:2], *(1, *layer.kernel)[-2:])
    strides, dilations = ((1, *steps)[-2:] for steps in (layer.strides, layer.dilations))
    if np.isfinite(weight).all():
        found = artifacts(weight, strides, groups=layer.groups, dilation=dilations)
        if found.taps.all() and found.deviation >= HARDLY:
            yield f"weights: {found.verdict} (gains deviate by {found.deviation:.1%})"


def timed(report: Report, threads: int | None = None, begin=lambda name: None) -> Report:
    """The same report with our time beside ONNX Runtime's, for every node whose sizes are known.

    Args:
        report: of `report`.
        threads: for both; default: as many as upconv has.
        begin: called with the name of each node before it is timed.

    Raises:
        ImportError: where ONNX Runtime is not installed.
    """
    rows = []
    for row in report.rows:
        if row.layer is not None:
            begin(row.node.name)
            row = replace(row, times=times(row, report.opset, threads))
        rows.append(row)
    return replace(report, rows=tuple(rows))


def _time_cells(times):
    return ("",) * 3 if times is None else times.cells()


def _sizes(shape):
    return "×".join(map(str, shape))
