"""What people may write for a setting or an array, and what they must be told when it cannot be.

The forms are those of torch: an int-like, one element for both axes, or two with the height first.
"""

import fractions

import numpy as np
import pytest

import upconv
from upconv import SettingError, conv_transpose2d
from upconv.arrays import lies_channels_last, preferred_layout
from upconv.settings import Settings, pair

KINDS = ("input", "weight", "bias")


def operands(dtype=np.float32, shape=(2, 4, 5, 6), weight_shape=(4, 3, 3, 2), seed=0):
    rng = np.random.default_rng(seed)
    bias = rng.standard_normal(weight_shape[1])
    return [array.astype(dtype) for array in (rng.standard_normal(shape), rng.standard_normal(weight_shape), bias)]


def refused(error, *fragments, **settings):
    """The message with which the settings are refused; it must hold every fragment."""
    x, w, b = operands()
    with pytest.raises(error) as caught:
        conv_transpose2d(x, w, b, **settings)
    for fragment in fragments:
        assert fragment in str(caught.value)
    return str(caught.value)


class Index:
    def __index__(self):
        return 2


@pytest.mark.parametrize(
    "value",
    [2, np.int8(2), np.uint64(2), np.array(2), Index(), [2], (2,), np.array([2]), (2, 2), [2, np.int32(2)],
     range(2, 3), iter((2, 2)), np.array([2, 2])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_pair_may_be_written_in_every_form_of_an_integer_and_of_an_iterable(value):
    assert pair(value, "stride") == (2, 2)


def test_two_elements_are_height_and_width_in_this_order():
    assert pair((3, 1), "stride") == (3, 1)
    x, w, _ = operands()
    assert conv_transpose2d(x, w, stride=(3, 1)).shape[2:] == (4 * 3 + 3, 5 + 2)


def test_pairs_become_python_integers():
    settings = Settings.of(stride=np.int16(2), padding=np.array([1, 1]), groups=np.uint8(1))
    values = (*settings.stride, *settings.padding, settings.groups)
    assert [type(value) for value in values] == [int] * 5


@pytest.mark.parametrize("name", ["stride", "padding", "output_padding", "dilation", "groups"])
@pytest.mark.parametrize(
    "value", [2.0, 1.5, np.float32(2), None, "2", True, np.True_, 2j, fractions.Fraction(2), object()]
)
def test_what_is_not_an_integer_is_a_type_error_that_names_it(name, value):
    message = refused(TypeError, f"{name} is {value!r}", **{name: value})
    assert "integer" in message


@pytest.mark.parametrize("name", ["stride", "padding", "output_padding", "dilation"])
@pytest.mark.parametrize("element", [2.0, "2", None, True])
def test_an_element_of_a_pair_that_is_not_an_integer_is_a_type_error(name, element):
    refused(TypeError, f"{name} is {element!r}", "integer", **{name: (1, element)})


@pytest.mark.parametrize("name", ["stride", "padding", "output_padding", "dilation"])
@pytest.mark.parametrize("value", [(), (1, 1, 1), [2, 2, 2, 2], np.ones(3, int)])
def test_a_sequence_of_another_length_than_one_or_two_is_refused_with_its_length(name, value):
    refused(SettingError, name, f"{len(value)} elements", "height, width", **{name: value})


@pytest.mark.parametrize("name", ["stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1, (1, 0), (-2, 1)])
def test_stride_and_dilation_start_at_one_on_both_axes(name, value):
    refused(SettingError, f"{name} is {pair(value, name)}", "at least 1", **{name: value})


@pytest.mark.parametrize("name", ["padding", "output_padding"])
@pytest.mark.parametrize("value", [-1, (0, -1), (-3, 0)])
def test_padding_and_output_padding_start_at_zero_on_both_axes(name, value):
    refused(SettingError, f"{name} is {pair(value, name)}", "at least 0", **{name: value})


@pytest.mark.parametrize("value", [0, -1])
def test_groups_start_at_one(value):
    with pytest.raises(ValueError, match=f"groups is {value}; it must be at least 1"):
        Settings.of(groups=value)


@pytest.mark.parametrize("word", ["same", "same_lower", "valid"])
def test_the_three_words_for_padding_are_kept(word):
    assert Settings.of(padding=word).padding == word


@pytest.mark.parametrize("word", ["SAME", "full", "", "zeros", "same_upper"])
def test_an_unknown_word_for_padding_is_a_type_error_that_lists_the_known_ones(word):
    refused(TypeError, f"padding is {word!r}", "same", "same_lower", "valid", padding=word)


@pytest.mark.parametrize(
    "value", [((1, 0), (-2, 3)), [[1, 0], [-2, 3]], np.array([[1, 0], [-2, 3]]), ((np.int8(1), 0), (-2, 3))]
)
def test_padding_of_each_side_may_be_written_as_any_pair_of_pairs(value):
    assert Settings.of(padding=value).padding == ((1, 0), (-2, 3))


def test_one_pair_of_sides_stands_for_both_axes():
    assert Settings.of(padding=((1, -2),)).padding == ((1, -2), (1, -2))


@pytest.mark.parametrize("value", [(1, (1, 1)), ((1, 1), 1), ("same", "same"), ((1, 1), "same")])
def test_padding_does_not_mix_integers_words_and_pairs(value):
    refused(TypeError, "padding", padding=value)


@pytest.mark.parametrize("side", [(), (1,), (1, 2, 3)])
def test_padding_of_one_axis_has_two_sides(side):
    refused(SettingError, "padding", f"{side}", "(lo, hi)", padding=(side, (0, 0)))


def test_padding_of_four_numbers_is_refused_rather_than_guessed():
    refused(SettingError, "[1, 2, 1, 2]", "4 elements", padding=[1, 2, 1, 2])


def test_padding_that_leaves_nothing_says_how_much_it_may_remove():
    refused(SettingError, "height", "size of 7, of which padding cuts (9, 9)", "at most 6", padding=9)


def test_padding_mode_is_refused_before_everything_else():
    with pytest.raises(ValueError, match=r"padding_mode is 'mirror'.*'zeros'"):
        Settings.of(stride=0, padding=-1, groups=0, padding_mode="mirror")
    with pytest.raises(ValueError, match="padding_mode is 'mirror'"):
        upconv.ConvTranspose2d(-1, "x", 0, 0.5, "?", groups=0, padding_mode="mirror", device="gpu")


@pytest.mark.parametrize(("stride", "dilation", "most"), [(1, 1, 0), (2, 1, 1), (1, 3, 2), (2, 4, 3), (5, 2, 4)])
def test_output_padding_is_below_the_larger_of_stride_and_dilation(stride, dilation, most):
    settings = {"stride": stride, "dilation": dilation}
    x, w, _ = operands()
    least = conv_transpose2d(x, w, **settings).shape[2]
    assert conv_transpose2d(x, w, output_padding=most, **settings).shape[2] == least + most
    refused(SettingError, f"output_padding is {most + 1}", f"at most {most}", output_padding=most + 1, **settings)


def test_output_padding_is_checked_on_each_axis_against_its_own_stride():
    refused(SettingError, "width", "output_padding is 1", stride=(2, 1), output_padding=1)
    x, w, _ = operands()
    assert conv_transpose2d(x, w, stride=(2, 1), output_padding=(1, 0)).shape[2:] == (12, 7)


def test_output_padding_beside_sides_may_be_any_number():
    x, w, b = operands()
    y = conv_transpose2d(x, w, b, padding=((0, 0), (0, 0)), output_padding=(7, 0))
    assert y.shape[2:] == (14, 7)
    assert np.array_equal(y[:, :, 7:], np.broadcast_to(b[:, None, None], (2, 3, 7, 7)))


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


def test_a_tensor_of_torch_is_recognised_without_importing_torch():
    tensor = type("Tensor", (), {"__module__": "torch"})()
    x, w, _ = operands()
    with pytest.raises(TypeError, match=r"input is a torch tensor.*numpy\(\)"):
        conv_transpose2d(tensor, w)
    with pytest.raises(TypeError, match="weight is a torch tensor"):
        conv_transpose2d(x, tensor)


def test_nested_lists_are_arrays():
    assert conv_transpose2d([[[1.0, 2.0]]], [[[[1.0, 10.0]]]]).tolist() == [[[1.0, 12.0, 20.0]]]


def test_lists_of_uneven_length_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous"):
        conv_transpose2d([[[1.0, 2.0], [3.0]]], np.ones((1, 1, 1, 1)))


@pytest.mark.parametrize("n", [0, 1])
def test_channels_that_do_not_meet_are_refused_with_both_shapes(n):
    with pytest.raises(SettingError) as caught:
        conv_transpose2d(np.ones((n, 5, 4, 4)), np.ones((4, 3, 3, 3)))
    assert f"({n}, 5, 4, 4)" in str(caught.value)
    assert "(4, 3, 3, 3)" in str(caught.value)


def test_groups_that_do_not_divide_are_refused_with_a_number_that_does():
    with pytest.raises(ValueError, match="in_channels is 4, which groups=3 does not divide; groups=2 would"):
        conv_transpose2d(np.ones((1, 4, 4, 4)), np.ones((4, 3, 3, 3)), groups=3)


def test_the_number_of_groups_that_is_proposed_works():
    with pytest.raises(ValueError, match="groups=4 does not divide") as caught:
        upconv.ConvTranspose2d(4, 9, 3, groups=4)
    proposed = int(str(caught.value).split("groups=")[-1].split()[0])
    upconv.ConvTranspose2d(4, 9, 3, groups=proposed)


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


@pytest.mark.parametrize("name", ["stride", "padding", "output_padding", "dilation"])
@pytest.mark.parametrize("value", [{1: 2}, {2}, frozenset({1, 2}), b"\x02", bytearray(b"ab"), {1: 2}.keys()], ids=repr)
def test_sets_dictionaries_and_bytes_are_not_taken_for_a_pair(name, value):
    message = refused(TypeError, f"{name} is {value!r}", **{name: value})
    assert "a pair of integers" in message


@pytest.mark.parametrize("side", [{1, 2}, {0: 1, 1: 2}, b"ab", "12"], ids=repr)
def test_neither_are_they_taken_for_two_sides(side):
    refused(TypeError, f"padding of one axis is {side!r}", padding=((1, 1), side))


@pytest.mark.parametrize("value", [np.zeros(3), [], ["zeros"], None, 1], ids=repr)
def test_a_padding_mode_that_is_no_word_is_shown(value):
    refused(SettingError, f"padding_mode is {value!r}", "circular", padding_mode=value)


@pytest.mark.parametrize("value", [[], {}, None, np.zeros(2), 1], ids=repr)
def test_an_algorithm_that_is_no_word_is_told_the_words(value):
    refused(TypeError, f"algorithm is {value!r}", "'auto'", "matmul", algorithm=value)
    with pytest.raises(TypeError, match="matmul"):
        upconv.plan((2, 4, 5, 6), (4, 3, 3, 2), algorithm=value)


def test_huge_groups_are_refused_at_once_with_a_number_that_divides():
    refused(SettingError, "groups=1000000000000 ", "groups=4 would", groups=10**12)
    with pytest.raises(SettingError, match="groups=2 would"):
        upconv.ConvTranspose2d(2**62, 6, 1, groups=4)
    with pytest.raises(SettingError, match=r"groups=[0-9]+ would"):
        upconv.ConvTranspose2d(2**62, 2**62, 1, groups=2**62 - 1)


def test_a_1d_layer_is_told_that_it_is_one_of_height_1():
    x, w = np.ones((2, 4, 50), np.float32), np.ones((4, 3, 5), np.float32)
    with pytest.raises(
        SettingError, match=r"a 1-D layer is one of height 1: weight\[:, :, None\], and input\[:, :, None"
    ):
        conv_transpose2d(x, w)
    with pytest.raises(SettingError, match=r"of a 1-D layer, input\[:, :, None\] makes it one of height 1"):
        conv_transpose2d(x, w[:, :, None])
    assert conv_transpose2d(x[:, :, None], w[:, :, None]).shape == (2, 3, 1, 54)
