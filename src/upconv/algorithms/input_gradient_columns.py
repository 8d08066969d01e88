"""The gradient in the input of few pixels: every row of the weight by columns in its own order, where it lies.

What a pixel of the input meets in the gradient in the output is written down as a column in the order of the weight.
Then both sides of the product are consecutive along the sum, and the weight, which is large beside the maps, is read
once, from end to end, and never packed. Some channels of the gradient are taken at a time, so that their columns stay
in the cache while all rows of the weight pass by.

Beyond a border a column has zeros. An infinity of the weight would make NaNs of them, so a result that is not finite
is computed again by a way that multiplies no zeros.
"""

import math

from ..geometry import ceil_div
from ..kernels import column_products as kernel
from ..kernels import depthwise_channels, not_finite
from ..layouts import TAPS_LAST, TAPS_SLICED, Operand
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import (
    BIAS,
    FLAGS,
    PANELS,
    PARTS_PER_THREAD,
    SUMS,
    TOTALS,
    X_BAND,
    Y_BAND,
    Grid,
    Nest,
    Program,
    Rows,
    Stage,
    V,
    W,
)
from ..schedule import pixel_products
from ..schedule.amounts import moved
from ..schedule.bands import Scratch
from ..schedule.moves import PlacedOperand, transpose_layout, weight_copied
from ..schedule.pixel_lines import PixelLines, line_bytes, why_no_lines
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("grad_input",)
FALLBACK = "gemm"
# Rows of the weight and pixels of a tile, by the number of vector registers.
TILES = {32: (8, 3), 16: (4, 3)}
# Products of a lane before the lanes are added up: long beside that, and rows of a tile stay in the first-level cache.
LANE_PRODUCTS = 64
# Columns that stay in the second-level cache.
COLUMNS_BYTES = 1 << 20
# What the sums of all pixels may take, to which every group of channels adds.
MOST_SUMS_BYTES = 8 << 20
# Groups of channels, each of which has stages of its own.
MOST_GROUPS = 64
# A unit cannot be interrupted.
SECONDS_PER_UNIT = 0.05


def why_never(problem: Problem) -> list[str]:
    found = why_no_lines(problem)
    if problem.b_layout not in (TAPS_LAST, TAPS_SLICED):
        found.append("the weight must lie as torch has it")
    return found


def why_not(problem: Problem) -> list[str]:
    g, found = problem.geometry, []
    sums = _pixels(g) * g.c_in * problem.itemsize
    if sums > MOST_SUMS_BYTES:
        found.append(f"the sums of all pixels would take {sums:,} bytes; at most {MOST_SUMS_BYTES:,} stay near")
    groups = ceil_div(g.c_out, _channels(problem))
    if groups > MOST_GROUPS:
        found.append(f"its columns would be {groups:,} groups, each with stages of its own; at most {MOST_GROUPS} are")
    return found


def work(problem: Problem) -> dict[str, float]:
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    (mr, wide), some = _tile(g), _channels(problem)
    pixels, rows = ceil_div(_pixels(g), wide) * wide, ceil_div(g.c_in, mr) * mr
    numbers, groups = some * g.h.k * g.w.k, ceil_div(g.c_out, some)
    chunks = groups * ceil_div(numbers, LANE_PRODUCTS * lanes)
    written = _pixels(g) * g.c_out * g.h.k * ceil_div(g.w.k, lanes)
    dead = math.prod(g.weight_shape) - g.live_weights
    return moved(problem, channels_last=False, packs=False, writes=True) | {
        # Taps that reach nothing are read too, beside those that do.
        "bytes": problem.bytes + dead * problem.weight_itemsize,
        "column_products": pixels * rows * groups * ceil_div(numbers, lanes),
        "column_sums": pixels * rows * chunks,
        "column_vectors": written,
        "tasks": _pixels(g) * groups + chunks,
    }


def program(placed: PlacedProblem) -> Program:
    """For each group of channels its columns, then their products; at the end what the sums become."""
    g, scratch, x, stages = placed.g, Scratch(), placed.source, []
    if not x.at.channels_first:
        x = scratch.map(X_BAND, g.output_shape, placed.size, channels_last=False)
        stages.append(Stage([Grid((transpose_layout(placed.elem, placed.source, x, g.output_shape),))]))
    some, taps = _channels(placed.problem), g.h.k * g.w.k
    line = line_bytes(some * taps, placed.size)
    if placed.problem.b_layout == TAPS_SLICED:
        # A sum runs over all numbers of a row, so they are brought together.
        base, steps = _weight(placed)
        scratch.take(base, g.c_in * steps[0])
        stages.append(Stage([Grid((weight_copied(placed, (W, 0), (base, 0), (placed.w[:2], steps)),))]))
    lines = PixelLines(placed, x, line, 1)
    for first in range(0, g.c_out, some):
        count = min(some, g.c_out - first)
        stages.append(Stage(list(lines.grids(x.move(channel=first), count))))
        stages.append(Stage(list(_products(placed, first, count * taps, line))))
    stages.append(Stage([Grid(tuple(_finish(placed, scratch)))]))
    (mr, wide), pixels = _tile(g), _pixels(g)
    sums = ceil_div(pixels, wide) * wide * ceil_div(g.c_in, mr) * mr * placed.size
    panel = kernel.scratch(isa().vector_bytes, mr, LANE_PRODUCTS * placed.lanes, placed.lanes)["panel"]
    sizes = {PANELS: pixels * line, SUMS: sums, FLAGS: 8, TOTALS: panel, **scratch.sizes}
    return Program(stages, sizes, placed.seconds, (PANELS, FLAGS, SUMS, X_BAND, V))


