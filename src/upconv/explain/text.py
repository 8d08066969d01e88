"""A layer explained as plain text: a summary, then sizes, the sizes nearby, phases, taps, overlap, groups, cost."""

import textwrap
from dataclasses import astuple
from math import prod

from ..geometry import Axis, Geometry, ceil_div
from ..inverse import setting_of
from ..settings import WEIGHTS
from ..table import INDENT, aligned, columns
from .described import alike, describe, heading, verdict_sentences
from .overlap import EVEN, HOLES, UNEVEN, counts, pairs, phases_with_outputs, taps_of, verdict, worst
from .sizes import ambiguity, documented, written

COLUMNS = 100
ROWS = 8
GROUPS = 4
MOST_TAPS = 8
# More than fit on a line.
MOST_TERMS = 20
COUNTED = {
    1: "that of its place",
    2: "that of its row times that of its column",
    3: "that of its plane times those of its row and of its column",
}
TIED = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"
VERDICTS = {
    EVEN: "not by the overlap, which is even",
    UNEVEN: "to be expected, unless training evens it out",
    HOLES: "holes instead, outputs that hold the bias alone",
}


def explanation(geometry: Geometry, width: int = COLUMNS) -> str:
    """Everything the package can say about a layer before it runs, in lines of at most `width` columns.

    >>> from upconv.geometry import Axis
    >>> layer = Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0))
    >>> print("\\n".join(explanation(layer).splitlines()[:5]))
    Transposed convolution, 4 × 4 to 8 × 8
    Checkerboard: to be expected, unless training evens it out (s = 2 does not divide k = 3).
    <BLANKLINE>
    The layer
      kernel_size=3, stride=2, padding=1, output_padding=1
    """
    parts = ["\n".join(summary(geometry, width)), *laid_out(sections(geometry), width)]
    return "\n\n".join(parts).replace("Conv2d", f"Conv{len(geometry.axes)}d") + "\n"


def summary(geometry: Geometry, width: int = COLUMNS) -> list[str]:
    """Two sentences, wrapped: what becomes of what, and whether to expect a checkerboard."""
    kind = worst(geometry.axes)
    reasons = dict.fromkeys(_because(axis) for _, axis in axes(geometry) if verdict(axis).kind == kind)
    because = f" ({' and '.join(filter(None, reasons))})" if any(reasons) else ""
    return [heading(geometry), *wrapped(f"Checkerboard: {VERDICTS[kind]}{because}.", width)]


def _because(axis):
    """The reason of a verdict, where it gives one."""
    return verdict(axis).reason.partition(", because ")[2].partition(";")[0]


def sections(geometry: Geometry) -> list[tuple[str, list[str]]]:
    """The titles and lines of the explanation."""
    named = axes(geometry)
    parts = [_layer(geometry)]
    parts += [_sizes(name, axis) for name, axis in named]
    parts += [_documented(name, axis) for name, axis in named]
    parts += [_nearby(name, axis) for name, axis in named]
    parts += [_phases(name, axis) for name, axis in named]
    parts += [_taps(name, axis) for name, axis in named]
    return [*parts, _overlap(geometry, named), _groups(geometry), _cost(geometry)]


def axes(geometry) -> list[tuple[str, Axis]]:
    """The axes to explain, named; one where they are alike."""
    return [(f"{name} alike" if " and " in name else name, axis) for name, axis in alike(geometry)]


def _layer(geometry):
    shapes = ("input", geometry.input_shape), ("weight", geometry.weight_shape), ("output", geometry.output_shape)
    left = [f"left at the default: {defaults}"] if (defaults := untouched(geometry)) else []
    return _section("The layer", [describe(geometry), *left, *(f"{n:<7}{written_shape(s)}" for n, s in shapes)])


