"""As `gemm`, with the phases of a row as more columns of one product.

The s phases of a row that all have k/s taps read the same inputs, so they are one product with s times the channels:
vectors are filled where there are few channels, and an input is loaded once for all phases.
"""

import itertools
from functools import lru_cache

from ..kernels import gemm as kernel
from ..layouts import CHANNELS_SLICED
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.program import Nest, Program, Rows, Stage
from ..schedule import bands, pixel_products, segments
from ..schedule.amounts import gemm_work, moved, pixel_work, read_again, taps_begun
from ..schedule.panels import Block, Panels, even_blocks
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("forward",)
# Whether maps of halves are converted band by band, or multiplied as pairs.
CONVERTS_MAPS = MULTIPLIES_PAIRS = True


def why_never(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    if g.w.s == 1:
        refusals.append("with stride 1 along the row there is one phase")
    if g.w.k % g.w.s:
        refusals.append(f"the stride {g.w.s} does not divide the kernel {g.w.k} along the row, so phases differ")
    if g.w.d != 1:
        refusals.append(f"with dilation {g.w.d} along the row phases read other inputs")
    if g.groups != 1:
        refusals.append("columns of several groups cannot be one product")
    if problem.layout == CHANNELS_SLICED:
        refusals.append("the pixels of the result have gaps between them")
    return refusals


@lru_cache(maxsize=256)
def blocks_of(channels, phases, lanes) -> tuple[Block, ...]:
    """Blocks of the channels of all phases, cut wherever vectors end."""
    return even_blocks(channels * phases, lanes, max(kernel.heights(isa())))


def weight_form(problem: Problem) -> Panels:
    g = problem.geometry
    return _panels(problem.row.element, problem.itemsize, g.c_in, g.c_out, g.h.k, g.w.k, g.w.s)


# It depends on no size of a map.
@lru_cache(maxsize=256)
def _panels(elem, size, c_in, c_out, k_h, k_w, phases):
    blocks = blocks_of(c_out, phases, isa().lanes(size))
    return Panels(elem, size, 1, c_in, c_out, k_h, k_w // phases, phases, blocks)


@lru_cache(maxsize=256)
def _tiles_of(channels, phases, lanes):
    return pixel_products.tiles_of(blocks_of(channels, phases, lanes), lanes)


def work(problem: Problem) -> dict[str, float]:
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    counted = pixel_work(problem, segments.fused_tally(g.w), g.c_in)
    holes = pixel_products.hole_work(problem)
    tiles = _tiles_of(g.c_out, g.w.s, lanes)
    amounts = gemm_work(counted, tiles, holes=holes.places)
    amounts["gemm_taps"] = taps_begun(counted, tiles, g.c_in)
    amounts["copied_bands"] = holes.copied
    amounts["panels"] = read_again(problem, counted.panel_rows, g.c_out * g.w.s)
    return amounts | moved(problem, channels_last=True, packs=True)


def program(placed: PlacedProblem) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    panels, scratch = weight_form(placed.problem), bands.Scratch()
    nests = bands.in_layout(placed, scratch, True, lambda band: _nests(placed, band, panels, scratch))
    compute = bands.grids(placed, nests, placed.source, placed.result)
    stages = [*([scratch.packing(panels, placed)] if placed.packs else []), Stage(compute)]
    return Program(stages, {**scratch.sizes, **pixel_products.tile_scratch(placed, panels)}, placed.seconds)


def _nests(placed, band, panels, scratch):
    more = {"w_g": 0}
    h = segments.segments(band.h, True)

    def holes(band, h, w):
        # Blocks hold the bias of every channel once for each of their phases.
        first = _blocks(placed, panels, (0, 1))
        return pixel_products.product(placed, band, kernel.FIELDS, panels, h, w, (first,), more)

    yield from pixel_products.hole_nests(placed, band, scratch, holes)
    # Which phases, and so which columns, a segment keeps differs at the ends of a row.
    found, rows = segments.fused_segments(band.w), pixel_products.rows(band, h, panels)
    for kept, alike in itertools.groupby(found, key=lambda each: each[1]):
        cols = pixel_products.cols(band, [segment for segment, _ in alike], panels)
        lists = rows, cols, _blocks(placed, panels, kept)
        yield Nest(kernel.FIELDS, pixel_products.of_band(placed, band, more), lists)


def _blocks(placed, panels, kept):
    """The list of the blocks that have columns of the phases that are kept: the same one for all bands."""
    return panels.kept.get_or_make(
        (*pixel_products.kernel_key(placed), kept), lambda: _block_rows(placed, panels, kept)
    )


def _block_rows(placed, panels, kept):
    first, end = (phase * placed.c_dst for phase in kept)
    values, entries = [], pixel_products.kernels_of(placed, panels.blocks)
    for number, block in enumerate(panels.blocks):
        low, high = max(0, first - block.first), min(block.columns, end - block.first)
        if low < high:
            y, bias = block.first * placed.written, block.first * placed.size
            values.append((entries[number], y, panels.block(number), bias, low, high))
    return Rows(pixel_products.BLOCKS, values)
