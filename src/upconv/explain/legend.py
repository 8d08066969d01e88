"""The key to a picture: the phases with their letters and taps, and what the other cells mean."""

from itertools import islice, product
from math import prod

from . import palette
from .grid import joined
from .overlap import is_settled, live_phases, live_residues, phases_with_outputs, taps_of
from .scene import Rect, Text, paragraph
from .window import CROPPED, EXTENSION, window

LIMIT = 8
SMALL, STEP = 12, 23
SHORT = " This input is too short for every phase to show an output with all of these taps."


def is_line(geometry):
    """Whether a layer has one dimension."""
    return len(geometry.axes) == 1


def legend(geometry, x, y, width):
    """The phases of a layer in a column; gives the shapes and the height used."""
    shapes = [Text(x, y + 12, "Phases", 13, palette.INK, bold=True)]
    lines, height = paragraph(_caption(geometry), x, y + 31, width, SMALL, palette.MUTED)
    shapes += lines
    top = y + 31 + height - 6
    for rect, letter, label in (*_phases(geometry), *_others(geometry)):
        shapes.append(Rect(x, top, 24, 18, *rect, radius=2))
        shapes.append(Text(x + 12, top + 13, letter, SMALL, palette.INK, "middle", italic=True))
        lines, height = paragraph(label, x + 32, top + 13, width - 32, SMALL)
        shapes += lines
        top += height - SMALL * 1.45 + STEP
    return shapes, top - y


def _caption(geometry):
    short = SHORT * (not all(map(is_settled, geometry.axes)))
    steps = [axis.s for axis in geometry.axes]
    if prod(steps) == 1:
        return "With a stride of 1 there is one: an ordinary convolution with the whole kernel, turned round." + short
    number = " × ".join(map(str, steps)) + f" = {prod(steps)}" * (len(steps) > 1)
    return (
        "The canvas position modulo the stride decides which taps can land there: "
        f"{number} phases, each an ordinary convolution with a small part of the kernel."
    ) + short


def _phases(geometry):
    h, w = height_and_width(geometry)
    every, live = (f(h) * f(w) for f in (phases_with_outputs, live_phases))
    for a, b in islice(product(live_residues(h, LIMIT), live_residues(w, LIMIT)), LIMIT):
        taps_h, taps_w = len(taps_of(h, a)), len(taps_of(w, b))
        number = str(taps_w) if is_line(geometry) else f"{taps_h} × {taps_w}"
        where = _where(a, b, h.s, w.s)
        if is_line(geometry):
            where = f"position ≡ {b} (mod {w.s})" if w.s > 1 else "every position"
        taps = f"{number} tap{'s' * (taps_h * taps_w > 1)}"
        rect = palette.phase_colour(a, b, w.s), palette.RULE
        yield rect, palette.phase_letter(a, b, w.s), f"{where}: {taps}"
    if live > LIMIT:
        hues = "" if is_line(geometry) else "; hue for the row, shade for the column"
        words = f"… and {live - LIMIT:,} more{hues}"
        yield (palette.PAPER, palette.PAPER), "", words
    if live < every:
        words = f"{every - live:,} of {every:,} phases {'have' if every - live > 1 else 'has'} no taps: bias alone"
        yield (palette.PAPER, palette.MUTED), "0", words


def height_and_width(geometry):
    """The axes as they are drawn: a line is a map of height 1."""
    return geometry.map.axes if is_line(geometry) else geometry.axes


def _where(a, b, s_h, s_w):
    """The residues of a phase; a modulus that both share is written once."""
    if s_h == s_w > 1:
        return f"row ≡ {a}, column ≡ {b} (mod {s_h})"
    row, column = (
        f"{name} ≡ {residue} (mod {s})" if s > 1 else f"every {name}"
        for name, residue, s in (("row", a, s_h), ("column", b, s_w))
    )
    return f"{row}, {column}"


def _others(geometry):
    h, w = map(window, height_and_width(geometry))
    kinds = {joined(h.kind(q), w.kind(r)) for q in h.positions for r in w.positions}
    if CROPPED in kinds:
        yield (palette.CROPPED, palette.FAINT, 1, True, palette.CROPPED_HATCH), "", "cut away by padding"
    if EXTENSION in kinds:
        yield (palette.PAPER, palette.INK, 1, True), "0", "beyond the canvas: bias alone"
