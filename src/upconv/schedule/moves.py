"""Operands in memory, and the nests that move them: transposing a layout, copying, making halves float32 and back."""

from typing import NamedTuple

from ..kernels import convert, copy, transpose
from ..layouts import Operand
from ..runtime.kernel import entry, isa
from ..runtime.program import Nest, Rows


class PlacedOperand(NamedTuple):
    """An operand in memory: which base address, how far from it, and the strides."""

    base: int
    offset: int
    at: Operand

    def move(self, n=0, row=0, col=0, channel=0):
        offset = n * self.at.n + row * self.at.h + col * self.at.w + channel * self.at.c
        return PlacedOperand(self.base, self.offset + offset, self.at)


# Bytes from row to row of a matrix of which several rows are loaded into a vector at once.
NEAR_ROWS = 128
# Bytes of a half and of the float32 that it becomes.
HALF, WIDE = 2, 4
ONE = (1, 0, 0)


def carried(elem, src, dst, shape, halves="", *, writes=False) -> Nest:
    """The nest that brings a (n, c, h, w) map into scratch, or with `writes` out of it.

    What lies in one order is transposed to lie in the other. Maps of some kind of `halves`, which are float32 in
    scratch, are converted on the way.
    """
    if not halves:
        return transpose_layout(elem, src, dst, shape)
    # Columns of one pixel may lie apart, and maps of one channel.
    same = any(getattr(src.at, each) and getattr(dst.at, each) for each in ("channels_last", "channels_first"))
    found = lines(shape, src.at.strides, dst.at.strides, (WIDE, HALF) if writes else (HALF, WIDE), alone=same)
    if found is None:
        return transpose_layout(elem, src, dst, shape, **halves_of(halves, writes))
    count, n, m, lists = _stacked(found)
    fields = {"entry": entry(convert.convert, halves, writes), "count": count, **_stack(n, m)}
    return Nest(convert.FIELDS, fields | {"src": (src.base, src.offset), "dst": (dst.base, dst.offset)}, lists)


def copied(elem, src, dst, shape) -> Nest:
    """The nest that copies a (n, c, h, w) map that lies in the same order on both sides, at other strides."""
    size = transpose.SIZES[elem]
    count, n, m, lists = _stacked(lines(shape, src.at.strides, dst.at.strides, (size, size), alone=True))
    return copying(elem, (src.base, src.offset), (dst.base, dst.offset), count, n=n, m=m, lists=lists)


def _stacked(found):
    """(numbers of a line, the two stacks of lines, the list of what is more) of `lines`."""
    *outer, (count, _, _) = found
    lists = ()
    if len(outer) > 2:
        many, src_step, dst_step = outer.pop(0)
        lists = (offsets("src", "dst")((i * src_step, i * dst_step) for i in range(many)),)
    n, m = [ONE, ONE, *outer][-2:]
    return count, n, m, lists


def halves_of(kind, writes):
    """What a nest that transposes is told of a kind of halves."""
    return {"writes" if writes else "reads": kind}


def lines(shape, src, dst, sizes, *, alone=False) -> tuple[tuple[int, int, int], ...] | None:
    """((how many, step in the source, step in the result), ...) of an array, from the outermost axis to the innermost.

    Axes that follow one another in both arrays are one, and the innermost has consecutive numbers in both; None where
    there is no such axis.

    Args:
        src, dst: strides in bytes.
        sizes: bytes of a number of the source, of the result.
        alone: lines are of one number where there is no such axis.

    >>> lines((2, 3, 4, 5), (120, 40, 10, 2), (240, 80, 20, 4), (2, 4))
    ((120, 2, 4),)
    """
    merged = []
    for size, src_step, dst_step in sorted(zip(shape, src, dst, strict=True), key=lambda axis: -abs(axis[2])):
        if size == 1:
            continue
        if merged and merged[-1][1:] == (size * src_step, size * dst_step):
            size *= merged.pop()[0]
        merged.append((size, src_step, dst_step))
    if merged and merged[-1][1:] == tuple(sizes):
        return tuple(merged)
    return (*merged, (1, *sizes)) if alone or not merged else None


