"""What Winograd's products prefetch of maps: what the next block of tiles reads, and what their own writes.

To spread tiles and to gather results is to wait for memory, which does nothing while products are made. Asked for
meanwhile, evenly, both are in the second-level cache when they are wanted. A guess that is wrong, behind the last
block, costs nothing but time.
"""

from math import gcd
from typing import NamedTuple

from ..geometry import ceil_div
from ..kernels.winograd_product import UNROLL
from ..runtime.program import LINE

# Maps of fewer bytes come from the third-level cache, which is near enough.
FAR_BYTES = 1 << 23
# Lines for UNROLL channels, at most: about what memory brings in that time.
MOST_LINES = 4
# Of so many blocks side by side, the next is the one to the right; of fewer, the one below.
MANY_BLOCKS = 4
_FIRST = 0, 0, 0


KNOWN = "row", "pieces", "all", "c", "on"


class Memory(NamedTuple):
    """Rows of memory: where the first begins, from row to row, how many, and bytes of one."""

    start: int
    step: int
    rows: int
    nbytes: int


def memory(at, size, channels, corner, shape):
    """The Memory of some images, rows and columns of a map in which numbers of `size` bytes lie as a
    `winograd_bands.Map` says; None if they are no rows that lie evenly.

    >>> from .winograd_bands import Map
    >>> memory(Map.dense(8, 5, 6, 4), 4, 8, (0, 1, 0), (1, 2, 6))
    Memory(start=192, step=384, rows=1, nbytes=384)
    >>> memory(Map.dense(8, 5, 6, 4, pixels=False), 4, 8, (0, 1, 2), (1, 1, 4))
    Memory(start=32, step=120, rows=8, nbytes=16)
    >>> memory(Map.dense(8, 5, 6, 4, pixels=False), 4, 8, (0, 1, 2), (1, 2, 4))
    """
    images, rows, cols = shape
    found, nbytes = [], size
    for step, count in sorted([(at.n, images), (at.c, channels), (at.h, rows), (at.w, cols)]):
        if count == 1:
            continue
        if step == nbytes and not found:
            nbytes *= count
        elif found and step == found[-1][0] * found[-1][1]:
            found[-1] = found[-1][0], found[-1][1] * count
        else:
            found.append((step, count))
    if len(found) > 1:
        return None
    step, count = found[0] if found else (nbytes, 1)
    return Memory(at.at(*corner), step, count, nbytes)


def asked(name, found, lines, channels, share=(0, 1)):
    """The entry of a product that prefetches (`next`, or `then`) a share of some Memory: (number, of how many).

    Args:
        lines: in UNROLL channels.
        channels: of a piece, at most.

    >>> asked("next", Memory(100, 512, 8, 256), 2, 64, (1, 2))
    {'next': 2148, 'next_row': 512, 'next_pieces': 1, 'next_all': 4, 'next_c': 8, 'next_on': 256}
    >>> asked("then", Memory(0, 9000, 1, 9000), 2, 64)
    {'then': 0, 'then_row': 9000, 'then_pieces': 5, 'then_all': 5, 'then_c': 64, 'then_on': 0}
    """
    start, step, rows, nbytes = found
    # What does not begin at a line may end in one more.
    count = ceil_div(nbytes, LINE) + (rows > 1 and step % LINE > 0)
    steps = channels // UNROLL
    if rows > 1:
        # The next row may come with the same tiles.
        steps = min(steps, 1 << (ceil_div(count, lines) - 1).bit_length())
    each = steps * lines
    pieces = ceil_div(count, each)
    of_all = rows if rows > 1 else pieces
    first, end = (of_all * number // share[1] for number in (share[0], share[0] + 1))
    start += first * (step if rows > 1 else each * LINE)
    every = (end - first) * (pieces if rows > 1 else 1)
    on = step - each * LINE if pieces == 1 < rows else 0
    values = start, step, pieces, every, steps * UNROLL, on
    return {name: values[0]} | {f"{name}_{of}": value for of, value in zip(KNOWN, values[1:], strict=True)}


def piece_channels(sizes):
    """Channels of a piece, at most: as many as all sums are made of.

    >>> from types import SimpleNamespace
    >>> piece_channels(SimpleNamespace(chunk=64, source_channels=96, longest=64))
    32
    """
    return max(UNROLL, gcd(sizes.chunk, sizes.source_channels, sizes.longest))


class Ahead:
    """What products of a Layer prefetch.

    Attributes:
        lines: how many in UNROLL channels; 0 if there is nothing to ask for.
        channels: of a piece, at most.
    """

    def __init__(self, layer):
        self.layer, self.channels = layer, piece_channels(layer.sizes[0])
        # Tiles that follow one another across, down, and from image to image.
        counts = [*map(len, layer.blocks)]
        several = [axis for axis in (2, 1, 0) if counts[axis] > 1]
        self.axis = next((axis for axis in several if counts[axis] >= MANY_BLOCKS), several[-1] if several else None)
        nbytes = sum(abs(at.n) for at in (layer.x, layer.y)) * layer.sizes[0].n
        is_far = nbytes >= FAR_BYTES and not layer.makes
        self.lines = self._lines() if is_far and any(self._maps(_FIRST, 0)) else 0

    def _lines(self):
        """For what a tile reads anew, and writes, in all parts, while its products are made."""
        sizes = self.layer.sizes
        h, w = sizes[0].h, sizes[0].w
        if not (self.layer.x.pixels and self.layer.y.pixels):
            # Rows of planes are short, and do not fill the steps that they have.
            return MOST_LINES
        area = h.form.m * w.form.m
        read = area * h.sources[0].step * w.sources[0].step * sizes[0].c_src
        written = area * h.step * w.step * sizes[0].c_dst
        steps = sum(
            each.positions * each.panels * ceil_div(each.source_channels, UNROLL) / each.tile[0] for each in sizes
        )
        return min(MOST_LINES, ceil_div((read + written) * self.layer.size, int(steps * LINE)))

    @property
    def bases(self):
        """The pointers of what is prefetched, without offsets."""
        return {"next": (self.layer.bases.y, 0), "then": (self.layer.bases.x, 0)}

    def entry(self, place, number, share):
        """What a product of a block of tiles and a block of columns adds.

        Args:
            share: which of the products of the block of tiles it is, and of how many.
        """
        (written, read), found = self._maps(place, number), {}
        # Those of all parts are written together.
        if written is not None and share[0] < len(self.layer.sizes[0].blocks):
            found |= asked("next", written, self.lines, self.channels)
        if read is not None:
            found |= asked("then", read, self.lines, self.channels, share)
        return found

    def _maps(self, place, number):
        """What a block of tiles and of columns writes, and what the next block of tiles reads, as Memory each."""
        layer = self.layer
        size = 2 if layer.halves else layer.size
        start, count = layer.sizes[0].blocks[number]
        written = memory(layer.y, size, count, *layer.bands.written(place))
        if written is not None:
            written = written._replace(start=written.start + start * layer.y.c)
        read = None if self.axis is None else memory(layer.x, size, layer.sizes[0].c_src, *self._following(place))
        return written, read

    def _following(self, place):
        """(first, how many) images, rows and columns that the next block reads and this one does not."""
        layer, axis = self.layer, self.axis
        corner, shape = map(list, layer.bands.read(place))
        part = layer.sizes[0]
        if axis == 0:
            more = part.tiles[0]
        else:
            side = (part.h, part.w)[axis - 1]
            more = part.tiles[axis] * side.form.m * side.sources[0].step
        corner[axis] += shape[axis] + (layer.threads - 1) * more
        shape[axis] = more
        return corner, shape