def _weight(placed):
    """(base, bytes from row to row and from channel to channel) of the weight without gaps."""
    if placed.problem.b_layout == TAPS_LAST:
        return W, placed.w[:2]
    taps = placed.g.h.k * placed.g.w.k * placed.size
    return V, (placed.g.c_out * taps, taps)


def _pixels(g):
    return g.n * g.h.n * g.w.n


def _tile(g):
    """(rows of the weight, pixels) of a tile: pixels as even as can be."""
    rows, most = TILES[isa().registers]
    return rows, ceil_div(_pixels(g), ceil_div(_pixels(g), most)) if _pixels(g) else 1


def _channels(problem):
    """Channels of the gradient in the output in a group, the groups as even as can be."""
    g = problem.geometry
    most = max(1, COLUMNS_BYTES // max(1, _pixels(g) * g.h.k * g.w.k * problem.itemsize))
    return ceil_div(g.c_out, ceil_div(g.c_out, most))


def _sum_row(placed):
    """Bytes of the sums from pixel to pixel: whole tiles of rows."""
    mr, _ = _tile(placed.g)
    return ceil_div(placed.g.c_in, mr) * mr * placed.size


def _products(placed, first, numbers, line):
    """Grids of some rows of the weight each: all columns of a group that begins at channel `first`."""
    g, size = placed.g, placed.size
    each = LANE_PRODUCTS * placed.lanes
    each = ceil_div(numbers, ceil_div(numbers, each) * placed.lanes) * placed.lanes
    chunks = [(start * size, start * size, min(each, numbers - start)) for start in range(0, numbers, each)]
    (mr, _), (base, (row, channel)) = _tile(g), _weight(placed)
    for start, rows in _units(placed):
        fields = {
            "entry": entry(kernel.column_products, placed.elem, *_tile(g)),
            **{"x": (PANELS, 0), "w": (base, start * row + first * channel), "y": (SUMS, start * size)},
            **{"pixels": _pixels(g), "rows": rows, "x_p": line, "w_r": row, "y_p": _sum_row(placed)},
            "panel": (TOTALS, 0),
        }
        lists = [Rows(("x", "w", "c"), chunks)]
        if _pixels(g) <= kernel.MANY:
            # Memory is the limit: a few rows from end to end, then the next. Else columns come from the nearest cache.
            tiles = [(each * row, each * size, min(mr, rows - each)) for each in range(0, rows, mr)]
            lists, fields["rows"] = [Rows(("w", "y", "rows"), tiles), *lists], 0
        yield Grid((Nest(kernel.FIELDS, fields, lists),))


def _units(placed):
    """(first row of the weight, how many) of the parts that threads share out: whole tiles but for the last."""
    mr, _ = _tile(placed.g)
    tiles, groups = ceil_div(placed.g.c_in, mr), ceil_div(placed.g.c_out, _channels(placed.problem))
    parts = max(
        1 if placed.threads == 1 else PARTS_PER_THREAD * placed.threads, placed.seconds // (groups * SECONDS_PER_UNIT)
    )
    some = ceil_div(tiles, min(tiles, int(parts))) * mr
    return [(start, min(some, placed.g.c_in - start)) for start in range(0, placed.g.c_in, some)]


def _finish(placed, scratch):
    """The nests that look at all sums, and write them with bias and activation as the layout wants."""
    g, row, shape = placed.g, _sum_row(placed), placed.problem.result_shape
    fields = {
        "entry": entry(not_finite.not_finite, placed.elem),
        **{"src": (SUMS, 0), "flag": (FLAGS, 0), "rows": _pixels(g), "src_row": row, "count": g.c_in},
    }
    yield Nest(not_finite.FIELDS, fields)
    sums = Operand.of(shape, (g.h.n * g.w.n * row, placed.size, g.w.n * row, row), placed.size)
    y, transposes = placed.result, not placed.y.channels_last
    if transposes:
        y = scratch.map(Y_BAND, shape, placed.size, channels_last=True)
    yield _written(placed, PlacedOperand(SUMS, 0, sums), y)
    if transposes:
        yield transpose_layout(placed.elem, y, placed.result, shape)


def _written(placed, sums, y):
    """Every sum as the one tap, with a weight of one, of a depthwise layer."""
    g, size = placed.g, placed.size
    height, name = depthwise_channels.HEIGHT[isa().registers], placed.problem.activation.name
    fields = pixel_products.common(placed) | {
        "entry": entry(depthwise_channels.depthwise_channels, placed.elem, height, name),
        **{"x": (sums.base, 0), "y": (y.base, y.offset), "w": pixel_products.ones(placed.problem.dtype)},
        **{"bias": (BIAS, 0), "n_h": 1, "n_w": 1, "n": g.n, "rows": g.h.n, "cols": g.w.n},
        **{"x_n": sums.at.n, "x_row": sums.at.h, "x_col": sums.at.w},
        **{"y_n": y.at.n, "y_row": y.at.h, "y_col": y.at.w},
    }
    most = pixel_products.ONES
    blocks = [(*[first * size] * 3, min(most, g.c_in - first)) for first in range(0, g.c_in, most)]
    return Nest(depthwise_channels.FIELDS, fields, (Rows(("x", "y", "bias", "columns"), blocks),))
