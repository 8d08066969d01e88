"""Axes that between them show everything a picture or a text has to deal with."""

import itertools

from upconv.geometry import Axis, Geometry


def torch_axis(n, k, s=1, p=0, op=0, d=1):
    return Axis(n, k, s, d, p, p - op)


AXES = {
    "uneven": torch_axis(4, 3, 2, 1, 1),
    "even": torch_axis(4, 4, 2, 1),
    "gaps": torch_axis(5, 2, 3),
    "holes": torch_axis(4, 3, 2, d=2),
    "one input": torch_axis(1, 4),
    "long": torch_axis(32, 4, 2, 1),
    "extended": Axis(4, 3, 2, 1, crop_lo=-2, crop_hi=1),
    "beyond the canvas": Axis(4, 3, 2, 1, crop_lo=-60, crop_hi=3),
    "wide kernel": torch_axis(10, 16, 8, 4),
    "deep cut": torch_axis(40, 9, 3, 20, 2),
    "deeper cut": torch_axis(40, 2, 5, 30),
    "one tap, dilated": torch_axis(3, 1, 1, 0, 2, 4),
    "cut to one": Axis(3, 3, 2, 1, 3, 3),
}


def square(axis, channels=1, groups=1):
    return Geometry(1, channels, channels, groups, axis, axis)


def every_axis(largest=4):
    """Every small axis with every crop that leaves something, and a few that add."""
    steps = range(1, largest)
    for n, k, s, d in itertools.product(range(1, largest + 1), range(1, largest + 1), steps, steps):
        full = (n - 1) * s + d * (k - 1) + 1
        for lo, hi in itertools.product((-2, 0, 1, 3), (-1, 0, 2)):
            if full - lo - hi >= 1:
                yield Axis(n, k, s, d, lo, hi)


def hits(axis, output):
    """The (input, tap) pairs of one output, straight from the definition."""
    return {
        (i, t)
        for i, t in itertools.product(range(axis.n), range(axis.k))
        if i * axis.s + t * axis.d - axis.crop_lo == output
    }
