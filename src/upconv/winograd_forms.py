"""The minimal filters of Winograd, as exact fractions: m outputs of a filter of r taps by m + r - 1 products.

    y[i]  =  sum over b of  d[i + b] * g[b]        for i in 0 ... m - 1
          =  sum over p of  a[i][p] * (sum over b of G[p][b] g[b]) * (sum over j of B[p][j] d[j])

They are made from points: a product of polynomials of m + r - 1 coefficients is known by its values at as many points
(infinity is the leading coefficient), and the sum above is the transpose of such a product. Two factors are free at
each point: they move between B and G, so that B, which meets the data, has a 1 in every row and fractions that are
exact in floating point.

In two dimensions the same on each axis. A transposed convolution of stride s is s such filters on each axis, and one of
stride 1 and dilation d is d times the same filter, each on every d-th value (`Part`).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice, product
from typing import NamedTuple

from .geometry import Axis, ceil_div
from .phases import phases

INFINITY = None
# By the number of points: those of the smallest errors, which lie about evenly around the circle that infinity closes
# (0, 1, infinity, -1 are its quarters). Points that come with their negatives share half of their transforms, and
# numbers of few bits leave no rounding errors of their own.
NEAR, FAR = Fraction(3, 8), Fraction(5, 4)
INNER, OUTER = Fraction(5, 8), Fraction(3, 2)
POINTS = {
    1: (INFINITY,),
    2: (0, INFINITY),
    3: (0, 1, INFINITY),
    4: (0, 1, -1, INFINITY),
    5: (NEAR, -NEAR, FAR, -FAR, INFINITY),
    6: (0, INNER, -INNER, OUTER, -OUTER, INFINITY),
}


class Matrix(tuple):
    """Rows of Fractions; the hash is kept, since matrices are parts of keys, and a Fraction's takes some time."""

    def __hash__(self):
        try:
            return self._hash
        except AttributeError:
            self._hash = super().__hash__()
            return self._hash


@dataclass(frozen=True, slots=True)
class Form:
    """F(m, r): the three matrices as rows of Fractions.

    Attributes:
        m, r: outputs and taps; `size` = m + r - 1 products, values of the source and positions.
        output: m rows of `size`: outputs from products.
        weight: `size` rows of r: what the taps become.
        source: `size` rows of `size`: what the values become.
    """

    m: int
    r: int
    output: tuple
    weight: tuple
    source: tuple

    def __hash__(self):
        # Forms are parts of keys, and the hash of a Fraction takes a power modulo a prime.
        return hash((self.m, self.r))

    @property
    def size(self):
        return len(self.source)

    @property
    def bias(self):
        """The positions of which every output has the product exactly once, so that a bias may be added there; if any.

        >>> form(3, 2).bias, form(2, 1).bias, form(3, 3).bias
        ((1,), (0, 1), ())
        """
        return _bias(self)

    @property
    def multiplications(self):
        """Products for one output, beside r of the filter as it is."""
        return Fraction(self.size, self.m)


@lru_cache(maxsize=64)
def _bias(form):
    if form.r == 1:
        return tuple(range(form.m))
    ones = (place for place, column in enumerate(zip(*form.output, strict=True)) if set(column) == {1})
    return tuple(islice(ones, 1))


@lru_cache(maxsize=64)
def form(m, r, points=None) -> Form:
    """F(m, r) from as many points as it has products, which are POINTS unless told.

    Raises:
        KeyError: for more products than there are good points.

    >>> [[int(v) for v in row] for row in form(3, 2).source]
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    """
    if r == 1:
        same = _identity(m)
        return Form(m, r, same, Matrix(((Fraction(1),),) * m), same)
    points = POINTS[m + r - 1] if points is None else points
    size = m + r - 1
    output, weight = _transpose(_powers(points, m)), _powers(points, r)
    source = _transpose(_inverse(_powers(points, size)))
    factors = [_factor(row, taps) for row, taps in zip(source, weight, strict=True)]
    return Form(
        m,
        r,
        output,
        Matrix(tuple(v / f for v in row) for row, f in zip(weight, factors, strict=True)),
        Matrix(tuple(v * f for v in row) for row, f in zip(source, factors, strict=True)),
    )


class Way(NamedTuple):
    """How an axis is cut: the outputs m of a tile by the taps r of a phase; `apart`, each phase has its own tiles."""

    outputs: dict[int, int]
    apart: bool = False


# Phases with tiles of their own are as many parts on an axis; of more than these, a layer would have too many. So are
# what dilation keeps apart, which have one transformed weight together.
MOST_APART, MOST_DILATION = 3, 6


# Plain sums over so many channels have errors beside which those of tiles of five values, on one axis or on both, are
# small; and of one row alone, under several phases, those of tiles of three outputs and taps.
THREE_ALONE_CHANNELS = 96
FIVE_ON_ONE_CHANNELS, FIVE_ON_BOTH_CHANNELS = 128, 256


def ways(h: Axis, w: Axis, forward=True, channels=0) -> list[tuple[Way, Way]]:
    """The ways to cut both axes whose errors are small enough, the usual one first; none without a form.

    Args:
        channels: those of the source.

    >>> [[way.outputs for way in pair] for pair in ways(Axis(8, 3), Axis(8, 3))], ways(Axis(8, 3, 2, 2), Axis(8, 3))
    ([[{3: 2}, {3: 3}], [{3: 3}, {3: 2}]], [])
    """
    are_many = tuple(channels >= many for many in (THREE_ALONE_CHANNELS, FIVE_ON_ONE_CHANNELS, FIVE_ON_BOTH_CHANNELS))
    return list(_ways((h.k, h.s, h.d), (w.k, w.s, w.d), forward, *are_many))


@lru_cache(maxsize=256)
def _ways(h, w, forward, alone, on_one, on_both):
    found = _ways_alone(*h, forward), _ways_alone(*w, forward)
    if [each[:1] for each in found] == [(Way({3: 3}),)] * 2 and 1 in (h[1], w[1]):
        # The errors of two axes multiply, and one phase alone is where plain sums are the most exact.
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


def _powers(points, count):
    """A row for each point: its powers, the last alone for infinity."""
    return tuple(
        tuple(Fraction(int(e == count - 1)) if p is INFINITY else Fraction(p) ** e for e in range(count))
        for p in points
    )


def _factor(row, taps):
    """What makes the last entry that is not 0 of a row of the source 1, or -1 where the taps then stay as they are."""
    last = next(v for v in reversed(row) if v)
    return -1 / last if {v * last for v in taps} <= {0, -1} else 1 / last


def _identity(n):
    return Matrix(tuple(Fraction(int(i == j)) for j in range(n)) for i in range(n))


def _transpose(rows):
    return Matrix(zip(*rows, strict=True))


def _inverse(rows):
    """Gauss and Jordan."""
    n = len(rows)
    rows = [[*row, *unit] for row, unit in zip(rows, _identity(n), strict=True)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [v - rows[r][i] * u for v, u in zip(rows[r], rows[i], strict=True)]
    return tuple(tuple(row[n:]) for row in rows)


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
