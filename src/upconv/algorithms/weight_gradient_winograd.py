"""The gradient in the weight by Winograd's forms: fewer products than there are pairs of pixels and taps.

The adjoint of what `winograd` does forward (`schedule.winograd_gradient` has the arithmetic): tiles of both maps are
spread, multiplied position by position, and their sums become the taps at the end. A unit is a block of channels of
both maps, whose sums stay in the cache while all tiles go by; where the weight is small, there are parts of the tiles
with sums of their own as well, added up in a fixed tree.

What is not finite would reach taps that it does not meet, so the end marks a weight that is not finite; then
`weight_gradient_blocks` computes the whole again. The errors of the taps of a phase are those of its largest one, so in
float64, where people want the last digits, it runs when it is asked for by name.
"""

from functools import lru_cache
from itertools import chain, groupby, product
from math import prod
from operator import itemgetter
from typing import NamedTuple

from ..geometry import ceil_div
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.program import (
    FLAGS,
    LINE,
    PANELS,
    SINK,
    SUMS,
    TOTALS,
    X_BAND,
    Y_BAND,
    Grid,
    M,
    Program,
    Stage,
    V,
    W,
    X,
    Y,
)
from ..schedule.moves import PlacedOperand, to_weight, transpose_layout
from ..schedule.pixel_parts import sum_of_parts
from ..schedule.placed_problem import PlacedProblem
from ..schedule.weight_tiles import tile_cycles
from ..schedule.winograd_blocks import even, evenly, pieces
from ..schedule.winograd_gradient import Pair, Patch
from ..winograd_parts import parts, ways, ways_alone

OPERATIONS = ("grad_weight",)
FALLBACK = "weight_gradient_blocks"
# Channels of a block of the input and, times the phases, of the output.
CHANNELS, COLUMNS = 128, 128
# Tiles of a block, the longest sum in registers, and bytes of them when they are spread: in the second-level cache.
TILES_AT_ONCE, BLOCK_BYTES = 64, 2 << 20
# Tiles of a block of one phase of three taps, where there are few in all, channels-last with AVX-512 or under dilation
# with AVX2: the short plain sums of engines leave the errors of the transforms no room for longer ones.
FEW_TILES, FEW_AT_ONCE = 640, 32
# Sums of fewer tiles are short beside the transforms, in time and in error; by the taps of a phase.
LEAST_TILES = {2: 16, 3: 32}
# Pixels of the input, without a row and a column that some taps do not meet, by the taps of a phase. Those share their
# errors, which are small beside sums of so many pixels, whatever the range of the data: from LEAST_PIXELS on in short
# sums in registers, three taps in tiles of two outputs; from MANY_PIXELS on in any.
LEAST_PIXELS, MANY_PIXELS, SHORT_SUM = {2: 625, 3: 700}, {2: 900, 3: 1900}, 16
# Rows and columns of each remainder of a dilation: of fewer, torch's sums with AVX2 are up to twice as exact.
LEAST_REMAINDER = 12
# Units below which there are parts; parts at most; blocks of tiles in the sums of one; bytes of the sums of all.
UNITS, MOST_PARTS, LONGEST_CHAIN, PARTS_BYTES = 8, 16, 64, 8 << 20
# Vectors of products that are worth a part, and that a unit may have at most, since it cannot be interrupted.
LEAST_PART, MOST_PIECE = 200_000, 100_000_000
# Maps in planes are turned some images at a time, into so many bytes; of one image at most so many. Where that takes
# longer than to turn each unit's channels block by block, near enough to be written so many times as fast, or an image
# is larger, units do.
TURNED_BYTES, MOST_TURNED, NEAR = 8 << 20, 64 << 20, 2.5
# How many times as long as bands whole images take to be turned: they are written far away, and come back from there.
AFAR = 2.5
# Pixels of a row that are worth turning by themselves.
LEAST_ROW = 128
# Bytes of the sums of all channels, where they must be kept until the last image has been turned.
MOST_SUMS = 64 << 20


