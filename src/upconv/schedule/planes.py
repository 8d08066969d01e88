"""Tables of jobs for results of few channels in planes: whole rows, all their phases together."""

from dataclasses import dataclass

from ..geometry import Axis
from ..kernels import planes, strips
from ..phases import Segment, has_holes, input_segments, live_phases, live_segments, phases
from ..runtime.jobs import BIAS, LINE, PANELS, W
from ..runtime.kernel import entry, isa
from .operand import Operand
from .place import copying

# Phases that are interleaved in registers; of more, each is written on its own.
MOST_PHASES = 4
# Sums of a tile, vectors of it, and channels for each number of phases, by the number of vector registers.
SUMS = {32: 24, 16: 11}
ACROSS = 6
CHANNELS = {32: {1: 6, 2: 6, 3: 4, 4: 3}, 16: {1: 4, 2: 3, 3: 2, 4: 1}}
# Channels that lie a multiple of so many bytes apart share a few sets of the first-level cache.
CROWDING = 1024
FEW_WAYS = 12
# More taps of a plane are loops.
WRITTEN_TAPS = 16
# Numbers of channels that a tile can interleave.
JOINED = (1, 2, 3, 4, 6)
NO_TAPS = range(0)


@dataclass(frozen=True, slots=True)
class Taps:
    """Taps of one phase: the m-th of `taps` reads column ``j + a - m*back`` for column j of the result."""

    a: int
    taps: range


@dataclass(frozen=True, slots=True)
class Row:
    """What one job makes of a row: `s` phases of `columns` outputs in all, from `start` on and `step` apart.

    Column j of phase p is output ``start + (j*s + p) * step``. `shared` are taps that all phases have at the same
    places of x: `count` of them, the first at j + a. `own` are those left to each phase, `whole` all of each.
    """

    start: int
    step: int
    columns: int
    in_cols: int
    back: int
    a: int
    count: int
    shared: tuple[range, ...]
    own: tuple[Taps, ...]
    whole: tuple[Taps, ...]


def rows_of(axis: Axis, forward):
    """The Rows of an axis: one of all phases where they can be interleaved, else one of each phase that has taps.

    >>> (row,) = rows_of(Axis(n=5, k=4, s=2, crop_lo=1, crop_hi=1), True)
    >>> row.shared, [(own.a, list(own.taps)) for own in row.own]
    ((range(1, 3, 2), range(2, 4, 2)), [(-1, [3]), (1, [0])])
    """
    if not forward:
        return [_row(0, 1, axis.n, axis.out, -axis.d, [Taps(-axis.crop_lo, range(axis.k))])]
    back = axis.d // axis.g
    if axis.s > MOST_PHASES:
        return [
            _row(phase.start, axis.s, phase.count, axis.n, back, [Taps(phase.source, phase.taps)])
            for phase in live_phases(axis)
        ]
    found = [Taps(phase.source, phase.taps) for phase in phases(axis)]
    found += [Taps(0, NO_TAPS)] * (axis.s - len(found))
    return [_row(0, 1, axis.out, axis.n, back, found)]


def _row(start, step, columns, in_cols, back, found):
    a, count, shared, own = _share(found, back)
    return Row(start, step, columns, in_cols, back, a, count, shared, own, tuple(found))


