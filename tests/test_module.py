"""The NumPy layer: constructor, initial values, parameters, state, repr and output_size, as torch's layer has them."""

import copy
import inspect
import pickle
import sys

import numpy as np
import pytest
from require import require

from upconv import ConvTranspose2d, SettingError, conv_transpose2d
from upconv.prepared import prepared_of


def layer(**settings):
    return ConvTranspose2d(2, 3, 3, **{"stride": 2, "padding": 1, "rng": 0, **settings})


def picture(*shape, dtype=np.float32):
    return np.random.default_rng(5).standard_normal(shape or (1, 2, 4, 4)).astype(dtype)


PARAMETERS = (
    "a layer has floating-point or complex parameters, and allowed are float16, bfloat16, float32, float64, complex64, "
    "complex128"
)
# (constructor arguments, repr), checked against torch 2.13
REPRS = [
    ((16, 33, 3, 2), {}, "16, 33, kernel_size=(3, 3), stride=(2, 2)"),
    ((16, 33, (3, 5), (2, 1), (4, 2)), {}, "16, 33, kernel_size=(3, 5), stride=(2, 1), padding=(4, 2)"),
    ((4, 4, 3), {"dilation": 2}, "4, 4, kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2)"),
    ((4, 4, 3), {"output_padding": 1}, "4, 4, kernel_size=(3, 3), stride=(1, 1), output_padding=(1, 1)"),
    ((4, 4, 3), {"groups": 2, "bias": False}, "4, 4, kernel_size=(3, 3), stride=(1, 1), groups=2, bias=False"),
    (
        (16, 32, (3, 5), (2, 1), (4, 2), 1, 4, False, 2),
        {},
        "16, 32, kernel_size=(3, 5), stride=(2, 1), padding=(4, 2), dilation=(2, 2), output_padding=(1, 1), groups=4, "
        "bias=False",
    ),
    ((2, 2, 3), {"padding": (0, 1)}, "2, 2, kernel_size=(3, 3), stride=(1, 1), padding=(0, 1)"),
]  # fmt: skip


def test_the_order_of_the_constructor_is_that_of_torch():
    parameters = inspect.signature(ConvTranspose2d).parameters
    names = "in_channels out_channels kernel_size stride padding output_padding groups bias dilation padding_mode"
    assert list(parameters) == [*names.split(), "device", "dtype", "rng", "storage"]
    assert parameters["rng"].kind is inspect.Parameter.KEYWORD_ONLY
    defaults = [parameter.default for parameter in parameters.values()][3:]
    assert defaults == [1, 0, 0, 1, True, 1, "zeros", None, None, None, None]


def test_every_attribute_holds_what_was_given():
    made = ConvTranspose2d(4, 6, (3, 5), (2, 1), (1, 2), (1, 0), 2, False, (1, 3), "zeros", "cpu", np.float64)
    assert (made.in_channels, made.out_channels, made.kernel_size) == (4, 6, (3, 5))
    assert (made.stride, made.padding, made.output_padding) == ((2, 1), (1, 2), (1, 0))
    assert (made.groups, made.dilation, made.padding_mode) == (2, (1, 3), "zeros")
    assert made.weight.shape == (4, 3, 3, 5)
    assert made.weight.dtype == np.float64
    assert made.bias is None


@pytest.mark.parametrize(("args", "kwargs", "text"), REPRS, ids=[row[2] for row in REPRS])
def test_the_repr_is_that_of_torch(args, kwargs, text):
    made = ConvTranspose2d(*args, **kwargs)
    assert repr(made) == f"ConvTranspose2d({text})"
    assert made.extra_repr() == text


def test_the_repr_ends_with_a_padding_mode_that_is_not_the_default():
    made = ConvTranspose2d(2, 2, 3, padding=1, bias=False, padding_mode="circular")
    assert repr(made).endswith("padding=(1, 1), bias=False, padding_mode=circular)")
    assert "padding=same" in repr(ConvTranspose2d(2, 2, 3, padding="same"))


