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

from ..geometry import ceil_div
from ..inverse import setting_of
from . import palette
from .overlap import counts
from .scene import Arrow, Line, Rect, Text, text_width, wrap
from .sizes import inserted_zeros
from .window import CROPPED, CROPPED_SHOWN, EXTENSION, ROWS, WHOLE, Window

CELL_W, CELL_H = 33, 25
LABELS = 132
SMALL, BODY = 11, 13


def stamps(shown: Window, colours, left, top):
    """The stamps of one axis; `colours(residue)` colours a tap. Gives the shapes and the height used."""
    x = _columns(left, shown.start)
    inputs = shown.inputs[:ROWS]
    shapes = [Text(left, top + 16, "canvas position", SMALL, palette.MUTED)]
    shapes += [Text(x(q) + CELL_W / 2, top + 16, str(q), SMALL, palette.FAINT, "middle") for q in shown.positions]
    y = top + 24
    for i in inputs:
        shapes += _stamp(shown, i, colours, x, y, left)
        y += CELL_H + 3
    shapes += _stride_arrow(shown, inputs, x, top + 24)
    if len(inputs) < len(shown.inputs):
        shapes.append(Text(left, y + 12, f"and {len(shown.inputs) - len(inputs)} more inputs", SMALL, palette.MUTED))
        y += 20
    shapes.append(Line(x(shown.start), y + 4, x(shown.stop), y + 4, palette.INK, 1.2))
    shapes += _results(shown, colours, x, y + 10, left)
    caption = 14 if _kept_by_output_padding(shown, x, y) else 0
    return shapes, y + 10 + 2 * CELL_H + 6 + caption - top


def _stamp(shown, i, colours, x, y, left):
    axis = shown.axis
    begin, end = (ceil_div(q - i * axis.s, axis.d) for q in (shown.start, shown.stop))
    visible = [(t, i * axis.s + t * axis.d) for t in range(max(0, begin), min(axis.k, end))]
    shapes = [
        Rect(left, y, 34, CELL_H, palette.INPUT, None, radius=3),
        Text(left + 17, y + 17, f"x{i}", BODY, palette.INK, "middle", mono=True),
        Text(left + 42, y + 17, "writes", SMALL, palette.MUTED),
    ]
    if len(visible) > 1:
        middle = y + CELL_H / 2
        shapes.append(Line(x(visible[0][1]) + 4, middle, x(visible[-1][1]) + 4, middle, palette.FAINT, 2))
    for t, q in visible:
        cropped = shown.kind(q) == CROPPED
        note = f"input {i} through tap {t} lands on position {q}" + (", which is cropped" if cropped else "")
        fill, hatch = (palette.CROPPED, palette.CROPPED_HATCH) if cropped else (colours(q % axis.s), None)
        shapes.append(Rect(x(q) + 1, y, CELL_W - 2, CELL_H, fill, palette.RULE, 1, cropped, hatch, 3, note))
        ink = palette.MUTED if cropped else palette.INK
        shapes.append(Text(x(q) + CELL_W / 2, y + 17, f"w{t}", BODY, ink, "middle", mono=True))
    return shapes


def _stride_arrow(shown, inputs, x, top):
    """A double arrow from the beginning of one stamp to that of the next."""
    axis = shown.axis
    starts = [(row, i * axis.s) for row, i in enumerate(inputs) if shown.start <= i * axis.s]
    if len(starts) < 2 or starts[1][1] >= shown.stop:
        return []
    (_, begin), (row, end) = starts[:2]
    y = top + row * (CELL_H + 3) + CELL_H - 6
    middle = (x(begin) + x(end)) / 2
    return [
        Arrow(x(begin) + 1, y, x(end) - 1, y, palette.INK, 1, both=True),
        Text(middle, y - 6, f"s={axis.s}", SMALL, palette.INK, "middle"),
    ]


def _results(shown, colours, x, y, left):
    axis, received = shown.axis, counts(shown.axis, shown.outputs)
    shapes = [
        Text(left, y + 17, "products received", SMALL, palette.MUTED),
        Text(left, y + CELL_H + 19, "output", SMALL, palette.MUTED),
    ]
    for q in shown.positions:
        kind = shown.kind(q)
        o = q - axis.crop_lo
        number = None if kind == CROPPED else received[o - shown.outputs.start]
        shapes += result_cell(x(q) + 1, y, CELL_W - 2, CELL_H, kind, number, colours(q % axis.s), o, 14)
        if kind == CROPPED:
            shapes.append(Text(x(q) + CELL_W / 2, y + CELL_H + 19, "cut", SMALL, palette.FAINT, "middle", italic=True))
        else:
            shapes.append(Text(x(q) + CELL_W / 2, y + CELL_H + 19, f"y{o}", BODY, palette.INK, "middle", mono=True))
    if not shown.whole:
        shapes.append(Text(x(shown.stop) + 6, y + 17, "…", 16, palette.MUTED))
    return shapes + _kept_by_output_padding(shown, x, y + 2 * CELL_H + 1)


