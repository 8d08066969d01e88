"""The weight for the gradient in the input with a row of taps as one run: the form of it, and the nests that fill it.

    panels[block][row of taps][tap][source channel][column]       columns filled up to the width of a block

All blocks are equally wide, and between the taps of a row there is no gap: channels-last, what a pixel meets in a row
of the source lies side by side, k_w times the channels, and so do the numbers that it is multiplied by.
"""

from dataclasses import dataclass

from ..geometry import ceil_div
from ..runtime.program import PANELS, Grid, Stage, W
from .moves import ONE, few_rows_at_a_time, transposing

# Blocks are a power of two apart more often than not, and would fall into the same sets of the cache.
STAGGER = 64


@dataclass(frozen=True, slots=True)
class TapRows:
    """All that the bytes of the form depend on: element, channels on either side, taps, columns of a block."""

    elem: str
    size: int
    c_src: int
    c_dst: int
    k_h: int
    k_w: int
    width: int

    @property
    def tap(self) -> int:
        """Bytes from tap to tap along a row."""
        return self.c_src * self.width * self.size

    @property
    def row(self) -> int:
        """Bytes from a row of taps to the next."""
        return self.k_w * self.tap

    @property
    def block(self) -> int:
        """Bytes from block to block."""
        return self.k_h * self.row + STAGGER

    @property
    def blocks(self) -> int:
        return ceil_div(self.c_dst, self.width)

    @property
    def nbytes(self) -> int:
        return self.blocks * self.block

    def __str__(self):
        return f"rows of taps in {self.blocks} blocks"

    def packing(self, placed) -> Stage:
        """Transpose (columns, taps) for each source channel, of one tap (columns, sources): a unit for each block."""
        whole, rest = divmod(self.c_dst, self.width)
        grids, line = [], self.width * self.size
        cols, each = (self.k_h * self.k_w, self.tap), (self.c_src, placed.w_src, line)
        if self.k_h * self.k_w == 1:
            # A vector of columns is transposed at a time, whether there are as many or one.
            cols, each = (self.c_src, line), ONE
        for first, many, columns in ((0, whole, self.width), (whole, 1, rest)):
            if many and columns:
                src, dst = first * self.width * placed.w_dst, first * self.block
                rows = columns, placed.w_dst
                nest = transposing(
                    self.elem,
                    (W, src),
                    (PANELS, dst),
                    (0, placed.w_dst),
                    cols,
                    n=each,
                    pad=0,
                    lists=(few_rows_at_a_time(placed, rows, self.width),),
                )
                steps = {W: (0, 0, self.width * placed.w_dst), PANELS: (0, 0, self.block)}
                grids.append(Grid((nest,), (1, 1, many), steps))
        return Stage(grids)

    def scratch(self, placed) -> dict[int, int]:
        """Bytes by base that packing needs."""
        return {}
