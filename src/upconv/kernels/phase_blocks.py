"""The product of `gemm` for all phases of a place at once: a pixel is loaded once for all that it reaches.

    y[block, (p_h, p_w), v]  =  bias[v]  +  sum over taps and c of  x[block + tap, c] * w[tap, (p_h, p_w), c, v]

    x   read in place, one channel at a time, the channels of a pixel consecutive
    w   the panels of `gemm`: for each tap of the kernel, c rows of `nv` whole vectors
    y   written, never read; the channels of a pixel consecutive, phases `y_ph` and `y_pw` apart

A task is images x rows x cols blocks on any strides. A block is the outputs that lie between two stamps: `phases` of
each axis that have taps, and behind them those that have none, which hold the bias. Tap a of a block reads one pixel of
x for all phases; where the stride does not divide the kernel, the last one, `part`, reaches the first `some` of them
alone. Only the phases from `first` to `end` are written. Phases that the same taps reach are cut together, where it
depends on these alone: a band may end within a block, and has fewer taps there.
"""

import itertools

from ..codegen.isa import Isa
from ..codegen.lang import I64, PAIRS, SIZES, Builder, Type, type_of_sums
from .epilogue import Epilogue, suffix
from .gemm import (
    LONGEST_SUM,
    PLACE,
    TILES_PER_BLOCK,
    UNROLL,
    WHOLE_SUM,
    Walk,
    even_parts,
    prefetch_result,
)
from .some_lanes import store_some

FIELDS = tuple(
    (
        "entry x y w bias n_h n_w x_h x_w w_h w_w c n rows cols x_n x_row x_col y_n y_row y_col columns places totals "
        "groups x_g y_g w_g bias_g tap_h tap_w y_ph y_pw first_h end_h first_w end_w part_h part_w slope"
    ).split()
)
POINTERS = {"x", "y", "w", "bias", "places", "totals"}

# Addresses of pixels and of panels that the integer registers hold beside the rest.
MOST_ADDRESSES = 10
# Taps whose sums are added up together, as long as they are short: engines sum tap by tap, then the taps.
TAPS_TOGETHER = 2


def height(isa: Isa, nv, phases) -> int:
    """Pixels of a tile: its sums, and what they are multiplied from, fill the registers; 0 where it is too wide."""
    panels = phases[0] * phases[1]
    vectors, free = nv * panels, isa.registers - (1 if isa.fused else 2) - (isa.registers > 16) + 1
    fits = [mr for mr in range(1, MOST_ADDRESSES + 1 - panels) if mr * vectors + min(mr, vectors) < free]
    return max(fits, default=0)


