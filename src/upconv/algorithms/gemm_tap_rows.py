"""The gradient in the input of few output channels: a row of taps as one run of a product.

Channels-last, the k_w * c_out numbers of grad_y that a pixel meets in a row lie side by side, so a row of taps is one
tap with k_w times the channels. The kernel is `gemm`'s, which would otherwise begin a sum of a few products for each
tap.
"""

from itertools import groupby
from math import prod

from ..kernels import gemm as kernel
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import PANELS, Nest, Program, Rows, Stage
from ..schedule import bands, pixel_products, segments
from ..schedule.amounts import NEAR_BYTES, gemm_work, moved, pixel_work, read_again
from ..schedule.panels import even_blocks
from ..schedule.placed_problem import PlacedProblem
from ..schedule.tap_rows import TapRows, why_no_tap_rows

OPERATIONS = ("grad_input",)
# Half of a second-level cache: a packed weight up to this size is still there when it is used.
KEPT_BYTES = NEAR_BYTES // 2
# Numbers of a result of one image up to which engines sum the taps of a small kernel by a product of columns, which has
# more lanes than they have for larger maps.
SMALL_RESULT, SMALL_KERNEL = 20480, 3
# Whether maps of halves are converted band by band, and rows that lie in planes of a volume put in order.
CONVERTS_MAPS = TAKES_PLANES = True


def why_never(problem: Problem) -> list[str]:
    return why_no_tap_rows(problem, problem.a_layout)


def weight_form(problem: Problem) -> TapRows:
    g, (c_src, c_dst) = problem.geometry, problem.channels
    blocks = even_blocks(c_dst, isa().lanes(problem.itemsize), max(kernel.heights(isa())))
    return TapRows(problem.row.element, problem.itemsize, c_src, c_dst, g.h.k, g.w.k, blocks)


def work(problem: Problem) -> dict[str, float]:
    g, form, lanes = problem.geometry, weight_form(problem), isa().lanes(problem.itemsize)
    counted = pixel_work(problem, segments.tally(g.w, False), form.c_src, _most(problem, form))
    tiles = pixel_products.tiles_of(form.blocks, lanes)
    amounts = moved(problem, channels_last=True, packs=True)
    if form.nbytes > KEPT_BYTES:
        # All of it is packed before any of it is used, so it comes back from far away: less than lines far apart take.
        weight = 0 if problem.prepared else prod(g.weight_shape) * problem.itemsize
        amounts["packed"] = max(amounts["packed"], 2 * weight)
    starts = (each.number * counted.products(each.pixels) / (each.pixels * form.c_src * g.w.k) for each in tiles)
    return (
        amounts
        | gemm_work(counted, tiles)
        | {"panels": read_again(problem, counted.panel_rows, form.c_dst), "tap_runs": sum(starts)}
    )


def program(placed: PlacedProblem) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    form, scratch = weight_form(placed.problem), bands.Scratch()
    compute = bands.in_layout(placed, scratch, True, lambda band: _nests(placed, band, form))
    compute = bands.grids(placed, compute, placed.source, placed.result, _most(placed.problem, form))
    stages = [*([form.packing(placed)] if placed.packs else []), Stage(compute)]
    needs = pixel_products.scratch_of_tiles(placed, form.blocks)
    sizes = {PANELS: form.nbytes if placed.packs else 0, **scratch.sizes, **needs}
    return Program(stages, sizes, placed.seconds)


def _is_small(g):
    return g.n == 1 and min(g.h.k, g.w.k) <= SMALL_KERNEL and prod(g.input_shape) <= SMALL_RESULT


def _most(problem, form):
    """How large bands are."""
    return bands.beside_panel(problem.geometry, problem.itemsize, form.nbytes) if len(form.blocks) == 1 else None


def _nests(placed, band, form):
    g = placed.g
    # Engines sum the taps of a kernel of one row in more lanes, and those of a single pixel in the most.
    is_row = g.h.k == 1 < g.w.k
    is_pixel = is_row and g.h.n == g.w.n == 1
    whole_taps = placed.c_src * g.w.k <= kernel.WHOLE_TAP and not is_pixel
    finer = 3 if is_pixel else 2 * (pixel_products.is_strided(placed) or (is_row and not whole_taps))
    finer = finer or int(whole_taps and _is_small(g))
    kind = False, False, placed.problem.activation.name, whole_taps, whole_taps, finer
    numbered = zip(form.blocks, form.starts, strict=False)
    h, w = (segments.segments(axis, False) for axis in (band.h, band.w))
    for width, alike in groupby(numbered, key=lambda each: each[0].width):
        values = []
        for block, start in alike:
            address = entry(kernel.gemm, placed.elem, *pixel_products.tile_of(block, placed.lanes), *kind)
            offset = block.first * placed.size
            values.append((address, offset, start, offset, 0, block.columns))
        rows = segments.listed(segments.ROWS, h, band.x.at.h, band.y.at.h, form.row(width))
        # A run of taps is one tap with as many times the channels.
        runs = []
        for segment, each in zip(w, segments.values(w, band.x.at.w, band.y.at.w, form.tap(width)), strict=True):
            found = dict(zip(segments.COLS, each, strict=True)) | {"n_w": 1, "x_w": 0, "w_w": 0}
            runs.append((*found.values(), placed.c_src * len(segment.taps)))
        lists = rows, Rows((*segments.COLS, "c"), runs), Rows(pixel_products.BLOCKS, values)
        yield Nest(kernel.FIELDS, pixel_products.of_band(placed, band, {"c": 0, "w_g": 0}), lists)
