"""Blocks of the pixels of two maps that meet, and the panels that they are packed into."""

import itertools
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

from ..geometry import Axis, ceil_div
from ..kernels import pack_pixels
from ..problem import Problem
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE, Nest, Rows
from . import bands
from .moves import PlacedOperand, has_pages, transposing, unfolding

# Of so many blocks a part is even enough.
MANY = 16
# How many times as large as asked for blocks of planes are at most, and bytes of both maps in one that is larger.
LARGER, BLOCK_BYTES = 3, 384 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """Some places of an axis of the input and those of the output that they meet; `axis` is the layer of just these."""

    first: int
    source: int
    axis: Axis


@dataclass(frozen=True, slots=True)
class Block:
    """Images from `first` on, some rows and some columns of the input, and what they meet in the output."""

    first: int
    images: int
    h: Part
    w: Part


@dataclass(frozen=True, slots=True)
class Side:
    """How a block of a map lies for a kernel, in bytes: from image to image, row, column, tile, channel and group."""

    base: int
    offset: int
    n: int
    row: int
    col: int
    tile: int
    channel: int
    group: int


@lru_cache(maxsize=512)
def parts(axis: Axis, step) -> tuple[Part, ...]:
    """The parts of an axis, each of `step` places of the input.

    >>> [(part.first, part.axis.n, part.source, part.axis.out) for part in parts(Axis(5, 4, 2, 1, 1, 1), 3)]
    [(0, 3, 0, 7), (3, 2, 5, 5)]
    """
    return tuple(
        Part(run.first + number * run.step, run.source + number * run.source_step, run.axis)
        for run in bands.runs(axis, False, step)
        for number in range(run.count)
    )


