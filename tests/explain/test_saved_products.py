"""The saved products: every number that is printed is right, in both languages."""

import re
from fractions import Fraction

import pytest

from upconv.cli import main
from upconv.explain.saved_products import saved_products
from upconv.geometry import Axis, Geometry

AXES = (Axis(6, 4, 2, 1, 1, 1), Axis(5, 3), Axis(4, 6, 2), Axis(3, 2), Axis(9, 16, 8), Axis(6, 5, 2), Axis(6, 3, 2))
# Padding lets a phase of fewer taps have the first output.
CROPPED = Axis(8, 3, 2, 1, 1, 1), Axis(8, 5, 2, 1, 1, 0)


def layer(h, w):
    return Geometry(1, 1, 1, 1, h, w)


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("axis", AXES + CROPPED, ids=str)
def test_the_arithmetic_holds(axis, language):
    """Read back: what values and taps become, products, outputs, and the plain sums."""
    text = saved_products(layer(axis, Axis(2, 1)), language)
    numbers = {name: Fraction(value) for name, value in re.findall(r"\b([xw]\d+) = (\d+)", text)}
    products = re.findall(r"^ +(m\d) +(.+?) += (\S+) +(.+?) += (\S+) +(\S+)$", text, re.M)
    assert len(products) >= 3
    for name, source, left, taps, right, product in products:
        assert (value(source, numbers), value(taps, numbers)) == (Fraction(left), Fraction(right))
        assert Fraction(left) * Fraction(right) == Fraction(product)
        numbers[name] = Fraction(product)
    outputs = re.findall(r"^ +y\d += (.+?) += (\S+)$", text, re.M)
    assert all(value(said, numbers) == Fraction(result) for said, result in outputs)
    assert [result for _, result in outputs] == re.search(r": ((\d+, )*\d+)$", text, re.M)[1].split(", ")
    said = {"en": r"(\d+) products; F\(\d, \d\) makes them with (\d+)", "ko": r"곱셈 (\d+)번, F\(\d, \d\)로는 (\d+)번"}
    plain, fewer = map(int, re.search(said[language], text).groups())
    assert fewer == len(products) < plain == len(outputs) * sum(name.startswith("w") for name in numbers)


def value(text, numbers):
    """Of a sum such as ``1/2 w3 - x0``."""
    terms = re.findall(r"([+-]?) ?(\d+(?:/\d+)? )?([xwm]\d+)", text)
    assert terms
    return sum(
        (-1 if sign == "-" else 1) * Fraction(factor.strip() or 1) * numbers[name] for sign, factor, name in terms
    )


def test_both_axes_save_together():
    assert "16 products instead of 36, a factor of 2.25" in saved_products(layer(AXES[0], AXES[0]))
    # All four phases, of (4 + 3) x (4 + 3) products for 2 x 2 outputs of (3 + 2) x (3 + 2) taps.
    assert "49 products instead of 100, a factor of 2.04" in saved_products(layer(AXES[5], AXES[5]))
    # As the algorithm cuts them: F(2, 3) with F(3, 3).
    assert "20 products instead of 54, a factor of 2.7" in saved_products(layer(AXES[1], AXES[1]))
    assert "곱셈이 36번에서 16번으로 줄어듭니다(2.25배 차이)" in saved_products(layer(AXES[0], AXES[0]), "ko")


def test_what_has_no_form_says_so():
    text = saved_products(layer(Axis(5, 7, 2), Axis(5, 3, 2, 2)))
    assert "no form for kernel 7, stride 2, dilation 1" in text
    assert "no form for kernel 3, stride 2, dilation 2" in text
    assert "fewer" not in text
    assert "one tap in each phase" in saved_products(layer(Axis(5, 4, 2), Axis(5, 1)))


def test_under_dilation_every_second_value_is_one_of_the_filter():
    text = saved_products(layer(Axis(9, 3, 1, 2), Axis(9, 3, 1, 2)))
    assert "inputs x0 = 3, x2 = 1, x4 = 4, x6 = 2" in text
    assert "y2  = m1 - m2 + m3" in text


def test_the_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["explain", "6", "-k", "4", "-s", "2", "-p", "1", "--algorithm", "winograd"]) == 0
    assert capsys.readouterr().out == saved_products(layer(AXES[0], AXES[0]))
