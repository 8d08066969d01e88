"""What people may pass as an array, where it may lie, and what they must be told when it cannot be."""

import numpy as np
import pytest

from upconv import SettingError, conv_transpose2d, conv_transpose3d, prepare
from upconv.arrays import lies_channels_last, preferred_layout

KINDS = ("input", "weight", "bias")


def operands(dtype=np.float32, shape=(2, 4, 5, 6), weight_shape=(4, 3, 3, 2), seed=0):
    rng = np.random.default_rng(seed)
    bias = rng.standard_normal(weight_shape[1])
    return [array.astype(dtype) for array in (rng.standard_normal(shape), rng.standard_normal(weight_shape), bias)]


@pytest.mark.parametrize("shape", [(), (4,), (5, 6), (1, 2, 4, 5, 6)])
def test_an_input_of_another_rank_is_told_the_two_that_are_allowed(shape):
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(np.ones(shape), np.ones((4, 3, 3, 3)))
    assert str(shape) in str(caught.value)
    assert "(n, c, h, w)" in str(caught.value)
    assert "(c, h, w)" in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 3, 3), (4, 3, 3, 3, 1)])
def test_a_weight_of_another_rank_is_refused(shape):
    with pytest.raises(SettingError, match="weight has shape") as caught:
        conv_transpose2d(np.ones((1, 4, 5, 6)), np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), (), (1,), (0,)])
def test_a_bias_is_one_vector_of_the_output_channels(shape):
    x, w, _ = operands()
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(x, w, np.ones(shape, np.float32))
    assert f"bias has shape {shape}" in str(caught.value)
    assert "(3,)" in str(caught.value)


def test_a_bias_counts_the_channels_of_all_groups():
    x, w, _ = operands()
    assert conv_transpose2d(x, w, np.ones(6, np.float32), groups=2).shape[1] == 6
    with pytest.raises(SettingError, match=r"\(6,\)"):
        conv_transpose2d(x, w, np.ones(3, np.float32), groups=2)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, bool, np.longdouble, object, "S4", "M8[s]"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_other_dtypes_are_not_implemented_and_the_message_lists_those_that_are(dtype, which):
    arrays = operands()
    arrays[which] = np.zeros(arrays[which].shape, dtype)
    with pytest.raises(NotImplementedError) as caught:
        conv_transpose2d(*arrays)
    message = str(caught.value)
    assert message.startswith(f"{KINDS[which]} has dtype {np.dtype(dtype).name}")
    assert "float16, bfloat16, float32, float64, complex64, complex128, int64" in message


@pytest.mark.parametrize("which", [0, 1, 2])
def test_none_in_place_of_an_array_is_not_taken_for_an_array_of_objects(which):
    arrays = operands()
    arrays[which] = None
    if which == 2:
        assert conv_transpose2d(*arrays).shape == (2, 3, 7, 7)
        return
    with pytest.raises(TypeError, match=f"{KINDS[which]} is None"):
        conv_transpose2d(*arrays)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_operands_of_different_dtypes_are_refused_with_both_cures(which):
    arrays = operands()
    arrays[which] = arrays[which].astype(np.float64)
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(*arrays)
    message = str(caught.value)
    assert "float64" in message
    assert "float32" in message
    assert f"{KINDS[which]}.astype('float32')" in message


def test_float64_input_and_float32_weight_show_both_cures():
    x, w, _ = operands()
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(x.astype(float), w)
    assert "input.astype('float32')" in str(caught.value)
    assert "weight.astype('float64')" in str(caught.value)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_masked_array_is_refused_since_its_mask_would_be_lost(which):
    arrays = operands()
    arrays[which] = np.ma.masked_array(arrays[which])
    with pytest.raises(TypeError, match=rf"{KINDS[which]} is a masked array.*filled"):
        conv_transpose2d(*arrays)


def test_nested_lists_are_arrays():
    assert conv_transpose2d([[[1.0, 2.0]]], [[[[1.0, 10.0]]]]).tolist() == [[[1.0, 12.0, 20.0]]]


