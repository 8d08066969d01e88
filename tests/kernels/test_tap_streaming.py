"""One tap of a packed weight, added to the sums of its pixels: interpreted, and natively between guard pages."""

import dataclasses
import random
import re
from pathlib import Path

import numpy as np
import pytest
from children import script
from native import IDS, blocks, link, spills, undefined_symbols
from strided import DTYPES, KINDS, UNTOUCHED, Strided, as_stored, whole_numbers

from upconv.algorithms.tap_streaming import TILES
from upconv.codegen import llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import SIZES
from upconv.codegen.lowering import lower
from upconv.codegen.primitives import TABLE
from upconv.kernels.execute import FIELDS_MOST
from upconv.kernels.tap_streaming import AHEAD, CHUNK, FIELDS, LINE, UNROLL, chunk_of, heights, tap_streaming

# A panel that is near is never one of halves.
ALL = [*((elem, storage, False) for elem, storage in KINDS), *((elem, "", True) for elem in DTYPES)]
HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"


class Setting:
    """One random task: its arrays, and what they should become."""

    def __init__(self, number, isa, elem, nv, storage=""):
        draw = random.Random(f"{number} {isa.name} {elem} {nv}")
        mr = TILES[isa.registers][0]
        self.dtype, self.width, self.storage = DTYPES[elem], nv * isa.lanes(SIZES[elem]), storage
        self.n, self.rows = draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 2, 3))
        self.cols = draw.choice((1, 2, 3, mr - 1, mr, mr + 1, 2 * mr + 1))
        self.c = draw.choice((1, 2, UNROLL, UNROLL + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3))
        gaps = [draw.choice((0, 0, 3)) for _ in range(4)]
        pixel = self.c + gaps[0]
        row = self.cols * pixel + gaps[1]
        self.x = Strided((self.n, self.rows, self.cols, self.c), (self.rows * row + gaps[2], row, pixel, 1))
        self.w = Strided((self.c, self.width), (self.width, 1))
        pixel = self.width * draw.choice((1, 2, 3))
        row = self.cols * pixel * draw.choice((1, 2)) + gaps[3] * self.width
        self.y = Strided((self.n, self.rows, self.cols, self.width), (self.rows * row, row, pixel, 1))
        self._values(np.random.default_rng(draw.randrange(1 << 30)), draw.random() < 0.5)

    def _values(self, rng, odd):
        x, w = (whole_numbers(rng, size, self.dtype, odd) for size in (self.x.size, self.w.size))
        y = np.full(self.y.size, UNTOUCHED, self.dtype)
        self.y.view(y)[...] = whole_numbers(rng, self.y.view(y).size, self.dtype, False).reshape(self.y.view(y).shape)
        self.weight = w
        self.arrays = [x, as_stored(w, self.storage), y, np.zeros(2 * (self.n * self.rows * self.cols + 1), np.int64)]
        self.arrays.append(np.zeros(CHUNK * self.width, self.dtype))

    def numbers(self, x, w, y, places, wide):
        """The fields of the task for arrays that lie anywhere."""
        xv, wv, yv = self.x.view(x), self.w.view(w), self.y.view(y)
        task = {"entry": 0, "x": xv.ctypes.data, "w": wv.ctypes.data, "y": yv.ctypes.data, "next": wv.ctypes.data}
        task |= {name: getattr(self, name) for name in ("c", "n", "rows", "cols")}
        task |= {"chunk": chunk_of(self.c), "places": places.ctypes.data, "wide": wide.ctypes.data}
        for name, view in (("x", xv), ("y", yv)):
            task |= zip((f"{name}_n", f"{name}_row", f"{name}_col"), view.strides, strict=False)
        return np.array([task[name] for name in FIELDS], np.int64)

    def check(self, got):
        """What was there, and the products; gaps are untouched."""
        x, w, y, *_ = self.arrays
        want = y.copy()
        with np.errstate(all="ignore"):
            self.y.view(want)[...] += (self.x.view(x)[..., None] * self.w.view(self.weight)).sum(3)
        for name, one, other in zip("xwy", got, [x, w, want], strict=False):
            np.testing.assert_array_equal(one, other, err_msg=f"{name} of {self!r}")

    def __repr__(self):
        return " ".join(f"{key}={value}" for key, value in vars(self).items() if key not in ("arrays", "weight"))


