"""How an axis is cut for Winograd's filters: which forms its phases take, in which parts, with how many tiles.

A transposed convolution of stride s is s filters on each axis, and one of stride 1 and dilation d is d times the same
filter, each on every d-th value. Phases that have the same number of taps share their tiles, or each has its own.
"""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

from .geometry import Axis, ceil_div
from .phases import phases
from .winograd_forms import Form, form


class Way(NamedTuple):
    """How an axis is cut: the outputs m of a tile by the taps r of a phase; `apart`, each phase has its own tiles."""

    outputs: dict[int, int]
    apart: bool = False


# Phases with tiles of their own are as many parts on an axis; of more than these, a layer would have too many. So are
# what dilation keeps apart, which have one transformed weight together.
MOST_APART, MOST_DILATION = 3, 6
# Forward, plain sums of fewer channels are short and exact: there three taps have tiles of two outputs.
FEW_CHANNELS = 64
# Plain sums over so many channels have errors beside which those of tiles of five values, on one axis or on both, are
# small; and of one row alone, under several phases, those of tiles of three outputs and taps. From as many to those of
# FIVE_ON_BOTH_CHANNELS these are too large twice, on both axes, beside plain sums that are exact again.
THREE_ALONE_CHANNELS = 96
FIVE_ON_ONE_CHANNELS, FIVE_ON_BOTH_CHANNELS = 128, 256


def ways(h: Axis, w: Axis, forward=True, channels=FEW_CHANNELS) -> list[tuple[Way, Way]]:
    """The ways to cut both axes whose errors are small enough, the usual one first; none without a form.

    Args:
        channels: those of the source.

    >>> [[way.outputs for way in pair] for pair in ways(Axis(8, 3), Axis(8, 3))], ways(Axis(8, 3, 2, 2), Axis(8, 3))
    ([[{3: 2}, {3: 3}], [{3: 3}, {3: 2}]], [])
    """
    limits = FEW_CHANNELS, THREE_ALONE_CHANNELS, FIVE_ON_ONE_CHANNELS, FIVE_ON_BOTH_CHANNELS
    are_many = tuple(channels >= many for many in limits)
    return list(_ways((h.k, h.s, h.d), (w.k, w.s, w.d), forward, *are_many))


@lru_cache(maxsize=256)
def _ways(h, w, forward, enough, alone, on_one, on_both):
    found = _ways_alone(*h, forward), _ways_alone(*w, forward)
    if forward and not enough:
        return tuple(product(*map(_small, found)))
    is_exact = 1 in (h[1], w[1]) or (forward and alone and not on_both)
    if [each[:1] for each in found] == [(Way({3: 3}),)] * 2 and is_exact:
        # The errors of two axes multiply, and plain sums are the most exact of one phase alone; of several, of some 100
        # channels, until they are long.
        return (Way({3: 2}), Way({3: 3})), (Way({3: 3}), Way({3: 2}))
    if (1, 1) in (h[:2], w[:2]):
        # Of a row alone sums are as short.
        found = tuple(
            [Way({3: 2})] if ways[:1] == (Way({3: 3}),) and (s == 1 or (forward and not alone)) else ways
            for (_, s, _), ways in zip((h, w), found, strict=True)
        )
    made, larger = list(product(*found)), [_larger(each) for each in found]
    if forward and on_both and all(larger):
        both = ([*each, *more] for each, more in zip(found, larger, strict=True))
        made += [pair for pair in product(*both) if pair not in made]
    elif forward and on_one and all(larger):
        # Beside the usual way of the other axis.
        made += [*product(larger[0], found[1][:1]), *product(found[0][:1], larger[1])]
    return tuple(made)


def _small(found):
    """Ways of two outputs where there are three taps."""
    small = [way for way in found if way.outputs.get(3, 2) == 2]
    return small or [way._replace(outputs={**way.outputs, 3: 2}) for way in found]


def _larger(found):
    """Ways of four outputs where there are ways of three."""
    return [Way({2: 4}, apart=way.apart) for way in found if way.outputs == {2: 3}]


