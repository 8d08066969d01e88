"""Every phase as generated products over segments: the fast algorithm.

A segment (see `phases`) is a run of outputs that read the same taps, so it is one product of pixels by channels, and
its left matrix is read in place: a pixel and a tap make one offset. Tiles run on over the ends of rows and images, taps
that would read padding do not exist, and no column buffer is ever written.

`gemm` puts the channels of the result along the vector and wants the channels of a pixel consecutive. `planes` puts the
columns of a row along the vector and serves results of few channels; `strips` and `depthwise` do either for depthwise
layers; `columns` reads a weight that is large beside the map once, where it lies. What lies the other way is turned
band by band, in scratch that stays in the second-level cache.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..machine import row
from ..problem import Details
from ..runtime import jobs, pool
from ..runtime.kernel import isa, usable
from ..schedule import adapt, estimate
from ..schedule.account import account
from ..schedule.columns import Columns, suits
from ..schedule.correlation import TILES, Correlation
from ..schedule.gather import Scheduler
from ..schedule.modes import MODES, Pixels
from ..schedule.operand import Operand, as_readable, readable
from ..schedule.planes import MOST_PHASES

# Results of fewer channels than this leave most lanes of `gemm` empty.
FEW_CHANNELS = 12
# Planes stay as they are where vectors are filled at least so far, and sums are at most so many times the lanes long;
# three times as long where vectors are well filled.
FILLED, WELL_FILLED = 0.7, 0.9
LIGHT = 6


def why_not(problem):
    return usable()


def cost(problem):
    """The work counted, over the rates of this machine's row, on one thread."""
    return machine().seconds(work(problem), adapt.adapted(problem).dtype)


def machine():
    """The row of this instruction set."""
    return row(isa().name)


def work(problem):
    """How much of everything a problem takes on dense operands, as `schedule.estimate` counts it."""
    inner = adapt.adapted(problem)
    g, operation = inner.geometry, inner.operation
    if operation == "grad_weight":
        counted = estimate.correlation(inner, *TILES[isa().registers])
    else:
        shapes = inner.operand_shape, inner.result_shape
        x, y = (Operand.dense(shape, inner.itemsize, inner.layout == "nhwc") for shape in shapes)
        mode, merged = roles(operation, g, inner.dtype, x, y)
        counted = estimate.columns(inner) if mode == "columns" else estimate.gather(inner, MODES[mode], merged)
    return {**counted, "copied": estimate.copies(problem, inner)}


def details(problem):
    """What the program for dense operands executes; makes it, and its kernels."""
    inner = adapt.adapted(problem)
    program, packed = _program(inner)
    macs, kernels = account(program, inner.itemsize)
    # A complex product is four real ones.
    macs //= 4 if problem.dtype.startswith("complex") else 1
    return Details(macs, kernels, isa().name, pool.get_num_threads(), packed)


def workspace_bytes(problem):
    """The program's own scratch, the table of its jobs, and the operands again where their dtype is adapted."""
    inner = adapt.adapted(problem)
    g, size = inner.geometry, inner.itemsize
    program, _ = _program(inner, 1)
    copies = 0 if inner == problem else 3 * g.elements() * size
    return program.scratch_bytes() + program.nbytes + copies + 8 * (g.c_in + g.c_out) + 8192


def _program(problem, threads=None):
    """(the program for dense operands in the problem's layout, bytes of its packed weight)."""
    g, size, pixels = problem.geometry, problem.itemsize, problem.layout == "nhwc"
    shapes = problem.operand_shape, problem.result_shape
    if problem.operation == "grad_weight":
        shapes = g.input_shape, g.output_shape
    strides = [Operand.dense(shape, size, pixels).strides for shape in shapes]
    if problem.operation == "grad_weight":
        return weight_program(problem, *strides), 0
    weight = Operand.dense(g.weight_shape, size, False).strides
    made = gather_program(problem, *strides, weight, threads or pool.get_num_threads())
    return made.program, made.program.sizes.get(jobs.PANELS, 0)


def run(problem, a, b, bias, out):
    # Equal, not identical: the cache gives back whichever problem came first.
    if adapt.adapted(problem) != problem:
        adapt.run(run, problem, a, b, bias, out)
        return
    y = out if readable(out) is not None else np.empty(out.shape, out.dtype)
    if problem.operation == "grad_weight":
        _correlate(problem, as_readable(a), as_readable(b), y)
    else:
        _gather(problem, as_readable(a), b if b.flags.aligned else b.copy(), bias, y)
    if y is not out:
        out[...] = y


def _gather(problem, x, w, bias, y):
    """Forward, or the gradient in the input."""
    made = gather_program(problem, x.strides, y.strides, w.strides, pool.get_num_threads())
    if made.program is None:
        # Not ascontiguousarray, which keeps odd strides on axes of length 1.
        w = w.copy()
        made = gather_program(problem, x.strides, y.strides, w.strides, pool.get_num_threads())
    padded = made.no_bias
    if bias is not None:
        padded = np.zeros(len(made.no_bias), y.dtype)
        padded[: y.shape[1] * made.merged] = bias if made.merged == 1 else np.tile(bias, made.merged)
    jobs.run(made.program, x, y, w, padded)


