"""Scenes as PNG and GIF: Pillow draws what the SVG says, where it says it."""

from io import BytesIO

import numpy as np
import pytest
from explain.layers import AXES, square
from require import require

from upconv.explain import palette, raster
from upconv.explain.animation import animation
from upconv.explain.layer import layer_scene
from upconv.explain.scene import Arrow, Line, Rect, Scene, Text

Image = require("PIL.Image")


def pixels(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def drawn(*shapes, scale=1):
    return pixels(raster.png(Scene(40, 30, "t", "d", shapes), scale))


def rgb(colour):
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def test_a_png_has_the_scenes_size_times_the_scale():
    scene = layer_scene(square(AXES["uneven"]))
    image = Image.open(BytesIO(raster.png(scene, 1)))
    assert image.format == "PNG"
    assert image.size == (int(scene.width), -int(-scene.height // 1))
    assert drawn(scale=2).shape == (60, 80, 3)


def test_rectangles_lie_where_the_svg_has_them():
    found = drawn(Rect(10, 5, 20, 10, "#0000ff"))
    blue = (found == [0, 0, 255]).all(axis=-1)
    assert blue[7, 12]
    assert not blue[3, 12]
    assert not blue[17, 12]
    assert 180 <= blue.sum() <= 240


def test_outlines_dashes_and_hatches_leave_the_inside_free():
    solid = drawn(Rect(5, 5, 30, 20, None, "#ff0000", 2))
    dashed = drawn(Rect(5, 5, 30, 20, None, "#ff0000", 2, dash=True))
    hatched = drawn(Rect(5, 5, 30, 20, None, None, hatch="#ff0000"))
    red = [(255 - found[..., 1]).sum() / 255 for found in (solid, dashed, hatched)]
    assert solid[15, 20].tolist() == [255, 255, 255]
    assert red[1] < red[0] * 0.8
    assert 0 < red[2] < 30 * 20 * 0.8
    assert (hatched[:4] == 255).all()


def test_lines_arrows_and_text_leave_ink():
    for shape in (Line(2, 2, 38, 28, "#000000"), Line(2, 2, 38, 28, "#000000", dash=True), Text(4, 20, "Ag", 14)):
        assert (drawn(shape) < 128).any(), shape
    one, both = (
        (drawn(Arrow(5, 15, 35, 15, "#000000", both=heads)) < 128).any(axis=-1).sum() for heads in (False, True)
    )
    assert both > one


@pytest.mark.parametrize("anchor", ["start", "middle", "end"])
def test_text_stands_at_its_anchor(anchor):
    columns = np.flatnonzero((drawn(Text(20, 20, "mm", 12, anchor=anchor)) < 128).any(axis=(0, 2)))
    middle = (columns[0] + columns[-1]) / 2
    assert {"start": middle > 23, "middle": 17 < middle < 23, "end": middle < 17}[anchor]


def test_pillows_own_font_stands_in_where_no_other_is(monkeypatch):
    raster._font.cache_clear()
    monkeypatch.setattr(raster, "FONTS", dict.fromkeys(raster.FONTS, ("no such font.ttf",)))
    try:
        assert (drawn(Text(4, 20, "4 → 8 ≡ …", 11)) < 128).any()
        assert raster._font("bold", 11)[1]
    finally:
        raster._font.cache_clear()


def test_a_gif_has_the_frames_and_their_times_and_white_stays_white():
    frames = animation(square(AXES["even"]))
    image = Image.open(BytesIO(raster.gif(frames)))
    times, first = [], None
    for place in range(image.n_frames):
        image.seek(place)
        times.append(image.info["duration"])
        shown = np.asarray(image.convert("RGB"))
        first = shown if first is None else first
        assert shown[1, 1].tolist() == rgb(palette.PAPER)
    assert sum(times) == sum(milliseconds for _, milliseconds in frames)
    assert (shown != first).any()


def test_what_makes_no_picture_is_refused():
    scene = Scene(10, 10, "t", "d", ())
    for scale in (0, -1, 9):
        with pytest.raises(ValueError, match=f"scale is {scale}"):
            raster.png(scene, scale)
    with pytest.raises(ValueError, match="at least one frame"):
        raster.gif([])
    with pytest.raises(ValueError, match="must have one"):
        raster.gif([(scene, 100), (Scene(10, 11, "t", "d", ()), 100)])
    with pytest.raises(TypeError, match="str is not a shape"):
        raster.png(Scene(10, 10, "t", "d", ("text",)))
