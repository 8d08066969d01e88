"""upconv: the transposed 2-D convolution as a library of its own.

>>> import numpy as np, upconv
>>> x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
>>> upconv.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1).shape
(1, 1, 8, 8)
"""

from . import grad, reference
from .errors import SettingError
from .functional import conv2d, conv_transpose2d
from .module import ConvTranspose2d
from .planning import Plan, plan
from .runtime.pool import get_num_threads, set_num_threads

__version__ = "0.1.0"
__all__ = [
    "ConvTranspose2d",
    "Plan",
    "SettingError",
    "conv2d",
    "conv_transpose2d",
    "get_num_threads",
    "grad",
    "plan",
    "reference",
    "set_num_threads",
]
