"""One axis in four views at once, output by output: written by stamps, read over zeros, in phases, and along wires."""

from dataclasses import dataclass

from ..geometry import Axis
from . import palette
from .described import describe_axis
from .overlap import pairs, taps_of
from .scene import Line, Rect, Scene, Text
from .sizes import inserted_zeros
from .window import extent

INPUTS, TAPS = (2, 1, 3, 1, 2), (1, 3, 2, 1, 2)
CELL, ROW = 34, 27
MARGIN, LABEL, GUTTER = 28, 54, 44
# The titles of the views need as much.
NARROWEST = 396
HEAD = 104
STEP, END = 1500, 2600
# More columns than this do not fit side by side.
MOST = 14
SMALL = 12


@dataclass(frozen=True, slots=True)
class View:
    """Where one view stands, the axis, and the output whose making it shows."""

    axis: Axis
    o: int
    left: float
    top: float

    def x(self, column):
        """Where a column begins."""
        return self.left + LABEL + column * CELL

    def y(self, row):
        """Where a row begins, beneath the view's title."""
        return self.top + 20 + row * ROW

    @property
    def q(self):
        """The canvas position of the output."""
        return self.o + self.axis.crop_lo

    def cell(self, column, row, content, fill, ink=palette.INK, bold=False, dash=False, hatch=None):
        """A cell with a number."""
        x, y = self.x(column), self.y(row)
        return [
            Rect(x + 1, y, CELL - 2, ROW - 3, fill, palette.FAINT if dash else palette.RULE, 1, dash, hatch, 3),
            Text(x + CELL / 2, y + 17, str(content), 14, ink, "middle", bold=bold),
        ]

    def label(self, row, content):
        """The name of a row."""
        return Text(self.left, self.y(row) + 17, content, SMALL, palette.MUTED)

    def box(self, column, row, columns=1, rows=1):
        """An outline around cells."""
        place = self.x(column), self.y(row) - 2, columns * CELL, rows * ROW + 1
        return Rect(*place, None, palette.ACTION, 3, radius=3)

    def title(self, content):
        """The view's name."""
        return Text(self.left, self.top, content, 14, palette.INK, bold=True)


def views(axis: Axis, title=None) -> list[tuple[Scene, int]]:
    """The four views in step, as frames of (scene, milliseconds): one for each output.

    Args:
        axis: one with a canvas of at most 14 positions.
        title: words above the drawing; the settings by default.

    Raises:
        ValueError: for a longer axis.

    >>> frames = views(Axis(3, 3, s=2, crop_lo=1, crop_hi=0))
    >>> len(frames), frames[1][0].description
    (6, 'y1 = 2·2 + 1·1 = 5')
    """
    lo, hi = inserted_zeros(axis)
    columns = max(extent(axis)[1] - extent(axis)[0], (axis.n - 1) * axis.s + 1 + max(0, lo) + max(0, hi))
    if columns > MOST or axis.crop_lo < 0:
        raise ValueError(f"the four views show at most {MOST} positions beside each other, and this axis has {columns}")
    last = axis.out - 1
    return [(_scene(axis, o, columns, title), END if o == last else STEP) for o in range(axis.out)]


def value_of(axis, o):
    """The example's output o."""
    return sum(_x(i) * _w(t) for i, t in pairs(axis, o))


def sum_of(axis, o):
    """The sum of output o with the example's numbers."""
    terms = " + ".join(f"{_x(i)}·{_w(t)}" for i, t in sorted(pairs(axis, o)))
    return f"y{o} = {terms or 'bias'} = {value_of(axis, o)}"


def _x(i):
    return INPUTS[i % len(INPUTS)]


def _w(t):
    return TAPS[t % len(TAPS)]


def _colour(axis, q):
    return palette.phase_colour(q % axis.s)


def _scene(axis, o, columns, title):
    wide = max(LABEL + columns * CELL, NARROWEST)
    rows = max(axis.n + 1, 4)
    second = HEAD + 20 + rows * ROW + 34
    right = MARGIN + wide + GUTTER
    width, height = right + wide + MARGIN, second + 20 + 5 * ROW + 8
    name = title or describe_axis(axis)
    shapes = [
        Rect(0, 0, width, height, palette.PAPER),
        Text(MARGIN, 34, name, 17, palette.INK, bold=True),
        Text(MARGIN, 64, sum_of(axis, o), 18, palette.ACTION, mono=True, bold=True),
        *_write(View(axis, o, MARGIN, HEAD)),
        *_read(View(axis, o, right, HEAD)),
        *_phases(View(axis, o, MARGIN, second)),
        *_wires(View(axis, o, right, second)),
    ]
    return Scene(width, height, f"Four views: {name}", sum_of(axis, o), tuple(shapes), themed=True)


def _write(at):
    """The stamps; the output is the sum of its column."""
    axis = at.axis
    shapes = [at.title("Write: each input stamps the kernel, stamps add")]
    for i in range(axis.n):
        shapes.append(at.label(i, f"x{i} = {_x(i)}"))
        for t in range(axis.k):
            q = i * axis.s + t * axis.d
            is_on = q == at.q
            shapes += at.cell(q, i, _x(i) * _w(t), _colour(axis, q), palette.INK if is_on else palette.MUTED, is_on)
    shapes.append(at.label(axis.n, "output"))
    for q in range(*extent(axis)):
        shapes += _output(at, q, q, axis.n)
    return [*shapes, at.box(at.q, 0, 1, axis.n + 1)]


