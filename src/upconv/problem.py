"""A problem: what an algorithm is asked to compute, before anybody has chosen how."""

from dataclasses import dataclass

import numpy as np

from .dtypes import DTYPES, Dtype
from .geometry import Geometry

OPERATIONS = ("forward", "grad_input", "grad_weight")


@dataclass(frozen=True, slots=True)
class Problem:
    """One of the three bilinear operations on a geometry, with its dtype and memory layout.

    forward:      x, w       -> y         the transposed convolution
    grad_input:   grad_y, w  -> grad_x    an ordinary strided convolution (`conv2d` is this one)
    grad_weight:  x, grad_y  -> grad_w    a correlation of the two maps

    All three are bilinear, not sesquilinear: nothing is conjugated here. `layout` is "nchw" or "nhwc" and says how the
    result lies in memory; arrays always have the shape (n, c, h, w) whatever their strides.
    """

    operation: str
    geometry: Geometry
    dtype: str
    layout: str = "nchw"

    @property
    def row(self) -> Dtype:
        return DTYPES[self.dtype]

    @property
    def itemsize(self):
        """Bytes of one stored value."""
        return 2 if self.dtype in ("float16", "bfloat16") else np.dtype(self.dtype).itemsize

    @property
    def macs(self):
        """Useful multiply-adds; the same for all three operations."""
        return self.geometry.macs

    @property
    def bytes(self):
        """Least bytes that must move: both operands (live weights only) and the result, once each."""
        return self.geometry.elements() * self.itemsize

    @property
    def result_shape(self):
        g = self.geometry
        return {"forward": g.output_shape, "grad_input": g.input_shape, "grad_weight": g.weight_shape}[self.operation]
