"""A whole layer by Winograd's kernels: its tasks in order, for operands in pixels or in planes.

Each block of tiles is spread, multiplied with the whole weight and gathered. The weight was transformed before, once
(prepared) or in the call; or some channels of a block of columns are made when they are wanted, and used at once.

Maps in planes are turned, a band for each block of tiles, in memory that stays in the cache. `Bases` says what lies
where; a task is a dictionary of its kernel's fields, with their names in order as `fields`.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, groupby, product, zip_longest
from operator import attrgetter

from ..geometry import Geometry, ceil_div
from ..kernels.winograd_product import CHUNK, UNROLL
from ..problem import NO_ACTIVATION
from ..runtime.kernel import isa
from ..runtime.program import LINE
from . import moves, winograd
from .winograd import Sizes, distinct, total
from .winograd_ahead import Ahead, Memory, asked, piece_channels
from .winograd_bands import Bands, transposing
from .winograd_blocks import cut, even, pieces

# Taps of some channels, turned before they are transformed: in the second-level cache, and not too few at once; units
# of a small weight.
TURNED_BYTES, LEAST_TURNED, UNITS = 1 << 18, 8, 4
# Lines of what is turned next that are prefetched in some channels, so that products remain most of what is done;
# longer rows are a stream that machines foresee.
MOST_LINES = 16
# The place of the only block of tiles.
_ONLY = 0, 0, 0
_V_BYTES, _M_BYTES, _PLACE = attrgetter("v_bytes"), attrgetter("m_bytes"), attrgetter("h.start", "w.start")


@dataclass(frozen=True, slots=True)
class Setting:
    """What may be chosen for a layer.

    Attributes:
        outputs: m by the number of taps r, a dictionary for each axis.
        tiles: (images, rows, columns) of tiles of a block, at most.
        channels: channels of the result of a block of columns, at most; a multiple of those of a cache line.
        chunk: channels of a panel of the weight, each a sum of its own at least.
        apart: for each axis, whether each phase has tiles of its own even if they could be shared.
        longest: products of the longest sum.
    """

    outputs: tuple[dict, dict]
    tiles: tuple[int, int, int]
    channels: int
    chunk: int = CHUNK
    apart: tuple[bool, bool] = (False, False)
    longest: int = CHUNK


def sizes_of(g: Geometry, setting: Setting, elem, forward=True) -> tuple[Sizes, ...]:
    """The sizes of everything between source and result, for each pair of parts of a Geometry of one group.

    Raises:
        ValueError: for parts of an axis whose tiles differ.
    """
    c_src, c_dst = (g.c_in, g.c_out) if forward else (g.c_out, g.c_in)
    h, w = cuts = tuple(map(cut, (g.h, g.w), setting.outputs, (forward, forward), setting.apart, setting.tiles[1:]))
    images = pieces(g.n, even(g.n, setting.tiles[0]))
    taps = g.h.k * g.w.k * min(setting.channels, c_dst) * winograd.SIZES[elem]
    # Enough pieces for some threads.
    most = min(setting.chunk, TURNED_BYTES // taps, ceil_div(c_src, UNITS) + LEAST_TURNED - 1)
    turned = max(LEAST_TURNED, most // LEAST_TURNED * LEAST_TURNED)
    of = cuts, images, c_src, c_dst, elem, setting.channels, setting.chunk, setting.longest, turned
    return tuple([Sizes(*pair, *of) for pair in product(h.pieces, w.pieces)])


@dataclass(frozen=True, slots=True)
class Bases:
    """Numbers of the bases of addresses.

    x, y, w, bias are operands. `u` is the transformed weight; `aux` is shared: first a flag of the weight, then (from
    64 bytes on) a flag for each block of tiles, then zeros, all zero before the call. The others are scratch of a
    thread: v the spread tiles of a pair of parts, or of all, m their products and a sink behind them, `taps` some of
    the weight with the channels of the result together, and the bands of maps in planes.
    """

    x: int
    y: int
    w: int
    bias: int
    u: int
    aux: int
    v: int
    m: int
    taps: int
    x_band: int
    y_band: int


class Layer:
    """The tasks of one operation.

    Args:
        g: the Geometry, of one group.
        setting: a Setting.
        elem: f32 or f64.
        x, y: where source and result lie, as a Map each.
        w: strides of the weight in bytes: (c_in, c_out, tap on h, tap on w).
        forward: False for the gradient in the input.
        activation: what the results pass through, one that kernels apply.
        halves: the kind of halves that both maps are, if they are; then neither is said to lie in `pixels`.
        sizes: the `sizes_of` the layer, if they are known.
        makes: whether a chunk of a block of columns of the weight is transformed just before it is used, in the memory
            of the one before, for one block of tiles. Then `u` is a thread's, and `v` is shared: see `spread_units`.
        threads: how many there may be, who take blocks of tiles in turns.

    Attributes:
        bytes: by name of a base, how many it needs; aux and y_band may be 64 bytes longer than what is used.
    """

    def __init__(
        self,
        g: Geometry,
        setting,
        elem,
        x,
        y,
        w,
        bases,
        forward=True,
        activation=NO_ACTIVATION,
        halves="",
        sizes=None,
        makes=False,
        threads=1,
    ):
        self.g, self.elem, self.x, self.y, self.bases, self.forward = g, elem, x, y, bases, forward
        self.activation, self.halves, self.makes, self.threads = activation, halves, makes, threads
        self.sizes = sizes_of(g, setting, elem, forward) if sizes is None else sizes
        c_src = self.sizes[0].c_src
        # The source channel's stride first, whichever side that is.
        self.w = w if forward else (w[1], w[0], *w[2:])
        self.size = self.sizes[0].size
        # Of height and width.
        h, w = self.cuts = self.sizes[0].cuts
        self.blocks = [self.sizes[0].tile_lists[0], h.blocks, w.blocks]
        self.flags = len(self.blocks[0]) * len(h.blocks) * len(w.blocks)
        self.zeros = 64 + -(-8 * self.flags // 64) * 64
        # One pair of parts after another is spread, in the same memory, unless all use the weight that is turned.
        self.v_starts, v_bytes = _starts(map(_V_BYTES, self.sizes), makes)
        self.m_starts, self.sink = _starts(map(_M_BYTES, self.sizes), makes)
        self.starts, u_bytes = self._weight_starts()
        self.turned = self._turned_for_all() if makes else self.sizes[0].turned
        self.bands = Bands(self)
        self.ahead = Ahead(self)
        self.bytes = {
            "u": u_bytes,
            "v": v_bytes,
            "m": self.sink + max(self.sizes[0].phase_channels * self.size, *(each.sums_bytes for each in self.sizes)),
            "aux": self.zeros + c_src * self.size,
            "taps": 0 if self._reads_weight else min(self.turned, c_src) * self._taps_at[0],
            "x_band": 0 if x.pixels else self.bands.x_bytes,
            "y_band": 0 if y.pixels else self.bands.y_bytes,
        }
        if makes:
            self.bytes["u"] = max(sizes.positions * _pos_of_chunk(sizes, 0) for sizes in self.sizes)
        self.lists = list(self._lists())

    def _lists(self):
        """(spread, product, gather) of each pair of parts."""
        b, bands = self.bases, self.bands
        x, y = (b.x, bands.x), (b.y, bands.y)
        if not self.x.pixels:
            x = b.x_band, bands.x
        if not self.y.pixels:
            y = b.y_band, bands.y
        _, high, wide = map(len, self.blocks)
        flags, places = (8 * high * wide, 8 * wide, 8), [*map(_PLACE, self.sizes)]
        for number, (sizes, place) in enumerate(zip(self.sizes, places, strict=True)):
            # Parts of a gradient are added up that have the same results, and only the last sum is one.
            adds, is_result = place in places[:number], place not in places[number + 1 :]
            activation = self.activation if is_result else NO_ACTIVATION
            v, m = (b.v, self.v_starts[number]), (b.m, self.m_starts[number])
            spread = winograd.spread_lists(sizes, (x[0], 0), x[1], v, (b.aux, self.zeros))
            # Nobody reads what the gather leaves in the sink, so that products may add up there.
            u, sums = (b.u, 0 if self.makes else self.starts[sizes.weight]), (b.m, self.sink)
            multiply = winograd.product_lists(sizes, v, u, m, sums, not self.makes, *self._other(sizes))
            at = m, (b.bias, 0), (b.m, self.sink), (b.aux, 64), flags
            *gather, blocks = winograd.gather_lists(sizes, (y[0], 0), y[1], *at, activation, adds)
            if bands.by_columns and not self.y.pixels:
                # Each block of columns has the whole band.
                blocks = [block | {"y": 0} for block in blocks]
            yield spread, multiply, (*gather, blocks)

    def is_converted(self, at):
        """Whether a Map is one of halves whose channels are consecutive: then it is no more than converted."""
        return bool(self.halves) and at.c == moves.HALF

    # The weight ------------------------------------------------------------------------------------------------------

    def _weight_starts(self):
        """(where the transformed weight of some parts begins, by what it depends on; where the last one ends)."""
        starts, end = {}, 0
        for sizes in self.sizes:
            if sizes.weight not in starts:
                starts[sizes.weight], end = end, end + sizes.u_bytes
        return starts, end

    @property
    def _reads_weight(self):
        """Whether taps are read where they are, since channels of the result are consecutive there."""
        return self.w[1] == self.size

    @property
    def _taps_at(self):
        """Strides (source channel, tap on h, tap on w) of `taps`."""
        if self._reads_weight:
            return self.w[0], *self.w[2:]
        line = self.sizes[0].phase_channels * self.size
        return self.g.h.k * self.g.w.k * line, self.g.w.k * line, line

    def weight_tasks(self):
        """The tasks of the whole weight, some channels for all parts at once: pieces that depend on no others."""
        for number, columns in enumerate(self.sizes[0].blocks):
            users = {}
            for sizes in distinct(self.sizes):
                start = self.starts[sizes.weight] + sizes.columns[number].u
                common, channels = self._weight_lists(sizes, number, (self.bases.u, start))
                # Parts, and the sources of one, may begin and end their sums at other channels.
                for some, entry in channels:
                    users.setdefault(some, []).append((common, entry))
            for some, wanting in users.items():
                at = self._at(some, columns) if self._reads_weight else {}
                yield [*self._turn(columns, *some), *(total(*sums, at) for sums in wanting)]

    def _weight_lists(self, sizes, number, u):
        b = self.bases
        w = b.w if self._reads_weight else b.taps
        return winograd.weight_lists(sizes, number, (w, 0), self._taps_at, u, (b.aux, 0))

    def _at(self, some, columns):
        """The entry for (first, how many) channels of the source and of the result, where all taps are there."""
        (first, count), (start, _) = some, columns
        if self._reads_weight:
            at = first * self._taps_at[0] + start * self.size
        else:
            at = first % self.turned * self._taps_at[0]
        # Nothing is read of channels that do not exist.
        return {"w": at if count else 0}

    def _turned_for_all(self):
        """Channels of the source that are turned at once for all parts: a chunk of each, or what covers all of them.

        Where a part has several sources, each takes the same channels in another chunk.
        """
        chunk = self.sizes[0].chunk
        if all(len(sizes.sources) == 1 for sizes in self.sizes):
            return chunk
        return ceil_div(max(sizes.source_channels for sizes in self.sizes), chunk) * chunk

    def _made(self, sizes, lists, number):
        """For each chunk of a block of columns of a part: the tasks that make it, and what a product adds to use it.

        Args:
            lists: the `_weight_lists` of a block as wide.
        """
        (common, channels), block = lists, sizes.columns[number]
        nearer = {"u_pos": _pos_of_chunk(sizes, number) - block.pos}
        for start, found in groupby(channels, key=lambda each: each[1]["u"] // (sizes.chunk * block.line)):
            first = start * sizes.chunk
            count = min(sizes.chunk, sizes.source_channels - first)
            here = nearer | {"u": -first * block.line}
            tasks = [(common, total(entry, here, self._at(some, sizes.blocks[number]))) for some, entry in found]
            yield tasks, nearer | {"v": first * sizes.size, "c": count - sizes.source_channels, "adds": first}

    def _turn(self, columns, first, count):
        """The tasks that turn some channels of the source and (first, how many) of the result; none if there are none
        or taps are read where they are.
        """
        if not count or self._reads_weight:
            return
        start, channels = columns
        (w_src, w_dst, w_h, w_w), (at_src, at_h, at_w) = self.w, self._taps_at
        src = self.bases.w, first * w_src + start * w_dst
        n, rows, cols = (count, w_src, at_src), (channels, w_dst), (self.g.w.k, at_w)
        if w_h == self.g.w.k * w_w:
            cols = self.g.h.k * self.g.w.k, at_w
            # Rows far apart are so many streams of memory: along a few of them, then along the next.
            some = isa().lanes(self.size) if w_dst > w_src else channels
            # Else the next channel lies in another piece of memory.
            ahead = w_src if w_src > w_dst else 0
            for begin, many, each in ((0, channels // some, some), (channels // some * some, 1, channels % some)):
                if many and each:
                    here, there = (src[0], src[1] + begin * w_dst), (self.bases.taps, begin * self.size)
                    lines = many, each * w_dst, each * self.size
                    yield transposing(
                        self.elem, here, there, (each, w_dst), cols, n=lines, m=n, distance=ahead, near=True
                    )
        else:
            yield transposing(
                self.elem, src, (self.bases.taps, 0), rows, cols, n=n, m=(self.g.h.k, w_h, at_h), near=True
            )

    # Blocks of tiles one after another -------------------------------------------------------------------------------

    def units(self):
        """The tasks of each block of tiles, as a list for each."""
        for place in product(*(range(len(blocks)) for blocks in self.blocks)):
            yield [total(*sums) for sums in self.unit(place)]

    def shares(self, threads, blocks):
        """What of a block of tiles is a unit, as lists of (part, block of columns): all of it, if there are many.

        Parts that nobody adds up are spread by themselves, so to share them out costs nothing, and there may be more of
        them than threads. Else each unit spreads the tiles for its blocks of columns.

        Args:
            threads, blocks: how many threads there are for how many blocks of tiles.
        """
        parts, columns = len(self.sizes), len(self.sizes[0].blocks)
        if threads > 1 and self._parts_are_apart:
            return _cut(list(product(range(parts), range(columns))), -(-2 * threads // blocks))
        return _shares(parts, columns, threads, blocks)

    @property
    def _parts_are_apart(self):
        """Whether there are several parts that nobody adds up, and no band is turned for all of them."""
        return self.forward and self.x.pixels and self.y.pixels and len(self.sizes) > 1

    def unit(self, place, share=None):
        """The tasks of a block of tiles, or of a share of it: what each shares with others, then what is added, which
        is the same for all that have it in common.
        """
        numbers = [[] for _ in self.sizes]
        for part, number in product(range(len(numbers)), range(len(self.sizes[0].blocks))) if share is None else share:
            numbers[part].append(number)
        done, many = 0, sum(map(len, numbers))
        if not self.x.pixels:
            yield self.bands.turn_in(place)
        for sizes, (spread, multiply, gather), mine in zip(self.sizes, self.lists, numbers, strict=True):
            _, rows, cols = sizes.tile_lists
            if mine and place[1] < len(rows) and place[2] < len(cols):
                yield from self._spread(place, spread)
                (products, *at, blocks), gathered = multiply, self._gathered(place, gather)
                here = _sum_at(place, at)
                for number in mine:
                    ahead = [self.ahead.entry(place, number, (done, many))] if self.ahead.lines else []
                    done += 1
                    yield products, here, *ahead, blocks[number]
                    yield from self._gather(place, gathered, number)
        if not self.bands.by_columns and not self.y.pixels:
            # All parts have the same blocks here.
            yield self.bands.turn_out(place, *((numbers[0][0], numbers[0][-1]) if share else ()))

    # The weight made block by block, for the only block of tiles ------------------------------------------------------

    def spread_units(self):
        """Units that spread all tiles, as `unit`: one for each part, unless they read the same band."""
        each = [[*self._spread(_ONLY, spread)] for spread, *_ in self.lists]
        return each if self.x.pixels else [[self.bands.turn_in(_ONLY), *chain.from_iterable(each)]]

    def made_units(self, threads, keep=lambda of, make: make()):
        """(blocks of columns that are alike, their tasks as `unit`, what the next of them adds to addresses by base).

        The channels of the source go by once for each block. What is turned of the weight is made, and used, part by
        part, while it is near. All parts are a unit, as far as threads are not more: they share what is turned.

        Args:
            threads: how many there are.
            keep: gives what is made for a key, whatever the maps: see `_made_weight`. It may have the tasks, as `unit`
                yields them, in another form.
        """
        blocks, parts = self.sizes[0].blocks, [*zip(self.sizes, self.lists, strict=True)]
        apart = ceil_div(threads, len(blocks)) if self._parts_are_apart else 1
        alike = [[*some] for _, some in groupby(range(len(blocks)), key=lambda number: blocks[number][1])]
        for some, numbers in product(_cut(parts, apart), alike):
            channels, number, b = blocks[numbers[0]][1], numbers[0], self.bases
            steps = {b.w: channels * self.w[1], b.y: channels * self.y.c, b.bias: channels * self.size}
            first = parts.index(some[0])
            weight = keep((first, len(some), number), lambda: self._made_weight([part for part, _ in some], number))  # noqa: B023
            yield len(numbers), self._made_unit([lists for _, lists in some], number, weight), steps

    def _made_unit(self, lists, number, weight):
        """The tasks of a block of columns for some parts, by their lists and what `_made_weight` says of them."""
        using = []
        for _, (products, *at, blocks), _ in lists:
            using.append((products, total(_sum_at(_ONLY, at), blocks[number])))
        for turning, making in weight:
            yield from turning
            for (products, here), made in zip(using, making, strict=True):
                for tasks, part in made:
                    yield from tasks
                    yield products, here, part
        for *_, gather in lists:
            yield from self._gather(_ONLY, self._gathered(_ONLY, gather), number)
        if not self.bands.by_columns and not self.y.pixels:
            yield self.bands.turn_out(_ONLY, number, number)

    def _made_weight(self, parts, number):
        """How the weight of a block of columns is made for some parts, in steps: the tasks that turn some of it; then
        for each part, for each chunk, the tasks that make it and what a product adds to use it.
        """
        columns, chunks, made = self.sizes[0].blocks[number], self.turned // self.sizes[0].chunk, []
        for sizes in parts:
            made.append(list(self._made(sizes, self._weight_lists(sizes, number, (self.bases.u, 0)), number)))
        turns = [(columns, *piece) for piece in pieces(self.sizes[0].c_src, self.turned)]
        # The last one turns what the next block begins with.
        after = [*turns[1:], *((block, *turns[0][1:]) for block in self.sizes[0].blocks[number + 1 : number + 2])]
        found = []
        for turn, following in zip_longest(turns, after):
            start, making = turn[1] // self.turned * chunks, []
            for at, each in enumerate(made):
                follows = self._follows(following, at, parts)
                making.append([(tasks, part | follows) for tasks, part in each[start : start + chunks]])
            found.append(([(task,) for task in self._turn(*turn)], making))
        return found

    def _follows(self, turn, number, parts):
        """What the product of a part adds to prefetch its share of what is turned next."""
        if turn is None or not self._following():
            return {}
        ((start, channels), first, count), (w_src, w_dst, *_) = turn, self.w
        step, nbytes, _ = self._following()
        there = Memory(start * w_dst + first * w_src, step, count if step == w_src else channels, nbytes)
        sizes = parts[number]
        return asked("next", there, self._lines_of_weight(sizes), piece_channels(sizes), (number, len(parts)))

    def _following(self):
        """What products prefetch while they use what has just been made, so that memory is never waited for: what is
        turned next, as (bytes from row to row of it, bytes of a row, rows for one product). A row is a piece of one
        channel, of the source or of the result, that no machine foresees.
        """
        if not self.makes or self._reads_weight or self.turned != self.sizes[0].chunk:
            return None
        (w_src, w_dst, *_), channels, parts = self.w, self.sizes[0].phase_channels, len(self.sizes)
        if w_dst < w_src:
            return w_src, channels * w_dst, ceil_div(self.turned, parts)
        return w_dst, self.turned * w_src, ceil_div(channels, parts)

    def _lines_of_weight(self, sizes):
        """How many lines of what is turned next a product prefetches in UNROLL channels."""
        (_, nbytes, rows), channels = self._following(), piece_channels(sizes)
        steps = sizes.runs * ceil_div(sizes.chunk, UNROLL)
        there = Memory(0, nbytes, rows, nbytes)
        lines = min(MOST_LINES, ceil_div(rows * ceil_div(nbytes, LINE), steps))
        # Rows begin at whole parts of a chunk, so they may take longer.
        while lines < MOST_LINES and _steps(asked("next", there, lines, channels)) > steps:
            lines += 1
        return lines

    def _other(self, sizes):
        """What products prefetch beside the weight that is there: (lines in UNROLL channels, pointers)."""
        if self._following():
            return self._lines_of_weight(sizes), {"next": (self.bases.w, 0)}
        return (self.ahead.lines, self.ahead.bases) if self.ahead.lines else (0, {})

    def _spread(self, place, spread):
        common, sources, *at = spread
        here = _sum_at(place, at, self.bands.x_move(place))
        for source in sources:
            yield common, source, here

    def _gathered(self, place, gather):
        """What all that is gathered of a block of tiles has in common, in two parts; what blocks of columns add."""
        common, *at, blocks = gather
        return common, _sum_at(place, at, self.bands.y_move(place)), blocks

    def _gather(self, place, gathered, number):
        common, here, blocks = gathered
        yield common, here, blocks[number]
        if self.bands.by_columns and not self.y.pixels:
            yield self.bands.turn_out(place, number, number)


def _sum_at(place, lists, move=None):
    """What a block of tiles adds: the sum of an entry of each list of an axis, and of a move."""
    found = {} if move is None else {**move}
    for (blocks, many, steps, flag), number in zip(lists, place, strict=True):
        first, found[many] = blocks[number]
        if first:
            for name, step in steps.items():
                found[name] = found.get(name, 0) + first * step
            if flag:
                found["flag"] = found.get("flag", 0) + number * flag
    return found


def _steps(asking):
    """In how many steps of UNROLL channels everything comes that a product asks for."""
    return asking["next_all"] * asking["next_c"] // UNROLL


def _starts(sizes, together):
    """(where each begins, the end), of what lies side by side if `together`, or in the same place.

    >>> _starts([3, 5], True), _starts([3, 5], False)
    (([0, 3], 8), ([0, 0], 5))
    """
    sizes = list(sizes)
    if not together:
        return [0] * len(sizes), max(sizes)
    *starts, end = accumulate(sizes, initial=0)
    return starts, end


def _pos_of_chunk(sizes, number):
    """Bytes from position to position where a chunk of a block of columns is all that there is of the weight."""
    return min(sizes.chunk, sizes.source_channels) * sizes.columns[number].line + LINE


# Most sizes have a number of blocks that others have as well.
@lru_cache(maxsize=256)
def _shares(parts, columns, threads, blocks):
    # As many for each thread, or enough of them that one more makes no difference.
    many = next(n for n in range(1, 4 * threads + 1) if blocks * n % threads == 0 or blocks * n >= 4 * threads)
    return [list(product(range(parts), some)) for some in _cut(range(columns), many)]


def _cut(items, many):
    """Some items in at most so many pieces, as even as can be."""
    many = min(many, len(items))
    return [items[len(items) * number // many : len(items) * (number + 1) // many] for number in range(many)]
