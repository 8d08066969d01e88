"""The packed weight as a pure function: where each number of it lies, and the nests that put it there.

    panels[group][tap][block][source channel][column]       columns filled up to the width of the block

A weight that is packed in a call lacks what no pixel of its map meets: those taps are never read.

A block is a few columns: channels of the result; where the phases of a row are fused, phases and channels. The taps of
a panel are the same distance apart for all blocks, so that a tap and a block are offsets that add up. Nothing here
depends on the size of a map, so a weight that is packed once serves every input.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ..geometry import ceil_div
from ..runtime.once import Kept
from ..runtime.program import PANELS, X_BAND, Grid, Nest, Rows, Stage, W
from .moves import ONE, copying, few_rows_at_a_time, offsets, transposing
from .segments import live_range

# Stages and lists of a form that are kept, each some kilobytes: those of other strides, or of other settings.
MOST_KEPT = 16
# Taps of a panel are a power of two apart more often than not, and would fall into the same sets of the cache.
STAGGER = 64
# A part of a weight that is transposed before it is shared out to blocks stays in the second-level cache.
TRANSPOSED_BYTES = 128 << 10
# Units of a packing that has so many source channels for each.
UNITS, LEAST_SOURCES = 4, 16


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of a panel: the first one, how many, and how many with the padding; `alike` such blocks in a row."""

    first: int
    columns: int
    width: int
    alike: int = 1


