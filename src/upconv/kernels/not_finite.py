"""Looks for numbers that are not finite.

flag  =  1 if any of rows x `count` numbers is an infinity or a NaN; untouched otherwise

src   rows `src_row` apart, the numbers of a row consecutive
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry src flag rows src_row count".split())
POINTERS = {"src", "flag"}


def not_finite(isa: Isa, elem):
    """The kernel for elements of one type."""
    k = Builder(f"not_finite_{elem}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    zero = k.zero(vector)
    # A finite number times zero is zero.
    found = k.variable(zero)
    with k.loop(0, task["rows"]) as row, k.loop(0, task["count"], vector.lanes) as at:
        place = task["src"] + (row * task["src_row"] + at * vector.scalar.size)
        value = k.load(place, vector, k.lane_mask(task["count"] - at, vector))
        found.set(k.muladd(value, zero, found.get()))
    with k.when(k.any_nan(found.get())):
        k.store(k.imax(1, 1), task["flag"])
    return k