def ways_alone(axis: Axis, forward=True) -> list[Way]:
    """Those of one axis.

    >>> ways_alone(Axis(64, 4, 2))
    [Way(outputs={2: 3}, apart=False), Way(outputs={2: 2}, apart=True), Way(outputs={2: 3}, apart=True)]
    >>> ways_alone(Axis(64, 5, 2))
    [Way(outputs={3: 2, 2: 2}, apart=True), Way(outputs={3: 3, 2: 3}, apart=True)]
    """
    return list(_ways_alone(axis.k, axis.s, axis.d, forward))


@lru_cache(maxsize=256)
def _ways_alone(k, s, d, forward):
    least, rest = divmod(k, s)
    if (not rest and least == 1 < k) or (d > 1 and not (s == 1 and d <= MOST_DILATION)):
        return ()
    if not rest:
        usual = {1: 1, 2: 3, 3: 3}.get(least)
        made = [] if usual is None else [Way({least: usual})]
        if least == 2 and not forward:
            # The phases are summed over, whatever the tiles of the result.
            made.append(Way({2: 2}))
        elif least == 2 and 1 < s <= MOST_APART:
            # Without the step more that phases have together: for maps that would leave much of it unused.
            made += [Way({2: m}, apart=True) for m in (2, 3)]
        return tuple(made)
    counts = {1: (3, 2), 2: (2, 3)}.get(least, ()) if s <= MOST_APART else ()
    return tuple(Way({least + 1: m, least: m}, apart=True) for m in counts)


class Source(NamedTuple):
    """What a tile reads on an axis: its value number j is number ``first + tile*m + j`` of the values below.

    Value number i lies at index ``start + i*step`` of the map; there are `count` of them, and zeros before and after.
    """

    start: int
    step: int
    count: int
    first: int


class Part(NamedTuple):
    """Results on one axis that are made of the same tiles.

    Output i of phase q of a tile is index ``start + (tile*m + i)*step + q`` of the result, for q below `phases`, if
    that is one of its `count` indices. Where there are several `sources`, the products of all are added up. The b-th
    tap of phase (or source) q is ``tap + q + b*tap_step``.
    """

    form: Form
    tiles: int
    sources: tuple[Source, ...]
    start: int
    step: int
    phases: int
    count: int
    tap: int
    tap_step: int

    @property
    def weight(self):
        """What the transformed weight depends on: parts that have it in common have one."""
        return self.form, self.phases, len(self.sources), self.tap, self.tap_step

    @property
    def products(self):
        """Products on this axis for each pair of channels."""
        return self.tiles * self.form.size * self.phases * len(self.sources)


def parts(axis: Axis, outputs, forward=True, apart=False) -> tuple[Part, ...]:
    """The parts of an axis: one of all phases if they have the same number of taps, else one for each phase.

    With dilation d, which goes with stride 1, one for each remainder of a result's index by d.

    Args:
        axis: the axis.
        outputs: m by the number of taps r.
        forward: False for the gradient in the input: a part for the phases of each number of taps, to be added up.
        apart: each phase has tiles of its own, even if they could be shared.

    Raises:
        ValueError: for an axis that there is no form for.

    >>> (part,) = parts(Axis(n=4, k=4, s=2, crop_lo=1, crop_hi=1), {2: 3})
    >>> part.tiles, part.sources[0].first, part.start, part.phases
    (2, -1, -1, 2)
    """
    if axis.d != 1 and axis.s != 1:
        raise ValueError(f"dilation is {axis.d}; the forms are for 1, or for stride 1")
    return _parts(axis, tuple(outputs.items()), forward, apart)


class Counted(NamedTuple):
    """What the `parts` of an axis add up to.

    Attributes:
        phases: of the first part; `tiles` likewise.
        read, written: positions of all tiles, each time that a source is spread, and that its products are gathered.
        kept: positions of one tile, for each source.
    """

    phases: int
    tiles: int
    read: int
    written: int
    kept: int


def counted(axis: Axis, way: Way, forward=True) -> Counted:
    """The numbers of `parts`, without the parts: ways are compared before one is taken.

    >>> counted(Axis(n=4, k=4, s=2, crop_lo=1, crop_hi=1), Way({2: 3}))
    Counted(phases=2, tiles=2, read=8, written=8, kept=4)
    """
    return _counted(axis, tuple(way.outputs.items()), forward, way.apart)


