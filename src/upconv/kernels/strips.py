"""Every plane with a kernel of its own, all phases of a row together: y is written once, and in order.

    y[row, j*s + p]  =  bias  +  sum over t_h and m of  x[row + t_h, j + a_p - m*back] * w[t_h, first_p + m]

    x      a row of pixels, consecutive                    x0 x1 x2 x3 ..
    sums   one vector of columns j for each of s phases    a0 a1 a2 a3 ..   b0 b1 b2 b3 ..
    y      the sums interleaved in registers               a0 b0 a1 b1 a2 b2 a3 b3 ..
    w      as it is, one number at a time: n_h rows of n_p taps for phase p, taps `w_w` apart

A job is groups x n x rows rows of x on any strides. What lies beyond the columns of x does not exist, and its products
are left out whatever the weights are. So the columns that have all their taps are cut into vectors, and the few at
either end go one number at a time, asking for every tap. The last vector is shifted back to end with its columns (equal
values are computed again), and columns fewer than a vector run under one mask, so nothing beyond a row is read or
written. Sums are in the order of the taps, m before t_h, and begin with the bias.
"""

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, SIZES, Builder, Type

WORDS = (
    "entry x y w bias n rows groups n_h in_cols out_cols x_n x_row x_h x_g y_n y_row y_g w_h w_w w_g bias_g back"
).split()
PHASE_WORDS = "a n first".split()
POINTERS = {"x", "y", "w", "bias"}
# Vectors across: a weight is spread over a vector once for so many.
ACROSS = {1: 4, 2: 2, 3: 2, 4: 2}
# Taps of a phase either way that are written out; most layers have no more. The others are loops.
NEAR = {1: 3, 2: 2, 3: 2, 4: 2}
# A row of y is written while the one so many rows above it is computed: fetching it first takes longer than that.
AHEAD = 4
CACHE_LINE = 64


def words(s):
    """The names of a job's words; those of phase p are a_p, n_p and first_p."""
    return WORDS + [f"{name}_{p}" for p in range(s) for name in PHASE_WORDS]