def test_the_repr_of_a_subclass_has_its_name():
    assert repr(type("Up", (ConvTranspose2d,), {})(1, 1, 1)) == "Up(1, 1, kernel_size=(1, 1), stride=(1, 1))"


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "fragment"),
    [
        ((0, 3, 3), {}, ValueError, "in_channels is 0; it must be at least 1"),
        ((2, -1, 3), {}, ValueError, "out_channels is -1; it must be at least 1"),
        ((2, 3, 3), {"groups": 0}, ValueError, "groups is 0; it must be at least 1"),
        ((4, 4, 3), {"groups": 3}, ValueError, "in_channels is 4, which groups=3 does not divide; groups=2 would"),
        ((4, 6, 3), {"groups": 4}, ValueError, "out_channels is 6, which groups=4 does not divide; groups=2 would"),
        ((2, 3, 3), {"padding_mode": "mirror"}, ValueError, "padding_mode is 'mirror'"),
        ((2, 3, 0), {}, SettingError, "kernel_size is (0, 0); it must be at least 1"),
        ((2, 3, (3, 0)), {}, SettingError, "kernel_size is (3, 0)"),
        ((2, 3, (3, 3, 3)), {}, SettingError, "3 elements"),
        ((2, 3, 3), {"stride": 0}, SettingError, "stride is (0, 0); it must be at least 1"),
        ((2, 3, 3), {"dilation": (1, 0)}, SettingError, "dilation is (1, 0); it must be at least 1"),
        ((2, 3, 3), {"padding": -1}, SettingError, "padding is (-1, -1); it must be at least 0"),
        ((2, 3, 3), {"output_padding": -1}, SettingError, "output_padding is (-1, -1); it must be at least 0"),
        ((2, 3, 3), {"device": "cuda"}, SettingError, "device is 'cuda'"),
        ((2, 3, 3), {"dtype": "int64"}, SettingError, f"dtype is int64; {PARAMETERS}: dtype='float32' would do"),
        ((2, 3, 3), {"dtype": "int8"}, NotImplementedError, f"dtype is int8; {PARAMETERS}: dtype='float32' would do"),
        ((2.0, 3, 3), {}, TypeError, "in_channels is 2.0"),
        ((2, True, 3), {}, TypeError, "out_channels is True"),
        ((2, 3, 3.0), {}, TypeError, "kernel_size is 3.0"),
        ((2, 3, "3"), {}, TypeError, "kernel_size is '3'"),
        ((2, 3, 3), {"stride": 1.5}, TypeError, "stride is 1.5"),
        ((2, 3, 3), {"padding": "SAME"}, TypeError, "padding is 'SAME'"),
        ((2, 3, 3), {"groups": None}, TypeError, "groups is None"),
    ],
    ids=str,
)
def test_what_no_input_could_make_valid_is_refused_at_construction(args, kwargs, error, fragment):
    with pytest.raises(error) as caught:
        ConvTranspose2d(*args, **kwargs)
    assert fragment in str(caught.value)


def test_output_padding_is_free_at_construction_and_checked_at_the_call():
    made = layer(output_padding=7)
    assert made.output_padding == (7, 7)
    with pytest.raises(SettingError, match=r"output_padding is 7.*at most 1"):
        made(picture())
    assert made(picture(), output_size=(8, 7)).shape == (1, 3, 8, 7)


@pytest.mark.parametrize(
    "kernel", [3, [3], (3, 3), np.array([3, 3]), iter((3, 3)), np.int32(3)], ids=lambda kernel: type(kernel).__name__
)
def test_the_kernel_may_be_written_in_every_form(kernel):
    assert ConvTranspose2d(1, 1, kernel).kernel_size == (3, 3)


