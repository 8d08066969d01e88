"""Few channels, all phases of a row, against the definition: interpreted, and natively between guard pages."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from amount import some
from cases import values
from children import script
from native import IDS, blocks, busiest, link, spills, undefined_symbols, updates
from strided import DTYPES, SLOPE, UNTOUCHED, Drawn, Strided, activated, activations_of, apart, whole_numbers

import upconv
from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lowering import lower
from upconv.kernels.direct_rows import NAMES, direct_rows, scratch
from upconv.kernels.epilogue import slope_field
from upconv.kernels.execute import FIELDS_MOST
from upconv.kernels.gemm import LONGEST_SUM, WHOLE_SUM
from upconv.schedule import strips

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"
# Random settings of each kernel.
PER_CELL = some(2, 24)
# Channels, phases, vectors, whether all channels of a pixel are written together, columns from one to the next.
TILES = {
    32: ((6, 1, 4, False), (3, 2, 4, False), (2, 3, 4, False), (3, 4, 2, False), (6, 2, 2, True), (3, 4, 2, True)),
    16: ((4, 1, 2, False), (3, 2, 1, False), (2, 3, 1, False), (1, 4, 2, False), (3, 1, 3, True), (2, 3, 1, True)),
}
TILES[32] += (6, 1, 3, False, 2), (2, 1, 6, True, 3), (3, 1, 4, False, 4)
TILES[16] += (4, 1, 2, False, 2), (1, 1, 6, True, 3), (3, 1, 2, False, 4)
# Of the layers in the table those whose kernels had most pointers.
MANY_POINTERS = ((4, 3, 2), (2, 2, 6), (2, 2, 2, True))
BACKS = (1, 1, 1, 2, 0, -1)


class Setting(Drawn):
    """One random task: its arrays, and what they should become."""

    def __init__(self, number, tile, elem, widest, channels, activation="none"):
        draw = random.Random(f"{number} {tile} {elem}")
        self.activation = activation
        self.mr, self.s, self.nv, self.joined, self.step = (*tile, 1)[:5]
        self.elem, self.dtype = elem, DTYPES[elem]
        self.groups = 1 if self.joined else draw.randrange(1, 3)
        self.blocks = 1 if self.joined else draw.choice((1, 1, 3))
        self.n, self.rows = draw.randrange(1, 4), draw.randrange(1, 4)
        self.n_h = draw.choice((0, 1, 2, 3))
        self.c = draw.choice((1, 2, 31, 33, *channels))
        self.in_cols = draw.randrange(1, self.step * widest + 1)
        columns = self.s * -(-self.in_cols // self.step)
        self.out_cols = max(1, draw.choice((columns, columns + draw.randrange(-4, 9))))
        if draw.random() < 0.2:
            self.out_cols = draw.randrange(1, self.s * widest)
        self.back, self.row_step, self.tap_step = draw.choice(BACKS), draw.choice((1, 2)), draw.choice((1, -1, 2))
        self._taps(draw)
        self._places(draw)
        self._values(np.random.default_rng(draw.randrange(1 << 30)), draw.random() < 0.5)

    def _taps(self, draw):
        """(a, count, first of the weight for each phase) of the shared taps; (a, count, first) of each phase's own."""
        self.w_step, self.k_w = draw.choice((1, 2)), draw.randrange(7, 10)
        firsts = [draw.randrange(2) for _ in range(self.s)]
        self.shared = draw.randrange(-4, 7), draw.choice((0, 1, 2, 3)), firsts
        self.own = [(draw.randrange(-4, 7), draw.choice((0, 0, 1, 2)), draw.randrange(3)) for _ in range(self.s)]

    def _places(self, draw):
        below = max(0, self.n_h - 1) * self.tap_step
        self.first_row = max(0, -below)
        rows = abs(below) + (self.rows - 1) * self.row_step + 1
        orders = (0, 1, 2, 3, 4), (1, 0, 2, 3, 4)
        self.x = apart(draw, (self.groups, self.n, self.c, rows, self.in_cols), draw.choice(orders))
        shape = self.groups, self.n, self.blocks * self.mr, self.rows, self.out_cols
        if self.joined:
            # The channels of a pixel, and the pixels of a row, without a gap.
            row = self.mr * self.out_cols + draw.choice((0, 3))
            image = row * self.rows + draw.choice((0, 5))
            self.y = Strided(shape, (image * self.n, image, 1, row, self.mr))
        else:
            self.y = apart(draw, shape, draw.choice(orders), step=self._y_step(draw))
        # As a layer has it, as a layer in pixels has it, and as panels have it.
        shape = self.groups, self.blocks, self.c, self.mr, max(1, self.n_h), self.k_w
        orders = (0, 2, 1, 3, 4, 5), (2, 4, 5, 0, 1, 3), (0, 4, 5, 1, 2, 3)
        self.w = apart(draw, shape, draw.choice(orders))

    def _y_step(self, draw):
        """A single phase may be written on any step."""
        return draw.choice((1, 1, 3, 5)) if self.s == 1 else 1

    def _values(self, rng, odd):
        arrays = [whole_numbers(rng, size, self.dtype, odd) for size in (self.x.size, self.w.size)]
        bias = whole_numbers(rng, self.groups * self.blocks * self.mr, self.dtype, odd=False)
        self.arrays = [arrays[0], np.full(self.y.size, UNTOUCHED, self.dtype), arrays[1], bias]

    def scratch(self, isa):
        """The lists of places and the totals, exactly as large as they must be."""
        needs = scratch(isa.vector_bytes, self.mr, self.s, self.nv)
        return [np.full(needs[name], 0xFF, np.uint8) for name in ("places", "totals")]

    def numbers(self, x, y, w, bias, places, totals):
        """The fields of the task for arrays that lie anywhere."""
        xv, yv, wv = self.x.view(x), self.y.view(y), self.w.view(w)
        a, count, firsts = self.shared
        task = {
            "entry": 0,
            "x": xv[:, :, :, self.first_row :].ctypes.data,
            **{"y": yv.ctypes.data, "w": wv.ctypes.data, "bias": bias.ctypes.data},
            **{name: getattr(self, name) for name in "n rows groups blocks c n_h in_cols out_cols back".split()},
            **dict(zip(("x_g", "x_n", "x_c"), xv.strides[:3], strict=True)),
            "x_row": xv.strides[3] * self.row_step,
            "x_h": xv.strides[3] * self.tap_step,
            **dict(zip(("y_g", "y_n", "y_c", "y_row", "y_col"), yv.strides, strict=True)),
            **dict(zip(("w_g", "w_b", "w_c", "w_r", "w_h"), wv.strides[:5], strict=True)),
            "w_w": wv.strides[5] * self.w_step,
            "bias_g": self.blocks * self.mr * bias.itemsize,
            "places": places.ctypes.data,
            "totals": totals.ctypes.data,
            "shared_a": a,
            "shared_count": count,
            "slope": 0 if self.elem == "i64" else slope_field(self.elem, SLOPE),
        }
        for p, (a, count, first) in enumerate(self.own):
            task |= {f"shared_{p}": firsts[p] * wv.strides[5], f"a_{p}": a, f"n_{p}": count}
            task[f"first_{p}"] = first * wv.strides[5]
        return np.array([task[name] for name in NAMES[self.s]], np.int64)

    def want(self):
        """The arrays afterwards, by the definition: a product that does not exist is not computed."""
        x, y, w, bias = (array.copy() for array in self.arrays)
        xv, yv, wv = self.x.view(x), self.y.view(y), self.w.view(w)
        # By group, source channel, result channel and tap.
        wv = np.concatenate(wv.swapaxes(0, 1), axis=2)
        yv[...] = bias.reshape(self.groups, 1, -1, 1, 1)
        shared_a, shared_count, firsts = self.shared
        for p in range(self.s):
            lists = [(shared_a, shared_count, firsts[p])] + ([self.own[p]] if self.s > 1 else [])
            columns = np.arange(p, self.out_cols, self.s)
            for a, count, first in lists:
                for m in range(count):
                    source = columns // self.s * self.step + a - m * self.back
                    exists = (source >= 0) & (source < self.in_cols)
                    for row, t_h in np.ndindex(self.rows, self.n_h):
                        pixels = xv[:, :, :, self.first_row + row * self.row_step + t_h * self.tap_step, source[exists]]
                        weight = wv[:, :, :, t_h, first + m * self.w_step]
                        products = pixels[:, :, :, None] * weight[:, None, :, :, None]
                        yv[:, :, :, row, columns[exists]] += products.sum(2)
        yv[...] = activated(self.activation, yv)
        return x, y, w, bias


