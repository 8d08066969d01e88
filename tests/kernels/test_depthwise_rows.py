"""All phases of a row together, against the definition: by the interpreter, and natively between guard pages."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from amount import some
from children import script
from native import IDS, ISAS, blocks, busiest, hot_loop, interpreted, link, spills, undefined_symbols
from strided import DTYPES, SLOPE, UNTOUCHED, Drawn, Strided, activated, activations_of, apart, whole_numbers

from upconv.algorithms.depthwise_rows import WRITTEN_TAPS
from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import PTR, Builder, Type
from upconv.codegen.lowering import lower
from upconv.kernels.depthwise_rows import ACROSS, HEIGHT, PHASES, depthwise_rows, fields, interleaved, separated
from upconv.kernels.epilogue import slope_field
from upconv.kernels.execute import FIELDS_MOST

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"
# Random settings of each kernel.
PER_CELL = some(2, 60)
# Phases, and columns of the source from one of a phase to the next: several of the latter in the gradient alone.
KINDS = (*((s, 1) for s in PHASES), (1, 2), (1, 3), (1, 4))
BACKS = (1, 1, 1, 2, 0, -1)
# Every so many settings have a kernel for their numbers of taps.
WRITTEN = 4
# Phases, rows of taps, taps of each phase: those of common layers.
TAPS = (2, 2, (2, 2)), (1, 3, (3,)), (3, 1, (1, 1, 1)), (4, 1, (1, 1, 1, 1))


class Setting(Drawn):
    """One random task: its arrays, and what they should become."""

    def __init__(self, number, kind, elem, widest=70, activation="none"):
        self.s, self.step = s, step = kind
        draw = random.Random(f"{number} {s} {elem}" if step == 1 else f"{number} {kind} {elem}")
        self.elem, self.dtype, self.activation = elem, DTYPES[elem], activation
        self.groups, self.n, self.rows = (draw.randrange(1, 4) for _ in range(3))
        self.n_h = draw.randrange(5)
        self.in_cols = draw.randrange(1, step * widest + 1)
        columns = s * (-(-self.in_cols // step))
        self.out_cols = max(1, draw.choice((columns, columns + draw.randrange(-4, 9))))
        if draw.random() < 0.2:
            self.out_cols = draw.randrange(1, s * widest)
        self.back, self.row_step, self.tap_step = draw.choice(BACKS), draw.choice((1, 2)), draw.choice((1, -1, 2))
        self._phases(draw)
        below = max(0, self.n_h - 1) * self.tap_step
        self.first_row = max(0, -below)
        rows = abs(below) + (self.rows - 1) * self.row_step + 1
        outer = draw.choice(((0, 1), (1, 0)))
        self.x = apart(draw, (self.groups, self.n, rows, self.in_cols), (*outer, 2, 3))
        self.y = apart(draw, (self.groups, self.n, self.rows, self.out_cols), (*outer, 2, 3))
        self.w = apart(draw, (self.groups, max(1, self.n_h), self.k_w), draw.choice(((0, 1, 2), (1, 2, 0), (2, 1, 0))))
        self._values(np.random.default_rng(draw.randrange(1 << 30)), draw.random() < 0.5)

    def _phases(self, draw):
        """Taps of a phase may be any evenly spaced ones; half of the settings are those of a layer."""
        layer, crop = draw.random() < 0.5, draw.choice((0, 1, 3))
        self.k_w = draw.randrange(1, 4 * self.s + 1)
        self.w_step = draw.choice((1, self.s, -1, -self.s)) if not layer else self.s
        self.phases = []
        for p in range(self.s):
            if layer:
                first = (p + crop) % self.s
                taps = len(range(first, self.k_w, self.s))
                self.phases.append(((p + crop) // self.s, taps, first))
                continue
            first = draw.randrange(self.k_w)
            taps = len(range(first, self.k_w if self.w_step > 0 else -1, self.w_step))
            self.phases.append((draw.randrange(-4, 7), draw.randrange(taps + 1), first))

    def _values(self, rng, odd):
        arrays = [whole_numbers(rng, size, self.dtype, odd) for size in (self.x.size, self.w.size)]
        arrays.append(whole_numbers(rng, self.groups, self.dtype, odd=False))
        self.arrays = [arrays[0], np.full(self.y.size, UNTOUCHED, self.dtype), *arrays[1:]]

    def numbers(self, x, y, w, bias):
        """The fields of the task for arrays that lie anywhere."""
        xv, yv, wv = self.x.view(x), self.y.view(y), self.w.view(w)
        start = [xv[:, :, self.first_row :].ctypes.data, yv.ctypes.data, wv.ctypes.data, bias.ctypes.data]
        numbers = [0, *start, self.n, self.rows, self.groups, self.n_h, self.in_cols, self.out_cols]
        numbers += [xv.strides[1], xv.strides[2] * self.row_step, xv.strides[2] * self.tap_step, xv.strides[0]]
        numbers += [yv.strides[1], yv.strides[2], yv.strides[0]]
        numbers += [wv.strides[1], wv.strides[2] * self.w_step, wv.strides[0], bias.itemsize, self.back]
        numbers.append(0 if self.elem == "i64" else slope_field(self.elem, SLOPE))
        for a, count, first in self.phases:
            numbers += [a, count, first * wv.strides[2]]
        assert len(numbers) == len(fields(self.s))
        return np.array(numbers, np.int64)

    def want(self):
        """The arrays afterwards, by the definition: a product that does not exist is not computed."""
        x, y, w, bias = (array.copy() for array in self.arrays)
        xv, yv, wv = self.x.view(x), self.y.view(y), self.w.view(w)
        yv[...] = bias[:, None, None, None]
        for p, (a, count, first) in enumerate(self.phases):
            columns = np.arange(p, self.out_cols, self.s)
            for m in range(count):
                source = columns // self.s * self.step + a - m * self.back
                exists = (source >= 0) & (source < self.in_cols)
                for row, t_h in np.ndindex(self.rows, self.n_h):
                    pixels = xv[:, :, self.first_row + row * self.row_step + t_h * self.tap_step]
                    weight = wv[:, None, None, t_h, first + m * self.w_step]
                    yv[:, :, row, columns[exists]] += pixels[..., source[exists]] * weight
        yv[...] = activated(self.activation, yv)
        return x, y, w, bias

    def written(self):
        """The numbers of taps that a kernel of its own would be made for."""
        return self.n_h, tuple(count for _, count, _ in self.phases)

    def kinds(self):
        """The numbers of taps that kernels for it may be made for: none, those of a row, all."""
        n_h, counts = self.written()
        rows = [None] * (sum(counts) <= WRITTEN_TAPS) + [n_h] * (n_h * sum(counts) <= WRITTEN_TAPS)
        return [(None, None), *((each, counts) for each in rows)]


def run_between_pages(isa, per_cell):
    """Settings natively, arrays at both ends of rooms between forbidden pages; returns how many runs there were."""
    from rooms import Room, run_at_both_ends

    rooms = [Room(1 << 20) for _ in range(4)]
    count = 0
    for elem in DTYPES:
        for kind in KINDS:
            s, step = kind
            height = HEIGHT[ROWS[isa].registers][s]
            loops = [link(depthwise_rows(ROWS[isa], elem, s, None, None, h, step), ROWS[isa]) for h in (1, height)]
            for number in range(per_cell):
                setting = Setting(number, kind, elem, widest=(70, 200)[number % 2])
                code, kinds = loops[number % 2], setting.kinds()
                if number % WRITTEN == 0:
                    each = number // WRITTEN
                    made = depthwise_rows(ROWS[isa], elem, s, *kinds[each % len(kinds)], (height, 1)[each % 2], step)
                    code = link(made, ROWS[isa])
                print(f"{isa} {elem} {kind} {number}", flush=True)
                count += run_at_both_ends(rooms, code, setting)
    return count


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    text = f"{HERE}import test_depthwise_rows; print(test_depthwise_rows.run_between_pages({isa!r}, {PER_CELL}))"
    printed = script(text).splitlines()
    assert int(printed[-1]) == len(DTYPES) * len(KINDS) * PER_CELL * 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("elem", DTYPES)
def test_by_the_interpreter(elem, kind):
    """Which also sees every access outside the arrays; with loops over taps, and with the taps written out."""
    isas = [ROWS[isa] for isa in ("avx512", "avx2", "x86-64")]
    for number in range(100, some(106, 112)):
        isa, activation = (
            isas[number % len(isas)],
            activations_of(elem)[number // len(isas) % len(activations_of(elem))],
        )
        setting = Setting(number, kind, elem, widest=40, activation=activation)
        for place, taps in enumerate(setting.kinds()):
            height = (1, HEIGHT[isa.registers][kind[0]])[(number + place) % 2]
            kernel = depthwise_rows(isa, elem, kind[0], *taps, height, kind[1], activation)
            arrays = [array.copy() for array in setting.arrays]
            interpret(kernel, setting.numbers(*arrays), *arrays)
            setting.check(arrays)


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
@pytest.mark.parametrize("columns", [1, 2, 15, 16, 17, 33, 64, 70])
def test_a_weight_reaches_only_the_columns_that_have_its_tap(columns, isa):
    """Kernel 4, stride 2, padding 1: the first weight wants the column to the left, which the first pixels lack."""
    setting = Setting(0, (2, 1), "f32")
    for name in "groups n rows n_h row_step tap_step back".split():
        setattr(setting, name, 1)
    setting.in_cols, setting.out_cols, setting.first_row, setting.w_step = columns, 2 * columns, 0, 2
    # y[2j] takes x[j] w[1] + x[j-1] w[3], and y[2j+1] takes x[j+1] w[0] + x[j] w[2].
    setting.phases = [(0, 2, 1), (1, 2, 0)]
    setting.x, setting.y = (Strided((1, 1, 1, size), (size, size, size, 1)) for size in (columns, 2 * columns))
    setting.w = Strided((1, 1, 4), (4, 4, 1))
    x, y = np.ones(columns, np.float32), np.full(2 * columns, UNTOUCHED, np.float32)
    setting.arrays = [x, y, np.array([np.inf, 1, 2, np.nan], np.float32), np.zeros(1, np.float32)]
    for taps in ((), setting.written(), (None, setting.written()[1], 4)):
        arrays = [array.copy() for array in setting.arrays]
        link(depthwise_rows(isa, "f32", 2, *taps), isa)(setting.numbers(*arrays).ctypes.data)
        setting.check(arrays)
        assert arrays[1][0] == 1
        assert arrays[1][-1] == 2
        assert np.isnan(arrays[1][2::2]).all()
        assert (arrays[1][1:-1:2] == np.inf).all()


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("s", range(1, 13))
def test_lines_are_interleaved_and_separated(s, lanes):
    numbers = np.arange(s * lanes, dtype=np.float64)
    together = numbers.reshape(s, lanes).T.ravel()
    for way, given, wanted in ((interleaved, numbers, together), (separated, together, numbers)):
        k = Builder("lines")
        src, dst = k.arguments(PTR, PTR)
        vector = Type("f64", lanes)
        for q, line in enumerate(way(k, [k.load(src + q * vector.size, vector) for q in range(s)])):
            k.store(line, dst + q * vector.size)
        _, got = interpreted(k, [given, np.zeros_like(numbers)])
        assert got.tolist() == wanted.tolist()


def test_a_task_fits_the_room_of_one():
    assert max(len(fields(s)) for s in PHASES) <= FIELDS_MOST


@pytest.mark.parametrize(("isa", "registers"), [("avx512", "%zmm"), ("avx2", "%ymm")])
@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_the_hot_loop_of_taps_that_are_written_out(taps, isa, registers):
    """Some vectors away from the borders: all their products, no masks, nothing on the stack."""
    s, n_h, counts = taps
    assembly = llvm.assembly(lower(depthwise_rows(ROWS[isa], "f32", *taps), ROWS[isa]), ROWS[isa])
    lines = [line for _, body in blocks(assembly) for line in body]
    assert [line for line in lines if line.startswith("call")] == []
    loop = hot_loop(assembly, "vfmadd")
    fused = [line for line in loop if re.match(r"vfmadd\d+ps", line)]
    assert len(fused) == n_h * sum(counts) * ACROSS[s]
    assert all(registers in line and "{%k" not in line for line in fused)
    assert spills(loop) == []
    if isa == "avx512":
        # Masks have registers of their own; on AVX2 those of the borders lie on the stack.
        assert spills(lines) == []


@pytest.mark.parametrize(("isa", "registers"), [("avx512", "%zmm"), ("avx2", "%ymm")])
@pytest.mark.parametrize("s", PHASES)
def test_the_loop_over_rows_of_taps_has_those_of_a_row_written_out(s, isa, registers):
    """Which are those of several rows, or of several vectors of one."""
    counts, height = (3,) * s, HEIGHT[ROWS[isa].registers][s]
    kernel = depthwise_rows(ROWS[isa], "f32", s, None, counts, height)
    assembly = llvm.assembly(lower(kernel, ROWS[isa]), ROWS[isa])
    lines = [line for _, body in blocks(assembly) for line in body]
    assert [line for line in lines if line.startswith("call")] == []
    loop = hot_loop(assembly, "vfmadd")
    fused = [line for line in loop if re.match(r"vfmadd\d+ps", line)]
    assert len(fused) in (3 * height, 3 * ACROSS[s])
    assert all(registers in line for line in fused)
    # As above, the masks of AVX2 lie on the stack.
    assert isa != "avx512" or spills(loop) == []


@pytest.mark.parametrize("s", PHASES)
def test_ends_of_rows_leave_in_pieces_where_a_masked_store_takes_long(s):
    isa = ROWS["avx2"]
    assembly = llvm.assembly(lower(depthwise_rows(isa, "f32", s, 1, (1,) * s, 1), isa), isa)
    stored = re.findall(r"v(?:p?maskmov\w+|movups)\t%\w+, (?:%\w+, )?.*\(", assembly)
    assert stored
    assert not [line for line in stored if "maskmov" in line]


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("s", PHASES)
def test_loops_over_taps_have_no_calls_and_spill_no_vector(s, isa):
    assembly = llvm.assembly(lower(depthwise_rows(ROWS[isa], "f32", s), ROWS[isa]), ROWS[isa])
    lines = [line for _, body in blocks(assembly) for line in body]
    assert [line for line in lines if line.startswith("call")] == []
    assert spills(busiest(assembly, "vfmadd")) == []
    assert isa != "avx512" or spills(lines) == []


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    for elem in DTYPES:
        for s, step in KINDS:
            kernel = depthwise_rows(isa, elem, s, None, None, step)
            assert undefined_symbols(llvm.compile_object(lower(kernel, isa), isa)) == []