def test_initial_values_are_uniform_within_their_bound():
    made = ConvTranspose2d(64, 48, (3, 5), groups=4, rng=1)
    bound = (4 / (48 * 15)) ** 0.5
    for values in (made.weight, made.bias):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
        assert abs(values.mean()) < 0.3 * bound
    # Ten equal bins of a uniform sample: the standard deviation of each share is 0.003.
    shares = np.histogram(made.weight, 10, (-bound, bound))[0] / made.weight.size
    assert np.abs(shares - 0.1).max() < 0.02


def test_the_weight_is_drawn_before_the_bias_from_one_stream():
    made, rng = ConvTranspose2d(2, 6, 3, groups=2, dtype=float, rng=7), np.random.default_rng(7)
    bound = (2 / (6 * 9)) ** 0.5
    assert np.array_equal(made.weight, rng.uniform(-bound, bound, (2, 3, 3, 3)))
    assert np.array_equal(made.bias, rng.uniform(-bound, bound, 6))


def test_a_seed_repeats_and_a_generator_goes_on():
    assert np.array_equal(layer(rng=3).weight, layer(rng=3).weight)
    assert np.array_equal(layer(rng=3).weight, layer(rng=np.random.default_rng(3)).weight)
    assert np.array_equal(layer(rng=3).weight, layer(rng=3, bias=False).weight)
    assert not np.array_equal(layer(rng=3).weight, layer(rng=4).weight)
    stream = np.random.default_rng(3)
    assert not np.array_equal(layer(rng=stream).weight, layer(rng=stream).weight)
    assert not np.array_equal(layer(rng=None).weight, layer(rng=None).weight)


def test_initial_values_do_not_touch_the_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    layer(rng=None)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_the_layer_computes_in_the_dtype_of_its_parameters(name):
    dtype = require("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)
    made = layer(dtype=dtype)
    assert made.weight.dtype == made.bias.dtype == dtype
    assert made(picture(dtype=dtype)).dtype == dtype
    if name.startswith("complex"):
        assert made.weight.imag.any()
    with pytest.raises(SettingError, match=r"float64|float32"):
        made(picture(dtype=np.float32 if name == "float64" else np.float64))


@pytest.mark.parametrize("name", ["float32", ">f4", np.float32, np.dtype("f4"), None])
def test_float32_is_the_default_and_may_be_said_in_every_way_of_numpy(name):
    assert layer(dtype=name).weight.dtype.name == "float32"


@pytest.mark.parametrize(
    "settings",
    [{}, {"bias": False}, {"output_padding": 1}, {"padding": "same"}, {"padding": ((1, 0), (0, 2))},
     {"padding_mode": "reflect"}, {"dilation": 2}],
    ids=str,
)  # fmt: skip
def test_the_call_is_the_functional_with_the_layers_settings_and_parameters(settings):
    made, x = layer(**settings), picture()
    arguments = {name: getattr(made, name) for name in ("stride", "padding", "output_padding", "groups", "dilation")}
    expected = conv_transpose2d(x, made.weight, made.bias, **arguments, padding_mode=made.padding_mode)
    # Of a weight that a layer has prepared another way may be chosen, with other last bits.
    np.testing.assert_allclose(made(x), expected, rtol=0, atol=1e-6)
    assert np.array_equal(made.forward(x), made(x))
    assert np.array_equal(made(x[0]), made(x)[0])


@pytest.mark.parametrize(
    "size", [(7, 7), (8, 8), (7, 8), [8, 7], np.array([8, 7]), (1, 3, 8, 8), [5, 99, 7, 8]], ids=str
)
def test_output_size_says_the_last_two_sizes_and_replaces_output_padding(size):
    for output_padding in (0, 1):
        y = layer(output_padding=output_padding)(picture(), output_size=size)
        assert y.shape[2:] == tuple(size)[-2:]
    extra = tuple(int(wanted) - 7 for wanted in tuple(size)[-2:])
    assert np.array_equal(layer()(picture(), size), layer(output_padding=extra)(picture()))


@pytest.mark.parametrize("size", [(8, 8), (3, 8, 8), (99, 8, 8)])
def test_output_size_of_unbatched_input_has_two_or_three_elements(size):
    assert layer()(picture()[0], output_size=size).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("unbatched", "size", "allowed"),
    [(False, (8,), "2 or 4"), (False, (3, 8, 8), "2 or 4"), (False, (), "2 or 4"), (False, (1, 1, 3, 8, 8), "2 or 4"),
     (True, (1, 3, 8, 8), "2 or 3"), (True, (8,), "2 or 3")],
)  # fmt: skip
def test_output_size_of_another_length_is_a_value_error_with_the_lengths_allowed(unbatched, size, allowed):
    with pytest.raises(ValueError, match=allowed) as caught:
        layer()(picture()[0] if unbatched else picture(), output_size=size)
    assert str(size) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "axis", "nearest"), [((6, 7), "height", 7), ((9, 7), "height", 8), ((7, 99), "width", 8)]
)
def test_output_size_out_of_range_is_a_value_error_with_the_range_and_the_nearest(size, axis, nearest):
    with pytest.raises(ValueError, match=f"{axis}.*7 to 8.*nearest is {nearest}"):
        layer()(picture(), output_size=size)


