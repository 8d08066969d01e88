"""Columns some steps apart, as one vector: what the gradient in the input of a strided layer reads along a row.

    lanes   x0 x2 x4 x6 ..          for a step of 2
    read    x0 x1 x2 x3 ..   ..     as many vectors as the step, each beginning with the last number of the one before

So nothing beyond the last column is read, and the vectors are brought together by a shuffle for each but the first.
"""

from typing import NamedTuple

from ..codegen.lang import Value


class Inside(NamedTuple):
    """Masks where some columns may lie beyond their row: of the lanes, and of each vector that is read for them."""

    lanes: Value
    read: tuple[Value, ...]


def inside_row(k, vector, step, first, in_cols) -> Inside:
    """The lanes whose columns exist, which are `first`, first + step, ... of a row of in_cols."""

    def between(start, number):
        below = k.imin(start, 0) * -1
        return k.lane_mask_between(quotient(k, below + (number - 1), number), ended(start, number), vector)

    def ended(start, number):
        left = in_cols - start
        return left if number == 1 else quotient(k, k.imax(left, 0) + (number - 1), number)

    lanes = between(first, step)
    if step == 1:
        return Inside(lanes, (lanes,))
    return Inside(lanes, tuple(between(first + begin, 1) for begin in _begins(vector, step)))


def load_apart(k, pointer, vector, step, masks=None):
    """The vector of every step-th number from a pointer on; `masks` are the `read` of an `Inside`."""
    size = vector.scalar.size
    begins = _begins(vector, step)
    found, *others = [
        k.load(pointer + begin * size, vector, mask) for begin, mask in zip(begins, masks or [None] * step, strict=True)
    ]
    # Which of the vectors has the column of a lane, and where in it.
    numbers = [min(lane * step // (vector.lanes - 1), step - 1) for lane in range(vector.lanes)]
    places = [lane * step - begins[number] for lane, number in enumerate(numbers)]
    kept = places
    for number, other in enumerate(others, 1):
        lanes = [
            vector.lanes + place if mine == number else there
            for mine, place, there in zip(numbers, places, kept, strict=True)
        ]
        # Those of vectors to come are any until then.
        found, kept = k.shuffle(found, other, lanes), range(vector.lanes)
    return found


def _begins(vector, step):
    """Where the vectors begin that are read for columns `step` apart."""
    return [number * (vector.lanes - 1) for number in range(step)]


def quotient(k, a, s):
    """a // s for a from 0 to 2**31 - 1."""
    if s == 3:
        return k.shift_right(a * -(-(1 << 32) // 3), 32)
    return k.shift_right(a, s.bit_length() - 1)
