"""upconv for JAX: transposed convolutions by upconv's kernels, called by XLA itself, with every derivative.

    conv_transpose2d    torch's contract on JAX's arrays
    conv_transpose      `jax.lax.conv_transpose` for two spatial axes
    nnx                 layers for flax, imported when first asked for

Under `jax.jit` a call is one custom call in the compiled computation, without Python. Where there are no kernels (other
devices, systems that do not let code be made) it is XLA's own convolution.
"""

from importlib import import_module
from typing import Any

from .functional import conv_transpose, conv_transpose2d

__all__ = ["conv_transpose", "conv_transpose2d"]


def __getattr__(name: str) -> Any:
    if name == "nnx":
        return import_module(".nnx", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
