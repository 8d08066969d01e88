"""A scene as a PNG file, drawn by matplotlib where it is installed."""

from functools import singledispatch
from io import BytesIO

from ..explain.scene import Line, Rect, Scene, Text

PIXELS_A_POINT = 100 / 72
SHARPNESS = 2


def png(scene: Scene):
    """The scene as the bytes of a PNG file, at twice its size; None where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure((scene.width / 100, scene.height / 100), dpi=100 * SHARPNESS, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, scene.width), ylim=(scene.height, 0))
    axes.axis("off")
    for order, shape in enumerate(scene.shapes):
        _draw(shape, axes, order)
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None, "Title": scene.title})
    return file.getvalue()


@singledispatch
def _draw(shape, axes, order):
    raise TypeError(f"{type(shape).__name__} is not drawn here; the charts are made of Rect, Line and Text")


@_draw.register
def _rect(shape: Rect, axes, order):
    from matplotlib.patches import FancyBboxPatch

    style = f"round,pad=0,rounding_size={shape.radius}" if shape.radius else "square,pad=0"
    axes.add_patch(
        FancyBboxPatch(
            (shape.x, shape.y),
            shape.width,
            shape.height,
            boxstyle=style,
            facecolor=shape.fill or "none",
            edgecolor=shape.stroke or "none",
            linewidth=shape.stroke_width / PIXELS_A_POINT,
            zorder=order,
        )
    )


@_draw.register
def _line(shape: Line, axes, order):
    style = "--" if shape.dash else "-"
    ends = (shape.x1, shape.x2), (shape.y1, shape.y2)
    axes.plot(*ends, style, color=shape.colour, linewidth=shape.width / PIXELS_A_POINT, zorder=order)


@_draw.register
def _text(shape: Text, axes, order):
    axes.text(
        shape.x,
        shape.y,
        shape.content,
        fontsize=shape.size / PIXELS_A_POINT,
        color=shape.colour,
        ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
        va="baseline",
        weight="bold" if shape.bold else "normal",
        zorder=order,
        parse_math=False,
    )
