"""Every phase as matrix products: the readable version, for where no kernels can be generated.

A segment is a run of places that read the same taps (see `phases`), so it is one dense matrix product

    dst[place, channel]  =  sum over (tap, c) of  src[neighbour of place through tap, c] * weight[tap, c, channel]

whose left matrix is a strided view of the source. The forward pass walks the segments of the output, the gradient in
the input those of the input: the same routine. Work goes band by band; the copied view never exceeds `BAND_BYTES`.

The layout decides which side the pixels are on. NHWC multiplies (pixels, taps*c) by (taps*c, channels) and NCHW
multiplies (channels, taps*c) by (taps*c, pixels): both then read and write memory in runs.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..layouts import in_order
from ..phases import has_holes, input_segments, live_segments
from ..problem import Details
from ..runtime.kernel import usable
from ..schedule.segments import tally

BAND_BYTES = 4 << 20
# Rounding errors grow with the length of a sum; longer ones are cut into parts that are added up separately. The
# library below adds in an order of its own, so its parts are kept shorter than a kernel of ours would need.
LONGEST_SUM = 128
# An unremarkable core: the constants only have to put NumPy's products in the right order beside other algorithms.
MACS_PER_SECOND, BYTES_PER_SECOND, SECONDS_PER_PRODUCT = 3e10, 4e9, 2e-5


def why_not(problem):
    return []


def why_not_automatic(problem):
    """Its bits are NumPy's, which are not ours to promise, so kernels come first whatever they cost."""
    return [] if usable() else ["runs only when it is asked for by name, where kernels can be made"]


def rounds_by_place(problem):
    """The library below adds up in an order that depends on the sizes of its matrices; whole numbers do not round."""
    return problem.row.kind != "i"


def fuses(problem):
    return False


