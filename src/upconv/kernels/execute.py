"""Runs the jobs of a table: each row is a job whose first word is the address of its kernel.

    row[i]  =  words[i] + base[bases[i]]          for every word of a job, just before it runs

    units   (first row, end, how far on in x, in y): the same jobs again and again, at other places of the operands
    starts  groups of units that depend on no others: group g is units starts[g] to starts[g + 1] - 1
    next    a counter that all who run the same groups share: each takes the next group until there are none left
    base    the addresses of a call, by number, behind its own words; base 0 is 0, for words that are no pointers

A unit's table of addresses and the finished row lie in `scratch`, which is not shared.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, Builder

ROW_WORDS = 56
BASES = 12
X, Y = 1, 2
UNIT_WORDS = 4
SCRATCH_BYTES = 8 * (BASES + ROW_WORDS)
WORDS = 8


def execute(isa: Isa):
    """The kernel; its job is (entry, words, bases, units, starts, end of the groups, next, scratch, base...).

    `bases` holds offsets in bytes in the table `base`.
    """
    k = Builder(f"execute_{isa.name}")
    _, words, bases, units, starts, end, counter, scratch = k.words(I64, PTR, PTR, PTR, PTR, I64, PTR, PTR)
    base, finished = k.job + 8 * WORDS, scratch + 8 * BASES
    group = k.variable(k.take(counter))
    # As often as there may be groups left; whoever finds none takes no more.
    with k.loop(group.get(), end), k.when(group.get() < end):
        mine = starts + group.get() * 8
        with k.loop(k.load(mine, I64), k.load(mine + 8, I64)) as number:
            unit = units + number * (8 * UNIT_WORDS)
            _move(k, base, scratch, {X: k.load(unit + 16, I64), Y: k.load(unit + 24, I64)})
            with k.loop(k.load(unit, I64), k.load(unit + 8, I64)) as row:
                there = row * (8 * ROW_WORDS)
                with k.loop(0, 8 * ROW_WORDS, 8) as word:
                    address = k.load(scratch + k.load(bases + there + word, I64), I64)
                    k.store(k.load(words + there + word, I64) + address, finished + word)
                k.call(k.load(finished, PTR), finished)
        group.set(k.take(counter))
    return k


def _move(k, base, moved, steps):
    """The addresses of a unit."""
    for number in range(BASES):
        address = k.load(base + 8 * number, I64)
        k.store(address + steps[number] if number in steps else address, moved + 8 * number)
