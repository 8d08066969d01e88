"""The picture of a layer: maps in two dimensions, each axis as stamps and as zeros, the sizes, key and verdict."""

from ..geometry import NAMES, Geometry
from ..inverse import setting_of
from ..volume import Line
from . import palette
from .channels import channels
from .cuts import cut_labels
from .edges import beyond_note, border_note
from .grid import CANVAS, HEAD, Layout, has_values, maps, selected
from .legend import height_and_width, is_line, legend
from .overlap import EVEN, HOLES, UNEVEN, even_alternatives, verdict, worst
from .scene import Rect, Scene, Text, fitted, paragraph, text_width
from .sizes import documented, written
from .strip import LABELS, ROOM, stamps, zeros
from .window import extent, window

WIDTH = 940
MARGIN = 36
INNER = WIDTH - 2 * MARGIN
SMALL, BODY, HEADING, TITLE = 12, 13.5, 16, 23
SECTION_GAP = 34
KEY_WIDTH = CANVAS - 52
FIRST_LINE = "Each input stamps the kernel; stamps add"
VERDICTS = {
    EVEN: "Verdict: even overlap",
    UNEVEN: "Verdict: uneven overlap, expect a checkerboard unless training evens it out",
    HOLES: "Verdict: holes, some outputs receive the bias alone whatever the weights",
}


def layer_scene(geometry: Geometry | Line) -> Scene:
    """The drawing of a layer of two dimensions or one, whatever its size: of a large one, the first outputs.

    >>> from upconv.geometry import Axis
    >>> scene = layer_scene(Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0)))
    >>> scene.title
    'Transposed convolution, 4 × 4 to 8 × 8: kernel_size=3, stride=2, padding=1, output_padding=1'
    """
    title = f"{heading(geometry)}: {describe(geometry)}"
    y, shapes = MARGIN + 18, []
    for section in (_title, _maps, _axes, _channels, _verdict):
        drawn, height = section(geometry, y)
        shapes += drawn
        y += height + SECTION_GAP
    height = y - SECTION_GAP + MARGIN - 8
    paper = Rect(0, 0, WIDTH, height, palette.PAPER)
    return Scene(WIDTH, height, title, _description(geometry), (paper, *shapes), themed=True)


def maps_scene(geometry: Geometry) -> Scene:
    """The beginning of the drawing alone, input, kernel and output with their key: what a terminal has room for."""
    title, used = _title(geometry, MARGIN + 18)
    top = MARGIN + 18 + used + SECTION_GAP / 2
    at, drawn, bottom = _drawn_maps(geometry, top)
    shapes = [*title, *drawn]
    reach = (shape.x + shape.width for shape in shapes if isinstance(shape, Text) and shape.anchor == "start")
    width = max(at.canvas + (len(at.w.positions) + 1) * at.cell, *reach)
    return Scene(width, bottom, heading(geometry), _description(geometry), tuple(shapes), themed=True)


def heading(geometry):
    """What goes in and what comes out."""
    before, after = (by([size(axis) for axis in geometry.axes]) for size in (lambda a: a.n, lambda a: a.out))
    return f"Transposed convolution, {before} to {after}"


def by(sizes):
    """Sizes of a map in one."""
    return " × ".join(map(str, sizes)) if len(sizes) > 1 else f"length {sizes[0]}"


def describe(geometry):
    """The settings in PyTorch's spelling where it has one; axes apart where they differ."""
    found = alike(geometry, describe_axis)
    return found[0][1] if len(found) == 1 else "; ".join(f"{name} {words}" for name, words in found)


def alike(geometry, of=lambda axis: axis, joined=None):
    """[(names, value)] of a layer's axes, those that have the same value in one."""
    names = {}
    for name, axis in zip(NAMES[len(geometry.axes)], geometry.axes, strict=True):
        names.setdefault(of(axis), []).append(name)
    return [((joined or and_joined)(each), value) for value, each in names.items()]


