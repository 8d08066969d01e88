"""The scratch of calls that need much: a block of upconv's own that is lent to one call at a time.

XLA allocates the scratch of a call anew, and the C library asks the system for fresh memory whenever it is large: its
pages take longer than many layers. So the process keeps one block, as large as the largest call needs; who finds it
taken, by another thread's call, uses XLA's. Handlers see a record: whether it is taken, where it lies, and its size.
"""

import numpy as np

from ..runtime import memory
from ..runtime.program import address

TAKEN, PLACE, SIZE = 0, 1, 2
LEAST, MOST = memory.BIG, memory.RESULT_BYTES


class Scratch:
    """The block; `show` is told where its record lies. Whoever calls `hold` has a lock."""

    def __init__(self, show):
        self._show, self._size = show, 0
        # (record, block), the last one in use; a record stays, since a handler may have found it and not looked yet.
        self._blocks, self._records = [], []

    def hold(self, nbytes: int) -> int:
        """What a call that needs so many bytes asks of the block, which grows with it if need be: 0 for nothing."""
        if not LEAST <= nbytes <= MOST:
            return 0
        if nbytes > self._size:
            try:
                block = memory.empty((nbytes,), np.uint8)
            except MemoryError:
                return 0
            # One that was left before, and is not taken, nobody takes any more: it is too small.
            self._blocks = [(record, held) for record, held in self._blocks if record[SIZE] or record[TAKEN]]
            for record, _ in self._blocks:
                record[SIZE] = 0
            record = np.array([0, address(block), nbytes], np.int64)
            self._blocks.append((record, block))
            self._records.append(record)
            self._size = nbytes
            self._show(address(record))
        return nbytes
