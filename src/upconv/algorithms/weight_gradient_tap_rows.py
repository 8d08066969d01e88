"""The gradient in the weight of few output channels: rows of a tile are pairs of a tap and an output channel.

Channels-last, what a pixel of the input meets in a row of grad_y lies side by side, k_w * c_out numbers. So a row of
taps is one tap with that many channels, read in place, and a vector of the input is loaded once for all of them, where
tap by tap it would be loaded again for each. Columns of the input near a border meet fewer taps: they are tasks of
their own, since nothing may be multiplied that does not exist.
"""

import math

from ..geometry import ceil_div
from ..kernels import weight_gradient_blocks as kernel
from ..kernels.transpose import is_few
from ..layouts import WEIGHT_CHANNELS_LAST
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, PANELS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, W, X
from ..schedule.bands import Scratch
from ..schedule.moves import copying, transpose_layout, transposing
from ..schedule.next_block import NO_BLOCK, comes_from_far, next_block
from ..schedule.pixel_panels import Cut, block_pixels, copied, in_place, side_of, transposed
from ..schedule.pixel_parts import Parts, part_runs, shares, sum_of_parts
from ..schedule.placed_problem import PlacedProblem
from ..schedule.segments import segments, tally
from ..schedule.tap_rows import why_no_tap_rows
from ..schedule.weight_tiles import APART_BYTES, even_ranges, tile_cycles, tile_of

OPERATIONS = ("grad_weight",)
FOR_FEW_CHANNELS = True
# A tile's pixels of the input are to stay in a first-level cache from tile to tile; of few bytes in planes they may be
# 3 times as many (`pixel_panels.block_pixels`).
PIXELS = 256
# How many of the lines of grad_y come from the next cache again, where they fall into few sets of the first (see
# `weight_tiles.APART_BYTES`).
LOST = 1 / 8
# How many times as fast a few channels are interleaved as more are transposed.
FEW_AS_FAST = 3


def why_never(problem: Problem) -> list[str]:
    return why_no_tap_rows(problem, problem.b_layout)


def why_not(problem: Problem) -> list[str]:
    if not problem.geometry.n:
        return ["sums over images, of which there is none"]
    return [] if _Shape(problem).parts.count else ["its sums are too large for parts of the pixels"]


class _Shape:
    """Tiles, and where the sums lie, in each part: (rows of taps, taps of a row and output channels, input channels).

    `rows`, `nv` are the tallest tile; `cuts_x`: the last vector of the one tile is cut, where the input lies; `row`,
    `tap`, `nbytes` are bytes from row to row, from a row of taps to the next, and of all.
    """

    def __init__(self, problem):
        g, size, lanes = problem.geometry, problem.itemsize, isa().lanes(problem.itemsize)
        self.run = g.w.k * g.c_out
        self.rows, self.nv, _ = tile_of(self.run, ceil_div(g.c_in, lanes))
        self.width = self.nv * lanes
        self.tiles = ceil_div(g.c_in, self.width)
        x_last = problem.a_layout.startswith("nhwc")
        self.packs_x = not x_last or self.tiles > 1
        self.cuts_x = not self.packs_x and g.c_in < self.width
        self.transposes_x, self.transposes_y = not x_last, problem.b_layout == "nchw" and g.c_out > 1
        self.row = self.tiles * self.width * size
        # Rows of taps are not the same places of the cache apart.
        self.tap = self.run * self.row + LINE
        self.nbytes = ceil_div(g.h.k * self.tap, LINE) * LINE
        cut = Cut(g, block_pixels(problem, PIXELS))
        self.parts = Parts.of(cut, self.cycles(g), self.nbytes)
        self.cut = cut.even(self.parts.count)
        self.prefetches = comes_from_far(problem, self.cut)

    def ranges(self, taps, c_out):
        """(first row, how many tiles, their rows) of so many taps."""
        run = taps * c_out
        return even_ranges(run, ceil_div(run, ceil_div(run, self.rows))) if run else []

    def cycles(self, g):
        """Of the multiply-adds of all pixels."""
        of = {taps: self._cycles(taps, g.c_out) for _, taps, _ in tally(g.w, False)}
        return g.n * g.h.pairs * sum(number * places * of[taps] for places, taps, number in tally(g.w, False))

    def _cycles(self, taps, c_out):
        return self.tiles * sum(many * tile_cycles(tall, self.nv) for _, many, tall in self.ranges(taps, c_out))


