"""The gradient in the weight of depthwise layers whose maps lie in planes: columns go along the vector as they lie."""

from math import isqrt

from ..geometry import Axis, ceil_div
from ..kernels import sum_lanes
from ..kernels import weight_gradient_planes as kernel
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, PANELS, Grid, Nest, Program, Stage, W, X, Y
from .pixel_panels import Cut, parts
from .pixel_parts import count_of, sum_of_parts
from .placed_problem import PlacedProblem

# Products that a lane adds up in a register, and the least number of such sums added up in memory for each part.
LONGEST, PER_PART = 128, 4
# Sums in registers, and rows of the input at a time, by the number of registers.
MOST_SUMS, HEIGHT = {32: 16, 16: 8}, {32: 2, 16: 1}
# Taps of a row through which a column meets x, at most, for so many sums: more would leave a row of taps at a time.
TALL = 2
# Vectors of fewer bytes have no masked loads, which those take that are not used to the last lane.
MASKED_BYTES = 32
# Images of a single row in a block: as many streams of memory as a machine can follow.
IMAGES = 8
# Multiply-adds of vectors in a unit, where channels are enough for the threads.
UNIT_PRODUCTS = 16_000
# Vectors of sums whose lanes are added up at once.
REDUCED = 32


def suits(problem: Problem) -> bool:
    """Whether both maps lie in planes whose rows the kernel can go along."""
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    in_planes = problem.depth_taps == 1 and all(layout.startswith("nchw") for layout in problem.map_layouts)
    if not in_planes or g.w.d > 1 or g.w.s > lanes:
        return False
    if isa().vector_bytes < MASKED_BYTES and lanes % g.w.s:
        return False
    if _across(g.w) * min(g.h.k, TALL) > MOST_SUMS[isa().registers]:
        return False
    return _is_whole(_columns(g), lanes)