def untouched(geometry: Geometry) -> str:
    """The settings left at their defaults that could have been otherwise; most questions are about one of them."""
    settings = [setting_of(axis) for _, axis in axes(geometry)]
    if None in settings:
        return ""
    names = ("stride", "padding", "output_padding", "dilation")
    values = [astuple(setting)[1:] for setting in settings]
    left = [
        f"{name}={default}"
        for name, default, found in zip(names, (1, 0, 0, 1), zip(*values, strict=True), strict=True)
        if all(value == default for value in found) and _matters(name, geometry)
    ]
    return ", ".join(left)


def _matters(name, geometry):
    """Whether another value would be allowed and change something."""
    if name == "output_padding":
        return any(max(axis.s, axis.d) > 1 for axis in geometry.axes)
    return any(axis.k > 1 for axis in geometry.axes) if name == "dilation" else True


def _sizes(name, axis):
    taps = f"k = {axis.k} taps, d = {axis.d} apart" if axis.k > 1 else "k = 1 tap"
    stamps = f"each of n = {axis.n} inputs writes {taps}; the next input s = {axis.s} on"
    if axis.n == 1:
        stamps = f"the one input (n = 1) writes {taps}"
    return _section(f"The size, step by step ({name})", [stamps, *written(axis)])


def _documented(name, axis):
    lead = "zeros go between and around the inputs, then an ordinary convolution of stride 1 runs;"
    tail = "what is called padding is subtracted from those zeros, so a larger padding gives a smaller output"
    return _section(f"The same in the documentation's words ({name})", [lead, tail, *documented(axis)])


def _nearby(name, axis):
    lines = [*ambiguity(axis), "This is about sizes. The values that a Conv2d has mixed do not come back."]
    return _section(f"Why {axis.out} and not {axis.out + 1} ({name})", lines)


def _phases(name, axis):
    lead = f"outputs whose canvas position{_shift(axis)} leaves the same remainder modulo {axis.s} use the same taps:"
    lines = [lead if axis.s > 1 else "with a stride of 1 all outputs use the same taps:"]
    rows = [("remainder", "outputs", "taps", "small kernel")]
    number = phases_with_outputs(axis)
    for start in range(min(number, ROWS)):
        residue = (start + axis.crop_lo) % axis.s
        taps, count = taps_of(axis, residue), ceil_div(axis.out - start, axis.s)
        rows.append((str(residue), progression(start, axis.s, count), taps_in_words(taps), small_kernel(taps)))
    lines += aligned(rows, indent="")
    if number > ROWS:
        lines.append(f"... and {number - ROWS} more")
    if axis.s > 1:
        lines.append("each is an ordinary convolution with its small kernel; no inserted zero is multiplied")
    return _section(f"Phases ({name})", lines)


def _taps(name, axis):
    rows = [("output", "position", "sum of input * tap")]
    for o in range(min(axis.out, ROWS)):
        terms = " + ".join(f"x{i}*w{t}" for i, t in pairs(axis, o, MOST_TERMS)) or "nothing: bias alone"
        rows.append((f"y{o}", str(o + axis.crop_lo), textwrap.shorten(terms, 74, placeholder=" + ...")))
    lines = aligned(rows, indent="")
    if axis.out > ROWS:
        lines.append(f"... and {axis.out - ROWS} more outputs")
    return _section(f"Which taps reach which output ({name})", lines)


def _overlap(geometry, named):
    lines = [f"{name}: {run_of_counts(axis)}" for name, axis in named]
    lines.append(f"an output's count is {COUNTED[len(geometry.axes)]}, for each pair of connected channels")
    return _section("Products per output, and checkerboards", lines + verdict_sentences(geometry))


