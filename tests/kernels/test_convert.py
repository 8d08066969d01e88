"""Halves to float32 and back: every half, awkward floats, random lines between guard pages, and by the interpreter."""

import random
from pathlib import Path

import numpy as np
import pytest
from amount import some
from children import script
from native import IDS, ISAS, link, undefined_symbols
from rooms import Room

from upconv.codegen import lang, llvm
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import Builder
from upconv.codegen.lowering import lower
from upconv.kernels import convert as module
from upconv.kernels.convert import FIELDS, convert
from upconv.kernels.execute import FIELDS_MOST

ml_dtypes = pytest.importorskip("ml_dtypes")
HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"
DTYPES = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
EVERY_HALF = np.arange(1 << 16, dtype=np.uint16)


def awkward(storage):
    """Floats about every boundary: halves, what lies halfway between two, their neighbours; and random bits."""
    bits = EVERY_HALF.view(DTYPES[storage]).astype(np.float32).view(np.uint32)
    last = 13 if storage == "f16" else 16
    steps = [0, 1, -1, 1 << (last - 1), (1 << (last - 1)) - 1, (1 << (last - 1)) + 1, 1 << last]
    near = [bits + np.uint32(step & 0xFFFFFFFF) for step in steps]
    rng = np.random.default_rng(0)
    near.append(rng.integers(0, 1 << 32, some(1 << 16, 1 << 22), dtype=np.uint32))
    values = np.concatenate(near).view(np.float32)
    # Between zero and twice the least half there are few floats that end in a tie.
    least = 2.0**-24 if storage == "f16" else 2.0**-133
    ties = np.float32(least) * np.arange(-64, 65, dtype=np.float32) / 32
    return np.concatenate([values, ties, 65504 + 16 * rng.random(512, np.float32)])


def converted(code, src, dst):
    words = dict.fromkeys(FIELDS, 0) | {"src": src.ctypes.data, "dst": dst.ctypes.data, "n": 1, "m": 1}
    code(np.array([(words | {"count": src.size})[name] for name in FIELDS], np.int64).ctypes.data)
    return dst


def assert_same_numbers(got, want, dtype):
    """The bits, but for those of a NaN; neither ever becomes an infinity."""
    got, want = got.view(dtype), want.view(dtype)
    nan = np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got), nan)
    bits = f"<u{got.itemsize}"
    np.testing.assert_array_equal(got.view(bits)[~nan], want.view(bits)[~nan])


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
@pytest.mark.parametrize("storage", DTYPES)
def test_every_half_and_awkward_floats(storage, isa):
    code = link(convert(isa, storage, False), isa)
    wide = converted(code, EVERY_HALF, np.empty(EVERY_HALF.size, np.float32))
    assert_same_numbers(wide, EVERY_HALF.view(DTYPES[storage]).astype(np.float32), np.float32)
    floats = awkward(storage)
    halves = converted(link(convert(isa, storage, True), isa), floats, np.empty(floats.size, np.uint16))
    with np.errstate(all="ignore"):
        assert_same_numbers(halves, floats.astype(DTYPES[storage]), DTYPES[storage])


class Setting:
    """Random lines: their arrays, and what they should become."""

    def __init__(self, number, isa, storage, narrows):
        draw, lanes = random.Random(f"{number} {isa.name} {storage} {narrows}"), isa.lanes(4)
        self.n, self.m = draw.choice((1, 2, 3)), draw.choice((1, 2, 5))
        self.count = draw.choice((1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 1, 4 * lanes - 1))
        self.narrows, self.storage = narrows, storage
        self.types = (np.float32, np.uint16) if narrows else (np.uint16, np.float32)
        rng = np.random.default_rng(draw.randrange(1 << 30))
        self.steps = []
        self.arrays = []
        for dtype in self.types:
            line = self.count + draw.choice((0, 0, 3))
            plane = self.m * line + draw.choice((0, 0, 5))
            self.steps.append((plane, line))
            size = (self.n - 1) * plane + (self.m - 1) * line + self.count
            self.arrays.append(
                rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, size, dtype=f"<u{np.dtype(dtype).itemsize}")
            )
        self.arrays = [array.view(dtype) for array, dtype in zip(self.arrays, self.types, strict=True)]

    def lines(self, array, which):
        (plane, line), size = self.steps[which], array.itemsize
        return np.lib.stride_tricks.as_strided(array, (self.n, self.m, self.count), (plane * size, line * size, size))

    def words(self, src, dst):
        task = dict.fromkeys(FIELDS, 0) | {"src": src.ctypes.data, "dst": dst.ctypes.data}
        task |= {"n": self.n, "m": self.m, "count": self.count}
        for which, (name, array) in enumerate((("src", src), ("dst", dst))):
            task |= {
                f"{name}_{axis}": step * array.itemsize for axis, step in zip("nm", self.steps[which], strict=True)
            }
        return np.array([task[name] for name in FIELDS], np.int64)

    def check(self, src, dst):
        """The source is what it was, and so is what lies between the lines of the result."""
        assert src.tobytes() == self.arrays[0].tobytes()
        half = DTYPES[self.storage]
        want = self.arrays[1].copy()
        with np.errstate(all="ignore"):
            if self.narrows:
                self.lines(want, 1)[...] = self.lines(src, 0).astype(half).view(np.uint16)
            else:
                self.lines(want, 1)[...] = self.lines(src.view(half), 0).astype(np.float32)
        assert_same_numbers(dst, want, half if self.narrows else np.float32)


