"""The two pictures of a run: the roofline, and how many times as fast upconv is on every row.

Both are drawn as scenes, so the SVG files need nothing; the PNG files are the same scenes drawn by matplotlib.
"""

import math
from pathlib import Path

from ..explain.palette import FAINT, HUES, INK, MUTED, RULE
from ..explain.scene import Line, Rect, Scene, Text
from ..explain.svg import svg
from ..files import write_atomically
from . import score
from .raster import png
from .report import SHORT

OURS_COLOUR, RIVAL_COLOUR, GOLD = HUES[6], HUES[7], HUES[1]
SMALL, BODY, HEAD = 10.5, 12, 17
ROW_HEIGHT = 15
DOT, BIG_DOT = 8, 12
TITLES = {
    "best": "the best upconv over the best of all",
    "nchw": "over torch, NCHW",
    "nhwc": "over torch, channels-last",
}
# Where layers without a single multiply-add per byte are drawn.
LEAST = 1e-3


def write_charts(record, folder: Path):
    """Write roofline.svg and ratios.svg into the folder, with .png beside them where matplotlib is installed.

    Returns:
        The paths written; a picture without a single point is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in (("roofline", roofline), ("ratios", ratios)):
        scene = draw(record)
        if scene is None:
            continue
        for suffix, data in ((".svg", svg(scene).encode()), (".png", png(scene))):
            if data is not None:
                write_atomically(folder / (name + suffix), data)
                paths.append(folder / (name + suffix))
    return paths


class Scale:
    """A logarithmic axis: `lo` to `hi` in the data onto `start` to `stop` in the picture."""

    def __init__(self, lo, hi, start, stop):
        self.lo, self.hi, self.start, self.stop = lo, hi, start, stop

    def __call__(self, value):
        share = math.log(max(value, LEAST) / self.lo) / math.log(self.hi / self.lo)
        return self.start + share * (self.stop - self.start)

    def ticks(self, steps):
        """The values ``step * 10**n`` within the axis."""
        first, last = math.floor(math.log10(self.lo)), math.ceil(math.log10(self.hi))
        values = (step * 10.0**power for power in range(first, last + 1) for step in steps)
        return [value for value in values if self.lo * 0.999 <= value <= self.hi * 1.001]


def covering(values, margin=1.15):
    """(lo, hi) that leave some room around the values."""
    return min(values) / margin, max(values) * margin


def roofline(record):
    """GFLOP/s over FLOPs per byte: each row twice, upconv's better layout and the fastest rival, below the roofs."""
    rows = [row for row in record["rows"] if score.floor(row) and score.best(row, row["engines"])]
    if not rows:
        return None
    width, height = 900, 600
    left, right, top, bottom = 64, width - 24, 76, height - 56
    peak = max(score.probed(row, "peak") for row in rows) / 1e9
    speeds = [row["bytes"] / score.probed(row, "copy") / 1e9 for row in rows]
    rates = [score.gflops(row, name) for row in rows for name in row["engines"] if score.seconds(row, name)]
    x = Scale(*covering([intensity(row) for row in rows], 1.5), left, right)
    y = Scale(*covering([*rates, peak], 1.4), bottom, top)
    shapes = [
        *_heading("Roofline", record, 24),
        *_grid(x, y, left, right, top, bottom),
        *_roof(x, y, peak, sorted({min(speeds), max(speeds)})),
    ]
    legend = ((OURS_COLOUR, "upconv, the better layout"), (RIVAL_COLOUR, "the fastest of the others"))
    for row in rows:
        for engine, colour in ((score.best_rival(row), RIVAL_COLOUR), (score.our_best(row), OURS_COLOUR)):
            if engine:
                rate = score.gflops(row, engine)
                note = f"{row['name']}: {SHORT.get(engine, engine)} {rate:.1f} GFLOP/s"
                shapes.append(_dot(x(intensity(row)), y(rate), colour, note))
    shapes += _legend(legend, left + 12, top + 14)
    shapes.append(Text((left + right) / 2, height - 16, "useful FLOPs per least byte", BODY, MUTED, "middle"))
    shapes.append(Text(left, top - 10, "GFLOP/s on useful FLOPs", BODY, MUTED))
    text = f"{len(rows)} layers; peak {peak:.0f} GFLOP/s, copies from {min(speeds):.0f} to {max(speeds):.0f} GB/s"
    return Scene(width, height, "Roofline of upconv bench", text, tuple(shapes))


def intensity(row):
    """Useful FLOPs for each byte that must move."""
    return 2 * row["macs"] / row["bytes"]


def _roof(x, y, peak, speeds):
    """The peak, and for the slowest and the fastest copy measured a slope that ends at it."""
    shapes = [Text(x.stop - 4, y(peak) - 6, f"peak {peak:.0f} GFLOP/s", SMALL, INK, "end")]
    for speed in speeds:
        ridge = min(max(peak / speed, x.lo), x.hi)
        begin = max(x.lo, y.lo / speed)
        shapes.append(Line(x(begin), y(begin * speed), x(ridge), y(min(peak, ridge * speed)), INK, 1.4))
        shapes.append(Text(x(begin) + 14, y(begin * speed) + 10, f"copy {speed:.0f} GB/s", SMALL, INK))
    ridge = min(max(peak / max(speeds), x.lo), x.hi)
    return [*shapes, Line(x(ridge), y(peak), x.stop, y(peak), INK, 1.4)]


