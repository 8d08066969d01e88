"""A layer explained in Korean: the sections and numbers of `text`."""

import textwrap
from math import prod

from ..geometry import NAMES, Geometry, ceil_div
from ..settings import WEIGHTS
from ..table import aligned
from .described import alike, describe_axis
from .korean_sentences import ambiguity, beyond_note, border_note, documented, reason, rule, with_particle, written
from .overlap import EVEN, HOLES, UNEVEN, even_alternatives, pairs, phases_with_outputs, taps_of, verdict, worst
from .sizes import neighbours
from .text import (
    COLUMNS,
    GROUPS,
    MOST_TERMS,
    ROWS,
    inserted_macs,
    laid_out,
    progression,
    run_of_counts,
    small_kernel,
    taps_in_words,
    untouched,
    wrapped,
    written_shape,
)

AXES = {"length": "길이", "depth": "깊이", "height": "높이", "width": "너비"}
COUNTED = {
    1: "출력 하나에 더해지는 곱의 수는 그 자리의 수입니다(연결된 채널 한 쌍마다).",
    2: "출력 하나에 더해지는 곱의 수는 행의 수와 열의 수를 곱한 값입니다(연결된 채널 한 쌍마다).",
    3: "출력 하나에 더해지는 곱의 수는 면의 수, 행의 수, 열의 수를 곱한 값입니다(연결된 채널 한 쌍마다).",
}
VERDICTS = {
    EVEN: "겹침이 균일하므로, 겹침 때문에 생기지는 않습니다",
    UNEVEN: "학습으로 상쇄되지 않으면 생깁니다",
    HOLES: "가중치와 관계없이 bias만 남는 빈칸이 생깁니다",
}


def explanation(geometry: Geometry, width: int = COLUMNS) -> str:
    """`text.explanation` in Korean.

    >>> from upconv.geometry import Axis
    >>> layer = Geometry(1, 1, 1, 1, Axis(4, 3, 2, 1, 1, 0), Axis(4, 3, 2, 1, 1, 0))
    >>> print("\\n".join(explanation(layer).splitlines()[:2]))
    전치 합성곱: 4 × 4 입력이 8 × 8 출력이 됩니다.
    체커보드 무늬: 학습으로 상쇄되지 않으면 생깁니다(k = 3이 s = 2로 나누어떨어지지 않음).
    """
    parts = ["\n".join(summary(geometry, width)), *laid_out(sections(geometry), width)]
    return "\n\n".join(parts).replace("Conv2d", f"Conv{len(geometry.axes)}d") + "\n"


def summary(geometry: Geometry, width: int = COLUMNS) -> list[str]:
    """`text.summary` in Korean."""
    kind = worst(geometry.axes)
    found = [verdict(axis) for axis in geometry.axes]
    reasons = filter(None, dict.fromkeys(rule(each) for each in found if each.kind == kind))
    because = ", ".join(reasons)
    before, after = ([size(axis) for axis in geometry.axes] for size in (lambda a: a.n, lambda a: a.out))
    first = f"전치 합성곱: {_by(before)} 입력이 {_by(after)} 출력이 됩니다."
    second = f"체커보드 무늬: {VERDICTS[kind]}{f'({because})' if because else ''}."
    return [*wrapped(first, width), *wrapped(second, width)]


def sections(geometry: Geometry) -> list[tuple[str, list[str]]]:
    """`text.sections` in Korean."""
    named = axes(geometry)
    parts = [("레이어", _layer(geometry))]
    for title, lines in (
        (lambda axis: "출력 크기 계산", _sizes),
        (lambda axis: "문서의 설명으로 다시 보기", _documented),
        (_question, _nearby),
        (lambda axis: "phase", _phases),
        (lambda axis: "어느 탭이 어느 출력에 닿는가", _taps),
    ):
        parts += [(f"{title(axis)} ({name})", lines(axis)) for name, axis in named]
    overlap = ("출력마다 더해지는 곱의 수와 체커보드 무늬", _overlap(named, len(geometry.axes)))
    return [*parts, overlap, ("그룹", _groups(geometry)), ("계산량", _cost(geometry))]


def _by(sizes):
    return " × ".join(map(str, sizes)) if len(sizes) > 1 else f"길이 {sizes[0]}의"


def axes(geometry):
    """`text.axes` in Korean."""
    several = len(NAMES[len(geometry.axes)]) > 1
    found = alike(geometry, joined=lambda names: (_names(names), len(names)))
    return [(f"{names} 공통" if several and number > 1 else names, axis) for (names, number), axis in found]


def _names(names):
    said = [AXES[name] for name in names]
    return "와 ".join(said) if len(said) < 3 else ", ".join(said)


def describe(geometry):
    """`layer.describe` with the axes' names in Korean."""
    found = alike(geometry, describe_axis, _names)
    return found[0][1] if len(found) == 1 else "; ".join(f"{names} {words}" for names, words in found)


def _question(axis):
    return f"왜 {with_particle(axis.out + 1, '이')} 아니라 {axis.out}인가"


def _layer(geometry):
    left = [f"기본값 그대로: {defaults}"] if (defaults := untouched(geometry)) else []
    shapes = ("입력", geometry.input_shape), ("가중치", geometry.weight_shape), ("출력", geometry.output_shape)
    return [describe(geometry), *left, *aligned([(name, written_shape(shape)) for name, shape in shapes], indent="")]


