"""Problems as other problems, before anybody chooses how to compute them: each step with its way back on the result.

- A map of one column is a map of one row: the same memory, in which what runs along rows fills its vectors.
- What has no layout that kernels read (neither channels nor pixels consecutive) is copied.
- What is too narrow to be summed is computed in a wider dtype and rounded once: halves in float32.
- Where a machine multiplies pairs of bfloat16, two channels that follow one another are one of pairs, summed in float32
  as well. Channels-last they lie together; channels-first they come together as a band is transposed.
- A complex problem is a real one of twice the channels: the channels of a complex pixel, consecutive in memory, are
  those of a real pixel, real and imaginary part in turn, and every complex weight becomes a 2x2 matrix.
- A kernel much larger than the map has more segments than there are inputs. But input and weight play the same part in
  ``o == i*s + t*d - crop_lo``: with their roles exchanged, stride and dilation too, the taps are the pixels of a large
  map under a small kernel, which has few segments.
- An activation that is more than one or two instructions takes a pass of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .activations import activate
from .arrays import empty
from .dtypes import DTYPES
from .geometry import Axis, Geometry, ceil_div
from .halves import narrow, widen
from .kernels.epilogue import is_in_registers
from .kernels.gemm import LONGEST_SUM
from .layouts import (
    STRIDED,
    TAPS_SLICED,
    WEIGHT_CHANNELS_LAST,
    dense_layout,
    dense_weight_layout,
)
from .phases import input_segments, live_segment_count, most_segments
from .problem import NO_ACTIVATION, Problem
from .runtime.kernel import isa
from .runtime.once import Kept

# Layers of which it is known which rewrites may have a step.
MOST_LAYERS = 512
# Below so many pairs of segments nothing is gained by exchanging the roles.
MANY_PAIRS = 4096
# Phases of a row that fill a vector: they lie along it, whatever the segments of columns.
VECTOR_OF_PHASES = 16
# Layouts that weights have in one operation and that its kernels do not read.
COPIED_WEIGHTS = {"forward": TAPS_SLICED, "grad_input": WEIGHT_CHANNELS_LAST}
EXCHANGED = {"forward": "forward", "grad_input": "grad_weight", "grad_weight": "grad_input"}

Solve = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One step: what is done, in a sentence; the problem that it leads to; bytes copied on the way.

    `run(solve, step, a, b, bias, out)` computes the problem before the step by ``solve(a, b, bias, out)``, which
    computes the one after it. `amount` is what the bytes are counted as, one of `machine.AMOUNTS`. `exchanges_axes`:
    the problem after it is the same with height and width exchanged, of which one is 1 everywhere.
    """

    description: str
    before: Problem
    after: Problem
    run: Callable[..., None]
    nbytes: int
    amount: str = "copied"
    exchanges_axes: bool = False


@lru_cache(maxsize=512)
def steps(problem: Problem, maps=False, weight=False) -> tuple[Rewrite, ...]:
    """The steps from a problem to the one that an algorithm is chosen for; most have none.

    Args:
        maps, weight: whether maps of halves, or a weight, may be left to an algorithm that converts them on its way.
    """
    if maps or weight:
        whole = steps(problem)
        if whole and whole[0].exchanges_axes:
            return (whole[0], *steps(whole[0].after, maps, weight))
        # What needs more than that step finds other arrays than it was given.
        return tuple(_left(step, maps, weight) for step in whole) if len(whole) == 1 else whole
    found = []
    while (step := _first(problem)) is not None:
        found.append(step)
        problem = step.after
    return tuple(found)


@lru_cache(maxsize=512)
def steps_by_pairs(problem: Problem) -> tuple[Rewrite, ...]:
    """The steps by which a problem of bfloat16 is one of pairs; those of `steps` where it is none.

    What subnormal numbers make of a product then counts as zero.
    """
    whole = steps(problem)
    if problem.dtype != "bfloat16" or problem.operation != "forward" or not isa().multiplies_pairs:
        return whole
    copied = _copied(problem)
    if copied is not None:
        rest = steps_by_pairs(copied.after)
        return (copied, *rest) if rest[-1].after.pairs else whole
    if whole[0].exchanges_axes:
        return (whole[0], *steps_by_pairs(whole[0].after))
    return (_in_pairs(problem),) if _can_be_pairs(problem, whole) else whole


