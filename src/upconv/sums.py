"""Sums of a map over everything but its channels: what the gradient in a bias is."""

import numpy as np

# Values that are added in their own type before the sums go on in float64: few roundings, none of them carried far.
RUN = 256
# Below so many values the ordinary sum is as fast.
MANY = 1 << 15


def channel_sums(array: np.ndarray) -> np.ndarray:
    """The sums over the batch and all places, as good as in the widest type: they can be long.

    Args:
        array: (n, c, ...), floating-point or complex.

    Returns:
        (c,), in float64 or complex128.

    >>> channel_sums(np.ones((2, 3, 5, 400), np.float32)).tolist()
    [4000.0, 4000.0, 4000.0]
    """
    axes = (0, *range(2, array.ndim))
    # NumPy converts piece by piece while it adds, which takes several times as long as reading.
    if array.dtype == np.float32 and array.flags.c_contiguous and array.size >= MANY:
        n, c, *_ = array.shape
        places = array.reshape(n, c, -1)
        whole = places.shape[2] // RUN * RUN
        runs = np.einsum("ncrk->ncr", places[:, :, :whole].reshape(n, c, -1, RUN))
        made = runs.sum(axis=(0, 2), dtype=np.float64) + places[:, :, whole:].sum(axis=(0, 2), dtype=np.float64)
        # A run may have been too large for its type where the whole is not.
        if np.isfinite(made).all():
            return made
    return array.sum(axis=axes, dtype=np.complex128 if array.dtype.kind == "c" else np.float64)