def _sizes(axis):
    apart = f" d = {axis.d}칸 간격으로" if axis.k > 1 else ""
    stamps = f"입력 n = {axis.n}개가 저마다 탭 k = {axis.k}개를{apart} 찍고, 다음 입력은 s = {axis.s}칸 뒤에 찍습니다."
    if axis.n == 1:
        stamps = f"입력 n = 1개가 탭 k = {axis.k}개를{apart} 찍습니다."
    return [stamps, "padding은 0을 덧대는 값이 아니라, 다 찍은 캔버스의 양 끝을 잘라 내는 값입니다.", *written(axis)]


def _documented(axis):
    return [
        "문서는 같은 연산을 거꾸로 설명합니다. 입력 사이와 둘레에 0을 넣고 stride 1로 일반 합성곱을 합니다.",
        "이때 padding은 둘레에 넣을 0의 개수에서 빼는 값입니다. 그래서 padding이 클수록 출력이 작아집니다.",
        *documented(axis),
    ]


def _nearby(axis):
    nearby = [f"{with_particle(size, '을')} 얻으려면: {other.arguments()}" for size, other in neighbours(axis)]
    return [*ambiguity(axis), *nearby, "되돌아오는 것은 크기입니다. Conv2d가 섞어 놓은 값은 되돌아오지 않습니다."]


def _phases(axis):
    lines = ["stride가 1이면 모든 출력이 같은 탭을 씁니다."]
    if axis.s > 1:
        shift = f"(출력 번호 {'+' if axis.crop_lo > 0 else '-'} {abs(axis.crop_lo)})" if axis.crop_lo else ""
        by = with_particle(axis.s, "으로")
        lines = [f"캔버스 위치{shift}를 {by} 나눈 나머지가 같은 출력끼리 같은 탭을 씁니다."]
    rows = [("나머지", "출력", "탭", "작은 커널")]
    number = phases_with_outputs(axis)
    for start in range(min(number, ROWS)):
        residue = (start + axis.crop_lo) % axis.s
        taps, count = taps_of(axis, residue), ceil_div(axis.out - start, axis.s)
        cells = progression(start, axis.s, count), taps_in_words(taps, "없음"), small_kernel(taps, "없음: bias만")
        rows.append((str(residue), *cells))
    lines += aligned(rows, indent="")
    if number > ROWS:
        lines.append(f"... 그 밖에 {number - ROWS}개")
    if axis.s > 1:
        lines.append("phase 하나하나가 작은 커널을 쓰는 일반 합성곱이고, 끼워 넣은 0은 곱하지 않습니다.")
    return lines


def _taps(axis):
    rows = [("출력", "위치", "입력 * 탭의 합")]
    for o in range(min(axis.out, ROWS)):
        terms = " + ".join(f"x{i}*w{t}" for i, t in pairs(axis, o, MOST_TERMS)) or "없음: bias만"
        rows.append((f"y{o}", str(o + axis.crop_lo), textwrap.shorten(terms, 74, placeholder=" + ...")))
    more = [f"... 그 밖에 출력 {axis.out - ROWS}개"] if axis.out > ROWS else []
    return [*aligned(rows, indent=""), *more]


def _overlap(named, dimensions):
    return [*(f"{name}: {run_of_counts(axis)}" for name, axis in named), COUNTED[dimensions], *verdict_sentences(named)]


def verdict_sentences(named) -> list[str]:
    """`described.verdict_sentences` in Korean, of axes with their names."""
    lines = [f"{name}: {reason(verdict(axis))}." for name, axis in named]
    uneven = [(name, axis) for name, axis in named if verdict(axis).kind != EVEN]
    for name, axis in uneven:
        found = " 또는 ".join(f"({setting.arguments()})" for setting in even_alternatives(axis))
        if found:
            lines.append(f"{name}: 크기는 그대로({axis.n} → {axis.out}), 겹침은 균일한 설정: {found}")
    if not uneven and max(axis.s for _, axis in named) > 1:
        lines.append(
            "곱의 수가 같은 것만으로는 충분하지 않습니다. "
            "체커보드 무늬를 없애려면 phase마다 가중치의 합이 같아야 합니다."
        )
    notes = [(name, note(axis)) for name, axis in named for note in (border_note, beyond_note)]
    return lines + [f"{name}: {note}." for name, note in notes if note]


def _groups(geometry):
    first = "그룹이 하나이므로 모든 입력 채널이 모든 출력 채널과 연결됩니다."
    if geometry.groups > 1:
        first = f"채널을 그룹 {geometry.groups}개로 나누어 같은 그룹끼리만 연결합니다."
    inputs, outputs = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    wires = [
        f"입력 채널 {_channels(group, inputs)} -> 출력 채널 {_channels(group, outputs)}"
        for group in range(min(geometry.groups, GROUPS))
    ]
    more = [f"... 그 밖에 같은 방식의 그룹 {geometry.groups - GROUPS}개"] if geometry.groups > GROUPS else []
    shape = written_shape(geometry.weight_shape)
    weights = prod(geometry.weight_shape)
    return [
        first,
        *wires,
        *more,
        f"가중치 모양은 입력 채널이 맨 앞입니다: {shape} = {WEIGHTS[len(geometry.axes)]}",
        f"가중치 {weights:,}개, bias {geometry.c_out:,}개",
    ]


def _channels(group, size):
    first = group * size
    return str(first) if size == 1 else f"{first}~{first + size - 1}"


def _cost(geometry):
    macs, inserted = geometry.macs, inserted_macs(geometry)
    share = f"으로, {inserted / macs:.1f}배" if macs else ""
    return [
        f"유효한 곱셈-누산(MAC) {macs:,}번(FLOPs로는 두 배)",
        f"끼워 넣은 0까지 곱하면 {inserted:,}번{share}",
        f"적어도 한 번은 읽거나 써야 하는 값 {geometry.elements():,}개: 입력, 출력에 닿는 가중치, 출력",
    ]
