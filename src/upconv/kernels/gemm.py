"""The one product that everything is made of: pixels anywhere, channels along the vector.

    y[pixel, v]  =  bias[v]  +  sum over taps and c of  x[pixel + tap, c] * w[tap, c, v]

    x   read in place, one channel at a time, the channels of a pixel consecutive
    w   a packed panel: for each tap, c rows of `nv` whole vectors, padded with zeros beyond the last channel
    y   written, never read; the channels of a pixel consecutive; only those from `first_column` to `columns`

A task is a segment, images x rows x cols pixels on any strides, of some groups, under n_h x n_w taps that are evenly
spaced in x and in w. The kernel lists the pixels of a block as offsets, so that a tile of `mr` pixels runs on over the
ends of rows and images; the last tile repeats the last pixel, which computes equal values again. No sum is longer than
LONGEST_SUM products: longer ones are cut, and the parts are added up separately. The channels of a tap are cut evenly,
and sums of less than twice that length into shorter parts.

A tile reads its panel from end to end. A panel of more than `near` bytes would come from far away for every tile, so
there all tiles of a block take some rows of it, then the next rows, and their sums wait in memory: the same bits.

A `brief` kernel is for at most one tap of at most 2 * SHORT_SUM channels, whose sum it makes of one or two parts: its
tiles are short, and so what begins and ends one is left to what they need. More parts would be more copies of the loop
over channels, and machines foresee what one loop reads better than what four read by turns. One of `whole_taps` is for
at most one tap in a row, of at most WHOLE_TAP channels, which are never cut, and has no loops for more.

Sums of pairs of bfloat16 are rounded to bfloat16 at last, beside which a long chain's errors are small: they are cut
every PAIRS_SUM pairs alone, a brief kernel takes as many channels in one part, and one of `whole_taps` LONGEST_SUM.

Where a vector is a cache line, a tile prefetches the lines that the next tile writes, a few between the taps: all at
once would fill the buffers of the cache, and what the tile itself reads would wait for them. Where vectors are shorter,
a tile takes longer for each line, and prefetches its own lines before it begins.

A kernel that looks `ahead`, for at most one tap, prefetches between its products the pixels that lie behind its own,
which are mostly those of the next tile. Short pixels make short tiles, and a machine that foresees what is read begins
anew with every page: maps that come from far away made it wait for a tenth of the time.
"""

import operator
from contextlib import contextmanager

from ..codegen.isa import LINE, Isa
from ..codegen.lang import I64, PAIRS, SIZES, Builder, Type, type_of_sums
from .epilogue import Epilogue, suffix
from .some_lanes import store_some

# Pixels of the tile for each number of vectors across: its sums, a row of the panel and a pixel's value fill the
# registers. Few products stand behind each load in a narrow tile, and what waits for them; so the widest is the best.
HEIGHTS = {32: {4: 6, 3: 8, 2: 9, 1: 10}, 16: {3: 4, 2: 6, 1: 8}}
UNFUSED = {2: 5, 1: 8}
# A sum of this length has rounding errors like those of the engines; longer ones would be worse than theirs.
LONGEST_SUM = 128
# Sums of few products are cut into parts of SHORT_SUM: engines sum small layers in several lanes, beside which one
# chain has twice the errors. Up to WHOLE_SUM are not cut, up to twice that are halved, or, where several taps come one
# after another, cut into taps, of SHORTEST_SUM at least. Those of more, up to SOME_PRODUCTS of several taps, are cut
# into parts of MEDIUM_SUM: engines sum tap by tap, and then the taps. What they sum in more lanes is `finer`.
FEW_PRODUCTS, SHORT_SUM, WHOLE_SUM, SHORTEST_SUM = 160, 32, 24, 16
SOME_PRODUCTS, MEDIUM_SUM = 768, 64
# Channels of a tap that kernels of `whole_taps` never cut; others halve those of a single tap beyond WHOLE_SUM.
WHOLE_TAP = SHORT_SUM
# Sums of pairs of bfloat16, in pairs: of this length they have a hundredth of the error of what they are rounded to.
PAIRS_SUM = 1024
# Parts where the taps of a row are one run of at most WHOLE_TAP products, and there are less than twice LONGEST_SUM:
# such sums have many pixels and few channels, which engines add up in one chain.
RUN_SUM = 48
UNROLL = 4
TILES_PER_BLOCK = 16
# Bytes of the offsets of a pixel; pixels of a row are noted two at a time, so there is room for one more.
PLACE, PAIR = 16, Type("i64", 4)
FIELDS = tuple(
    (
        "entry x y w bias n_h n_w x_h x_w w_h w_w c n rows cols x_n x_row x_col y_n y_row y_col columns "
        "places totals groups x_g y_g w_g bias_g first_column near slope"
    ).split()
)
POINTERS = {"x", "y", "w", "bias", "places", "totals"}


