"""Transposes a stack of matrices: how maps become channels-last or channels-first, and a weight a panel.

    dst[i, j, col, row]  =  src[i, j, row, col]

    src   columns consecutive, rows `src_row` apart
    dst   rows consecutive, columns `dst_col` apart; rows up to `pad` are written as zeros

Both outer axes have strides of their own. Either side may be one of halves, the other is float32 then; what is written
as halves is rounded to the nearest. The source may also be one of numbers of bfloat16 that become pairs, of which the
second ones lie `apart` bytes behind the first. Square blocks of whole vectors are transposed in registers; at the edges
the same code runs under masks, so nothing beyond a matrix is read or written. What lies `distance` bytes behind what is
read is prefetched. A few rows that become one line without gaps, as those of a picture of three colours do, are
interleaved instead, and a few columns that come from one are separated: whole vectors are read and written then.
"""

import itertools

from ..codegen.isa import LINE, Isa
from ..codegen.lang import SIZES, Builder, Type
from .depthwise_rows import interleaved, separated
from .stored import Stored

FIELDS = tuple("entry src dst n src_n dst_n m src_m dst_m rows src_row cols dst_col pad distance apart".split())
POINTERS = {"src", "dst"}
# Columns that go through all rows together, by pages: a page of each row. So there are as many streams of memory as a
# vector has lanes, not as many as there are rows, and what they become stays in the second-level cache.
PAGE = 4096
# Lines that the first-level cache holds in one of its sets. The rows of maps are powers of two apart as a rule, so they
# fall into one: of more at a time, what a processor fetches ahead would be gone before it is read.
WAYS = 8
# Bytes that a load brings into any part of a vector.
PART = 16
# Rows that are interleaved: so many on every machine, and up to half of a vector.
FEW = 4


