"""The command benchmarks/gradients.py: a run, a report on what it wrote, an interruption, what it refuses."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from require import require

import upconv
from upconv.bench.layers import Layer

torch = require("torch")
FOLDER = Path(__file__).parents[2] / "benchmarks"
NAMES = ("gradients", "gradient_report", "pictures")
TINY = [Layer(name, 1, 3, 4, 5, 2, (3, 3), (2, 2), (1, 1), (1, 1)) for name in ("tiny-a", "tiny-b")]
LINE = ["--rounds", "2", "--seconds", "0.0001", "--layouts", "nhwc"]


@pytest.fixture
def command(monkeypatch):
    """The script as a module, on two small layers; what it imports of its neighbours is forgotten again."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("gradients", FOLDER / "gradients.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "matching", lambda only: TINY)
    threads = torch.get_num_threads(), upconv.get_num_threads()
    yield module
    torch.set_num_threads(threads[0])
    upconv.set_num_threads(threads[1])
    for name in NAMES:
        sys.modules.pop(name, None)


def test_a_run_is_reported_again_from_its_file(command, tmp_path, capsys):
    path, page = tmp_path / "run.json", tmp_path / "page.md"
    page.write_text("<!-- gradients --><!-- end of gradients -->")
    assert command.main([*LINE, "--json", str(path), "--charts", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    saved = command.gradient_report.read(path)
    assert saved["complete"]
    assert [row["name"] for row in saved["rows"]] == ["tiny-a", "tiny-b"]
    engines = saved["rows"][0]["engines"]
    assert set(engines) == {f"{who} {what}" for who in ("torch", "upconv") for what in command.MASKS} | {
        "upconv forward"
    }
    assert all(len(engine["rounds"]) == 2 and min(engine["rounds"]) > 0 for engine in engines.values())
    assert len(saved["rows"][0]["probe"]["rounds"]) == 2
    assert "tiny-b: weight" in (tmp_path / "gradients.svg").read_text(encoding="utf-8")
    assert command.main(["--from", str(path), "--readme", str(page)]) == 0
    again = capsys.readouterr().out.removesuffix(f"wrote {page}\n")
    assert told.startswith(again)
    assert "| the weight | channels-last |" in page.read_text(encoding="utf-8")


def test_ctrl_c_leaves_a_valid_file_of_the_finished_rows(command, tmp_path, monkeypatch, capsys):
    path, real = tmp_path / "run.json", command.row_of

    def row_of(layer, *others):
        if layer is TINY[1]:
            raise KeyboardInterrupt
        return real(layer, *others)

    monkeypatch.setattr(command, "row_of", row_of)
    assert command.main([*LINE, "--json", str(path)]) == command.INTERRUPTED
    saved = command.gradient_report.read(path)
    assert not saved["complete"]
    assert [row["name"] for row in saved["rows"]] == ["tiny-a"]
    assert "INTERRUPTED after 1 row" in capsys.readouterr().out


def test_what_differs_from_torch_is_an_error(command, monkeypatch):
    def wrong(*args, **settings):
        return np.zeros((1, 3, 4, 5), np.float32), None, None

    monkeypatch.setattr(command.upconv.grad, "conv_transpose2d_backward", wrong)
    with pytest.raises(SystemExit, match="tiny-a nhwc input: torch and upconv differ by"):
        command.main([*LINE, "--gradients", "input"])


def test_what_cannot_be_reported_or_written_is_refused_before_the_run(command, tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    for line in (["--from", str(tmp_path / "other.json")], ["--json", str(tmp_path / "nowhere" / "a.json")]):
        assert command.main(line) == 2
        assert "benchmarks/gradients.py: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["--layouts", "nchw,nwhc"])
    assert "--layouts nwhc: there are nchw, nhwc" in capsys.readouterr().err
