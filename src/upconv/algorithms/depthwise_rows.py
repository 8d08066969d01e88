"""Depthwise layers channels-first: columns of a row along the vector, all phases of a row together.

The gradient in the input of a strided layer reads columns some steps apart, which are brought together in registers.
"""

from dataclasses import replace
from itertools import product

from ..geometry import ceil_div
from ..kernels import depthwise_rows as kernel
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import BIAS, Grid, Nest, Program, Rows, Stage, W, X, Y, cut
from ..schedule import bands, pixel_products, segments
from ..schedule.amounts import exchanged, moved
from ..schedule.placed_problem import PlacedProblem
from ..schedule.rows import HOLE_RUNS, WIDEST_STEP, as_rows, everything, masked_part, row_list, rows_of

OPERATIONS = ("forward", "grad_input")
# More taps of a channel, or of a row of them, are loops.
WRITTEN_TAPS = 16
ANY_TAPS = None, None
# What kernels are counted as that have all taps written out, those of a row, none.
KINDS = "depthwise_rows", "depthwise_rows_taps", "depthwise_rows_loops"
# In a loop over rows of taps so many multiply-adds are waited for with each, unless that many phases have sums.
WAITS, MANY_SUMS = 0.5, 3
# What it takes to bring a vector of more than so many phases together.
INTERLEAVING, INTERLEAVED_WELL = 5, 4
# Sums are not cut.
LONGEST_SUM = 512
MOST_INTERLEAVED = max(kernel.PHASES)
INTERLEAVED = f"{', '.join(map(str, kernel.PHASES[:-1]))} or {MOST_INTERLEAVED}"
ROWS = ("x", "y", "w", "n_h", "x_h", "w_h", "rows", "x_row", "y_row", "entry")
# Planes of a channel that are computed as a whole, all phases of rows after one another.
MOST_PLANE_BYTES = 512 << 10
# Whether maps of halves are converted band by band.
CONVERTS_MAPS = True


def why_never(problem: Problem, *, by_columns=False) -> list[str]:
    g, forward = as_rows(problem, by_columns).geometry, problem.operation == "forward"
    if not problem.is_depthwise:
        return ["every channel must have a kernel of its own (groups = channels)"]
    taps = ceil_div(g.h.k, g.h.s) * ceil_div(g.w.k, g.w.s) if forward else g.h.k * g.w.k
    if taps > LONGEST_SUM:
        return [f"sums at most {LONGEST_SUM} products at once; here {taps} meet"]
    if not forward and g.w.s > WIDEST_STEP:
        return [f"takes columns at most {WIDEST_STEP} apart; the gradient takes those {g.w.s} apart"]
    if forward and g.w.s not in kernel.PHASES:
        return [f"interleaves {INTERLEAVED} phases of a row; the stride is {g.w.s}"]
    return []


def work(problem: Problem, *, by_columns=False) -> dict[str, float]:
    asked = as_rows(problem, by_columns)
    g, forward = asked.geometry, problem.operation == "forward"
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
    moved_bytes = exchanged(asked, lanes) if by_columns else 0
    return amounts | moved(problem, channels_last=False, packs=False, exchanged=moved_bytes)


def program(placed: PlacedProblem, *, by_columns=False) -> Program:
    """The bands alone: nothing is packed."""
    scratch = bands.Scratch()
    if by_columns:
        placed = placed.axes_exchanged()
    if _are_planes(placed) and _plane_bytes(placed) <= MOST_PLANE_BYTES:
        grids = list(_by_channels(placed, scratch))
    else:
        grids = [grid for part in _parts(placed) for grid in _grids(placed, *part, scratch)]
    return Program([Stage(grids)], scratch.sizes, placed.seconds)


def _are_planes(placed):
    return placed.x.channels_first and placed.y.channels_first


def _plane_bytes(placed):
    """Bytes of a channel of an image, in both maps."""
    g = placed.g
    return (g.h.n * g.w.n + g.h.out * g.w.out) * placed.size


