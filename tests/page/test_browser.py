"""The page in a headless Chromium; each file of checks in `browser/` is a test of its own."""

import json

import pytest
from page.golden import golden
from page.random_settings import random_settings
from page.tools import HERE, chromium, run_node

CHECKS = sorted(path.stem for path in (HERE / "browser").glob("*.js") if path.stem not in ("harness", "screenshots"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The library's facts and random layers, in files that the checks read."""
    folder = tmp_path_factory.mktemp("page")
    files = {"UPCONV_GOLDEN": golden, "UPCONV_RANDOM_SETTINGS": random_settings}
    for name, make in files.items():
        (folder / name).write_text(json.dumps(make()))
    return {name: str(folder / name) for name in files}


@pytest.mark.parametrize("name", CHECKS)
def test_in_chromium(name, data):
    print(run_node("browser/harness.js", f"browser/{name}.js", UPCONV_CHROMIUM=chromium(), **data))