def _groups(geometry):
    inputs, outputs = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    lines = []
    for group in range(min(geometry.groups, GROUPS)):
        lines.append(f"input {_channels(group, inputs)} -> output {_channels(group, outputs)}")
    if geometry.groups > GROUPS:
        lines.append(f"... and {geometry.groups - GROUPS} more groups of the same kind")
    weights = inputs * geometry.c_out * prod(axis.k for axis in geometry.axes)
    shape = written_shape(geometry.weight_shape)
    biases = f"{geometry.c_out:,} bias{'es' * (geometry.c_out > 1)}"
    lines.append(
        f"weight {shape} = {WEIGHTS[len(geometry.axes)]}: {weights:,} parameter{'s' * (weights > 1)}, and {biases}"
    )
    count = (
        "one group: every input channel reaches every output channel"
        if geometry.groups == 1
        else (f"{geometry.groups} groups: channels connect only within their group")
    )
    return _section("Groups", [count, *lines])


def _cost(geometry):
    macs, moved, inserted = geometry.macs, geometry.elements(), inserted_macs(geometry)
    share = f", {inserted / macs:.1f} times as many" if macs else ""
    return _section(
        "Cost",
        [
            f"{macs:,} useful multiply-add{'s' * (macs != 1)} (FLOPs are twice this)",
            f"{inserted:,} if the inserted zeros were multiplied too{share}",
            f"{moved:,} values moved at least once: input, weights that reach an output, output",
        ],
    )


def inserted_macs(geometry: Geometry) -> int:
    """The multiply-adds of the documentation's reading, inserted zeros and all."""
    taps = prod(axis.k for axis in geometry.axes)
    return prod(geometry.output_shape) * (geometry.c_in // geometry.groups) * taps


def _section(title, lines):
    return title, lines


def laid_out(parts, width: int) -> list[str]:
    """Titles and lines as paragraphs of at most `width` columns."""
    inner = width - len(INDENT)
    return [
        "\n".join([title, *(INDENT + part for line in lines for part in wrapped(line, inner))])
        for title, lines in parts
    ]


def wrapped(line: str, width: int) -> list[str]:
    """A line in as many as it needs; letters that are two columns wide count twice."""
    # Tables are made to fit; only what does not is wrapped, since that would spoil the columns.
    if columns(line) <= width:
        return [line]
    # An equation is not broken around its sign.
    lines, current = [], ""
    for word in line.replace(" = ", TIED).split(" "):
        if current.strip() and columns(current) + 1 + columns(word) > width:
            lines.append(current)
            current = INDENT + word
        else:
            current = f"{current} {word}" if current else word
    return [part.replace(TIED, " = ") for part in [*lines, current]]


def progression(start, step, count):
    """The outputs of a phase: the first few by number, a long run by its ends."""
    values = range(start, start + count * step, step)
    if count <= 4:
        return ", ".join(map(str, values))
    return f"{values[0]}, {values[1]}, ..., {values[-1]}"


def small_kernel(taps, nothing="none: bias alone"):
    """The taps of a phase, turned round; of many, the ends."""
    names = [f"w{t}" for t in (taps[::-1] if len(taps) <= MOST_TAPS else (taps[-1], taps[-2], taps[0]))]
    if len(taps) > MOST_TAPS:
        names.insert(2, "...")
    return f"[{', '.join(names)}]" if taps else nothing


def taps_in_words(taps, none="none"):
    if len(taps) > 4:
        return f"{taps[0]}, {taps[1]}, ..., {taps[-1]}"
    return ", ".join(map(str, taps)) or none


def run_of_counts(axis):
    outputs = range(axis.out)
    if axis.out <= 24:
        return " ".join(map(str, counts(axis)))
    first, last = (" ".join(map(str, counts(axis, part))) for part in (outputs[:16], outputs[-4:]))
    return f"{first} ... {last}"


def _shift(axis):
    if not axis.crop_lo:
        return ""
    return f" (output {'+' if axis.crop_lo > 0 else '-'} {abs(axis.crop_lo)})"


def _channels(group, size):
    first = group * size
    return f"channel {first}" if size == 1 else f"channels {first}-{first + size - 1}"


def written_shape(shape):
    return f"({', '.join(map(str, shape))})"
