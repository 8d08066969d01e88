"""A problem: what an algorithm is asked to compute, before anybody has chosen how."""

import math
from dataclasses import dataclass, field, replace

from .dtypes import DTYPES, Dtype
from .errors import SettingError
from .geometry import AXES, Geometry

OPERATIONS = ("forward", "grad_input", "grad_weight")


@dataclass(frozen=True, slots=True)
class Details:
    """What an algorithm will execute for a problem, beyond what the problem says itself.

    Attributes:
        executed_macs: multiply-adds in the problem's dtype, those included that no kept output needs (the rest of a
            tile, say).
        kernels: names of what runs, in the order of their first use.
        isa: the instruction set that they are made for.
        threads: how many threads they may use; 0 where that is not ours to say.
        packed_bytes: size of the weight in the order in which it is read.
    """

    executed_macs: int
    kernels: tuple[str, ...] = ()
    isa: str = "-"
    threads: int = 1
    packed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """One of the three bilinear operations on a geometry, with its dtype and memory layout.

    forward:      x, w       -> y         the transposed convolution
    grad_input:   grad_y, w  -> grad_x    an ordinary strided convolution (`conv2d` is this one)
    grad_weight:  x, grad_y  -> grad_w    a correlation of the two maps

    All three are bilinear, not sesquilinear: nothing is conjugated here. `layout` is "nchw" or "nhwc" and says how the
    result lies in memory; arrays always have the shape (n, c, h, w) whatever their strides. A huge step that is never
    taken is kept as 1.

    Raises:
        SettingError: for sizes that no memory can hold.
    """

    operation: str
    geometry: Geometry
    dtype: str
    layout: str = "nchw"
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "geometry", _computable(self.geometry))
        if math.prod(self.result_shape) * self.itemsize >= 2**63:
            raise SettingError(f"the result would be {self.result_shape}, which is more than can be addressed")
        # Problems are looked up on every call, and hashing the geometry takes longer than a small layer.
        object.__setattr__(self, "_hash", hash((self.operation, self.geometry, self.dtype, self.layout)))

    def __hash__(self):
        return self._hash

    @property
    def row(self) -> Dtype:
        return DTYPES[self.dtype]

    @property
    def itemsize(self):
        """Bytes of one stored value."""
        return self.row.itemsize

    @property
    def macs(self):
        """Useful multiply-adds; the same for all three operations."""
        return self.geometry.macs

    @property
    def bytes(self):
        """Least bytes that must move: both operands (live weights only) and the result, once each."""
        return self.geometry.elements() * self.itemsize

    @property
    def operand_shape(self):
        """Shape of the first operand."""
        return self.geometry.output_shape if self.operation == "grad_input" else self.geometry.input_shape

    @property
    def result_shape(self):
        g = self.geometry
        return {"forward": g.output_shape, "grad_input": g.input_shape, "grad_weight": g.weight_shape}[self.operation]


def _computable(geometry):
    """The geometry with axes that can be computed with; nearly always the geometry itself."""
    axes = []
    for name, axis in zip(AXES, (geometry.h, geometry.w), strict=True):
        try:
            axes.append(axis.computable())
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from None
    if axes[0] is geometry.h and axes[1] is geometry.w:
        return geometry
    return replace(geometry, h=axes[0], w=axes[1])
