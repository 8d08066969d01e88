"""Stores of vectors of which only some lanes exist: whole where they can be, in pieces or under masks where they must.

A masked store takes AMD's cores twelve cycles under AVX2, as long as two dozen multiply-adds, and where there is none
every lane has a branch. So the first lanes leave in pieces of half a vector, a quarter and so on.
"""

from ..codegen.isa import LINE
from ..codegen.lang import Type


def store_some(k, vector, first, end, values, pointers):
    """Store the lanes from `first` to `end` of vectors, either of which may lie outside of them."""

    def put(mask=None):
        for value, pointer in zip(values, pointers, strict=True):
            k.store(value, pointer, mask)

    # Vectors of a whole line are those of AVX-512, whose masks cost nothing.
    if vector.size >= LINE:
        put(k.lane_mask_between(first, end, vector))
        return
    begins, ends = k.less(first, 1), k.less(end, vector.lanes)
    with k.when(k.iand(begins, k.negate(ends))):
        put()
    with k.when(k.iand(begins, ends)):
        _in_pieces(k, vector, k.imax(end, 0), values, pointers)
    # A first lane that is known to be written has no other way.
    if not isinstance(first, int) or first > 0:
        with k.when(k.negate(begins)):
            put(k.lane_mask_between(first, end, vector))


def _in_pieces(k, vector, count, values, pointers):
    """Store the first `count` lanes, fewer than all: each bit of the number is a piece."""
    lanes, done = vector.lanes, 0
    while lanes > 1:
        lanes //= 2
        piece = Type(vector.elem, lanes)
        left = [k.variable(k.shuffle(value, value, range(lanes)), piece) for value in values]
        with k.when(k.less(0, k.iand(count, lanes))):
            for value, variable, pointer in zip(values, left, pointers, strict=True):
                k.store(variable.get(), pointer + done * vector.scalar.size)
                variable.set(k.shuffle(value, value, range(lanes, 2 * lanes)))
        done = k.iand(count, -lanes)
        values = [variable.get() for variable in left]
