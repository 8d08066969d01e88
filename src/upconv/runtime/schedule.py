"""From a problem on given strides to tables of jobs: bands, segments, blocks of channels, turns."""

import itertools
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from ..geometry import Axis, ceil_div
from ..kernels import copy, depthwise, gemm, transpose
from ..phases import Segment, has_holes, input_segments, live_segments, phases
from . import planes
from .bands import bands
from .jobs import BIAS, PANELS, PLACES, TOTALS, X_BAND, Y_BAND, Program, W, X, Y, in_turn, join, repeat, stage
from .kernel import entry, isa
from .operand import Operand

# Above half of a second-level cache of today.
WEIGHTY_BYTES = 512 << 10
# Taps of a panel are a power of two apart more often than not, and would fall into the same sets of the cache.
STAGGER = 64
SECONDS_PER_UNIT = 0.1
ELEMENTS = {"float32": "f32", "float64": "f64", "int64": "i64"}


class Pixels:
    """Channels along the vector: blocks of whole vectors, a packed weight."""

    pixels = True
    # Height of the tile for each number of vectors across, by the number of vector registers.
    TILES: ClassVar = {32: {4: 6, 3: 8, 2: 9, 1: 8}, 16: {2: 5, 1: 8}}

    @classmethod
    def blocks(cls, channels, lanes):
        """(first channel, vectors) of each block, as even as can be."""
        vectors = -(-channels // lanes)
        count = -(-vectors // max(cls.TILES[isa().registers]))
        wide = [vectors // count + (number < vectors % count) for number in range(count)]
        return [(sum(wide[:number]) * lanes, wide[number]) for number in range(count)]

    @classmethod
    def merged_blocks(cls, channels, phases, lanes):
        """(first column, vectors) of each block of whole phases, of so many channels each; none if they are too wide."""
        most = max(cls.TILES[isa().registers]) * lanes // channels
        count = -(-phases // most) if most else 0
        cuts = [phases * number // count for number in range(count + 1)] if count else []
        return [(start * channels, -(-(end - start) * channels // lanes)) for start, end in itertools.pairwise(cuts)]


class Planes:
    """Columns of a row along the vector: blocks of a few channels, the weight as it is; see `planes`."""

    pixels = depthwise = False

    @classmethod
    def blocks(cls, channels, lanes):
        """Left to `planes`."""
        return []


class Strips:
    """Columns of a row along the vector, each plane with a kernel of its own: depthwise; see `planes`."""

    pixels, depthwise = False, True
    blocks = Planes.blocks


class Channels:
    """Channels along the vector, each with a kernel of its own: depthwise."""

    pixels = True
    # Pixels at a time, by the number of vector registers.
    TILES: ClassVar = {32: 6, 16: 4}

    @classmethod
    def blocks(cls, channels, lanes):
        """One block of all groups."""
        return [(0, 1)]


MODES = {"pixels": Pixels, "planes": Planes, "channels": Channels, "strips": Strips, "columns": Pixels}


@dataclass(frozen=True, slots=True)
class Placed:
    """An operand in memory: which base address, how far from it, and the strides."""

    base: int
    offset: int
    at: Operand

    def move(self, n=0, row=0, col=0):
        return Placed(self.base, self.offset + n * self.at.n + row * self.at.h + col * self.at.w, self.at)


def turn(elem, src, dst, n, height, width, channels):
    """The job that turns planes to pixels or pixels to planes, row by row."""
    to_pixels = not src.at.pixels
    return {
        "words": transpose.WORDS,
        "entry": entry(transpose.transpose, elem),
        "src": (src.base, src.offset),
        "dst": (dst.base, dst.offset),
        "n": n,
        "src_n": src.at.n,
        "dst_n": dst.at.n,
        "m": height,
        "src_m": src.at.h,
        "dst_m": dst.at.h,
        "rows": channels if to_pixels else width,
        "src_row": src.at.c if to_pixels else src.at.w,
        "cols": width if to_pixels else channels,
        "dst_col": dst.at.w if to_pixels else dst.at.c,
        "pad": channels if to_pixels else width,
    }


class Scheduler:
    """Builds the tables of one operation on operands that lie as x, y (Operands) and w (strides in bytes) say."""

    def __init__(self, operation, g, dtype, x, y, w, mode, merged=1):
        self.forward = operation == "forward"
        self.g, self.mode, self.merged = g, mode, merged
        self.x, self.y = Placed(X, 0, x), Placed(Y, 0, y)
        self.dtype, self.elem, self.size = dtype, ELEMENTS[dtype], np.dtype(dtype).itemsize
        self.lanes = isa().lanes(self.size)
        per_in, per_out = g.c_in // g.groups, g.c_out // g.groups
        self.c_src, self.c_dst = (per_in, per_out) if self.forward else (per_out, per_in)
        # Steps of the weight from source channel to source channel, likewise of the result, and from tap to tap.
        self.w_src, self.w_dst = (w[0], w[1]) if self.forward else (w[1], w[0])
        self.w, self.w_group, self.w_taps = w, w[0] * per_in, w[2:]
        # Where this part of the problem begins in the weight and in the bias.
        self.w_at = self.bias_at = 0
        blocks = partial(mode.merged_blocks, self.c_dst, merged) if merged > 1 else partial(mode.blocks, self.c_dst)
        self.blocks = blocks(self.lanes)
        starts = [start for start, _ in self.blocks]
        self.columns = [end - start for start, end in itertools.pairwise([*starts, self.c_dst * merged])]
        self.band_bytes = {X_BAND: 0, Y_BAND: 0}
        # Panels of the packed weight: bytes of one tap of a block, and where a block begins in units of a tap.
        self.tap_bytes = self._tap_bytes()
        self.panel_starts = [0, *itertools.accumulate(self.tap_bytes)]
        self.panel_taps = g.h.k * g.w.k // merged
        # What all products have in common.
        self.common = {
            "c": self.c_src,
            "groups": g.groups,
            "places": (PLACES, 0),
            "totals": (TOTALS, 0),
            "bias_g": self.c_dst * self.size,
        }

    def program(self, seconds, share=1):
        """The jobs, or None if the weight must be made dense first; `share` bands at least for the threads' sake."""
        packing = self._packing() if self.mode.pixels else stage([])
        if packing is None:
            return None
        if self._is_weighty(seconds):
            return self._by_blocks(seconds)
        panels = self._panel(self.g.groups, 0) if self.mode.pixels else 0
        stages = packing, join(self._bands(share))
        return Program(stages, {PANELS: panels, **self.band_bytes}, seconds)

    def _bands(self, share=1):
        """A Stage for each kind of band, of which every band is a unit.

        Most bands differ in nothing but their place, so a kind is written once and then moved.
        """
        kinds = {}
        for band in bands(self.g, self.forward, self.size, share):
            kinds.setdefault((band.n, band.h, band.w), []).append(band)
        return [self._kind(alike) for alike in kinds.values()]

    def _kind(self, alike):
        x, y = (
            [place.move(band.first_n, *at(band)).offset for band in alike]
            for place, at in ((self.x, lambda b: (b.src_row, b.src_col)), (self.y, lambda b: (b.row, b.col)))
        )
        return repeat(stage(self._band(alike[0])), x, y)

    def _is_weighty(self, seconds):
        """Whether the packed weight would leave the cache before it is used, and the source is small beside it."""
        units = len(self.blocks) * self.g.groups
        # A unit cannot be interrupted, nor shared out.
        if self.mode is not Pixels or self.merged > 1 or units == 1 or seconds > units * SECONDS_PER_UNIT:
            return False
        n, c, h, w = self.g.input_shape if self.forward else self.g.output_shape
        panels = self._panel(self.g.groups, 0)
        return panels > WEIGHTY_BYTES and n * c * h * w * self.size * len(self.blocks) <= 2 * panels

    def _by_blocks(self, seconds):
        """Pack one block of channels and use it at once, then the next: each is a unit of its own for the threads."""
        stages, scratch = [], {PANELS: 0, **self.band_bytes}
        for group in range(self.g.groups):
            for start, wide in self.blocks:
                part = self._narrowed(group, start, min(wide * self.lanes, self.c_dst - start))
                stages.append(in_turn([part._packing(), *part._bands()]))
                sizes = {PANELS: part._panel(1, 0), **part.band_bytes}
                scratch = {base: max(scratch[base], sizes[base]) for base in scratch}
        return Program((join(stages),), scratch, seconds, shared=())

    def _narrowed(self, group, start, count):
        """The part of the problem that makes `count` channels of a group from `start` on."""
        c_in, c_out = (self.c_src, count) if self.forward else (count, self.c_src)
        g = replace(self.g, c_in=c_in, c_out=c_out, groups=1)
        operation = "forward" if self.forward else "grad_input"
        part = Scheduler(operation, g, self.dtype, self.x.at, self.y.at, self.w, self.mode)
        part.x = replace(self.x, offset=group * self.c_src * self.x.at.c)
        part.y = replace(self.y, offset=(group * self.c_dst + start) * self.y.at.c)
        part.w_at = group * self.w_group + start * self.w_dst
        part.bias_at = (group * self.c_dst + start) * self.size
        return part

    def _band(self, band):
        """The jobs of a band that begins where x and y do."""
        g = self.g
        c_src, c_dst = self.c_src * g.groups, self.c_dst * g.groups
        x, y = Placed(X, 0, self.x.at), Placed(Y, 0, self.y.at)
        before, after = [], []
        if not (x.at.pixels if self.mode.pixels else x.at.planes):
            mine = self._scratch(X_BAND, (band.n, c_src, band.src_h, band.src_w))
            before = [turn(self.elem, x, mine, band.n, band.src_h, band.src_w, c_src)]
            x = mine
        elif not self.mode.pixels and planes.crowded(self, x):
            before, at, nbytes = planes.spread(self, x, (band.n, c_src, band.src_h, band.src_w), X_BAND)
            self.band_bytes[X_BAND] = max(self.band_bytes[X_BAND], nbytes)
            x = Placed(X_BAND, 0, at)
        if not (y.at.pixels if self.mode.pixels else y.at.planes or planes.joins(self, y)):
            mine = self._scratch(Y_BAND, (band.n, c_dst, band.out_h, band.out_w))
            after = [turn(self.elem, mine, y, band.n, band.out_h, band.out_w, c_dst)]
            y = mine
        make = self._products if self.mode.pixels else partial(planes.products, self)
        return [*before, *make(band, x, y), *after]

    def _scratch(self, base, shape):
        """Fresh memory for a band, laid out as the kernels want it."""
        self.band_bytes[base] = max(self.band_bytes[base], math.prod(shape) * self.size)
        return Placed(base, 0, Operand.dense(shape, self.size, self.mode.pixels))

    # Products --------------------------------------------------------------------------------------------------------

    def _products(self, band, x, y):
        walks = [self._walk(axis, merged) for axis, merged in ((band.h, 1), (band.w, self.merged))]
        if self.forward and (has_holes(band.h) or has_holes(band.w)):
            # Places without taps are written first, all at once; the segments then write over the others.
            yield from self._product_of(band, [everywhere(band.out_h)], [everywhere(band.out_w)], x, y)
        yield from self._product_of(band, *walks, x, y)

    def _product_of(self, band, rows, cols, x, y):
        for h, _ in rows:
            for w, kept in cols:
                for block in self._kept_blocks(*kept):
                    yield self._product(band.n, h, w, x, y, block)

    def _walk(self, axis, merged):
        """The segments of an axis, each with the range of phases that it keeps of every place."""
        if not self.forward:
            return [(segment, (0, 1)) for segment in input_segments(axis)]
        if merged == 1:
            return [(segment, (0, 1)) for segment in live_segments(axis)]
        return [(segment, kept) for segment, kept in merged_segments(axis) if segment.taps]

    def _kept_blocks(self, first_phase, end_phase):
        """(block, first column, end) of the blocks of channels that belong to the phases."""
        first, end = first_phase * self.c_dst, end_phase * self.c_dst
        for block, (start, _) in enumerate(self.blocks):
            low, high = max(0, first - start), min(self.columns[block], end - start)
            if low < high:
                yield block, low, high

    def _product(self, n, h, w, x, y, block):
        block, low, high = block
        start, wide = self.blocks[block]
        size = self.size
        common = self.common | {
            "x": (x.base, x.offset + h.source * x.at.h + w.source * x.at.w),
            "y": (y.base, y.offset + h.start * y.at.h + w.start * y.at.w + start * y.at.c),
            "bias": (BIAS, self.bias_at + start * size),
            "n_h": len(h.taps),
            "n_w": len(w.taps),
            "x_h": h.tap_step * x.at.h,
            "x_w": w.tap_step * x.at.w,
            "n": n,
            "rows": h.count,
            "cols": w.count,
            "x_n": x.at.n,
            "x_row": h.source_step * x.at.h,
            "y_n": y.at.n,
            "y_row": h.step * y.at.h,
            "y_col": w.step * y.at.w,
            "x_g": self.c_src * x.at.c,
            "y_g": self.c_dst * y.at.c,
            "y_c": y.at.c,
        }
        if self.mode is Channels:
            return common | self._channels(h, w, x)
        return common | self._pixels(h, w, x, block, wide) | {"first_column": low, "columns": high}

    def _channels(self, h, w, x):
        per_tap = self._panel_bytes()
        return {
            "words": depthwise.WORDS,
            "entry": entry(depthwise.depthwise, self.elem, self.mode.TILES[isa().registers]),
            **walk_taps(PANELS, 0, h, w, self.g.w.k * per_tap, per_tap),
            "x_col": w.source_step * x.at.w,
            "columns": self.g.groups,
        }

    def _pixels(self, h, w, x, block, wide):
        per_tap = self.tap_bytes[block]
        # A merged kernel has one tap for every s.
        across = self.g.w.k // self.merged
        return {
            "words": gemm.WORDS,
            "entry": entry(gemm.gemm, self.elem, self.mode.TILES[isa().registers][wide], wide),
            **walk_taps(PANELS, self._panel(0, block), h, w, across * per_tap, per_tap),
            "w_g": self._panel(1, 0),
            "x_col": w.source_step * x.at.w,
        }

    # Weight panels: [group][block][tap][source channel][vectors of the block] ----------------------------------------

    def _panel(self, group, block):
        """Offset of a block's panel."""
        if self.mode is Channels:
            return self.g.h.k * self.g.w.k * self._panel_bytes()
        return self.panel_taps * (group * self.panel_starts[-1] + self.panel_starts[block])

    def _tap_bytes(self):
        """One tap of each block, which is so many vectors wide."""
        return [self.c_src * wide * self.lanes * self.size + STAGGER for _, wide in self.blocks]

    def _panel_bytes(self):
        """One tap of all channels, each with a kernel of its own."""
        return -(-self.g.groups // self.lanes) * self.lanes * self.size

    def _packing(self):
        """The Stage that packs the weight, or None if it must be made dense before."""
        size, (step_h, step_w) = self.size, self.w_taps
        k_h, k_w = self.g.h.k, self.g.w.k
        if self.mode is Channels:
            dense = step_w == size and (k_h == 1 or step_h == k_w * size)
            return stage([self._turn_channels()]) if dense else None
        if self.merged > 1:
            return self._merging()
        if self.w_dst == size or self.c_dst == 1:
            make = self._copy_panel
        elif (k_w == 1 or step_w == size) and (k_h == 1 or step_h == k_w * size):
            make = self._turn_panel
        else:
            return None
        return stage(
            job
            for group in range(self.g.groups)
            for block in range(len(self.blocks))
            for job in make(group, block, *self.blocks[block])
        )

    def _merging(self):
        """The same for merged phases, whose columns are (phase, channel): s taps of a row for each column of inputs."""
        size, line = self.size, self.c_dst * self.merged * self.size
        _, step_w = self.w_taps
        places = [(t_h, t_w) for t_h in range(self.g.h.k) for t_w in range(self.panel_taps // self.g.h.k)]
        if step_w == self.c_dst * size and (self.w_dst == size or self.c_dst == 1):
            return stage(
                self._copy_columns(t_h, t_w, block, W, self._merged_taps(t_h, t_w), self.w_src)
                for t_h, t_w in places
                for block in range(len(self.blocks))
            )
        if step_w != size:
            return None
        # They lie as (channel, phase): turned first, then shared out to the blocks.
        self.band_bytes[X_BAND] = self.c_src * line
        units = [
            in_turn(
                [
                    stage([self._turn_columns(t_h, t_w)]),
                    stage(self._copy_columns(t_h, t_w, block, X_BAND, 0, line) for block in range(len(self.blocks))),
                ]
            )
            for t_h, t_w in places
        ]
        return join(units)

    def _merged_taps(self, t_h, t_w):
        """Where the s taps lie in the weight."""
        step_h, step_w = self.w_taps
        return t_h * step_h + t_w * self.merged * step_w

    def _turn_columns(self, t_h, t_w):
        return {
            "words": transpose.WORDS,
            "entry": entry(transpose.transpose, self.elem),
            "src": (W, self._merged_taps(t_h, t_w)),
            "dst": (X_BAND, 0),
            "n": self.c_src,
            "src_n": self.w_src,
            "dst_n": self.c_dst * self.merged * self.size,
            "m": 1,
            "src_m": 0,
            "dst_m": 0,
            "rows": self.c_dst,
            "src_row": self.w_dst,
            "cols": self.merged,
            "dst_col": self.c_dst * self.size,
            "pad": self.c_dst,
        }

    def _copy_columns(self, t_h, t_w, block, base, offset, step):
        start, wide = self.blocks[block]
        per_row = self.panel_taps // self.g.h.k
        return {
            "words": copy.WORDS,
            "entry": entry(copy.copy, self.elem),
            "src": (base, offset + start * self.size),
            "dst": (PANELS, self._panel(0, block) + (t_h * per_row + t_w) * self.tap_bytes[block]),
            "n": 1,
            "src_n": 0,
            "dst_n": 0,
            "m": self.c_src,
            "src_m": step,
            "dst_m": wide * self.lanes * self.size,
            "count": self.columns[block],
            "pad": wide * self.lanes,
        }

    def _turn_panel(self, group, block, start, wide):
        """Taps consecutive: turn (channels, taps) for each source channel."""
        width = wide * self.lanes
        yield {
            "words": transpose.WORDS,
            "entry": entry(transpose.transpose, self.elem),
            "src": (W, self.w_at + group * self.w_group + start * self.w_dst),
            "dst": (PANELS, self._panel(group, block)),
            "n": self.c_src,
            "src_n": self.w_src,
            "dst_n": width * self.size,
            "m": 1,
            "src_m": 0,
            "dst_m": 0,
            "rows": min(width, self.c_dst - start),
            "src_row": self.w_dst,
            "cols": self.g.h.k * self.g.w.k,
            "dst_col": self.tap_bytes[block],
            "pad": width,
        }

    def _copy_panel(self, group, block, start, wide):
        """Channels of the result consecutive: copy them, row of taps by row of taps."""
        width = wide * self.lanes * self.size
        for t_h in range(self.g.h.k):
            yield {
                "words": copy.WORDS,
                "entry": entry(copy.copy, self.elem),
                "src": (W, self.w_at + group * self.w_group + start * self.w_dst + t_h * self.w_taps[0]),
                "dst": (PANELS, self._panel(group, block) + t_h * self.g.w.k * self.tap_bytes[block]),
                "n": self.g.w.k,
                "src_n": self.w_taps[1],
                "dst_n": self.tap_bytes[block],
                "m": self.c_src,
                "src_m": self.w_src,
                "dst_m": width,
                "count": min(wide * self.lanes, self.c_dst - start),
                "pad": wide * self.lanes,
            }

    def _turn_channels(self):
        """Turn (groups, taps) into a line of channels for each tap."""
        return {
            "words": transpose.WORDS,
            "entry": entry(transpose.transpose, self.elem),
            "src": (W, 0),
            "dst": (PANELS, 0),
            "n": 1,
            "src_n": 0,
            "dst_n": 0,
            "m": 1,
            "src_m": 0,
            "dst_m": 0,
            "rows": self.g.groups,
            "src_row": self.w_group,
            "cols": self.g.h.k * self.g.w.k,
            "dst_col": self._panel_bytes(),
            "pad": self._panel_bytes() // self.size,
        }


def walk_taps(base, offset, h, w, step_h, step_w):
    """Where a segment's first tap lies in the weight, and the way to the next ones."""
    first = (h.taps.start * step_h + w.taps.start * step_w) if len(h.taps) * len(w.taps) else 0
    return {"w": (base, offset + first), "w_h": h.taps.step * step_h, "w_w": w.taps.step * step_w}


def everywhere(size):
    """All places of an axis, without taps."""
    return Segment(0, 1, size, range(0), 0, 0, 0), (0, 1)


def merged_segments(axis):
    """Segments of an axis whose s phases are computed together, for k a multiple of s and d = 1.

    A place is a block of s canvas positions; all its phases read the same inputs, through k/s taps each. Yields a
    Segment of blocks and the range of phases inside the output: all of them, but for the first and the last block.
    """
    first, end = axis.crop_lo // axis.s, ceil_div(axis.crop_lo + axis.out, axis.s)
    blocks = Axis(axis.n, axis.k // axis.s, 1, 1, first, axis.n + axis.k // axis.s - 1 - end)
    for segment in phases(blocks)[0].segments:
        for start, stop in _runs_alike(segment.start, segment.start + segment.count, end - first):
            low = max(0, axis.crop_lo - (first + start) * axis.s)
            high = min(axis.s, axis.crop_lo + axis.out - (first + stop - 1) * axis.s)
            yield (
                replace(
                    segment,
                    start=(first + start) * axis.s - axis.crop_lo,
                    step=axis.s,
                    count=stop - start,
                    source=segment.source + start - segment.start,
                ),
                (low, high),
            )


def _runs_alike(start, stop, blocks):
    """Cut start..stop so that the first and the last of all blocks stand alone."""
    cuts = sorted({start, stop, *(cut for cut in (1, blocks - 1) if start < cut < stop)})
    return itertools.pairwise(cuts)
