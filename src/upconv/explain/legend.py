"""The key to a picture: the phases with their letters and taps, and what the other cells mean."""

from itertools import islice, product
from math import prod

from . import palette
from . import words as english
from .grid import joined
from .overlap import is_settled, live_phases, live_residues, meeting_taps, phases_with_outputs, taps_of
from .scene import Rect, Text, paragraph
from .window import CROPPED, EXTENSION, OUTPUT, window

LIMIT = 8
SMALL, STEP = 12, 23


def is_line(geometry):
    """Whether a layer has one dimension."""
    return len(geometry.axes) == 1


def legend(geometry, x, y, width, words=english):
    """The phases of a layer in a column; gives the shapes and the height used."""
    shapes = [Text(x, y + 12, words.PHASES, 13, palette.INK, bold=True)]
    lines, height = paragraph(_caption(geometry, words), x, y + 31, width, SMALL, palette.MUTED)
    shapes += lines
    top = y + 31 + height - 6
    for rect, letter, label in (*_phases(geometry, words), *_others(geometry, words)):
        shapes.append(Rect(x, top, 24, 18, *rect, radius=2))
        shapes.append(Text(x + 12, top + 13, letter, SMALL, palette.INK, "middle", italic=True))
        lines, height = paragraph(label, x + 32, top + 13, width - 32, SMALL)
        shapes += lines
        top += height - SMALL * 1.45 + STEP
    return shapes, top - y


def _caption(geometry, words):
    short = f" {words.SHORT}" * (not all(map(is_settled, geometry.axes)))
    steps = [axis.s for axis in geometry.axes]
    return (words.ONE_PHASE if prod(steps) == 1 else words.phases_caption(steps)) + short


def _phases(geometry, words):
    h, w = height_and_width(geometry)
    every, live = (f(h) * f(w) for f in (phases_with_outputs, live_phases))
    for a, b in islice(product(live_residues(h, LIMIT), live_residues(w, LIMIT)), LIMIT):
        drawn = len(geometry.axes)
        places, taps = [(a, h.s), (b, w.s)][-drawn:], [len(taps_of(h, a)), len(taps_of(w, b))][-drawn:]
        rect = palette.phase_colour(a, b, w.s), palette.RULE
        yield rect, palette.phase_letter(a, b, w.s), words.phase(places, taps)
    if live > LIMIT:
        yield (palette.PAPER, palette.PAPER), "", words.more_phases(live - LIMIT, not is_line(geometry))
    if live < every:
        yield (palette.PAPER, palette.MUTED), "0", words.phases_without_taps(every - live, every)


def height_and_width(geometry):
    """The axes as they are drawn: a line is a map of height 1."""
    return geometry.map.axes if is_line(geometry) else geometry.axes


def _others(geometry, words):
    h, w = map(window, height_and_width(geometry))
    kinds = {joined(h.kind(q), w.kind(r)) for q in h.positions for r in w.positions}
    if OUTPUT in kinds and (_starves(h) or _starves(w)):
        yield (palette.PAPER, palette.MUTED), "0", words.EMPTY_KEY
    if CROPPED in kinds:
        yield (palette.CROPPED, palette.FAINT, 1, True, palette.CROPPED_HATCH), "", words.CUT_KEY
    if EXTENSION in kinds:
        yield (palette.PAPER, palette.INK, 1, True), "0", words.BEYOND_KEY


def _starves(shown):
    """Whether an output on the canvas receives nothing that its phase could give."""
    axis, crop_lo = shown.axis, shown.axis.crop_lo
    on_canvas = (o for o in shown.outputs if shown.kind(o + crop_lo) == OUTPUT)
    return any(not meeting_taps(axis, o) and taps_of(axis, (o + crop_lo) % axis.s) for o in on_canvas)
