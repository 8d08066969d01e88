"""The layer in two dimensions: input, kernel and output with an example's numbers, two stamps and one sum marked."""

from dataclasses import dataclass
from types import ModuleType

from . import palette
from . import words as english
from .overlap import counts
from .scene import Arrow, Rect, Text, bold_width, fitted, text_width
from .values import MOST_PRODUCTS, input_value, output_value, products, sum_in_words, tap_value
from .window import CROPPED, EXTENSION, OUTPUT, Window

LARGEST, CANVAS = 34, 372
GAP, ARROW, HEADING = 44, 76, 92
INPUTS, TAPS = 5, 7
MOST_TERMS = 4
# Above the maps: their headings, what is cut, and the numbers of the columns.
HEAD = 48


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the maps stand: the canvas lies at the same x as the strips under it, in cells of the same width. The maps
    of a line, which are one row high, are spoken of as lines."""

    h: Window
    w: Window
    left: float
    top: float
    width: float
    line: bool = False
    words: ModuleType = english

    @property
    def axes(self):
        """The axes that are spoken of."""
        return (self.w.axis,) if self.line else (self.h.axis, self.w.axis)

    @property
    def canvas(self):
        """The x of the first canvas position that is shown."""
        return self.left + CANVAS

    @property
    def cell(self):
        """The side of an output's cell."""
        return min(LARGEST, int((self.width - CANVAS) / len(self.w.positions)))

    @property
    def inputs(self):
        """How many (rows, columns) of the input are drawn."""
        return tuple(min(max(1, len(shown.inputs)), INPUTS) for shown in (self.h, self.w))

    @property
    def taps(self):
        """How many (rows, columns) of the kernel are drawn, those between dilated taps included."""
        return tuple(min(shown.axis.k_eff, TAPS) for shown in (self.h, self.w))

    @property
    def small(self):
        """The side of a cell of the input and of the kernel."""
        room, columns, taps = CANVAS - ARROW - GAP, self.inputs[1], self.taps[1]
        return next(c for c in range(self.cell, 0, -1) if max(columns * c, HEADING) + taps * c <= room)

    @property
    def kernel(self):
        """The x of the kernel."""
        return self.left + max(self.inputs[1] * self.small, HEADING) + GAP

    @property
    def below_input(self):
        """The y beneath input and kernel."""
        return self.top + self.small * max(self.inputs[0], self.taps[0]) + 12

    @property
    def below_canvas(self):
        """The y beneath the canvas."""
        return self.top + self.cell * len(self.h.positions)

    def size(self, height, width):
        """A size in words."""
        return str(width) if self.line else f"{height} × {width}"

    def letter(self, q, r):
        """The letter of a canvas position's phase; "" where there is but one phase."""
        h, w = self.h.axis, self.w.axis
        return palette.phase_letter(q % h.s, r % w.s, w.s) if h.s * w.s > 1 else ""

    def place(self, q, r):
        """The corner of canvas position (q, r)."""
        return self.canvas + (r - self.w.start) * self.cell, self.top + (q - self.h.start) * self.cell

    def input_place(self, i, j):
        """The corner of input (i, j)."""
        return self.left + (j - self.w.first_input) * self.small, self.top + (i - self.h.first_input) * self.small

    def tap_place(self, t, u):
        """The corner of tap (t, u)."""
        return self.kernel + u * self.w.axis.d * self.small, self.top + t * self.h.axis.d * self.small


def maps(at: Layout):
    """Input, kernel and output as three maps, with the sum of one output."""
    chosen = selected(at)
    return [
        *_headings(at, chosen),
        *input_map(at),
        *kernel_map(at),
        *_output_map(at),
        *_stamps(at),
        *(_partners(at, *chosen) if chosen else ()),
        Text(at.kernel - GAP * 0.28, at.top + at.small * 0.5 + 8, "×", 22, palette.MUTED, "middle"),
        becomes(at),
    ]


def becomes(at: Layout):
    """The arrow from the kernel to the canvas; the dots of a kernel that goes on stand before it."""
    y = at.top + at.small * 0.5
    return Arrow(at.canvas - 53, y, at.canvas - 29, y, palette.MUTED, 2)


def selected(at: Layout):
    """The output whose sum is written out: of those whose operands are drawn, the first with the most products."""
    best, most = None, 0
    if not has_values(at):
        return None
    for o in at.h.outputs:
        for m in at.w.outputs:
            found = products(at.h.axis, at.w.axis, o, m)
            if most < len(found) <= MOST_TERMS and all(_is_drawn(at, *each) for each in found):
                best, most = (o, m), len(found)
    return best


