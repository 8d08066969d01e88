"""The picture of a layer: maps in two dimensions, each axis as stamps and as zeros, the sizes, key and verdict."""

from ..geometry import Geometry
from ..volume import Line
from . import palette, words, words_ko
from .channels import channels
from .cuts import cut_labels
from .grid import CANVAS, HEAD, Layout, has_values, maps, selected
from .legend import height_and_width, is_line, legend
from .overlap import worst
from .scene import Rect, Scene, Text, fitted, paragraph, text_width
from .strip import LABELS, ROOM, stamps, zeros
from .window import extent, window

WIDTH = 940
MARGIN = 36
INNER = WIDTH - 2 * MARGIN
SMALL, BODY, HEADING, TITLE = 12, 13.5, 16, 23
SECTION_GAP = 34
KEY_WIDTH = CANVAS - 52
PICTURE_WORDS = {"en": words, "ko": words_ko}


def layer_scene(geometry: Geometry | Line, language: str = "en") -> Scene:
    """The drawing of a layer of two dimensions or one, whatever its size: of a large one, the first outputs.

    Args:
        geometry: the layer.
        language: "en" or "ko".

    >>> from upconv.geometry import Axis
    >>> scene = layer_scene(Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0)))
    >>> scene.title
    'Transposed convolution, 4 × 4 to 8 × 8: kernel_size=3, stride=2, padding=1, output_padding=1'
    """
    said = PICTURE_WORDS[language]
    y, shapes = MARGIN + 18, []
    for section in (_title, _maps, _axes, _channels, _verdict):
        drawn, height = section(geometry, y, said)
        shapes += drawn
        y += height + SECTION_GAP
    height = y - SECTION_GAP + MARGIN - 8
    paper = Rect(0, 0, WIDTH, height, palette.PAPER)
    title = f"{said.heading(geometry)}: {said.describe(geometry)}"
    return Scene(WIDTH, height, title, said.description(geometry), (paper, *shapes), True, language)


def maps_scene(geometry: Geometry | Line, language: str = "en") -> Scene:
    """The beginning of the drawing alone, input, kernel and output with their key: what a terminal has room for."""
    said = PICTURE_WORDS[language]
    title, used = _title(geometry, MARGIN + 18, said)
    top = MARGIN + 18 + used + SECTION_GAP / 2
    at, drawn, bottom = _drawn_maps(geometry, top, said)
    shapes = [*title, *drawn]
    reach = (shape.x + shape.width for shape in shapes if isinstance(shape, Text) and shape.anchor == "start")
    width = max(at.canvas + (len(at.w.positions) + 1) * at.cell, *reach)
    return Scene(width, bottom, said.heading(geometry), said.description(geometry), tuple(shapes), True, language)


def _title(geometry, y, said):
    title = said.title(geometry)
    shapes = [Text(MARGIN, y, title, fitted(title, TITLE, INNER), palette.INK, bold=True)]
    lines, height = paragraph(said.describe(geometry), MARGIN, y + 25, INNER, BODY, palette.MUTED, mono=True)
    return shapes + lines, 10 + height


def _maps(geometry, y, said):
    """The three maps, the key, and what the drawing shows as its caption."""
    at, shapes, bottom = _drawn_maps(geometry, y, said)
    lines, height = paragraph(_maps_caption(geometry, at), MARGIN, bottom + 20, INNER, SMALL, palette.MUTED)
    return shapes + lines, bottom + 20 + height - 14 - y


def _drawn_maps(geometry, y, said):
    """(layout, shapes, bottom) of the three maps, with the key in the room under input and kernel."""
    h, w = height_and_width(geometry)
    at = Layout(window(h), window(w), MARGIN, y + HEAD + 22, INNER, is_line(geometry), said)
    labels, below = cut_labels(at)
    keys, key_height = legend(geometry, MARGIN, at.below_input + 8, KEY_WIDTH, said)
    bottom = max(at.below_canvas + below, at.below_input + 8 + key_height)
    shapes = [Text(MARGIN, y, said.FIRST_LINE, HEADING, palette.INK, bold=True), *maps(at), *labels, *keys]
    return at, shapes, bottom