def _output(at, q, column, row):
    """A cell of the output row: the outputs up to this one have their values."""
    axis, o = at.axis, q - at.axis.crop_lo
    if not 0 <= o < axis.out:
        return at.cell(column, row, "", palette.CROPPED, dash=True, hatch=palette.CROPPED_HATCH)
    if o > at.o:
        return at.cell(column, row, "", palette.PAPER)
    fill = _colour(axis, q) if pairs(axis, o) else palette.PAPER
    return at.cell(column, row, value_of(axis, o), fill, bold=o == at.o)


def _read(at):
    """The documentation's telling: zeros between and around the inputs, and the kernel turned round over them."""
    axis, (lo, _) = at.axis, inserted_zeros(at.axis)
    shift = min(0, lo)
    shapes = [at.title("Read: zeros between, the kernel turned, step 1"), at.label(0, "spread"), at.label(1, "kernel")]
    for q in range(shift, axis.out + axis.k_eff - 1):
        i, rest = divmod(q - lo, axis.s)
        is_input = rest == 0 and 0 <= i < axis.n
        fill = palette.INPUT if is_input else palette.PAPER
        content, ink = (_x(i), palette.INK) if is_input else (0, palette.FAINT)
        shapes += at.cell(q - shift, 0, content, fill, ink, dash=not is_input)
    for t in range(axis.k):
        q = at.o + (axis.k - 1 - t) * axis.d
        i, rest = divmod(q - lo, axis.s)
        feeds = rest == 0 and 0 <= i < axis.n
        fill, ink = (_colour(axis, at.q), palette.INK) if feeds else (palette.PAPER, palette.FAINT)
        shapes += at.cell(q - shift, 1, _w(t), fill, ink, feeds, dash=not feeds)
    shapes.append(at.box(at.o - shift, 0, axis.k_eff, 2))
    shapes.append(at.label(2, "output"))
    for o in range(axis.out):
        shapes += _output(at, o + axis.crop_lo, o - shift, 2)
    return [*shapes, at.box(at.o - shift, 2)]


def _phases(at):
    """The small kernel of the output's phase over the inputs themselves."""
    axis = at.axis
    residue = at.q % axis.s
    taps = taps_of(axis, residue)
    names = f"the small kernel [{' '.join(f'w{t}' for t in reversed(taps))}]" if taps else "no taps: bias alone"
    shapes = [at.title(f"Phases: phase {palette.phase_letter(residue)} has {names}")]
    shapes += [at.label(0, "input"), at.label(1, "kernel"), at.label(2, "output")]
    for i in range(axis.n):
        shapes += at.cell(i, 0, _x(i), palette.INPUT)
    met = sorted(pairs(axis, at.o))
    for i, t in met:
        shapes += at.cell(i, 1, _w(t), _colour(axis, at.q), bold=True)
    if met:
        shapes.append(at.box(met[0][0], 0, met[-1][0] - met[0][0] + 1, 2))
    for o in range(axis.out):
        q = o + axis.crop_lo
        shapes += _output(at, q, o, 2)
        is_on = q % axis.s == residue
        place = at.x(o) + CELL / 2, at.y(3) + 12
        ink = palette.INK if is_on else palette.FAINT
        shapes.append(Text(*place, palette.phase_letter(q % axis.s), SMALL, ink, "middle", bold=is_on, italic=True))
    return [*shapes, at.box(at.o, 2)]


def _wires(at):
    """Every product as a wire from its input to its output; the wires of a Conv of these settings, turned round."""
    axis = at.axis
    shapes = [at.title("Wires: those of Conv1d, followed backwards"), at.label(0, "input"), at.label(4, "output")]
    places = {i: (i * axis.s + axis.d * (axis.k - 1) / 2 - axis.crop_lo) for i in range(axis.n)}
    shift = max(0, -min(places.values()))
    lit = []
    for o in range(axis.out):
        for i, t in pairs(axis, o):
            ends = at.x(places[i] + shift) + CELL / 2, at.y(1) - 3, at.x(o + shift) + CELL / 2, at.y(4)
            if o != at.o:
                shapes.append(Line(*ends, palette.RULE, 1.2))
                continue
            x, y = (ends[0] + ends[2] * 2) / 3, (ends[1] + ends[3] * 2) / 3
            lit.append(Line(*ends, palette.ACTION, 2.4))
            lit.append(Rect(x - 15, y - 11, 30, 18, palette.PAPER, radius=4))
            lit.append(Text(x, y + 3, f"·{_w(t)}", 13, palette.ACTION, "middle", bold=True))
    for i, place in places.items():
        shapes += at.cell(place + shift, 0, _x(i), palette.INPUT)
    for o in range(axis.out):
        shapes += _output(at, o + axis.crop_lo, o + shift, 4)
    return [*shapes, *lit, at.box(at.o + shift, 4)]
