"""Units that differ in nothing but their place, as few grids: a table has the nests of one, and how far the next is."""

from collections.abc import Iterator, Sequence

from ..runtime.program import Nest
from ..runtime.tables import MOVED

# Nests of a unit, how many such units there are in each dimension, and the steps of each base in these.
_Run = tuple[Sequence[Nest], tuple[int, ...], dict[int, tuple[int, ...]]]


def runs(units: Sequence[Sequence[Nest]], dimensions: int) -> list[_Run]:
    """Some units as runs in so many dimensions, which are all of them in the order of the units.

    >>> fields = "src", "n"
    >>> units = [(Nest(fields, {"src": (3, place), "n": 5}),) for place in (0, 8, 16, 100, 108, 116)]
    >>> [(sizes, steps) for _, sizes, steps in runs(units, 2)]
    [((2, 3), {3: (100, 8)})]
    """
    found: list[_Run] = [(unit, (), {}) for unit in units]
    for _ in range(dimensions):
        found = list(_folded(found))
    return found


def _folded(found: list[_Run]) -> Iterator[_Run]:
    """Runs that go on as the ones before them, in one dimension more."""
    start = 0
    while start < len(found):
        end, step = start + 1, {}
        while end < len(found) and (ahead := _step(found[end - 1], found[end])) is not None:
            if end > start + 1 and ahead != step:
                break
            end, step = end + 1, ahead
        unit, sizes, steps = found[start]
        stays = (0,) * len(sizes)
        yield (
            unit,
            (end - start, *sizes),
            {base: (step.get(base, 0), *steps.get(base, stays)) for base in (step.keys() | steps.keys())},
        )
        start = end


def _step(one, other):
    """How far each base goes from one run to another, where that is all that they differ in; else None."""
    (nests, *places), (others, *there) = one, other
    if places != there or len(nests) != len(others):
        return None
    steps = {}
    for a, b in zip(nests, others, strict=True):
        if a.fields != b.fields or a.lists != b.lists:
            return None
        for name in a.fields:
            here, after = a.common.get(name, 0), b.common.get(name, 0)
            if type(here) is not tuple or type(after) is not tuple or here[0] != after[0]:
                if here != after:
                    return None
            elif steps.setdefault(here[0], after[1] - here[1]) != after[1] - here[1]:
                return None
    return steps if all(base in MOVED or not step for base, step in steps.items()) else None
