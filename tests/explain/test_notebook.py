"""What notebooks show: the picture of a layer, without anything heavy being imported before it is asked for."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

import upconv
from upconv.geometry import Axis, Geometry
from upconv.volume import Line

LAYER = Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0))
SHOWN = {
    "Geometry": LAYER,
    "Plan": upconv.plan((1, 1, 4, 4), (1, 1, 3, 3), stride=2, padding=1, output_padding=1),
    "ConvTranspose2d": upconv.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1, rng=0),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_the_repr_and_the_picture(name):
    html = SHOWN[name]._repr_html_()
    assert html.startswith(f"<pre>{name}")
    assert "<script" not in html
    root = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    assert "4 × 4 to 8 × 8" in next(root.iter("{http://www.w3.org/2000/svg}title")).text


@pytest.mark.parametrize("name", ["Geometry", "ConvTranspose2d", "Plan"])
def test_the_svg_alone_is_there_too(name):
    assert SHOWN[name]._repr_svg_().startswith("<svg")


def test_a_layer_is_shown_on_an_input_that_leaves_an_output():
    assert "4 × 4 to 3 × 3" in upconv.ConvTranspose2d(1, 1, 2, padding=1, rng=0)._repr_svg_()
    far = upconv.ConvTranspose2d(2, 2, 3, padding=5, rng=0)
    assert "16 × 16 to 8 × 8" in far._repr_svg_()
    assert upconv.ConvTranspose2d(1, 1, 1, padding=400, rng=0)._repr_html_() is None


def test_a_line_is_shown_as_one():
    for shown in (
        upconv.ConvTranspose1d(4, 6, 3, stride=2, padding=1, groups=2, rng=0),
        Line(1, 4, 6, 2, Axis(4, 3, 2, 1, 1, 1)),
    ):
        html = shown._repr_html_()
        assert "length 4 to length 7" in html
        assert "weight (4, 3, 3) = (in_channels, out_channels / groups, kernel length)." in html
        assert "y[1] = " in html
        assert "padding=1 cuts here" in html
        seen = " ".join(re.findall("<text[^>]*>([^<]*)<", html))
        assert [words for words in ("height", "Height", "row", "1 × ", "Conv2d") if words in seen] == []
        assert shown._repr_svg_() in html


def test_a_folded_border_has_no_picture():
    layer = upconv.ConvTranspose2d(1, 1, 3, padding=1, padding_mode="circular", rng=0)
    assert layer._repr_svg_() is None
    assert layer._repr_html_() is None


def test_the_pictures_are_imported_when_they_are_asked_for():
    code = (
        "import sys, upconv\n"
        "layer = upconv.ConvTranspose2d(1, 1, 3)\n"
        "assert 'upconv.explain.svg' not in sys.modules\n"
        "assert layer._repr_svg_()\n"
        "assert 'upconv.explain.svg' in sys.modules\n"
        "assert 'PIL' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
