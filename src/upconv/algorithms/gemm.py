"""Every phase as products over segments, channels of the result along the vector, the weight packed in panels.

A segment (see `phases`) is a run of outputs that read the same taps, so it is one product of pixels by channels whose
left matrix is read in place: a pixel and a tap make one offset. Tiles run on over the ends of rows and images, taps
that would read padding do not exist, and no column buffer is ever written. Maps that lie channels-first are transposed
band by band, in scratch that stays in the second-level cache.
"""

from dataclasses import replace
from functools import lru_cache
from math import prod

from ..kernels import gemm as kernel
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.program import BIAS, PANELS, Grid, Program, Rows, Stage, W, X, Y
from ..schedule import bands, pixel_products
from ..schedule.amounts import NEAR_BYTES, far, gemm_work, is_transposed, moved, pixel_work, read_again, taps_begun
from ..schedule.moves import PlacedOperand
from ..schedule.panels import Block, Panels, even_blocks, runs_of
from ..schedule.placed_problem import PlacedProblem
from ..schedule.segments import tally

OPERATIONS = ("forward", "grad_input")
# Above half of a second-level cache.
WEIGHTY_BYTES = NEAR_BYTES // 2
# How many times as long a source takes that is transposed on the way, beside panels that come from far away.
TRANSPOSED = 2
SECONDS_PER_UNIT = 0.1
# Of channels of a pixel that are shorter, tiles write lines in pieces, which are to be in the cache still.
LONG_RUN = 256
# Of bands with fewer pixels for each task, those without taps among them, larger ones take less time, up to so many
# times as large: whatever is written is written once.
MANY_PIXELS, MOST_TIMES = 48, 4
# Phases of rows and of columns in all bands of a unit, which are listed band by band: some 100 kB.
MOST_LISTED = 512
# Whether maps of halves are converted band by band, or multiplied as pairs, and rows that lie in planes of a volume put
# in order.
CONVERTS_MAPS = MULTIPLIES_PAIRS = TAKES_PLANES = True


def blocks_of(channels, lanes) -> tuple[Block, ...]:
    """Blocks of whole vectors, as even as can be."""
    return even_blocks(channels, lanes, max(kernel.heights(isa())))


def weight_form(problem: Problem) -> Panels:
    g = problem.geometry
    is_forward = problem.operation == "forward"
    return _panels(problem.row.element, problem.itemsize, g.groups, *problem.channels, g.h.k, g.w.k, is_forward)


# It depends on no size of a map.
@lru_cache(maxsize=256)
def _panels(elem, size, groups, c_src, c_dst, k_h, k_w, is_forward):
    blocks = blocks_of(c_dst, isa().lanes(size))
    return Panels(elem, size, groups, c_src, c_dst, k_h, k_w, 1, blocks, is_forward)


def work(problem: Problem) -> dict[str, float]:
    g, (c_src, c_dst), forward = problem.geometry, problem.channels, problem.operation == "forward"
    lanes, most = isa().lanes(problem.itemsize), _most(problem)
    counted = pixel_work(problem, tally(g.w, forward), c_src, most)
    tiles = pixel_products.tiles_of(blocks_of(c_dst, lanes), lanes)
    holes = pixel_products.hole_work(problem)
    amounts = gemm_work(counted, tiles, g.groups, holes.places)
    amounts["gemm_taps" if forward else "tap_runs"] = taps_begun(counted, tiles, c_src, g.groups)
    amounts |= moved(problem, channels_last=True, packs=True, whole=False) | {"copied_bands": holes.copied}
    panels = weight_form(problem)
    if problem.prepared or not is_weighty(problem, panels):
        amounts["panels"] = read_again(problem, counted.panel_rows, c_dst)
    else:
        # The source comes again for every block of channels, whose panels are to stay in the cache beside it.
        again = "transposed" if is_transposed(problem.operand_shapes[0], problem.a_layout, True) else "streamed"
        source = prod(problem.operand_shapes[0]) * problem.itemsize
        amounts[again] = amounts.get(again, 0) + source * (len(panels.blocks) - 1)
        many = max(1, prod(bands.counts(g, forward, problem.itemsize, most)))
        nbytes = panels.nbytes // _units(problem, panels) + source // many - NEAR_BYTES
        amounts["panels"] = read_again(problem, counted.panel_rows, c_dst, nbytes)
    return amounts


def program(placed: PlacedProblem) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    panels, scratch = weight_form(placed.problem), bands.Scratch()
    # A unit cannot be interrupted.
    fits = placed.seconds <= _units(placed.problem, panels) * SECONDS_PER_UNIT
    if placed.packs and fits and is_weighty(placed.problem, panels):
        return _by_blocks(placed, panels, scratch)
    rows = block_rows(placed, panels)

    def make(band):
        return pixel_products.nests(placed, band, kernel.FIELDS, panels, rows, {"w_g": panels.group}, scratch)

    compute = bands.grids(
        placed, bands.in_layout(placed, scratch, True, make), placed.source, placed.result, _most(placed.problem)
    )
    stages = [*([panels.packing(placed)] if placed.packs else []), Stage(compute)]
    sizes = {
        PANELS: panels.nbytes if placed.packs else 0,
        **scratch.sizes,
        **pixel_products.tile_scratch(placed, panels),
    }
    return Program(stages, sizes, placed.seconds)