def adds_by_pairs(problem: Problem) -> bool:
    """Whether pairs are what every way multiplies that can: where it is a line that can be one of pairs.

    Chunks of a stream, of any length and lying one way or another, have the bits of the whole.
    """
    inner = steps_by_pairs(problem)[-1].after
    return inner.pairs and inner.geometry.h.n == inner.geometry.h.k == 1


_layers = Kept(MOST_LAYERS)


def _first(problem):
    """The first step from a problem; None where there is none."""
    possible = _layers.get_or_make(problem.layer, lambda: _possible(problem))
    for rewrite in possible:
        step = rewrite(problem)
        if step is not None:
            return step
    return None


def _possible(problem):
    """The rewrites that may have a step for the problems of a layer: most depend on no size of a map."""
    return tuple(
        rewrite
        for rewrite in REWRITES
        if (BY_SIZES[rewrite](problem) if rewrite in BY_SIZES else rewrite(problem) is not None)
    )


def kinds(steps: tuple[Rewrite, ...]) -> tuple[Callable[..., None], ...]:
    """What steps do, whatever the sizes: problems of which that differs add up their products in other orders."""
    return tuple(step.run for step in steps)


def solve(steps: tuple[Rewrite, ...], innermost: Solve, a, b, bias, out):
    """Compute the first step's problem by way of all the steps."""
    if not steps:
        innermost(a, b, bias, out)
        return
    step, rest = steps[0], steps[1:]
    step.run(lambda *arrays: solve(rest, innermost, *arrays), step, a, b, bias, out)


def innermost_weight(weight, problem):
    """The weight as an innermost problem has it, dense, as torch would lay it."""
    row = DTYPES[weight.dtype.name]
    if row.kind == "c":
        return _matrices(weight, problem.operation, row.wider)
    if row.wider:
        wide = np.empty(weight.shape, row.wider)
        widen(weight, wide)
        return wide
    return np.ascontiguousarray(weight, row.name)


def is_array(weight) -> bool:
    """A prepared weight is for the innermost problem, whatever the steps."""
    return isinstance(weight, np.ndarray)


# One column as one row -----------------------------------------------------------------------------------------------


def _as_row(problem):
    g = problem.geometry
    is_column = g.w.n == g.w.out == g.w.k == 1 and max(g.h.n, g.h.out, g.h.k) > 1 and problem.depth_taps == 1
    if not is_column or STRIDED in (problem.a_layout, problem.b_layout, problem.layout):
        return None
    after = replace(problem, geometry=replace(g, h=g.w, w=g.h))
    return Rewrite("the only column as a row", problem, after, _by_row, 0, exchanges_axes=True)


def _may_be_a_row(problem):
    """Whether there is a step for some sizes of the maps of the layer of a problem."""
    return problem.geometry.w.k == 1


def _by_row(solve, step, a, b, bias, out):
    a, b, out = as_row(a, b, out)
    solve(a, b, bias, out)


def as_row(a, b, out):
    """The arrays of the problem after a step that exchanges axes, the same memory."""
    return tuple(array.swapaxes(2, 3) if is_array(array) else array for array in (a, b, out))


# Copies --------------------------------------------------------------------------------------------------------------


def _copied(problem):
    words, changes, nbytes, g = [], {}, 0, problem.geometry
    a_shape, b_shape = problem.operand_shapes
    has_weight = problem.operation != "grad_weight"
    # Only maps that lie channels-first have depth taps among their rows.
    layout = problem.layout if problem.depth_taps == 1 else "nchw"
    if problem.a_layout == STRIDED:
        words.append("the gradient in the output" if problem.operation == "grad_input" else "the input")
        changes["a_layout"] = dense_layout(a_shape, layout)
        nbytes += 2 * _size(a_shape)
    if problem.b_layout == STRIDED or problem.b_layout == COPIED_WEIGHTS.get(problem.operation):
        plain = dense_weight_layout(g.weight_shape) if has_weight else dense_layout(b_shape, layout)
        if plain != problem.b_layout:
            words.append("the weight" if has_weight else "the gradient in the output")
            changes["b_layout"] = plain
            nbytes += 2 * _size(b_shape)
    if problem.layout == STRIDED:
        words.append("the result")
        changes["layout"] = dense_layout(problem.result_shape, "nchw") if has_weight else "nchw"
        nbytes += 2 * _size(problem.result_shape)
    if not changes:
        return None
    text = f"copied, for kernels to read or write: {', '.join(words)}"
    return Rewrite(text, problem, replace(problem, **changes), _by_copies, nbytes * problem.itemsize)


