"""What benchmarks/gradients.py says of its records: ratios, yardsticks, the tables of the READMEs, the chart."""

import importlib.util
import re
from pathlib import Path

import pytest

from upconv.bench import record
from upconv.bench.layers import Layer
from upconv.explain.svg import svg

ROOT = Path(__file__).parents[2]
DENSE = Layer("dense", 1, 4, 5, 5, 3, (3, 3), (2, 2)).as_dict()
DEPTHWISE = Layer("depthwise", 1, 4, 5, 5, 4, (3, 3), (2, 2), groups=4).as_dict()


def load():
    spec = importlib.util.spec_from_file_location("gradient_report", ROOT / "benchmarks" / "gradient_report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REPORT = load()


def row(name="row", layout="nchw", layer=DENSE, copy=0.1, **times):
    """A row: seconds a round by engine, with _ for a space. F is 1 s."""
    engines = {engine.replace("_", " "): {"rounds": time} for engine, time in times.items()}
    samples = [{"peak": 2e6, "clock": 1e6, "copy": copy}] * 3
    return {
        "name": name,
        "layout": layout,
        "layer": layer,
        "macs": 1_000_000,
        "bytes": 1000,
        "engines": engines,
        "probe": {"rounds": samples},
        "by": ["one way", "another"],
    }


def results(*rows, threads=1, cpu="a processor", complete=True):
    made = record.make(list(rows), {"threads": threads}, complete) | {"kind": REPORT.KIND}
    return {**made, "machine": {**made["machine"], "cpu": cpu}}


def some_rows():
    """NCHW: twice and half as fast in the input; the weight reaches 0.8, 0.5 of the forward and 0.7 of a copy."""
    return [
        row("a", torch_input=[2.0] * 3, upconv_input=[1.0] * 3, upconv_weight=[1.25] * 3, upconv_forward=[1.0] * 3),
        row("b", torch_input=[1.0] * 3, upconv_input=[2.0] * 3, upconv_weight=[2.0] * 3, upconv_forward=[1.0] * 3),
        row("c", layer=DEPTHWISE, copy=0.7, upconv_weight=[1.0] * 3, upconv_forward=[9.0] * 3),
    ]


def test_a_ratio_is_the_median_within_rounds():
    # The medians of the times alone would say 2.
    timed = row(torch_input=[2.0, 4.0, 8.0], upconv_input=[1.0, 1.0, 2.0])
    assert REPORT.over_torch(timed, "input") == 4.0
    assert REPORT.over_torch(timed, "all") is None


def test_the_yardsticks():
    a, b, c = some_rows()
    assert [REPORT.kind(each) for each in (a, b, c)] == ["dense", "dense", "depthwise"]
    assert [REPORT.share(each) for each in (a, b, c)] == [0.8, 0.5, 0.7]
    assert REPORT.of_peak(a, REPORT.WEIGHT) == pytest.approx(0.8)
    assert REPORT.share(row(torch_input=[1.0], upconv_input=[1.0])) is None


def test_rows_that_miss_are_named_with_their_rates():
    worse = row("d", "nhwc", upconv_weight=[4.0] * 3, upconv_forward=[0.5] * 3)
    text = REPORT.missed([*some_rows(), worse])
    assert [line.split()[0] for line in text.splitlines()] == ["misses", "d", "b"]
    assert re.search(r"^d +channels-last +forward +12% +25% +200% +F +another$", text, re.MULTILINE)
    assert REPORT.missed(some_rows()[:1]) == ""
    slow = row("e", layer=DEPTHWISE, copy=0.5, upconv_weight=[1.0] * 3)
    assert re.search(r"^e +NCHW +copy +50% ", REPORT.missed([slow]), re.MULTILINE)


def test_rows_on_which_torch_is_ahead_are_named():
    assert REPORT.behind(some_rows()) == "behind, NCHW, input: b 0.50"


def test_the_tables_of_a_readme():
    two = row("a", torch_input=[3.0], upconv_input=[1.0])
    found = REPORT.summary(REPORT.merged([results(two, threads=2), results(*some_rows())]))
    assert found.splitlines() == [
        "| gradient in | layout | times PyTorch, threads: 1 | least | behind on "
        "| times PyTorch, threads: 2 | least | behind on |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| the input | NCHW | 1.00 | 0.50 (b) | 1 of 2 | 3.00 | 3.00 (a) | 0 of 1 |",
        "",
        "| gradient in the weight | layout | reached by, threads: 1 | median | least "
        "| reached by, threads: 2 | median | least |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| dense layers: at least 75 % of the forward pass's rate | NCHW | 1 of 2 | 0.65 | 0.50 (b) | - | - | - |",
        "| depthwise layers: at least 60 % of the speed of a copy | NCHW | 1 of 1 | 0.70 | 0.70 (c) | - | - | - |",
    ]


def test_the_whole_report_ends_with_the_tables_of_a_readme():
    records = REPORT.merged([results(*some_rows())])
    text = REPORT.report(records)
    assert text.endswith(REPORT.summary(records))
    assert re.search(r"^b +NCHW +1e\+03 +0\.50 +0\.0 +50% +0\.0 +100% +50% +one way, another$", text, re.MULTILINE)


def test_records_of_several_runs_are_one():
    old, new = row("a", torch_input=[1.0], upconv_input=[1.0]), row("a", torch_input=[5.0], upconv_input=[1.0])
    other = row("a", "nhwc", torch_input=[2.0], upconv_input=[1.0])
    one, two = REPORT.merged([results(old), results(other, new), results(old, threads=2, complete=False)])
    assert [REPORT.over_torch(each, "input") for each in one["rows"]] == [5.0, 2.0]
    assert one["complete"]
    assert two["options"]["threads"] == 2
    assert not two["complete"]
    assert "INTERRUPTED after 1 row" in REPORT.report([two])


def test_records_of_two_machines_are_refused():
    with pytest.raises(ValueError, match="several machines: a processor, another one"):
        REPORT.merged([results(), results(cpu="another one")])


def test_a_record_of_upconv_bench_is_refused(tmp_path):
    record.write(tmp_path / "own.json", results(*some_rows()))
    assert len(REPORT.read(tmp_path / "own.json")["rows"]) == 3
    record.write(tmp_path / "bench.json", record.make([], {"threads": 1}, complete=True))
    with pytest.raises(ValueError, match=r"is not a record of benchmarks/gradients\.py"):
        REPORT.read(tmp_path / "bench.json")


@pytest.mark.parametrize(("name", "words"), [("page.md", REPORT.ENGLISH), ("page.ko.md", REPORT.KOREAN)])
def test_a_page_has_its_tables_between_its_marks(name, words, tmp_path):
    records, page = REPORT.merged([results(*some_rows())]), tmp_path / name
    page.write_text(f"before\n{REPORT.BEGIN}\nold\n{REPORT.END}\nbehind\n", encoding="utf-8")
    for _ in range(2):
        REPORT.put(page, records)
        wanted = f"before\n{REPORT.BEGIN}\n\n{REPORT.summary(records, words)}\n\n{REPORT.END}\nbehind\n"
        assert page.read_text(encoding="utf-8") == wanted


@pytest.mark.parametrize("text", ["", f"{REPORT.END} {REPORT.BEGIN}", f"{REPORT.BEGIN} {REPORT.END} {REPORT.END}"])
def test_a_page_without_marks_is_left_alone(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="has no place for the tables"):
        REPORT.put(page, REPORT.merged([results(*some_rows())]))
    assert page.read_text() == text


def test_both_languages_have_every_word():
    assert REPORT.ENGLISH.keys() == REPORT.KOREAN.keys()


def test_the_chart_has_a_panel_for_each_layout_and_a_dot_for_each_ratio():
    other = row("b", "nhwc", torch_all=[3.0], upconv_all=[1.0])
    drawn = svg(REPORT.chart(results(*some_rows(), other)))
    assert "a: input 2.00×" in drawn
    assert "b: input 0.50×" in drawn
    assert "b: all 3.00×" in drawn
    assert ">NCHW<" in drawn
    assert ">channels-last<" in drawn
    # Nothing is known of c but its gradient in the weight without PyTorch's.
    assert ">c<" not in drawn
    assert ">channels-last<" not in svg(REPORT.chart(results(*some_rows())))


def test_a_chart_without_a_ratio_is_none():
    assert REPORT.chart(results(some_rows()[2])) is None


def test_both_readmes_show_the_same_figures():
    def figures(page):
        text = (ROOT / page).read_text(encoding="utf-8")
        return re.findall(r"[\d.]+", text.split(REPORT.BEGIN)[1].split(REPORT.END)[0])

    assert len(figures("README.md")) > 20
    assert figures("README.md") == figures("README.ko.md")
