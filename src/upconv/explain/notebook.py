"""What a notebook shows of a layer in place of its repr."""

from html import escape

from ..geometry import Geometry
from ..volume import Line
from .layer import layer_scene
from .svg import svg


def svg_of(geometry: Geometry | Line) -> str:
    """The picture of a layer, as `_repr_svg_` returns it.

    >>> from upconv.geometry import Axis
    >>> svg_of(Geometry(1, 1, 1, 1, Axis(4, 3), Axis(4, 3)))[:4]
    '<svg'
    """
    return svg(layer_scene(geometry))


def html_of(geometry: Geometry | Line, text=None) -> str:
    """The text of a repr above the picture, as `_repr_html_` returns it.

    >>> from upconv.geometry import Axis
    >>> html_of(Geometry(1, 1, 1, 1, Axis(4, 3), Axis(4, 3)), "a < b").startswith("<pre>a &lt; b</pre>")
    True
    """
    return f"<pre>{escape(repr(geometry) if text is None else text)}</pre><div>{svg_of(geometry)}</div>"
