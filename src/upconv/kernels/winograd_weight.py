"""Winograd's transform of the weight: what is multiplied at every position, in the order in which it is used.

    u[p, q, c, phase, v]  =  sum over a and b of  rows[p][a] * cols[q][b] * w[c, v, tap (a, b) of the phase]

    w      the channels v of a tap consecutive, `columns` of them; rows of c `w_c` apart, taps `w_h` and `w_w`, phases
           `w_ph` and `w_pw`
    u      for each position, `u_pos` apart, panels of `nv` vectors, `u_panel` apart: in each a line for every c. The
           vectors of one phase follow those of the phase before, `vectors` of them, with zeros beyond the last channel
           and in what is left of the last panel
    flag   a word that becomes 1 if something that is written is not finite

The vectors of a phase that lie side by side in a panel go together (`vectors_at_once`), so that every position is
written from its first byte to its last, in whole cache lines.
"""

from itertools import product
from math import gcd

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .winograd_tile import Finite, Grid, both_sides, named

# Channels from those that are transformed to those whose taps are prefetched: they lie in short pieces, which no
# machine foresees.
AHEAD = 2
FIELDS = tuple("entry w u flag c columns vectors w_c w_h w_w phases_h phases_w w_ph w_pw u_pos u_panel".split())
POINTERS = {"w", "u", "flag"}


def vectors_at_once(vectors, nv):
    """Vectors that go together, of the `vectors` of a phase and the nv of a panel."""
    return gcd(vectors, nv)


def winograd_weight(isa: Isa, elem, rows, cols, nv, at_once=1):
    """The kernel for two matrices and panels of nv vectors.

    Args:
        at_once: vectors that go together; they divide nv and `vectors`.
    """
    k = Builder(named(f"weight_{nv}_{at_once}", elem, isa, rows, cols))
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    finite = Finite(k, vector)
    # The panel and the place in it of the next vectors.
    panel, within = k.variable(task["u"]), k.variable(0, I64)
    with k.loop(0, task["phases_h"]) as p_h, k.loop(0, task["phases_w"]) as p_w:
        w_phase = task["w"] + p_h * task["w_ph"] + p_w * task["w_pw"]
        with k.loop(0, task["vectors"], at_once) as number:
            place = number * vector.lanes
            w, u = w_phase + place * vector.scalar.size, panel.get() + within.get()
            left = task["columns"] - place
            full = k.less(at_once * vector.lanes - 1, left)
            lines = _Lines(k, isa, task, vector, rows, cols, finite)
            with k.when(full):
                lines.run(w, u, nv, at_once)
            with k.when(k.equal(full, 0)):
                lines.run(w, u, nv, at_once, left)
            after = within.get() + at_once * vector.size
            is_over = k.equal(after, nv * vector.size)
            panel.set(k.select(is_over, panel.get() + task["u_panel"], panel.get()))
            within.set(k.select(is_over, 0, after))
    if nv > 1:
        with k.when(k.less(0, within.get())), k.loop(within.get(), nv * vector.size, vector.size) as place:
            _clear(k, task, vector, panel.get() + place, len(rows) * len(cols), nv)
    finite.note(task["flag"])
    return k


def _clear(k, task, vector, u, positions, nv):
    """Zeros for a vector of all c: tiny numbers that memory was left with would take long to be multiplied."""
    zero = k.zero(vector)
    with k.loop(0, positions) as position, k.loop(0, task["c"]) as c:
        k.store(zero, u + position * task["u_pos"] + c * (nv * vector.size))


class _Lines:
    """The lines of all c for some vectors of one phase."""

    def __init__(self, k, isa, task, vector, rows, cols, finite):
        self.k, self.isa, self.task, self.vector = k, isa, task, vector
        self.rows, self.cols, self.finite = rows, cols, finite

    def run(self, w, u, nv, at_once, left=None):
        """`left` are the columns from the first vector on, if they may be fewer than the vectors have."""
        k, task, vector = self.k, self.task, self.vector
        with k.loop(0, task["c"]) as c, k.loop(0, at_once) as i:
            here = w + k.opaque(c) * task["w_c"] + i * vector.size
            there = u + k.opaque(c) * (nv * vector.size) + i * vector.size
            mask = None if left is None else k.lane_mask(left - i * vector.lanes, vector)
            self.transform(here, there, mask)

    def transform(self, w, u, mask):
        k, task, rows, cols = self.k, self.task, self.rows, self.cols
        taps = Grid(k, w, task["w_h"], task["w_w"], len(rows[0]), len(cols[0]))
        positions = Grid(k, u, task["u_pos"] * len(cols), task["u_pos"], len(rows), len(cols))

        for a, b in product(range(len(rows[0])), range(len(cols[0]))):
            k.prefetch(taps[a, b] + AHEAD * task["w_c"])

        def finish(value, i, j):
            self.finite.see(value)
            k.store(value, positions[i, j])

        both_sides(k, self.isa, rows, cols, lambda a, b: k.load(taps[a, b], self.vector, mask), finish)
        self.finite.keep()
