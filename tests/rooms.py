"""Memory between two pages that nobody may touch: one step beyond an array is a crash."""

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
PROT_NONE = 0


class Room:
    """Memory between two forbidden pages; arrays lie at its very end, or at its very beginning."""

    def __init__(self, nbytes):
        mprotect = ctypes.CDLL(None, use_errno=True).mprotect
        mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self.size = -(-nbytes // PAGE) * PAGE
        self._map = mmap.mmap(-1, self.size + 2 * PAGE)
        self.bytes = np.frombuffer(self._map, np.uint8)[PAGE : PAGE + self.size]
        start = self.bytes.ctypes.data
        for page in (start - PAGE, start + self.size):
            if mprotect(page, PAGE, PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")

    def put(self, shape, dtype, order, at_end):
        """An array without values, full of 0xFF; `order` is that of the axes in memory."""
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape)) * dtype.itemsize
        assert nbytes <= self.size, (shape, dtype)
        first = self.size - nbytes if at_end else 0
        memory = self.bytes[first : first + nbytes]
        memory[:] = 0xFF
        stored = memory.view(dtype).reshape([shape[axis] for axis in order])
        return stored.transpose(np.argsort(order))

    def copy(self, array, at_end):
        """A copy that lies like the array, which must be dense in some order of its axes."""
        order = sorted(range(array.ndim), key=lambda axis: (-array.strides[axis], axis))
        twin = self.put(array.shape, array.dtype, order, at_end)
        twin[...] = array
        return twin


def run_at_both_ends(rooms, code, setting, arrays=None):
    """Run a kernel on copies of a setting's arrays, at the end of their rooms and at the beginning, and check each run.

    Args:
        code: the kernel, linked.
        setting: has `numbers(*arrays)`, the words of a task, and `check(arrays)`.
        arrays: its arrays and scratch, if there is any.

    Returns:
        How many runs there were.
    """
    for at_end in (True, False):
        copies = [room.copy(a, at_end) for room, a in zip(rooms, arrays or setting.arrays, strict=True)]
        code(setting.numbers(*copies).ctypes.data)
        setting.check(copies)
    return 2
