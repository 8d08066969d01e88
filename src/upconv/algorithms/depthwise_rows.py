"""Depthwise layers channels-first: columns of a row along the vector, all phases of a row together.

The gradient in the input of a strided layer reads columns some steps apart, which are brought together in registers.
"""

from ..geometry import ceil_div
from ..kernels import depthwise_rows as kernel
from ..kernels.epilogue import IN_REGISTERS
from ..phases import has_holes
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import Nest, Program, Rows, Stage, W
from ..schedule import bands, pixel_products, segments
from ..schedule.amounts import moved
from ..schedule.rows import MOST_PHASES, everything, row_list, rows_of
from ..schedule.task import Task

# More taps of a channel are loops.
WRITTEN_TAPS = 16
ANY_TAPS = None, None
# Sums are not cut.
LONGEST_SUM = 512
ROWS = ("x", "y", "w", "n_h", "x_h", "w_h", "rows", "x_row", "y_row", "entry")
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem) -> list[str]:
    g, forward = problem.geometry, problem.operation == "forward"
    if problem.operation == "grad_weight":
        return ["computes no gradient in the weight"]
    if not problem.is_depthwise:
        return ["every channel must have a kernel of its own (groups = channels)"]
    refusals = []
    if g.w.s > MOST_PHASES:
        refusals.append(f"takes or interleaves at most {MOST_PHASES} phases of a row; the stride is {g.w.s}")
    taps = ceil_div(g.h.k, g.h.s) * ceil_div(g.w.k, g.w.s) if forward else g.h.k * g.w.k
    if taps > LONGEST_SUM:
        refusals.append(f"sums at most {LONGEST_SUM} products at once; here {taps} meet")
    return refusals


def fuses(problem: Problem) -> bool:
    """Whether its kernels apply the activation of a problem."""
    return problem.activation.name in IN_REGISTERS


def weight_form(problem: Problem) -> None:
    """The weight is read as it lies."""


def work(problem: Problem) -> dict[str, float]:
    g, forward = problem.geometry, problem.operation == "forward"
    lanes = isa().lanes(problem.itemsize)
    (row,) = rows_of(g.w, forward)
    s, taps_w = len(row.whole), sum(len(each.taps) for each in row.whole)
    each = g.groups * g.n * ceil_div(ceil_div(row.columns, s), lanes)
    amounts = dict.fromkeys(
        ("depthwise_rows", "depthwise_rows_loops", "depthwise_rows_vectors", "depthwise_rows_rows", "tasks"), 0
    )
    for rows, taps_h, number in segments.tally(g.h, forward):
        name = "depthwise_rows" if _written(taps_h, row.whole) != ANY_TAPS else "depthwise_rows_loops"
        amounts[name] += number * rows * each * taps_h * taps_w
        amounts["depthwise_rows_vectors"] += number * rows * each * s
        amounts["depthwise_rows_rows"] += number * rows * g.groups * g.n
        amounts["tasks"] += number
    if not forward and g.w.s > 1:
        amounts["columns_apart"] = g.w.s * (amounts["depthwise_rows"] + amounts["depthwise_rows_loops"])
    return amounts | moved(problem, channels_last=False, packs=False)


def program(task: Task, *, packs=True) -> Program:
    """The bands alone: nothing is packed."""
    scratch = bands.Scratch()
    nests = bands.in_layout(task, scratch, False, lambda band: _nests(task, band))
    return Program([Stage(bands.grids(task, nests, task.source, task.result))], scratch.sizes, task.seconds)


def _nests(task, band):
    if task.forward and has_holes(band.h):
        # Rows without taps are written first; the others are then written over.
        yield _nest(task, band, [segments.everywhere(band.h.out)], everything(band.w.out))
    (row,) = rows_of(band.w, task.forward)
    yield _nest(task, band, segments.segments(band.h, task.forward), row)


def _nest(task, band, h, row):
    s, step, activation = len(row.own), 1 if task.forward else band.w.s, task.problem.activation.name

    def address(taps_h):
        return entry(kernel.depthwise_rows, task.elem, s, *_written(taps_h, row.whole), step, activation)

    rows = [
        (*values, address(len(segment.taps)))
        for segment, values in zip(h, segments.values(h, band.x.at.h, band.y.at.h, task.w[2]), strict=True)
    ]
    lists = Rows(ROWS, rows), row_list([row], band.y.at.w, task.w[3], shares=False)
    fixed = {"w": (W, 0), "w_g": task.w_group}
    return Nest(kernel.NAMES[s], pixel_products.placed(task, band, fixed), lists)


def _written(n_h, taps):
    """The numbers of taps that a kernel is made for, if they are few."""
    counts = tuple(len(each.taps) for each in taps)
    return (n_h, counts) if n_h * sum(counts) <= WRITTEN_TAPS else ANY_TAPS
