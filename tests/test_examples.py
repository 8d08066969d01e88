"""Every example runs: those of the docstrings, those of the pages, and the commands that the pages show.

In a page, Python examples are fenced blocks with `>>>`; commands are lines `$ upconv ...` or `upconv ...` in a block
marked console, sh or bash, and what stands beneath a `$` line is its output. `...` stands for anything. The blocks of a
page share their names and their folder. A block that needs a framework runs where that framework is installed.
"""

import doctest
import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from require import require

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "upconv"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FRAMEWORKS = ("torch", "jax", "flax", "onnx", "onnxruntime", "dask", "keras", "ml_dtypes")
SHELLS = ("console", "sh", "bash", "shell")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*(\w*)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: where it starts (lines from 1), its language, its lines."""

    line: int
    language: str
    lines: tuple

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"

    @property
    def needs(self):
        """The frameworks that the block imports."""
        return {name for name in FRAMEWORKS if re.search(rf"\b(import|from)\s+(upconv\.)?{name}\b", self.text)}


def blocks(text):
    """The fenced blocks of a page."""
    found, fence, start, language, lines = [], None, 0, "", []
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if fence is None and mark:
            fence, start, language, lines = mark.group(1), number + 1, mark.group(2).lower(), []
        elif fence is not None and mark and mark.group(1).startswith(fence) and not mark.group(2):
            found.append(Block(start, language, tuple(lines)))
            fence = None
        elif fence is not None:
            lines.append(line)
    assert fence is None, f"the block from line {start} is never closed"
    return found


def commands(block):
    """(command line, output shown beneath it or None) of a block of shell."""
    found = []
    for line in "\n".join(block.lines).replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:].strip(), []))
        elif line.startswith("upconv "):
            found.append((line.strip(), None))
        elif found and found[-1][1] is not None:
            found[-1][1].append(line)
    shown = [(command, "\n".join(output or []).strip()) for command, output in found]
    return [(command, output or None) for command, output in shown if command.split()[0] == "upconv"]


def run_python(chosen, name):
    """Run the `>>>` examples of the blocks in one namespace; the report of what differs."""
    parser, names, report = doctest.DocTestParser(), {}, []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for block in chosen:
        test = parser.get_doctest(block.text, names, name, name, block.line - 1)
        runner.run(test, out=report.append, clear_globs=False)
        names = test.globs
    return "".join(report)


def has_python(block):
    return any(line.lstrip().startswith(">>> ") for line in block.lines)


def pages():
    return [
        path for path in [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))] if path.is_file()
    ]


def read(path):
    return blocks(path.read_text(encoding="utf-8"))


def needed_by(path):
    """The frameworks in whose folder a module lies, or that it imports at its top."""
    source = (SOURCES.parent / path).read_text(encoding="utf-8")
    at_top = {name for name in FRAMEWORKS if re.search(rf"(?m)^(from|import) {name}\b", source)}
    return [name for name in FRAMEWORKS if name in path.parts[1:-1] or name in at_top]


def named(path):
    return str(path.relative_to(ROOT))


MODULES = [path.relative_to(SOURCES.parent) for path in sorted(SOURCES.rglob("*.py")) if path.name != "__main__.py"]
PYTHON = [path for path in pages() if any(has_python(block) for block in read(path))]
NEEDING = [(path, name) for path in PYTHON for name in FRAMEWORKS if any(name in block.needs for block in read(path))]
SHELL = [path for path in pages() if any(commands(block) for block in read(path) if block.language in SHELLS)]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_the_examples_of_the_docstrings_run(path):
    for name in needed_by(path):
        require(name)
    parts = path.with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    result = doctest.testmod(module, optionflags=FLAGS)
    assert result.failed == 0


def test_there_are_examples_in_the_docstrings():
    assert sum((SOURCES.parent / path).read_text(encoding="utf-8").count(">>> ") for path in MODULES) > 30


def test_no_example_hides_in_main():
    assert ">>>" not in (SOURCES / "__main__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_the_python_of_a_page_runs(path):
    chosen = [block for block in read(path) if has_python(block) and not block.needs]
    assert run_python(chosen, named(path)) == ""


@pytest.mark.parametrize(("path", "framework"), NEEDING, ids=[f"{named(path)} {name}" for path, name in NEEDING])
def test_the_python_of_a_page_that_needs_a_framework_runs(path, framework):
    require(framework)
    chosen = [block for block in read(path) if has_python(block) and block.needs <= {framework}]
    assert run_python(chosen, named(path)) == ""


@pytest.mark.parametrize("path", SHELL, ids=named)
def test_the_commands_of_a_page_run_and_print_what_it_shows(path, capsys):
    cli = importlib.import_module("upconv.cli")
    for block in (block for block in read(path) if block.language in SHELLS):
        for command, shown in commands(block):
            argv = shlex.split(command, comments=True)[1:]
            assert not {"|", ">", ">>", "&&", ";"} & set(argv), f"{command}: only whole commands can be tried here"
            capsys.readouterr()
            status = cli.main(argv)
            printed, complaint = capsys.readouterr()
            assert status == 0, f"{named(path)}, line {block.line}: {command}\n{complaint}"
            if shown is not None:
                right = doctest.OutputChecker().check_output(shown + "\n", printed, FLAGS)
                assert right, f"{named(path)}, line {block.line}: {command}\nshown:\n{shown}\nprinted:\n{printed}"


def test_the_readme_is_there_with_an_example_and_a_command():
    readme = ROOT / "README.md"
    assert readme in PYTHON, "README.md shows no Python example"
    assert readme in SHELL, "README.md shows no command"


PAGE = """\
text
```python
>>> a = 1
>>> a + 1
2
```
~~~console
$ upconv solve --in-size 4 \\
    --out-size 9
4 to 9
...
$ ls
x.svg
$ upconv demo
~~~
```sh
upconv plan 3x3  # a comment
pip install upconv
```
```python
>>> import torch
```
"""


def test_blocks_and_commands_are_found_as_they_are_written():
    found = blocks(PAGE)
    assert [(block.line, block.language) for block in found] == [
        (3, "python"),
        (8, "console"),
        (17, "sh"),
        (21, "python"),
    ]
    solve = ("upconv solve --in-size 4      --out-size 9", "4 to 9\n...")
    assert commands(found[1]) == [solve, ("upconv demo", None)]
    assert commands(found[2]) == [("upconv plan 3x3  # a comment", None)]
    assert [block.needs for block in found] == [set(), set(), set(), {"torch"}]


def test_blocks_of_a_page_share_their_names():
    assert run_python([Block(1, "python", (">>> a = 1",)), Block(5, "python", (">>> a", "1"))], "page") == ""


def test_a_wrong_example_is_reported_with_its_line():
    report = run_python([Block(7, "python", (">>> 1 + 1", "3"))], "page")
    assert "line 7" in report
    assert "Expected" in report
