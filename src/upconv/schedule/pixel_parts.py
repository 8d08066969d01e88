"""Parts of the pixels of a gradient in the weight, each with sums of its own, which are added up in a fixed tree.

How many there are depends on the problem alone, so the bits do not depend on the number of threads.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ..geometry import ceil_div
from ..kernels import sum_parts
from ..runtime.kernel import entry
from ..runtime.program import LINE, PANELS, Grid, Nest, X, Y
from .pixel_panels import Block, Cut

# What the sums of all parts may take together, and how many parts there are at most.
PARTS_BYTES, MOST_PARTS = 4 << 20, 16
# Cycles of multiply-adds below which a part is not worth beginning.
PART_CYCLES = 200_000
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
    def of(cls, blocks, cycles, nbytes):
        """For so many blocks, cycles of multiply-adds, and bytes of the sums of one part."""
        most = int(min(MOST_PARTS, blocks, PARTS_BYTES // nbytes, cycles // PART_CYCLES))
        count = 1 << (most.bit_length() - 1) if most >= 1 else 0
        if count <= 1:
            count = int(cycles < 4 * PART_CYCLES)
        return cls(count, int(min(blocks, 1 + cycles // max(1, count) // PIECE_CYCLES)))


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


def sum_of_parts(placed, parts, nbytes) -> Grid:
    """The grid that adds up the sums of all parts, cut for the threads."""
    units = divisor(nbytes // LINE)
    some = nbytes // units
    address = entry(sum_parts.sum_parts, placed.elem, parts)
    fields = {"entry": address, "totals": (PANELS, 0), "part": nbytes, "nbytes": some}
    return Grid((Nest(sum_parts.FIELDS, fields),), (1, 1, units), {PANELS: (0, 0, some)})


def divisor(count, most=8):
    """The largest divisor up to `most`: units that are alike."""
    return next(units for units in range(most, 0, -1) if count % units == 0)
