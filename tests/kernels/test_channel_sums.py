"""Sums of maps for each channel: the kernels between guard pages and by the interpreter, the function on any memory."""

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from children import script
from native import IDS, link

from upconv import channel_sums as sums
from upconv.channel_sums import channel_sums
from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import ROWS
from upconv.kernels import channel_sums as kernel
from upconv.runtime import memory, pool

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fresh; fresh.share()\n"
ELEMENTS = {"f32": np.float32, "f64": np.float64}
KINDS = {
    "line": (kernel.line_sums, kernel.LINE_FIELDS),
    "plane": (kernel.plane_sums, kernel.PLANE_FIELDS),
    "short": (partial(kernel.plane_sums, is_short=True), kernel.PLANE_FIELDS),
}


class Setting:
    """One random task: (rows, columns) with gaps behind the rows, and the sums over one of the two."""

    def __init__(self, number, isa, elem, kind):
        draw = random.Random(f"{number} {isa.name} {elem} {kind}")
        lanes = isa.lanes(8)
        across = lanes * kernel.FLIGHT[isa.registers]
        self.kind, self.rows = kind, draw.choice((1, 2, 5, 9))
        self.columns = draw.choice((1, lanes - 1, lanes, lanes + 1, across - 1, across, across + lanes + 1, 2 * across))
        self.columns = max(1, self.columns)
        self.pitch = self.columns + draw.choice((0, 0, 3))
        rng = np.random.default_rng(number)
        # Whole numbers, so that no order of the sums is wrong.
        self.src = rng.integers(-9, 9, (self.rows - 1) * self.pitch + self.columns).astype(ELEMENTS[elem])
        if draw.random() < 0.3:
            self.src[rng.integers(self.src.size)] = draw.choice((np.inf, -np.inf, np.nan))
        self.dst = np.full(self.columns if kind == "line" else self.rows, 77.0)

    def numbers(self, src, dst):
        """The fields of either kernel, which have the same order."""
        step = self.pitch * src.itemsize
        return np.array([0, src.ctypes.data, dst.ctypes.data, self.rows, step, self.columns], np.int64)

    def check(self, src, dst):
        rows = np.lib.stride_tricks.as_strided(
            self.src, (self.rows, self.columns), (self.pitch * self.src.itemsize, self.src.itemsize)
        )
        with np.errstate(invalid="ignore"):
            want = rows.sum(0 if self.kind == "line" else 1, dtype=np.float64)
        np.testing.assert_array_equal(dst, want, err_msg=repr(vars(self)))
        np.testing.assert_array_equal(src, self.src)


def run_between_pages(isa, per_cell=60):
    """Settings natively, arrays at both ends of rooms between forbidden pages; returns how many runs there were."""
    from rooms import Room

    rooms, row, count = [Room(1 << 16) for _ in range(2)], ROWS[isa], 0
    for kind, (make, _) in KINDS.items():
        for elem in ELEMENTS:
            code = link(make(row, elem), row)
            for number in range(per_cell):
                setting = Setting(number, row, elem, kind)
                print(f"{isa} {kind} {elem} {number}", flush=True)
                for at_end in (True, False):
                    arrays = [room.copy(a, at_end) for room, a in zip(rooms, (setting.src, setting.dst), strict=True)]
                    code(setting.numbers(*arrays).ctypes.data)
                    setting.check(*arrays)
                    count += 1
    return count


