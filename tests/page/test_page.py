"""The page as a file: up to date, alone, small, and opened at the settings that are asked for."""

import json
import re
from pathlib import Path

import pytest
from page.golden import golden
from page.tools import HERE, PAGE, run_node

from upconv.cli import main
from upconv.explain.page import build, compact
from upconv.geometry import Axis, Geometry

SOURCE = Path(build.__file__).parent / "source"
LARGEST = 250_000
AXIS = Axis(4, 3, s=2, crop_lo=1, crop_hi=0)


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """What the library says, in a file."""
    path = tmp_path_factory.mktemp("golden") / "golden.json"
    path.write_text(json.dumps(golden()))
    return path


def test_the_page_in_docs_is_the_one_that_is_built():
    assert PAGE.read_text(encoding="utf-8") == build.page(), "`upconv page docs/page.html` makes it anew"


def test_it_stands_alone_and_is_small():
    wide = Axis(64, 11, s=4, crop_lo=3, crop_hi=1)
    assert len(build.page(Geometry(1, 8, 8, 2, AXIS, wide), "ko").encode()) < LARGEST
    text = build.page()
    assert len(text.encode()) < LARGEST
    addresses = set(re.findall(r"https?://[\w./]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the namespace of SVG is a name, which nobody fetches"
    assert not re.search(r"<(link|script|iframe|object)[^>]*(src|href)=\"(?!data:)", text)
    assert not re.search(
        r"@import|url\((?!#|%23)|localStorage|sessionStorage|fetch\(|XMLHttpRequest|document\.cookie", text
    )


def test_the_policy_knows_what_stands_in_it():
    text = build.page()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'")
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert f"{rule} '{build._digest(inside)}'" in policy
    assert "unsafe" not in policy


def test_every_source_is_in_it_and_none_is_long():
    names = {f"{name}.js" for name in (*build.PURE, "main")} | {f"draw/{name}.js" for name in build.DRAWN}
    names |= {f"style/{name}.css" for name in build.STYLES} | {"skeleton.html", "still_en.html", "still_ko.html"}
    files = {str(path.relative_to(SOURCE)): path for path in SOURCE.rglob("*") if path.is_file()}
    assert set(files) == names
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files.items()}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_the_definition_stands_once():
    formula = re.compile(r"\* *axis\.s *\+.*\* *axis\.d")
    found = [path.name for path in SOURCE.rglob("*.js") for _ in formula.finditer(path.read_text(encoding="utf-8"))]
    assert found == ["geometry.js"]


def test_it_opens_at_a_layer(tmp_path, capsys):
    path = tmp_path / "layer.html"
    assert main(["page", str(path), *"4x4 -k 3 -s 2 -p 1 --op 1 --lang ko".split()]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    text = path.read_text(encoding="utf-8")
    assert text == build.page(Geometry(1, 1, 1, 1, AXIS, AXIS), "ko")
    start = "#explore?n=4&k=3&s=2&p=1&op=1&d=1&g=1&ci=1&co=1&lang=ko".replace("&", "&amp;")
    assert f'lang="ko" data-start="{start}"' in text


def test_without_a_layer_it_opens_at_the_first_screen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["page"]) == 0
    assert capsys.readouterr().out == "upconv.html\n"
    assert Path("upconv.html").read_text(encoding="utf-8") == build.page()


def test_it_is_shown_when_asked(tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    path = tmp_path / "a page.html"
    assert main(["page", str(path), "--open"]) == 0
    assert shown == [path.as_uri()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("page -k 3", "a layer needs its input size and -k"),
        ("page 4x4", "a layer needs its input size and -k"),
        ("page 4 -k 3 --op 2", "output_padding is 2; it must be below max(stride, dilation) = 1, so at most 0"),
        ("page --lang fr", "invalid choice: 'fr'"),
    ],
)
def test_it_refuses_in_words(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_scripts_are_made_compact_without_changing_them():
    assert compact.script('a("//b", /\\/[/]\\//g) // c\n/* d */ + +e') == 'a("//b",/\\/[/]\\//g)+ +e'
    assert compact.script("const a = b\nc()\nreturn `x ${y} `") == "const a=b\nc()\nreturn`x ${y} `"
    assert compact.script("f(`${g(`a  ${'}'}`)}  b`) / 2 / 3") == "f(`${g(`a  ${'}'}`)}  b`)/2/3"


def test_the_page_computes_what_the_library_says(facts):
    assert run_node("run_golden.js", PAGE, facts) == "0\n"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return i*axis.s+t*axis.d-axis.lo;", "return i*axis.s+t*axis.d+axis.lo;"),
        ("return i*axis.s+t*axis.d-axis.lo;", "return i*axis.s-t*axis.d-axis.lo;"),
        ("axis.out=axis.full-lo-hi;", "axis.out=axis.full-lo+hi;"),
        ("return makeAxis(n,k,s,d,p,p-op);", "return makeAxis(n,k,s,d,p,p+op);"),
        ("return mod(o+axis.lo,axis.s);", "return mod(o-axis.lo,axis.s);"),
    ],
)
def test_a_wrong_sign_is_noticed(facts, tmp_path, right, wrong):
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "wrong.html").write_text(text.replace(right, wrong), encoding="utf-8")
    assert int(run_node("run_golden.js", tmp_path / "wrong.html", facts)) > 0


def test_the_tests_of_the_page_hold_no_longer_files():
    scripts = [path for path in HERE.rglob("*.js") if "node_modules" not in path.parts]
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in scripts) <= 350


def test_what_stands_without_a_script_speaks_the_pages_language():
    english, korean = (build.page(Geometry(1, 1, 1, 1, AXIS, AXIS), language) for language in ("en", "ko"))
    for text, heading, sums, picture in (
        (english, "Transposed convolution, 4 × 4 to 8 × 8", "7 values", "Each input stamps the kernel"),
        (korean, "전치 합성곱, 4 × 4 → 8 × 8", "앞에 넣을 0", "입력마다 커널을 도장처럼 찍고"),
    ):
        still = text[text.index("<img src=") : text.index("</pre>")]
        assert heading in still
        assert sums in still
        assert picture in still