def _by_copies(solve, step, a, b, bias, out):
    before, after = step.before, step.after
    if after.a_layout != before.a_layout:
        a = dense(a, after.a_layout)
    if after.b_layout != before.b_layout and is_array(b):
        b = dense(b, after.b_layout)
    if after.layout == before.layout:
        solve(a, b, bias, out)
        return
    result = fresh(out.shape, out.dtype, after.layout)
    solve(a, b, bias, result)
    out[...] = result


def dense(array, layout):
    """A copy of a 4-D array that lies as a layout of maps or of weights says."""
    # Not ascontiguousarray, which keeps odd strides on axes of length 1.
    copy = fresh(array.shape, array.dtype, layout)
    copy[...] = array
    return copy


def fresh(shape, dtype, layout):
    """A 4-D array without values that lies as a layout says, without gaps.

    Its memory is used again: to touch fresh memory takes longer than to copy or to convert.
    """
    is_last = layout.startswith("nhwc") or layout == WEIGHT_CHANNELS_LAST
    return empty(shape, np.dtype(dtype), "nhwc" if is_last else "nchw")


# Activations ---------------------------------------------------------------------------------------------------------


def _activated(problem):
    activation = problem.activation
    in_kernels = is_in_registers(activation.name, activation.slope) and problem.row.element
    if activation.name == "none" or in_kernels or _has_wider(problem):
        return None
    nbytes = 2 * _size(problem.result_shape) * problem.itemsize
    after = replace(problem, activation=NO_ACTIVATION)
    return Rewrite(f"{activation} in a pass of its own", problem, after, _by_activation, nbytes)


def _by_activation(solve, step, a, b, bias, out):
    solve(a, b, bias, out)
    activate(step.before.activation, out)


# Wider dtypes --------------------------------------------------------------------------------------------------------


def _in_wider(problem):
    if not _has_wider(problem):
        return None
    has_weight, g = problem.operation != "grad_weight", problem.geometry
    # What is converted keeps its order, but lies densely; so it is read as it is written.
    a_shape, b_shape = problem.operand_shapes
    changes = {
        "a_layout": _without_gaps(problem.a_layout, a_shape),
        "b_layout": _kept_weight_layout(problem) if has_weight else _without_gaps(problem.b_layout, b_shape),
        "layout": _without_gaps(problem.layout, problem.result_shape) if has_weight else "nchw",
    }
    after = replace(problem, dtype=problem.row.wider, **changes)
    moved = g.elements() - problem.prepared * g.live_weights
    words = f"computed in {after.dtype}, rounded to {problem.dtype} once"
    return Rewrite(words, problem, after, _by_wider, moved * (problem.itemsize + after.itemsize), "converted")


def _left(step, maps, weight):
    """The step that leaves maps, or a weight, in halves; the step itself where they must be made dense."""
    before, after, g = step.before, step.after, step.before.geometry
    if step.run is not _by_wider or before.operation == "grad_weight":
        return step
    changes, weights = {}, 0 if before.prepared else g.live_weights
    moved = g.elements() - g.live_weights
    if maps and STRIDED not in (before.a_layout, before.layout):
        changes, moved = {"a_layout": before.a_layout, "layout": before.layout, "maps": before.dtype}, 0
    if weight and not before.prepared and after.b_layout == before.b_layout:
        changes["storage"], weights = before.dtype, 0
    if not changes:
        return step
    nbytes = (moved + weights) * (before.itemsize + after.itemsize)
    return replace(step, after=replace(after, **changes), nbytes=nbytes)


def _without_gaps(layout, shape):
    """The layout of a fresh map in the order of one that lies in a layout."""
    return dense_layout(shape, "nhwc" if layout.startswith("nhwc") else "nchw")


