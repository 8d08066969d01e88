"""The gradient in the weight of channels that have a kernel of their own: channels along the vector on both sides.

    total[q, t, v]  +=  sum over rows and columns of  x[row, col - t // step, v] * y[row + q, col, t % step, v]

    x, y    the channels of a pixel consecutive, `columns` of them; images x rows x cols on any strides, and in y
            `y_tap` from tap to tap
    total   for each tap a line of whole vectors, added to

Through every `step`-th tap of a row the same columns of y are met, by columns of x one before the other; and through
every `tall` rows of taps the same rows. So a vector of y is loaded once for all of them, and for some rows of x; those
of x stay in registers on their way along a row. All columns of x that a column of y would meet are to exist.

Sums stay in registers over as many rows, or pixels of one, as `longest`; then they are added to the total and begun
anew.
"""

import itertools

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .weight_gradient_blocks import piece_of

FIELDS = tuple(
    ("entry x y total n rows cols x_n x_row x_col y_n y_row y_col y_tap total_row total_tap columns longest").split()
)
POINTERS = {"x", "y", "total"}


def macs(task, lanes, elem, tall, taps, step, nv, height):
    """Multiply-adds of a task, those included that no sum needs."""
    columns = -(-task["columns"] // lanes) * lanes
    return task["n"] * task["rows"] * task["cols"] * tall * taps * columns


def registers(tall, taps, step, nv, height) -> int:
    """Vectors that are in registers at once: the sums, those of x, and one of y."""
    return nv * (tall * taps + height * -(-taps // step)) + 1


def weight_gradient_depthwise(isa: Isa, elem, tall, taps, step, nv, height):
    """The kernel for `tall` rows of `taps` taps, nv vectors of channels, and `height` rows of x at a time.

    Args:
        step: taps until one meets the same columns of y, as many as there are where none does.
    """
    k = Builder(f"weight_gradient_depthwise_{elem}_{tall}x{taps}s{step}_{height}x{nv}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    across = nv * vector.lanes
    rest = task["columns"] - k.iand(task["columns"], across - 1)
    with k.loop(0, rest, across) as column:
        _Sum(k, task, vector, column, (tall, taps, step), nv).over_pixels(height)
    with k.loop(rest, task["columns"], vector.lanes) as column:
        mask = k.lane_mask(task["columns"] - column, vector)
        _Sum(k, task, vector, column, (tall, taps, step), 1, mask).over_pixels(height)
    return k


class _Sum:
    """All pixels of nv vectors of channels, the last of which may be cut by a mask."""

    def __init__(self, k, task, vector, column, taps, nv, mask=None):
        self.k, self.task, self.vector, self.mask = k, task, vector, mask
        (self.tall, self.taps, self.step), self.here = taps, column * vector.scalar.size
        self.parts = [v * vector.size for v in range(nv)]
        zero = k.zero(vector)
        self.sums = [[[k.variable(zero) for _ in self.parts] for _ in range(self.taps)] for _ in range(self.tall)]
        self.length = k.variable(0, I64)

    def over_pixels(self, height):
        k, task = self.k, self.task
        piece = piece_of(k, task["cols"], k.imax(k.divide(task["longest"], height), 1))
        whole = k.divide(task["rows"], height) * height
        with k.loop(0, task["n"]) as n, k.loop(0, task["cols"], piece) as first:
            count = k.imin(task["cols"] - first, piece)
            x = task["x"] + (self.here + n * task["x_n"] + first * task["x_col"])
            y = task["y"] + (self.here + n * task["y_n"] + first * task["y_col"])
            with k.loop(0, whole, height) as row:
                self._rows(x + row * task["x_row"], y + row * task["y_row"], count, height)
            if height > 1:
                with k.loop(whole, task["rows"]) as row:
                    self._rows(x + row * task["x_row"], y + row * task["y_row"], count, 1)
        self._put()

    def _rows(self, x, y, count, height):
        """So many columns of `height` rows of x."""
        k, task, zero = self.k, self.task, self.k.zero(self.vector)
        with k.when(self.length.get() + count * height > task["longest"]):
            self._put()
            self.length.set(0)
            for variable in self._variables():
                variable.set(zero)
        self.length.set(self.length.get() + count * height)
        # Of each row the columns before this one, the last one first.
        before = [
            [self._pixel(x + (task["x_row"] * r - task["x_col"] * q)) for q in range(1, -(-self.taps // self.step))]
            for r in range(height)
        ]
        before = [[[k.variable(value) for value in pixel] for pixel in row] for row in before]
        with k.loop(0, count) as col:
            self._column(x + k.opaque(col * task["x_col"]), y + k.opaque(col * task["y_col"]), height, before)

    def _column(self, x, y, height, before):
        """A column of x, and those before it, by the columns of y that they meet."""
        task, values = self.task, []
        for row in before:
            values.append([self._pixel(x), *([variable.get() for variable in pixel] for pixel in row)])
            x = x + task["x_row"]
        for row in range(height + self.tall - 1):
            pixel = y
            for tap in range(min(self.step, self.taps)):
                self._multiply(pixel, values, row, tap)
                pixel = pixel + task["y_tap"]
            y = y + task["y_row"]
        for row, found in zip(before, values, strict=True):
            for pixel, value in zip(row, found, strict=False):
                for variable, part in zip(pixel, value, strict=True):
                    variable.set(part)

    def _multiply(self, pixel, values, row, first):
        """A pixel of y by those of x that it meets, each into its sum."""
        for v, part in enumerate(self.parts):
            line = self.k.load(pixel + part, self.vector, self.mask)
            for q in range(self.tall):
                if not 0 <= row - q < len(values):
                    continue
                for tap, value in zip(range(first, self.taps, self.step), values[row - q], strict=False):
                    variable = self.sums[q][tap][v]
                    variable.set(self.k.muladd(value[v], line, variable.get()))

    def _pixel(self, pixel):
        return [self.k.load(pixel + part, self.vector, self.mask) for part in self.parts]

    def _variables(self):
        return itertools.chain(*itertools.chain(*self.sums))

    def _put(self):
        """Add the sums to the total."""
        k, task = self.k, self.task
        for q, row in enumerate(self.sums):
            for t, line in enumerate(row):
                for variable, part in zip(line, self.parts, strict=True):
                    place = task["total"] + (self.here + task["total_row"] * q + task["total_tap"] * t + part)
                    k.store(k.add(variable.get(), k.load(place, self.vector)), place)
