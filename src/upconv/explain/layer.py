"""The picture of a layer: maps in two dimensions, each axis as stamps and as zeros, the sizes, key and verdict."""

from itertools import islice, product

from ..geometry import Geometry
from ..inverse import setting_of
from . import palette
from .grid import maps
from .overlap import (
    EVEN,
    HOLES,
    UNEVEN,
    beyond_note,
    border_note,
    even_alternatives,
    is_settled,
    live_phases,
    live_residues,
    phases_with_outputs,
    taps_of,
    verdict,
    worst,
)
from .scene import Rect, Scene, Text
from .sizes import documented, written
from .strip import paragraph, stamps, zeros
from .window import CROPPED, EXTENSION, extent, window

WIDTH = 940
MARGIN = 36
INNER = WIDTH - 2 * MARGIN
SMALL, BODY, HEADING, TITLE = 12, 13.5, 16, 23
SECTION_GAP = 34
KEY_LIMIT = 8
SHORT = " This input is too short for every phase to show an output with all of these taps."
VERDICTS = {
    EVEN: "Verdict: even overlap",
    UNEVEN: "Verdict: uneven overlap, expect a checkerboard unless training evens it out",
    HOLES: "Verdict: holes, some outputs receive the bias alone whatever the weights",
}


def layer_scene(geometry: Geometry) -> Scene:
    """The drawing of a layer, whatever its size: of a large one, the first outputs.

    >>> from upconv.geometry import Axis
    >>> scene = layer_scene(Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0)))
    >>> scene.title
    'Transposed convolution, 4 × 4 to 8 × 8: kernel_size=3, stride=2, padding=1, output_padding=1'
    """
    title = f"{heading(geometry)}: {describe(geometry)}"
    y, shapes = MARGIN + 18, []
    for section in (_title, _maps, _axes, _key, _verdict):
        drawn, height = section(geometry, y)
        shapes += drawn
        y += height + SECTION_GAP
    height = y - SECTION_GAP + MARGIN - 8
    paper = Rect(0, 0, WIDTH, height, palette.PAPER)
    return Scene(WIDTH, height, title, _description(geometry), (paper, *shapes))


def heading(geometry):
    """What goes in and what comes out."""
    h, w = geometry.h, geometry.w
    return f"Transposed convolution, {h.n} × {w.n} to {h.out} × {w.out}"


def describe(geometry):
    """The settings in PyTorch's spelling where it has one; height and width apart where they differ."""
    h, w = (_describe_axis(axis) for axis in (geometry.h, geometry.w))
    return h if h == w else f"height {h}; width {w}"


def _describe_axis(axis):
    setting = setting_of(axis)
    if setting is not None:
        return setting.arguments()
    dilation = f", dilation={axis.d}" if axis.d > 1 else ""
    return f"kernel_size={axis.k}, stride={axis.s}, crops ({axis.crop_lo}, {axis.crop_hi}){dilation}"


def _title(geometry, y):
    title = heading(geometry).replace(" to ", " → ")
    shapes = [Text(MARGIN, y, title, TITLE, palette.INK, bold=True)]
    lines, height = paragraph(describe(geometry), MARGIN, y + 25, INNER, BODY, palette.MUTED, mono=True)
    return shapes + lines, 10 + height


def _maps(geometry, y):
    h, w = window(geometry.h), window(geometry.w)
    caption = (
        "Every input value is multiplied by the whole kernel and written on the canvas, s steps after its neighbour; "
        "where stamps overlap, they add up. The figure in a cell counts the products that it receives. Outlined: "
    )
    several = max(geometry.h.n, geometry.w.n) > 1
    caption += "two inputs and where they write." if several else "where the one input writes."
    if not (h.whole and w.whole):
        of = f"{geometry.h.out} × {geometry.w.out}"
        caption += f" Shown: the first {len(h.outputs)} × {len(w.outputs)} of {of} outputs."
    shapes, height = _section("What it does", caption, y)
    drawn, used = maps(h, w, MARGIN, y + height, INNER)
    return shapes + drawn, height + used


def _axes(geometry, y):
    h, w = geometry.h, geometry.w
    if h == w:
        return _axis("One axis (height and width are alike)", h, palette.phase_colour, y)
    first, height = _axis("The height", h, palette.phase_colour, y)
    second, more = _axis("The width", w, lambda r: palette.phase_colour(0, r, w.s), y + height + SECTION_GAP)
    return first + second, height + SECTION_GAP + more


