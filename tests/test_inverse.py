"""The solver against an exhaustive search, and against the sizes that PyTorch's formula gives."""

import itertools
import random
import re

import pytest
from explain.layers import every_axis, hits

from upconv import inverse
from upconv.errors import SettingError
from upconv.geometry import Axis
from upconv.inverse import (
    Setting,
    common_settings,
    dead_outputs,
    ignored_inputs,
    is_wasteful,
    live_taps,
    nearest,
    rank,
    reachable,
    setting_of,
    settings,
    sizes_undone,
    useful_taps,
)

KERNEL, STRIDE, DILATION = 4, 3, 2


def torch_size(n, k, s, p, op, d):
    """PyTorch's documented formula, written out independently of the package."""
    return (n - 1) * s - 2 * p + d * (k - 1) + op + 1


def conv_size(m, k, s, p, d):
    """The size of Conv2d's output, or None where the kernel does not fit."""
    return (m + 2 * p - d * (k - 1) - 1) // s + 1 if m + 2 * p >= d * (k - 1) + 1 else None


def brute_force(n, out):
    most_padding = (n - 1) * STRIDE + DILATION * (KERNEL - 1) + 1 + max(STRIDE, DILATION)
    ranges = range(1, KERNEL + 1), range(1, STRIDE + 1), range(most_padding), range(STRIDE), range(1, DILATION + 1)
    return {
        Setting(k, s, p, op, d)
        for k, s, p, op, d in itertools.product(*ranges)
        if op < max(s, d) and torch_size(n, k, s, p, op, d) == out
    }


def test_the_search_is_complete_on_500_size_pairs():
    draw = random.Random(20240)
    for _ in range(500):
        n, out = draw.randint(1, 12), draw.randint(1, 30)
        found = settings(n, out, max_kernel=KERNEL, max_stride=STRIDE, max_dilation=DILATION)
        assert len(found) == len(set(found))
        assert set(found) == brute_force(n, out), (n, out)


@pytest.mark.parametrize("fixed", [{"k": 3}, {"s": 2}, {"p": 1}, {"op": 1}, {"d": 2}, {"k": 4, "s": 2, "op": 0}])
def test_a_fixed_number_selects_from_the_free_search(fixed):
    free = settings(5, 10)
    kept = [found for found in free if all(getattr(found, name) == value for name, value in fixed.items())]
    assert settings(5, 10, **fixed) == kept
    assert kept


def test_bounds_and_fixed_numbers_beyond_them():
    assert max(found.k for found in settings(5, 10, max_kernel=3)) == 3
    assert max(found.p for found in settings(5, 10, max_padding=2)) == 2
    assert settings(5, 29, k=21, max_kernel=3, s=2) == settings(5, 29, k=21, s=2) != []
    assert settings(5, 10, p=4, max_padding=1) == settings(5, 10, p=4) != []
    assert settings(4, 100, s=2, max_kernel=3) == []


def test_the_order_puts_sound_even_and_cheap_settings_first():
    found = settings(4, 8)
    assert found == sorted(found, key=lambda setting: rank(setting, 4))
    assert found[0] == Setting(k=2, s=2)
    assert found.index(Setting(4, 2, 1)) < found.index(Setting(3, 2, 1, 1))
    sound = [not is_wasteful(f, 4) for f in found]
    even = [setting.axis(4).even_overlap for setting in found]
    assert sound == sorted(sound, reverse=True)
    for group in (True, False):
        flags = [e for e, s in zip(even, sound, strict=True) if s is group]
        assert flags == sorted(flags, reverse=True)
    plain = [useful_taps(f.axis(4)) for f, s, e in zip(found, sound, even, strict=True) if s and e and f.d == 1]
    assert plain == sorted(plain)
    assert len(plain) > 3


@pytest.mark.parametrize(("n", "out"), [(7, 40), (4, 8), (17, 32), (5, 61)])
@pytest.mark.parametrize("options", [{}, {"d": 3}, {"op": 1}, {"max_padding": 2}, {"k": 6}], ids=str)
def test_too_many_settings_are_refused_with_the_best_of_them(n, out, options, monkeypatch):
    every = settings(n, out, **options)
    assert len(every) > 3
    monkeypatch.setattr(inverse, "MOST_FOUND", len(every) - 1)
    with pytest.raises(SettingError, match=f"more than {len(every) - 1:,} settings turn {n} into {out}") as caught:
        settings(n, out, **options)
    least = options.get("d", 1)
    good = [each for each in every if not is_wasteful(each, n) and each.axis(n).even_overlap and each.d == least][:3]
    assert good == every[: len(good)]
    assert [word.strip("(): ") for word in re.findall(r"\(kernel_size[^)]*\)", str(caught.value))] == [
        each.arguments() for each in good
    ]


def test_sizes_undone_are_those_that_conv2d_maps_to_n():
    for k, s, p, d, n in itertools.product(range(1, 5), range(1, 4), range(3), range(1, 3), range(1, 6)):
        expected = [m for m in range(1, 40) if conv_size(m, k, s, p, d) == n]
        assert list(sizes_undone(Setting(k, s, p, 0, d), n)) == expected


