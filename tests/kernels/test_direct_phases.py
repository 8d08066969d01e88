"""Phases of a row along the vector, against the definition: interpreted, and natively between guard pages."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from amount import some
from children import script
from native import IDS, busiest, link, spills, undefined_symbols
from strided import DTYPES, SLOPE, UNTOUCHED, Drawn, activated, activations_of, apart, whole_numbers

from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lowering import lower
from upconv.kernels.direct_phases import FIELDS, HEIGHTS, UNROLL, direct_phases, runs, scratch
from upconv.kernels.epilogue import slope_field
from upconv.kernels.execute import FIELDS_MOST

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"
# Random settings of each kernel.
PER_CELL = some(3, 24)
# Vectors, whether they are not full.
TILES = ((2, False), (2, True), (1, False), (1, True))


class Setting(Drawn):
    """One random task: its arrays, and what they should become."""

    def __init__(self, number, isa, elem, tile, widest, activation="none"):
        draw = random.Random(f"{number} {tile} {elem}")
        self.activation, self.elem, self.dtype = activation, elem, DTYPES[elem]
        (self.nv, self.rest), self.tall = tile, HEIGHTS[isa.registers][tile[0]]
        self.lanes = isa.lanes(np.dtype(self.dtype).itemsize)
        # Vectors of channels, or of phases.
        self.channels = self.nv if draw.random() < 0.5 else 1
        across = self.nv // self.channels
        less = draw.randrange(1, self.lanes) if self.rest and self.lanes > 1 else 0
        self.width = across * self.lanes - less
        self.rest = less > 0
        self.blocks = 1 if self.rest or self.channels > 1 else draw.choice((1, 1, 3))
        self.p, self.taps = draw.randrange(0, 4), draw.choice((0, 1, 1, 2, 3))
        self.s = self.p + self.blocks * self.width + draw.randrange(0, 4)
        self.n, self.rows, self.n_h = draw.randrange(1, 4), draw.randrange(1, 4), draw.choice((0, 1, 2, 3))
        self.c = draw.choice((1, 2, 3, 5, 9))
        self.part = draw.choice((1, 2, 4, self.c))
        self.in_cols = draw.randrange(1, widest)
        self.crop = draw.randrange(-self.s, 2 * self.s)
        whole = (self.in_cols + self.taps) * self.s
        self.out_cols = max(1, whole - self.crop + draw.randrange(-self.s, self.s))
        self.row_step, self.tap_step = draw.choice((1, 2)), draw.choice((1, -1, 2))
        self.first, self.end = self.crop // self.s, -(-(self.crop + self.out_cols) // self.s)
        self.lines = draw.choice((1, 2, 1 << 30))
        if self.part < self.c:
            self.lines = min(self.lines, self.n * self.rows)
        self._places(draw)
        self._values(np.random.default_rng(draw.randrange(1 << 30)), draw.random() < 0.5)

    def _places(self, draw):
        below = max(0, self.n_h - 1) * self.tap_step
        self.first_row = max(0, -below)
        rows = abs(below) + (self.rows - 1) * self.row_step + 1
        orders = (0, 1, 2, 3), (1, 0, 2, 3)
        self.x = apart(draw, (self.n, self.c, rows, self.in_cols), draw.choice(orders))
        self.y = apart(draw, (self.n, self.channels, self.rows, self.out_cols), draw.choice(orders))
        # No more columns than these phases have, so that what is read beyond them is seen.
        self.k_w = max(1, (self.taps - 1) * self.s + self.p + self.blocks * self.width)
        self.w = apart(draw, (self.c, self.channels, max(1, self.n_h), self.k_w), draw.choice(orders))

    def _values(self, rng, odd):
        arrays = [whole_numbers(rng, size, self.dtype, odd) for size in (self.x.size, self.w.size)]
        bias = whole_numbers(rng, self.channels, self.dtype, odd=False)
        self.arrays = [arrays[0], np.full(self.y.size, UNTOUCHED, self.dtype), arrays[1], bias]

    def scratch(self, isa):
        """The panel and the sums that wait, exactly as large as they must be."""
        products = self.part * max(1, self.n_h * self.taps)
        lines = min(self.lines, self.n * self.rows)
        needs = scratch(isa.vector_bytes, self.tall, self.nv, products, self.end - self.first, lines)
        return [np.full(needs[name], 0xFF, np.uint8) for name in ("panel", "totals")]

    def numbers(self, x, y, w, bias, panel, totals):
        """The fields of the task for arrays that lie anywhere."""
        xv, yv, wv, size = self.x.view(x), self.y.view(y), self.w.view(w), np.dtype(self.dtype).itemsize
        by_channel, vector = self.channels > 1, self.lanes * size
        task = {
            "entry": 0,
            "x": xv[:, :, self.first_row :].ctypes.data,
            **{"y": yv.ctypes.data, "w": wv.ctypes.data, "bias": bias.ctypes.data},
            **{name: getattr(self, name) for name in "c part n rows lines n_h s crop first end".split()},
            **{name: getattr(self, name) for name in "in_cols out_cols p width taps blocks".split()},
            **{"x_n": xv.strides[0], "x_c": xv.strides[1], "y_n": yv.strides[0]},
            "x_row": xv.strides[2] * self.row_step,
            "x_h": xv.strides[2] * self.tap_step,
            "y_row": yv.strides[2],
            **{"w_h": wv.strides[2], "w_t": self.s * size, "w_c": wv.strides[0]},
            **({"w_v": wv.strides[1], "y_v": yv.strides[1]} if by_channel else {"w_v": vector, "y_v": vector}),
            "lanes": 0 if by_channel else self.lanes,
            "bias_v": size if by_channel else 0,
            "panel": panel.ctypes.data,
            "totals": totals.ctypes.data,
            "slope": 0 if self.elem == "i64" else slope_field(self.elem, SLOPE),
        }
        return np.array([task[name] for name in FIELDS], np.int64)

    def want(self):
        """The arrays afterwards, by the definition: a product that does not exist is not computed."""
        x, y, w, bias = (array.copy() for array in self.arrays)
        xv, yv, wv = self.x.view(x), self.y.view(y), self.w.view(w)
        for column in range(self.out_cols):
            j, phase = divmod(column + self.crop, self.s)
            if not self.p <= phase < self.p + self.blocks * self.width:
                continue
            for row, channel in np.ndindex(self.rows, self.channels):
                total = np.full(self.n, bias[channel], self.dtype)
                for t_h, t in np.ndindex(self.n_h, self.taps):
                    if 0 <= j - t < self.in_cols:
                        pixels = xv[:, :, self.first_row + row * self.row_step + t_h * self.tap_step, j - t]
                        total += (pixels * wv[:, channel, t_h, phase + t * self.s]).sum(1)
                yv[:, channel, row, column] = activated(self.activation, total)
        return x, y, w, bias


def run_between_pages(isa, per_cell):
    """Settings natively, arrays at both ends of rooms between forbidden pages; returns how many runs there were."""
    from rooms import Room, run_at_both_ends

    rooms = [Room(16 << 20) for _ in range(6)]
    row, count = ROWS[isa], 0
    for elem in DTYPES:
        for tile in TILES:
            codes = {}
            for number in range(per_cell):
                setting = Setting(number, row, elem, tile, (20, 60)[number % 2])
                if setting.rest not in codes:
                    codes[setting.rest] = link(direct_phases(row, elem, setting.tall, tile[0], setting.rest), row)
                print(f"{isa} {elem} {tile} {number}", flush=True)
                count += run_at_both_ends(rooms, codes[setting.rest], setting, setting.arrays + setting.scratch(row))
    return count


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    text = f"{HERE}import test_direct_phases; print(test_direct_phases.run_between_pages({isa!r}, {PER_CELL}))"
    printed = script(text).splitlines()
    assert int(printed[-1]) == len(DTYPES) * len(TILES) * PER_CELL * 2


@pytest.mark.parametrize("isa", ["avx512", "avx2", "x86-64", "neon"])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_by_the_interpreter(tile, isa):
    """Which also sees every access outside the arrays."""
    isa = ROWS[isa]
    for number in range(200, some(203, 212)):
        elem = list(DTYPES)[number % 3]
        activation = activations_of(elem)[number % len(activations_of(elem))]
        setting = Setting(number, isa, elem, tile, 14, activation)
        kernel = direct_phases(isa, elem, setting.tall, setting.nv, setting.rest, "", activation)
        arrays = [array.copy() for array in setting.arrays + setting.scratch(isa)]
        interpret(kernel, setting.numbers(*arrays), *arrays)
        setting.check(arrays)


def test_runs_have_every_place_once_and_its_taps():
    """Beside the definition, place by place."""
    draw = random.Random(0)
    for _ in range(300):
        taps, columns, s, width = draw.randrange(4), draw.randrange(1, 9), draw.randrange(4, 9), draw.randrange(1, 4)
        p, crop, out = draw.randrange(s - width + 1), draw.randrange(-9, 20), draw.randrange(1, 70)
        first, end = crop // s, -(-(crop + out) // s)
        found, want = [], []
        for count, number in runs(taps, first, end, columns, s, crop, out, p, width):
            found += [number] * count
        for j in range(first, end):
            if any(0 <= j * s + phase - crop < out for phase in range(p, p + width)):
                want.append(sum(0 <= j - t < columns for t in range(taps)))
        assert found == want


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("nv", [1, 2])
def test_the_hot_loop_of_a_tile(isa, nv):
    """Products of a few channels for every sum, and nothing of it on the stack."""
    row = ROWS[isa]
    tall = HEIGHTS[row.registers][nv]
    assembly = llvm.assembly(lower(direct_phases(row, "f32", tall, nv), row), row)
    loop = busiest(assembly, "vfmadd")
    fused = [line for line in loop if re.match(r"vfmadd\d+ps", line)]
    assert len(fused) == UNROLL * tall[0] * nv
    assert all(("%zmm" if isa == "avx512" else "%ymm") in line and "{%k" not in line for line in fused)
    assert spills(loop) == []


def test_a_task_fits_the_room_of_one():
    assert len(FIELDS) <= FIELDS_MOST


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    for elem in DTYPES:
        made = direct_phases(isa, elem, HEIGHTS[isa.registers][2], 2, True)
        assert undefined_symbols(llvm.compile_object(lower(made, isa), isa)) == []
