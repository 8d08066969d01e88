"""The gradient in the weight on a block of pixels: for one tap, all tiles of channels by channels.

    total[r, v]  (+)=  sum over the pixels of a block of  a[pixel, r] * b[pixel, v]

    a       read one number at a time, the rows of a tile consecutive: a panel, or channels-last in place; or, with a
            `step`, in planes `a_channel` apart, where the next pixel is so many numbers further on
    b       whole vectors: a panel, or channels-last in place, where the last vector of a single tile may be cut
    total   rows of whole vectors, `total_row` apart; written by the first block, added to by the others

A tap is clipped to the pixels that meet through it, so no product that does not exist is computed, whatever the other
factor is. No sum in registers is longer than `longest` pixels, 16 at least: it is added to the total, between rows if
they are short, and begun anew. A block without pixels writes zeros.

Where the maps come from far away, it prefetches what the next block reads while it computes this one: from `next` on,
evenly, so that no prefetch waits for another.
"""

from math import isqrt

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, SIZES, Builder, Type

UNROLL = 4
# A sum of this length has rounding errors like those of the engines, which sum in several lanes; rows longer than PIECE
# are cut, and the sums of a few whole pieces fit.
LONGEST_SUM, PIECE = 112, 64
# Parts of fewer pixels are so many times as long as there are parts, down to a shortest; shorter ones where the weight
# has few numbers, since engines sum small layers in more lanes.
SHORT, SHORTER, FEW_WEIGHTS = (8, 32), (2, 16), 1 << 16
FIELDS = tuple(
    (
        "entry a b total n rows cols a_n a_row a_col b_n b_row b_col a_tiles a_tile b_tiles b_tile total_row add "
        "b_count a_channel longest next pace"
    ).split()
)
POINTERS = {"a", "b", "total", "next"}


def macs(task, lanes, elem, mr, nv, a_outer=False, cut=False, step=0, lines=0, asks=False):
    """Multiply-adds of a task, those included that no sum needs."""
    tiles = task["a_tiles"] * mr * task["b_tiles"] * nv * lanes
    return task["n"] * task["rows"] * task["cols"] * tiles


def longest_sum_over_pixels(pixels, weights) -> int:
    """The longest sum in registers of a layer whose weight has so many numbers, each a sum over so many pixels."""
    per_part, shortest = SHORTER if weights <= FEW_WEIGHTS else SHORT
    return min(max(isqrt(per_part * pixels), shortest), LONGEST_SUM)


