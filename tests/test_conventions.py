"""Conventions by arithmetic alone: what is documented, round trips, and that the nearest setting is the nearest."""

import random
from itertools import product

import numpy as np
import pytest

from upconv import SettingError, conventions
from upconv.conventions import CONVENTIONS, Jax, Keras, Onnx, Torch, arguments, same, translate, weight_steps
from upconv.geometry import Axis

ROUNDS = 2000


def crops(axis):
    return axis.crop_lo, axis.crop_hi


def random_steps(rng):
    """n, k, s, d, small enough that every rule meets its corner cases."""
    return rng.randint(1, 6), rng.randint(1, 7), rng.randint(1, 6), rng.randint(1, 4)


def random_setting(rng, name, n, k, s, d):
    full = Axis(n, k, s, d).full
    output_padding = rng.randrange(max(s, d))
    if name == "torch":
        return Torch(rng.randrange(4), output_padding)
    if name == "onnx":
        auto_pad = rng.choice(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
        pads = (rng.randrange(4), rng.randrange(4)) if auto_pad == "NOTSET" else (0, 0)
        return Onnx(auto_pad, pads, output_padding, rng.choice([None, rng.randint(1, full + s - 1)]))
    if name == "keras":
        return Keras(rng.choice(["same", "valid"]), rng.choice([None, rng.randrange(s)]))
    numbers = rng.randint(-3, 5), rng.randint(-3, 5)
    return Jax(rng.choice(["SAME", "VALID", numbers, numbers[0]]), rng.random() < 0.5)


def random_axis(rng, n, k, s, d):
    while True:
        lo, hi = rng.randint(-3, 6), rng.randint(-3, 6)
        if Axis(n, k, s, d).full - lo - hi >= 1:
            return Axis(n, k, s, d, lo, hi)


def axis_of(setting, n, k, s, d):
    """The axis of a setting, or None where nothing is left or Keras refuses the steps."""
    try:
        return setting.axis(n, k, s, d)
    except SettingError as error:
        if "output size would be" in str(error) or "Keras refuses stride" in str(error):
            return None
        raise


@pytest.mark.parametrize("name", CONVENTIONS)
def test_what_a_framework_says_it_can_say_again(name):
    rng = random.Random(name)
    done = 0
    while done < ROUNDS:
        steps = random_steps(rng)
        axis = axis_of(random_setting(rng, name, *steps), *steps)
        if axis is None:
            continue
        setting, differences = nearest(name, axis)
        again = setting.axis(*steps)
        assert [text for text in differences if "ONNX Runtime" not in text] == []
        assert again == axis
        done += 1


def nearest(name, axis):
    translation = CONVENTIONS[name].nearest(axis)
    return translation.setting, translation.differences


@pytest.mark.parametrize(("source", "target"), [*product(CONVENTIONS, CONVENTIONS)])
def test_no_differences_means_the_same_crops(source, target):
    rng = random.Random(source + target)
    exact = 0
    for _ in range(ROUNDS // 2):
        steps = random_steps(rng)
        axis = axis_of(random_setting(rng, source, *steps), *steps)
        if axis is None:
            continue
        setting, differences = nearest(target, axis)
        again = axis_of(setting, *steps)
        if again is None:
            assert target == "keras"
            assert "Keras refuses stride" in differences[0]
            continue
        assert (again == axis) == all("ONNX Runtime" in text for text in differences)
        exact += differences == ()
    assert exact > 50


def every_torch(axis):
    return [Torch(p, o) for p, o in product(range(25), range(max(axis.s, axis.d)))]


def every_onnx(axis):
    return [Onnx(pads=pads, output_padding=o) for *pads, o in product(range(10), range(10), range(max(axis.s, axis.d)))]


def every_keras(axis):
    return [Keras(padding, o) for padding, o in product(("same", "valid"), (None, *range(axis.s)))]


@pytest.mark.parametrize(
    ("name", "every", "rounds"), [("torch", every_torch, 400), ("onnx", every_onnx, 150), ("keras", every_keras, 400)]
)
def test_nearest_is_the_nearest(name, every, rounds):
    rng = random.Random(5)
    for _ in range(rounds):
        n, k, s, d = random_steps(rng)
        axis = random_axis(rng, n, k, s, 1 if name == "keras" else d)

        def distance(setting, axis=axis):
            found = axis_of(setting, axis.n, axis.k, axis.s, axis.d)
            return (abs(found.out - axis.out), abs(found.crop_lo - axis.crop_lo)) if found else (99, 99)

        setting, differences = nearest(name, axis)
        assert distance(setting) == min(map(distance, every(axis)))
        assert (distance(setting) == (0, 0)) == all("ONNX Runtime" in text for text in differences)


def test_jax_can_say_everything():
    rng = random.Random(6)
    for _ in range(ROUNDS):
        axis = random_axis(rng, *random_steps(rng))
        setting, differences = nearest("jax", axis)
        assert differences == ()
        assert setting.axis(axis.n, axis.k, axis.s, axis.d) == axis


@pytest.mark.parametrize("name", CONVENTIONS)
def test_two_axes_are_said_in_one_call(name):
    rng = random.Random(7)
    shared = {"keras": "padding", "onnx": "auto_pad"}.get(name)
    for _ in range(300):
        h, w = (random_axis(rng, *random_steps(rng)) for _ in "hw")
        translation = translate(name, h, w)
        alone = [CONVENTIONS[name].nearest(axis) for axis in (h, w)]
        arguments(*translation.setting)
        if shared:
            assert len({getattr(setting, shared) for setting in translation.setting}) == 1
        else:
            assert sum(map(bool, translation.differences)) == sum(len(one.differences) for one in alone)
        if not translation.differences:
            assert all(not one.differences for one in alone)
            assert [s.axis(a.n, a.k, a.s, a.d) for s, a in zip(translation.setting, (h, w), strict=True)] == [h, w]


def test_two_axes_with_one_word_for_both():
    even, odd = same(4, 4, 2), same(4, 3, 2)
    assert arguments(*translate("keras", even, odd).setting) == {"padding": "same"}
    uneven, uncut = Axis(4, 3, 2, crop_lo=1), Axis(4, 4, 2)
    translation = translate("keras", odd, uncut)
    assert arguments(*translation.setting) == {"padding": "valid"}
    assert translation.differences == (
        "height: keras cannot crop 0 at the beginning and 1 at the end; with padding='valid' the output size is 9 "
        "instead of 8",
    )
    assert arguments(*translate("jax", odd, uncut).setting) == {"padding": ((2, 1), (3, 3))}
    assert arguments(*translate("torch", uneven, uncut).setting) == {"padding": (1, 0), "output_padding": (1, 0)}
    assert arguments(*translate("onnx", odd, same(4, 5, 2, lower=True)).setting)["pads"] == [0, 2, 1, 1]
    with pytest.raises(SettingError, match="one call cannot say"):
        arguments(Keras("same"), Keras("valid"))


def test_keras_refuses_stride_and_dilation_across_axes():
    translation = translate("keras", same(4, 3, 2), same(4, 3, 1, 2))
    assert ["stride 2 together with dilation 2" in sentence for sentence in translation.differences] == [True]


def test_keras_spread_kernel_says_the_same():
    axis = same(5, 3, 2, 3)
    translation = Keras.nearest(axis)
    assert len(translation.differences) == 1
    spread = translation.setting.axis(axis.n, axis.k_eff, axis.s)
    assert (spread.out, *crops(spread)) == (axis.out, *crops(axis))
    with pytest.raises(SettingError, match="Keras refuses stride 2 together with dilation 3"):
        translation.setting.axis(axis.n, axis.k, axis.s, axis.d)


@pytest.mark.parametrize(
    ("setting", "steps", "expected"),
    [
        (Torch(1, 1), (4, 3, 2, 1), (1, 0)),
        (Torch(1), (4, 3, 2, 1), (1, 1)),
        (Onnx(pads=(1, 2)), (4, 3, 2, 1), (1, 2)),
        (Onnx(pads=(1, 2), output_padding=1), (4, 3, 2, 1), (1, 1)),
        (Onnx("VALID", output_padding=1), (4, 3, 2, 1), (0, -1)),
        (Onnx("SAME_UPPER"), (3, 3, 2, 1), (0, 1)),
        (Onnx("SAME_LOWER"), (3, 3, 2, 1), (1, 0)),
        (Onnx("SAME_UPPER"), (3, 5, 2, 1), (1, 2)),
        (Onnx("SAME_LOWER"), (3, 5, 2, 1), (2, 1)),
        (Onnx("SAME_UPPER", output_padding=1), (3, 3, 2, 1), (1, 0)),
        (Onnx("SAME_UPPER"), (3, 2, 5, 1), (0, 0)),  # nothing to share: 12 outputs, not 15
        (Onnx("SAME_LOWER"), (3, 2, 5, 1), (0, 0)),
        (Onnx(output_shape=10), (3, 3, 3, 1), (0, -1)),  # test_convtranspose_output_shape, height: total -1
        (Onnx(output_shape=8), (3, 3, 2, 1), (0, -1)),  # and width
        (Onnx(output_shape=4), (3, 3, 2, 1), (2, 1)),
        (Onnx("SAME_UPPER", output_shape=4), (3, 3, 2, 1), (1, 2)),
        (Onnx("SAME_LOWER", output_shape=4), (3, 3, 2, 1), (2, 1)),
        (Onnx("VALID", output_shape=4), (3, 3, 2, 1), (2, 1)),
        (Onnx(output_shape=4, output_padding=1), (3, 3, 2, 1), (2, 1)),
        (Onnx("SAME_UPPER", output_shape=13), (3, 2, 5, 1), (0, -1)),
        (Onnx(output_shape=14), (3, 2, 5, 1), (0, -2)),
        (Keras("valid"), (4, 3, 2, 1), (0, 0)),
        (Keras("valid"), (3, 2, 5, 1), (0, -3)),
        (Keras("valid", 1), (4, 3, 2, 1), (0, -1)),
        (Keras("valid", 0), (3, 2, 5, 1), (0, 0)),
        (Keras("same"), (4, 3, 2, 1), (0, 1)),
        (Keras("SAME"), (4, 4, 2, 1), (1, 1)),
        (Keras("same"), (3, 2, 5, 1), (0, -3)),
        (Keras("same"), (5, 4, 1, 1), (1, 2)),
        (Keras("same", 0), (4, 3, 2, 1), (1, 1)),
        (Keras("same", 1), (4, 4, 2, 1), (1, 2)),
        (Keras("same"), (5, 2, 1, 2), (1, 1)),
        (Jax("SAME"), (4, 3, 2, 1), (0, 1)),
        (Jax("SAME"), (3, 2, 5, 1), (0, -3)),
        (Jax("VALID"), (4, 3, 2, 1), (0, 0)),
        (Jax("VALID"), (3, 2, 5, 1), (0, -3)),
        (Jax(1, True), (4, 3, 2, 2), (1, 1)),
        (Jax(1), (4, 3, 2, 2), (3, 3)),
        (Jax((1, 0)), (4, 3, 2, 1), (1, 2)),
        (Jax([-1, 2], True), (4, 3, 2, 1), (-1, 2)),
    ],
)
def test_documented_crops(setting, steps, expected):
    assert crops(setting.axis(*steps)) == expected


def test_documented_sizes():
    for n, k, s, d in product(range(1, 5), range(1, 6), range(1, 5), range(1, 4)):
        k_eff = d * (k - 1) + 1
        assert same(n, k, s, d).out == same(n, k, s, d, lower=True).out == n * s
        assert Jax("SAME").axis(n, k, s, d) == same(n, k, s, d)
        assert Onnx("SAME_UPPER").axis(n, k, s, d).out == (n - 1) * s + min(s, k_eff)
        for p in range(k_eff):
            given = (d * (k - 1) - p, d * (k - 1) - p)
            if (n - 1) * s + k_eff - 2 * p >= 1:
                assert Jax(p, True).axis(n, k, s, d) == Jax(given).axis(n, k, s, d) == Torch(p).axis(n, k, s, d)
        if s > 1 and d > 1:
            continue
        assert Keras("same").axis(n, k, s, d) == same(n, k, s, d)
        assert Keras("valid").axis(n, k, s, d).out == (n - 1) * s + max(k_eff, s)
        for output_padding in range(s):
            assert Keras("valid", output_padding).axis(n, k, s, d).out == (n - 1) * s + k_eff + output_padding
            out = (n - 1) * s + k_eff % 2 + output_padding
            if out:
                assert Keras("same", output_padding).axis(n, k, s, d).out == out


def test_same_puts_the_odd_one_where_it_is_asked():
    assert crops(same(4, 3, 2)) == (0, 1)
    assert crops(same(4, 3, 2, lower=True)) == (1, 0)
    assert crops(same(4, 5, 1, lower=True)) == crops(same(4, 5, 1)) == (2, 2)
    assert crops(same(4, 1, 3)) == crops(same(4, 1, 3, lower=True)) == (0, -2)


@pytest.mark.parametrize(
    ("setting", "steps", "message"),
    [
        (Torch(-1), (4, 3, 2, 1), "padding is -1; it must be at least 0, so the nearest is 0"),
        (Torch(0, -1), (4, 3, 2, 1), "output_padding is -1; it must be at least 0, so the nearest is 0"),
        (
            Torch(0, 2),
            (4, 3, 2, 1),
            "output_padding is 2; it must be below max(stride, dilation) = 2, so at most 1",
        ),
        (Torch(0, 4), (4, 3, 2, 4), "output_padding is 4; it must be below max(stride, dilation) = 4, so at most 3"),
        (Onnx(pads=(0, -1)), (4, 3, 2, 1), "a pad is -1; it must be at least 0, so the nearest is 0"),
        (
            Onnx(output_padding=2),
            (4, 3, 2, 1),
            "output_padding is 2; it must be below max(stride, dilation) = 2, so at most 1",
        ),
        (
            Onnx("VALID", (1, 0)),
            (4, 3, 2, 1),
            "pads are (1, 0) with auto_pad='VALID'; beside it they must be left out",
        ),
        (Onnx(output_shape=9), (3, 3, 2, 1), "output_shape is 9; it must be from 1 to 8, so the nearest is 8"),
        (Onnx(output_shape=0), (3, 3, 2, 1), "output_shape is 0; it must be from 1 to 8, so the nearest is 1"),
        (Keras("same", 2), (4, 3, 2, 1), "output_padding is 2; it must be below stride = 2, so at most 1"),
        (Keras("valid", 1), (4, 3, 1, 2), "output_padding is 1; it must be below stride = 1, so at most 0"),
        (Keras("valid", -1), (4, 3, 2, 1), "output_padding is -1; it must be at least 0, so the nearest is 0"),
    ],
)
def test_refusals(setting, steps, message):
    with pytest.raises(SettingError) as caught:
        setting.axis(*steps)
    assert str(caught.value) == message


def test_limits_are_reached():
    assert Torch(0, 1).axis(4, 3, 2).out == Axis(4, 3, 2).full + 1
    assert Torch(0, 3).axis(4, 3, 2, 4).out == Axis(4, 3, 2, 4).full + 3
    assert Onnx(output_shape=8).axis(3, 3, 2).out == 8
    assert Keras("valid", 1).axis(4, 3, 2).out == Axis(4, 3, 2).full + 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Onnx("same_upper"),
        lambda: Keras("same_lower"),
        lambda: Keras(1),
        lambda: Jax("same"),
        lambda: Jax(1.5),
        lambda: Jax((1, 2, 3)),
        lambda: Jax(None),
        lambda: weight_steps("torch", "caffe"),
        lambda: translate("caffe", Axis(1, 1), Axis(1, 1)),
    ],
)
def test_unknown_words_are_type_errors(make):
    with pytest.raises(TypeError, match="must be"):
        make()


