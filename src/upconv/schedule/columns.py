"""Tables of jobs for weights that are large beside the map: every weight is read once, where it lies, for all pixels.

A few pixels times a whole weight is a plain product: a sum for each pixel, tap and channel of the result. What belongs
to the same output is then added up. Some of the sums are of no use (taps that are cut off at the borders), but nothing
is packed, and memory is read in long runs.
"""

import math
from functools import lru_cache

import numpy as np

from ..kernels import columns, depthwise
from ..phases import has_holes, live_segments
from ..runtime.jobs import BIAS, PANELS, X_BAND, Y_BAND, Program, W, Y, address, in_turn, join, stage
from ..runtime.kernel import entry, isa
from .gather import everywhere
from .modes import Channels
from .operand import Operand
from .place import ELEMENTS, Placed, transposing, turn

# Pixels and rows of the weight at a time, by the number of vector registers.
TILES = {32: (4, 6), 16: (2, 5)}
# Columns of a chunk where a channel's taps lie together: runs long enough to be read at memory's pace, and sums few
# enough to stay in the first-level cache. Where a tap's channels do, a chunk has many short runs, so it takes more.
CHUNK = 512
SUMS_BYTES = 512 << 10
MOST_CHANNELS = 512
# The map is small beside the weight, and the sums are long beside what is added up in the end.
MOST_PIXELS = 64
LEAST_CHANNELS = 256
WEIGHTY_BYTES = 1 << 20


def suits(g, dtype, x):
    """Whether a forward pass of an input that lies as x says is bound by reading its weight."""
    n, c, h, w = g.input_shape
    size = np.dtype(dtype).itemsize
    weighty = math.prod(g.weight_shape) * size >= WEIGHTY_BYTES and g.c_out >= isa().lanes(size)
    few = g.groups == 1 and n * h * w <= MOST_PIXELS and c >= LEAST_CHANNELS
    return few and weighty and (x.planes or _is_dense(g, size, x))


def _is_dense(g, size, x):
    dense = Operand.dense(g.input_shape, size, pixels=True).strides
    return x.pixels and all(
        count == 1 or step == want for count, step, want in zip(g.input_shape, x.strides, dense, strict=True)
    )


