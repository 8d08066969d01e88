"""The next block, prefetched while one is computed: a kernel that waits for memory computes nothing.

A block is read in an order that no prefetcher of a processor follows; prefetched evenly during the tiles of the block
before, it is in the second-level cache when its turn comes. A guess that is wrong, behind the last block or in a view
with gaps, costs nothing but time.
"""

import math
from typing import NamedTuple

from ..geometry import ceil_div
from ..kernels.weight_gradient_blocks import UNROLL
from ..problem import Problem
from ..runtime.program import LINE, NOTHING
from .moves import PlacedOperand
from .pixel_panels import Block, Cut

# Maps of fewer bytes stay in a second-level cache from call to call.
FAR_BYTES = 2 << 20
# How many lines the kernel can prefetch in UNROLL pixels.
MOST_LINES = 2


class NextBlock(NamedTuple):
    """What the kernel is told of the next block.

    Attributes:
        lines: how many lines it prefetches in UNROLL pixels; 0 if none.
        place: (base, offset) of where it begins.
        nbytes: how much it is.
        visits: how often tiles go over the pixels of a block.
        pace: bytes from one such line to the next.
    """

    lines: int = 0
    place: tuple[int, int] = NOTHING, 0
    nbytes: int = 0
    visits: int = 1
    pace: int = 0

    @property
    def fields(self) -> dict:
        return {"next": self.place, "pace": self.pace}

    @property
    def in_lists(self) -> tuple:
        """What the lists of a nest depend on: where the block lies stands beside them."""
        return self.lines, self.nbytes, self.visits

    def after(self, visits) -> int:
        """How many bytes of it are prefetched after so many visits."""
        return self.nbytes * visits // self.visits


NO_BLOCK = NextBlock()


def comes_from_far(problem: Problem, cut: Cut) -> bool:
    """Whether the maps do not stay near, and lie so that a block follows the one before it in memory."""
    nbytes = sum(math.prod(shape) for shape in problem.map_shapes) * problem.itemsize
    are_last = all(layout.startswith("nhwc") for layout in problem.map_layouts)
    return are_last and cut.count > 1 and nbytes > FAR_BYTES


def next_block(block: Block, x: PlacedOperand, y: PlacedOperand, visits) -> NextBlock:
    """What comes after a block whose maps begin at x and y, of the larger map; `visits` as in `NextBlock`."""
    h, w = block.h.axis, block.w.axis
    pixels = block.images * h.n * w.n
    map_, nbytes = max(((x, pixels * x.at.w), (y, pixels * h.s * w.s * y.at.w)), key=lambda each: each[1])
    steps = visits * block.images * h.n * (w.n // UNROLL)
    if not steps:
        return NO_BLOCK
    lines = min(MOST_LINES, ceil_div(nbytes, LINE * steps))
    return NextBlock(lines, (map_.base, map_.offset + nbytes), nbytes, visits, ceil_div(nbytes, steps * lines))
