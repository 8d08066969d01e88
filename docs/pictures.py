"""Draw the pictures of the README and of the pages, into docs/images: `python docs/pictures.py`.

It needs Pillow for the animations (`pip install -e '.[pictures]'`). `--only NAME` draws one of them.
"""

import argparse
from pathlib import Path

from upconv import ConvTranspose2d
from upconv.explain import artifacts
from upconv.explain.animation import animation, groups
from upconv.explain.layer import layer_scene
from upconv.explain.raster import gif
from upconv.explain.svg import svg
from upconv.explain.views import views
from upconv.files import write_atomically
from upconv.geometry import Geometry
from upconv.inverse import Setting

FOLDER = Path(__file__).parent / "images"
SCALE = 1.5
# What a page can load without a thought.
MOST_BYTES = 300_000


def layer(n, channels=(1, 1), number=1, **setting):
    """A square layer of one setting."""
    axis = Setting(**setting).axis(n)
    return Geometry(1, *channels, number, axis, axis)


def untrained():
    """What `artifacts` says of a layer's first weights."""
    weight = ConvTranspose2d(8, 3, 3, stride=2, rng=0).weight
    return artifacts(weight, 2, name="up").scene()


DRAWINGS = {
    "explain.svg": lambda: layer_scene(layer(4, k=3, s=2, p=1, op=1)),
    "explain-ko.svg": lambda: layer_scene(layer(4, k=3, s=2, p=1, op=1), language="ko"),
    "artifacts.svg": untrained,
}
ANIMATIONS = {
    "stride-1.gif": lambda: animation(layer(3, k=3), "stride=1: stamps one apart"),
    "stride-2.gif": lambda: animation(layer(3, k=3, s=2), "stride=2: stamps two apart, and where they meet, they add"),
    "padding.gif": lambda: animation(layer(3, k=3, s=2, p=1), "padding=1 cuts the finished canvas"),
    "output_padding.gif": lambda: animation(layer(3, k=3, s=2, p=1, op=1), "output_padding=1 cuts less at the end"),
    "dilation.gif": lambda: animation(layer(3, k=3, s=1, d=2), "dilation=2: the taps of one stamp, two apart"),
    "groups.gif": lambda: groups(layer(4, (4, 6), 2, k=3)),
    "four-views.gif": lambda: views(Setting(k=3, s=2, p=1, op=1).axis(3)),
}


def picture(name) -> bytes:
    """One of the pictures as the bytes of its file."""
    if name in DRAWINGS:
        return svg(DRAWINGS[name]()).encode()
    return gif(ANIMATIONS[name](), SCALE)


def main(argv=None):
    """Draw all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--only", choices=[*DRAWINGS, *ANIMATIONS], action="append")
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only or (*DRAWINGS, *ANIMATIONS):
        data = picture(name)
        write_atomically(options.folder / name, data)
        print(f"{name:<20} {len(data) / 1000:6.1f} kB")


if __name__ == "__main__":
    main()
