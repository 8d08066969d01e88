"""A problem on operands that lie as they do, as every way of computing takes it."""

from dataclasses import dataclass, field, replace

from ..kernels.convert import HALF_KINDS
from ..kernels.gemm import PAIRS
from ..layouts import Operand, map_strides, weight_strides
from ..problem import Problem
from ..runtime.kernel import isa
from ..runtime.program import PART_PIXELS, PART_SECONDS, PARTS_PER_THREAD, X, Y
from .moves import PlacedOperand
from .rows import axes_exchanged


@dataclass(frozen=True)
class PlacedProblem:
    """A problem of a dtype that the kernels have, and where its operands lie.

    Attributes:
        problem: the Problem.
        x, y: the maps that are read and written; for the gradient in the weight, input and gradient in the output.
        w: strides of the weight in bytes; of pairs, from the first number of one to that of the next.
        threads: how many there will be.
        seconds: predicted on one thread.
        elem, lanes: of the dtype, and how many of it a vector has.
        c_src, c_dst: channels of the source and of the result, of a group.
    """

    problem: Problem
    x: Operand
    y: Operand
    w: tuple[int, int, int, int]
    threads: int = 1
    seconds: float = 0.0
    elem: str = field(init=False, repr=False, compare=False)
    lanes: int = field(init=False, repr=False, compare=False)
    c_src: int = field(init=False, repr=False, compare=False)
    c_dst: int = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        problem, put = self.problem, object.__setattr__
        put(self, "elem", problem.row.element)
        put(self, "lanes", isa().lanes(problem.itemsize))
        c_src, c_dst = problem.channels
        put(self, "c_src", c_src)
        put(self, "c_dst", c_dst)

    @classmethod
    def of(cls, problem, x, y, w, threads=1, seconds=0.0):
        """Of a problem and the strides in bytes of the three arrays."""
        x, y = map(Operand.of, problem.map_shapes, (x, y), problem.map_itemsizes)
        if problem.depth_taps > 1:
            g, planes = problem.geometry, problem.depth_taps
            fold = planes, g.h.k // planes, g.h.out
            x, y = (x.folded(*fold), y) if problem.operation == "grad_input" else (x, y.folded(*fold))
        if problem.pairs:
            w = 2 * w[0], *w[1:]
        return cls(problem, x, y, tuple(w), threads, seconds)

    @classmethod
    def dense(cls, problem, threads=1, seconds=0.0):
        """Of a problem on dense operands of its layouts."""
        x, y = map(map_strides, problem.map_shapes, problem.map_layouts, problem.map_itemsizes)
        w = weight_strides(problem.weight_shape, problem.weight_layout, problem.weight_size)
        return cls.of(problem, x, y, w, threads, seconds)

    def axes_exchanged(self):
        """The same with height and width exchanged, of strides as well: no map lies channels-first then."""

        def exchanged(at, channels):
            # One channel is consecutive in any layout; pixels that are, too, can be moved in longer lines.
            last = at.channels_last and (channels > 1 or not at.channels_first)
            return Operand(at.n, at.c, at.w, at.h, last, channels_first=False)

        g, (n, c, h, w) = self.g, self.w
        source, result = (g.c_in, g.c_out) if self.forward else (g.c_out, g.c_in)
        maps = {"x": exchanged(self.x, source), "y": exchanged(self.y, result)}
        return replace(self, problem=axes_exchanged(self.problem), w=(n, c, w, h), **maps)

    @property
    def g(self):
        return self.problem.geometry

    @property
    def forward(self):
        return self.problem.operation == "forward"

    @property
    def size(self):
        return self.problem.itemsize

    @property
    def w_src(self):
        """Bytes of the weight from one channel of the source to the next."""
        return self.w[0] if self.forward else self.w[1]

    @property
    def w_dst(self):
        """Bytes of the weight from one channel of the result to the next."""
        return self.w[1] if self.forward else self.w[0]

    @property
    def w_group(self):
        return self.w[0] * (self.g.c_in // self.g.groups)

    @property
    def storage(self) -> tuple[str, ...]:
        """What kernels that take halves are told of the weight's: nothing where there are none."""
        return (HALF_KINDS[self.problem.storage],) if self.problem.storage else ()

    @property
    def halves(self) -> str:
        """The kind of halves that the maps are, which kernels are to make float32 and back; "" for none."""
        return HALF_KINDS[self.problem.maps] if self.problem.maps else ""

    @property
    def factors(self) -> str:
        """The element type of what is multiplied; `elem` is that of sums, and of what moves either."""
        return PAIRS if self.problem.pairs else self.elem

    @property
    def rounds(self) -> bool:
        """Whether kernels write bfloat16."""
        return self.problem.pairs

    @property
    def written(self) -> int:
        """Bytes of a number that kernels write."""
        return self.problem.map_itemsizes[1] if self.rounds else self.size

    @property
    def x_group(self) -> int:
        """Bytes of the source from the channels of a group to those of the next."""
        return self.problem.map_shapes[0][1] // self.g.groups * self.x.c

    @property
    def packs(self) -> bool:
        """Whether a weight that is not read as it lies is packed in the call: it does not come prepared."""
        return not self.problem.prepared

    @property
    def packs_halves(self) -> str:
        """The kind of halves that a weight is which is packed; PAIRS for one of pairs, "" for none."""
        if self.problem.pairs:
            return PAIRS
        return HALF_KINDS[self.problem.storage] if self.problem.storage and self.packs else ""

    @property
    def w_size(self) -> int:
        """Bytes of one number of the weight as it lies."""
        return self.problem.weight_size

    @property
    def w_apart(self) -> int:
        """Bytes of a weight of pairs from the first number of one to the second."""
        return self.w_src // 2 if self.problem.pairs else 0

    def stored(self, nbytes) -> int:
        """A distance within a packed weight as it is in the one that is kept, which may be one of halves."""
        return nbytes if self.packs else nbytes * self.problem.weight_itemsize // self.size

    @property
    def source(self):
        return PlacedOperand(X, 0, self.x)

    @property
    def result(self):
        return PlacedOperand(Y, 0, self.y)

    @property
    def share(self):
        """Into how many bands, at least, the result should be cut for the sake of the threads."""
        if self.threads == 1:
            return 1
        pixels = self.g.n * self.g.h.n * self.g.w.n
        most = min(int(self.seconds / PART_SECONDS), pixels // PART_PIXELS)
        return max(self.threads, min(PARTS_PER_THREAD * self.threads, most))
