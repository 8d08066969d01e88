"""The phases of a row along the vector, for strides as long as one: the weight as it lies, and the pixels of a row.

    y[o, row, j*s + p]  =  bias[o]  +  sum over c, t_h, t of  x[c, row + t_h, j - t] * w[c, o, t_h, p + t*s]

    x   read in place, channels-first: the pixels of a row consecutive, channels `x_c` apart, one number at a time
    w   the taps of a row consecutive, all other strides any; it may be halves
    y   written, never read; the columns of a row consecutive: output j*s + p - crop for phase p of place j

A task is images x rows x all places of a row, of `blocks` blocks of `nv` vectors: of consecutive phases, or of the same
phases of `nv` channels (`w_v`, `y_v`, `lanes` and `bias_v` lead from vector to vector). The phases of a block, `width`
of them from `p` on, all have `taps` taps; if vectors are not full the kernel is one for a `rest`.

The weights of a block and of some channels, a `part`, are copied together, into the first-level cache, where all pixels
of some rows use them; sums of several parts wait in memory meanwhile. Places that have the same taps, and all of whose
phases are inside the row, are a run: tiles of a few heights go along it, the last of them shifted back. Runs too short
for the lowest tile are computed place by place down the rows, where a tile repeats the last row.
"""

from typing import NamedTuple

from ..codegen.isa import Isa
from ..codegen.lang import I64, SIZES, Builder, Type, Value
from .epilogue import Epilogue, suffix
from .some_lanes import store_some
from .stored import Stored
from .stored import suffix as stored_suffix

# Pixels of the tiles by the number of vector registers and of vectors across, the highest first. The lowest has about
# as many sums as a multiply-add takes to finish: a lower one would take as long.
HEIGHTS = {32: {2: (12, 8, 4), 1: (24, 16, 8)}, 16: {2: (6, 4), 1: (8, 4)}}
MOST_ACROSS = 2
UNROLL = 4
FIELDS = tuple(
    (
        "entry x y w bias c part n rows lines n_h x_n x_row x_c x_h y_n y_row w_h w_t w_c w_v y_v lanes bias_v "
        "s crop first end in_cols out_cols p width taps blocks panel totals slope"
    ).split()
)
POINTERS = {"x", "y", "w", "bias", "panel", "totals"}


def heights(isa: Isa, nv) -> tuple[int, ...]:
    """Pixels of the tiles, the highest first."""
    return HEIGHTS[isa.registers][nv]


