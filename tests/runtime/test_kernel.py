"""Kernels as addresses: built once, found on disk by the next process, refused with sentences where they cannot be."""

import ctypes
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import upconv
from upconv.codegen import llvm
from upconv.codegen.lang import I64, PTR, Builder
from upconv.runtime import kernel

SOURCE = str(Path(upconv.__file__).parents[1])
BUILD = """
import warnings; warnings.simplefilter("error")
from upconv.runtime import kernel
from upconv.kernels.execute import execute
from upconv.kernels.transpose import transpose
assert kernel.usable() == []
print(kernel.isa().name, all(kernel.entry(*make) for make in ((execute,), (transpose, "f32"), (transpose, "f64"))))
"""


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing built yet, and an empty cache."""
    known = (kernel.isa, kernel.cache, kernel.linked, kernel._refusals)
    for name in ("UPCONV_ISA", "UPCONV_NO_COMPILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UPCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel, "_refused", [])
    for function in known:
        function.cache_clear()
    yield tmp_path / "cache"
    for function in known:
        function.cache_clear()


def process(directory, program=BUILD, **environment):
    environment = {"PYTHONPATH": SOURCE, "PATH": os.environ["PATH"], "UPCONV_CACHE_DIR": str(directory), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(started):
    out, err = started.communicate(timeout=120)
    return started.returncode, out.strip(), err.strip()


def double(isa):
    """The first word of an array, doubled."""
    k = Builder(f"double_{isa.name}")
    (place,) = k.arguments(PTR)
    k.store(k.load(place, I64) * 2, place)
    return k


def doubled(number):
    data = np.array([number], np.int64)
    job = np.array([data.ctypes.data], np.int64)
    kernel.linked(double).function()(job.ctypes.data)
    return data[0]


def test_a_kernel_is_built_once_and_runs(fresh):
    assert doubled(21) == 42
    assert kernel.linked(double) is kernel.linked(double)
    assert kernel.entry(double) == kernel.linked(double).address
    assert len(list(fresh.glob("*.o"))) == 1


def test_code_outlives_its_python_value(fresh):
    function = kernel.linked(double).function()
    for _ in range(3):
        # The same name again, and the value before it gone.
        kernel.linked.cache_clear()
        assert doubled(4) == 8
    data = np.array([5], np.int64)
    function(np.array([data.ctypes.data], np.int64).ctypes.data)
    assert data[0] == 10


def test_a_second_process_compiles_nothing(fresh):
    assert finished(process(fresh))[0] == 0
    code, out, err = finished(process(fresh, UPCONV_NO_COMPILE="1"))
    assert (code, out.split()[-1], err) == (0, "True", "")


def test_compiling_can_be_forbidden(fresh):
    code, _, err = finished(process(fresh, UPCONV_NO_COMPILE="1"))
    assert code != 0
    assert "CompilationForbidden: nothing_" in err


def test_a_forbidden_compilation_is_no_refusal(fresh, monkeypatch):
    """Otherwise a test that forbids compiling would be satisfied by NumPy."""
    monkeypatch.setenv("UPCONV_NO_COMPILE", "1")
    with pytest.raises(kernel.CompilationForbidden, match="nothing_"):
        kernel.usable()


def test_two_processes_fill_one_cache(fresh):
    started = [process(fresh) for _ in range(2)]
    assert [finished(one)[0] for one in started] == [0, 0]
    assert {path.suffix for path in fresh.iterdir()} == {".o"}
    assert finished(process(fresh, UPCONV_NO_COMPILE="1"))[0] == 0


def test_two_threads_build_one_kernel(fresh):
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(doubled(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 2, 4, 6]


def test_a_damaged_object_is_never_run(fresh, monkeypatch):
    doubled(1)
    (path,) = fresh.glob("*.o")
    path.write_bytes(path.read_bytes()[:-8] + b"\xcc" * 8)
    for function in (kernel.linked, kernel.cache):
        function.cache_clear()
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert doubled(3) == 6
    monkeypatch.setenv("UPCONV_NO_COMPILE", "1")
    for function in (kernel.linked, kernel.cache):
        function.cache_clear()
    assert doubled(3) == 6, "mended by the compilation before"


def test_a_lower_instruction_set_by_name(fresh, monkeypatch):
    lowest = kernel.resolve(*llvm.host(), None).arch
    name = {"x86_64": "x86-64", "aarch64": "neon"}[lowest]
    monkeypatch.setenv("UPCONV_ISA", name)
    kernel.isa.cache_clear()
    assert kernel.isa().name == name
    assert doubled(4) == 8
    monkeypatch.setenv("UPCONV_ISA", "mmx")
    kernel.isa.cache_clear()
    with pytest.raises(ValueError, match=f"'mmx'.*can run .*{name}"):
        kernel.usable()


def test_everything_is_usable_here(fresh):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel.usable() == []


def test_memory_that_refuses_execution(fresh, monkeypatch):
    def refuse(name, image):
        raise llvm.CodeRefused("Failed to materialize symbols")

    monkeypatch.setattr(llvm, "Linked", refuse)
    with pytest.warns(RuntimeWarning, match="does not let"):
        refusals = kernel.usable()
    assert len(refusals) == 1
    assert "does not let" in refusals[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel.usable() == refusals


def test_memory_that_really_refuses_execution(fresh):
    """Linux can be asked never to make memory executable; LLVM must fail then, and say nothing by itself."""
    program = (
        "import ctypes, sys, warnings; warnings.simplefilter('ignore')\n"
        "from upconv.runtime import kernel; kernel.isa()\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)\n"
        "print(kernel.usable())"
    )
    code, out, err = finished(process(fresh, program))
    if code == 77 or not sys.platform.startswith("linux"):
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert (code, err) == (0, "")
    assert "does not let" in out


@pytest.mark.parametrize("first", ["one kernel", "a call"])
def test_memory_that_refuses_execution_later(fresh, first):
    """A program may ask for it when it has loaded what it needs: what has its kernels goes on, the rest is NumPy's."""
    begin = {
        "one kernel": "assert kernel.usable() == []",
        "a call": "assert (upconv.conv_transpose2d(x, w, stride=2) == want).all()",
    }[first]
    program = f"""
import ctypes, sys, warnings; warnings.simplefilter("ignore")
import numpy as np, upconv
from upconv.runtime import kernel
rng = np.random.default_rng(0)
x, w = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((1, 8, 9, 9), (8, 8, 4, 4)))
double = [a.astype(np.float64) for a in (x, w)]
plan, other = upconv.plan(x, w, stride=2), [np.concatenate([a] * 3, 3) for a in double]
want = upconv.reference.scatter(plan.problem.geometry, x, w).astype(np.float32)
elsewhere = upconv.plan(*other, stride=2).problem.geometry
{begin}
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)
for _ in range(2):
    assert (plan(x, w) == want).all()
    assert (upconv.conv_transpose2d(x, w, stride=2) == want).all()
    assert (upconv.conv_transpose2d(*other, stride=2) == upconv.reference.scatter(elsewhere, *other)).all()
many = [np.concatenate([x] * 512), w]
upconv.set_num_threads(2)
assert (upconv.conv_transpose2d(*many, stride=2)[7] == want[0]).all()
assert (upconv.conv2d(want, w, stride=2).shape == x.shape)
print(kernel.usable(), upconv.plan(*double, stride=3).algorithm)
"""
    code, out, err = finished(process(fresh, program))
    if code == 77 or not sys.platform.startswith("linux"):
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert (code, err) == (0, "")
    assert "does not let" in out
    assert out.endswith("matmul")