def work(problem: Problem) -> dict[str, float]:
    g, size, made = problem.geometry, problem.itemsize, _Shape(problem)
    x, y = (math.prod(shape) * size for shape in problem.map_shapes)
    products = g.n * g.h.pairs * g.w.pairs * g.c_out * made.tiles * made.nv
    cut, found = made.cut, tally(g.w, False)
    tiles = sum(number * ceil_div(taps * g.c_out, made.rows) for _, taps, number in found) * made.tiles
    visits = made.tiles * sum(number * places * ceil_div(taps * g.c_out, made.rows) for places, taps, number in found)
    # Rows that two blocks meet are transposed for each; a few channels are interleaved.
    y_moved = made.transposes_y * y * (1 + max(0, g.h.k - g.h.s) / (g.h.s * cut.rows))
    y_moved /= FEW_AS_FAST if is_few(g.c_out, isa().lanes(size)) else 1
    # Lines of grad_y that are new to a tile at each pixel.
    lines = min(g.w.s * g.c_out * size, LINE + made.rows * size) / LINE
    lost = LOST * (g.w.s * g.c_out * size > APART_BYTES)
    rows = cut.count * ceil_div(cut.images * cut.rows * g.h.pairs, g.h.n)
    return {
        "weight_blocks": products,
        "weight_blocks_waits": 2 * made.cycles(g) - products,
        "weight_blocks_vectors": g.n * g.h.pairs * visits * (made.nv + lines),
        "weight_blocks_rows": rows * tiles,
        "streamed": lost * g.n * g.h.pairs * visits * lines * LINE,
        "tasks": cut.count * g.h.k * sum(number * len(made.ranges(taps, g.c_out)) for _, taps, number in found),
        "packed_pixels": (made.packs_x and not made.transposes_x) * x,
        "transposed": made.transposes_x * x + y_moved,
        "totals": (2 * cut.count + made.parts.count + 2) * made.nbytes,
        "bytes": problem.bytes,
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """Parts of the pixels, their sum, and the sums made a weight."""
    made, scratch, stages = _Shape(placed.problem), Scratch(), []
    parts, lists = list(part_runs(placed, made.cut, made.parts.count, made.nbytes)), {}
    for piece in range(made.parts.pieces):
        grids = []
        for blocks, many, steps, offset in parts:
            first, end = (len(blocks) * each // made.parts.pieces for each in (piece, piece + 1))
            nests = [] if piece else [copying(placed.elem, (X, 0), (PANELS, offset), 0, pad=made.nbytes // placed.size)]
            for block in blocks[first:end]:
                nests += _block(placed, made, scratch, block, offset, lists)
            grids.append(Grid(tuple(nests), (many, 1, 1), steps))
        stages.append(Stage(grids))
    if made.parts.count > 1:
        stages.append(Stage(sum_of_parts(placed, made.parts.count, made.nbytes)))
    stages.append(Stage([_to_weight(placed, made, *run) for run in shares(placed.g.c_in, unit=placed.lanes)]))
    return Program(stages, {PANELS: made.parts.count * made.nbytes, **scratch.sizes}, placed.seconds, (PANELS,))


def _block(placed, made, scratch, block, offset, lists):
    """The nests of a block: both maps as they are wanted, then all rows of taps."""
    g, h, w = placed.g, block.h, block.w
    y = placed.result.move(block.first, h.source, w.source)
    if made.transposes_y:
        shape = block.images, g.c_out, h.axis.out, w.axis.out
        mine = scratch.map(Y_BAND, shape, placed.size, channels_last=True)
        yield transpose_layout(placed.elem, y, mine, shape)
        y = mine
    x, nests = _input(placed, made, scratch, block)
    yield from nests
    following = _next(placed, made, block)
    # What lies alike has the same lists.
    key = h.axis, w.axis, y.at, x, following.in_lists
    if key not in lists:
        rows = _row_list(made, h.axis, x, y, following)
        lists[key] = rows, _segment_list(placed, made, w.axis, x, y, following)
    fields = {
        **{"a": (y.base, y.offset), "b": (x.base, x.offset), "total": (PANELS, offset), "n": block.images},
        **{"a_n": y.at.n, "a_row": g.h.s * y.at.h, "a_col": g.w.s * y.at.w},
        **{"b_n": x.n, "b_row": x.row, "b_col": x.col},
        **{"b_tiles": made.tiles, "b_tile": x.tile, "total_row": made.row, "add": 1, "b_count": g.c_in},
        "longest": kernel.longest_sum_over_pixels(g.pixels, math.prod(g.weight_shape)),
        **following.fields,
    }
    yield Nest(kernel.FIELDS, fields, lists[key])


def _input(placed, made, scratch, block):
    """(how the input lies, the nests that pack it)."""
    g, shape = placed.g, (block.images, block.h.axis.n, block.w.axis.n)
    operand = placed.source.move(block.first, block.h.first, block.w.first)
    if not made.packs_x:
        return in_place(operand, g.c_in, made.width, placed.size), []
    ranges = [(0, made.tiles, made.width)]
    side = side_of(shape, ranges, made.width, X_BAND, placed.size)
    scratch.take(X_BAND, side.group)
    if made.transposes_x:
        return side, [transposed(placed, operand, shape, side, g.c_in, made.width)]
    return side, list(copied(placed, operand, shape, side, g.c_in, ranges))


def _next(placed, made, block):
    """The block after one, where it is to be prefetched."""
    if not made.prefetches:
        return NO_BLOCK
    x = placed.source.move(block.first, block.h.first, block.w.first)
    y = placed.result.move(block.first, block.h.source, block.w.source)
    return next_block(block, x, y, placed.g.h.k * made.tiles * ceil_div(made.run, made.rows))


def _row_list(made, axis, x, y, following):
    """Rows of taps: where they begin on either side, clipped to what meets."""
    met = [(t, *axis.meeting(t)) for t in range(axis.k)]
    each = following.visits // axis.k
    values = [
        (o * y.at.h, i * x.row, t * made.tap, count, following.after(t * each)) for t, i, o, count in met if count
    ]
    return Rows(("a", "b", "total", "rows", "next"), values)


def _segment_list(placed, made, axis, x, y, following):
    """Columns that meet the same taps, by the ranges of tiles that are equally tall."""
    found = [
        (segment, *each) for segment in segments(axis, False) for each in made.ranges(len(segment.taps), placed.g.c_out)
    ]
    # Each prefetches its share of what a row of taps prefetches.
    whole, before, values = sum(segment.count * tiles for segment, _, tiles, _ in found), 0, []
    visits = following.visits // placed.g.h.k
    for segment, first, tiles, rows in found:
        at, start = segment.source * y.at.w, segment.taps.start * placed.g.c_out
        kind = False, made.cuts_x, 0, following.lines
        address = entry(kernel.weight_gradient_blocks, placed.elem, rows, made.nv, *kind)
        total = (start + first) * made.row
        here = segment.start * x.col, total, segment.count, tiles, rows * placed.size
        values.append((address, at + first * placed.size, *here, following.after(visits * before // whole)))
        before += segment.count * tiles
    return Rows(("entry", "a", "b", "total", "cols", "a_tiles", "a_tile", "next"), values)


def _to_weight(placed, made, first, some, many):
    """The grid that moves the sums of many runs of some input channels into the weight.

    In it taps of a row are consecutive, or output channels are.
    """
    g, size = placed.g, placed.size
    cols = some, placed.w[0]
    if g.c_out == 1 or placed.problem.weight_layout == WEIGHT_CHANNELS_LAST:
        rows, stack, step = (made.run, made.row), (1, 0, 0), made.run * size
    else:
        rows, step = (g.w.k, g.c_out * made.row), g.w.k * size
        stack = g.c_out, made.row, placed.w[1]
    sides = (PANELS, first * size), (W, first * placed.w[0])
    nest = transposing(placed.elem, *sides, rows, cols, n=(g.h.k, made.tap, step), m=stack)
    return Grid((nest,), (1, 1, many), {PANELS: (0, 0, some * size), W: (0, 0, some * placed.w[0])})
