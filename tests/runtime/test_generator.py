"""Kernels found on disk by what writes them: written once, and anew whenever what writes them may be another."""

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import upconv
from upconv import codegen, kernels
from upconv.codegen import isa, lang, primitives
from upconv.kernels import gemm, winograd_tile
from upconv.kernels.copy import copy
from upconv.kernels.execute import execute
from upconv.runtime import generator
from upconv.runtime.generator import Generator
from upconv.winograd_forms import Matrix, form

SOURCE = Path(upconv.__file__).parent
# What a process has written down, and the product of a number that only the kernel's source says.
PROGRAM = """
import ctypes, os, time
import numpy as np, upconv
from upconv.runtime import kernel
from upconv.kernels import sample
written, right = [], kernel._written
kernel._written = lambda *make: (written.append(make[0].__name__), right(*make))[1]
{change}
data = np.array([1], np.int64)
kernel.linked(sample.sample).function()(np.array([data.ctypes.data], np.int64).ctypes.data)
print(data[0], "sample" in written)
"""
SAMPLE = """
from ..codegen.lang import I64, PTR, Builder
FACTOR = 2

def sample(isa):
    k = Builder(f"sample_{isa.name}")
    (place,) = k.arguments(PTR)
    k.store(k.load(place, I64) * FACTOR, place)
    return k
"""
# Longer ago than a file system's step.
AGE = generator.STEP + 1


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the package with a kernel more."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(SOURCE, tree / "upconv", ignore=shutil.ignore_patterns("__pycache__", "*.html"))
    written(tree, SAMPLE)
    # It is there when the package has been imported, like the others.
    with (tree / "upconv" / "kernels" / "__init__.py").open("a") as file:
        file.write("from . import sample as sample\n")
    return tree


def written(tree, text, mtime=None):
    path = tree / "upconv" / "kernels" / "sample.py"
    path.write_text(text)
    if mtime:
        os.utime(path, (mtime, mtime))
    return path


def rest(tree):
    """Let the files become old enough to be trusted."""
    newest = max(path.stat().st_ctime for path in (tree / "upconv").rglob("*.py"))
    time.sleep(max(0, newest + AGE - time.time()))


