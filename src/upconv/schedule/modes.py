"""The roles that pixels, channels and weight can have in a kernel, and how channels are cut into blocks for it."""

import itertools
from typing import ClassVar

from ..runtime.kernel import isa


class Pixels:
    """Channels along the vector: blocks of whole vectors, a packed weight."""

    pixels = True
    # Height of the tile for each number of vectors across, by the number of vector registers.
    TILES: ClassVar = {32: {4: 6, 3: 8, 2: 9, 1: 10}, 16: {2: 5, 1: 8}}

    @classmethod
    def blocks(cls, channels, lanes):
        """(first channel, vectors) of each block, as even as can be."""
        vectors = -(-channels // lanes)
        count = -(-vectors // max(cls.TILES[isa().registers]))
        wide = [vectors // count + (number < vectors % count) for number in range(count)]
        return [(sum(wide[:number]) * lanes, wide[number]) for number in range(count)]

    @classmethod
    def merged_blocks(cls, channels, phases, lanes):
        """(first column, vectors) of each block of whole phases of so many channels; none if they are too wide."""
        most = max(cls.TILES[isa().registers]) * lanes // channels
        count = -(-phases // most) if most else 0
        cuts = [phases * number // count for number in range(count + 1)] if count else []
        return [(start * channels, -(-(end - start) * channels // lanes)) for start, end in itertools.pairwise(cuts)]


class Planes:
    """Columns of a row along the vector: blocks of a few channels, the weight as it is; see `planes`."""

    pixels = depthwise = False

    @classmethod
    def blocks(cls, channels, lanes):
        """Left to `planes`."""
        return []


class Strips:
    """Columns of a row along the vector, each plane with a kernel of its own: depthwise; see `planes`."""

    pixels, depthwise = False, True
    blocks = Planes.blocks


class Channels:
    """Channels along the vector, each with a kernel of its own: depthwise."""

    pixels = True
    # Pixels at a time, by the number of vector registers.
    TILES: ClassVar = {32: 5, 16: 4}

    @classmethod
    def blocks(cls, channels, lanes):
        """One block of all groups."""
        return [(0, 1)]


MODES = {"pixels": Pixels, "planes": Planes, "channels": Channels, "strips": Strips, "columns": Pixels}
