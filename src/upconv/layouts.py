"""How arrays lie in memory, as plans and kernels see it: names of layouts, and strides.

A map is (n, c, h, w), a weight (c_in, c_out / groups, k_h, k_w), whatever their strides. What a kernel must know when
it is chosen is which axis is consecutive; every other stride is a value of the call, so slices and crops are read where
they lie. What has no name here is copied first, and a plan says so.
"""

from functools import lru_cache
from typing import NamedTuple

# Maps. nchw: the pixels of a row are consecutive. nhwc: the channels of a pixel are, and the pixels of a row follow one
# another. nhwc-sliced: the same with gaps between pixels, as in a slice of the channels.
CHANNELS_FIRST, CHANNELS_LAST, CHANNELS_SLICED = "nchw", "nhwc", "nhwc-sliced"
# Weights. taps last: as torch has them, all taps of a pair of channels consecutive, then the pairs of an input channel.
# taps sliced: the same with gaps between pairs, as in a depth tap of a volume's weight. channels last: the output
# channels of a tap consecutive.
TAPS_LAST, TAPS_SLICED, WEIGHT_CHANNELS_LAST = "taps last", "taps sliced", "channels last"
# Maps and weights that lie in none of these ways.
STRIDED = "strided"
# What may be read as if it had gaps, by the name with gaps; the gradient in the weight is named as maps are.
WITHOUT_GAPS = {CHANNELS_SLICED: (CHANNELS_LAST,), TAPS_SLICED: (TAPS_LAST, CHANNELS_FIRST)}
# What a result may be asked to be.
RESULTS = (CHANNELS_FIRST, CHANNELS_LAST)


class Fold(NamedTuple):
    """Where the rows of a map lie that is made of planes of a volume, for a kernel as deep and tall as its strides.

    The kernel, `planes` deep and `rows` tall, counts as one of a single plane with ``planes * rows`` rows of taps. A
    pixel meets as many rows of the map. In memory `rows` of them follow one another in each of `planes` planes, and
    the planes are `step` bytes apart.
    """

    planes: int
    rows: int
    step: int


def unfolded(array, planes, rows):
    """A copy of a map whose rows lie so, with its rows in order.

    >>> import numpy as np
    >>> unfolded(np.arange(8).reshape(1, 1, 8, 1), planes=2, rows=2).ravel().tolist()
    [0, 1, 4, 5, 2, 3, 6, 7]
    """
    n, c, h, w = array.shape
    return array.reshape(n, c, planes, -1, rows, w).swapaxes(2, 3).reshape(n, c, h, w)


def in_order(problem, a, b):
    """The operands of a problem with all rows in order."""
    if problem.depth_taps == 1:
        return a, b
    fold = problem.depth_taps, problem.geometry.h.k // problem.depth_taps
    return (unfolded(a, *fold), b) if problem.operation == "grad_input" else (a, unfolded(b, *fold))


