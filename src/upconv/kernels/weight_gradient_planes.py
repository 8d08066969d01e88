"""The gradient in the weight of channels that have a kernel of their own and lie in planes: columns along the vector.

    total[t, q, lane]  (+)=  sum over rows and vectors of a row of  x[row, (lane + turn) // step - q] * y[row + t, lane]

    y    a vector of columns                     y0 y1 y2 y3 ..
    x    each column as often as the step says   x0 x0 x1 x1 ..          for a step of 2
    q    the same some columns before            -- -- x0 x0 ..

A column of y meets x through every step-th tap of a row: through the q-th of them in all lanes at once. So y is read as
it lies, once for several rows of x, and x comes apart by a shuffle for each q. Lanes are added up in the end by
`sum_lanes`, each to its own tap: lane i to tap (i + turn) % step + q * step.

A lane that has no such column of x does not exist: the first and the last vector of a row multiply under a mask for
each q, so that what is not finite stays where it belongs. All others are to be whole.

A task is channels x n x rows rows of x. Those from full_first to full_end - 1 meet all `tall` rows of taps and go
`height` at a time; those of the others see for each tap whether it has a row of y.
"""

import itertools

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type

FIELDS = tuple(
    (
        "entry x y total channels n rows out_rows full_first full_end top vectors in_cols out_cols first "
        "x_c x_n x_row y_c y_n y_row total_c add longest"
    ).split()
)
POINTERS = {"x", "y", "total"}
# Sums that hide how long a multiply-add takes: where there are fewer, rows of x have sums of their own.
LEAST_SUMS = 8


def macs(task, lanes, elem, tall, steps, across, step, turn, height):
    """Multiply-adds of a task, those included that no sum needs."""
    rows = task["channels"] * task["n"] * task["rows"]
    return rows * task["vectors"] * lanes * tall * across


def columns_read(lanes, step, turn, across) -> int:
    """Columns of x that a vector of columns of y meets, which are read as one vector where there are shuffles."""
    return lanes // step + (turn > 0) + across - 1


def weight_gradient_planes(isa: Isa, elem, tall, steps, across, step, turn, height):
    """The kernel for `tall` rows of taps, and the taps of a row that a column meets, `across` at most.

    Args:
        steps: rows of y from row to row of x, and from tap to tap.
        step: columns of y from column to column of x.
        turn: how many columns before the first one of y the first tap of some column of x lies; less than `step`.
        height: rows of x at a time.
    """
    down, apart = steps
    name = f"weight_gradient_planes_{elem}_{tall}x{across}_s{down}d{apart}_s{step}t{turn}_{height}_{isa.name}"
    return _Planes(Builder(name), Type(elem, isa.lanes(SIZES[elem])), tall, steps, across, step, turn, height).kernel()