def cost(problem):
    g = problem.geometry
    result = g.input_shape if problem.operation == "grad_input" else g.output_shape
    # The weight is read against its grain on the way to or from its tap-major order.
    values = problem.macs / max(1, g.c_out // g.groups) + math.prod(result) + 4 * math.prod(g.weight_shape)
    copied = values * problem.itemsize
    # The weight is packed tap by tap, and every segment copies its part of it again.
    copied += 3 * problem.bytes
    speed = MACS_PER_SECOND / (20 if problem.row.kind == "i" else 1)
    return problem.macs / speed + copied / BYTES_PER_SECOND + _products(problem) * SECONDS_PER_PRODUCT


def workspace_bytes(problem):
    """The copied band, its product and the part being added to it, and the packed weight with the taps in use."""
    g = problem.geometry
    weight = g.c_in * (g.c_out // g.groups) * g.h.k * g.w.k
    return 4 * BAND_BYTES + 2 * weight * np.dtype(problem.row.compute).itemsize


def details(problem):
    """Segments hold no padding, so exactly the useful multiply-adds are executed; by NumPy, on threads of its own."""
    g = problem.geometry
    packed = math.prod(g.weight_shape) * np.dtype(problem.row.compute).itemsize
    packed = 0 if problem.operation == "grad_weight" else packed
    return Details(problem.macs, ("numpy.matmul",), "NumPy's", threads=0, packed_bytes=packed)


def run(problem, a, b, bias, out):
    a, b = in_order(problem, a, b)
    g, compute = problem.geometry, problem.row.compute
    if problem.operation == "grad_weight":
        _correlate(g, split(a, 1, g.groups), split(b, 1, g.groups), compute, split(out, 0, g.groups))
        return
    weight = b.reshape(g.groups, g.c_in // g.groups, g.c_out // g.groups, g.h.k, g.w.k)
    if problem.operation == "forward":
        walks = [live_segments(axis) for axis in (g.h, g.w)]
        if has_holes(g.h) or has_holes(g.w):
            out[...] = 0 if bias is None else bias[:, None, None]
    else:
        weight = weight.swapaxes(1, 2)
        walks = [input_segments(axis) for axis in (g.h, g.w)]
    # Tap-major, (groups, k_h, k_w, from, to), so that the taps of a segment are copied in long runs.
    weight = np.ascontiguousarray(weight.transpose(0, 3, 4, 1, 2), dtype=compute)
    bias = np.zeros(out.shape[1], compute) if bias is None else bias.astype(compute)
    pixels_first = problem.layout == "nhwc"
    gather = Gather(split(a, 1, g.groups), weight, bias.reshape(g.groups, -1), split(out, 1, g.groups), pixels_first)
    for rows in walks[0]:
        for cols in walks[1]:
            gather.segment(rows, cols)


@dataclass(frozen=True, slots=True)
class Gather:
    """Fills segments of `dst` from `src`, both (n, groups, c, h, w) views, with tap-major weights."""

    src: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    dst: np.ndarray
    pixels_first: bool

    def segment(self, rows, cols):
        """Compute the places of two segments, one on each axis, band by band."""
        dst = self.dst[..., rows.places, cols.places]
        if not rows.taps or not cols.taps:
            # The gradient of inputs that reach no output.
            dst[...] = self.bias[None, :, :, None, None].astype(dst.dtype)
            return
        window = self._window(rows, cols)
        weight = self._matrix(rows.taps, cols.taps)
        groups, c, t_h, t_w = (window.shape[axis] for axis in (1, 2, 5, 6))
        per_pixel = groups * max(c * t_h * t_w, dst.shape[2]) * self.weight.itemsize
        for band in bands(dst.shape[0], dst.shape[3], dst.shape[4], max(1, BAND_BYTES // per_pixel)):
            n, r, q = band
            dst[n, :, :, r, q] = self._product(window[n, :, :, r, q], weight).astype(dst.dtype, copy=False)

    def _window(self, rows, cols):
        """The source as seen from the segment: a view with the axes (n, groups, c, rows, cols, t_h, t_w)."""
        first = self.src[..., rows.source :, cols.source :]
        n, groups, c, step_h, step_w = first.strides
        taps = step_h * rows.tap_step, step_w * cols.tap_step
        return as_strided(
            first,
            (*first.shape[:3], rows.count, cols.count, len(rows.taps), len(cols.taps)),
            (n, groups, c, step_h * rows.source_step, step_w * cols.source_step, *taps),
            writeable=False,
        )

    def _matrix(self, taps_h, taps_w):
        """The weight of the given taps as one matrix (taps*c, channels) for each group."""
        live = self.weight[:, as_slice(taps_h), as_slice(taps_w)]
        return live.reshape(live.shape[0], -1, live.shape[-1])

    def _product(self, window, weight):
        """The band's results as (n, groups, channels, rows, cols), with the bias."""
        n, groups, _, rows, cols = window.shape[:5]
        order = (1, 0, 3, 4, 5, 6, 2) if self.pixels_first else (1, 5, 6, 2, 0, 3, 4)
        copied = np.ascontiguousarray(window.transpose(order), dtype=weight.dtype)
        if self.pixels_first:
            product = cut_matmul(copied.reshape(groups, n * rows * cols, -1), weight)
            product += self.bias[:, None, :]
            return product.reshape(groups, n, rows, cols, -1).transpose(1, 0, 4, 2, 3)
        product = cut_matmul(weight.swapaxes(1, 2), copied.reshape(groups, -1, n * rows * cols))
        product += self.bias[:, :, None]
        return product.reshape(groups, -1, n, rows, cols).transpose(2, 0, 1, 3, 4)


def _correlate(g, x, grad_y, compute, grad_w):
    """grad_w[tap] = sum over pixels of x[pixel] * grad_y[where the tap takes it], in short sums."""
    for t_h in range(g.h.k):
        for t_w in range(g.w.k):
            (i_h, o_h), (i_w, o_w) = _meeting(g.h, t_h), _meeting(g.w, t_w)
            grad_w[..., t_h, t_w] = _pixel_sum(x[..., i_h, i_w], grad_y[..., o_h, o_w], compute).astype(grad_w.dtype)


def _pixel_sum(x, y, compute):
    total = np.zeros((x.shape[1], x.shape[2], y.shape[2]), compute)
    for n, rows, cols in bands(x.shape[0], x.shape[3], x.shape[4], LONGEST_SUM):
        left = np.ascontiguousarray(x[n, :, :, rows, cols].transpose(1, 2, 0, 3, 4), dtype=compute)
        right = np.ascontiguousarray(y[n, :, :, rows, cols].transpose(1, 0, 3, 4, 2), dtype=compute)
        total += left.reshape(*left.shape[:2], -1) @ right.reshape(right.shape[0], -1, right.shape[-1])
    return total


def _meeting(axis, t):
    """The inputs that tap t carries into the output, and those outputs, as two slices of equal length."""
    start, stop = axis.tap_range(t)
    if start >= stop:
        return slice(0), slice(0)
    first = start * axis.s + t * axis.d - axis.crop_lo
    return slice(start, stop), slice(first, first + (stop - start - 1) * axis.s + 1, axis.s)


def split(array, axis, groups):
    """A view with one axis split into (groups, rest), whatever the strides."""
    size, stride = array.shape[axis] // groups, array.strides[axis]
    shape = (*array.shape[:axis], groups, size, *array.shape[axis + 1 :])
    return as_strided(array, shape, (*array.strides[:axis], stride * size, stride, *array.strides[axis + 1 :]))


def _products(problem):
    g = problem.geometry
    if problem.operation == "grad_weight":
        return g.h.k * g.w.k * (1 + g.n * g.h.n * g.w.n // LONGEST_SUM)
    rows, cols = (sum(number for _, _, number in tally(axis, problem.operation == "forward")) for axis in (g.h, g.w))
    return rows * cols


def cut_matmul(a, b):
    """``a @ b`` with every sum cut into parts of at most LONGEST_SUM products."""
    total = a[..., :LONGEST_SUM] @ b[..., :LONGEST_SUM, :]
    for start in range(LONGEST_SUM, a.shape[-1], LONGEST_SUM):
        total += a[..., start : start + LONGEST_SUM] @ b[..., start : start + LONGEST_SUM, :]
    return total


def bands(n, rows, cols, pixels):
    """Cut n*rows*cols pixels into blocks of at most `pixels`: whole images if they fit, else rows, else parts of rows.

    >>> [(b[0], b[1]) for b in bands(2, 3, 4, pixels=8)][:2]
    [(slice(0, 1, None), slice(0, 2, None)), (slice(0, 1, None), slice(2, 4, None))]
    """
    if not n * rows * cols:
        return
    some_cols = min(cols, pixels)
    some_rows = min(rows, max(1, pixels // cols))
    some_n = min(n, max(1, pixels // (rows * cols)))
    for i in range(0, n, some_n):
        for j in range(0, rows, some_rows):
            for q in range(0, cols, some_cols):
                yield slice(i, i + some_n), slice(j, j + some_rows), slice(q, q + some_cols)


def as_slice(taps):
    """A non-empty ascending range as a slice."""
    return slice(taps.start, taps[-1] + 1, taps.step)
