"""The gradient in the weight of few pixels: one plain product whose result is the weight where it lies.

For every pixel of the input, what it meets of the gradient in the output is copied once, as a line in the order of the
weight (im2col). Then the input's channels times these lines give whole rows of the weight, and nothing as large as the
weight is ever transposed. Beyond a border a line has zeros. An infinity of the input would make NaNs of them, so the
input is looked through, and one that is not finite is left to a way that multiplies no zeros.
"""

import math

from ..geometry import ceil_div
from ..kernels import not_finite
from ..kernels import weight_gradient_blocks as product
from ..layouts import CHANNELS_SLICED, TAPS_SLICED, WEIGHT_CHANNELS_LAST
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import FLAGS, PANELS, TOTALS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, W
from ..schedule.amounts import NEAR_BYTES
from ..schedule.bands import Scratch
from ..schedule.moves import transpose_layout, weight_copied
from ..schedule.pixel_lines import PixelLines, line_bytes, why_no_lines
from ..schedule.pixel_panels import Cut
from ..schedule.placed_problem import PlacedProblem
from ..schedule.weight_tiles import even_ranges, tile_cycles

OPERATIONS = ("grad_weight",)
FALLBACK, FOR_FEW_CHANNELS = "weight_gradient_blocks", True
# No sum in registers is longer.
PIXELS = 256
# Rows of a tile, and vectors across; by the number of vector registers.
TILES = {32: {4: 6, 3: 9, 2: 12, 1: 12}, 16: {2: 6, 1: 12}}
# What the lines of all pixels may take together.
MOST_BYTES = 64 << 20
UNITS = 8


def why_never(problem: Problem) -> list[str]:
    found = why_no_lines(problem)
    if _columns(problem.geometry) % isa().lanes(problem.itemsize):
        found.append("output channels times taps must fill whole vectors")
    if _is_last(problem) and problem.b_layout == CHANNELS_SLICED:
        found.append("the pixels of the gradient in the output must follow one another without a gap")
    return found


def why_not(problem: Problem) -> list[str]:
    g, found = problem.geometry, []
    if not g.n:
        found.append("sums over images, of which there is none")
    if g.n * g.h.n * g.w.n * _columns(g) * problem.itemsize > MOST_BYTES:
        found.append(f"the lines of all pixels would take more than {MOST_BYTES:,} bytes")
    return found


