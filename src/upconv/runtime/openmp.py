"""The parts of a call on the threads of an OpenMP runtime of the process, for native code that has no use for Python.

A descriptor (see `parts`) goes to ``GOMP_parallel(take, descriptor, threads, 0)``, by which every thread of the team
takes parts until none is left. The function's address is filled in here, so the code needs no symbol of the process.
"""

import ctypes
from functools import lru_cache

from . import kernel
from .parts import WANTED, take_parts

NAME = "upconv_openmp"
# A table: the function that is called, and behind it what Python fills in.
TEXT = f"""
@{NAME} = global [3 x ptr] [ptr @call, ptr null, ptr null], align 64

define internal void @call(ptr %descriptor) nounwind {{
  %parallel = load ptr, ptr getelementptr (ptr, ptr @{NAME}, i64 1)
  %take = load ptr, ptr getelementptr (ptr, ptr @{NAME}, i64 2)
  %at = getelementptr i64, ptr %descriptor, i64 {WANTED}
  %helpers = load i64, ptr %at
  %threads = add i64 %helpers, 1
  %team = trunc i64 %threads to i32
  call void %parallel(ptr %take, ptr %descriptor, i32 %team, i32 0)
  ret void
}}
"""


@lru_cache(maxsize=8)
def caller(parallel: int) -> int:
    """The address of ``void call(descriptor)`` for a runtime, of whose ``GOMP_parallel`` this is the address.

    It takes as many threads as the descriptor wants helpers, and the calling one. Its code is never let go.
    """
    code = kernel.link(NAME, TEXT)
    table = (ctypes.c_void_p * 3).from_address(code.address)
    table[1], table[2] = parallel, kernel.entry(take_parts)
    _held.append(code)
    return table[0]


_held: list[object] = []
