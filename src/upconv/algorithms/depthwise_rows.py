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
from ..schedule.rows import WIDEST_STEP, axes_exchanged, everything, goes_down, masked_part, row_list, rows_of
from ..schedule.task import Task

# More taps of a channel, or of a row of them, are loops.
WRITTEN_TAPS = 16
ANY_TAPS = None, None
# What kernels are counted as that have all taps written out, those of a row, none.
KINDS = "depthwise_rows", "depthwise_rows_taps", "depthwise_rows_loops"
# In a loop over rows of taps so many multiply-adds are waited for with each, unless that many phases have sums.
WAITS, MANY_SUMS = 2.5, 3
# What it takes to bring a vector of more than so many phases together.
INTERLEAVING, INTERLEAVED_WELL = 5, 4
# How many times as few vectors columns must have to be computed as rows: there is little to do for each number moved.
GAIN = 4
# Sums are not cut.
LONGEST_SUM = 512
MOST_INTERLEAVED = max(kernel.PHASES)
INTERLEAVED = f"{', '.join(map(str, kernel.PHASES[:-1]))} or {MOST_INTERLEAVED}"
ROWS = ("x", "y", "w", "n_h", "x_h", "w_h", "rows", "x_row", "y_row", "entry")
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem) -> list[str]:
    g, forward = problem.geometry, problem.operation == "forward"
    if problem.operation == "grad_weight":
        return ["computes no gradient in the weight"]
    if not problem.is_depthwise:
        return ["every channel must have a kernel of its own (groups = channels)"]
    taps = ceil_div(g.h.k, g.h.s) * ceil_div(g.w.k, g.w.s) if forward else g.h.k * g.w.k
    return [f"sums at most {LONGEST_SUM} products at once; here {taps} meet"] if taps > LONGEST_SUM else []


def why_not(problem: Problem) -> list[str]:
    s = _as_rows(problem).geometry.w.s
    if problem.operation == "grad_input" and s > WIDEST_STEP:
        return [f"takes columns at most {WIDEST_STEP} apart; the gradient takes those {s} apart"]
    if problem.operation == "forward" and s not in kernel.PHASES:
        return [f"interleaves {INTERLEAVED} phases of a row; the stride is {s}"]
    return []


def computes_columns(problem):
    """Whether columns are computed as rows."""
    return goes_down(problem, isa().lanes(problem.itemsize), kernel.PHASES, GAIN)


def _as_rows(problem):
    """The problem whose rows are computed."""
    return axes_exchanged(problem) if computes_columns(problem) else problem


def fuses(problem: Problem) -> bool:
    """Whether its kernels apply the activation of a problem."""
    return problem.activation.name in IN_REGISTERS


def weight_form(problem: Problem) -> None:
    """The weight is read as it lies."""


def work(problem: Problem) -> dict[str, float]:
    g, forward = _as_rows(problem).geometry, problem.operation == "forward"
    lanes = isa().lanes(problem.itemsize)
    (row,) = rows_of(g.w, forward, MOST_INTERLEAVED)
    s, taps_w = len(row.whole), sum(len(each.taps) for each in row.whole)
    each, columns = g.groups * g.n, ceil_div(row.columns, s)
    part = masked_part(g.w, forward, columns, lanes)
    amounts = dict.fromkeys(
        (
            *KINDS,
            "depthwise_rows_masked",
            "depthwise_rows_waits",
            "depthwise_rows_vectors",
            "depthwise_rows_rows",
            "tasks",
        ),
        0,
    )
    for rows, taps_h, number in segments.tally(g.h, forward):
        name = KINDS[_written(taps_h, row.whole).count(None)]
        vectors = number * each * kernel.executed_vectors(rows, columns, lanes, _height(rows, s))
        amounts[name] += vectors * taps_h * taps_w
        amounts["depthwise_rows_masked"] += part * vectors * taps_h * taps_w
        if name == "depthwise_rows_taps" and s < MANY_SUMS:
            amounts["depthwise_rows_waits"] += WAITS * vectors * taps_h * taps_w
        if s > INTERLEAVED_WELL:
            amounts["depthwise_rows_waits"] += INTERLEAVING * vectors * s
        amounts["depthwise_rows_vectors"] += vectors * s
        amounts["depthwise_rows_rows"] += number * rows * g.groups * g.n
        amounts["tasks"] += number
    if not forward and g.w.s > 1:
        amounts["columns_apart"] = g.w.s * sum(amounts[kind] for kind in KINDS)
    return amounts | moved(problem, channels_last=False, packs=False, exchanged=computes_columns(problem))


def program(task: Task, *, packs=True) -> Program:
    """The bands alone: nothing is packed."""
    scratch = bands.Scratch()
    if computes_columns(task.problem):
        task = task.axes_exchanged()
    nests = bands.in_layout(task, scratch, False, lambda band: _nests(task, band))
    return Program([Stage(bands.grids(task, nests, task.source, task.result))], scratch.sizes, task.seconds)


def _nests(task, band):
    if task.forward and has_holes(band.h):
        # Rows without taps are written first; the others are then written over.
        yield _nest(task, band, [segments.everywhere(band.h.out)], everything(band.w.out))
    (row,) = rows_of(band.w, task.forward, MOST_INTERLEAVED)
    yield _nest(task, band, segments.segments(band.h, task.forward), row)


def _nest(task, band, h, row):
    s, step, activation = len(row.own), 1 if task.forward else band.w.s, task.problem.activation.name

    def made_for(segment):
        taps, height = _written(len(segment.taps), row.whole), _height(segment.count, s)
        return entry(kernel.depthwise_rows, task.elem, s, *taps, height, step, activation)

    found = zip(h, segments.values(h, band.x.at.h, band.y.at.h, task.w[2]), strict=True)
    rows = [(*values, made_for(segment)) for segment, values in found]
    lists = Rows(ROWS, rows), row_list([row], band.y.at.w, task.w[3], shares=False)
    fixed = {"w": (W, 0), "w_g": task.w_group}
    return Nest(kernel.NAMES[s], pixel_products.placed(task, band, fixed), lists)


def _written(n_h, taps):
    """The numbers of taps that a kernel is made for, if they are few: all of them, or those of a row."""
    counts = tuple(len(each.taps) for each in taps)
    if sum(counts) > WRITTEN_TAPS:
        return ANY_TAPS
    return (n_h if n_h * sum(counts) <= WRITTEN_TAPS else None), counts


def _height(rows, s):
    """How many rows at a time."""
    return kernel.HEIGHT[isa().registers][s] if rows > 1 else 1
