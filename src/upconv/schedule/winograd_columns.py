"""How the columns of Winograd's product are cut into blocks: in each, all phases of some channels of the result.

Blocks begin at whole cache lines, and are as even as that lets them be: none is computed as if it were larger. One
kernel is for all of them, so its panels are chosen for what they compute together.
"""

from functools import lru_cache
from typing import NamedTuple

from ..kernels.winograd_product import tile
from ..runtime.program import LINE
from .winograd_blocks import evenly


class Columns(NamedTuple):
    """A block of columns.

    Attributes:
        first, count: channels of the result.
        vectors: those of one phase.
        panels: what is computed.
    """

    first: int
    count: int
    vectors: int
    panels: int


class Columned(NamedTuple):
    """All blocks of columns, the widest first.

    Attributes:
        tile: (mr, nv) of the product.
        blocks: the Columns.
        vectors: what is computed for each tile and position, in vectors.
    """

    tile: tuple[int, int]
    blocks: tuple[Columns, ...]
    vectors: int


@lru_cache(maxsize=512)
def columned(isa, size, phases, c_dst, channels) -> Columned:
    """The columns of so many phases and channels, at most `channels` of them in a block, in numbers of `size` bytes.

    >>> from upconv.codegen.isa import ROWS
    >>> columned(ROWS["avx512"], 4, 1, 272, 256)
    Columned(tile=(12, 1), blocks=(Columns(first=0, count=144, vectors=9, panels=9), \
Columns(first=144, count=128, vectors=8, panels=8)), vectors=17)
    """
    lanes = isa.lanes(size)
    pieces = evenly(c_dst, channels, LINE // size)
    vectors = [-(-count // lanes) for _, count in pieces]
    mr, nv = tile(isa, *(phases * each for each in vectors))
    blocks = tuple(Columns(*piece, each, -(-phases * each // nv)) for piece, each in zip(pieces, vectors, strict=True))
    return Columned((mr, nv), blocks, nv * sum(block.panels for block in blocks))
