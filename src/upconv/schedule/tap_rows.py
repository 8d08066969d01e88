"""The weight for the gradient in the input with a row of taps as one run: the form of it, and the nests that fill it.

    panels[block][row of taps][tap][source channel][column]       columns filled up to the width of a block

Between the taps of a row there is no gap: channels-last, what a pixel meets in a row of the source lies side by side,
k_w times the channels, and so do the numbers that it is multiplied by.
"""

import itertools
from dataclasses import dataclass

from ..layouts import CHANNELS_SLICED
from ..problem import Problem
from ..runtime.program import PANELS, Grid, Stage, W
from .moves import ONE, few_rows_at_a_time, transposing
from .panels import Block, runs_of

# Blocks are a power of two apart more often than not, and would fall into the same sets of the cache.
STAGGER = 64


def why_no_tap_rows(problem: Problem, layout="") -> list[str]:
    """Why rows of taps are no runs, as sentences; `layout` is the output gradient's where it is read as it lies."""
    found = []
    if problem.geometry.groups > 1:
        found.append("has one group only")
    if problem.geometry.w.d > 1:
        found.append("the taps of a row must be neighbours (dilation 1)")
    if layout == CHANNELS_SLICED:
        found.append("the pixels of the gradient in the output must follow one another without a gap")
    return found


@dataclass(frozen=True, slots=True)
class TapRows:
    """All that the bytes of the form depend on: element, channels on either side, taps, blocks of columns."""

    elem: str
    size: int
    c_src: int
    c_dst: int
    k_h: int
    k_w: int
    blocks: tuple[Block, ...]

    def tap(self, width) -> int:
        """Bytes from tap to tap along a row, in a block of some width."""
        return self.c_src * width * self.size

    def row(self, width) -> int:
        """Bytes from a row of taps to the next."""
        return self.k_w * self.tap(width)

    def block_bytes(self, width) -> int:
        """Bytes from a block to the next."""
        return self.k_h * self.row(width) + STAGGER

    @property
    def starts(self) -> tuple[int, ...]:
        """Where each block begins, and the end of the last."""
        return tuple(itertools.accumulate((self.block_bytes(block.width) for block in self.blocks), initial=0))

    @property
    def nbytes(self) -> int:
        return self.starts[-1]

    def __str__(self):
        return f"rows of taps in {len(self.blocks)} blocks"

    def packing(self, placed) -> Stage:
        """Transpose (columns, taps) for each source channel, of one tap (columns, sources): a unit for each block."""
        grids, starts = [], self.starts
        for number, many in runs_of(self.blocks):
            block = self.blocks[number]
            line = block.width * self.size
            cols, each = (self.k_h * self.k_w, self.tap(block.width)), (self.c_src, placed.w_src, line)
            if self.k_h * self.k_w == 1:
                # A vector of columns is transposed at a time, whether there are as many or one.
                cols, each = (self.c_src, line), ONE
            nest = transposing(
                self.elem,
                (W, block.first * placed.w_dst),
                (PANELS, starts[number]),
                (0, placed.w_dst),
                cols,
                n=each,
                pad=0,
                lists=(few_rows_at_a_time(placed, (block.columns, placed.w_dst), block.width),),
            )
            steps = {W: (0, 0, block.columns * placed.w_dst), PANELS: (0, 0, self.block_bytes(block.width))}
            grids.append(Grid((nest,), (1, 1, many), steps))
        return Stage(grids)

    def scratch(self, placed) -> dict[int, int]:
        """Bytes by base that packing needs."""
        return {}
