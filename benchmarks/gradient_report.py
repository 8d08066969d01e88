"""What `gradients.py` says of its records: every row, the rows that miss their yardstick, the READMEs' tables, a chart.

By itself it measures and prints nothing.

The gradient in the weight has yardsticks of its own, measured in the same rounds: a dense layer's rate over that of its
forward pass, a depthwise layer's least bytes (both maps read, the weight written) over a copy of as many.
"""

import argparse
from itertools import chain
from pathlib import Path
from statistics import median

from upconv.bench import record, score
from upconv.bench.charts import BIG_DOT, DOT, ratio_picture
from upconv.bench.layers import Layer
from upconv.bench.report import heading
from upconv.explain.palette import HUES
from upconv.files import write_atomically
from upconv.problem import Problem
from upconv.table import aligned

KIND = "benchmarks/gradients.py"
LAYOUTS = {"nchw": "NCHW", "nhwc": "channels-last"}
# What is computed in one call, its colour and the size of its dot; the chart is in the order of the first.
GRADIENTS = {"all": (HUES[1], BIG_DOT), "input": (HUES[0], DOT), "weight": (HUES[2], DOT)}
WEIGHT, FORWARD = "upconv weight", "upconv forward"
WANTED = {"dense": 0.75, "depthwise": 0.60}
BEGIN, END = "<!-- gradients -->", "<!-- end of gradients -->"

ENGLISH = {
    "speed": ("gradient in", "layout", "times PyTorch, threads: {}", "least", "behind on"),
    "input": "the input",
    "weight": "the weight",
    "all": "input, weight and bias in one call",
    "yardsticks": ("gradient in the weight", "layout", "reached by, threads: {}", "median", "least"),
    "dense": "dense layers: at least {:.0f} % of the forward pass's rate",
    "depthwise": "depthwise layers: at least {:.0f} % of the speed of a copy",
    "of": "{} of {}",
}
KOREAN = {
    "speed": ("기울기", "레이아웃", "PyTorch 대비 속도(배), 스레드 {}개", "최저", "뒤처진 레이어"),
    "input": "입력",
    "weight": "가중치",
    "all": "입력·가중치·편향을 한 번에",
    "yardsticks": ("가중치 기울기", "레이아웃", "기준을 넘은 레이어, 스레드 {}개", "중앙값", "최저"),
    "dense": "dense 레이어: 순방향 속도의 {:.0f}% 이상",
    "depthwise": "depthwise 레이어: 메모리 복사 속도의 {:.0f}% 이상",
    "of": "{}/{}",
}


def read(path):
    """A record of `gradients.py`.

    Raises:
        ValueError: for a file that is none.
        OSError: when it cannot be read.
    """
    found = record.read(path)
    if found.get("kind") != KIND:
        raise ValueError(f"{path} is not a record of {KIND}")
    return found


def merged(records):
    """One record for each number of threads, in their order; of a row that was measured twice the later one counts.

    Raises:
        ValueError: where they are of several processors, whose times do not compare.
    """
    if len(cpus := {each["machine"]["cpu"] for each in records}) > 1:
        raise ValueError(f"the records are of several machines: {', '.join(sorted(cpus))}")
    found = {}
    for each in records:
        threads = each["options"]["threads"]
        before = found.get(threads, {"rows": [], "complete": True})
        rows = {(row["name"], row["layout"]): row for row in [*before["rows"], *each["rows"]]}
        complete = each["complete"] and before["complete"]
        found[threads] = {**each, "rows": list(rows.values()), "complete": complete}
    return [found[threads] for threads in sorted(found)]


def over_torch(row, gradient):
    """How many times as fast as PyTorch, or None where it was not measured."""
    return score.ratio(row, f"upconv {gradient}", f"torch {gradient}")


def kind(row):
    """Which yardstick a row's gradient in the weight has: dense or depthwise."""
    problem = Problem("grad_weight", Layer.of(row["layer"]).geometry(), "float32", row["layout"])
    return "depthwise" if problem.is_depthwise else "dense"


def share(row):
    """What the gradient in the weight reaches of its yardstick's whole, or None where it was not measured."""
    if kind(row) == "depthwise":
        return score.efficiency(row, WEIGHT, lambda row, sample: sample["copy"])
    return score.ratio(row, WEIGHT, FORWARD)


def of_peak(row, engine):
    """The rate on useful FLOPs over the peak of multiply-adds; Winograd's may be above 1."""
    return score.efficiency(row, engine, lambda row, sample: score.limits(row, sample)[0])


def report(records):
    """Everything that merged records say, as text; the tables for a README come last."""
    parts = []
    for each in records:
        rows = each["rows"]
        parts += [heading(each), table(rows), behind(rows), missed(rows)]
    return "\n\n".join(part for part in [*parts, summary(records)] if part)


def table(rows):
    """Milliseconds of PyTorch, how many times as fast upconv is, and the rates beside the yardsticks."""
    timed = [gradient for gradient in GRADIENTS if any(over_torch(row, gradient) for row in rows)]
    head = ["row", "layout", *(title for gradient in timed for title in (f"{gradient}, torch ms", "times"))]
    lines = [[*head, "weight GFLOP/s", "of peak", "forward GFLOP/s", "of peak", "yardstick", "by"]]
    for row in rows:
        line = [row["name"], LAYOUTS[row["layout"]]]
        for gradient in timed:
            seconds = score.seconds(row, f"torch {gradient}")
            line += ["-" if seconds is None else f"{1e3 * seconds:.3g}", _number(over_torch(row, gradient), ".2f")]
        for engine in (WEIGHT, FORWARD):
            line += [_number(score.gflops(row, engine), ".1f"), _number(of_peak(row, engine), ".0%")]
        lines.append([*line, _number(share(row), ".0%"), ", ".join(row["by"])])
    return "\n".join(aligned(lines, right=range(2, len(lines[0]) - 1), indent=""))


