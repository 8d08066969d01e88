"""How Winograd's filters save products, on numbers to check by hand: `upconv explain --algorithm winograd`."""

from fractions import Fraction
from math import prod

from ..geometry import NAMES, Geometry
from ..phases import phases
from ..table import aligned
from ..volume import Line
from ..winograd_forms import INFINITY, form
from ..winograd_parts import ways, ways_alone
from .text import COLUMNS, axes, laid_out

# Values and taps of the example: small, and none alike.
VALUES, TAPS = (3, 1, 4, 2, 6, 5), (2, 5, 3)
# Points by their number, where those of the kernels, whose errors are smaller, make numbers that fill more than a line.
READABLE = {5: (0, 1, -1, 2, INFINITY)}

ENGLISH = {
    "title": "Winograd's filters ({axis})",
    "axes": {},
    "none": "no form for kernel {k}, stride {s}, dilation {d}: winograd refuses this layer",
    "one tap": "one tap in each phase: there is nothing to save",
    "filter": (
        "kernel {k} over stride {s}: each of {s} phases is a filter of {r} taps; here remainder {phase}, taps {taps}"
    ),
    "uneven": (
        "kernel {k} over stride {s}: phases are filters of {r} or {fewer} taps; here remainder {phase}, taps {taps}"
    ),
    "one filter": "kernel {k} over stride 1: one filter of {r} taps, {taps}",
    "plain": "{m} outputs of {r} taps are {plain} products; F({m}, {r}) makes them with {size}",
    "example": "with the inputs {d} and the taps {g}:",
    "columns": ("product", "inputs become", "", "taps become", "", "their product"),
    "outputs": "outputs are sums of the products:",
    "same": "the same as multiplying every tap: {plain}",
    "cost": "taps are transformed once, inputs once for all phases ({s}) and all output channels together",
    "cost apart": "taps are transformed once, inputs once for each phase ({s}), for all output channels together",
    "both": "on both axes: {fewer} products instead of {plain}, a factor of {ratio}",
    "one axis": "{fewer} products instead of {plain}, a factor of {ratio}",
    "title2": "What is saved",
    "name": "m",
}
KOREAN = {
    "title": "Winograd 필터 ({axis})",
    "axes": {"height and width alike": "높이와 너비 공통", "height": "높이", "width": "너비", "length": "길이"},
    "none": "커널 {k}, stride {s}, dilation {d}에는 쓸 수 있는 꼴이 없어, winograd는 이 레이어를 계산하지 않습니다.",
    "one tap": "phase마다 탭이 하나뿐이라 줄일 곱이 없습니다.",
    "filter": (
        "커널 {k}, stride {s}: phase {s}개가 저마다 탭 {r}개짜리 필터입니다. "
        "여기서는 나머지가 {phase}인 phase, 탭 {taps}"
    ),
    "uneven": (
        "커널 {k}, stride {s}: phase마다 탭 {r}개나 {fewer}개짜리 필터입니다. "
        "여기서는 나머지가 {phase}인 phase, 탭 {taps}"
    ),
    "one filter": "커널 {k}, stride 1: 탭 {r}개짜리 필터 하나입니다. 탭 {taps}",
    "plain": "탭 {r}개로 출력 {m}개를 그대로 구하면 곱셈 {plain}번, F({m}, {r})로는 {size}번",
    "example": "입력이 {d}, 탭이 {g}일 때:",
    "columns": ("곱", "입력에서", "", "탭에서", "", "두 값의 곱"),
    "outputs": "출력은 이 곱들의 합입니다.",
    "same": "탭마다 곱해서 더한 값과 같습니다: {plain}",
    "cost": "탭의 변환은 한 번이면 되고, 입력의 변환은 모든 phase({s}개)와 모든 출력 채널이 함께 씁니다.",
    "cost apart": "탭의 변환은 한 번이면 되고, 입력의 변환은 phase({s}개)마다 하되 모든 출력 채널이 함께 씁니다.",
    "both": "두 축에 함께 쓰면 곱셈이 {plain}번에서 {fewer}번으로 줄어듭니다({ratio}배 차이).",
    "one axis": "곱셈이 {plain}번에서 {fewer}번으로 줄어듭니다({ratio}배 차이).",
    "title2": "줄어드는 곱셈",
    "name": "m",
}
WORDS = {"en": ENGLISH, "ko": KOREAN}


