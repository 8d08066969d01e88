"""Linear combinations of vectors with known coefficients: nothing is multiplied by 0 or 1, what is shared is made once.

A pair of terms that several combinations have, up to a common factor, becomes a value of its own, again and again, the
most frequent pair first. `share` finds the pairs, `combine` writes the instructions.
"""

from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import combinations


@lru_cache(maxsize=256)
def share(rows):
    """(pairs, sums) of some combinations of the values 0, 1, ... n - 1; a row holds n coefficients, exact numbers.

    Pair number p is the value n + p: (a, b, ratio) stands for a + ratio * b. A sum is the terms (value, coefficient)
    that are left of a row.

    >>> pairs, sums = share(((1, 1, 2), (2, 2, 1)))
    >>> [(a, b, int(ratio)) for a, b, ratio in pairs]
    [(0, 1, 1)]
    >>> [[(place, int(factor)) for place, factor in terms] for terms in sums]
    [[(2, 2), (3, 1)], [(2, 1), (3, 2)]]
    """
    sums = [{place: Fraction(factor) for place, factor in enumerate(row) if factor} for row in rows]
    pairs, values = [], len(rows[0])
    while pair := _most_frequent(sums):
        a, b, ratio = pair
        for terms in sums:
            if a in terms and b in terms and terms[b] / terms[a] == ratio:
                terms[values + len(pairs)] = terms.pop(a)
                del terms[b]
        pairs.append(pair)
    return tuple(pairs), tuple(tuple(sorted(terms.items())) for terms in sums)


def _most_frequent(sums):
    """The (a, b, ratio) that most sums have, if two have it; of several the first."""
    found = Counter(_pair(terms, a, b) for terms in sums for a, b in combinations(sorted(terms), 2))
    best = max(found, key=lambda pair: (found[pair], -pair[0], -pair[1]), default=None)
    return best if best and found[best] > 1 else None


def _pair(terms, a, b):
    """(a, b, ratio), or (b, a, 1 / ratio) if only that is exact in floating point."""
    ratio = terms[b] / terms[a]
    return (a, b, ratio) if _is_exact(ratio) or not _is_exact(1 / ratio) else (b, a, 1 / ratio)


def _is_exact(number):
    return number.denominator & (number.denominator - 1) == 0


def combine(k, rows, values):
    """The combinations of some values, one for each row of coefficients, in the Builder k; None for a row of zeros."""
    pairs, sums = share(tuple(map(tuple, rows)))
    values = list(values)
    for a, b, ratio in pairs:
        values.append(_sum(k, [(values[a], 1), (values[b], ratio)]))
    return [_sum(k, [(values[place], factor) for place, factor in terms]) for terms in sums]


def _sum(k, terms):
    """The sum of (value, coefficient): one instruction a term, but one more where no coefficient is 1."""
    if not terms:
        return None
    # A coefficient of 1 first, so that all others are added to it.
    (total, factor), *others = sorted(terms, key=lambda term: term[1] != 1)
    if factor != 1:
        total = k.mul(total, k.splat(float(factor), total.type))
    for value, factor in others:
        if abs(factor) == 1:
            total = (k.add if factor == 1 else k.sub)(total, value)
        else:
            total = k.muladd(value, k.splat(float(factor), value.type), total)
    return total
