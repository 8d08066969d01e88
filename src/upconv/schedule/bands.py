"""Bands: blocks of the result that are computed one after another, small enough for the second-level cache.

Most bands differ in nothing but their place, so they are found as runs of bands that are alike: a few runs an axis,
however large the map is, whose products are grids of units.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from ..errors import SettingError
from ..geometry import Axis, Geometry, ceil_div
from ..layouts import Operand
from ..runtime.program import LINE, PANELS, X_BAND, Y_BAND, Grid, Nest, Stage, X, Y
from .moves import PlacedOperand, carried
from .placed_problem import PlacedProblem

BAND_BYTES = 384 << 10
# A weight of more does not stay in a second-level cache beside a band.
FAR_BYTES, LARGER = 2 << 20, 3
# How many times as large bands of products are at most, and how many multiply-adds for each product that must save.
MOST_TIMES, WORTH = 4, 5
# Of bands beside a panel that is larger than they would be, and how many products they may have.
MOST_BESIDE_PANEL, MOST_PRODUCTS = 16 << 20, 2 << 30
# Of source and result that a band has at least, if it is cut for threads alone.
LEAST_BYTES = 16 << 10
# By how much of a band a thread may be late.
LATE = 0.25
# To list so many takes a second.
MOST_RUNS = 1 << 14


class Run(NamedTuple):
    """Bands of one axis that are alike: `count` of them.

    Places of the result go from `first` on, `size` in each band and `step` from band to band; those of the source from
    `source` on, `source_size` and `source_step`. `axis` is the axis of the layer that does just one of them.
    """

    count: int
    first: int
    size: int
    step: int
    source: int
    source_size: int
    source_step: int
    axis: Axis


class Band(NamedTuple):
    """One band: n images, the axes of the layer that computes it, and where its operands lie."""

    n: int
    h: Axis
    w: Axis
    x: PlacedOperand
    y: PlacedOperand


def largest(g: Geometry, forward, size, share=1, most=None):
    """The most (images, rows, columns) of a band: whole images if they fit, else whole rows, else parts of rows.

    Args:
        forward: True if the result is the output, False if it is the input (the gradient).
        size: bytes of one value.
        share: into how many bands, at least, the result should be cut for the sake of the threads.
        most: bytes of source and result of a band, if they are not to be BAND_BYTES, or twice that beside a weight
            larger than a band: every band reads all of it again, from further away than the band comes.
    """
    height, width = (g.h.out, g.w.out) if forward else (g.h.n, g.w.n)
    step_h, step_w = (g.h.s, g.w.s) if forward else (1, 1)
    per_step = _values_of_rows(g, forward, step_h) * size
    per_image = per_step * ceil_div(height, step_h)
    most = at_most(g, size) if most is None else most
    some_n = max(1, min(g.n, most // max(1, per_image)))
    some_rows = min(height, max(1, most // per_step) * step_h)
    some_cols = min(width, max(32, width * most // per_step // step_w) * step_w) if per_step > most else width
    if share > 1:
        # Of images that are too few each is cut, into rows that are as many as can be, or if they are too few as well
        # into parts of rows.
        some_n = min(some_n, max(ceil_div(g.n, share), LEAST_BYTES // max(1, per_image)))
        cuts, steps = ceil_div(share, g.n), ceil_div(height, step_h)
        some_rows = min(some_rows, max(ceil_div(steps, cuts), LEAST_BYTES // per_step) * step_h)
        least = width * LEAST_BYTES // per_step // step_w
        some = max(32, ceil_div(ceil_div(width, step_w), ceil_div(cuts, steps)), least)
        some_cols = min(some_cols, some * step_w)
    return some_n, some_rows, some_cols


def at_most(g: Geometry, size) -> int:
    """The `most` of `largest`, unless another is said."""
    return 2 * BAND_BYTES if _weight_bytes(g, size) > BAND_BYTES else BAND_BYTES


def _weight_bytes(g, size):
    return g.c_in * g.c_out // g.groups * g.h.k * g.w.k * size


def beside_products(g: Geometry, size, pixel) -> int:
    """The `most` of `largest` where the result and products of so many bytes for a pixel of the source are to fit.

    The source itself is read once, so it need not. Neighbours make the products again that both add up: where larger
    bands save many, they take less time, though their products do not stay as near.
    """
    source, result = g.w.n * g.c_in * size, g.h.s * g.w.out * g.c_out * size
    most = BAND_BYTES * (source + result) // max(1, g.w.n * pixel + result)
    times, places = 1, _places_read(g, size, most)
    while times < MOST_TIMES:
        fewer = _places_read(g, size, 2 * times * most)
        if (places - fewer) * g.c_in // g.groups < WORTH * g.h.n * g.w.n:
            break
        times, places = 2 * times, fewer
    return times * most


def _places_read(g, size, most):
    """Places of the source that the bands of an image read, those twice that two do."""
    _, some_rows, some_cols = largest(g, True, size, most=most)
    return overlapping(g.h, some_rows).places * overlapping(g.w, some_cols).places


def beside_weight(g: Geometry, size) -> int:
    """The `most` where several blocks of channels read a source that lies near, all of the weight for every band."""
    return at_most(g, size) * times_as_large(g, size)


def times_as_large(g: Geometry, size) -> int:
    """How many times as large bands are for the sake of a weight that comes from far away: such ones stay near, too."""
    return LARGER if _weight_bytes(g, size) > FAR_BYTES else 1


def of_source(g: Geometry, size) -> int:
    """The `most` of `largest` where the input alone is to fit: the output is written where it lies, and once."""
    source, result = g.w.n * g.c_in, g.h.s * g.w.out * g.c_out
    return at_most(g, size) * (source + result) // max(1, source)


def beside_panel(g: Geometry, size, nbytes) -> int:
    """The `most` where one block of channels reads a panel of so many bytes for every band, and the source once.

    Then a source from afar costs less than one more band does. But a band is not to take long.
    """
    maps = (g.n * (g.c_in * g.h.n * g.w.n + g.c_out * g.h.out * g.w.out)) * size
    brief = maps * MOST_PRODUCTS // max(1, g.macs)
    return max(at_most(g, size), min(nbytes, MOST_BESIDE_PANEL, brief))


class Overlapping(NamedTuple):
    """Bands of an axis, and what they read of the source: how many there are, places of all, places of a whole one."""

    number: int
    places: int
    each: int


def overlapping(axis: Axis, step) -> Overlapping:
    """What bands of `step` outputs, whole strides if there are some, read of the source: places that two read twice.

    Beyond its ends the first and the last band alone are cut short: crops so large that others are too, and steps that
    are no whole strides, are counted within bounds only.

    >>> overlapping(Axis(50, 4, 2, 1, 1, 1), 10)
    Overlapping(number=10, places=68, each=7)
    >>> overlapping(Axis(50, 2, 2), 10)
    Overlapping(number=10, places=50, each=5)
    """
    number, lo = ceil_div(axis.out, step), axis.crop_lo
    if number == 1:
        return Overlapping(1, axis.n, axis.n)
    first = ceil_div(lo - axis.d * (axis.k - 1), axis.s)
    each = (lo + step - 1) // axis.s - first + 1
    beyond = (lo + number * step - 1) // axis.s - min(axis.n - 1, (lo + axis.out - 1) // axis.s)
    places = number * each - beyond - max(0, -first)
    return Overlapping(number, max(1, min(places, number * axis.n)), max(1, min(axis.n, each)))


def share_of_sources(placed: PlacedProblem, most=None) -> int:
    """The `share` where each band computes its whole source, so that what neighbours both read is computed twice.

    Threads come at different times, so some bands for each are better than one; here each band more is more work too.
    """
    if placed.share == 1:
        return 1
    g, threads = placed.g, placed.threads

    def finished(share):
        """When the last band is, in places of the source; a thread may come late by a part of a band."""
        some_n, some_rows, some_cols = largest(g, True, placed.size, share, most)
        (many_h, rows, _), (many_w, cols, _) = overlapping(g.h, some_rows), overlapping(g.w, some_cols)
        many = ceil_div(g.n, some_n) * many_h * many_w
        return (ceil_div(many, threads) + LATE) / many * g.n * rows * cols

    return min(range(threads, placed.share + 1, threads), key=finished, default=1)


def counts(g: Geometry, forward, size, most=None) -> tuple[int, int, int]:
    """How many bands there are for one thread of images, of rows and of columns."""
    height, width = (g.h.out, g.w.out) if forward else (g.h.n, g.w.n)
    some_n, some_rows, some_cols = largest(g, forward, size, most=most)
    return ceil_div(g.n, some_n), ceil_div(height, some_rows), ceil_div(width, some_cols)


def _values_of_rows(g, forward, rows):
    """Values in `rows` rows of the result and in the rows of the source that belong to them."""
    if forward:
        return rows * g.w.out * g.c_out + max(1, rows // g.h.s) * g.w.n * g.c_in
    return rows * g.w.n * g.c_in + rows * g.h.s * g.w.out * g.c_out


@lru_cache(maxsize=256)
def runs(axis: Axis, forward, step) -> tuple[Run, ...]:
    """The runs of an axis whose result is cut every `step` places.

    >>> [(run.count, run.first, run.size, run.source_size) for run in runs(Axis(50, 4, 2, 1, 1, 1), True, 10)]
    [(1, 0, 10, 6), (8, 10, 10, 7), (1, 90, 10, 6)]
    """
    length = axis.out if forward else axis.n
    parts, found, place = ceil_div(length, step), [], 0

    def part(number):
        first = number * step
        end = min(length, first + step)
        source, inner = (axis.window if forward else axis.input_window)(first, end)
        return first, end - first, source, inner.n if forward else inner.out, inner

    while place < parts:
        first, size, source, source_size, inner = part(place)
        source_step = part(place + 1)[2] - source if place + 1 < parts else 0

        def is_alike(number):
            _, other_size, other, other_source, other_inner = part(number)
            moved = source + (number - place) * source_step  # noqa: B023
            return (other_size, other_source, other_inner, other) == (size, source_size, inner, moved)  # noqa: B023

        count = _last(is_alike, place, parts) - place + 1
        found.append(Run(count, first, size, step, source, source_size, source_step, inner))
        if len(found) > MOST_RUNS:
            raise SettingError(
                f"a result of {length:,} places is cut into more than {MOST_RUNS:,} pieces that differ, as far beyond "
                "its input as it reaches, which is too many to list; compute it in parts"
            )
        place += count
    return tuple(found)


def _last(is_alike, first, end):
    """The last number below `end` up to which all are alike, by doubling and halving: bands change at borders only."""
    reach = 1
    while first + reach < end and is_alike(first + reach):
        reach *= 2
    low, high = first + reach // 2, min(end, first + reach)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if is_alike(middle) else (low, middle)
    return low


class Scratch:
    """How much scratch the bands of a program need, by base."""

    def __init__(self):
        self.sizes: dict[int, int] = {}

    def take(self, base, nbytes):
        self.sizes[base] = max(nbytes, self.sizes.get(base, 0))

    def packing(self, form, placed) -> Stage:
        """The stage that packs the weight of a call, for which there is room from now on, as for what it makes."""
        for base, nbytes in {PANELS: form.nbytes, **form.scratch(placed)}.items():
            self.take(base, nbytes)
        return form.packing(placed)

    def map(self, base, shape, size, channels_last):
        """Where a map of a band lies in a base; channels-first, its channels are an odd number of cache lines apart."""
        if channels_last:
            self.take(base, math.prod(shape) * size)
            return PlacedOperand(base, 0, Operand.dense(shape, size, True))
        n, c, h, w = shape
        step = (ceil_div(h * w * size, LINE) | 1) * LINE
        self.take(base, n * c * step)
        return PlacedOperand(base, 0, Operand(c * step, step, w * size, size, channels_last=False, channels_first=True))


def grids(
    placed: PlacedProblem,
    make: Callable[[Band], Iterable[Nest]],
    x: PlacedOperand,
    y: PlacedOperand,
    most=None,
    share=None,
) -> list[Grid]:
    """A Grid for each kind of band, of `most` bytes where that is said, and at least `share` bands if not placed.share.

    `make` gives the nests of a band.
    """
    made = []
    for n, (n_count, first_n), h, w in _kinds(placed, most, share):
        band = Band(n, h.axis, w.axis, x.move(first_n, h.source, w.source), y.move(first_n, h.first, w.first))
        steps = {
            X: (n * x.at.n, h.source_step * x.at.h, w.source_step * x.at.w),
            Y: (n * y.at.n, h.step * y.at.h, w.step * y.at.w),
        }
        made.append(Grid(tuple(make(band)), (n_count, h.count, w.count), steps))
    return made


def one_by_one(
    placed: PlacedProblem, make: Callable[[Band], Iterable[Nest]], x: PlacedOperand, y: PlacedOperand, most=None
) -> Iterator[Nest]:
    """The nests of all bands, one band after another: for few bands that are parts of a unit."""
    for n, (n_count, first_n), h, w in _kinds(placed, most):
        for i, j, k in itertools.product(range(n_count), range(h.count), range(w.count)):
            there = x.move(first_n + i * n, h.source + j * h.source_step, w.source + k * w.source_step)
            here = y.move(first_n + i * n, h.first + j * h.step, w.first + k * w.step)
            yield from make(Band(n, h.axis, w.axis, there, here))


def _kinds(placed, most=None, share=None):
    """(images, (how often, the first image), run of rows, run of columns) of each kind of band."""
    g, forward = placed.g, placed.forward
    some_n, some_rows, some_cols = largest(g, forward, placed.size, placed.share if share is None else share, most)
    images = [(some_n, (g.n // some_n, 0)), (g.n % some_n, (1, g.n - g.n % some_n))]
    rows, cols = runs(g.h, forward, some_rows), runs(g.w, forward, some_cols)
    for (n, (n_count, first_n)), h, w in itertools.product(images, rows, cols):
        if n * n_count:
            yield n, (n_count, first_n), h, w


def in_layout(placed: PlacedProblem, scratch: Scratch, channels_last, make, *, writes=None):
    """The nests of a band whose kernels want both maps channels-last, or both channels-first, as a function of it.

    What lies otherwise goes through scratch, and so do maps of halves, which the kernels do not take; those of pairs
    take bfloat16, and write it.

    Args:
        make: gives the nests of a band whose maps lie as wanted.
        writes: for a result that a kernel writes as it lies all the same, ``writes(result) -> bool``.
    """

    def lies_as_wanted(operand):
        return operand.at.channels_last if channels_last else operand.at.channels_first

    def nests(band: Band):
        g, forward = placed.g, placed.forward
        c_src, c_dst = placed.c_src * g.groups, placed.c_dst * g.groups
        source = (band.h.n, band.w.n) if forward else (band.h.out, band.w.out)
        result = (band.h.out, band.w.out) if forward else (band.h.n, band.w.n)
        x, y = band.x, band.y
        before, after = [], []
        pairs = placed.problem.pairs
        elem, halves = ("i16", "") if pairs else (placed.elem, placed.halves)
        if not lies_as_wanted(x) or halves:
            shape = band.n, c_src, *source
            x = scratch.map(X_BAND, shape, placed.size, channels_last)
            before = [carried(elem, band.x, x, (band.n, (1 + pairs) * c_src, *source), halves)]
        in_place, last = lies_as_wanted(y), channels_last
        if not in_place and writes is not None and writes(y):
            in_place, last = True, not channels_last
        if not in_place or halves:
            shape = band.n, c_dst, *result
            y = scratch.map(Y_BAND, shape, placed.written, last)
            after = [carried(elem, y, band.y, shape, halves, writes=True)]
        if last and result[1] == 1:
            # The stride of one column is any, but a block of phases may begin with some that are cut off before it:
            # those lie where they would in a longer row, each a pixel.
            y = PlacedOperand(y.base, y.offset, y.at._replace(w=c_dst * placed.written))
        return [*before, *make(Band(band.n, band.h, band.w, x, y)), *after]

    return nests
