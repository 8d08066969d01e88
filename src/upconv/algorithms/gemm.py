"""Every phase as products over segments, channels of the result along the vector, the weight packed in panels.

A segment (see `phases`) is a run of outputs that read the same taps, so it is one product of pixels by channels whose
left matrix is read in place: a pixel and a tap make one offset. Tiles run on over the ends of rows and images, taps
that would read padding do not exist, and no column buffer is ever written. Maps that lie channels-first are transposed
band by band, in scratch that stays in the second-level cache.
"""

from dataclasses import replace

from ..kernels import gemm as kernel
from ..kernels.epilogue import IN_REGISTERS
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, PANELS, PLACES, TOTALS, Grid, Program, Rows, Stage, W, X, Y
from ..schedule import bands, pixel_products
from ..schedule.amounts import NEAR_BYTES, moved, pixel_work, read_again
from ..schedule.moves import Placed
from ..schedule.panels import Block, Panels, even_blocks
from ..schedule.segments import tally
from ..schedule.task import Task

# Above half of a second-level cache.
WEIGHTY_BYTES = NEAR_BYTES // 2
SECONDS_PER_UNIT = 0.1
# Phases of rows and of columns in all bands of a unit, which are listed band by band: some 100 kB.
MOST_LISTED = 512
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_not(problem: Problem) -> list[str]:
    if problem.operation == "grad_weight":
        return ["computes no gradient in the weight"]
    return []


def fuses(problem: Problem) -> bool:
    """Whether its kernels apply the activation of a problem."""
    return problem.activation.name in IN_REGISTERS


def blocks_of(channels, lanes) -> list[Block]:
    """Blocks of whole vectors, as even as can be."""
    return even_blocks(channels, lanes, max(kernel.heights(isa())))


def weight_form(problem: Problem) -> Panels:
    g, (c_src, c_dst), size = problem.geometry, problem.channels, problem.itemsize
    blocks = tuple(blocks_of(c_dst, isa().lanes(size)))
    is_forward = problem.operation == "forward"
    return Panels(problem.row.element, size, g.groups, c_src, c_dst, g.h.k, g.w.k, 1, blocks, is_forward)


def work(problem: Problem) -> dict[str, float]:
    g, (c_src, c_dst), forward = problem.geometry, problem.channels, problem.operation == "forward"
    lanes = isa().lanes(problem.itemsize)
    counted = pixel_work(problem, tally(g.w, forward), c_src)
    amounts = {"places": counted.places * g.groups, "tasks": 0, "tiles": 0}
    for block in (blocks := blocks_of(c_dst, lanes)):
        mr, wide = _tile(block, lanes)
        amounts["tasks"] += counted.tasks
        amounts["tiles"] += g.groups * counted.tiles(mr)
        name = f"gemm{wide}"
        amounts[name] = amounts.get(name, 0) + g.groups * counted.products(mr) * wide
    amounts["panels"] = read_again(problem, counted, c_dst)
    if not forward:
        starts = (counted.products(tile[0]) / (tile[0] * c_src) for tile in (_tile(block, lanes) for block in blocks))
        amounts["tap_runs"] = g.groups * sum(starts)
    return amounts | moved(problem, channels_last=True, packs=True)


def program(task: Task, *, packs=True) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    panels, scratch = weight_form(task.problem), bands.Scratch()
    if packs and _is_weighty(task, panels):
        return _by_blocks(task, panels, scratch)
    rows = block_rows(task, panels, kernel_of(task, panels), range(len(panels.blocks)))

    def make(band):
        return pixel_products.nests(task, band, kernel.FIELDS, panels, rows, {"w_g": panels.group})

    compute = bands.grids(task, bands.in_layout(task, scratch, True, make), task.source, task.result)
    stages = [*([panels.packing(task)] if packs else []), Stage(compute)]
    sizes = {PANELS: panels.nbytes if packs else 0, **scratch.sizes, **tile_scratch(task, panels)}
    return Program(stages, sizes, task.seconds)


def _tile(block, lanes):
    """(pixels, vectors) of a block's tile."""
    wide = block.width // lanes
    return kernel.heights(isa())[wide], wide


def kernel_of(task, panels):
    """The address of a block's kernel, as a function of its number."""
    activation = task.problem.activation.name
    return lambda number: entry(kernel.gemm, task.elem, *_tile(panels.blocks[number], task.lanes), activation)


def block_rows(task, panels, kernel_of, numbers):
    """The list of blocks."""
    values = []
    for number in numbers:
        block = panels.blocks[number]
        offset = block.first * task.size
        values.append((kernel_of(number), offset, panels.block(number), offset, 0, block.columns))
    return Rows(pixel_products.BLOCKS, values)


def tile_scratch(task, panels):
    """What the kernels need for themselves."""
    tiles = [_tile(block, task.lanes) for block in panels.blocks]
    needs = [kernel.scratch(task.lanes * task.size, *tile) for tile in tiles]
    return {PLACES: max(need["places"] for need in needs), TOTALS: max(need["totals"] for need in needs)}


# Weights that are large beside the source ----------------------------------------------------------------------------


def _is_weighty(task, panels):
    """Whether the packed weight would leave the cache before it is used, and the source is small beside it."""
    units = len(panels.blocks) * task.g.groups
    # A unit cannot be interrupted, nor shared out.
    if units == 1 or task.seconds > units * SECONDS_PER_UNIT:
        return False
    steps = task.g.h.s + task.g.w.s if task.forward else 2
    if bands.count(task.g, task.forward, task.size) * steps > MOST_LISTED:
        return False
    n, c, h, w = task.problem.operand_shape
    return panels.nbytes > WEIGHTY_BYTES and n * c * h * w * task.size * len(panels.blocks) <= 3 * panels.nbytes


def _by_blocks(task, panels, scratch):
    """Pack one block of channels and use it at once, then the next: each is a unit of its own for the threads."""
    made, nbytes = [], 0
    for number, many in panels.runs():
        block = panels.blocks[number]
        part = _narrowed(task, block.columns)
        form = weight_form(part.problem)
        nbytes = max(nbytes, form.nbytes)
        fill = form.fill(part, 0, block.first * task.w_dst, 0)
        rows = block_rows(part, form, kernel_of(part, form), [0])
        more = {"w_g": 0, "bias": (BIAS, block.first * task.size)}

        def make(band, part=part, form=form, rows=rows, more=more):
            return pixel_products.nests(part, band, kernel.FIELDS, form, rows, more)

        y = Placed(Y, block.first * task.y.c, task.y)
        nests = bands.one_by_one(part, bands.in_layout(part, scratch, True, make), task.source, y)
        step = block.columns
        steps = {
            X: (0, task.c_src * task.x.c, 0),
            Y: (0, task.c_dst * task.y.c, step * task.y.c),
            W: (0, task.w_group, step * task.w_dst),
            BIAS: (0, task.c_dst * task.size, step * task.size),
        }
        made.append(Grid((fill, *nests), (1, task.g.groups, many), steps))
    sizes = {PANELS: nbytes, **scratch.sizes, **tile_scratch(task, panels)}
    return Program([Stage(made)], sizes, task.seconds, shared=())


def _narrowed(task, columns):
    """The part of a task that makes some channels of one group."""
    g = task.g
    c_in, c_out = (task.c_src, columns) if task.forward else (columns, task.c_src)
    problem = replace(task.problem, geometry=replace(g, c_in=c_in, c_out=c_out, groups=1))
    return replace(task, problem=problem, threads=1)
