"""Optional packages in tests: skipped where missing, unless this run promises to have them."""

import importlib.util
import os
import sys

import pytest

#: What Keras can compute with, as the tests prefer it.
KERAS_BACKENDS = ("torch", "tensorflow", "jax")


def promised_or_there(name):
    """Whether an optional package is installed, or must be."""
    promised = [part.strip() for part in os.environ.get("UPCONV_REQUIRE", "").split(",")]
    return name in promised or importlib.util.find_spec(name) is not None


def choose_keras_backend():
    """Name of what Keras will compute with, and None; or None and why Keras cannot be tried, in words.

    Keras takes the backend from KERAS_BACKEND, from its own file of settings, or else TensorFlow, installed or not, so
    that it cannot be imported beside torch alone. Where nobody has named one, one that is installed is named here.
    """
    if not promised_or_there("keras"):
        return None, "keras is not installed"
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend(), None
    named = os.environ.get("KERAS_BACKEND")
    there = [name for name in ((named,) if named else KERAS_BACKENDS) if promised_or_there(name)]
    if not there:
        return None, f"keras is installed, and no backend of it: {named or ', '.join(KERAS_BACKENDS)}"
    os.environ["KERAS_BACKEND"] = there[0]
    return there[0], None


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
