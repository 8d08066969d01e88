"""The same product with the roles exchanged: columns of x along the vector, few channels and all phases unrolled.

    y[r, row, j*s + p]  =  bias[r]  +  sum over c, t_h, m of  x[c, row + t_h, column] * w[c, r, t_h, p, m]
    column  =  j*step + a_p - m*back

    x   read in place, channels-first: the pixels of a row consecutive, channels `x_c` apart
    step  1, or that of the gradient in the input, which has one phase: the columns of a vector are `step` apart then
    w   the weight as it is: any strides, one number at a time; phase p has n_p taps in a row, from `first_p` on
    y   written, never read: the s phases of a row interleaved in registers; or, for s = 1, on any step `y_col`;
        or, `joined`, all mr channels of all phases interleaved, there being no others

A task is images x rows x a whole row of columns, of some groups and blocks of mr channels. Columns are listed as
vectors, so that a tile of `nv` vectors runs on over the ends of rows and images. What lies beyond a row of x does not
exist: a vector at its ends reads, multiplies and writes under masks, whatever the weights are. The last vector of a row
is shifted back to end with it (equal values are computed again). Taps that all phases have at the same place of x are
`shared`: x is read once for all of them. Sums are cut as in `gemm`, those of each phase by themselves.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type
from .columns_apart import inside_row, load_apart, quotient
from .depthwise_rows import interleaved
from .epilogue import Epilogue, suffix
from .gemm import MEDIUM_SUM, SHORT_SUM, longest_sum, spill_partial_sums, whole_parts

VECTORS_PER_BLOCK = 96
CHANNELS_AT_ONCE = 32
PLACE = 32
FIELDS = tuple(
    (
        "entry x y w bias n rows groups c n_h in_cols out_cols x_n x_row x_c x_h x_g y_n y_row y_c y_g y_col "
        "w_h w_w w_c w_r w_g bias_g blocks w_b back places totals shared_a shared_count slope"
    ).split()
)
PHASE_FIELDS = "shared a n first".split()
POINTERS = {"x", "y", "w", "bias", "places", "totals"}


def fields(s):
    """The names of a task's fields; those of phase p end in _p: the first shared tap, and the taps of its own."""
    return FIELDS + tuple(f"{name}_{p}" for p in range(s) for name in PHASE_FIELDS)


NAMES = {s: fields(s) for s in range(1, 5)}


def fields_of(elem, mr, s, nv, joined=False, step=1, activation="none"):
    """The names of the fields of the kernel with these arguments."""
    return NAMES[s]


