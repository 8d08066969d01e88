"""The models of benchmarks/models.py, small: accelerated they give torch's outputs and gradients."""

import copy
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from require import require

torch = require("torch")
ut = require("upconv.torch")
FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load():
    """A script of benchmarks/ as a module, which may import its neighbours."""
    names, sys.path[:0] = set(sys.modules), [str(FOLDER)]

    def by_name(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield by_name
    sys.path.remove(str(FOLDER))
    for name in {"models", "monai_models", "pictures"} - names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bench(load):
    return load("torch_models")


NAMES = ["dcgan", "gan", "pix2pix", "unet", "fsrcnn", "hifigan", "fcn8s", "centernet"]


def test_every_model_is_tested_here(bench):
    assert [make.__name__ for make in bench.MODELS.values()] == NAMES


@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_outputs_and_gradients_are_torchs(place, bench, ours):
    name = list(bench.MODELS)[place]
    model, inputs = bench.build(name, 0.125)
    twin = copy.deepcopy(model)
    report = ut.accelerate(twin)
    assert report.layers
    assert not any(layer.left for layer in report.layers)
    assert bench.check_outputs(name, model, twin, inputs) < 1e-5
    assert len(ours) >= len(report.layers)
    assert bench.check(name, model, twin, inputs) < 1e-5


@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_frozen_and_fused_outputs_are_torchs(place, bench, ours):
    name = list(bench.MODELS)[place]
    model, inputs = bench.build(name, 0.125)
    twin = copy.deepcopy(model.eval())
    report = ut.accelerate(twin, frozen=True, fuse=True)
    assert all(layer.frozen for layer in report.layers)
    assert bool(report.fused) == (NAMES[place] in ("dcgan", "gan", "pix2pix"))
    assert bench.check_outputs(name, model, twin, inputs) < 1e-5
    assert ours


def test_models_that_differ_are_told(bench):
    model, inputs = bench.build("FCN-8s head", 0.125)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.full.weight[0, 0, 0, 0] += 1
    for check in (bench.check_outputs, bench.check):
        with pytest.raises(bench.Differs, match="FCN-8s head"):
            check("FCN-8s head", model, twin, inputs)


def test_the_command_writes_a_table_a_file_and_a_chart(bench, tmp_path, capsys):
    arguments = ["--quick", "--scale", "0.125", "--only", "fcn8s", "--json", str(tmp_path / "m.json")]
    threads = torch.get_num_threads()
    try:
        assert bench.main([*arguments, "--charts", str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "| FCN-8s head |" in printed
    written = json.loads((tmp_path / "m.json").read_text())
    assert written["complete"]
    assert [row["name"] for row in written["rows"]] == ["FCN-8s head"]
    assert [len(row["whole"]) for row in written["rows"]] == [3]  # torch's, accelerated, frozen
    assert "FCN-8s head" in (tmp_path / "models.svg").read_text()


def test_without_monai_the_command_says_what_to_install(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        bench.main(["--monai"])
    assert caught.value.code == 2
    assert "monai is not installed: pip install --no-deps monai" in capsys.readouterr().err


@pytest.mark.parametrize("place", range(3))
def test_networks_on_volumes_of_monai(place, bench, ours):
    if importlib.util.find_spec("monai") is None:
        pytest.skip("monai is not installed")
    name = list(bench.monai_models.MODELS)[place]
    model, inputs = bench.build(name, 0.125, builders=bench.monai_models.MODELS)
    twin = copy.deepcopy(model)
    report = ut.accelerate(twin)
    assert report.layers
    assert not any(layer.left for layer in report.layers)
    assert bench.check_outputs(name, model, twin, inputs) < 1e-5
    assert len(ours) >= len(report.layers)
    assert bench.check(name, model, twin, inputs) < 1e-5


def test_an_interrupted_run_leaves_whole_files(bench, tmp_path, monkeypatch):
    made = iter([{"name": "a", "layers": [2, 1], "whole": [2, 1, 1], "step": [2, 1]}])

    def row_of(*_):
        try:
            return next(made)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(bench, "row_of", row_of)
    threads = torch.get_num_threads()
    assert bench.main(["--json", str(tmp_path / "m.json")]) == 130
    torch.set_num_threads(threads)
    written = json.loads((tmp_path / "m.json").read_text())
    assert (written["complete"], len(written["rows"])) == (False, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_training_gives_the_same_losses(load):
    require("sklearn")
    require("PIL")
    training = load("torch_training")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = {name: training.train(name, 0, 4) for name in ("torch", "upconv")}
        other = training.train("upconv", 1, 4)
    finally:
        torch.set_num_threads(threads)
    assert training.differences(runs)["upconv"] < 1e-4
    assert training.differences({"torch": runs["torch"], "upconv": other})["upconv"] > 1e-2
    assert len(runs["torch"]["d"]) == 4
