"""The command: options, the file of results, the report, the pictures, comparisons."""

import argparse
import json
import re

import pytest
from bench.fakes import TINY, Paced, Right, Wrong, crew_of, row

from upconv import cli
from upconv.bench import command, engines, record, report
from upconv.bench.charts import write_charts
from upconv.bench.layers import Layer, matching, table
from upconv.bench.measure import Bench


def run(line, monkeypatch, workers=None, stop_at=None):
    """Run the command on the tiny layers with stand-ins for the engines."""
    workers = workers or {"upconv-nchw": Paced(Right, 1e-3), "torch-nchw": Paced(Right, 4e-3)}

    class Inline(Bench):
        def __init__(self, plan):
            super().__init__(plan, crew=crew_of(workers))

        def _row(self, crew, layer, folder):
            if layer.name == stop_at:
                raise KeyboardInterrupt
            return super()._row(crew, layer, folder)

    monkeypatch.setattr(command, "Bench", Inline)
    monkeypatch.setattr(command, "matching", lambda only: TINY)
    monkeypatch.setattr(engines, "resolve", lambda names: (list(workers), {"jax": "jax not installed"}))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(line.split()))


def results(*rows):
    return record.make(list(rows), {"threads": 1}, complete=True)


def test_the_table_has_the_layers_of_the_design():
    assert len(table()) == len({layer.name for layer in table()}) == 88
    assert all(layer.macs > 0 and layer.bytes > 0 for layer in table())
    by_name = {layer.name: layer for layer in table()}
    assert by_name["hifi-gan-up1-1-d"].s == (1, 8)
    assert by_name["dw-convt1d-512"].op == (0, 1)
    assert by_name["grouped-4x32to32-k4s2"].geometry().weight_shape == (128, 32, 4, 4)


def test_small_layers_keep_their_settings():
    for layer in table():
        small = layer.small()
        assert (small.k, small.s, small.d, small.p) == (layer.k, layer.s, layer.d, layer.p)
        assert (small.groups > 1) == (layer.groups > 1)
        assert small.geometry().h.out > 0


def test_layers_survive_json():
    assert Layer.of(json.loads(json.dumps(TINY[1].as_dict()))) == TINY[1]


def test_rows_and_engines_that_nobody_knows_are_refused():
    with pytest.raises(ValueError, match="'nowhere' matches no row"):
        matching("sam,nowhere")
    with pytest.raises(ValueError, match="'tensorflow' is unknown"):
        engines.resolve("upconv-nchw,tensorflow")


def test_engines_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda package: None if package == "ncnn" else package)
    names, missing = engines.resolve()
    assert "ncnn" not in names
    assert "jax" not in names
    assert missing == {"ncnn": "ncnn not installed"}


def test_the_command_writes_what_it_measured(monkeypatch, tmp_path, capsys):
    assert run(f"--quick --json {tmp_path}/a.json --charts {tmp_path}/pictures", monkeypatch) == 0
    saved = record.read(tmp_path / "a.json")
    assert saved["complete"]
    assert saved["options"]["rounds"] == command.QUICK_ROUNDS
    assert saved["machine"]["cores"] >= 1
    assert saved["versions"]["numpy"]
    assert [r["name"] for r in saved["rows"]] == ["tiny-a", "tiny-b"]
    text = capsys.readouterr().out
    assert re.search(r"upconv-nchw over torch-nchw +4\.000 +2 +0\n", text)
    assert "jax: jax not installed" in text
    assert (tmp_path / "pictures" / "ratios.svg").read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "pictures"]
    assert run(f"--from {tmp_path}/a.json", monkeypatch) == 0
    assert capsys.readouterr().out in text


def test_ctrl_c_leaves_a_valid_file_of_the_finished_rows(monkeypatch, tmp_path, capsys):
    assert run(f"--json {tmp_path}/a.json", monkeypatch, stop_at="tiny-b") == command.INTERRUPTED
    saved = record.read(tmp_path / "a.json")
    assert not saved["complete"]
    assert [r["name"] for r in saved["rows"]] == ["tiny-a"]
    assert "INTERRUPTED after 1 row" in capsys.readouterr().out


def test_ctrl_c_before_the_first_row_writes_nothing(monkeypatch, tmp_path):
    assert run(f"--json {tmp_path}/a.json", monkeypatch, stop_at="tiny-a") == command.INTERRUPTED
    assert not list(tmp_path.iterdir())


