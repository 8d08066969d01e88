"""The gradient in the weight: a correlation of the two maps for each tap, some images at a time."""

import math

from ..geometry import ceil_div
from ..kernels import weight_gradient as kernel
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import PLACES, SECONDS_PER_PIECE, SUMS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, W, X, Y
from ..schedule import bands
from ..schedule.moves import to_weight, transpose_layout
from ..schedule.placed_problem import PlacedProblem

OPERATIONS = ("grad_weight",)
TILES = {32: (6, 4), 16: (5, 2)}
# Lists of pixels that are added one after another.
MOST_LISTS = 128


def why_not_automatic(problem: Problem) -> list[str]:
    g = problem.geometry
    if g.n * g.h.n * g.w.n > MOST_LISTS * kernel.PIXELS_LISTED:
        return ["adds its lists of pixels in one chain, which rounds too often for so many"]
    return []


def work(problem: Problem) -> dict[str, float]:
    g, lanes, (mr, nv) = problem.geometry, isa().lanes(problem.itemsize), TILES[isa().registers]
    narrow, wide = sorted(problem.channels)
    tiles = g.groups * ceil_div(narrow, mr) * ceil_div(wide, nv * lanes)
    pixels, taps = g.n * g.h.pairs * g.w.pairs, g.h.k * g.w.k
    # The last list of a tap is half full in the mean.
    lists = pixels // kernel.longest_list(g.pixels) + ceil_div(taps, 2)
    maps = [
        math.prod(shape)
        for shape, layout in zip(problem.map_shapes, problem.map_layouts, strict=True)
        if layout == "nchw" and shape[1] > 1
    ]
    return {
        "weight_gradient": tiles * mr * nv * pixels,
        "tasks": taps,
        "places": g.groups * pixels,
        "transposed": sum(maps) * problem.itemsize,
        # Read and written for every list of pixels; cleared first, and read and written as the weight at the end.
        "totals": (2 * lists + 3 * taps) * math.prod(g.weight_shape) // taps * problem.itemsize,
        "bytes": problem.bytes,
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """All images one after another, since they add to the same sums; then the sums become the weight."""
    g, scratch, sums = placed.g, bands.Scratch(), _Sums(placed)
    per_image = g.c_in * g.h.n * g.w.n + g.c_out * g.h.out * g.w.out
    some = max(1, min(g.n, 2 * bands.BAND_BYTES // (per_image * placed.size)))
    whole, grids = g.n // some, []
    if some == 1 and placed.seconds > g.n * SECONDS_PER_PIECE:
        grids = _by_taps(placed, sums, scratch)
        whole = 0
    for first, n, many in ((0, some, whole), (whole * some, g.n % some, 1)):
        if n and many:
            x, y = placed.source.move(first), placed.result.move(first)
            steps = {X: (0, 0, n * placed.x.n), Y: (0, 0, n * placed.y.n)}
            grids.append(Grid(tuple(_images(placed, sums, scratch, n, x, y)), (1, 1, many), steps))
    sizes = {SUMS: g.groups * sums.group, PLACES: kernel.scratch()["places"], **scratch.sizes}
    return Program([Stage(grids, sequential=True), Stage([Grid((sums.to_weight(),))])], sizes, placed.seconds)


class _Sums:
    """Where the sums lie: (groups, taps, channels of the narrower map, channels of the wider one in whole vectors)."""

    def __init__(self, placed):
        self.placed, g = placed, placed.g
        self.counts = placed.problem.channels
        self.swapped = self.counts[0] > self.counts[1]
        self.narrow, self.wide = sorted(self.counts)
        self.row = ceil_div(self.wide, placed.lanes) * placed.lanes * placed.size
        self.tap = self.narrow * self.row
        self.group = g.h.k * g.w.k * self.tap

    def to_weight(self) -> Nest:
        """Transpose the sums to the weight (c_in, c_out / groups, taps)."""
        per_in, per_out = self.placed.w[:2]
        wide, narrow = (per_in, per_out) if self.swapped else (per_out, per_in)
        groups = [(group * self.group, group * self.placed.w_group) for group in range(self.placed.g.groups)]
        lines = self.narrow, self.row, narrow
        return to_weight(self.placed, (SUMS, 0), (W, 0), self.tap, lines, (self.wide, wide), groups)


def _by_taps(placed, sums, scratch):
    """Grids for images that take long: a unit cannot be interrupted, so each row of taps is one."""
    grids = []
    for image in range(placed.g.n):
        *before, taps = _images(placed, sums, scratch, 1, placed.source.move(image), placed.result.move(image))
        rows, cols = taps.lists
        grids += [Grid((nest,)) for nest in before]
        grids += [Grid((taps._replace(lists=(Rows(rows.fields, [row]), cols)),)) for row in rows.values]
    return grids


def _images(placed, sums, scratch, n, x, y):
    """The nests of some images: both maps channels-last, then all taps."""
    operand = []
    for whole, base, shape in ((x, X_BAND, placed.g.input_shape), (y, Y_BAND, placed.g.output_shape)):
        if not whole.at.channels_last:
            shape = n, *shape[1:]
            mine = scratch.map(base, shape, placed.size, channels_last=True)
            yield transpose_layout(placed.elem, whole, mine, shape)
            whole = mine
        operand.append(whole)
    yield _taps(placed, sums, n, *operand)


def _taps(placed, sums, n, x, y):
    """A correlation for each tap: rows of taps by taps of a row."""
    g, size = placed.g, placed.size
    a, b = ("b", "a") if sums.swapped else ("a", "b")
    walks = {a: (x, 1, 1, sums.counts[0]), b: (y, g.h.s, g.w.s, sums.counts[1])}
    fields = {
        "entry": entry(kernel.weight_gradient, placed.elem, *TILES[isa().registers]),
        "total": (SUMS, 0),
        "n": n,
        "total_row": sums.row,
        "places": (PLACES, 0),
        "groups": g.groups,
        "total_g": sums.group,
        "listed": kernel.longest_list(g.pixels),
    }
    for name, (map_, step_h, step_w, count) in walks.items():
        fields |= {
            name: (map_.base, map_.offset),
            f"{name}_n": map_.at.n,
            f"{name}_row": step_h * map_.at.h,
            f"{name}_col": step_w * map_.at.w,
            f"{name}_count": count,
            f"{name}_g": count * size,
        }
    lists = []
    for axis, name, steps, tap in (
        (g.h, "rows", (x.at.h, y.at.h), g.w.k * sums.tap),
        (g.w, "cols", (x.at.w, y.at.w), sums.tap),
    ):
        values = []
        for t in range(axis.k):
            i, o, count = axis.meeting(t)
            values.append((i * steps[0], o * steps[1], t * tap, count))
        lists.append(Rows((a, b, "total", name), values))
    return Nest(kernel.FIELDS, fields, tuple(lists))
