"""How an axis of a layer is cut into blocks of tiles, and which indices each of them reads and writes.

That depends on the axis and on how it is to be cut alone, and is kept: a new width leaves the height as it was.
"""

from functools import lru_cache
from typing import NamedTuple

from ..geometry import Axis
from ..winograd_parts import Part, parts


class Piece(NamedTuple):
    """A part, what its transformed weight depends on, and its blocks of tiles: (first, how many) of each."""

    part: Part
    weight: tuple
    blocks: list[tuple[int, int]]


class Run(NamedTuple):
    """Blocks of tiles that are alike: the first, how many, and how many tiles a block goes on."""

    first: int
    count: int
    tiles: int = 0


class Cut(NamedTuple):
    """All parts of an axis, and the blocks of tiles that they share.

    Attributes:
        weights: what the transformed weights of the parts depend on.
        size: tiles of a block, at most.
        blocks: (first, how many) of each, of the part that has the most tiles.
        src, dst: (first, end) of the indices that each block reads, and writes, in all parts.
        read, written: how many they are, at most.
        runs: of the blocks.
    """

    pieces: tuple[Piece, ...]
    weights: tuple
    size: int
    blocks: list[tuple[int, int]]
    src: list[tuple[int, int]]
    dst: list[tuple[int, int]]
    read: int
    written: int
    runs: tuple[Run, ...]


def cut(axis: Axis, outputs: dict[int, int], forward: bool, apart: bool, most: int) -> Cut:
    """An axis in blocks of at most so many tiles, as even as can be; else as `winograd_parts.parts`.

    Raises:
        ValueError: for parts whose tiles differ.
    """
    return _cut(axis, tuple(outputs.items()), forward, apart, most)


def pieces(count, size):
    """(first, how many) of each block of `size`, of which the last may be smaller.

    >>> pieces(7, 3)
    [(0, 3), (3, 3), (6, 1)]
    """
    return [(start, min(size, count - start)) for start in range(0, count, size)]


def even(count, size):
    """The size of blocks that are as many as those of `size` would be, and as even as can be.

    >>> even(9, 8)
    5
    """
    return -(-count // -(-count // size))


@lru_cache(maxsize=256)
def _cut(axis, outputs, forward, apart, most):
    there = parts(axis, dict(outputs), forward, apart)
    if len({part.form.m for part in there}) > 1:
        raise ValueError(f"the phases of an axis must have one m, not those of {dict(outputs)}")
    tiles = max(part.tiles for part in there)
    size = even(tiles, most)
    each = tuple(Piece(part, part.weight, pieces(part.tiles, size)) for part in there)
    blocks = pieces(tiles, size)
    src, dst = (
        [
            _joined(span for part, _, own in each if number < len(own) for span in limits(part, *own[number]))
            for number in range(len(blocks))
        ]
        for limits in (_read, _written)
    )
    read, written = (max(end - start for start, end in spans) for spans in (src, dst))
    return Cut(
        each,
        tuple(part.weight for part in there),
        size,
        blocks,
        src,
        dst,
        read,
        written,
        tuple(_runs(each, blocks, src, dst)),
    )


def _runs(each, blocks, src, dst):
    def shape(number):
        there = tuple(own[number][1] if number < len(own) else 0 for _, _, own in each)
        return there, src[number][1] - src[number][0], dst[number][1] - dst[number][0]

    part = each[0].part
    along = part.form.m * part.sources[0].step, part.form.m * part.step

    def is_even(number):
        """Whether source and result go on as the tiles do: of two blocks, the first is cut at its beginning."""
        tiles = blocks[number + 1][0] - blocks[number][0]
        source, result = (spans[number + 1][0] - spans[number][0] for spans in (src, dst))
        return (source, result) == (tiles * along[0], tiles * along[1])

    first = 0
    while first < len(blocks):
        end = first + 1
        while end < len(blocks) and shape(end) == shape(first) and is_even(end - 1):
            end += 1
        yield Run(first, end - first, blocks[first + 1][0] - blocks[first][0] if end - first > 1 else 0)
        first = end


def _joined(spans):
    """From the first to the last index of some spans, of which the empty ones say nothing."""
    spans = [(start, end) for start, end in spans if start < end]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else (0, 1)


def _read(part, first, count):
    for source in part.sources:
        lo = max(0, source.first + first * part.form.m)
        hi = min(source.count, source.first + (first + count - 1) * part.form.m + part.form.size)
        yield source.start + lo * source.step, source.start + (hi - 1) * source.step + 1 if hi > lo else 0


def _written(part, first, count):
    lo = part.start + first * part.form.m * part.step
    hi = part.start + ((first + count) * part.form.m - 1) * part.step + part.phases
    yield max(0, lo), min(part.count, hi)
