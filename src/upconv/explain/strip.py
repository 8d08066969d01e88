"""One axis drawn twice: as overlapping stamps, and as the documentation has it, a convolution over inserted zeros.

The stamps, read downwards: each input writes its k taps, d apart, s further than the input before; the sum of a column
is an output, unless padding removes it.

    position   0   1   2   3   4   5   6
    x0         w0  w1  w2
    x1                 w0  w1  w2
    x2                         w0  w1  w2
    receives   #   1   2   1   2   1   #        (# is cropped)
    output         y0  y1  y2  y3  y4
"""

from dataclasses import dataclass

from ..geometry import ceil_div
from ..inverse import setting_of
from . import palette
from . import words as english
from .grid import cropped_cell, result_cell
from .overlap import counts
from .scene import Arrow, Line, Rect, Text, text_width
from .sizes import inserted_zeros
from .window import CROPPED, CROPPED_SHOWN, ROWS, WHOLE, Window

CELL_W, CELL_H = 33, 25
LABELS = 132
# What a drawing leaves to the columns, at least.
ROOM = 496
SMALL, BODY = 11, 13


@dataclass(frozen=True, slots=True)
class Track:
    """Where a strip's columns stand: words at `left`, the first column at x = `begin`, each `cell` wide."""

    left: float
    begin: float
    cell: float = CELL_W
    first: int = 0

    def x(self, q):
        """Where column q begins."""
        return self.begin + (q - self.first) * self.cell

    def middle(self, q):
        """The middle of column q."""
        return self.x(q) + self.cell / 2

    def size(self, label):
        """A type size in which a label fits its column."""
        return min(BODY, (self.cell - 4) / (0.62 * len(label)))

    def box(self, q, y, fill, stroke=palette.RULE, dash=False, hatch=None, note=None):
        """The rounded cell of column q."""
        return Rect(self.x(q) + 1, y, self.cell - 2, CELL_H, fill, stroke, 1, dash, hatch, 3, note)

    def label(self, q, y, label, ink=palette.INK):
        """A name in the cell of column q."""
        return Text(self.middle(q), y + 17, label, self.size(label), ink, "middle", mono=True)


def stamps(shown: Window, phase, left, top, begin=None, cell=CELL_W, words=english):
    """The stamps of one axis.

    Args:
        shown: the part of the axis to draw.
        phase: a function from a residue to what `palette.phase_colour` takes.
        left, top: the upper left corner.
        begin: x of the first canvas position; the words' width from `left` by default.
        cell: the width of a position.
        words: the module of the labels.

    Gives the shapes and the height used.
    """
    track = Track(left, left + LABELS if begin is None else begin, cell, shown.start)
    inputs = shown.inputs[:ROWS]
    shapes = [Text(left, top + 16, words.POSITION, SMALL, palette.MUTED)]
    shapes += [Text(track.middle(q), top + 16, str(q), SMALL, palette.FAINT, "middle") for q in shown.positions]
    y = top + 24
    for i in inputs:
        shapes += _stamp(shown, i, phase, track, y, words)
        y += CELL_H + 3
    shapes += _stride_arrow(shown, inputs, track, top + 24)
    if len(inputs) < len(shown.inputs):
        shapes.append(Text(left, y + 12, words.more_inputs(len(shown.inputs) - len(inputs)), SMALL, palette.MUTED))
        y += 20
    shapes.append(Line(track.x(shown.start), y + 4, track.x(shown.stop), y + 4, palette.INK, 1.2))
    shapes += _results(shown, phase, track, y + 10, words)
    caption = 14 if _kept_by_output_padding(shown, track, y, words) else 0
    return shapes, y + 10 + 2 * CELL_H + 6 + caption - top