def why_never(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    if problem.row.kind != "f":
        refusals.append("is for floating-point numbers alone")
    if g.groups > 1:
        refusals.append("transforms the channels of one group alone")
    for name, axis in (("height", g.h), ("width", g.w)):
        if not ways_alone(axis):
            refusals.append(f"has no form for kernel {axis.k}, stride {axis.s}, dilation {axis.d} along the {name}")
    if not refusals and all(axis.k <= axis.s or axis.k == 1 for axis in (g.h, g.w)):
        refusals.append("with one tap there is nothing to save")
    return refusals


def why_not(problem: Problem) -> list[str]:
    g, refusals = problem.geometry, []
    if not g.n:
        refusals.append("sums over images, of which there is none")
    for name, axis in (("height", g.h), ("width", g.w)):
        if any(not axis.meeting(tap)[2] for tap in range(axis.k)):
            refusals.append(f"would leave rounding errors in taps that meet no pixel along the {name}")
    if not refusals:
        plan = _plan(problem)
        tiles = min(_by_totals(plan.totals, plan.pairs, lambda pair: g.n * pair.h.tiles * pair.w.tiles))
        needed = LEAST_TILES[_taps(problem.geometry)]
        if tiles < needed:
            refusals.append(f"sums of {tiles} tiles are too short; {needed} are needed")
        if not plan.is_brief and plan.part_bytes > MOST_SUMS:
            refusals.append(f"its sums would take {plan.part_bytes:,} bytes; at most {MOST_SUMS:,} are kept at once")
        if any(_turns(problem)) and not plan.is_near and _image_bytes(problem) > MOST_TURNED:
            refusals.append(f"an image, turned, would take more than {MOST_TURNED:,} bytes")
    return refusals


def why_not_automatic(problem: Problem) -> list[str]:
    shared = "a tap's error is that of the largest of its phase"
    if problem.dtype != "float32":
        return [f"{shared}, so in float64 it runs when it is asked for by name"]
    g = problem.geometry
    if any(axis.n < LEAST_REMAINDER * axis.d for axis in (g.h, g.w) if axis.d > 1):
        return [f"of fewer than {LEAST_REMAINDER} rows or columns of each remainder by the dilation errors are larger"]
    pixels, needed = _inner_pixels(g), LEAST_PIXELS[_taps(g)]
    if pixels >= needed:
        return []
    return [f"{shared}, which is small beside sums of {needed:,} inner pixels and more; here are {pixels:,}"]


def _taps(g):
    """The most taps that a phase has on an axis."""
    return max(ceil_div(axis.k, axis.s) for axis in (g.h, g.w))


def _inner_pixels(g):
    return g.n * prod(max(1, axis.n - axis.d) for axis in (g.h, g.w))


def _are_many(g):
    """Whether errors are small beside sums of so many pixels, however these are added up."""
    return _inner_pixels(g) >= MANY_PIXELS[_taps(g)]


def work(problem: Problem) -> dict[str, float]:
    g, plan, size = problem.geometry, _plan(problem), problem.itemsize
    blocks, lanes = plan.blocks, isa().lanes(size)
    spread = products = waits = put = taps = cut = 0
    for pair in plan.pairs:
        tiles, patches = g.n * pair.h.tiles * pair.w.tiles, pair.count(g.n)
        # How often each map is spread.
        times = len(blocks[1]), len(blocks[0]) * len(pair.phases)
        channels = times[0] * g.c_in, times[1] * g.c_out
        spread += tiles * pair.positions * sum(channels)
        ranges, nv = [each for _, count in blocks[0] for each in pair.ranges(count)], pair.tile[1]
        across = pair.positions * pair.columns.vectors // nv
        products += tiles * across * nv * g.c_in
        waits += tiles * across * sum(many * (2 * tile_cycles(rows, nv) - nv * rows) for _, many, rows in ranges)
        for each, count in zip(blocks, times, strict=True):
            cut += tiles * count // len(each) * sum(some % lanes > 0 for _, some in each)
        put += patches * pair.total_bytes * len(blocks[0]) * len(blocks[1])
    for pair in plan.kept.values():
        taps += pair.positions * len(pair.phases) * g.c_in * g.c_out
    turned = plan.turns * _turned(problem, blocks) / NEAR if plan.is_near else AFAR * _turned(problem)
    return {
        "weight_blocks": products,
        "weight_blocks_waits": waits,
        "winograd_moved": (spread + taps) * size,
        "winograd_sums": put,
        "winograd_cut": cut,
        "totals": 0 if plan.is_brief else (plan.parts + 2) * plan.part_bytes,
        "tasks": 3 * sum(pair.count(g.n) for pair in plan.pairs) * len(blocks[0]) * len(blocks[1]),
        "transposed": turned * size,
        "bytes": problem.bytes,
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """For some images after others: maps in planes turned, then all blocks of channels; at the end the taps."""
    way = _Way(placed)
    shared = PANELS, FLAGS, SUMS, *(() if way.plan.is_near else (X_BAND, Y_BAND))
    return Program(list(way.stages()), way.sizes(), placed.seconds, shared)


class _Plan(NamedTuple):
    """How a problem is cut.

    Attributes:
        pairs: the Pairs.
        totals: where the sums of each are in those of a unit; what dilation keeps apart has its taps in common, and
            so its sums.
        blocks: (first channel, how many) of the blocks of both maps.
        parts, rounds: how many parts the tiles have, and rounds of units, one after another.
        images: how many are turned at once, or all.
        is_near: whether units turn what they read, block by block.
        turns: how often they do: once, where the blocks of all pairs are alike and so read the same, or for each.
        unit_bytes, part_bytes: of the sums of one unit, and of one part.
    """

    pairs: tuple[Pair, ...]
    totals: tuple[int, ...]
    blocks: tuple[list, list]
    parts: int
    rounds: int
    images: int
    is_near: bool
    turns: int
    unit_bytes: int
    part_bytes: int

    @property
    def is_brief(self):
        """Whether a unit finishes its taps at once, so that its sums are its own."""
        return self.parts == self.rounds == 1 and self.images >= self.pairs[0].n

    @property
    def kept(self):
        """The first pair of those that have sums in common, by where these are."""
        return dict(zip(reversed(self.totals), reversed(self.pairs), strict=True))


@lru_cache(maxsize=512)
def _plan(problem):
    """The plan of the way that takes the fewest products."""
    g = problem.geometry
    # Those of few channels have tiles of two outputs for three taps.
    found = ways(g.h, g.w) if _are_many(g) else ways(g.h, g.w, channels=1)
    found = [_planned(problem, pair) for pair in found]
    return min(found, key=lambda plan: sum(_products(problem, pair) for pair in plan.pairs))


def _products(problem, pair):
    """Vectors of products."""
    g = problem.geometry
    return g.n * pair.h.tiles * pair.w.tiles * pair.positions * g.c_in * pair.columns.vectors


def _planned(problem, both):
    g, size, elem = problem.geometry, problem.itemsize, problem.row.element
    axes = [parts(axis, way.outputs, True, way.apart) for axis, way in zip((g.h, g.w), both, strict=True)]
    line = LINE // size
    phases = max(h.phases * w.phases for h, w in product(*axes))
    most = even(g.c_in, CHANNELS), max(line, COLUMNS // phases // line * line)
    blocks = pieces(g.c_in, most[0]), evenly(g.c_out, most[1], line)
    channels = most[0], ceil_div(blocks[1][0][1], line) * line
    longest = TILES_AT_ONCE if _are_many(g) else SHORT_SUM
    of = g.n, elem, channels, g.c_out, _tiles_at_once(problem, axes), BLOCK_BYTES, longest
    pairs = tuple(Pair.of(h, w, *of) for h, w in product(*axes))
    totals, unit = _placed_totals(pairs)
    units = len(blocks[0]) * len(blocks[1])
    images, turns = g.n, 1 if len({_shape(pair) for pair in pairs}) == 1 else len(pairs)
    is_near = any(_turns(problem)) and all(_has_long_rows(problem, pair) for pair in pairs)
    is_few = turns * _turned(problem, blocks) <= NEAR * _turned(problem)
    is_near = is_near and (is_few or _image_bytes(problem) > MOST_TURNED)
    if any(_turns(problem)) and not is_near:
        images = max(1, min(g.n, TURNED_BYTES // _image_bytes(problem)))
    each = sum(_products(problem, pair) for pair in pairs)
    patches = min(pair.count(images) for pair in pairs)
    chain = max(_by_totals(totals, pairs, lambda pair: pair.count(g.n)))
    wanted = max(ceil_div(UNITS, units), ceil_div(chain, LONGEST_CHAIN))
    most = min(MOST_PARTS, patches, each // LEAST_PART, PARTS_BYTES // (units * unit), wanted)
    count = 1 << (most.bit_length() - 1) if most > 1 else 1
    rounds = min(patches // count, 1 + each * images // max(1, g.n) // (units * count) // MOST_PIECE)
    return _Plan(pairs, totals, blocks, count, max(1, rounds), images, is_near, turns, unit, units * unit)


def _shape(pair):
    """What pairs have in common whose blocks of tiles begin at the same places."""
    return pair.tiles, pair.count(1), pair.h.form.m, pair.w.form.m


def _placed_totals(pairs):
    """(where the sums of each pair are, bytes of all): pairs of the same taps have the same."""
    places, end, found = {}, 0, []
    for pair in pairs:
        taps = pair.h.weight, pair.w.weight
        if taps not in places:
            places[taps] = end
            end += pair.total_bytes
        found.append(places[taps])
    return tuple(found), end


def _by_totals(totals, pairs, count):
    """Numbers of pairs, added up where these have sums in common."""
    found = dict.fromkeys(totals, 0)
    for place, pair in zip(totals, pairs, strict=True):
        found[place] += count(pair)
    return found.values()


def _tiles_at_once(problem, axes):
    """Tiles of a block, and so of the longest sum in registers, at most."""
    g = problem.geometry
    is_one = g.h.s == g.w.s == 1 and max(part.form.r for axis in axes for part in axis) > 2
    is_few = is_one and g.n * prod(sum(part.tiles for part in axis) for axis in axes) <= FEW_TILES
    # Under dilation it is AVX2 that is as exact, in both orders.
    is_dilated = max(g.h.d, g.w.d) > 1
    is_beside_exact = is_dilated if isa().name == "avx2" else isa().name == "avx512" and not any(_turns(problem))
    return min(TILES_AT_ONCE, FEW_AT_ONCE) if is_few and is_beside_exact else TILES_AT_ONCE


def _turns(problem):
    """Whether each map lies otherwise than with its channels together."""
    return tuple(not layout.startswith("nhwc") for layout in problem.map_layouts)


def _turned(problem, blocks=((0,), (0,))):
    """Numbers of the maps that are turned, or that all units of some blocks turn for a pair."""
    shapes = zip(problem.map_shapes, _turns(problem), reversed(blocks), strict=True)
    return sum(prod(shape) * len(others) for shape, turns, others in shapes if turns)


def _has_long_rows(problem, pair):
    """Whether what a block of tiles reads of a row is long, or all of it: so a turned block is as fast as it can be."""
    patch = pair.patches(0, 1)[0]
    widths = ((pair.reach(patch, number)[1][1], shape[3]) for number, shape in enumerate(problem.map_shapes))
    return all(width >= min(LEAST_ROW, whole // 2) for width, whole in widths)


def _image_bytes(problem):
    """Bytes of an image of what is turned."""
    shapes = zip(problem.map_shapes, _turns(problem), strict=True)
    return sum(prod(shape[1:]) * problem.itemsize for shape, turns in shapes if turns)


class _Block(NamedTuple):
    """A block of tiles of a Pair, and where its sums are in those of a unit."""

    pair: Pair
    total: int
    patch: Patch


class _Way:
    """The stages of a problem."""

    def __init__(self, placed):
        self.placed, self.plan = placed, _plan(placed.problem)
        self.turns = tuple(not map_.at.channels_last for map_ in (placed.source, placed.result))
        self.is_last = placed.w[1] == placed.size
        self.begun = set()

    def sizes(self):
        """Bytes by base."""
        placed, plan, size = self.placed, self.plan, self.placed.size
        pairs, channels = plan.pairs, plan.pairs[0].channels
        sizes = {
            V: max(pair.positions * pair.v_pos for pair in pairs),
            M: max(pair.positions * pair.m_pos for pair in pairs),
            TOTALS if plan.is_brief else PANELS: plan.unit_bytes if plan.is_brief else plan.parts * plan.part_bytes,
            SUMS: max(channels) * size + LINE,
            FLAGS: LINE,
        }
        if not self.is_last:
            sizes[SINK] = placed.g.h.k * placed.g.w.k * self._taps_at(channels)[3]
        sides = zip((X_BAND, Y_BAND), self.turns, placed.problem.map_shapes, channels, strict=True)
        for number, (base, turns, shape, count) in enumerate(sides):
            if turns and plan.is_near:
                groups = chain.from_iterable(self._groups(placed.g.n))
                blocks = (group[0].patch.images[1] * prod(n for _, n in _reach(group, number)) for group in groups)
                sizes[base] = max(blocks) * count * size
            elif turns:
                sizes[base] = plan.images * prod(shape[1:]) * size
        return sizes

    def stages(self):
        placed, plan = self.placed, self.plan
        for first in range(0, placed.g.n, plan.images):
            end = min(placed.g.n, first + plan.images)
            x, y, turning = self._maps(first, end)
            if turning:
                yield Stage(turning)
            for number in range(plan.rounds):
                yield Stage(list(self._units(x, y, end - first, number)))
        if plan.parts > 1:
            yield Stage(sum_of_parts(placed, plan.parts, plan.part_bytes))
        if not plan.is_brief:
            yield Stage([Grid(tuple(self._finish(run, (PANELS, at))), *rest) for run, at, rest in self._runs(False)])

    def _maps(self, first, end):
        """Both maps from an image on, with their channels together, and the grids that make them so."""
        made, turning = [], []
        sides = zip(
            (self.placed.source, self.placed.result), self.placed.problem.map_shapes, (X_BAND, Y_BAND), strict=True
        )
        for whole, shape, base in sides:
            there = whole.move(first)
            if not (whole.at.channels_last or self.plan.is_near):
                band = PlacedOperand(base, 0, type(whole.at).dense((end - first, *shape[1:]), self.placed.size, True))
                for image, count in pieces(end - first, ceil_div(end - first, UNITS)):
                    nest = transpose_layout(
                        self.placed.elem, there.move(image), band.move(image), (count, *shape[1:])
                    )  # fmt: skip
                    turning.append(Grid((nest,)))
                there = band
            made.append(there)
        return *made, turning

    def _runs(self, moves=True):
        """((blocks of either map: first channel, how many), where the sums of the first are, (sizes, steps) of a Grid).

        Blocks that differ in their place alone are one run; where maps are turned, or the taps are, each has its own.
        """
        plan, placed = self.plan, self.placed
        unit, across = plan.unit_bytes, len(plan.blocks[1])
        is_one = moves and any(self.turns) and not plan.is_near
        numbered = [_alike(blocks, is_one) for blocks in plan.blocks]
        for (i, first, count, many), (j, start, some, times) in product(*numbered):
            steps = {
                X: (count * placed.x.c, 0, 0),
                Y: (0, some * placed.y.c, 0),
                W: (count * placed.w[0], some * placed.w[1], 0),
                PANELS: (across * unit, unit, 0),
            }
            yield ((first, count), (start, some)), (i * across + j) * unit, ((many, times, 1), steps)

    def _units(self, x, y, images, number):
        """The grids of a round: parts by blocks of channels."""
        plan = self.plan
        for part in range(plan.parts):
            for run, at, rest in self._runs():
                total = (TOTALS, 0) if plan.is_brief else (PANELS, part * plan.part_bytes + at)
                nests = list(self._patches(run, x, y, images, (part, number), total))
                if plan.is_brief:
                    nests += self._finish(run, total)
                if nests:
                    yield Grid(tuple(nests), *rest)

    def _patches(self, run, x, y, images, place, total):
        """The nests of the blocks of tiles of a part and a round."""
        plan, (part, number) = self.plan, place
        (first, rows), (start, cols) = run
        x, y = x.move(channel=first), y.move(channel=start)
        for groups in self._groups(images):
            mine = groups[len(groups) * part // plan.parts : len(groups) * (part + 1) // plan.parts]
            for group in mine[len(mine) * number // plan.rounds : len(mine) * (number + 1) // plan.rounds]:
                near_x, turned_x = self._near(group, x, rows, X_BAND)
                near_y, turned_y = self._near(group, y, cols, Y_BAND)
                yield from (*turned_x, *turned_y)
                for pair, before, patch in group:
                    there = total[0], total[1] + before
                    adds = (part, first, start, before) in self.begun
                    yield from pair.add(patch, near_x, near_y, (rows, cols), there, adds)
                    self.begun.add((part, first, start, before))

    def _groups(self, images):
        """Lists of groups of the blocks of tiles of some images, which are dealt to parts: what a group reads is turned
        once.
        """
        plan = self.plan
        each = [
            [_Block(pair, before, patch) for patch in pair.patches(0, images)]
            for pair, before in zip(plan.pairs, plan.totals, strict=True)
        ]
        if plan.is_near and plan.turns == 1:
            return [list(zip(*each, strict=True))]
        return [[(block,) for block in blocks] for blocks in each]

    def _near(self, group, operand, channels, base):
        """(how some channels of a map lie for a group of blocks, the nests that turn what it reads of them)."""
        if operand.base == base or operand.at.channels_last:
            return operand, []
        (row, rows), (col, cols) = _reach(group, base == Y_BAND)
        (image, images), size = group[0].patch.images, self.placed.size
        shape = images, channels, rows, cols
        band = PlacedOperand(base, 0, type(operand.at).dense(shape, size, True))
        nests = []
        if rows and cols:
            nests = [transpose_layout(self.placed.elem, operand.move(image, row, col), band, shape)]
        return band.move(-image, -row, -col), nests

    def _taps_at(self, counts):
        """Steps of taps that are turned: of a channel of the input, tap on h, tap on w; and bytes of a tap."""
        row = ceil_div(counts[1] * self.placed.size, LINE) * LINE
        tap = counts[0] * row + LINE
        return row, self.placed.g.w.k * tap, tap, tap

    def _finish(self, run, total):
        """The nests that make the taps of a block of channels, and the weight."""
        placed, ((first, rows), (start, cols)) = self.placed, run
        weight = W, first * placed.w[0] + start * placed.w[1]
        at = self._taps_at(self.plan.pairs[0].channels)
        for before, pair in sorted(self.plan.kept.items(), key=itemgetter(0)):
            to, steps = (weight, (placed.w[0], *placed.w[2:])) if self.is_last else ((SINK, 0), at[:3])
            yield pair.taps((total[0], total[1] + before), to, steps, (rows, cols))
        if not self.is_last:
            yield to_weight(placed, (SINK, 0), weight, at[3], (rows, at[0], placed.w[0]), (cols, placed.w[1]))


def _reach(group, of_y):
    """(first, how many) rows and columns that a group of blocks reads of a map."""
    found = []
    for spans in zip(*(block.pair.reach(block.patch, of_y) for block in group), strict=True):
        spans = [span for span in spans if span[1]] or [(0, 0)]
        first = min(start for start, _ in spans)
        found.append((first, max(start + many for start, many in spans) - first))
    return found


def _alike(blocks, is_one):
    """(number, first channel, how many, how many such blocks) of runs of blocks that are alike."""
    if is_one:
        return [(number, first, count, 1) for number, (first, count) in enumerate(blocks)]
    found, number = [], 0
    for count, run in groupby(blocks, key=itemgetter(1)):
        firsts = [first for first, _ in run]
        found.append((number, firsts[0], count, len(firsts)))
        number += len(firsts)
    return found