def test_lists_of_uneven_length_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous"):
        conv_transpose2d([[[1.0, 2.0], [3.0]]], np.ones((1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("shape", "weight_shape", "fragment"),
    [
        ((1, 0, 4, 4), (0, 3, 3, 3), "in_channels is 0"),
        ((1, 2, 4, 4), (2, 0, 3, 3), "out_channels is 0"),
        ((1, 2, 4, 4), (2, 3, 0, 3), "height: kernel is 0"),
        ((1, 2, 4, 4), (2, 3, 3, 0), "width: kernel is 0"),
        ((1, 2, 0, 4), (2, 3, 3, 3), "height: input size is 0"),
        ((1, 2, 4, 0), (2, 3, 3, 3), "width: input size is 0"),
        ((0, 2, 0, 4), (2, 3, 3, 3), "height: input size is 0"),
        ((0, 0, 4, 4), (0, 3, 3, 3), "in_channels is 0"),
    ],
)
def test_only_the_batch_may_be_empty(shape, weight_shape, fragment):
    with pytest.raises(SettingError, match=fragment):
        conv_transpose2d(np.ones(shape), np.ones(weight_shape))


OUT = (2, 3, 7, 7)


def bad_outs():
    """(name, out, error, fragment) of arrays that cannot take the result of `operands`."""
    zeros = np.zeros(OUT, np.float32)
    read_only = zeros.copy()
    read_only.flags.writeable = False
    strided = np.lib.stride_tricks.as_strided
    return {
        "a list": ([], TypeError, "out is list"),
        "another dtype": (zeros.astype(float), SettingError, "float64"),
        "another shape": (np.zeros((2, 3, 7, 8), np.float32), SettingError, "(2, 3, 7, 8)"),
        "a batch of one in place of two": (np.zeros((1, 3, 7, 7), np.float32), SettingError, "(1, 3, 7, 7)"),
        "no batch axis": (np.zeros((3, 7, 7), np.float32), SettingError, "(3, 7, 7)"),
        "read-only": (read_only, SettingError, "read-only"),
        "broadcast": (np.broadcast_to(np.float32(0), OUT), SettingError, "out is"),
        "zero strides": (strided(zeros.copy(), OUT, (0, 196, 28, 4)), SettingError, "distinct"),
        "windows that overlap": (strided(zeros.copy(), OUT, (588, 196, 4, 4)), SettingError, "distinct"),
        "a masked array": (np.ma.masked_array(zeros.copy(), mask=True), TypeError, "masked"),
    }


@pytest.mark.parametrize("name", bad_outs())
def test_an_out_that_cannot_take_the_result_is_refused_and_untouched(name):
    out, error, fragment = bad_outs()[name]
    before = np.array(out, copy=True)
    with pytest.raises(error) as caught:
        conv_transpose2d(*operands(), out=out)
    assert fragment in str(caught.value)
    assert np.array_equal(np.asarray(out), before)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_out_that_overlaps_an_operand_is_refused_and_untouched(which):
    arrays = operands()
    memory = np.zeros(1000, np.float32)
    start = 294 - arrays[which].size // 2
    shared = memory[start : start + arrays[which].size].reshape(arrays[which].shape)
    shared[...] = arrays[which]
    arrays[which] = shared
    before = memory.copy()
    with pytest.raises(SettingError, match="overlaps"):
        conv_transpose2d(*arrays, out=memory[: np.prod(OUT)].reshape(OUT))
    assert np.array_equal(memory, before)


def test_an_out_interleaved_with_an_operand_does_not_overlap_it():
    x, w, b = operands()
    both = np.zeros((*OUT, 2), np.float32)
    bias = both[0, :, 0, 0, 1]
    bias[...] = b
    result = conv_transpose2d(x, w, bias, out=both[..., 0])
    assert np.array_equal(result, conv_transpose2d(x, w, b))


@pytest.mark.parametrize(
    "settings",
    [{"stride": 0}, {"output_padding": 1}, {"groups": 3}, {"padding": "SAME"}, {"algorithm": "none"}, {"padding": 9},
     {"padding_mode": "mirror"}, {"padding": 3, "padding_mode": "reflect"}],
    ids=str,
)  # fmt: skip
def test_a_refused_call_leaves_out_as_it_was(settings):
    x, w, _ = operands()
    out = np.full((2, 3, 7, 7), 5, np.float32)
    with pytest.raises((TypeError, SettingError)):
        conv_transpose2d(x, w, out=out, **settings)
    assert (out == 5).all()


# (input, whether it lies channels-last, weight, settings, algorithm): some planes are refused for how they lie.
REFUSED_BY_LAYOUT = [
    ((1, 2, 2, 3, 3), True, (2, 1, 1, 3, 3), {"stride": 2, "groups": 2}, "col2im_channels"),
    ((1, 4, 5, 4, 4), True, (4, 4, 2, 3, 3), {"stride": (3, 1, 1), "groups": 2}, "col2im_channels"),
    ((1, 16, 5, 5, 5), False, (16, 3, 2, 1, 4), {"stride": (4, 2, 4), "dilation": (2, 1, 1)}, "gemm_fused_phases"),
]


@pytest.mark.parametrize("case", REFUSED_BY_LAYOUT, ids=lambda case: case[-1])
@pytest.mark.parametrize("is_prepared", [False, True])
def test_an_algorithm_by_name_refuses_how_planes_lie_before_any_work(case, is_prepared):
    x_shape, is_last, w_shape, settings, algorithm = case
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    x = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1) if is_last else x
    want = conv_transpose3d(x, w, **settings)
    if is_prepared:
        w = prepare(w, **settings)
    # Channels-first; and channels-last with gaps between the pixels.
    n, c, *sizes = want.shape
    outs = np.full(want.shape, 5.0), np.moveaxis(np.full((n, *sizes, 2 * c), 5.0)[..., :c], -1, 1)
    refused = 0
    for out in outs:
        try:
            conv_transpose3d(x, w, **settings, out=out, algorithm=algorithm)
        except SettingError:
            refused += 1
            assert (out == 5).all()
        else:
            np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
    assert refused


def test_an_out_with_a_refused_operand_is_left_as_it_was():
    x, w, _ = operands()
    out = np.full((2, 3, 7, 7), 5, np.float32)
    for bad in (x.astype(float), x[:, :3], x.astype(np.int32), np.ma.masked_array(x), x[0, 0]):
        with pytest.raises((TypeError, SettingError, NotImplementedError)):
            conv_transpose2d(bad, w, out=out)
    with pytest.raises(SettingError):
        conv_transpose2d(x, w, np.zeros(4, np.float32), out=out)
    assert (out == 5).all()


def nhwc(n, c, h, w):
    return np.zeros((n, h, w, c)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 4, 5), (2, 3, 1, 5), (2, 3, 4, 1), (1, 2, 2, 1)])
