"""examples/dcgan.py: either engine, a sheet every epoch, and a run that was broken off goes on as if it were whole."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from require import require

torch = require("torch")
require("sklearn")
require("PIL")
ut = require("upconv.torch")
EXAMPLE = Path(__file__).parents[2] / "examples" / "dcgan.py"


@pytest.fixture(scope="module")
def dcgan():
    spec = importlib.util.spec_from_file_location("dcgan", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(dcgan, tmp_path):
    """Run the example in a folder; gives the arrays that it exports."""
    threads = torch.get_num_threads()

    def run(folder, *options, epochs=2, engine="upconv"):
        folder = tmp_path / folder
        ends = ["--samples", str(folder), "--out", str(folder / "d.npz"), "--epochs", str(epochs), "--engine", engine]
        dcgan.main(["--limit", "128", *ends, *options])
        with np.load(folder / "d.npz") as arrays:
            return {name: arrays[name] for name in arrays if name != "meta"}

    yield run
    torch.set_num_threads(threads)


@pytest.mark.parametrize("engine", ["torch", "upconv"])
def test_the_engine_computes_the_generator(engine, dcgan):
    trainer = dcgan.Trainer(engine)
    ours = [isinstance(module, ut.ConvTranspose2d) for module in trainer.generator[::3]]
    assert ours == [engine == "upconv"] * 4


def test_a_run_in_two_parts_is_one_run(train, tmp_path):
    whole = train("whole")
    train("parts", epochs=1)
    resumed = train("parts", "--resume")
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == [
        "checkpoint.pt",
        "d.npz",
        "epoch0001.png",
        "epoch0002.png",
    ]


def test_engines_agree_and_seeds_do_not(train):
    one, other = train("torch", epochs=1, engine="torch"), train("upconv", epochs=1)
    seeded = train("seeded", "--seed", "1", epochs=1)
    for name in one:
        np.testing.assert_allclose(other[name], one[name], atol=2e-2)
    assert not np.allclose(seeded["layer0.weight"], other["layer0.weight"], atol=2e-2)
