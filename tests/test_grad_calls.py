"""Repeated gradients: the same bits as the door's, and nothing that the door refuses."""

from itertools import product

import numpy as np
import pytest
from amount import some
from cases import LAYOUTS
from compare import assert_same_bits
from test_calls import CASES, longer, nothing_remembered, threads, through  # noqa: F401 - fixtures

import upconv
from upconv import calls
from upconv.runtime.kernel import usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_repeated_gradient_in_the_input_has_the_bits_of_the_first(layout, through):  # noqa: F811
    """By either door, beside a convolution of the same operands and settings, which is another call."""
    rng = np.random.default_rng(2)
    w, settings = rng.standard_normal((6, 6, 3, 3)).astype("f"), {"stride": 2, "padding": 1}
    for x_shape in ((2, 6, 5, 4), (2, 6, 5, 4), (2, 6, 5, 4)):
        before = len(through)
        y, x = (rng.standard_normal(shape).astype("f") for shape in ((2, 6, 9, 7), x_shape))
        if layout == "nhwc":
            y, x = (np.ascontiguousarray(each.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for each in (y, x))
        one = upconv.grad.conv_transpose2d_input(x_shape, w, y, **settings)
        other = upconv.grad.conv_transpose2d_backward(y, x, w, **settings, output_mask=(True, False, False))[0]
        of_all = upconv.grad.conv_transpose2d_backward(y, x, w, **settings)[0]
        upconv.conv2d(y, w, **settings)
        want = upconv.grad.conv_transpose2d_input(x_shape, w.astype(">f4"), y.astype(">f4"), **settings)
        for found in (one, other, of_all):
            assert_same_bits(found, want.astype("f"))
            assert found.strides == one.strides
    # Three in the input, two in the weight (the door of one has the weight beside its shape), the convolution.
    assert len(through) - before == 5


def by_the_door(function, *operands, **settings):
    """The same of operands in the other byte order, which are never remembered."""
    return function(*(each.astype(each.dtype.newbyteorder()) if hasattr(each, "astype") else each
                      for each in operands), **settings)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_repeated_gradient_in_the_weight_has_the_bits_of_the_first(dtype, layout, through):  # noqa: F811
    remembered, cases = 0, some(CASES[len(dtype) + (layout == "nhwc") :: 4], CASES)
    for case in cases:
        made, grad = case.arrays(dtype, layout), upconv.grad
        y = np.ones_like(upconv.conv_transpose2d(made.x, made.w, **case.settings))
        for turn in range(3):
            # Other values under the same signature.
            x = made.x * (1 + turn)
            before = len(through)
            one = grad.conv_transpose2d_weight(x, made.w.shape, y, **case.settings)
            of_all = grad.conv_transpose2d_backward(y, x, made.w, **case.settings)
            remembered += (len(through) - before == 3) * (turn > 0)
            want = by_the_door(grad.conv_transpose2d_weight, x, made.w.shape, y, **case.settings)
            assert_same_bits(one, want.astype(dtype))
            assert_same_bits(of_all[1], want.astype(dtype))
            of_all_want = by_the_door(grad.conv_transpose2d_backward, y, x, made.w, **case.settings)
            for found, other in zip(of_all, of_all_want, strict=True):
                assert_same_bits(found, other.astype(dtype))
            assert one.strides == of_all[1].strides
            if not turn:
                strides = one.strides
            assert one.strides == strides
    # Nearly all of these layers are brief; if none went through, this would test nothing.
    assert remembered > len(cases)


@pytest.mark.parametrize("shape", [((1, 24, 24, 24), (24, 40, 3, 3)), ((2, 3, 40, 40), (3, 70, 4, 4))])
def test_longer_gradients_go_straight_on_any_number_of_threads(shape, through, longer):  # noqa: F811
    """The bits are those of one thread, and of the door."""
    rng = np.random.default_rng(3)
    x, w = (rng.standard_normal(each).astype("f") for each in shape)
    y = rng.standard_normal(upconv.conv_transpose2d(x, w, stride=2).shape).astype("f")
    want = by_the_door(upconv.grad.conv_transpose2d_backward, y, x, w, stride=2)
    for count in (1, 2, 3):
        with threads(count):
            before = len(through)
            for _ in range(2):
                found = upconv.grad.conv_transpose2d_backward(y, x, w, stride=2)
                for each, other in zip(found, want, strict=True):
                    assert_same_bits(each, other.astype("f"))
            assert len(through) - before == 2


def test_masks_have_their_gradients_and_no_others(through):  # noqa: F811
    x, w, y = (np.ones(shape, "f") for shape in ((1, 2, 3, 3), (2, 2, 2, 2), (1, 2, 4, 4)))
    want = upconv.grad.conv_transpose2d_backward(y, x, w)
    for mask in 2 * list(product((False, True), repeat=3)):
        found = upconv.grad.conv_transpose2d_backward(y, x, w, output_mask=mask)
        for each, other, is_wanted in zip(found, want, mask, strict=True):
            assert (each is not None) == is_wanted
            if is_wanted:
                assert_same_bits(each, other)
    assert len(through) == 16


@pytest.mark.parametrize("change", [
    {"input": np.ones((1, 4, 30, 30))}, {"input": np.ones((1, 4, 31, 30), "f")}, {"input": np.ones((4, 30, 30), "f")},
    {"weight": np.ones((4, 2, 3, 3))}, {"weight": np.ones((4, 2, 2, 3), "f")}, {"weight": np.ones((4, 2, 3), "f")},
    {"output_mask": (True, False)}, {"stride": 2.0}, {"padding": "1"},
])  # fmt: skip
@pytest.mark.parametrize("mask", [(True, False, False), (False, True, False), (False, True, True)])
def test_what_a_backward_call_refuses_is_refused_after_one_that_passed(change, mask, through):  # noqa: F811
    given = {"grad_output": np.ones((1, 2, 59, 59), "f"), "input": np.ones((1, 4, 30, 30), "f")}
    given |= {"weight": np.ones((4, 2, 3, 3), "f"), "stride": 2, "padding": 1, "output_mask": mask}
    for _ in range(2):
        upconv.grad.conv_transpose2d_backward(**given)
        upconv.grad.conv_transpose2d_weight(given["input"], (4, 2, 3, 3), given["grad_output"], 2, 1)
    assert len(through) == 2
    with pytest.raises((upconv.SettingError, TypeError)):
        upconv.grad.conv_transpose2d_backward(**given | change)
    for size in ((4, 2, 3), (4, 2, 3, 2), (4, 2, 3.0, 3), (2, 2, 3, 3)):
        with pytest.raises((upconv.SettingError, TypeError)):
            upconv.grad.conv_transpose2d_weight(given["input"], size, given["grad_output"], 2, 1)
    for size in ((4, 30, 30), (1, 4, 31, 30), (1, 4, 30.0, 30)):
        with pytest.raises((upconv.SettingError, TypeError)):
            upconv.grad.conv_transpose2d_input(size, given["weight"], given["grad_output"], 2, 1)


@pytest.mark.parametrize("kind", ["reflect", "complex64", "unbatched"])
def test_gradients_of_other_operands_than_those_given_are_never_remembered(kind, through):  # noqa: F811
    dtype = kind if kind == "complex64" else "float32"
    y, x, w = (np.ones(shape, dtype) for shape in ((1, 2, 7, 7), (1, 4, 7, 7), (4, 2, 3, 3)))
    settings = {"padding": 1, "padding_mode": "reflect"} if kind == "reflect" else {"padding": 1}
    if kind == "unbatched":
        y, x = y[0], x[0]
    first, second = (upconv.grad.conv_transpose2d_backward(y, x, w, **settings) for _ in range(2))
    upconv.grad.conv_transpose2d_weight(x, w.shape, y, **settings)
    assert not through
    for one, other in zip(first, second, strict=True):
        assert_same_bits(one, other)


def test_repeated_gradients_in_one_dimension_have_the_bits_of_the_first(through):  # noqa: F811
    rng, grad = np.random.default_rng(4), upconv.grad
    w, settings = rng.standard_normal((6, 5, 4)).astype("f"), {"stride": 2, "padding": 1}
    for turn in range(3):
        x, y = (rng.standard_normal(shape).astype("f") for shape in ((2, 6, 9), (2, 5, 18)))
        before = len(through)
        one = grad.conv_transpose1d_input(x.shape, w, y, **settings)
        other = grad.conv_transpose1d_weight(x, w.shape, y, **settings)
        of_all = grad.conv_transpose1d_backward(y, x, w, **settings)
        assert len(through) - before == (4 if turn else 0)
        want = by_the_door(grad.conv_transpose1d_backward, y, x, w, **settings)
        for found, wanted in zip((one, other, *of_all), (want[0], want[1], *want), strict=True):
            assert_same_bits(found, wanted.astype("f"))
            assert found.flags.c_contiguous
    for change in ({"weight": w.astype("d")}, {"input": x.astype("d")}, {"weight": w[:, :, :3]}, {"input": x[0]}):
        for mask in ((True, False, False), (False, True, True)):
            with pytest.raises((upconv.SettingError, TypeError)):
                grad.conv_transpose1d_backward(
                    **{"grad_output": y, "input": x, "weight": w} | change, **settings, output_mask=mask
                )


def test_nothing_is_kept_that_nobody_can_find():
    """A weight that is no array can never be asked for again, and would take the room of what can."""
    x, w = np.ones((1, 2, 5), np.float32), np.ones((2, 3, 4), np.float32)

    class Other(np.ndarray):
        pass

    before = len(calls._of_arrays)
    upconv.grad.conv_transpose1d_backward(np.ones((1, 3, 8), np.float32), x, w.view(Other))
    assert len(calls._of_arrays) == before
    upconv.grad.conv_transpose1d_backward(np.ones((1, 3, 8), np.float32), x, w)
    assert len(calls._of_arrays) == before + 2


def test_gradients_with_a_prepared_weight_are_remembered_too(through):  # noqa: F811
    rng, settings = np.random.default_rng(4), {"stride": 2, "padding": 1}
    x, w, y = (rng.standard_normal(s).astype("f") for s in ((1, 8, 6, 5), (8, 8, 3, 3), (1, 8, 11, 9)))
    made = upconv.prepare(w, **settings)
    want = [upconv.grad.conv_transpose2d_backward(y, x, made, **settings) for _ in range(3)]
    before = len(through)
    again = upconv.grad.conv_transpose2d_backward(y, x, made, **settings)
    assert len(through) == before + 2
    for found, first in zip(again, want[0], strict=True):
        assert_same_bits(found, first)
