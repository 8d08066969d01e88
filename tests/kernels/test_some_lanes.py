"""Vectors of which some lanes are stored: every first and last lane, by all instruction sets and the interpreter."""

import itertools

import numpy as np
import pytest
from native import IDS, ISAS, interpreted, link, native

from upconv.codegen.isa import ROWS
from upconv.codegen.lang import I64, PTR, SIZES, Builder, Type
from upconv.codegen.lowering import lower
from upconv.kernels.depthwise_channels import depthwise_channels
from upconv.kernels.some_lanes import store_some

DTYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64}


def kernel(isa, elem):
    """Three vectors, stored one behind the other with a lane between them."""
    k = Builder("some_lanes")
    x, y, first, end = k.arguments(PTR, PTR, I64, I64)
    vector = Type(elem, isa.lanes(SIZES[elem]))
    values = [k.load(x + row * vector.size, vector) for row in range(3)]
    store_some(k, vector, first, end, values, [y + row * (vector.size + vector.scalar.size) for row in range(3)])
    return k


@pytest.mark.parametrize("elem", DTYPES)
@pytest.mark.parametrize("isa", ISAS, ids=IDS)
def test_exactly_the_lanes_are_written(isa, elem):
    lanes, recorded = isa.lanes(SIZES[elem]), kernel(isa, elem)
    code = link(recorded, isa)
    x = np.arange(1, 3 * lanes + 1).astype(DTYPES[elem])
    for first, end in itertools.product(range(-lanes - 1, lanes + 2), repeat=2):
        want = np.full((3, lanes + 1), -1, x.dtype)
        some = slice(max(0, first), max(0, min(end, lanes)))
        want[:, some] = x.reshape(3, lanes)[:, some]
        given = [x, np.full(want.size, -1, x.dtype)]
        for got in (native(code, given, (first, end)), interpreted(recorded, given, (first, end))):
            np.testing.assert_array_equal(got[1], want.reshape(-1), err_msg=f"lanes {first} to {end}")


def test_where_masks_are_dear_the_first_lanes_leave_without_them():
    # What is stored from the first lane on needs no mask; what begins later does, which is rare.
    text = lower(kernel(ROWS["avx2"], "f32"), ROWS["avx2"])
    assert text.count("call void @llvm.masked.store") == 3
    assert text.count("store <4 x float>") == text.count("store <2 x float>") == text.count("store <1 x float>")


def test_depthwise_channels_store_nothing_under_masks_where_these_are_dear():
    assert "llvm.masked.store" not in lower(depthwise_channels(ROWS["avx2"], "f32", 4), ROWS["avx2"])
