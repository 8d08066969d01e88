"""Arrays of a kernel's random tasks: views of flat memory on any strides, and what may stand in it."""

from dataclasses import dataclass

import numpy as np

DTYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64}
# Types of the products, and halves in which a weight may be kept.
KINDS = (*((elem, "") for elem in DTYPES), ("f32", "f16"), ("f32", "bf16"))
NOT_FINITE = (np.nan, np.inf, -np.inf)
UNTOUCHED = 77
# What kernels apply in registers, and the slope of the tests; a slope that is exact in every type.
ACTIVATIONS, SLOPE = ("none", "relu", "leaky_relu"), 0.25


@dataclass
class Strided:
    """A view of a flat array of `size` elements, which it just covers; strides are counted in elements."""

    shape: tuple
    strides: tuple

    def __post_init__(self):
        steps = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        self.first = -sum(min(step, 0) for step in steps)
        self.size = self.first + sum(max(step, 0) for step in steps) + 1

    def view(self, flat):
        bytes_apart = [stride * flat.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat[self.first :], self.shape, bytes_apart)


def apart(draw, shape, order, step=1):
    """Strides of a shape whose axes lie in `order`, the last of them `step` apart, with gaps at random.

    All axes but the last of the shape may be turned round.
    """
    strides = [0] * len(shape)
    for axis in reversed(order):
        strides[axis] = step * (1 if axis == len(shape) - 1 else draw.choice((1, 1, -1)))
        step = step * shape[axis] + draw.choice((0, 0, 1, 5))
    return Strided(tuple(shape), tuple(strides))


def whole_numbers(rng, size, dtype, odd):
    """Small whole numbers, of which all sums are exact; where `odd`, some that are not finite."""
    array = rng.integers(-5, 6, size).astype(dtype)
    if odd and dtype is not np.int64:
        array[rng.integers(size, size=1 + size // 50)] = rng.choice(NOT_FINITE)
    return array


def as_stored(values, storage):
    """Small whole numbers as a kernel finds them: themselves, or the bits of the halves that are the same numbers."""
    if not storage:
        return values
    return (
        values.astype(np.float16).view(np.uint16) if storage == "f16" else (values.view(np.uint32) >> 16).astype("u2")
    )


def activations_of(elem):
    """Those that kernels of an element type have."""
    return ACTIVATIONS[:1] if elem == "i64" else ACTIVATIONS


def activated(name, y):
    """What an activation makes of numbers, of which a NaN stays one."""
    if name == "none":
        return y
    return np.where(y < 0, 0 if name == "relu" else y * y.dtype.type(SLOPE), y)


class Drawn:
    """A random task: `arrays`, and what they are to become by `want`, x, y, w and bias."""

    def check(self, got):
        """What `got` begins with is what it should be; scratch may follow."""
        with np.errstate(all="ignore"):
            for name, mine, want in zip("xywb", got, self.want(), strict=False):
                np.testing.assert_array_equal(mine, want, err_msg=f"{name} of {self!r}")

    def __repr__(self):
        return " ".join(f"{key}={value}" for key, value in vars(self).items() if key != "arrays")
