"""The kernel generator: a small staged language, its meaning in NumPy, and its lowering to LLVM. Knows no convolution.

A kernel is a Python function that talks to a `Builder`: a Python `for` unrolls, ``with k.loop(...)`` is a loop at run
time. What it records can be interpreted with NumPy (`interpreter`, the definition of the language), or written as
LLVM's text (`lowering`) and compiled (`llvm`).
"""

import time

# Before the first of these files, and of those of kernels, was read: see `runtime.generator`.
READ = time.time()