def transpose_layout(elem, src, dst, shape, reads="", writes="") -> Nest:
    """The nest that makes a (n, c, h, w) map channels-last that lies channels-first, or back, row by row.

    What is neither has its height and width exchanged: pixels of a column are consecutive.

    Raises:
        ValueError: for a map of which neither is true.
    """
    n, channels, height, width = shape
    if src.at.fold:
        rows, lists, cols = unfolding(src, (height, width, dst.at.h), transpose.SIZES[elem])
        sides, images = ((src.base, src.offset), (dst.base, dst.offset)), (n, src.at.n, dst.at.n)
        matrix, by_pages = ((channels, src.at.c), (cols, dst.at.w)), has_pages(elem, channels, cols)
        return transposing(elem, *sides, *matrix, n=images, m=rows, lists=(lists,), by_pages=by_pages)
    here, there = src.at, dst.at
    if not ((here.channels_last or here.channels_first) and (there.channels_last or there.channels_first)):
        return _exchange_axes(elem, src, dst, shape, reads, writes)
    # What has one channel may be both; then the side that is not says which way.
    to_first = here.channels_last and there.channels_first
    first, last = (there, here) if to_first else (here, there)
    pixel = last.w
    if height > 1 and first.h == width * first.w and (width == 1 or last.h == width * last.w):
        # Rows without gaps between them are one: those of a narrow map are short.
        pixel = last.h if width == 1 else pixel
        height, width = 1, height * width
    rows, across = ((width, pixel), (channels, first.c)) if to_first else ((channels, first.c), (width, pixel))
    bases = (src.base, src.offset), (dst.base, dst.offset)
    n, m = (n, src.at.n, dst.at.n), (height, src.at.h, dst.at.h)
    by_pages = not to_first and has_pages(elem, channels, width)
    return transposing(elem, *bases, rows, across, n=n, m=m, reads=reads, writes=writes, by_pages=by_pages)