# Each axis in as many ways as there are; a new width leaves the height as it was.
@lru_cache(maxsize=512)
def _counted(axis, outputs, forward, apart):
    k, s, outputs = axis.k, axis.s, dict(outputs)
    if axis.d > 1:
        results, size = axis.out if forward else axis.n, k + outputs[k] - 1
        tiles = [ceil_div(ceil_div(results - first, axis.d), outputs[k]) for first in range(min(axis.d, results))]
        return Counted(1, tiles[0], size * sum(tiles), size * sum(tiles), size)
    if not forward:
        least, more = divmod(k, s)
        groups = ((least + 1, more), (least, s - more))
        found = [(r + outputs[r] - 1, ceil_div(axis.n, outputs[r]), many) for r, many in groups if r and many]
        phases = 1
    elif k % s == 0 and not apart:
        r, (first, last) = k // s, _steps(axis)
        found, phases = [(r + outputs[r] - 1, ceil_div(last - first + 1, outputs[r]), 1)], s
    else:
        found, phases = [], 1
        for start in range(min(s, axis.out)):
            r = ceil_div(k - (start + axis.crop_lo) % s, s)
            if r > 0:
                found.append((r + outputs[r] - 1, ceil_div(ceil_div(axis.out - start, s), outputs[r]), 1))
    read = written = kept = 0
    for size, tiles, sources in found:
        read += size * tiles * sources
        written += size * tiles
        kept += size * sources
    return Counted(phases, found[0][1], read, written, kept)


def _steps(axis):
    """The first and the last canvas step that have an output at all."""
    return ceil_div(axis.crop_lo - axis.s + 1, axis.s), (axis.out - 1 + axis.crop_lo) // axis.s


# A new width leaves the height as it was.
@lru_cache(maxsize=256)
def _parts(axis, outputs, forward, apart):
    outputs = dict(outputs)
    if axis.d > 1:
        results = axis.out if forward else axis.n
        return tuple(_every(axis, first, outputs, forward) for first in range(min(axis.d, results)))
    if not forward:
        least, more = divmod(axis.k, axis.s)
        groups = (least + 1, range(more)), (least, range(more, axis.s))
        return tuple(_gradient(axis, outputs, r, residues) for r, residues in groups if r and residues)
    if axis.k % axis.s == 0 and not apart:
        return (_shared(axis, outputs),)
    return tuple(_own(axis, phase, outputs) for phase in phases(axis) if phase.taps)


def _shared(axis, outputs):
    r = axis.k // axis.s
    chosen = form(outputs[r], r)
    first, last = _steps(axis)
    source = Source(0, 1, axis.n, first - (r - 1))
    start = axis.s * first - axis.crop_lo
    tiles = ceil_div(last - first + 1, chosen.m)
    return Part(chosen, tiles, (source,), start, axis.s, axis.s, axis.out, (r - 1) * axis.s, -axis.s)


def _own(axis, phase, outputs):
    r = len(phase.taps)
    chosen = form(outputs[r], r)
    source = Source(0, 1, axis.n, phase.source - (r - 1))
    tiles = ceil_div(phase.count, chosen.m)
    return Part(chosen, tiles, (source,), phase.start, axis.s, 1, axis.out, phase.taps[-1], -axis.s)


def _every(axis, first, outputs, forward):
    """Every d-th result from the first on: they read every d-th value, as a layer without dilation would."""
    chosen, d, back = form(outputs[axis.k], axis.k), axis.d, axis.k - 1
    results, values = (axis.out, axis.n) if forward else (axis.n, axis.out)
    number, start = divmod(first + axis.crop_lo if forward else first - axis.crop_lo, d)
    source = Source(start, d, max(0, ceil_div(values - start, d)), number - back if forward else number)
    tiles, taps = ceil_div(ceil_div(results - first, d), chosen.m), (back, -1) if forward else (0, 1)
    return Part(chosen, tiles, (source,), first, d, 1, results, *taps)


def _gradient(axis, outputs, r, residues):
    """What the phases of some residues, of r taps each, add to the gradient."""
    chosen = form(outputs[r], r)
    sources = []
    for q in residues:
        start = (q - axis.crop_lo) % axis.s
        count = max(0, ceil_div(axis.out - start, axis.s))
        sources.append(Source(start, axis.s, count, (q - axis.crop_lo - start) // axis.s))
    return Part(chosen, ceil_div(axis.n, chosen.m), tuple(sources), 0, 1, 1, axis.n, residues[0], axis.s)
