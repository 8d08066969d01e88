"""Numbers as they lie in memory: in the type of the products, or as halves that become float32 on their way."""

from ..codegen.lang import Type


def suffix(storage):
    """What a kernel's name says of the halves that it reads."""
    return f"_{storage}" if storage else ""


class Stored:
    """How vectors are loaded and stored; `size` is that of one number in memory."""

    def __init__(self, k, isa, vector, storage):
        self.k, self.isa, self.vector, self.storage = k, isa, vector, storage
        self.stored = Type("i16", vector.lanes) if storage else vector
        self.size = self.stored.scalar.size

    def load(self, pointer, mask=None):
        """The vector at an address; lanes outside a mask are zero, and their memory is not touched."""
        there = self.k.load(pointer, self.stored, mask)
        return self.k.widen(there, self.storage, self.isa.halves) if self.storage else there

    def store(self, value, pointer, mask=None):
        """Write a vector, rounded to the nearest halves if they are that; likewise under a mask."""
        self.k.store(self.k.narrow(value, self.storage, self.isa.halves) if self.storage else value, pointer, mask)
