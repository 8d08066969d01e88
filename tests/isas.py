"""The instruction sets that kernels can be made for here, each for itself.

In this process a test asks for the fixture `isa` and is run once for each; what may crash, or must not share what this
process remembers, runs in a process of its own (see `children`) under UPCONV_ISA.
"""

from contextlib import contextmanager

from amount import some
from fresh import fresh

from upconv.codegen import llvm
from upconv.codegen.isa import runnable

#: Their names, best first.
RUNNABLE = [row.name for row in runnable(*llvm.host())]


def tried() -> list[str]:
    """Those that tests of each try: the best and the lowest, all under ``--full``; known when tests are collected."""
    return some(list(dict.fromkeys((RUNNABLE[0], RUNNABLE[-1]))), RUNNABLE)


@contextmanager
def making(name, monkeypatch):
    """Kernels, and everything that follows from their instruction set, are made for the one that is named."""
    with monkeypatch.context() as patch:
        patch.setenv("UPCONV_ISA", name)
        with fresh():
            yield
