"""Turns of engines: where their threads may run meanwhile, and when one begins."""

import os
import threading
import time

import pytest

from upconv.bench import turns

placed = pytest.mark.skipif(len(turns.CPUS) < 2, reason="needs CPUs that it may choose")


@pytest.fixture
def other():
    """The native id of a thread that sleeps."""
    done, begun = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (begun.set(), done.wait()))
    thread.start()
    begun.wait()
    yield thread.native_id
    done.set()
    thread.join()


@placed
def test_the_caller_has_a_cpu_to_itself_until_the_end(other):
    with turns.apart():
        own, others = os.sched_getaffinity(0), os.sched_getaffinity(other)
        assert (len(own), own | others, own & others) == (1, turns.CPUS, set())
    assert os.sched_getaffinity(0) == os.sched_getaffinity(other) == turns.CPUS


def test_a_turn_begins_when_nobody_spins_and_says_how_long_a_call_takes(monkeypatch):
    # A thread that spins uses all of the time that passes; a real one may find no CPU beside other processes.
    end = time.perf_counter() + 0.1
    monkeypatch.setattr(time, "process_time", lambda: min(time.perf_counter(), end))
    calls = []
    with turns.turn(lambda: (calls.append(time.perf_counter()), time.sleep(0.002))) as taken:
        assert calls[0] >= end
        assert len(calls) >= 2
        assert taken >= 0.002


def test_a_turn_begins_beside_a_thread_that_never_sleeps_and_says_so(monkeypatch):
    monkeypatch.setattr(turns, "MOST_LOOKS", 3)
    monkeypatch.setattr(time, "process_time", time.perf_counter)
    with pytest.warns(RuntimeWarning, match="never sleeps"), turns.turn(lambda: None) as taken:
        assert taken >= 0


def test_calls_take_turns_in_every_round():
    order = []
    calls = {name: lambda name=name: (order.append(name), time.sleep(0.001)) for name in ("one", "other")}
    times = turns.in_rounds(calls, 2, 0.003)
    assert [len(each) for each in times.values()] == [2, 2]
    assert all(0.001 <= taken < 0.1 for each in times.values() for taken in each)
    runs = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert runs == ["one", "other", "one", "other"]