def _kept_weight_layout(problem):
    """The layout of a fresh weight in the order of a problem's, if kernels read that, else as torch has it."""
    if problem.operation == "forward" and problem.b_layout == WEIGHT_CHANNELS_LAST:
        return WEIGHT_CHANNELS_LAST
    return dense_weight_layout(problem.geometry.weight_shape)


def _has_wider(problem):
    return bool(problem.row.wider) and problem.row.kind != "c"


def _by_wider(solve, step, a, b, bias, out):
    after = step.after
    bias = None if bias is None else bias.astype(after.dtype)
    if is_array(b) and not after.storage:
        b = _converted(b, after.dtype, after.b_layout)
    if after.maps:
        solve(a, b, bias, out)
        return
    result = fresh(out.shape, after.dtype, after.layout)
    solve(_converted(a, after.dtype, after.a_layout), b, bias, result)
    narrow(result, out)


def _converted(array, dtype, layout):
    result = fresh(array.shape, dtype, layout)
    widen(array, result)
    return result


# Pairs of channels ---------------------------------------------------------------------------------------------------


def _can_be_pairs(problem, whole):
    """Whether a problem of which `steps` are these can be one of pairs: of a prepared weight in any size and layout."""
    # What needs more than to be made wider is computed otherwise in between.
    return kinds(whole) == (_by_wider,) and problem.depth_taps == 1 and problem.channels[0] % 2 == 0


