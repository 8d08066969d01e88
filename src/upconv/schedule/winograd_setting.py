"""How a layer is cut for Winograd's filters: forms, tiles and channels of a block, and the longest sum.

Products, transforms and what is made of the weight have prices here, by which one of the ways of `winograd_parts` is
taken; how long a sum may be is a matter of its errors (docs/algorithms/winograd.md).
"""

from dataclasses import replace
from functools import lru_cache
from math import gcd, prod
from operator import attrgetter
from typing import NamedTuple

from ..geometry import Geometry, ceil_div
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.once import Kept
from ..runtime.program import LINE
from ..winograd_parts import FEW_CHANNELS, Way, counted, parts, ways
from .winograd import Sizes
from .winograd_columns import columned
from .winograd_layer import Setting, sizes_of

# Spread tiles and their products of a block, together, in the second-level cache; and tiles of a block at most. A large
# weight is far away, and read less often the more tiles a block has: there the room is for tiles. Where it is made in
# the call, block by block, what one part has beyond the cache, up to a share of what the weight becomes, costs less
# than to make it again.
BLOCK_BYTES, MOST_TILES, SHARE_OF_WEIGHT = 1 << 21, 66, 4
# Columns of a block: phases times channels.
COLUMNS, FEW_COLUMNS, LARGE_WEIGHT = 256, 64, 1 << 23
# Of fewer blocks of tiles, each has two blocks of columns at least.
FEW_BLOCKS = 4
# Of so many blocks, one that a thread has more than another makes no difference.
MANY_BLOCKS = 16
# Products of the longest sum: of many channels by small forms, or of most by larger ones of two taps; of others; of
# three taps, by F(2, 3) on one axis or on none, or on one axis alone, and forward of few channels; and of a gradient of
# few channels and three taps, or of groups of few. Of fewer channels plain sums are more exact.
LONG_SUM, SHORT_SUM, SHORTEST_SUM, BRIEF_SUM = 64, 32, 16, 12
LEAST_OF_A_ROW = 256
LONG_SUM_CHANNELS, LARGER_FORM_CHANNELS = 128, 512
# Where phases differ in their taps engines sum large maps tap by tap, beside which these need shorter sums; of fewer
# channels the shortest. So do phases of three taps on both axes.
SHORTEST_CHANNELS = 256
# Forward under kernel 3, stride 1 engines with AVX2 sum planes of fewer channels than these in chains so short that
# only the smallest form stays near them on both axes, which in turn leaves room for longer sums. So do those with
# AVX-512, either way, in groups whose channels fill vectors of four but not of sixteen, with shorter sums.
EXACT_CHANNELS, SMALLEST = 256, Way({3: 2})
# Products in the time that it takes to add up one sum in memory.
ADDED = 3
# Products in the time that it takes to move a value through a transform, and, for a weight that does not come prepared,
# to make one of the values that it becomes; and likewise where all tiles are one block, so that they stay near.
MOVED, MADE, MADE_NEAR = 20, 40, 24
_TILES = attrgetter("tiles")


class _Ways(NamedTuple):
    """The ways to cut a layer, which depend on no size of a map.

    Attributes:
        of_h, of_w: the ways of each axis.
        pairs: (a way of the height, of the width, the longest sum) of each way of both, as numbers of those.
    """

    of_h: tuple[Way, ...]
    of_w: tuple[Way, ...]
    pairs: tuple[tuple[int, int, int], ...]


_layers = Kept(256)


def _ways(problem) -> _Ways:
    return _layers.get_or_make(problem.layer, lambda: _ways_of_layer(problem))


def _ways_of_layer(problem):
    g, forward = problem.geometry, problem.operation == "forward"
    found = [(SMALLEST, SMALLEST)] if _is_most_exact(problem) else ways(g.h, g.w, forward, problem.channels[0])
    count = problem.channels[0] * (1 if forward else g.h.s * g.w.s)
    of_h, of_w = [], []
    for pair in found:
        for way, known in zip(pair, (of_h, of_w), strict=True):
            known.extend([way] if way not in known else [])
    pairs = [(of_h.index(h), of_w.index(w), _longest_sum(problem, count, (h, w))) for h, w in found]
    return _Ways(tuple(of_h), tuple(of_w), tuple(pairs))


def _is_most_exact(problem):
    """Whether plain sums are so exact that only the smallest form of three taps will do."""
    g, planes = problem.geometry, not problem.layout.startswith("nhwc")
    if not planes or (g.h.k, g.w.k, g.h.s, g.w.s) != (3, 3, 1, 1) or problem.channels[0] >= EXACT_CHANNELS:
        return False
    if isa().name == "avx512":
        of_vectors = gcd(*problem.channels)
        return g.groups > 1 and of_vectors % 4 == 0 and of_vectors % 16 > 0
    return isa().name == "avx2" and problem.operation == "forward"


