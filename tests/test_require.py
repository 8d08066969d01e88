"""Keras is tried wherever it can be imported, and only there; elsewhere the reason is said."""

import sys

import pytest
import require


@pytest.mark.parametrize(
    ("installed", "named", "backend", "why_not"),
    [
        (("keras", "torch", "jax"), None, "torch", None),
        (("keras", "jax"), None, "jax", None),
        (("keras", "tensorflow"), "", "tensorflow", None),
        (("keras", "torch", "jax"), "jax", "jax", None),
        (("keras", "torch"), "jax", None, "no backend of it: jax"),
        (("keras",), None, None, "no backend of it: torch, tensorflow, jax"),
        (("torch",), None, None, "keras is not installed"),
    ],
)
def test_the_backend_of_keras_is_one_that_is_there(installed, named, backend, why_not, monkeypatch):
    monkeypatch.setattr(require, "promised_or_there", installed.__contains__)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", named or "")
    got, said = require.choose_keras_backend()
    assert got == backend
    assert said is None if why_not is None else why_not in said
