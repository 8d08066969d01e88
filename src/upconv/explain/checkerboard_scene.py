"""The picture of a weight's checkerboard: its phases' gains, what a constant becomes, and the pattern's frequencies."""

import numpy as np

from . import palette
from .scene import Rect, Scene, Text, paragraph

MARGIN, WIDTH = 28, 760
INNER = WIDTH - 2 * MARGIN
MAP, GAP, MAPS = 160, 21, 4
# So many outputs of a map's side, and a map's gains in figures up to so large a stride.
SIDE, LARGEST_NUMBERED = 6, 4
BODY, SMALL = 14, 12
# Lightness at a gain of nothing and at twice the mean or more; hue stays the sign of a phase, never of a value.
DARKEST, LIGHTEST = 25, 245


def scene(found) -> Scene:
    """The picture of an `Artifacts`, as data.

    >>> from .checkerboard import artifacts
    >>> scene(artifacts([[[[1, 2, 3, 1]]]], (1, 2))).title
    'Phase gains of weight (1, 1, 1, 4), stride 1 × 2'
    """
    shape = "(" + ", ".join(map(str, found.weight.shape)) + ")"
    title = f"Phase gains of {found.name or 'weight'} {shape}, stride {found.stride[0]} × {found.stride[1]}"
    shapes = [Text(MARGIN, 38, title, 18, palette.INK, bold=True)]
    lines = f"{found.verdict[0].upper()}{found.verdict[1:]}.", _numbers(found)
    y = 66
    for line, bold in zip(lines, (True, False), strict=True):
        drawn, used = paragraph(line, MARGIN, y, INNER, BODY, bold=bold)
        shapes += drawn
        y += used + 2
    for section in (_maps, _bars, _fixes):
        drawn, y = section(found, y + 18)
        shapes += drawn
    paper = Rect(0, 0, WIDTH, y + 10, palette.PAPER)
    return Scene(WIDTH, y + 10, title, " ".join(lines), (paper, *shapes), themed=True)


def _numbers(found):
    typical = 1 - 1 / found.taps.size
    return (
        f"Score {found.score:.3f}: 0 is flat, random weights have about {typical:.2f}. "
        f"The gains deviate by {found.deviation:.1%} of their mean."
    )


def _maps(found, y):
    """What a constant input becomes in the output channels with the strongest pattern."""
    chosen = found.worst[:MAPS]
    shapes = [Text(MARGIN, y + 12, _constant(found), BODY, palette.INK, bold=True)]
    for place, channel in enumerate(chosen):
        x = MARGIN + place * (MAP + GAP)
        shapes += _map(found, channel, x, y + 26)
        words = f"channel {channel}: score {found.channels[channel]:.3f}"
        shapes.append(Text(x, y + 26 + MAP + 18, words, SMALL, palette.MUTED))
    more = len(found.gains) - len(chosen)
    if more:
        number = f"{len(chosen)} of {len(found.gains)}"
        words = f"The {number} output channels whose pattern has the most energy, and their scores."
        shapes.append(Text(MARGIN, y + 26 + MAP + 38, words, SMALL, palette.MUTED))
    return shapes, y + 26 + MAP + (42 if more else 22)


def _constant(found):
    if (found.mean == 1).all():
        return "A constant input of 1 becomes (lightness is the value)"
    return "The mean of the layer's input becomes (lightness is the value)"


def _map(found, channel, x, y):
    """Some periods of one channel's response, as lightness, with the gains in the cells of the first."""
    s_h, s_w = found.stride
    gains = found.gains[channel]
    rows, columns = (max(s, SIDE // s * s) for s in (s_h, s_w))
    wide, high = MAP / columns, MAP / rows
    light = lightness(gains)
    shapes = []
    for row in range(min(rows, 32)):
        for column in range(min(columns, 32)):
            grey = light[row % s_h, column % s_w]
            shapes.append(Rect(x + column * wide, y + row * high, wide, high, _grey(grey)))
    if max(s_h, s_w) <= LARGEST_NUMBERED:
        for a, b in np.ndindex(s_h, s_w):
            content = f"{gains[a, b]:.2g}"
            size = min(10, wide * 0.4, (wide - 3) / (0.62 * len(content)))
            # Dark figures on light cells, and light ones on dark.
            ink = _grey(DARKEST if light[a, b] > 128 else LIGHTEST)
            place = x + (b + 0.5) * wide, y + (a + 0.5) * high + size * 0.36
            shapes.append(Text(*place, content, size, ink, "middle"))
    return [*shapes, Rect(x, y, MAP, MAP, None, palette.MUTED, 1)]


def lightness(gains):
    """The gains as grey values: the mean in the middle, nothing and twice the mean at the ends.

    >>> lightness(np.array([[0.0, 2.0]])).tolist()
    [[25, 245]]
    """
    mean = gains.mean()
    largest = np.abs(gains - mean).max()
    scale = max(abs(mean), largest) or 1.0
    share = np.clip((gains - mean) / scale / 2 + 0.5, 0, 1)
    return np.rint(DARKEST + share * (LIGHTEST - DARKEST)).astype(int)


def _grey(value):
    colour = f"#{int(value):02x}" + f"{int(value):02x}" * 2
    return palette.Colour(colour, colour)


def _bars(found, y):
    """The phases' gains, on a constant and on noise, and the strongest frequencies."""
    gains = np.sqrt((np.abs(found.gains) ** 2).mean(axis=0))
    phases = [(a, b) for a, b in np.ndindex(*found.stride)][:8]
    largest = max(gains.max(), 1e-300), max(found.noise.max(), 1e-300)
    heads = (MARGIN, "phase and its taps"), (MARGIN + 170, "gain on a constant"), (MARGIN + 390, "gain on white noise")
    shapes = [Text(x, y + 12, words, BODY, palette.INK, bold=True) for x, words in heads]
    y += 24
    for a, b in phases:
        letter = palette.phase_letter(a, b, found.stride[1])
        colour = palette.phase_colour(a, b, found.stride[1])
        shapes.append(Rect(MARGIN, y, 20, 16, colour, palette.RULE, radius=2))
        shapes.append(Text(MARGIN + 10, y + 12, letter, SMALL, palette.INK, "middle", italic=True))
        shapes.append(Text(MARGIN + 28, y + 12, f"({a}, {b}): {found.taps[a, b]}", SMALL + 1, palette.INK))
        for x, value, top in ((MARGIN + 170, gains[a, b], largest[0]), (MARGIN + 390, found.noise[a, b], largest[1])):
            shapes.append(Rect(x, y + 2, max(1, 130 * value / top), 12, palette.MUTED))
            shapes.append(Text(x + 138, y + 12, f"{value:.3g}", SMALL, palette.INK))
        y += 21
    if found.taps.size > len(phases):
        shapes.append(Text(MARGIN, y + 12, f"… and {found.taps.size - len(phases)} more phases", SMALL, palette.MUTED))
        y += 20
    return shapes, y


def _fixes(found, y):
    """The frequencies of the pattern, and what can be done."""
    shapes, blocks = [], (("Pattern", found.patterns()), ("What helps", found.fixes))
    for title, lines in blocks:
        if not lines:
            continue
        shapes.append(Text(MARGIN, y + 12, title, BODY, palette.INK, bold=True))
        y += 32
        for line in lines:
            drawn, used = paragraph(line, MARGIN, y, INNER, SMALL + 1)
            shapes += drawn
            y += used + 2
        y += 4
    return shapes, y
