"""The loop over the parts of a call, which all threads of it run: the pool's, and those that a front-end lends.

A call lives in a descriptor of its caller's, an array of 64-bit words:

    0 fn   1 rows   2 bytes from row to row   3 parts   4 helpers wanted   5 state   6 wake   7 slice   8 outcome
    16 next part: far from the rest, so that counting it up takes no cache line away from those who read the rest

A team of other threads needs no more than the first four and the last. `pool_protocol` says what the others mean.
"""

from ..codegen.lang import I64, PTR, Builder

FN, ROWS, STEP, PARTS, WANTED, STATE, WAKE, SLICE, OUTCOME = range(9)
NEXT = 16
DESCRIPTOR_WORDS = 24


class Call:
    """A descriptor, as a kernel sees it."""

    def __init__(self, k, address):
        self.k, self.address = k, address
        self.next = address + 8 * NEXT

    def get(self, word, type=I64):
        return self.k.load(self.address + 8 * word, type)

    def set(self, word, value):
        self.k.store(value, self.address + 8 * word)


def run_parts(k, call, cut=None):
    """Take parts and run them until none is left.

    Args:
        k: the Builder of whoever runs them.
        call: the Call.
        cut: what to ask between two parts, a function that gives a condition: no more are taken where it holds.

    Returns:
        A Variable: 1 if the call was cut, otherwise 0.
    """
    fn, rows, step, parts = call.get(FN, PTR), call.get(ROWS, PTR), call.get(STEP), call.get(PARTS)
    was_cut = k.variable(0, I64)
    with k.repeat() as leave:
        part = k.take(call.next)
        leave(k.negate(part < parts))
        k.call(fn, rows + part * step)
        if cut is not None:
            was_cut.set(k.select(cut(), 1, 0))
            leave(was_cut.get() > 0)
    return was_cut


def take_parts(isa):
    """The kernel of a thread that is not the pool's; its argument is the descriptor."""
    k = Builder(f"take_parts_{isa.name}", shares_argument=True)
    run_parts(k, Call(k, k.argument))
    return k