def _axis(title, axis, colours, y):
    """One axis in both readings, each with its sum."""
    shown, start = window(axis), y
    shapes, height = _section(title, _stamp_caption(axis, shown), y)
    y += height
    drawn, height = stamps(shown, colours, MARGIN, y)
    shapes += drawn
    y += height + 16
    lines, height = _formulas(written(axis), y)
    shapes += lines
    y += height + 14
    caption = (
        "The documentation says the same the other way round: put zeros between and around the inputs, then run an "
        "ordinary convolution with the kernel turned round. Hence its “padding” removes, and never adds."
    )
    lines, height = paragraph(caption, MARGIN, y, INNER, BODY)
    shapes += lines
    y += height
    drawn, height = zeros(shown, colours, MARGIN, y)
    shapes += drawn
    y += height + 16
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
    height = step * len(lines) + 10
    shapes = [Rect(MARGIN, y, INNER, height, palette.PANEL, radius=5)]
    shapes += [
        Text(MARGIN + 14, y + 19 + row * step, line, 12.5, palette.INK, mono=True) for row, line in enumerate(lines)
    ]
    return shapes, height + 10


def _key(geometry, y):
    """Which taps feed which phase, and what the other cells mean."""
    shapes, height = _section("Phases", _phase_caption(geometry), y)
    entries = [*_phase_entries(geometry), *_special_entries(geometry)]
    column = INNER / 2
    for place, (rect, label) in enumerate(entries):
        x, top = MARGIN + place % 2 * column, y + height + place // 2 * 26
        shapes.append(Rect(x, top, 24, 18, *rect, radius=2))
        shapes.append(Text(x + 34, top + 14, label, SMALL + 0.5, palette.INK))
    return shapes, height + (len(entries) + 1) // 2 * 26 - 8


def _phase_caption(geometry):
    h, w = geometry.h, geometry.w
    short = not (is_settled(h) and is_settled(w))
    if h.s * w.s == 1:
        words = "With a stride of 1 there is one phase: an ordinary convolution with the whole kernel, turned round."
        return words + SHORT * short
    return (
        f"The canvas position modulo the stride decides which taps can land there: {h.s} × {w.s} = {h.s * w.s} phases, "
        "each an ordinary convolution with its own small part of the kernel."
    ) + SHORT * short


def _phase_entries(geometry):
    h, w = geometry.h, geometry.w
    every, live = (f(h) * f(w) for f in (phases_with_outputs, live_phases))
    for a, b in islice(product(live_residues(h, KEY_LIMIT), live_residues(w, KEY_LIMIT)), KEY_LIMIT):
        where = f"{_residue('row', a, h.s)}, {_residue('column', b, w.s)}"
        taps_h, taps_w = len(taps_of(h, a)), len(taps_of(w, b))
        colour = palette.phase_colour(a, b, w.s)
        yield (colour, palette.RULE), f"{where}: {taps_h} × {taps_w} tap{'s' * (taps_h * taps_w > 1)}"
    if live > KEY_LIMIT:
        yield (palette.PAPER, palette.PAPER), f"… and {live - KEY_LIMIT:,} more; hue for the row, shade for the column"
    if live < every:
        words = f"0: {every - live:,} of {every:,} phases have no taps: bias alone"
        yield (palette.PAPER, palette.MUTED), words


def _residue(name, residue, s):
    return f"{name} ≡ {residue} (mod {s})" if s > 1 else f"every {name}"


def _special_entries(geometry):
    shown = [window(geometry.h), window(geometry.w)]
    kinds = {each.kind(q) for each in shown for q in each.positions}
    if CROPPED in kinds:
        yield (palette.CROPPED, palette.FAINT, 1, True, palette.CROPPED_HATCH), "cut away by padding"
    if EXTENSION in kinds:
        yield (palette.PAPER, palette.INK, 1, True), "0, dashed: beyond the canvas, bias alone"


def _verdict(geometry, y):
    shapes, height = _section(VERDICTS[worst([geometry.h, geometry.w])], None, y)
    for sentence in verdict_sentences(geometry):
        drawn, used = paragraph(sentence, MARGIN, y + height, INNER, BODY)
        shapes += drawn
        height += used + 4
    return shapes, height - 14


def verdict_sentences(geometry) -> list[str]:
    """What the counts say about checkerboards, and what would be even."""
    h, w = geometry.h, geometry.w
    named = [("Height and width", h)] if h == w else [("Height", h), ("Width", w)]
    sentences = [f"{name}: {verdict(axis).reason}." for name, axis in named]
    uneven = [(name, axis) for name, axis in named if verdict(axis).kind != EVEN]
    for name, axis in uneven:
        found = " or ".join(f"({setting.arguments()})" for setting in even_alternatives(axis))
        if found:
            sentences.append(f"{name}: the same {axis.n} → {axis.out} with even overlap: {found}.")
    if not uneven and max(h.s, w.s) > 1:
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
    h, w = geometry.h, geometry.w
    return (
        f"An input of {h.n} by {w.n} values is stamped with a kernel of {h.k} by {w.k} taps, {h.s} and {w.s} steps "
        f"apart, on a canvas of {h.full} by {w.full}, of which {h.out} by {w.out} are kept. "
        f"{' '.join(verdict_sentences(geometry))}"
    )
