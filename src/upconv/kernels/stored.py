"""Numbers as they lie in memory: in the type of the products, or as halves that become float32 on their way.

Of pairs of bfloat16, the numbers that become second ones lie some bytes behind those that become first ones.
"""

from ..codegen.lang import PAIRS, Type


def suffix(storage):
    """What a kernel's name says of the halves that it reads."""
    return f"_{storage}" if storage else ""


class Stored:
    """How vectors are loaded and stored; `size` is that of one number in memory.

    `storage` is f16 or bf16 for halves, PAIRS for numbers of bfloat16 of which the second ones lie `apart` bytes on.
    """

    def __init__(self, k, isa, vector, storage, apart=None):
        self.k, self.isa, self.vector, self.storage, self.apart = k, isa, vector, storage, apart
        self.stored = Type("i16", vector.lanes) if storage else vector
        self.size = self.stored.scalar.size

    def load(self, pointer, mask=None):
        """The vector at an address; lanes outside a mask are zero, and their memory is not touched."""
        there = self.k.load(pointer, self.stored, mask)
        if self.storage == PAIRS:
            return self.k.pair(there, self.k.load(pointer + self.apart, self.stored, mask))
        return self.k.widen(there, self.storage, self.isa.halves) if self.storage else there

    def store(self, value, pointer, mask=None):
        """Write a vector, rounded to the nearest halves if they are that; likewise under a mask."""
        self.k.store(self.k.narrow(value, self.storage, self.isa.halves) if self.storage else value, pointer, mask)
