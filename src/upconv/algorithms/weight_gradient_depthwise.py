"""The gradient in the weight of depthwise layers: each map read once, some taps at a time.

Where both maps lie in planes, columns go along the vector (`schedule.depthwise_planes`); elsewhere channels do. There
are few products for each number that is read. So a block of rows of both maps stays in the cache while all rows
of taps go over it, and a vector of the output's gradient is loaded once for all taps that meet it, of some rows of the
input. Channels are independent of one another: the threads share them out.
"""

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

from ..geometry import ceil_div
from ..kernels import weight_gradient_depthwise as kernel
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, PANELS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, W, X, Y
from ..schedule import depthwise_planes
from ..schedule.bands import Scratch
from ..schedule.moves import copying, transpose_layout, transposing
from ..schedule.pixel_panels import Cut
from ..schedule.pixel_parts import PART_PIXELS, count_of, sum_of_parts
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("grad_weight",)
FOR_FEW_CHANNELS = True
# Pixels of the input in a block: no sum in registers is longer. Of few pixels in all a sum is PER_SUM times as long as
# there are sums, of which there are LEAST_SUMS at least, but no shorter than SHORT_SUM: whole sums would have larger
# errors than those of engines that sum in several lanes.
PIXELS, PER_SUM, LEAST_SUMS, SHORT_SUM = 128, 6, 10, 16
# Vectors of channels across, of kernels of one row and of others, rows of the input at a time, and registers that are
# left for what comes up.
ACROSS_OF_ROWS, ACROSS, HEIGHTS, SPARE = (1, 2, 4), (1, 2), (1, 2, 4), 2
# Loads for each multiply-add: fewer do not help, since multiply-adds take longer. Bytes of channels: two lines, which
# come from memory together.
ENOUGH, RUN = 0.5, 128
# Vectors of channels in a unit, where not all are in one; the last of ACROSS where threads would be left without any.
UNIT_VECTORS = 4
# A unit cannot be interrupted, so all blocks are cut into stages of so many multiply-adds of vectors.
PIECE_PRODUCTS = 50_000_000


def why_never(problem: Problem) -> list[str]:
    return [] if problem.is_depthwise else ["every channel must have a kernel of its own (groups = channels)"]


def why_not(problem: Problem) -> list[str]:
    return [] if problem.geometry.n else ["sums over images, of which there is none"]


