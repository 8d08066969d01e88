"""Pictures in Korean: the same picture as in English, every word of it Korean, and wide letters where they belong."""

import inspect
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from explain.layers import AXES, square, torch_axis

from upconv import cli
from upconv.explain import drawings, raster, words, words_ko
from upconv.explain.animation import animation
from upconv.explain.explanation import explain
from upconv.explain.layer import layer_scene, maps_scene
from upconv.explain.scene import Rect, Scene, Text, text_width, wrap
from upconv.explain.svg import svg
from upconv.explain.terminal import terminal
from upconv.geometry import Geometry
from upconv.table import columns
from upconv.volume import Line

MIXED = {name: Geometry(1, 12, 6, 6, axis, AXES["even"]) for name, axis in AXES.items()}
LINES = {f"line, {name}": Line(1, 4, 2, 2, axis) for name, axis in AXES.items()}
LAYERS = {
    **MIXED,
    **LINES,
    "many channels": square(AXES["holes"], 16),
    "vast kernel": square(torch_axis(50, 50, 1, 40)),
}
# What Korean engineers leave in English: names of settings and of frameworks, and words that the text keeps too.
KEPT = set(
    "kernel_size stride padding output_padding dilation groups in_channels out_channels bias phase mod crop crops "
    "full out lo hi crop_lo crop_hi PyTorch Conv1d Conv2d cut".split()
)


def said(scene):
    notes = [shape.note for shape in scene.shapes if isinstance(shape, Rect) and shape.note]
    return [
        scene.title,
        scene.description,
        *notes,
        *(shape.content for shape in scene.shapes if isinstance(shape, Text)),
    ]


def scenes(geometry, language):
    found = [layer_scene(geometry, language), maps_scene(geometry, language)]
    try:
        return found + [scene for scene, _ in animation(geometry, language=language)]
    except ValueError:
        return found


def test_both_modules_have_the_same_words():
    public = [
        {name: value for name, value in vars(module).items() if not name.startswith("_")}
        for module in (words, words_ko)
    ]
    own = [{name for name, value in found.items() if name.isupper() or is_function_for(value)} for found in public]
    english = {name for name in own[0] if name not in ("residues", "crops", "by_padding", "by_output_padding")}
    assert english <= own[1]
    for name in english:
        if callable(public[0][name]):
            parameters = [list(inspect.signature(found[name]).parameters) for found in public]
            assert parameters[0] == parameters[1], name


def is_function_for(value):
    return inspect.isfunction(value) and value.__module__.startswith("upconv.explain")


@pytest.mark.parametrize("name", LAYERS)
def test_a_korean_picture_leaves_no_english_word(name):
    for scene in scenes(LAYERS[name], "ko"):
        assert scene.language == "ko"
        for text in said(scene):
            left = set(re.findall(r"[A-Za-z_]{3,}[0-9]?d?", text)) - KEPT
            assert not left, text
            assert "은(는)" not in text


@pytest.mark.parametrize("name", LAYERS)
def test_a_korean_picture_shows_the_same_numbers_and_cells(name):
    for english, korean in zip(scenes(LAYERS[name], "en"), scenes(LAYERS[name], "ko"), strict=True):
        figures = [
            [
                shape.content
                for shape in scene.shapes
                if isinstance(shape, Text) and re.fullmatch(r"[-\dxwy]+", shape.content)
            ]
            for scene in (english, korean)
        ]
        assert figures[0] == figures[1]
        cells = [
            [shape.fill for shape in scene.shapes if isinstance(shape, Rect) and shape.note]
            for scene in (english, korean)
        ]
        assert cells[0] == cells[1]


@pytest.mark.parametrize("name", LAYERS)
def test_korean_words_lie_on_the_paper(name):
    for scene in scenes(LAYERS[name], "ko"):
        for shape in scene.shapes:
            if isinstance(shape, Text):
                share = {"start": 0, "middle": 0.5, "end": 1}[shape.anchor]
                assert shape.x - shape.width * share >= -1, shape
                assert shape.x + shape.width * (1 - share) <= scene.width + 1, shape


def test_the_words_beside_a_strip_end_before_its_columns():
    for axis in AXES.values():
        shapes = layer_scene(square(axis), "ko").shapes
        labels = (words_ko.POSITION, words_ko.RECEIVED, words_ko.CONVOLVED, words_ko.FIRST_SUM)
        places = [shape for shape in shapes if isinstance(shape, Text) and shape.content in labels]
        numbers = [shape for shape in shapes if isinstance(shape, Text) and re.fullmatch(r"-?\d+", shape.content)]
        first = min(shape.x for shape in numbers if shape.size == 11)
        assert {shape.content for shape in places} == set(labels)
        assert all(shape.x + shape.width < first for shape in places)


def test_sentences_of_the_pictures():
    layer = square(torch_axis(4, 3, 2, 1, 1))
    text = " ".join(said(layer_scene(layer, "ko")))
    for words_said in (
        "전치 합성곱, 4 × 4 → 8 × 8",
        "입력마다 커널을 도장처럼 찍고",
        "padding=1: 여기를 잘라 냅니다",
        "output_padding=1: 여기를 남깁니다",
        "행 ≡ 0, 열 ≡ 1 (mod 2): 탭 2 × 1개",
        "출력 (0, 1): 곱 2개",
        "결론: 겹침이 균일하지 않아",
        "입력 사이마다 0을 s - 1 = 1개씩",
    ):
        assert words_said in text
    moving = " ".join(text for scene, _ in animation(layer, language="ko") for text in said(scene))
    assert "1 × 커널을 0행 6열부터 더합니다" in moving
    assert "padding=1, output_padding=0일 때:" in moving
    assert "길이 4 → 8" in " ".join(said(layer_scene(Line(1, 1, 1, 1, torch_axis(4, 3, 2, 1, 1)), "ko")))


