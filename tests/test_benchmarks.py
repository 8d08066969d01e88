"""The scripts of benchmarks/ say what they are when they are asked with --help, and measure nothing before."""

import ast
import runpy
import sys
from pathlib import Path

import pytest
from require import require

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
FRAMEWORKS = ("torch", "jax")


def imports(path):
    """The packages that a script imports, or its neighbours do."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found.union(*(imports(FOLDER / f"{name}.py") for name in found if (FOLDER / f"{name}.py").exists()))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_is_the_docstring(path, monkeypatch, capsys):
    for name in FRAMEWORKS:
        if name in imports(path):
            require(name)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    # Lines are broken anew where the description is one paragraph.
    first = ast.get_docstring(ast.parse(path.read_text())).split("\n")[0].split()
    assert " ".join(first) in " ".join(capsys.readouterr().out.split())