def _in_pairs(problem):
    g = problem.geometry
    after = replace(
        problem,
        geometry=replace(g, c_in=g.c_in // 2),
        dtype=problem.row.wider,
        maps=problem.dtype,
        pairs=True,
    )
    words = f"pairs of channels, summed in {after.dtype} and rounded to {problem.dtype} once"
    return Rewrite(words, problem, after, _by_pairs, 0)


def _by_pairs(solve, step, a, b, bias, out):
    bias = None if bias is None else bias.astype(step.after.dtype)
    if step.after.a_layout.startswith("nhwc"):
        a = a.transpose(0, 2, 3, 1).view(step.after.dtype).transpose(0, 3, 1, 2)
    solve(a, b, bias, out)


# Complex numbers -----------------------------------------------------------------------------------------------------


def _as_real(problem):
    if problem.row.kind != "c" or not problem.row.wider:
        return None
    g = problem.geometry
    geometry = replace(g, c_in=2 * g.c_in, c_out=2 * g.c_out)
    after = Problem(problem.operation, geometry, problem.row.wider, "nhwc", prepared=problem.prepared)
    if problem.operation == "grad_weight":
        # The maps are made of pairs of channels; the gradient is written as torch lays a weight.
        after = replace(after, layout="nchw")
    nbytes = after.geometry.elements() * (problem.itemsize // 2 + after.itemsize)
    words = "complex numbers as pairs of channels, every weight as a 2x2 matrix"
    return Rewrite(words, problem, after, _by_real, nbytes)


def _by_real(solve, step, a, b, bias, out):
    real = step.after
    if real.operation == "grad_weight":
        c_in, c_out, k_h, k_w = out.shape
        result = np.empty((2 * c_in, 2 * c_out, k_h, k_w), real.dtype)
        solve(_pairs(a), _pairs(b), None, result)
        parts = result.reshape(c_in, 2, c_out, 2, k_h, k_w)
        out.real = parts[:, 0, :, 0] - parts[:, 1, :, 1]
        out.imag = parts[:, 0, :, 1] + parts[:, 1, :, 0]
        return
    n, c, h, w = out.shape
    result = np.empty((n, h, w, c), out.dtype)
    bias = None if bias is None else np.ascontiguousarray(bias).view(real.dtype)
    weight = _matrices(b, real.operation, real.dtype) if is_array(b) else b
    solve(_pairs(a), weight, bias, result.view(real.dtype).transpose(0, 3, 1, 2))
    out[...] = result.transpose(0, 3, 1, 2)


def _pairs(array):
    """A complex (n, c, h, w) map as a real one (n, 2c, h, w), channels-last."""
    n, c, h, w = array.shape
    last = np.empty((n, h, w, c), array.dtype)
    last[...] = array.transpose(0, 2, 3, 1)
    return last.view(last.real.dtype).transpose(0, 3, 1, 2)


def _matrices(weight, operation, real):
    """Every complex weight as the 2x2 matrix that multiplies by it, from (re, im) to (re, im)."""
    c_in, c_out, k_h, k_w = weight.shape
    result = np.empty((c_in, 2, c_out, 2, k_h, k_w), real)
    result[:, 0, :, 0] = result[:, 1, :, 1] = weight.real
    # The gradient in the input reads the matrix from its other side.
    off = (0, 1) if operation == "forward" else (1, 0)
    result[:, off[0], :, off[1]] = weight.imag
    result[:, off[1], :, off[0]] = -weight.imag
    return result.reshape(2 * c_in, 2 * c_out, k_h, k_w)


# Exchanged roles -----------------------------------------------------------------------------------------------------


def _exchanged(problem):
    g = problem.geometry
    if g.groups > 1 or not g.n or problem.prepared or problem.activation is not NO_ACTIVATION or problem.depth_taps > 1:
        return None
    # They need not be counted where they are few.
    if _pairs_of_segments(problem, at_most=True) <= MANY_PAIRS:
        return None
    pairs = _pairs_of_segments(problem)
    if pairs <= MANY_PAIRS:
        return None
    h, w = (Axis(axis.k, axis.n, axis.d, axis.s, axis.crop_lo, axis.crop_hi) for axis in (g.h, g.w))
    after = Problem(EXCHANGED[problem.operation], Geometry(g.c_out, g.c_in, g.n, 1, h, w), problem.dtype)
    if 4 * _pairs_of_segments(after) >= pairs:
        return None
    nbytes = 2 * g.elements() * problem.itemsize
    words = "input and weight with their roles exchanged, which has fewer segments"
    return Rewrite(words, problem, after, _by_exchanging, nbytes)


def _may_be_exchanged(problem):
    """Whether there is a step for some sizes of the maps of the layer of a problem: of few taps there are few pairs."""
    h, w = problem.geometry.axes
    return (2 * h.k + 1) * (2 * w.k + 1) > MANY_PAIRS


def _pairs_of_segments(problem, *, at_most=False):
    """Pairs of segments, or of taps: the number of tasks, but for bands and blocks; `at_most`, a bound, uncounted."""
    g = problem.geometry
    if problem.operation == "grad_weight":
        return g.h.k * g.w.k
    if problem.operation != "forward":
        # Two runs for each tap, and one more.
        down, across = (2 * axis.k + 1 if at_most else len(input_segments(axis)) for axis in g.axes)
        return down * across
    # Phases of a row that all have as many taps are likely to be computed together, and so are those that fill a vector
    # where columns and taps are consecutive.
    is_even = g.w.k % g.w.s == 0 and g.w.k // g.w.s <= g.w.n
    in_planes = problem.layout == "nchw" and problem.b_layout != WEIGHT_CHANNELS_LAST
    fills = g.w.s >= VECTOR_OF_PHASES and ceil_div(g.h.k * g.h.g, g.h.s) * ceil_div(g.w.k, g.w.s) <= LONGEST_SUM
    together = g.w.d == 1 and (is_even or (in_planes and fills))
    count = most_segments if at_most else live_segment_count
    return count(g.h) * (3 if together else count(g.w))


def _by_exchanging(solve, step, a, b, bias, out):
    after = step.after
    # (x, w) becomes (w, x), (grad_y, w) becomes (w, grad_y), but (x, grad_y) becomes (grad_y, x).
    a, b = (dense(array.swapaxes(0, 1), "nchw") for array in (b, a))
    result = np.empty(after.result_shape, out.dtype)
    solve(a, b, None, result)
    out[...] = result.swapaxes(0, 1)
    if bias is not None:
        out += bias[:, None, None]


def _size(shape):
    return int(np.prod(shape, dtype=object))


REWRITES = (_as_row, _in_wider, _copied, _activated, _as_real, _exchanged)
# Whether these have a step depends on the sizes of the maps as well; of some layers they have none for any sizes.
BY_SIZES = {_as_row: _may_be_a_row, _exchanged: _may_be_exchanged}