def is_few(rows, lanes) -> bool:
    """Whether so many rows are interleaved; squares of whole vectors would be empty for the most part.

    >>> [rows for rows in range(20) if is_few(rows, 16)], is_few(5, 8)
    ([2, 3, 4, 5, 6, 7, 8], False)
    """
    return 2 <= rows <= max(FEW, lanes // 2)


def are_few(columns, lanes) -> bool:
    """Whether so many columns are separated: as many as are interleaved, and numbers that take few shuffles.

    >>> [columns for columns in range(20) if are_few(columns, 16)], are_few(6, 8), are_few(9, 8)
    ([2, 3, 4, 5, 6, 7, 8, 9], True, False)
    """
    return is_few(columns, lanes) or (columns in (6, 9) and columns < lanes)


def transpose(isa: Isa, elem, reads="", writes="", few=0, by_pages=False, by_parts=False, few_columns=0, near=False):
    """The kernel for elements of one type; `reads` or `writes` are the kind of halves, f16 or bf16, on that side.

    What is read may be PAIRS, too. With `few` there are so many rows, as `is_few` has them, and there is nothing
    between the rows of the result; with `few_columns` so many columns, as `are_few` has them, and nothing between the
    rows of the source. `by_pages` reads a vector of rows along a page, WAYS of them at a time; without, the rows of the
    result are written from end to end. `by_parts` loads a vector from several rows, which are to lie near each other.
    `near` says that the result is written to a cache, where it would take longer to ask for its lines than to wait for
    them.
    """
    names = (
        elem,
        reads and f"of_{reads}",
        writes and f"to_{writes}",
        few and f"{few}_rows",
        few_columns and f"{few_columns}_columns",
        by_pages and "by_pages",
        by_parts and "by_parts",
        near and "near",
        isa.name,
    )
    k = Builder("_".join(filter(None, ("transpose", *names))))
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    sides = Stored(k, isa, vector, reads, task["apart"]), Stored(k, isa, vector, writes)
    with k.loop(0, task["n"]) as i, k.loop(0, task["m"]) as j:
        src = task["src"] + i * task["src_n"] + j * task["src_m"]
        dst = task["dst"] + i * task["dst_n"] + j * task["dst_m"]
        if few:
            with k.loop(0, task["cols"], vector.lanes) as col:
                _interleave(k, task, sides, src, dst, col, few)
        elif few_columns:
            with k.loop(0, task["pad"], vector.lanes) as row:
                _separate(k, task, sides, src, dst, row, few_columns)
        elif by_pages:
            with k.loop(0, task["cols"], PAGE // vector.scalar.size) as first:
                end = k.imin(first + PAGE // vector.scalar.size, task["cols"])
                with k.loop(0, task["pad"], vector.lanes) as row:
                    start = first
                    if vector.lanes > WAYS and not (reads or writes):
                        start = _page_by_ways(k, task, vector, src, dst, row, first, end)
                    with k.loop(start, end, vector.lanes) as col:
                        _block(k, task, sides, src, dst, row, col, by_parts, near)
        else:
            with k.loop(0, task["cols"], vector.lanes) as col, k.loop(0, task["pad"], vector.lanes) as row:
                _block(k, task, sides, src, dst, row, col, by_parts, near)
    return k


def _interleave(k, task, sides, src, dst, col, few):
    """A vector of columns of a few rows."""
    read, written = sides
    lanes, left = read.vector.lanes, task["cols"] - col
    here, out = src + col * read.size, dst + col * (few * written.size)

    def put(inside, masks):
        lines = interleaved(k, [read.load(here + r * task["src_row"], inside) for r in range(few)])
        for v, (line, mask) in enumerate(zip(lines, masks, strict=True)):
            written.store(line, out + v * lanes * written.size, mask)

    with k.when(k.less(lanes - 1, left)):
        put(None, [None] * few)
    with k.when(k.less(left, lanes)):
        put(k.lane_mask(left, read.vector), [k.lane_mask(left * few - v * lanes, read.vector) for v in range(few)])


def _separate(k, task, sides, src, dst, row, few):
    """A vector of rows of a few columns."""
    read, written = sides
    lanes, left = read.vector.lanes, task["rows"] - row
    here, out = src + row * (few * read.size), dst + row * written.size

    def put(inside, mask):
        with k.when(k.negate(k.equal(task["distance"], 0))):
            for v in range(few):
                k.prefetch(here + (v * lanes * read.size + task["distance"]))
        lines = [read.load(here + v * lanes * read.size, inside[v]) for v in range(few)]
        for c, line in enumerate(separated(k, lines)):
            written.store(line, out + c * task["dst_col"], mask)

    with k.when(k.less(lanes - 1, left)):
        put([None] * few, None)
    with k.when(k.less(left, lanes)):
        inside = [k.lane_mask(left * few - v * lanes, read.vector) for v in range(few)]
        put(inside, k.lane_mask(task["pad"] - row, read.vector))


def _page_by_ways(k, task, vector, src, dst, row, first, end):
    """The whole blocks of a page of a vector of rows, WAYS rows at a time; the column that comes after them."""
    size, narrow = vector.scalar.size, Type(vector.elem, WAYS)
    are_rows_whole = k.less(vector.lanes - 1, task["rows"] - row)
    stop = k.select(are_rows_whole, first + k.iand(end - first, -vector.lanes), first)
    with k.loop(0, vector.lanes, WAYS) as some, k.loop(first, stop, vector.lanes) as col:
        # As in `_block`.
        here, there = k.opaque(row + some), k.opaque(col)
        corner = src + here * task["src_row"] + there * size
        out = dst + there * task["dst_col"] + here * size
        for at in range(0, vector.lanes, WAYS):
            lines = [k.load(corner + (r * task["src_row"] + at * size), narrow) for r in range(WAYS)]
            for c, line in enumerate(transposed(k, lines), at):
                k.store(line, out + c * task["dst_col"])
    return stop


def _block(k, task, sides, src, dst, row, col, by_parts, near):
    whole = _by_parts if by_parts else _by_rows
    read, written = sides
    vector, lanes = read.vector, read.vector.lanes
    # Or LLVM has a pointer for each row and each column, of which all but a few lie in memory, to go on in every block.
    row, col = k.opaque(row), k.opaque(col)
    rows_left, cols_left, pad_left = task["rows"] - row, task["cols"] - col, task["pad"] - row
    corner = src + row * task["src_row"] + col * read.size
    out = dst + col * task["dst_col"] + row * written.size
    fits = k.iand(k.less(lanes - 1, rows_left), k.less(lanes - 1, cols_left))
    with k.when(fits):
        # The rows of the result go on in the next block: so many lines far apart are not foreseen by the machine.
        for c in range(0 if near else lanes):
            k.prefetch(out + (c * task["dst_col"] + LINE), write=True)
        _prefetch(k, task, corner, lanes)
        for c, line in enumerate(whole(k, read, corner, task["src_row"])):
            written.store(line, out + c * task["dst_col"])
    narrow = k.iand(k.less(lanes - 1, rows_left), k.less(cols_left, lanes))
    with k.when(narrow):
        # All rows of a few columns: the taps of a weight.
        _prefetch(k, task, corner, lanes)
        inside = k.lane_mask(cols_left, vector)
        lines = [read.load(corner + r * task["src_row"], inside) for r in range(lanes)]
        for c, line in enumerate(transposed(k, lines)):
            with k.when(k.less(c, cols_left)):
                written.store(line, out + c * task["dst_col"])
    with k.when(k.less(rows_left, lanes)):
        inside = k.lane_mask(cols_left, vector)
        nothing = k.lane_mask(0, vector)
        # What is left out is not read; but where its address is no one's, to see that takes hundreds of clocks.
        lines = [
            read.load(
                corner + k.imin(r, rows_left - 1) * task["src_row"],
                k.select(k.less(r, rows_left), inside, nothing),
            )
            for r in range(lanes)
        ]
        below = k.lane_mask(pad_left, vector)
        for c, line in enumerate(transposed(k, lines)):
            with k.when(k.less(c, cols_left)):
                written.store(line, out + c * task["dst_col"], below)


def _prefetch(k, task, corner, lanes):
    """Prefetch the rows that lie `distance` bytes behind those of a block."""
    with k.when(k.negate(k.equal(task["distance"], 0))):
        for r in range(lanes):
            k.prefetch(corner + (r * task["src_row"] + task["distance"]))


def _by_rows(k, read, corner, step):
    """The transpose of a square of vectors in memory, rows `step` apart."""
    return transposed(k, [read.load(corner + r * step) for r in range(read.vector.lanes)])


def _by_parts(k, read, corner, step):
    """Likewise, but parts of different rows come together as they are loaded, which leaves less to be shuffled.

    Of shuffles in registers processors do one a clock, but of loads two or three. Rows that crowd the cache would have
    to come into it for each part.
    """
    vector = read.vector
    lanes, part = vector.lanes, PART // vector.scalar.size
    squares = {}
    for r, first in itertools.product(range(part), range(0, lanes, part)):
        pieces = [
            k.load(corner + (row * step + first * read.size), Type(vector.elem, part)) for row in range(r, lanes, part)
        ]
        while len(pieces) > 1:
            pieces = [k.shuffle(a, b, range(2 * a.type.lanes)) for a, b in zip(pieces[::2], pieces[1::2], strict=True)]
        squares[first + r] = pieces[0]
    return transposed(k, [squares[number] for number in range(lanes)], part)


def transposed(k, lines, side=None):
    """The transpose of a square of vectors by rounds of two-operand shuffles, or of squares of `side` in its place."""
    span, side = 1, side or len(lines)
    while span < side:
        lines = _round(k, lines, span)
        span *= 2
    return lines


def _round(k, lines, span):
    """Exchange the off-diagonal quarters of every 2*span square of span-blocks."""
    lanes = len(lines)
    low = [lane if lane // span % 2 == 0 else lane - span + lanes for lane in range(lanes)]
    high = [lane + span if lane // span % 2 == 0 else lane + lanes for lane in range(lanes)]
    result = list(lines)
    for r in range(lanes):
        if r // span % 2 == 0:
            a, b = lines[r], lines[r + span]
            result[r], result[r + span] = k.shuffle(a, b, low), k.shuffle(a, b, high)
    return result
