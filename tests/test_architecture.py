"""The laws of the architecture: who may import whom, sizes, comments, docstrings, and what no file may mention.

A law is a function from a `Tree` (the modules of the package, parsed) to a list of violations in words. Each is run on
the package, which must have none, and on a synthetic package that breaks it.
"""

import ast
import inspect
import io
import re
import statistics
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

import pytest

import upconv

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "upconv"

PURE = {
    f"upconv.{name}"
    for name in "geometry phases conventions inverse errors bilinear winograd_forms winograd_parts".split()
}
HOMES = {
    "llvmlite": ("upconv.codegen.llvm",),
    # The demo compares itself with torch where torch is installed, and the benchmarks with every engine.
    "torch": ("upconv.torch", "upconv.demo", "upconv.bench"),
    "jax": ("upconv.jax", "upconv.bench"),
    "flax": ("upconv.jax.nnx",),
    "onnx": ("upconv.onnx", "upconv.bench"),
    "onnxruntime": ("upconv.onnx", "upconv.bench"),
    "openvino": ("upconv.bench",),
    "ncnn": ("upconv.bench",),
    "matplotlib": ("upconv.bench",),
    # Its weights and its padding are carried without it.
    "keras": (),
    "dask": ("upconv.dask",),
    "distributed": ("upconv.dask",),
    "PIL": ("upconv.explain",),
}
# llvmlite takes longer to import than everything else here together, so it is imported when first needed.
OPTIONAL = {*HOMES, "ml_dtypes", "tqdm", "sklearn", "IPython"}
OUTER_NAMES = "explain bench cli framework_options layer_options demo torch jax onnx dask __main__"
OUTER = tuple(f"upconv.{name}" for name in OUTER_NAMES.split())
# Who may import what lies outside; nobody but the command line imports the benchmarks.
MAY_IMPORT_OUTER = ("upconv.cli", "upconv.__main__", "upconv.demo")
MAY_IMPORT = {
    "upconv.bench": ("upconv.explain",),
    "upconv.onnx": ("upconv.explain",),
    "upconv.framework_options": ("upconv.layer_options",),
}
# Rooms, and all that each may know of the package beside itself: what lies below it.
BELOW = {
    "upconv.kernels": ("upconv.codegen",),
    "upconv.runtime": tuple(f"upconv.{name}" for name in ("codegen", "kernels", "config", "errors", "files")),
    "upconv.schedule": tuple(
        f"upconv.{name}"
        for name in "errors geometry phases winograd_forms winograd_parts layouts problem kernels runtime".split()
    ),
}
LAZY_HOOKS = {
    (module, hook)
    for module in ("upconv.geometry", "upconv.volume", "upconv.plans")
    for hook in ("_repr_svg_", "_repr_html_")
}


@dataclass(frozen=True)
class Import:
    """One import: the module that imports, what it imports, and the function it stands in ("" at the top)."""

    module: str
    target: str
    function: str

    @property
    def root(self):
        return self.target.split(".")[0]

    def __str__(self):
        return f"{self.module} imports {self.target}" + (f" in {self.function}" if self.function else "")