class Columns:
    """Builds the tables of a forward pass; `scheduler` knows how the operands lie."""

    def __init__(self, scheduler):
        self.g, self.scheduler = scheduler.g, scheduler
        self.elem, self.size, self.lanes = scheduler.elem, scheduler.size, scheduler.lanes
        self.taps = self.g.h.k * self.g.w.k
        self.pixels = math.prod((self.g.n, self.g.h.n, self.g.w.n))

    def program(self, seconds, threads):
        """The jobs, or None if the weight must be made dense first. Every chunk of channels is a unit of its own."""
        g, size, (_, w_out, w_h, w_w) = self.g, self.size, self.scheduler.w
        if w_out == self.taps * size and (g.w.k == 1 or w_w == size) and (g.h.k == 1 or w_h == g.w.k * size):
            chunk, make = CHUNK // (self.lanes * self.taps) * self.lanes, self._by_channels
        elif w_out == size and (g.h.k == 1 or w_h == g.w.k * w_w):
            some = min(MOST_CHANNELS, SUMS_BYTES // (self.pixels * self.taps * size))
            chunk, make = min(some, -(-g.c_out // threads)) // self.lanes * self.lanes, self._by_taps
        else:
            return None
        chunk = max(self.lanes, chunk)
        x, before = self._dense_pixels()
        units = [
            in_turn([stage(self._chunk(make, x, start, min(chunk, g.c_out - start)))])
            for start in range(0, g.c_out, chunk)
        ]
        sums = self.pixels * self.taps * (chunk + self.lanes) * size
        result = math.prod(g.output_shape[2:]) * g.n * chunk * size
        scratch = {PANELS: self.pixels * g.c_in * size, X_BAND: 2 * sums, Y_BAND: result}
        return Program((stage(before), join(units)), scratch, seconds)

    def _dense_pixels(self):
        """(where x lies as dense pixels, the jobs that turn it to them)."""
        g, x = self.g, self.scheduler.x
        if _is_dense(g, self.size, x.at):
            return x, []
        mine = Placed(PANELS, 0, Operand.dense(g.input_shape, self.size, pixels=True))
        return mine, [turn(self.elem, x, mine, g.n, g.h.n, g.w.n, g.c_in)]

    def _chunk(self, make, x, start, count):
        """The jobs of `count` channels of the result from `start` on."""
        jobs, at = make(x, start, count)
        g, y = self.g, self.scheduler.y
        y = Placed(Y, start * y.at.c, y.at)
        if y.at.pixels:
            return [*jobs, *self._fold(at, y, start, count)]
        mine = Placed(Y_BAND, 0, Operand.dense((g.n, count, g.h.out, g.w.out), self.size, pixels=True))
        return [*jobs, *self._fold(at, mine, start, count), turn(self.elem, mine, y, g.n, g.h.out, g.w.out, count)]

    # Each makes the sums of a chunk, and returns where they lie: (offset, bytes of a tap), pixel by pixel, tap by tap.

    def _by_channels(self, x, start, count):
        """The columns of a channel are its taps, so they are turned to have the channels of a tap together."""
        length = count * self.taps
        whole = -(-length // self.lanes) * self.lanes * self.size
        product = self._product(x, start, 1, 0, length, whole)
        turned = self.pixels * whole
        line = count * self.size
        rows, cols = (count, self.taps * self.size), (self.taps, line)
        each = self.pixels, whole, self.taps * line
        turn_taps = transposing(self.elem, (X_BAND, 0), (X_BAND, turned), rows, cols, n=each)
        return [product, turn_taps], (turned, line)

    def _by_taps(self, x, start, count):
        """The columns of a tap are its channels."""
        line = -(-count // self.lanes) * self.lanes * self.size
        step = self.scheduler.w_taps[1] if self.g.w.k > 1 else self.scheduler.w_taps[0]
        return [self._product(x, start, self.taps, step, count, line)], (0, line)

    def _product(self, x, start, pieces, step, count, line):
        return {
            "words": columns.WORDS,
            "entry": entry(columns.columns, self.elem, *TILES[isa().registers]),
            "x": (x.base, x.offset),
            "w": (W, start * self.scheduler.w_dst),
            "y": (X_BAND, 0),
            "c": self.g.c_in,
            "pixels": self.pixels,
            "x_p": self.g.c_in * self.size,
            "w_c": self.scheduler.w_src,
            "pieces": pieces,
            "w_piece": step,
            "count": count,
            "y_p": pieces * line,
            "y_piece": line,
        }

    def _fold(self, at, y, start, count):
        """Add up what belongs to the same output: for each segment a sum over its taps, each with a weight of one."""
        g = self.g
        offset, tap = at
        pixel = self.taps * tap
        sums = Operand(g.h.n * g.w.n * pixel, self.size, g.w.n * pixel, pixel, pixels=True, planes=False)
        taps = g.w.k * tap, tap
        walks = live_segments(g.h), live_segments(g.w)
        if has_holes(g.h) or has_holes(g.w):
            yield self._sum(everywhere(g.h.out)[0], everywhere(g.w.out)[0], offset, sums, taps, y, start, count)
        for h in walks[0]:
            for w in walks[1]:
                yield self._sum(h, w, offset, sums, taps, y, start, count)

    def _sum(self, h, w, offset, sums, taps, y, start, count):
        if h.taps and w.taps:
            offset += h.taps.start * taps[0] + w.taps.start * taps[1]
        return {
            "words": depthwise.WORDS,
            "entry": entry(depthwise.depthwise, self.elem, Channels.TILES[isa().registers]),
            "x": (X_BAND, offset + h.source * sums.h + w.source * sums.w),
            "y": (y.base, y.offset + h.start * y.at.h + w.start * y.at.w),
            "w": _ones(self.elem),
            "bias": (BIAS, start * self.size),
            "n_h": len(h.taps),
            "n_w": len(w.taps),
            "x_h": h.tap_step * sums.h + h.taps.step * taps[0],
            "x_w": w.tap_step * sums.w + w.taps.step * taps[1],
            "w_h": 0,
            "w_w": 0,
            "n": self.g.n,
            "rows": h.count,
            "cols": w.count,
            "x_n": sums.n,
            "x_row": h.source_step * sums.h,
            "x_col": w.source_step * sums.w,
            "y_n": y.at.n,
            "y_row": h.step * y.at.h,
            "y_col": w.step * y.at.w,
            "columns": count,
        }


@lru_cache(maxsize=len(ELEMENTS))
def _ones_of(elem):
    dtype = next(dtype for dtype, name in ELEMENTS.items() if name == elem)
    return np.ones(2 * CHUNK, dtype)


def _ones(elem):
    """The address of a line of ones."""
    return address(_ones_of(elem))