def has_values(at: Layout):
    """Whether the cells hold the example's values; of vast kernels they hold the number of products."""
    most = (max(counts(shown.axis, shown.outputs), default=0) for shown in (at.h, at.w))
    first, second = most
    return first * second <= MOST_PRODUCTS


def _is_drawn(at, i, j, t, u):
    rows, columns = at.inputs
    taps_h, taps_w = at.taps
    return (
        i - at.h.first_input < rows
        and j - at.w.first_input < columns
        and t * at.h.axis.d < taps_h
        and u * at.w.axis.d < taps_w
    )


def _headings(at, chosen):
    h, w = at.h.axis, at.w.axis
    titles = (
        (at.left, f"{at.words.INPUT} {at.size(h.n, w.n)}"),
        (at.kernel, f"{at.words.KERNEL} {at.size(h.k, w.k)}"),
        (at.canvas, f"{at.words.OUTPUT} {at.size(h.out, w.out)}"),
    )
    y, room = at.top - HEAD + 8, (at.kernel - at.left, at.canvas - at.kernel, at.width - CANVAS)
    shapes = [
        Text(x, y, content, fitted(content, 13, space - 8), palette.INK, bold=True)
        for (x, content), space in zip(titles, room, strict=True)
    ]
    if chosen:
        words = sum_in_words(h, w, *chosen).replace("y[0, ", "y[" if at.line else "y[0, ")
        x = at.canvas + bold_width(shapes[-1].content, shapes[-1].size) + 24
        if x + text_width(words, 12.5, mono=True) < at.left + at.width:
            shapes.append(Text(x, y, words, 12.5, palette.ACTION, mono=True, bold=True))
    return shapes


def input_map(at):
    """The inputs with the example's numbers, or the first of them."""
    rows, columns = at.inputs
    first_h, first_w = at.h.first_input, at.w.first_input
    shapes = []
    for i in range(first_h, first_h + rows):
        for j in range(first_w, first_w + columns):
            x, y = at.input_place(i, j)
            note = at.words.input_note(f"({i}, {j})")
            shapes += numbered(x, y, at.small, input_value(i, j), palette.INPUT, palette.PAPER, note)
    below, right = first_h + rows < at.h.axis.n, first_w + columns < at.w.axis.n
    return shapes + more(at.left, at.top, columns, rows, at.small, right, below)


