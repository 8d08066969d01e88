"""How an axis of a layer is cut into blocks of tiles, and which indices each of them reads and writes.

That depends on the axis and on how it is to be cut alone, and is kept: a new width leaves the height as it was.
"""

from functools import lru_cache
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import NamedTuple

from ..geometry import Axis
from ..winograd_parts import Part, parts

_TILES, _WEIGHT, _END = attrgetter("tiles"), attrgetter("weight"), itemgetter(1)


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
        in_place: those of maps that are read and written where they lie: there it makes no difference that a block is
            cut at an end of a map.
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
    in_place: tuple[Run, ...]


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


def evenly(count, most, unit=1):
    """(first, how many) of as few blocks of at most so many as there can be: all begin at whole units, and differ by
    one unit at most, the larger ones first. `most` is a multiple of the unit.

    >>> evenly(7, 3), evenly(40, 32, 16), evenly(272, 64, 16)
    ([(0, 3), (3, 2), (5, 2)], [(0, 32), (32, 8)], [(0, 64), (64, 64), (128, 48), (176, 48), (224, 48)])
    """
    units = -(-count // unit)
    many = -(-units // max(1, most // unit))
    least, more = divmod(units, many)
    starts = [unit * (least * number + min(number, more)) for number in range(many)]
    return [(start, end - start) for start, end in pairwise([*starts, count])]


@lru_cache(maxsize=256)
def _cut(axis, outputs, forward, apart, most):
    there = parts(axis, dict(outputs), forward, apart)
    if len({part.form.m for part in there}) > 1:
        raise ValueError(f"the phases of an axis must have one m, not those of {dict(outputs)}")
    tiles = max(map(_TILES, there))
    size = even(tiles, most)
    blocks = pieces(tiles, size)
    each = tuple(
        [Piece(part, part.weight, blocks if part.tiles == tiles else pieces(part.tiles, size)) for part in there]
    )
    first, end = _inner(there, size)
    src, dst, shapes, m = [], [], [], there[0].form.m
    source, result = size * m * there[0].sources[0].step, size * m * there[0].step
    for number in range(len(blocks)):
        if first < number < end:
            # The one before goes on.
            spans = src[-1], dst[-1], shapes[-1]
            src.append((spans[0][0] + source, spans[0][1] + source))
            dst.append((spans[1][0] + result, spans[1][1] + result))
            shapes.append(spans[2])
            continue
        here = _extents(each, number)
        src.append(here[0])
        dst.append(here[1])
        (top, bottom), (left, right), counts = here
        shapes.append((bottom - top, right - left, counts))

    def goes_on(first, end):
        """Whether source and result do as the tiles do: of two blocks, the first is cut at its beginning."""
        moved = src[end][0] - src[end - 1][0], dst[end][0] - dst[end - 1][0]
        return shapes[end] == shapes[first] and moved == (source, result)

    weights, runs = tuple(map(_WEIGHT, each)), _runs(blocks, goes_on)
    in_place = _runs(blocks, lambda first, end: shapes[end][2] == shapes[first][2])
    longest = [max([end - start for start, end in spans]) for spans in (src, dst)]
    return Cut(each, weights, size, blocks, src, dst, *longest, runs, in_place)


def _inner(there, size):
    """(first, end) of blocks of so many tiles that reach beyond no end of source or result, in no part: they are alike
    but for their place.
    """
    firsts, ends = [0], []
    for part in there:
        tiles, m = part.tiles, part.form.m
        # Values of a source, and places of the result, from block to block.
        each, written = size * m, size * m * part.step
        firsts.append(-(part.start // written))
        ends += [tiles // size, (part.count - part.phases - part.start + part.step) // written]
        for source in part.sources:
            firsts.append(-(source.first // each))
            ends.append((source.count - source.first - part.form.size + m) // each)
    return max(firsts), min(ends)


def _extents(each, number):
    """What a block reads and writes in all parts, as (first, end), and its tiles in each of those that have it."""
    read, written, counts = [], [], []
    for part, _, own in each:
        if number < len(own):
            counts.append(own[number][1])
            read += _read(part, *own[number])
            written.append(_written(part, *own[number]))
    spans = []
    for found in (read, written):
        # Those that are empty say nothing.
        found = [span for span in found if span[0] < span[1]] or [(0, 1)]
        spans.append((min(found)[0], max(map(_END, found))))
    return *spans, counts


def _runs(blocks, goes_on):
    """Blocks one after another, of which each goes on as the first and the one before it do."""
    found, first = [], 0
    for end in range(1, len(blocks) + 1):
        if end == len(blocks) or not goes_on(first, end):
            found.append(Run(first, end - first, blocks[first + 1][0] - blocks[first][0] if end - first > 1 else 0))
            first = end
    return tuple(found)


def _read(part, first, count):
    found, m = [], part.form.m
    for start, step, values, before in part.sources:
        lo = max(0, before + first * m)
        hi = min(values, before + (first + count - 1) * m + part.form.size)
        if hi > lo:
            found.append((start + lo * step, start + (hi - 1) * step + 1))
    return found


def _written(part, first, count):
    lo = part.start + first * part.form.m * part.step
    hi = part.start + ((first + count) * part.form.m - 1) * part.step + part.phases
    return max(0, lo), min(part.count, hi)