class Tree:
    """The modules of a package by dotted name, with their imports resolved."""

    def __init__(self, sources):
        self.sources = sources
        self.trees = {name: ast.parse(source) for name, source in sources.items()}
        self.packages = {name for name in sources if any(other.startswith(name + ".") for other in sources)}
        self.imports = [found for name, tree in self.trees.items() for found in self._walk(name, tree, "")]

    def _walk(self, name, node, function):
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Import):
                yield from (Import(name, alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (Import(name, target, inside) for target in self._targets(name, child))
            if not is_for_type_checkers(child):
                yield from self._walk(name, child, inside)

    def _targets(self, name, node):
        base = node.module or ""
        if node.level:
            parts = name.split(".") if name in self.packages else name.split(".")[:-1]
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in self.sources else base

    def functions(self):
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield name, node


def is_for_type_checkers(node):
    """Whether a statement is `if TYPE_CHECKING`, under which nothing is imported when a program runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def within(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def pure_modules_need_the_standard_library_alone(tree):
    return [
        str(i)
        for i in tree.imports
        if i.module in PURE and i.root not in sys.stdlib_module_names and i.target not in PURE and not is_hook(i)
    ]


def is_hook(i):
    return (i.module, i.function) in LAZY_HOOKS and within(i.target, "upconv.explain")


def every_framework_stays_at_home(tree):
    return [str(i) for i in tree.imports if i.root in HOMES and not within(i.module, *HOMES[i.root])]


def codegen_knows_nothing_of_the_package(tree):
    return [
        str(i)
        for i in tree.imports
        if within(i.module, "upconv.codegen") and i.root == "upconv" and not within(i.target, "upconv.codegen")
    ]


def rooms_know_what_lies_below_them(tree):
    return [
        str(i)
        for i in tree.imports
        for room, below in BELOW.items()
        if within(i.module, room) and i.root == "upconv" and not within(i.target, room, *below)
    ]


def reference_knows_the_geometry_alone(tree):
    allowed = {"numpy", "upconv.geometry", "typing", "__future__"}
    return [str(i) for i in tree.imports if i.module == "upconv.reference" and i.target not in allowed]


def algorithms_do_not_know_each_other(tree):
    forbidden = ("upconv.algorithms", "upconv.codegen.llvm", *OUTER)
    return [str(i) for i in tree.imports if i.module.startswith("upconv.algorithms.") and within(i.target, *forbidden)]


def nothing_imports_what_lies_outside(tree):
    def at_home(i):
        return any(within(i.module, outer) and within(i.target, outer) for outer in OUTER)

    def is_allowed(i):
        if within(i.target, "upconv.bench"):
            return within(i.module, "upconv.cli")
        return within(i.module, *MAY_IMPORT_OUTER) or any(
            within(i.module, room) and within(i.target, *rooms) for room, rooms in MAY_IMPORT.items()
        )

    return [
        str(i)
        for i in tree.imports
        if within(i.target, *OUTER) and not is_allowed(i) and not at_home(i) and not is_hook(i)
    ]


def functions_import_optional_packages_only(tree):
    return [str(i) for i in tree.imports if i.function and i.root not in OPTIONAL and not is_hook(i)]


def there_are_no_cycles(tree):
    edges = {name: set() for name in tree.sources}
    for i in tree.imports:
        if i.target in edges and not is_hook(i):
            edges[i.module].add(i.target)
    while leaves := [name for name, targets in edges.items() if not targets]:
        for leaf in leaves:
            del edges[leaf]
        for targets in edges.values():
            targets.difference_update(leaves)
    return [f"{name} is in or above a cycle: {sorted(targets)}" for name, targets in edges.items()]


def functions_are_short(tree):
    lengths = [node.end_lineno - node.lineno + 1 for _, node in tree.functions()]
    median = statistics.median(lengths) if lengths else 0
    return [f"the median function has {median} lines"] if median >= 20 else []


def comments_are_few_but_there(tree):
    comments, code = map(sum, zip(*map(count_lines, tree.sources.values()), strict=True))
    share = comments / code
    return [] if 0.01 <= share <= 0.2 else [f"comments are {share:.1%} of the code"]


def count_lines(source):
    """(lines with a comment, lines of code), docstrings being neither."""
    comments, code = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.string.strip() and not is_docstring(token):
            code.update(range(token.start[0], token.end[0] + 1))
    return len(comments), len(code)


def is_docstring(token):
    return token.type == tokenize.STRING and token.line.lstrip().startswith(('"""', 'r"""'))


def nothing_is_left_to_do(tree):
    words = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
    return [f"{name}: {found.group()}" for name, text in tree.sources.items() for found in words.finditer(text)]


LAWS = [
    pure_modules_need_the_standard_library_alone,
    every_framework_stays_at_home,
    codegen_knows_nothing_of_the_package,
    rooms_know_what_lies_below_them,
    reference_knows_the_geometry_alone,
    algorithms_do_not_know_each_other,
    nothing_imports_what_lies_outside,
    functions_import_optional_packages_only,
    there_are_no_cycles,
    functions_are_short,
    comments_are_few_but_there,
    nothing_is_left_to_do,
]
LONG = "def f():\n" + "    x = 1\n" * 20
VIOLATIONS = [
    (pure_modules_need_the_standard_library_alone, {"upconv.geometry": "import numpy as np"}),
    (pure_modules_need_the_standard_library_alone, {"upconv.phases": "from .dtypes import x", "upconv.dtypes": ""}),
    (pure_modules_need_the_standard_library_alone, {"upconv.errors": "def f():\n    from numpy import array"}),
    (pure_modules_need_the_standard_library_alone, {"upconv.geometry": "def g():\n    from .explain import svg"}),
    (every_framework_stays_at_home, {"upconv.grad": "import torch.nn"}),
    (every_framework_stays_at_home, {"upconv.codegen.isa": "from llvmlite import binding"}),
    (every_framework_stays_at_home, {"upconv.torch.layer": "def f():\n    import jax"}),
    (every_framework_stays_at_home, {"upconv.files": "from PIL import Image"}),
    (codegen_knows_nothing_of_the_package, {"upconv.codegen.a": "from ..geometry import Axis", "upconv.geometry": ""}),
    (rooms_know_what_lies_below_them, {"upconv.kernels.a": "from ..geometry import Axis"}),
    (
        rooms_know_what_lies_below_them,
        {"upconv.runtime.program": "from ..schedule import bands", "upconv.schedule": ""},
    ),
    (rooms_know_what_lies_below_them, {"upconv.schedule.a": "from ..planning import plan"}),
    (reference_knows_the_geometry_alone, {"upconv.reference": "from .phases import phases"}),
    (reference_knows_the_geometry_alone, {"upconv.reference": "import scipy"}),
    (algorithms_do_not_know_each_other, {"upconv.algorithms.a": "from . import b", "upconv.algorithms.b": ""}),
    (algorithms_do_not_know_each_other, {"upconv.algorithms.a": "from .b import run", "upconv.algorithms.b": ""}),
    (algorithms_do_not_know_each_other, {"upconv.algorithms.a": "from ..codegen.llvm import f"}),
    (nothing_imports_what_lies_outside, {"upconv": "from .cli import main", "upconv.cli": ""}),
    (nothing_imports_what_lies_outside, {"upconv": "if True:\n    from .cli import main", "upconv.cli": ""}),
    (nothing_imports_what_lies_outside, {"upconv.planning": "def plan():\n    from .explain.svg import svg"}),
    (nothing_imports_what_lies_outside, {"upconv.explain.page": "from ..torch import f"}),
    (nothing_imports_what_lies_outside, {"upconv.demo": "from .bench import measure", "upconv.bench.measure": ""}),
    (nothing_imports_what_lies_outside, {"upconv.bench.charts": "from ..cli import main", "upconv.cli": ""}),
    (every_framework_stays_at_home, {"upconv.explain.text": "def f():\n    import matplotlib"}),
    (every_framework_stays_at_home, {"upconv.runtime.kernel": "def f():\n    import llvmlite"}),
    (functions_import_optional_packages_only, {"upconv.grad": "def f():\n    import json"}),
    (functions_import_optional_packages_only, {"upconv.a": "class C:\n    def f(self):\n        from .b import c"}),
    (
        there_are_no_cycles,
        {"upconv.a": "from .b import f", "upconv.b": "from .c import f", "upconv.c": "from . import a"},
    ),
    (there_are_no_cycles, {"upconv": "from .a import f", "upconv.a": "from . import f"}),
    (functions_are_short, {"upconv.a": LONG}),
    (comments_are_few_but_there, {"upconv.a": "x = 1\n" * 100}),
    (comments_are_few_but_there, {"upconv.a": "# why\nx = 1\n"}),
    (nothing_is_left_to_do, {"upconv.a": "x = 1  # TO" + "DO: more"}),
]


@pytest.fixture(scope="module")
def package():
    sources = {}
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES.parent).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return Tree(sources)


def words(law):
    return law.__name__.replace("_", " ")


@pytest.mark.parametrize("law", LAWS, ids=words)
def test_the_package_keeps_the_law(law, package):
    assert law(package) == []


@pytest.mark.parametrize(("law", "sources"), VIOLATIONS, ids=[words(row[0]) for row in VIOLATIONS])
def test_the_law_is_seen_to_be_broken(law, sources):
    assert law(Tree(sources))


def test_every_law_has_a_synthetic_violation():
    assert {law for law, _ in VIOLATIONS} == set(LAWS)


def test_what_the_laws_allow_is_not_taken_for_a_violation():
    allowed = Tree(
        {
            "upconv": "from .geometry import Axis\nfrom . import grad\nif TYPE_CHECKING:\n    from . import torch",
            "upconv.torch": "import torch",
            "upconv.geometry": "def _repr_svg_(self):\n    from .explain.svg import svg",
            "upconv.grad": "import numpy as np\nfrom .geometry import Axis",
            "upconv.explain": "",
            "upconv.explain.svg": "from .scene import Scene\nfrom ..geometry import Axis",
            "upconv.explain.scene": "def gif():\n    from PIL import Image",
            "upconv.cli": "from .explain.svg import svg\nfrom . import bench, demo",
            "upconv.demo": "def compare():\n    import torch",
            "upconv.bench": "from .explain import svg\ndef f():\n    import torch, ncnn, matplotlib.figure",
            "upconv.codegen": "",
            "upconv.codegen.llvm": "def f():\n    import llvmlite.binding",
            "upconv.runtime.program": "from ..kernels.gemm import f\nfrom . import pool",
            "upconv.schedule.bands": "from ..geometry import Axis\nfrom ..runtime import jobs",
            "upconv.algorithms": "from . import loops",
            "upconv.algorithms.loops": "from .. import reference",
            "upconv.reference": "import numpy as np\nfrom .geometry import Axis",
        }
    )
    for law in LAWS[:9]:
        assert law(allowed) == [], law.__name__


def test_homes_are_there_and_every_front_end_has_one(package):
    assert {*OUTER, *(home for homes in HOMES.values() for home in homes)} <= set(package.sources)
    assert {f"upconv.{name}" for name in upconv.FRONT_ENDS} <= set(OUTER)
    assert all(f"upconv.{name}" in HOMES[name] for name in upconv.FRONT_ENDS)


def test_the_checker_reads_the_whole_package(package):
    assert {"upconv", "upconv.geometry", "upconv.algorithms", "upconv.algorithms.loops"} <= set(package.sources)
    assert Import("upconv.reference", "upconv.geometry", "") in package.imports
    assert Import("upconv.algorithms.loops", "upconv.reference", "") in package.imports
    assert len(package.imports) > 60


def python_files():
    folders = ("src", "tests", "benchmarks", "examples")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_file_is_longer_than_600_lines():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()
    }
    assert {name: length for name, length in lengths.items() if length > 600} == {}


# A path of somebody's machine; spelled apart, so that this file does not hold one.
MACHINE = re.compile(r"(?<![\w<.~-])/(?:" + "|".join(("work", "home", "root", "tmp")) + r")/")


def tracked_files():
    """What is in the repository, or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        hidden = {".git", ".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__"}
        files = (path for path in ROOT.rglob("*") if path.is_file() and hidden.isdisjoint(path.parts))
        listed = [str(path.relative_to(ROOT)) for path in files]
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_no_file_holds_a_path_of_a_machine():
    found = {}
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        if hits := MACHINE.findall(text):
            found[str(path.relative_to(ROOT))] = hits
    assert found == {}


@pytest.mark.parametrize("folder", ["work", "home", "root", "tmp"])
def test_a_path_of_a_machine_is_seen(folder):
    assert MACHINE.search(f"see /{folder}/somewhere")
    assert MACHINE.search(f'"/{folder}/x"')
    assert not MACHINE.search(f"see frame{folder}/x, net/{folder}/x and </{folder}>")


def public():
    """(name, object) of everything a user may call or make; modules stand for their functions."""
    for name in upconv.__all__:
        thing = getattr(upconv, name)
        if inspect.ismodule(thing):
            yield from ((f"{name}.{key}", value) for key, value in vars(thing).items() if is_own_function(thing, key))
        else:
            yield name, thing


def is_own_function(module, key):
    value = vars(module)[key]
    return inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")


def members(cls):
    """Public methods and properties that the class defines itself; `__call__` is one."""
    for key, value in vars(cls).items():
        if (not key.startswith("_") or key == "__call__") and (
            inspect.isfunction(value) or isinstance(value, property)
        ):
            yield key, value


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


FUNCTIONS = [(name, thing) for name, thing in public() if inspect.isfunction(thing)]
CLASSES = [(name, thing) for name, thing in public() if inspect.isclass(thing)]
METHODS = [(f"{name}.{key}", value) for name, cls in CLASSES for key, value in members(cls)]


@pytest.mark.parametrize(("name", "thing"), FUNCTIONS + CLASSES, ids=[row[0] for row in FUNCTIONS + CLASSES])
def test_every_public_name_is_explained_with_an_example(name, thing):
    assert thing.__doc__, f"{name} has no docstring"
    assert ">>> " in thing.__doc__, f"{name} shows no example"


@pytest.mark.parametrize(("name", "thing"), METHODS, ids=[row[0] for row in METHODS])
def test_every_public_method_and_property_is_explained(name, thing):
    assert thing.__doc__, f"{name} has no docstring"


CALLABLE = [row for row in FUNCTIONS + METHODS if inspect.isfunction(row[1]) and parameters(row[1])]


@pytest.mark.parametrize(("name", "function"), CALLABLE, ids=[row[0] for row in CALLABLE])
def test_whatever_takes_arguments_lists_them_and_its_result(name, function):
    text = function.__doc__ or ""
    assert "Args:" in text, f"{name} does not list its arguments"
    assert "Returns:" in text, f"{name} does not say what it returns"
    described = text.split("Args:")[1].split("Returns:")[0]
    assert [p for p in parameters(function) if not re.search(rf"\b{p}\b", described)] == []