def kernel_map(at):
    """Taps coloured by the phase they feed; the gaps of a dilation stay empty."""
    (rows, columns), h, w = at.taps, at.h.axis, at.w.axis
    shapes = [Rect(at.kernel, at.top, columns * at.small, rows * at.small, palette.PAPER, palette.RULE, 1)]
    for t in range(-(-rows // h.d)):
        for u in range(-(-columns // w.d)):
            phase = t * h.d % h.s, u * w.d % w.s, w.s
            x, y = at.tap_place(t, u)
            colour = palette.phase_colour(*phase)
            shapes += numbered(x, y, at.small, tap_value(t, u), colour, palette.PAPER, at.words.tap_note(f"({t}, {u})"))
            shapes += lettered(x, y, at.small, at.letter(t * h.d, u * w.d))
    return shapes + more(at.kernel, at.top, columns, rows, at.small, columns < w.k_eff, rows < h.k_eff)


def numbered(x, y, cell, number, fill, stroke, note=None, ink=palette.INK):
    """A square cell with a number in its middle."""
    size = min(14, cell * 0.46)
    label = Text(x + cell / 2, y + cell / 2 + size * 0.36, str(number), size, ink, "middle")
    return [Rect(x, y, cell, cell, fill, stroke, 1, note=note), label]


def lettered(x, y, cell, letter):
    """The letter of a phase in the corner of a cell that has room for it."""
    size = max(8, cell * 0.27)
    return [Text(x + 3, y + size, letter, size, palette.MUTED, italic=True)] if letter and cell >= 26 else []


def _output_map(at):
    h, w, cell = at.h, at.w, at.cell
    received_h, received_w = (dict(zip(a.outputs, counts(a.axis, a.outputs), strict=True)) for a in (h, w))
    is_example = has_values(at)
    shapes = []
    for q in h.positions:
        for r in w.positions:
            kind = joined(h.kind(q), w.kind(r))
            o, m = q - h.axis.crop_lo, r - w.axis.crop_lo
            if kind == CROPPED:
                shapes.append(cropped_cell(*at.place(q, r), cell, cell, at.words))
                continue
            number = received_h[o] * received_w[m]
            shown = output_value(h.axis, w.axis, o, m) if is_example else number
            phase = q % h.axis.s, r % w.axis.s, w.axis.s
            shapes += result_cell(*at.place(q, r), cell, cell, kind, number, shown, phase, f"({o}, {m})", at.words)
            if number:
                shapes += lettered(*at.place(q, r), cell, at.letter(q, r))
    return shapes + _numbers(at) + more(at.canvas, at.top, len(w.positions), len(h.positions), cell, *_cut_off(at))


def _cut_off(at):
    return not at.w.whole, not at.h.whole


def _numbers(at):
    """The numbers of the output's rows and columns."""
    h, w = at.h, at.w
    columns = [
        Text(at.place(h.start, r)[0] + at.cell / 2, at.top - 5, str(r - w.axis.crop_lo), 10, palette.MUTED, "middle")
        for r in w.positions
        if w.kind(r) != CROPPED
    ]
    if at.line:
        return columns
    return columns + [
        Text(
            at.canvas - 6, at.place(q, w.start)[1] + at.cell / 2 + 4, str(q - h.axis.crop_lo), 10, palette.MUTED, "end"
        )
        for q in h.positions
        if h.kind(q) != CROPPED
    ]


def _stamps(at):
    """Two inputs and their stamps in outline, the second one step on in both directions."""
    shapes = []
    marked = [(0, 0, palette.FIRST_STAMP, False), (1, 1, palette.SECOND_STAMP, True)]
    for a, b, colour, dash in reversed(marked):
        i, j = (min(step, max(0, len(shown.inputs) - 1)) for step, shown in ((a, at.h), (b, at.w)))
        if (i, j) != (a, b) and (i, j) == (0, 0):
            continue
        small = at.small
        shapes.append(
            Rect(at.left + j * small + 1, at.top + i * small + 1, small - 2, small - 2, None, colour, 2.4, dash)
        )
        (y, height), (x, width) = _clip(at.h, i), _clip(at.w, j)
        if height <= 0 or width <= 0:
            continue
        cell = at.cell
        place = at.canvas + x * cell, at.top + y * cell, width * cell, height * cell
        shapes.append(Rect(*place, None, colour, 2.4, dash))
    return shapes


def _clip(shown, number):
    """The stamp of the window's input of that number: its beginning and length within the window."""
    start = (shown.first_input + number) * shown.axis.s
    begin, end = max(start, shown.start), min(start + shown.axis.k_eff, shown.stop)
    return begin - shown.start, end - begin


def _partners(at, o, m):
    """The selected output outlined, and its inputs and taps numbered as the terms of its sum."""
    h, w = at.h.axis, at.w.axis
    x, y = at.place(o + h.crop_lo, m + w.crop_lo)
    shapes = [Rect(x + 1, y + 1, at.cell - 2, at.cell - 2, None, palette.ACTION, 3)]
    # In the corner of a small cell, so that the cell's own number stays apart.
    size, inset = max(8, at.small * 0.27), 4 if at.small >= 26 else 1
    for number, (i, j, t, u) in enumerate(products(h, w, o, m), 1):
        for x, y in (at.input_place(i, j), at.tap_place(t, u)):
            place = x + at.small - inset, y + at.small - 3
            shapes.append(Text(*place, str(number), size, palette.ACTION, "end", bold=True))
    return shapes


def joined(a, b):
    """The kind of a cell from those of its row and of its column."""
    if CROPPED in (a, b):
        return CROPPED
    return EXTENSION if EXTENSION in (a, b) else OUTPUT


def cropped_cell(x, y, width, height, words=english):
    """A value of the canvas that padding removes."""
    colours = palette.CROPPED, palette.FAINT, 1, True, palette.CROPPED_HATCH
    return Rect(x, y, width, height, *colours, note=words.CUT_AWAY)


def result_cell(x, y, width, height, kind, number, shown, phase, where, words=english):
    """A cell of the output that receives `number` products; `shown` stands in it."""
    note = words.output_note(where, number)
    if number:
        shapes = [Rect(x, y, width, height, palette.phase_colour(*phase), palette.PAPER, 1, note=note)]
    else:
        # Inset, so that the neighbours drawn later do not cover its outline.
        inner = x + 1.5, y + 1.5, width - 3, height - 3
        shapes = [Rect(*inner, palette.PAPER, palette.MUTED, 1, kind == EXTENSION, radius=2, note=note)]
    size = min(14, height * 0.46, width / (0.72 * len(str(shown))))
    label = Text(x + width / 2, y + height / 2 + size * 0.36, str(shown), size, palette.INK, "middle", bold=number > 0)
    return [*shapes, label]


def more(left, top, columns, rows, cell, more_right, more_down):
    """Dots where a map goes on."""
    shapes = []
    if more_right:
        shapes.append(Text(left + columns * cell + 3, top + cell * 0.5 + 5, "…", 16, palette.MUTED))
    if more_down:
        shapes.append(Text(left + cell * 0.5, top + rows * cell + 14, "⋮", 16, palette.MUTED, "middle"))
    return shapes