def run_between_pages(isa, per_cell):
    """Settings natively, arrays at both ends of rooms between forbidden pages; returns how many runs there were."""
    from rooms import Room, run_at_both_ends

    rooms = [Room(16 << 20) for _ in range(6)]
    row, count = ROWS[isa], 0
    for elem in DTYPES:
        for tile in TILES[row.registers]:
            code = link(direct_rows(row, elem, *tile), row)
            for number in range(per_cell):
                setting = Setting(number, tile, elem, (20, 120)[number % 2], (64, 65, LONGEST_SUM + 1))
                print(f"{isa} {elem} {tile} {number}", flush=True)
                count += run_at_both_ends(rooms, code, setting, setting.arrays + setting.scratch(row))
    return count


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    text = f"{HERE}import test_direct_rows; print(test_direct_rows.run_between_pages({isa!r}, {PER_CELL}))"
    printed = script(text).splitlines()
    assert int(printed[-1]) == len(DTYPES) * len(TILES[ROWS[isa].registers]) * PER_CELL * 2


@pytest.mark.parametrize("isa", ["avx512", "avx2", "x86-64", "neon"])
@pytest.mark.parametrize("number", range(9))
def test_by_the_interpreter(number, isa):
    """Which also sees every access outside the arrays."""
    isa = ROWS[isa]
    tile, elem = TILES[isa.registers][number], list(DTYPES)[number % 3]
    for again in range(200, some(201, 203)):
        activation = activations_of(elem)[(number + again) % len(activations_of(elem))]
        kernel = direct_rows(isa, elem, *tile, *(() if len(tile) > 4 else (1,)), activation)
        setting = Setting(again, tile, elem, 24, (3,), activation)
        arrays = [array.copy() for array in setting.arrays + setting.scratch(isa)]
        interpret(kernel, setting.numbers(*arrays), *arrays)
        setting.check(arrays)


