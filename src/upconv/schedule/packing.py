"""The packed weight: for each group, block of columns and tap, one row of whole vectors for each source channel.

Where the phases of a row are merged, a column is a phase and a channel, and a tap stands for s of them.
"""

import itertools

from ..runtime.jobs import PANELS, X_BAND, W, in_turn, join, stage
from . import planes
from .modes import Channels, Planes
from .place import copying, transposing

# Taps of a panel are a power of two apart more often than not, and would fall into the same sets of the cache.
STAGGER = 64
# Weights of fewer channels are read in place by the kernels on planes.
FEW = 3


class Panels:
    """Where the panels of a `gather.Scheduler` lie, and the jobs that fill them."""

    def __init__(self, scheduler):
        s = self.scheduler = scheduler
        self.k_h, self.k_w = s.g.h.k, s.g.w.k // s.merged
        self.taps = self.k_h * self.k_w
        # (first column, columns, columns with the padding) of each block.
        self.blocks = [(first, n, wide * s.lanes) for (first, wide), n in zip(s.blocks, s.columns, strict=True)]
        # How many blocks lie in one: those on planes that are alike.
        self.alike = [1] * len(self.blocks)
        if s.mode is Planes:
            found = planes.blocks(s.c_dst, planes.phases_of(s))
            self.blocks, self.alike = [(start, mr, mr) for start, mr, _ in found], [number for *_, number in found]
        # Bytes of one tap of a block, and where a block begins in units of a tap.
        self.tap_bytes = [
            s.c_src * width * s.size * alike + STAGGER
            for (_, _, width), alike in zip(self.blocks, self.alike, strict=True)
        ]
        self.starts = [0, *itertools.accumulate(self.tap_bytes)]
        if s.mode is Channels:
            # One tap of all channels, each with a kernel of its own.
            self.tap_bytes = [-(-s.g.groups // s.lanes) * s.lanes * s.size]

    @property
    def nbytes(self):
        """Bytes of all panels."""
        if self.scheduler.mode is Channels:
            return self.taps * self.tap_bytes[0]
        if not self.are_used:
            return 0
        return self.at(self.scheduler.g.groups, 0)

    @property
    def are_used(self):
        """Whether there are any: kernels on planes read the weight of a few channels where it lies."""
        s = self.scheduler
        if s.mode is not Planes:
            return s.mode.pixels
        return s.c_dst >= FEW and (s.w_dst == s.size or self._are_consecutive())

    def _are_consecutive(self):
        """Whether the taps of a channel lie one after another."""
        (step_h, step_w), g, size = self.scheduler.w_taps, self.scheduler.g, self.scheduler.size
        return (g.w.k == 1 or step_w == size) and (g.h.k == 1 or step_h == g.w.k * size)

    def at(self, group, block):
        """Offset of a block's panel."""
        return self.taps * (group * self.starts[-1] + self.starts[block])

    def packing(self):
        """The Stage that packs the weight, or None if it must be made dense before."""
        s = self.scheduler
        if not self.are_used:
            return stage([])
        if s.mode is Channels:
            return stage([self._channels()]) if self._are_consecutive() else None
        if s.merged > 1:
            return self._merging()
        if s.w_dst == s.size or s.c_dst == 1:
            make = self._copies
        elif self._are_consecutive():
            make = self._turns
        else:
            return None
        places = itertools.product(range(s.g.groups), range(len(self.blocks)))
        return stage(job for group, block in places for job in make(group, block))

    def _channels(self):
        """Turn (groups, taps) into a line of channels for each tap."""
        s = self.scheduler
        line = self.tap_bytes[0]
        rows, cols = (s.g.groups, s.w_group), (self.taps, line)
        return transposing(s.elem, (W, 0), (PANELS, 0), rows, cols, pad=line // s.size)

    def _turns(self, group, block):
        """Taps consecutive: turn (channels, taps) for each source channel."""
        s = self.scheduler
        start, count, width = self.blocks[block]
        src = W, s.w_at + group * s.w_group + start * s.w_dst
        rows, cols = (count, s.w_dst), (self.taps, self.tap_bytes[block])
        each, size = (s.c_src, s.w_src, width * s.size), s.c_src * width * s.size
        alike = self.alike[block], width * s.w_dst, size
        yield transposing(s.elem, src, (PANELS, self.at(group, block)), rows, cols, n=each, m=alike, pad=width)

    def _copies(self, group, block):
        """Channels of the result consecutive: copy them, all taps of one source channel after another."""
        s = self.scheduler
        start, count, width = self.blocks[block]
        (step_h, step_w), tap, line = s.w_taps, self.tap_bytes[block], width * s.size
        # Rows of taps without a gap between them are one.
        rows, taps = (1, self.taps) if step_h == self.k_w * step_w else (self.k_h, self.k_w)
        for t_h, alike in itertools.product(range(rows), range(self.alike[block])):
            src = s.w_at + group * s.w_group + (start + alike * width) * s.w_dst + t_h * step_h
            dst = self.at(group, block) + t_h * self.k_w * tap + alike * s.c_src * line
            n, m = (s.c_src, s.w_src, line), (taps, step_w, tap)
            yield copying(s.elem, (W, src), (PANELS, dst), count, n=n, m=m, pad=width)

    # Merged phases ---------------------------------------------------------------------------------------------------

    def _merging(self):
        s = self.scheduler
        _, step_w = s.w_taps
        blocks, places = range(len(s.blocks)), list(itertools.product(range(self.k_h), range(self.k_w)))
        if step_w == s.c_dst * s.size and (s.w_dst == s.size or s.c_dst == 1):
            lie = {place: ((W, self._phases(*place)), s.w_src) for place in places}
            return stage(self._columns(*place, block, *lie[place]) for place in places for block in blocks)
        if step_w != s.size:
            return None
        # They lie as (channel, phase): turned first, then shared out to the blocks.
        line = s.c_dst * s.merged * s.size
        s.band_bytes[X_BAND] = s.c_src * line
        return join(
            in_turn(
                [
                    stage([self._turned(*place, line)]),
                    stage(self._columns(*place, block, (X_BAND, 0), line) for block in blocks),
                ]
            )
            for place in places
        )

    def _phases(self, t_h, t_w):
        """Where the s taps of a place lie in the weight."""
        step_h, step_w = self.scheduler.w_taps
        return t_h * step_h + t_w * self.scheduler.merged * step_w

    def _turned(self, t_h, t_w, line):
        s = self.scheduler
        rows, cols = (s.c_dst, s.w_dst), (s.merged, s.c_dst * s.size)
        src = W, self._phases(t_h, t_w)
        return transposing(s.elem, src, (X_BAND, 0), rows, cols, n=(s.c_src, s.w_src, line))

    def _columns(self, t_h, t_w, block, src, step):
        """Copy the columns of a block from rows that are `step` apart."""
        s = self.scheduler
        start, count, width = self.blocks[block]
        base, offset = src
        dst = PANELS, self.at(0, block) + (t_h * self.k_w + t_w) * self.tap_bytes[block]
        rows = s.c_src, step, width * s.size
        return copying(s.elem, (base, offset + start * s.size), dst, count, m=rows, pad=width)
