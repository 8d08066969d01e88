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
MINIBROWSERS = ("/usr/lib", "/usr/libexec")


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


@cache
def webkit():
    """The path of WebKitGTK's MiniBrowser; its driver and a screen without a monitor have to be there too."""
    found = (path for root in MINIBROWSERS for path in Path(root).glob("**/webkit2gtk-4*/MiniBrowser"))
    there = all(map(shutil.which, ("WebKitWebDriver", "xvfb-run"))) and node()
    return _found("webkit", next(found, None) if there else None, "Debian's webkit2gtk-driver, xvfb and xauth")


def _found(name, path, wanted="`npm install --prefix tests/page` and a Chromium"):
    if path:
        return path
    if promised(name):
        pytest.fail(f"UPCONV_REQUIRE promises {name}, which is not there", pytrace=False)
    pytest.skip(f"{name} is not there; {wanted} make these tests run")


def run_node(*arguments, before=(), timeout=600, **environment):
    """Run a script of this folder, through the command `before`, and give its output; the test fails where it does."""
    done = subprocess.run(
        [*before, node(), *map(str, arguments)],
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