def unfolding(src, shape, size) -> tuple[tuple[int, int, int], Rows, int]:
    """How the rows of a folded map (see `layouts.Fold`) are transposed into rows that follow one another.

    Args:
        src: where it is placed, channels-first.
        shape: (rows, columns, bytes from row to row of the result, in which there is nothing between rows).
        size: bytes of a number.

    Returns:
        (the `m` of `transposing`, a list for it, columns of each of its matrices).
    """
    (height, width, step), (planes, rows, plane), row = shape, src.at.fold, src.at.row
    # Rows that follow one another without a gap are one.
    apart = 1 if row == width * size else rows
    values = [(t * plane + r * row, (t * rows + r) * step) for t in range(planes) for r in range(apart)]
    m = height // (planes * rows), rows * row, planes * rows * step
    return m, Rows(("src", "dst"), values), width * (rows // apart)


def has_pages(elem, rows, cols):
    """Whether a matrix is so large that it is better transposed by pages."""
    lanes = isa().lanes(transpose.SIZES[elem])
    return rows >= lanes and cols >= 4 * lanes


def _exchange_axes(elem, src, dst, shape, reads, writes):
    """The nest that brings a map whose columns are consecutive to one whose rows are, or back, channel by channel."""
    n, channels, height, width = shape
    sizes = HALF if reads else transpose.SIZES[elem], HALF if writes else transpose.SIZES[elem]
    for (_, _, at), size in zip((src, dst), sizes, strict=True):
        if not (at.channels_last or at.channels_first or at.h == size):
            raise ValueError(f"{at} has no consecutive axis for numbers of {size} bytes")
    rows, across = (height, src.at.h), (width, dst.at.w)
    if dst.at.channels_first:
        rows, across = (width, src.at.w), (height, dst.at.h)
    bases = (src.base, src.offset), (dst.base, dst.offset)
    n, m = (n, src.at.n, dst.at.n), (channels, src.at.c, dst.at.c)
    return transposing(elem, *bases, rows, across, n=n, m=m, reads=reads, writes=writes)


def transposing(
    elem,
    src,
    dst,
    rows,
    cols,
    *,
    n=ONE,
    m=ONE,
    pad=None,
    lists=(),
    reads="",
    writes="",
    by_pages=False,
    distance=0,
    near=False,
    apart=0,
) -> Nest:
    """The nest that transposes n x m matrices.

    Args:
        src, dst: (base, offset).
        rows: (number of rows of the source, bytes from row to row).
        cols: (number of columns of the source, bytes from row to row of the result).
        n, m: (how many, step in the source, step in the result).
        pad: how long the rows of the result are made, with zeros; as long as there are rows, without.
        lists: of Rows, for several such tasks.
        reads, writes: the kind of halves that the source, or the result, is; `reads` may be PAIRS.
        by_pages: a page of columns goes through all rows at a time; a vector of them, without.
        distance: what lies so many bytes behind what is read is prefetched; 0 for nothing.
        near: whether the result is written over what was used just before, and so is in a cache.
        apart: bytes from the first numbers of pairs to the second ones.
    """
    pad = rows[0] if pad is None else pad
    size = transpose.SIZES[elem]
    lanes, read, written = isa().lanes(size), HALF if reads else size, HALF if writes else size
    is_dense = cols[1] == rows[0] * written and pad == rows[0]
    few = rows[0] if transpose.is_few(rows[0], lanes) and is_dense and not lists else 0
    few_columns = cols[0] if transpose.are_few(cols[0], lanes) and rows[1] == cols[0] * read and not lists else 0
    few_columns = 0 if few else few_columns
    # Vectors of several parts, and rows as near each other as the taps of a channel: others gain nothing.
    by_parts = isa().vector_bytes > transpose.PART and 0 < rows[1] <= NEAR_ROWS
    by_parts = by_parts and not (reads or few or few_columns or by_pages)
    fields = {
        "entry": entry(
            transpose.transpose,
            elem,
            reads,
            writes,
            few,
            by_pages and not (few or few_columns),
            by_parts,
            few_columns,
            near and not (few or few_columns),
        ),
        "src": src,
        "dst": dst,
        **_stack(n, m),
        "rows": rows[0],
        "src_row": rows[1],
        "cols": cols[0],
        "dst_col": cols[1],
        "pad": pad,
        "distance": distance,
        "apart": apart,
    }
    return Nest(transpose.FIELDS, fields, lists)


def _stack(n, m):
    """The fields that say how many matrices there are, and how far they are apart."""
    return {"n": n[0], "src_n": n[1], "dst_n": n[2], "m": m[0], "src_m": m[1], "dst_m": m[2]}


def few_rows_at_a_time(placed, rows, pad) -> Rows:
    """The list for `transposing` that goes along a few rows of the source, then along the next.

    Rows far apart are so many streams of memory, and no processor follows as many as a block of channels has.

    Args:
        rows, pad: (number of rows of the source, bytes from row to row), and how long those of the result are made, as
            for `transposing`.
    """
    (count, step), lanes = rows, placed.lanes
    values = [
        (start * step, start * placed.size, min(lanes, max(0, count - start)), min(lanes, pad - start))
        for start in range(0, pad, lanes)
    ]
    return Rows(("src", "dst", "rows", "pad"), values)


def to_weight(placed, src, dst, step, a, b, groups=(), taps=None) -> Nest:
    """The nest that writes sums, tap by tap, as the weight of a problem, whichever of its axes is consecutive.

    Args:
        src, dst: (base, offset) of the sums and of the weight.
        step: bytes of the sums from tap to tap.
        a: (how many channels of the map that is read number by number, bytes from one to the next in the sums and in
            the weight).
        b: (how many of the map along the vector, consecutive in the sums; bytes from one to the next in the weight).
        groups: of each group, what it adds to both offsets.
        taps: how many taps there are, if not all of them.
    """
    g, size = placed.g, placed.size
    many = g.h.k * g.w.k if taps is None else taps
    (a_count, a_src, a_dst), (b_count, b_dst) = a, b
    tap = next((stride for axis, stride in ((g.w, placed.w[3]), (g.h, placed.w[2])) if axis.k > 1), size)
    lists = (Rows(("src", "dst"), groups),) if groups else ()
    if b_dst == size and (many == 1 or tap != size):
        return copying(placed.elem, src, dst, b_count, n=(many, step, tap), m=a, lists=lists)
    if a_dst == size and (many == 1 or tap != size):
        rows, stack = (a_count, a_src), (many, step, tap)
    else:
        rows, stack = (many, step), a
        if b_dst > a_dst:
            # Lines far apart are few at a time: all channels of a follow one another in each.
            lists = (*lists, _few_columns_at_a_time(placed, b_count, b_dst))
            return transposing(placed.elem, src, dst, rows, (0, b_dst), m=stack, lists=lists)
    return transposing(placed.elem, src, dst, rows, (b_count, b_dst), m=stack, lists=lists)


def _few_columns_at_a_time(placed, count, step) -> Rows:
    """The list for `transposing` that takes a vector of columns, then the next: see `few_rows_at_a_time`."""
    values = [
        (start * placed.size, start * step, min(placed.lanes, count - start)) for start in range(0, count, placed.lanes)
    ]
    return Rows(("src", "dst", "cols"), values)


def copying(elem, src, dst, count, *, n=ONE, m=ONE, pad=None, lists=(), reads="", apart=0) -> Nest:
    """The nest that copies n x m lines of `count` values, filled up with zeros to `pad`; else as `transposing`."""
    fields = {
        "entry": entry(copy.copy, elem, reads),
        "src": src,
        "dst": dst,
        **_stack(n, m),
        "count": count,
        "pad": count if pad is None else pad,
        "apart": apart,
    }
    return Nest(copy.FIELDS, fields, lists)


def weight_copied(placed, src, dst, steps) -> Nest:
    """The nest that copies a weight between (base, offset) and another, taps consecutive in both.

    Args:
        steps: bytes from input channel to input channel, and from output channel to output channel, in each of the two.
    """
    g, ((src_in, src_out), (dst_in, dst_out)) = placed.g, steps
    n, m = (g.c_in, src_in, dst_in), (g.c_out // g.groups, src_out, dst_out)
    return copying(placed.elem, src, dst, g.h.k * g.w.k, n=n, m=m)


def offsets(*names):
    """Rows that move some pointers: ``offsets("src", "dst")([(0, 0), (64, 128)])``."""
    return lambda values: Rows(names, list(values))
