"""The forward pass and the gradient in the input as tables of jobs: bands, segments, blocks of channels, turns."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np

from ..kernels import depthwise, gemm
from ..phases import Segment, has_holes, input_segments, live_segments
from ..runtime.jobs import BIAS, PANELS, PLACES, TOTALS, X_BAND, Y_BAND, Program, X, Y, in_turn, join, repeat, stage
from ..runtime.kernel import entry, isa
from . import planes
from .bands import bands
from .merged import merged_segments
from .modes import Channels, Pixels
from .operand import Operand
from .packing import Panels
from .place import ELEMENTS, Placed, turn

# Above half of a second-level cache of today.
WEIGHTY_BYTES = 512 << 10
SECONDS_PER_UNIT = 0.1


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
        self.panels = Panels(self)
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
        packing = self.panels.packing()
        if packing is None:
            return None
        if self._is_weighty(seconds):
            return self._by_blocks(seconds)
        stages = packing, join(self._bands(share))
        return Program(stages, {PANELS: self.panels.nbytes, **self.band_bytes}, seconds)

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
        panels = self.panels.nbytes
        return panels > WEIGHTY_BYTES and n * c * h * w * self.size * len(self.blocks) <= 3 * panels

    def _by_blocks(self, seconds):
        """Pack one block of channels and use it at once, then the next: each is a unit of its own for the threads."""
        stages, scratch = [], {PANELS: 0, **self.band_bytes}
        for group in range(self.g.groups):
            for start, wide in self.blocks:
                part = self._narrowed(group, start, min(wide * self.lanes, self.c_dst - start))
                stages.append(in_turn([part.panels.packing(), *part._bands()]))
                sizes = {PANELS: part.panels.nbytes, **part.band_bytes}
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
        per_tap = self.panels.tap_bytes[0]
        return {
            "words": depthwise.WORDS,
            "entry": entry(depthwise.depthwise, self.elem, self.mode.TILES[isa().registers]),
            **walk_taps(PANELS, 0, h, w, self.g.w.k * per_tap, per_tap),
            "x_col": w.source_step * x.at.w,
            "columns": self.g.groups,
        }

    def _pixels(self, h, w, x, block, wide):
        per_tap = self.panels.tap_bytes[block]
        return {
            "words": gemm.WORDS,
            "entry": entry(gemm.gemm, self.elem, self.mode.TILES[isa().registers][wide], wide),
            **walk_taps(PANELS, self.panels.at(0, block), h, w, self.panels.k_w * per_tap, per_tap),
            "w_g": self.panels.at(1, 0),
            "x_col": w.source_step * x.at.w,
        }


def walk_taps(base, offset, h, w, step_h, step_w):
    """Where a segment's first tap lies in the weight, and the way to the next ones."""
    first = (h.taps.start * step_h + w.taps.start * step_w) if len(h.taps) * len(w.taps) else 0
    return {"w": (base, offset + first), "w_h": h.taps.step * step_h, "w_w": w.taps.step * step_w}


def everywhere(size):
    """All places of an axis, without taps."""
    return Segment(0, 1, size, range(0), 0, 0, 0), (0, 1)
