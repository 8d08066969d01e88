"""Runs the rows of a table: each row is a job whose first word is the address of its kernel."""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, Builder

ROW_WORDS = 36


def execute(isa: Isa):
    """The kernel; its own job is (entry, first row, number of rows)."""
    k = Builder(f"execute_{isa.name}")
    _, rows, count = k.words(I64, PTR, I64)
    with k.loop(0, count) as place:
        row = rows + place * (8 * ROW_WORDS)
        k.call(k.load(row, PTR), row)
    return k
