"""A toy front-end: a class of arrays with memory and strides of its own, and a layer in Keras's terms on it."""

import math

import numpy as np

from upconv import conventions
from upconv.geometry import Geometry
from upconv.layouts import map_layout, weight_layout
from upconv.planning import choose
from upconv.problem import Problem


class Tensor:
    """Float32 values in a bytearray; strides count elements, and a first element may lie anywhere."""

    def __init__(self, memory, shape, strides, offset=0):
        self.memory, self.shape, self.strides, self.offset = memory, tuple(shape), tuple(strides), offset

    @classmethod
    def empty(cls, shape):
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        return cls(bytearray(4 * math.prod(shape)), shape, strides)

    @classmethod
    def of(cls, array):
        made = cls.empty(array.shape)
        made.view()[...] = array
        return made

    def permuted(self, *axes):
        return Tensor(self.memory, [self.shape[a] for a in axes], [self.strides[a] for a in axes], self.offset)

    def from_row(self, first):
        """Without the first rows; the memory is shared."""
        n, h, w, c = self.shape
        return Tensor(self.memory, (n, h - first, w, c), self.strides, self.offset + first * self.strides[1])

    def view(self):
        """The same memory as NumPy sees it: all that upconv ever asks of an array."""
        return np.ndarray(self.shape, np.float32, self.memory, 4 * self.offset, [4 * step for step in self.strides])


def transposed_convolution(x, w, stride, padding):
    """Keras's layer: x is (n, h, w, c), the weight (k_h, k_w, out, in), padding "same" or "valid"."""
    x, w = x.permuted(0, 3, 1, 2).view(), w.permuted(3, 2, 0, 1).view()
    setting = conventions.Keras(padding)
    h, v = (setting.axis(n, k, stride) for n, k in zip(x.shape[2:], w.shape[2:], strict=True))
    geometry = Geometry(x.shape[0], x.shape[1], w.shape[1], 1, h, v)
    layouts = map_layout(x.shape, x.strides, 4), weight_layout(w.shape, w.strides, 4)
    plan = choose(Problem("forward", geometry, "float32", "nhwc", *layouts))
    n, c, rows, cols = geometry.output_shape
    result = Tensor.empty((n, rows, cols, c))
    plan.run(x, w, None, result.permuted(0, 3, 1, 2).view())
    return result, plan