def test_long_sums_are_cut():
    """The totals lie in memory that would be read otherwise: a sum of more than WHOLE_SUM products touches it."""
    isa, tile = ROWS["x86-64"], (1, 1, 1, False)
    for c, touched in ((WHOLE_SUM, False), (WHOLE_SUM + 1, True)):
        setting = Setting(0, tile, "f32", 4, (3,))
        for name in "groups blocks n rows n_h".split():
            setattr(setting, name, 1)
        setting.c, setting.first_row, setting.shared, setting.own = c, 0, (0, 1, [0]), [(0, 0, 0)]
        setting.in_cols = setting.out_cols = 4
        setting.x, setting.y = Strided((1, 1, c, 1, 4), (0, 0, 4, 4, 1)), Strided((1, 1, 1, 1, 4), (4, 4, 4, 4, 1))
        setting.w = Strided((1, 1, c, 1, 1, 1), (c, c, 1, 1, 1, 1))
        setting.arrays = [np.ones(4 * c, np.float32), np.zeros(4, np.float32), np.ones(c, np.float32)]
        setting.arrays.append(np.zeros(1, np.float32))
        arrays = [array.copy() for array in setting.arrays + setting.scratch(isa)]
        interpret(direct_rows(isa, "f32", *tile), setting.numbers(*arrays), *arrays)
        assert arrays[1].tolist() == [c] * 4
        assert (arrays[5] != 0xFF).any() == touched


def test_a_task_fits_the_room_of_one():
    assert max(len(names) for names in NAMES.values()) <= FIELDS_MOST


@pytest.mark.parametrize(
    ("isa", "tile"), [("avx512", (3, 2, 4)), ("avx512", (4, 1, 6)), ("avx2", (3, 2, 1)), ("avx2", (4, 1, 2))]
)
def test_the_hot_loop_of_a_tile(isa, tile):
    """A tap that all phases share: one product for every sum, with masks in the twin for the borders alone."""
    mr, s, nv = tile
    assembly = llvm.assembly(lower(direct_rows(ROWS[isa], "f32", *tile), ROWS[isa]), ROWS[isa])
    lines = [line for _, body in blocks(assembly) for line in body]
    assert [line for line in lines if line.startswith("call")] == []
    loop = busiest(assembly, "vfmadd")
    assert spills(loop) == []
    # A single phase may be written on any step, by a list of addresses, which is long.
    assert s == 1 or spills(lines) == []
    fused = [line for line in loop if re.match(r"vfmadd\d+ps", line)]
    assert len(fused) == mr * s * nv
    assert all(("%zmm" if isa == "avx512" else "%ymm") in line and "{%k" not in line for line in fused)
    own = 2 * s * mr * nv if s > 1 else 0
    assert sum(line.startswith("vfmadd") for line in lines) == 2 * mr * s * nv + own


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
def test_no_pointers_that_lie_in_memory_go_on_with_every_tap(isa):
    """It made a hundred of them, for each weight and each vector in each loop around: a seventh of a layer's time."""
    for tile in TILES[ROWS[isa].registers] + MANY_POINTERS:
        if tile[1] > 1:
            assembly = llvm.assembly(lower(direct_rows(ROWS[isa], "f32", *tile), ROWS[isa]), ROWS[isa])
            # What is left goes on with groups and with blocks of channels.
            assert len(updates(line for _, body in blocks(assembly) for line in body)) < 4 * tile[0] * tile[1], tile


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    for elem in DTYPES:
        for tile in TILES[isa.registers][1::3]:
            assert undefined_symbols(llvm.compile_object(lower(direct_rows(isa, elem, *tile), isa), isa)) == []


@pytest.mark.parametrize("size", [(35, 35), (5, 35), (35, 5)], ids=str)
def test_one_product_for_each_output_along_rows_and_along_columns(size, monkeypatch):
    """Rows come from strips then; the columns of a square layer, which would do as well, are computed as they lie."""
    monkeypatch.setattr(strips, "LEAST_TIMES", 1)
    x, w = values((2, 5, *size), 1, kind="exact"), values((5, 9, 3, 3), 2, kind="exact")
    want = upconv.conv_transpose2d(x, w, None, 3, algorithm="matmul")
    for way in ("direct_rows", "direct_columns"):
        np.testing.assert_array_equal(upconv.conv_transpose2d(x, w, None, 3, algorithm=way), want)
