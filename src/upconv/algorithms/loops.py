"""The definition itself, as an algorithm: to compare with, never to be chosen."""

from .. import reference
from ..layouts import in_order
from ..problem import Details

SECONDS_PER_STEP, MACS_PER_SECOND = 4e-6, 2e9


def why_not(problem):
    return []


def why_not_automatic(problem):
    return ["runs only when it is asked for by name"]


def rounds_by_place(problem):
    """A product is of all images, and NumPy adds up one alone in another order; whole numbers do not round."""
    return problem.row.kind != "i"


def fuses(problem):
    return False


def cost(problem):
    """One interpreted step for each (input, tap, output) triple of the two axes, in every group, and its products."""
    g = problem.geometry
    steps = g.groups * g.h.pairs * g.w.pairs
    return SECONDS_PER_STEP * steps + problem.macs / MACS_PER_SECOND


def workspace_bytes(problem):
    """Operands and result once more, in the widest type of their kind."""
    wide = 16 if problem.dtype.startswith("complex") else 8
    return problem.geometry.elements() * wide


def details(problem):
    """One interpreted step for each input, tap and output; the products of the channels are NumPy's."""
    return Details(problem.macs, ("upconv.reference",), "NumPy's", threads=0)


def run(problem, a, b, bias, out):
    a, b = in_order(problem, a, b)
    if problem.operation == "forward":
        result = reference.scatter(problem.geometry, a, b)
    elif problem.operation == "grad_input":
        # The reference conjugates as a gradient does; the operation is bilinear, so conjugate once more.
        result = reference.grad_input(problem.geometry, a, b.conj() if b.dtype.kind == "c" else b)
    else:
        result = reference.grad_weight(problem.geometry, a.conj() if a.dtype.kind == "c" else a, b)
    if bias is not None:
        result += bias.astype(result.dtype)[:, None, None]
    out[...] = result.astype(out.dtype)