@pytest.mark.parametrize("size", [8, "88", (8.0, 8.0), (8, None), (True, 8)], ids=str)
def test_output_size_that_is_no_sequence_of_integers_is_a_type_error(size):
    with pytest.raises(TypeError, match="output_size is"):
        layer()(picture(), output_size=size)


@pytest.mark.parametrize(("stride", "dilation", "most"), [(1, 1, 0), (1, 3, 0), (3, 1, 2), (2, 4, 1)])
def test_output_size_ranges_over_stride_sizes_whatever_the_dilation(stride, dilation, most):
    made = ConvTranspose2d(2, 3, 3, stride=stride, dilation=dilation)
    least = made(picture()).shape[2]
    assert made(picture(), output_size=(least + most, least)).shape[2] == least + most
    with pytest.raises(ValueError, match=f"{least} to {least + most}"):
        made(picture(), output_size=(least + most + 1, least))


def test_output_size_works_where_the_least_size_is_no_size():
    # 4 inputs spread to 8 values of which padding takes all 8; an output_padding of 1 gives one back.
    made = ConvTranspose2d(2, 3, 2, stride=2, padding=4, rng=0)
    expected = conv_transpose2d(picture(), made.weight, made.bias, stride=2, padding=4, output_padding=1)
    assert expected.shape == (1, 3, 1, 1)
    assert np.array_equal(made(picture(), output_size=(1, 1)), expected)
    with pytest.raises(ValueError, match=r"height.*would be 0"):
        made(picture(), output_size=(0, 1))


def test_output_size_of_an_empty_batch():
    assert layer()(picture(0, 2, 4, 4), output_size=(8, 8)).shape == (0, 3, 8, 8)


