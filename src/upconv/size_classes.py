"""Classes of sizes: what hardly differs between sizes that are alike is worked out once for all of them.

A class is a layer, and sizes of its input that have the same leading bits; a problem of sizes in their middle stands
for it. So what a class knows depends on the problem that is asked about alone, and not on which one came first.
"""

from dataclasses import replace
from math import prod

from .errors import SettingError
from .problem import Problem
from .runtime.once import Kept

# Each size below, and each power of two, is a class: most layers have such sizes, and they fill vectors, and crowd
# caches, as their neighbours do not. Of others the leading bits say their class, so that there are two to an octave.
SMALL, BITS = 9, 2
MOST_CLASSES, MOST_FACTS = 1024, 64


class SizeClass(Kept):
    """What is known of problems whose sizes are alike, by whoever asks.

    Attributes:
        typical: the one that stands for them.
        ends: the ones of the smallest and of the largest sizes; none where it is the only one.
        count: how many there are.
    """

    def __init__(self, typical: Problem, ends: tuple[Problem, ...]):
        super().__init__(MOST_FACTS)
        self.typical, self.ends = typical, ends
        sizes = [(each.geometry.n, each.geometry.h.n, each.geometry.w.n) for each in ends]
        self.count = prod(largest - smallest + 1 for smallest, largest in zip(*sizes, strict=True)) if sizes else 1

    def samples(self) -> tuple[Problem, ...]:
        """The ends, and the ones of sizes halfway between them and the middle."""
        return *self.ends, *(_resized(self.typical, which) for which in (_lower, _upper))


_classes = Kept(MOST_CLASSES)


def size_class(problem: Problem) -> SizeClass:
    """The class of a problem; alone are those of rows in several planes, and those that crop away a smaller map."""
    g = problem.geometry
    h, w = g.h, g.w
    key = problem.layer, least(g.n), least(h.n), least(w.n), h.crop_lo, h.crop_hi, w.crop_lo, w.crop_hi
    found = _classes.get(key)
    if found is not None:
        return found
    if problem.depth_taps > 1:
        return SizeClass(problem, ())
    if _is_alone(g.n) and _is_alone(h.n) and _is_alone(w.n):
        return _classes.get_or_make(key, lambda: SizeClass(problem, ()))
    try:
        typical, *ends = (_resized(problem, which) for which in (middle, least, most))
    except SettingError:
        return SizeClass(problem, ())
    return _classes.get_or_make(key, lambda: SizeClass(typical, tuple(ends)))


def least(size: int) -> int:
    """The smallest size of the class of a size.

    >>> [least(size) for size in (7, 8, 16, 17, 23, 24, 64, 65, 95, 96)]
    [7, 8, 16, 17, 17, 24, 64, 65, 65, 96]
    """
    if _is_alone(size):
        return size
    rest = size.bit_length() - BITS
    start = size >> rest << rest
    return start + _is_alone(start)


def most(size: int) -> int:
    """The largest of them; `middle` lies between the two.

    >>> [(most(size), middle(size)) for size in (7, 8, 95, 96)]
    [(7, 7), (8, 8), (95, 80), (127, 112)]
    """
    return size if _is_alone(size) else size | (1 << size.bit_length() - BITS) - 1


def _is_alone(size):
    return size < SMALL or not size & (size - 1)


def middle(size: int) -> int:
    """The size that stands for its class."""
    return (least(size) + most(size) + 1) // 2


def _lower(size):
    return (least(size) + middle(size)) // 2


def _upper(size):
    return (middle(size) + most(size) + 1) // 2


def _resized(problem, which):
    """A problem with other sizes of its input."""
    g = problem.geometry
    n, h, w = which(g.n), replace(g.h, n=which(g.h.n)), replace(g.w, n=which(g.w.n))
    return replace(problem, geometry=replace(g, n=n, h=h, w=w))