def test_an_svg_says_its_language_and_a_korean_explanation_shows_a_korean_picture():
    for language, layer in (("en", "Transposed"), ("ko", "전치 합성곱")):
        shown = explain(kernel_size=3, language=language)._repr_svg_()
        root = ElementTree.fromstring(shown)
        assert root.attrib["lang"] == language
        assert root[0].text.startswith(layer)
    assert "Malgun Gothic" in svg(layer_scene(square(AXES["even"]), "ko"))


def test_wide_letters_are_wide():
    assert text_width("커널", 10) > 1.6 * text_width("ab", 10)
    assert wrap("커널을 도장처럼 찍고 값을 더합니다", 90, 12) == ["커널을 도장처럼", "찍고 값을", "더합니다"]
    assert "".join(wrap("가" * 40, 100, 12)) == "가" * 40


def test_a_terminal_gives_wide_letters_two_columns():
    def shown(*shapes):
        return terminal(Scene(136, 17, "t", "d", shapes), False)

    assert shown(Text(0, 12, "커널 3")) == "커널 3"
    assert columns(shown(Text(136, 12, "탭", anchor="end"))) == 20
    # Half a letter cannot stay.
    assert shown(Text(0, 12, "커널"), Text(6.8, 12, "x")) == " x널"
    assert shown(Text(0, 12, "커널"), Text(13.6, 12, "x")) == "커x"
    assert shown(Text(0, 12, "abcd"), Text(6.8, 12, "널")) == "a널d"
    assert shown(Text(0, 12, "커널"), Text(6.8, 12, "탭")) == " 탭"
    for name in ("uneven", "long", "extended"):
        english, korean = (
            terminal(maps_scene(square(AXES[name]), language), False).splitlines() for language in ("en", "ko")
        )
        rows = [line for line in korean if re.search(r"\d +\d+ +\d+ +\d+", line)]
        assert rows
        # The canvas, behind the words, begins at the same column whatever stands before it.
        assert {columns(line[: line.index("░")]) for line in korean if "░" in line[20:]} == {
            columns(line[: line.index("░")]) for line in english if "░" in line[20:]
        }


def test_the_command_draws_in_korean(capsys, tmp_path):
    pytest.importorskip("PIL.Image")
    files = {kind: tmp_path / f"layer.{kind}" for kind in ("svg", "png", "gif")}
    arguments = [part for kind, file in files.items() for part in (f"--{kind}", str(file))]
    assert cli.main(["explain", "3", "-k", "3", "-s", "2", "--lang", "ko", "--draw", *arguments]) == 0
    out = capsys.readouterr().out
    assert "입력 3 × 3" in out
    assert f"그림: {files['png']}" in out
    assert "drawing" not in out
    assert "도장" in files["svg"].read_text(encoding="utf-8")
    assert cli.main("explain 3 -k 3 --lang ko --svg -".split()) == 0
    assert "전치" in ElementTree.fromstring(capsys.readouterr().out)[0].text


def test_without_a_korean_font_pixels_are_in_english_and_it_is_said(capsys, tmp_path, monkeypatch):
    pytest.importorskip("PIL.Image")
    layer, file = square(torch_axis(3, 3, 2)), tmp_path / "layer.png"
    raster._hangul.cache_clear()
    monkeypatch.setattr(raster, "HANGUL", dict.fromkeys(raster.HANGUL, ("no such font.ttf",)))
    try:
        assert not raster.has_hangul()
        assert drawings.drawing("png", layer, "ko") == (drawings.FILES["png"](layer, "en"), "en")
        assert drawings.drawing("svg", layer, "ko") == (drawings.FILES["svg"](layer, "ko"), "ko")
        assert cli.main(f"explain 3 -k 3 -s 2 --lang ko --png {file}".split()) == 0
        out = capsys.readouterr().out
        assert "한글 글꼴을 찾지 못해" in out
        assert str(file) in out.splitlines()[-1]
    finally:
        raster._hangul.cache_clear()
    assert "한글 글꼴" not in drawings.said_of([("a.png", "ko")], "ko")


def test_hangul_is_drawn_where_a_font_has_it():
    image = pytest.importorskip("PIL.Image")
    if not raster.has_hangul():
        pytest.skip("this machine has no font for Hangul")

    def ink(shape):
        return np.asarray(raster.draw(Scene(80, 24, "t", "d", (shape,)), 1).convert("L")) < 128

    assert image
    # Letters that no font has are all the same box.
    assert (ink(Text(4, 18, "커", 14)) != ink(Text(4, 18, "널", 14))).any()
    assert (ink(Text(4, 18, "탭", 14)) != ink(Text(4, 18, "탭", 14, bold=True))).any()
    for anchor, least, most in (("start", 40, 80), ("middle", 24, 56), ("end", 0, 40)):
        found = np.flatnonzero(ink(Text(40, 18, "탭 2개", 12, anchor=anchor)).any(axis=0))
        assert least <= found[0] <= found[-1] <= most
