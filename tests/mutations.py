"""How a kernel or a table is made wrong: what tests/mutants.py builds its mistakes of.

Each gives a list of (module, name, what stands there instead), or a change of the fields of a table that `table` takes.
"""

from upconv.codegen.lang import Builder
from upconv.kernels import gemm
from upconv.runtime import tables
from upconv.runtime.program import Rows


def masks(module, method, wrong):
    """A Builder for one kernel alone, with one method that is wrong."""
    right = getattr(Builder, method)
    made = type("Builder", (Builder,), {method: lambda self, *args: wrong(self, right, *args)})
    return [(module, "Builder", made)]


def short_mask(self, lane_mask, count, vector):
    return lane_mask(self, count - 1, vector)


def short_between(self, between, start, end, vector):
    return between(self, start, end - 1, vector)


def keep_left(self, add, left, right):
    return left


def grids(change):
    """Every Grid of every program passes through `change`, which gives another, before it becomes a table."""
    right = tables._encode

    def wrong(stages):
        # What is kept of right tables is not used.
        return right([stage._replace(grids=[*map(change, stage.grids)], kept=None) for stage in stages])

    return [(tables, "_encode", wrong)]


def nests(change):
    return grids(lambda grid: grid._replace(nests=[change(nest) for nest in grid.nests]))


def table(module, change, where=lambda nest: True):
    """All nests of a kernel; `change` alters the common fields, and each row of a list, as dicts in place."""

    def of_nest(nest):
        return altered(nest, change) if is_of(nest, module) and where(nest) else nest

    return nests(of_nest)


def altered(nest, change):
    common = dict(nest.common)
    change(common)
    return nest._replace(common=common, lists=tuple(altered_list(rows, change) for rows in nest.lists))


def altered_list(rows, change):
    values = []
    for row in rows.values:
        said = dict(zip(rows.fields, row, strict=True))
        change(said)
        values.append(tuple(said[name] for name in rows.fields))
    return Rows(rows.fields, values)


def is_of(nest, module):
    """Whether a nest is for a kernel; those of whole rows have more fields for more phases."""
    return nest.fields in (module.NAMES.values() if hasattr(module, "NAMES") else [module.FIELDS])


def minus_one_to(name, value):
    """What is counted from 0, or -1 for none, is there where it is not."""

    def change(said):
        if said.get(name) == -1:
            said[name] = value

    return change


def one_less(name):
    def change(said):
        value = said.get(name, 0)
        if not isinstance(value, tuple) and value > 1:
            said[name] -= 1

    return change


def zero(name):
    def change(said):
        if name in said:
            said[name] = (said[name][0], 0) if isinstance(said[name], tuple) else 0

    return change


def in_list(number, name, factor, module=gemm):
    """What one list adds to a field is added `factor` times, in the nests of a kernel."""

    def change(nest):
        if len(nest.lists) <= number or name not in nest.lists[number].fields or not is_of(nest, module):
            return nest
        rows, lists = nest.lists[number], list(nest.lists)

        def times(said):
            said[name] *= factor

        lists[number] = altered_list(rows, times)
        return nest._replace(lists=tuple(lists))

    return nests(change)


def last_row_lost(number, module):
    """The last row of one of a nest's lists is left out."""

    def change(nest):
        if not is_of(nest, module) or len(nest.lists) <= number or len(nest.lists[number].values) < 2:
            return nest
        lists = list(nest.lists)
        lists[number] = lists[number]._replace(values=list(lists[number].values[:-1]))
        return nest._replace(lists=tuple(lists))

    return nests(change)


def from_to(src, dst):
    """Nests that move values from one base to another."""
    return lambda nest: (nest.common["src"][0], nest.common["dst"][0]) == (src, dst)
