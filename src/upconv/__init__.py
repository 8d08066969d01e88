"""upconv: the transposed 2-D convolution as a library of its own.

>>> import numpy as np, upconv
>>> x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
>>> upconv.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1).shape
(1, 1, 8, 8)

The front-ends `upconv.torch`, `upconv.jax`, `upconv.onnx` and `upconv.dask`, `upconv.explain`, a layer explained, and
`upconv.weights`, which carries weights between frameworks and files, are imported when they are first asked for.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from . import grad, init, reference
from .dimensions import conv_transpose1d, conv_transpose3d
from .errors import SettingError
from .functional import conv2d, conv_transpose2d
from .module import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .planning import plan
from .plans import Plan
from .prepared import PreparedVolume, PreparedWeight, prepare
from .runtime import kernel as _kernel
from .runtime.pool import get_num_threads, set_num_threads
from .streaming import StreamingConvTranspose1d

if TYPE_CHECKING:
    from . import dask as dask
    from . import jax as jax
    from . import onnx as onnx
    from . import torch as torch

__version__ = "0.1.0"
__all__ = [
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Plan",
    "PreparedVolume",
    "PreparedWeight",
    "SettingError",
    "StreamingConvTranspose1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "get_num_threads",
    "grad",
    "init",
    "plan",
    "prepare",
    "reference",
    "set_num_threads",
]

# All modules that write kernels are there, and nobody has changed one.
_kernel.note_kernels()

FRONT_ENDS = ("torch", "jax", "onnx", "dask")
LATER = ("explain", "weights", *FRONT_ENDS)


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f".{name}", __name__)
    except (ImportError, OSError) as error:
        # An AttributeError, so that hasattr, help and inspect take what cannot be had for what is not there.
        missing = name in FRONT_ENDS and getattr(error, "name", None) == name
        reason = f"is not installed: pip install 'upconv[{name}]'" if missing else f"cannot be imported: {error}"
        raise AttributeError(f"upconv.{name} needs {name}, which {reason}", name=name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), "explain", "weights", *(name for name in FRONT_ENDS if _is_installed(name))})


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        # What stands in its place says nothing of where it comes from, or a finder refuses it.
        return False