def products(problem: Problem) -> int:
    """Multiply-adds of vectors."""
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    return g.c_in * g.n * g.h.pairs * _across(g.w) * ceil_div(_columns(g).out, lanes // g.w.s * g.w.s)


def tasks(problem: Problem) -> int:
    """Tasks of kernels, about."""
    cut, _ = _cut(problem)
    return 2 * cut.count * ceil_div(products(problem), UNIT_PRODUCTS)


def program(placed: PlacedProblem, piece_products, longest) -> Program:
    """The blocks in as many stages as it takes, then the sums made a weight; no lane adds up more than `longest`."""
    g, channel = placed.g, placed.g.h.k * _across(placed.g.w) * isa().vector_bytes
    cut, many = _cut(placed.problem)
    blocks, nbytes = list(cut.blocks(0, g.n)), ceil_div(g.c_in * channel, LINE) * LINE
    many = max(1, count_of(many, nbytes))
    each = products(placed.problem) // g.c_in
    size = max(1, min(UNIT_PRODUCTS // max(1, each), ceil_div(g.c_in, 2 * placed.threads)))
    whole = g.c_in // size
    units = [unit for unit in ((0, whole, size), (whole * size, 1, g.c_in % size)) if unit[2]]
    pieces = int(min(len(blocks), 1 + each * g.c_in // piece_products))
    numbers = [number * many // len(blocks) for number in range(len(blocks))]
    # The first block of a part writes its sums, the others add to them.
    adds = [int(number == before) for number, before in zip(numbers, [None, *numbers], strict=False)]
    todo = [(block, number * nbytes, add) for block, number, add in zip(blocks, numbers, adds, strict=True)]
    stages, is_one = [], many == pieces == 1
    for piece in range(pieces):
        some = todo[len(todo) * piece // pieces : len(todo) * (piece + 1) // pieces]
        stages.append(Stage([_Unit(placed, channel, longest, *unit).multiply(some, ends=is_one) for unit in units]))
    if many > 1:
        stages.append(Stage(sum_of_parts(placed, many, nbytes)))
    if not is_one:
        stages.append(Stage([_Unit(placed, channel, longest, *unit).to_weight() for unit in units]))
    return Program(stages, {PANELS: many * nbytes}, placed.seconds, (PANELS,))


def _cut(problem):
    """(the blocks of pixels, into how many parts), of whole rows: then all have the same columns."""
    g = problem.geometry
    pixels = LONGEST * (isa().lanes(problem.itemsize) // g.w.s)
    many = count_of(isqrt(g.pixels // (PER_PART * pixels)), 1) or 1
    cut = Cut(g, max(pixels, ceil_div(g.pixels, many), g.w.n))
    if _is_a_row(g):
        cut.images = min(cut.images, IMAGES)
    return cut, min(many, cut.count)


def _is_a_row(g):
    # Of which no padding cuts off the one product that there is.
    return g.h.n == g.h.out == g.h.k == 1 and not g.h.crop_lo


def _columns(g):
    """The axis of the columns of every block: those of the output alone that the input meets."""
    return parts(g.w, g.w.n)[0].axis


def _across(axis):
    """Through how many taps, at most, a place of the output meets the input."""
    return ceil_div(axis.k, axis.s)


def _is_whole(axis, lanes):
    """Whether all columns of every vector but the first and the last of a row meet all their taps."""
    (ahead, turn), across, columns = divmod(axis.crop_lo, axis.s), _across(axis), lanes // axis.s
    if axis.s > 1 and kernel.columns_read(lanes, axis.s, turn, across) > lanes:
        return False
    used = columns * axis.s
    vectors = ceil_div(axis.out, used)
    last = ahead + (vectors - 2) * columns + (turn + used - 1) // axis.s
    return vectors <= 2 or (ahead + columns >= across - 1 and last < axis.n)


class _Unit:
    """`many` runs of `channels` channels, the first of all at `first`; `channel` bytes are the sums of one."""

    def __init__(self, placed, channel, longest, first, many, channels):
        self.placed, self.channel, self.longest = placed, channel, min(LONGEST, longest)
        self.first, self.many, self.channels = first, many, channels

    def _grid(self, nests):
        placed = self.placed
        steps = {X: placed.x.c, Y: placed.y.c, W: placed.w[0], PANELS: self.channel}
        return Grid(tuple(nests), (self.many, 1, 1), {base: (self.channels * by, 0, 0) for base, by in steps.items()})

    def multiply(self, blocks, *, ends):
        """All blocks, and if it `ends` there the weight made of their sums."""
        nests = [nest for block in blocks for nest in self._taps(*block)]
        return self._grid([*nests, self._weight()] if ends else nests)

    def to_weight(self):
        return self._grid([self._weight()])

    def _taps(self, block, part, add):
        """Some rows of taps at a time."""
        placed, g, h, w, images = self.placed, self.placed.g, block.h.axis, block.w.axis, block.images
        x = placed.source.move(block.first, block.h.first, block.w.first, self.first)
        y = placed.result.move(block.first, block.h.source, block.w.source, self.first)
        x_row, y_row = placed.x.h, placed.y.h
        if _is_a_row(g):
            # Rows of an image share their masks, so images of a row are rows of one.
            images, h, x_row, y_row = 1, Axis(images, 1), placed.x.n, placed.y.n
        (ahead, turn), across = divmod(w.crop_lo, w.s), _across(w)
        fields = {
            **{"x": (x.base, x.offset), "y": (y.base, y.offset)},
            **{"channels": self.channels, "n": images, "rows": h.n, "out_rows": h.out},
            **{"vectors": ceil_div(w.out, placed.lanes // w.s * w.s), "in_cols": w.n, "out_cols": w.out},
            **{"first": ahead - (across - 1), "total_c": self.channel, "add": add, "longest": self.longest},
            **{"x_c": placed.x.c, "x_n": placed.x.n, "x_row": x_row},
            **{"y_c": placed.y.c, "y_n": placed.y.n, "y_row": y_row},
        }
        registers = isa().registers
        most = max(1, MOST_SUMS[registers] // across)
        most = ceil_div(h.k, ceil_div(h.k, most))
        for tap in range(0, h.k, most):
            tall = min(most, h.k - tap)
            starts, ends = zip(*map(h.tap_range, (tap, tap + tall - 1)), strict=True)
            share = HEIGHT[registers] if tall * h.d > h.s else 1
            height = max(share, ceil_div(kernel.LEAST_SUMS, tall * across))
            height = max(1, min(height, min(ends) - max(starts)))
            kind = placed.elem, tall, (h.s, h.d), across, w.s, turn, height
            total = part + self.first * self.channel + tap * across * isa().vector_bytes
            yield Nest(
                kernel.FIELDS,
                {
                    "entry": entry(kernel.weight_gradient_planes, *kind),
                    **fields,
                    **{"total": (PANELS, total), "top": tap * h.d - h.crop_lo},
                    **{"full_first": max(starts), "full_end": min(ends)},
                },
            )

    def _weight(self):
        g, w = self.placed.g, self.placed.w[0]
        across = _across(g.w)
        rows = max(
            rows for rows in range(1, g.h.k + 1) if g.h.k % rows == 0 and (rows * across <= REDUCED or rows == 1)
        )
        # Blocks begin whole strides apart, so all have the same turn.
        kind = self.placed.elem, rows, g.w.k, across, g.w.s, _columns(g).crop_lo % g.w.s
        fields = {
            "entry": entry(sum_lanes.sum_lanes, *kind),
            **{"sums": (PANELS, self.first * self.channel), "sums_c": self.channel},
            **{"w": (W, self.first * w), "w_c": w, "channels": self.channels, "rows": g.h.k},
        }
        return Nest(sum_lanes.FIELDS, fields)
