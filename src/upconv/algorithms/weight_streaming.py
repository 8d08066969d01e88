"""Weights that are large beside the map: every weight is read once, where it lies, for all pixels.

A few pixels times a whole weight is a plain product: a sum for each pixel, tap and channel of the result. What belongs
to the same output is then added up. Some of the sums are of no use (taps that are cut off at the borders), but nothing
is packed, and memory is read in long runs.
"""

import math

from ..geometry import ceil_div
from ..kernels import depthwise_channels, transpose
from ..kernels import weight_streaming as kernel
from ..layouts import WEIGHT_CHANNELS_LAST, Operand
from ..phases import has_holes, live_segments
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, LINE, PANELS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, W, Y
from ..schedule import pixel_products, segments
from ..schedule.amounts import moved
from ..schedule.moves import PlacedOperand, copying, transpose_layout, transposing
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("forward",)
# Whether its kernels take the weight in halves.
READS_HALVES = True
# Pixels and rows of the weight at a time, by the number of vector registers.
TILES = {32: (4, 6), 16: (2, 5)}
# Columns of a chunk where a channel's taps lie together: runs long enough to be read at memory's pace, and sums few
# enough to stay near. Where a tap's channels do, a chunk has many short runs, so it takes more.
CHUNK, CHUNK_BYTES = 4096, 128 << 10
SUMS_BYTES = 512 << 10
MOST_CHANNELS = 512
# The sums of all pixels must stay in the cache while the weight passes by, and be long beside what is added up.
MOST_PIXELS, MOST_SUMS_BYTES = 256, 1 << 20
LEAST_CHANNELS = 16
# Tasks of a chunk beside those that add up, and which part of one of `gemm` these take.
TASKS, SHARE = 3, 0.6
# Calls that it takes as long as from Python: two stages, and kernels of three kinds.
CALLS = 1.3


def why_never(problem: Problem) -> list[str]:
    refusals = []
    if problem.channels[0] < LEAST_CHANNELS:
        refusals.append(f"sums of {problem.channels[0]} channels are too short beside adding them up")
    columns = _columns(problem)
    if columns < isa().lanes(problem.itemsize):
        refusals.append(f"{columns} columns of the weight that lie together do not fill a vector")
    return refusals


