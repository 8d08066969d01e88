"""Fixtures and settings that every test shares."""

import os

import amount
import pytest
import shared
from compare import poison
from fresh import share
from hypothesis import settings
from isas import making, tried

# The same examples in every run, and no clock: a slow machine must not fail a right answer.
for name, examples in (("sample", 40), ("full", 150)):
    settings.register_profile(name, derandomize=True, deadline=None, max_examples=examples, database=None)
# What a process of the tests takes at its highest, and how many are enough.
PROCESS_BYTES, MOST_PROCESSES = 1 << 30, 8


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every random case: by default a sample of them is tried")


def pytest_configure(config):
    amount.full = config.getoption("--full")
    settings.load_profile(amount.some("sample", "full"))
    if not hasattr(config, "workerinput"):
        config.add_cleanup(shared.begin())
    share()
    config.addinivalue_line("markers", "isa_in_turn: each case on one of the instruction sets, on all under --full")
    # NumPy's products begin a thread for each processor in every process of `-n`; they spend their time on waiting.
    if config.getoption("numprocesses", None):
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """`-n auto`: one process for each processor that this one may run on, as far as the memory is enough."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else PROCESS_BYTES
    return max(1, min(processors, MOST_PROCESSES, memory // PROCESS_BYTES))


@pytest.fixture
def poisoned():
    """Fresh NumPy memory holds NaN for the whole test."""
    with poison():
        yield


def pytest_generate_tests(metafunc):
    marks = metafunc.definition.iter_markers("parametrize")
    if "isa" in metafunc.fixturenames and not any("isa" in mark.args[0] for mark in marks):
        metafunc.parametrize("isa", tried(), indirect=True)


def pytest_collection_modifyitems(config, items):
    """Of a test that is marked `isa_in_turn`, each case is on one of the instruction sets; on all under ``--full``."""
    left_out = [item for item in items if item.get_closest_marker("isa_in_turn") and not its_turn(item)]
    if left_out and not amount.full:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def its_turn(item):
    """The next case of any parameter is the next set's, so that no value of another is always on the same one.

    UPCONV_TESTS_TURN, a number, is where the turns begin: runs with as many of them as there are sets have tried all.
    """
    numbers = sum(number for name, number in item.callspec.indices.items() if name != "isa")
    turn = numbers + int(os.environ.get("UPCONV_TESTS_TURN", "0"))
    return item.callspec.params["isa"] == tried()[turn % len(tried())]


@pytest.fixture
def isa(request, monkeypatch):
    """One test for each instruction set that is tried here: kernels are made for it, and it is its name."""
    with making(request.param, monkeypatch):
        yield request.param
