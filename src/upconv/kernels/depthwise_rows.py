"""Every channel with a kernel of its own, all phases of a row together: what they share is read and y written once.

    y[row, j*s + p]  =  bias  +  sum over t_h, m of  x[row + t_h, j*step + a_p - m*back] * w[t_h, p, m]

    x    a row of pixels, consecutive              x0 x1 x2 x3 ..
    sums one vector of columns j for each phase    a0 a1 a2 a3 ..   b0 b1 b2 b3 ..
    y    the phases interleaved in registers       a0 b0 a1 b1 a2 b2 a3 b3 ..
    step 1, or that of the gradient in the input, which has one phase: the columns of a vector are `step` apart then
    w    as it is: phase p has n_p taps in a row, from `first_p` on, `w_w` apart

A task is groups x n x rows rows of x on any strides. What lies beyond a row does not exist: the first and the last
vector of a row read and multiply under a mask for each tap, whatever the weights are. The last vector is shifted back
to end with its row (equal values are computed again). There are few products for each value moved, so loops over taps
would take much of the time. Kernels are made for a number of taps, which are unrolled, with weights and masks loaded
before the rows; or for the taps of a row alone, and rows of taps are a loop; or with loops over both. `height` rows are
computed at a time: they share the masks of their first and last vectors, and none waits for another's sums; where fewer
are left, the last row is computed again. Sums are not cut, so there should be few taps.
"""

from ..codegen.isa import LINE, Isa
from ..codegen.lang import SIZES, Builder, Type
from .columns_apart import inside_row, load_apart, quotient
from .epilogue import Epilogue, suffix
from .some_lanes import store_some

FIELDS = tuple(
    (
        "entry x y w bias n rows groups n_h in_cols out_cols x_n x_row x_h x_g y_n y_row y_g w_h w_w w_g bias_g back "
        "slope"
    ).split()
)
PHASE_FIELDS = "a n first".split()
# Numbers of phases that are interleaved: those for whose sums there are registers.
PHASES = 1, 2, 3, 4, 6, 8
POINTERS = {"x", "y", "w", "bias"}
# Vectors across: a weight is spread over a vector once for so many.
ACROSS = {1: 4, 2: 2, 3: 2, 4: 2, 6: 1, 8: 1}
# A row of y is written while the one so many rows above it is computed: fetching it first takes longer than that.
AHEAD = 4
# Rows whose first and last vectors are computed together, by the number of vector registers.
HEIGHT = {32: {1: 4, 2: 4, 3: 2, 4: 2, 6: 1, 8: 1}, 16: {1: 4, 2: 2, 3: 2, 4: 2, 6: 1, 8: 1}}


def fields(s):
    """The names of a task's fields; those of phase p are a_p, n_p and first_p."""
    return FIELDS + tuple(f"{name}_{p}" for p in range(s) for name in PHASE_FIELDS)


NAMES = {s: fields(s) for s in PHASES}


def fields_of(elem, s, n_h=None, counts=None, height=1, step=1, activation="none"):
    """The names of the fields of the kernel with these arguments."""
    return NAMES[s]


