"""The forms of Winograd, as the exact fractions they are: every identity holds, for every tap and every value."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest

from upconv.geometry import Axis
from upconv.winograd_forms import POINTS, Form, form
from upconv.winograd_parts import Way, counted, parts, ways_alone

FORMS = [(m, r) for m, r in product(range(1, 6), range(1, 6)) if r == 1 or m + r - 1 in POINTS]
KERNELS = ((4, 2), (3, 1), (5, 2), (3, 2), (6, 2), (9, 3), (1, 1))
# Sizes around those of tiles, uneven crops, phases of unequal numbers of taps, and canvases that are extended.
AXES = [
    Axis(n, k, s, crop_lo=lo, crop_hi=hi)
    for n, (k, s), lo, hi in product((1, 2, 5, 7), KERNELS, (-3, 0, 1, 2), (-2, 0, 1))
    if (n - 1) * s + k - lo - hi > 0
]
# With stride 1 and dilation; of some remainders there is no input, or no output.
DILATED = [
    Axis(n, k, 1, d, lo, hi)
    for n, k, d, lo, hi in product((1, 2, 5, 7, 13), (2, 3), (2, 3, 5), (-3, 0, 1, 4), (-2, 0, 3))
    if n - 1 + (k - 1) * d + 1 - lo - hi > 0
]
OUTPUTS = {1: 3, 2: 3, 3: 3}


def unit(n, place):
    return [Fraction(int(place == i)) for i in range(n)]


def apply(matrix, vector):
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def filtered(f: Form, values, taps):
    """What the form makes of some values and taps."""
    multiplied = [a * b for a, b in zip(apply(f.source, values), apply(f.weight, taps), strict=True)]
    return apply(f.output, multiplied)


def wrong(f):
    """The pairs (value, tap) that the form multiplies as the definition does not; it is bilinear, so they tell all."""
    return [
        (j, b)
        for j, b in product(range(f.size if f.r > 1 else f.m), range(f.r))
        if filtered(f, unit(len(f.source[0]), j), unit(f.r, b)) != [Fraction(int(j == i + b)) for i in range(f.m)]
    ]


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_a_form_is_the_filter(m, r):
    f = form(m, r)
    assert f.size == m + r - 1
    assert wrong(f) == []


@pytest.mark.parametrize("points", [(0, 1, 2, 3), (0, 2, Fraction(-1, 3), None), (5, 1, -1, None)])
def test_any_points_will_do(points):
    assert wrong(form(2, 3, points)) == wrong(form(3, 2, points)) == []


@pytest.mark.parametrize("name", ["output", "weight", "source"])
def test_every_entry_counts(name):
    """A form with one entry changed is no filter any more, whichever it is; so the test above sees all of them."""
    f = form(3, 3)
    rows = getattr(f, name)
    for i, j in product(range(len(rows)), range(len(rows[0]))):
        changed = [list(row) for row in rows]
        changed[i][j] += 1
        assert wrong(replace(f, **{name: tuple(map(tuple, changed))})), (i, j)


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_the_data_meet_numbers_that_are_exact_in_floating_point(m, r):
    """Other denominators are in the weight's matrix; of the source's, one in each row is multiplied by nothing."""
    f = form(m, r)
    for row in (*f.source, *f.output):
        assert all((v.denominator & (v.denominator - 1)) == 0 and v.numerator < 2**24 for v in row)
    assert all({1, -1} & set(row) and max(map(abs, row)) <= 3 for row in f.source)


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_a_bias_reaches_every_output_once_or_has_no_place(m, r):
    f = form(m, r)
    assert apply(f.output, [Fraction(int(place in f.bias)) for place in range(f.size)]) == [len(f.bias) > 0] * m
    assert f.bias or all(set(column) != {1} for column in zip(*f.output, strict=True))


def test_more_products_than_good_points_are_refused():
    with pytest.raises(KeyError):
        form(6, 3)


def values_of(source, tile, f, data):
    """The values that a tile reads, with zeros beyond the map."""
    numbers = [source.first + tile * f.m + j for j in range(f.size)]
    return [data[source.start + i * source.step] if 0 <= i < source.count else Fraction(0) for i in numbers]


def computed(axis, found, data, weight, forward):
    """The results of all parts, tile by tile; every index must be written once, but those of a gradient are added."""
    result = {}
    for part in found:
        f = part.form
        for tile, q in product(range(part.tiles), range(part.phases)):
            many = len(part.sources) > 1
            outputs = [Fraction(0)] * f.m
            for number, source in enumerate(part.sources):
                taps = [weight[part.tap + (number if many else q) + b * part.tap_step] for b in range(f.r)]
                made = filtered(f, values_of(source, tile, f, data), taps)
                outputs = [a + b for a, b in zip(outputs, made, strict=True)]
            for i, value in enumerate(outputs):
                index = part.start + (tile * f.m + i) * part.step + q
                if 0 <= index < part.count:
                    assert index not in result or not forward
                    result[index] = result.get(index, 0) + value
    return [result.get(index, Fraction(0)) for index in range(axis.out if forward else axis.n)]


def defined(axis, data, weight, forward):
    """By the definition."""
    result = [Fraction(0)] * (axis.out if forward else axis.n)
    for i, t in product(range(axis.n), range(axis.k)):
        o = i * axis.s + t * axis.d - axis.crop_lo
        if 0 <= o < axis.out:
            result[o if forward else i] += data[i if forward else o] * weight[t]
    return result


def operands(axis, forward):
    weight = [Fraction(3 * t * t - 7, 1 + t) for t in range(axis.k)]
    return [Fraction(5 * i * i - 11, 2 + i) for i in range(axis.n if forward else axis.out)], weight


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_the_parts_of_an_axis_are_the_layer(axis, apart):
    data, weight = operands(axis, True)
    found = parts(axis, OUTPUTS, apart=apart)
    assert computed(axis, found, data, weight, True) == defined(axis, data, weight, True)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("axis", DILATED, ids=str)
def test_dilation_leaves_filters_that_are_apart_and_have_one_weight(axis, forward):
    data, weight = operands(axis, forward)
    found = parts(axis, OUTPUTS, forward)
    assert computed(axis, found, data, weight, forward) == defined(axis, data, weight, forward)
    assert len({part.weight for part in found}) == 1


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_the_parts_of_a_gradient_is_the_gradient(axis):
    data, weight = operands(axis, False)
    found = parts(axis, OUTPUTS, forward=False)
    assert computed(axis, found, data, weight, False) == defined(axis, data, weight, False)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("axis", DILATED, ids=str)
def test_what_is_counted_under_dilation_is_what_there_is(axis, forward):
    way = Way({axis.k: 3})
    made, got = parts(axis, way.outputs, forward), counted(axis, way, forward)
    through = sum(part.form.size * part.tiles for part in made)
    kept = sum(part.form.size for part in {part.weight: part for part in made}.values())
    assert got == (made[0].phases, made[0].tiles, through, through, kept)


def test_products_of_the_forms():
    """What the forms are for: in k4 s2, 64 products for 36 outputs, where the definition has 144."""
    (part,) = parts(Axis(n=32, k=4, s=2, crop_lo=1, crop_hi=1), {2: 3})
    assert (part.tiles, part.phases, part.products) == (11, 2, 11 * 4 * 2)


def test_what_there_is_no_form_for():
    for forward in (True, False):
        with pytest.raises(ValueError, match="dilation is 2"):
            parts(Axis(n=5, k=3, s=2, d=2), OUTPUTS, forward)


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_matrices_are_keys_like_the_tuples_that_they_are(m, r):
    made = form(m, r)
    for matrix in (made.output, made.weight, made.source):
        plain = tuple(tuple(row) for row in matrix)
        assert matrix == plain
        assert hash(matrix) == hash(matrix) == hash(plain)
        assert {matrix: 1}[plain] == 1


@pytest.mark.parametrize("forward", [True, False])
def test_what_parts_add_up_to_is_counted_without_them(forward):
    for n, k, s, lo, hi in product((1, 2, 7, 12), (1, 3, 4, 5, 6), (1, 2, 3), (-3, 0, 1, 2), (-2, 0, 1)):
        if (n - 1) * s + k - lo - hi < 1:
            continue
        axis = Axis(n, k, s, 1, lo, hi)
        for way in ways_alone(axis, forward):
            made = parts(axis, way.outputs, forward, way.apart)
            sizes = [(part.form.size, part.tiles, len(part.sources)) for part in made]
            want = (
                made[0].phases,
                made[0].tiles,
                sum(size * tiles * sources for size, tiles, sources in sizes),
                sum(size * tiles for size, tiles, _ in sizes),
                sum(size * sources for size, _, sources in sizes),
            )
            assert tuple(counted(axis, way, forward)) == want, (axis, way)
