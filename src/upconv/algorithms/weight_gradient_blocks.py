"""The gradient in the weight, block of pixels by block: both maps in panels, or where they lie, and all taps over them.

A gradient in the weight is a sum over all pixels, so the pixels are cut. A block of them stays in the caches while all
taps go over it. The blocks are dealt to parts with sums of their own, which are added up in a fixed tree. Where the
sums themselves are large, there are no parts: the threads share out tiles of the sums, block after block. And where the
channels along the vector are consecutive in the weight, the sums are added up in the weight itself.
"""

import itertools
import math
from dataclasses import replace
from typing import NamedTuple

from ..geometry import ceil_div
from ..kernels import weight_gradient_blocks as kernel
from ..problem import Problem
from ..runtime.kernel import entry
from ..runtime.program import LINE, PANELS, TOTALS, X_BAND, Y_BAND, Grid, Nest, Program, Rows, Stage, V, W
from ..schedule.amounts import NEAR_BYTES
from ..schedule.bands import Scratch
from ..schedule.moves import to_weight, transpose_layout
from ..schedule.next_block import NO_BLOCK, comes_from_far, next_block
from ..schedule.pixel_panels import Cut, block_pixels, copied, images_inside, in_place, side_of, transposed
from ..schedule.pixel_parts import Parts, part_runs, shares, sum_of_parts
from ..schedule.placed_problem import PlacedProblem
from ..schedule.weight_tiles import PIXELS, arrangement
from ..schedule.winograd_blocks import pieces

OPERATIONS = ("grad_weight",)
# Whether rows that lie in planes of a volume are put in order.
TAKES_PLANES = True
# Blocks that are one, if that spares sums so large as these that they go through memory once more.
BLOCKS_IN_ONE, LARGE_SUMS = 4, NEAR_BYTES
# Units of a stage, where threads share out tiles of the sums; columns that are worth packing, and taps that are worth
# writing, by themselves.
UNITS, COLUMNS, RUN = 8, 32, 128
# Sums that become weight at once and are to be in the second-level cache then, beside the panels that they are made of.
BRIEF_BYTES = NEAR_BYTES // 4
# Taps in the lists of all runs, each of which has its own: a table of some 30 kB.
MOST_LISTED = 1 << 12


def why_not(problem: Problem) -> list[str]:
    return [] if problem.geometry.n else ["sums over images, of which there is none"]


def work(problem: Problem) -> dict[str, float]:
    g, made, size = problem.geometry, arrangement(problem), problem.itemsize
    sums = _Sums(problem)
    cut = sums.cut
    a, b = (math.prod(shape) * size for shape in problem.map_shapes[:: -1 if made.swapped else 1])
    pairs, products = g.groups * g.n * g.h.pairs * g.w.pairs, made.a_count * made.b_tiles * made.nv
    rows = cut.count * ceil_div(cut.images * cut.rows * g.h.pairs, g.h.n * g.h.k) * g.h.k * g.w.k
    if _has_images_inside(problem, cut):
        rows = cut.count * g.h.pairs * g.w.pairs
    return {
        "weight_blocks": pairs * products,
        "weight_blocks_waits": pairs * (2 * made.cycles - products),
        "weight_blocks_vectors": pairs * made.tiles * (made.nv + made.a_lines),
        "weight_blocks_rows": rows * g.groups * made.tiles,
        "streamed": made.a_far * pairs * made.tiles * made.a_lines * LINE,
        "tasks": cut.count * g.h.k * g.w.k * g.groups * len(made.ranges),
        "packed_pixels": made.packs_a * a + (made.packs_b and not made.transposes_b) * b,
        "transposed": made.transposes_a * a + made.transposes_b * b,
        "totals": sums.moved(g, made, cut.count),
        "bytes": problem.bytes,
        "calls": 1,
    }


