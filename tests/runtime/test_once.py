"""Values whose addresses are noted: threads that ask at the same time are given the same one."""

import time
from array import array
from threading import Barrier, Thread

import pytest

from upconv.runtime import builtin, waves
from upconv.runtime.once import once
from upconv.schedule import pixel_products


def of_threads(ask, count=4):
    """What each of some threads gets that ask at once."""
    barrier, got = Barrier(count), []

    def run():
        barrier.wait()
        got.append(ask())

    threads = [Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_one_value_for_all_that_ask_at_once():
    @once
    def slowly(name):
        time.sleep(0.05)
        return [name]

    got = of_threads(lambda: slowly("a"))
    assert len({id(value) for value in got}) == 1
    assert slowly("a") is got[0]
    assert slowly("b") == ["b"]
    slowly.cache_clear()
    assert slowly("a") is not got[0]


@pytest.mark.parametrize("make", [pixel_products._ones, waves.kinds, builtin._scratch, builtin._longer_scratch])
def test_what_lies_in_tables_is_made_so(make):
    assert make.__code__ is once(len).__code__


def test_the_waves_of_a_program_are_made_once(monkeypatch):
    """A record notes where they lie."""
    from upconv.runtime.program import Program

    made = Program([], {}, 0)
    make = array

    def slowly(*arguments):
        time.sleep(0.02)
        return make(*arguments)

    monkeypatch.setattr("upconv.runtime.program.Program._rows", lambda *_: iter([[(0,)]]))
    monkeypatch.setattr("upconv.runtime.program.array", slowly)
    got = of_threads(lambda: made.jobs(1))
    assert len({id(words) for words, *_ in got}) == 1