def _most(problem):
    """How large bands are: where each reads a large weight, and writes whole lines, the source alone must fit."""
    g, is_forward = problem.geometry, problem.operation == "forward"
    if not is_forward:
        panels = weight_form(problem)
        if len(panels.blocks) == 1:
            return bands.beside_panel(g, problem.itemsize, panels.nbytes)
        return bands.beside_weight(g, problem.itemsize)
    if (problem.maps and not problem.pairs) or not problem.layout.startswith("nhwc"):
        # Written elsewhere, or in pieces.
        return None
    if problem.channels[1] * problem.itemsize < LONG_RUN or prod(g.weight_shape) * problem.itemsize <= NEAR_BYTES:
        return _for_many_pixels(problem)
    return bands.of_source(g, problem.itemsize)


# Several ask.
@lru_cache(maxsize=64)
def _for_many_pixels(problem):
    """How large bands are whose tasks would have few pixels, as those of narrow maps under dilated kernels."""
    g = problem.geometry
    counted = pixel_work(problem, tally(g.w, True), problem.channels[0])
    times = min(MOST_TIMES, MANY_PIXELS * counted.tasks // max(1, g.n * g.h.out * g.w.out))
    return bands.BAND_BYTES * times if times * bands.BAND_BYTES > bands.at_most(g, problem.itemsize) else None


def block_rows(placed, panels):
    """The list of blocks."""
    return panels.kept.get_or_make(pixel_products.kernel_key(placed), lambda: _block_rows(placed, panels))


def _block_rows(placed, panels):
    values, entries = [], pixel_products.kernels_of(placed, panels.blocks)
    for number, block in enumerate(panels.blocks):
        y, bias = block.first * placed.written, block.first * placed.size
        values.append((entries[number], y, panels.block(number), bias, 0, block.columns))
    return Rows(pixel_products.BLOCKS, values)


# Weights that are large beside the source ----------------------------------------------------------------------------


def _units(problem, panels):
    return len(panels.blocks) * problem.geometry.groups


def is_weighty(problem: Problem, panels: Panels) -> bool:
    """Whether the packed weight would leave the cache before it is used, and the source is less to read again."""
    g, forward = problem.geometry, problem.operation == "forward"
    # One unit cannot be shared out.
    if panels.nbytes <= WEIGHTY_BYTES or _units(problem, panels) == 1:
        return False
    steps = g.h.s + g.w.s if forward else 2
    many = prod(bands.counts(g, forward, problem.itemsize, _most(problem)))
    if many * steps > MOST_LISTED:
        return False
    source = prod(problem.operand_shapes[0]) * problem.itemsize
    if not forward and is_transposed(problem.operand_shapes[0], problem.a_layout, True):
        # Every block transposes the source again; else panels are written and read, and every band reads them again.
        again = TRANSPOSED * source * (len(panels.blocks) - 1)
        return again <= (3 + many * far(panels.nbytes)) * panels.nbytes
    # Every block reads all of the source; else, in a gradient, every band reads all of the weight: one that is larger
    # for that counts as those that it stands for.
    most = 3 if forward else max(3, many * bands.times_as_large(g, problem.itemsize))
    return source * len(panels.blocks) <= most * panels.nbytes


def _by_blocks(placed, panels, scratch):
    """Pack one block of channels and use it at once, then the next: each is a unit of its own for the threads."""
    made, nbytes = [], 0
    for number, many in runs_of(panels.blocks):
        block = panels.blocks[number]
        part = _narrowed(placed, block.columns)
        form = weight_form(part.problem)
        nbytes = max(nbytes, form.nbytes)
        fill = form.fill(part, 0, block.first * placed.w_dst, 0)
        rows = block_rows(part, form)
        more = {"w_g": 0, "bias": (BIAS, block.first * placed.size)}

        def make(band, part=part, form=form, rows=rows, more=more):
            return pixel_products.nests(part, band, kernel.FIELDS, form, rows, more, scratch)

        y = PlacedOperand(Y, block.first * placed.y.c, placed.y)
        most = _most(part.problem) if placed.forward else None
        nests = bands.one_by_one(part, bands.in_layout(part, scratch, True, make), placed.source, y, most)
        step = block.columns
        steps = {
            X: (0, placed.x_group, 0),
            Y: (0, placed.c_dst * placed.y.c, step * placed.y.c),
            W: (0, placed.w_group, step * placed.w_dst),
            BIAS: (0, placed.c_dst * placed.size, step * placed.size),
        }
        made.append(Grid((fill, *nests), (1, placed.g.groups, many), steps))
    sizes = {PANELS: nbytes, **scratch.sizes, **pixel_products.tile_scratch(placed, panels)}
    return Program([Stage(made)], sizes, placed.seconds, shared=())


def _narrowed(placed, columns):
    """The part of a problem that makes some channels of one group."""
    g = placed.g
    c_in, c_out = (placed.c_src, columns) if placed.forward else (columns, placed.c_src)
    problem = replace(placed.problem, geometry=replace(g, c_in=c_in, c_out=c_out, groups=1))
    return replace(placed, problem=problem, threads=1)
