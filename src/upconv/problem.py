"""A problem: what is asked for, before anybody has chosen how to compute it."""

import math
from dataclasses import dataclass, field, fields

from .activations import ACTIVATIONS
from .dtypes import DTYPES, Dtype
from .errors import SettingError
from .geometry import AXES, Axis, Geometry
from .layouts import CHANNELS_FIRST, CHANNELS_LAST, RESULTS, WEIGHT_CHANNELS_LAST, dense_layout, dense_weight_layout

OPERATIONS = ("forward", "grad_input", "grad_weight")
Shape = tuple[int, int, int, int]


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
class Activation:
    """What a result passes through after the bias: one of ACTIVATIONS; `slope` multiplies below 0 in leaky_relu.

    Raises:
        SettingError: for a name that is none of them.
    """

    name: str = "none"
    slope: float = 0.01

    def __post_init__(self):
        if self.name not in ACTIVATIONS:
            raise SettingError(f"activation is {self.name!r}; it must be one of {', '.join(ACTIVATIONS)}")
        if not ACTIVATIONS[self.name].has_slope:
            # One value for each thing that can be meant.
            object.__setattr__(self, "slope", 0.01)

    def __str__(self):
        return f"{self.name}({self.slope:g})" if ACTIVATIONS[self.name].has_slope else self.name


NO_ACTIVATION = Activation()


