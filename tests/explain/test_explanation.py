"""A layer explained as a value: what may be asked, in which language, and how wide."""

import re
from xml.etree import ElementTree

import pytest
from explain.layers import AXES, square

import upconv
from upconv import cli
from upconv.explain import korean
from upconv.explain.explanation import LANGUAGES
from upconv.geometry import Geometry
from upconv.table import columns

explain = upconv.explain.explain


def said(capsys, line):
    assert cli.main(line.split()) == 0
    return capsys.readouterr().out


def test_settings_a_layer_and_a_geometry_say_the_same():
    layer = upconv.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)
    one = explain(layer, (5, 7))
    settings = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}
    other = explain(kernel_size=3, **settings, in_channels=4, out_channels=6, input_size=(5, 7))
    assert one == other == explain(one.geometry)
    assert str(one) == one.text
    assert repr(one) == one.summary
    assert one.text.startswith(one.summary)
    assert ElementTree.fromstring(one._repr_svg_()).tag.endswith("svg")


@pytest.mark.parametrize("words", [{}, {"layer": 3}, {"layer": square(AXES["even"]), "language": "fr"}], ids=str)
def test_what_describes_no_layer_is_refused(words):
    with pytest.raises((TypeError, ValueError), match=r"kernel_size=|must be"):
        explain(**words)
    with pytest.raises(TypeError, match="not both"):
        explain(upconv.ConvTranspose2d(1, 1, 3), kernel_size=3)
    with pytest.raises(upconv.SettingError, match="output_padding is 2"):
        explain(kernel_size=3, stride=2, output_padding=2)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("width", [60, 100])
def test_the_summary_comes_first_and_all_fits(name, language, width):
    for geometry in (square(AXES[name]), Geometry(1, 4, 4, 2, AXES[name], AXES["even"])):
        said = explain(geometry, language=language)
        lines = said.text_in(width).splitlines()
        assert lines[: len(said.summary_in(width))] == said.summary_in(width)
        # Rows of tables are made to fit 100 columns; what is one long word cannot be broken.
        assert max(map(columns, said.summary_in(width))) <= width
        assert max(columns(line) for line in lines) <= max(width, 100)
        assert not any(line != line.rstrip() for line in lines)


def test_the_verdict_is_said_of_the_worst_axis():
    verdicts = {
        "even": "not by the overlap",
        "uneven": "to be expected",
        "gaps": "holes instead",
        "holes": "holes instead",
    }
    for name, words in verdicts.items():
        assert f"Checkerboard: {words}" in explain(Geometry(1, 1, 1, 1, AXES["even"], AXES[name])).summary


def test_korean_says_the_same_numbers():
    for axis in AXES.values():
        geometry = square(axis, 8, 2)
        text = explain(geometry, language="ko").text
        for number in (geometry.macs, geometry.elements(), axis.out, axis.n):
            assert f"{number:,}" in text or str(number) in text
        assert "은(는)" not in text
        assert not re.search(r"[가-힣]\([가-힣]\)", text)
        english = re.findall(r"\b(?:the|and|output|outputs|input|inputs|because)\b", text)
        assert english == [], f"left in English: {english}"


READ = {
    0: "을이",
    1: "을이",
    2: "를가",
    3: "을이",
    4: "를가",
    5: "를가",
    6: "을이",
    7: "을이",
    8: "을이",
    9: "를가",
    10: "을이",
}


@pytest.mark.parametrize("number", READ)
def test_particles_follow_the_reading(number):
    object, subject = READ[number]
    by = "로" if number in (1, 2, 4, 5, 7, 8, 9) else "으로"
    found = [korean.with_particle(number, particle) for particle in ("을", "이", "으로")]
    assert found == [f"{number}{object}", f"{number}{subject}", f"{number}{by}"]


def test_the_command_has_a_short_form_and_two_languages(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    short = said(capsys, "explain 16 -k 3 -s 2 -p 1 --short")
    assert short.splitlines() == explain(kernel_size=3, stride=2, padding=1, input_size=16).summary.splitlines()
    ko = said(capsys, "explain 16 -k 3 -s 2 -p 1 --lang ko")
    assert ko.startswith("전치 합성곱: 16 × 16 입력이 31 × 31 출력이 됩니다.")
    assert "왜 31이고 32가 아닌가" in ko
    assert said(capsys, "explain 16 -k 3 -s 2 -p 1 --lang ko --short") == "\n".join([*ko.splitlines()[:2], ""])


@pytest.mark.parametrize(("variable", "widest"), [("60", 60), ("100", 100), ("nonsense", 100), ("5", 40)])
def test_columns_is_obeyed(capsys, monkeypatch, variable, widest):
    monkeypatch.setenv("COLUMNS", variable)
    text = said(capsys, "explain 16 -k 3 -s 2 -p 1")
    sentences = [line for line in text.splitlines() if "Conv2d(" in line or "Checkerboard" in line]
    assert max(map(len, sentences)) <= widest
    if widest == 100:
        assert max(map(len, text.splitlines())) > 60


def test_defaults_are_shown_where_another_value_would_be_allowed():
    def left(**settings):
        found = re.search("left at the default: (.*)", explain(input_size=9, **settings).text)
        return found and found[1]

    assert left(kernel_size=3, stride=2, padding=1) == "output_padding=0, dilation=1"
    assert left(kernel_size=3) == "stride=1, padding=0, dilation=1"
    assert left(kernel_size=1, stride=2, padding=0, output_padding=1) == "padding=0"
    assert left(kernel_size=3, stride=2, padding=1, output_padding=1, dilation=2) is None


def test_the_solver_without_rows_has_no_legend(capsys):
    text = said(capsys, "solve --in-size 1 --out-size 999")
    assert "no setting within" in text
    assert "products:" not in text
    assert "products:" in said(capsys, "solve --in-size 17 --out-size 32")


def test_settings_that_crop_are_named(capsys):
    rows = said(capsys, "solve --in-size 17 --out-size 32 --all --max-dilation 1").splitlines()
    odd = [row for row in rows if re.search(r"kernel_size=2, stride=4, padding=1[5-9]", row)]
    assert odd
    assert all("cropping" in row for row in odd)
    assert not any("cropping" in row for row in rows if "kernel_size=4, stride=2, padding=1," in row)