def run_between_pages(isa, count=40):
    """Settings natively, arrays at both ends of rooms between forbidden pages."""
    row, rooms = ROWS[isa], [Room(1 << 14), Room(1 << 14)]
    for storage in DTYPES:
        for narrows in (False, True):
            code = link(convert(row, storage, narrows), row)
            for number in range(count):
                setting = Setting(number, row, storage, narrows)
                print(isa, storage, narrows, number, flush=True)
                for at_end in (True, False):
                    src, dst = (room.copy(a, at_end) for room, a in zip(rooms, setting.arrays, strict=True))
                    code(setting.words(src, dst).ctypes.data)
                    setting.check(src, dst)


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    printed = script(f"{HERE}import test_convert; test_convert.run_between_pages({isa!r})").splitlines()
    assert len(printed) == 160


def by_the_interpreter(isa, numbers=range(6)):
    for storage in DTYPES:
        for narrows in (False, True):
            kernel = module.convert(isa, storage, narrows)
            for number in numbers:
                setting = Setting(number, isa, storage, narrows)
                src, dst = (array.copy() for array in setting.arrays)
                interpret(kernel, setting.words(src, dst), src, dst)
                setting.check(src, dst)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_by_the_interpreter(isa):
    """Which also sees every access outside the arrays."""
    by_the_interpreter(isa)


def without(method, wrong):
    return type("Builder", (Builder,), {method: wrong})


def toward_zero(self, a, storage, native):
    """Halves whose last bit is cut: an even one is right half of the time."""
    made = Builder.narrow(self, a, storage, native)
    return self.iand(made, self.splat(0xFFFE, made.type))


MUTANTS = {
    "the last vector of a line is left out": without(
        "when", lambda self, condition: Builder.when(self, self.less(1, 0))
    ),
    "the second axis has no step": without("fields", lambda self, *args: Builder.fields(self, *args) | {"dst_m": 0}),
    "the first axis has no step": without("fields", lambda self, *args: Builder.fields(self, *args) | {"src_n": 0}),
    "a bit is lost": without("narrow", toward_zero),
    "the other kind of half": without(
        "widen",
        lambda self, a, storage, native: Builder.widen(self, a, {"f16": "bf16", "bf16": "f16"}[storage], native),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_kernels_are_caught(mutant, monkeypatch):
    monkeypatch.setattr(module, "Builder", MUTANTS[mutant])
    with pytest.raises(AssertionError):
        by_the_interpreter(ISAS[0], range(40))


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    for storage in DTYPES:
        for narrows in (False, True):
            kernel = convert(isa, storage, narrows)
            assert undefined_symbols(llvm.compile_object(lower(kernel, isa), isa)) == []


@pytest.mark.parametrize(("isa", "instruction"), [("avx512", "vcvtph2ps"), ("avx2", "vcvtph2ps")])
def test_float16_is_converted_by_the_instruction_for_it(isa, instruction):
    kernel = convert(ROWS[isa], "f16", False)
    assert instruction in llvm.assembly(lower(kernel, ROWS[isa]), ROWS[isa])


def test_a_task_fits_the_room_of_one():
    assert len(FIELDS) <= FIELDS_MOST
    assert lang.SIZES["i16"] == 2
