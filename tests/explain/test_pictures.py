"""Pictures: what is drawn is true, lies on the paper, and is well-formed."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from explain.layers import AXES, hits, square, torch_axis

from upconv.explain import palette
from upconv.explain.layer import layer_scene
from upconv.explain.scene import Arrow, Line, Rect, Scene, Text, wrap
from upconv.explain.strip import CELL_W, stamps, zeros
from upconv.explain.svg import svg
from upconv.explain.window import CROPPED, EXTENSION, OUTPUT, WHOLE, extent, window
from upconv.geometry import Geometry

SVG = "{http://www.w3.org/2000/svg}"
MIXED = Geometry(1, 1, 1, 1, AXES["uneven"], AXES["gaps"])
LAYERS = {**{name: square(axis) for name, axis in AXES.items()}, "mixed": MIXED}


def right_and_bottom(shape):
    match shape:
        case Rect():
            return shape.x + shape.width, shape.y + shape.height
        case Text():
            share = {"start": 1, "middle": 0.5, "end": 0}[shape.anchor]
            return shape.x + shape.width * share, shape.y
        case Line() | Arrow():
            return max(shape.x1, shape.x2), max(shape.y1, shape.y2)


def by_rows(residue):
    return residue, 0, 1


@pytest.mark.parametrize("name", LAYERS)
def test_everything_lies_on_the_paper(name):
    scene = layer_scene(LAYERS[name])
    for shape in scene.shapes:
        right, bottom = right_and_bottom(shape)
        assert 0 <= right <= scene.width, shape
        assert 0 <= bottom <= scene.height, shape
        assert min(getattr(shape, "x", 0), getattr(shape, "y", 0), getattr(shape, "x1", 0)) >= 0, shape


@pytest.mark.parametrize("name", LAYERS)
def test_the_numbers_in_the_output_map_are_the_counts(name):
    geometry = LAYERS[name]
    notes = {shape.note for shape in layer_scene(geometry).shapes if isinstance(shape, Rect) and shape.note}
    h, w = window(geometry.h), window(geometry.w)
    for o in h.outputs:
        for m in w.outputs:
            number = len(hits(geometry.h, o)) * len(hits(geometry.w, m))
            expected = f"output ({o}, {m}): {number} product{'s' * (number != 1)}"
            assert expected + " (bias only)" * (number == 0) in notes


@pytest.mark.parametrize("name", ["uneven", "holes", "gaps", "extended"])
def test_a_column_of_stamps_adds_up_to_the_output(name):
    axis = AXES[name]
    notes = [shape.note for shape in layer_scene(square(axis)).shapes if isinstance(shape, Rect) and shape.note]
    for o in range(axis.out):
        landed = [note for note in notes if note.endswith(f"lands on position {o + axis.crop_lo}")]
        expected = {f"input {i} through tap {t} lands on position {o + axis.crop_lo}" for i, t in hits(axis, o)}
        assert set(landed) == expected
        assert len(landed) == len(expected)


def noted(name, words):
    shapes = layer_scene(LAYERS[name]).shapes
    return [shape for shape in shapes if isinstance(shape, Rect) and words in (shape.note or "")]


def texts(name):
    return " ".join(shape.content for shape in layer_scene(LAYERS[name]).shapes if isinstance(shape, Text))


def test_cropped_cells_are_hatched_and_bias_only_cells_are_dashed_and_white():
    cropped = noted("even", "removes this")
    assert cropped
    assert all(shape.hatch == palette.CROPPED_HATCH and shape.dash for shape in cropped)
    empty = noted("extended", "bias only")
    assert empty
    assert all(shape.dash and shape.fill == palette.PAPER for shape in empty)


def test_large_layers_say_what_part_is_shown():
    assert "the first 12 × 12 of 64 × 64 outputs" in texts("long")
    assert "Shown" not in texts("even")


@pytest.mark.parametrize("name", AXES)
def test_windows_begin_at_the_first_output_and_stay_narrow(name):
    axis = AXES[name]
    shown, (first, last) = window(axis), extent(axis)
    assert shown.outputs.start == 0
    assert len(shown.outputs) == min(axis.out, len(shown.outputs)) >= min(axis.out, 12)
    assert len(shown.positions) <= WHOLE
    assert shown.whole == (list(shown.positions) == list(range(first, last)))
    for q in shown.positions:
        inside = 0 <= q - axis.crop_lo < axis.out
        assert shown.kind(q) == (CROPPED if not inside else OUTPUT if 0 <= q < axis.full else EXTENSION)
    assert set(shown.inputs) >= {i for o in shown.outputs for i, _ in hits(axis, o)}


@pytest.mark.parametrize("name", LAYERS)
def test_the_svg_is_well_formed_described_and_stands_alone(name):
    text = svg(layer_scene(LAYERS[name]))
    root = ElementTree.fromstring(text)
    assert root.get("viewBox")
    assert root.find(f"{SVG}title").text.startswith("Transposed convolution")
    assert len(root.find(f"{SVG}desc").text) > 80
    references = {value for element in root.iter() for key, value in element.attrib.items() if value.startswith("url(")}
    ids = {f"url(#{element.get('id')})" for element in root.iter() if element.get("id")}
    assert references <= ids
    assert "<script" not in text
    assert text.count("http") == 1


def test_svg_escapes_text_titles_and_notes():
    shapes = (Text(0, 9, 'a < b & "c"'), Rect(0, 0, 4, 4, note="<&>"), Arrow(0, 0, 5, 0, "#000000", both=True))
    root = ElementTree.fromstring(svg(Scene(20, 10, "t <1>", "d & e", shapes)))
    assert root.find(f"{SVG}title").text == "t <1>"
    assert root.find(f"{SVG}desc").text == "d & e"
    assert root.find(f"{SVG}text").text == 'a < b & "c"'
    assert root.find(f"{SVG}rect/{SVG}title").text == "<&>"
    assert len(root.findall(f"{SVG}polygon")) == 2


def test_svg_refuses_what_is_not_a_shape():
    with pytest.raises(TypeError, match="str is not a shape"):
        svg(Scene(1, 1, "", "", ("text",)))


def test_phase_colours_differ_within_a_layer():
    for rows in range(1, 5):
        for columns in range(1, 5):
            colours = {palette.phase_colour(a, b, columns) for a in range(rows) for b in range(columns)}
            assert len(colours) == rows * columns


def test_wrapped_lines_keep_their_words():
    content = "the quick brown fox jumps over the lazy dog"
    lines = wrap(content, 120, 13)
    assert " ".join(lines) == content
    assert len(lines) > 2


@pytest.mark.parametrize("name", ["uneven", "holes", "even"])
def test_the_kernel_over_the_zeros_is_turned_round(name):
    axis = AXES[name]
    shapes, _ = zeros(window(axis), by_rows, 0, 0)
    taps = sorted((shape.x, shape.content) for shape in shapes if isinstance(shape, Text) and shape.content[0] == "w")
    taps = [content for _, content in taps if re.fullmatch(r"w\d+", content)]
    assert taps == [f"w{t}" for t in reversed(range(axis.k))]


def test_output_padding_keeps_nothing_beyond_the_canvas():
    def rules(axis):
        shapes, _ = stamps(window(axis), by_rows, 0, 0)
        return [shape.x2 - shape.x1 for shape in shapes if isinstance(shape, Line) and shape.width == 2][-1:], [
            shape for shape in shapes if isinstance(shape, Text) and shape.content == "kept by output_padding"
        ]

    assert rules(torch_axis(4, 3, 2, 0, 1))[1] == []
    assert len(rules(torch_axis(4, 3, 2, 1, 1))[1]) == 1
    (half,), words = rules(torch_axis(4, 3, 3, 1, 2))
    assert words
    assert half == CELL_W - 4


def test_vast_strides_and_kernels_are_drawn_at_once():
    for axis in (torch_axis(2, 3, 10**7), torch_axis(4, 10**8), torch_axis(10**8, 3)):
        assert len(layer_scene(square(axis)).shapes) < 3000
