"""The gradient in the weight of long rows of taps: what a pixel meets in a row of grad_y is read where it lies.

In planes a pixel of the input meets k_w numbers of a row that lie side by side, channels-last k_w * c_out of them, and
in the gradient in the weight a row of taps lies likewise. So these runs are whole vectors of a product whose result is
the weight itself: nothing is packed but the input, which is small under a large stride. Tap by tap, pixels of a large
stride lie so far apart that they fall into few sets of the caches.
"""

import itertools
import math
from functools import lru_cache

from ..geometry import ceil_div
from ..kernels import weight_gradient_blocks as product
from ..layouts import TAPS_SLICED, WEIGHT_CHANNELS_LAST
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, TOTALS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, W
from ..schedule.amounts import far
from ..schedule.bands import Scratch
from ..schedule.moves import transpose_layout, weight_copied
from ..schedule.pixel_panels import Cut
from ..schedule.pixel_parts import PIECE_CYCLES
from ..schedule.placed_problem import PlacedProblem
from ..schedule.tap_rows import why_no_tap_rows
from ..schedule.weight_tiles import even_ranges, tile_cycles
from ..schedule.winograd_blocks import evenly

OPERATIONS = ("grad_weight",)
FOR_FEW_CHANNELS = True
# A block of pixels, over which a tile of the input goes for every run.
PIXELS = 1024
# Sums of more are added up in one chain for too long.
MOST_PIXELS = 1 << 14
# Rows of a tile by vectors across; by the number of vector registers.
TILES = {32: {4: 6, 3: 9, 2: 12, 1: 12}, 16: {2: 6, 1: 12}}
# How much of a run comes from far away again for every tile of the input, where a block of them does not stay near.
LOST = 1 / 4
# Units for the threads, at least.
UNITS = 8


def why_never(problem: Problem) -> list[str]:
    found = why_no_tap_rows(problem, problem.b_layout)
    if _run(problem) % isa().lanes(problem.itemsize):
        found.append("what a pixel meets in a row must fill whole vectors")
    return found


def why_not(problem: Problem) -> list[str]:
    g, found = problem.geometry, []
    if not g.n:
        found.append("sums over images, of which there is none")
    if any(g.w.meeting(tap)[2] < g.w.n for tap in range(g.w.k)):
        found.append("every pixel must meet all taps of a row (no padding along the width)")
    if g.pixels > MOST_PIXELS:
        found.append(f"sums over {g.pixels:,} pixels one after another; at most {MOST_PIXELS:,} are")
    return found