def _share(found, back):
    """(a, count, shared, own) of the taps of all phases."""
    a = found[0].a
    nothing = a, 0, tuple(each.taps[:0] for each in found), tuple(found)
    if any((each.a - a) % back for each in found) or not all(each.taps for each in found):
        return nothing
    # Counted from the first phase's first tap on, the taps of each phase are a range of places.
    begins = [(a - each.a) // back for each in found]
    low = max(begins)
    high = min(begin + len(each.taps) for begin, each in zip(begins, found, strict=True))
    shared, own = [], []
    for begin, each in zip(begins, found, strict=True):
        before, after = each.taps[: max(0, low - begin)], each.taps[max(0, high - begin) :]
        if low >= high or (before and after):
            return nothing
        shared.append(each.taps[low - begin : high - begin])
        own.append(Taps(each.a, before) if before else Taps(each.a - (high - begin) * back, after))
    return a - low * back, high - low, tuple(shared), tuple(own)


def everything(columns):
    """A Row without taps: what holds the bias alone."""
    nothing = (Taps(0, NO_TAPS),)
    return Row(0, 1, columns, 1, 1, 0, 0, (NO_TAPS,), nothing, nothing)


def blocks(channels, s):
    """(first channel, channels of a block, number of blocks) of the blocks that are alike; as even as can be."""
    count = -(-channels // CHANNELS[isa().registers][s])
    least, more = divmod(channels, count)
    alike = [(0, least + 1, more), (more * (least + 1), least, count - more)]
    return [(start, mr, number) for start, mr, number in alike if number]


def across(mr, s):
    """Vectors of a tile of so many channels and phases."""
    return max(1, min(ACROSS, SUMS[isa().registers] // (mr * s)))


def phases_of(scheduler):
    """How many phases of a row its kernels compute together."""
    s = scheduler.g.w.s if scheduler.forward else 1
    return s if s <= MOST_PHASES else 1


def joins(scheduler, y):
    """Whether all channels of a result in pixels are written by one tile, phases and all."""
    c = scheduler.c_dst
    s = scheduler.g.w.s if scheduler.forward else 1
    whole = scheduler.g.groups == 1 and not scheduler.mode.depthwise and y.at.w == c * scheduler.size
    return whole and y.at.pixels and s <= MOST_PHASES and c in JOINED and c <= CHANNELS[isa().registers][s]


def crowded(scheduler, x):
    """Whether the channels of x lie so that they would fall into the same few sets of the cache."""
    return not scheduler.mode.depthwise and scheduler.c_src > FEW_WAYS and x.at.c % CROWDING == 0


def spread(scheduler, x, shape, base):
    """(jobs that copy a band of x, where it lies then): the channels an odd number of cache lines apart."""
    n, c, h, w = shape
    size = scheduler.size
    step = (-(-h * w * size // LINE) | 1) * LINE
    mine = Operand(c * step, step, w * size, size, pixels=False, planes=True)
    # Rows without a gap between them are one line.
    lines, length = (1, h * w) if x.at.h == w * size else (h, w)
    jobs = [
        copying(
            scheduler.elem,
            (x.base, x.offset + image * x.at.n),
            (base, image * mine.n),
            length,
            n=(c, x.at.c, mine.c),
            m=(lines, x.at.h, mine.h),
        )
        for image in range(n)
    ]
    return jobs, mine, n * c * step


def products(scheduler, band, x, y):
    """The jobs of a band whose operands lie in planes.

    Args:
        scheduler: the `gather.Scheduler` that knows the operation, the weight and the mode.
        x, y: where the band's source and result lie, as `place.Placed`.
    """
    forward, w = scheduler.forward, band.w
    if forward and (has_holes(band.h) or (w.s > MOST_PHASES and has_holes(w))):
        # Places without taps are written first, all at once; the others are then written over.
        nothing = Segment(0, 1, band.out_h, NO_TAPS, 0, 0, 0)
        yield from _row_jobs(scheduler, band.n, nothing, everything(band.out_w), x, y)
    for h in live_segments(band.h) if forward else input_segments(band.h):
        for row in rows_of(w, forward):
            yield from _row_jobs(scheduler, band.n, h, row, x, y)


def _row_jobs(scheduler, n, h, row, x, y):
    """The jobs of the rows of one segment: one of each block of channels, or one of all channels if they are apart."""
    s, size = len(row.own), scheduler.size
    common = scheduler.common | {
        "n": n,
        "rows": h.count,
        "n_h": len(h.taps),
        "in_cols": row.in_cols,
        "out_cols": row.columns,
        "x_n": x.at.n,
        "x_row": h.source_step * x.at.h,
        "x_h": h.tap_step * x.at.h,
        "x_g": scheduler.c_src * x.at.c,
        "y_n": y.at.n,
        "y_row": h.step * y.at.h,
        "y_g": scheduler.c_dst * y.at.c,
        "back": row.back,
        "x": (x.base, x.offset + h.source * x.at.h),
    }
    at = y.offset + h.start * y.at.h + row.start * y.at.w
    if scheduler.mode.depthwise:
        in_place = _in_place(scheduler, 0, 1)
        yield common | {
            "words": strips.words(s),
            "entry": entry(strips.strips, scheduler.elem, s, *_written(len(h.taps), row.whole)),
            "y": (y.base, at),
            "bias": (BIAS, 0),
            **in_place.words(h, row),
            **_own(row.whole, in_place.tap_w),
        }
        return
    for place, (start, mr, number) in enumerate(blocks(scheduler.c_dst, s)):
        # Where there are no taps, blocks may be others than those of the panels, and nothing is read.
        is_packed = scheduler.panels.are_used and h.taps
        weight = _packed(scheduler, place, mr) if is_packed else _in_place(scheduler, start, mr)
        yield common | {
            "words": planes.NAMES[s],
            "entry": entry(planes.planes, scheduler.elem, mr, s, across(mr, s), not y.at.planes),
            "y": (y.base, at + start * y.at.c),
            "bias": (BIAS, start * size),
            "x_c": x.at.c,
            "y_c": y.at.c,
            "y_col": row.step * y.at.w,
            "blocks": number,
            "w_b": weight.block,
            "shared_a": row.a,
            "shared_count": row.count,
            **weight.words(h, row),
            **{f"shared_{p}": taps.start * weight.tap_w for p, taps in enumerate(row.shared)},
            **_own(row.own, weight.tap_w),
        }


@dataclass(frozen=True, slots=True)
class Weight:
    """Where the weight of a block of channels is read, and the steps in bytes: by tap, channel, group and block."""

    place: tuple
    tap_h: int
    tap_w: int
    source: int
    result: int
    group: int
    block: int

    def words(self, h, row):
        """The words of a job for a segment of rows."""
        base, offset = self.place
        taps = (*row.shared, *(own.taps for own in row.own))
        return {
            "w": (base, offset + (h.taps.start * self.tap_h if h.taps else 0)),
            "w_h": h.taps.step * self.tap_h,
            "w_w": max(each.step for each in taps) * self.tap_w,
            "w_c": self.source,
            "w_r": self.result,
            "w_g": self.group,
        }


def _in_place(scheduler, start, mr):
    """The Weight of the channels from `start` on as it lies."""
    place, step = (W, start * scheduler.w_dst), scheduler.w_dst
    return Weight(place, *scheduler.w_taps, scheduler.w_src, step, scheduler.w_group, mr * step)


def _packed(scheduler, place, mr):
    """The Weight of blocks that are alike in the panels, which are by tap and block."""
    panels, size = scheduler.panels, scheduler.size
    start, block = (PANELS, panels.at(0, place)), scheduler.c_src * mr * size
    tap = panels.tap_bytes[place]
    return Weight(start, panels.k_w * tap, tap, mr * size, size, panels.at(1, 0), block)


def _written(n_h, taps):
    """The numbers of taps that a kernel is made for, if they are few."""
    counts = tuple(len(each.taps) for each in taps)
    return (n_h, counts) if n_h * sum(counts) <= WRITTEN_TAPS else ()


def _own(taps, step_w):
    """The words of taps that belong to one phase each."""
    words = {}
    for p, each in enumerate(taps):
        words |= {f"a_{p}": each.a, f"n_{p}": len(each.taps), f"first_{p}": each.taps.start * step_w}
    return words
