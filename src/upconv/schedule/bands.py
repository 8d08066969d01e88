"""Bands: blocks of the result that are computed one after another, small enough for the second-level cache."""

from dataclasses import dataclass

from ..geometry import Axis, Geometry, ceil_div

BAND_BYTES = 384 << 10


@dataclass(frozen=True, slots=True)
class Band:
    """A block of the result and the part of the source that it needs.

    `n` images from `first_n`; the result from (`row`, `col`), `out_h` x `out_w` large, the source from (`src_row`,
    `src_col`), `src_h` x `src_w` large; `h` and `w` are the axes of the layer that does just this.
    """

    first_n: int
    n: int
    row: int
    col: int
    out_h: int
    out_w: int
    src_row: int
    src_col: int
    src_h: int
    src_w: int
    h: Axis
    w: Axis


def bands(g: Geometry, forward, size, share=1):
    """The bands of a geometry : as many whole images as fit, else whole rows, else parts of rows.

    Args:
        forward: True if the result is the output, False if it is the input (the gradient).
        size: bytes of one value.
        share: into how many bands, at least, the result should be cut for the sake of the threads.
    """
    height, width = (g.h.out, g.w.out) if forward else (g.h.n, g.w.n)
    some_n, some_rows, some_cols = _largest(g, forward, size, share)
    rows, cols = _cut(g.h, forward, height, some_rows), _cut(g.w, forward, width, some_cols)
    return [
        Band(first_n, min(some_n, g.n - first_n), row, col, out_h, out_w, src_row, src_col, src_h, src_w, h, w)
        for first_n in range(0, g.n, some_n)
        for row, out_h, src_row, src_h, h in rows
        for col, out_w, src_col, src_w, w in cols
    ]


def count(g: Geometry, forward, size):
    """How many bands there are for one thread."""
    height, width = (g.h.out, g.w.out) if forward else (g.h.n, g.w.n)
    some_n, some_rows, some_cols = _largest(g, forward, size, 1)
    return ceil_div(g.n, some_n) * ceil_div(height, some_rows) * ceil_div(width, some_cols)


def _largest(g, forward, size, share):
    """The most (images, rows, columns) of a band."""
    height, width = (g.h.out, g.w.out) if forward else (g.h.n, g.w.n)
    step_h, step_w = (g.h.s, g.w.s) if forward else (1, 1)
    per_step = _bytes_of_rows(g, forward, step_h) * size
    per_image = per_step * ceil_div(height, step_h)
    limit = min(BAND_BYTES, max(16 << 10, per_image * g.n // share))
    some_n = max(1, min(g.n, limit // max(1, per_image)))
    some_rows = min(height, max(1, limit // per_step) * step_h)
    some_cols = min(width, max(32, width * limit // per_step // step_w) * step_w) if per_step > limit else width
    return some_n, some_rows, some_cols


def _cut(axis, forward, size, step):
    """One axis cut into (first, how many, first of the source, how many, the Axis that makes them)."""
    parts = []
    for first in range(0, size, step):
        end = min(size, first + step)
        source, part = (axis.window if forward else axis.input_window)(first, end)
        parts.append((first, end - first, source, part.n if forward else part.out, part))
    return parts


def _bytes_of_rows(g, forward, rows):
    """Values in `rows` rows of the result and in the rows of the source that belong to them."""
    if forward:
        return rows * g.w.out * g.c_out + max(1, rows // g.h.s) * g.w.n * g.c_in
    return rows * g.w.n * g.c_in + rows * g.h.s * g.w.out * g.c_out
