"""The still picture: real numbers, one sum, the key, the cut in words, one grid for both readings, dark paper."""

import re

import numpy as np
import pytest
from explain.layers import AXES, hits, square, torch_axis

from upconv import conv_transpose2d
from upconv.explain import palette
from upconv.explain.animation import animation
from upconv.explain.channels import bundles
from upconv.explain.cuts import kept
from upconv.explain.grid import Layout, selected
from upconv.explain.layer import INNER, MARGIN, layer_scene
from upconv.explain.legend import legend
from upconv.explain.scene import Arrow, Line, Rect, Text
from upconv.explain.svg import svg
from upconv.explain.values import input_value, output_value, products, sum_in_words, tap_value
from upconv.explain.window import window
from upconv.explain.words import cut_words, kept_words
from upconv.geometry import Axis, Geometry

DOUBLING = torch_axis(4, 3, 2, 1, 1)
GROUPED = Geometry(1, 4, 6, 2, DOUBLING, DOUBLING)


def texts(geometry):
    return [shape for shape in layer_scene(geometry).shapes if isinstance(shape, Text)]


def said(geometry):
    return " ".join(shape.content for shape in texts(geometry))


def luminance(colour):
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("h", "w"), [("uneven", "even"), ("holes", "gaps"), ("cut to one", "one input")])
def test_the_numbers_in_the_output_are_what_the_library_computes(h, w):
    h, w = AXES[h], AXES[w]
    x = np.array([[input_value(i, j) for j in range(w.n)] for i in range(h.n)], float)
    weight = np.array([[tap_value(t, u) for u in range(w.k)] for t in range(h.k)], float)
    crops = tuple((axis.crop_lo, axis.crop_hi) for axis in (h, w))
    y = conv_transpose2d(
        x[None, None], weight[None, None], stride=(h.s, w.s), padding=crops, dilation=(h.d, w.d), groups=1
    )[0, 0]
    assert [[output_value(h, w, o, m) for m in range(w.out)] for o in range(h.out)] == y.tolist()


@pytest.mark.parametrize("name", ["uneven", "even", "holes", "extended"])
def test_one_sum_is_written_out_and_true(name):
    axis = AXES[name]
    found = [shape.content for shape in texts(square(axis)) if shape.content.startswith("y[")]
    assert len(found) == 1
    o, m, terms, value = re.fullmatch(r"y\[(\d+), (\d+)\] = (.+) = (\d+)", found[0]).groups()
    pairs = [tuple(map(int, term.split("·"))) for term in terms.split(" + ")]
    assert sum(a * b for a, b in pairs) == int(value) == output_value(axis, axis, int(o), int(m))
    assert len(pairs) == len(hits(axis, int(o))) * len(hits(axis, int(m)))


def test_the_pages_own_example_stands_in_the_picture():
    assert "y[1, 1] = 1·1 + 2·2 + 3·1 + 1·1 = 9" in said(square(DOUBLING))


def test_the_operands_of_the_sum_carry_its_terms_numbers():
    at = Layout(window(DOUBLING), window(DOUBLING), MARGIN, 0, INNER)
    terms = len(products(DOUBLING, DOUBLING, *selected(at)))
    blue = [shape for shape in texts(square(DOUBLING)) if shape.colour == palette.ACTION]
    numbers = sorted(shape.content for shape in blue if shape.content.isdecimal())
    assert numbers == sorted(str(n) for n in range(1, terms + 1) for _ in range(2))


def test_what_padding_cuts_and_output_padding_keeps_is_said_in_their_words():
    assert "padding=1 cuts here" in said(square(DOUBLING))
    assert "output_padding=1 keeps this" in said(square(DOUBLING))
    assert "keeps this" not in said(square(AXES["even"]))
    assert "cuts here" not in said(square(AXES["holes"]))
    assert cut_words(DOUBLING, torch_axis(4, 4, 2, 2)) == "padding=(1, 2) cuts here"
    assert cut_words(Axis(4, 4, 2, 1, 0, 2), DOUBLING) == "crops (0, 2) and (1, 0) cut here"
    assert kept_words(DOUBLING, AXES["even"]) == "output_padding=(1, 0) keeps this"


@pytest.mark.parametrize(("p", "op", "expected"), [(1, 1, 1), (0, 1, 0), (2, 0, 0), (1, 2, 1), (5, 2, 2)])
def test_output_padding_keeps_only_what_was_on_the_canvas(p, op, expected):
    assert kept(torch_axis(9, 3, 3, p, op)) == expected


def test_no_label_hides_another_at_the_edges():
    both = Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, -2, 1), Axis(4, 3, 2, 1, 0, -1))
    lines = [
        shape for shape in texts(both) if "cut here" in shape.content or "beyond the canvas, bias" in shape.content
    ]
    assert len(lines) == 2
    assert abs(lines[0].y - lines[1].y) > 12


VAST = torch_axis(999_999_999, 3, 2, 1)


