"""upconv: the transposed 2-D convolution as a library of its own.

>>> import numpy as np, upconv
>>> x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
>>> upconv.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1).shape
(1, 1, 8, 8)

`upconv.torch`, the front-end for PyTorch, and `upconv.explain` are imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import grad, init, reference
from .errors import SettingError
from .functional import conv2d, conv_transpose2d
from .module import ConvTranspose2d
from .planning import Plan, plan
from .prepared import PreparedWeight, prepare
from .runtime.pool import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from . import torch as torch

__version__ = "0.1.0"
__all__ = [
    "ConvTranspose2d",
    "Plan",
    "PreparedWeight",
    "SettingError",
    "conv2d",
    "conv_transpose2d",
    "get_num_threads",
    "grad",
    "init",
    "plan",
    "prepare",
    "reference",
    "set_num_threads",
]

FRONT_ENDS = ("torch",)
LAZY = ("explain", *FRONT_ENDS)


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"upconv.{name} needs {name}, which is not installed: pip install 'upconv[{name}]'", name=name
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