def _stamp(shown, i, phase, track, y, words):
    axis, left = shown.axis, track.left
    begin, end = (ceil_div(q - i * axis.s, axis.d) for q in (shown.start, shown.stop))
    visible = [(t, i * axis.s + t * axis.d) for t in range(max(0, begin), min(axis.k, end))]
    shapes = [
        Rect(left, y, 34, CELL_H, palette.INPUT, None, radius=3),
        Text(left + 17, y + 17, f"x{i}", min(BODY, 30 / (0.62 * len(f"x{i}"))), palette.INK, "middle", mono=True),
        Text(left + 42, y + 17, words.WRITES, SMALL, palette.MUTED),
    ]
    if len(visible) > 1:
        middle = y + CELL_H / 2
        ends = (track.x(visible[place][1]) + 4 for place in (0, -1))
        shapes.append(Line(next(ends), middle, next(ends), middle, palette.FAINT, 2))
    for t, q in visible:
        cropped = shown.kind(q) == CROPPED
        note = words.stamp_note(i, t, q, cropped)
        colour = palette.phase_colour(*phase(q % axis.s))
        fill, hatch = (palette.CROPPED, palette.CROPPED_HATCH) if cropped else (colour, None)
        shapes.append(track.box(q, y, fill, dash=cropped, hatch=hatch, note=note))
        shapes.append(track.label(q, y, f"w{t}", palette.MUTED if cropped else palette.INK))
    return shapes


def _stride_arrow(shown, inputs, track, top):
    """A double arrow from the beginning of one stamp to that of the next."""
    axis = shown.axis
    starts = [(row, i * axis.s) for row, i in enumerate(inputs) if shown.start <= i * axis.s]
    if len(starts) < 2 or starts[1][1] >= shown.stop:
        return []
    (_, begin), (row, end) = starts[:2]
    y = top + row * (CELL_H + 3) + CELL_H - 6
    step = f"s={axis.s}"
    shapes = [Arrow(track.x(begin) + 1, y, track.x(end) - 1, y, palette.INK, 1, both=True)]
    middle = (track.x(begin) + track.x(end)) / 2
    if text_width(step, SMALL) < track.x(end) - track.x(begin) + 8:
        return [*shapes, Text(middle, y - 6, step, SMALL, palette.INK, "middle")]
    return [*shapes, Text(track.x(begin) - 6, y + 3, step, SMALL, palette.INK, "end")]


def _results(shown, phase, track, y, words):
    axis, received = shown.axis, counts(shown.axis, shown.outputs)
    shapes = [
        Text(track.left, y + 17, words.RECEIVED, SMALL, palette.MUTED),
        Text(track.left, y + CELL_H + 19, words.OUTPUT, SMALL, palette.MUTED),
    ]
    for q in shown.positions:
        kind = shown.kind(q)
        o, below, width = q - axis.crop_lo, y + CELL_H + 2, track.cell - 2
        if kind == CROPPED:
            shapes.append(cropped_cell(track.x(q) + 1, y, width, CELL_H, words))
            shapes.append(Text(track.middle(q), below + 17, words.CUT, SMALL, palette.FAINT, "middle", italic=True))
            continue
        number = received[o - shown.outputs.start]
        shapes += result_cell(track.x(q) + 1, y, width, CELL_H, kind, number, number, phase(q % axis.s), o, words)
        shapes.append(track.label(q, below, f"y{o}"))
    if not shown.whole:
        shapes.append(Text(track.x(shown.stop) + 6, y + 17, "…", 16, palette.MUTED))
    return shapes + _kept_by_output_padding(shown, track, y + 2 * CELL_H + 1, words)


def _kept_by_output_padding(shown, track, y, words):
    """A rule under the canvas values that are there only because of output_padding."""
    axis, setting = shown.axis, setting_of(shown.axis)
    last = min(axis.crop_lo + axis.out, axis.full)
    first = max(shown.start, axis.crop_lo + axis.out - setting.op) if setting else last
    if first >= last or last > shown.stop:
        return []
    begin, end = track.x(first), track.x(last)
    # Words longer than the rule reach to the left, unless the drawing is too short for that.
    inward = end - text_width(words.KEPT, SMALL) > track.x(shown.start)
    anchor = "end" if inward else "start"
    return [
        Line(begin + 2, y, end - 2, y, palette.ACTION, 2),
        Text(end - 2 if inward else begin + 2, y + 14, words.KEPT, SMALL, palette.ACTION, anchor),
    ]


