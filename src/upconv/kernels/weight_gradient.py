"""The gradient in the weight: a correlation of two maps over lists of pixels.

    total[r, v]  +=  sum over pixels of  a[pixel, r] * b[pixel, v]

    a, b    read in place, the channels of a pixel consecutive; both walk n x rows x cols pixels on their own strides
    total   rows of whole vectors, `total_row` apart, in the caller's memory; zeros at first

Pixels are listed PIXELS_LISTED at a time at most, so no sum in registers is longer than that; every list is added to
the totals before the next; lists are as even as can be, of at most `listed` pixels. Beyond the last row or channel
nothing is read; the vectors of `total` are filled up with zeros.
"""

from math import isqrt

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type

PLACE = 16
# No other sum is as long as that over all pixels, so its parts are shorter than those of `gemm`: PIXELS_LISTED at most.
# Of fewer pixels a part is PER_LIST times as long as there are parts, and no shorter than SHORT_LIST.
PIXELS_LISTED, PER_LIST, SHORT_LIST = 64, 2, 16
FIELDS = tuple(
    (
        "entry a b total n rows cols a_n a_row a_col b_n b_row b_col a_count b_count total_row places groups "
        "a_g b_g total_g listed"
    ).split()
)
POINTERS = {"a", "b", "total", "places"}


def macs(task, lanes, elem, mr, nv):
    """Multiply-adds of a task, those included that no sum needs."""
    tile = -(-task["a_count"] // mr) * mr * -(-task["b_count"] // (nv * lanes)) * nv * lanes
    return task["groups"] * task["n"] * task["rows"] * task["cols"] * tile


def longest_list(pixels) -> int:
    """How many pixels are listed at a time of a sum over so many."""
    return min(max(isqrt(PER_LIST * pixels), SHORT_LIST), PIXELS_LISTED)


def scratch():
    """Bytes of the listed pixels."""
    return {"places": PLACE * PIXELS_LISTED}


def weight_gradient(isa: Isa, elem, mr, nv):
    """The kernel for a tile of mr channels of a by nv vectors of channels of b."""
    k = Builder(f"weight_gradient_{elem}_{mr}x{nv}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    with k.loop(0, task["groups"]) as group:
        mine = task | {name: task[name] + group * task[f"{name}_g"] for name in ("a", "b", "total")}
        position = [k.variable(0, I64) for _ in range(3)]
        pixels = task["n"] * task["rows"] * task["cols"]
        lists = k.imax(k.divide(pixels + (task["listed"] - 1), task["listed"]), 1)
        listed = k.imax(k.divide(pixels + (lists - 1), lists), 1)
        with k.loop(0, pixels, listed) as start:
            count = k.imin(pixels - start, listed)
            with k.loop(0, count) as place:
                _note(k, mine, position, place)
            with k.loop(0, task["a_count"], mr) as row, k.loop(0, task["b_count"], nv * vector.lanes) as col:
                _tile(k, mine, vector, row, col, count, mr, nv)
    return k


def _note(k, task, position, place):
    """Write the offsets of the current pixel in a and b, and go to the next."""
    n, row, col = (variable.get() for variable in position)
    offsets = task["places"] + place * PLACE
    k.store(n * task["a_n"] + row * task["a_row"] + col * task["a_col"], offsets)
    k.store(n * task["b_n"] + row * task["b_row"] + col * task["b_col"], offsets + 8)
    in_row = col + 1 < task["cols"]
    next_row = k.select(in_row, row, row + 1)
    end_of_image = k.equal(next_row, task["rows"])
    position[2].set(k.select(in_row, col + 1, 0))
    position[1].set(k.select(end_of_image, 0, next_row))
    position[0].set(k.select(end_of_image, n + 1, n))


def _tile(k, task, vector, row, col, count, mr, nv):
    """One tile of sums over the pixels listed, added to the totals."""
    size = vector.scalar.size
    # A row that does not exist reads the last one that does, and is dropped at the end.
    a = [task["a"] + k.imin(row + r, task["a_count"] - 1) * size for r in range(mr)]
    b = [task["b"] + (col + v * vector.lanes) * size for v in range(nv)]
    masks = [k.lane_mask(task["b_count"] - col - v * vector.lanes, vector) for v in range(nv)]
    sums = [[k.variable(k.zero(vector)) for _ in range(nv)] for _ in range(mr)]
    with k.loop(0, count) as place:
        offsets = task["places"] + place * PLACE
        at_a, at_b = k.load(offsets, I64), k.load(offsets + 8, I64)
        panel = [k.load(pointer + at_b, vector, mask) for pointer, mask in zip(b, masks, strict=True)]
        for pointer, line in zip(a, sums, strict=True):
            value = k.splat(k.load(pointer + at_a, vector.scalar), vector)
            for variable, part in zip(line, panel, strict=True):
                variable.set(k.muladd(value, part, variable.get()))
    for r, line in enumerate(sums):
        with k.when(row + r < task["a_count"]):
            for v, variable in enumerate(line):
                # The last tile may be wider than the totals.
                with k.when(col + v * vector.lanes < task["b_count"]):
                    there = task["total"] + (row + r) * task["total_row"] + (col + v * vector.lanes) * size
                    k.store(k.add(variable.get(), k.load(there, vector)), there)
