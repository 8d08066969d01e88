"""Winograd's products: at every position a product of matrices, tiles by channels times channels by columns.

    m[p, tile, v]  =  sum over c of  v[p, tile, c] * u[p, c, v]          (+ what m was, if `adds`)

    v      position after position `v_pos` apart, in each a line of channels for each tile, `v_tile` apart
    u      one stream in the order of use: for each position, `u_pos` apart, chunks of CHUNK channels, the last one
           shorter; in each chunk panels of nv vectors; in each panel a line for every channel
    m      position after position `m_pos` apart, in each a line of columns for each tile, `m_tile` apart

There are n x tiles_h x tiles_w tiles. They are taken mr or mr - 1 at a time, so that nearly every number of them is
cut without a rest (`cut`); where there is one, v and m must have room for it. A panel stays in the first-level cache
while all tiles meet it; meanwhile the panel after it is prefetched, into the second-level cache and evenly (`pace`):
all at once, prefetches would wait for one another, and what is read for them. A kernel of its own also prefetches
other memory that is wanted soon: after the next panel, while the rest of the tiles meet this one, `next_all` pieces
from `next` on, each in `next_c` channels. `next_pieces` of them are a row, and rows are `next_row` apart; from the end
of a piece it is `next_on` to the following one. Then come as many as `then` says. So memory is read while it would have
nothing to do. No sum is longer than a chunk: the sums of chunks are added up in m. Shorter ones (`longest`) of a chunk
are added up in `sums` first, which stays in the first-level cache, and the last of them goes to m: so the sum in m is a
chain of chunks alone, whatever the length of the others.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, SIZES, Builder, Type

# Sums of this length have rounding errors that leave room for those of the transforms.
CHUNK = 64
UNROLL = 4
# Tiles at once by the vectors at once, the best first, by the number of vector registers; and where a product that is
# not added in the instruction that makes it needs one of them.
TILES = {32: {4: 6, 3: 8, 2: 8, 1: 12}, 16: {3: 4, 2: 6, 5: 2}}
UNFUSED = {2: 6}
FIELDS = tuple(
    (
        "entry v u m sums c n tiles_h tiles_w positions v_pos u_pos m_pos v_tile m_tile panels adds "
        "next next_row next_pieces next_all next_c next_on then then_row then_pieces then_all then_c then_on"
    ).split()
)
POINTERS = {"v", "u", "m", "sums", "next", "then"}


def scratch(isa: Isa, size, mr, nv):
    """Bytes of `sums`.

    >>> from upconv.codegen.isa import ROWS
    >>> scratch(ROWS["avx512"], 4, 6, 4)
    1536
    """
    return mr * nv * isa.lanes(size) * size


# Enough for a number of tiles below 2**20 to be divided by another one by multiplication.
DIVISION_BITS = 24


def tiles_of(isa: Isa):
    """Tiles at once by the vectors at once."""
    return TILES[isa.registers] if isa.fused else UNFUSED


def tile(isa: Isa, *vectors):
    """(mr, nv) of the product for blocks of so many vectors of columns: of those that compute the fewest in vain the
    first.

    >>> from upconv.codegen.isa import ROWS
    >>> [tile(ROWS["avx512"], vectors) for vectors in (1, 2, 6, 8)]
    [(12, 1), (8, 2), (8, 3), (6, 4)]
    >>> [tile(ROWS["avx2"], vectors) for vectors in (2, 5, 9, 10)], tile(ROWS["x86-64"], 9)
    ([(6, 2), (2, 5), (4, 3), (6, 2)], (6, 2))
    >>> tile(ROWS["avx512"], 16, 12)
    (6, 4)
    """
    tiles = tiles_of(isa)
    nv = min(tiles, key=lambda nv: sum(-(-each // nv) * nv for each in vectors))
    return tiles[nv], nv


def cut(tiles, mr):
    """(tall, short): how often mr and mr - 1 are taken to cover so many tiles with as little as possible beyond.

    >>> cut(22, 6), cut(43, 6), cut(7, 6)
    ((2, 2), (3, 5), (0, 2))
    """
    count = -(-tiles // mr)
    short = min(count, count * mr - tiles)
    return count - short, short


def pace(isa: Isa, size, mr, nv, tiles):
    """Cache lines to prefetch in UNROLL channels, so that so many tiles prefetch a panel and little more.

    >>> from upconv.codegen.isa import ROWS
    >>> [pace(ROWS["avx512"], 4, 6, 4, tiles) for tiles in (60, 42, 24)]
    [2, 3, 4]
    """
    tall, short = cut(tiles, mr)
    lines = -(-UNROLL * nv * isa.lanes(size) * size // LINE)
    if isa.name == "neon":
        # One before every channel keeps the compiler from loading more ahead than there are registers.
        return lines
    return -(-lines // max(1, tall + short))


def macs(task, lanes, elem, mr, nv, chunk=CHUNK, lines=1, longest=CHUNK, next_lines=0):
    """Multiply-adds of a task, those of tiles and columns beyond the last included."""
    tall, short = cut(task["n"] * task["tiles_h"] * task["tiles_w"], mr)
    tiles = tall * mr + short * (mr - 1)
    return tiles * task["positions"] * task["panels"] * nv * lanes * task["c"]


def winograd_product(isa: Isa, elem, mr, nv, chunk=CHUNK, lines=UNROLL, longest=CHUNK, next_lines=0):
    """The kernel for mr tiles by nv vectors at once.

    Args:
        chunk: channels of a panel.
        lines: how many it prefetches in UNROLL channels.
        longest: products of a sum, if fewer than a chunk; a multiple of UNROLL.
        next_lines: how many lines of `next` it prefetches in UNROLL channels.
    """
    ahead = f"{'all' if lines else 'next'}_{next_lines}" if next_lines else lines
    k = Builder(f"winograd_product_{elem}_{mr}x{nv}_{chunk}_{ahead}_{longest}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    width = nv * vector.size
    tall, short = _cut(k, task["n"] * task["tiles_h"] * task["tiles_w"], mr)
    other = _Other(k, task, next_lines) if next_lines else None
    with k.loop(0, task["positions"]) as position, k.loop(0, task["c"], chunk) as start:
        v = task["v"] + position * task["v_pos"] + start * vector.scalar.size
        u = task["u"] + position * task["u_pos"] + start * width * task["panels"]
        m = task["m"] + position * task["m_pos"]
        part = k.imin(task["c"] - start, chunk)
        adds = k.less(0, task["adds"] + start)
        with k.loop(0, task["panels"]) as panel:
            mine = u + panel * (part * width)
            block = _Block(k, task, vector, nv, mine, part, adds, min(chunk, longest), lines, other)
            here, there = k.variable(v), k.variable(m + panel * width)
            for height, times in ((mr, tall), (mr - 1, short)):
                with k.loop(0, times):
                    block.run(here.get(), there.get(), height, longest < chunk)
                    here.set(here.get() + task["v_tile"] * height)
                    there.set(there.get() + task["m_tile"] * height)
    return k


def _cut(k, tiles, mr):
    """`cut` at run time."""
    count = k.shift_right((tiles + (mr - 1)) * -(-(1 << DIVISION_BITS) // mr), DIVISION_BITS)
    short = k.imin(count, count * mr - tiles)
    return count - short, short


class _Other:
    """What is prefetched beside panels: pieces of memory, one after another."""

    NAMES = "row", "pieces", "all", "c", "on"

    def __init__(self, k, task, lines):
        self.k, self.task, self.lines = k, task, lines
        self.at, self.piece = k.variable(task["next"]), k.variable(0, I64)
        # Channels of a piece, and how far it is from its end to the following one.
        self.each, self.skip = k.variable(UNROLL, I64), k.variable(0, I64)
        self.start, self.later = k.variable(task["next"]), k.variable(task["then_all"])
        self.row, self.pieces, self.all, self.c, self.on = (k.variable(task[f"next_{name}"]) for name in self.NAMES)

    def go_on(self, near, channels):
        """So many channels follow: to the next pieces, or what comes then; after that, to what is near."""
        k, task, later = self.k, self.task, self.later.get()
        with k.when(k.less(self.all.get(), self.piece.get() + 1)):
            self.start.set(k.select(k.less(0, later), task["then"], near))
            for name in self.NAMES:
                getattr(self, name).set(task[f"then_{name}"])
            self.all.set(later)
            self.later.set(0)
            self.piece.set(0)
        # Where nothing is asked for, all of this is 0.
        piece, pieces, c = self.piece.get(), k.imax(1, self.pieces.get()), k.imax(UNROLL, self.c.get())
        row, nbytes = k.divide(piece, pieces), k.shift_right(c, UNROLL.bit_length() - 1) * (self.lines * LINE)
        self.at.set(self.start.get() + (row * self.row.get() + (piece - row * pieces) * nbytes))
        self.each.set(c)
        self.skip.set(self.on.get())
        self.piece.set(piece + k.imax(1, k.divide(channels, c)))

    def of_panel(self, at, channels):
        """To a piece of a panel, in all of the channels that follow."""
        self.at.set(at)
        self.each.set(channels)
        self.skip.set(0)


class _Block:
    """One panel of one chunk, with some tiles at a time."""

    def __init__(self, k, task, vector, nv, u, part, adds, longest, lines, other):
        self.k, self.task, self.vector, self.nv = k, task, vector, nv
        self.u, self.part, self.adds, self.longest, self.lines, self.other = u, part, adds, longest, lines, other
        # The next panel, and in how many pieces it is prefetched beside other memory.
        self.ahead, self.pieces = k.variable(u + part * (nv * vector.size)), None
        if other is not None and lines:
            self.pieces = k.variable(-(-nv * vector.size * UNROLL // (other.lines * LINE)), I64)

    def run(self, v, m, height, cuts):
        """Some tiles; `cuts` says whether a chunk is more than one sum."""
        k, task = self.k, self.task
        rows = [v + task["v_tile"] * r for r in range(height)]
        there = [m + task["m_tile"] * r for r in range(height)]
        if self.other is not None:
            self.ask()
        if not cuts:
            self.put(there, self.sum(rows, 0, self.part))
            return
        near = [task["sums"] + r * self.nv * self.vector.size for r in range(height)]
        first = self.sum(rows, 0, k.imin(self.part, self.longest))
        is_one = k.less(self.part, self.longest + 1)
        with k.when(is_one):
            self.put(there, first)
        with k.when(k.equal(is_one, 0)):
            self.write(near, first, lambda value, at: value)
        with k.loop(self.longest, self.part, self.longest) as start:
            after = start + self.longest
            found, is_last = self.sum(rows, start, k.imin(self.part, after)), k.less(self.part, after + 1)
            with k.when(k.equal(is_last, 0)):
                self.write(near, found, self.added)
            with k.when(is_last):
                self.put(there, self.on_top(near, found))

    def ask(self):
        """What is prefetched with the next tiles: some of the next panel, or, if all of that is, other memory."""
        k = self.k
        if self.pieces is None:
            self.other.go_on(self.u, self.part)
            return
        left = self.pieces.get()
        with k.when(k.less(0, left)):
            ahead = self.ahead.get()
            self.other.of_panel(ahead, self.part)
            self.ahead.set(ahead + k.shift_right(self.part, UNROLL.bit_length() - 1) * (self.other.lines * LINE))
        with k.when(k.less(left, 1)):
            self.other.go_on(self.u, self.part)
        self.pieces.set(left - 1)

    def sum(self, rows, first, end):
        """One sum of each tile, in registers from the first channel to the last."""
        k = self.k
        zero = k.zero(self.vector)
        sums = [[k.variable(zero) for _ in range(self.nv)] for _ in rows]
        whole = end - k.iand(end - first, UNROLL - 1)
        if self.other is None:
            self.some(rows, sums, first, whole, self.ahead, self.lines)
        else:
            at, each = self.other.at, self.other.each.get()
            with k.loop(first, whole, each) as start:
                self.some(rows, sums, start, k.imin(whole, start + each), at, self.other.lines)
                at.set(at.get() + self.other.skip.get())
        with k.loop(whole, end) as c:
            self.channels(rows, sums, c, 1)
        return sums

    def some(self, rows, sums, first, end, ahead, lines):
        """Channels in groups of UNROLL, and so many lines `ahead` with each."""
        with self.k.loop(first, end, UNROLL) as c:
            at = ahead.get()
            self.channels(rows, sums, c, UNROLL, at, lines)
            ahead.set(at + lines * LINE)

    def put(self, there, sums):
        """What a chunk adds to m, which may have nothing yet."""
        k = self.k
        with k.when(self.adds):
            self.write(there, sums, self.added)
        with k.when(k.equal(self.adds, 0)):
            self.write(there, sums, lambda value, at: value)

    def added(self, value, at):
        return self.k.add(value, self.k.load(at, self.vector))

    def on_top(self, near, sums):
        """The variables, with what is in memory added to them."""
        for place, line in zip(near, sums, strict=True):
            for i, variable in enumerate(line):
                variable.set(self.added(variable.get(), place + i * self.vector.size))
        return sums

    def channels(self, rows, sums, c, count, ahead=None, lines=0):
        """Add the products of some channels from c on; the lines at `ahead` are prefetched among them."""
        k, vector, width = self.k, self.vector, self.nv * self.vector.size
        size = vector.scalar.size
        at, u = k.opaque(c * size), self.u + k.opaque(c * width)
        for n in range(count):
            panel = [k.load(u + (n * width + i * vector.size), vector) for i in range(self.nv)]
            for line in range(lines * n // count, lines * (n + 1) // count):
                k.prefetch(ahead + line * LINE, locality=2)
            for row, line in zip(rows, sums, strict=True):
                value = k.splat(k.load(row + at + n * size, vector.scalar), vector)
                for variable, part in zip(line, panel, strict=True):
                    variable.set(k.muladd(value, part, variable.get()))

    def write(self, there, sums, finish):
        for place, line in zip(there, sums, strict=True):
            for i, variable in enumerate(line):
                at = place + i * self.vector.size
                self.k.store(finish(variable.get(), at), at)
