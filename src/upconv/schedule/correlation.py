"""The gradient in the weight as tables of jobs: a correlation for each tap, some images at a time."""

import numpy as np

from ..kernels import correlate
from ..runtime.jobs import PLACES, SUMS, X_BAND, Y_BAND, Program, W, X, Y, in_turn, stage
from ..runtime.kernel import entry, isa
from .bands import BAND_BYTES
from .operand import Operand
from .place import ELEMENTS, Placed, transposing, turn

TILES = {32: (6, 4), 16: (5, 2)}


class Correlation:
    """Builds the tables for maps that lie as x and grad_y (Operands) say; the wider map goes along the vector."""

    def __init__(self, g, dtype, x, grad_y):
        self.g, self.elem, self.size = g, ELEMENTS[dtype], np.dtype(dtype).itemsize
        self.maps = [(Placed(X, 0, x), X_BAND, g.input_shape), (Placed(Y, 0, grad_y), Y_BAND, g.output_shape)]
        self.counts = [g.c_in // g.groups, g.c_out // g.groups]
        self.swapped = self.counts[0] > self.counts[1]
        self.narrow, self.wide = sorted(self.counts)
        lanes = isa().lanes(self.size)
        self.row_bytes = -(-self.wide // lanes) * lanes * self.size
        self.tap_bytes = self.narrow * self.row_bytes
        self.group_bytes = g.h.k * g.w.k * self.tap_bytes
        self.band_bytes = {X_BAND: 0, Y_BAND: 0}

    def program(self, seconds):
        g = self.g
        per_image = g.c_in * g.h.n * g.w.n + g.c_out * g.h.out * g.w.out
        some = max(1, min(g.n, 2 * BAND_BYTES // (per_image * self.size)))
        work = [job for first in range(0, g.n, some) for job in self._images(first, min(some, g.n - first))]
        scratch = {SUMS: g.groups * self.group_bytes, **self.band_bytes}
        # Every image adds to the same sums.
        stages = in_turn([stage(work)]), stage([self._to_weight()])
        return Program(stages, scratch, seconds)

    def _images(self, first, n):
        jobs, placed = [], []
        for whole, base, (_, c, h, w) in self.maps:
            here = whole.move(first)
            if not here.at.pixels:
                self.band_bytes[base] = max(self.band_bytes[base], n * c * h * w * self.size)
                mine = Placed(base, 0, Operand.dense((n, c, h, w), self.size, pixels=True))
                jobs.append(turn(self.elem, here, mine, n, h, w, c))
                here = mine
            placed.append(here)
        taps = [(t_h, t_w) for t_h in range(self.g.h.k) for t_w in range(self.g.w.k)]
        return jobs + [self._tap(n, *placed, t_h, t_w) for t_h, t_w in taps]

    def _tap(self, n, x, y, t_h, t_w):
        g = self.g
        (i_h, o_h, rows), (i_w, o_w, cols) = g.h.meeting(t_h), g.w.meeting(t_w)
        walks = [(x.move(0, i_h, i_w), 1, 1, self.counts[0]), (y.move(0, o_h, o_w), g.h.s, g.w.s, self.counts[1])]
        if self.swapped:
            walks.reverse()
        job = {
            "words": correlate.WORDS,
            "entry": entry(correlate.correlate, self.elem, *TILES[isa().registers]),
            "total": (SUMS, (t_h * g.w.k + t_w) * self.tap_bytes),
            "n": n,
            "rows": rows,
            "cols": cols,
            "total_row": self.row_bytes,
            "places": (PLACES, 0),
            "groups": g.groups,
            "total_g": self.group_bytes,
        }
        for name, (place, step_h, step_w, count) in zip("ab", walks, strict=True):
            job |= {
                name: (place.base, place.offset),
                f"{name}_n": place.at.n,
                f"{name}_row": step_h * place.at.h,
                f"{name}_col": step_w * place.at.w,
                f"{name}_count": count,
                f"{name}_g": count * self.size,
            }
        return job

    def _to_weight(self):
        """Turn the totals (groups, taps, narrow, wide) into the weight (c_in, c_out / groups, taps)."""
        g, taps = self.g, self.g.h.k * self.g.w.k
        per_out, per_in = taps * self.size, self.counts[1] * taps * self.size
        wide, narrow = (per_in, per_out) if self.swapped else (per_out, per_in)
        rows, cols = (taps, self.tap_bytes), (self.wide, wide)
        groups, lines = (g.groups, self.group_bytes, self.counts[0] * per_in), (self.narrow, self.row_bytes, narrow)
        return transposing(self.elem, (SUMS, 0), (W, 0), rows, cols, n=groups, m=lines)