def test_a_wrong_upconv_ends_the_command_without_a_file(monkeypatch, tmp_path, capsys):
    workers = {"upconv-nchw": Paced(Wrong, 1e-3)}
    assert run(f"--json {tmp_path}/a.json", monkeypatch, workers) == command.WRONG
    assert "is wrong on tiny-a" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_unusable_paths_are_refused_before_the_run(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run(f"--json {tmp_path}/nowhere/a.json", monkeypatch)


@pytest.mark.parametrize("line", ["--rounds 0", "--threads 0", "--seconds 0"])
def test_options_out_of_range_are_refused(line, monkeypatch):
    with pytest.raises(ValueError, match="it must be"):
        run(line, monkeypatch)


@pytest.mark.parametrize("what", [".", "/dev/zero", "nowhere", ""])
def test_what_is_no_file_is_refused(what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", "--compare", what, what]) == 2
    assert "no file" in (said := capsys.readouterr().err) or "No such file" in said


@pytest.mark.parametrize("text", ['{"format": 1, "rows": 5}', '{"format": 1, "rows": [1]}', "[" * 100_000], ids=len)
def test_rows_that_are_none_are_refused(text, tmp_path, capsys):
    path = tmp_path / "record.json"
    path.write_text(text)
    assert cli.main(["bench", "--compare", str(path), str(path)]) == 2
    assert "is not a record" in capsys.readouterr().err


def test_rows_of_another_kind_are_refused(tmp_path, capsys):
    path = tmp_path / "record.json"
    path.write_text('{"format": 1, "rows": [{"name": 3}]}')
    assert cli.main(["bench", "--compare", str(path), str(path)]) == 2
    assert "other rows than upconv bench writes" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99, "rows": []}'])
def test_files_that_are_no_records_are_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="is not a record"):
        record.read(tmp_path / "a.json")


def test_gaps_are_shown_as_dashes_with_their_reason():
    r = row("gap", upconv_nchw=1e-3)
    r["engines"]["ncnn"] = {"reason": "no groups here"}
    text = report.report(results(r))
    assert re.search(r"^gap +1\.0 +- ", text, re.MULTILINE)
    assert "gap, ncnn: no groups here" in text


def test_the_worst_rows_come_first():
    rows = [row(f"r{n}", upconv_nchw=1.0, torch_nchw=float(n)) for n in (3, 1, 2)]
    assert "worst upconv against torch: r1 1.00, r2 2.00, r3 3.00" in report.worst(rows)


def test_rows_that_leave_the_multipliers_idle_are_named():
    # F is 1 ms and B a hundredth of it; each has twice the multiply-adds executed, so 2 ms of them.
    rows = [row("slow", upconv_nchw=3e-3), row("busy", upconv_nchw=2.2e-3), row("narrow", upconv_nchw=3e-3)]
    for each, channels in zip(rows, (64, 64, 31), strict=True):
        each["layer"] = {"c_in": 2 * channels, "c_out": 4 * channels, "groups": 2}
        each["engines"]["upconv-nchw"] |= {"executed_macs": 1_000_000, "algorithm": "gemm"}
    assert report.idle(rows).endswith("channels and more: slow 67% (gemm)")
    assert report.idle(rows[1:]).endswith(": none")


def test_compare_is_second_over_first():
    old = results(row("a", upconv_nchw=2.0, torch_nchw=4.0), row("gone", upconv_nchw=1.0))
    new = results(row("a", upconv_nchw=1.0, torch_nchw=4.0))
    text = report.compare(old, new)
    assert re.search(r"^a +2\.00! +2\.00! +2\.00! +2\.00!$", text, re.MULTILINE)
    assert "gone" not in text
    assert report.compare(old, results()) == "the two runs have no row in common"


def test_compare_names_what_is_computed_by_another_algorithm():
    old, new = (results(row("a", upconv_nchw=1.0, upconv_nhwc=1.0), row("b", upconv_nchw=1.0)) for _ in range(2))
    for run, chosen in ((old, "gemm"), (new, "winograd")):
        first, second = run["rows"]
        first["engines"]["upconv-nchw"]["algorithm"] = chosen
        first["engines"]["upconv-nhwc"]["algorithm"] = second["engines"]["upconv-nchw"]["algorithm"] = "gemm"
    assert report.compare(old, new).splitlines()[-1] == "a, upconv-nchw: by winograd, in the first run by gemm"
    assert "by gemm" not in report.compare(new, new)


def test_pictures_without_a_point_are_left_out(tmp_path):
    unprobed = row("a", upconv_nchw=1.0, torch_nchw=2.0)
    unprobed["probe"] = {"reason": "no compiler"}
    names = {path.name for path in write_charts(results(unprobed), tmp_path)}
    assert "ratios.svg" in names
    assert "roofline.svg" not in names


def test_pictures_name_every_row(tmp_path):
    write_charts(results(row("left", upconv_nchw=1e-2), row("right", upconv_nhwc=1e-2, torch_nhwc=1e-3)), tmp_path)
    assert "right: the best upconv over the best of all 0.10×" in (tmp_path / "ratios.svg").read_text()
    assert "left: upconv 0.1 GFLOP/s" in (tmp_path / "roofline.svg").read_text()