def weight_gradient_blocks(isa: Isa, elem, mr, nv, a_outer=False, cut=False, step=0, lines=0, asks=False):
    """The kernel for a tile of mr channels of a by nv vectors of b; tiles of b follow one another, with `a_outer`.

    With `cut` there is one tile of b, of `b_count` channels, that does not fill its last vector. With `lines` it
    prefetches so many lines of the next block in UNROLL pixels, `pace` bytes from one to the next: two at most, and of
    one map alone, since with more LLVM finds no registers for the products. One that `asks` prefetches instead where
    the sums are put next, a line before each of UNROLL pixels: from `next` on, as many bytes for each channel of a as
    it has sums, channels `pace` bytes apart.
    """
    kind = f"{'_a_outer' * a_outer}{'_cut' * cut}{f'_step{step}' * (step > 0)}{f'_lines{lines}' * (lines > 0)}"
    kind += "_asks" * asks
    k = Builder(f"weight_gradient_blocks_{elem}_{mr}x{nv}{kind}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    masks = [None] * nv
    if cut:
        masks[-1] = k.lane_mask(task["b_count"] - (nv - 1) * vector.lanes, vector)
    following, piece = _NextBlock(k, task, lines), piece_of(k, task["cols"], k.imin(task["longest"], PIECE))
    outer, inner = ("a", "b") if a_outer else ("b", "a")
    with k.loop(0, task[f"{outer}_tiles"]) as outside, k.loop(0, task[f"{inner}_tiles"]) as inside:
        a_tile, b_tile = (outside, inside) if a_outer else (inside, outside)
        a, b = task["a"] + a_tile * task["a_tile"], task["b"] + b_tile * task["b_tile"]
        zero = k.zero(vector)
        sums = [[k.variable(zero) for _ in range(nv)] for _ in range(mr)]
        if asks:
            following = _Result(k, task["next"] + a_tile * (task["pace"] * mr), task["pace"], nv * vector.size)
        length, add = k.variable(0, I64), k.variable(task["add"], I64)
        here = task["total"] + (a_tile * task["total_row"] * mr + b_tile * (nv * vector.size))
        # Totals are far away as a rule, and wanted when the sums are there.
        for r in range(mr):
            for at in range(0, nv * vector.size, LINE):
                k.prefetch(here + (task["total_row"] * r + at), write=True)
        # Pieces of columns first: a row of a few pixels takes little longer than the loop around it.
        with k.loop(0, task["n"]) as n, k.loop(0, task["cols"], piece) as col:
            part = k.imin(task["cols"] - col, piece)
            first = a + (n * task["a_n"] + col * (step * vector.scalar.size if step else task["a_col"]))
            b_first = b + (n * task["b_n"] + col * task["b_col"])
            with k.loop(0, task["rows"]) as row:
                with k.when(length.get() + part > task["longest"]):
                    _put(k, task, vector, here, sums, add.get())
                    add.set(1)
                    length.set(0)
                    for line in sums:
                        for variable in line:
                            variable.set(zero)
                length.set(length.get() + part)
                here_a, here_b = first + row * task["a_row"], b_first + row * task["b_row"]
                if step:
                    _row_of_planes(k, task, vector, here_a, here_b, part, sums, masks, step)
                else:
                    _row(k, task, vector, here_a, here_b, part, sums, masks, following)
        _put(k, task, vector, here, sums, add.get())
    return k


def piece_of(k, cols, most):
    """Columns of a row that are taken at a time, at most so many: as even as can be."""
    pieces = k.imax(k.divide(cols + (most - 1), most), 1)
    return k.imax(k.divide(cols + (pieces - 1), pieces), 1)


class _NextBlock:
    """Where the next block is prefetched."""

    def __init__(self, k, task, lines):
        self.k, self.lines, self.pace = k, lines, task["pace"]
        self.here = k.variable(task["next"])

    def prefetch(self, u):
        """For the second-level cache, since the first has no room for what is not used yet."""
        for _ in range(0 if u else self.lines):
            self.k.prefetch(self.here.get(), locality=2)
            self.here.set(self.here.get() + self.pace)


class _Result:
    """Where the sums of a tile are put next: channel after channel, and on to those of later tiles without a look at
    the end, for which LLVM finds no registers."""

    def __init__(self, k, place, step, nbytes):
        self.k, self.step, self.nbytes = k, step, nbytes
        self.here = k.variable(place)

    def prefetch(self, u):
        """A part of a channel, or in the last of UNROLL pixels what is left of it."""
        for line in range(u * LINE, self.nbytes, UNROLL * LINE):
            self.k.prefetch(self.here.get() + line, locality=2)
        if u == UNROLL - 1:
            self.here.set(self.here.get() + self.step)


def _row(k, task, vector, a, b, cols, sums, masks, following):
    """Some pixels of a row."""
    size = vector.scalar.size
    step_a, step_b = task["a_col"], task["b_col"]
    whole = cols - k.iand(cols, UNROLL - 1)

    def pixel(at_a, at_b):
        # Only a constant is folded into an address: what is known at run time goes into one pointer for all.
        here = a + at_a
        _pixel(k, vector, (here + r * size for r in range(len(sums))), b + at_b, sums, masks)

    with k.loop(0, whole, UNROLL) as col:
        at_a, at_b = k.opaque(col * step_a), k.opaque(col * step_b)
        for u in range(UNROLL):
            following.prefetch(u)
            pixel(at_a + step_a * u, at_b + step_b * u)
    with k.loop(whole, cols) as col:
        pixel(k.opaque(col * step_a), k.opaque(col * step_b))


def _row_of_planes(k, task, vector, a, b, cols, sums, masks, step):
    """The same with a pointer for each plane, each of which goes on by constants."""
    step_b, size = task["b_col"], step * vector.scalar.size
    whole = cols - k.iand(cols, UNROLL - 1)
    planes, there = [k.variable(a + task["a_channel"] * r) for r in range(len(sums))], k.variable(b)

    def pixels(count):
        # The panel goes on pixel by pixel: a pointer for each would be more than there are registers.
        for u in range(count):
            _pixel(k, vector, [plane.get() + u * size for plane in planes], there.get(), sums, masks)
            there.set(there.get() + step_b)
        for plane in planes:
            plane.set(plane.get() + count * size)

    with k.loop(0, whole, UNROLL):
        pixels(UNROLL)
    with k.loop(whole, cols):
        pixels(1)


def _pixel(k, vector, numbers, panel, sums, masks):
    """A pixel: where the numbers of a lie, and the vectors of b."""
    parts = [k.load(panel + v * vector.size, vector, mask) for v, mask in enumerate(masks)]
    for line, number in zip(sums, numbers, strict=True):
        value = k.splat(k.load(number, vector.scalar), vector)
        for variable, part in zip(line, parts, strict=True):
            variable.set(k.muladd(value, part, variable.get()))


def _put(k, task, vector, total, sums, add):
    places = [
        (task["total_row"] * r + v * vector.size, each) for r, line in enumerate(sums) for v, each in enumerate(line)
    ]
    with k.when(k.equal(add, 0)):
        for place, variable in places:
            k.store(variable.get(), total + place)
    with k.when(add > 0):
        for place, variable in places:
            k.store(k.add(variable.get(), k.load(total + place, vector)), total + place)
