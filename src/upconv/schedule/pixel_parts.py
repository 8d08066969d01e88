"""Parts of the pixels of a gradient in the weight, each with sums of its own, which are added up in a fixed tree.

How many there are depends on the problem alone, so the bits do not depend on the number of threads.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

from ..geometry import ceil_div
from ..kernels import sum_parts
from ..runtime.kernel import entry
from ..runtime.program import LINE, PANELS, Grid, Nest, X, Y
from .pixel_panels import Block, Cut

# What the sums of all parts may take together, and how many parts there are at most.
PARTS_BYTES, MOST_PARTS = 4 << 20, 16
# Cycles of multiply-adds below which a part is not worth beginning.
PART_CYCLES = 200_000
# There are at least as many parts as the root of pixels / PART_PIXELS, however little work they are: the sums of a part
# are added up one after another, and a total of many has rounding errors of its own. Engines sum image by image.
PART_PIXELS = 96
# A table of more blocks, of about a KiB each, would leave no room for the programs of other layers.
MOST_LISTED = 256
# A unit cannot be interrupted, so a part that takes longer is computed in pieces.
PIECE_CYCLES = 100_000_000


@dataclass(frozen=True, slots=True)
class Parts:
    """How many parts a problem's blocks have, and how many pieces each of them; no parts where the sums are too large.

    Attributes:
        count: a power of two, or 0.
        pieces: one after another, so that a part can be interrupted.
    """

    count: int
    pieces: int

    @classmethod
    def of(cls, cut: Cut, cycles, nbytes, alone=4):
        """For the blocks of a cut, cycles of multiply-adds, and bytes of the sums of one part.

        A single part is computed by one thread: it has less work than `alone` parts would be worth. Many blocks of some
        images are parts of whole images: others would be listed block by block.
        """
        blocks, images = cut.count, ceil_div(cut.g.n, cut.images)
        most = min(blocks, images if blocks > MOST_LISTED and images > 1 else blocks)
        count = count_of(min(most, max(cycles // PART_CYCLES, isqrt(cut.g.pixels // PART_PIXELS))), nbytes)
        if count <= 1:
            count = int(cycles < alone * PART_CYCLES)
        return cls(count, int(min(blocks, 1 + cycles // max(1, count) // PIECE_CYCLES)))


def count_of(most, nbytes) -> int:
    """The power of two that is at most so many parts, of so many bytes of sums each; or 0."""
    most = int(min(MOST_PARTS, PARTS_BYTES // nbytes, most))
    return 1 << (most.bit_length() - 1) if most >= 1 else 0


def part_runs(placed, cut: Cut, parts, nbytes) -> Iterator[tuple[list[Block], int, dict, int]]:
    """(blocks, how many such parts, steps from one to the next, where the sums of the first are) of all parts."""
    n, each = placed.g.n, cut.images
    images = ceil_div(n, each)
    if images < parts:
        blocks = list(cut.blocks(0, n))
        for part in range(parts):
            some = blocks[len(blocks) * part // parts : len(blocks) * (part + 1) // parts]
            yield some, 1, {}, part * nbytes
        return
    # Parts of whole images differ in their place alone, but for the last one, which has what is left.
    cuts = [images * part // parts * each for part in range(parts)] + [n]
    sizes = [end - start for start, end in itertools.pairwise(cuts)]
    first = 0
    for size, alike in itertools.groupby(sizes):
        many = len(list(alike))
        steps = {X: size * placed.x.n, Y: size * placed.y.n, PANELS: nbytes}
        blocks = list(cut.blocks(cuts[first], cuts[first] + size))
        yield blocks, many, {base: (by, 0, 0) for base, by in steps.items()}, first * nbytes
        first += many


def sum_of_parts(placed, parts, nbytes) -> list[Grid]:
    """The grids that add up the sums of all parts, cut for the threads."""
    address, grids = entry(sum_parts.sum_parts, placed.elem, parts), []
    for first, lines, many in shares(nbytes // LINE):
        some = lines * LINE
        fields = {"entry": address, "totals": (PANELS, first * LINE), "part": nbytes, "nbytes": some}
        grids.append(Grid((Nest(sum_parts.FIELDS, fields),), (1, 1, many), {PANELS: (0, 0, some)}))
    return grids


def shares(count, most=8, unit=1) -> list[tuple[int, int, int]]:
    """(first, how many, how many such units) of runs of units for the threads, which are whole `unit`s but the last.

    >>> shares(21), shares(40, unit=16)
    ([(0, 3, 7)], [(0, 16, 2), (32, 8, 1)])
    """
    each = ceil_div(count, most * unit) * unit
    many, rest = divmod(count, each)
    return [run for run in ((0, each, many), (many * each, rest, 1)) if run[1] and run[2]]
