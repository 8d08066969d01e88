"""What a run says: a table of rows, the geometric means, the worst rows; and two runs side by side."""

from statistics import median

from ..table import aligned
from . import score
from .score import FORMS, OURS, PARTNERS

SHORT = {
    "upconv-nchw": "upconv",
    "upconv-nhwc": "upconv cl",
    "prepared-nchw": "prep",
    "prepared-nhwc": "prep cl",
    "torch-nchw": "torch",
    "torch-nhwc": "torch cl",
    "onnxruntime": "ort",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "jax": "jax",
}
WORST = 5
# Rows that the arithmetic bounds execute so much of the peak where a group has so many channels on either side.
BUSY, MANY_CHANNELS = 0.8, 32
CHANGED = 0.05


def report(record) -> str:
    """The whole report of a record as text."""
    rows = record["rows"]
    parts = [heading(record), table(rows), means(rows), idle(rows), worst(rows), remarks(record)]
    return "\n\n".join(part for part in parts if part)


def heading(record):
    machine, options = record["machine"], record["options"]
    threads = options.get("threads", 1)
    lines = [f"{machine['cpu']}, {machine['usable_cores']} core(s), {threads} thread(s) an engine, {record['date']}"]
    lines.append(", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    samples = [sample for row in record["rows"] for sample in score.rounds(row, score.PROBE)]
    if samples:
        peaks, clocks = ([sample[key] for sample in samples] for key in ("peak", "clock"))
        peak, clock = median(peaks), median(clocks)
        share = median(p / c for p, c in zip(peaks, clocks, strict=True)) / threads
        lines.append(
            f"peak {peak / 1e9:.1f} GFLOP/s (from {min(peaks) / 1e9:.1f} to {max(peaks) / 1e9:.1f}), clock "
            f"{clock / 1e9:.2f} GHz: {share:.1f} FLOP a clock and thread"
        )
    if not record["complete"]:
        lines.append(f"INTERRUPTED after {len(record['rows'])} row(s)")
    return "\n".join(lines)


def table(rows):
    """GFLOP/s on useful FLOPs, ratios (above 1.00 upconv is faster), F and B in ms, max(F, B) over the least time."""
    if not rows:
        return ""
    engines = _engines(rows)
    forms = {form: ours for form, ours in FORMS.items() if not set(ours).isdisjoint(engines)}
    pairs = [(a, b) for a, b in PARTNERS.items() if a in engines and b in engines]
    head = ["row", *(SHORT.get(name, name) for name in engines), *(f"{SHORT[a]}/{SHORT[b]}" for a, b in pairs)]
    head += [*(f"{form}/best" for form in forms), "F ms", "B ms", "bound", "%", "new ms"]
    lines = [head]
    for row in rows:
        f, b = score.limits(row)
        line = [row["name"] + ("*" if row.get("again") else "")]
        line += [_number(score.gflops(row, name), ".1f") for name in engines]
        line += [_number(score.ratio(row, *pair), ".2f") for pair in pairs]
        line += [_number(score.against_best(row, ours), ".2f") for ours in forms.values()]
        line += [_ms(f), _ms(b), score.bound(row) or "-", _number(score.efficiency(row, score.our_best(row)), ".0%")]
        line.append(_number(score.new_size(row), ".2f"))
        lines.append(line)
    return (
        "GFLOP/s on useful FLOPs; prep: the weight prepared; cl: channels-last; a/b: how many times as fast a is as b\n"
        "(above 1.00 upconv is faster); %: max(F, B) over the least time of ours; new ms: what a size never seen\n"
        "costs beyond its repeat; -: no time; *: a pair was timed again, alone\n" + _lines(lines)
    )


def means(rows):
    """The geometric means over the rows."""
    lines = [["geometric means", "ratio", "rows", "lost"]]
    for label, value in score.comparisons(rows):
        ratios = [ratio for ratio in map(value, rows) if ratio is not None]
        mean = _number(score.geometric_mean(ratios), ".3f")
        lines.append([label, mean, str(len(ratios)), str(sum(ratio < 1 for ratio in ratios))])
    blocks = [_lines(lines)] if len(lines) > 1 else []
    limits = _limit_means(rows)
    return "\n\n".join(blocks + ([limits] if limits else []))


def _limit_means(rows):
    """Time over the limits, by what bounds a row; and executed FLOPs over the peak where F bounds it."""
    lines = [["time over", "max(F,B)", "F (rows F)", "B (rows B)", "F+B (others)", "executed/peak (rows F)"]]
    for name in _engines(rows):
        over = [score.efficiency(row, name) for row in rows]
        line = [SHORT.get(name, name), _inverse(over)]
        for bound in ("F", "B", "F+B"):
            there = [score.efficiency(row, name, score.yardstick) for row in rows if score.bound(row) == bound]
            line.append(_inverse(there))
        executed = [score.executed_rate(row, name) for row in rows if score.bound(row) == "F"]
        lines.append([*line, _number(score.geometric_mean(executed) if name in OURS else None, ".1%")])
    return _lines(lines) if any(score.floor(row) for row in rows) else ""


def _inverse(shares):
    mean = score.geometric_mean(shares)
    return "-" if mean is None else f"{1 / mean:.2f}"


def idle(rows):
    """The rows that could keep the multipliers busy and do not, each by the form and layout that does best.

    Of `winograd` only its products count as executed, not what is added and moved before and after them.
    """
    found = []
    for row in rows:
        ours = [name for name in OURS if score.executed_rate(row, name) is not None]
        if score.bound(row) == "F" and ours and _channels(row) >= MANY_CHANNELS:
            share, name = max((score.executed_rate(row, name), name) for name in ours)
            if share < BUSY:
                found.append(f"{row['name']} {share:.0%} ({row['engines'][name].get('algorithm', '?')})")
    return f"executed FLOPs below {BUSY:.0%} of the peak, rows F of {MANY_CHANNELS} channels and more: " + (
        ", ".join(found) or "none"
    )


def _channels(row):
    """The fewer of the channels in and out of a group; 0 where unknown."""
    layer = row.get("layer")
    return min(layer["c_in"], layer["c_out"]) // layer["groups"] if layer else 0


def worst(rows):
    """The rows on which upconv does worst, by each comparison that counts."""
    lines = []
    measures = [
        (f"{SHORT[a]} against {SHORT[b]}", lambda row, p=(a, b): score.ratio(row, *p)) for a, b in PARTNERS.items()
    ]
    measures += [
        (f"{form} against the best of all", lambda row, a=ours: score.against_best(row, a))
        for form, ours in FORMS.items()
    ]
    measures.append(("against max(F,B)", lambda row: score.efficiency(row, score.our_best(row))))
    for label, value in measures:
        found = sorted((ratio, row["name"]) for row in rows if (ratio := value(row)) is not None)
        if found:
            lines.append(f"worst {label}: " + ", ".join(f"{name} {ratio:.2f}" for ratio, name in found[:WORST]))
    return "\n".join(lines)


def remarks(record):
    """Which engines did not take part, and on which rows others could not."""
    lines = [f"{name}: {reason}" for name, reason in record.get("missing", {}).items()]
    for row in record["rows"]:
        lines += [f"{row['name']}, {name}: {e['reason']}" for name, e in row["engines"].items() if "reason" in e]
        if "reason" in (row.get("probe") or {}):
            lines.append(f"{row['name']}, limits: {row['probe']['reason']}")
        lines += [f"{row['name']}: {' and '.join(duel['pair'])} timed again, alone" for duel in row.get("again", [])]
    return "\n".join(lines)


def compare(old, new) -> str:
    """Two records side by side: how many times as fast upconv is in the second, on the rows that both have.

    Times of two runs are only comparable through what ran beside them, so the ratios to the rivals and to the
    limits, measured in each run, are compared too.
    """
    before = {row["name"]: row for row in old["rows"]}
    both = [(before[row["name"]], row) for row in new["rows"] if row["name"] in before]
    measures = _measures(both)
    lines = [["row", *(label for label, _ in measures)]]
    gains = [[_gain(value, a, b) for _, value in measures] for a, b in both]
    for (a, _), line in zip(both, gains, strict=True):
        marks = [_number(gain, ".2f") + ("" if gain is None or abs(gain - 1) <= CHANGED else "!") for gain in line]
        lines.append([a["name"], *marks])
    lines.append(["geometric mean", *(_number(score.geometric_mean(c), ".3f") for c in zip(*gains, strict=True))])
    note = "second run over first, above 1.00 the second is better; !: by more than 5 %"
    if old["machine"]["cpu"] != new["machine"]["cpu"]:
        note += f"\nthe machines differ: {old['machine']['cpu']}, {new['machine']['cpu']}"
    if not both:
        return "the two runs have no row in common"
    return "\n".join([note, _lines(lines), *_chosen_otherwise(both)])


def _chosen_otherwise(both):
    """Sentences: which rows upconv computes by another algorithm in the second run."""
    found = []
    for old, new in both:
        for engine in OURS:
            before, after = ((row["engines"].get(engine) or {}).get("algorithm") for row in (old, new))
            if before and after and before != after:
                found.append(f"{old['name']}, {engine}: by {after}, in the first run by {before}")
    return found


def _measures(both):
    found = []
    for ours in OURS:
        found.append((f"{SHORT[ours]} speed", lambda row, a=ours: score.gflops(row, a)))
        found.append((f"{SHORT[ours]} %", lambda row, a=ours: score.efficiency(row, a)))
    found += [(f"{SHORT[a]}/{SHORT[b]}", lambda row, p=(a, b): score.ratio(row, *p)) for a, b in PARTNERS.items()]
    found += [(f"{form}/best", lambda row, a=ours: score.against_best(row, a)) for form, ours in FORMS.items()]
    return [(label, value) for label, value in found if any(_gain(value, a, b) is not None for a, b in both)]


def _gain(value, old, new):
    before, after = value(old), value(new)
    return None if before is None or after is None else after / before


def _engines(rows):
    """The engines of a run, in the order of the first row."""
    return list(dict.fromkeys(name for row in rows for name in row["engines"]))


def _number(value, form):
    return "-" if value is None else format(value, form)


def _ms(seconds):
    return "-" if seconds is None else f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def _lines(rows):
    """A table: the first column begins, the others end, at one place."""
    return "\n".join(aligned(rows, right=range(1, len(rows[0])), indent=""))
