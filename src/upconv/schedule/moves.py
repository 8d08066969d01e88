"""Operands in memory, and the nests that move them: transposing a layout, copying."""

from dataclasses import dataclass

from ..kernels import copy, transpose
from ..layouts import Operand
from ..runtime.kernel import entry
from ..runtime.program import Nest, Rows


@dataclass(frozen=True, slots=True)
class Placed:
    """An operand in memory: which base address, how far from it, and the strides."""

    base: int
    offset: int
    at: Operand

    def move(self, n=0, row=0, col=0, channel=0):
        offset = n * self.at.n + row * self.at.h + col * self.at.w + channel * self.at.c
        return Placed(self.base, self.offset + offset, self.at)


def transpose_layout(elem, src, dst, shape) -> Nest:
    """The nest that makes a (n, c, h, w) map channels-last that lies channels-first, or back, row by row."""
    n, channels, height, width = shape
    lines, across = (channels, src.at.c), (width, dst.at.w)
    # What has one channel may be both; then the side that is not says which way.
    if src.at.channels_last and dst.at.channels_first:
        lines, across = (width, src.at.w), (channels, dst.at.c)
    bases = (src.base, src.offset), (dst.base, dst.offset)
    return transposing(elem, *bases, lines, across, n=(n, src.at.n, dst.at.n), m=(height, src.at.h, dst.at.h))


def transposing(elem, src, dst, rows, cols, *, n=(1, 0, 0), m=(1, 0, 0), pad=None, lists=()) -> Nest:
    """The nest that transposes n x m matrices.

    Args:
        src, dst: (base, offset).
        rows: (number of rows of the source, bytes from row to row).
        cols: (number of columns of the source, bytes from row to row of the result).
        n, m: (how many, step in the source, step in the result).
        pad: how long the rows of the result are made, with zeros; as long as there are rows, without.
        lists: of Rows, for several such tasks.
    """
    fields = {
        "entry": entry(transpose.transpose, elem),
        "src": src,
        "dst": dst,
        **_stack(n, m),
        "rows": rows[0],
        "src_row": rows[1],
        "cols": cols[0],
        "dst_col": cols[1],
        "pad": rows[0] if pad is None else pad,
    }
    return Nest(transpose.FIELDS, fields, lists)


def _stack(n, m):
    """The fields that say how many matrices there are, and how far they are apart."""
    return {"n": n[0], "src_n": n[1], "dst_n": n[2], "m": m[0], "src_m": m[1], "dst_m": m[2]}


def few_rows_at_a_time(task, rows, pad) -> Rows:
    """The list for `transposing` that goes along a few rows of the source, then along the next.

    Rows far apart are so many streams of memory, and no processor follows as many as a block of channels has.

    Args:
        rows, pad: (number of rows of the source, bytes from row to row), and how long those of the result are made, as
            for `transposing`.
    """
    (count, step), lanes = rows, task.lanes
    values = [
        (start * step, start * task.size, min(lanes, max(0, count - start)), min(lanes, pad - start))
        for start in range(0, pad, lanes)
    ]
    return Rows(("src", "dst", "rows", "pad"), values)


def to_weight(task, src, dst, taps, a, b, groups=()) -> Nest:
    """The nest that writes sums, which lie tap by tap, as the weight of a task, whatever axis of that is consecutive.

    Args:
        src, dst: (base, offset) of the sums and of the weight.
        taps: bytes of the sums from tap to tap.
        a: (how many channels of the map that is read number by number, bytes from one to the next in the sums and in
            the weight).
        b: (how many of the map along the vector, consecutive in the sums; bytes from one to the next in the weight).
        groups: of each group, what it adds to both offsets.
    """
    g, size = task.g, task.size
    many, (a_count, a_src, a_dst), (b_count, b_dst) = g.h.k * g.w.k, a, b
    tap = next((stride for axis, stride in ((g.w, task.w[3]), (g.h, task.w[2])) if axis.k > 1), size)
    lists = (Rows(("src", "dst"), groups),) if groups else ()
    if b_dst == size and (many == 1 or tap != size):
        return copying(task.elem, src, dst, b_count, n=(many, taps, tap), m=a, lists=lists)
    if a_dst == size and (many == 1 or tap != size):
        rows, stack = (a_count, a_src), (many, taps, tap)
    else:
        rows, stack = (many, taps), a
    return transposing(task.elem, src, dst, rows, (b_count, b_dst), m=stack, lists=lists)


def copying(elem, src, dst, count, *, n=(1, 0, 0), m=(1, 0, 0), pad=None, lists=()) -> Nest:
    """The nest that copies n x m lines of `count` values, filled up with zeros to `pad`; else as `transposing`."""
    fields = {
        "entry": entry(copy.copy, elem),
        "src": src,
        "dst": dst,
        **_stack(n, m),
        "count": count,
        "pad": count if pad is None else pad,
    }
    return Nest(copy.FIELDS, fields, lists)


def offsets(*names):
    """Rows that move some pointers: ``offsets("src", "dst")([(0, 0), (64, 128)])``."""
    return lambda values: Rows(names, list(values))
