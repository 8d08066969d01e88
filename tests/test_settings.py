"""What people may write for a setting, and what they must be told when it cannot be.

The forms are those of torch: an int-like, one element for both axes, or two with the height first.
"""

import fractions

import numpy as np
import pytest

import upconv
from upconv import SettingError, conv_transpose2d
from upconv.settings import Settings, pair


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
    with pytest.raises(SettingError, match=r"a 1-D layer is computed by upconv.conv_transpose1d"):
        conv_transpose2d(x, w)
    with pytest.raises(SettingError, match=r"of a 1-D layer, input\[:, :, None\] makes it one of height 1"):
        conv_transpose2d(x, w[:, :, None])
    assert conv_transpose2d(x[:, :, None], w[:, :, None]).shape == (2, 3, 1, 54)