def _grid(x, y, left, right, top, bottom):
    shapes = []
    for value in x.ticks((1, 2, 5)):
        shapes.append(Line(x(value), top, x(value), bottom, RULE, 0.8))
        shapes.append(Text(x(value), bottom + 16, f"{value:g}", SMALL, MUTED, "middle"))
    for value in y.ticks((1, 2, 5)):
        shapes.append(Line(left, y(value), right, y(value), RULE, 0.8))
        shapes.append(Text(left - 8, y(value) + 4, f"{value:g}", SMALL, MUTED, "end"))
    return shapes


def measures(rows):
    """The ratios that are drawn: (label, colour, size, function of a row), as far as any row has them."""
    found = [(TITLES["best"], GOLD, BIG_DOT, score.against_best)]
    for number, colour in enumerate((HUES[0], HUES[2])):
        ours = [form[number] for form in score.FORMS.values()]
        title = TITLES[ours[0].rpartition("-")[2]]
        found.append((title, colour, DOT, lambda row, ours=ours: _over_torch(row, ours)))
    return [measure for measure in found if any(measure[-1](row) is not None for row in rows)]


def _over_torch(row, ours):
    """The faster of the forms of a layout over torch's same layout."""
    fastest = score.our_best(row, ours)
    return fastest and score.ratio(row, fastest, score.PARTNERS[fastest])


def ratios(record):
    """Every row with its ratios, the lowest against the best of all at the bottom."""
    rows = record["rows"]
    return ratio_picture(record, "How many times as fast as the others", rows, [(None, measures(rows))])


def ratio_picture(record, title, rows, panels):
    """Rows with their ratios on logarithmic axes of one scale; the lowest of the first ratio at the bottom.

    Args:
        record: whose machine and date are named.
        title: what the ratios are.
        rows: each has a "name"; those without a ratio are left out.
        panels: (caption or None, measures as `measures` gives them) of each axis, from left to right.

    Returns:
        The scene, or None without a single ratio.
    """
    shown = [measure for _, some in panels for measure in some]
    rows = [row for row in rows if any(value(row) is not None for *_, value in shown)]
    if not rows:
        return None
    first = shown[0][-1]
    rows.sort(key=lambda row: first(row) or math.inf, reverse=True)
    reach = covering([*(value(row) for row in rows for *_, value in shown if value(row) is not None), 0.9, 1.2])
    labels = max(len(row["name"]) for row in rows) * 6.4 + 24
    has_captions = any(caption for caption, _ in panels)
    top, width = 96 + 18 * has_captions, 900
    bottom = top + ROW_HEIGHT * len(rows)
    each = (width - labels) / len(panels)
    shapes = _heading(title, record, 24)
    for number, (caption, some) in enumerate(panels):
        x = Scale(*reach, labels + number * each, labels + (number + 1) * each - 24)
        # A single axis has a legend as wide as the picture.
        begin = x.start if has_captions else 24
        if caption:
            shapes.append(Text(begin, 68, caption, BODY, INK, bold=True))
        shapes += [*_legend(_means(rows, some), begin, top - 30), *_axis(x, top, bottom)]
        for place, row in enumerate(rows):
            shapes += _ratio_row(row, some, x, top + ROW_HEIGHT * (place + 0.5))
    for place, row in enumerate(rows):
        y = top + ROW_HEIGHT * (place + 0.5)
        shapes.append(Text(labels - 10, y + 4, row["name"], SMALL, INK, "end"))
    text = f"{len(rows)} layers; to the right of 1 upconv is faster"
    return Scene(width, bottom + 32, title, text, tuple(shapes))


def _means(rows, shown):
    for label, colour, _, value in shown:
        yield colour, f"{label}: {score.geometric_mean(map(value, rows)):.2f}×"


def _axis(x, top, bottom):
    shapes = []
    for value in x.ticks((1, 2, 3, 5)):
        colour, stroke = (INK, 1.4) if value == 1 else (RULE, 0.8)
        shapes.append(Line(x(value), top - 4, x(value), bottom, colour, stroke))
        for place in (top - 10, bottom + 16):
            shapes.append(Text(x(value), place, f"{value:g}×", SMALL, INK if value == 1 else MUTED, "middle"))
    return shapes


def _ratio_row(row, shown, x, y):
    drawn = [(value(row), label, colour, size) for label, colour, size, value in shown if value(row) is not None]
    places = [x(ratio) for ratio, *_ in drawn]
    shapes = [Line(min(places), y, max(places), y, FAINT, 0.8)] if places else []
    for ratio, label, colour, size in drawn:
        shapes.append(_dot(x(ratio), y, colour, f"{row['name']}: {label} {ratio:.2f}×", size))
    return shapes


def _heading(title, record, left):
    machine = record["machine"]
    line = f"{machine['cpu']}, {record['options'].get('threads', 1)} thread(s), float32, {record['date'][:10]}"
    return [Text(left, 28, title, HEAD, INK, bold=True), Text(left, 46, line, SMALL, MUTED)]


def _legend(entries, x, y):
    shapes = []
    for colour, label in entries:
        shapes += [_dot(x + DOT / 2, y - 4, colour, label), Text(x + DOT + 6, y, label, BODY, INK)]
        x += DOT + 30 + shapes[-1].width
    return shapes


def _dot(x, y, colour, note, size=DOT):
    return Rect(x - size / 2, y - size / 2, size, size, colour, "#ffffff", 0.8, radius=size / 2, note=note)
