"""How an array lies in memory, as the kernels see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operand:
    """Strides in bytes of a (n, c, h, w) array, and which of its axes are consecutive.

    `pixels`: the channels of a pixel lie one after another. `planes`: the pixels of a row do.
    """

    n: int
    c: int
    h: int
    w: int
    pixels: bool
    planes: bool

    @classmethod
    def of(cls, shape, strides, size):
        """Of an array with such a shape and strides; axes of length 1 have whatever stride suits."""
        n, c, h, w = strides
        c = size if shape[1] == 1 else c
        w = size if shape[3] == 1 else w
        return cls(n, c, h, w, pixels=c == size, planes=w == size)

    @classmethod
    def dense(cls, shape, size, pixels):
        """A fresh array of shape (n, c, h, w) in pixels (NHWC) or in planes (NCHW)."""
        _, c, h, w = shape
        if pixels:
            return cls(h * w * c * size, size, w * c * size, c * size, pixels=True, planes=c == 1)
        return cls(c * h * w * size, h * w * size, w * size, size, pixels=c == 1, planes=True)

    @property
    def strides(self):
        return self.n, self.c, self.h, self.w


def readable(array):
    """The array itself if kernels can read or write it where it lies, else None."""
    _, c, _, w = array.shape
    _, s_c, _, s_w = array.strides
    size = array.itemsize
    lies = s_c == size or s_w == size or c == 1 or w == 1
    return array if lies and array.flags.aligned else None


def as_readable(array):
    """The array, or a copy that kernels can read."""
    return array if readable(array) is not None else array.copy()