def program(placed: PlacedProblem) -> Program:
    """Parts of the pixels, or tiles of the sums."""
    way = _Way(placed)
    stages, shared = (way.by_parts(), (PANELS,)) if way.sums.parts else (way.by_tiles(), (PANELS, X_BAND, Y_BAND))
    sizes = {} if way.sums.are_weight else {way.sums.base: way.sums.all}
    return Program(stages, {**sizes, **way.scratch.sizes}, placed.seconds, shared)


def _cut(problem):
    """How the pixels are cut into blocks."""
    g = problem.geometry
    is_one = math.prod(g.weight_shape) * problem.itemsize > LARGE_SUMS and g.pixels <= BLOCKS_IN_ONE * PIXELS
    # Over a large stride a tap's pixels share few sets of the caches: what lies between them counts as well.
    made = arrangement(problem)
    apart = g.w.s * (made.rows if made.swapped else made.width) * problem.itemsize
    is_one = is_one and g.pixels * apart <= NEAR_BYTES
    return Cut(g, BLOCKS_IN_ONE * PIXELS if is_one else block_pixels(problem, PIXELS))


def _has_images_inside(problem, cut):
    """Whether panels have the images of a block inside, which are more than the columns: see `images_inside`."""
    made = arrangement(problem)
    return made.packs_a and made.packs_b and cut.images >= 2 * problem.geometry.w.n