def work(problem: Problem) -> dict[str, float]:
    g, size = problem.geometry, problem.itemsize
    rows, nv = _tile(problem)
    pixels, across = g.n * g.h.n * g.w.n, _columns(g) // (isa().lanes(size) * nv)
    cycles = sum(many * tile_cycles(tall, nv) for _, many, tall in even_ranges(g.c_in, rows))
    blocks, lines = Cut(g, PIXELS).count, pixels * _columns(g) * size
    is_near = lines <= NEAR_BYTES * blocks
    transposed = sum(
        math.prod(shape) * (layout.startswith("nhwc") == wanted)
        for shape, layout, wanted in zip(
            problem.map_shapes, problem.map_layouts, (False, not _is_last(problem)), strict=True
        )
    )
    count, run = _runs(problem)
    return {
        "weight_blocks": pixels * across * nv * g.c_in,
        "weight_blocks_waits": pixels * across * (2 * cycles - nv * g.c_in),
        "weight_blocks_rows": g.n * g.h.n * across * ceil_div(g.c_in, rows),
        # Every tile of channels goes over all lines of a block.
        "columns": 0 if is_near else lines * ceil_div(g.c_in, rows),
        "column_rows": pixels * count * g.h.k * ceil_div(run * g.w.k, isa().lanes(size)),
        "totals": (2 * blocks - 1) * math.prod(g.weight_shape) * size,
        "tasks": pixels,
        "transposed": transposed * size,
        # Lines that do not stay in the cache are fetched before they are written, and written back.
        "bytes": problem.bytes + (2 * lines if lines > NEAR_BYTES else 0),
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """Both maps as they are wanted, the lines of all pixels, and the product."""
    g, scratch, size = placed.g, Scratch(), placed.size
    x, y, turning = placed.source, placed.result, []
    if not x.at.channels_last:
        x = scratch.map(X_BAND, g.input_shape, size, channels_last=True)
        turning.append(Grid((transpose_layout(placed.elem, placed.source, x, g.input_shape),)))
    is_last = _is_last(placed.problem)
    if not (y.at.channels_last if is_last else y.at.channels_first):
        y = scratch.map(Y_BAND, g.output_shape, size, channels_last=is_last)
        turning.append(Grid((transpose_layout(placed.elem, placed.result, y, g.output_shape),)))
    line = line_bytes(_columns(g), size)
    count, run = _runs(placed.problem)
    lines = PixelLines(placed, y, line, run).grids(y, count)
    stages = [*([Stage(turning)] if turning else []), Stage([Grid((_finite(placed, x),)), *lines])]
    stages.append(Stage(list(_products(placed, x, line))))
    base, row = _weight(placed)
    if base != W:
        scratch.take(base, g.c_in * row)
        steps = (row, g.h.k * g.w.k * size), placed.w[:2]
        stages.append(Stage([Grid((weight_copied(placed, (base, 0), (W, 0), steps),))]))
    sizes = {PANELS: g.n * g.h.n * g.w.n * line, FLAGS: 8, **scratch.sizes}
    return Program(stages, sizes, placed.seconds, (PANELS, FLAGS, X_BAND, Y_BAND, TOTALS))


def _weight(placed):
    """(where the products are added up, bytes from row to row): the weight itself, if it has no gaps."""
    if placed.problem.layout == TAPS_SLICED:
        return TOTALS, _columns(placed.g) * placed.size
    return W, placed.w[0]


def _is_last(problem):
    """Whether the output channels of a tap are consecutive in the weight, and so in a line."""
    return problem.weight_layout == WEIGHT_CHANNELS_LAST


def _runs(problem):
    """(runs of taps of a row that a pixel meets in a row, numbers of a tap in each)."""
    return (1, problem.geometry.c_out) if _is_last(problem) else (problem.geometry.c_out, 1)


def _columns(g):
    """Numbers of a line."""
    return g.c_out * g.h.k * g.w.k


def _tile(problem):
    """(rows, vectors) of a tile: as many vectors as divide a line."""
    vectors = _columns(problem.geometry) // isa().lanes(problem.itemsize)
    tiles = TILES[isa().registers]
    nv = next(nv for nv in sorted(tiles, reverse=True) if vectors % nv == 0)
    most = min(tiles[nv], problem.geometry.c_in)
    return ceil_div(problem.geometry.c_in, ceil_div(problem.geometry.c_in, most)), nv


def _finite(placed, x):
    """The nest that looks at all pixels of the input."""
    g = placed.g
    fields = {
        "entry": entry(not_finite.not_finite, placed.elem),
        **{"src": (x.base, x.offset), "flag": (FLAGS, 0)},
        **{"rows": g.w.n, "src_row": x.at.w, "count": g.c_in},
    }
    rows = [(n * x.at.n + row * x.at.h,) for n in range(g.n) for row in range(g.h.n)]
    return Nest(not_finite.FIELDS, fields, (Rows(("src",), rows),))


def _products(placed, x, line):
    """Grids of some rows of the weight each: all blocks of pixels, one after another."""
    g, size = placed.g, placed.size
    (rows, nv), row, (base, step) = _tile(placed.problem), _columns(g) * size, _weight(placed)
    for first, tiles, tall in even_ranges(g.c_in, rows):
        for start in range(0, tiles, some := ceil_div(tiles, UNITS)):
            channel = first + start * tall
            nests = []
            for number, block in enumerate(Cut(g, PIXELS).blocks(0, g.n)):
                place = x.move(block.first, block.h.first, block.w.first, channel)
                pixel = (block.first * g.h.n + block.h.first) * g.w.n + block.w.first
                fields = {
                    "entry": entry(product.weight_gradient_blocks, placed.elem, tall, nv, True),
                    **{"a": (place.base, place.offset), "b": (PANELS, pixel * line), "total": (base, channel * step)},
                    **{"n": block.images, "rows": block.h.axis.n, "cols": block.w.axis.n},
                    **{"a_n": x.at.n, "a_row": x.at.h, "a_col": x.at.w},
                    **{"b_n": g.h.n * g.w.n * line, "b_row": g.w.n * line, "b_col": line},
                    **{"a_tiles": min(some, tiles - start), "a_tile": tall * size},
                    **{"b_tiles": row // (nv * isa().vector_bytes), "b_tile": nv * isa().vector_bytes},
                    **{"total_row": step, "add": int(number > 0)},
                    "longest": product.longest_sum_over_pixels(g.pixels, math.prod(g.weight_shape)),
                }
                nests.append(Nest(product.FIELDS, fields))
            yield Grid(tuple(nests))