def and_joined(names):
    """Names in one.

    >>> and_joined(["depth", "height", "width"])
    'depth, height and width'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe_axis(axis):
    """The settings of one axis in PyTorch's spelling where it has one."""
    setting = setting_of(axis)
    if setting is not None:
        return setting.arguments()
    dilation = f", dilation={axis.d}" if axis.d > 1 else ""
    return f"kernel_size={axis.k}, stride={axis.s}, crops ({axis.crop_lo}, {axis.crop_hi}){dilation}"


def _title(geometry, y):
    title = heading(geometry).replace(" to ", " → ")
    shapes = [Text(MARGIN, y, title, fitted(title, TITLE, INNER), palette.INK, bold=True)]
    lines, height = paragraph(describe(geometry), MARGIN, y + 25, INNER, BODY, palette.MUTED, mono=True)
    return shapes + lines, 10 + height


def _maps(geometry, y):
    """The three maps, the key, and what the drawing shows as its caption."""
    at, shapes, bottom = _drawn_maps(geometry, y)
    lines, height = paragraph(_maps_caption(geometry, at), MARGIN, bottom + 20, INNER, SMALL, palette.MUTED)
    return shapes + lines, bottom + 20 + height - 14 - y


def _drawn_maps(geometry, y):
    """(layout, shapes, bottom) of the three maps, with the key in the room under input and kernel."""
    h, w = height_and_width(geometry)
    at = Layout(window(h), window(w), MARGIN, y + HEAD + 22, INNER, is_line(geometry))
    labels, below = cut_labels(at)
    keys, key_height = legend(geometry, MARGIN, at.below_input + 8, KEY_WIDTH)
    bottom = max(at.below_canvas + below, at.below_input + 8 + key_height)
    shapes = [Text(MARGIN, y, FIRST_LINE, HEADING, palette.INK, bold=True), *maps(at), *labels, *keys]
    return at, shapes, bottom


def _maps_caption(geometry, at):
    several = max(axis.n for axis in geometry.axes) > 1
    caption = (
        "Outlined: two inputs and where they write." if several else "Outlined: the one input and where it writes."
    )
    if has_values(at):
        caption = f"An example's numbers, bias 0. {caption}"
        if selected(at):
            caption += " Blue: one output, and by number the inputs and taps that it adds up."
    else:
        caption += " The figure in a cell counts the products that it receives."
    if not (at.h.whole and at.w.whole):
        shown = (at.w.outputs,) if at.line else (at.h.outputs, at.w.outputs)
        first, of = (" × ".join(map(str, each)) for each in (map(len, shown), (axis.out for axis in geometry.axes)))
        caption += f" Shown: the first {first} of {of} outputs."
    return caption


def _axes(geometry, y):
    """The width first, since its positions stand under the canvas's columns."""
    h, w = height_and_width(geometry)
    at = Layout(window(h), window(w), MARGIN, 0, INNER)
    title = "The canvas, taken apart" if is_line(geometry) else "The columns: a row of the canvas, taken apart"
    first, height = _axis(title, w, lambda r: (0, r, w.s), at, y)
    if h == w or is_line(geometry):
        return first, height
    second, more = _axis(
        "The rows: a column of the canvas, taken apart", h, lambda r: (r, 0, 1), at, y + height + SECTION_GAP
    )
    return first + second, height + SECTION_GAP + more


