"""Node and Chromium for the tests of the page: found, required, or the reason to skip."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "page.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def promised(name):
    return name in [part.strip() for part in os.environ.get("UPCONV_REQUIRE", "").split(",")]


@cache
def node():
    """The path of node; skips the test where there is none, unless UPCONV_REQUIRE promises it."""
    return _found("node", shutil.which("node"))


@cache
def chromium():
    """The path of Chromium; what drives it has to be there too, in UPCONV_NODE or in node_modules beside this file."""
    modules = Path(os.environ.get("UPCONV_NODE", HERE)) / "node_modules"
    browser = os.environ.get("UPCONV_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = all((modules / name).is_dir() for name in ("playwright-core", "axe-core"))
    return _found("chromium", browser if driver and node() else None)


def _found(name, path):
    if path:
        return path
    if promised(name):
        pytest.fail(f"UPCONV_REQUIRE promises {name}, which is not there", pytrace=False)
    pytest.skip(f"{name} is not there; `npm install --prefix tests/page` and a Chromium make these tests run")


def run_node(*arguments, timeout=600, **environment):
    """Run a script of this folder and give its output; the test fails where it does."""
    done = subprocess.run(
        [node(), *map(str, arguments)],
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