def run_between_pages(isa, per_cell=30):
    """Settings natively, arrays at both ends of rooms between forbidden pages; returns how many runs there were."""
    from rooms import Room, run_at_both_ends

    rooms = [Room(1 << 18) for _ in range(5)]
    row, count = ROWS[isa], 0
    mr, most = TILES[row.registers]
    for elem, *kind in ALL:
        for nv in range(1, most + 1):
            code = link(tap_streaming(row, elem, mr, nv, *kind), row)
            for number in range(per_cell):
                setting = Setting(number, row, elem, nv, kind[0])
                print(f"{isa} {elem} {kind} {nv} {number}", flush=True)
                count += run_at_both_ends(rooms, code, setting)
    return count


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    text = f"{HERE}import test_tap_streaming; print(test_tap_streaming.run_between_pages({isa!r}))"
    printed = script(text).splitlines()
    assert int(printed[-1]) == len(ALL) * TILES[ROWS[isa].registers][1] * 30 * 2


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize(("elem", "storage", "near"), ALL)
def test_by_the_interpreter(elem, storage, near, isa):
    """Which also sees every access outside the arrays."""
    mr, nv = TILES[isa.registers]
    kernel = tap_streaming(isa, elem, mr, nv, storage, near)
    for number in range(200, 203):
        setting = Setting(number, isa, elem, nv, storage)
        arrays = [array.copy() for array in setting.arrays]
        interpret(kernel, setting.numbers(*arrays), *arrays)
        setting.check(arrays)


def test_a_task_fits_the_room_of_one():
    assert len(FIELDS) <= FIELDS_MOST


@pytest.mark.parametrize(("mr", "found"), [(6, [6, 4, 2, 1]), (4, [4, 2, 1]), (5, [5, 4, 2, 1]), (1, [1])])
def test_the_heights_leave_no_pixel(mr, found):
    assert heights(mr) == found


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("isa", ["avx512", "avx2"])
def test_the_hot_loops(isa, near):
    """A loop for each height: so many fused products, no spill, no call; each line of the next chunk once, or none."""
    isa = ROWS[isa]
    mr, nv = TILES[isa.registers]
    assembly = llvm.assembly(lower(tap_streaming(isa, "f32", mr, nv, near=near), isa), isa)
    bodies = [body for _, body in blocks(assembly)]
    lines = [line for body in bodies for line in body]
    assert [line for line in lines if line.startswith("call")] == []
    register = "%zmm" if isa.vector_bytes == 64 else "%ymm"
    asked = 0 if near else -(-UNROLL * nv * isa.vector_bytes // LINE)
    for height in heights(mr):
        loops = [body for body in bodies if counted(body, register) == (height * nv * UNROLL, asked)]
        # What is left of a tile so much higher has as many products, and nothing to ask for.
        assert len(loops) == 1 + (near and height * UNROLL in heights(mr)), height
        assert all(spills(loop) == [] for loop in loops)


@pytest.mark.parametrize("isa", [ROWS["avx512"], ROWS["avx2"]], ids=["avx512", "avx2"])
@pytest.mark.parametrize("storage", ["", "f16"])
def test_what_is_prefetched(isa, storage, monkeypatch):
    """Of one tile the lines a little ahead, from end to end; of more the chunk that comes next, at last `next`."""
    asked = []
    recorded = dataclasses.replace(TABLE["prefetch"], meaning=lambda p, **_: asked.append(p.address))
    monkeypatch.setitem(TABLE, "prefetch", recorded)
    mr, nv = TILES[isa.registers]
    kernel = tap_streaming(isa, "f32", mr, nv, storage)
    row = nv * isa.vector_bytes // (2 if storage else 1)
    for pixels in (*heights(mr), 3, mr + 1):
        setting = Setting(0, isa, "f32", nv, storage)
        setting.n, setting.rows, setting.cols, setting.c = 1, 1, pixels, 2 * CHUNK
        setting.x = Strided((1, 1, pixels, setting.c), (0, 0, setting.c, 1))
        setting.w = Strided((setting.c, setting.width), (setting.width, 1))
        setting.y = Strided((1, 1, pixels, setting.width), (0, 0, setting.width, 1))
        setting._values(np.random.default_rng(0), False)
        numbers = setting.numbers(*setting.arrays)
        start, following = int(numbers[FIELDS.index("w")]), 1 << 30
        numbers[FIELDS.index("next")] = start + following
        asked.clear()
        interpret(kernel, numbers, *setting.arrays)
        whole, chunk = setting.c * row, chunk_of(setting.c) * row
        want = {*range(AHEAD, AHEAD + whole, LINE)}
        if pixels not in heights(mr):
            want = {*range(chunk, whole, LINE), *range(following, following + chunk, LINE)}
        assert {(address - start) // LINE * LINE for address in asked} == want, pixels


def counted(lines, register):
    """(fused products, prefetches) among some lines."""
    fused = sum(bool(re.match(r"vfmadd\d+ps", line)) and register in line for line in lines)
    return fused, sum(line.startswith("prefetch") for line in lines)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    for elem, storage in KINDS:
        kernel = tap_streaming(isa, elem, *TILES[isa.registers], storage)
        assert undefined_symbols(llvm.compile_object(lower(kernel, isa), isa)) == []