def macs(task, lanes, elem, mr, s, nv, joined=False, step=1, activation="none"):
    """Multiply-adds of a task, those included that no output needs."""
    columns = -(-task["out_cols"] // s)
    per_row = -(-columns // lanes)
    vectors = -(-task["n"] * task["rows"] * per_row // nv) * nv
    taps = s * task["shared_count"] + (sum(task[f"n_{p}"] for p in range(s)) if s > 1 else 0)
    return task["groups"] * task["blocks"] * vectors * lanes * mr * task["n_h"] * taps * task["c"]


def scratch(vector_bytes, mr, s, nv):
    """Bytes of the listed vectors and of the partial sums."""
    return {"places": PLACE * VECTORS_PER_BLOCK, "totals": mr * s * nv * vector_bytes}


def direct_rows(isa: Isa, elem, mr, s, nv, joined=False, step=1, activation="none"):
    """The kernel for a tile of mr channels by s phases by nv vectors of columns."""
    apart = f"_by{step}" if step > 1 else ""
    k = Builder(f"direct_rows_{elem}_{mr}x{s}x{nv}{'_joined' if joined else ''}{apart}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(NAMES[s], POINTERS)
    low, high = _reach(k, task, s)
    task |= dict(zip(("longest", "part"), _even_parts(k, task, s), strict=True))
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"))
    with k.loop(0, task["groups"]) as group, k.loop(0, task["blocks"]) as block:
        steps = {"x": 0, "y": task["y_c"] * mr, "w": task["w_b"], "bias": mr * vector.scalar.size}
        mine = {name: task[name] + group * task[f"{name}_g"] + block * step for name, step in steps.items()}
        _block(
            k,
            _List(k, task | mine, vector, (s, step), low, high),
            _Tile(k, task | mine, vector, (mr, s, nv, joined, step), epilogue),
        )
    return k


def _reach(k, task, s):
    """(least, largest) place in x of a tap, counted from its column."""
    low = high = 0
    lists = [(task["shared_a"], task["shared_count"])] + [(task[f"a_{p}"], task[f"n_{p}"]) for p in range(s)]
    for a, count in lists:
        last = a - (count - 1) * task["back"]
        some = k.less(0, count)
        low = k.select(some, k.imin(low, k.imin(a, last)), low)
        high = k.select(some, k.imax(high, k.imax(a, last)), high)
    return low, high


def _even_parts(k, task, s):
    """`even_parts` of a task, for the phase of most taps."""
    most = task["shared_count"]
    if s > 1:
        for p in range(s):
            most = k.imax(most, task["shared_count"] + task[f"n_{p}"])
    return even_parts(k, task["c"], task["n_h"] * most, s)


def even_parts(k, c, taps, s):
    """(products of the longest sum; channels that are taken at a time) for so many channels under so many taps."""
    # Few channels of the result are few numbers, which engines sum in several lanes.
    longest = k.imin(longest_sum(k, c, taps), MEDIUM_SUM)
    if s > 1:
        # Two taps of few channels are one sum.
        longest = k.imax(longest, k.imin(2 * c, SHORT_SUM))
    part = _even(k, c, k.imin(longest, CHANNELS_AT_ONCE))
    # The longest ones go beyond for no whole part.
    return k.select(k.less(longest, MEDIUM_SUM), whole_parts(k, longest, part), longest), part


def _even(k, total, most):
    """The size of the largest part where a total is cut into the fewest even ones of at most `most`."""
    parts = k.imax(k.divide(total + (most - 1), most), 1)
    return k.imax(k.divide(total + (parts - 1), parts), 1)


def _block(k, places, tile):
    """All vectors of one block of channels, some at a time: list them, then multiply."""
    task, nv = tile.task, tile.nv
    block = VECTORS_PER_BLOCK // nv * nv
    with k.loop(0, places.total, block) as start:
        left = places.total - start
        with k.loop(0, k.imin(left + (nv - 1), block)) as place:
            places.note(place, more=place + 1 < left)
        with k.loop(0, k.imin(left, block), nv) as first:
            tile.run(task["places"] + first * PLACE)


class _List:
    """The vectors of columns one after another: offsets in x and in y, the first column, and whether all is inside."""

    def __init__(self, k, task, vector, steps, low, high):
        self.k, self.task, self.vector, self.low, self.high = k, task, vector, low, high
        self.s, self.step = s, _ = steps
        lanes = vector.lanes
        # Columns: places of the output, over s. A row is cut into ceil(columns / lanes) vectors.
        self.columns = quotient(k, task["out_cols"] + (s - 1), s)
        self.last = k.imax(self.columns - lanes, 0)
        per_row = k.shift_right(self.columns + (lanes - 1), lanes.bit_length() - 1)
        self.total = task["n"] * task["rows"] * per_row
        self.n, self.row, self.col = (k.variable(0, I64) for _ in range(3))

    def note(self, place, more):
        """Write the current vector and, if there are more, go to the next."""
        k, task, size, lanes = self.k, self.task, self.vector.scalar.size, self.vector.lanes
        n, row, col = self.n.get(), self.row.get(), self.col.get()
        j = k.imin(col, self.last)
        there = task["places"] + place * PLACE
        k.store(n * task["x_n"] + row * task["x_row"] + j * (self.step * size), there)
        k.store(n * task["y_n"] + row * task["y_row"] + j * (task["y_col"] * self.s), there + 8)
        k.store(j, there + 16)
        first, reach = j * self.step, (lanes - 1) * self.step
        reads = k.iand(k.less(-1, first + self.low), first + self.high < task["in_cols"] - reach)
        clear = k.iand(reads, (j + lanes) * self.s < task["out_cols"] + 1)
        k.store(k.select(clear, 0, 1), there + 24)
        with k.when(more):
            beyond = col + lanes
            in_row = beyond < self.columns
            next_row = k.select(in_row, row, row + 1)
            end_of_image = k.equal(next_row, task["rows"])
            self.col.set(k.select(in_row, beyond, 0))
            self.row.set(k.select(end_of_image, 0, next_row))
            self.n.set(k.select(end_of_image, n + 1, n))


class _Tile:
    """mr channels by s phases by nv vectors: the sums live in registers from the first tap to the last."""

    def __init__(self, k, task, vector, shape, epilogue):
        self.k, self.task, self.vector, self.epilogue = k, task, vector, epilogue
        self.mr, self.s, self.nv, self.joined, self.step = shape

    def run(self, places):
        """The tile of the vectors listed at `places`: without masks where all of them are inside."""
        k = self.k
        border = k.load(places + 24, I64)
        for v in range(1, self.nv):
            border = border + k.load(places + (v * PLACE + 24), I64)
        with k.when(k.equal(border, 0)):
            self.compute(places, None)
        with k.when(k.less(0, border)):
            self.compute(places, [k.load(places + (v * PLACE + 16), I64) for v in range(self.nv)])

    def compute(self, places, columns):
        """Sums, bias, store; `columns` are the vectors' first ones if there may be a border."""
        k, task, vector = self.k, self.task, self.vector
        x = [task["x"] + k.load(places + PLACE * v, I64) for v in range(self.nv)]
        y = [task["y"] + k.load(places + (PLACE * v + 8), I64) for v in range(self.nv)]
        # Lines of y that are not in the cache are on their way while the products are made.
        for pointer in y:
            for line in range(self.mr * self.s):
                k.prefetch(self.line(pointer, line), write=True)
        zero = k.zero(vector)
        # sums[p][r][v]
        sums = [[[k.variable(zero) for _ in range(self.nv)] for _ in range(self.mr)] for _ in range(self.s)]
        # How long the sums of each phase are, and whether they were cut.
        lengths, cuts = ([k.variable(0, I64) for _ in sums] for _ in range(2))
        taps = [(range(self.s), task["shared_a"], task["shared_count"], [task[f"shared_{p}"] for p in range(self.s)])]
        if self.s > 1:
            taps += [([p], task[f"a_{p}"], task[f"n_{p}"], [task[f"first_{p}"]]) for p in range(self.s)]
        # Some channels at a time, so that what one tap has read is still in the cache for the next one.
        with k.loop(0, task["c"], task["part"]) as start:
            part = k.imin(task["c"] - start, task["part"])
            with k.loop(0, task["n_h"]) as t_h:
                for phases, a, count, first in taps:
                    with k.loop(0, count) as m:
                        for p in phases:
                            with k.when(lengths[p].get() + part > task["longest"]):
                                spill_partial_sums(k, self.totals(p), vector, _flat(sums[p]), cuts[p])
                                lengths[p].set(0)
                            lengths[p].set(lengths[p].get() + part)
                        column = a - m * task["back"]
                        step = self.opaque(t_h * task["x_h"] + start * task["x_c"] + column * vector.scalar.size)
                        w = task["w"] + self.opaque(t_h * task["w_h"] + start * task["w_c"] + m * task["w_w"])
                        masks = columns and [self.inside(j * self.step + column) for j in columns]
                        mine = [sums[p] for p in phases]
                        self.channels([pointer + step for pointer in x], [w + at for at in first], part, masks, mine)
        for p, cut in enumerate(cuts):
            with k.when(cut.get() > 0):
                for place, variable in enumerate(_flat(sums[p])):
                    variable.set(k.add(variable.get(), k.load(self.totals(p) + place * vector.size, vector)))
        self.write(y, columns, sums)

    def opaque(self, step):
        """How far a tap is from the first one, of which LLVM knows nothing where there are some phases.

        Or it has a pointer for each weight and each vector of every list of taps. All but a few lie in memory, to go on
        one by one in each loop around. A single phase has one list: its few pointers take less than to add a step.
        """
        return self.k.opaque(step) if self.s > 1 else step

    def totals(self, p):
        """Where the partial sums of a phase are."""
        return self.task["totals"] + p * (self.mr * self.nv * self.vector.size)

    def inside(self, first):
        """The masks of a vector whose source begins at `first`."""
        return inside_row(self.k, self.vector, self.step, first, self.task["in_cols"])

    def channels(self, x, w, count, masks, sums):
        """Add the products of `count` channels, through one tap of some phases."""
        k, task = self.k, self.task
        with k.loop(0, count) as c:
            self.products([p + c * task["x_c"] for p in x], [p + c * task["w_c"] for p in w], masks, sums)

    def products(self, x, w, masks, sums):
        """Add one product to every sum of some phases."""
        k, task, vector = self.k, self.task, self.vector
        masks = masks or [(None, None)] * self.nv
        panel = [load_apart(k, pointer, vector, self.step, read) for pointer, (_, read) in zip(x, masks, strict=True)]
        for rows, weights in zip(sums, w, strict=True):
            for r, row in enumerate(rows):
                value = k.splat(k.load(weights + task["w_r"] * r, vector.scalar), vector)
                for variable, pixels, (lanes, _) in zip(row, panel, masks, strict=True):
                    old = variable.get()
                    new = k.muladd(value, pixels, old)
                    variable.set(new if lanes is None else k.blend(lanes, new, old))

    def line(self, pointer, number):
        """Where line `number` of a vector of columns is written: by channels, or all channels of a pixel together."""
        if self.joined:
            return pointer + number * self.vector.size
        return pointer + self.task["y_c"] * (number // self.s) + number % self.s * self.vector.size

    def write(self, y, columns, sums):
        """Add the bias, bring the phases together, and write."""
        k, task, vector, s, mr = self.k, self.task, self.vector, self.s, self.mr
        bias = [k.splat(k.load(task["bias"] + r * vector.scalar.size, vector.scalar), vector) for r in range(mr)]
        # Lines that are interleaved: those of a channel, or all.
        together = [[(p, r) for p in range(s)] for r in range(mr)]
        together = [[(p, r) for p in range(s) for r in range(mr)]] if self.joined else together
        for v, pointer in enumerate(y):
            left = None if columns is None else (task["out_cols"] - columns[v] * s) * (mr if self.joined else 1)
            for number, places in enumerate(together):
                lines = interleaved(k, [self.epilogue(k.add(sums[p][r][v].get(), bias[r])) for p, r in places])
                for q, line in enumerate(lines):
                    mask = None if left is None else k.lane_mask(left - q * vector.lanes, vector)
                    self.put(line, self.line(pointer, number * len(places) + q), mask)

    def put(self, line, pointer, mask):
        k, task, vector = self.k, self.task, self.vector
        if self.s > 1 or self.joined:
            k.store(line, pointer, mask)
            return
        dense = k.equal(task["y_col"], vector.scalar.size)
        with k.when(dense):
            k.store(line, pointer, mask)
        with k.when(k.equal(dense, 0)):
            k.store_strided(line, pointer, task["y_col"], k.lane_mask(vector.lanes, vector) if mask is None else mask)


def _flat(rows):
    return [variable for row in rows for variable in row]
