"""Scenes as pixels: PNG files and animated GIFs, drawn by Pillow (the extra `pictures`).

Everything is drawn at twice the wanted size and halved, which smooths slanted lines.
"""

import re
from functools import cache, singledispatch
from io import BytesIO
from math import ceil

import numpy as np

from .scene import Arrow, Line, Rect, Scene, Text

# DejaVu has every sign in use; the others stand in for it on systems of their own. Pillow's own comes last.
FONTS = {
    "": ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "LiberationSans-Regular.ttf"),
    "bold": ("DejaVuSans-Bold.ttf", "Arial Bold.ttf", "arialbd.ttf", "LiberationSans-Bold.ttf"),
    "italic": ("DejaVuSans-Oblique.ttf", "Arial Italic.ttf", "ariali.ttf", "LiberationSans-Italic.ttf"),
    "mono": ("DejaVuSansMono.ttf", "Menlo.ttc", "consola.ttf", "LiberationMono-Regular.ttf"),
    "mono bold": ("DejaVuSansMono-Bold.ttf", "Menlo.ttc", "consolab.ttf", "LiberationMono-Bold.ttf"),
}
# Hangul, which none of these has; monospaced and italic letters are no others there.
HANGUL = {
    "": ("NotoSansKR-Regular.ttf", "NotoSansCJK-Regular.ttc", "AppleSDGothicNeo.ttc", "malgun.ttf", "NanumGothic.ttf"),
    "bold": (
        "NotoSansKR-Bold.ttf",
        "NotoSansCJK-Bold.ttc",
        "AppleSDGothicNeo.ttc",
        "malgunbd.ttf",
        "NanumGothicBold.ttf",
    ),
}
# What Pillow's own font has no glyph for.
PLAIN = str.maketrans({"→": ">", "≡": "=", "⋮": ":", "…": "...", "≤": "<=", "▲": "^"})
# The share of a text that lies before its anchor.
ANCHORS = {"start": 0, "middle": 0.5, "end": 1}
WIDE = "[\u3130-\u318f\uac00-\ud7a3]"
SMOOTH = 2
DASH = (3.0, 2.5)
HATCH = 8.5
COLOURS = 128
SHARPEST = 8


def png(scene: Scene, scale=2) -> bytes:
    """The scene as the bytes of a PNG file.

    Args:
        scene: what to draw, in its light colours.
        scale: pixels of the file for one of the scene.

    Raises:
        ImportError: where Pillow is missing.
        ValueError: for a scale that makes no picture, or one too large for it.
    """
    file = BytesIO()
    draw(scene, scale).save(file, "PNG", optimize=True)
    return file.getvalue()


def gif(frames, scale=1) -> bytes:
    """Scenes of one size as the bytes of an animated GIF.

    Args:
        frames: (scene, milliseconds) each.
        scale: as in `png`.

    Raises:
        ImportError: where Pillow is missing.
        ValueError: without a frame, for frames of different sizes, or as `png` does.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("an animation needs at least one frame")
    sizes = {(scene.width, scene.height) for scene, _ in frames}
    if len(sizes) > 1:
        raise ValueError(f"the frames have sizes {sorted(sizes)}; they must have one")
    images = [draw(scene, scale) for scene, _ in frames]
    palette = _common_palette(images, {colour for scene, _ in frames for colour in scene.colours})
    first, *rest = (_indexed(image, palette) for image in images)
    durations = [milliseconds for _, milliseconds in frames]
    file = BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=True, disposal=1)
    return file.getvalue()


def draw(scene: Scene, scale):
    """The scene as a `PIL.Image.Image`, `scale` pixels for one of the scene's."""
    if not 0 < scale <= SHARPEST:
        raise ValueError(f"scale is {scale}; it must be above 0 and at most {SHARPEST}")
    image = _pillow().new("RGB", (ceil(scene.width * scale) * SMOOTH, ceil(scene.height * scale) * SMOOTH), "#ffffff")
    pen = Pen(image, scale * SMOOTH)
    for shape in scene.shapes:
        _draw(shape, pen)
    return image.reduce(SMOOTH)


def _pillow():
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("PNG and GIF need Pillow: pip install 'upconv[pictures]'; --svg needs nothing") from None
    return Image


def _common_palette(images, colours):
    """One palette for all frames: the scenes' colours as they are, and the blends at their edges."""
    step = max(1, len(images) // 6)
    chosen = [*images[::step], images[-1]]
    sheet = _pillow().new("RGB", (max(i.width for i in chosen), sum(i.height for i in chosen)))
    top = 0
    for image in chosen:
        sheet.paste(image, (0, top))
        top += image.height
    exact = [int(colour[at : at + 2], 16) for colour in sorted({"#ffffff", *colours}) for at in (1, 3, 5)]
    blends = sheet.quantize(COLOURS, dither=0).getpalette()[: 3 * COLOURS]
    return np.array((exact + blends)[: 3 * 256], np.int32).reshape(-1, 3)


def _indexed(image, palette):
    """The image with every pixel replaced by the palette's nearest colour; Pillow's own search would miss white."""
    red, green, blue = np.moveaxis(np.asarray(image, np.int32), -1, 0)
    pixels = red << 16 | green << 8 | blue
    # A mark for every colour that can be finds those in use without sorting the pixels.
    used = np.zeros(1 << 24, bool)
    used[pixels] = True
    found = np.flatnonzero(used)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1)
    place = np.empty(1 << 24, np.uint8)
    place[found] = ((colours[:, None] - palette) ** 2).sum(axis=-1).argmin(axis=1)
    indexed = _pillow().fromarray(place[pixels])
    indexed.putpalette(palette.astype(np.uint8).tobytes())
    return indexed