def test_output_size_beside_same_is_the_one_size_there_is():
    made = layer(padding="same")
    assert made(picture(), output_size=(8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match="nearest is 8"):
        made(picture(), output_size=(9, 8))


def test_output_size_with_sides_and_with_a_border():
    assert layer(padding=((1, 0), (0, 0)))(picture(), output_size=(9, 10)).shape == (1, 3, 9, 10)
    assert layer(padding_mode="circular")(picture(), output_size=(8, 7)).shape == (1, 3, 8, 7)


def test_output_size_is_checked_after_the_rank_of_the_input():
    with pytest.raises(SettingError, match="input has shape"):
        layer()(picture(1, 1, 2, 4, 4), output_size=(8, 8))


def test_the_parameters_are_copied_when_they_are_assigned():
    made, weight, bias = layer(), np.ones((2, 3, 3, 3), np.float32), np.ones(3, np.float32)
    made.weight, made.bias = weight, bias
    weight[...] = bias[...] = 9
    assert (made.weight == 1).all()
    assert (made.bias == 1).all()


def test_the_parameters_are_handed_out_as_views_that_cannot_be_written_nor_made_writeable():
    made = layer()
    for array in (made.weight, made.bias, made.state_dict()["weight"], made.state_dict()["bias"]):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        assert array.base is not None


def test_a_view_taken_before_an_assignment_keeps_the_old_values():
    made = layer()
    old = made.weight
    before = old.copy()
    made.weight = np.zeros((2, 3, 3, 3))
    assert np.array_equal(old, before)
    assert not made.weight.any()


def test_an_assignment_is_seen_by_the_next_call():
    made, x = layer(), picture()
    first = made(x)
    made.weight = 2 * made.weight
    made.bias = 2 * made.bias
    np.testing.assert_allclose(made(x), 2 * first, rtol=1e-5, atol=1e-6)
    made.bias = None
    assert made.bias is None
    assert repr(made).endswith("bias=False)")
    assert list(made.state_dict()) == ["weight"]
    # The layer has its weight prepared, and so may add up in another order.
    np.testing.assert_allclose(made(x), conv_transpose2d(x, made.weight, stride=2, padding=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("assign", [lambda made, w: setattr(made, "weight", w),
                                    lambda made, w: made.load_state_dict({"weight": w}, strict=False)],
                         ids=["weight", "load_state_dict"])  # fmt: skip
def test_an_assignment_is_not_undone_by_a_call_that_began_before_it(assign, monkeypatch):
    """The other thread's assignment comes at the worst moment: when the call has prepared the weight that it found."""
    made, x, prepare, new = layer(), picture(), prepared_of, [np.full((2, 3, 3, 3), 7, np.float32)]

    def prepare_and_lose_the_turn(weight, *rest):
        done = prepare(weight, *rest)
        if new:
            assign(made, new.pop())
        return done

    monkeypatch.setattr("upconv.layer.prepared_of", prepare_and_lose_the_turn)
    made(x)
    if new:
        assign(made, new.pop())
    assert (made.weight == 7).all()
    assert np.allclose(made(x), conv_transpose2d(x, made.weight, made.bias, stride=2, padding=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, ">f4"])
def test_an_assigned_parameter_takes_the_dtype_of_the_layer(dtype):
    made = layer()
    made.weight = np.full((2, 3, 3, 3), 2, dtype)
    assert made.weight.dtype == np.float32
    assert made.weight.dtype.isnative
    assert (made.weight == 2).all()


@pytest.mark.parametrize(
    ("name", "value", "error", "fragments"),
    [
        ("weight", np.ones((3, 2, 3, 3)), SettingError, ("(3, 2, 3, 3)", "(2, 3, 3, 3)")),
        ("weight", np.ones(1), SettingError, ("(1,)", "(2, 3, 3, 3)")),
        ("weight", 1.0, SettingError, ("()", "(2, 3, 3, 3)")),
        ("weight", np.ones((2, 3, 3, 3), complex), SettingError, ("complex128", "float32")),
        ("weight", np.ma.ones((2, 3, 3, 3)), TypeError, ("weight is a masked array",)),
        ("bias", np.ones(2), SettingError, ("bias has shape (2,)", "(3,)")),
        ("bias", np.ones((3, 1)), SettingError, ("bias has shape (3, 1)", "(3,)")),
        ("bias", np.ma.ones(3), TypeError, ("bias is a masked array",)),
    ],
    ids=range(8),
)
def test_a_parameter_that_does_not_fit_is_refused_and_changes_nothing(name, value, error, fragments):
    made = layer()
    before = copy.deepcopy(made.state_dict())
    with pytest.raises(error) as caught:
        setattr(made, name, value)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert np.array_equal(made.weight, before["weight"])
    assert np.array_equal(made.bias, before["bias"])


@pytest.mark.parametrize("name", ["stride", "padding", "output_padding", "dilation", "groups", "padding_mode"])
def test_settings_are_fixed_once_the_layer_is_made(name):
    with pytest.raises(AttributeError):
        setattr(layer(), name, 1)


def test_state_dict_has_weight_and_bias_in_this_order_and_nothing_else():
    assert list(layer().state_dict()) == ["weight", "bias"]
    assert list(layer(bias=False).state_dict()) == ["weight"]


def test_load_state_dict_takes_all_parameters_as_copies():
    source, target, x = layer(rng=1), layer(rng=2), picture()
    values = {name: value.copy() for name, value in source.state_dict().items()}
    assert tuple(target.load_state_dict(values)) == ([], [])
    values["weight"][...] = 0
    assert np.array_equal(target(x), source(x))
    assert target.load_state_dict(source.state_dict()).missing_keys == []
    assert not target.weight.flags.writeable


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ({}, ("['bias', 'weight']",)),
        ({"weight": np.zeros((2, 3, 3, 3))}, ("['bias']",)),
        ({"weight": np.zeros((2, 3, 3, 3)), "bias": np.zeros(3), "scale": 1}, ("['scale']", "['bias', 'weight']")),
        ({"up.weight": np.zeros((2, 3, 3, 3)), "up.bias": np.zeros(3)}, ("up.bias", "up.weight")),
        ({"weight": np.zeros((2, 3, 3, 3)), "bias": np.zeros(4)}, ("bias has shape (4,)", "(3,)")),
        ({"weight": np.zeros((3, 2, 3, 3)), "bias": np.zeros(3)}, ("weight has shape (3, 2, 3, 3)", "(2, 3, 3, 3)")),
        ({"weight": np.zeros((2, 3, 3, 3)), "bias": np.zeros(3, complex)}, ("complex128", "float32")),
    ],
    ids=range(7),
)
def test_load_state_dict_loads_all_or_nothing(values, fragments):
    made = layer()
    before = copy.deepcopy(made.state_dict())
    with pytest.raises(SettingError) as caught:
        made.load_state_dict(values)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert np.array_equal(made.weight, before["weight"])
    assert np.array_equal(made.bias, before["bias"])


def test_load_state_dict_that_is_not_strict_reports_what_did_not_match():
    made = layer()
    bias = made.bias.copy()
    result = made.load_state_dict({"weight": np.zeros((2, 3, 3, 3)), "scale": 1}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["scale"]
    assert not made.weight.any()
    assert np.array_equal(made.bias, bias)
    with pytest.raises(SettingError, match="bias has shape"):
        made.load_state_dict({"bias": np.zeros(4), "weight": np.ones((2, 3, 3, 3))}, strict=False)
    assert not made.weight.any()


def test_a_layer_without_bias_does_not_know_one():
    with pytest.raises(SettingError, match="bias"):
        layer(bias=False).load_state_dict(layer().state_dict())


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": lambda made, protocol=protocol: pickle.loads(pickle.dumps(made, protocol))
       for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}  # fmt: skip


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("settings", [{}, {"bias": False, "padding": "same"}, {"dtype": np.float16}], ids=str)
def test_a_copy_computes_the_same_and_goes_its_own_way(how, settings):
    made, x = layer(**settings), picture(dtype=settings.get("dtype", np.float32))
    twin = COPIES[how](made)
    before = made(x)
    assert repr(twin) == repr(made)
    assert np.array_equal(twin(x), before)
    assert not twin.weight.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        twin.weight[...] = 0
    twin.weight = np.zeros(made.weight.shape)
    assert np.array_equal(made(x), before)
    assert not np.array_equal(twin(x), before)


def test_a_pickle_of_bfloat16_keeps_its_dtype():
    made = layer(dtype=require("ml_dtypes").bfloat16)
    twin = pickle.loads(pickle.dumps(made))
    assert twin.weight.dtype == made.weight.dtype
    assert np.array_equal(twin.weight, made.weight)


def test_the_views_of_a_loaded_layer_cannot_be_made_writeable():
    view = pickle.loads(pickle.dumps(layer())).weight
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True


def test_bfloat16_may_be_said_as_a_word(monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ml_dtypes", None)
        with pytest.raises(TypeError, match=r"needs ml_dtypes: pip install 'upconv\[bfloat16\]'"):
            ConvTranspose2d(2, 3, 3, dtype="bfloat16")
    ml_dtypes = require("ml_dtypes")
    assert ConvTranspose2d(2, 3, 3, dtype="bfloat16").weight.dtype == ml_dtypes.bfloat16


def test_an_output_size_where_none_is_possible_does_not_propose_one():
    with pytest.raises(SettingError, match="no output of any size; take less padding"):
        ConvTranspose2d(1, 1, 1, padding=2)(np.ones((1, 1, 1, 1), np.float32), output_size=(1, 1))


@pytest.mark.parametrize("value", [None, 1, [("weight", 1)], "weight"], ids=repr)
def test_a_state_that_is_no_dictionary_is_a_type_error(value):
    with pytest.raises(TypeError, match="it must be a dictionary of arrays"):
        layer().load_state_dict(value)


def test_unknown_names_of_any_kind_are_listed():
    with pytest.raises(SettingError, match=r"unknown \[1, 'a'\]"):
        layer().load_state_dict({1: 0, "a": 0})


class Tensor:
    """As much of torch's tensor as a state_dict needs: no NumPy before detach, none at all of bfloat16."""

    def __init__(self, array, dtype="torch.float32", is_detached=False):
        self.array, self.dtype, self.is_detached = array, dtype, is_detached

    def detach(self):
        return type(self)(self.array, self.dtype, True)

    def cpu(self):
        return self

    def float(self):
        return type(self)(self.array, "torch.float32", self.is_detached)

    def __array__(self, dtype=None, copy=None):
        if not self.is_detached or self.dtype == "torch.bfloat16":
            raise TypeError("unsupported")
        return self.array


@pytest.mark.parametrize("dtype", ["torch.float32", "torch.bfloat16"])
def test_load_state_dict_takes_parameters_of_torch(monkeypatch, dtype):
    monkeypatch.setattr(Tensor, "__module__", "torch.nn.parameter")
    one, other = layer(), layer(rng=1)
    one.load_state_dict({name: Tensor(array, dtype) for name, array in other.state_dict().items()})
    np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(one.bias, other.bias)


@pytest.mark.parametrize(
    "names", [("weight_g", "weight_v"), tuple(f"parametrizations.weight.original{i}" for i in (0, 1))]
)
def test_a_layer_under_weight_norm_is_told_how_to_fold(names):
    """The formula that the message gives must give torch's weight."""
    rng, layer = np.random.default_rng(0), ConvTranspose2d(2, 3, 3)
    g, v = rng.random((2, 1, 1, 1)), rng.random((2, 3, 3, 3))
    d = {names[0]: g, names[1]: v, "bias": np.zeros(3)}
    with pytest.raises(SettingError, match="this layer was under weight_norm: fold it with torch") as caught:
        layer.load_state_dict(d)
    formula, scope = str(caught.value).split("weight = ")[1].split(" with ")
    exec(scope.replace(", v", "; v"), {"d": d}, found := {"np": np})
    folded = eval(formula, found)
    assert np.allclose(np.sqrt((folded**2).sum(axis=(1, 2, 3))), g.ravel())
    assert np.allclose(
        folded / np.abs(folded).max(),
        v * (g / np.linalg.norm(v.reshape(2, -1), axis=1)[:, None, None, None]) / np.abs(folded).max(),
    )
    layer.load_state_dict({"weight": folded, "bias": d["bias"]})


def test_a_layer_under_spectral_norm_is_told_to_make_its_weight_one():
    with pytest.raises(SettingError, match="computed from other parameters"):
        ConvTranspose2d(2, 3, 3).load_state_dict({"weight_orig": np.zeros((2, 3, 3, 3)), "bias": np.zeros(3)})
