"""The minimal filters of Winograd, as exact fractions: m outputs of a filter of r taps by m + r - 1 products.

    y[i]  =  sum over b of  d[i + b] * g[b]        for i in 0 ... m - 1
          =  sum over p of  a[i][p] * (sum over b of G[p][b] g[b]) * (sum over j of B[p][j] d[j])

They are made from points: a product of polynomials of m + r - 1 coefficients is known by its values at as many points
(infinity is the leading coefficient), and the sum above is the transpose of such a product. Two factors are free at
each point: they move between B and G, so that B, which meets the data, has a 1 in every row and fractions that are
exact in floating point.

In two dimensions the same on each axis. `winograd_parts` says which filters a layer is made of.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice

INFINITY = None
# By the number of points: those of the smallest errors, which lie about evenly around the circle that infinity closes
# (0, 1, infinity, -1 are its quarters). Points that come with their negatives share half of their transforms, and
# numbers of few bits leave no rounding errors of their own.
NEAR, FAR = Fraction(3, 8), Fraction(5, 4)
INNER, OUTER = Fraction(5, 8), Fraction(3, 2)
POINTS = {
    1: (INFINITY,),
    2: (0, INFINITY),
    3: (0, 1, INFINITY),
    4: (0, 1, -1, INFINITY),
    5: (NEAR, -NEAR, FAR, -FAR, INFINITY),
    6: (0, INNER, -INNER, OUTER, -OUTER, INFINITY),
}


class Matrix(tuple):
    """Rows of Fractions; the hash is kept, since matrices are parts of keys, and a Fraction's takes some time."""

    def __hash__(self):
        try:
            return self._hash
        except AttributeError:
            self._hash = super().__hash__()
            return self._hash


@dataclass(frozen=True, slots=True)
class Form:
    """F(m, r): the three matrices as rows of Fractions.

    Attributes:
        m, r: outputs and taps; `size` = m + r - 1 products, values of the source and positions.
        output: m rows of `size`: outputs from products.
        weight: `size` rows of r: what the taps become.
        source: `size` rows of `size`: what the values become.
    """

    m: int
    r: int
    output: tuple
    weight: tuple
    source: tuple

    def __hash__(self):
        # Forms are parts of keys, and the hash of a Fraction takes a power modulo a prime.
        return hash((self.m, self.r))

    @property
    def size(self):
        return len(self.source)

    @property
    def bias(self):
        """The positions of which every output has the product exactly once, so that a bias may be added there; if any.

        >>> form(3, 2).bias, form(2, 1).bias, form(3, 3).bias
        ((1,), (0, 1), ())
        """
        return _bias(self)

    @property
    def multiplications(self):
        """Products for one output, beside r of the filter as it is."""
        return Fraction(self.size, self.m)


@lru_cache(maxsize=64)
def _bias(form):
    if form.r == 1:
        return tuple(range(form.m))
    ones = (place for place, column in enumerate(zip(*form.output, strict=True)) if set(column) == {1})
    return tuple(islice(ones, 1))


@lru_cache(maxsize=64)
def form(m, r, points=None) -> Form:
    """F(m, r) from as many points as it has products, which are POINTS unless told.

    Raises:
        KeyError: for more products than there are good points.

    >>> [[int(v) for v in row] for row in form(3, 2).source]
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    """
    if r == 1:
        same = _identity(m)
        return Form(m, r, same, Matrix(((Fraction(1),),) * m), same)
    points = POINTS[m + r - 1] if points is None else points
    size = m + r - 1
    output, weight = _transpose(_powers(points, m)), _powers(points, r)
    source = _transpose(_inverse(_powers(points, size)))
    factors = [_factor(row, taps) for row, taps in zip(source, weight, strict=True)]
    return Form(
        m,
        r,
        output,
        Matrix(tuple(v / f for v in row) for row, f in zip(weight, factors, strict=True)),
        Matrix(tuple(v * f for v in row) for row, f in zip(source, factors, strict=True)),
    )


def _powers(points, count):
    """A row for each point: its powers, the last alone for infinity."""
    return tuple(
        tuple(Fraction(int(e == count - 1)) if p is INFINITY else Fraction(p) ** e for e in range(count))
        for p in points
    )


def _factor(row, taps):
    """What makes the last entry that is not 0 of a row of the source 1, or -1 where the taps then stay as they are."""
    last = next(v for v in reversed(row) if v)
    return -1 / last if {v * last for v in taps} <= {0, -1} else 1 / last


def _identity(n):
    return Matrix(tuple(Fraction(int(i == j)) for j in range(n)) for i in range(n))


def _transpose(rows):
    return Matrix(zip(*rows, strict=True))


def _inverse(rows):
    """Gauss and Jordan."""
    n = len(rows)
    rows = [[*row, *unit] for row, unit in zip(rows, _identity(n), strict=True)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [v - rows[r][i] * u for v, u in zip(rows[r], rows[i], strict=True)]
    return tuple(tuple(row[n:]) for row in rows)