def block_pixels(problem: Problem, pixels) -> int:
    """How many pixels of the input a block has: more than `pixels` where a map lies in planes and they are few bytes.

    Then what is read of a plane is a longer run, which the prefetchers of a processor follow, and sums go through
    memory less often. But there are to be blocks for several parts.
    """
    g = problem.geometry
    if all(layout.startswith("nhwc") for layout in problem.map_layouts):
        return pixels
    nbytes = (g.c_in + g.h.s * g.w.s * g.c_out) * problem.itemsize
    return max(pixels, min(LARGER * pixels, BLOCK_BYTES // nbytes, g.pixels // MANY))


class Cut:
    """How a problem is cut into blocks of about so many pixels of the input: whole rows and images if small."""

    def __init__(self, g, pixels):
        self.g = g
        self.cols = ceil_div(g.w.n, ceil_div(g.w.n, pixels))
        rows = max(1, min(g.h.n, pixels // self.cols))
        self.rows = ceil_div(g.h.n, ceil_div(g.h.n, rows))
        is_whole = self.rows == g.h.n and self.cols == g.w.n
        self.images = max(1, min(g.n, pixels // (self.rows * self.cols))) if is_whole else 1

    @property
    def an_image(self):
        """Blocks of an image, or of some."""
        return ceil_div(self.g.h.n, self.rows) * ceil_div(self.g.w.n, self.cols)

    @property
    def count(self):
        return ceil_div(self.g.n, self.images) * self.an_image

    def even(self, parts):
        """The same with blocks that are smaller, by half at most, if so many parts of them are more even."""
        if parts <= 1 or ceil_div(self.g.n, self.images) >= parts or self.count >= MANY * parts:
            return self
        axis, name = (self.g.w, "cols") if self.cols < self.g.w.n else (self.g.h, "rows")
        least = ceil_div(axis.n, getattr(self, name))
        sizes = {ceil_div(axis.n, blocks) for blocks in range(least, 2 * least + 1)}
        cuts = []
        for size in sorted(sizes, reverse=True):
            cut = copy(self)
            setattr(cut, name, size)
            cuts.append(cut)
        return min(cuts, key=lambda cut: cut._longest(parts))

    def _longest(self, parts):
        """Pixels of the largest of so many parts."""
        ends = [self._before(self.count * part // parts) for part in range(parts + 1)]
        return max(end - start for start, end in itertools.pairwise(ends))

    def _before(self, block):
        """Pixels of all blocks before one, of whole images one by one."""
        h, w = self.g.h.n, self.g.w.n
        image, rest = divmod(block, self.an_image)
        row, col = divmod(rest, ceil_div(w, self.cols))
        top = row * self.rows
        return (image * h + top) * w + min(self.rows, h - top) * min(col * self.cols, w)

    def blocks(self, first, end) -> Iterator[Block]:
        """The blocks of the images from first to end - 1, in order."""
        for n in range(first, end, self.images):
            for h in parts(self.g.h, self.rows):
                for w in parts(self.g.w, self.cols):
                    yield Block(n, min(self.images, end - n), h, w)


def panel_bytes(pixels, width, size) -> int:
    """Bytes of a panel: an odd number of cache lines, with a vector of room behind it."""
    return (ceil_div(pixels * width * size + isa().vector_bytes, LINE) | 1) * LINE


def in_place(operand: PlacedOperand, channels, tile, channel) -> Side:
    """A map that is read where it lies: `tile` channels at a time, `channels` to a group, `channel` bytes apart."""
    at = operand.at
    return Side(operand.base, operand.offset, at.n, at.h, at.w, tile * channel, channel, channels * channel)


def side_of(shape, ranges, width, base, size) -> Side:
    """Where the panels of a block of (images, rows, columns) lie: tile by tile, for each group.

    Args:
        ranges: (first channel, how many tiles, channels of a tile) of the tiles.
        width: channels of a panel, the widest tile.
    """
    n, rows, cols = shape
    line = width * size
    tile = panel_bytes(n * rows * cols, width, size)
    return Side(base, 0, rows * cols * line, cols * line, line, tile, size, tile * sum(many for _, many, _ in ranges))


def copied(placed, operand: PlacedOperand, shape, side: Side, channels, ranges) -> Iterator[Nest]:
    """The nests that copy a block that lies channels-last into its panels, pixel by pixel."""
    before, at = 0, operand.at
    for first, tiles, wide in ranges:
        fields = {
            "entry": entry(pack_pixels.pack_pixels, placed.elem, ceil_div(side.col, isa().vector_bytes)),
            "src": (operand.base, operand.offset + first * placed.size),
            "dst": (side.base, side.offset + before * side.tile),
            **dict(zip(("n", "rows", "cols"), shape, strict=True)),
            **{"src_n": at.n, "src_row": at.h, "src_col": at.w},
            **{"dst_n": side.n, "dst_row": side.row, "dst_col": side.col},
            **{"tiles": tiles, "tile_channels": wide, "tile_dst": side.tile, "count": channels - first},
            **{"groups": placed.g.groups, "src_g": channels * placed.size, "dst_g": side.group},
        }
        yield Nest(pack_pixels.FIELDS, fields)
        before += tiles


def images_inside(operand: PlacedOperand, shape) -> tuple[PlacedOperand, tuple[int, int, int]]:
    """A block with its rows in place of its images, columns in place of rows, and images in place of columns.

    Maps of a few pixels have short rows, each of which a kernel begins anew; there are more images than that.
    """
    (n, rows, cols), at = shape, operand.at
    return operand._replace(at=at._replace(n=at.h, h=at.w, w=at.n)), (rows, cols, n)


def transposed(placed, operand: PlacedOperand, shape, side: Side, channels, wide, *, inside=False) -> Nest:
    """The nest that transposes a block that lies in planes into its panels, `wide` channels each, tile by tile.

    Args:
        inside: whether the panels are those of `images_inside`.
    """
    (n, rows, cols), at = shape, operand.at
    step_n, step_row, step_col = (side.col, side.n, side.row) if inside else (side.n, side.row, side.col)
    values = [
        (first * at.c, number * side.tile, min(wide, channels - first))
        for number, first in enumerate(range(0, channels, wide))
    ]
    groups = [(group * channels * at.c, group * side.group) for group in range(placed.g.groups)]
    lists = (Rows(("src", "dst", "rows"), values), Rows(("src", "dst"), groups))
    m = rows, at.h, step_row
    if at.fold:
        m, places, cols = unfolding(operand, (rows, cols, step_row), placed.size)
        lists = (*lists, places)
    elif at.h == cols * placed.size:
        # Rows without a gap between them are one.
        m, cols = (1, 0, 0), rows * cols
    src, dst = (operand.base, operand.offset), (side.base, side.offset)
    pad, images = side.col // placed.size, (n, at.n, step_n)
    pages = has_pages(placed.elem, min(wide, channels), cols)
    return transposing(
        placed.elem, src, dst, (0, at.c), (cols, step_col), n=images, m=m, pad=pad, lists=lists, by_pages=pages
    )
