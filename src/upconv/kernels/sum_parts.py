"""Adds up parts of a sum, in pairs, pairs of pairs and so on, into the first part.

    totals[0][i]  =  (totals[0][i] + totals[1][i]) + (totals[2][i] + totals[3][i]) ...

The tree is fixed, so the bits do not depend on who has computed which part.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type

FIELDS = tuple("entry totals part nbytes".split())
POINTERS = {"totals"}


def sum_parts(isa: Isa, elem, parts):
    """The kernel for so many parts, a power of two, `part` bytes apart; `nbytes` of whole vectors are added up."""
    k = Builder(f"sum_parts_{elem}_{parts}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    with k.loop(0, task["nbytes"], vector.size) as at:
        values = [k.load(task["totals"] + (task["part"] * part + at), vector) for part in range(parts)]
        while len(values) > 1:
            values = [k.add(*pair) for pair in zip(values[::2], values[1::2], strict=True)]
        k.store(values[0], task["totals"] + at)
    return k
