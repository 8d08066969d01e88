"""What a type checker knows of the public names: results are known, wrong arguments are found."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from require import require

import upconv
from upconv import borders, config, conventions, errors, geometry, inverse, phases, weights

SOURCES = Path(upconv.__file__).parents[1]
# Lines that are right say so by `assert_type`; those that are wrong end in what mypy's message must have.
SCRIPT = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import upconv
from upconv import conventions, inverse
from upconv.geometry import Axis

x, w = np.ones((1, 2, 4, 4), np.float32), np.ones((2, 3, 3, 3), np.float32)
b = np.zeros(2, np.float32)
y = upconv.conv_transpose2d(x, w, stride=2, padding=((1, 1), (0, -1)))
assert_type(y, NDArray[np.float32])
assert_type(upconv.conv_transpose2d([[[[1.0]]]], [[[[2.0]]]], padding="same", stride=(1, 2)), NDArray[Any])
assert_type(upconv.conv2d(y, w, b, padding=np.int64(1)), NDArray[np.float32])
gradient, _, _ = upconv.grad.conv_transpose2d_backward(y, x, w, output_mask=(True, False, False))
assert_type(gradient, NDArray[np.float32] | None)
assert_type(upconv.grad.conv_transpose2d_input((1, 2, 4, 4), w, y), NDArray[np.float32])
layer = upconv.ConvTranspose2d(2, 3, kernel_size=3, stride=(2, 1), padding="same_lower", rng=0)
assert_type(layer(x, output_size=(8, 4)), NDArray[np.float32])
assert_type(layer.bias, NDArray[Any] | None)
assert_type(layer.load_state_dict(layer.state_dict()).missing_keys, list[str])
assert_type(upconv.get_num_threads(), int)
assert_type(inverse.settings(17, 32, k=3)[0].arguments(), str)
assert_type(conventions.Torch(1).axis(4, 3, s=2), Axis)
plan = upconv.plan(x, w, stride=2, activation=("leaky_relu", 0.1))
assert_type(plan, upconv.Plan)
assert_type(plan(x, w, b), NDArray[np.float32])
assert_type(plan.macs + plan.executed_macs + plan.workspace_bytes, int)
assert_type(plan.kernels, tuple[str, ...])
assert_type(upconv.plan((1, 2, 4, 4), (2, 3, 3, 3), dtype="float64", algorithm=plan).fallback, str | None)
plan.settings  # error: "settings"
assert_type(upconv.init.bilinear((2, 2, 4, 4), stride=2), NDArray[np.float32])
filled: NDArray[np.float64] = np.empty((2, 2, 4, 4))
assert_type(upconv.init.icnr(filled, 2, rng=0), NDArray[np.float64])
assert_type(upconv.explain.artifacts(w, stride=2).score, float)
assert_type(upconv.reference.scatter(inverse.Setting(3).axis(4), x, w), NDArray[Any])  # error: "scatter"
upconv.conv_transpose2d(x, w, stride="2")  # error: "stride" to "conv_transpose2d"
upconv.conv_transpose2d(x, w, padding="smae")  # error: "padding" to "conv_transpose2d"
upconv.conv_transpose2d(x, w, padding_mode="mirror")  # error: "conv_transpose2d"
upconv.conv_transpose2d(x, w, striide=2)  # error: "striide"
upconv.ConvTranspose2d(2, 3)  # error: "kernel_size"
upconv.ConvTranspose2d(2, 3, 3, dtype=3.5)  # error: "dtype"
layer.load_state_dict([1])  # error: "load_state_dict"
layer.in_chanels  # error: "in_chanels"
upconv.set_num_threads("two")  # error: "set_num_threads"
inverse.settings(17, "32")  # error: "settings"
upconv.plan(x, w, activation="gelu")  # error: "activation" to "plan"
plan(x, w, bias=b)  # error: "__call__"
upconv.init.bilinear((2, 2, 4, 4), stride="2")  # error: "bilinear"
upconv.explain.explain(kernel_size=3, language="de")  # error: "language" to "explain"
conventions.translate(4, Axis(4, 3), Axis(4, 3))  # error: "translate"
"""


def test_mypy_finds_every_wrong_line_and_no_other(tmp_path):
    require("mypy")
    script = tmp_path / "user.py"
    script.write_text(SCRIPT)
    # The package's own lines are not the user's.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path)]
    # It finds by itself what is installed, and wants to be told of nothing but sources.
    where = {} if "site-packages" in SOURCES.parts else {"MYPYPATH": str(SOURCES)}
    done = subprocess.run([*command, str(script)], env=where, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    said = re.findall(r"user\.py:(\d+): error: (.*)", done.stdout)
    lines = SCRIPT.splitlines()
    wanted = {number: line.split("# error: ")[1] for number, line in enumerate(lines, 1) if "# error: " in line}
    assert {int(number) for number, _ in said} == wanted.keys(), done.stdout
    for number, words in wanted.items():
        assert any(words in message for at, message in said if int(at) == number), (words, done.stdout)


def functions_of(thing, name):
    """(name, function) of what a module or a class defines for its users."""
    for key, value in vars(thing).items():
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if key.startswith("_") and key not in ("__init__", "__call__"):
            continue
        if isinstance(value, property):
            yield f"{name}.{key}", value.fget
        elif inspect.isfunction(value) and value.__code__.co_filename != "<string>":
            if value.__module__ == getattr(thing, "__module__", thing.__name__):
                yield f"{name}.{key}", value
        elif inspect.isclass(value) and value.__module__ == thing.__name__:
            yield from functions_of(value, f"{name}.{key}")


def listed(module, name):
    """(name, function) of what a module lists as its own in `__all__`."""
    for key in module.__all__:
        thing = getattr(module, key)
        if inspect.isfunction(thing):
            yield f"{name}{key}", thing
        elif inspect.isclass(thing):
            for owner in thing.__mro__:
                if owner.__module__.startswith("upconv"):
                    yield from functions_of(owner, f"{name}{key}")


MODULES = (upconv.grad, upconv.init, upconv.reference, borders, config, conventions, errors, geometry, inverse, phases)
PUBLIC = [row for module in MODULES for row in functions_of(module, module.__name__.removeprefix("upconv."))]
PUBLIC += [*listed(upconv, ""), *listed(upconv.explain, "explain."), *functions_of(weights, "weights")]


@pytest.mark.parametrize(("name", "function"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_everything_public_is_annotated(name, function):
    signature = inspect.signature(function)
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
    assert bare == []
    assert signature.return_annotation is not signature.empty


def test_the_package_says_that_it_is_typed():
    assert Path(upconv.__file__).with_name("py.typed").exists()
