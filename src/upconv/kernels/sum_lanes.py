"""Sums of a gradient in the weight whose lanes are columns of a row, added up and written as the taps of a channel.

    sums[t, q, lane]  belongs to the tap  (lane + turn) % step + q * step  of the row of taps t      (for step 2)

    of each vector   a0 b0 a1 b1 a2 b2 ..     halves of two vectors are added, until every vector has
    one              a b c d e f ..           `step` lanes for each of several: in the order of the weight

The tree is fixed. Of a channel the taps are consecutive.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry sums w channels rows sums_c w_c".split())
POINTERS = {"sums", "w"}


def sum_lanes(isa: Isa, elem, rows, taps, across, step, turn):
    """The kernel for so many rows of taps at once, of `taps` each; the other numbers are `weight_gradient_planes`'."""
    k = Builder(f"sum_lanes_{elem}_{rows}x{taps}_{across}_s{step}t{turn}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    groups = vector.lanes // step
    with k.loop(0, task["channels"]) as channel, k.loop(0, task["rows"], rows) as row:
        sums = task["sums"] + (channel * task["sums_c"] + row * (across * vector.size))
        w = task["w"] + (channel * task["w_c"] + row * (taps * vector.scalar.size))
        count = rows * across
        lines = [k.load(sums + number * vector.size, vector) for number in range(count)]
        for found, first, many in _folded(k, vector, lines, groups, step):
            # Where a lane of the weight comes from: the vector, the first of its lanes, the phase.
            lanes = [
                number * step + (tap - turn) % step
                for number in range(many)
                for tap in range(min(step, taps - (first + number) % across * step))
            ]
            before = (first // across) * taps + first % across * step
            filled = [*lanes, *[0] * (vector.lanes - len(lanes))]
            mask = None if len(lanes) == vector.lanes else k.lane_mask(len(lanes), vector)
            k.store(k.shuffle(found, found, filled), w + before * vector.scalar.size, mask)
    return k


def _folded(k, vector, lines, groups, step):
    """(vector, number of the first line in it, how many lines) of lines whose `groups` of `step` lanes are added up."""
    # Lanes of each line in the vectors at hand, in order: all that are left to be added.
    found = [(line, 1) for line in lines]
    while groups > 1:
        if groups % 2:
            found = [(_last_to_first(k, vector, line, many, groups, step), many) for line, many in found]
            # The last group stays where it is, and is not looked at again.
        half = groups // 2
        together = []
        for i in range(0, len(found), 2):
            (a, many), (b, others) = found[i], found[i + 1] if i + 1 < len(found) else (found[i][0], 0)
            low = [source * groups * step + lane for source in range(many) for lane in range(half * step)]
            low += [vector.lanes + lane for lane in low[: others * half * step]]
            high = [lane + half * step for lane in low]
            pad = [0] * (vector.lanes - len(low))
            together.append((k.add(k.shuffle(a, b, low + pad), k.shuffle(a, b, high + pad)), many + others))
        found, groups = together, half
    first, result = 0, []
    for line, many in found:
        result.append((line, first, many))
        first += many
    return result


def _last_to_first(k, vector, line, many, groups, step):
    """The last group of each line added to its first."""
    lanes = [vector.lanes] * vector.lanes
    for source in range(many):
        for lane in range(step):
            lanes[source * groups * step + lane] = source * groups * step + (groups - 1) * step + lane
    return k.add(line, k.shuffle(line, k.zero(vector), lanes))
