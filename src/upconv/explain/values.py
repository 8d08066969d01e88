"""The small numbers of an example, from which pictures compute: inputs and taps from two tables, bias 0.

They are the page's own: a 2 × 2 input of 1 2 | 3 1 under the kernel 1 2 1 | 0 3 1 | 2 0 1 gives 9 in its middle.
"""

from .overlap import pairs

INPUTS = ((1, 2, 0, 1), (3, 1, 2, 0), (0, 2, 1, 3), (1, 0, 3, 2))
TAPS = ((1, 2, 1, 0, 2), (0, 3, 1, 1, 0), (2, 0, 1, 2, 1), (1, 1, 0, 1, 3), (0, 2, 1, 0, 1))
# Beyond so many products nobody follows a sum, and vast kernels would take for ever.
MOST_PRODUCTS = 400


def input_value(i, j):
    """The example's input in row i, column j."""
    return INPUTS[i % len(INPUTS)][j % len(INPUTS)]


def tap_value(t, u):
    """The example's weight of tap (t, u)."""
    return TAPS[t % len(TAPS)][u % len(TAPS)]


def products(h, w, o, m) -> list[tuple[int, int, int, int]]:
    """The (input row, input column, tap row, tap column) that output (o, m) adds up, in the order of the inputs.

    >>> from upconv.geometry import Axis
    >>> products(Axis(2, 3, s=2, crop_lo=1, crop_hi=0), Axis(2, 3, s=2, crop_lo=1, crop_hi=0), 0, 1)
    [(0, 0, 1, 2), (0, 1, 1, 0)]
    """
    rows, columns = (sorted(pairs(axis, place)) for axis, place in ((h, o), (w, m)))
    return [(i, j, t, u) for i, t in rows for j, u in columns]


def output_value(h, w, o, m):
    """The example's output (o, m).

    >>> from upconv.geometry import Axis
    >>> axis = Axis(2, 3, s=2, crop_lo=1, crop_hi=0)
    >>> output_value(axis, axis, 1, 1)
    9
    """
    return sum(input_value(i, j) * tap_value(t, u) for i, j, t, u in products(h, w, o, m))


def sum_in_words(h, w, o, m):
    """The sum of output (o, m) with the example's numbers.

    >>> from upconv.geometry import Axis
    >>> axis = Axis(2, 3, s=2, crop_lo=1, crop_hi=0)
    >>> print(sum_in_words(axis, axis, 1, 1))
    y[1, 1] = 1·1 + 2·2 + 3·1 + 1·1 = 9
    """
    terms = [f"{input_value(i, j)}·{tap_value(t, u)}" for i, j, t, u in products(h, w, o, m)]
    return f"y[{o}, {m}] = {' + '.join(terms) or 'bias'} = {output_value(h, w, o, m)}"