def test_a_home_that_does_not_exist_is_named(fresh, monkeypatch):
    monkeypatch.setenv("UPCONV_CACHE_DIR", "~nobody-of-this-name/kernels")
    with pytest.raises(
        ValueError, match="UPCONV_CACHE_DIR is '~nobody-of-this-name/kernels'; ~nobody-of-this-name is no"
    ):
        kernel.usable()


def test_a_compiler_that_fails_is_told_from_memory_that_refuses(fresh, monkeypatch):
    def fail(text, isa):
        raise RuntimeError("out of registers")

    monkeypatch.setattr(llvm, "compile_object", fail)
    with pytest.warns(RuntimeWarning, match="out of registers"):
        (refusal,) = kernel.usable()
    assert "out of registers" in refusal
    assert "does not let" not in refusal


def test_llvmlite_is_missing(fresh, monkeypatch):
    llvm.host.cache_clear()
    llvm.binding.cache_clear()
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    try:
        assert kernel.usable()[0].startswith("needs llvmlite")
    finally:
        llvm.binding.cache_clear()


def test_a_processor_without_a_row(fresh, monkeypatch):
    monkeypatch.setattr(llvm, "host", lambda: ("riscv64", frozenset()))
    assert kernel.usable() == ["has no instruction set row for riscv64 processors"]


def test_text_that_the_language_cannot_say(fresh):
    text = "define i64 @answer(ptr %job) {\nret i64 42\n}\n"
    address = kernel.link("answer", text).address
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address)(None) == 42
    assert len(list(fresh.glob("*.o"))) == 1