def test_channels_last_is_recognised_by_strides(shape):
    assert lies_channels_last(nhwc(*shape))
    assert not lies_channels_last(np.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (2, 3, 1, 1), (1, 1, 1, 1), (0, 3, 4, 5)])
def test_where_both_layouts_are_the_same_memory_the_answer_is_nchw(shape):
    assert not lies_channels_last(nhwc(*shape))


def test_a_slice_of_channels_last_memory_is_still_channels_last():
    assert lies_channels_last(nhwc(2, 8, 6, 6)[:, 2:5, ::2, 1:])


@pytest.mark.parametrize(
    "array",
    [
        nhwc(2, 3, 4, 5)[:, :, ::-1],
        np.broadcast_to(np.zeros((1, 3, 1, 1)), (2, 3, 4, 5)),
        np.broadcast_to(np.zeros((2, 1, 4, 5)), (2, 3, 4, 5)),
        np.zeros((5, 4, 3, 2)).T,
        np.zeros((2, 4, 3, 5)).transpose(0, 2, 1, 3),
    ],
    ids=["negative", "broadcast pixels", "broadcast channels", "fortran", "rows outside channels"],
)
def test_other_strides_are_not_channels_last(array):
    assert not lies_channels_last(array)


@pytest.mark.parametrize(("input_last", "weight_last"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_result_lies_channels_last_if_the_input_or_the_weight_is(input_last, weight_last):
    x, w, b = operands()
    expected = conv_transpose2d(x, w, b)

    def last(array):
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    y = conv_transpose2d(last(x) if input_last else x, last(w) if weight_last else w, b)
    assert lies_channels_last(y) == bool(input_last or weight_last)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous == bool(input_last or weight_last)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_unbatched_results_are_nchw():
    x, w, _ = operands()
    hwc = np.ascontiguousarray(x[0].transpose(1, 2, 0)).transpose(2, 0, 1)
    assert conv_transpose2d(hwc, w).flags.c_contiguous


def test_layout_of_no_channels_last_operand_is_nchw():
    x, w, _ = operands()
    assert preferred_layout(x, w) == "nchw"
    assert preferred_layout(nhwc(2, 4, 5, 6), w) == "nhwc"
    assert preferred_layout(nhwc(2, 4, 5, 6), w, is_batched=False) == "nchw"
