"""The page in a headless Chromium, each file of checks in `browser/` a test of its own; its main states in WebKit."""

import json

import pytest
from page.golden import golden
from page.random_settings import random_settings
from page.tools import HERE, chromium, run_node, webkit

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


def test_in_webkit(data):
    screen = ("xvfb-run", "--auto-servernum", "--server-args=-screen 0 1400x1000x24")
    # There is nothing to protect from a page of our own, and a container has no sandbox to give.
    plain = {"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
    print(run_node("webkit.js", webkit(), data["UPCONV_GOLDEN"], before=screen, **plain))
