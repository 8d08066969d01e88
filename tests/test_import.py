"""`import upconv` is light: NumPy and nothing else heavy, and nothing printed."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "llvmlite", "torch", "jax", "flax", "onnx", "onnxruntime", "dask", "keras", "tensorflow", "PIL", "scipy",
    "ml_dtypes",
    "hypothesis", "sklearn", "matplotlib", "argparse", "upconv.explain", "upconv.cli", "upconv.demo",
)  # fmt: skip


def loaded_by(statement):
    """Modules in `sys.modules` of a fresh interpreter after the statement."""
    code = f"import sys\n{statement}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def after_import():
    return loaded_by(f"sys.path[:0] = {sys.path!r}\nimport upconv")


def test_import_loads_numpy(after_import):
    assert {"upconv", "numpy"} <= after_import


@pytest.mark.parametrize("name", HEAVY)
def test_import_does_not_load(name, after_import):
    # What an installation loads at start-up by itself is not ours.
    by_itself = loaded_by(f"sys.path[:0] = {sys.path!r}\nimport numpy")
    assert name not in after_import - by_itself


def test_a_call_loads_no_framework():
    call = "import numpy, upconv\nupconv.conv_transpose2d(numpy.ones((1, 1, 2, 2)), numpy.ones((1, 1, 2, 2)))"
    assert loaded_by(f"sys.path[:0] = {sys.path!r}\n{call}").isdisjoint({"torch", "jax", "onnx", "keras", "PIL"})


def test_all_public_names_are_there():
    import upconv

    assert sorted(upconv.__all__) == upconv.__all__
    for name in upconv.__all__:
        assert hasattr(upconv, name)
    assert upconv.__version__.count(".") == 2


WITHOUT = {
    "not there": """
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
""",
    "None": "sys.modules['torch'] = None\n",
    "broken": "import os, tempfile; folder = tempfile.mkdtemp(); sys.path.insert(0, folder)\n"
    "open(os.path.join(folder, 'torch.py'), 'w').write('raise OSError(\"libtorch.so: cannot open\")')\n",
}
LOOKS = """
import inspect, pydoc, upconv
assert not hasattr(upconv, "torch")
assert getattr(upconv, "torch", 1) == 1
members = dict(inspect.getmembers(upconv))
assert "conv_transpose2d" in members and "explain" in members and "torch" not in members, sorted(members)
text = pydoc.plain(pydoc.render_doc(upconv))
assert "conv_transpose2d" in text
for name in dir(upconv):
    getattr(upconv, name, None), hasattr(upconv, name)
import copy, doctest
doctest.DocTestFinder().find(upconv)
try:
    upconv.torch
except AttributeError as error:
    print(error)
try:
    upconv.nothing
except AttributeError as error:
    assert "has no attribute 'nothing'" in str(error)
"""


@pytest.mark.parametrize("how", WITHOUT)
def test_whoever_looks_around_without_torch_meets_no_error(how):
    code = f"import sys\nsys.path[:0] = {sys.path!r}\n{WITHOUT[how]}{LOOKS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("libtorch.so" if how == "broken" else "pip install 'upconv[torch]'") in done.stdout
