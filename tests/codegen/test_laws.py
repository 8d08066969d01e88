"""Who may import what around the generator."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import upconv
from upconv.codegen.lang import Builder
from upconv.codegen.primitives import TABLE

ROOT = Path(upconv.__file__).parent


def imports(path):
    """(level, module) of everything that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""
        elif isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)


def test_only_one_file_knows_llvmlite():
    knowing = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if any(module.split(".")[0] == "llvmlite" for level, module in imports(path) if level == 0)
    }
    assert knowing == {"codegen/llvm.py"}


@pytest.mark.parametrize("path", sorted((ROOT / "codegen").glob("*.py")), ids=lambda path: path.name)
def test_the_generator_imports_nothing_of_the_package(path):
    for level, module in imports(path):
        assert level < 2
        assert module.split(".")[0] != "upconv"


def test_every_instruction_has_a_kernel_that_wants_it():
    """What no kernel says is not in the language: it would be kept right for nobody."""
    said = "\n".join(path.read_text() for path in ROOT.rglob("*.py") if path.name not in ("lang.py", "primitives.py"))
    recorded = (ROOT / "codegen" / "lang.py").read_text()
    methods = [name for name in vars(Builder) if not name.startswith("_") and name != "emit"]
    unsaid = [name for name in methods if not re.search(rf"\bk\.{name}\b", said)]
    assert [name for name in unsaid if f"self.{name}(" not in recorded] == []
    assert [name for name in TABLE if f'"{name}"' not in recorded] == []


def test_the_environment_is_read_with_the_standard_library():
    assert {module.split(".")[0] for _, module in imports(ROOT / "config.py")} <= set(sys.stdlib_module_names)


def test_importing_the_package_does_not_import_llvmlite():
    program = "import sys, upconv; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT.parent)}).returncode == 0