class _Sums:
    """Where the sums lie, in each part: (groups, taps, channels of a, channels of b in whole tiles).

    `parts` is how many parts the pixels have, each in so many `pieces`; 0 if tiles of the sums are shared out
    instead. With one block of pixels each tile is finished at once, in `runs` of channels of a, in memory of its own
    that stays near. Without parts `are_weight` says whether they are the weight itself: a tile writes whole lines of
    it, far apart, while it computes, where all of them one after another would wait for memory.
    """

    def __init__(self, problem):
        g, made, size = problem.geometry, arrangement(problem), problem.itemsize
        taps, tiles = g.h.k * g.w.k, made.b_tiles
        cycles = g.groups * g.n * g.h.pairs * g.w.pairs * made.cycles
        cut = _cut(problem)
        nbytes = g.groups * taps * (made.a_count * tiles * made.width * size + LINE)
        # Tiles of a single part are shared out if they are worth it.
        parts = Parts.of(cut, cycles, nbytes, alone=1)
        self.parts, self.pieces, self.cut = parts.count, parts.pieces, cut.even(parts.count)
        self.are_weight = made.in_weight and self.parts <= 1
        self.is_brief = not self.parts and cut.count == 1 and not self.are_weight
        self.base = W if self.are_weight else TOTALS if self.is_brief else PANELS
        self.tile = 0 if self.is_brief else made.width * size
        self.row = made.width * size * (1 if self.is_brief else tiles)
        wanted = ceil_div(taps * made.a_count * self.row, BRIEF_BYTES) if self.is_brief else 1
        self.runs = max(1, min(wanted, MOST_LISTED // taps))
        most = max(map(_channels, _runs(made.ranges, self.runs)))
        # Taps are not the same places of the cache apart.
        self.tap, self.tap_bytes = most * self.row + LINE, made.width * size
        self.group = 0 if self.is_brief else taps * self.tap
        self.nbytes = ceil_div(max(taps * self.tap, g.groups * self.group), LINE) * LINE
        self.all = max(1, self.parts) * self.nbytes

    def moved(self, g, made, blocks):
        """Bytes of them that are read and written."""
        if self.are_weight:
            return (2 * blocks - 1) * self.nbytes
        if self.is_brief:
            # Every tile becomes weight at once: written, read, and put where it belongs.
            return 3 * g.groups * made.b_tiles * g.h.k * g.w.k * (made.a_count * self.row + LINE)
        return (2 * blocks + self.parts + 2) * self.nbytes

    def steps(self, placed):
        """Bytes from row to row, tap to tap of a column and of a row, and group to group."""
        if self.are_weight:
            return placed.w[0], *placed.w[2:], placed.w_group
        return self.row, placed.g.w.k * self.tap, self.tap, self.group


class _Share(NamedTuple):
    """What a unit computes of a block, where tiles of the sums are shared out.

    Attributes:
        group, tile: which group, and which tile of b.
        ranges: (first channel, how many tiles, their rows) of a.
        taps: (first, how many) rows of taps.
    """

    group: int
    tile: int
    ranges: tuple[tuple[int, int, int], ...]
    taps: tuple[int, int]


def _runs(ranges, wanted):
    """About so many runs of tiles of a, each as ranges of tiles that are equally tall."""
    found = []
    for start, many in _even(sum(tiles for _, tiles, _ in ranges), wanted):
        before, some = 0, []
        for first, tiles, rows in ranges:
            low, high = max(start, before), min(start + many, before + tiles)
            if low < high:
                some.append((first + (low - before) * rows, high - low, rows))
            before += tiles
        found.append(tuple(some))
    return found


def _channels(run):
    """Channels of a run of tiles."""
    return sum(tiles * rows for _, tiles, rows in run)


def _even(count, wanted):
    """(first, how many) of about so many pieces."""
    return pieces(count, ceil_div(count, wanted))


class _Way:
    """The stages of a problem."""

    def __init__(self, placed):
        self.placed, self.made, self.scratch = placed, arrangement(placed.problem), Scratch()
        self.sums = _Sums(placed.problem)
        self.cut = self.sums.cut
        self.inside = _has_images_inside(placed.problem, self.cut)
        # One thread has nobody to share with, and goes over what lies together in one go.
        self.units = UNITS if placed.threads > 1 else 1
        self.total = self.sums.steps(placed)
        self.prefetches = bool(self.sums.parts) and not self.inside and comes_from_far(placed.problem, self.cut)
        # Lines of the weight are asked for while the sums are made that become them, tap by tap: where the channels
        # of a tile of b follow one another, and by kernels that have registers for it.
        self.asks = (
            self.sums.is_brief
            and not self.made.planes_a
            and self._steps()[0] == math.prod(placed.g.weight_shape[2:]) * placed.size
        )
        self._lists = {}

    def by_parts(self):
        """Parts with all tiles of their pixels, then their sum, then the weight."""
        sums, stages = self.sums, []
        parts = list(part_runs(self.placed, self.cut, sums.parts, sums.nbytes))
        for piece in range(sums.pieces):
            grids = []
            for blocks, many, steps, offset in parts:
                first, end = (len(blocks) * each // sums.pieces for each in (piece, piece + 1))
                grids.append(Grid(tuple(self._part(blocks, first, end, offset)), (many, 1, 1), steps))
            stages.append(Stage(grids))
        if sums.parts > 1:
            stages.append(Stage(sum_of_parts(self.placed, sums.parts, sums.nbytes)))
        return stages if sums.are_weight else [*stages, self._to_weight()]

    def by_tiles(self):
        """Block after block: both maps packed, then tiles of the sums; after the last block each becomes the weight."""
        stages = []
        units = list(self._shares())
        cuts_taps = any(some < self.placed.g.h.k for *_, (_, some) in units)
        is_apart = cuts_taps and not self.sums.is_brief and not self.sums.are_weight
        for number, block in enumerate(self.cut.blocks(0, self.placed.g.n)):
            (a, b), nests = self._sides(block)
            packing, more = nests
            # What is transposed first is needed by what copies it.
            runs = [packing] if self.made.transposes_a else [[nest] for nest in packing]
            if packing or more:
                stages.append(Stage([Grid(tuple(run)) for run in (*runs, *([nest] for nest in more))]))
            is_last = number == self.cut.count - 1 and not is_apart and not self.sums.are_weight
            grids = []
            for share in units:
                multiply = self._multiply(block, a, b, 0, number > 0, share)
                grids.append(Grid((multiply, self._share_to_weight(share)) if is_last else (multiply,)))
            stages.append(Stage(grids))
        if is_apart:
            stages.append(self._to_weight())
        return stages

    def _shares(self):
        """The Shares of a block: of tiles of b, of ranges of tiles of a, and of rows of taps, `units` in all.

        Where a is read in place, its tiles have cache lines in common, so it is cut last.
        """
        made, g = self.made, self.placed.g
        wanted = max(self.sums.runs, ceil_div(self.units, g.groups * made.b_tiles))
        # A unit that finishes its tiles writes some taps of each channel, which are to be long runs.
        most = max(1, g.h.k * g.w.k // RUN) if self.sums.is_brief else g.h.k
        if made.packs_a:
            ranges = _runs(made.ranges, wanted)
            rows = _even(g.h.k, min(most, ceil_div(wanted, len(ranges))))
        else:
            rows = _even(g.h.k, min(most, wanted))
            ranges = _runs(made.ranges, max(self.sums.runs, ceil_div(wanted, len(rows))))
        return itertools.starmap(_Share, itertools.product(range(g.groups), range(made.b_tiles), ranges, rows))

    def _part(self, blocks, first, end, offset):
        """The nests of some blocks of a part; the first one of all writes the sums, the others add to them."""
        for number in range(first, end):
            (a, b), nests = self._sides(blocks[number])
            for each in nests:
                yield from each
            yield self._multiply(blocks[number], a, b, offset, number > 0, following=self._next(blocks[number]))

    def _next(self, block):
        """The block after one, where it is to be prefetched."""
        if not self.prefetches:
            return NO_BLOCK
        x, y = self._places(block)
        g = self.placed.g
        return next_block(block, x, y, g.groups * g.h.k * g.w.k * self.made.tiles)

    def _places(self, block):
        """Where a block of the input and of the gradient in the output begins."""
        h, w = block.h, block.w
        return self.placed.source.move(block.first, h.first, w.first), self.placed.result.move(
            block.first, h.source, w.source
        )

    def _sides(self, block):
        """((how a lies, how b lies), the nests that pack each) of a block."""
        made, h, w = self.made, block.h, block.w
        shapes = (block.images, h.axis.n, w.axis.n), (block.images, h.axis.out, w.axis.out)
        x, y = zip(self._places(block), shapes, strict=True)
        (a, a_shape), (b, b_shape) = (y, x) if made.swapped else (x, y)
        a_side, a_nests = self._a(a, a_shape)
        b_side, b_nests = self._b(b, b_shape)
        return (a_side, b_side), (a_nests, b_nests)

    def _a(self, operand, shape):
        """In place, in planes or channels-last, or in panels; what lies in planes may be transposed first."""
        made, placed, nests = self.made, self.placed, []
        if made.transposes_a:
            whole = shape[0], made.a_count * placed.g.groups, *shape[1:]
            base = V if made.packs_a else X_BAND
            mine = self.scratch.map(base, whole, placed.size, channels_last=True)
            nests.append(transpose_layout(placed.elem, operand, mine, whole))
            operand = mine
        if not made.packs_a:
            return in_place(operand, made.a_count, made.rows, operand.at.c if made.planes_a else placed.size), nests
        if self.inside:
            operand, shape = images_inside(operand, shape)
        side = side_of(shape, made.ranges, made.rows, X_BAND, placed.size)
        self.scratch.take(X_BAND, placed.g.groups * side.group)
        ranges = made.ranges if self.sums.parts else itertools.chain(*_runs(made.ranges, self.units))
        return side, [*nests, *copied(placed, operand, shape, side, made.a_count, ranges)]

    def _b(self, operand, shape):
        made, placed = self.made, self.placed
        if not made.packs_b:
            return in_place(operand, made.b_count, made.width, placed.size), []
        ranges = [(0, made.b_tiles, made.width)]
        where = images_inside(operand, shape) if self.inside else (operand, shape)
        side = side_of(where[1], ranges, made.width, Y_BAND, placed.size)
        self.scratch.take(Y_BAND, placed.g.groups * side.group)
        nests = []
        for move, some, there in self._strips(operand, shape, side):
            if made.transposes_b:
                nest = transposed(placed, move, some, there, made.b_count, made.width, inside=self.inside)
                nests.append(nest)
            else:
                where = images_inside(move, some) if self.inside else (move, some)
                nests += copied(placed, *where, there, made.b_count, ranges)
        return side, nests

    def _strips(self, operand, shape, side):
        """(the operand, its shape, where it goes) of strips of a block: of rows, or of columns if there is one row.

        Panels of b are whole vectors, so strips may be packed at the same time; parts are packed in one go.
        """
        n, rows, cols = shape
        if self.sums.parts or operand.at.fold:
            return [(operand, shape, side)]
        if rows > 1:
            step = side.n if self.inside else side.row
            return [
                (operand.move(row=first), (n, some, cols), replace(side, offset=side.offset + first * step))
                for first, some in _even(rows, self.units)
            ]
        step = side.row if self.inside else side.col
        return [
            (operand.move(col=first), (n, 1, some), replace(side, offset=side.offset + first * step))
            for first, some in pieces(cols, max(COLUMNS, ceil_div(cols, self.units)))
        ]

    def _multiply(self, block, a, b, offset, adds, share=None, following=NO_BLOCK):
        """The nest of all taps, for all groups and tiles or for a share of them."""
        made, sums = self.made, self.sums
        tile = None if share is None else share.tile
        fields = {
            "a": (a.base, a.offset),
            "b": (b.base, b.offset + (tile or 0) * b.tile),
            "total": (sums.base, offset + (tile or 0) * sums.tile),
            "cols" if self.inside else "n": block.images,
            "b_tiles": made.b_tiles if tile is None else 1,
            "b_tile": b.tile,
            "total_row": self.total[0],
            "add": int(adds),
            "b_count": made.b_count,
            "a_channel": a.channel,
            "longest": kernel.longest_sum_over_pixels(self.placed.g.pixels, math.prod(self.placed.g.weight_shape)),
            **following.fields,
        }
        if self.asks:
            fields |= {"next": (W, self._place(share)), "pace": self._steps()[1]}
        for name, side in (("a", a), ("b", b)):
            is_y = (name == "b") != made.swapped
            step_h, step_w = (self.placed.g.h.s, self.placed.g.w.s) if is_y else (1, 1)
            steps = (step_h, step_w, 1) if self.inside else (1, step_h, step_w)
            fields |= {f"{name}_n": steps[0] * side.n, f"{name}_row": steps[1] * side.row}
            fields[f"{name}_col"] = steps[2] * side.col
        rows, taps = self._tap_lists(block, a, b, following)
        if share is not None:
            first, some = share.taps
            rows = rows._replace(values=rows.values[first : first + some])
        return Nest(kernel.FIELDS, fields, (rows, taps, self._tile_list(a, b, share, following)))

    def _tap_lists(self, block, a, b, following):
        """Rows of taps and taps of a row: where they begin on either side, clipped to what meets."""
        key = block.h.axis, block.w.axis, a, b, following.in_lists
        if key not in self._lists:
            lists, (_, tap_h, tap_w, _) = [], self.total
            names = (("n", "n"), ("rows", "row")) if self.inside else (("rows", "row"), ("cols", "col"))
            visits = self.placed.g.groups * self.made.tiles
            for axis, (name, side), step, before in (
                (block.h.axis, names[0], tap_h, visits * block.w.axis.k),
                (block.w.axis, names[1], tap_w, visits),
            ):
                values = []
                for t in range(axis.k):
                    i, o, count = axis.meeting(t)
                    x, y = (b, a) if self.made.swapped else (a, b)
                    at_x, at_y = i * getattr(x, side), o * getattr(y, side)
                    ab = (at_y, at_x) if self.made.swapped else (at_x, at_y)
                    ahead = t * (before // visits) * self.sums.tap_bytes if self.asks else following.after(t * before)
                    values.append((*ab, t * step, count, ahead))
                lists.append(Rows(("a", "b", "total", name, "next"), values))
            self._lists[key] = lists
        return self._lists[key]

    def _tile_list(self, a, b, share, following):
        """Groups, and the ranges of tiles of a that are equally tall; or those of a share."""
        groups, ranges = range(self.placed.g.groups), self.made.ranges
        if share is not None:
            groups, ranges = (share.group,), share.ranges
        # Sums that are brief lie where those of other channels have lain.
        start = ranges[0][0] if self.sums.is_brief else 0
        key = a, b, groups, tuple(ranges), following.in_lists
        if key not in self._lists:
            made, (row, _, _, per_group), values, visits = self.made, self.total, [], 0
            for g in groups:
                for first, tiles, rows in ranges:
                    address = entry(
                        kernel.weight_gradient_blocks,
                        self.placed.elem,
                        rows,
                        made.nv,
                        False,
                        made.cuts_b,
                        made.planes_a,
                        following.lines,
                        self.asks,
                    )
                    at = made.before(first) * a.tile if made.packs_a else first * a.channel
                    step = a.tile if made.packs_a else rows * a.channel
                    total = g * per_group + (first - start) * row
                    here = address, g * a.group + at, g * b.group, total, tiles, step
                    ahead = (first - start) * self._steps()[1] if self.asks else following.after(visits)
                    values.append((*here, ahead))
                    visits += tiles * made.b_tiles
            self._lists[key] = Rows(("entry", "a", "b", "total", "a_tiles", "a_tile", "next"), values)
        return self._lists[key]

    def _to_weight(self):
        """The stage that transposes the sums to the weight: runs of channels of a."""
        sums, (per_b, per_a), grids = self.sums, self._steps(), []
        for first, some, many in shares(self.made.a_count):
            steps = {PANELS: (sums.group, 0, some * sums.row), W: (self._per_group(), 0, some * per_a)}
            src, dst = (sums.base, first * sums.row), (W, first * per_a)
            lines, columns = (some, sums.row, per_a), (self.made.b_count, per_b)
            nest = to_weight(self.placed, src, dst, sums.tap, lines, columns)
            grids.append(Grid((nest,), (self.placed.g.groups, 1, many), steps))
        return Stage(grids)

    def _share_to_weight(self, share):
        """Transpose the sums of a share to the weight (c_in, c_out / groups, taps)."""
        made, sums, g = self.made, self.sums, self.placed.g
        (per_b, per_a), (tap, some) = self._steps(), share.taps
        first, start = share.ranges[0][0], share.tile * made.width
        src = share.group * sums.group + share.tile * sums.tile + tap * g.w.k * sums.tap
        src += 0 if sums.is_brief else first * sums.row
        dst = self._place(share) + tap * self.placed.w[2]
        lines, columns = (_channels(share.ranges), sums.row, per_a), (min(made.width, made.b_count - start), per_b)
        many = some * g.w.k
        return to_weight(self.placed, (sums.base, src), (W, dst), sums.tap, lines, columns, taps=many)

    def _place(self, share):
        """Where in the weight the channels of a share begin."""
        per_b, per_a = self._steps()
        first, start = share.ranges[0][0], share.tile * self.made.width
        return share.group * self._per_group() + start * per_b + first * per_a

    def _steps(self):
        """Bytes of the weight from channel to channel of b and of a."""
        per_in, per_out = self.placed.w[:2]
        return (per_in, per_out) if self.made.swapped else (per_out, per_in)

    def _per_group(self):
        return self.placed.w_group
