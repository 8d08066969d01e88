"""Rows of which each output has one product at most: their pixels copied into strips, which all channels then read."""

from math import prod

from ..geometry import Axis, ceil_div
from ..kernels import pack_strips, strip_rows
from ..layouts import Operand
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, TOTALS, M, Nest, Rows
from . import pixel_products, segments
from .amounts import NEAR_BYTES, down, read_again
from .moves import PlacedOperand

# Times that strips are read at least, or it is not worth copying them.
LEAST_TIMES = 4
# In how many times `gemm`'s time their short blocks of a weight come from far away; and how much longer products take
# beside those of few channels that `machine` has the rate of, where multiply-adds are two steps.
FROM_AFAR, IN_TWO_STEPS = 1.25, 1.1
ROWS = "x", "y", "w", "rows", "y_row"


def takes_strips(problem: Problem, blocks) -> bool:
    """Whether the rows of a problem are computed from strips, of which some blocks of channels are made."""
    g = problem.geometry
    if problem.operation != "forward" or g.groups > 1 or not is_whole(g.w, isa().lanes(problem.itemsize)):
        return False
    return ceil_div(g.h.k * g.h.g, g.h.s) <= 1 and blocks * g.h.k >= LEAST_TIMES


def vectors_of(mr, s, most) -> int:
    """Vectors of a tile of so many channels and phases, of which there are registers for `most`.

    >>> vectors_of(6, 2, 2), vectors_of(4, 2, 3)
    (2, 2)
    """
    # LLVM keeps 24 sums of 6 or 12 lines in registers, but not those of 4 or 8.
    return most if mr * s & mr * s - 1 else min(most, max(1, 16 // (mr * s)))


def is_whole(w: Axis, lanes) -> bool:
    """Whether every column makes one output of each phase, and a row fills a vector."""
    return w.k == w.s and w.d == 1 and w.crop_lo == w.crop_hi == 0 and w.n >= lanes


def work(problem: Problem, blocks) -> dict[str, float]:
    """What the products of strips take, and copying them.

    Args:
        blocks: (channels, vectors of a tile that there are registers for, number of blocks) of those that are alike.
    """
    g, (c_src, c_dst), lanes = problem.geometry, problem.channels, isa().lanes(problem.itemsize)
    vectors, tiles, products, tasks = ceil_div(g.w.n, lanes), 0, 0, 0
    result = prod(problem.result_shape) * problem.itemsize
    for here, rows, taps, number in down(problem):
        for mr, most, many in blocks:
            nv = vectors_of(mr, g.w.s, most)
            some = number * here * many * ceil_div(ceil_div(g.n * rows, here) * vectors, nv) * taps
            tiles += some
            products += some * nv * mr * g.w.s
        tasks += here * number
    return {
        "strips": products * c_src * (1 if isa().fused else IN_TWO_STEPS),
        "strip_tiles": tiles,
        "copied_strips": g.n * g.h.n * vectors * lanes * c_src * problem.itemsize,
        "panels": FROM_AFAR * read_again(problem, tasks * c_src, g.w.s * c_dst),
        # Of a large result the rows of a few channels of a band are a piece.
        "pieces": result if result > NEAR_BYTES else 0,
        "tasks": tasks * len(blocks),
    }


def vector_bytes(placed) -> int:
    """Bytes from strip to strip."""
    return (ceil_div(placed.c_src * placed.lanes * placed.size, LINE) | 1) * LINE


def packing(placed, band, scratch) -> tuple[Nest, PlacedOperand]:
    """The nest that copies a band of x into strips, and where they lie: `h` is from row to row."""
    x, each = band.x, vector_bytes(placed)
    row = ceil_div(band.w.n, placed.lanes) * each
    strips = PlacedOperand(M, 0, Operand(band.h.n * row, 0, row, each, channels_last=False, channels_first=False))
    scratch.take(M, band.n * band.h.n * row)
    fields = {
        "entry": entry(pack_strips.pack_strips, placed.elem),
        "src": (x.base, x.offset),
        "dst": (M, 0),
        **{"n": band.n, "rows": band.h.n, "c": placed.c_src, "cols": band.w.n},
        **{"src_n": x.at.n, "src_row": x.at.h, "src_c": x.at.c},
        **{"dst_n": strips.at.n, "dst_row": row, "dst_v": each},
    }
    return Nest(pack_strips.FIELDS, fields), strips


def product(placed, band, strips, panels, blocks, across, scratch) -> Nest:
    """The nest that makes the result of a band.

    Args:
        strips: where they lie.
        blocks: (first channel, channels of a block, number of blocks) of those that are alike.
        across: ``across(channels)``, for how many vectors of a tile there are registers.
    """
    s, y, size = band.w.s, band.y.at, placed.size
    values = segments.values(segments.segments(band.h, True), strips.at.h, y.h, panels.row)
    rows = Rows(ROWS, [(x, there, w, count, step) for x, there, w, _, _, _, count, _, step in values])
    listed = []
    for place, (start, mr, number) in enumerate(blocks):
        shape = mr, s, vectors_of(mr, s, across(mr))
        scratch.take(TOTALS, strip_rows.scratch(placed.lanes * size, *shape)["totals"])
        address = entry(strip_rows.strip_rows, placed.elem, *shape, placed.problem.activation.name)
        line = placed.c_src * mr * size
        listed.append((address, start * y.c, start * size, number, panels.block(place), line))
    fixed = {"x": (strips.base, strips.offset), "x_n": strips.at.n, "x_v": strips.at.w}
    fixed |= {"cols": band.w.n, "y_c": y.c, "w_p": panels.tap}
    lists = rows, Rows(("entry", "y", "bias", "blocks", "w", "w_b"), listed)
    return Nest(strip_rows.FIELDS, pixel_products.of_band(placed, band, fixed), lists)