class _Planes:
    """What all parts of the kernel know."""

    def __init__(self, k, vector, tall, steps, across, step, turn, height):
        self.k, self.vector, self.tall, self.steps, self.across = k, vector, tall, steps, across
        self.step, self.turn, self.height = step, turn, height
        self.task = k.fields(FIELDS, POINTERS)
        # Of x and of y, columns from vector to vector.
        self.columns = vector.lanes // step
        self.used = self.columns * step
        self.read = columns_read(vector.lanes, step, turn, across)
        # Rows of x share sums where there are enough of them.
        self.sets = min(height, -(-LEAST_SUMS // (tall * across)))
        self.shared = -(-height // self.sets)

    def kernel(self):
        k, task, (down, apart) = self.k, self.task, self.steps
        self.whole, self.begin, self.end = self._whole(), self._masks(0), self._masks(task["vectors"] - 1)
        with k.loop(0, task["channels"]) as channel:
            zero = k.zero(self.vector)
            sums = [
                [[k.variable(zero) for _ in range(self.across)] for _ in range(self.tall)] for _ in range(self.sets)
            ]
            self.add, self.length, row = k.variable(task["add"], I64), k.variable(0, I64), k.variable(0, I64)
            with k.loop(0, task["n"]) as n:
                x = task["x"] + (channel * task["x_c"] + n * task["x_n"] + task["first"] * self.vector.scalar.size)
                y = task["y"] + (channel * task["y_c"] + n * task["y_n"])
                row.set(0)
                with k.repeat() as leave:
                    here = row.get()
                    leave(k.less(task["rows"] - 1, here))
                    self._count(2 * self.shared, channel, sums)
                    there = here * down + task["top"]
                    at = x + here * task["x_row"], y + there * task["y_row"]
                    fits = k.less(here, task["full_end"] - (self.height - 1))
                    are_full = k.iand(k.less(task["full_first"] - 1, here), fits)
                    with k.when(are_full):
                        self._rows(*at, self.height, channel, sums)
                        row.set(here + self.height)
                    with k.when(k.negate(are_full)):
                        ours = [there + t * apart for t in range(self.tall)]
                        exist = [k.iand(k.less(-1, one), k.less(one, task["out_rows"])) for one in ours]
                        self._rows(*at, 1, channel, sums, exist)
                        row.set(here + 1)
            self._put(channel, sums)
        return k

    def _whole(self):
        """(of x, of y, of each q) the masks of a vector all of whose columns exist."""
        k, vector = self.k, self.vector
        x, y = (None if many == vector.lanes else k.lane_mask(many, vector) for many in (self.read, self.used))
        return x, y, [None] * self.across

    def _masks(self, number):
        """The same of a vector that may begin or end beyond its row."""
        k, task, vector = self.k, self.task, self.vector
        first = task["first"] + number * self.columns
        left = task["in_cols"] - first
        lanes = k.imin(task["out_cols"] - number * self.used, self.used)
        qs = []
        for q in range(self.across):
            ahead = self.across - 1 - q
            begin, end = (first + ahead) * -self.step - self.turn, (left - ahead) * self.step - self.turn
            qs.append(k.lane_mask_between(begin, k.imin(end, lanes), vector))
        x = k.lane_mask_between(first * -1, k.imin(left, self.read), vector)
        return x, k.lane_mask(lanes, vector), qs

    def _count(self, products, channel, sums):
        """So many products more for every sum, which is put aside where that would make it too long."""
        k = self.k
        with k.when(k.less(self.task["longest"], self.length.get() + products)):
            self._put(channel, sums)
            self.add.set(1)
            self.length.set(0)
            for variable in itertools.chain(*itertools.chain(*sums)):
                variable.set(k.zero(self.vector))
        self.length.set(self.length.get() + products)

    def _rows(self, x, y, height, channel, sums, exist=None):
        """`height` rows of x from one end to the other; `exist` says of each tap whether it has a row of y."""
        k, last = self.k, self.task["vectors"] - 1
        with k.when(k.less(0, last)):
            self._vector(x, y, height, sums, self.begin, exist)
        most = k.imax(k.divide(self.task["longest"], self.shared), 1)
        with k.loop(1, last, most) as first:
            end = k.imin(first + most, last)
            self._count((end - first) * self.shared, channel, sums)
            with k.loop(first, end) as number:
                self._numbered(x, y, number, height, sums, self.whole, exist)
        self._numbered(x, y, last, height, sums, self.end, exist)

    def _numbered(self, x, y, number, *rest):
        number, size = self.k.opaque(number), self.vector.scalar.size
        self._vector(x + number * (self.columns * size), y + number * (self.used * size), *rest)

    def _vector(self, x, y, height, sums, masks, exist):
        """One vector of columns of y in each of the rows that some rows of x meet."""
        k, task, (down, apart) = self.k, self.task, self.steps
        spread = []
        for _ in range(height):
            spread.append(self._spread(x, masks))
            x = x + task["x_row"]
        meet = {}
        for r in range(height):
            for t in range(self.tall):
                meet.setdefault(r * down + t * apart, []).append((r, t))
        before = 0
        for row, pairs in sorted(meet.items()):
            for _ in range(row - before):
                y = y + task["y_row"]
            before = row
            if exist is None:
                self._multiply(y, spread, pairs, sums, masks)
                continue
            # A single row of x meets a row of y through one tap.
            with k.when(exist[pairs[0][1]]):
                self._multiply(y, spread, pairs, sums, masks)

    def _spread(self, x, masks):
        """For each q the vector of the columns of x that those of y meet."""
        k, vector, (x_mask, _, q_masks) = self.k, self.vector, masks
        before = range(self.across - 1, -1, -1)
        if self.step == 1:
            return [
                k.load(x + ahead * vector.scalar.size, vector, mask)
                for ahead, mask in zip(before, q_masks, strict=True)
            ]
        line = k.load(x, vector, x_mask)
        # Lanes beyond the used ones have any column.
        lanes = [
            [min((lane + self.turn) // self.step + ahead, self.read - 1) for lane in range(vector.lanes)]
            for ahead in before
        ]
        return [k.shuffle(line, line, each) for each in lanes]

    def _multiply(self, y, spread, pairs, sums, masks):
        """A vector of y by those of (row of x, tap), each into its sum."""
        k, (_, y_mask, q_masks) = self.k, masks
        line = k.load(y, self.vector, y_mask)
        for r, t in pairs:
            for value, mask, variable in zip(spread[r], q_masks, sums[r % self.sets][t], strict=True):
                old = variable.get()
                new = k.muladd(value, line, old)
                variable.set(new if mask is None else k.blend(mask, new, old))

    def _put(self, channel, sums):
        """Write the sums, or add them to what is there."""
        k, task, places = self.k, self.task, []
        total = task["total"] + channel * task["total_c"]
        for t in range(self.tall):
            for q in range(self.across):
                found, *others = [each[t][q].get() for each in sums]
                for other in others:
                    found = k.add(found, other)
                places.append((total + (t * self.across + q) * self.vector.size, found))
        adds = k.less(0, self.add.get())
        with k.when(adds):
            for place, value in places:
                k.store(k.add(value, k.load(place, self.vector)), place)
        with k.when(k.negate(adds)):
            for place, value in places:
                k.store(value, place)
