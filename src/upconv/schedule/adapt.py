"""Problems of other dtypes as problems that the kernels have.

float16 and bfloat16 are summed in float32 and rounded once. A complex problem is a real one of twice the channels:
the channels of a complex pixel, consecutive in memory, are those of a real pixel, real and imaginary part in turn, and
every complex weight becomes a 2x2 matrix.

A kernel much larger than the map has more segments than there are inputs. But input and weight play the same part in
``o == i*s + t*d - crop_lo``: with their roles exchanged, stride and dilation too, the taps are the pixels of a large
map under a small kernel, which has few segments.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..geometry import Axis, Geometry
from ..phases import input_segments, live_segments

REAL = {"complex64": "float32", "complex128": "float64"}
WIDE = {"float16": "float32", "bfloat16": "float32"}


# Below so many jobs nothing is gained.
MANY_JOBS = 4096
EXCHANGED = {"forward": "forward", "grad_input": "grad_weight", "grad_weight": "grad_input"}


@lru_cache(maxsize=512)
def adapted(problem):
    """The problem that is solved in the end, or the problem itself."""
    inner = _step(problem)
    return problem if inner is problem else adapted(inner)


def _step(problem):
    if problem.dtype in WIDE:
        return replace(problem, dtype=WIDE[problem.dtype])
    if problem.dtype in REAL:
        g = problem.geometry
        return replace(problem, dtype=REAL[problem.dtype], geometry=replace(g, c_in=2 * g.c_in, c_out=2 * g.c_out))
    if problem.geometry.groups == 1 and problem.geometry.n and _jobs(problem) > MANY_JOBS:
        other = _exchanged(problem)
        return other if 4 * _jobs(other) < _jobs(problem) else problem
    return problem


def _jobs(problem):
    """Pairs of segments, or of taps: the number of jobs, but for bands and blocks."""
    g = problem.geometry
    if problem.operation == "grad_weight":
        return g.h.k * g.w.k
    if problem.operation != "forward":
        return len(input_segments(g.h)) * len(input_segments(g.w))
    # Phases of a row that all have as many taps are likely to be computed together.
    across = 3 if g.w.d == 1 and g.w.k % g.w.s == 0 else len(live_segments(g.w))
    return len(live_segments(g.h)) * across


def _exchanged(problem):
    g = problem.geometry
    h, w = (Axis(axis.k, axis.n, axis.d, axis.s, axis.crop_lo, axis.crop_hi) for axis in (g.h, g.w))
    other = Geometry(g.c_out, g.c_in, g.n, 1, h, w)
    return replace(problem, operation=EXCHANGED[problem.operation], geometry=other, layout="nchw")


def run(solve, problem, a, b, bias, out):
    """Solve a problem by ``solve(problem, a, b, bias, out)`` for the one that it is adapted to, one step at a time."""
    way = _widened if problem.dtype in WIDE else _as_real if problem.dtype in REAL else _as_exchanged
    way(solve, problem, a, b, bias, out)


def _as_exchanged(solve, problem, a, b, bias, out):
    a, b, result = (array.swapaxes(0, 1) for array in (a, b, np.empty_like(out)))
    # (x, w) becomes (w, x), (grad_y, w) becomes (w, grad_y), but (x, grad_y) becomes (grad_y, x).
    solve(_exchanged(problem), b, a, None, result)
    out[...] = result.swapaxes(0, 1)
    if bias is not None:
        out += bias[:, None, None]


def _widened(solve, problem, a, b, bias, out):
    wide = _step(problem)
    result = np.empty_like(out, dtype=wide.dtype)
    bias = None if bias is None else bias.astype(wide.dtype)
    solve(wide, a.astype(wide.dtype), b.astype(wide.dtype), bias, result)
    out[...] = result


def _as_real(solve, problem, a, b, bias, out):
    real = _step(problem)
    if problem.operation == "grad_weight":
        c_in, c_out, k_h, k_w = out.shape
        result = np.empty((2 * c_in, 2 * c_out, k_h, k_w), real.dtype)
        solve(real, _map(a), _map(b), None, result)
        parts = result.reshape(c_in, 2, c_out, 2, k_h, k_w)
        out.real = parts[:, 0, :, 0] - parts[:, 1, :, 1]
        out.imag = parts[:, 0, :, 1] + parts[:, 1, :, 0]
        return
    n, c, h, w = out.shape
    result = np.empty((n, h, w, c), out.dtype)
    bias = None if bias is None else np.ascontiguousarray(bias).view(real.dtype)
    solve(real, _map(a), _matrices(b, real), bias, result.view(real.dtype).transpose(0, 3, 1, 2))
    out[...] = result.transpose(0, 3, 1, 2)


def _map(array):
    """A complex (n, c, h, w) map as a real one (n, 2c, h, w), channels-last."""
    last = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    return last.view(last.real.dtype).transpose(0, 3, 1, 2)


def _matrices(weight, real):
    """Every complex weight as the 2x2 matrix that multiplies by it, from (re, im) to (re, im)."""
    c_in, c_out, k_h, k_w = weight.shape
    result = np.empty((c_in, 2, c_out, 2, k_h, k_w), real.dtype)
    result[:, 0, :, 0] = result[:, 1, :, 1] = weight.real
    # The gradient in the input reads the matrix from its other side.
    off = (0, 1) if real.operation == "forward" else (1, 0)
    result[:, off[0], :, off[1]] = weight.imag
    result[:, off[1], :, off[0]] = -weight.imag
    return result.reshape(2 * c_in, 2 * c_out, k_h, k_w)
