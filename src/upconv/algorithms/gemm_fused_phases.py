"""As `gemm`, with the phases of a row as more columns of one product.

The s phases of a row that all have k/s taps read the same inputs, so they are one product with s times the channels:
vectors are filled where there are few channels, and an input is loaded once for all phases.
"""

import itertools

from ..geometry import ceil_div
from ..kernels import gemm as kernel
from ..kernels.epilogue import IN_REGISTERS
from ..layouts import CHANNELS_SLICED
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import PANELS, PLACES, TOTALS, Program, Rows, Stage
from ..schedule import bands, pixel_products, segments
from ..schedule.amounts import moved, pixel_work, read_again
from ..schedule.panels import Block, Panels
from ..schedule.task import Task

# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_not(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    if problem.operation != "forward":
        return ["computes the forward pass alone"]
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
    if not refusals and not blocks_of(g.c_out, g.w.s, isa().lanes(problem.itemsize)):
        refusals.append(f"{g.c_out} channels are more columns than a tile has")
    return refusals


def fuses(problem: Problem) -> bool:
    """Whether its kernels apply the activation of a problem."""
    return problem.activation.name in IN_REGISTERS


def blocks_of(channels, phases, lanes) -> list[Block]:
    """Blocks of whole phases of so many channels; none if they are too wide for a tile."""
    most = max(kernel.heights(isa())) * lanes // channels
    count = ceil_div(phases, most) if most else 0
    cuts = [channels * (phases * number // count) for number in range(count + 1)] if count else []
    return [Block(start, end - start, ceil_div(end - start, lanes) * lanes) for start, end in itertools.pairwise(cuts)]


def weight_form(problem: Problem) -> Panels:
    g, size = problem.geometry, problem.itemsize
    blocks = tuple(blocks_of(g.c_out, g.w.s, isa().lanes(size)))
    return Panels(problem.row.element, size, 1, g.c_in, g.c_out, g.h.k, g.w.k // g.w.s, g.w.s, blocks)


def work(problem: Problem) -> dict[str, float]:
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    counted = pixel_work(problem, segments.fused_tally(g.w), g.c_in)
    amounts = {"places": counted.places, "tasks": 0, "tiles": 0}
    for block in blocks_of(g.c_out, g.w.s, lanes):
        mr, wide = _tile(block, lanes)
        amounts["tasks"] += counted.tasks
        amounts["tiles"] += counted.tiles(mr)
        name = f"gemm{wide}"
        amounts[name] = amounts.get(name, 0) + counted.products(mr) * wide
    amounts["panels"] = read_again(problem, counted, g.c_out * g.w.s)
    return amounts | moved(problem, channels_last=True, packs=True)


def program(task: Task, *, packs=True) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    panels, scratch = weight_form(task.problem), bands.Scratch()
    compute = bands.grids(
        task, bands.in_layout(task, scratch, True, lambda band: _nests(task, band, panels)), task.source, task.result
    )
    if packs:
        scratch.take(PANELS, panels.nbytes)
        for base, nbytes in panels.scratch(task).items():
            scratch.take(base, nbytes)
    needs = [kernel.scratch(task.lanes * task.size, *_tile(block, task.lanes)) for block in panels.blocks]
    tiles = {PLACES: max(need["places"] for need in needs), TOTALS: max(need["totals"] for need in needs)}
    stages = [*([panels.packing(task)] if packs else []), Stage(compute)]
    return Program(stages, {**scratch.sizes, **tiles}, task.seconds)


def _tile(block, lanes):
    """(pixels, vectors) of a block's tile."""
    wide = block.width // lanes
    return kernel.heights(isa())[wide], wide


def _nests(task, band, panels):
    more = {"w_g": 0}
    h = segments.segments(band.h, True)
    if segments.has_empty_places(band.h, band.w, True):
        # Whole blocks hold the bias of every channel once for each of their phases.
        holes = [segments.everywhere(band.h.out)], [segments.everywhere(band.w.out)]
        first = _blocks(task, panels, (0, 1))
        yield pixel_products.product(task, band, kernel.FIELDS, panels, *holes, (first,), more)
    # Which phases, and so which columns, a segment keeps differs at the ends of a row.
    found = segments.fused_segments(band.w)
    for kept, alike in itertools.groupby(found, key=lambda each: each[1]):
        w = [segment for segment, _ in alike]
        blocks = _blocks(task, panels, kept)
        yield pixel_products.product(task, band, kernel.FIELDS, panels, h, w, (blocks,), more)


def _blocks(task, panels, kept):
    """The list of the blocks that have columns of the phases that are kept."""
    first, end = (phase * task.c_dst for phase in kept)
    activation, values = task.problem.activation.name, []
    for number, block in enumerate(panels.blocks):
        low, high = max(0, first - block.first), min(block.columns, end - block.first)
        if low < high:
            address = entry(kernel.gemm, task.elem, *_tile(block, task.lanes), activation)
            offset = block.first * task.size
            values.append((address, offset, panels.block(number), offset, low, high))
    return Rows(pixel_products.BLOCKS, values)