class Operand(NamedTuple):
    """Strides in bytes of a (n, c, h, w) array, and which of its axes are consecutive.

    `channels_last`: the channels of a pixel lie one after another. `channels_first`: the pixels of a row do. `fold`:
    how its rows lie if they are not evenly spaced; then `h` is the mean, by which the first rows of places are found.
    """

    n: int
    c: int
    h: int
    w: int
    channels_last: bool
    channels_first: bool
    fold: Fold | None = None

    @classmethod
    def of(cls, shape, strides, size):
        """Of an array with such a shape and strides; axes of length 1 have whatever stride suits."""
        n, c, h, w = strides
        c = size if shape[1] == 1 else c
        w = size if shape[3] == 1 else w
        return cls(n, c, h, w, channels_last=c == size, channels_first=w == size)

    @classmethod
    def dense(cls, shape, size, channels_last):
        """A fresh array of shape (n, c, h, w)."""
        _, c, h, w = shape
        if channels_last:
            return cls.of(shape, (h * w * c * size, size, w * c * size, c * size), size)
        return cls.of(shape, (c * h * w * size, h * w * size, w * size, size), size)

    def folded(self, planes, rows, height):
        """The same of a map of so many rows that lie in planes."""
        return self._replace(h=self.h // planes, fold=Fold(planes, rows, height // planes * self.h))

    @property
    def row(self):
        """Bytes from a row to the one behind it in memory."""
        return self.h * self.fold.planes if self.fold else self.h

    @property
    def strides(self):
        return self.n, self.c, self.h, self.w


def map_layout(shape, strides, size):
    """The name of a map's layout.

    Where both names are right (one channel, one column) it is the one whose kernels can read it either way. A column is
    named as the row that it can be computed as: it has gaps where that has.

    >>> map_layout((1, 3, 5, 5), (300, 100, 20, 4), 4), map_layout((1, 3, 5, 5), (300, 4, 60, 12), 4)
    ('nchw', 'nhwc')
    """
    _, c, h, w = shape
    _, c_step, h_step, w_step = strides
    # Pixels, and bytes from one to the next.
    count, step = (w, w_step) if w > 1 else (h, h_step)
    if c > 1 and c_step == size:
        return CHANNELS_LAST if count == 1 or step == c * size else CHANNELS_SLICED
    if count == 1 or step == size:
        return CHANNELS_FIRST
    return CHANNELS_SLICED if c == 1 else STRIDED


def dense_layout(shape, wanted):
    """The name of a fresh map that is made "nchw" or "nhwc": what `map_layout` says of its strides."""
    _, c, h, w = shape
    return CHANNELS_LAST if c > 1 and (wanted == CHANNELS_LAST or h == w == 1) else CHANNELS_FIRST


# A new size of a map changes no weight.
@lru_cache(maxsize=256)
def weight_layout(shape, strides, size):
    """The name of a weight's layout; the stride of its first axis is free, and between pairs with gaps the second's.

    >>> weight_layout((8, 4, 3, 3), (144, 36, 12, 4), 4), weight_layout((8, 4, 3, 3), (144, 4, 48, 16), 4)
    ('taps last', 'channels last')
    >>> weight_layout((8, 4, 3, 3), (288, 72, 12, 4), 4)
    'taps sliced'
    """
    _, c, k_h, k_w = shape
    if _are_dense((k_h, k_w, c), (strides[2], strides[3], strides[1]), size):
        return WEIGHT_CHANNELS_LAST if c > 1 else TAPS_LAST
    if _are_dense((c, k_h, k_w), strides[1:], size):
        return TAPS_LAST
    # Of a single tap nothing is consecutive then.
    return TAPS_SLICED if k_h * k_w > 1 and _are_dense((k_h, k_w), strides[2:], size) else STRIDED


def dense_weight_layout(shape):
    """The name of a weight as torch makes it: what `weight_layout` says of its strides."""
    _, c, k_h, k_w = shape
    return WEIGHT_CHANNELS_LAST if c > 1 and k_h == k_w == 1 else TAPS_LAST


def weight_strides(shape, layout, size):
    """The strides in bytes of a dense weight of a layout; one with gaps is taken to have as much again beside."""
    _, c, k_h, k_w = shape
    block = c * k_h * k_w * size
    if layout == TAPS_SLICED:
        return 2 * block, 2 * k_h * k_w * size, k_w * size, size
    if layout == WEIGHT_CHANNELS_LAST:
        return block, size, k_w * c * size, c * size
    return block, k_h * k_w * size, k_w * size, size


def map_strides(shape, layout, size):
    """The strides in bytes of a dense map of a layout; one with gaps is taken to have as many channels again beside."""
    if layout == CHANNELS_SLICED:
        n, c, h, w = shape
        return Operand.dense((n, 2 * c, h, w), size, True).strides
    return Operand.dense(shape, size, layout == CHANNELS_LAST).strides


def _are_dense(shape, strides, size):
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != size:
            return False
        size *= length
    return True


def is_contiguous(shape, strides, size):
    """Whether an array is dense in the order of its axes."""
    return _are_dense(shape, strides, size)


def suits(layout, wanted):
    """Whether what lies in one layout can be read as another: anything is strided, and gaps may be of no width."""
    return layout == wanted or wanted == STRIDED or (wanted in WITHOUT_GAPS and layout in WITHOUT_GAPS[wanted])