def _by_channels(placed, scratch):
    """A grid for each kind of some images by some channels, whole planes: rows of a few would be begun in each anew."""
    g, planes = placed.g, max(1, bands.BAND_BYTES // _plane_bytes(placed))
    # Of all channels as many images as there is room for; else as many channels.
    images = max(1, min(planes // g.groups, ceil_div(g.n, placed.share)))
    channels = min(planes, ceil_div(g.groups, ceil_div(placed.share, ceil_div(g.n, images))))
    for (image, n, n_count), (first, c, c_count) in product(_cut(g.n, images), _cut(g.groups, channels)):
        part = _narrowed(placed, c)
        x, y = (each.move(n=image, channel=first) for each in (placed.source, placed.result))
        nests = bands.in_layout(part, scratch, False, lambda band, part=part, first=first: _nests(part, band, first))
        steps = {X: (n * x.at.n, 0, c * x.at.c), Y: (n * y.at.n, 0, c * y.at.c)}
        steps |= {W: (0, 0, c * placed.w_group), BIAS: (0, 0, c * placed.size)}
        yield Grid(tuple(nests(bands.Band(n, g.h, g.w, x, y))), (n_count, 1, c_count), steps)


def _cut(length, step):
    """(first, size, how many) of the parts of a length that are alike."""
    rest = length % step
    return [each for each in ((0, step, length // step), (length - rest, rest, 1)) if each[1] and each[2]]


def _narrowed(placed, channels):
    """The part of a problem that makes some channels."""
    g = replace(placed.g, groups=channels, c_in=channels, c_out=channels)
    return replace(placed, problem=replace(placed.problem, geometry=g))


def _parts(placed):
    """(first channel, end, bands at least) of what threads share out: channels, if they are planes, and many enough.

    Rows of all channels would lie beside those of another thread, in each channel anew.
    """
    many = min(placed.g.groups, ceil_div(placed.share, placed.g.n)) if _are_planes(placed) else 1
    for first, end in cut(0, placed.g.groups, many):
        yield first, end, ceil_div(placed.share, many)


def _grids(placed, first, end, share, scratch):
    """The grids of some channels."""
    part = _narrowed(placed, end - first)
    nests = bands.in_layout(part, scratch, False, lambda band: _nests(part, band, first))
    x, y = (each.move(channel=first) for each in (placed.source, placed.result))
    return bands.grids(part, nests, x, y, share=share)


def _nests(placed, band, first):
    """Of channels from the first on."""
    holes = segments.hole_rows(band.h, HOLE_RUNS) if placed.forward else ()
    if holes:
        yield _nest(placed, band, first, holes, everything(band.w.out))
    (row,) = rows_of(band.w, placed.forward, MOST_INTERLEAVED)
    yield _nest(placed, band, first, segments.segments(band.h, placed.forward), row)


def _nest(placed, band, first, h, row):
    s, step, activation = len(row.own), 1 if placed.forward else band.w.s, placed.problem.activation.name

    def made_for(segment):
        taps, height = _written(len(segment.taps), row.whole), _height(segment.count, s)
        return entry(kernel.depthwise_rows, placed.elem, s, *taps, height, step, activation)

    found = zip(h, segments.values(h, band.x.at.h, band.y.at.h, placed.w[2]), strict=True)
    rows = [(*values, made_for(segment)) for segment, values in found]
    lists = Rows(ROWS, rows), row_list([row], band.y.at.w, placed.w[3], shares=False)
    fixed = {"w": (W, first * placed.w_group), "w_g": placed.w_group, "bias": (BIAS, first * placed.size)}
    return Nest(kernel.NAMES[s], pixel_products.of_band(placed, band, fixed), lists)


def _written(n_h, taps):
    """The numbers of taps that a kernel is made for, if they are few: all of them, or those of a row."""
    counts = tuple(len(each.taps) for each in taps)
    if sum(counts) > WRITTEN_TAPS:
        return ANY_TAPS
    return (n_h if n_h * sum(counts) <= WRITTEN_TAPS else None), counts


def _height(rows, s):
    """How many rows at a time."""
    return kernel.HEIGHT[isa().registers][s] if rows > 1 else 1
