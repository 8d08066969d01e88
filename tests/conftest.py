"""Fixtures and settings that every test shares."""

import pytest
from compare import poison
from hypothesis import settings
from isas import RUNNABLE, making

# The same examples in every run, and no clock: a slow machine must not fail a right answer.
settings.register_profile("upconv", derandomize=True, deadline=None, max_examples=100, database=None)
settings.load_profile("upconv")


@pytest.fixture
def poisoned():
    """Fresh NumPy memory holds NaN for the whole test."""
    with poison():
        yield


@pytest.fixture(params=RUNNABLE)
def isa(request, monkeypatch):
    """One test for each instruction set that this machine can run: kernels are made for it, and it is its name."""
    with making(request.param, monkeypatch):
        yield request.param
