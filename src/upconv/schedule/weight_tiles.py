"""Which map of a gradient in the weight lies along the vector, in which tiles, and what has to be packed for that."""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from ..geometry import ceil_div
from ..layouts import RESULTS, WEIGHT_CHANNELS_LAST
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.program import LINE
from .amounts import far

# Vectors across, and rows of a tile.
MOST_ACROSS, MOST_ROWS = 4, 12
# Rows that lie in planes, each of which has a pointer: there are no registers for more.
MOST_PLANES = 7
# A tile's pixels of the map along the vector are to stay in a first-level cache from tap to tap. Blocks of few bytes in
# planes may have 3 times as many (`pixel_panels.block_pixels`), those of large weights 4 times; they are priced alike.
PIXELS = 256
# Pixels that lie further apart than this fall into few sets of the first-level cache, so they are packed first, unless
# they are read so few times that it is not made up for.
APART_BYTES, FEW_READS = 256, 8
# Sums of fewer take no longer than it takes to fetch the line of the weight where they belong.
LEAST_PIXELS = 64
# Cycles of a byte, for the choice between arrangements alone: packed, transposed, of a line that comes from far away,
# of sums that are put where they belong in the weight.
PACKED, TRANSPOSED, FAR, PUT = 1 / 8, 1 / 5, 1 / 11, 1


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the channels of two maps are cut into tiles: `a` is read number by number, `b` along the vector.

    Attributes:
        swapped: whether b is the input, and a the gradient in the output.
        a_count, b_count: channels of a group.
        rows, nv: the tallest tile, in channels of a and vectors of b.
        b_tiles, width: how many tiles b has, and channels of one, whole vectors.
        packs_a, packs_b: whether each goes into panels first.
        planes_a: if a lies in planes, where it is read: numbers from one pixel to the next; else 0.
        transposes_a: whether a lies in planes, and is transposed first.
        transposes_b: whether b lies in planes, from which it goes into panels.
        cuts_b: whether the last vector of the one tile of b is cut, where b lies.
        in_weight: whether tiles are whole lines of the weight.
        a_lines: cache lines of a that are new to a tile at each pixel.
        a_far: how much of a block of a, of a group, does not stay near while taps and tiles of b go by.
        cycles: of the multiply-adds of one pixel that meets one other, for the choice between arrangements.
    """

    swapped: bool
    a_count: int
    b_count: int
    rows: int
    nv: int
    b_tiles: int
    width: int
    packs_a: bool
    packs_b: bool
    planes_a: int
    transposes_a: bool
    transposes_b: bool
    cuts_b: bool
    in_weight: bool
    a_lines: float
    a_far: float
    cycles: float

    @property
    def ranges(self) -> list[tuple[int, int, int]]:
        """(first channel of a, how many tiles, their rows): as even as can be, so that none is cut."""
        return even_ranges(self.a_count, self.rows)

    def before(self, channel) -> int:
        """Tiles of a before the one that begins with a channel."""
        return sum(min(tiles, max(0, channel - first) // rows) for first, tiles, rows in self.ranges)

    @property
    def tiles(self) -> int:
        """Tiles of a group."""
        return ceil_div(self.a_count, self.rows) * self.b_tiles


def even_ranges(count, rows) -> list[tuple[int, int, int]]:
    """(first channel, how many tiles, their rows): as even as can be, so that none is cut.

    >>> even_ranges(64, 6)
    [(0, 9, 6), (54, 2, 5)]
    """
    tiles = ceil_div(count, rows)
    tall = count - tiles * (rows - 1)
    found = [(0, tall, rows), (tall * rows, tiles - tall, rows - 1)]
    return [each for each in found if each[1]]


@lru_cache(maxsize=512)
def arrangement(problem: Problem) -> Arrangement:
    """The arrangement of a problem that takes the fewest cycles."""
    # Rows of planes that do not follow one another are put in order before they are read.
    in_place = (False, True), ((True, False) if problem.depth_taps == 1 else (False,))
    found = [_arranged(problem, swapped, planes) for swapped, planes in product(*in_place)]
    return min(found, key=lambda each: each[0])[1]


def _arranged(problem, swapped, planes):
    """(cycles of everything, the Arrangement) for either map along the vector."""
    g, size, lanes = problem.geometry, problem.itemsize, isa().lanes(problem.itemsize)
    order = (1, 0) if swapped else (0, 1)
    a_count, b_count = (problem.channels[i] for i in order)
    a_shape, b_shape = (problem.map_shapes[i] for i in order)
    a_last, b_last = (problem.map_layouts[i].startswith("nhwc") for i in order)
    a_step, b_step = ((1, g.w.s)[i] for i in order)
    planes = planes and not a_last
    rows, nv, cycles = tile_of(a_count, ceil_div(b_count, lanes), MOST_PLANES if planes else MOST_ROWS)
    width = nv * lanes
    tiles = ceil_div(b_count, width)
    packs_b = not b_last or (b_count % width > 0 and tiles > 1) or b_step * b_shape[1] > width
    cuts_b = not packs_b and b_count % width > 0
    is_last = problem.layout in RESULTS and problem.weight_layout == WEIGHT_CHANNELS_LAST
    in_weight = is_last and not swapped and b_count % width == 0 and g.pixels >= LEAST_PIXELS
    packs_a = not planes and a_step * a_shape[1] * size > APART_BYTES and tiles * g.h.k * g.w.k > FEW_READS
    images = min(g.n, PIXELS / (g.h.n * g.w.n))
    a_far = far(images * math.prod(a_shape[1:]) // g.groups * size) if tiles * g.h.k * g.w.k > 1 else 0.0
    a_lines = min(1, (rows if packs_a else a_step * a_shape[1]) * size / LINE)
    if planes:
        a_lines = rows * min(1, a_step * size / LINE)
    made = Arrangement(
        swapped,
        a_count,
        b_count,
        rows,
        nv,
        tiles,
        width,
        packs_a,
        packs_b,
        a_step if planes else 0,
        not (a_last or planes),
        not b_last,
        cuts_b,
        in_weight,
        a_lines,
        a_far,
        cycles,
    )
    a = math.prod(a_shape) * (PACKED * packs_a + TRANSPOSED * (not (a_last or planes)))
    b = math.prod(b_shape) * (PACKED * packs_b if b_last else TRANSPOSED)
    # Lines of planes that are near are fetched one by one, about one a cycle.
    cycles += a_lines * made.tiles * (LINE * FAR * a_far + planes * (1 - a_far))
    # A pointer for each of them is made for every row.
    cycles += made.tiles * rows / g.w.n if planes else 0
    put = 0 if in_weight else PUT * math.prod(g.weight_shape)
    return g.groups * g.n * g.h.pairs * g.w.pairs * cycles + (a + b + put) * size, made


@lru_cache(maxsize=512)
def tile_of(a_count, vectors, most_rows=MOST_ROWS):
    """(rows, vectors, cycles of a pixel): two multiply-adds and two loads a cycle, and at least eight in flight."""
    found = []
    for nv in range(1, min(MOST_ACROSS, vectors) + 1):
        most = min((isa().registers - 2 - nv) // nv, most_rows, a_count)
        tiles = ceil_div(a_count, most)
        rows = ceil_div(a_count, tiles)
        tall = a_count - tiles * (rows - 1)
        cycles = ceil_div(vectors, nv) * (tall * tile_cycles(rows, nv) + (tiles - tall) * tile_cycles(rows - 1, nv))
        found.append((cycles, -nv * rows, rows, nv))
    cycles, _, rows, nv = min(found)
    return rows, nv, cycles


def tile_cycles(rows, nv):
    """Cycles of a pixel in a tile."""
    return max(rows * nv, rows + nv, 8) / 2 if rows else 0