def macs(task, lanes, elem, mr, nv, phases, some, *kind):
    """Multiply-adds of a task, those included that no output needs."""
    pixels = -(-task["n"] * task["rows"] * task["cols"] // mr) * mr
    down, across = (
        task[f"n_{axis}"] * every - (every - part if 0 <= task[f"part_{axis}"] < task[f"n_{axis}"] else 0)
        for axis, every, part in zip("hw", phases, some, strict=True)
    )
    products = task["groups"] * pixels * nv * lanes * down * across * task["c"]
    return 2 * products if elem == PAIRS else products


def scratch(vector_bytes, mr, nv, phases):
    """Bytes of the listed blocks and of the partial sums."""
    return {"places": PLACE * (mr * TILES_PER_BLOCK + 1), "totals": mr * nv * phases[0] * phases[1] * vector_bytes}


def phase_blocks(isa: Isa, elem, mr, nv, phases, some, activation="none", rounds=False):
    """The kernel for a tile of mr blocks by (phases down, across) by nv vectors; `rounds` and pairs are `gemm`'s."""
    shape = "x".join(map(str, (mr, *phases, nv)))
    k = Builder(f"phase_blocks_{elem}_{shape}_{some[0]}_{some[1]}{suffix(activation)}{'_rounds' * rounds}_{isa.name}")
    factors = Type(elem, isa.lanes(SIZES[elem]))
    vector = Type(type_of_sums(elem), factors.lanes)
    task = k.fields(FIELDS, POINTERS)
    longest = k.imin(k.imax(TAPS_TOGETHER * task["c"], WHOLE_SUM), LONGEST_SUM)
    task |= dict(zip(("longest", "part"), even_parts(k, task, longest, elem), strict=True))
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"), rounds)
    tile = _Tile(k, vector, factors, mr, nv, phases, some, epilogue)
    with k.loop(0, task["groups"]) as group:
        mine = task | {name: task[name] + group * task[f"{name}_g"] for name in ("x", "y", "w", "bias")}
        walk = Walk(k, mine)
        pixels, block = task["n"] * task["rows"] * task["cols"], mr * TILES_PER_BLOCK
        with k.loop(0, pixels, block) as start:
            left = pixels - start
            walk.note(k.imin(left, block), k.imin(left + (mr - 1), block))
            with k.loop(0, k.imin(left, block), mr) as first:
                tile.run(mine, task["places"] + first * PLACE)
    return k


class _Tile:
    """mr blocks: the sums of all their phases live in registers from the first tap to the last."""

    def __init__(self, k, vector, factors, mr, nv, phases, some, epilogue):
        self.k, self.vector, self.factors, self.mr, self.nv = k, vector, factors, mr, nv
        self.phases, self.some, self.epilogue = phases, some, epilogue
        self.places = list(itertools.product(*map(range, phases)))

    def run(self, task, offsets):
        k, vector = self.k, self.vector
        x = [task["x"] + k.load(offsets + PLACE * r, I64) for r in range(self.mr)]
        y = self._result(task, offsets)
        for p_h, p_w in self.places:
            prefetch_result(
                k, [pointer + self._at(task, p_h, p_w) for pointer in y], self.nv * self.epilogue.written.size
            )
        zero = k.zero(vector)
        sums = {place: [[k.variable(zero) for _ in range(self.nv)] for _ in x] for place in self.places}
        kinds = self._kinds(task, sums)
        with k.loop(0, task["n_h"]) as t_h, k.loop(0, task["n_w"]) as t_w:
            x_tap = t_h * task["x_h"] + t_w * task["x_w"]
            w_tap = t_h * task["w_h"] + t_w * task["w_w"]
            with k.loop(0, task["c"], task["part"]) as start:
                part = k.imin(task["c"] - start, task["part"])
                here = [pointer + x_tap + start * vector.scalar.size for pointer in x]
                panel = task["w"] + w_tap + start * (self.nv * vector.size)
                for condition, reached in self._reached(task, t_h, t_w):
                    with k.when(condition):
                        for kind in kinds:
                            if kind.sums.keys() <= set(reached):
                                kind.go_on(part)
                        self._products(task, here, panel, part, {place: sums[place] for place in reached})
        for kind in kinds:
            kind.finish()
        self._write(task, offsets, sums)

    def _kinds(self, task, sums):
        """The sums by what taps reach them, all lying side by side in the totals."""
        axes = [
            (range(some), range(some, every)) if some else (range(every),)
            for some, every in zip(self.some, self.phases, strict=True)
        ]
        kinds, totals = [], task["totals"]
        for down, across in itertools.product(*axes):
            alike = {place: sums[place] for place in itertools.product(down, across)}
            kinds.append(_Kind(self.k, self.vector, task["longest"], alike, totals))
            totals = totals + len(alike) * self.mr * self.nv * self.vector.size
        return kinds

    def _result(self, task, offsets):
        """Where the blocks lie in y."""
        return [task["y"] + self.k.load(offsets + (PLACE * r + 8), I64) for r in range(self.mr)]

    def _at(self, task, p_h, p_w):
        """Bytes of y from a block to one of its phases."""
        return p_h * task["y_ph"] + p_w * task["y_pw"]

    def _reached(self, task, t_h, t_w):
        """(condition, phases that a tap reaches then) of each kind of tap."""
        k, kinds = self.k, []
        for tap, part, some, every in zip((t_h, t_w), ("part_h", "part_w"), self.some, self.phases, strict=True):
            is_part = k.equal(tap, task[part])
            kinds.append([(k.negate(is_part), every), (is_part, some)] if some else [(k.less(tap, tap + 1), every)])
        for (is_down, down), (is_across, across) in itertools.product(*kinds):
            yield k.iand(is_down, is_across), list(itertools.product(range(down), range(across)))

    def _products(self, task, x, panel, count, sums):
        """Add `count` products to some sums: {phase: its rows of vectors}."""
        k, vector, width = self.k, self.vector, self.nv * self.vector.size
        panels = [panel + (p_h * task["tap_h"] + p_w * task["tap_w"]) for p_h, p_w in sums]
        whole = count - k.iand(count, UNROLL - 1)

        def channels(c, many):
            near, wide = k.opaque(c * vector.scalar.size), k.opaque(c * width)
            pixels, rows_of_w = [pointer + near for pointer in x], [pointer + wide for pointer in panels]
            for u in range(many):
                self._channel([p + u * vector.scalar.size for p in pixels], [p + u * width for p in rows_of_w], sums)

        with k.loop(0, whole, UNROLL) as c:
            channels(c, UNROLL)
        with k.loop(whole, count) as c:
            channels(c, 1)

    def _channel(self, x, panels, sums):
        """The products of one channel; the fewer ones are held in registers, while the others come one at a time."""
        k, vector = self.k, self.factors

        def pixel(r):
            return k.splat(k.load(x[r], vector.scalar), vector)

        if len(sums) * self.nv <= self.mr:
            held = [[k.load(w + v * vector.size, vector) for v in range(self.nv)] for w in panels]
            for r in range(self.mr):
                value = pixel(r)
                for rows, parts in zip(sums.values(), held, strict=True):
                    for variable, part in zip(rows[r], parts, strict=True):
                        variable.set(k.muladd(value, part, variable.get()))
            return
        held = [pixel(r) for r in range(self.mr)]
        for rows, w in zip(sums.values(), panels, strict=True):
            for v in range(self.nv):
                part = k.load(w + v * vector.size, vector)
                for row, value in zip(rows, held, strict=True):
                    row[v].set(k.muladd(value, part, row[v].get()))

    def _write(self, task, offsets, sums):
        """Add the bias, apply the activation and write what exists: channels and phases."""
        k, vector, nv = self.k, self.vector, self.nv
        bias = [k.load(task["bias"] + v * vector.size, vector) for v in range(nv)]
        whole = k.equal(task["columns"], nv * vector.lanes)
        y = self._result(task, offsets)
        for (p_h, p_w), rows in sums.items():
            kept = k.iand(
                k.iand(k.less(task["first_h"], p_h + 1), k.less(p_h, task["end_h"])),
                k.iand(k.less(task["first_w"], p_w + 1), k.less(p_w, task["end_w"])),
            )
            there = [pointer + self._at(task, p_h, p_w) for pointer in y]
            self._store(task, k.iand(kept, whole), k.iand(kept, k.negate(whole)), there, rows, bias)
        self._holes(task, offsets, whole, bias)

    def _store(self, task, whole, partly, y, rows, bias):
        k, vector, size = self.k, self.vector, self.epilogue.written.size
        with k.when(whole):
            for pointer, row in zip(y, rows, strict=True):
                for v, variable in enumerate(row):
                    k.store(self.epilogue(k.add(variable.get(), bias[v])), pointer + v * size)
        with k.when(partly):
            for v, part in enumerate(bias):
                values = [self.epilogue(k.add(row[v].get(), part)) for row in rows]
                there = [pointer + v * size for pointer in y]
                store_some(k, vector, 0, task["columns"] - v * vector.lanes, values, there)

    def _holes(self, task, offsets, whole, bias):
        """Phases without taps hold the bias alone."""
        k, vector, (down, across) = self.k, self.vector, self.phases
        zero = k.zero(vector)

        def write(p_h, first):
            with k.loop(first, task["end_w"]) as p_w, k.loop(0, self.mr) as r:
                pointer = task["y"] + (k.load(offsets + (r * PLACE + 8), I64) + self._at(task, p_h, p_w))
                rows = [[_Constant(zero) for _ in bias]]
                self._store(task, whole, k.negate(whole), [pointer], rows, bias)

        with k.loop(task["first_h"], k.imin(task["end_h"], down)) as p_h:
            write(p_h, k.imax(task["first_w"], across))
        with k.loop(k.imax(task["first_h"], down), task["end_h"]) as p_h:
            write(p_h, task["first_w"])


class _Kind:
    """Sums that the same taps reach: {phase: its rows of vectors}."""

    def __init__(self, k, vector, longest, sums, totals):
        self.k, self.vector, self.longest, self.sums, self.totals = k, vector, longest, sums, totals
        self.length, self.cut = k.variable(0, I64), k.variable(0, I64)

    def go_on(self, count):
        """Before so many products: if the sums would be longer than they may be, they are added to their totals."""
        k, vector, length = self.k, self.vector, self.length.get() + count
        too_long = k.less(self.longest, length)
        with k.when(too_long):
            places = self._places()
            # Zeros first, and one way for all cuts: with two of them, as in `gemm.spill_partial_sums`, LLVM keeps sums
            # of AVX2 on the stack.
            with k.when(k.equal(self.cut.get(), 0)):
                for _, there in places:
                    k.store(k.zero(vector), there)
            for variable, there in places:
                k.store(k.add(variable.get(), k.load(there, vector)), there)
                variable.set(k.zero(vector))
            self.cut.set(1)
        self.length.set(k.select(too_long, count, length))

    def _places(self):
        """(sum, where its total is) of each."""
        flat = (variable for tile in self.sums.values() for row in tile for variable in row)
        return [(variable, self.totals + place * self.vector.size) for place, variable in enumerate(flat)]

    def finish(self):
        """Add the totals, if there are any."""
        k = self.k
        with k.when(self.cut.get() > 0):
            for variable, there in self._places():
                variable.set(k.add(variable.get(), k.load(there, self.vector)))


class _Constant:
    def __init__(self, value):
        self.get = lambda: value
