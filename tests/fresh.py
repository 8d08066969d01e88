"""Programs and kernels forgotten, so that a changed constant has its effect, and none afterwards.

A kernel depends on its arguments and the instruction set alone, and to write it anew takes longer than most tests. So
what is made while all else is forgotten is shared by the tests of a process, but for those that change kernels.
"""

import sys
from contextlib import contextmanager
from functools import cache

import pytest

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
    return make_kernel(make, *arguments)


def remembered(make, *arguments):
    """In place of `kernel.linked`."""
    return made_for(kernel.isa(), make, *arguments)


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
