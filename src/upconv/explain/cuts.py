"""What the settings do at the edges of the canvas, in the settings' own words: what is cut, kept, and beyond."""

from ..inverse import setting_of
from . import palette
from .scene import Line, Text, text_width
from .window import CROPPED, EXTENSION

SIZE = 12


def cut_labels(at):
    """The labels of a map; gives the shapes and the height they use beneath the canvas."""
    shapes, below = [], at.below_canvas + (4 if at.h.whole else 18)
    if (words := at.words.cut_words(*at.axes)) and _has_cropped(at):
        drawn, height = _cut(at, words)
        shapes += drawn
        below += height
    kept, height = _kept(at, below)
    beyond, more = _beyond(at, below + height)
    return shapes + kept + beyond, below + height + more - at.below_canvas


def keeps(*axes):
    """Whether something is there only because of output_padding."""
    return None not in map(setting_of, axes) and max(map(kept, axes)) > 0


def kept(axis):
    """How many values at the canvas's end are kept by output_padding."""
    setting = setting_of(axis)
    return max(0, min(setting.op, setting.op + min(0, axis.crop_hi))) if setting else 0


def _has_cropped(at):
    return any(shown.kind(q) == CROPPED for shown in (at.h, at.w) for q in shown.positions)


def _cut(at, words):
    """The words above the cut rows and columns, or beneath those of the end where only these are cut."""
    h, w = at.h, at.w
    if CROPPED in (h.kind(h.start), w.kind(w.start)):
        x, y = at.canvas + at.cell * 0.3, at.top - 22
        return [Text(at.canvas, y, words, SIZE, palette.MUTED), Line(x, y + 4, x, at.top + 5, palette.MUTED, 1.2)], 0
    x, y = at.canvas + at.cell * 0.5, at.below_canvas
    below = [Line(x, y - 6, x, y + 6, palette.MUTED, 1.2), Text(at.canvas, y + 18, words, SIZE, palette.MUTED)]
    if h.kind(h.stop - 1) == CROPPED:
        return below, 22
    x = at.canvas + len(w.positions) * at.cell
    if x + 12 + text_width(words, SIZE) > at.left + at.width:
        place = x - at.cell / 2, at.below_canvas
        line = Line(place[0], place[1] - 6, place[0], place[1] + 6, palette.MUTED, 1.2)
        return [line, Text(x, place[1] + 18, words, SIZE, palette.MUTED, "end")], 22
    y = at.top + at.cell / 2
    return [Line(x - 6, y, x + 8, y, palette.MUTED, 1.2), Text(x + 12, y + 4, words, SIZE, palette.MUTED)], 0


def _kept(at, y):
    """Rules along the rows and columns that output_padding keeps, and its words."""
    words = at.words.kept_words(*at.axes) if keeps(*at.axes) else ""
    (row, rows), (column, columns) = (_kept_run(shown) for shown in (at.h, at.w))
    if not words or not rows + columns:
        return [], 0
    shapes, right = [], at.canvas + len(at.w.positions) * at.cell
    if columns:
        x = at.canvas + column * at.cell
        shapes.append(Line(x + 2, y + 1, x + columns * at.cell - 2, y + 1, palette.ACTION, 3))
    if rows:
        top = at.top + row * at.cell
        shapes.append(Line(right + 5, top + 2, right + 5, top + rows * at.cell - 2, palette.ACTION, 3))
    end = max(right, at.canvas + text_width(words, SIZE))
    return [*shapes, Text(end, y + 17, words, SIZE, palette.ACTION, "end", bold=True)], 22


def shows_kept(at):
    """Whether some of what output_padding keeps is drawn."""
    return any(count for _, count in map(_kept_run, (at.h, at.w)))


def _kept_run(shown):
    """(first, how many) of the window's positions that output_padding keeps."""
    last = min(shown.axis.crop_lo + shown.axis.out, shown.axis.full)
    first = max(shown.start, last - kept(shown.axis))
    return (first - shown.start, last - first) if last <= shown.stop and first < last else (0, 0)


def _beyond(at, y):
    """Words under the cells that lie beyond the canvas."""
    ends = [shown.axis for shown in (at.h, at.w) if EXTENSION in map(shown.kind, shown.positions)]
    if not ends:
        return [], 0
    settings = [setting_of(axis) for axis in ends]
    words = at.words.beyond_words(next((each.op for each in settings if each and each.op), 0))
    right = at.canvas + len(at.w.positions) * at.cell
    fits = text_width(words, SIZE) < right - at.canvas
    place = (right, "end") if fits else (at.canvas, "start")
    return [Text(place[0], y + 15, words, SIZE, palette.MUTED, place[1])], 20
