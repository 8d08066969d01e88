"""The gradient in the weight of channels that have a kernel of their own: channels along the vector on both sides.

    total[tap, v]  +=  sum over pixels of  x[pixel, v] * y[pixel, tap, v]

    x, y    the channels of a pixel consecutive, `columns` of them; images x rows x cols pixels on any strides, and from
            tap to tap `y_tap` in y
    total   for each tap a line of whole vectors, added to

Some taps of a row at a time: a vector of x is loaded once for all of them, and their sums stay in registers over
as many rows, or pixels of one, as `longest`; then they are added to the total and begun anew.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .weight_gradient_blocks import piece_of

FIELDS = tuple("entry x y total n rows cols x_n x_row x_col y_n y_row y_col y_tap total_tap columns longest".split())
POINTERS = {"x", "y", "total"}


def macs(task, lanes, elem, taps, nv):
    """Multiply-adds of a task, those included that no sum needs."""
    columns = -(-task["columns"] // lanes) * lanes
    return task["n"] * task["rows"] * task["cols"] * taps * columns


def weight_gradient_depthwise(isa: Isa, elem, taps, nv):
    """The kernel for so many taps at a time, and nv vectors of channels."""
    k = Builder(f"weight_gradient_depthwise_{elem}_{taps}x{nv}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    across = nv * vector.lanes
    rest = task["columns"] - k.iand(task["columns"], across - 1)
    with k.loop(0, rest, across) as column:
        _sum(k, task, vector, column, taps, nv)
    with k.loop(rest, task["columns"], vector.lanes) as column:
        _sum(k, task, vector, column, taps, 1, k.lane_mask(task["columns"] - column, vector))
    return k


def _sum(k, task, vector, column, taps, nv, mask=None):
    """All pixels of nv vectors of channels, the last of which may be cut by a mask."""
    here = column * vector.scalar.size
    parts = [v * vector.size for v in range(nv)]
    zero = k.zero(vector)
    sums = [[k.variable(zero) for _ in parts] for _ in range(taps)]
    length, piece = k.variable(0, I64), piece_of(k, task["cols"], task["longest"])
    with k.loop(0, task["n"]) as n, k.loop(0, task["cols"], piece) as first, k.loop(0, task["rows"]) as row:
        count = k.imin(task["cols"] - first, piece)
        with k.when(length.get() + count > task["longest"]):
            _put(k, task, vector, here, parts, sums)
            length.set(0)
            for variable in (variable for line in sums for variable in line):
                variable.set(zero)
        length.set(length.get() + count)
        x = task["x"] + (here + n * task["x_n"] + row * task["x_row"] + first * task["x_col"])
        y = task["y"] + (here + n * task["y_n"] + row * task["y_row"] + first * task["y_col"])
        with k.loop(0, count) as col:
            x_pixel, y_pixel = x + k.opaque(col * task["x_col"]), y + k.opaque(col * task["y_col"])
            values = [k.load(x_pixel + part, vector, mask) for part in parts]
            for line in sums:
                for variable, value, part in zip(line, values, parts, strict=True):
                    variable.set(k.muladd(value, k.load(y_pixel + part, vector, mask), variable.get()))
                y_pixel = y_pixel + task["y_tap"]
    _put(k, task, vector, here, parts, sums)


def _put(k, task, vector, here, parts, sums):
    """Add the sums to the total."""
    for t, line in enumerate(sums):
        for variable, part in zip(line, parts, strict=True):
            place = task["total"] + (here + task["total_tap"] * t + part)
            k.store(k.add(variable.get(), k.load(place, vector)), place)
