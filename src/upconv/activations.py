"""What a result may pass through after the bias: a function and a line of the table each.

Whatever stands in the table is taken by every door and computed in a pass of its own over the result; those that are
one or two instructions also have a line in `kernels.epilogue`, and cost no pass where the kernels apply them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .dtypes import quiet


class Row(NamedTuple):
    """``apply(y, slope)`` changes y in place, as torch defines it; `has_slope` says whether it looks at the slope."""

    apply: Callable[[np.ndarray, float], None]
    has_slope: bool = False


def none(y, slope):
    """Nothing is done."""


def relu(y, slope):
    np.maximum(y, 0, out=y)


def leaky_relu(y, slope):
    np.multiply(y, slope, out=y, where=y < 0)


def tanh(y, slope):
    np.tanh(y, out=y)


def sigmoid(y, slope):
    # exp(-|y|) cannot overflow; the two sides have the same value at 0.
    small = np.exp(-np.abs(y))
    np.divide(np.where(y < 0, small, 1), 1 + small, out=y, casting="same_kind")


ACTIVATIONS = {
    "none": Row(none),
    "relu": Row(relu),
    "leaky_relu": Row(leaky_relu, has_slope=True),
    "tanh": Row(tanh),
    "sigmoid": Row(sigmoid),
}


def activate(activation, y):
    """Apply a `problem.Activation` to an array in place.

    >>> from upconv.problem import Activation
    >>> y = np.array([-1.0, 2.0])
    >>> activate(Activation("relu"), y)
    >>> y
    array([0., 2.])
    """
    with quiet():
        ACTIVATIONS[activation.name].apply(y, activation.slope)