def test_reachable_sizes_are_those_of_every_output_padding():
    for k, s, p, d, n in itertools.product(range(1, 5), range(1, 4), range(3), range(1, 4), range(1, 5)):
        sizes = [torch_size(n, k, s, p, op, d) for op in range(max(s, d))]
        assert list(reachable(Setting(k, s, p, 0, d), n)) == [size for size in sizes if size >= 1]


@pytest.mark.parametrize("wrong", [31, 33, 40, 1, 64])
@pytest.mark.parametrize("given", [Setting(3, 2, 1), Setting(4, 2, 1), Setting(5, 1, 2), Setting(3, 1, 2, 0, 2)])
def test_nearest_gives_the_wanted_size_and_keeps_what_it_can(given, wrong):
    found = nearest(given, 16, wrong)
    assert found.axis(16).out == wrong
    assert 0 <= found.op < max(found.s, found.d)
    if given.axis(16).out == wrong:
        assert found == given


@pytest.mark.parametrize("n", [1, 4, 17])
@pytest.mark.parametrize("out", [*range(1, 40), 997, 998, 999, 1000])
def test_nearest_always_finds_something_valid(n, out):
    found = nearest(Setting(3), n, out)
    assert found.axis(n).out == out
    assert found.p >= 0
    assert 0 <= found.op < max(found.s, found.d)


def test_nearest_changes_the_paddings_as_little_as_possible():
    for k, s, p, op, d, n, out in itertools.product((2, 3), (1, 2, 5), (0, 3), (0, 1), (1, 4), (3, 4), range(1, 25, 3)):
        if op < max(s, d):
            given, same_shape = Setting(k, s, p, op, d), settings(n, out, k=k, s=s, d=d)
            found = nearest(given, n, out)
            if same_shape:
                least = min(abs(other.p - p) + abs(other.op - op) for other in same_shape)
                assert found in same_shape
                assert abs(found.p - p) + abs(found.op - op) == least


def test_nearest_prefers_output_padding_to_a_new_kernel():
    assert nearest(Setting(3, 2, 1), 16, 32) == Setting(3, 2, 1, 1)
    assert nearest(Setting(3, 2, 1), 16, 30) == Setting(3, 2, 2, 1)
    assert nearest(Setting(3, 2, 1), 0, 30) is None


def test_settings_and_axes_translate_both_ways():
    for found in settings(5, 11):
        assert setting_of(found.axis(5)) == found
    assert setting_of(Axis(4, 3, 2, crop_lo=-1)) is None
    assert setting_of(Axis(4, 3, 2, crop_lo=1, crop_hi=-1)) is None
    assert setting_of(Axis(4, 3, 2, crop_lo=0, crop_hi=1)) is None


def test_costs_and_waste_agree_with_counting_products():
    for found in settings(4, 6, max_kernel=6):
        axis = found.axis(4)
        hits = [
            {i for i in range(4) if i * axis.s + t * axis.d - axis.crop_lo == o}
            for o in range(axis.out)
            for t in range(axis.k)
        ]
        assert useful_taps(axis) == sum(axis.tap_counts) == sum(map(len, hits))
        assert ignored_inputs(axis) == 4 - len(set().union(*hits))


def test_waste_is_what_the_definition_says():
    for axis in every_axis():
        met = [hits(axis, o) for o in range(axis.out)]
        assert dead_outputs(axis) == met.count(set()), axis
        assert live_taps(axis) == len({t for pairs in met for _, t in pairs}), axis
        setting = setting_of(axis)
        if setting is not None:
            unused = axis.n - len({i for pairs in met for i, _ in pairs})
            assert is_wasteful(setting, axis.n) == (set() in met or unused > 0), axis


def test_dead_outputs_count_with_dilation_and_not_with_one_input():
    dilated, single = Setting(2, 2, 0, 0, 3), Setting(4, 8)
    assert dead_outputs(dilated.axis(8)) == 2
    assert is_wasteful(dilated, 8)
    assert not is_wasteful(single, 1)
    assert dead_outputs(Axis(10**9, 3, 10**9)) == (10**9 - 1) * (10**9 - 3)


def test_two_axes_share_settings():
    both = common_settings([(17, 32), (23, 44)], max_kernel=5)
    assert set(both) == set(settings(17, 32, max_kernel=5)) & set(settings(23, 44, max_kernel=5))
    assert both[0] == Setting(2, 2, 1)
    assert common_settings([(17, 32), (17, 32)]) == settings(17, 32)
    assert common_settings([(2, 4), (2, 64)], max_kernel=3, max_stride=3) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: settings(0, 4),
        lambda: settings(4, 0),
        lambda: settings(4, 4, k=0),
        lambda: settings(4, 4, op=-1),
        lambda: settings(4, 4, max_kernel=-2),
        lambda: settings(4, 4, max_padding=-1),
    ],
)
def test_impossible_questions_are_refused(call):
    with pytest.raises(SettingError, match="must be at least"):
        call()