def macs(task, lanes, elem, s, n_h=None, counts=None, height=1, step=1, activation="none"):
    """Multiply-adds of a task, those included that no output needs."""
    vectors = executed_vectors(task["rows"], -(-task["out_cols"] // s), lanes, height)
    return task["groups"] * task["n"] * vectors * lanes * task["n_h"] * sum(task[f"n_{p}"] for p in range(s))


def executed_vectors(rows, columns, lanes, height):
    """Vectors of each phase that are computed for some rows of so many columns."""
    across = -(-columns // lanes)
    ends = min(2, across)
    return rows * (across - ends) + -(-rows // height) * height * ends


def depthwise_rows(isa: Isa, elem, s, n_h=None, counts=None, height=1, step=1, activation="none"):
    """The kernel for s phases, some rows at a time, and columns of the source that are `step` apart.

    With `counts` it is for counts[p] taps of phase p along the row, in `n_h` rows, or in any without that; without
    both it is for any taps.
    """
    taps = "" if counts is None else f"_{'n' if n_h is None else n_h}x{''.join(map(str, counts))}"
    many = f"_rows{height}" * (height > 1) + f"_by{step}" * (step > 1)
    k = Builder(f"depthwise_rows_{elem}_{s}{taps}{many}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    names = fields(s)
    task = k.fields(names, POINTERS)
    row_of = _Rows(k, task, vector, (s, step), Epilogue(k, vector, activation, FIELDS.index("slope")))
    taps = _Loops(k, task, vector, s) if counts is None else _Written(k, task, vector, s, n_h, counts)
    taps.before_groups(row_of)
    with k.loop(0, task["groups"]) as group:
        mine = {name: task[name] + group * task[f"{name}_g"] for name in ("x", "y", "w", "bias")}
        taps.before_rows(mine["w"], isa.registers, max(ACROSS[s], height))
        bias = k.splat(k.load(mine["bias"], vector.scalar), vector)
        with k.loop(0, task["n"]) as n, k.loop(0, task["rows"], height) as row:
            # LLVM would move a pointer for every tap from row to row, more than there are registers.
            places = [row if r == 0 else k.imin(row + r, task["rows"] - 1) for r in range(height)]
            x = [mine["x"] + k.opaque(n * task["x_n"] + place * task["x_row"]) for place in places]
            y = [mine["y"] + k.opaque(n * task["y_n"] + place * task["y_row"]) for place in places]
            row_of.run(x, y, bias, taps, task["rows"] - row)
    return k


class _Rows:
    """How the columns of a row are cut into vectors.

    Columns are 0..end-1; from `last` on begins the last vector. Between the first and the last, `clear` says whether no
    tap can lie beyond the row.
    """

    def __init__(self, k, task, vector, steps, epilogue):
        self.k, self.task, self.vector, self.epilogue = k, task, vector, epilogue
        self.s, self.step = s, step = steps
        lanes = vector.lanes
        self.end = quotient(k, task["out_cols"] + (s - 1), s)
        self.last = k.imax(self.end - lanes, 0)
        low = high = 0
        for p in range(s):
            a, count = task[f"a_{p}"], task[f"n_{p}"]
            reach = (count - 1) * task["back"]
            some = k.less(0, count)
            low = k.select(some, k.imin(low, a - k.imax(reach, 0)), low)
            high = k.select(some, k.imax(high, a - k.imin(reach, 0)), high)
        # Behind the first vector, and up to where the last begins.
        beyond = (self.last - 1) * step + high
        self.clear = k.iand(k.less(-lanes * step - 1, low), k.less(beyond, task["in_cols"]))

    def inside(self, first):
        """The masks of a vector whose source begins at `first`."""
        return inside_row(self.k, self.vector, self.step, first, self.task["in_cols"])

    def run(self, x, y, bias, taps, left):
        """Some rows, of which there are `left`: their first vectors, those between, several at a time, and their last.

        `x` and `y` are where each of them begins.
        """
        k, task, last, height = self.k, self.task, self.last, len(x)
        tile = _Tile(self, x, y, bias, taps)
        with k.when(k.less(0, last)):
            tile.run(0, 1, taps.first or self.inside)
            if height == 1:
                self.middle(tile)
            else:
                with k.loop(0, k.imin(left, height)) as r:
                    here, there = x[0] + k.opaque(r * task["x_row"]), y[0] + k.opaque(r * task["y_row"])
                    self.middle(_Tile(self, [here], [there], bias, taps))
        tile.run(last, 1, taps.last or self.inside, task["out_cols"] - last * self.s)

    def middle(self, tile):
        """What lies between the first vector and the last."""
        k, lanes, last = self.k, self.vector.lanes, self.last
        wide, middle = ACROSS[self.s] * lanes, last - lanes
        in_wide = k.iand(self.clear, k.less(wide - 1, middle))
        in_one = k.iand(self.clear, k.iand(k.less(lanes - 1, middle), k.less(middle, wide)))
        with k.loop(lanes, k.select(in_wide, last, lanes), wide) as j:
            tile.run(k.opaque(k.imin(j, last - wide)), ACROSS[self.s], None)
        with k.loop(lanes, k.select(in_one, last, lanes), lanes) as j:
            tile.run(k.opaque(k.imin(j, last - lanes)), 1, None)
        neither = k.select(k.equal(in_wide, 0), k.select(k.equal(in_one, 0), last, 0), 0)
        with k.loop(lanes, neither, lanes) as j:
            tile.run(k.opaque(j), 1, self.inside)


class _Taps:
    """The taps of a task: `each` walks through those of a phase, as do(m, t_h, offset in columns, weight)."""

    first = last = None

    def __init__(self, k, task, vector, s):
        self.k, self.task, self.vector, self.s = k, task, vector, s

    def before_groups(self, rows):
        """What all groups have in common."""

    def before_rows(self, w, registers, vectors):
        """What all rows of a group, whose weights are at w, have in common; a tile has `vectors` of each phase."""
        self.w = w

    def offset(self, p, m):
        return self.task[f"a_{p}"] - self.task["back"] * m

    def weight(self, p, m, t_h):
        """A weight spread over a vector."""
        task = self.task
        there = self.w + task[f"first_{p}"] + task["w_w"] * m + task["w_h"] * t_h
        return self.k.splat(self.k.load(there, self.vector.scalar), self.vector)


class _Loops(_Taps):
    """Any number of taps."""

    def each(self, p, do):
        k = self.k
        with k.loop(0, self.task[f"n_{p}"]) as m, k.loop(0, self.task["n_h"]) as t_h:
            m, t_h = k.opaque(m), k.opaque(t_h)
            do(m, t_h, self.offset(p, m), self.weight(p, m, t_h))


class _Written(_Taps):
    """So many taps, written out. Their weights stay in registers if these do."""

    def __init__(self, k, task, vector, s, n_h, counts):
        super().__init__(k, task, vector, s)
        self.n_h, self.counts = n_h, counts
        self.kept = {}

    def before_groups(self, rows):
        columns = [(p, m) for p, count in enumerate(self.counts) for m in range(count)]
        self.first = {column: rows.inside(self.offset(*column)) for column in columns}
        self.last = {column: rows.inside(rows.last * rows.step + self.offset(*column)) for column in columns}

    def before_rows(self, w, registers, vectors):
        super().before_rows(w, registers, vectors)
        rows = range(self.n_h or 0)
        keys = [(p, m, t_h) for p, count in enumerate(self.counts) for m in range(count) for t_h in rows]
        if len(keys) + self.s * vectors + 3 <= registers:
            self.kept = {key: self.weight(*key) for key in keys}

    def each(self, p, do):
        if self.n_h is None:
            with self.k.loop(0, self.task["n_h"]) as t_h:
                t_h = self.k.opaque(t_h)
                for m in range(self.counts[p]):
                    do(m, t_h, self.offset(p, m), self.weight(p, m, t_h))
            return
        for m in range(self.counts[p]):
            for t_h in range(self.n_h):
                key = p, m, t_h
                do(m, t_h, self.offset(p, m), self.kept[key] if key in self.kept else self.weight(*key))


class _Tile:
    """Some vectors of columns of one row, or one vector of some rows."""

    def __init__(self, rows, x, y, bias, taps):
        self.rows, self.x, self.y, self.bias, self.taps = rows, x, y, bias, taps

    def run(self, j, nv, inside, left=None):
        """nv vectors of each row from column j on; `inside` gives masks, and `left` is how many outputs there are."""
        rows = self.rows
        k, vector, s = rows.k, rows.vector, rows.s
        sums = [[k.variable(self.bias) for _ in range(nv * len(self.x))] for _ in range(s)]
        here = [x + j * (rows.step * vector.scalar.size) for x in self.x]
        for p, row in enumerate(sums):
            self.products(here, j, p, row, inside)
        there = [y + j * (s * vector.scalar.size) for y in self.y]
        for pointer in there:
            ahead = pointer + rows.task["y_row"] * AHEAD
            for line in range(0, nv * s * vector.size, LINE):
                k.prefetch(ahead + line, write=True)
        lines = [interleaved(k, [rows.epilogue(place.get()) for place in places]) for places in zip(*sums, strict=True)]
        for number, found in enumerate(lines):
            out, v = there[number // nv], number % nv
            for q, line in enumerate(found if left is None else ()):
                k.store(line, out + (v * s + q) * vector.size)
        for q in range(0 if left is None else s):
            places = [out + q * vector.size for out in there]
            store_some(k, vector, 0, left - q * vector.lanes, [found[q] for found in lines], places)

    def products(self, here, j, p, sums, inside):
        """Add all the products of phase p to its sums."""
        k, vector, step = self.rows.k, self.rows.vector, self.rows.step
        nv = len(sums) // len(here)

        def product(m, t_h, offset, weight):
            lanes = read = None
            if inside is not None:
                lanes, read = inside[p, m] if isinstance(inside, dict) else inside(j * step + offset)
            for number, variable in enumerate(sums):
                row, v = divmod(number, nv)
                x = here[row] + (offset * vector.scalar.size + self.rows.task["x_h"] * t_h)
                old = variable.get()
                new = k.muladd(weight, load_apart(k, x + v * (step * vector.size), vector, step, read), old)
                variable.set(new if lanes is None else k.blend(lanes, new, old))

        self.taps.each(p, product)


def interleaved(k, lines):
    """As many vectors, with the first lanes of all lines, then the second lanes of all, and so on."""
    count = len(lines)
    if count == 1:
        return lines
    if count == 2:
        lanes = lines[0].type.lanes
        low = [lane // 2 + lane % 2 * lanes for lane in range(lanes)]
        return [k.shuffle(*lines, [lane + start for lane in low]) for start in (0, lanes // 2)]
    # Lines that are `rest` apart first, which gives `rest` sequences of `factor` vectors; then the sequences.
    factor = _least_factor(count)
    if factor == count:
        return [_merged(k, lines, q) for q in range(count)]
    rest = count // factor
    sequences = [interleaved(k, lines[b::rest]) for b in range(rest)]
    return [line for q in range(factor) for line in interleaved(k, [sequence[q] for sequence in sequences])]


def _merged(k, lines, q):
    """Vector q of some lines interleaved: two of the lines first, then each other in the places left for it."""
    a, b, *others = lines
    lanes = a.type.lanes
    places = [divmod(q * lanes + lane, len(lines)) for lane in range(lanes)]
    found = k.shuffle(a, b, [column + (lanes if p == 1 else 0) for column, p in places])
    for number, line in enumerate(others, 2):
        mine = [lanes + column if p == number else lane for lane, (column, p) in enumerate(places)]
        found = k.shuffle(found, line, mine)
    return found


def separated(k, lines):
    """As many vectors, of which `interleaved` makes these."""
    count = len(lines)
    if count == 1:
        return lines
    factor = _least_factor(count)
    if factor == count:
        return [_every(k, lines, r) for r in range(count)]
    rest = count // factor
    parts = [separated(k, lines[q * rest : (q + 1) * rest]) for q in range(factor)]
    sequences = [separated(k, [part[b] for part in parts]) for b in range(rest)]
    return [sequences[number % rest][number // rest] for number in range(count)]


def _every(k, lines, r):
    """Of some lines, one behind another, the numbers that are as many apart, from number r on."""
    lanes = lines[0].type.lanes
    places = [divmod(lane * len(lines) + r, lanes) for lane in range(lanes)]
    found = k.shuffle(*lines[:2], [column + (lanes if q == 1 else 0) for q, column in places])
    for number, line in enumerate(lines[2:], 2):
        mine = [lanes + column if q == number else lane for lane, (q, column) in enumerate(places)]
        found = k.shuffle(found, line, mine)
    return found


def _least_factor(count):
    return next(factor for factor in range(2, count + 1) if count % factor == 0)
