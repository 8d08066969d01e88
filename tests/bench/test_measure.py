"""The order of a run: the gate, the checks, the turns, the duels."""

import pytest
from bench.fakes import TINY, Keeper, Paced, Refuser, Right, Wrong, crew_of

from upconv.bench.measure import Bench, GateError, Options, progress_bar


def bench(workers, log=None, **options):
    options = {"rounds": 3, "seconds": 0.5, **options}
    return Bench(Options(TINY, [name for name in workers if name != "probe"], **options), crew=crew_of(workers, log))


def test_a_run_times_everybody_on_every_row():
    rows = bench({"upconv-nchw": Paced(Right, 1.0), "torch-nchw": Paced(Right, 2.0)}).run()
    assert [r["name"] for r in rows] == ["tiny-a", "tiny-b"]
    for r in rows:
        assert r["engines"]["upconv-nchw"]["rounds"] == [1.0] * 3
        assert r["engines"]["torch-nchw"]["rounds"] == [2.0] * 3
        assert len(r["probe"]["rounds"]) == 3


@pytest.mark.parametrize("engine", [Wrong, Keeper])
def test_nothing_is_timed_when_upconv_is_wrong(engine):
    log = []
    workers = {"upconv-nchw": Paced(Right, 1.0), "upconv-nhwc": Paced(engine, 1.0), "ncnn": Paced(Right, 1.0)}
    with pytest.raises(GateError, match="upconv-nhwc is wrong on tiny-a, so nothing is timed"):
        bench(workers, log).run()
    assert not [who for who, what in log if what == "round"]
    assert log[-1] == ("crew", "closed")


@pytest.mark.parametrize("engine", [Wrong, Keeper])
def test_a_wrong_rival_is_not_timed_and_the_run_goes_on(engine):
    log = []
    rows = bench({"upconv-nchw": Paced(Right, 1.0), "ncnn": Paced(engine, 0.1)}, log).run()
    assert ("ncnn", "round") not in log
    assert all("wrong output" in r["engines"]["ncnn"]["reason"] for r in rows)


def test_a_rival_that_refuses_a_row_still_runs_the_others():
    rows = bench({"upconv-nchw": Paced(Right, 1.0), "ncnn": Paced(Refuser, 2.0)}).run()
    assert rows[0]["engines"]["ncnn"]["rounds"]
    assert rows[1]["engines"]["ncnn"] == {"reason": "NotImplementedError: no groups here"}


def test_a_rival_that_fails_in_a_round_loses_the_row():
    rows = bench({"upconv-nchw": Paced(Right, 1.0), "ncnn": Paced(Right, [2.0])}).run()
    assert rows[0]["engines"]["ncnn"]["reason"].startswith("IndexError")
    assert rows[0]["engines"]["upconv-nchw"]["rounds"] == [1.0] * 3


def test_everybody_is_checked_before_anybody_is_timed_and_turns_move_on():
    log = []
    bench({"upconv-nchw": Paced(Right, 1.0), "ncnn": Paced(Right, 2.0)}, log).run()
    assert log.index(("ncnn", "check")) < log.index(("upconv-nchw", "round"))
    turns = [who for who, what in log if what == "round"][:6]
    assert turns == ["upconv-nchw", "ncnn", "probe", "ncnn", "probe", "upconv-nchw"]


def test_those_near_parity_are_timed_again_alone_and_longer():
    ours, near = Paced(Right, 1.0), Paced(Right, [1.03] * 3 + [1.1] * 3 + [9.0] * 3)
    rows = bench({"upconv-nchw": ours, "torch-nchw": near, "ncnn": Paced(Right, 5.0)}).run()
    assert rows[0]["again"] == [{"pair": ["upconv-nchw", "torch-nchw"], "ours": [1.0] * 3, "rival": [1.1] * 3}]
    assert rows[1]["again"] == []
    assert ours.asked[:6] == [0.5] * 3 + [2.5] * 3


def test_an_interrupted_run_keeps_its_finished_rows_and_closes_its_crew():
    log, labels = [], []

    def progress(label, steps=1):
        labels.append(label)
        if label == "tiny-b":
            raise KeyboardInterrupt

    run = bench({"upconv-nchw": Paced(Right, 1.0)}, log)
    run.progress = progress
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert [r["name"] for r in run.rows] == ["tiny-a"]
    assert log[-1] == ("crew", "closed")
    assert labels[:2] == ["gate: tiny-a", "gate: tiny-b"]


def test_progress_is_silent_where_nobody_looks(capsys):
    class File(list):
        isatty = staticmethod(lambda: False)

        def write(self, text):
            self.append(text)

    file = File()
    with progress_bar(3, file) as advance:
        advance("row")
    assert file == []
