"""How much of everything a problem takes, counted from integers alone: no table is built and no kernel compiled.

What is counted is what a row of `upconv.machine` has rates for, so that a prediction is a sum of quotients.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from ..geometry import ceil_div
from ..problem import Problem
from . import bands
from .segments import tally


class PixelWork(NamedTuple):
    """The tasks of all bands, counted as if the bands were alike: (how many, pixels of one, products of a pixel)."""

    kinds: list[tuple[int, int, int]]

    @property
    def tasks(self):
        return sum(count for count, _, _ in self.kinds)

    @property
    def places(self):
        """Pixels that are listed."""
        return sum(count * pixels for count, pixels, _ in self.kinds)

    def products(self, mr):
        """Products of a column for tiles of mr pixels, the rest of the last tile included."""
        return sum(count * ceil_div(pixels, mr) * mr * products for count, pixels, products in self.kinds)

    @property
    def panel_rows(self):
        """Rows of a panel, of one source channel each, that all tasks read."""
        return sum(count * products for count, _, products in self.kinds)

    def tiles(self, mr):
        return sum(count * ceil_div(pixels, mr) for count, pixels, _ in self.kinds)


def pixel_work(problem: Problem, across: Iterable[tuple[int, int, int]], channels) -> PixelWork:
    """The tasks of a problem whose segments of columns are (places, taps, how many) of `across`."""
    g, forward = problem.geometry, problem.operation == "forward"
    many = bands.count(g, forward, problem.itemsize)
    down = tally(g.h, forward)
    most = max((places for places, _, _ in down), default=1)
    tasks = []
    for rows, taps_h, number_h in down:
        # Segments at a border are in few bands only.
        here = max(1, many * rows // most)
        for cols, taps_w, number_w in across:
            pixels = max(1, g.n * rows * cols // here)
            tasks.append((here * number_h * number_w, pixels, taps_h * taps_w * channels))
    return PixelWork(tasks)


# A second-level cache of today: what is no larger stays in it from task to task.
NEAR_BYTES = 1 << 20


def read_again(problem: Problem, counted: PixelWork, columns) -> float:
    """Bytes of panels that come from far away, each time that a task reads them."""
    g = problem.geometry
    if math.prod(g.weight_shape) * problem.itemsize <= NEAR_BYTES:
        return 0
    return counted.panel_rows * g.groups * columns * problem.itemsize


def moved(problem: Problem, *, channels_last: bool, packs: bool, reads=False, writes=False) -> dict[str, float]:
    """What goes through memory: the operands, maps that are transposed on the way, a weight that is packed.

    Args:
        channels_last: how the kernels want both maps.
        packs: whether they want the weight packed.
        reads, writes: whether they take a map of the other layout as it lies all the same.
    """
    transposed = converted = 0
    lie = zip(problem.map_shapes, problem.map_layouts, (reads, writes), strict=True)
    for shape, layout, is_taken in lie:
        lies_last = layout.startswith("nhwc")
        if shape[1] > 1 and shape[3] > 1 and lies_last != channels_last and not is_taken:
            transposed += math.prod(shape)
        elif problem.maps:
            converted += math.prod(shape)
    weight = math.prod(problem.geometry.weight_shape) * problem.itemsize
    return {
        "transposed": transposed * problem.itemsize,
        "converted_bands": converted * (problem.map_itemsize + problem.itemsize),
        "packed": weight if packs and not problem.prepared else 0,
        "bytes": problem.bytes,
        "calls": 1,
    }