def test_differences_in_words():
    uneven = Axis(4, 4, 2, crop_lo=1, crop_hi=2)
    assert Torch.nearest(uneven).differences == (
        "torch cannot crop 1 at the beginning and 2 at the end; with padding=2, output_padding=1 the size is the same, "
        "but everything lies 1 step earlier",
    )
    assert Keras.nearest(Axis(4, 4, 2, crop_lo=3, crop_hi=0)).differences == (
        "keras cannot crop 3 at the beginning and 0 at the end; with padding='same', output_padding=1 the size is the "
        "same, but everything lies 2 steps later",
    )
    assert Torch.nearest(Axis(4, 4, crop_lo=-1, crop_hi=0)).differences == (
        "torch cannot add 1 at the beginning and crop 0 at the end; with padding=0, output_padding=0 the output size "
        "is 7 instead of 8",
        "torch cannot add 1 at the beginning and crop 0 at the end; with padding=0, output_padding=0 everything lies "
        "1 step earlier",
    )


def test_what_onnx_allows_and_its_runtime_does_not():
    axis = Torch(0, 2).axis(4, 3, 1, 3)
    setting, differences = nearest("onnx", axis)
    assert setting == Onnx(output_padding=2)
    assert setting.axis(4, 3, 1, 3) == axis
    assert differences == (
        "ONNX allows output_padding=2 with stride 1, ONNX Runtime does not: it refuses what is not below the stride, "
        "and old versions compute wrong values",
    )
    assert nearest("onnx", Torch(2, 2).axis(4, 3, 1, 3)) == (Onnx(pads=(2, 0)), ())