def work(problem: Problem) -> dict[str, float]:
    if depthwise_planes.suits(problem):
        amounts = {"weight_planes": depthwise_planes.products(problem), "tasks": depthwise_planes.tasks(problem)}
        return amounts | {"bytes": problem.bytes, "calls": 1}
    g, cut, size, kind = problem.geometry, _cut(problem), problem.itemsize, blocking(problem)
    maps = zip(problem.map_shapes, problem.map_layouts, strict=True)
    transposed = sum(math.prod(shape) for shape, layout in maps if not layout.startswith("nhwc"))
    vectors = ceil_div(g.groups, isa().lanes(size))
    return {
        "weight_depthwise": g.n * g.h.pairs * g.w.pairs * vectors,
        "tasks": cut.count * len(_rows(g.h, kind.tall)) * len(_columns(g.w, kind.taps)),
        "transposed": transposed * size,
        "bytes": problem.bytes,
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """The sums cleared, the blocks in as many stages as it takes, and the sums made a weight."""
    if depthwise_planes.suits(placed.problem):
        return depthwise_planes.program(placed, PIECE_PRODUCTS, longest_sum_over_pixels(placed.g.pixels))
    g, scratch = placed.g, Scratch()
    is_shared = placed.threads > 1 and g.c_in <= (placed.threads - 1) * UNIT_VECTORS * placed.lanes
    unit = min(g.c_in, (ACROSS[-1] if is_shared else UNIT_VECTORS) * placed.lanes)
    if placed.threads == 1 and placed.x.channels_last and placed.y.channels_last:
        # In one go both maps are read in order.
        unit = g.c_in
    units = [
        (first, many, some)
        for first, many, some in ((0, g.c_in // unit, unit), (g.c_in // unit * unit, 1, g.c_in % unit))
        if many and some
    ]
    line = ceil_div(unit, placed.lanes) * placed.lanes * placed.size
    blocks = list(_cut(placed.problem).blocks(0, g.n))
    products = g.n * g.h.pairs * g.w.pairs * ceil_div(g.c_in, placed.lanes)
    pieces = int(min(len(blocks), 1 + products // PIECE_PRODUCTS))
    nbytes = ceil_div(ceil_div(g.c_in, unit) * g.h.k * g.w.k * line, LINE) * LINE
    # Bits depend on how many parts there are, so units, which depend on the threads, have no say in that.
    whole = g.h.k * g.w.k * ceil_div(g.c_in, placed.lanes) * placed.lanes * placed.size
    parts = max(1, count_of(min(len(blocks), math.isqrt(g.pixels // PART_PIXELS)), whole))
    zeros = copying(placed.elem, (X, 0), (PANELS, 0), 0, pad=parts * nbytes // placed.size)
    stages = [Stage([Grid((zeros,))])]
    # Each block adds to the sums of its part.
    sums = [(block, number * parts // len(blocks) * nbytes) for number, block in enumerate(blocks)]
    for piece in range(pieces):
        some = sums[len(blocks) * piece // pieces : len(blocks) * (piece + 1) // pieces]
        stages.append(Stage([_Unit(placed, scratch, *each, line).multiply(some) for each in units]))
    if parts > 1:
        stages.append(Stage(sum_of_parts(placed, parts, nbytes)))
    stages.append(Stage([_Unit(placed, scratch, *each, line).to_weight() for each in units]))
    return Program(stages, {PANELS: parts * nbytes, **scratch.sizes}, placed.seconds, (PANELS,))


def longest_sum_over_pixels(pixels) -> int:
    """The longest sum of a result that is a sum over so many pixels."""
    return min(max(min(math.isqrt(PER_SUM * pixels), pixels // LEAST_SUMS), SHORT_SUM), PIXELS)


def _cut(problem):
    """The blocks of pixels."""
    return Cut(problem.geometry, PIXELS)


class _Unit:
    """`many` runs of `channels` channels, the first of all at `first`."""

    def __init__(self, placed, scratch, first, many, channels, line):
        g = placed.g
        self.placed, self.scratch, self.many, self.channels, self.line = placed, scratch, many, channels, line
        self.taps = g.h.k * g.w.k
        self.x, self.y = placed.source.move(channel=first), placed.result.move(channel=first)
        self.weight, self.sums = first * placed.w[0], 0
        if first:
            self.sums = first // (line // placed.size) * self.taps * line
        self.steps = {
            X: (channels * placed.x.c, 0, 0),
            Y: (channels * placed.y.c, 0, 0),
            W: (channels * placed.w[0], 0, 0),
            PANELS: (self.taps * line, 0, 0),
        }

    def _grid(self, nests):
        return Grid(tuple(nests), (self.many, 1, 1), self.steps)

    def to_weight(self):
        rows, cols = (self.taps, self.line), (self.channels, self.placed.w[0])
        return self._grid([transposing(self.placed.elem, (PANELS, self.sums), (W, self.weight), rows, cols)])

    def multiply(self, blocks):
        """Both maps of each block channels-last, then all taps, added to the sums of a part."""
        nests = []
        for block, part in blocks:
            h, w, maps = block.h, block.w, []
            for whole, base, height, width in (
                (self.x.move(block.first, h.first, w.first), X_BAND, h.axis.n, w.axis.n),
                (self.y.move(block.first, h.source, w.source), Y_BAND, h.axis.out, w.axis.out),
            ):
                operand = whole
                if not whole.at.channels_last:
                    shape = block.images, self.channels, height, width
                    operand = self.scratch.map(base, shape, self.placed.size, channels_last=True)
                    nests.append(transpose_layout(self.placed.elem, whole, operand, shape))
                maps.append(operand)
            nests += self._taps(block, *maps, part)
        return self._grid(nests)

    def _taps(self, block, x, y, part):
        """Rows of taps by columns that have the same taps."""
        g, h, w = self.placed.g, block.h.axis, block.w.axis
        kind = blocking(self.placed.problem)
        fields = {
            "x": (x.base, x.offset),
            "y": (y.base, y.offset),
            "total": (PANELS, part + self.sums),
            "n": block.images,
            **{"x_n": x.at.n, "x_row": x.at.h, "x_col": x.at.w},
            **{"y_n": y.at.n, "y_row": g.h.s * y.at.h, "y_col": g.w.s * y.at.w, "y_tap": g.w.d * y.at.w},
            **{"total_row": g.h.s * g.w.k * self.line, "total_tap": self.line},
            **{"columns": self.channels, "longest": longest_sum_over_pixels(g.pixels)},
        }
        rows = {}
        for first, count, tap, tall in _rows(h, kind.tall):
            there = first * h.s + tap * h.d - h.crop_lo
            rows.setdefault(tall, []).append((first * x.at.h, there * y.at.h, tap * w.k * self.line, count))
        cols = _columns(w, kind.taps)
        for tall, some in rows.items():
            height = kind.height if tall == kind.tall else 1
            values = [
                (
                    self._entry(tall, taps, kind.nv, height),
                    first * x.at.w,
                    (first * w.s + tap * w.d - w.crop_lo) * y.at.w,
                    tap * self.line,
                    count,
                )
                for first, count, tap, taps in cols
            ]
            if values:
                lists = Rows(("x", "y", "total", "rows"), some), Rows(("entry", "x", "y", "total", "cols"), values)
                yield Nest(kernel.FIELDS, fields, lists)

    def _entry(self, tall, taps, nv, height):
        step = _shared(self.placed.g.w, taps)
        return entry(kernel.weight_gradient_depthwise, self.placed.elem, tall, taps, step, nv, height)


class Blocking(NamedTuple):
    """What a kernel has at a time: rows of taps, taps of a row, vectors of channels, rows of x."""

    tall: int
    taps: int
    nv: int
    height: int


def blocking(problem: Problem) -> Blocking:
    """The blocking of few loads for each multiply-add, and of many channels that lie side by side.

    Under a single row of taps few multiply-adds stand behind each load, and pixels come from afar: there it takes
    longer to read less than RUN bytes of each at once.

    It is the same for all units, which depend on the threads, since bits depend on it.
    """
    g, most = problem.geometry, isa().registers - SPARE - (not isa().fused)
    return _blocking(
        g.h, g.w, ceil_div(g.c_in, isa().lanes(problem.itemsize)), _cut(problem).rows, most, isa().vector_bytes
    )


@lru_cache(maxsize=512)
def _blocking(h, w, vectors, rows, most, nbytes):
    found, is_row = [], h.k == 1
    for tall, taps in itertools.product(_even(ceil_div(h.k, _shared(h, h.k))), _even(w.k)):
        step = _shared(w, taps)
        for nv, height in itertools.product(ACROSS_OF_ROWS if is_row else ACROSS, HEIGHTS if tall > 1 else (1,)):
            if nv > vectors or height > rows or kernel.registers(tall, taps, step, nv, height) > most:
                continue
            loads = (height + (height + tall - 1) * step) / (height * tall * taps)
            cost = loads * max(1, RUN / (nv * nbytes)) if is_row else max(loads, ENOUGH)
            found.append((cost, -nv, -tall * taps, height, Blocking(tall, taps, nv, height)))
    return min(found)[-1]


def _even(count):
    """How many of so many there are in an even part."""
    return sorted({ceil_div(count, parts) for parts in range(1, count + 1)})


def _shared(axis, taps):
    """Of so many taps in a row, how many there are until one meets the same outputs; all where none does."""
    return min(axis.s, taps) if axis.d == 1 else taps


def _rows(axis, most):
    """(first row of the input, how many, first tap, how many that meet the same outputs) of all pairs that meet.

    Rows that meet all of some taps have them at a time, those near a border one.
    """
    step, found = _shared(axis, axis.k), []
    for same in (range(tap, axis.k, step) for tap in range(step)):
        for first in range(0, len(same), most):
            found += _runs([(tap, *axis.tap_range(tap), 0) for tap in same[first : first + most]])
    return found


def _columns(axis, most):
    """The same of columns: taps one after the other, and the columns that the first of them meets.

    The q-th tap that meets the same outputs does so from q columns before.
    """
    found = []
    for first in range(0, axis.k, most):
        taps = range(first, min(first + most, axis.k))
        step = _shared(axis, len(taps))
        found += _runs([(tap, *axis.tap_range(tap), (tap - first) // step) for tap in taps])
    return found


def _runs(ranges):
    """(first place, how many, first tap, how many) of taps (number, start, stop, places before): all, or one."""
    first = max(start + before for _, start, _, before in ranges)
    end = min(stop + before for _, _, stop, before in ranges)
    if first < end:
        yield first, end - first, ranges[0][0], len(ranges)
    else:
        first = end = max(stop + before for _, _, stop, before in ranges)
    for tap, start, stop, before in ranges:
        for lo, hi in ((start, min(stop, first - before)), (max(start, end - before), stop)):
            if lo < hi:
                yield lo, hi - lo, tap, 1