def strips(isa: Isa, elem, s):
    """The kernel for s phases."""
    k = Builder(f"strips_{elem}_{s}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    names = words(s)
    job = dict(zip(names, k.words(*(PTR if name in POINTERS else I64 for name in names)), strict=True))
    first, last, end = _interior(k, job, s)
    with k.loop(0, job["groups"]) as group:
        mine = {name: job[name] + group * job[f"{name}_g"] for name in ("x", "y", "w", "bias")}
        taps = _Taps(k, job, vector, s, mine["w"], isa.registers)
        bias = k.load(mine["bias"], vector.scalar)
        with k.loop(0, job["n"]) as n, k.loop(0, job["rows"]) as row:
            # LLVM would move a pointer for every tap from row to row, more than there are registers.
            x = mine["x"] + k.opaque(n * job["x_n"] + row * job["x_row"])
            y = mine["y"] + k.opaque(n * job["y_n"] + row * job["y_row"])
            strip = _Strip(k, job, vector, s, x, y, taps, bias)
            strip.border(first, last, end)
            strip.interior(first, last)
    return k


def _interior(k, job, s):
    """(first, last, end): all columns are 0..end-1; first..last-1 have all their taps and all their phases."""
    whole, end = _quotient(k, job["out_cols"], s), _quotient(k, job["out_cols"] + (s - 1), s)
    first, last = 0, whole
    for p in range(s):
        a, count = job[f"a_{p}"], job[f"n_{p}"]
        reach = (count - 1) * job["back"]
        lowest, highest = a - k.imax(reach, 0), a - k.imin(reach, 0)
        some = k.less(0, count)
        first = k.imax(first, k.choose(some, lowest * -1, 0))
        last = k.imin(last, k.choose(some, job["in_cols"] - highest, whole))
    first = k.imin(first, end)
    return first, k.imax(first, last), end


def _quotient(k, a, s):
    """a // s for a from 0 to 2**31 - 1."""
    if s == 3:
        return k.shift_right(a * -(-(1 << 32) // 3), 32)
    return k.shift_right(a, s.bit_length() - 1)


class _Taps:
    """The taps of one group. Near ones are found before the rows, and their weights stay in registers if these do."""

    def __init__(self, k, job, vector, s, w, registers):
        self.k, self.job, self.vector = k, job, vector
        self.w, self.near, self.weights = w, NEAR[s], {}
        self.columns = [[self._column(w, p, m) for m in range(self.near)] for p in range(s)]
        if s * (self.near**2 + ACROSS[s]) + 4 <= registers:
            self._keep(s)

    def _keep(self, s):
        """Spread the near weights that exist."""
        k, vector = self.k, self.vector
        zero = k.zero(vector)
        for p, m in ((p, m) for p in range(s) for m in range(self.near)):
            for t_h in range(self.near):
                kept = self.weights[p, m, t_h] = k.variable(zero)
                with k.when(k.iand(k.less(m, self.job[f"n_{p}"]), k.less(t_h, self.job["n_h"]))):
                    kept.set(self.spread(self.columns[p][m][1], t_h))

    def _column(self, w, p, m):
        """Of tap m of phase p: the offset in columns of x, and the address of the weight in the first row of taps."""
        job = self.job
        return job[f"a_{p}"] - job["back"] * m, w + job[f"first_{p}"] + job["w_w"] * m

    def spread(self, w, t_h):
        """The weight in row t_h of a column of taps as a vector."""
        return self.k.splat(self.k.load(w + self.job["w_h"] * t_h, self.vector.scalar), self.vector)

    def across(self, p, do):
        """do(offset, weight's address, m) for the columns of taps of phase p; m is None where it is not a number."""
        k, count = self.k, self.job[f"n_{p}"]
        for m, (offset, w) in enumerate(self.columns[p]):
            with k.when(k.less(m, count)):
                do(offset, w, m)
        with k.loop(self.near, count) as m:
            do(*self._column(self.w, p, k.opaque(m)), None)

    def down(self, do):
        """do(t_h) for the rows of taps."""
        k, n_h = self.k, self.job["n_h"]
        for t_h in range(self.near):
            with k.when(k.less(t_h, n_h)):
                do(t_h)
        with k.loop(self.near, n_h) as t_h:
            do(k.opaque(t_h))


class _Strip:
    """One row of x and what becomes of it in y."""

    def __init__(self, k, job, vector, s, x, y, taps, bias):
        self.k, self.job, self.vector, self.s = k, job, vector, s
        self.x, self.y, self.taps, self.bias = x, y, taps, bias

    def border(self, first, last, end):
        """Columns before `first` and from `last` on, one number at a time, with the taps that exist."""
        k, job, s, scalar = self.k, self.job, self.s, self.vector.scalar
        with k.loop(0, first + (end - last)) as place:
            j = k.opaque(k.choose(place < first, place, place + (last - first)))
            for p in range(s):
                column = j * s + p
                with k.when(column < job["out_cols"]):
                    total = k.variable(self.bias)
                    self.number(p, j, total)
                    k.store(total.get(), self.y + column * scalar.size)

    def number(self, p, j, total):
        """Add the products of phase p at column j that exist."""
        k, job, scalar = self.k, self.job, self.vector.scalar

        def column(offset, w, _):
            source = j + offset
            x = self.x + source * scalar.size

            def product(t_h):
                pixel, weight = k.load(x + job["x_h"] * t_h, scalar), k.load(w + job["w_h"] * t_h, scalar)
                total.set(k.muladd(pixel, weight, total.get()))

            with k.when(k.iand(k.less(-1, source), source < job["in_cols"])):
                self.taps.down(product)

        self.taps.across(p, column)

    def interior(self, first, last):
        """Columns first..last-1, which have all their taps: several vectors at a time, or one, or a part of one."""
        k, lanes, wide = self.k, self.vector.lanes, ACROSS[self.s] * self.vector.lanes
        count = last - first
        in_wide, in_one = k.less(wide - 1, count), k.less(lanes - 1, count)
        with k.loop(first, k.choose(in_wide, last, first), wide) as j:
            self.columns(k.opaque(k.imin(j, last - wide)), ACROSS[self.s])
        with k.loop(first, k.choose(in_wide, first, k.choose(in_one, last, first)), lanes) as j:
            self.columns(k.opaque(k.imin(j, last - lanes)), 1)
        with k.when(k.iand(k.less(0, count), count < lanes)):
            self.columns(first, 1, count)

    def columns(self, j, nv, count=None):
        """nv vectors of columns from j on, or `count` columns of one."""
        k, s, vector = self.k, self.s, self.vector
        mask = None if count is None else k.first(count, vector)
        bias = k.splat(self.bias, vector)
        sums = [[k.variable(bias) for _ in range(nv)] for _ in range(s)]
        here = self.x + j * vector.scalar.size
        for p, row in enumerate(sums):
            self.products(here, p, row, mask)
        out = self.y + j * (s * vector.scalar.size)
        if nv > 1:
            ahead = out + self.job["y_row"] * AHEAD
            for line in range(0, nv * s * vector.size, CACHE_LINE):
                k.prefetch(ahead + line, write=True)
        for v in range(nv):
            for q, line in enumerate(interleaved(k, [row[v].get() for row in sums])):
                inside = None if count is None else k.first(count * s - q * vector.lanes, vector)
                k.store(line, out + (v * s + q) * vector.size, inside)

    def products(self, here, p, row, mask):
        """Add all the products of phase p to its sums."""
        k, job, vector, taps = self.k, self.job, self.vector, self.taps

        def column(offset, w, m):
            x = here + offset * vector.scalar.size

            def product(t_h):
                kept = taps.weights.get((p, m, t_h))
                weight = kept.get() if kept else taps.spread(w, t_h)
                for v, variable in enumerate(row):
                    pixels = k.load(x + job["x_h"] * t_h + v * vector.size, vector, mask)
                    variable.set(k.muladd(weight, pixels, variable.get()))

            taps.down(product)

        taps.across(p, column)


def interleaved(k, lines):
    """As many vectors, with the first lanes of all lines, then the second lanes of all, and so on.

    The number of lines has no other prime factors than 2 and 3.
    """
    count = len(lines)
    if count == 1:
        return lines
    if count == 3:
        return [_third(k, lines, q) for q in range(count)]
    if count == 2:
        lanes = lines[0].type.lanes
        low = [lane // 2 + lane % 2 * lanes for lane in range(lanes)]
        return [k.shuffle(*lines, [lane + start for lane in low]) for start in (0, lanes // 2)]
    # Lines that are `rest` apart first, which gives `rest` sequences of `factor` vectors; then the sequences.
    factor = 2 if count % 2 == 0 else 3
    rest = count // factor
    sequences = [interleaved(k, lines[b::rest]) for b in range(rest)]
    return [line for q in range(factor) for line in interleaved(k, [sequence[q] for sequence in sequences])]


def _third(k, lines, q):
    """Vector q of three lines interleaved: two of the lines first, then the third in the places left for it."""
    a, b, c = lines
    lanes = a.type.lanes
    places = [divmod(q * lanes + lane, 3) for lane in range(lanes)]
    two = k.shuffle(a, b, [column + (lanes if p == 1 else 0) for column, p in places])
    return k.shuffle(two, c, [lanes + column if p == 2 else lane for lane, (column, p) in enumerate(places)])
