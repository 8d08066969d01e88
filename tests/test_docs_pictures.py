"""The pictures in docs/images: drawn by docs/pictures.py, current, and light enough for a page."""

import importlib.util
import re
from io import BytesIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def load():
    spec = importlib.util.spec_from_file_location("docs_pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = load()


@pytest.mark.parametrize("name", PICTURES.DRAWINGS)
def test_the_drawings_are_what_the_code_draws_today(name):
    drawn = PICTURES.picture(name).decode()
    assert (IMAGES / name).read_text(encoding="utf-8") == drawn, "python docs/pictures.py draws it anew"


@pytest.mark.parametrize("name", PICTURES.ANIMATIONS)
def test_the_animations_have_todays_frames_and_are_light(name):
    image_module = pytest.importorskip("PIL.Image")
    data = (IMAGES / name).read_bytes()
    assert len(data) < PICTURES.MOST_BYTES
    frames = PICTURES.ANIMATIONS[name]()
    image = image_module.open(BytesIO(data))
    # Fonts differ between systems, so that pixels cannot be compared.
    assert image.n_frames == len(frames)
    first = frames[0][0]
    assert image.size == tuple(-int(-side * PICTURES.SCALE // 1) for side in (first.width, first.height))


def test_every_picture_of_the_readme_is_there():
    for page in ROOT.glob("README*.md"):
        names = re.findall(r"(?<=[(\"])docs/images/[^)\"]+", page.read_text(encoding="utf-8"))
        assert len(names) > 8
        for name in names:
            assert (ROOT / name).is_file(), (page.name, name)


def test_the_command_draws_into_a_folder(tmp_path, capsys):
    PICTURES.main([str(tmp_path), "--only", "explain.svg"])
    assert (tmp_path / "explain.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "kB" in capsys.readouterr().out
