"""A product of matrices with pixels along the vector: every row of the weight by every pixel of a map channels-first.

    y[r, pixel]  =  sum over c of  x[c, pixel] * w[c, r]

    x       lines of consecutive pixels, channels `x_c` apart
    w       a packed panel: blocks of mr rows, in each the rows of a channel after those of the channel before
    y       written, never read: rows `y_r` apart; what lies behind the last pixel of a line is written too
    strip   nv vectors of pixels of all channels, so that they are read from far away once for all rows; meanwhile the
            pixels of the next strip are on their way

A task is n x lines lines. The last strip of a line is filled up with zeros, so nothing beyond a line is read. No sum is
longer than LONGEST_SUM products, as in `gemm`.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .gemm import LONGEST_SUM, UNROLL, spill_partial_sums

# x is prefetched so many channels before it is read.
AHEAD = 8
FIELDS = tuple("entry x y w strip totals n lines cols c x_n x_line x_c y_n y_line y_r blocks w_b".split())
POINTERS = {"x", "y", "w", "strip", "totals"}


def macs(task, lanes, elem, mr, nv):
    """Multiply-adds of a task, those included that no output needs."""
    pixels = -(-task["cols"] // (nv * lanes)) * nv * lanes
    return task["n"] * task["lines"] * pixels * task["blocks"] * mr * task["c"]


def scratch(vector_bytes, mr, nv, channels):
    """Bytes of a strip and of the partial sums."""
    return {"strip": channels * nv * vector_bytes, "totals": mr * nv * vector_bytes}


def strip_product(isa: Isa, elem, mr, nv):
    """The kernel for mr rows by nv vectors of pixels."""
    k = Builder(f"strip_product_{elem}_{mr}x{nv}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    with k.loop(0, task["n"]) as n, k.loop(0, task["lines"]) as line:
        x = task["x"] + (n * task["x_n"] + line * task["x_line"])
        y = task["y"] + (n * task["y_n"] + line * task["y_line"])
        with k.loop(0, task["cols"], nv * vector.lanes) as start:
            place = start * vector.scalar.size
            _strip(k, task, vector, nv, x + place, task["cols"] - start)
            with k.loop(0, task["blocks"]) as block:
                _fetch_next(k, task, vector, nv, x + place, task["cols"] - start, block)
                there = y + (place + block * (task["y_r"] * mr))
                _tile(k, task, vector, (mr, nv), task["w"] + block * task["w_b"], there)
    return k


def _strip(k, task, vector, nv, x, left):
    """Copy nv vectors of every channel, those that there are."""
    whole = k.less(nv * vector.lanes - 1, left)
    masks = [k.lane_mask(left - v * vector.lanes, vector) for v in range(nv)]
    for condition, some in ((whole, [None] * nv), (k.equal(whole, 0), masks)):
        with k.when(condition), k.loop(0, task["c"]) as c:
            src, dst = x + k.opaque(c * task["x_c"]), task["strip"] + k.opaque(c * (nv * vector.size))
            for at in range(0, nv * vector.size, LINE):
                k.prefetch(src + (task["x_c"] * AHEAD + at))
            for v, mask in enumerate(some):
                k.store(k.load(src + v * vector.size, vector, mask), dst + v * vector.size)


def _fetch_next(k, task, vector, nv, x, left, block):
    """Prefetch a part of the strip behind this one: all blocks together fetch it, while they multiply."""
    each = k.divide(task["c"] + (task["blocks"] - 1), task["blocks"])
    first, end = block * each, k.select(k.less(nv * vector.lanes, left), task["c"], 0)
    with k.loop(k.imin(first, end), k.imin(first + each, end)) as c:
        src = x + (nv * vector.size + k.opaque(c * task["x_c"]))
        for at in range(0, nv * vector.size, LINE):
            k.prefetch(src + at)


def _tile(k, task, vector, shape, w, y):
    """mr rows by nv vectors: the sums live in registers from the first channel to the last."""
    mr, nv = shape
    zero = k.zero(vector)
    sums = [[k.variable(zero) for _ in range(nv)] for _ in range(mr)]
    flat, cut = [variable for row in sums for variable in row], k.variable(0, I64)
    with k.loop(0, task["c"], LONGEST_SUM) as start:
        with k.when(k.less(0, start)):
            spill_partial_sums(k, task["totals"], vector, flat, cut)
        part = k.imin(task["c"] - start, LONGEST_SUM)
        whole = part - k.iand(part, UNROLL - 1)
        with k.loop(start, start + whole, UNROLL) as c:
            _channels(k, task, vector, w, c, sums, UNROLL)
        with k.loop(start + whole, start + part) as c:
            _channels(k, task, vector, w, c, sums, 1)
    with k.when(cut.get() > 0):
        for place, variable in enumerate(flat):
            variable.set(k.add(variable.get(), k.load(task["totals"] + place * vector.size, vector)))
    for r, row in enumerate(sums):
        line = y + task["y_r"] * r
        for v, variable in enumerate(row):
            k.store(variable.get(), line + v * vector.size)


def _channels(k, task, vector, w, c, sums, count):
    """Add the products of some channels from c on."""
    mr, nv, size = len(sums), len(sums[0]), vector.scalar.size
    panel, weights = task["strip"] + k.opaque(c * (nv * vector.size)), w + k.opaque(c * (mr * size))
    for u in range(count):
        pixels = [k.load(panel + (u * nv + v) * vector.size, vector) for v in range(nv)]
        for r, row in enumerate(sums):
            value = k.splat(k.load(weights + (u * mr + r) * size, vector.scalar), vector)
            for variable, part in zip(row, pixels, strict=True):
                variable.set(k.muladd(value, part, variable.get()))