def runs(taps, first, end, columns, s, crop, out, p, width):
    """(places, taps) of every run of places from `first` to `end` that is computed for phases p to p + width - 1."""
    j = first
    while j < end:
        before, room = crop - p - j * s, out + crop - p - j * s
        number = max(0, min(taps, j + 1) - max(0, j - columns + 1))
        if taps - 1 <= j < columns:
            count = columns - j
        elif j < 0:
            count = -j
        else:
            count = end - j if j >= columns + taps - 1 else 1
        is_clear = before <= 0 and room >= width
        count = min(count, (room - width) // s + 1, end - j) if is_clear else 1
        if max(before, 0) < min(width, room):
            yield count, number
        j += count


def computed(count, lines, tall) -> int:
    """Pixels of the tiles that a run of so many places in so many lines takes; `_Block.along` does what this says."""
    if count < tall[-1]:
        return count * -(-lines // tall[-1]) * tall[-1]
    left, pixels = count, 0
    for height, lower in zip(tall, (*tall[1:], 0), strict=True):
        whole = left // height * height
        reach = whole + height if whole + lower < left and height <= count else whole
        left, pixels = left - min(reach, left), pixels + reach
    return lines * pixels


def tiles(count, lines, tall) -> int:
    """Tiles of a run of so many places in so many lines, or the lines that its tiles go along."""
    return lines if count >= tall[-1] else count * -(-lines // tall[-1])


def macs(task, lanes, elem, tall, nv, rest=False, storage="", activation="none"):
    """Multiply-adds of a task, those included that no output needs."""
    lines, total = task["n"] * task["rows"], 0
    names = "taps first end in_cols s crop out_cols".split()
    for block in range(task["blocks"]):
        p = task["p"] + block * nv * lanes
        for count, taps in runs(*(task[name] for name in names), p, task["width"]):
            whole, left = divmod(lines, task["lines"])
            pixels = whole * computed(count, task["lines"], tall) + (computed(count, left, tall) if left else 0)
            total += pixels * taps * task["n_h"] * task["c"] * nv * lanes
    return total


def scratch(vector_bytes, tall, nv, products, columns, lines):
    """Bytes of a part of so many products, and of the sums that wait, of rows of so many places in `lines` lines."""
    low = tall[-1] - 1
    pixels = columns * (lines + low) + 3 * low * lines
    return {"panel": products * nv * vector_bytes, "totals": pixels * nv * vector_bytes}


def direct_phases(isa: Isa, elem, tall, nv, rest=False, storage="", activation="none"):
    """The kernel for tiles of some heights by nv vectors; of a `rest` the last of these, or each, is not full."""
    shape = f"{'_'.join(map(str, tall))}x{nv}{'_rest' * rest}"
    k = Builder(f"direct_phases_{elem}_{shape}{stored_suffix(storage)}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    task |= {"size": vector.scalar.size, "w_size": Stored(k, isa, vector, storage).size}
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"))
    with k.loop(0, task["blocks"]) as block:
        p = task["p"] + block * (nv * vector.lanes)
        mine = task | {"p": p, "w": task["w"] + p * task["w_size"], "y": task["y"] + (p - task["crop"]) * task["size"]}
        _Block(k, isa, mine, vector, (tall, nv, rest, storage), epilogue).run()
    return k


class _Part(NamedTuple):
    """Some channels: the first, how many; whether there are parts before, and parts behind."""

    first: Value
    count: Value
    is_later: Value
    is_more: Value


class _Run(NamedTuple):
    """`count` places from `place` on, of `taps` taps from `first_tap` on.

    Of the phases those from `before` to `stop` are inside the row of the first place; all, and of all places, if it
    `is_clear`.
    """

    place: Value
    count: Value
    first_tap: Value
    taps: Value
    before: Value
    stop: Value
    is_clear: Value


class _Block:
    """One block of phases: for some lines at a time, part after part, all runs of places."""

    def __init__(self, k, isa, task, vector, shape, epilogue):
        self.k, self.task, self.vector, self.epilogue = k, task, vector, epilogue
        self.heights, self.nv, self.rest, storage = shape
        self.weight = Stored(k, isa, vector, storage)
        self.low, self.across = self.heights[-1], self.nv * vector.size
        # Which of the places, how far the sums of this part have come in memory.
        self.at = k.variable(0, I64)
        self.lines = _Lines(k, task)

    def run(self):
        k, task = self.k, self.task
        # Without taps nothing is summed, whatever the channels.
        channels = k.select(k.equal(task["n_h"] * task["taps"], 0), 1, task["c"])
        total = task["n"] * task["rows"]
        with k.loop(0, total, task["lines"]) as start:
            count = k.imin(total - start, task["lines"])
            self.lines.start.set(start)
            with k.loop(0, channels, task["part"]) as c:
                here = k.imin(channels - c, task["part"])
                self.copy(c, here)
                self.at.set(0)
                self.runs(count, _Part(c, here, k.less(0, c), k.less(c + here, channels)))

    def copy(self, c, count):
        """Put the weights of a part together in the order of their use."""
        k, task = self.k, self.task
        masks = [None] * self.nv
        if self.rest:
            masks = [k.lane_mask(task["width"] - task["lanes"] * v, self.vector) for v in range(self.nv)]
        tap = count * self.across
        with k.loop(0, count) as each, k.loop(0, task["n_h"]) as t_h, k.loop(0, task["taps"]) as t:
            source = task["w"] + (c + each) * task["w_c"] + t_h * task["w_h"] + t * task["w_t"]
            there = task["panel"] + each * self.across + (t_h * task["taps"] + t) * tap
            for v, mask in enumerate(masks):
                k.store(self.weight.load(source + task["w_v"] * v, mask), there + v * self.vector.size)

    def runs(self, lines, part):
        """Find the runs of places, one after another; `runs` above is the same in Python."""
        k, task = self.k, self.task
        taps, columns, s, end, width = (task[name] for name in ("taps", "in_cols", "s", "end", "width"))
        place = k.variable(task["first"], I64)
        with k.repeat() as leave:
            j = place.get()
            leave(k.negate(j < end))
            before = task["crop"] - task["p"] - j * s
            room = before + task["out_cols"]
            first = k.imax(0, j - columns + 1)
            number = k.imax(k.imin(taps, j + 1) - first, 0)
            beyond = k.select(k.less(j, columns + (taps - 1)), 1, end - j)
            outside = k.select(k.less(j, 0), j * -1, beyond)
            inside = k.iand(k.less(taps - 2, j), k.less(j, columns))
            count = k.select(inside, columns - j, outside)
            is_clear = k.iand(k.less(before, 1), k.less(width - 1, room))
            clear = k.imin(k.imin(count, k.divide(k.imax(room - width, 0), s) + 1), end - j)
            count = k.select(is_clear, clear, 1)
            with k.when(k.imax(before, 0) < k.imin(width, room)):
                run = _Run(j, count, first, number, before, k.imin(width, room), is_clear)
                self.run_of_places(run, lines, part)
            place.set(j + count)

    def run_of_places(self, run, lines, part):
        k = self.k
        is_short = k.less(run.count, self.low)
        with k.when(is_short), k.loop(0, run.count) as each:
            self.lines.back()
            with k.loop(0, lines, self.low) as line:
                places = []
                for r in range(self.low):
                    places.append((self.lines.x.get(), self.lines.y.get()))
                    self.lines.go_on(line + (r + 1) < lines)
                self.tile(run, run.place + each, places, part)
        with k.when(k.negate(is_short)):
            self.lines.back()
            with k.loop(0, lines) as line:
                self.along(run, part)
                self.lines.go_on(line + 1 < lines)

    def along(self, run, part):
        """The tiles of a run in a line: as many of each height as there are, the last of a height shifted back."""
        k, done, here = self.k, 0, (self.lines.x.get(), self.lines.y.get())
        for height, lower in zip(self.heights, (*self.heights[1:], 0), strict=True):
            left = run.count - done
            whole = k.divide(left, height) * height
            # One more, which begins within the last one, if the lower ones would take as long; but not before the run.
            more = k.iand(k.less(whole + lower, left), k.less(height - 1, run.count)) if lower else k.less(whole, left)
            reach = whole + k.select(more, height, 0)
            with k.loop(done, done + reach, height) as start:
                first = k.imin(start, run.count - height)
                self.tile(run, run.place + first, [here] * height, part, is_along=True)
            done = done + k.imin(reach, left)

    def tile(self, run, j, places, part, is_along=False):
        """One tile: the sums of a part live in registers, join those of the parts before, and wait or are written.

        `places` are the offsets of its pixels' lines in x and in y; along a run all of them are in one line.
        """
        k, task, vector, size = self.k, self.task, self.vector, self.vector.scalar.size
        column = task["x"] + part.first * task["x_c"] + (j - run.first_tap) * size
        y = [task["y"] + line + j * task["s"] * size for _, line in places]
        x = [column + line for line, _ in places]
        if is_along:
            x = [x[0] + r * size for r in range(len(places))]
            y = [y[0] + r * (task["s"] * size) for r in range(len(places))]
        zero = k.zero(vector)
        sums = [[k.variable(zero) for _ in range(self.nv)] for _ in places]
        with k.when(k.negate(part.is_more)):
            self.prefetch_result(y)
        tap = part.count * self.across
        with k.loop(0, task["n_h"]) as t_h, k.loop(0, run.taps) as t:
            panel = task["panel"] + (t_h * task["taps"] + run.first_tap + t) * tap
            self.products(x, t_h * task["x_h"] - t * size, panel, part.count, sums, is_along)
        there = task["totals"] + self.at.get()
        flat = [variable for row in sums for variable in row]
        with k.when(part.is_later):
            for number, variable in enumerate(flat):
                variable.set(k.add(variable.get(), k.load(there + number * vector.size, vector)))
        with k.when(part.is_more):
            for number, variable in enumerate(flat):
                k.store(variable.get(), there + number * vector.size)
        with k.when(k.negate(part.is_more)):
            self.write(run, sums, y)
        self.at.set(self.at.get() + len(flat) * vector.size)

    def prefetch_result(self, y):
        """Prefetch the lines of the result, which come while the products are made."""
        for pointer in y:
            for v in range(self.nv):
                self.k.prefetch(pointer + self.task["y_v"] * v, write=True)

    def products(self, x, first, panel, count, sums, is_along):
        """Add the products of `count` channels, through one tap."""
        k, task, vector, size = self.k, self.task, self.vector, self.vector.scalar.size
        whole = count - k.iand(count, UNROLL - 1)

        def step(at, w):
            rows = [k.load(w + v * vector.size, vector) for v in range(self.nv)]
            begin = x[0] + at
            for r, (pointer, row) in enumerate(zip(x, sums, strict=True)):
                there = begin + r * size if is_along else pointer + at
                value = k.splat(k.load(there, vector.scalar), vector)
                for variable, weights in zip(row, rows, strict=True):
                    variable.set(k.muladd(value, weights, variable.get()))

        with k.loop(0, whole, UNROLL) as c:
            at = k.opaque(first + c * task["x_c"])
            for u in range(UNROLL):
                step(at if u == 0 else at + task["x_c"] * u, panel + c * self.across + u * self.across)
        with k.loop(whole, count) as c:
            step(k.opaque(first + c * task["x_c"]), panel + c * self.across)

    def write(self, run, sums, y):
        """Add the bias, apply the activation and write the phases that exist."""
        k, task, vector = self.k, self.task, self.vector
        bias = [k.splat(k.load(task["bias"] + task["bias_v"] * v, vector.scalar), vector) for v in range(self.nv)]

        def lines():
            """The vectors of all pixels, and where they are written, for each of those across."""
            for v, part in enumerate(bias):
                values = [self.epilogue(k.add(row[v].get(), part)) for row in sums]
                yield v, values, [pointer + task["y_v"] * v for pointer in y]

        def some():
            for v, *stored in lines():
                starts, stops = (at - task["lanes"] * v for at in (run.before, run.stop))
                store_some(k, vector, starts, stops, *stored)

        if self.rest:
            some()
            return
        with k.when(run.is_clear):
            for _, values, there in lines():
                for value, pointer in zip(values, there, strict=True):
                    k.store(value, pointer)
        with k.when(k.negate(run.is_clear)):
            some()


class _Lines:
    """The lines of a task one after another, as offsets in x and in y."""

    def __init__(self, k, task):
        self.k, self.task = k, task
        self.x, self.y, self.row, self.start = (k.variable(0, I64) for _ in range(4))

    def back(self):
        """Go to the line `start`."""
        k, task, start = self.k, self.task, self.start.get()
        image = k.divide(start, task["rows"])
        row = start - image * task["rows"]
        self.row.set(row)
        for variable, name in ((self.x, "x"), (self.y, "y")):
            variable.set(image * task[f"{name}_n"] + row * task[f"{name}_row"])

    def go_on(self, condition):
        """Go to the next line, if a condition holds."""
        k, task = self.k, self.task
        with k.when(condition):
            row = self.row.get() + 1
            is_last = k.equal(row, task["rows"])
            for variable, name in ((self.x, "x"), (self.y, "y")):
                to_image = task[f"{name}_n"] - (task["rows"] - 1) * task[f"{name}_row"]
                variable.set(variable.get() + k.select(is_last, to_image, task[f"{name}_row"]))
            self.row.set(k.select(is_last, 0, row))