def work(problem: Problem) -> dict[str, float]:
    g, size = problem.geometry, problem.itemsize
    rows, nv = _tile(problem)
    count, vectors = _count(problem), _run(problem) // isa().lanes(size)
    pairs, across = g.n * g.h.pairs * g.w.n * count, vectors // nv
    tiles, cut = ceil_div(g.c_in, rows), Cut(g, PIXELS)
    cycles = sum(many * tile_cycles(tall, nv) for _, many, tall in even_ranges(g.c_in, rows))
    x, y = (math.prod(shape) * size for shape in problem.map_shapes)
    x_turns, y_turns = _turned(problem)
    # Maps from far away are waited for, but for what no tap meets, and rows of taps come back to the rows of a plane.
    met = y * min(1, g.w.k / g.w.s)
    source = x + met * min(1, g.h.k / g.h.s)
    streamed = source * far(source) + met * max(0, g.h.k / g.h.s - 1) * far(met // (g.n * count))
    # A tile's runs are to stay near, in half of a cache, while all tiles of the input go by. They lie in few sets of
    # it: what is between them counts too.
    block = ceil_div(g.pixels, cut.count) * (g.w.s * _run(problem) // g.w.k + g.c_in) * size
    streamed += LOST * far(2 * block) * pairs * vectors * tiles * isa().vector_bytes
    return {
        "weight_blocks": pairs * vectors * g.c_in,
        "weight_blocks_waits": pairs * across * (2 * cycles - nv * g.c_in),
        "weight_blocks_vectors": pairs * across * tiles * (nv + rows * size / LINE),
        "weight_blocks_rows": cut.count * ceil_div(g.n * g.h.pairs, cut.count) * count * across * tiles,
        "streamed": streamed,
        "tasks": cut.count * count * g.h.k * len(even_ranges(g.c_in, rows)),
        "transposed": x_turns * x + y_turns * y,
        "totals": (2 * cut.count - 1) * math.prod(g.weight_shape) * size,
        "bytes": problem.bytes,
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """Both maps as they are wanted, and the product."""
    g, scratch, size, turning = placed.g, Scratch(), placed.size, []
    maps, is_last = [], _is_last(placed.problem)
    sides = (placed.source, X_BAND, g.input_shape, True), (placed.result, Y_BAND, g.output_shape, is_last)
    for (map_, base, shape, last), turns in zip(sides, _turned(placed.problem), strict=True):
        if turns:
            mine = scratch.map(base, shape, size, channels_last=last)
            turning.append(Grid((transpose_layout(placed.elem, map_, mine, shape),)))
            map_ = mine
        maps.append(map_)
    base, steps = W, (placed.w[0], placed.w[1], placed.w[2])
    if placed.problem.layout == TAPS_SLICED:
        base, steps = TOTALS, (g.c_out * g.h.k * g.w.k * size, g.h.k * g.w.k * size, g.w.k * size)
        scratch.take(TOTALS, g.c_in * steps[0])
    stages = [*([Stage(turning)] if turning else []), Stage(list(_products(placed, maps, base, steps)))]
    if base != W:
        stages.append(Stage([Grid((weight_copied(placed, (base, 0), (W, 0), (steps[:2], placed.w[:2])),))]))
    return Program(stages, scratch.sizes, placed.seconds, (X_BAND, Y_BAND, TOTALS))


def _is_last(problem):
    """Whether the output channels of a tap are consecutive in the weight, and so in a run."""
    return problem.weight_layout == WEIGHT_CHANNELS_LAST


def _run(problem):
    """Numbers that a pixel meets in a row, side by side."""
    g = problem.geometry
    return g.w.k * (g.c_out if _is_last(problem) else 1)


def _count(problem):
    """Runs that a pixel meets in a row."""
    return 1 if _is_last(problem) else problem.geometry.c_out


def _turned(problem):
    """Whether each map lies otherwise than it is read: the input channels-last, the other like the weight."""
    x_last, y_last = (layout.startswith("nhwc") for layout in problem.map_layouts)
    g = problem.geometry
    return not x_last and g.c_in > 1, y_last != _is_last(problem) and g.c_out > 1


@lru_cache(maxsize=512)
def _tile(problem):
    """(rows, vectors) of a tile: as many vectors as divide a run."""
    c_in, vectors = problem.geometry.c_in, _run(problem) // isa().lanes(problem.itemsize)
    found = []
    for nv, most in TILES[isa().registers].items():
        if vectors % nv == 0:
            rows = ceil_div(c_in, ceil_div(c_in, most))
            ranges = even_ranges(c_in, rows)
            found.append((sum(many * tile_cycles(tall, nv) for _, many, tall in ranges) / nv, -nv, rows))
    _, nv, rows = min(found)
    return rows, -nv


def _shares(problem):
    """(output channels, rows of taps) of each unit: runs of the weight, whose sums nothing else adds to."""
    g, count = problem.geometry, _count(problem)
    cycles = g.pixels * g.h.k * count * _run(problem) * g.c_in // isa().lanes(problem.itemsize)
    wanted = UNITS + cycles // PIECE_CYCLES
    channels = evenly(count, ceil_div(count, wanted))
    taps = evenly(g.h.k, ceil_div(g.h.k, ceil_div(wanted, len(channels))))
    for (first, some), (tap, many) in itertools.product(channels, taps):
        yield range(first, first + some), range(tap, tap + many)


def _products(placed, maps, base, steps):
    """Grids of some runs of the weight each: all blocks of pixels, one after another."""
    g, problem = placed.g, placed.problem
    (rows, nv), (x, y), size = _tile(problem), maps, placed.size
    across = _run(problem) // (nv * placed.lanes)
    tiles = Rows(
        ("entry", "a", "total", "a_tiles", "a_tile"),
        [
            (
                entry(product.weight_gradient_blocks, placed.elem, tall, nv),
                first * size,
                first * steps[0],
                many,
                tall * size,
            )
            for first, many, tall in even_ranges(g.c_in, rows)
        ],
    )
    for channels, taps in _shares(problem):
        runs = Rows(("b", "total"), [(channel * y.at.c, channel * steps[1]) for channel in channels])
        nests = []
        for number, block in enumerate(Cut(g, PIXELS).blocks(0, g.n)):
            a = x.move(block.first, block.h.first, block.w.first)
            b = y.move(block.first, block.h.source, block.w.source)
            met = [(t, *block.h.axis.meeting(t)) for t in taps]
            values = [(i * a.at.h, o * b.at.h, t * steps[2], count) for t, i, o, count in met]
            fields = {
                **{"a": (a.base, a.offset), "b": (b.base, b.offset), "total": (base, 0)},
                **{"n": block.images, "cols": block.w.axis.n},
                **{"a_n": a.at.n, "a_row": a.at.h, "a_col": a.at.w},
                **{"b_n": b.at.n, "b_row": g.h.s * b.at.h, "b_col": g.w.s * b.at.w},
                **{"b_tiles": across, "b_tile": nv * isa().vector_bytes, "total_row": steps[0], "add": int(number > 0)},
                "longest": product.longest_sum_over_pixels(g.pixels, math.prod(g.weight_shape)),
            }
            nests.append(Nest(product.FIELDS, fields, (runs, Rows(("a", "b", "total", "rows"), values), tiles)))
        yield Grid(tuple(nests))
