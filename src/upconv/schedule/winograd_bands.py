"""Maps in memory as Winograd's tiles read and write them: where they lie, or a band of one in planes, which is turned.

A task is a dictionary of its kernel's fields, as in `winograd_layer`.
"""

from typing import NamedTuple

from ..layouts import Operand
from . import moves


class Map(NamedTuple):
    """A map in memory: strides in bytes (n, c, h, w), and whether the channels of a pixel are consecutive."""

    n: int
    c: int
    h: int
    w: int
    pixels: bool

    @classmethod
    def dense(cls, channels, rows, cols, size, pixels=True):
        if pixels:
            return cls(rows * cols * channels * size, size, cols * channels * size, channels * size, True)
        return cls(channels * rows * cols * size, rows * cols * size, cols * size, size, False)

    def at(self, n=0, row=0, col=0):
        return n * self.n + row * self.h + col * self.w


def transposing(*arguments, **settings):
    """A task of `moves.transposing`."""
    return _task(moves.transposing(*arguments, **settings))


def _task(nest):
    return {"fields": nest.fields, "lists": nest.lists, **nest.common}


class Bands:
    """Where blocks of tiles of a layer read and write, and the tasks that turn what lies in planes."""

    def __init__(self, layer):
        self.layer = layer
        sizes = layer.sizes
        self.images = layer.blocks[0]
        h, w = layer.cuts
        self.src, self.dst = (h.src, w.src), (h.dst, w.dst)
        # The first block is the largest.
        most = self.images[0][1]
        self.x_map = Map.dense(sizes[0].c_src, h.read, w.read, layer.size)
        self.x_bytes = most * self.x_map.n
        # Whether a band is turned for each block of columns, or, with parts that are apart, for all of them.
        self.by_columns = len(sizes) == 1
        self.y_channels = sizes[0].phase_channels if self.by_columns else sizes[0].c_dst
        self.y_map = Map.dense(self.y_channels, h.written, w.written, layer.size)
        self.y_bytes = most * self.y_map.n
        # Tasks that turn a band, by its sizes; what blocks of tiles read and write, by their places.
        self.turned, self.reads, self.writes = {}, {}, {}

    @property
    def x(self):
        """Strides (n, h, w) of what is spread; likewise `y` of what is gathered."""
        at = self.layer.x if self.layer.x.pixels else self.x_map
        return at.n, at.h, at.w

    @property
    def y(self):
        at = self.layer.y if self.layer.y.pixels else self.y_map
        return at.n, at.h, at.w

    def read(self, place):
        """(first image, first row, first column) of what a block reads, and how many of each."""
        return self._place(self.src, self.reads, place)

    def written(self, place):
        """The same of what it writes."""
        return self._place(self.dst, self.writes, place)

    def _place(self, spans, known, place):
        # Each task of a block of tiles asks.
        found = known.get(place)
        if found is None:
            n, h, w = place
            (first, images), (top, bottom), (left, right) = self.images[n], spans[0][h], spans[1][w]
            found = known[place] = (first, top, left), (images, bottom - top, right - left)
        return found

    def x_move(self, place):
        """The entry that makes a task read from the band, None where there is none."""
        return None if self.layer.x.pixels else {"x": -self.x_map.at(*self.read(place)[0])}

    def y_move(self, place):
        """Likewise one that writes to the band, where its block of columns begins."""
        return None if self.layer.y.pixels else {"y": -self.y_map.at(*self.written(place)[0])}

    def turn_in(self, place):
        """The task that turns a band: what others of as many rows and columns share with it, and where it begins."""
        corner, shape = self.read(place)
        common = self.turned.get(shape)
        if common is None:
            common = self.turned[shape] = self._turn_in(*shape)
        return common, {"src": self.layer.x.at(*corner)}

    def _turn_in(self, images, rows, cols):
        layer, band = self.layer, self.x_map
        src, dst = (layer.bases.x, 0), (layer.bases.x_band, 0)
        if layer.is_converted(layer.x):
            return self._converted(src, layer.x, dst, band, (images, layer.sizes[0].c_src, rows, cols), writes=False)
        lines = (rows, layer.x.h, band.h)
        if layer.x.h == cols * layer.x.w and band.h == cols * band.w:
            cols, lines = rows * cols, (1, 0, 0)
        channels = (layer.sizes[0].c_src, layer.x.c)
        return transposing(
            layer.elem, src, dst, channels, (cols, band.w), n=(images, layer.x.n, band.n), m=lines,
            by_pages=moves.has_pages(layer.elem, channels[0], cols), reads=layer.halves,
        )  # fmt: skip

    def turn_out(self, place, first=0, last=-1):
        """As `turn_in`, the task that turns what lies in the band of some blocks of columns, first to last."""
        layer, blocks = self.layer, self.layer.sizes[0].blocks
        corner, shape = self.written(place)
        first, channels = blocks[first][0], sum(blocks[last]) - blocks[first][0]
        key = *shape, channels
        common = self.turned.get(key)
        if common is None:
            common = self.turned[key] = self._turn_out(*key)
        start = 0 if self.by_columns else first * layer.size
        return common, {"src": start, "dst": layer.y.at(*corner) + first * layer.y.c}

    def _turn_out(self, images, rows, cols, channels):
        layer, band = self.layer, self.y_map
        start, dst = (layer.bases.y_band, 0), (layer.bases.y, 0)
        if layer.is_converted(layer.y):
            shape = images, channels, rows, cols
            return self._converted(start, band, dst, layer.y, shape, writes=True)
        lines = (rows, band.h, layer.y.h)
        if layer.y.h == cols * layer.y.w and band.h == cols * band.w:
            cols, lines = rows * cols, (1, 0, 0)
        return transposing(
            layer.elem, start, dst, (cols, band.w), (channels, layer.y.c),
            n=(images, band.n, layer.y.n), m=lines, writes=layer.halves,
        )  # fmt: skip

    def _converted(self, src, src_map, dst, dst_map, shape, *, writes):
        """The task that makes a band float32, or halves, whose channels are consecutive on both sides."""
        sizes = (moves.WIDE, moves.HALF) if writes else (moves.HALF, moves.WIDE)
        sides = (
            moves.PlacedOperand(*there, Operand.of(shape, (each.n, each.c, each.h, each.w), size))
            for there, each, size in zip((src, dst), (src_map, dst_map), sizes, strict=True)
        )
        return _task(moves.carried(self.layer.elem, *sides, shape, self.layer.halves, writes=writes))