def heights(isa: Isa) -> dict[int, int]:
    """Pixels of the tile for each number of vectors across, the widest first."""
    return HEIGHTS[isa.registers] if isa.fused else UNFUSED


def macs(task, lanes, elem, mr, nv, *kind):
    """Multiply-adds of a task, those included that no output needs."""
    pixels = -(-task["n"] * task["rows"] * task["cols"] // mr) * mr
    products = task["groups"] * pixels * nv * lanes * task["n_h"] * task["n_w"] * task["c"]
    return 2 * products if elem == PAIRS else products


def scratch(vector_bytes, mr, nv):
    """Bytes of the listed pixels, and of the sums and partial sums of the tiles of a block."""
    return {"places": PLACE * (mr * TILES_PER_BLOCK + 1), "totals": 2 * mr * nv * vector_bytes * TILES_PER_BLOCK}


def brief_parts(taps, channels, pairs=False) -> int:
    """In how many parts the brief kernel makes the sums of segments of at most so many taps; 0: it will not do."""
    if taps > 1 or channels > (PAIRS_SUM if pairs else 2 * SHORT_SUM):
        return 0
    return 1 if pairs else 1 + (channels > WHOLE_SUM)


def gemm(
    isa: Isa,
    elem,
    mr,
    nv,
    brief=0,
    by_row=False,
    activation="none",
    whole_taps=False,
    runs=False,
    finer=0,
    ahead=False,
    rounds=False,
):
    """The kernel for a tile of mr pixels by nv vectors.

    Of pairs of bfloat16 `c` counts the pairs of channels, and the sums are float32; y too, but with `rounds` bfloat16.
    `by_row`, each pixel has its bias, and no panel is far; with `runs`, whole taps are runs of those of a row;
    with `finer`, a task has one tap, whose sum is cut more often: always into parts of MEDIUM_SUM, or SHORT_SUM of less
    than twice LONGEST_SUM products; with 2, of less than SOME_PRODUCTS, as those of several taps are; with 3, into
    shorter parts, too, where there are few. With `runs` and 1, it has some, of which those of few products are halved.
    """
    kind = f"{f'_brief{brief}' * (brief > 0)}{'_by_row' * by_row}{'_whole_taps' * whole_taps}{'_runs' * runs}"
    kind += f"_finer{finer}" * (finer > 0) + "_ahead" * ahead + "_rounds" * rounds
    k = Builder(f"gemm_{elem}_{mr}x{nv}{kind}{suffix(activation)}_{isa.name}")
    factors = Type(elem, isa.lanes(SIZES[elem]))
    vector = Type(type_of_sums(elem), factors.lanes)
    task = k.fields(FIELDS, POINTERS)
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"), rounds)
    if not brief:
        longest = longest_of_runs(k, task) if runs else longest_of_taps(k, task["c"], task["n_h"] * task["n_w"])
        if finer:
            is_halved = runs and finer == 1
            longest = _halves_of_runs(k, task, longest) if is_halved else _finer(k, task["c"], longest, finer)
        task |= dict(zip(("longest", "part"), even_parts(k, task, longest, elem), strict=True))
        parts = task["n_h"] * task["n_w"] * k.divide(task["c"] + (task["part"] - 1), task["part"])
        # Of how many pixels lines are prefetched with each part, so that all are when the next tile begins.
        task["prefetch_rows"] = k.divide(k.imax(parts, 1) + (mr - 1), k.imax(parts, 1))
    with k.loop(0, task["groups"]) as group:
        mine = {name: task[name] + group * task[f"{name}_g"] for name in ("x", "y", "w", "bias")}
        _group(k, task | mine, vector, factors, mr, nv, epilogue, brief, by_row, whole_taps, ahead)
    return k


def _group(k, task, vector, factors, mr, nv, epilogue, brief, by_row, whole_taps, ahead):
    """All pixels of one group, block by block: list them, then multiply."""
    walk = Walk(k, task)
    pixels = task["n"] * task["rows"] * task["cols"]
    block = mr * TILES_PER_BLOCK
    is_far = k.less(task["near"], task["n_h"] * task["n_w"] * task["c"] * (nv * vector.size))
    is_far = k.iand(is_far, k.less(mr, pixels))
    with k.loop(0, pixels, block) as start:
        left = pixels - start
        walk.note(k.imin(left, block), k.imin(left + (mr - 1), block))
        here = k.imin(left, block)

        def lists(first, here=here):
            """Where the pixels of a tile are listed, and those of the next, if it is in the block."""
            offsets = task["places"] + first * PLACE
            if not prefetches_next_tile(vector):
                return offsets, offsets
            return offsets, offsets + k.select(k.less(first + mr, here), mr * PLACE, 0)

        if brief:
            with k.loop(0, here, mr) as first:
                _brief_tile(k, task, vector, factors, lists(first), mr, nv, brief, epilogue, ahead)
            return
        with k.loop(0, here if by_row else k.select(is_far, 0, here), mr) as first:
            rows = [k.imin(start + (first + r), pixels - 1) for r in range(mr)] if by_row else None
            _tile(k, task, vector, factors, lists(first), mr, nv, epilogue, rows, whole_taps, ahead)
        if not by_row:
            with k.when(is_far):
                _tiles_together(k, task, vector, factors, here, mr, nv, epilogue)


class Walk:
    """The pixels of a task one after another, as offsets in x and in y.

    Layers of few channels spend as long on finding a pixel as on computing it, so a row is gone along in a loop of its
    own, which only adds.
    """

    def __init__(self, k, task):
        self.k, self.task = k, task
        self.x, self.y = k.variable(0, I64), k.variable(0, I64)
        self.cols_left, self.rows_left = k.variable(task["cols"], I64), k.variable(task["rows"], I64)
        self.steps = [self._steps(task[f"{name}_n"], task[f"{name}_row"], task[f"{name}_col"]) for name in "xy"]

    def _steps(self, n, row, col):
        """From pixel to pixel, from behind a row to the next row, from behind an image to the next image."""
        across, down = self.task["cols"] * col, (self.task["rows"] - 1) * row
        return col, row - across, n - down - across

    def note(self, count, padded):
        """Write the offsets of the next `count` pixels, at least one, and those of the last again up to `padded`."""
        k, offsets, done = self.k, self.task["places"], self.k.variable(0, I64)
        with k.repeat() as leave:
            run = k.imin(self.cols_left.get(), count - done.get())
            self._run(offsets + done.get() * PLACE, run)
            done.set(done.get() + run)
            leave(k.negate(done.get() < count))
        last = [k.load(offsets + (count * PLACE + (8 * number - PLACE)), I64) for number in range(2)]
        with k.loop(count, padded) as place:
            for number, offset in enumerate(last):
                k.store(offset, offsets + (place * PLACE + 8 * number))

    def _run(self, line, run):
        """The next pixels of a row, and on to the next row if that was the end of it."""
        k = self.k
        x, y = self.x.get(), self.y.get()
        (x_col, _, _), (y_col, _, _) = self.steps
        pair, step = k.variable(self._pair((x, y), (x + x_col, y + y_col))), self._pair(*[(2 * x_col, 2 * y_col)] * 2)
        with k.loop(0, run, 2) as place:
            k.store(pair.get(), line + place * PLACE)
            pair.set(k.add(pair.get(), step))
        left = self.cols_left.get() - run
        is_last, in_image = k.equal(left, 0), self.rows_left.get() > 1
        for variable, (pixel, row, image) in zip(self._places(), self.steps, strict=True):
            step = k.select(is_last, k.select(in_image, row, image), 0)
            variable.set(variable.get() + run * pixel + step)
        rows_left = k.select(in_image, self.rows_left.get() - 1, self.task["rows"])
        self.rows_left.set(k.select(is_last, rows_left, self.rows_left.get()))
        self.cols_left.set(k.select(is_last, self.task["cols"], left))

    def _pair(self, *pixels):
        """The offsets of two pixels in a vector."""
        k = self.k
        first, second = (k.shuffle(k.splat(x, PAIR), k.splat(y, PAIR), (0, 4, 0, 4)) for x, y in pixels)
        return k.shuffle(first, second, (0, 1, 4, 5))

    def _places(self):
        return self.x, self.y


class Numbers:
    """Stands for a builder where the length of sums is asked for whole numbers, before a kernel runs."""

    less, shift_right = operator.lt, operator.rshift

    @staticmethod
    def select(condition, yes, no):
        return yes if condition else no


def longest_sum(k, c, taps):
    """The length that the parts of a sum over so many channels and taps should have, as `k` has numbers."""
    products = c * taps
    some = k.select(k.less(1, taps), SOME_PRODUCTS + 1, 2 * LONGEST_SUM)
    longest = k.select(k.less(products, some), MEDIUM_SUM, LONGEST_SUM)
    longest = k.select(k.less(products, FEW_PRODUCTS + 1), SHORT_SUM, longest)
    longest = k.select(k.less(products, 2 * WHOLE_SUM + 1), k.shift_right(products + 1, 1), longest)
    return k.select(k.less(products, WHOLE_SUM + 1), WHOLE_SUM, longest)


def longest_of_taps(k, c, taps):
    """The same where taps come one after another."""
    longest, products = longest_sum(k, c, taps), c * taps
    is_few = k.iand(k.less(1, taps), k.iand(k.less(WHOLE_SUM, products), k.less(products, 2 * WHOLE_SUM + 1)))
    return k.select(is_few, k.imax(c, SHORTEST_SUM), longest)


def longest_of_runs(k, task):
    """The same where a tap is a short run of those of a row."""
    return k.select(k.less(task["c"] * task["n_h"], 2 * LONGEST_SUM), RUN_SUM, LONGEST_SUM)


def _halves_of_runs(k, task, longest):
    """What that becomes beside engines that sum few rows in several lanes."""
    products, half = task["c"] * task["n_h"], task["c"] * k.shift_right(task["n_h"] + 1, 1)
    is_few = k.iand(k.less(WHOLE_SUM, products), k.less(products, 2 * RUN_SUM + 1))
    return k.select(is_few, k.imin(half, longest), longest)


def _finer(k, c, longest, finer):
    """What the length becomes under one tap beside engines that sum it in more lanes."""
    if finer == 1:
        return k.imin(longest, k.select(k.less(c, 2 * LONGEST_SUM), SHORT_SUM, MEDIUM_SUM))
    longest = k.select(k.less(c, SOME_PRODUCTS), k.imin(longest, MEDIUM_SUM), longest)
    least = WHOLE_SUM
    if finer == 3:
        longest, least = k.select(k.less(c, FEW_PRODUCTS + 1), k.imin(longest, WHOLE_SUM), longest), SHORTEST_SUM
    is_few = k.iand(k.less(least, c), k.less(c, 2 * WHOLE_SUM + 1))
    return k.select(is_few, SHORTEST_SUM, longest)


def even_parts(k, task, longest, elem):
    """(products of the longest sum of a task, channels of a tap that are taken at a time)."""
    c, longest = task["c"], LONGEST_SUM if elem == PAIRS else longest
    parts = k.divide(c + (longest - 1), longest)
    part = k.divide(c + (parts - 1), k.imax(parts, 1))
    part = k.imax(k.iand(part + (UNROLL - 1), -UNROLL), UNROLL)
    return PAIRS_SUM if elem == PAIRS else whole_parts(k, longest, part), part


def whole_parts(k, longest, part):
    """The length of whole parts that reaches the longest sum, if it does without going far beyond."""
    # An eighth; of a short sum, three.
    beyond = k.shift_right(longest, 3) + k.select(k.less(longest, SHORT_SUM), k.shift_right(longest, 2), 0)
    most = k.imin(longest + beyond, LONGEST_SUM)
    return part * k.imax(k.imin(k.divide(longest + (part - 1), part), k.divide(most, part)), 1)


def _tile(k, task, vector, factors, lists, mr, nv, epilogue, rows, whole_taps, ahead):
    """mr pixels by nv vectors: the sums live in registers from the first tap to the last."""
    offsets, following = lists
    x = [task["x"] + k.load(offsets + PLACE * r, I64) for r in range(mr)]
    zero, width = k.zero(vector), nv * epilogue.written.size
    sums = [[k.variable(zero) for _ in range(nv)] for _ in range(mr)]
    if not prefetches_next_tile(vector):
        prefetch_result(k, [task["y"] + k.load(offsets + (PLACE * r + 8), I64) for r in range(mr)], width)
    length, cut, prefetched = (k.variable(0, I64) for _ in range(3))
    with _each_part(k, task, nv * vector.size, vector.scalar.size, whole_taps) as (x_part, w_part, part):
        if prefetches_next_tile(vector):
            end = k.imin(prefetched.get() + task["prefetch_rows"], mr)
            with k.loop(prefetched.get(), end) as r:
                prefetch_result(k, [task["y"] + k.load(following + (r * PLACE + 8), I64)], width)
            prefetched.set(end)
        with k.when(length.get() + part > task["longest"]):
            spill_partial_sums(k, task["totals"], vector, [variable for _, variable in _flat(sums)], cut)
            length.set(0)
        length.set(length.get() + part)
        there = _behind(task, x, mr) + x_part * mr if ahead else None
        _products(k, factors, x, x_part, task["w"] + w_part, part, sums, there)
    with k.when(cut.get() > 0):
        for place, variable in _flat(sums):
            variable.set(k.add(variable.get(), k.load(task["totals"] + place * vector.size, vector)))
    y = [task["y"] + k.load(offsets + (PLACE * r + 8), I64) for r in range(mr)]
    _write(k, task, vector, sums, y, epilogue, rows)


@contextmanager
def _each_part(k, task, width, size, whole_taps):
    """For each part of the taps (where it begins in x and in the panel, channels of it)."""
    if whole_taps:
        # Places without taps may have rows of them.
        with k.loop(0, task["n_h"] * task["n_w"]) as t_h:
            yield t_h * task["x_h"], t_h * task["w_h"], task["c"]
        return
    with k.loop(0, task["n_h"]) as t_h, k.loop(0, task["n_w"]) as t_w:
        x_tap = t_h * task["x_h"] + t_w * task["x_w"]
        w_tap = t_h * task["w_h"] + t_w * task["w_w"]
        with k.loop(0, task["c"], task["part"]) as start:
            yield x_tap + start * size, w_tap + start * width, k.imin(task["c"] - start, task["part"])


def _behind(task, x, mr):
    """Where the pixels of the next tile lie, if they come one after another in memory as well."""
    return x[0] + task["x_col"] * mr


def _brief_tile(k, task, vector, factors, lists, mr, nv, parts, epilogue, ahead):
    """The same under at most one tap, the sums in so many parts, before each of which some lines are prefetched."""
    offsets, following = lists
    x = [task["x"] + k.load(offsets + PLACE * r, I64) for r in range(mr)]

    def prefetch(number):
        rows = range(mr * number // parts, mr * (number + 1) // parts)
        width = nv * epilogue.written.size
        prefetch_result(k, [task["y"] + k.load(following + (PLACE * r + 8), I64) for r in rows], width)

    zero = k.zero(vector)
    sums = [[k.variable(zero) for _ in range(nv)] for _ in range(mr)]
    there = _behind(task, x, mr) if ahead else None
    first, w, count = 0, task["w"], task["n_h"] * task["n_w"] * task["c"]
    for left in range(parts, 1, -1):
        prefetch(parts - left)
        part = k.iand(k.divide(count, left), -UNROLL)
        _products(k, factors, x, first, w, part, sums, there)
        there = there + part * (mr * vector.scalar.size) if ahead else None
        for place, variable in _flat(sums):
            put = task["totals"] + place * vector.size
            total = variable.get() if left == parts else k.add(variable.get(), k.load(put, vector))
            k.store(total, put)
            variable.set(zero)
        first, w, count = part * vector.scalar.size + first, w + part * (nv * vector.size), count - part
    prefetch(parts - 1)
    _products(k, factors, x, first, w, count, sums, there)
    if parts > 1:
        for place, variable in _flat(sums):
            variable.set(k.add(variable.get(), k.load(task["totals"] + place * vector.size, vector)))
    y = [task["y"] + k.load(offsets + (PLACE * r + 8), I64) for r in range(mr)]
    _write(k, task, vector, sums, y, epilogue)


def _tiles_together(k, task, vector, factors, pixels, mr, nv, epilogue):
    """The tiles of a block, a run of channels of the panel at a time: sums lie in memory, those that are cut behind."""
    width, of_sums = nv * vector.size, mr * nv * vector.size
    length, cut, begun = (k.variable(0, I64) for _ in range(3))

    def here(first):
        """(where the sums of a tile lie, where its pixels are listed)."""
        return task["totals"] + first * (2 * width), task["places"] + first * PLACE

    def put(sums, there):
        for place, variable in _flat(sums):
            k.store(variable.get(), there + place * vector.size)

    def get(sums, there):
        for place, variable in _flat(sums):
            variable.set(k.load(there + place * vector.size, vector))

    with k.loop(0, task["n_h"]) as t_h, k.loop(0, task["n_w"]) as t_w, k.loop(0, task["c"], task["part"]) as start:
        part = k.imin(task["c"] - start, task["part"])
        is_full = length.get() + part > task["longest"]
        source = t_h * task["x_h"] + t_w * task["x_w"] + start * vector.scalar.size
        w = task["w"] + (t_h * task["w_h"] + t_w * task["w_w"] + start * width)
        with k.loop(0, pixels, mr) as first:
            there, offsets = here(k.opaque(first))
            sums = [[k.variable(k.zero(vector)) for _ in range(nv)] for _ in range(mr)]
            with k.when(k.less(0, begun.get())):
                get(sums, there)
            with k.when(k.equal(begun.get(), 0)):
                y = [task["y"] + k.load(offsets + (PLACE * r + 8), I64) for r in range(mr)]
                prefetch_result(k, y, nv * epilogue.written.size)
            with k.when(is_full):
                flat = [variable for _, variable in _flat(sums)]
                spill_partial_sums(k, there + of_sums, vector, flat, k.variable(cut.get()))
            x = [task["x"] + k.load(offsets + PLACE * r, I64) for r in range(mr)]
            _products(k, factors, x, source, w, part, sums)
            put(sums, there)
        with k.when(is_full):
            cut.set(1)
            length.set(0)
        length.set(length.get() + part)
        begun.set(1)
    with k.loop(0, pixels, mr) as first:
        there, offsets = here(k.opaque(first))
        sums = [[k.variable(k.zero(vector)) for _ in range(nv)] for _ in range(mr)]
        get(sums, there)
        with k.when(k.less(0, cut.get())):
            for place, variable in _flat(sums):
                variable.set(k.add(variable.get(), k.load(there + (of_sums + place * vector.size), vector)))
        _write(k, task, vector, sums, [task["y"] + k.load(offsets + (PLACE * r + 8), I64) for r in range(mr)], epilogue)


def prefetches_next_tile(vector) -> bool:
    """Whether the result of the next tile is prefetched, a few lines at a time."""
    return vector.size >= LINE


def prefetch_result(k, y, width):
    """Prefetch the lines of the result, which come while the products are made."""
    for pointer in y:
        for at in (*range(0, width, LINE), *([width - 1] if width % LINE else [])):
            k.prefetch(pointer + at, write=True)


def _products(k, factors, x, first, w, count, sums, ahead=None):
    """Add `count` products to every sum, with the numbers `first` bytes behind each place of x.

    As many numbers are prefetched from `ahead` on as are read of x.
    """
    size, width = factors.scalar.size, len(sums[0]) * factors.size
    whole = count - k.iand(count, UNROLL - 1)

    def step(c, u, at):
        panel = [k.load(w + c * width + (u * width + v * factors.size), factors) for v in range(len(sums[0]))]
        for pointer, row in zip(x, sums, strict=True):
            value = k.splat(k.load(pointer + at + u * size, factors.scalar), factors)
            for variable, w_part in zip(row, panel, strict=True):
                variable.set(k.muladd(value, w_part, variable.get()))

    with k.loop(0, whole, UNROLL) as c:
        # One offset for all places, which so need no register more from tap to tap.
        at = k.opaque(first + c * size)
        for line in range(0, len(x) * UNROLL * size if ahead is not None else 0, LINE):
            k.prefetch(ahead + c * (len(x) * size) + line)
        for u in range(UNROLL):
            step(c, u, at)
    with k.loop(whole, count) as c:
        step(c, 0, k.opaque(first + c * size))


def spill_partial_sums(k, totals, vector, sums, cut):
    """Add the sums so far to the totals, where the first are put as they are, and start new ones."""
    places = [(variable, totals + place * vector.size) for place, variable in enumerate(sums)]
    with k.when(k.equal(cut.get(), 0)):
        for variable, there in places:
            k.store(variable.get(), there)
    with k.when(k.less(0, cut.get())):
        for variable, there in places:
            k.store(k.add(variable.get(), k.load(there, vector)), there)
    cut.set(1)
    for variable in sums:
        variable.set(k.zero(vector))


def _write(k, task, vector, sums, y, epilogue, rows=None):
    """Add the bias, of the channels or of some rows, apply the activation and write the channels that exist."""
    nv, size = len(sums[0]), epilogue.written.size
    if rows is None:
        bias = [[k.load(task["bias"] + v * vector.size, vector) for v in range(nv)]] * len(sums)
    else:
        places = [task["bias"] + row * vector.scalar.size for row in rows]
        bias = [[k.splat(k.load(place, vector.scalar), vector)] * nv for place in places]
    full = k.iand(k.equal(task["columns"], nv * vector.lanes), k.equal(task["first_column"], 0))
    with k.when(full):
        for row, mine, pointer in zip(sums, bias, y, strict=True):
            for v, variable in enumerate(row):
                k.store(epilogue(k.add(variable.get(), mine[v])), pointer + v * size)
    with k.when(k.equal(full, 0)):
        for v in range(nv):
            ends = [task[name] - v * vector.lanes for name in ("first_column", "columns")]
            values = [epilogue(k.add(row[v].get(), mine[v])) for row, mine in zip(sums, bias, strict=True)]
            store_some(k, vector, *ends, values, [pointer + v * size for pointer in y])


def _flat(sums):
    return enumerate(variable for row in sums for variable in row)
