"""`upconv.torch` as an attribute: imported when it is asked for, with a hint where torch is missing."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
from require import require

import upconv

torch = require("torch")
ut = require("upconv.torch")


def run(code):
    done = subprocess.run([sys.executable, "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{code}"],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torch_is_imported_when_it_is_asked_for():
    code = "import upconv\nassert 'torch' in dir(upconv)\nprint('torch' in sys.modules)\nupconv.torch.active"
    assert run(code + "\nprint('torch' in sys.modules)").split() == ["False", "True"]


def test_what_is_missing_is_said_with_the_cure():
    code = """
sys.modules["torch"] = None
import upconv
try:
    upconv.torch
except AttributeError as error:
    print(error)
print(hasattr(upconv, "tensorflow"))
"""
    said = run(code)
    assert "pip install 'upconv[torch]'" in said
    assert said.endswith("False")


def test_an_error_inside_torch_is_not_taken_for_its_absence():
    code = """
import upconv
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("no typing_extensions", name="typing_extensions")
sys.meta_path.insert(0, Broken())
try:
    upconv.torch
except AttributeError as error:
    print(error.__cause__.name, error)
"""
    said = run(code)
    assert said.startswith("typing_extensions upconv.torch needs torch, which cannot be imported: no typing_ext")


@pytest.mark.parametrize("name", ut.__all__)
def test_every_public_name_is_explained_with_an_example(name):
    assert ">>> " in inspect.getdoc(getattr(ut, name))


@pytest.mark.parametrize("thing", [ut.conv_transpose2d, ut.conv_transpose1d, ut.ConvTranspose2d.forward])
def test_whatever_takes_arguments_lists_them_and_its_result(thing):
    text = inspect.getdoc(thing)
    described = text.split("Args:")[1].split("Returns:")[0]
    names = [name for name in inspect.signature(thing).parameters if name != "self"]
    assert [name for name in names if not re.search(rf"\b{name}\b", described)] == []


@pytest.mark.parametrize("name", ["conv_transpose2d", "conv_transpose1d"])
def test_the_functions_take_torchs_arguments_by_name_and_place(name):
    theirs = re.search(rf"{name}\((.*?)\)", getattr(torch.nn.functional, name).__doc__, re.S)[1]
    wanted = re.sub(r"=\w+", "", theirs).split(", ")
    names = list(inspect.signature(getattr(ut, name)).parameters)
    # What goes beyond torch comes behind.
    assert names[: len(wanted)] == wanted
    assert names[len(wanted) :] in (["algorithm"], ["padding_mode", "algorithm"])


@pytest.mark.parametrize("kernel", [1, 4])
def test_an_empty_batch_is_empty(kernel):
    x, w = torch.zeros(0, 32, 4, 4, requires_grad=True), torch.randn(32, 16, kernel, kernel)
    for weight in (w, w.contiguous(memory_format=torch.channels_last)):
        weight = weight.clone().requires_grad_()
        y = ut.conv_transpose2d(x, weight, stride=2)
        assert y.shape == torch.nn.functional.conv_transpose2d(x, weight, stride=2).shape
        for got, like in zip(torch.autograd.grad(y.sum(), (x, weight)), (x, weight), strict=True):
            assert got.shape == like.shape
            assert not got.any()


def refused(module, dimensions, shapes, settings, tensor):
    """The class and the words of what a door says to operands of these shapes."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        getattr(module, f"conv_transpose{dimensions}d")(*(tensor(np.ones(s, np.float32)) for s in shapes), **settings)
    return type(caught.value), str(caught.value)


# (shapes of input, weight and bias, settings) by the dimensions of the door.
SHAPES = {1: ((1, 4, 9), (4, 6, 3), (6,)), 2: ((1, 4, 6, 7), (4, 6, 3, 3), (6,)), 3: ((1, 4, 5, 6, 7), (4, 6, 2, 3, 3))}
REFUSED = {
    "groups that do not divide": (2, SHAPES[2], {"groups": 3}),
    "no output channels": (2, ((1, 4, 6, 7), (4, 0, 3, 3), (6,)), {}),
    "other channels, and the bias": (2, ((1, 3, 6, 7), (4, 6, 3, 3), (5,)), {}),
    "a bias that is too short": (2, ((1, 4, 6, 7), (4, 6, 3, 3), (5,)), {"groups": 2}),
    "padding that leaves nothing": (2, SHAPES[2], {"padding": 50}),
    "a volume and its weight": (2, SHAPES[3], {}),
    "a volume without a batch, and its weight": (2, ((4, 5, 6, 7), (4, 6, 2, 3, 3)), {}),
    "a weight of a volume": (2, ((1, 4, 6, 7), (4, 6, 2, 3, 3)), {}),
    "a weight of a line": (2, ((1, 4, 6, 7), (4, 6, 3)), {}),
    "a weight of a map, in three dimensions": (3, ((1, 4, 5, 6, 7), (4, 6, 3, 3)), {}),
    "a weight of a map, in one": (1, ((1, 4, 9), (4, 6, 3, 3)), {}),
    "a map and its weight, in one": (1, SHAPES[2], {}),
    "a map, in one": (1, ((1, 4, 6, 7), (4, 6, 3)), {}),
    "no stride, in one": (1, SHAPES[1], {"stride": 0}),
    "two strides, in one": (1, SHAPES[1], {"stride": (1, 2)}),
    "half a stride, in one": (1, SHAPES[1], {"stride": 1.5}),
    "a boolean, in one": (1, SHAPES[1], {"dilation": True}),
    "no dilation, in one": (1, SHAPES[1], {"dilation": [0]}),
    "padding that leaves nothing, in one": (1, SHAPES[1], {"padding": 50}),
    "output_padding that is too large, in one": (1, SHAPES[1], {"output_padding": 3}),
    "groups that do not divide, in one": (1, SHAPES[1], {"groups": 3}),
    "other channels, in one": (1, ((2, 3, 9), (4, 6, 3)), {}),
    "other channels without a batch, in one": (1, ((3, 9), (4, 6, 3)), {}),
    "a bias that is too short, in one": (1, (*SHAPES[1][:2], (5,)), {}),
}


@pytest.mark.parametrize(("dimensions", "shapes", "settings"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_in_the_words_of_numpys_door(dimensions, shapes, settings):
    got = refused(ut, dimensions, shapes, settings, torch.from_numpy)
    assert got == refused(upconv, dimensions, shapes, settings, np.asarray)
    # What is no integer never comes to us there.
    if got[0] is not TypeError:
        with ut.active():
            assert got == refused(torch.nn.functional, dimensions, shapes, settings, torch.from_numpy)
