"""Few columns are separated, and nothing is passed; what is left out is left out at addresses that are the matrix's."""

import re

import numpy as np
import pytest
from native import IDS, ISAS, link

from upconv.codegen import llvm
from upconv.codegen.interpreter import Pointer, interpret
from upconv.codegen.isa import ROWS
from upconv.codegen.lowering import lower
from upconv.kernels.transpose import FIELDS, PAGE, are_few, transpose
from upconv.runtime.program import address

SETTINGS = ((), ("bf16",), ("", "f16"))
CASES = [
    pytest.param(isa, columns, id=f"{name}-{columns}")
    for isa, name in zip(ISAS, IDS, strict=True)
    for columns in range(2, 10)
    if are_few(columns, isa.lanes(4))
]


@pytest.mark.parametrize(("isa", "columns"), CASES)
@pytest.mark.parametrize("halves", SETTINGS, ids=["floats", "of halves", "to halves"])
def test_few_columns_are_separated(isa, columns, halves):
    reads, writes = (*halves, "", "")[:2]
    lanes = isa.lanes(4)
    kernel = transpose(isa, "f32", reads, writes, few_columns=columns)
    code = link(kernel, isa)
    for rows in (0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes, 3 * lanes + 2):
        pad = -(-rows // lanes) * lanes if rows % 2 else rows + lanes
        want, src, words = _task(rows, pad, columns, reads, writes)
        for run in (lambda words, *arrays: code(words.ctypes.data), lambda *task: interpret(kernel, *task)):
            dst = np.full_like(want, 7)
            words[FIELDS.index("src")], words[FIELDS.index("dst")] = address(src), address(dst)
            run(words, src, dst)
            np.testing.assert_array_equal(dst, want)


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
def test_pages_are_transposed_to_their_last_row_and_column(isa):
    lanes = isa.lanes(4)
    kernel = transpose(isa, "f32", by_pages=True)
    code = link(kernel, isa)
    for rows in (lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes - 1):
        for columns in (lanes - 1, 2 * lanes, 2 * lanes + 3, PAGE // 4 + lanes + 1):
            want, src, words = _task(rows, -(-rows // lanes) * lanes, columns, "", "")
            dst = np.full_like(want, 7)
            words[FIELDS.index("src")], words[FIELDS.index("dst")] = address(src), address(dst)
            code(words.ctypes.data)
            np.testing.assert_array_equal(dst, want)
    interpreted = np.full_like(want[:1, : 3 * lanes + 1], 7)
    words[FIELDS.index("n")], words[FIELDS.index("cols")] = 1, 3 * lanes + 1
    words[FIELDS.index("dst")] = address(interpreted)
    interpret(kernel, words, src, interpreted)
    np.testing.assert_array_equal(interpreted, want[:1, : 3 * lanes + 1])


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
def test_rows_that_are_left_out_are_not_asked_for_beyond_the_matrix(isa, monkeypatch):
    # Where no page is, a processor takes hundreds of clocks to see that an empty mask reads nothing.
    lanes, asked, read = isa.lanes(4), [], Pointer.read

    def noted(self, type, mask=None, stride=None):
        if mask is not None and not np.any(mask):
            asked.append(self.address)
        return read(self, type, mask, stride)

    monkeypatch.setattr(Pointer, "read", noted)
    want, src, words = _task(2 * lanes - 1, 2 * lanes, 11, "", "")
    dst = np.full_like(want, 7)
    words[FIELDS.index("src")], words[FIELDS.index("dst")] = address(src), address(dst)
    interpret(transpose(isa, "f32"), words, src, dst)
    np.testing.assert_array_equal(dst, want)
    assert asked
    assert all(address(src) <= place < address(src) + src.nbytes for place in asked)


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("kind", ["", "by_pages", "near", "by_parts"])
def test_no_pointer_that_lies_in_memory_goes_on_with_every_block(isa, kind):
    """LLVM made some hundred of them, one for each row and column: they took three times as long as the shuffles."""
    kernel = transpose(ROWS[isa], "f32", **({kind: True} if kind else {}))
    assembly = llvm.assembly(lower(kernel, ROWS[isa]), ROWS[isa])
    assert re.findall(r"^\taddq\t\S+, -?\d*\(%rsp\)", assembly, re.MULTILINE) == []
    assert len(re.findall(r"^\tmovq\t%\w+, -?\d*\(%rsp\)", assembly, re.MULTILINE)) < 60


def _task(rows, pad, columns, reads, writes):
    """(two matrices as they are to become, with a gap behind each row; the source; the words of the task)."""
    values = np.arange(2 * rows * columns, dtype=np.float32).reshape(2, rows, columns) % 128
    # Whole numbers as small as these have no digits in the lower half, so they are themselves in bfloat16.
    src = (values.view(np.uint32) >> 16).astype(np.uint16) if reads else values
    want = np.full((2, columns, pad + 3), 7, np.float32)
    want[..., :pad] = 0
    want[..., :rows] = values.swapaxes(1, 2)
    want = want.astype(np.float16).view(np.uint16) if writes else want
    if writes:
        want[..., pad:] = 7
    sizes = {
        "n": 2,
        "src_n": src.strides[0],
        "dst_n": want.strides[0],
        "m": 1,
        "rows": rows,
        "cols": columns,
        "pad": pad,
    }
    steps = {"src_row": columns * src.itemsize, "dst_col": want.strides[1]}
    return want, src, np.array([(sizes | steps).get(name, 0) for name in FIELDS], np.int64)
