"""Lines of what each pixel of the input meets in the output, in the order in which the taps of a weight lie."""

from collections.abc import Iterator

from ..geometry import ceil_div
from ..kernels import pixel_columns
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, PANELS, PARTS_PER_THREAD, SECONDS_PER_PIECE, Grid, Nest, Rows
from .moves import PlacedOperand
from .placed_problem import PlacedProblem
from .tap_rows import why_no_tap_rows


def why_no_lines(problem: Problem) -> list[str]:
    """Why the pixels of a problem have no such lines, as sentences."""
    found = why_no_tap_rows(problem)
    if problem.row.kind != "f":
        found.append("is for floating-point numbers alone")
    return found


def line_bytes(numbers, size) -> int:
    """Bytes from line to line: an odd number of cache lines, with a vector of room behind the last number."""
    return (ceil_div(numbers * size + isa().vector_bytes, LINE) | 1) * LINE


class PixelLines:
    """The lines of all pixels of the input, in PANELS: what writes them, with lists that all channels share.

    Args:
        y: how the output lies, or the gradient in it.
        line: bytes from line to line.
        run: numbers of a tap in each run of taps.
    """

    def __init__(self, placed: PlacedProblem, y: PlacedOperand, line, run):
        self.placed, self.line, self.run = placed, line, run
        g, at = placed.g, y.at
        # The pixels of a row follow one another; where there is one only, its stride says nothing of its length.
        pixel = run * placed.size
        images = [(n * at.n, n * g.h.n * g.w.n * line) for n in range(g.n)]
        rows, cols = [_met(g.h, i) for i in range(g.h.n)], [_met(g.w, j) for j in range(g.w.n)]
        rows = [(first * at.h, i * g.w.n * line, lo, hi) for i, (first, lo, hi) in enumerate(rows)]
        cols = [(first * pixel, j * line, run * lo, run * hi) for j, (first, lo, hi) in enumerate(cols)]
        shared_out = 1 if placed.threads == 1 else PARTS_PER_THREAD * placed.threads
        each = ceil_div(g.h.n, min(g.h.n, max(shared_out, int(placed.seconds / SECONDS_PER_PIECE))))
        self._images = Rows(("y", "dst"), images)
        self._cols = Rows(("y", "dst", "lo_w", "hi_w"), cols)
        self._rows = [Rows(("y", "dst", "lo_h", "hi_h"), rows[i : i + each]) for i in range(0, g.h.n, each)]

    def grids(self, y: PlacedOperand, count) -> Iterator[Grid]:
        """The grids that write the lines, for some rows of the input in all images each.

        Args:
            y: the output, or the gradient in it, from the first channel on whose taps are written.
            count: runs of taps of a row that a pixel meets in a row.
        """
        g = self.placed.g
        fields = {
            "entry": entry(pixel_columns.pixel_columns, self.placed.elem),
            **{"y": (y.base, y.offset), "dst": (PANELS, 0), "count": count},
            **{"k_h": g.h.k, "k_w": self.run * g.w.k, "y_c": y.at.c, "y_h": g.h.d * y.at.h},
        }
        for rows in self._rows:
            yield Grid((Nest(pixel_columns.FIELDS, fields, (self._images, rows, self._cols)),))


def _met(axis, i):
    """(output of tap 0, first tap, end of the taps) that reach the output from an input."""
    first = i * axis.s - axis.crop_lo
    lo = max(0, ceil_div(-first, axis.d))
    return first, lo, max(lo, min(axis.k, ceil_div(axis.out - first, axis.d)))