@dataclass(frozen=True, slots=True)
class Problem:
    """One of the three bilinear operations on a geometry, and all that a choice between algorithms may depend on.

    forward:      x, w       -> y         the transposed convolution
    grad_input:   grad_y, w  -> grad_x    an ordinary strided convolution (`conv2d` is this one)
    grad_weight:  x, grad_y  -> grad_w    a correlation of the two maps

    All three are bilinear, not sesquilinear: nothing is conjugated here. Arrays always have the shape (n, c, h, w)
    whatever their strides. A huge step that is never taken is kept as 1.

    Attributes:
        operation, geometry, dtype: what is computed.
        layout: how the result lies, a name of `layouts`; what a door makes is "nchw" or "nhwc".
        a_layout, b_layout: how the operands lie; by default as the result does, and a weight as torch has it.
        prepared: whether the weight comes as a `PreparedWeight`.
        activation: what the result passes through at the end.
        storage: the dtype of halves in which the weight lies, if that is not the problem's.
        maps: the dtype of halves in which both maps lie, if that is not the problem's.
        pairs: whether a number of the source, and of the weight, is a pair of bfloat16, which are two channels; then
            `maps` says how the result lies.
        depth_taps: how many planes of a volume the rows of the gradient in the output lie in, see `layouts.Fold`.
        row: the row of the dtype; `itemsize`, bytes of one stored value.
        operand_shapes, result_shape: of both operands, and of the result.
        channels: (of the source, of the result) of a group; those of the two maps for the gradient in the weight.

    Raises:
        KeyError: for an operation or a dtype that is none.
        SettingError: for sizes that no memory can hold.
    """

    operation: str
    geometry: Geometry
    dtype: str
    layout: str = CHANNELS_FIRST
    a_layout: str | None = None
    b_layout: str | None = None
    prepared: bool = False
    activation: Activation = NO_ACTIVATION
    storage: str = ""
    maps: str = ""
    depth_taps: int = 1
    pairs: bool = False
    # Asked for again and again, and most of all for a size that is new.
    row: Dtype = field(init=False, repr=False, compare=False)
    itemsize: int = field(init=False, repr=False, compare=False)
    operand_shapes: tuple[Shape, Shape] = field(init=False, repr=False, compare=False)
    result_shape: Shape = field(init=False, repr=False, compare=False)
    channels: tuple[int, int] = field(init=False, repr=False, compare=False)
    _bytes: int | None = field(default=None, init=False, repr=False, compare=False)
    _layer: tuple | None = field(default=None, init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.operation not in OPERATIONS:
            raise KeyError(self.operation)
        put = object.__setattr__
        put(self, "geometry", _computable(self.geometry))
        put(self, "row", DTYPES[self.dtype])
        geometry, result = self.geometry, self._put_shapes(put)
        if math.prod(result) * self.itemsize >= 2**63:
            raise SettingError(f"the result would be {result}, which is more than can be addressed")
        wanted = self.layout if self.layout in RESULTS else CHANNELS_FIRST
        if self.operation == "grad_weight":
            # The layout of a gradient in the weight is that of the maps, unless they are said to lie otherwise.
            a, b = (dense_layout(shape, wanted) for shape in self.operand_shapes)
        else:
            a, b = dense_layout(self.operand_shapes[0], wanted), dense_weight_layout(self.operand_shapes[1])
            if self.a_layout is None and self.layout in RESULTS:
                put(self, "layout", dense_layout(result, wanted))
        put(self, "a_layout", self.a_layout or a)
        put(self, "b_layout", self.b_layout or b)
        # Problems are looked up on every call, and hashing the geometry takes longer than a small layer.
        key = self.operation, geometry, self.dtype, self.layout, self.a_layout, self.b_layout
        more = self.prepared, self.activation, self.storage, self.maps, self.depth_taps, self.pairs
        put(self, "_hash", hash((*key, *more)))

    def _put_shapes(self, put):
        """What the operation makes of the geometry; the shape of the result."""
        g, groups = self.geometry, self.geometry.groups
        x, y = g.input_shape, g.output_shape
        w, inner, outer = g.weight_shape, g.c_in // groups, g.c_out // groups
        channels = inner, outer
        if self.operation == "forward":
            operands, result = (x, w), y
        elif self.operation == "grad_input":
            operands, result, channels = (y, w), x, (outer, inner)
        else:
            operands, result = (x, y), w
        for name, value in (("operand_shapes", operands), ("result_shape", result), ("channels", channels)):
            put(self, name, value)
        put(self, "itemsize", self.row.itemsize)
        return result

    def __hash__(self):
        return self._hash

    def __reduce__(self):
        # Made anew where it is read: hashes of words differ from process to process.
        return Problem, tuple(getattr(self, each.name) for each in fields(self) if each.init)

    @property
    def weight_itemsize(self) -> int:
        """Bytes of one number of the weight."""
        return DTYPES[self.storage].itemsize if self.storage else self.itemsize

    @property
    def weight_size(self) -> int:
        """Bytes of one number of the weight as it lies; of pairs, of one of the two."""
        return DTYPES[self.maps].itemsize if self.pairs else self.weight_itemsize

    @property
    def weight_shape(self) -> Shape:
        """Shape of the weight as it lies."""
        c_in, *shape = self.geometry.weight_shape
        return (1 + self.pairs) * c_in, *shape

    @property
    def map_itemsizes(self) -> tuple[int, int]:
        """Bytes of one number of each of the two maps."""
        size = DTYPES[self.maps].itemsize if self.maps else self.itemsize
        # Channels-last, the two numbers of a pair lie together.
        joined = self.pairs and self.a_layout.startswith("nhwc")
        return self.itemsize if joined else size, size

    @property
    def macs(self) -> int:
        """Useful multiply-adds; the same for all three operations."""
        return self.geometry.macs

    @property
    def bytes(self) -> int:
        """Least bytes that must move: both operands (live weights only) and the result, once each."""
        # Every algorithm's estimate asks.
        if self._bytes is None:
            weights, maps = self.geometry.live_weights, zip(self.map_shapes, self.map_itemsizes, strict=True)
            nbytes = sum([math.prod(shape) * size for shape, size in maps])
            object.__setattr__(self, "_bytes", nbytes + weights * self.weight_itemsize)
        return self._bytes

    @property
    def map_shapes(self):
        """Shapes of the two maps: the one read and the one written; both read for the gradient in the weight.

        Of numbers as they lie: channels-first, those of a pair are channels of their own.
        """
        read, other = self.operand_shapes
        if self.pairs and not self.a_layout.startswith("nhwc"):
            n, c, *sides = read
            read = n, 2 * c, *sides
        return read, other if self.operation == "grad_weight" else self.result_shape

    @property
    def map_layouts(self):
        """Layouts of the two maps."""
        return self.a_layout, self.b_layout if self.operation == "grad_weight" else self.layout

    @property
    def weight_layout(self):
        """How the weight lies, or is to lie."""
        if self.operation != "grad_weight":
            return self.b_layout
        shape = self.geometry.weight_shape
        # One output channel lies as it does in torch, either way.
        return WEIGHT_CHANNELS_LAST if self.layout == CHANNELS_LAST and shape[1] > 1 else dense_weight_layout(shape)

    @property
    def layer(self):
        """All of the problem but the sizes of the maps and how they are cropped."""
        # Asked for by whoever keeps what depends on no size.
        if self._layer is None:
            g = self.geometry
            (h, w), a, b = (g.h, g.w), self.a_layout, self.b_layout
            of = g.c_in, g.c_out, g.groups, h.k, h.s, h.d, w.k, w.s, w.d, self.layout, a, b, self.depth_taps
            more = self.prepared, self.activation, self.storage, self.maps, self.pairs
            of = self.operation, self.dtype, *more, *of
            object.__setattr__(self, "_layer", of)
        return self._layer

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel has a kernel of its own."""
        g = self.geometry
        return g.groups > 1 and g.c_in == g.c_out == g.groups


def _computable(geometry):
    """The geometry with axes that can be computed with; nearly always the geometry itself."""
    axes: list[Axis] = []
    for name, axis in zip(AXES, (geometry.h, geometry.w), strict=True):
        try:
            axes.append(axis.computable())
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from None
    if axes[0] is geometry.h and axes[1] is geometry.w:
        return geometry
    return Geometry(geometry.n, geometry.c_in, geometry.c_out, geometry.groups, *axes)
