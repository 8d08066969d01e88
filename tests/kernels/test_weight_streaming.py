"""Few pixels times a weight as it lies, against the definition: interpreted, and natively between guard pages."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from children import script
from native import IDS, blocks, hot_loop, link, spills, undefined_symbols
from strided import DTYPES, KINDS, UNTOUCHED, Strided, as_stored, whole_numbers

import upconv
from upconv.algorithms import weight_streaming as tasks
from upconv.algorithms.weight_streaming import TILES
from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import SIZES
from upconv.codegen.lowering import lower
from upconv.geometry import Axis, Geometry, ceil_div
from upconv.kernels import weight_streaming as kernels
from upconv.kernels.execute import FIELDS_MOST
from upconv.kernels.weight_streaming import FIELDS, MOST_BLOCKS, weight_streaming
from upconv.layouts import CHANNELS_FIRST, WEIGHT_CHANNELS_LAST
from upconv.problem import Problem
from upconv.runtime import memory
from upconv.runtime.kernel import isa as chosen_isa
from upconv.runtime.program import X_BAND
from upconv.schedule.placed_problem import PlacedProblem

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"


class Setting:
    """One random task: its arrays, and what they should become."""

    def __init__(self, number, isa, elem, storage=""):
        draw = random.Random(f"{number} {isa.name} {elem}")
        mr, nc = TILES[isa.registers]
        self.lanes, self.dtype, self.storage = isa.lanes(SIZES[elem]), DTYPES[elem], storage
        self.pixels = draw.choice((1, mr - 1, mr, mr + 1, 2 * mr + 1, 3 * mr))
        self.c = draw.choice((1, nc - 1, nc, nc + 1, 2 * nc, 3 * nc + 2))
        self.pieces = draw.choice((1, 1, 2, 5))
        self.count = draw.choice((1, self.lanes - 1, self.lanes, self.lanes + 1, 2 * self.lanes, 3 * self.lanes + 1))
        if self.pieces <= 2 and draw.random() < 0.4:
            # One chain of blocks and two, and what is left behind whole ones.
            self.c = MOST_BLOCKS * nc * draw.choice((1, 2)) + draw.choice((0, nc - 1, nc))
        gaps = [draw.choice((0, 0, 3)) for _ in range(3)]
        self.x = Strided((self.pixels, self.c), (self.c + gaps[0], 1))
        # Pieces lie in a row, or behind all rows.
        piece = self.count + gaps[1]
        row = (self.pieces - 1) * piece + self.count + gaps[2]
        if draw.random() < 0.3:
            row, piece = self.count + gaps[1], self.c * (self.count + gaps[1]) + gaps[2]
        self.w = Strided((self.c, self.pieces, self.count), (row, piece, 1))
        whole = -(-self.count // self.lanes) * self.lanes
        line = whole + gaps[0] * self.lanes
        self.y = Strided((self.pieces, self.pixels, whole), (line, self.pieces * line + gaps[1] * self.lanes, 1))
        self._values(np.random.default_rng(draw.randrange(1 << 30)), draw.random() < 0.5)

    def _values(self, rng, odd):
        x, w = (whole_numbers(rng, size, self.dtype, odd) for size in (self.x.size, self.w.size))
        self.arrays = [x, as_stored(w, self.storage), *(np.full(self.y.size, UNTOUCHED, self.dtype) for _ in range(2))]
        self.weight = w

    def numbers(self, x, w, y, totals):
        """The fields of the task for arrays that lie anywhere."""
        xv, wv, yv = self.x.view(x), self.w.view(w), self.y.view(y)
        task = {"entry": 0, "x": xv.ctypes.data, "w": wv.ctypes.data, "y": yv.ctypes.data}
        task["totals"] = self.y.view(totals).ctypes.data
        task |= {name: getattr(self, name) for name in ("c", "pixels", "pieces", "count")}
        task |= {"x_p": xv.strides[0], "w_c": wv.strides[0], "w_piece": wv.strides[1]}
        task |= {"y_p": yv.strides[1], "y_piece": yv.strides[0]}
        return np.array([task[name] for name in FIELDS], np.int64)

    def check(self, got):
        """The sums of every column that exists; the rest of its last vector may be anything, gaps are untouched."""
        x, w, y, _ = self.arrays
        want = y.copy()
        with np.errstate(all="ignore"):
            products = self.x.view(x)[None, :, :, None] * self.w.view(self.weight).transpose(1, 0, 2)[:, None]
            self.y.view(want)[..., : self.count] = products.sum(2)
        mine = got[2].copy()
        self.y.view(mine)[..., self.count :] = UNTOUCHED
        assert self.c >= MOST_BLOCKS or (got[3] == UNTOUCHED).all()
        for name, one, other in zip("xwy", [*got[:2], mine], [x, w, want], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=f"{name} of {self!r}")

    def __repr__(self):
        return " ".join(f"{key}={value}" for key, value in vars(self).items() if key not in ("arrays", "weight"))


def made(isa, elem, storage=""):
    """The kernel for few turns, and one for many, whose pixels go along a vector of columns at a time."""
    mr, nc = TILES[isa.registers]
    yield weight_streaming(isa, elem, mr, nc, nc, storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "NEAR_BYTES", {isa.registers: 0})
        yield weight_streaming(isa, elem, mr, nc, 2, storage)


def run_between_pages(isa, per_cell=100):
    """Settings natively, arrays at both ends of rooms between forbidden pages; returns how many runs there were."""
    from rooms import Room, run_at_both_ends

    rooms = [Room(1 << 18) for _ in range(4)]
    row, count = ROWS[isa], 0
    for kind in KINDS:
        codes = [link(kernel, row) for kernel in made(row, *kind)]
        for number in range(per_cell):
            setting, code = Setting(number, row, *kind), codes[number % 2]
            print(f"{isa} {kind} {number}", flush=True)
            count += run_at_both_ends(rooms, code, setting)
    return count


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    printed = script(
        f"{HERE}import test_weight_streaming; print(test_weight_streaming.run_between_pages({isa!r}))"
    ).splitlines()
    assert int(printed[-1]) == len(KINDS) * 100 * 2


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize(("elem", "storage"), KINDS)
def test_by_the_interpreter(elem, storage, isa):
    """Which also sees every access outside the arrays."""
    both = list(made(isa, elem, storage))
    for number in range(200, 208):
        setting = Setting(number, isa, elem, storage)
        arrays = [array.copy() for array in setting.arrays]
        interpret(both[number % 2], setting.numbers(*arrays), *arrays)
        setting.check(arrays)


def test_a_task_fits_the_room_of_one():
    assert len(FIELDS) <= FIELDS_MOST


@pytest.mark.parametrize("ahead", [1, 3])
@pytest.mark.parametrize("isa", ["avx512", "avx2"])
def test_the_hot_loop(isa, ahead):
    """The first product of each sum is a plain one; all others are fused, and the sums so far are added."""
    isa = ROWS[isa]
    mr, nc = TILES[isa.registers]
    assembly = llvm.assembly(lower(weight_streaming(isa, "f32", mr, nc, ahead), isa), isa)
    lines = [line for _, body in blocks(assembly) for line in body]
    assert [line for line in lines if line.startswith("call")] == []
    # No vector is put on the stack; a number of columns may come from there, for a mask.
    assert [line for line in spills(lines) if re.search(r"%[xyz]mm\d+, .*\(%rsp", line)] == []
    loop = hot_loop(assembly, "vfmadd")
    assert spills(loop) == []
    fused = [line for line in loop if re.match(r"vfmadd\d+ps", line)]
    assert len(fused) == mr * (nc - 1)
    assert all(("%zmm" if isa.vector_bytes == 64 else "%ymm") in line for line in fused)
    assert sum(line.startswith("vmulps") for line in loop) == mr
    assert sum(line.startswith("vaddps") for line in loop) == mr
    # Into the second-level cache: into the first it takes half as long again, since the sums lie there.
    assert sum(line.startswith("prefetcht1") for line in loop) == ahead


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("pixels", [0, 1, 2, 4, 7, 16, 256])
def test_all_turns_together_prefetch_every_row_that_comes_next(pixels, isa):
    mr, nc = TILES[isa.registers]
    ahead, turns = kernels.rows_ahead(isa, pixels, mr, nc), max(1, pixels // mr + pixels % mr)
    assert turns * ahead >= nc
    if isa.registers in kernels.NEAR_BYTES:
        # And few of them again.
        assert ahead == 1 or turns * ahead < nc + turns


@pytest.mark.parametrize("layout", [CHANNELS_FIRST, WEIGHT_CHANNELS_LAST])
@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_chunks(layout, side):
    """Long runs of the weight whose sums stay near; as many units as there are threads."""
    axis = Axis(side, 4, 2, crop_lo=1, crop_hi=1)
    problem = Problem("forward", Geometry(1, 64, 1024, 1, axis, axis), "float32", b_layout=layout)
    for threads in (1, 2, 7):
        made = tasks.program(PlacedProblem.dense(problem, threads))
        first, end, _ = made.tables[-1].spans[-1]
        assert end - first >= threads
        most = tasks.SUMS_BYTES if layout == WEIGHT_CHANNELS_LAST else tasks.CHUNK_BYTES
        sums = side * side * 16 * 4
        least = sums * chosen_isa().lanes(4)
        assert made.sizes[X_BAND] <= 2 * (max(most, least) + least)
        if threads == 1 and layout != WEIGHT_CHANNELS_LAST and side <= 2:
            assert made.sizes[X_BAND] >= 2 * side * side * tasks.CHUNK * 4


@pytest.mark.parametrize("channels", [768, 1024, 2048])
@pytest.mark.parametrize("side", [1, 2])
def test_chunks_are_shared_out_evenly(channels, side):
    """No thread has more than a vector of channels beyond its share in each of its turns."""
    axis, lanes = Axis(side, 4, 2, crop_lo=1, crop_hi=1), chosen_isa().lanes(4)
    problem = Problem("forward", Geometry(1, 64, channels, 1, axis, axis), "float32")
    for threads in range(1, 13):
        each = tasks._channels_at_once(problem, threads)
        turns = ceil_div(ceil_div(channels, each), threads)
        assert turns * (each - lanes) < channels / threads


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("stride", [(3, 5), (2, 2)], ids=["holes", "none"])
def test_sums_of_one_channel_are_added_up_where_they_are(layout, stride):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 5, 40)).astype(np.float32).transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x) if layout == "nchw" else x
    w, b = rng.standard_normal((40, 1, 7, 3)).astype(np.float32), rng.standard_normal(2).astype(np.float32)
    settings = {"stride": stride, "groups": 2, "padding": (1, 0)}
    kernels = upconv.plan(x, w, algorithm="weight_streaming", **settings).kernels
    assert any(name.startswith("transpose") for name in kernels) == (layout == "nchw")
    with memory.poisoned():
        got = upconv.conv_transpose2d(x, w, b, algorithm="weight_streaming", **settings)
    wide = (each.astype(np.float64) for each in (x, w, b))
    exact = upconv.conv_transpose2d(*wide, algorithm="loops", **settings)
    np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    for elem, storage in KINDS:
        kernel = next(made(isa, elem, storage))
        assert undefined_symbols(llvm.compile_object(lower(kernel, isa), isa)) == []