def _axis(title, axis, phase, at, y):
    """One axis in both readings, each with its sum."""
    shown, start = window(axis), y
    cell = min(at.cell, Layout(shown, shown, MARGIN, 0, INNER).cell)
    shapes, height = _section(title, None, y)
    y += height - 14
    words = at.canvas - LABELS
    drawn, height = stamps(shown, phase, words, y, at.canvas, cell)
    shapes += drawn
    lines, used = paragraph(_stamp_caption(axis, shown), MARGIN, y + 16, words - MARGIN - 20, SMALL, palette.MUTED)
    shapes += lines
    y += max(height, used) + 18
    lines, height = _formulas(written(axis), y)
    shapes += lines
    y += height + 14
    drawn, height = zeros(shown, phase, words, y, at.canvas, cell, int(ROOM / cell))
    shapes += drawn
    y += height + 20
    caption = (
        "The documentation says the same the other way round: put zeros between and around the inputs, then run an "
        "ordinary convolution with the kernel turned round. Hence its “padding” removes, and never adds."
    )
    lines, height = paragraph(caption, MARGIN, y, INNER, SMALL, palette.MUTED)
    shapes += lines
    y += height
    lines, height = _formulas(documented(axis), y)
    return shapes + lines, y + height - start


def _stamp_caption(axis, shown):
    writers = f"Each of the {axis.n} inputs" if axis.n > 1 else "The one input"
    caption = f"Read down a column: an output is the sum of what lands on it. {writers} writes {axis.k}"
    caption += f" tap{'s' * (axis.k > 1)}"
    caption += f", {axis.d} apart" if axis.d > 1 else ""
    first, last = extent(axis)
    return caption + (f". Shown: the beginning of {last - first} positions." if not shown.whole else ".")


def _formulas(lines, y):
    step = 20
    height, room = step * len(lines) + 10, INNER - 28
    size = min(fitted(line, 12.5, room, lambda *line: text_width(*line, mono=True)) for line in lines)
    shapes = [Rect(MARGIN, y, INNER, height, palette.PANEL, radius=5)]
    shapes += [
        Text(MARGIN + 14, y + 19 + row * step, line, size, palette.INK, mono=True) for row, line in enumerate(lines)
    ]
    return shapes, height + 10


def _channels(geometry, y):
    shapes, height = _section("Channels", None, y)
    drawn, used = channels(geometry, MARGIN, y + height - 10, INNER)
    return shapes + drawn, height - 10 + used


def _verdict(geometry, y):
    shapes, height = _section(VERDICTS[worst(geometry.axes)], None, y)
    for sentence in verdict_sentences(geometry):
        drawn, used = paragraph(sentence, MARGIN, y + height, INNER, BODY)
        shapes += drawn
        height += used + 4
    return shapes, height - 14


def verdict_sentences(geometry) -> list[str]:
    """What the counts say about checkerboards, and what would be even."""
    named = [(name.capitalize(), axis) for name, axis in alike(geometry)]
    sentences = [f"{name}: {verdict(axis).reason}." for name, axis in named]
    uneven = [(name, axis) for name, axis in named if verdict(axis).kind != EVEN]
    for name, axis in uneven:
        found = " or ".join(f"({setting.arguments()})" for setting in even_alternatives(axis))
        if found:
            sentences.append(f"{name}: the same {axis.n} → {axis.out} with even overlap: {found}.")
    if not uneven and max(axis.s for axis in geometry.axes) > 1:
        sentences.append(
            "Equal counts are necessary, not sufficient: each phase has taps of its own, and training may leave them "
            "with different sums, which shows as a checkerboard again."
        )
    borders = [(name, note(axis)) for name, axis in named for note in (border_note, beyond_note)]
    return sentences + [f"{name}: {note}." for name, note in borders if note]


def _section(title, caption, y):
    shapes = [Text(MARGIN, y, title, HEADING, palette.INK, bold=True)]
    if caption is None:
        return shapes, 24
    lines, height = paragraph(caption, MARGIN, y + 23, INNER, BODY, palette.INK)
    return shapes + lines, 23 + height + 2


def _description(geometry):
    n, k, full, out = (
        " by ".join(str(getattr(axis, name)) for axis in geometry.axes) for name in ("n", "k", "full", "out")
    )
    steps = " and ".join(str(axis.s) for axis in geometry.axes)
    return (
        f"An input of {n} values is stamped with a kernel of {k} taps, {steps} steps apart, on a canvas of {full}, "
        f"of which {out} are kept. {' '.join(verdict_sentences(geometry))}"
    )
