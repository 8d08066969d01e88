"""The names of layouts against what they promise, for arrays on random strides."""

import itertools
import random

import numpy as np
import pytest

from upconv import layouts
from upconv.layouts import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    CHANNELS_SLICED,
    STRIDED,
    TAPS_LAST,
    TAPS_SLICED,
    WEIGHT_CHANNELS_LAST,
    Operand,
)

SIZE = 4


def arrays(number, count):
    """(n, c, h, w) float32 arrays that lie in every order, with gaps, turned round, and with axes of length 1."""
    draw = random.Random(number)
    for _ in range(count):
        shape = [draw.choice((1, 1, 2, 3, 4)) for _ in range(4)]
        order = draw.sample(range(4), 4)
        gaps = [draw.choice((0, 0, 0, 1, 3)) for _ in range(4)]
        large = np.zeros([shape[axis] + gaps[axis] for axis in order], np.float32)
        array = large.transpose(np.argsort(order))[tuple(slice(size) for size in shape)]
        yield array[..., ::-1] if draw.random() < 0.1 else array


def consecutive(array, axis):
    return array.shape[axis] == 1 or array.strides[axis] == SIZE


def test_the_name_of_a_map_says_which_axis_is_consecutive():
    seen = set()
    for array in arrays(0, 3000):
        name = layouts.map_layout(array.shape, array.strides, SIZE)
        seen.add(name)
        operand = Operand.of(array.shape, array.strides, SIZE)
        assert (operand.channels_last, operand.channels_first) == (consecutive(array, 1), consecutive(array, 3))
        # Of one column, the pixels that can be computed as a row.
        line = consecutive(array, 3 if array.shape[3] > 1 else 2)
        assert (name == STRIDED) == (not operand.channels_last and not line)
        if array.shape[3] == 1:
            row = array.swapaxes(2, 3)
            assert name == layouts.map_layout(row.shape, row.strides, SIZE)
        if name == CHANNELS_FIRST:
            assert operand.channels_first
        if name in (CHANNELS_LAST, CHANNELS_SLICED):
            assert operand.channels_last
        if name == CHANNELS_LAST:
            pixels = 3 if array.shape[3] > 1 else 2
            assert array.shape[pixels] == 1 or array.strides[pixels] == array.shape[1] * SIZE
    assert seen == {CHANNELS_FIRST, CHANNELS_LAST, CHANNELS_SLICED, STRIDED}


def test_fresh_arrays_have_the_names_of_their_strides():
    for shape in itertools.product((1, 2, 3), repeat=4):
        for wanted in (CHANNELS_FIRST, CHANNELS_LAST):
            strides = Operand.dense(shape, SIZE, wanted == CHANNELS_LAST).strides
            assert layouts.dense_layout(shape, wanted) == layouts.map_layout(shape, strides, SIZE)
        weight = np.empty(shape, np.float32)
        assert layouts.dense_weight_layout(shape) == layouts.weight_layout(shape, weight.strides, SIZE)


def test_the_name_of_a_weight_says_how_all_but_its_first_axis_lie():
    seen = set()
    for array in arrays(1, 3000):
        name = layouts.weight_layout(array.shape, array.strides, SIZE)
        seen.add(name)
        pairs = [kernel for block in array for kernel in block]
        sides = {TAPS_LAST: array, WEIGHT_CHANNELS_LAST: array.transpose(0, 2, 3, 1), TAPS_SLICED: pairs}
        dense = {side: all(each.flags.c_contiguous for each in blocks) for side, blocks in sides.items()}
        # Of one tap, and so of taps without an order, nothing is consecutive but channels.
        dense[TAPS_SLICED] &= pairs[0].size > 1
        assert dense.get(name, not any(dense.values()))
        assert name != TAPS_SLICED or not (dense[TAPS_LAST] or dense[WEIGHT_CHANNELS_LAST])
    assert seen == {TAPS_LAST, TAPS_SLICED, WEIGHT_CHANNELS_LAST, STRIDED}


@pytest.mark.parametrize("layout", [CHANNELS_FIRST, CHANNELS_LAST, CHANNELS_SLICED])
def test_strides_of_a_map_have_its_name(layout):
    shape = 2, 3, 4, 5
    strides = layouts.map_strides(shape, layout, SIZE)
    assert layouts.map_layout(shape, strides, SIZE) == layout


@pytest.mark.parametrize("layout", [TAPS_LAST, TAPS_SLICED, WEIGHT_CHANNELS_LAST])
def test_strides_of_a_weight_have_its_name(layout):
    shape = 2, 3, 4, 5
    strides = layouts.weight_strides(shape, layout, SIZE)
    assert layouts.weight_layout(shape, strides, SIZE) == layout
    assert sorted(strides) == sorted({SIZE, strides[0], *strides[1:]})


@pytest.mark.parametrize("wanted", [CHANNELS_FIRST, CHANNELS_LAST])
def test_fresh_arrays_have_the_name_that_is_said_before(wanted):
    for shape in np.ndindex(3, 3, 3, 3):
        shape = tuple(size + 1 for size in shape)
        axes = (0, 2, 3, 1) if wanted == CHANNELS_LAST else (0, 1, 2, 3)
        fresh = np.zeros([shape[axis] for axis in axes], np.float32).transpose(np.argsort(axes))
        assert layouts.dense_layout(shape, wanted) == layouts.map_layout(shape, fresh.strides, SIZE)
        weight = np.zeros(shape, np.float32)
        assert layouts.dense_weight_layout(shape) == layouts.weight_layout(shape, weight.strides, SIZE)


def test_what_can_be_read_as_what():
    names = CHANNELS_FIRST, CHANNELS_LAST, CHANNELS_SLICED, TAPS_LAST, TAPS_SLICED, STRIDED
    allowed = {(name, name) for name in names} | {(name, STRIDED) for name in names}
    allowed |= {(CHANNELS_LAST, CHANNELS_SLICED), (TAPS_LAST, TAPS_SLICED), (CHANNELS_FIRST, TAPS_SLICED)}
    assert {(a, b) for a in names for b in names if layouts.suits(a, b)} == allowed


def test_contiguous_is_what_numpy_calls_so():
    for array in arrays(2, 2000):
        assert layouts.is_contiguous(array.shape, array.strides, SIZE) == array.flags.c_contiguous