def _correlate(problem, x, grad_y, grad_w):
    target = grad_w if grad_w.flags.c_contiguous else np.empty(grad_w.shape, grad_w.dtype)
    jobs.run(weight_program(problem, x.strides, grad_y.strides), x, grad_y, target, None)
    if target is not grad_w:
        grad_w[...] = target


@dataclass(frozen=True, slots=True)
class Made:
    """A program, how many phases of a row it merges, and the bias it reads where there is none.

    Whole vectors of a bias are read, so it is longer than the channels. Without a program, the weight is to be copied.
    """

    program: jobs.Program | None
    merged: int
    no_bias: np.ndarray


@lru_cache(maxsize=256)
def gather_program(problem, x, y, w, threads):
    """The Made program for operands with the strides x, y and w."""
    g, size = problem.geometry, problem.itemsize
    x = Operand.of(problem.operand_shape, x, size)
    y = Operand.of(problem.result_shape, y, size)
    mode, merged = roles(problem.operation, g, problem.dtype, x, y)
    seconds = cost(problem) - 1 / machine().calls
    share = 1 if threads == 1 or seconds < jobs.BRIEF else jobs.PARTS_PER_THREAD * threads
    scheduler = Scheduler(problem.operation, g, problem.dtype, x, y, w, MODES[mode], merged)
    program = Columns(scheduler).program(seconds, threads) if mode == "columns" else scheduler.program(seconds, share)
    no_bias = np.zeros(problem.result_shape[1] * merged + 4 * isa().lanes(size), problem.dtype)
    return Made(program, merged, no_bias)


@lru_cache(maxsize=256)
def weight_program(problem, x, grad_y):
    """The program of the gradient in the weight for operands with the strides x and grad_y."""
    g, size = problem.geometry, problem.itemsize
    lie = Operand.of(g.input_shape, x, size), Operand.of(g.output_shape, grad_y, size)
    return Correlation(g, problem.dtype, *lie).program(cost(problem))


def roles(operation, g, dtype, x, y):
    """(mode, merged): the roles of pixels, channels and weight for operands that lie as x and y (Operands) say.

    The modes are those of `schedule.modes.MODES`; "columns" is for weights that are large beside the map.
    """
    if operation == "forward" and suits(g, dtype, x):
        return "columns", 1
    merged = merge(operation, g, dtype, y)
    lanes = isa().lanes(np.dtype(dtype).itemsize)
    mode = _mode(operation, g, merged, x.planes and y.planes, lanes)
    return mode, merged if mode == "pixels" else 1


def merge(operation, g, dtype, y):
    """How many phases of a row are computed together: s where that fills the vectors better, else 1.

    The phases of a row that all have k/s taps read the same inputs, so they are one product with s times the channels.
    """
    s = g.w.s
    dense = not y.pixels or y.w == g.c_out * np.dtype(dtype).itemsize
    if operation != "forward" or s == 1 or g.w.d != 1 or g.w.k % s or g.groups != 1 or not dense:
        return 1
    lanes = isa().lanes(np.dtype(dtype).itemsize)
    vectors = sum(wide for _, wide in Pixels.merged_blocks(g.c_out, s, lanes))
    before = -(-g.c_out // lanes) * s
    # Tiles one vector wide are the least efficient.
    better = 0 < vectors < before or (vectors == before and g.c_out <= lanes)
    return s if better and _mode(operation, g, s, False, lanes) == "pixels" else 1


def _mode(operation, g, merged, planes, lanes):
    """Which kernel: the roles of pixels and channels; `planes` where both maps lie in planes."""
    # Kernels on planes read consecutive pixels, and the gradient takes every s-th.
    consecutive = operation == "forward" or g.w.s == 1
    if g.groups > 1 and g.c_in == g.c_out == g.groups:
        return "strips" if planes and consecutive and g.w.s <= MOST_PHASES else "channels"
    per_group = (g.c_out if operation == "forward" else g.c_in) // g.groups
    few = per_group < FEW_CHANNELS and per_group * merged < 2 * FEW_CHANNELS
    if consecutive and (few or (planes and _is_light(operation, g, per_group, lanes))):
        return "planes"
    return "pixels"


def _is_light(operation, g, channels, lanes):
    """Whether turning maps of so many channels to pixels and back would cost more than better tiles save."""
    source = (g.c_in if operation == "forward" else g.c_out) // g.groups
    filled = g.w.n / (lanes * -(-g.w.n // lanes))
    # Phases without taps would leave their part of a tile idle.
    if g.w.s > min(MOST_PHASES, g.w.k) or filled < FILLED:
        return False
    products = source * g.h.k * g.w.k / (g.h.s * g.w.s)
    few = channels <= 4 * lanes and products <= 3 * LIGHT * lanes and g.w.s > 1 and filled >= WELL_FILLED
    return few or channels <= lanes or (channels <= 8 * lanes and products <= LIGHT * lanes)
