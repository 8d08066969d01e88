"""The gradient in the input of single taps under stride 1, channels-first: the pixels of a plane along the vector.

There a pixel of the result is a product of one pixel of the source, so the planes are the right matrix of one product
as they lie. Some pixels of all channels are copied to panels at a time, plane by plane in long runs, and stay in the
cache; nothing is transposed. The weight is the left matrix and is read where it lies: the kernel is `gemm`'s with the
roles exchanged, which adds up the same products in the same order.
"""

from itertools import groupby

from ..geometry import ceil_div
from ..kernels import gemm as kernel
from ..layouts import CHANNELS_FIRST
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import PLACES, TOTALS, X_BAND, Grid, Nest, Program, Rows, Stage, W, X, Y
from ..schedule import pixel_products
from ..schedule.amounts import far, moved
from ..schedule.moves import copying
from ..schedule.panels import even_blocks
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("grad_input",)
# A quarter of a second-level cache; and what a block of pixels may take, which would not stay near from tile to tile.
PANELS_BYTES, MOST_BYTES = 1 << 18, 1 << 21
# Blocks that are listed for a unit.
MOST_BLOCKS = 64
SCRATCH = {PLACES: "places", TOTALS: "totals"}


def why_never(problem: Problem) -> list[str]:
    g, found = problem.geometry, []
    if (g.h.k, g.w.k) != (1, 1) or (g.h.s, g.w.s) != (1, 1):
        found.append("is for single taps under stride 1")
    if problem.map_layouts != (CHANNELS_FIRST, CHANNELS_FIRST):
        found.append("both maps must lie channels-first")
    return found


def why_not(problem: Problem) -> list[str]:
    g, found = problem.geometry, []
    if any(axis.n != axis.out or axis.crop_lo for axis in (g.h, g.w)):
        found.append("the maps must be equally large (no padding)")
    panel = _pixel_bytes(problem) * _widest() * isa().lanes(problem.itemsize)
    if panel > MOST_BYTES:
        found.append(f"the panels of a block of pixels would take {panel:,} bytes; at most {MOST_BYTES:,} stay near")
    return found


def work(problem: Problem) -> dict[str, float]:
    g, (c_src, c_dst), lanes = problem.geometry, problem.channels, isa().lanes(problem.itemsize)
    pixels, some = g.h.n * g.w.n, _pixels(problem)
    weight = g.groups * c_src * c_dst * problem.itemsize
    amounts = moved(problem, channels_last=False, packs=False) | {
        "packed_pixels": 2 * g.n * pixels * _pixel_bytes(problem)
    }
    amounts |= dict.fromkeys(("tasks", "places", "tiles", "panels"), 0)
    for many, count in ((pixels // some, some), (1, pixels % some)):
        for block in even_blocks(count, lanes, _widest()) if count else ():
            wide, blocks = block.width // lanes, g.n * many
            mr = kernel.heights(isa())[wide]
            rows = ceil_div(c_dst, mr) * mr * g.groups
            amounts[f"gemm{wide}"] = amounts.get(f"gemm{wide}", 0) + blocks * rows * c_src * wide
            amounts["tasks"] += blocks
            amounts["places"] += blocks * rows
            amounts["tiles"] += blocks * rows // mr
            amounts["panels"] += blocks * far(weight) * weight
    return amounts


def program(placed: PlacedProblem) -> Program:
    """Grids of some pixels each: of an image, or of a row where rows have gaps between them."""
    g, x, y, size = placed.g, placed.x, placed.y, placed.size
    whole = x.h == y.h == g.w.n * size
    lines, length = (1, g.h.n * g.w.n) if whole else (g.h.n, g.w.n)
    some = min(_pixels(placed.problem, ceil_div(placed.share, g.n * lines)), length)
    grids = []
    for first, many, count in ((0, length // some, some), (length - length % some, 1, length % some)):
        if many and count:
            start = first * size
            steps = {X: (x.n, x.h, some * size), Y: (y.n, y.h, some * size)}
            grids.append(Grid(tuple(_nests(placed, start, count)), (g.n, lines, many), steps))
    tiles = [(mr, wide) for wide, mr in kernel.heights(isa()).items()]
    needs = [kernel.scratch(placed.lanes * size, *tile) for tile in tiles]
    panels = _pixel_bytes(placed.problem) * (some + _widest() * placed.lanes)
    sizes = {X_BAND: panels, **{base: max(need[name] for need in needs) for base, name in SCRATCH.items()}}
    return Program([Stage(grids)], sizes, placed.seconds)


def _widest():
    return max(kernel.heights(isa()))


def _pixel_bytes(problem):
    """Bytes of a pixel of the source, all of its channels."""
    return problem.channels[0] * problem.geometry.groups * problem.itemsize


def _pixels(problem, parts=1):
    """How many pixels are copied at a time: whole blocks, if not all."""
    pixels, block = problem.geometry.h.n * problem.geometry.w.n, _widest() * isa().lanes(problem.itemsize)
    most = min(PANELS_BYTES // _pixel_bytes(problem), ceil_div(pixels, parts)) // block
    return min(pixels, max(1, min(most, MOST_BLOCKS)) * block)


def _nests(placed, start, count):
    """The nests of `count` pixels from byte `start` of a plane on: those that copy them, then their products."""
    g, size, at, values = placed.g, placed.size, 0, []
    channels, tiles = placed.c_src * g.groups, kernel.heights(isa())
    for width, alike in groupby(even_blocks(count, placed.lanes, _widest()), key=lambda block: block.width):
        blocks, line = list(alike), width * size
        panel = channels * line
        for some in (blocks[:-1], blocks[-1:]):
            # The last may have fewer pixels.
            if some:
                yield copying(
                    placed.elem,
                    (X, start + some[0].first * size),
                    (X_BAND, at),
                    some[0].columns,
                    n=(channels, placed.x.c, line),
                    m=(len(some), line, panel),
                    pad=width,
                )
            wide = width // placed.lanes
            address = entry(kernel.gemm, placed.elem, tiles[wide], wide, False, True, placed.problem.activation.name)
            for block in some:
                values.append((address, at, placed.c_src * line, start + block.first * size, block.columns))
                at += panel
    fields = pixel_products.common(placed) | {
        **{"x": (W, 0), "y": (Y, 0), "w": (X_BAND, 0), "n": 1, "rows": 1, "cols": placed.c_dst, "n_h": 1, "n_w": 1},
        **{"x_col": placed.w_dst, "y_col": placed.y.c, "x_g": placed.w_group, "y_g": placed.c_dst * placed.y.c},
    }
    yield Nest(kernel.FIELDS, fields, (Rows(("entry", "w", "w_g", "y", "columns"), values),))
