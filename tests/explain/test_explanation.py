"""A layer explained as a value: what may be asked, in which language, and how wide."""

import re
from xml.etree import ElementTree

import pytest
from explain.layers import AXES, square

import upconv
from upconv import cli
from upconv.explain import korean, text
from upconv.explain.explanation import LANGUAGES
from upconv.explain.korean_sentences import with_particle
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


class Layer:
    """A layer as PyTorch has it."""

    kernel_size, stride, padding, output_padding, dilation = (3, 3), (2, 2), (1, 1), (0, 0), (1, 1)
    in_channels, out_channels, groups, padding_mode = 2, 2, 1, "zeros"
    transposed = True


def test_what_is_no_transposed_convolution_of_zeros_is_refused():
    layer = Layer()
    assert explain(layer, 4).geometry.h.out == 7
    layer.transposed = False
    with pytest.raises(TypeError, match="layer is a Layer, an ordinary convolution"):
        explain(layer, 4)
    folded = upconv.ConvTranspose2d(1, 1, 3, padding=1, padding_mode="reflect", rng=0)
    with pytest.raises(upconv.SettingError, match="padding_mode='reflect', which folds"):
        explain(folded, 4)


def test_the_verdict_is_said_of_the_worst_axis():
    verdicts = {
        "even": "not by the overlap",
        "uneven": "to be expected",
        "gaps": "holes instead",
        "holes": "holes instead",
    }
    for name, words in verdicts.items():
        assert f"Checkerboard: {words}" in explain(Geometry(1, 1, 1, 1, AXES["even"], AXES[name])).summary


def numbers(text):
    """The numbers of a text, in order of size; a figure within a name, as in Conv2d, is none."""
    return sorted(set(re.findall(r"(?<![\w.])[0-9][0-9,.]*(?<![.,])", text)))


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("other", ["even", "holes", "extended"])
def test_korean_says_in_every_section_what_english_says(name, other):
    for geometry in (square(AXES[name], 8, 2), Geometry(1, 12, 6, 6, AXES[name], AXES[other])):
        english, in_korean = text.sections(geometry), korean.sections(geometry)
        assert len(english) == len(in_korean)
        for (title, lines), (ko_title, ko_lines) in zip(english, in_korean, strict=True):
            said, ko = (numbers("\n".join([first, *rest])) for first, rest in ((title, lines), (ko_title, ko_lines)))
            assert [number for number in said if number not in ko] == [], (title, ko_lines)
        # One line for each sentence: what English adds about a border, a hole or a neighbour is there too.
        by_title = dict(zip((title for title, _ in english), in_korean, strict=True))
        overlap = dict(english)["Products per output, and checkerboards"]
        assert len(by_title["Products per output, and checkerboards"][1]) == len(overlap)


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("other", ["even", "holes", "extended"])
def test_korean_leaves_no_english_words(name, other):
    for geometry in (square(AXES[name], 8, 2), Geometry(1, 12, 6, 6, AXES[name], AXES[other])):
        said = explain(geometry, language="ko").text
        assert "은(는)" not in said
        assert not re.search(r"[가-힣]\([가-힣]\)", said)
        words = (
            r"\b(?:the|and|outputs?|inputs?|because|height|width|depth|length|alike|zeros?|values?|which|channels?)\b"
        )
        english = re.findall(words, said)
        assert english == [], f"left in English: {english}"


def test_korean_does_not_call_borders_poor_that_are_not():
    # One product each, and yet not all of its taps: neither border receives fewer than the middle.
    said = explain(kernel_size=2, dilation=3, padding=1, input_size=3, language="ko").text
    assert "가장자리" not in said
    assert "가장자리" in explain(kernel_size=3, stride=2, input_size=4, language="ko").text
    assert "가장자리" not in explain(kernel_size=2, stride=2, input_size=4, language="ko").text


def test_korean_says_that_output_padding_can_go_beyond_the_canvas():
    said = explain(kernel_size=3, stride=5, output_padding=4, input_size=4, language="ko").text
    assert "마지막 출력 4개가" in said
    assert "0을 붙이는 값이 아닙니다" not in said
    assert "output_padding=1이면 19, ..., output_padding=4면 22." in said.replace("\n    ", " ")


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
    found = [with_particle(number, particle) for particle in ("을", "이", "으로")]
    assert found == [f"{number}{object}", f"{number}{subject}", f"{number}{by}"]


def test_the_command_has_a_short_form_and_two_languages(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    short = said(capsys, "explain 16 -k 3 -s 2 -p 1 --short")
    assert short.splitlines() == explain(kernel_size=3, stride=2, padding=1, input_size=16).summary.splitlines()
    ko = said(capsys, "explain 16 -k 3 -s 2 -p 1 --lang ko")
    assert ko.startswith("전치 합성곱: 16 × 16 입력이 31 × 31 출력이 됩니다.")
    assert "왜 32가 아니라 31인가" in ko
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


@pytest.mark.parametrize(("s", "words"), [(2, "7과 8 모두"), (3, "10, 11, 12 모두"), (4, "13부터 16까지 모두")])
def test_korean_lists_sizes_as_korean_does(s, words):
    said = explain(kernel_size=3, stride=s, padding=1, input_size=4, language="ko").text
    assert f"{words} 4가 됩니다" in said.replace("\n    ", " ")