@lru_cache(maxsize=512)
def setting(problem: Problem) -> Setting:
    """How a layer is cut: forms, tiles and channels of a block, and the longest sum."""
    known = _ways(problem)
    best = known.pairs[0]
    if len(known.pairs) > 1:
        g, forward = problem.geometry, problem.operation == "forward"
        of_h = [counted(g.h, way, forward) for way in known.of_h]
        of_w = [counted(g.w, way, forward) for way in known.of_w]
        prices = _prices(problem, [(of_h[h], of_w[w], longest) for h, w, longest in known.pairs])
        best = known.pairs[prices.index(min(prices))]
    return _setting(problem, *best[:2])


def _setting(problem, *numbers):
    """The setting for a way of each axis, of which the numbers are given."""
    g, c_dst, known = problem.geometry, problem.channels[1], _ways(problem)
    of_h, of_w = known.of_h[numbers[0]], known.of_w[numbers[1]]
    made = _parts(problem, g.h, of_h), _parts(problem, g.w, of_w)
    line = LINE // problem.itemsize
    phases, channels_of_tile, positions, transformed, longest = _of_layer(problem, numbers, made)
    high, wide = (max(map(_TILES, each)) for each in made)
    if high == wide == 1 and _is_least_exact((of_h, of_w)):
        # Most results are at a border, which leaves them fewer products, but no smaller errors.
        longest = min(longest, SHORT_SUM)
    count = g.n * high * wide
    room = BLOCK_BYTES
    if count <= _most_of_one(problem):
        room = max(room, transformed // SHARE_OF_WEIGHT)
    channels = _channels_of_block(problem, phases, transformed)
    per_tile = positions * (channels_of_tile + phases * channels) * problem.itemsize
    most = max(6, min(MOST_TILES, (room if count * per_tile <= room else BLOCK_BYTES) // per_tile))
    rows = min(high, max(1, most // wide))
    # Images together where one has few tiles, so that the weight is read less often.
    tiles = (max(1, min(g.n, most // (high * wide))), rows, min(wide, most))
    if channels >= c_dst and prod(map(ceil_div, (g.n, high, wide), tiles)) < FEW_BLOCKS:
        half, of = ceil_div(c_dst, 2 * line) * line, (isa(), problem.itemsize, phases, c_dst)
        # To be shared out among threads, if that fills no more panels, and as wide ones.
        (shared, whole) = (columned(*of, each) for each in (half, channels))
        if (shared.vectors, shared.tile) == (whole.vectors, whole.tile):
            channels = half
    blocks, halves = g.n * ceil_div(high, rows), g.n * 2 * ceil_div(high, 2 * rows)
    # A weight that does not stay near is read again for each block.
    suits = problem.layout.startswith("nhwc") and (halves <= blocks or transformed <= BLOCK_BYTES)
    if suits and tiles[0] == 1 < rows and FEW_BLOCKS < blocks < MANY_BLOCKS and (high % rows or blocks % 2):
        # One thread would have a block of whole rows more than another; pairs of half rows are shared out evenly. In
        # planes half rows would be short runs of memory.
        tiles = 1, min(high, 2 * rows), ceil_div(wide, 2)
    return Setting(
        (of_h.outputs, of_w.outputs),
        tiles,
        channels,
        apart=(of_h.apart, of_w.apart),
        longest=longest,
    )


def _channels_of_block(problem, phases, transformed):
    """Channels of the result of a block of columns, at most, for a weight that becomes so many bytes."""
    line, columns = LINE // problem.itemsize, FEW_COLUMNS if transformed > LARGE_WEIGHT else COLUMNS
    return max(line, min(ceil_div(problem.channels[1], line) * line, columns // phases // line * line))


def _most_of_one(problem):
    """Of how many tiles, which are one block, a large weight may be made block by block: as given, of one group."""
    return 0 if problem.prepared or problem.geometry.groups > 1 else MOST_TILES


# Of ways of a layer.
_of_ways = Kept(256)


def _of_layer(problem, numbers, made):
    """What all sizes of a layer have in common that have as many parts of a way: (phases of a tile, channels of all its
    sources, positions, bytes that the weight becomes, the longest sum).
    """
    g = problem.geometry
    # Phases that are parts by themselves begin with the one that `crop_lo` says, and follow one another: with their
    # number that says which they are.
    of = problem.layer, g.h.crop_lo, g.w.crop_lo, len(made[0]), len(made[1]), *numbers

    def make():
        known, phases = _ways(problem), prod(each[0].phases for each in made)
        count = problem.channels[0] * prod(len(each[0].sources) for each in made)
        positions = prod(max(part.form.size for part in each) for each in made)
        pair = known.of_h[numbers[0]], known.of_w[numbers[1]]
        longest = _longest_sum(problem, count, pair)
        return phases, count, positions, _transformed(problem, made) * problem.itemsize, longest

    return _of_ways.get_or_make(of, make)


def _longest_sum(problem, count, both):
    forward = problem.operation == "forward"
    if both == (SMALLEST, SMALLEST) and isa().name == "avx512" and _is_most_exact(problem):
        return BRIEF_SUM if count < FEW_CHANNELS else SHORTEST_SUM
    if forward and count < FEW_CHANNELS:
        return SHORTEST_SUM
    if all(way.outputs == {3: 3} for way in both):
        return SHORT_SUM if count >= (SHORTEST_CHANNELS if forward else LONG_SUM_CHANNELS) else SHORTEST_SUM
    if forward and both == (SMALLEST, SMALLEST):
        return SHORT_SUM
    taps = [way.outputs.keys() for way in both]
    if count < FEW_CHANNELS and all(each == {3} for each in taps):
        return BRIEF_SUM
    if {3} in taps and {1} not in taps:
        return SHORTEST_SUM
    if forward and all(each == {2, 3} for each in taps):
        # Engines sum some maps of any number of channels tap by tap.
        return SHORTEST_SUM
    if {3: 2} in [way.outputs for way in both] or ({1} in taps and count < LEAST_OF_A_ROW):
        return SHORT_SUM
    if forward and any(len(each) > 1 for each in taps):
        return SHORT_SUM if count >= SHORTEST_CHANNELS else SHORTEST_SUM
    if count >= LARGER_FORM_CHANNELS and all(max(way.outputs) < 3 for way in both):
        return LONG_SUM
    is_small = all(max(way.outputs) + max(way.outputs.values()) - 1 < 5 for way in both)
    return LONG_SUM if count >= LONG_SUM_CHANNELS and is_small else SHORT_SUM >> _is_least_exact(both)


def _is_least_exact(both):
    """Whether forms are the largest on both axes, beside AVX-512's engines, which sum two taps in more lanes."""
    return isa().name == "avx512" and all(way.outputs == {2: 4} for way in both)


def _kept(made):
    """Positions of the transformed weight of an axis, for each of its phases."""
    return sum(part.form.size * len(part.sources) for part in {part.weight: part for part in made}.values())


def _prices(problem, pairs):
    """What decides between ways: products, and what else is done, in products.

    That is to add up sums (the longest of each pair), to spread values, to gather, and to make them of the weight.
    """
    (c_src, c_dst), size, n = problem.channels, problem.itemsize, problem.geometry.n
    one_block, found, machine = _most_of_one(problem), [], isa()
    for h, w, length in pairs:
        phases, read, written, kept = h.phases * w.phases, h.read * w.read, h.written * w.written, h.kept * w.kept
        values, transformed = n * (read * c_src + written * phases * c_dst), kept * phases * c_src * c_dst
        channels = _channels_of_block(problem, phases, transformed * size)
        columns = columned(machine, size, phases, c_dst, channels).vectors * machine.lanes(size)
        products = n * read * c_src * columns
        is_near = n * h.tiles * w.tiles <= one_block and transformed * size > BLOCK_BYTES
        weight = transformed * (MOVED if problem.prepared else MADE_NEAR if is_near else MADE)
        found.append(products + products * ADDED // length + MOVED * values + weight)
    return found


def _transformed(problem, made):
    """Values that the weight becomes, for the parts of each axis."""
    return prod(map(_kept, made)) * prod(each[0].phases for each in made) * prod(problem.channels)


def _parts(problem, axis, way):
    return parts(axis, way.outputs, problem.operation == "forward", way.apart)


def tiles_of_usual(problem: Problem) -> int:
    """Tiles of all images, cut in the usual way."""
    g, known, forward = problem.geometry, _ways(problem), problem.operation == "forward"
    return g.n * counted(g.h, known.of_h[0], forward).tiles * counted(g.w, known.of_w[0], forward).tiles


def of_group(g: Geometry) -> Geometry:
    """The layer of one group."""
    return g if g.groups == 1 else replace(g, c_in=g.c_in // g.groups, c_out=g.c_out // g.groups, groups=1)


@lru_cache(maxsize=512)
def sizes(problem: Problem) -> tuple[Sizes, ...]:
    """The sizes of everything between source and result, for each pair of parts."""
    return sizes_of(of_group(problem.geometry), setting(problem), problem.row.element, problem.operation == "forward")
