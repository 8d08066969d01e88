"""A packed weight as streams: for each block of channels all its taps, one after another, to be read once and in order.

    streams[group][block][tap][source channel][column]

Taps that a map has no use for are passed over. As in `panels`, nothing here depends on the size of a map.
"""

from dataclasses import dataclass, replace

from ..runtime.program import PANELS, Grid, Stage, W
from .panels import Block, Panels, runs_of


@dataclass(frozen=True, slots=True)
class Streams:
    """The form of a weight that is streamed: all that its bytes depend on, beside the weight.

    Attributes:
        elem: element type.
        size: bytes of one.
        groups, c_src, c_dst: groups, and the channels of a group on either side.
        k_h, k_w: taps.
        blocks: Blocks of one group.
    """

    elem: str
    size: int
    groups: int
    c_src: int
    c_dst: int
    k_h: int
    k_w: int
    blocks: tuple[Block, ...]

    def stream(self, number) -> Panels:
        """One block as a weight of its own."""
        block = replace(self.blocks[number], first=0)
        # Its place in the weight is that of the layer's weight, so it has as many channels of the result.
        return Panels(self.elem, self.size, 1, self.c_src, self.c_dst, self.k_h, self.k_w, 1, (block,))

    def block(self, number) -> int:
        """Where a block begins in its group."""
        return sum(self.stream(each).nbytes for each in range(number))

    @property
    def group(self) -> int:
        """Bytes from group to group."""
        return self.block(len(self.blocks))

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.groups * self.group

    def __str__(self):
        return f"streams of {len(self.blocks)} blocks"

    def packing(self, placed) -> Stage:
        """The stage that packs the weight of a problem: a unit for each group and block."""
        made = []
        for number, many in runs_of(self.blocks):
            block, stream = self.blocks[number], self.stream(number)
            fill = stream.fill(placed, 0, block.first * placed.w_dst, self.block(number))
            steps = {W: (0, placed.w_group, block.columns * placed.w_dst), PANELS: (0, self.group, stream.nbytes)}
            made.append(Grid((fill,), (1, self.groups, many), steps))
        return Stage(made)

    def scratch(self, placed) -> dict[int, int]:
        """Bytes by base that packing needs."""
        return {}