@pytest.mark.parametrize("scene", [layer_scene(square(VAST)), animation(square(VAST))[0][0]], ids=["still", "moving"])
def test_headings_of_vast_sizes_do_not_run_into_each_other_or_off_the_paper(scene):
    words = [shape for shape in scene.shapes if isinstance(shape, Text) and "999999" in shape.content and shape.bold]
    kernel = next(shape.x for shape in scene.shapes if isinstance(shape, Text) and shape.content == "kernel 3 × 3")
    assert len(words) >= 1
    for text in words:
        # In DejaVu bold, the widest font in use, a figure takes 0.696 of the type size, and no sign less than a third.
        wide = text.size * sum(0.696 if letter.isdigit() else 0.348 for letter in text.content)
        assert text.x + wide < (kernel if text.content.startswith("input") else scene.width), text
    formulas = [shape for shape in scene.shapes if isinstance(shape, Text) and "999999" in shape.content and shape.mono]
    assert all(shape.x + shape.width <= scene.width - MARGIN for shape in formulas)


@pytest.mark.parametrize("inputs", [3, 7, 40])
@pytest.mark.parametrize("kernel", [2, 4, 9, 40])
def test_dots_of_what_goes_on_touch_no_sign(inputs, kernel):
    for axis in (torch_axis(inputs, kernel, 3, 0, 0, 1), torch_axis(inputs, kernel, 2, 0, 0, 2)):
        shapes = layer_scene(square(axis)).shapes
        dots = [shape for shape in shapes if isinstance(shape, Text) and shape.content == "…"]
        times = next(shape for shape in shapes if isinstance(shape, Text) and shape.content == "×")
        arrow = next(shape for shape in shapes if isinstance(shape, Arrow))
        signs = (times.x - 0.42 * times.size, times.x + 0.42 * times.size), (arrow.x1, arrow.x2)
        for dot in dots:
            for left, right in signs:
                assert dot.x + dot.size <= left + 0.5 or dot.x >= right, (dot, left, right)


def test_the_key_stands_under_input_and_kernel_and_names_the_phases():
    (title,) = (shape for shape in texts(square(DOUBLING)) if shape.content == "Phases")
    (verdict,) = (shape for shape in texts(square(DOUBLING)) if shape.content.startswith("Verdict"))
    (strip,) = (shape for shape in texts(square(DOUBLING)) if shape.content == "canvas position")
    assert title.x == MARGIN
    assert title.y < strip.y < verdict.y
    assert "row ≡ 0, column ≡ 1 (mod 2): 2 × 1 taps" in said(square(DOUBLING))


@pytest.mark.parametrize("name", ["uneven", "even", "long", "gaps"])
def test_the_strip_stands_under_the_canvas_column_by_column(name):
    shapes = layer_scene(square(AXES[name])).shapes
    rects = [shape for shape in shapes if isinstance(shape, Rect)]
    cells = {shape.note: shape.x + shape.width / 2 for shape in rects if shape.note}
    for o in window(AXES[name]).outputs:
        in_map = next(x for note, x in cells.items() if note.startswith(f"output (0, {o}):"))
        in_strip = next(x for note, x in cells.items() if note.startswith(f"output {o}:"))
        assert in_map == pytest.approx(in_strip)


def test_prose_comes_after_the_first_line():
    lines = [shape.content for shape in texts(square(DOUBLING))]
    assert lines.index("Each input stamps the kernel; stamps add") == 2


def test_channels_groups_and_the_weights_shape():
    assert "weight (4, 3, 3, 3) = (in_channels, out_channels / groups, kernel height, kernel width)" in said(GROUPED)
    assert "groups=2: 2 input and 3 output channels in each" in said(GROUPED)
    assert "groups=1: every input channel reaches every output channel" in said(square(DOUBLING))
    assert "… 16 in all" in said(square(DOUBLING, 16))


def test_cells_carry_the_letter_of_their_phase():
    shapes = layer_scene(square(DOUBLING)).shapes
    letters = [shape.content for shape in shapes if isinstance(shape, Text) and shape.italic and shape.size < 12]
    # 9 taps and 64 outputs; the word "cut" stands in italics too.
    assert len([letter for letter in letters if letter in "abcd"]) == 9 + 64


def test_letters_are_distinct_until_they_end():
    letters = [palette.phase_letter(a, b, 20) for a in range(20) for b in range(20)]
    assert len(set(letters)) == 400
    assert palette.phase_letter(700, 0, 1) != ""
    assert palette.phase_letter(702, 0, 1) == ""


def test_every_colour_of_the_drawing_has_a_dark_one():
    scene = layer_scene(GROUPED)
    assert scene.themed
    assert [colour for colour in scene.colours if not re.fullmatch("#[0-9a-f]{6}", getattr(colour, "dark", ""))] == []
    text = svg(scene)
    assert "@media (prefers-color-scheme: dark)" in text
    assert f'.upconv [fill="{palette.PAPER}"] {{ fill: {palette.PAPER.dark}; }}' in text
    assert len(re.findall(r'<rect [^>]*fill="#14171c"', text)) == 0