@pytest.mark.parametrize("isa", IDS)
def test_natively_between_guard_pages(isa):
    printed = script(
        f"{HERE}import test_channel_sums; print(test_channel_sums.run_between_pages({isa!r}))"
    ).splitlines()
    assert int(printed[-1]) == len(KINDS) * len(ELEMENTS) * 60 * 2


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("elem", ELEMENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_by_the_interpreter(kind, elem, isa):
    """Which also sees every access outside the arrays."""
    made = KINDS[kind][0](isa, elem)
    for number in range(200, 206):
        setting = Setting(number, isa, elem, kind)
        arrays = setting.src.copy(), setting.dst.copy()
        interpret(made, setting.numbers(*arrays), *arrays)
        setting.check(*arrays)


SHUFFLE = kernel.Builder.shuffle
WRONG = {
    "the last columns left out": ("lane_mask", lambda k, n, type: k.emit("lane_mask", type.mask, 0)),
    "lanes folded once too often": (
        "shuffle",
        lambda k, a, b, indices: SHUFFLE(k, a, b, [0] * len(indices)),
    ),
    "sums that forget": ("add", lambda k, a, b: b),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_kernels_are_caught(wrong, monkeypatch):
    isa, (name, instead) = ROWS["avx2"], WRONG[wrong]
    monkeypatch.setattr(kernel.Builder, name, instead)
    caught = 0
    for kind, (make, _) in KINDS.items():
        made = make(isa, "f32")
        for number in range(8):
            setting = Setting(number, isa, "f32", kind)
            arrays = setting.src.copy(), setting.dst.copy()
            interpret(made, setting.numbers(*arrays), *arrays)
            try:
                setting.check(*arrays)
            except AssertionError:
                caught += 1
    assert caught


def laid(array, how):
    if how == "nhwc":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    return np.repeat(array, 2, axis=-1)[..., ::2] if how == "gaps" else array


@pytest.mark.parametrize("how", ["nchw", "nhwc", "gaps"])
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "float16", "complex64"])
@pytest.mark.parametrize(
    "shape", [(2, 3, 5, 7), (1, 1, 9, 8), (3, 5, 4, 1), (2, 70, 3, 3), (1, 2, 640), (1, 3, 4, 5, 6)]
)
def test_the_sums_are_those_of_numpy(shape, dtype, how, monkeypatch):
    monkeypatch.setattr(sums, "LEAST", 1)
    monkeypatch.setattr(sums, "PART_BYTES", 64)
    array = np.random.default_rng(0).integers(-9, 9, shape).astype(dtype)
    array = laid(array, how)
    found = channel_sums(array)
    assert found.dtype == ("complex128" if dtype == "complex64" else "float64")
    np.testing.assert_array_equal(found, array.astype(found.dtype).sum((0, *range(2, array.ndim))))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 3, 64, 50),
        (1, 1, 40, 128),
        (1, 70, 60, 61),
        (9, 2, 64, 65),
        (3, 6, 1, 4099),
        (40, 300, 3, 3),
        (9999, 2, 1, 1),
    ],
)
def test_short_sums_and_long_ones_in_memory_that_was_used(shape, again):
    """Both ways that a program is called, and what scratch had before."""
    array = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float32)
    want = array.sum((0, 2, 3), dtype=np.float64)
    for each in (array, laid(array, "nhwc")):
        if again:
            np.testing.assert_array_equal(channel_sums(each), want)
            continue
        with memory.poisoned():
            np.testing.assert_array_equal(channel_sums(each), want)


@pytest.mark.parametrize("shape", [(1, 3, 256, 250), (1, 70, 60, 61), (9, 2, 64, 65), (1, 1, 512, 300)])
def test_the_same_bits_for_any_number_of_threads(shape):
    array = np.random.default_rng(0).random(shape, np.float32)
    maps, found, before = [array, laid(array, "nhwc")], [], pool.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            pool.set_num_threads(threads)
            found.append([channel_sums(each).tobytes() for each in maps])
    finally:
        pool.set_num_threads(before)
    assert found.count(found[0]) == len(found)
    np.testing.assert_allclose(np.frombuffer(found[0][0]), array.sum((0, 2, 3), dtype=np.float64), rtol=1e-13)


def test_where_no_kernels_can_be_made_numpy_adds_up(monkeypatch):
    monkeypatch.setattr(sums, "usable", lambda: ["no kernels"])
    array = np.ones((1, 2, 128, 128), np.float32)
    assert channel_sums(array).tolist() == [16384.0, 16384.0]
