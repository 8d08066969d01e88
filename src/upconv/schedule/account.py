"""What a program will execute, read back from its table: kernels by name, and multiply-adds, padding included."""

import itertools
import sys
from collections.abc import Iterator

from ..kernels.execute import GRID, LISTS, NEST
from ..runtime.kernel import isa, made
from ..runtime.program import Program


def account(program: Program, itemsize) -> tuple[int, tuple[str, ...]]:
    """(multiply-adds, names of the kernels in the order of their first task).

    Args:
        program: any.
        itemsize: bytes of one value of the dtype that its kernels compute in.
    """
    macs, names, lanes = 0, {}, isa().lanes(itemsize)
    for times, kernel, task in tasks(program):
        names[kernel.name] = True
        module = sys.modules[kernel.make.__module__]
        if hasattr(module, "macs"):
            macs += times * module.macs(task, lanes, *kernel.arguments)
    return macs, tuple(names)


def kernels(program: Program) -> tuple[str, ...]:
    """Names of the kernels in the order of their first nest, without going through the tasks."""
    names = {}
    for _, nest, table in _nests(program):
        row, _, lists = _decoded(table, nest)
        for entry in _entries(row, lists):
            names[made(entry).name] = True
    return tuple(names)


def tasks(program: Program) -> Iterator[tuple[int, object, dict]]:
    """(how often it runs, its kernel, its fields) of every task; pointers are offsets without their base."""
    for times, nest, table in _nests(program):
        common, _, lists = _decoded(table, nest)
        for rows in itertools.product(*(values for _, values in lists)):
            task = list(common)
            for (places, _), row in zip(lists, rows, strict=True):
                for place, value in zip(places, row, strict=True):
                    task[place] += value
            kernel = made(task[0])
            yield times, kernel, dict(zip(fields(kernel), task, strict=False))


def fields(kernel) -> tuple[str, ...]:
    """The names of a kernel's fields, as its module declares them."""
    module = sys.modules[kernel.make.__module__]
    return module.fields_of(*kernel.arguments) if hasattr(module, "fields_of") else module.FIELDS


def _nests(program):
    """(how often, where the nest's record begins, in which table) of every nest."""
    for table in program.tables:
        words = table.words.tolist()
        for grid in range(0, table.grids // 8, GRID):
            end, first, start, stop, *_ = words[grid : grid + 6]
            for nest in range(start // 8, stop // 8, NEST):
                yield end - first, nest, words


def _decoded(table, nest):
    """(the common row, its bytes, [(places of the fields, rows) of each list])."""
    size, common = table[nest : nest + 2]
    lists = []
    for number in range(LISTS):
        values, count, names, width = table[nest + 4 + 4 * number : nest + 8 + 4 * number]
        places = [place // 8 for place in table[names // 8 : names // 8 + width]]
        start = values // 8
        lists.append((places, [table[start + width * i : start + width * (i + 1)] for i in range(count)]))
    return table[common // 8 : (common + size) // 8], size, lists


def _entries(row, lists):
    for places, rows in lists:
        if 0 in places:
            at = places.index(0)
            return dict.fromkeys(values[at] for values in rows)
    return {row[0]: None}