def test_two_colours_that_are_alike_on_light_paper_are_alike_on_dark():
    scene = layer_scene(GROUPED)
    assert len({(colour, colour.dark) for colour in scene.colours}) == len({str(colour) for colour in scene.colours})


@pytest.mark.parametrize("row", range(len(palette.HUES)))
def test_figures_are_readable_on_every_phase_on_both_papers(row):
    for columns in range(1, 5):
        for column in range(columns):
            colour = palette.phase_colour(row, column, columns)
            assert contrast(colour, palette.INK) > 4.5, (row, column, columns)
            assert contrast(colour.dark, palette.INK.dark) > 4.5, (row, column, columns)


def test_pictures_in_one_page_do_not_share_names():
    first, second = (svg(layer_scene(square(AXES[name]))) for name in ("even", "uneven"))
    ids = [set(re.findall(r'<(?:title|desc) id="([^"]+)"', text)) for text in (first, second)]
    assert len(ids[0]) == 2
    assert ids[0].isdisjoint(ids[1])


def test_a_sum_of_nothing_is_the_bias():
    axis = torch_axis(4, 2, 3)
    assert sum_in_words(axis, axis, 2, 2) == "y[2, 2] = bias = 0"


def test_wires_connect_exactly_the_channels_of_a_group():
    wires, _ = bundles(GROUPED, 0, 0)
    lines = [shape for shape in wires if isinstance(shape, Line)]
    connected = GROUPED.c_in * GROUPED.c_out // GROUPED.groups
    assert len({(line.y1, line.y2) for line in lines}) == len(lines) == connected
    # Wires of the first group end above those of the second.
    first, second = lines[: connected // 2], lines[connected // 2 :]
    assert max(line.y2 for line in first) < min(line.y2 for line in second)
    faint = [
        shape for shape in bundles(GROUPED, 0, 0, 1)[0] if isinstance(shape, Line) and shape.colour == palette.RULE
    ]
    assert len(faint) == connected // 2


@pytest.mark.parametrize(("s_h", "s_w"), [(2, 2), (1, 3), (2, 3)])
def test_the_keys_letters_and_colours_are_those_of_the_cells(s_h, s_w):
    geometry = Geometry(1, 1, 1, 1, Axis(4, 3, s_h), Axis(4, 3, s_w))
    shapes, _ = legend(geometry, 0, 0, 320)
    rects = [shape for shape in shapes if isinstance(shape, Rect)]
    letters = [shape.content for shape in shapes if isinstance(shape, Text) and shape.italic]
    phases = [(a, b) for a in range(s_h) for b in range(s_w)][: len(rects)]
    assert [rect.fill for rect in rects] == [palette.phase_colour(a, b, s_w) for a, b in phases]
    assert letters[: len(phases)] == [palette.phase_letter(a, b, s_w) for a, b in phases]
    assert letters[:2] == ["a", "b"]


def test_a_channel_whose_partners_are_not_drawn_is_not_left_alone():
    shapes, _ = bundles(Geometry(1, 6, 12, 3, DOUBLING, DOUBLING), 0, 0)
    lines = [shape for shape in shapes if isinstance(shape, Line)]
    dots = max(line.y2 for line in lines if not line.dash)
    # Inputs 4 and 5 reach outputs 8 to 11, of which none is drawn.
    assert len([line for line in lines if line.dash]) == 2
    assert all(line.y2 > dots for line in lines if line.dash)
    assert not any(line.dash for line in bundles(GROUPED, 0, 0)[0] if isinstance(line, Line))
    both = bundles(square(DOUBLING, 16), 0, 0)[0]
    assert len([line for line in both if isinstance(line, Line) and line.dash]) == 8 + 8


def test_cells_without_a_product_are_in_the_key():
    starved = torch_axis(7, 3, 3, 1, 0, 2)
    assert "no product lands here: bias alone" in said(square(starved))
    for name in ("uneven", "gaps", "holes", "beyond the canvas"):
        assert "no product lands here" not in said(square(AXES[name]))


def test_one_stamp_that_is_drawn_is_called_one():
    assert "Outlined: one input and where it writes." in said(square(torch_axis(4, 3, 100)))
    assert "Outlined: two inputs and where they write." in said(square(DOUBLING))


def test_cells_beyond_the_canvas_are_spoken_of_where_they_are_shown():
    assert "dashed cells" in said(square(torch_axis(3, 3, 2, 0, 1)))
    assert "dashed cells" not in said(square(torch_axis(40, 3, 2, 0, 1)))


def test_two_moduli_fit_a_line_of_the_key():
    lines = [shape.content for shape in texts(Geometry(1, 1, 1, 1, torch_axis(4, 4, 2), torch_axis(4, 6, 3)))]
    assert "row ≡ 1 mod 2, column ≡ 2 mod 3: 2 × 2 taps" in lines