def _kept_by_output_padding(shown, x, y):
    """A rule under the canvas values that are there only because of output_padding."""
    axis, setting = shown.axis, setting_of(shown.axis)
    last = min(axis.crop_lo + axis.out, axis.full)
    first = max(shown.start, axis.crop_lo + axis.out - setting.op) if setting else last
    if first >= last or last > shown.stop:
        return []
    begin, end = x(first), x(last)
    words = "kept by output_padding"
    # Words longer than the rule reach to the left, unless the drawing is too short for that.
    inward = end - text_width(words, SMALL) > x(shown.start)
    return [
        Line(begin + 2, y, end - 2, y, palette.INK, 2),
        Text(end - 2 if inward else begin + 2, y + 14, words, SMALL, palette.INK, "end" if inward else "start"),
    ]


def result_cell(x, y, width, height, kind, number, colour, where, size):
    """A cell of the output with the number of products it receives, or a cropped one."""
    if kind == CROPPED:
        return [
            Rect(
                x,
                y,
                width,
                height,
                palette.CROPPED,
                palette.FAINT,
                1,
                True,
                palette.CROPPED_HATCH,
                note="cropped: padding removes this value",
            )
        ]
    note = f"output {where}: {number} product{'s' * (number != 1)}" + (" (bias only)" if number == 0 else "")
    if number:
        shapes = [Rect(x, y, width, height, colour, palette.RULE, 1, note=note)]
    else:
        # Inset, so that the neighbours drawn later do not cover its outline.
        inner = x + 1.5, y + 1.5, width - 3, height - 3
        shapes = [Rect(*inner, palette.PAPER, palette.MUTED, 1, kind == EXTENSION, radius=2, note=note)]
    size = min(size, width / (0.72 * len(str(number))))
    label = Text(x + width / 2, y + height / 2 + size * 0.36, str(number), size, palette.INK, "middle", bold=number > 0)
    return [*shapes, label]


def zeros(shown: Window, colours, left, top):
    """The documentation's reading of the same axis; gives the shapes and the height used."""
    axis = shown.axis
    lo, _ = inserted_zeros(axis)
    length = axis.out + axis.k_eff - 1
    # Of what padding removes before the first output, a few values suffice.
    first, last = max(min(0, lo), -CROPPED_SHOWN), max(length, lo + (axis.n - 1) * axis.s + 1)
    stop = last if last - first <= WHOLE + 1 else first + WHOLE
    x = _columns(left, first)
    shapes = [Text(left, top + 17, "what is convolved", SMALL, palette.MUTED)]
    for q in range(first, stop):
        shapes += _zero_cell(axis, q, q - lo, 0 <= q < length, x(q), top)
    if stop < last:
        shapes.append(Text(x(stop) + 6, top + 17, "…", 16, palette.MUTED))
    y = top + CELL_H + 4
    shapes.append(Text(left, y + 17, "y0 is the sum of", SMALL, palette.MUTED))
    # Turned round: the last tap comes first.
    last_visible = min(axis.k, ceil_div(stop, axis.d))
    visible = [(t, (axis.k - 1 - t) * axis.d) for t in range(axis.k - 1, axis.k - 1 - last_visible, -1)]
    if len(visible) > 1:
        shapes.append(Line(x(0) + 4, y + CELL_H / 2, x(visible[-1][1]) + 4, y + CELL_H / 2, palette.FAINT, 2))
    for t, q in visible:
        feeds = (q - lo) % axis.s == 0 and 0 <= q - lo <= (axis.n - 1) * axis.s
        fill = colours(axis.crop_lo % axis.s) if feeds else palette.PAPER
        ink = palette.INK if feeds else palette.FAINT
        shapes.append(Rect(x(q) + 1, y, CELL_W - 2, CELL_H, fill, palette.RULE, 1, not feeds, radius=3))
        shapes.append(Text(x(q) + CELL_W / 2, y + 17, f"w{t}", BODY, ink, "middle", mono=True))
    end = x(visible[-1][1]) + CELL_W
    if end + 210 < x(first + WHOLE + 1):
        shapes.append(Arrow(end + 8, y + CELL_H / 2, end + 34, y + CELL_H / 2, palette.INK))
        shapes.append(Text(end + 40, y + 17, "one step right for each next output", SMALL, palette.MUTED))
    return shapes, 2 * CELL_H + 8


def _zero_cell(axis, q, j, kept, x, y):
    inside = 0 <= j <= (axis.n - 1) * axis.s
    is_input = inside and j % axis.s == 0
    label = f"x{j // axis.s}" if is_input else "0"
    if not kept:
        fill, hatch, note = palette.CROPPED, palette.CROPPED_HATCH, "removed by padding"
    elif is_input:
        fill, hatch, note = palette.INPUT, None, f"input {j // axis.s}"
    else:
        fill, hatch = palette.PAPER, None
        note = "a zero between inputs" if inside else "a zero put around the input"
    shapes = [Rect(x + 1, y, CELL_W - 2, CELL_H, fill, palette.FAINT, 1, not inside or not kept, hatch, 3, note)]
    ink = palette.INK if is_input and kept else palette.MUTED
    return [*shapes, Text(x + CELL_W / 2, y + 17, label, BODY, ink, "middle", mono=True)]


def _columns(left, first):
    return lambda q: left + LABELS + (q - first) * CELL_W


def paragraph(content, x, y, width, size=BODY, colour=palette.INK, mono=False, bold=False):
    """A wrapped paragraph whose first line stands at y; gives the shapes and the height used."""
    lines = wrap(content, width, size, mono)
    step = size * 1.45
    shapes = [Text(x, y + row * step, line, size, colour, bold=bold, mono=mono) for row, line in enumerate(lines)]
    return shapes, step * len(lines)