def test_arguments_are_spelt_as_the_framework_spells_them():
    assert Torch(1, 1).arguments() == {"padding": 1, "output_padding": 1}
    assert Onnx(pads=(1, 0)).arguments() == {"pads": [1, 0], "output_padding": [0]}
    assert Onnx("SAME_UPPER", output_shape=7).arguments() == {
        "auto_pad": "SAME_UPPER",
        "output_shape": [7],
        "output_padding": [0],
    }
    assert Onnx("VALID").arguments() == {"auto_pad": "VALID", "output_padding": [0]}
    assert Keras("SAME").arguments() == {"padding": "same"}
    assert Keras("same", 0).arguments() == {"padding": "same", "output_padding": 0}
    assert Jax("SAME").arguments() == {"padding": "SAME"}
    assert Jax(1, True).arguments() == {"padding": (1, 1), "use_consistent_padding": True}


@pytest.mark.parametrize(("source", "target"), [*product(CONVENTIONS, CONVENTIONS)])
def test_weight_steps_move_every_value_to_its_place(source, target):
    sizes = {"in": 2, "out": 3, "kH": 4, "kW": 5}

    def weight_of(name):
        """A weight in one framework's order, whose value names its input, output and tap (torch's taps)."""
        convention = CONVENTIONS[name]
        axes = [axis.split("/")[0] for axis in convention.weight_axes]
        weight = np.empty([sizes[axis] for axis in axes])
        for place in np.ndindex(*weight.shape):
            at = dict(zip(axes, place, strict=True))
            if convention.weight_flipped:
                at["kH"], at["kW"] = 3 - at["kH"], 4 - at["kW"]
            weight[place] = at["in"] * 1000 + at["out"] * 100 + at["kH"] * 10 + at["kW"]
        return weight

    scope = {"weight": weight_of(source), "np": np}
    for step in weight_steps(source, target):
        exec(step, scope)
    np.testing.assert_array_equal(scope["weight"], weight_of(target))


def test_weight_steps_by_value():
    assert weight_steps("torch", "onnx") == []
    assert weight_steps("keras", "torch") == ["weight = weight.transpose(3, 2, 0, 1)"]
    assert weight_steps("jax", "torch") == ["weight = weight.transpose(2, 3, 0, 1)", "weight = weight[..., ::-1, ::-1]"]


def test_settings_are_plain_frozen_values():
    assert Torch(1) == Torch(1)
    assert len({Torch(1), Torch(1), Onnx(), Keras(), Jax()}) == 4
    assert not hasattr(Torch(), "__dict__")
    assert [convention.name for convention in CONVENTIONS.values()] == list(CONVENTIONS)
    with pytest.raises(AttributeError):
        Torch().padding = 2
    assert conventions.Setting.nearest.__doc__