@lru_cache(maxsize=256)
def even_blocks(channels, lanes, most) -> tuple[Block, ...]:
    """Blocks of whole vectors, at most so many each, as even as can be."""
    vectors = ceil_div(channels, lanes)
    count = ceil_div(vectors, most)
    wide = [vectors // count + (number < vectors % count) for number in range(count)]
    starts = [sum(wide[:number]) * lanes for number in range(count)]
    ends = [*starts[1:], channels]
    return tuple(Block(start, end - start, each * lanes) for start, end, each in zip(starts, ends, wide, strict=True))


def runs_of(blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """(number of the first block, how many) of the blocks in a row that differ in their place alone."""
    first = 0
    for _, alike in itertools.groupby(blocks, key=lambda block: (block.columns, block.width, block.alike)):
        many = len(list(alike))
        yield first, many
        first += many


@dataclass(frozen=True)
class Panels:
    """The form of a packed weight: all that its bytes depend on, beside the weight.

    Attributes:
        elem: element type.
        size: bytes of one.
        groups, c_src, c_dst: groups, and the channels of a group on either side.
        k_h, k_w: taps; of one phase along the row where `fused` of them are computed together.
        fused: how many phases of a row are one; all taps, where they count as those of a kernel of one row.
        blocks: Blocks of one group.
        is_forward: which channels of the weight are those of the result.
    """

    elem: str
    size: int
    groups: int
    c_src: int
    c_dst: int
    k_h: int
    k_w: int
    fused: int
    blocks: tuple[Block, ...]
    is_forward: bool = True

    def __hash__(self):
        # Forms are parts of keys, and blocks are many.
        return hash((self.elem, self.groups, self.c_src, self.c_dst, self.k_h, self.k_w, self.fused, len(self.blocks)))

    def block_bytes(self, number) -> int:
        """Bytes of one tap of the blocks that are alike."""
        block = self.blocks[number]
        return self.c_src * block.width * self.size * block.alike

    @cached_property
    def _starts(self):
        return list(itertools.accumulate(map(self.block_bytes, range(len(self.blocks))), initial=0))

    def block(self, number) -> int:
        """Where a block begins in a tap."""
        return self._starts[number]

    @property
    def tap(self) -> int:
        """Bytes from tap to tap along a row."""
        return self._starts[-1] + STAGGER

    @property
    def row(self) -> int:
        """Bytes from a row of taps to the next."""
        return self.k_w * self.tap

    @property
    def group(self) -> int:
        """Bytes from group to group."""
        return self.k_h * self.row

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.groups * self.group

    def __str__(self):
        fused = f", {self.fused} phases fused" if self.fused > 1 else ""
        return f"panels of {len(self.blocks)} blocks{fused}"

    @cached_property
    def kept(self) -> Kept:
        """What depends on this form and on a key, and on no size of a map."""
        return Kept(MOST_KEPT)

    # How they are filled ---------------------------------------------------------------------------------------------

    def packing(self, placed) -> Stage:
        """The stage that packs the weight of a problem: a unit for each group and block, or tap of fused phases."""
        # A form is that of one operation.
        of = placed.w, self._live(placed), placed.packs_halves
        return self.kept.get_or_make(of, lambda: self._packing(placed)._replace(kept={}))

    def _packing(self, placed):
        if self.fused > 1:
            return Stage(list(self._fused(placed)))
        made = []
        for number, many in runs_of(self.blocks):
            block = self.blocks[number]
            steps = {
                W: (0, placed.w_group, block.columns * placed.w_dst),
                PANELS: (0, self.group, self.block_bytes(number)),
            }
            for first in range(0, self.c_src, each := self._sources):
                src = block.first * placed.w_dst + first * placed.w_src
                dst = self.block(number) + first * block.width * self.size
                nest = self.fill(placed, number, src, dst, min(each, self.c_src - first))
                made.append(Grid((nest,), (1, self.groups, many), steps))
        return Stage(made)

    @property
    def _sources(self):
        """Source channels that a unit packs: all of them, unless there are few blocks and groups for the threads."""
        return max(LEAST_SOURCES, ceil_div(self.c_src, ceil_div(UNITS, self.groups * len(self.blocks))))

    def fill(self, placed, number, src, dst, sources=None) -> Nest:
        """The nest that packs a block from bytes `src` of the weight on to bytes `dst` of the panels.

        Args:
            sources: how many source channels, if not all of them.
        """
        sources = self.c_src if sources is None else sources
        if placed.w_dst == placed.w_size or self.c_dst == 1:
            return self._copied(placed, number, src, dst, sources)
        return self._transposed(placed, number, src, dst, sources)

    def _live(self, placed):
        """(first row of taps, rows, first tap of a row, taps) that a task reads; all, of a form that is kept."""
        if self.fused > 1 or placed.problem.prepared:
            return 0, self.k_h, 0, self.k_w
        (first_h, end_h), (first_w, end_w) = live_range(placed.g.h), live_range(placed.g.w)
        return first_h, end_h - first_h, first_w, end_w - first_w

    def _transposed(self, placed, number, src, dst, sources):
        """Taps consecutive: transpose (channels, taps) for each source channel; of one tap, (channels, sources)."""
        block, (first, many, *_) = self.blocks[number], self._live(placed)
        # Whole rows of taps: they follow one another, and a part of a vector takes as long as all of it.
        src, dst, taps = src + first * placed.w[2], dst + first * self.row, many * self.k_w
        line = block.width * self.size
        rows, cols, each = (block.columns, placed.w_dst), (taps, self.tap), (sources, placed.w_src, line)
        if self.k_h * self.k_w == 1:
            # Consecutive, then; and a vector of columns is transposed at a time, whether there are as many or one.
            cols, each = (sources, line), ONE
        alike = block.alike, block.width * placed.w_dst, self.c_src * line
        lists, pad = (), block.width
        if placed.w_dst > placed.w_src:
            lists, pad = (few_rows_at_a_time(placed, rows, block.width),), 0
            rows = 0, placed.w_dst
        return transposing(
            self.elem, (W, src), (PANELS, dst), rows, cols, n=each, m=alike, pad=pad, lists=lists,
            distance=placed.w_src, reads=placed.packs_halves, apart=placed.w_apart,
        )  # fmt: skip

    def _copied(self, placed, number, src, dst, sources):
        """Channels of the result consecutive: copy them, all taps of one source channel after another."""
        block, (step_h, step_w) = self.blocks[number], placed.w[2:]
        first_h, rows, first_w, taps = self._live(placed)
        src, dst = src + first_h * step_h + first_w * step_w, dst + first_h * self.row + first_w * self.tap
        line = block.width * self.size
        # Rows of taps without a gap between them are one.
        if taps == self.k_w and step_h == self.k_w * step_w:
            rows, taps = 1, rows * taps
        places = [
            (t_h * step_h + alike * block.width * placed.w_dst, t_h * self.row + alike * self.c_src * line)
            for t_h, alike in itertools.product(range(rows), range(block.alike))
        ]
        n, m = (sources, placed.w_src, line), (taps, step_w, self.tap)
        lists = (offsets("src", "dst")(places),)
        return copying(
            self.elem, (W, src), (PANELS, dst), block.columns, n=n, m=m, pad=block.width, lists=lists,
            reads=placed.packs_halves, apart=placed.w_apart,
        )  # fmt: skip

    # Fused phases ----------------------------------------------------------------------------------------------------

    def _fused(self, placed):
        """Units that pack all blocks: the columns of a tap are the phases, then channels."""
        step_h, step_w = placed.w[2:]
        halves = {"reads": placed.packs_halves, "apart": placed.w_apart}
        if placed.w_dst == placed.w_size or self.c_dst == 1:
            move_w = placed.w_group, step_h, self.fused * step_w
            grid = (self.groups, self.k_h, self.k_w), {W: move_w, PANELS: (self.group, self.row, self.tap)}
            yield Grid((*self._shared_out((W, 0), self.c_src, placed.w_src, placed.w_size, **halves),), *grid)
            return
        # All taps of a channel lie together: they are transposed in one go, and each phase's shared out to the blocks.
        taps, many = self.k_h * self.k_w * self.fused, self._at_once
        each = self.fused * self.c_dst * self.size
        lists = (offsets("src", "dst")((tap * each, tap * self.tap) for tap in range(self.k_h * self.k_w)),)
        rows, cols = (self.c_dst, placed.w_dst), (taps, self.c_dst * self.size)
        for first in range(0, self.c_src, many):
            count = min(many, self.c_src - first)
            n = count, placed.w_src, self._line
            nest = transposing(self.elem, (W, first * placed.w_src), (X_BAND, 0), rows, cols, n=n, **halves)
            shared = self._shared_out((X_BAND, 0), count, self._line, self.size, first, lists)
            yield Grid((nest, *shared), (self.groups, 1, 1), {W: (placed.w_group, 0, 0), PANELS: (self.group, 0, 0)})

    @property
    def _line(self):
        """Bytes of all taps of a source channel."""
        return self.k_h * self.k_w * self.fused * self.c_dst * self.size

    @property
    def _at_once(self):
        """Source channels whose taps stay near until they are shared out."""
        most = max(LEAST_SOURCES, ceil_div(self.c_src, ceil_div(UNITS, self.groups)))
        return min(self.c_src, max(1, min(most, TRANSPOSED_BYTES // self._line)))

    def scratch(self, placed) -> dict[int, int]:
        """Bytes by base that packing needs."""
        if self.fused == 1 or placed.w_dst == placed.w_size or self.c_dst == 1:
            return {}
        return {X_BAND: self._at_once * self._line}

    @cached_property
    def _places(self):
        """The blocks' places, as columns of the weight and in a tap, and their columns, by the blocks' width.

        Blocks of one width are as far on for each source channel, so the lists serve all of them.
        """
        values = defaultdict(list)
        for number, block in enumerate(self.blocks):
            values[block.width].append((block.first, self.block(number), block.columns))
        return values

    def _shared_out(self, src, count, step, size, first=0, lists=(), **halves):
        """Copy the columns of every block of `count` source channels, from the first on, from rows `step` apart.

        `size` is bytes of a number of them.
        """
        for width, places in self._places.items():
            line = width * self.size
            m, names = (count, step, line), ("src", "dst", "count")
            rows = Rows(names, [(place * size, *more) for place, *more in places])
            yield copying(self.elem, src, (PANELS, first * line), 0, m=m, pad=width, lists=(*lists, rows), **halves)


@dataclass(frozen=True, slots=True)
class Lines:
    """The form of a depthwise weight: for each tap a line of a number for each channel, filled up to whole vectors."""

    elem: str
    size: int
    channels: int
    k_h: int
    k_w: int
    width: int

    @property
    def tap(self) -> int:
        """Bytes from tap to tap along a row."""
        return self.width * self.size

    @property
    def row(self) -> int:
        return self.k_w * self.tap

    @property
    def nbytes(self) -> int:
        return self.k_h * self.row

    def __str__(self):
        return "a line of channels for each tap"

    def packing(self, placed) -> Stage:
        """Transpose (groups, taps) to the lines."""
        rows, cols = (self.channels, placed.w_group), (self.k_h * self.k_w, self.tap)
        nest = transposing(self.elem, (W, 0), (PANELS, 0), rows, cols, pad=self.width)
        return Stage([Grid((nest,))])

    def scratch(self, placed) -> dict[int, int]:
        """Bytes by base that packing needs."""
        return {}
