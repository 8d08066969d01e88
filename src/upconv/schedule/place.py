"""Operands in memory, and the jobs that move them: turning planes to pixels and back, copying."""

from dataclasses import dataclass

from ..kernels import copy, transpose
from ..runtime.kernel import entry
from .operand import Operand

# The kernels' names of the dtypes that they compute in.
ELEMENTS = {"float32": "f32", "float64": "f64", "int64": "i64"}


@dataclass(frozen=True, slots=True)
class Placed:
    """An operand in memory: which base address, how far from it, and the strides."""

    base: int
    offset: int
    at: Operand

    def move(self, n=0, row=0, col=0):
        return Placed(self.base, self.offset + n * self.at.n + row * self.at.h + col * self.at.w, self.at)


def turn(elem, src, dst, n, height, width, channels):
    """The job that turns planes to pixels or pixels to planes, row by row."""
    lines, across = (channels, src.at.c), (width, dst.at.w)
    # What has one channel may be both; then the side that is not says which way.
    if src.at.pixels and dst.at.planes:
        lines, across = (width, src.at.w), (channels, dst.at.c)
    bases = (src.base, src.offset), (dst.base, dst.offset)
    return transposing(elem, *bases, lines, across, n=(n, src.at.n, dst.at.n), m=(height, src.at.h, dst.at.h))


def transposing(elem, src, dst, rows, cols, *, n=(1, 0, 0), m=(1, 0, 0), pad=None):
    """The job that transposes n x m matrices.

    Args:
        src, dst: (base, offset).
        rows: (number of rows of the source, bytes from row to row).
        cols: (number of columns of the source, bytes from row to row of the result).
        n, m: (how many, step in the source, step in the result).
        pad: how long the rows of the result are made, with zeros; as long as there are rows, without.
    """
    words = {"words": transpose.WORDS, "entry": entry(transpose.transpose, elem), "src": src, "dst": dst}
    words |= zip(("n", "src_n", "dst_n"), n, strict=True)
    words |= zip(("m", "src_m", "dst_m"), m, strict=True)
    words |= zip(("rows", "src_row"), rows, strict=True)
    words |= zip(("cols", "dst_col"), cols, strict=True)
    return words | {"pad": rows[0] if pad is None else pad}


def copying(elem, src, dst, count, *, n=(1, 0, 0), m=(1, 0, 0), pad=None):
    """The job that copies n x m lines of `count` values, filled up with zeros to `pad`; else as `transposing`."""
    words = {"words": copy.WORDS, "entry": entry(copy.copy, elem), "src": src, "dst": dst}
    words |= zip(("n", "src_n", "dst_n"), n, strict=True)
    words |= zip(("m", "src_m", "dst_m"), m, strict=True)
    return words | {"count": count, "pad": count if pad is None else pad}
