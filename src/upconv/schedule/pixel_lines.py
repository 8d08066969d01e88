"""Lines of what each pixel of the input meets in the output, in the order in which the taps of a weight lie."""

from collections.abc import Iterator

from ..geometry import ceil_div
from ..kernels import pixel_columns
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, PANELS, Nest, Rows
from .moves import PlacedOperand
from .placed_problem import PlacedProblem


def why_no_lines(problem: Problem) -> list[str]:
    """Why the pixels of a problem have no such lines, as sentences."""
    found = []
    if problem.geometry.groups > 1:
        found.append("has one group only")
    if problem.geometry.w.d > 1:
        found.append("the taps of a row must be neighbours (dilation 1)")
    if problem.row.kind != "f":
        found.append("is for floating-point numbers alone")
    return found


def line_bytes(numbers, size) -> int:
    """Bytes from line to line: an odd number of cache lines, with a vector of room behind the last number."""
    return (ceil_div(numbers * size + isa().vector_bytes, LINE) | 1) * LINE


def line_nests(placed: PlacedProblem, y: PlacedOperand, line, count, run) -> Iterator[Nest]:
    """The nests that write the lines to PANELS: one for each row of the input in all images.

    Args:
        y: the output, or the gradient in it.
        line: bytes from line to line.
        count: runs of taps of a row that a pixel meets in a row.
        run: numbers of a tap in each of these.
    """
    g = placed.g
    fields = {
        "entry": entry(pixel_columns.pixel_columns, placed.elem),
        **{"y": (y.base, y.offset), "dst": (PANELS, 0)},
        **{"count": count, "k_h": g.h.k, "k_w": run * g.w.k, "y_c": y.at.c, "y_h": g.h.d * y.at.h},
    }
    # The pixels of a row follow one another; where there is one only, its stride says nothing of its length.
    pixel = run * placed.size
    images = Rows(("y", "dst"), [(n * y.at.n, n * g.h.n * g.w.n * line) for n in range(g.n)])
    places = [_met(g.w, j) for j in range(g.w.n)]
    cols = Rows(
        ("y", "dst", "lo_w", "hi_w"),
        [(first * pixel, j * line, run * lo, run * hi) for j, (first, lo, hi) in enumerate(places)],
    )
    for i in range(g.h.n):
        first, lo, hi = _met(g.h, i)
        rows = Rows(("y", "dst", "lo_h", "hi_h"), [(first * y.at.h, i * g.w.n * line, lo, hi)])
        yield Nest(pixel_columns.FIELDS, fields, (images, rows, cols))


def _met(axis, i):
    """(output of tap 0, first tap, end of the taps) that reach the output from an input."""
    first = i * axis.s - axis.crop_lo
    lo = max(0, ceil_div(-first, axis.d))
    return first, lo, max(lo, min(axis.k, ceil_div(axis.out - first, axis.d)))