def saved_products(geometry: Line | Geometry, language: str = "en", width: int = COLUMNS) -> str:
    """The sections on one axis after the other, and what both together save, in lines of at most `width` columns.

    >>> from upconv.geometry import Axis
    >>> layer = Geometry(1, 1, 1, 1, Axis(6, 4, 2, 1, 1, 1), Axis(6, 4, 2, 1, 1, 1))
    >>> print(saved_products(layer).splitlines()[2])
      3 outputs of 2 taps are 6 products; F(3, 2) makes them with 4
    """
    words = WORDS[language]
    found = dict(zip(NAMES[len(geometry.axes)], _ways(geometry), strict=True))
    parts = []
    for name, axis in axes(geometry):
        title = words["title"].format(axis=words["axes"].get(name, name))
        parts.append((title, _axis(axis, found.get(name, next(iter(found.values()))), words)))
    each = list(zip(geometry.axes, found.values(), strict=True))
    if all(found.values()) and any(max(way.outputs) > 1 for way in found.values()):
        plain, fewer = (prod(counts) for counts in zip(*(_counts(*one) for one in each), strict=True))
        facts = {"plain": plain, "fewer": fewer, "ratio": f"{plain / fewer:.3g}"}
        ratio = words["both" if len(each) > 1 else "one axis"].format(**facts)
        cost = "cost apart" if any(way.apart for way in found.values()) else "cost"
        parts.append((words["title2"], [words[cost].format(s=prod(axis.s for axis in geometry.axes)), ratio]))
    return "\n\n".join(laid_out(parts, width)) + "\n"


def _ways(geometry):
    """The Way of each axis, as the algorithm usually cuts it; None where there is none."""
    # A line is computed as a map of height 1.
    h, w = geometry.map.axes if isinstance(geometry, Line) else geometry.axes
    pairs = ways(h, w)
    return (pairs[0] if pairs else [next(iter(ways_alone(axis)), None) for axis in (h, w)])[-len(geometry.axes) :]


def _counts(axis, way):
    """(products of the definition, products of the form) for a tile: of one phase if all are alike, else of all."""
    counts = [len(phase.taps) for phase in phases(axis)] if len(way.outputs) > 1 else list(way.outputs)
    return sum(way.outputs[r] * r for r in counts), sum(form(way.outputs[r], r).size for r in counts)


def _axis(axis, way, words):
    if way is None:
        return [words["none"].format(k=axis.k, s=axis.s, d=axis.d)]
    r = max(way.outputs)
    if r == 1:
        return [words["one tap"]]
    made = form(way.outputs[r], r, READABLE.get(way.outputs[r] + r - 1))
    first = next(phase for phase in phases(axis) if len(phase.taps) == r)
    d, g = VALUES[: made.size], TAPS[: made.r]
    # A phase reads its inputs forwards and its taps backwards.
    taps = [f"w{tap}" for tap in reversed(first.taps)]
    sources, weights = (_values(rows, values) for rows, values in ((made.source, d), (made.weight, g)))
    products = [a * b for a, b in zip(sources, weights, strict=True)]
    # Under dilation a filter has every d-th input, and makes every d-th output.
    inputs = [f"x{j * axis.d}" for j in range(made.size)]
    rows = [words["columns"]]
    for place, (row, column) in enumerate(zip(made.source, made.weight, strict=True)):
        left, right = _sum(row, inputs), _sum(column, taps)
        cells = f"{words['name']}{place}", left, f"= {sources[place]}", right, f"= {weights[place]}"
        rows.append((*cells, str(products[place])))
    names = [f"{words['name']}{place}" for place in range(made.size)]
    found = _values(made.output, products)
    outputs = [(f"y{i * axis.d}", f"= {_sum(row, names)}", f"= {found[i]}") for i, row in enumerate(made.output)]
    plain = [sum(d[i + b] * g[b] for b in range(made.r)) for i in range(made.m)]
    facts = {"k": axis.k, "s": axis.s, "m": made.m, "r": made.r, "size": made.size, "plain": made.m * made.r}
    kind = "uneven" if len(way.outputs) > 1 else "filter" if axis.s > 1 else "one filter"
    return [
        words[kind].format(**facts, fewer=min(way.outputs), phase=first.residue, taps=", ".join(taps)),
        words["plain"].format(**facts),
        words["example"].format(d=_listed(inputs, d), g=_listed(taps, g)),
        *aligned(rows, indent=""),
        words["outputs"],
        *aligned(outputs, indent=""),
        words["same"].format(plain=", ".join(map(str, plain))),
    ]


def _listed(names, values):
    return ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))


def _values(rows, values):
    return [sum((a * b for a, b in zip(row, values, strict=True)), Fraction(0)) for row in rows]


def _sum(factors, names):
    """A sum as one writes it: ``x0 - x2``, ``1/2 w3 + 1/2 w1``."""
    terms = []
    for factor, name in zip(factors, names, strict=True):
        if factor:
            sign = "-" if factor < 0 else "+"
            size = "" if abs(factor) == 1 else f"{abs(factor)} "
            terms.append(f"{sign} {size}{name}")
    first, *rest = terms
    return " ".join([first.removeprefix("+ ").replace("- ", "-", 1), *rest])
