"""The pictures of the benchmarks in this folder, drawn as scenes like those of `upconv bench`.

The scripts that measure draw with it, under `--charts`; by itself it draws nothing.
"""

import argparse
from itertools import pairwise

from upconv.bench.charts import Scale, covering
from upconv.bench.raster import png
from upconv.explain.palette import FAINT, HUES, INK, MUTED, RULE
from upconv.explain.scene import Line, Rect, Scene, Text
from upconv.explain.svg import svg
from upconv.files import write_atomically

OURS, LAYERS, STEP = HUES[5], HUES[2], HUES[1]
# Torch's colour and upconv's, which lies over it.
PAIRS = ((HUES[0], "#0b3c5d"), (HUES[1], "#7a2e00"))
SMALL, BODY, HEAD = 10.5, 12, 17
ROW, DOT = 26, 10


def write(scene, folder, name):
    """Write a scene as SVG, and as PNG where matplotlib is installed; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, data in ((".svg", svg(scene).encode()), (".png", png(scene))):
        if data is not None:
            write_atomically(folder / (name + suffix), data)
            paths.append(folder / (name + suffix))
    return paths


def gains(record):
    """How many times as fast every model is, on a logarithmic axis: transposed layers, the whole, a training step."""
    rows, width, left, top = record["rows"], 900, 250, 104
    kinds = (("layers", LAYERS, "transposed layers"), ("whole", OURS, "whole model"), ("step", STEP, "training step"))
    values = [row[kind][0] / row[kind][1] for row in rows for kind, *_ in kinds]
    bottom = top + ROW * len(rows)
    x = Scale(*covering([*values, 0.9, 1.2]), left, width - 32)
    threads = record["options"]["threads"]
    line = f"{record['machine']['cpu']}, {threads} thread(s), float32, {record['date'][:10]}"
    shapes = [*_heading("upconv.torch.accelerate over torch", line), *_legend(kinds)]
    for value in x.ticks((1, 1.5, 2, 3, 5)):
        colour, stroke = (INK, 1.4) if value == 1 else (RULE, 0.8)
        shapes.append(Line(x(value), top - 4, x(value), bottom, colour, stroke))
        shapes.append(Text(x(value), bottom + 16, f"{value:g}×", SMALL, MUTED, "middle"))
    for place, row in enumerate(rows):
        y = top + ROW * (place + 0.5)
        shapes.append(Text(left - 14, y + 4, row["name"], BODY, INK, "end"))
        places = [x(row[kind][0] / row[kind][1]) for kind, *_ in kinds]
        shapes.append(Line(min(places), y, max(places), y, FAINT, 0.8))
        for at, (kind, colour, label) in zip(places, kinds, strict=True):
            shapes.append(_dot(at, y, colour, f"{row['name']}, {label}: {row[kind][0] / row[kind][1]:.2f}×"))
    text = f"{len(rows)} models; to the right of 1 the accelerated one is faster"
    return Scene(width, bottom + 32, "Whole models", text, tuple(shapes))


def losses(curves, line):
    """Loss curves over steps in one plot.

    Args:
        curves: (label, colour, width, values) each.
        line: what stands beneath the title.
    """
    width, height = 900, 420
    left, right, top, bottom = 56, width - 24, 104, height - 48
    values = [value for *_, curve in curves for value in curve]
    low, high, steps = min(values), max(values), max(len(curve) for *_, curve in curves)
    shapes = [*_heading("Training with both engines from one seed", line)]
    shapes += _legend([(None, colour, label) for label, colour, *_ in curves])

    def at(step, value):
        share = (value - low) / ((high - low) or 1)
        return left + (right - left) * step / max(1, steps - 1), bottom - (bottom - top) * share

    for share in range(5):
        value = low + (high - low) * share / 4
        _, y = at(0, value)
        shapes += [Line(left, y, right, y, RULE, 0.8), Text(left - 8, y + 4, f"{value:.2f}", SMALL, MUTED, "end")]
        step = round((steps - 1) * share / 4)
        shapes.append(Text(at(step, low)[0], bottom + 18, str(step + 1), SMALL, MUTED, "middle"))
    for _, colour, stroke, curve in curves:
        points = [at(step, value) for step, value in enumerate(curve)]
        shapes += [Line(*a, *b, colour, stroke) for a, b in pairwise(points)]
    shapes.append(Text((left + right) / 2, height - 10, "step", BODY, MUTED, "middle"))
    return Scene(width, height, "Loss curves", "losses of generator and discriminator by both engines", tuple(shapes))


def _heading(title, line):
    return [Text(24, 32, title, HEAD, INK, bold=True), Text(24, 52, line, SMALL, MUTED)]


def _legend(kinds):
    shapes, x = [], 24
    for _, colour, label in kinds:
        shapes += [_dot(x + DOT / 2, 74, colour, label), Text(x + DOT + 6, 78, label, BODY, INK)]
        x += DOT + 30 + shapes[-1].width
    return shapes


def _dot(x, y, colour, note):
    return Rect(x - DOT / 2, y - DOT / 2, DOT, DOT, colour, "#ffffff", 0.8, radius=DOT / 2, note=note)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
