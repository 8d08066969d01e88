"""Runs a program's table: every task is made by adding one short row of each of three lists, and run at once.

A *nest* is a product of lists that belongs to one kernel:

    task[field] = common[field] + address[base of field] + rows[i][field] + columns[j][field] + blocks[b][field]

for every i, j and b, the blocks innermost. Offsets add up; a count or a stride stands in one of the lists only. So a
layer of 64 x 64 phases has a table of 64 + 64 rows, not of 4,096.

A *grid* is a three-dimensional array of units, each of which runs the same nests one after another, at another place of
the operands: unit (i, j, k) moves the addresses of some bases by i, j and k steps. All who work on a stage take their
units from one counter, so each unit is run once, by whoever comes first.

    table   grids (GRID words each), nests (NEST words each), then the lists; offsets are in bytes from its beginning
    base    the addresses of a call, by number, behind the job's own words; base 0 is 0, for fields that are no pointers

The task that is being made lies in `scratch`, which is not shared; a kernel leaves it as it is. The tasks run under
the default arithmetic, on whatever thread that is: one that some library has told to flush subnormal numbers, say,
which a thread passes on to those it makes.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, Builder, Type

FIELDS_MOST = 56
BASES = 20
# Bases that a unit may move: of the operands, of the packed weight, of what marks outputs to be computed again; and
# four that begin at 0, for fields that are indices of a row or a column of x and of y.
MOVED = X, Y, W, BIAS, PANELS, FLAGS, ROW_X, COL_X, ROW_Y, COL_Y = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
INDICES = ROW_X, COL_X, ROW_Y, COL_Y
DIMENSIONS = 3
# end of the units so far, first unit, first nest, end of the nests, size of the middle and of the innermost dimension,
# then the steps of every moved base.
GRID = 6 + DIMENSIONS * len(MOVED) + 3
# bytes of a task, common, pointers and how many, then three lists: values, how many rows, fields, how many fields.
LISTS = 3
NEST = 4 + 4 * LISTS
STEPS_AT = 8 * 6
SCRATCH_BYTES = 8 * (BASES + 1 + FIELDS_MOST + 8)
WORDS = 7
# Which word of a job says where the counter of its units is.
COUNTER = 4


def execute(isa: Isa):
    """The kernel; its job is (entry, table, end of the grids, end of the units, counter, scratch, unused, base...)."""
    k = Builder(f"execute_{isa.name}", settles_arithmetic=True)
    _, table, grids_end, end, counter, scratch, _ = k.arguments(I64, PTR, I64, I64, PTR, PTR, I64)
    base = k.argument + 8 * WORDS
    grid, unit = k.variable(0, I64), k.variable(k.take(counter))
    # As often as there may be units left; whoever finds none takes no more.
    with k.loop(unit.get(), end), k.when(unit.get() < end):
        _find(k, table, grids_end, grid, unit)
        _unit(k, isa, table, table + grid.get(), unit.get(), base, scratch)
        unit.set(k.take(counter))
    return k


def _find(k, table, grids_end, grid, unit):
    """Go on to the grid of a unit; units are taken in order, so it is never one before."""
    with k.loop(grid.get(), grids_end, 8 * GRID) as there, k.when(k.less(k.load(table + there, I64), unit.get() + 1)):
        grid.set(there + 8 * GRID)


def _unit(k, isa, table, grid, unit, base, scratch):
    """Move the bases to a unit, and run its nests."""
    first, nest, nests_end, middle, inner = (k.load(grid + 8 * place, I64) for place in range(1, 6))
    number = unit - first
    rest = k.divide(number, inner)
    outer = k.divide(rest, middle)
    place = outer, rest - outer * middle, number - rest * inner
    for number in range(BASES):
        address = k.load(base + 8 * number, I64)
        if number in MOVED:
            steps = grid + (STEPS_AT + 8 * DIMENSIONS * MOVED.index(number))
            for dimension, index in enumerate(place):
                address = address + index * k.load(steps + 8 * dimension, I64)
        k.store(address, scratch + 8 * number)
    task = scratch + 8 * (BASES + 1)
    with k.loop(nest, nests_end, 8 * NEST) as there:
        _nest(k, isa, table, table + there, scratch, task)


def _nest(k, isa, table, nest, bases, task):
    """All tasks of a nest."""
    size, common, pointers, count = (k.load(nest + 8 * place, I64) for place in range(4))
    _copy(k, isa, table + common, task, size)
    with k.loop(0, count * 16, 16) as place:
        pointer = table + pointers + place
        field = task + k.load(pointer, I64)
        k.store(k.load(field, I64) + k.load(bases + k.load(pointer + 8, I64), I64), field)
    _level(k, table, nest, task, 0)


def _level(k, table, nest, task, level):
    """Every row of the next list on top of what there is; after the last list, the task.

    A row is added and taken away again, a field at a time. To copy what there is would cost more than its instructions:
    whole vectors that were written field by field can be loaded once all stores before them have come to the cache
    alone, those of the last task too.
    """
    if level == LISTS:
        k.call(k.load(task, PTR), task)
        return
    at = nest + 8 * (4 + 4 * level)
    values, count, fields, width = (k.load(at + 8 * place, I64) for place in range(4))
    with k.loop(0, count) as row:
        there = table + values + row * (width * 8)
        with k.loop(0, width * 8, 8) as place:
            field = task + k.load(table + fields + place, I64)
            k.store(k.load(field, I64) + k.load(there + place, I64), field)
        _level(k, table, nest, task, level + 1)
        with k.loop(0, width * 8, 8) as place:
            field = task + k.load(table + fields + place, I64)
            k.store(k.load(field, I64) - k.load(there + place, I64), field)


def _copy(k, isa, src, dst, size):
    """Whole vectors; rows are as long as that."""
    vector = Type("i64", isa.lanes(8))
    with k.loop(0, size, vector.size) as at:
        k.store(k.load(src + at, vector), dst + at)
