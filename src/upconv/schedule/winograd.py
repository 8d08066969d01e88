"""Winograd's tasks for one pair of parts (`winograd_parts.Part`, one on each axis), as sums of short lists.

Every field of a task is a sum: what all tasks of a kernel have in common, and an entry of each list that it goes by
(images, rows and columns of tiles; sources; blocks of columns). So a list has as many entries as an axis has blocks,
and no list of products is ever made. `total` adds entries up.

The columns of the product are the phases times the channels of the result, cut into blocks (`winograd_columns`): all
phases of some channels, so that all phases of a tile are written together. What is padded is said by `Sizes`.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

from ..kernels import winograd_gather, winograd_product, winograd_spread, winograd_weight
from ..kernels.epilogue import slope_field
from ..kernels.winograd_product import CHUNK, cut, pace, scratch
from ..kernels.winograd_weight import vectors_at_once
from ..problem import NO_ACTIVATION
from ..runtime.kernel import entry, isa
from ..runtime.program import LINE
from .winograd_blocks import Cut, Piece
from .winograd_columns import columned

# A transformed weight of fewer bytes stays in the second-level cache beside a block of tiles.
NEAR_BYTES = 1 << 19
SIZES = {"f32": 4, "f64": 8}


def total(*entries):
    """The sum of entries of lists: numbers add up, and to an address (base, offset) of the first they are added.

    >>> total({"x": (1, 100), "n": 2}, {"x": 20}, {"row": 3})
    {'x': (1, 120), 'n': 2, 'row': 3}
    """
    fields = dict(entries[0])
    for entry_ in entries[1:]:
        for name, value in entry_.items():
            known = fields.get(name)
            if known is None:
                fields[name] = value
            elif value:
                fields[name] = (known[0], known[1] + value) if type(known) is tuple else known + value
    return fields


def odd_lines(nbytes):
    """A size as an odd number of cache lines, so that what lies so far apart falls into all sets of a cache."""
    return (-(-nbytes // LINE) | 1) * LINE


@dataclass(frozen=True)
class OfBlock:
    """The weight of a block of columns: as `winograd_columns.Columns`, and in bytes where not said.

    Attributes:
        vectors, panels: of one phase, and of all.
        phase: columns of one phase.
        u: where the transformed weight begins.
        line: the weight for one channel of the source and one position.
        pos: the same for all channels.
    """

    vectors: int
    panels: int
    phase: int
    u: int
    line: int
    pos: int


@dataclass
class OfLayer:
    """What `Sizes` of a layer have in common, in bytes where not said.

    Attributes:
        size: of a number.
        tile: (mr, nv) of the product.
        width: columns of a panel.
        positions, phases: products of a tile, and phases that are gathered together.
        sources: pairs (number on h, number on w) of the sources that are added up.
        source_channels: what is summed over: the channels of all sources, each rounded up to whole vectors.
        v_tile, m_tile: from tile to tile of the spread tiles, and of their products.
        blocks: (first channel, how many) of each block of columns, the widest first.
        columns: the OfBlock of each.
        phase_channels: columns of one phase in the widest block: whole vectors.
        panels: of all blocks.
        u_bytes: the transformed weight.
    """

    size: int
    tile: tuple[int, int]
    width: int
    positions: int
    phases: int
    sources: list[tuple[int, int]]
    source_channels: int
    v_tile: int
    m_tile: int
    blocks: list[tuple[int, int]]
    columns: list[OfBlock]
    phase_channels: int
    panels: int
    u_bytes: int


class Sizes(OfLayer):
    """How a pair of parts is computed: the sizes of everything between source and result, in bytes where not said.

    What depends on no size of a map is the same for all `Sizes` of a layer, and is worked out once: see `_of_layer`.

    Args:
        h, w: the parts, and their blocks of tiles.
        cuts: all parts of each axis, for height and width.
        images: (first, how many) of each block of images.
        c_src, c_dst: channels of the source and of the result.
        elem: f32 or f64.
        channels: channels of the result of a block, at most; a multiple of those of a cache line.
        chunk: channels of a panel of the weight, each a sum of its own at least.
        longest: products of the longest sum.
        turned: channels of the source whose weight is transformed at once, at most.

    Attributes:
        h, w: the parts.
        n: images.
        tiles: (images, rows, columns) of tiles of a block, at most.
        tile_lists: the blocks of tiles of images, rows and columns: (first, how many) of each.
        weight: what the transformed weight depends on, of what pairs of parts of a layer may differ in.
        block_tiles: room for tiles in a block, those included that the product makes beyond its last.
        v_pos, m_pos: bytes from position to position of the spread tiles, and of their products.
        v_bytes, m_bytes: the same for all positions.
    """

    def __init__(
        self,
        h: Piece,
        w: Piece,
        cuts: tuple[Cut, Cut],
        images: list[tuple[int, int]],
        c_src: int,
        c_dst: int,
        elem: str,
        channels: int,
        chunk: int = CHUNK,
        longest: int = CHUNK,
        turned: int = CHUNK,
    ):
        (self.h, of_h, rows), (self.w, of_w, columns) = h, w
        self.cuts, self.c_src, self.c_dst, self.elem = cuts, c_src, c_dst, elem
        self.channels, self.chunk, self.longest, self.turned = channels, chunk, longest, turned
        # The first blocks are the largest.
        self.n, self.tiles = sum(images[-1]), (images[0][1], cuts[0].size, cuts[1].size)
        self.weight, self.tile_lists = (of_h, of_w), [images, rows, columns]
        phases, many = self.h.phases * self.w.phases, (len(self.h.sources), len(self.w.sources))
        of = self.h.form.size * self.w.form.size, phases, many, c_src, c_dst, elem, channels
        vars(self).update(vars(_of_layer(isa(), *of)))
        self.block_tiles = _room(images[0][1] * rows[0][1] * columns[0][1], self.tile[0])
        self.v_pos = odd_lines(self.block_tiles * self.v_tile)
        self.m_pos = odd_lines(self.block_tiles * self.m_tile)
        self.v_bytes, self.m_bytes = self.positions * self.v_pos, self.positions * self.m_pos

    @property
    def pace(self):
        """Lines that the product prefetches in UNROLL channels."""
        return pace(isa(), self.size, *self.tile, self.block_tiles)

    @property
    def sums_bytes(self):
        """Of the sums of a chunk that the product has in memory, of the tiles that it takes at once."""
        return scratch(isa(), self.size, *self.tile)

    @property
    def runs(self):
        """How often some tiles meet a panel, in the narrowest block of columns."""
        return self.positions * self.columns[-1].panels * sum(cut(self.block_tiles, self.tile[0]))

    @property
    def multiplications(self):
        """Products that are made, those beyond the last tile of a block not counted."""
        columns = self.panels * self.width
        return self.n * self.h.tiles * self.w.tiles * self.positions * self.source_channels * columns


def distinct(sizes):
    """The first pair of parts of each transformed weight."""
    first = {}
    for each in sizes:
        first.setdefault(each.weight, each)
    return list(first.values())


@lru_cache(maxsize=256)
def _of_layer(isa, positions, phases, sources, c_src, c_dst, elem, channels):
    size = SIZES[elem]
    lanes = isa.lanes(size)
    pairs = list(product(range(sources[0]), range(sources[1])))
    source_channels = c_src if len(pairs) == 1 else len(pairs) * -(-c_src // lanes) * lanes
    cut_columns = columned(isa, size, phases, c_dst, channels)
    width = cut_columns.tile[1] * lanes
    columns, end = [], 0
    for block in cut_columns.blocks:
        line = block.panels * width * size
        # Positions are written side by side: not at the same place of a page.
        columns.append(OfBlock(*block[2:], block.vectors * lanes * size, end, line, source_channels * line + LINE))
        end += positions * columns[-1].pos
    widest = cut_columns.blocks[0]
    return OfLayer(
        size=size,
        tile=cut_columns.tile,
        width=width,
        positions=positions,
        phases=phases,
        sources=pairs,
        source_channels=source_channels,
        v_tile=odd_lines(-(-source_channels // lanes) * lanes * size),
        m_tile=odd_lines(widest.panels * width * size),
        blocks=[block[:2] for block in cut_columns.blocks],
        columns=columns,
        phase_channels=widest.vectors * lanes,
        panels=sum(block.panels for block in cut_columns.blocks),
        u_bytes=end,
    )


@lru_cache(maxsize=256)
def _room(most, mr):
    """Tiles that the product makes of at most so many: fewer may be rounded up to more than the most are."""
    cuts = (cut(tiles, mr) for tiles in range(max(1, most - mr), most + 1))
    return max(tall * mr + short * (mr - 1) for tall, short in cuts)


def spread_lists(sizes, x, at, v, zeros):
    """(common, sources, images, rows, columns) of the tasks that spread a source.

    Args:
        sizes: the Sizes.
        x: (base, offset) of index 0 of the source.
        at: its strides (n, h, w) in bytes; channels are consecutive.
        v: (base, offset) of the spread tiles; `zeros` of zeros for all channels.
    """
    h, w = sizes.h, sizes.w
    common = {
        "fields": winograd_spread.FIELDS,
        "entry": entry(winograd_spread.winograd_spread, sizes.elem, h.form.source, w.form.source),
        "x": x,
        "v": v,
        "zeros": zeros,
        "c": sizes.c_src,
        "x_n": at[0],
        "x_row": at[1] * h.sources[0].step * h.form.m,
        "x_col": at[2] * w.sources[0].step * w.form.m,
        "x_h": at[1] * h.sources[0].step,
        "x_w": at[2] * w.sources[0].step,
        "row_m": h.form.m,
        "col_m": w.form.m,
        "v_pos": sizes.v_pos,
        "v_tile": sizes.v_tile,
    }
    step = sizes.source_channels // len(sizes.sources) * sizes.size
    sources = []
    for number, (i, j) in enumerate(sizes.sources):
        row, col = h.sources[i], w.sources[j]
        first = at[1] * (row.start + row.first * row.step) + at[2] * (col.start + col.first * col.step)
        there = {"row": row.first, "height": row.count, "col": col.first, "width": col.count}
        sources.append({"x": first, **there, "v": number * step})
    images, rows, cols = sizes.tile_lists
    return (
        common,
        sources,
        Along(images, "n", {"x": at[0]}),
        Along(rows, "tiles_h", {"x": common["x_row"], "row": h.form.m}),
        Along(cols, "tiles_w", {"x": common["x_col"], "col": w.form.m}),
    )


class Along(NamedTuple):
    """What each block of an axis adds: how many there are, and some steps for each one before it, a flag a block.

    Blocks may be many, and few of them are asked for.

    >>> along = Along([(0, 3), (3, 2)], "n", {"x": 10}, flag=8)
    >>> along.at(0), along.at(1)
    ({'n': 3}, {'n': 2, 'x': 30, 'flag': 8})
    """

    blocks: list[tuple[int, int]]
    many: str
    steps: dict[str, int]
    flag: int = 0

    def at(self, number):
        """The entry of a block."""
        first, count = self.blocks[number]
        added = {self.many: count}
        if first:
            for name, step in self.steps.items():
                added[name] = first * step
            if self.flag:
                added["flag"] = number * self.flag
        return added


def product_lists(sizes, v, u, m, sums, together=True, lines=0, other=None):
    """(common, images, rows, columns, blocks) of the products of blocks of tiles and blocks of columns.

    `sums` is memory for the sums of one chunk of some tiles, `sums_bytes` of it.
    `together` says whether the weight of one block of columns lies behind that of the one before, or in its place.
    `lines` of other memory are prefetched in UNROLL channels; `other` has what is known of it for all products.
    """
    how = sizes.pace, sizes.longest
    if lines:
        # A weight that is small, or was made just before, is near.
        asks = together and sizes.u_bytes > NEAR_BYTES
        how = asks, sizes.longest, lines + asks * sizes.pace
    common = {
        "fields": winograd_product.FIELDS,
        "entry": entry(winograd_product.winograd_product, sizes.elem, *sizes.tile, sizes.chunk, *how),
        "v": v,
        "u": u,
        "m": m,
        "sums": sums,
        "c": sizes.source_channels,
        "positions": sizes.positions,
        "v_pos": sizes.v_pos,
        "m_pos": sizes.m_pos,
        "v_tile": sizes.v_tile,
        "m_tile": sizes.m_tile,
        "adds": 0,
        **(other or {}),
    }
    images, rows, cols = sizes.tile_lists
    blocks = [{"u": each.u * together, "u_pos": each.pos, "panels": each.panels} for each in sizes.columns]
    return common, Along(images, "n", {}), Along(rows, "tiles_h", {}), Along(cols, "tiles_w", {}), blocks


def gather_lists(sizes, y, at, m, bias, sink, flag, flag_steps=(0, 0, 0), activation=NO_ACTIVATION, adds=False):
    """(common, images, rows, columns, blocks) of the tasks that gather the results.

    Args:
        activation: the problem's, one that kernels apply.
        adds: to what another pair of parts has written.
        y: (base, offset) of index 0 of the result, `at` its strides (n, h, w); channels are consecutive.
        bias, sink, flag: addresses; there is one flag for every block of tiles, `flag_steps` apart.
    """
    h, w = sizes.h, sizes.w
    arguments = sizes.elem, h.form.output, w.form.output, h.form.bias, w.form.bias
    if adds:
        arguments = *arguments, activation.name, True
    elif activation.name != "none":
        arguments = *arguments, activation.name
    common = {
        "fields": winograd_gather.FIELDS,
        "entry": entry(winograd_gather.winograd_gather, *arguments),
        "slope": slope_field(sizes.elem, activation.slope),
        "y": (y[0], y[1] + h.start * at[1] + w.start * at[2]),
        "m": m,
        "bias": bias,
        "sink": sink,
        "flag": flag,
        "y_n": at[0],
        "y_row": at[1] * h.step * h.form.m,
        "y_col": at[2] * w.step * w.form.m,
        "y_h": at[1] * h.step,
        "y_w": at[2] * w.step,
        "phases_h": h.phases,
        "phases_w": w.phases,
        "y_ph": at[1],
        "y_pw": at[2],
        "row": h.start,
        "row_tile": h.step * h.form.m,
        "row_step": h.step,
        "height": h.count,
        "col": w.start,
        "col_tile": w.step * w.form.m,
        "col_step": w.step,
        "width": w.count,
        "m_pos": sizes.m_pos,
        "m_tile": sizes.m_tile,
    }
    images, rows, cols = sizes.tile_lists
    return (
        common,
        Along(images, "n", {"y": at[0]}, flag_steps[0]),
        Along(rows, "tiles_h", {"y": common["y_row"], "row": common["row_tile"]}, flag_steps[1]),
        Along(cols, "tiles_w", {"y": common["y_col"], "col": common["col_tile"]}, flag_steps[2]),
        [
            {"y": start * sizes.size, "bias": start * sizes.size, "c": count, "m_phase": each.phase}
            for (start, count), each in zip(sizes.blocks, sizes.columns, strict=True)
        ],
    )


def weight_lists(sizes, number, w, at, u, flag):
    """(common, channels) of the tasks that transform the weight of a block of columns into what the products read.

    `channels` has pairs: (first channel of the source, how many, 0 for those that only fill up) and the entry.

    Args:
        sizes: the Sizes.
        number: that of the block.
        w: (base, offset) of the weight of some channels of the source and the block of channels of the result.
        at: its strides (channel of the source, tap on h, tap on w) in bytes; channels of the result are consecutive.
        u: where the block lies.
        flag: becomes 1 if the weight cannot be used, because what it becomes is not finite.
    """
    h, w_part, nv = sizes.h, sizes.w, sizes.tile[1]
    vector, block, (_, columns) = isa().vector_bytes, sizes.columns[number], sizes.blocks[number]
    matrices = h.form.weight, w_part.form.weight
    common = {
        "fields": winograd_weight.FIELDS,
        "entry": entry(winograd_weight.winograd_weight, sizes.elem, *matrices, nv, vectors_at_once(block.vectors, nv)),
        "w": (w[0], w[1] + h.tap * at[1] + w_part.tap * at[2]),
        "u": u,
        "flag": flag,
        "w_c": at[0],
        "w_h": h.tap_step * at[1],
        "w_w": w_part.tap_step * at[2],
        "phases_h": h.phases,
        "phases_w": w_part.phases,
        "w_ph": at[1],
        "w_pw": at[2],
        "u_pos": block.pos,
        "vectors": block.vectors,
        "columns": columns,
    }
    channels, made = [], []
    each = sizes.source_channels // len(sizes.sources)
    for number, (i, j) in enumerate(sizes.sources):
        for first, count, exist in _runs(sizes, number * each, each):
            start = first // sizes.chunk * sizes.chunk
            length = min(sizes.chunk, sizes.source_channels - start)
            made.append((first - number * each, count if exist else 0))
            channels.append(
                {
                    "w": i * at[1] + j * at[2] if exist else 0,
                    "u": start * block.line + (first - start) * nv * vector,
                    "u_panel": length * nv * vector,
                    "c": count,
                    # Channels that do not exist are transformed from nothing, under an empty mask.
                    "columns": 0 if exist else -columns,
                }
            )
    return common, list(zip(made, channels, strict=True))


def _runs(sizes, begin, each):
    """(first, how many, whether they exist) of the channels of one source, cut where chunks and channels end."""
    end = begin + sizes.c_src
    chunks = range(begin // sizes.chunk * sizes.chunk, begin + each, sizes.chunk)
    cuts = {begin, end, begin + each, *(start + at for start in chunks for at in range(0, sizes.chunk, sizes.turned))}
    cuts = sorted(cut_ for cut_ in cuts if begin <= cut_ <= begin + each)
    return [(first, stop - first, first < end) for first, stop in pairwise(cuts)]
