"""float16 and bfloat16 to float32 and back, by kernels and at the pace of memory, whatever strides the arrays have.

Only what has consecutive numbers on both sides along some axis is converted at once; anything else is copied first, as
halves. Where no kernels can be made, for arrays too small to be worth a program, and for other dtypes, NumPy does it.
"""

from functools import lru_cache

import numpy as np

from .dtypes import quiet
from .kernels.convert import FIELDS, HALF_KINDS, convert
from .machine import row
from .runtime import pool, program
from .runtime.kernel import CodeRefused, entry, isa, usable
from .runtime.program import Grid, Nest, Program, Stage, X, Y
from .schedule.moves import HALF, ONE, WIDE, lines

# Bytes of a half and of the float32 that it becomes.
BOTH = HALF + WIDE
# What a program costs is made up for by so many numbers; bytes of a unit that one thread takes.
FEW, UNIT_BYTES = 1 << 12, 192 << 10
# Loops of a program, one inside the other.
MOST_LINES = 4


def widen(halves: np.ndarray, wide: np.ndarray, storage: str = "") -> None:
    """Fill an array of float32 with the values of halves.

    Args:
        halves: of dtype float16 or bfloat16; or their bits as uint16, and `storage` says which.
        wide: float32, of the same shape.

    >>> wide = np.empty(2, np.float32)
    >>> widen(np.array([0x3F80, 0xC000], np.uint16), wide, "bfloat16")
    >>> wide.tolist()
    [1.0, -2.0]
    """
    _convert(halves, wide, storage or halves.dtype.name, narrows=False)


def narrow(wide: np.ndarray, halves: np.ndarray, storage: str = "") -> None:
    """Fill an array of halves with the nearest to those of float32, ties to even; else as `widen`."""
    _convert(wide, halves, storage or halves.dtype.name, narrows=True)


def _convert(src, dst, storage, narrows):
    has_kernels = storage in HALF_KINDS and src.flags.aligned and dst.flags.aligned and not usable()
    if src.size >= FEW and has_kernels:
        try:
            _by_kernels(src, dst, storage, narrows)
            return
        except CodeRefused:
            # The system has ceased to let code be made.
            pass
    if src.size:
        with quiet():
            (_narrow_by_numpy if narrows else _widen_by_numpy)(src, dst, storage)


def _by_kernels(src, dst, storage, narrows):
    found = lines(src.shape, src.strides, dst.strides, (src.itemsize, dst.itemsize))
    if found is not None and len(found) <= MOST_LINES:
        made = _program(found, HALF_KINDS[storage], narrows, pool.get_num_threads())
        program.run(made, src, dst, None, None)
    elif src.ndim > MOST_LINES:
        # More loops than a program has: one index of the outermost axis after another.
        outer = max(range(src.ndim), key=lambda axis: (src.shape[axis] > 1, abs(dst.strides[axis])))
        for one, other in zip(np.moveaxis(src, outer, 0), np.moveaxis(dst, outer, 0), strict=True):
            _convert(one, other, storage, narrows)
    else:
        _by_a_copy(src, dst, storage, narrows)


def _by_a_copy(src, dst, storage, narrows):
    """The side that has the halves goes through memory that lies as the other side does."""
    wide, halves = (src, dst) if narrows else (dst, src)
    order = sorted(range(wide.ndim), key=lambda axis: -abs(wide.strides[axis]) if wide.shape[axis] > 1 else -np.inf)
    between = np.empty([wide.shape[axis] for axis in order], halves.dtype).transpose(np.argsort(order))
    if wide.strides[order[-1]] != wide.itemsize:
        # Neither side has consecutive numbers.
        whole = np.empty(between.shape, wide.dtype)
        if not narrows:
            _convert(np.ascontiguousarray(halves), whole, storage, narrows)
            dst[...] = whole
            return
        whole[...] = wide
        wide, between = whole, np.empty(whole.shape, halves.dtype)
    if narrows:
        _convert(wide, between, storage, narrows)
        dst[...] = between
    else:
        between[...] = halves
        _convert(between, wide, storage, narrows)


@lru_cache(maxsize=256)
def _program(loops, storage, narrows, threads):
    """The program that converts some lines; `threads` is what a kept one is for."""
    lead, axes = (loops[:-3] or (ONE,))[0], [*[ONE] * (3 - len(loops)), *loops[-3:]]
    axes[2] = loops[-1]
    place = next((place for place, axis in enumerate(axes) if axis[0] > 1), 2)
    size, src_step, dst_step = axes[place]
    inside = np.prod([axis[0] for axis in axes[place + 1 :]], dtype=object)
    some = max(1, min(size, UNIT_BYTES // (inside * BOTH)))
    kernel, grids, whole = entry(convert, storage, narrows), [], size // some
    for first, count, many in ((0, some, whole), (whole * some, size % some, 1)):
        if count:
            sizes = [axis[0] for axis in axes]
            sizes[place] = count
            fields = dict(zip(("n", "m", "count"), sizes, strict=True))
            fields |= {"src_n": axes[0][1], "dst_n": axes[0][2], "src_m": axes[1][1], "dst_m": axes[1][2]}
            fields |= {"entry": kernel, "src": (X, first * src_step), "dst": (Y, first * dst_step)}
            steps = {X: (0, lead[1], count * src_step), Y: (0, lead[2], count * dst_step)}
            grids.append(Grid((Nest(FIELDS, fields),), (1, lead[0], many), steps))
    nbytes = BOTH * inside * size * lead[0]
    return Program([Stage(grids)], {}, nbytes / row(isa().name).rates["converted"])


def _widen_by_numpy(halves, wide, storage):
    if halves.dtype != np.uint16:
        wide[...] = halves
    elif storage == "float16":
        wide[...] = halves.view(np.float16)
    else:
        wide[...] = (halves.astype(np.uint32) << 16).view(np.float32)


def _narrow_by_numpy(wide, halves, storage):
    if halves.dtype != np.uint16:
        halves[...] = wide
    elif storage == "float16":
        halves[...] = wide.astype(np.float16).view(np.uint16)
    else:
        bits = np.ascontiguousarray(wide).view(np.uint32)
        rounded = bits + (np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
        halves[...] = np.where(np.isnan(wide), bits >> 16 | 0x40, rounded)