def behind(rows):
    """Sentences: on which rows PyTorch is the faster one, the worst first."""
    lines = []
    for layout, gradient, some in _cells(rows):
        lost = sorted((ratio, row["name"]) for row in some if (ratio := over_torch(row, gradient)) and ratio < 1)
        if lost:
            names = ", ".join(f"{name} {ratio:.2f}" for ratio, name in lost)
            lines.append(f"behind, {LAYOUTS[layout]}, {gradient}: {names}")
    return "\n".join(lines)


def missed(rows):
    """The rows whose gradient in the weight misses its yardstick, the worst first, with what bounds them."""
    known = [(part, row) for row in rows if (part := share(row)) is not None and part < WANTED[kind(row)]]
    if not known:
        return ""
    lines = [["misses", "layout", "of", "reaches", "weight of peak", "forward of peak", "bound", "by"]]
    for part, row in sorted(known, key=lambda pair: pair[0]):
        whole = "forward" if kind(row) == "dense" else "copy"
        peaks = [_number(of_peak(row, engine), ".0%") for engine in (WEIGHT, FORWARD)]
        line = [row["name"], LAYOUTS[row["layout"]], whole, f"{part:.0%}", *peaks]
        lines.append([*line, score.bound(row) or "-", row["by"][1]])
    return "\n".join(aligned(lines, right=(3, 4, 5), indent=""))


def summary(records, words=ENGLISH):
    """The two tables of a README in Markdown: beside PyTorch, and beside the yardsticks; without what was not timed."""
    speeds, yardsticks = [], []
    for layout, gradient in _pairs(records, over_torch, ("input", "weight", "all")):
        cells = [_speed(each, layout, gradient, words) for each in records]
        speeds.append([words[gradient], LAYOUTS[layout], *chain(*cells)])
    for layout, name in _pairs(records, lambda row, name: share(row) if kind(row) == name else None, WANTED):
        cells = [_reached(each, layout, name, words) for each in records]
        yardsticks.append([words[name].format(100 * WANTED[name]), LAYOUTS[layout], *chain(*cells)])
    threads = [each["options"]["threads"] for each in records]
    tables = [_markdown(words[key], threads, lines) for key, lines in (("speed", speeds), ("yardsticks", yardsticks))]
    return "\n\n".join(each for each in tables if each)


def _pairs(records, value, names):
    """(layout, name) of which any row has a value; the layouts of a name stand together."""
    rows = [row for each in records for row in each["rows"]]
    for name in names:
        for layout in LAYOUTS:
            if any(value(row, name) is not None for row in rows if row["layout"] == layout):
                yield layout, name


def _cells(rows):
    for layout in LAYOUTS:
        for gradient in GRADIENTS:
            yield layout, gradient, [row for row in rows if row["layout"] == layout]


def _speed(each, layout, gradient, words):
    """Geometric mean, least and how many are behind."""
    found = [(over_torch(row, gradient), row["name"]) for row in each["rows"] if row["layout"] == layout]
    found = [pair for pair in found if pair[0] is not None]
    if not found:
        return ["-"] * 3
    lost = sum(ratio < 1 for ratio, _ in found)
    mean, (least, name) = score.geometric_mean(ratio for ratio, _ in found), min(found)
    return [f"{mean:.2f}", f"{least:.2f} ({name})", words["of"].format(lost, len(found))]


def _reached(each, layout, name, words):
    """How many reach the yardstick, the median and the least."""
    rows = [row for row in each["rows"] if row["layout"] == layout and kind(row) == name]
    found = [(part, row["name"]) for row in rows if (part := share(row)) is not None]
    if not found:
        return ["-"] * 3
    reached = sum(part >= WANTED[name] for part, _ in found)
    least, worst = min(found)
    middle = median(part for part, _ in found)
    return [words["of"].format(reached, len(found)), f"{middle:.2f}", f"{least:.2f} ({worst})"]


def _markdown(titles, threads, lines):
    """The first two titles once, the other three for every number of threads."""
    if not lines:
        return ""
    head = [*titles[:2], *(title.format(number) for number in threads for title in titles[2:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def put(path, records):
    """Write the tables between the two marks of a page, in Korean if it is a `.ko.md`.

    Raises:
        ValueError: where the marks are not there once each, in their order.
        OSError: when the page cannot be read or written.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if not (text.count(BEGIN) == text.count(END) == 1 and text.index(BEGIN) < text.index(END)):
        raise ValueError(f"{path} has no place for the tables: once {BEGIN}, and {END} below it")
    words = KOREAN if path.name.endswith(".ko.md") else ENGLISH
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_atomically(path, f"{before}{BEGIN}\n\n{summary(records, words)}\n\n{END}{after}".encode())


def chart(each):
    """How many times as fast as PyTorch on every layer, a panel for each layout; None without a ratio."""
    layers = {}
    for row in each["rows"]:
        layers.setdefault(row["name"], {"name": row["name"]})[row["layout"]] = row
    panels = [(label, _measures(layout, layers.values())) for layout, label in LAYOUTS.items()]
    panels = [(label, measures) for label, measures in panels if measures]
    title = "Gradients: how many times as fast as PyTorch"
    return ratio_picture(each, title, list(layers.values()), panels) if panels else None


def _measures(layout, layers):
    found = []
    for gradient, (colour, size) in GRADIENTS.items():

        def value(layer, gradient=gradient):
            return over_torch(layer[layout], gradient) if layout in layer else None

        if any(value(layer) is not None for layer in layers):
            found.append((gradient, colour, size, value))
    return found


def _number(value, form):
    return "-" if value is None else format(value, form)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