def why_not(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    pixels = g.n * g.h.n * g.w.n
    if pixels > MOST_PIXELS:
        refusals.append(f"the sums of {pixels} pixels would not stay in the cache; at most {MOST_PIXELS} do")
    sums = pixels * g.h.k * g.w.k * isa().vector_bytes
    if sums > MOST_SUMS_BYTES:
        refusals.append(f"the sums of all taps are {sums >> 20} MiB for a vector of channels; at most 1 MiB stays near")
    return refusals


def _columns(problem):
    """Columns of a run of the weight: a channel's taps lie together, or a tap's channels."""
    g, (_, c_dst) = problem.geometry, problem.channels
    return c_dst if problem.b_layout == WEIGHT_CHANNELS_LAST else c_dst * g.h.k * g.w.k


def work(problem: Problem) -> dict[str, float]:
    g, lanes, (c_src, c_dst) = problem.geometry, isa().lanes(problem.itemsize), problem.channels
    pixels, columns = g.n * g.h.n * g.w.n, math.prod(g.weight_shape[1:])
    sums = ceil_div(columns, lanes) * pixels * g.groups
    # Of each tap the channels are vectors by themselves when they are added up.
    vectors = ceil_div(c_dst, lanes) * g.groups
    rows = sum(segment.count for segment in live_segments(g.h))
    chunks = g.groups * ceil_div(c_dst, _channels_at_once(problem, 1))
    amounts = moved(problem, channels_last=True, packs=False)
    if problem.b_layout != WEIGHT_CHANNELS_LAST:
        # The products of all taps, which are those of a channel side by side: few channels are interleaved, others take
        # as long as a vector of them, and one lies as it should.
        as_many = c_dst if transpose.is_few(c_dst, lanes) else max(c_dst, lanes)
        amounts["transposed"] += pixels * g.h.k * g.w.k * as_many * g.groups * problem.itemsize * (c_dst > 1)
    return amounts | {
        "weight_streaming": sums * c_src,
        "calls": CALLS,
        "weight_streaming_sums": sums * (1 + kernel.blocks_of(c_src, TILES[isa().registers][1])),
        "depthwise_channels": pixels * g.h.k * g.w.k * vectors,
        "depthwise_channels_vectors": _written(g) * vectors,
        "streamed": math.prod(g.weight_shape) * problem.weight_itemsize,
        "widened": math.prod(g.weight_shape) if problem.storage else 0,
        "tap_streaming_loads": pixels * c_src * chunks,
        "tasks": SHARE * chunks * (TASKS + g.n * rows * len(live_segments(g.w))),
    }


def program(placed: PlacedProblem) -> Program:
    """The input as dense pixels, then a unit for each group and chunk of channels."""
    g, size, taps = placed.g, placed.size, placed.g.h.k * placed.g.w.k
    pixels = g.n * g.h.n * g.w.n
    products = _by_taps if placed.problem.b_layout == WEIGHT_CHANNELS_LAST else _by_channels
    chunk = _channels_at_once(placed.problem, placed.threads)
    x, before = _pixels(placed)
    units, whole = [], placed.c_dst // chunk
    group = {W: placed.w_group, PANELS: placed.c_src * size, Y: placed.c_dst * placed.y.c, BIAS: placed.c_dst * size}
    for first, count, many in ((0, chunk, whole), (whole * chunk, placed.c_dst % chunk, 1)):
        if count:
            step = {W: count * placed.w_dst, PANELS: 0, Y: count * placed.y.c, BIAS: count * size}
            steps = {base: (0, group[base], step[base]) for base in step}
            units.append(Grid(tuple(_chunk(placed, products, x, first, count)), (1, g.groups, many), steps))
    sums = pixels * taps * (chunk + placed.lanes) * size
    result = math.prod(g.output_shape[2:]) * g.n * chunk * size
    scratch = {PANELS: pixels * _pixel(placed), X_BAND: 2 * sums, Y_BAND: result}
    return Program([Stage([Grid((before,))]), Stage(units)], scratch, placed.seconds)


def _written(g):
    """Outputs that are written: all of them once more, where some have no taps."""
    holes = has_holes(g.h) or has_holes(g.w)
    live = sum(segment.count for segment in live_segments(g.h)) * sum(segment.count for segment in live_segments(g.w))
    return g.n * (live + holes * g.h.out * g.w.out)


def _channels_at_once(problem, threads):
    """Channels of the result whose sums are made, and then added up, by one unit."""
    g, lanes, (_, c_dst) = problem.geometry, isa().lanes(problem.itemsize), problem.channels
    pixels, taps = g.n * g.h.n * g.w.n, g.h.k * g.w.k
    # A batch of 0 is planned too.
    each = max(1, pixels * taps * problem.itemsize)
    if problem.b_layout == WEIGHT_CHANNELS_LAST:
        most = min(MOST_CHANNELS, SUMS_BYTES // each)
    else:
        most = min(CHUNK // taps, CHUNK_BYTES // each)
    most = max(lanes, most // lanes * lanes)
    # As many for each thread, and as even as whole vectors can be: a rest would be one more turn of one thread.
    units = ceil_div(ceil_div(c_dst, most), threads) * threads
    return min(c_dst, ceil_div(ceil_div(c_dst, units), lanes) * lanes)


def _pixel(placed):
    """Bytes from pixel to pixel, a line more than it has: some channels of many would fall into the same sets."""
    return placed.g.c_in * placed.size + LINE


def _pixels(placed):
    """(where x lies as pixels one after another, the nest that puts it there)."""
    g, x = placed.g, placed.source
    n, c, h, w = g.input_shape
    pixel = _pixel(placed)
    strides = h * w * pixel, placed.size, w * pixel, pixel
    mine = PlacedOperand(PANELS, 0, Operand.of(g.input_shape, strides, placed.size))
    if not x.at.channels_last:
        return mine, transpose_layout(placed.elem, x, mine, g.input_shape)
    images = [(image * x.at.n, image * mine.at.n) for image in range(n)]
    lines, rows = (h, x.at.h, mine.at.h), (w, x.at.w, mine.at.w)
    lists = (Rows(("src", "dst"), images),)
    return mine, copying(placed.elem, (x.base, x.offset), (PANELS, 0), c, n=lines, m=rows, lists=lists)


def _chunk(placed, products, x, first, count):
    """The nests of some channels: the products, and what belongs to the same output added up."""
    made, at = products(placed, x, first, count)
    yield from made
    g = placed.g
    y = PlacedOperand(Y, first * placed.y.c, placed.y)
    if y.at.channels_last:
        yield from _added(placed, at, y, first, count)
        return
    shape = g.n, count, g.h.out, g.w.out
    mine = PlacedOperand(Y_BAND, 0, Operand.dense(shape, placed.size, channels_last=True))
    yield from _added(placed, at, mine, first, count)
    yield transpose_layout(placed.elem, mine, y, shape)


def _by_channels(placed, x, first, count):
    """The columns of a channel are its taps, so they are transposed to have the channels of a tap together.

    Those of one channel lie so already.
    """
    g, size, taps = placed.g, placed.size, placed.g.h.k * placed.g.w.k
    pixels, length, line = g.n * g.h.n * g.w.n, count * taps, count * size
    whole = ceil_div(length, placed.lanes) * placed.lanes * size
    product = _product(placed, x, first, 1, 0, length, whole)
    if count == 1:
        return [product], (0, size, whole)
    by_tap = pixels * whole
    rows, cols = (count, taps * size), (taps, line)
    transpose_taps = transposing(placed.elem, (X_BAND, 0), (X_BAND, by_tap), rows, cols, n=(pixels, whole, taps * line))
    return [product, transpose_taps], (by_tap, line, taps * line)


def _by_taps(placed, x, first, count):
    """The columns of a tap are its channels."""
    g = placed.g
    line = ceil_div(count, placed.lanes) * placed.lanes * placed.size
    step = placed.w[3] if g.w.k > 1 else placed.w[2]
    taps = g.h.k * g.w.k
    return [_product(placed, x, first, taps, step, count, line)], (0, line, taps * line)


def _product(placed, x, first, pieces, step, count, line):
    g, (mr, nc) = placed.g, TILES[isa().registers]
    ahead = kernel.rows_ahead(isa(), g.n * g.h.n * g.w.n, mr, nc)
    fields = {
        "entry": entry(kernel.weight_streaming, placed.elem, mr, nc, ahead, *placed.storage),
        "x": (x.base, x.offset),
        "w": (W, first * placed.w_dst),
        "y": (X_BAND, 0),
        # Where the sums are transposed to, or as much room.
        "totals": (X_BAND, g.n * g.h.n * g.w.n * pieces * line),
        "c": placed.c_src,
        "pixels": g.n * g.h.n * g.w.n,
        "x_p": _pixel(placed),
        "w_c": placed.w_src,
        "pieces": pieces,
        "w_piece": step,
        "count": count,
        "y_p": pieces * line,
        "y_piece": line,
    }
    return Nest(kernel.FIELDS, fields)


def _added(placed, at, y, first, count):
    """Add up what belongs to the same output: for each segment a sum over its taps, each with a weight of one.

    `at` is where the sums lie, and how many bytes there are from tap to tap and from pixel to pixel.
    """
    g, (offset, tap, pixel) = placed.g, at
    shape = (g.n, count, g.h.n, g.w.n)
    sums = Operand.of(shape, (g.h.n * g.w.n * pixel, placed.size, g.w.n * pixel, pixel), placed.size)
    steps = g.w.k * tap, tap
    if has_holes(g.h) or has_holes(g.w):
        holes = [segments.everywhere(g.h.out)], [segments.everywhere(g.w.out)]
        yield _sum(placed, *holes, PlacedOperand(X_BAND, offset, sums), steps, y, first, count)
    yield _sum(
        placed, live_segments(g.h), live_segments(g.w), PlacedOperand(X_BAND, offset, sums), steps, y, first, count
    )


def _sum(placed, h, w, x, steps, y, first, count):
    lists = []
    names = zip((segments.ROWS, segments.COLS), (h, w), (x.at.h, x.at.w), (y.at.h, y.at.w), steps, strict=True)
    for fields, found, x_step, y_step, tap in names:
        # A tap of a pixel is one of its own sums, so it is a place in x; the weight is the same line of ones.
        values = [
            (
                segment.source * x_step + (segment.taps.start * tap if segment.taps else 0),
                segment.start * y_step,
                len(segment.taps),
                segment.tap_step * x_step + segment.taps.step * tap,
                segment.count,
                segment.source_step * x_step,
                segment.step * y_step,
            )
            for segment in found
        ]
        lists.append(Rows(tuple(name for name in fields if not name.startswith("w")), values))
    height, name = depthwise_channels.HEIGHT[isa().registers], placed.problem.activation.name
    fields = pixel_products.common(placed) | {
        "entry": entry(depthwise_channels.depthwise_channels, placed.elem, height, name),
        "x": (x.base, x.offset),
        "y": (y.base, y.offset),
        "w": pixel_products.ones(placed.problem.dtype),
        "bias": (BIAS, first * placed.size),
        "n": placed.g.n,
        "x_n": x.at.n,
        "y_n": y.at.n,
        "columns": count,
    }
    return Nest(depthwise_channels.FIELDS, fields, tuple(lists))
