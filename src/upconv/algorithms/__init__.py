"""The ways of computing, one a file; to add one, write its file, import it here and add its line to the list.

An algorithm answers

    why_not(problem) -> list[str]             sentences of refusal; empty means yes
    why_not_automatic(problem) -> list[str]   why it runs only when it is asked for by name
    fuses(problem) -> bool                    whether it applies the problem's activation itself
    cost(problem) -> float                    predicted seconds, by which the plan chooses
    workspace_bytes(problem) -> int           upper bound of the scratch memory it takes beside the result
    details(problem) -> Details               what a printed plan shows beyond the problem; may take its time
    run(problem, a, b, bias, out)             computes into `out`; (a, b) are the operands of the operation

A way that is a program of generated kernels is a module of a few functions, see `generated`. `a`, `b` and `out` are
arrays of the problem's dtype and layouts; `bias` is a vector with one value per channel of the result, or None.

and, if it may find its own result unsafe, or if the last bits of an output depend on what else is computed,

    fallback: str                             who computes it again when `run` gives back a flag that is set
    rounds_by_place(problem) -> bool          whether they do, so that a part of a map has others than the whole
    adds_alike(problem, part) -> bool         whether a part has those of the whole otherwise
"""

from ..generated import Generated
from . import (
    col2im_channels,
    col2im_rows,
    depthwise_channels,
    depthwise_rows,
    direct_phases,
    direct_rows,
    gemm,
    gemm_fused_phases,
    gemm_phase_blocks,
    gemm_planes,
    gemm_tap_rows,
    input_gradient_columns,
    loops,
    matmul,
    tap_streaming,
    weight_gradient,
    weight_gradient_blocks,
    weight_gradient_columns,
    weight_gradient_depthwise,
    weight_gradient_runs,
    weight_gradient_tap_rows,
    weight_gradient_winograd,
    weight_streaming,
    winograd,
)
from .columns import by_columns

ALGORITHMS = {
    "gemm": Generated("gemm", gemm),
    "gemm_fused_phases": Generated("gemm_fused_phases", gemm_fused_phases),
    "gemm_phase_blocks": Generated("gemm_phase_blocks", gemm_phase_blocks),
    "gemm_planes": Generated("gemm_planes", gemm_planes),
    "gemm_tap_rows": Generated("gemm_tap_rows", gemm_tap_rows),
    "col2im_channels": Generated("col2im_channels", col2im_channels),
    "col2im_rows": Generated("col2im_rows", col2im_rows),
    "col2im_columns": Generated("col2im_columns", by_columns(col2im_rows)),
    "direct_rows": Generated("direct_rows", direct_rows),
    "direct_columns": Generated("direct_columns", by_columns(direct_rows)),
    "direct_phases": Generated("direct_phases", direct_phases),
    "depthwise_rows": Generated("depthwise_rows", depthwise_rows),
    "depthwise_columns": Generated("depthwise_columns", by_columns(depthwise_rows)),
    "depthwise_channels": Generated("depthwise_channels", depthwise_channels),
    "weight_streaming": Generated("weight_streaming", weight_streaming),
    "tap_streaming": Generated("tap_streaming", tap_streaming),
    "input_gradient_columns": Generated("input_gradient_columns", input_gradient_columns),
    "winograd": Generated("winograd", winograd),
    "weight_gradient_blocks": Generated("weight_gradient_blocks", weight_gradient_blocks),
    "weight_gradient_columns": Generated("weight_gradient_columns", weight_gradient_columns),
    "weight_gradient_depthwise": Generated("weight_gradient_depthwise", weight_gradient_depthwise),
    "weight_gradient_runs": Generated("weight_gradient_runs", weight_gradient_runs),
    "weight_gradient_tap_rows": Generated("weight_gradient_tap_rows", weight_gradient_tap_rows),
    "weight_gradient_winograd": Generated("weight_gradient_winograd", weight_gradient_winograd),
    "weight_gradient": Generated("weight_gradient", weight_gradient),
    "matmul": matmul,
    "loops": loops,
}


def is_programmed(name: str) -> bool:
    """Whether an algorithm makes programs of generated kernels; the others work on arrays."""
    return isinstance(ALGORITHMS[name], Generated)
