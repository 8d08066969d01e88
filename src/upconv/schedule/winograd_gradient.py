"""Winograd's gradient in the weight: how it is cut, and the nests of a block of tiles and a block of channels.

The adjoint of the forward form: where that has outputs  A [(G g) * (B d)],  the gradient in the taps g is

    G' [ (A' dy) * (B d) ]        with the transposes of A and G,  summed over all tiles.

So the input is spread as in the forward pass, and the gradient in the output by A', phase by phase. At each position a
product of matrices, channels by tiles times tiles by (phases and channels), is added to the totals of that position. In
the end G' makes taps of the totals.

The channels of both maps are cut into blocks whose totals stay in the cache while the tiles go by, so a map is spread
again for each block of the other's channels. A `Pair` is a part of each axis (`winograd_parts.Part`) cut like this.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import NamedTuple

from ..geometry import ceil_div
from ..kernels import weight_gradient_blocks, winograd_gather, winograd_spread
from ..runtime.kernel import entry, isa
from ..runtime.program import FLAGS, LINE, NOTHING, SUMS, M, Nest, Rows, V
from ..winograd_parts import Part, Source
from .moves import PlacedOperand
from .weight_tiles import even_ranges
from .winograd import SIZES, odd_lines
from .winograd_blocks import even, pieces
from .winograd_columns import columned


class Patch(NamedTuple):
    """A block of tiles: (first, how many) of images, rows and columns."""

    images: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]


def transposed(matrix):
    return tuple(zip(*matrix, strict=True))


def of_result(part: Part, phase) -> Source:
    """What a tile reads of the gradient in the output: the places of one phase's results.

    >>> from upconv.geometry import Axis
    >>> from upconv.winograd_parts import parts
    >>> of_result(parts(Axis(n=4, k=4, s=2, crop_lo=1, crop_hi=1), {2: 3})[0], 0)
    Source(start=1, step=2, count=4, first=-1)
    """
    first, start = divmod(part.start + phase, part.step)
    return Source(start, part.step, max(0, ceil_div(part.count - start, part.step)), first)


@dataclass(frozen=True)
class Pair:
    """A part of each axis, and how it is cut; sizes in bytes where not said.

    Attributes:
        h, w: the parts.
        n: images.
        elem: f32 or f64.
        channels: (of the input, of the output) of a block, at most.
        c_out: channels of the output.
        tiles: (images, rows, columns) of tiles of a block, at most.
        longest: tiles of a sum in registers, at most.
    """

    h: Part
    w: Part
    n: int
    elem: str
    channels: tuple[int, int]
    c_out: int
    tiles: tuple[int, int, int]
    longest: int

    @classmethod
    def of(cls, h, w, n, elem, channels, c_out, most, nbytes, longest):
        """With blocks of at most so many tiles and bytes of what is spread: whole rows, and whole images if small."""
        one = cls(h, w, n, elem, channels, c_out, (1, 1, 1), longest)
        most = max(1, min(most, nbytes // (one.positions * (one.v_tile + one.m_tile))))
        wide = even(w.tiles, most)
        high = even(h.tiles, max(1, most // wide)) if wide == w.tiles else 1
        is_whole = high == h.tiles and wide == w.tiles
        images = min(n, most // (high * wide)) if is_whole else 1
        return cls(h, w, n, elem, channels, c_out, (images, high, wide), longest)

    @cached_property
    def size(self):
        return SIZES[self.elem]

    @cached_property
    def positions(self):
        return self.h.form.size * self.w.form.size

    @cached_property
    def phases(self):
        return list(product(range(self.h.phases), range(self.w.phases)))

    @cached_property
    def lines(self):
        """Tiles of a block."""
        return prod(self.tiles)

    @cached_property
    def v_tile(self):
        """The spread input: lines of the channels of a block, tile by tile, position by position."""
        return odd_lines(ceil_div(self.channels[0], isa().lanes(self.size)) * isa().vector_bytes)

    @cached_property
    def v_pos(self):
        return odd_lines(self.lines * self.v_tile)

    @cached_property
    def columns(self):
        """The blocks of channels of the output, all phases of each side by side."""
        return columned(isa(), self.size, len(self.phases), self.c_out, self.channels[1])

    def block(self, count):
        """The Columns of a block of so many channels: all that have as many are alike."""
        return next(block for block in self.columns.blocks if block.count == count)

    @staticmethod
    def m_phase(block):
        """The spread gradient in the output: a line of the channels of a block, phase by phase, in whole vectors."""
        return block.vectors * isa().vector_bytes

    @cached_property
    def panels(self):
        """Tiles of the product across, of the widest block."""
        return self.columns.blocks[0].panels

    @property
    def tile(self):
        """(channels of the input, vectors of columns) of the product at once, at most."""
        return self.columns.tile

    @property
    def panel(self):
        return self.tile[1] * isa().vector_bytes

    def ranges(self, count):
        """(first, tiles, rows of each) of the product of so many channels of the input."""
        return even_ranges(count, ceil_div(count, ceil_div(count, self.tile[0])))

    @cached_property
    def m_tile(self):
        return odd_lines(self.panels * self.panel)

    @cached_property
    def m_pos(self):
        return odd_lines(self.lines * self.m_tile)

    @cached_property
    def total_row(self):
        # Whole cache lines: rows from the middle of one take up to 1.3 times as long where others lie badly to them.
        return ceil_div(self.panels * self.panel, LINE) * LINE

    @cached_property
    def total_pos(self):
        # Positions are not the same places of the cache apart.
        return self.channels[0] * self.total_row + LINE

    @cached_property
    def total_bytes(self):
        return self.positions * self.total_pos

    def count(self, images):
        """Blocks of tiles of so many images."""
        counts = images, self.h.tiles, self.w.tiles
        return prod(ceil_div(count, size) for count, size in zip(counts, self.tiles, strict=True))

    def patches(self, first, end) -> list[Patch]:
        """The blocks of tiles of the images from first to end - 1."""
        images = [(first + start, count) for start, count in pieces(end - first, self.tiles[0])]
        rows, cols = pieces(self.h.tiles, self.tiles[1]), pieces(self.w.tiles, self.tiles[2])
        return [Patch(*each) for each in product(images, rows, cols)]

    def reach(self, patch: Patch, of_y) -> list[tuple[int, int]]:
        """(first, how many) rows and columns of the input, or of the gradient in the output, that a block reads."""
        found = []
        for part, (first, many) in ((self.h, patch.rows), (self.w, patch.cols)):
            sources, each = [part.sources[0]], part.form.size
            if of_y:
                sources, each = [of_result(part, phase) for phase in range(part.phases)], part.form.m
            step, start, end = part.step if of_y else part.sources[0].step, [], []
            for source in sources:
                low = max(0, source.first + first * part.form.m)
                high = min(source.count, source.first + (first + many - 1) * part.form.m + each)
                if high > low:
                    start.append(source.start + low * step)
                    end.append(source.start + (high - 1) * step + 1)
            found.append((min(start), max(end) - min(start)) if start else (0, 0))
        return found

    def add(self, patch: Patch, x: PlacedOperand, y: PlacedOperand, counts, total, adds) -> Iterator[Nest]:
        """The nests that spread a block of tiles and add its products.

        Args:
            x, y: the first channel of a block of either map.
            counts: how many channels there are.
            total: (base, offset) of the totals.
            adds: False if the totals are written.
        """
        yield self._spread_input(patch, x, counts[0])
        yield self._spread_result(patch, y, self.block(counts[1]))
        lines, panels = prod(count for _, count in patch), self.block(counts[1]).panels
        yield self._multiply(lines, counts[0], panels, total, adds)

    def _spread_input(self, patch, x, count):
        forms = self.h.form, self.w.form
        matrices = tuple(form.source for form in forms)
        here = self._source(*((part.sources[0]) for part in (self.h, self.w)), x.at)
        fields = self._spread(patch, x, count, matrices, [part.sources[0].step for part in (self.h, self.w)])
        steps = {"v": (V, 0), "v_pos": self.v_pos, "v_tile": self.v_tile}
        return Nest(winograd_spread.FIELDS, fields | steps, (Rows(_OF_SOURCE, [(*here, 0)]),))

    def _spread_result(self, patch, y, block):
        matrices = tuple(transposed(form.output) for form in (self.h.form, self.w.form))
        fields = self._spread(patch, y, block.count, matrices, (self.h.step, self.w.step))
        steps = {"v": (M, 0), "v_pos": self.m_pos, "v_tile": self.m_tile}
        phases = [
            (*self._source(of_result(self.h, i), of_result(self.w, j), y.at), number * self.m_phase(block))
            for number, (i, j) in enumerate(self.phases)
        ]
        return Nest(winograd_spread.FIELDS, fields | steps, (Rows(_OF_SOURCE, phases),))

    def _source(self, h, w, at):
        """What a pair of sources adds to the fields of _OF_SOURCE."""
        first = (h.start + h.first * h.step) * at.h + (w.start + w.first * w.step) * at.w
        return first, h.first, h.count, w.first, w.count

    def _spread(self, patch, operand, count, matrices, steps):
        """The fields of a block of tiles, without those of its sources."""
        at, m = operand.at, (self.h.form.m, self.w.form.m)
        (image, images), (row, rows), (col, cols) = patch
        x_h, x_w = steps[0] * at.h, steps[1] * at.w
        return {
            "entry": entry(winograd_spread.winograd_spread, self.elem, *matrices),
            "x": (operand.base, operand.offset + image * at.n + row * m[0] * x_h + col * m[1] * x_w),
            **{"zeros": (SUMS, 0), "c": count, "n": images, "tiles_h": rows, "tiles_w": cols},
            **{"x_n": at.n, "x_row": m[0] * x_h, "x_col": m[1] * x_w, "x_h": x_h, "x_w": x_w},
            **{"row": row * m[0], "row_m": m[0], "col": col * m[1], "col_m": m[1]},
        }

    def _multiply(self, lines, count, panels, total, adds):
        fields = {
            **{"a": (V, 0), "b": (M, 0), "total": total, "n": 1, "rows": 1, "cols": lines},
            **{"a_col": self.v_tile, "b_col": self.m_tile, "b_tiles": panels, "b_tile": self.panel},
            **{"total_row": self.total_row, "add": int(adds), "longest": self.longest},
        }
        positions = [(p * self.v_pos, p * self.m_pos, p * self.total_pos) for p in range(self.positions)]
        ranges = [
            (
                entry(weight_gradient_blocks.weight_gradient_blocks, self.elem, rows, self.tile[1]),
                *(first * self.size, first * self.total_row, tiles, rows * self.size),
            )
            for first, tiles, rows in self.ranges(count)
        ]
        lists = Rows(("a", "b", "total"), positions), Rows(("entry", "a", "total", "a_tiles", "a_tile"), ranges)
        return Nest(weight_gradient_blocks.FIELDS, fields, lists)

    def taps(self, total, to, at, counts) -> Nest:
        """The nest that makes taps of totals.

        Args:
            total: (base, offset) of the totals.
            to: (base, offset) of tap (0, 0) of a block of channels; those of the output are consecutive.
            at: bytes from a channel of the input to the next, from tap to tap of a column, and of a row.
            counts: channels of the block.
        """
        matrices = tuple(transposed(form.weight) for form in (self.h.form, self.w.form))
        fields = {
            "entry": entry(winograd_gather.winograd_gather, self.elem, *matrices, None, None),
            "y": (to[0], to[1] + self.h.tap * at[1] + self.w.tap * at[2]),
            **{"m": total, "bias": (NOTHING, 0), "sink": (NOTHING, 0), "flag": (FLAGS, 0), "c": counts[1]},
            # Channels of the input stand for tiles, and no tap is beyond a border.
            **{"n": 1, "tiles_h": 1, "tiles_w": counts[0], "y_col": at[0]},
            **{"y_h": self.h.tap_step * at[1], "y_w": self.w.tap_step * at[2]},
            **{"phases_h": self.h.phases, "phases_w": self.w.phases, "y_ph": at[1], "y_pw": at[2]},
            **{"height": self.h.phases, "width": self.w.phases},
            **{"m_pos": self.total_pos, "m_tile": self.total_row},
            "m_phase": self.m_phase(self.block(counts[1])),
        }
        return Nest(winograd_gather.FIELDS, fields)


_OF_SOURCE = ("x", "row", "height", "col", "width", "v")
