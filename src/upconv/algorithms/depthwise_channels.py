"""Depthwise layers channels-last: channels along the vector, each with a kernel of its own, pixel by pixel."""

from ..geometry import ceil_div
from ..kernels import depthwise_channels as kernel
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import PANELS, Program, Rows, Stage
from ..schedule import bands, pixel_products
from ..schedule.amounts import moved, pixel_work
from ..schedule.panels import Lines
from ..schedule.placed_problem import PlacedProblem
from ..schedule.segments import tally

OPERATIONS = ("forward", "grad_input")
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem) -> list[str]:
    return [] if problem.is_depthwise else ["every channel must have a kernel of its own (groups = channels)"]


def weight_form(problem: Problem) -> Lines:
    g, lanes = problem.geometry, isa().lanes(problem.itemsize)
    return Lines(problem.row.element, problem.itemsize, g.groups, g.h.k, g.w.k, ceil_div(g.groups, lanes) * lanes)


def work(problem: Problem) -> dict[str, float]:
    g, lanes, mr = problem.geometry, isa().lanes(problem.itemsize), kernel.HEIGHT[isa().registers]
    vectors = ceil_div(g.groups, lanes)
    alone = vectors % kernel.ACROSS[isa().registers]
    counted = pixel_work(problem, tally(g.w, problem.operation == "forward"), 1)
    holes = pixel_products.hole_work(problem)
    return {
        "depthwise_channels": counted.products(mr) * vectors,
        "depthwise_channels_waits": counted.products(mr) * alone,
        "depthwise_channels_vectors": (counted.places + holes.places) * vectors,
        "copied_bands": holes.copied,
        "tasks": counted.tasks,
    } | moved(problem, channels_last=True, packs=True)


def program(placed: PlacedProblem) -> Program:
    """The packing of the weight, unless it comes prepared, and the bands."""
    lines, scratch = weight_form(placed.problem), bands.Scratch()
    address = entry(
        kernel.depthwise_channels, placed.elem, kernel.HEIGHT[isa().registers], placed.problem.activation.name
    )
    blocks = Rows(("entry", "columns"), [(address, placed.g.groups)])

    def make(band):
        return pixel_products.nests(placed, band, kernel.FIELDS, lines, blocks, {}, scratch)

    compute = bands.grids(placed, bands.in_layout(placed, scratch, True, make), placed.source, placed.result)
    stages = [*([lines.packing(placed)] if placed.packs else []), Stage(compute)]
    sizes = {PANELS: lines.nbytes if placed.packs else 0, **scratch.sizes}
    return Program(stages, sizes, placed.seconds)
