"""Optional packages in tests: skipped where missing, unless this run promises to have them."""

import importlib.util
import os

import pytest


def promised_or_there(name):
    """Whether an optional package is installed, or must be."""
    promised = [part.strip() for part in os.environ.get("UPCONV_REQUIRE", "").split(",")]
    return name in promised or importlib.util.find_spec(name) is not None


def require(name):
    """Import an optional package for the tests of one module, or skip that module.

    A package named in the environment variable UPCONV_REQUIRE (names separated by commas) must be there: its absence
    then fails the run, so that a broken installation cannot pass as a skipped test.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        promised = [part.strip() for part in os.environ.get("UPCONV_REQUIRE", "").split(",")]
        if name.split(".")[0] in promised:
            pytest.fail(f"UPCONV_REQUIRE promises {name}, which cannot be imported: {error}", pytrace=False)
        pytest.skip(f"{name} is not installed", allow_module_level=True)
