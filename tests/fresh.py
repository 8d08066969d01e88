"""Programs and kernels forgotten, so that a changed constant has its effect, and none afterwards."""

import sys
from contextlib import contextmanager


def forget():
    """Clear every cache of the package that lives in memory."""
    for name, module in list(sys.modules.items()):
        if name.startswith("upconv."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and not isinstance(value, type):
                    value.cache_clear()


@contextmanager
def fresh():
    """Nothing is remembered when it begins, and nothing of what was made in it when it is over."""
    forget()
    try:
        yield
    finally:
        forget()
