"""upconv for dask: images and batches larger than memory, block by block, lazily.

Every block of the result reads exactly the inputs that reach it, its own and those of its neighbours' edges. All blocks
are computed as the plan of the whole problem says, with maps channels-first, so that joined they are the bits of a
single call. Three cases differ:

- Some ways of computing round by the place of an output. Blocks have the bits of a single call with
  ``algorithm="gemm"`` then. So it is for Winograd's algorithm, whose tiles do not end where blocks do; for
  `tap_streaming` with a weight as given that is large; for `direct_rows`, if some blocks are narrower than the stride
  and so lack phases of a row; and where the only column of some blocks would be computed as a row.
- Where the kernel is much larger than the map, a single call exchanges the roles of input and weight. A prepared weight
  keeps its role, and so do blocks: they have the bits of a single call with the weight prepared.
- Where no kernels can be made, NumPy's products have the values of a single call, but not its bits.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.array
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from .. import functional, rewrites
from ..arrays import agree, as_array, check_bias, check_weight_shape, native_dtype
from ..candidates import cheapest
from ..dtypes import lookup
from ..errors import SettingError
from ..geometry import Axis
from ..planning import AUTO, activation_of, check_algorithm_name, choose
from ..prepared import PreparedVolume, PreparedWeight
from ..problem import Problem
from ..settings import Settings

# Computes blocks where what is planned would round by their places, and names no other.
INSTEAD = "gemm"

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..typing import Activation, Padding, Pair


class Block(NamedTuple):
    """How one run of outputs is made on one axis: where its inputs lie, as (chunk, slice), and what it computes."""

    pieces: tuple[tuple[int, slice], ...]
    axis: Axis

    @property
    def crops(self) -> tuple[int, int]:
        """The signed crops."""
        return self.axis.crop_lo, self.axis.crop_hi


def conv_transpose2d(
    input: dask.array.Array,
    weight: ArrayLike | dask.array.Array,
    bias: ArrayLike | dask.array.Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    *,
    activation: Activation | None = None,
    algorithm: str = AUTO,
) -> dask.array.Array:
    """`upconv.conv_transpose2d` of a dask array; nothing is computed until the result is asked for.

    Args:
        input: (n, c_in, h, w), in any chunks of known sizes; those along the channels are joined.
        weight: (c_in, c_out // groups, k_h, k_w), an array, or one of dask, which is taken whole.
        bias: (c_out,) or None, alike.
        stride, padding, output_padding, groups, dilation, activation: as in `upconv.conv_transpose2d`, with signed
            crops and words for `padding` too.
        algorithm: "auto", or a name: "auto" is what a single call would choose for the whole, but never Winograd's;
            a single call with a prepared weight, where the weight as an array would change its role with the input.

    Returns:
        (n, c_out, h_out, w_out), with a chunk for every chunk of the input's batch, height and width that has
        outputs of its own.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`, at once; SettingError for chunks
            of unknown sizes.

    >>> x = dask.array.ones((1, 2, 8, 8), chunks=(1, 2, 4, 4), dtype="float32")
    >>> y = conv_transpose2d(x, np.ones((2, 3, 4, 4), np.float32), stride=2, padding=1)
    >>> y.shape, y.chunks[2]
    ((1, 3, 16, 16), (8, 8))
    >>> float(y.sum().compute())
    5400.0
    """
    settings = Settings.of(stride, padding, output_padding, groups, dilation)
    check_algorithm_name(algorithm)
    x = _input(input)
    if isinstance(weight, PreparedWeight):
        weight.check(settings)
    operands = [_whole(value, name) for value, name in ((weight, "weight"), (bias, "bias"))]
    w, b = operands
    check_weight_shape(w.shape)
    agree(input=x, weight=w, bias=b)
    dtype = x.dtype.name
    geometry = settings.geometry(x.shape, w.shape)
    if b is not None:
        check_bias(b.shape, geometry.c_out)
    problem = Problem("forward", geometry, dtype, activation=activation_of(activation, dtype), **_lies(weight))
    rows, columns = (_blocks(axis, chunks) for axis, chunks in ((geometry.h, x.chunks[2]), (geometry.w, x.chunks[3])))
    chosen = _chosen(_planned(problem, algorithm), algorithm, rows[1], columns[1])
    call = _Call(settings, chosen, activation)
    names = [each.name for each in (x, w, b) if each is not None]
    name = "conv_transpose2d-" + tokenize(names, geometry, chosen, activation)
    prepared = f"weight-{name}"
    graph: dict[Any, Any] = {prepared: (_prepared, (w.name, 0, 0, 0, 0), settings)}
    vector = None if b is None else (b.name, 0)
    channels = range(len(x.chunks[1]))
    for n, (i, row), (j, column) in product(range(len(x.chunks[0])), enumerate(rows[1]), enumerate(columns[1])):
        parts = [
            [[(_cut, (x.name, n, c, p, q), r, s) for q, s in column.pieces] for p, r in row.pieces] for c in channels
        ]
        graph[name, n, 0, i, j] = (_block, call, parts, prepared, vector, row.crops, column.crops)
    layers = HighLevelGraph.from_collections(name, graph, [each for each in (x, w, b) if each is not None])
    chunks = (x.chunks[0], (geometry.c_out,), rows[0], columns[0])
    return dask.array.Array(layers, name, chunks, dtype=native_dtype(x))


def _planned(problem, algorithm):
    """The plan of the whole, with a prepared weight where other steps lead to one: blocks prepare theirs."""
    plan, kept = choose(problem, algorithm), replace(problem, prepared=True)
    alike = rewrites.kinds(rewrites.steps(kept)) == rewrites.kinds(plan.steps)
    return plan if alike else choose(kept, algorithm)


def _chosen(plan, asked, rows, columns):
    """The name of the algorithm of all blocks, which lie in these rows and columns of Blocks.

    One that rounds by where its tiles or rows lie would have other bits in each block, and so would one that computes
    the only column of some as a row. Where there are no kernels, nobody has the bits of the whole.
    """
    sizes = product({each.axis for each in rows}, {each.axis for each in columns})
    if not plan.rounds_by_place and all(_adds_alike(plan, h, w) for h, w in sizes):
        return plan.algorithm
    instead = plan.fallback or INSTEAD
    if cheapest(plan.problem, (instead,)) is None:
        return plan.algorithm
    if asked == AUTO:
        return instead
    raise SettingError(f"algorithm is {asked!r}, which is for whole problems; by blocks {instead!r} does it")


def _adds_alike(plan, h, w):
    """Whether the algorithm of a plan computes a part of these axes, and adds up products in the order of the whole."""
    geometry = replace(plan.problem.geometry, h=h, w=w)
    # Blocks prepare the weight for themselves, whatever it comes as.
    part = replace(plan.problem, geometry=geometry, prepared=True, storage="")
    try:
        return plan.adds_alike(choose(part, plan.algorithm))
    except SettingError:
        return False


class _Call(NamedTuple):
    """What is the same for all blocks."""

    settings: Settings
    algorithm: str
    activation: Any


def _input(value):
    if not isinstance(value, dask.array.Array):
        raise TypeError(f"input is {type(value).__name__}; it must be a dask array")
    if any(np.isnan(size) for size in value.shape):
        raise SettingError(
            f"input has the shape {value.shape}; its chunks must have known sizes, which "
            "input.compute_chunk_sizes() finds"
        )
    if value.ndim != 4:
        raise SettingError(f"input has shape {value.shape}; it must be (n, c, h, w), with a batch")
    lookup(value.dtype, "input")
    return value


def _whole(value, name):
    """An operand as a dask array of one chunk; None as it is."""
    if value is None:
        if name == "weight":
            raise TypeError("weight is None; it must be an array")
        return None
    if isinstance(value, dask.array.Array):
        lookup(value.dtype, name)
        return value.rechunk(-1)
    array = value.array if isinstance(value, PreparedWeight | PreparedVolume) else as_array(value, name)
    return dask.array.from_array(array, chunks=-1)


def _lies(weight):
    """What the Problem of a single call says of a weight; one that is an array is planned as torch has it."""
    return {"prepared": True, "storage": weight.storage} if isinstance(weight, PreparedWeight) else {}


def _blocks(axis: Axis, chunks):
    """(sizes of the result's chunks on one axis, a Block for each)."""
    starts = [0, *accumulate(chunks)]
    # A multiple of the stride from the first output, so that every block has the phases of the whole in their order.
    cuts = {min(max(0, start - axis.crop_lo // axis.s) * axis.s, axis.out) for start in starts[1:-1]}
    bounds = sorted({0, axis.out} | cuts)
    made = []
    for lo, hi in pairwise(bounds):
        first, part = axis.window(lo, hi)
        pieces = [
            (place, slice(max(first, begin) - begin, min(first + part.n, end) - begin))
            for place, (begin, end) in enumerate(pairwise(starts))
            if max(first, begin) < min(first + part.n, end)
        ]
        made.append(Block(tuple(pieces), part))
    return tuple(hi - lo for lo, hi in pairwise(bounds)), made


# What runs where the blocks are computed ---------------------------------------------------------------------------


def _prepared(weight, settings):
    return PreparedWeight(np.ascontiguousarray(weight), settings)


def _cut(chunk, rows, columns):
    return chunk[:, :, rows, columns]


def _block(call, parts, weight, bias, rows, columns):
    """One block, from the pieces of input that reach it (channels, rows, columns)."""
    x = np.concatenate([np.concatenate([np.concatenate(row, 3) for row in each], 2) for each in parts], 1)
    settings = call.settings
    return functional.conv_transpose2d(
        x,
        weight,
        bias,
        settings.stride,
        (rows, columns),
        0,
        settings.groups,
        settings.dilation,
        activation=call.activation,
        algorithm=call.algorithm,
    )