class Pen:
    """Draws on an image in the coordinates of the scene."""

    def __init__(self, image, scale):
        from PIL import ImageDraw

        self.scale = scale
        self.draw = ImageDraw.Draw(image)

    def at(self, *values):
        """Coordinates in pixels."""
        return [value * self.scale for value in values]

    def width(self, value):
        """The width of a line in whole pixels."""
        return max(1, round(value * self.scale))

    def line(self, x1, y1, x2, y2, colour, width, dash=False):
        """A line; dashed, it is drawn piece by piece."""
        if not dash:
            self.draw.line(self.at(x1, y1, x2, y2), colour, self.width(width))
            return
        span = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        place = 0.0
        while place < span:
            begin, end = place / span, min(1.0, (place + DASH[0]) / span)
            ends = (x1 + (x2 - x1) * begin, y1 + (y2 - y1) * begin, x1 + (x2 - x1) * end, y1 + (y2 - y1) * end)
            self.draw.line(self.at(*ends), colour, self.width(width))
            place += sum(DASH)


@singledispatch
def _draw(shape, pen):
    raise TypeError(f"{type(shape).__name__} is not a shape; a scene holds Rect, Line, Arrow and Text")


@_draw.register
def _rect(shape: Rect, pen):
    x, y, right, bottom = shape.x, shape.y, shape.x + shape.width, shape.y + shape.height
    # A stroke lies half inside and half outside, as in SVG; Pillow draws it inside.
    half = shape.stroke_width / 2 if shape.stroke else 0
    box = pen.at(x - half, y - half, right + half, bottom + half)
    radius = min(shape.radius + half, shape.width / 2 + half, shape.height / 2 + half) * pen.scale
    solid = shape.stroke if not shape.dash else None
    pen.draw.rounded_rectangle(box, radius, shape.fill, solid, pen.width(shape.stroke_width) if solid else 1)
    if shape.hatch:
        _hatch(shape, pen)
    if shape.stroke and shape.dash:
        for ends in ((x, y, right, y), (x, bottom, right, bottom), (x, y, x, bottom), (right, y, right, bottom)):
            pen.line(*ends, shape.stroke, shape.stroke_width, dash=True)


def _hatch(shape, pen):
    """Diagonals where x + y is a multiple of the spacing, so that neighbours' lines meet."""
    x, y, right, bottom = shape.x, shape.y, shape.x + shape.width, shape.y + shape.height
    place = ceil((x + y) / HATCH) * HATCH
    while place < right + bottom:
        begin, end = max(x, place - bottom), min(right, place - y)
        pen.line(begin, place - begin, end, place - end, shape.hatch, 1.6)
        place += HATCH


@_draw.register
def _line(shape: Line, pen):
    pen.line(shape.x1, shape.y1, shape.x2, shape.y2, shape.colour, shape.width, shape.dash)


@_draw.register
def _arrow(shape: Arrow, pen):
    pen.line(shape.x1, shape.y1, shape.x2, shape.y2, shape.colour, shape.width)
    for head in shape.heads():
        pen.draw.polygon([tuple(pen.at(*point)) for point in head], shape.colour)


@_draw.register
def _text(shape: Text, pen):
    style = ("mono bold" if shape.bold else "mono") if shape.mono else "bold" if shape.bold else "italic" * shape.italic
    size = round(shape.size * pen.scale)
    runs = [_run(part, style, size) for part in re.findall(f"{WIDE}+|[^{WIDE[1:]}+", shape.content)]
    widths = [font.getlength(part) for part, font in runs]
    x, y = pen.at(shape.x, shape.y)
    x -= sum(widths) * ANCHORS[shape.anchor]
    for (part, font), width in zip(runs, widths, strict=True):
        pen.draw.text((x, y), part, shape.colour, font, "ls")
        x += width


def _run(part, style, size):
    """(letters of one kind, the font that has them)."""
    if re.match(WIDE, part) and (font := _hangul("bold" if "bold" in style else "", size)):
        return part, font
    font, is_own = _font(style, size)
    return (part.translate(PLAIN) if is_own else part), font


def has_hangul() -> bool:
    """Whether this machine has a font for Korean words."""
    return _hangul("", 16) is not None


@cache
def _hangul(style, size):
    """A font that has Hangul, or None."""
    return _first(HANGUL[style], size)


@cache
def _font(style, size):
    """(font, whether it is Pillow's own)."""
    from PIL import ImageFont

    found = _first(FONTS[style], size)
    return (ImageFont.load_default(size), True) if found is None else (found, False)


def _first(names, size):
    """The first of these fonts that this machine has, or None."""
    from PIL import ImageFont

    for name in names:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None
