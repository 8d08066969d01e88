"""Programs and kernels forgotten, so that a changed constant has its effect, and none afterwards.

A kernel depends on its arguments and the instruction set alone, and to write it anew takes longer than most tests. So
what is made while all else is forgotten is shared by the tests of a process, and its text by all the processes of a run
(see `shared`), but for those that change kernels.
"""

import sys
from contextlib import contextmanager
from functools import cache

import pytest
import shared

from upconv.runtime import kernel

make_kernel = kernel.linked.__wrapped__


def forget():
    """Clear every cache of the package that lives in memory; those of codegen/ know all that they depend on."""
    for name, module in list(sys.modules.items()):
        if name.startswith("upconv.") and not name.startswith("upconv.codegen."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and not isinstance(value, type):
                    value.cache_clear()


@cache
def made_for(isa, make, *arguments):
    """A kernel that no test has changed, for the instruction set that kernels are made for."""
    key = isa, make.__module__, make.__qualname__, arguments
    name, text = shared.once(key, lambda: in_llvm(make(isa, *arguments), isa))
    code = kernel.link(name, text)
    kernel._made[code.address] = kernel.Made(name, make, arguments)
    return code


def in_llvm(made, isa):
    return made.name, kernel.lower(made, isa)


def remembered(make, *arguments):
    """In place of `kernel.linked`."""
    return made_for(kernel.isa(), make, *arguments)


def share():
    """From now on each of the package's kernels is written once in all processes of a run: for whoever changes none."""
    kernel.linked = cache(lambda make, *arguments: (remembered if _is_ours(make) else make_kernel)(make, *arguments))


def _is_ours(make):
    return make.__module__.startswith("upconv.kernels.")


@contextmanager
def fresh(kernels=False):
    """Nothing is remembered when it begins, and nothing of what was made in it when it is over.

    Args:
        kernels: whether kernels are made anew as well, since what they are made of is changed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "linked", cache(make_kernel) if kernels else remembered)
        forget()
        try:
            yield
        finally:
            forget()
