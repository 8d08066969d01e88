"""Which arrays of a file can be the weight of a layer that has checkerboards."""

import numpy as np


def kernels(found) -> dict[str, np.ndarray]:
    """Those arrays that can be the weight of a 2-D layer: real, four axes, more than one tap.

    >>> sorted(kernels({"up.weight": np.ones((2, 1, 3, 3)), "up.bias": np.ones(2), "one": np.ones((2, 2, 1, 1))}))
    ['up.weight']
    """
    return {
        name: array
        for name, array in found.items()
        if isinstance(array, np.ndarray)
        and array.ndim == 4
        and array.dtype.kind == "f"
        and array.shape[2] * array.shape[3] > 1
    }
