"""What the pages name is there: files by their paths, and things of the package by `room.name`."""

import importlib
import itertools
import re
from functools import cache
from pathlib import Path

import pytest
from cases import CASES
from compare import SPECIAL

from upconv import generated, planning, rewrites
from upconv.algorithms import ALGORITHMS
from upconv.generated import Generated
from upconv.problem import OPERATIONS, Problem
from upconv.runtime.kernel import usable

ROOT = Path(__file__).parents[1]
# What a changelog names may be gone.
PAGES = sorted({*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")} - {ROOT / "CHANGELOG.md"})
FRAMEWORKS = "torch", "jax", "flax", "onnx", "onnxruntime", "dask", "keras"
FOLDERS = ("src", "tests", "benchmarks", "docs", "examples")
FILE = re.compile(r"[\w/.-]+\.(py|md|tsv|npz|js|html)")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# What stands before a dot and is no room of ours: other packages, and what an example calls its things.
OUTSIDE = {
    *FRAMEWORKS,
    "F",
    "Module",
    "np",
    "numpy",
    "nn",
    "os",
    "copy",
    "llvm",
    "array",
    "executor",
    "layer",
    "model",
    "pyproject",
}


def ticked(text):
    """What a page has between backticks, outside its blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@cache
def files():
    paths = [*ROOT.glob("*.*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))]
    return ["/" + path.relative_to(ROOT).as_posix() for path in paths]


@cache
def rooms():
    """Dotted names of all modules of the package."""
    paths = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src").rglob("*.py")]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def has(module, names):
    """Whether a module has a thing, which may have a thing; a front-end's is looked for in its text alone."""
    path = ROOT / "src" / module.replace(".", "/")
    if module.split(".")[1:2] and module.split(".")[1] in FRAMEWORKS:
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        return not names or re.search(rf"\b{names[0]}\b", text) is not None
    try:
        thing = importlib.import_module(module)
        for name in names:
            thing = getattr(thing, name)
    except AttributeError:
        return False
    return True


def is_known(name):
    """Whether `a.b.c` is a thing of the package, however much of its path is said."""
    parts = name.split(".")
    if parts[0] in OUTSIDE:
        return True
    for end in range(len(parts), 0, -1):
        tail = "." + ".".join(parts[:end])
        if any(has(room, parts[end:]) for room in rooms() if ("." + room).endswith(tail)):
            return True
    return False


def unknown(text):
    """What a page names and is not there."""
    found = []
    for tick in ticked(text):
        if FILE.fullmatch(tick):
            known = any(file.endswith("/" + tick.removeprefix("upconv/")) for file in files())
        else:
            name = NAME.match(tick)
            known = name is None or is_known(name[0])
        if not known:
            found.append(tick)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page):
    assert unknown(page.read_text()) == []


def test_what_is_not_there_is_seen():
    page = (
        "`schedule/bands.py`, `bands.grids(...)`, `pool.run` and `torch.anything`; `arguments.py`, `arguments.Settings`"
    )
    assert unknown(page + ", `pool.lend(team)`, `upconv.planning.chose`") == [
        "arguments.py",
        "arguments.Settings",
        "pool.lend(team)",
        "upconv.planning.chose",
    ]


def page(path):
    return (ROOT / path).read_text(encoding="utf-8")


def first_cells(text):
    """What stands between backticks in the first cell of each row of the tables of a page."""
    return {tick for row in re.findall(r"^\|([^|]+)\|", text, re.MULTILINE) for tick in re.findall(r"`([^`]+)`", row)}


def test_every_room_has_a_row_and_every_row_a_room():
    package = {room.split(".")[1] for room in rooms() if "." in room} - {"__main__"}
    named = {name.rstrip("/") for name in first_cells(page("docs/rooms.md")) if not name.startswith("UPCONV_")}
    assert named - {"src/upconv"} == package


def test_every_way_has_a_row_in_the_table_of_ways():
    assert set(ALGORITHMS) <= first_cells(page("docs/algorithms/README.md"))


def test_every_kernel_has_a_row_in_the_table_of_kernels():
    modules = [importlib.import_module(room) for room in rooms() if room.startswith("upconv.kernels.")]
    kernels = {
        module.__name__.rsplit(".", 1)[1] for module in modules if any(name.endswith("FIELDS") for name in vars(module))
    }
    assert kernels <= first_cells(page("docs/how-it-works.md"))


def test_every_environment_variable_has_a_row():
    read = set(re.findall(r'"(UPCONV_\w+)"', page("src/upconv/config.py")))
    assert read == {name for name in first_cells(page("docs/rooms.md")) if name.startswith("UPCONV_")}


def test_the_page_of_a_new_size_says_how_much_is_kept():
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| the last ([\d,]*\d)", page("docs/new-size.md"), re.MULTILINE))
    caches = {
        "what the problem is turned into": rewrites.steps,
        "the cost of each way": generated._cost,
        "the plan": planning._chosen,
    }
    assert rows == {name: f"{cache.cache_info().maxsize:,}" for name, cache in caches.items()}


@pytest.mark.skipif(bool(usable()), reason="no way with kernels takes a problem here")
def test_the_page_names_the_ways_that_read_a_weight_as_it_lies():
    """In one sentence, those that do so for some layer."""
    page_names = re.search(r"read as it lies\s+\(([^)]+)\)", page("docs/how-it-works.md"))[1]
    found = set()
    for case, operation in itertools.product([*CASES, *itertools.chain(*SPECIAL.values())], OPERATIONS[:2]):
        problem = Problem(operation, case.geometry(), "float32", prepared=True)
        for name, way in ALGORITHMS.items():
            if isinstance(way, Generated) and not way.why_not(problem) and way.weight_form(problem) is None:
                found.add(name)
    assert found == set(re.findall(r"`(\w+)`", page_names))
