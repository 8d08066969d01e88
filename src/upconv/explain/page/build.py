"""The page as the text of one HTML file, put together from the files in `source/`.

Nothing is fetched when the page opens: styles and script stand in it, and a content security policy that knows them by
their hashes forbids the rest.
"""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from xml.sax.saxutils import escape, quoteattr

from ...geometry import Axis, Geometry
from ...inverse import setting_of
from ..layer import PICTURE_WORDS, maps_scene
from ..palette import phase_colour
from ..svg import svg
from . import compact

LANGUAGES = ("en", "ko")
STYLES = ("base", "controls", "maps", "views", "learn", "panels", "print")
# Those without a drawing run in any JavaScript engine; in a document, `main` begins.
PURE = (
    *("geometry", "sizes", "inverse", "overlap", "conventions", "values", "sentences_en", "sentences_ko"),
    *("code_text", "lessons", "words_en", "words_ko", "steps_en", "steps_ko", "state", "api"),
)
DRAWN = (
    *("dom", "grid", "place", "strip", "read", "phases", "wires", "maps", "controls", "equation"),
    *("size_line", "artefacts", "channels", "solver", "code", "learn", "lesson_maps", "home", "chrome"),
)
HUES, SHADES = 4, 7
SHOWN = Axis(2, 3, s=2, crop_lo=1, crop_hi=0)


def page(geometry: Geometry | None = None, lang="en") -> str:
    """The page, which opens at a layer where one is given, and otherwise at its first screen.

    Args:
        geometry: the layer to open at.
        lang: "en" or "ko", the language of the page where the reader's browser asks for neither.

    Returns:
        The text of an HTML file in UTF-8.

    >>> page().startswith("<!doctype html>")
    True
    """
    style = "\n".join([*(compact.style(_source(f"style/{name}.css")) for name in STYLES), _phases()])
    script = _script()
    shown = geometry or Geometry(1, 1, 1, 1, SHOWN, SHOWN)
    filled = {
        "lang": lang,
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "start": escape(link(geometry, lang) if geometry else "", {'"': "&quot;"}),
        "still": _still(shown, lang),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], _source("skeleton.html"))


def link(geometry: Geometry, lang="en") -> str:
    """The part of an address after which the page opens at a layer.

    >>> link(Geometry(1, 2, 2, 2, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0)))
    '#explore?n=4&k=3&s=2&p=1&op=1&d=1&g=2&ci=2&co=2'
    """
    axes = geometry.h, geometry.w
    settings = [setting_of(axis) for axis in axes]
    numbers = {name: [getattr(axis, name) for axis in axes] for name in ("n", "k", "s")}
    if None in settings:
        numbers |= {"p": [0, 0], "op": [0, 0]}
    else:
        numbers |= {name: [getattr(setting, name) for setting in settings] for name in ("p", "op")}
    numbers["d"] = [axis.d for axis in axes]
    parts = [f"{name}={_pair(*pair)}" for name, pair in numbers.items()]
    parts += [f"g={geometry.groups}", f"ci={geometry.c_in}", f"co={geometry.c_out}"]
    if None in settings:
        parts.append("c=" + _pair(*(f"{axis.crop_lo}:{axis.crop_hi}" for axis in axes)))
    return "#explore?" + "&".join(parts + ["lang=ko"] * (lang == "ko"))


def _pair(a, b):
    return f"{a}" if a == b else f"{a}x{b}"


def _phases():
    """The colours of the phases, the pictures' own: a class for each, p and its hue and shade."""
    colours = {f"p{hue}{shade}": phase_colour(hue, shade, SHADES) for hue in range(HUES) for shade in range(SHADES)}
    light = "".join(f"--{name}:{colour};" for name, colour in colours.items())
    dark = "".join(f"--{name}:{colour.dark};" for name, colour in colours.items())
    return (
        f":root{{{light}}}:root[data-theme=dark]{{{dark}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f"@media print{{:root,:root[data-theme],:root:not([data-theme=light]){{{light}}}}}"
        + "".join(f".{name}{{background-color:var(--{name})}}" for name in colours)
    )


def _script():
    parts = [_source(f"{name}.js") for name in PURE]
    parts += [_source(f"draw/{name}.js") for name in DRAWN]
    parts.append(_source("main.js"))
    # A line for each file, so that an error's line number says where to look.
    lines = (compact.script(part) for part in parts)
    return '(() => {"use strict";\n' + "\n".join(lines) + "})();\n"


def _source(name):
    return files(__package__).joinpath("source", *name.split("/")).read_text(encoding="utf-8")


def _policy(style, script):
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text):
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _still(geometry, lang):
    """What is left without JavaScript: one small picture, whatever the layer, and the sums of the layer asked for."""
    said = PICTURE_WORDS[lang]
    scene = maps_scene(Geometry(1, 1, 1, 1, SHOWN, SHOWN), lang)
    picture = quoteattr("data:image/svg+xml," + _in_address(svg(scene)))
    lines = [said.heading(geometry), said.describe(geometry)]
    for axis in dict.fromkeys((geometry.h, geometry.w)):
        lines += ["", *said.written(axis), "", *said.documented(axis)]
    sums = "\n".join(lines)
    words = _source(f"still_{lang}.html")
    return (
        f"{words}\n<img src={picture} alt={quoteattr(scene.description)} width='{scene.width:g}'>\n"
        f"<pre>{escape(sums)}</pre>\n</main>"
    )


def _in_address(text):
    """Text within a data: address."""
    return re.sub(r"[%#\"\n]", lambda found: f"%{ord(found[0]):02X}", text)