def _maps_caption(geometry, at):
    shown = whole = None
    if not (at.h.whole and at.w.whole):
        outputs = (at.w.outputs,) if at.line else (at.h.outputs, at.w.outputs)
        shown, whole = (
            " × ".join(map(str, each)) for each in (map(len, outputs), (axis.out for axis in geometry.axes))
        )
    several = max(len(at.h.inputs), len(at.w.inputs)) > 1
    return at.words.maps_caption(several, has_values(at), selected(at) is not None, shown, whole)


def _axes(geometry, y, said):
    """The width first, since its positions stand under the canvas's columns."""
    h, w = height_and_width(geometry)
    at = Layout(window(h), window(w), MARGIN, 0, INNER, words=said)
    title = said.LINE_APART if is_line(geometry) else said.COLUMNS_APART
    first, height = _axis(title, w, lambda r: (0, r, w.s), at, y)
    if h == w or is_line(geometry):
        return first, height
    second, more = _axis(said.ROWS_APART, h, lambda r: (r, 0, 1), at, y + height + SECTION_GAP)
    return first + second, height + SECTION_GAP + more


def _axis(title, axis, phase, at, y):
    """One axis in both readings, each with its sum."""
    shown, start, said = window(axis), y, at.words
    cell = min(at.cell, Layout(shown, shown, MARGIN, 0, INNER).cell)
    shapes, height = _section(title, None, y)
    y += height - 14
    labels = at.canvas - LABELS
    drawn, height = stamps(shown, phase, labels, y, at.canvas, cell, said)
    shapes += drawn
    first, last = extent(axis)
    caption = said.stamp_caption(axis, None if shown.whole else last - first)
    lines, used = paragraph(caption, MARGIN, y + 16, labels - MARGIN - 20, SMALL, palette.MUTED)
    shapes += lines
    y += max(height, used) + 18
    lines, height = _formulas(said.written(axis), y)
    shapes += lines
    y += height + 14
    drawn, height = zeros(shown, phase, labels, y, at.canvas, cell, int(ROOM / cell), said)
    shapes += drawn
    y += height + 20
    lines, height = paragraph(said.DOCUMENTED, MARGIN, y, INNER, SMALL, palette.MUTED)
    shapes += lines
    y += height
    lines, height = _formulas(said.documented(axis), y)
    return shapes + lines, y + height - start


def _formulas(lines, y):
    step = 20
    height, room = step * len(lines) + 10, INNER - 28
    size = min(fitted(line, 12.5, room, lambda *line: text_width(*line, mono=True)) for line in lines)
    shapes = [Rect(MARGIN, y, INNER, height, palette.PANEL, radius=5)]
    shapes += [
        Text(MARGIN + 14, y + 19 + row * step, line, size, palette.INK, mono=True) for row, line in enumerate(lines)
    ]
    return shapes, height + 10


def _channels(geometry, y, said):
    shapes, height = _section(said.CHANNELS, None, y)
    drawn, used = channels(geometry, MARGIN, y + height - 10, INNER, words=said)
    return shapes + drawn, height - 10 + used


def _verdict(geometry, y, said):
    shapes, height = _section(said.VERDICTS[worst(geometry.axes)], None, y)
    for sentence in said.verdict_sentences(geometry):
        drawn, used = paragraph(sentence, MARGIN, y + height, INNER, BODY)
        shapes += drawn
        height += used + 4
    return shapes, height - 14


def _section(title, caption, y):
    shapes = [Text(MARGIN, y, title, HEADING, palette.INK, bold=True)]
    if caption is None:
        return shapes, 24
    lines, height = paragraph(caption, MARGIN, y + 23, INNER, BODY, palette.INK)
    return shapes + lines, 23 + height + 2
