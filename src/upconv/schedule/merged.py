"""Phases of a row that are computed together: one product whose columns are all phases and channels."""

import itertools
from dataclasses import replace

from ..geometry import Axis, ceil_div
from ..phases import phases


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
