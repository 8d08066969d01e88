"""The layer in two dimensions: input, kernel and output side by side, with the stamps of two inputs outlined."""

from . import palette
from .overlap import counts
from .scene import Arrow, Rect, Text
from .strip import result_cell
from .window import CROPPED, EXTENSION, OUTPUT, Window

LARGEST, SMALLEST = 34, 15
GAP, HEADING = 62, 80
MARGIN = 20
INPUTS, TAPS = 10, 12
SMALL = 11


def maps(h: Window, w: Window, left, top, width):
    """Input, kernel and output as three maps within the given width; gives the shapes and the height used."""
    rows, columns = (min(max(1, len(shown.inputs)), INPUTS) for shown in (h, w))
    taps_h, taps_w = min(h.axis.k_eff, TAPS), min(w.axis.k_eff, TAPS)
    cell = LARGEST
    while cell > SMALLEST and _width(columns, taps_w, len(w.positions), cell) > width:
        cell -= 1
    top += 40
    x_kernel = left + max(columns * cell, HEADING) + GAP
    x_output = left + _width(columns, taps_w, 0, cell)
    shapes = [
        *_headings(h, w, left, x_kernel, x_output, top - 26),
        *_input_map(h, w, rows, columns, left, top, cell),
        *_kernel_map(h, w, taps_h, taps_w, x_kernel, top, cell),
        *_output_map(h, w, x_output, top, cell),
        *_outlines(h, w, left, x_output, top, cell),
        Text(x_kernel - GAP / 2 + 6, top + cell * 0.5 + 8, "×", 24, palette.MUTED, "middle"),
        _arrow(x_output - MARGIN, top + cell * 0.5),
    ]
    height = 40 + cell * max(rows, taps_h, len(h.positions)) + 16
    return shapes, height + (0 if h.whole and w.whole else 8)


def _width(inputs, taps, outputs, cell):
    """Of the three maps of so many columns; narrow ones still leave room for their headings."""
    return max(inputs * cell, HEADING) + max(taps * cell, HEADING) + 2 * GAP + MARGIN + outputs * cell


def _arrow(end, y):
    return Arrow(end - GAP + 24, y, end - 10, y, palette.MUTED, 2)


def _headings(h, w, x_input, x_kernel, x_output, y):
    titles = (
        (x_input, f"input {h.axis.n} × {w.axis.n}"),
        (x_kernel, f"kernel {h.axis.k} × {w.axis.k}"),
        (x_output, f"output {h.axis.out} × {w.axis.out}"),
    )
    return [Text(x, y, content, 13, palette.INK, bold=True) for x, content in titles]


def _input_map(h, w, rows, columns, left, top, cell):
    shapes = [
        Rect(
            left + j * cell,
            top + i * cell,
            cell,
            cell,
            palette.INPUT,
            palette.PAPER,
            1,
            note=f"input ({h.first_input + i}, {w.first_input + j})",
        )
        for i in range(rows)
        for j in range(columns)
    ]
    return shapes + _more(left, top, columns, rows, cell, columns < w.axis.n, rows < h.axis.n)


def _kernel_map(h, w, rows, columns, left, top, cell):
    """Taps coloured by the phase they feed; the gaps of a dilation stay empty."""
    shapes = [Rect(left, top, columns * cell, rows * cell, palette.PAPER, palette.RULE, 1)]
    for y in range(0, rows, h.axis.d):
        for x in range(0, columns, w.axis.d):
            colour = palette.phase_colour(y % h.axis.s, x % w.axis.s, w.axis.s)
            note = f"tap ({y // h.axis.d}, {x // w.axis.d})"
            shapes.append(Rect(left + x * cell, top + y * cell, cell, cell, colour, palette.PAPER, 1, note=note))
    return shapes + _more(left, top, columns, rows, cell, columns < w.axis.k_eff, rows < h.axis.k_eff)


def _output_map(h, w, left, top, cell):
    received_h, received_w = (dict(zip(a.outputs, counts(a.axis, a.outputs), strict=True)) for a in (h, w))
    size = min(13, cell * 0.52)
    shapes = []
    for row, q in enumerate(h.positions):
        for column, r in enumerate(w.positions):
            kind = _joined(h.kind(q), w.kind(r))
            o, m = q - h.axis.crop_lo, r - w.axis.crop_lo
            number = None if kind == CROPPED else received_h[o] * received_w[m]
            colour = palette.phase_colour(q % h.axis.s, r % w.axis.s, w.axis.s)
            x, y = left + column * cell, top + row * cell
            shapes += result_cell(x, y, cell, cell, kind, number, colour, f"({o}, {m})", size)
    shapes += [
        Text(left + (r - w.start + 0.5) * cell, top - 5, str(r - w.axis.crop_lo), 10, palette.FAINT, "middle")
        for r in w.positions
        if w.kind(r) != CROPPED
    ]
    shapes += [
        Text(left - 6, top + (q - h.start + 0.5) * cell + 4, str(q - h.axis.crop_lo), 10, palette.FAINT, "end")
        for q in h.positions
        if h.kind(q) != CROPPED
    ]
    return shapes + _more(left, top, len(w.positions), len(h.positions), cell, not w.whole, not h.whole)


def _outlines(h, w, x_input, x_output, top, cell):
    """Two inputs and their stamps in outline, the second one step on in both directions."""
    shapes = []
    marked = [(0, 0, palette.FIRST_STAMP, False), (1, 1, palette.SECOND_STAMP, True)]
    for a, b, colour, dash in reversed(marked):
        i, j = (min(step, max(0, len(shown.inputs) - 1)) for step, shown in ((a, h), (b, w)))
        if (i, j) != (a, b) and (i, j) == (0, 0):
            continue
        shapes.append(Rect(x_input + j * cell + 1, top + i * cell + 1, cell - 2, cell - 2, None, colour, 2.4, dash))
        (y, height), (x, width) = _clip(h, i), _clip(w, j)
        if height <= 0 or width <= 0:
            continue
        shapes.append(Rect(x_output + x * cell, top + y * cell, width * cell, height * cell, None, colour, 2.4, dash))
    return shapes


def _clip(shown, number):
    """The stamp of the window's input of that number: its beginning and length within the window."""
    start = (shown.first_input + number) * shown.axis.s
    begin, end = max(start, shown.start), min(start + shown.axis.k_eff, shown.stop)
    return begin - shown.start, end - begin


def _joined(a, b):
    if CROPPED in (a, b):
        return CROPPED
    return EXTENSION if EXTENSION in (a, b) else OUTPUT


def _more(left, top, columns, rows, cell, more_right, more_down):
    shapes = []
    if more_right:
        shapes.append(Text(left + columns * cell + 5, top + cell * 0.5 + 5, "…", 16, palette.MUTED))
    if more_down:
        shapes.append(Text(left + cell * 0.5, top + rows * cell + 14, "⋮", 16, palette.MUTED, "middle"))
    return shapes
