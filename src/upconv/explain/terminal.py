"""Scenes as lines of text for a terminal, in colour where it has any; a cell of a map is five columns and two lines."""

from functools import singledispatch

from ..table import columns
from . import palette
from .scene import Arrow, Line, Rect, Scene, Text

# Pixels of the scene for one character; a cell of 34 pixels has room for its number and its letter.
COLUMN, ROW = 34 / 5, 17.0
HATCH, RESET = "░", "\x1b[0m"
CORNERS = "┌┐└┘"
FLAT = 3.0
# Small figures stand beside a cell's own, and must not be read together with it.
SMALLEST = 9.5
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
# On the terminal's own ground its own ink is the readable one, and colours must do on light and dark alike.
PLAIN = {palette.INK: None, palette.MUTED: None, palette.FAINT: None, palette.RULE: None}
PLAIN |= {palette.ACTION: "#2f86de", palette.SECOND_STAMP: "#d9534a"}


def terminal(scene: Scene, colour=True, dark=False) -> str:
    """The scene as text.

    Args:
        scene: what to draw.
        colour: whether the terminal understands 24-bit colours; without them letters and figures must do.
        dark: whether its background is dark.

    >>> print(terminal(Scene(80, 34, "t", "d", (Text(0, 12, "a"), Rect(34, 0, 34, 34, None, hatch="#888888"))), False))
    a    ░░░░░
         ░░░░░
    """
    screen = Screen(scene)
    for shape in scene.shapes:
        # The paper is the terminal's own.
        if not (isinstance(shape, Rect) and (shape.width, shape.height) == (scene.width, scene.height)):
            _draw(shape, screen)
    return screen.text(colour, dark)


class Screen:
    """A grid of characters, each with the colours of its ink and of its ground, or None for the terminal's own."""

    def __init__(self, scene):
        self.columns, self.rows = round(scene.width / COLUMN) + 1, round(scene.height / ROW) + 1
        self.characters = [[" "] * self.columns for _ in range(self.rows)]
        self.inks = [[None] * self.columns for _ in range(self.rows)]
        self.grounds = [[None] * self.columns for _ in range(self.rows)]

    def put(self, column, row, character, ink):
        """Write one character, if it lies on the screen; a wide one has two places, of which the second is empty."""
        wide = columns(character)
        if not (0 <= row < self.rows and 0 <= column <= self.columns - wide):
            return
        line = self.characters[row]
        # What is half covered is gone.
        if line[column] == "":
            line[column - 1] = " "
        if column + wide < self.columns and line[column + wide] == "":
            line[column + wide] = " "
        line[column : column + wide] = [character, ""][:wide]
        self.inks[row][column : column + wide] = [ink] * wide

    def text(self, colour, dark):
        """The grid as lines without trailing blanks."""
        lines = [self._line(row, colour, dark) for row in range(self.rows)]
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines)

    def _line(self, row, colour, dark):
        characters, inks, grounds = self.characters[row], self.inks[row], self.grounds[row]
        last = max((c for c in range(self.columns) if characters[c] != " " or grounds[c]), default=-1)
        if not colour:
            return "".join(characters[: last + 1]).rstrip()
        parts, before = [], (None, None)
        for column in range(last + 1):
            ink, ground = inks[column], grounds[column]
            style = (PLAIN.get(ink, ink) if ground is None else ink), ground
            if style != before:
                parts.append(RESET + _escape(38, style[0], dark) + _escape(48, style[1], dark))
                before = style
            parts.append(characters[column])
        return "".join(parts) + RESET * bool(parts)


def _escape(code, colour, dark):
    if colour is None:
        return ""
    shown = getattr(colour, "dark", colour) if dark else colour
    return f"\x1b[{code};2;" + ";".join(str(int(shown[at : at + 2], 16)) for at in (1, 3, 5)) + "m"


@singledispatch
def _draw(shape, screen):
    raise TypeError(f"{type(shape).__name__} is not a shape; a scene holds Rect, Line, Arrow and Text")


@_draw.register
def _rect(shape: Rect, screen):
    left, right = (round(x / COLUMN) for x in (shape.x, shape.x + shape.width))
    top = round(shape.y / ROW)
    bottom = top + round(shape.height / ROW)
    if shape.fill is None and shape.hatch is None:
        for (row, column), corner in zip(
            ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)), CORNERS, strict=True
        ):
            screen.put(column, row, corner, shape.stroke)
        return
    for row in range(max(0, top), min(max(bottom, top + 1), screen.rows)):
        for column in range(max(0, left), min(max(right, left + 1), screen.columns)):
            # White paper within the drawing is the terminal's own ground as well.
            screen.grounds[row][column] = None if shape.fill == palette.PAPER else shape.fill
            screen.put(column, row, HATCH if shape.hatch else " ", shape.hatch)


@_draw.register
def _line(shape: Line, screen):
    """Lines along the grid; slanted ones have no character."""
    if abs(shape.y1 - shape.y2) < FLAT:
        row, ends = round((shape.y1 - ROW / 2) / ROW), sorted((shape.x1, shape.x2))
        for column in range(round(ends[0] / COLUMN), round(ends[1] / COLUMN)):
            screen.put(column, row, "─", shape.colour)
    elif abs(shape.x1 - shape.x2) < FLAT:
        column, ends = round(shape.x1 / COLUMN), sorted((shape.y1, shape.y2))
        for row in range(round(ends[0] / ROW), round(ends[1] / ROW)):
            screen.put(column, row, "│", shape.colour)


@_draw.register
def _arrow(shape: Arrow, screen):
    _line(Line(shape.x1, shape.y1, shape.x2, shape.y2, shape.colour), screen)
    if abs(shape.y1 - shape.y2) < FLAT:
        row = round((shape.y1 - ROW / 2) / ROW)
        screen.put(round(shape.x2 / COLUMN) - 1, row, ">", shape.colour)


@_draw.register
def _text(shape: Text, screen):
    # A baseline stands at the lower end of its line.
    row = round((shape.y - ROW * 0.75) / ROW)
    content = shape.content.translate(SUBSCRIPTS) if shape.size < SMALLEST else shape.content
    share = {"start": 0, "middle": 0.5, "end": 1}[shape.anchor]
    column = round(shape.x / COLUMN - columns(content) * share)
    for character in content:
        if character != " ":
            screen.put(column, row, character, shape.colour)
        column += columns(character)