def run(tree, cache, change="", **environment):
    """(what the kernel has made of one, whether it was written down), in a fresh process."""
    environment = dict(os.environ) | {"PYTHONPATH": str(tree), "UPCONV_CACHE_DIR": str(cache)} | environment
    program = [sys.executable, "-c", PROGRAM.format(change=change)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    number, was_written = done.stdout.split()
    return int(number), was_written == "True"


def key(*make, rooms=(codegen, kernels), since=None):
    return Generator(rooms, time.time() if since is None else since).key(make[0], make[1:])


@pytest.fixture
def old(monkeypatch):
    """Files that are older than anything, whenever they were written."""
    right = os.stat

    def stat(path, *rest, **options):
        found = list(right(path, *rest, **options))
        return os.stat_result([*found[:7], 1, 1, 1])

    monkeypatch.setattr(generator.os, "stat", stat)


def test_every_module_that_writes_kernels_is_there_from_the_beginning():
    """One that is imported later is none of those that are hashed, and its kernels are always written."""
    program = "import sys, upconv\nprint(*(name for name in sys.modules if name.startswith('upconv.')))"
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    for room in (codegen, kernels):
        names = {f"{room.__name__}.{path.stem}" for path in Path(room.__file__).parent.glob("[!_]*.py")}
        assert names - {"upconv.codegen.interpreter"} <= set(there)


def test_where_python_keeps_no_code_of_its_files_there_is_no_key(old, monkeypatch):
    assert key(copy, "f32")
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    monkeypatch.setattr(sys.modules[copy.__module__].__spec__, "cached", None)
    assert key(copy, "f32") is None


def test_keys_say_the_function_and_its_arguments(old):
    keys = {key(*make) for make in ((copy, "f32"), (copy, "f64"), (copy, "f32", "f16"), (execute,), (execute, 1))}
    assert len(keys) == 5
    assert None not in keys
    assert key(copy, "f32") == key(copy, "f32")
    matrices = form(2, 3).source, form(2, 3).weight
    assert key(copy, *matrices) not in (None, key(copy, *matrices[::-1]))


@pytest.mark.parametrize("argument", [object(), [1], (1, [2]), {"a": 1}, Path("a")])
def test_arguments_whose_words_do_not_say_all_have_no_key(argument, old):
    assert key(copy, argument) is None
    assert key(copy, Matrix(((1, 2),))) is not None


def test_only_functions_of_the_modules_have_keys(old):
    assert key(lambda isa: None) is None
    assert key(generator._is_plain) is None
    wrong = lambda isa: None  # noqa: E731
    wrong.__module__, wrong.__name__ = copy.__module__, copy.__name__
    assert key(wrong) is None


CHANGES = {
    "a function": (gemm, "spill_partial_sums", lambda *rest: None),
    "a constant": (gemm, "UNROLL", gemm.UNROLL + 1),
    "a method": (lang.Builder, "shuffle", lambda *rest: None),
    "what another module has imported": (winograd_tile, "combine", lambda *rest: None),
}
TABLES = {"a table": (primitives.TABLE, "add"), "a row": (isa.ROWS, "avx2")}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_that_was_replaced_has_a_key(change, old, monkeypatch):
    made = Generator(since=time.time())
    with monkeypatch.context() as patch:
        patch.setattr(*CHANGES[change])
        assert made.key(copy, ("f32",)) is None
    assert made.key(copy, ("f32",)) is not None


@pytest.mark.parametrize("change", TABLES)
def test_no_table_that_was_changed_has_a_key(change, old, monkeypatch):
    made = Generator(since=time.time())
    with monkeypatch.context() as patch:
        # Not taken out: it would come back behind the others, and the order of some tables means something.
        patch.setitem(*TABLES[change], None)
        assert made.key(copy, ("f32",)) is None
    assert made.key(copy, ("f32",)) is not None


def test_use_changes_nothing():
    """Else no kernel would be found after the first."""
    program = (
        "import numpy as np, upconv; from upconv.runtime import kernel\n"
        "x, w = np.ones((1, 64, 9, 9), np.float32), np.ones((64, 64, 4, 4), np.float32)\n"
        "for k in 2, 3, 4:\n"
        "    upconv.conv_transpose2d(x, w[..., :k, :k], stride=2)\n"
        "(made,) = kernel._generators\n"
        "print([name for name, module in made.modules.items() for now, before in made._before if now != before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_that_were_changed_since_they_were_read_have_no_key(old):
    assert key(copy, "f32", since=1 + generator.STEP + 0.5) is not None
    assert key(copy, "f32", since=1 + generator.STEP) is None


def test_what_another_loader_has_read_has_no_key(old, monkeypatch):
    class Loader(importlib.machinery.SourceFileLoader):
        pass

    assert key(copy, "f32") is not None
    monkeypatch.setattr(gemm.__spec__, "loader", Loader(gemm.__name__, gemm.__file__))
    assert key(copy, "f32") is None


def test_another_python_has_other_keys(old, monkeypatch):
    before = key(copy, "f32")
    monkeypatch.setattr(sys, "version", "4.0")
    assert key(copy, "f32") not in (None, before)


def test_files_that_cannot_be_read_have_no_key(old, monkeypatch):
    monkeypatch.setattr(gemm.__spec__, "origin", gemm.__file__ + "c")
    monkeypatch.setattr(generator.os, "stat", os.lstat)
    assert key(copy, "f32") is None


def test_a_second_process_writes_no_kernel(tree, tmp_path):
    rest(tree)
    assert run(tree, tmp_path) == (2, True)
    assert run(tree, tmp_path) == (2, False)
    assert run(tree, tmp_path, UPCONV_NO_COMPILE="1") == (2, False)
    # Without its object a note is of no use.
    for path in tmp_path.glob("*.o"):
        if path.stat().st_size > 512:
            path.unlink()
    assert run(tree, tmp_path) == (2, True)
    assert run(tree, tmp_path) == (2, False)


def test_a_damaged_note_is_none(tree, tmp_path):
    rest(tree)
    run(tree, tmp_path)
    notes = [path for path in tmp_path.glob("*.o") if path.stat().st_size < 512]
    assert notes
    for path in notes:
        path.write_bytes(path.read_bytes()[:-1])
    assert run(tree, tmp_path, PYTHONWARNINGS="ignore") == (2, True)
    assert run(tree, tmp_path) == (2, False)


@pytest.mark.parametrize("keeps", ["", "1"])
def test_a_changed_file_is_what_runs_if_python_runs_it(tree, tmp_path, keeps):
    """Even one of the same size and the same second, of which Python runs what it has kept of the other.

    What was kept is removed then, and the kernel must not be the one that was noted when it ran.
    """
    environment = {"PYTHONDONTWRITEBYTECODE": keeps, "PYTHONPYCACHEPREFIX": str(tmp_path / "kept")}
    second = int(time.time()) - 1000
    written(tree, SAMPLE, second)
    rest(tree)
    assert run(tree, tmp_path / "cache", **environment) == (2, True)
    # Where it keeps code, that of the first run is there from now on.
    assert run(tree, tmp_path / "cache", **environment) == (2, False)
    written(tree, SAMPLE.replace("= 2", "= 3"), second)
    rest(tree)
    for _ in range(2):
        assert run(tree, tmp_path / "cache", **environment)[0] == (3 if keeps else 2)
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)
    for _ in range(2):
        assert run(tree, tmp_path / "cache", **environment)[0] == 3
    written(tree, SAMPLE)


def test_a_changed_helper_changes_every_key(tree, tmp_path):
    rest(tree)
    run(tree, tmp_path)
    path = tree / "upconv" / "codegen" / "lowering.py"
    before = path.read_text()
    path.write_text(before + "\n")
    try:
        rest(tree)
        assert run(tree, tmp_path) == (2, True)
    finally:
        path.write_text(before)


def test_an_experiment_is_neither_noted_nor_answered_by_a_note(tree, tmp_path):
    rest(tree)
    change = "sample.FACTOR = 5"
    assert run(tree, tmp_path, change) == (5, True)
    assert run(tree, tmp_path) == (2, True)
    assert run(tree, tmp_path, change) == (5, True)
    assert run(tree, tmp_path) == (2, False)


def test_an_upgrade_under_a_process_is_not_noted(tree, tmp_path):
    """The old code is in its memory, the new on disk."""
    rest(tree)
    path = tree / "upconv" / "kernels" / "sample.py"
    change = f"text = open({str(path)!r}).read(); open({str(path)!r}, 'w').write(text.replace('= 2', '= 7'))"
    assert run(tree, tmp_path, change) == (2, True)
    rest(tree)
    try:
        assert run(tree, tmp_path) == (7, True)
    finally:
        written(tree, SAMPLE)
