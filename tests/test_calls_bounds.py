"""Calls remembered: how many, and how many bytes of their programs."""

import sys
from threading import Thread

import numpy as np
import pytest
from fresh import fresh

import upconv
from upconv import calls
from upconv.runtime import program
from upconv.runtime.kernel import usable

pytestmark = pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")


@pytest.fixture(autouse=True)
def nothing_remembered():
    with fresh():
        yield


def together(work, count=4):
    """The same on several threads, which change places often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


def weight_of_a_layer():
    return np.random.default_rng(0).standard_normal((8, 6, 4, 4)).astype(np.float32)


def test_new_sizes_without_end_are_forgotten(monkeypatch):
    monkeypatch.setattr(calls, "MOST", 4)
    w = weight_of_a_layer()
    made = upconv.prepare(w, stride=2)
    for width in range(1, 12):
        x = np.ones((1, 8, 2, width), np.float32)
        for weight in (w, made):
            upconv.conv_transpose2d(x, weight, stride=2)
    assert 1 <= len(calls._of_arrays) <= 4
    assert 1 <= len(made.calls) <= 4


def test_programs_of_many_prepared_weights_are_bounded_together(monkeypatch):
    monkeypatch.setattr(calls, "MOST_BYTES", 60_000)
    weights = [upconv.prepare(weight_of_a_layer(), stride=2) for _ in range(8)]
    for width in range(1, 40):
        for made in weights:
            for _ in range(2):
                upconv.conv_transpose2d(np.ones((1, 8, 2, width), np.float32), made, stride=2)
    kept = [call for made in weights for call in (made.calls or {}).values()]
    assert kept
    assert sum(ready.nbytes + own.nbytes for _, (ready, own, _) in (call.held for call in kept)) <= 60_000


def test_a_call_that_takes_the_place_of_another_is_counted_once(monkeypatch):
    # As those are that are for so many threads alone.
    monkeypatch.setattr(program, "BRIEF", 0)
    made, x, threads = upconv.prepare(weight_of_a_layer(), stride=2), np.ones((2, 8, 9, 9), np.float32), (1, 2)
    before = upconv.get_num_threads()
    try:
        seen = set()
        for turn in range(12):
            upconv.set_num_threads(threads[turn % 2])
            for _ in range(2):
                upconv.conv_transpose2d(x, made, stride=2)
            seen.add(made.calls.nbytes)
    finally:
        upconv.set_num_threads(before)
    assert made.calls.nbytes == sum(call.nbytes for call in made.calls.values())
    assert len(seen) <= len(threads)


def test_prepared_weights_that_are_first_called_at_once_are_counted():
    """While one thread counts what all of them keep, another makes one more."""
    errors, w, x = [], weight_of_a_layer(), np.ones((1, 8, 2, 3), np.float32)

    def calls_of_new_weights():
        try:
            for _ in range(200):
                made = upconv.prepare(w, stride=2)
                for _ in range(2):
                    upconv.conv_transpose2d(x, made, stride=2)
        except RuntimeError as error:
            errors.append(error)

    together(calls_of_new_weights)
    assert not errors


def test_programs_of_what_is_forgotten_are_not_counted(monkeypatch):
    """Of a weight that has gone, and of too many calls of one: another's are not forgotten for them."""
    ran, again = [], calls.again
    monkeypatch.setattr(calls, "MOST", 4)
    stays, x = upconv.prepare(weight_of_a_layer(), stride=2), np.ones((2, 8, 5, 4), np.float32)
    upconv.conv_transpose2d(x, stays, stride=2)
    upconv.conv_transpose2d(x, stays, stride=2)
    monkeypatch.setattr(calls, "MOST_BYTES", 12 * stays.calls.nbytes)
    for width in range(1, 30):
        goes = upconv.prepare(weight_of_a_layer(), stride=2)
        for weight in (goes, weight_of_a_layer()):
            upconv.conv_transpose2d(np.ones((1, 8, 2, width), np.float32), weight, stride=2)
        del goes, weight
    monkeypatch.setattr(calls, "again", lambda *args: ran.append(again(*args)) or ran[-1])
    upconv.conv_transpose2d(x, stays, stride=2)
    assert [result is not None for result in ran] == [True]
