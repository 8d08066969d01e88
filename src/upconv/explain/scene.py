"""A drawing as data: rectangles, lines, arrows and text at fixed places. Knows no layer and no file format.

Coordinates are in pixels, x to the right and y downwards; later shapes lie on top of earlier ones.
"""

import textwrap
from dataclasses import dataclass

from ..table import columns
from .palette import INK

# The width of an average letter as a share of the type size, measured on common fonts and rounded up.
SANS_WIDTH = 0.53
MONO_WIDTH = 0.61
# Hangul is 0.87 to 0.92 of the type size wide.
WIDE_LETTER = 1.8
# Of no font, and no place to break a line.
FILLING = "\ue000"


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle. `hatch` is the colour of diagonal lines over the fill, `dash` a dashed outline, `note` a tooltip."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    stroke_width: float = 1.0
    dash: bool = False
    hatch: str | None = None
    radius: float = 0.0
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line from (x1, y1) to (x2, y2)."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.0
    dash: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """A straight line with a head at (x2, y2), and one at its beginning too when `both` is set."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.2
    both: bool = False

    def heads(self, length=6.0, half_width=2.8):
        """The heads as triangles: tuples of three points, the tip first."""
        ends = [(self.x1, self.y1, self.x2, self.y2)]
        if self.both:
            ends.append((self.x2, self.y2, self.x1, self.y1))
        return [_head(*end, length, half_width) for end in ends]


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; y is its baseline. `anchor` is start, middle or end."""

    x: float
    y: float
    content: str
    size: float = 13.0
    colour: str = INK
    anchor: str = "start"
    bold: bool = False
    italic: bool = False
    mono: bool = False

    @property
    def width(self):
        """An estimate of the width, for laying things out."""
        return text_width(self.content, self.size, self.mono)


Shape = Rect | Line | Arrow | Text


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole drawing: its size, a title and a description for those who cannot see it, and its shapes.

    `themed` is set where every colour comes from `palette`, so that the drawing can be shown on dark paper too;
    `language` is that of its words.

    >>> Scene(10, 10, "empty", "nothing", ()).shapes
    ()
    """

    width: float
    height: float
    title: str
    description: str
    shapes: tuple[Shape, ...]
    themed: bool = False
    language: str = "en"

    @property
    def colours(self):
        """Every colour in use, in the order of first use."""
        names = ("fill", "stroke", "hatch", "colour")
        found = (getattr(shape, name, None) for shape in self.shapes for name in names)
        return list(dict.fromkeys(colour for colour in found if colour))


def text_width(content, size, mono=False):
    """An estimate of the width of a line of text, in pixels; a letter of Hangul is nearly as wide as two others."""
    return _letters(content) * size * (MONO_WIDTH if mono else SANS_WIDTH)


def _letters(content):
    """How many average letters are as wide as a text."""
    return len(content) + (WIDE_LETTER - 1) * (columns(content) - len(content))


def bold_width(content, size):
    """An estimate of the width of a bold heading, whose figures are wider than its letters, in pixels.

    >>> bold_width("1000 × 1000", 10) > bold_width("ten by ten.", 10)
    True
    """
    return size * sum(
        0.36
        if letter == " "
        else WIDE_LETTER * SANS_WIDTH
        if columns(letter) > 1
        else 0.62
        if letter.isalpha()
        else 0.72
        for letter in content
    )


def fitted(content, size, room, width=bold_width):
    """The type size at which a line fits the room: the one wanted, or a smaller one.

    >>> fitted("short", 13, 100), fitted("a heading of many words", 13, 100) < 8
    (13, True)
    """
    return min(size, room / width(content, 1))


def wrap(content, width, size, mono=False):
    """Cut a paragraph into lines that fit the width.

    >>> wrap("one two three", width=60, size=13)
    ['one two', 'three']
    >>> wrap("하나 둘 셋", width=60, size=13)
    ['하나 둘', '셋']
    """
    # A wide letter is two of those that are counted, and a little narrower.
    doubled = "".join(letter + FILLING * (columns(letter) - 1) for letter in content)
    share = _letters(content) / max(1, len(doubled))
    lines = textwrap.wrap(doubled, max(8, int(width / (text_width("x", size, mono) * share))))
    return [line.replace(FILLING, "") for line in lines]


def paragraph(content, x, y, width, size=13.0, colour=INK, mono=False, bold=False):
    """A wrapped paragraph whose first line stands at y; gives the shapes and the height used."""
    lines = wrap(content, width, size, mono)
    step = size * 1.45
    shapes = [Text(x, y + row * step, line, size, colour, bold=bold, mono=mono) for row, line in enumerate(lines)]
    return shapes, step * len(lines)


def _head(x1, y1, x2, y2, length, half_width):
    dx, dy = x2 - x1, y2 - y1
    span = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / span, dy / span
    bx, by = x2 - ux * length, y2 - uy * length
    return (x2, y2), (bx - uy * half_width, by + ux * half_width), (bx + uy * half_width, by - ux * half_width)
