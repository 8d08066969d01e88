"""The algorithms, best first. One way of computing a file; to add one, write its file and add its line here.

An algorithm is a module with

    why_not(problem) -> list[str]      sentences of refusal; empty means yes
    cost(problem) -> float             predicted seconds, to be compared with the other algorithms' only
    workspace_bytes(problem) -> int    upper bound of the scratch memory it takes beside the result
    run(problem, a, b, bias, out)      computes into `out`; (a, b) are the operands of the problem's operation

and, if it has more to tell than that it executes the useful multiply-adds and nothing else,

    details(problem) -> Details        what a printed plan shows beyond the problem; may take its time

`a`, `b` and `out` are NumPy arrays of the problem's dtype in native byte order, any strides, `out` overlapping neither;
`bias` is a vector with one value per channel of the result, or None.
"""

from . import loops, phase_gemm, phase_matmul

ALGORITHMS = {
    "phase_gemm": phase_gemm,
    "phase_matmul": phase_matmul,
    "loops": loops,
}
BY_NAME_ONLY = frozenset({"loops"})
# Chosen only where all others refuse, whatever they cost: the bits of NumPy's products are not ours to promise.
LAST_RESORT = frozenset({"phase_matmul"})
