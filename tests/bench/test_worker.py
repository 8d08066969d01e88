"""What runs in the process of an engine, and the parent's handle on real processes."""

import os
from pathlib import Path

import numpy as np
import pytest
from bench.fakes import TINY, NumpyTruth, Paced, Right

from upconv import conv_transpose2d, reference
from upconv.algorithms import ALGORITHMS
from upconv.bench import adapters, engines
from upconv.bench.crew import Crew, EngineError
from upconv.bench.score import OURS
from upconv.bench.worker import TOLERANCE, EngineWorker, compare
from upconv.prepared import PreparedWeight

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def crew():
    names = [f"bench.fakes:{name}" for name in ("Right", "Crasher", "Sleeper", "Talker", "Nobody")]
    with Crew(names, environments=dict.fromkeys(names, ENVIRONMENT), patience=20) as crew:
        yield crew


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_compare_accepts_rounding_and_nothing_more():
    right = np.linspace(-1, 1, 24).reshape(1, 2, 3, 4)
    assert compare(right.astype(np.float32), right) < 1e-6
    scale = np.sqrt(np.square(right).mean())
    for wrong in (right + 2 * TOLERANCE * scale, np.full_like(right, np.nan), right[:, :1], right.astype(np.float16)):
        with pytest.raises(ValueError, match="wrong output"):
            compare(wrong, right)


def test_one_wrong_value_among_many_is_seen():
    right = np.ones((4, 8, 16, 16))
    wrong = right.copy()
    wrong[3, 7, 15, 15] += 2 * TOLERANCE
    with pytest.raises(ValueError, match="wrong output"):
        compare(wrong, right)


@pytest.mark.parametrize("layer", TINY, ids=lambda layer: layer.name)
def test_the_truth_is_the_definition(layer, tmp_path):
    files = NumpyTruth().truth(layer.as_dict(), tmp_path)
    for path, x in zip(files, layer.inputs(), strict=True):
        expected = reference.scatter(layer.geometry(), x, *layer.parameters())
        np.testing.assert_allclose(np.load(path), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("layer", TINY, ids=lambda layer: layer.name)
def test_this_library_is_right_in_every_form(layer, name, tmp_path, monkeypatch):
    seen = []

    def spying(x, weight, *rest, **settings):
        seen.append((x.strides[1] == x.itemsize, isinstance(weight, PreparedWeight)))
        return conv_transpose2d(x, weight, *rest, **settings)

    monkeypatch.setattr(adapters, "conv_transpose2d", spying)
    worker = EngineWorker(engines.make(name, 1))
    facts = worker.prepare(layer.as_dict())
    assert worker.check(NumpyTruth().truth(layer.as_dict(), tmp_path)) < TOLERANCE
    assert set(seen) == {(name.endswith("nhwc"), name.startswith("prepared"))}
    assert facts["algorithm"] in ALGORITHMS
    assert facts["new_size"] is not None


def test_a_round_runs_on_every_buffer():
    class Counting(Right):
        seen = ()

        def prepare(self, layer, inputs, weight, bias):
            def run(i):
                self.seen = (*self.seen, i)

            return run, None

    worker = Paced(Counting, 1.0)
    worker.prepare(TINY[0].as_dict())
    assert super(Paced, worker).round(seconds=0) >= 0
    assert set(worker.engine.seen[2:]) == {0, 1, 2}


def test_a_process_answers_and_is_stopped_between_its_turns(crew, tmp_path):
    worker = crew["bench.fakes:Right"]
    assert worker.ask("prepare", layer=TINY[0].as_dict()) == {"threads": 1}
    files = NumpyTruth().truth(TINY[0].as_dict(), tmp_path)
    assert worker.ask("check", truth=files) < TOLERANCE
    assert worker.ask("round", seconds=0.001) > 0
    status = Path(f"/proc/{worker.process.pid}/stat")
    if status.exists():
        assert status.read_text().rpartition(")")[2].split()[0] == "T"


def test_what_an_engine_prints_is_no_answer(crew):
    assert crew["bench.fakes:Talker"].ask("prepare", layer=TINY[0].as_dict()) == {"threads": 1}


def test_a_process_that_dies_says_how_and_starts_again(crew):
    worker = crew["bench.fakes:Crasher"]
    for _ in range(2):
        with pytest.raises(EngineError, match="the process ended with status 3"):
            worker.ask("prepare", layer=TINY[0].as_dict())
        assert not worker.alive


def test_a_process_that_hangs_is_ended(crew):
    worker = crew["bench.fakes:Sleeper"]
    worker.ask("drop")
    worker.patience, pid = 0.05, worker.process.pid
    with pytest.raises(EngineError, match=r"no answer in 0\.05 s"):
        worker.ask("prepare", layer=TINY[0].as_dict())
    assert not is_running(pid)


def test_an_engine_that_cannot_be_made_says_why(crew):
    with pytest.raises(EngineError, match=r"AttributeError: .*Nobody"):
        crew["bench.fakes:Nobody"].ask("drop")


def test_no_process_outlives_an_interrupted_crew():
    pids, name = [], "bench.fakes:Right"

    def work():
        with Crew([name], environments={name: ENVIRONMENT}) as crew:
            crew[name].ask("prepare", layer=TINY[0].as_dict())
            pids.append(crew[name].process.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not is_running(pids[0])
