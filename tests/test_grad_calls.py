"""Repeated gradients in the input: the same bits as the door's, and nothing that the door refuses."""

import numpy as np
import pytest
from cases import LAYOUTS
from compare import assert_same_bits
from test_calls import nothing_remembered, through  # noqa: F401 - fixtures

import upconv
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
    assert len(through) - before == 4


@pytest.mark.parametrize("change", [
    {"input": np.ones((1, 4, 30, 30))}, {"input": np.ones((1, 4, 31, 30), "f")}, {"input": np.ones((4, 30, 30), "f")},
    {"weight": np.ones((4, 2, 3, 3))}, {"output_mask": (True, False)}, {"stride": 2.0}, {"padding": "1"},
])  # fmt: skip
def test_what_a_backward_call_refuses_is_refused_after_one_that_passed(change, through):  # noqa: F811
    given = {"grad_output": np.ones((1, 2, 59, 59), "f"), "input": np.ones((1, 4, 30, 30), "f")}
    given |= {"weight": np.ones((4, 2, 3, 3), "f"), "stride": 2, "padding": 1, "output_mask": (True, False, False)}
    for _ in range(2):
        upconv.grad.conv_transpose2d_backward(**given)
    assert len(through) == 1
    with pytest.raises((upconv.SettingError, TypeError)):
        upconv.grad.conv_transpose2d_backward(**given | change)
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
    first, second = (upconv.grad.conv_transpose2d_backward(y, x, w, **settings)[0] for _ in range(2))
    assert not through
    assert_same_bits(first, second)