def zeros(shown: Window, phase, left, top, begin=None, cell=CELL_W, most=WHOLE + 1, words=english):
    """The documentation's reading of the same axis, as `stamps` draws, in at most so many columns."""
    axis = shown.axis
    lo, _ = inserted_zeros(axis)
    length = axis.out + axis.k_eff - 1
    # Of what padding removes before the first output, a few values suffice.
    first, last = max(min(0, lo), -CROPPED_SHOWN), max(length, lo + (axis.n - 1) * axis.s + 1)
    stop = last if last - first <= most else first + most - 1
    track = Track(left, left + LABELS if begin is None else begin, cell, first)
    shapes = [Text(left, top + 17, words.CONVOLVED, SMALL, palette.MUTED)]
    for q in range(first, stop):
        shapes += _zero_cell(axis, q, q - lo, 0 <= q < length, track, top, words)
    if stop < last:
        shapes.append(Text(track.x(stop) + 6, top + 17, "…", 16, palette.MUTED))
    return shapes + _turned_kernel(axis, phase, lo, stop, track, top + CELL_H + 4, words), 2 * CELL_H + 8


def _turned_kernel(axis, phase, lo, stop, track, y, words):
    """The kernel over the values of the first output, the last tap first."""
    shapes = [Text(track.left, y + 17, words.FIRST_SUM, SMALL, palette.MUTED)]
    last_visible = min(axis.k, ceil_div(stop, axis.d))
    visible = [(t, (axis.k - 1 - t) * axis.d) for t in range(axis.k - 1, axis.k - 1 - last_visible, -1)]
    if len(visible) > 1:
        ends = track.x(0) + 4, track.x(visible[-1][1]) + 4
        shapes.append(Line(ends[0], y + CELL_H / 2, ends[1], y + CELL_H / 2, palette.FAINT, 2))
    for t, q in visible:
        feeds = (q - lo) % axis.s == 0 and 0 <= q - lo <= (axis.n - 1) * axis.s
        fill = palette.phase_colour(*phase(axis.crop_lo % axis.s)) if feeds else palette.PAPER
        shapes.append(track.box(q, y, fill, dash=not feeds))
        shapes.append(track.label(q, y, f"w{t}", palette.INK if feeds else palette.FAINT))
    end = track.x(visible[-1][1]) + track.cell
    if end + 40 + text_width(words.NEXT_STEP, SMALL) < track.begin + ROOM:
        shapes.append(Arrow(end + 8, y + CELL_H / 2, end + 34, y + CELL_H / 2, palette.INK))
        shapes.append(Text(end + 40, y + 17, words.NEXT_STEP, SMALL, palette.MUTED))
    return shapes


def _zero_cell(axis, q, j, kept, track, y, words):
    inside = 0 <= j <= (axis.n - 1) * axis.s
    is_input = inside and j % axis.s == 0
    label = f"x{j // axis.s}" if is_input else "0"
    if not kept:
        fill, hatch, note = palette.CROPPED, palette.CROPPED_HATCH, words.REMOVED
    elif is_input:
        fill, hatch, note = palette.INPUT, None, words.input_note(j // axis.s)
    else:
        fill, hatch = palette.PAPER, None
        note = words.ZERO_BETWEEN if inside else words.ZERO_AROUND
    ink = palette.INK if is_input and kept else palette.MUTED
    return [track.box(q, y, fill, palette.FAINT, not inside or not kept, hatch, note), track.label(q, y, label, ink)]
