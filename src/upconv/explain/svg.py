"""A scene as SVG text: one file that stands alone, without scripts, fonts or anything fetched from elsewhere."""

from functools import singledispatch
from xml.sax.saxutils import escape, quoteattr
from zlib import crc32

from .scene import Arrow, Line, Rect, Scene, Text

SANS = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', 'Apple SD Gothic Neo', "
    "'Malgun Gothic', 'Noto Sans KR', 'Noto Sans CJK KR', sans-serif"
)
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
HATCH_SPACING = 6


def svg(scene: Scene) -> str:
    """The scene as the text of an SVG file.

    >>> from upconv.explain.scene import Scene, Text
    >>> text = svg(Scene(40, 20, "a < b", "one line", (Text(2, 12, "a < b"),)))
    >>> print(text.splitlines()[-2])
    <text x="2" y="12" font-size="13" fill="#1b1f24">a &lt; b</text>
    """
    size = f'viewBox="0 0 {_num(scene.width)} {_num(scene.height)}" width="{_num(scene.width)}"'
    hatches = sorted({shape.hatch for shape in scene.shapes if isinstance(shape, Rect) and shape.hatch})
    # Pictures that stand in one page share its names, and must not take each other's.
    name = f"upconv-{crc32(scene.title.encode()):08x}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} height="{_num(scene.height)}" role="img" '
        f'lang="{scene.language}" class="upconv" aria-labelledby="{name}-title {name}-description">',
        f'<title id="{name}-title">{escape(scene.title)}</title>',
        f'<desc id="{name}-description">{escape(scene.description)}</desc>',
        f"<style>.upconv text {{ font-family: {SANS}; white-space: pre; }} "
        f".upconv .mono {{ font-family: {MONO}; }}{_dark(scene)}</style>",
        *_definitions(hatches),
        *(_shape(shape) for shape in scene.shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _dark(scene):
    """Rules that exchange every colour for its dark one where the reader prefers dark pages."""
    if not scene.themed:
        return ""
    rules = (
        f'.upconv [{attribute}="{colour}"] {{ {attribute}: {colour.dark}; }}'
        for colour in scene.colours
        for attribute in ("fill", "stroke")
    )
    return f" @media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}"


def _definitions(hatches):
    if not hatches:
        return
    yield "<defs>"
    for colour in hatches:
        yield (
            f'<pattern id="{_hatch_id(colour)}" width="{HATCH_SPACING}" height="{HATCH_SPACING}" '
            f'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<line x1="0" y1="0" x2="0" y2="{HATCH_SPACING}" stroke={quoteattr(colour)} stroke-width="1.6"/></pattern>'
        )
    yield "</defs>"


@singledispatch
def _shape(shape):
    raise TypeError(f"{type(shape).__name__} is not a shape; a scene holds Rect, Line, Arrow and Text")


@_shape.register
def _rect(shape: Rect):
    place = f'x="{_num(shape.x)}" y="{_num(shape.y)}" width="{_num(shape.width)}" height="{_num(shape.height)}"'
    radius = f' rx="{_num(shape.radius)}"' if shape.radius else ""
    stroke = _stroke(shape.stroke, shape.stroke_width, shape.dash)
    note = f"<title>{escape(shape.note)}</title>" if shape.note else ""
    if shape.hatch:
        below = f"<rect {place}{radius} fill={quoteattr(shape.fill or 'none')}/>"
        return f'{below}<rect {place}{radius} fill="url(#{_hatch_id(shape.hatch)})"{stroke}>{note}</rect>'
    return f"<rect {place}{radius} fill={quoteattr(shape.fill or 'none')}{stroke}>{note}</rect>"


@_shape.register
def _line(shape: Line):
    ends = f'x1="{_num(shape.x1)}" y1="{_num(shape.y1)}" x2="{_num(shape.x2)}" y2="{_num(shape.y2)}"'
    return f"<line {ends}{_stroke(shape.colour, shape.width, shape.dash)}/>"


@_shape.register
def _arrow(shape: Arrow):
    shaft = _line(Line(shape.x1, shape.y1, shape.x2, shape.y2, shape.colour, shape.width))
    heads = (" ".join(f"{_num(x)},{_num(y)}" for x, y in head) for head in shape.heads())
    return shaft + "".join(f'<polygon points="{points}" fill={quoteattr(shape.colour)}/>' for points in heads)


@_shape.register
def _text(shape: Text):
    style = f'font-size="{_num(shape.size)}" fill={quoteattr(shape.colour)}'
    style += f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    style += ' font-weight="600"' if shape.bold else ""
    style += ' font-style="italic"' if shape.italic else ""
    style += ' class="mono"' if shape.mono else ""
    return f'<text x="{_num(shape.x)}" y="{_num(shape.y)}" {style}>{escape(shape.content)}</text>'


def _stroke(colour, width, dash):
    if colour is None:
        return ""
    dashes = ' stroke-dasharray="3 2.5"' if dash else ""
    return f' stroke={quoteattr(colour)} stroke-width="{_num(width)}"{dashes}'


def _hatch_id(colour):
    return "hatch-" + "".join(letter for letter in colour if letter.isalnum())


def _num(value):
    """A coordinate without needless digits, so that files are small and comparable."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
