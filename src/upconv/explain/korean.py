"""A layer explained in Korean: the same numbers as in `text`."""

import textwrap
from math import prod

from ..geometry import Geometry, ceil_div
from ..inverse import Setting, nearest, reachable, setting_of, sizes_undone
from ..settings import WEIGHTS
from ..table import aligned
from .layer import alike, describe
from .overlap import (
    EVEN,
    HOLES,
    UNEVEN,
    beyond_note,
    border_note,
    even_alternatives,
    is_settled,
    pairs,
    phases_with_outputs,
    taps_of,
    verdict,
    worst,
)
from .sizes import written
from .text import (
    COLUMNS,
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

# The particles after a consonant and after a vowel; a number is read aloud, so its last digit decides.
PARTICLES = {
    "을": "을를",
    "이": "이가",
    "과": "과와",
    "으로": ("으로", "로"),
    "이면": ("이면", "면"),
    "이고": ("이고", "고"),
}
AXES = {"length": "길이", "depth": "깊이", "height": "높이", "width": "너비"}
COUNTED = {
    1: "출력 하나에 더해지는 곱의 수는 그 자리의 수입니다(연결된 채널 한 쌍마다).",
    2: "출력 하나에 더해지는 곱의 수는 행의 수와 열의 수를 곱한 값입니다(연결된 채널 한 쌍마다).",
    3: "출력 하나에 더해지는 곱의 수는 면의 수, 행의 수, 열의 수를 곱한 값입니다(연결된 채널 한 쌍마다).",
}
VOWELS, LIQUIDS = "2459", "178"
VERDICTS = {
    EVEN: "겹침이 고르므로, 겹침 때문에 생기지는 않습니다",
    UNEVEN: "학습으로 상쇄되지 않으면 생깁니다",
    HOLES: "그보다 먼저 구멍이 생깁니다. 가중치와 관계없이 bias만 남는 출력이 있습니다",
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
    reasons = dict.fromkeys(_because(axis) for axis in geometry.axes if verdict(axis).kind == kind)
    because = f"({', '.join(filter(None, reasons))})" if any(reasons) else ""
    before, after = ([size(axis) for axis in geometry.axes] for size in (lambda a: a.n, lambda a: a.out))
    first = f"전치 합성곱: {_by(before)} 입력이 {_by(after)} 출력이 됩니다."
    return [*wrapped(first, width), *wrapped(f"체커보드 무늬: {VERDICTS[kind]}{because}.", width)]


def sections(geometry: Geometry) -> list[tuple[str, list[str]]]:
    """`text.sections` in Korean."""
    named = alike(geometry, joined=_names)
    parts = [("레이어", _layer(geometry))]
    for title, lines in (
        (lambda axis: "출력 크기 계산", _sizes),
        (_question, _nearby),
        (lambda axis: "phase", _phases),
        (lambda axis: "어느 탭이 어느 출력에 닿는가", _taps),
    ):
        parts += [(f"{title(axis)} ({name})", lines(axis)) for name, axis in named]
    overlap = ("출력마다 더해지는 곱의 수와 체커보드 무늬", _overlap(named, len(geometry.axes)))
    return [*parts, overlap, ("그룹", _groups(geometry)), ("계산량", _cost(geometry))]


def _by(sizes):
    return " × ".join(map(str, sizes)) if len(sizes) > 1 else f"길이 {sizes[0]}의"


def _names(names):
    said = [AXES[name] for name in names]
    if len(said) == 1:
        return said[0]
    return f"{'와 '.join(said) if len(said) == 2 else ', '.join(said)} 공통"


def with_particle(number: int, particle: str) -> str:
    """A number with the particle that its reading asks for.

    >>> with_particle(3, "을"), with_particle(2, "을"), with_particle(8, "으로"), with_particle(10, "으로")
    ('3을', '2를', '8로', '10으로')
    """
    after_consonant, after_vowel = PARTICLES[particle]
    last = str(number)[-1]
    short = last in VOWELS or (particle == "으로" and last in LIQUIDS)
    return f"{number}{after_vowel if short else after_consonant}"


def _question(axis):
    return f"왜 {with_particle(axis.out, '이고')} {with_particle(axis.out + 1, '이')} 아닌가"


def _because(axis):
    if verdict(axis).kind == EVEN or not is_settled(axis):
        return ""
    k, s = with_particle(axis.k, "이"), with_particle(axis.s, "으로")
    if axis.g > 1:
        both = f"s = {with_particle(axis.s, '과')} d = {with_particle(axis.d, '이')}"
        return f"{both} 모두 {with_particle(axis.g, '으로')} 나누어떨어짐"
    return f"k = {k} s = {axis.s}보다 작음" if axis.k < axis.s else f"k = {k} s = {s} 나누어떨어지지 않음"


def _layer(geometry):
    left = [f"기본값 그대로: {defaults}"] if (defaults := untouched(geometry)) else []
    shapes = ("입력", geometry.input_shape), ("가중치", geometry.weight_shape), ("출력", geometry.output_shape)
    return [describe(geometry), *left, *aligned([(name, written_shape(shape)) for name, shape in shapes], indent="")]


def _sizes(axis):
    formulas = [line.replace("(which PyTorch cannot say)", "(PyTorch로는 쓸 수 없음)") for line in written(axis)]
    return [
        f"입력 n = {axis.n}개가 저마다 탭 k = {axis.k}개를 d = {axis.d}칸 간격으로 찍고, "
        f"다음 입력은 s = {axis.s}칸 뒤에 찍습니다.",
        "padding은 0을 덧대는 값이 아니라, 다 찍은 캔버스의 양 끝을 잘라 내는 값입니다.",
        *formulas,
    ]


def _nearby(axis):
    setting = setting_of(axis)
    if setting is None:
        return [f"앞을 {axis.crop_lo}칸, 뒤를 {axis.crop_hi}칸 자르는 설정은 PyTorch로는 쓸 수 없습니다."]
    lines = [_undone(setting, axis.n), *_chosen(setting, axis.n)]
    for wanted in (axis.out - 1, axis.out + 1):
        other = nearest(setting, axis.n, wanted)
        if other is not None:
            lines.append(f"{with_particle(wanted, '을')} 얻으려면: {other.arguments()}")
    return [*lines, "되돌아오는 것은 크기입니다. Conv2d가 섞어 놓은 값은 되돌아오지 않습니다."]


def _undone(setting, n):
    sizes = sizes_undone(setting, n)
    conv = f"Conv2d({Setting(setting.k, setting.s, setting.p, 0, setting.d).arguments()})"
    if not sizes:
        return f"{conv}에서 {with_particle(n, '이')} 나오는 입력 크기는 없습니다."
    if len(sizes) == 1:
        return f"{conv}에서 {with_particle(n, '이')} 나오는 입력 크기는 {sizes[0]} 하나입니다."
    many = f"{sizes[0]}부터 {sizes[-1]}까지" if len(sizes) > 2 else f"{with_particle(sizes[0], '과')} {sizes[1]}"
    lost = f"{n}만 보고는 어느 크기로 되돌릴지 알 수 없습니다."
    return f"{conv}에 넣으면 {many} 모두 {with_particle(n, '이')} 됩니다. 그래서 {lost}"


def _chosen(setting, n):
    sizes = reachable(setting, n)
    largest = max(setting.s, setting.d) - 1
    if largest == 0:
        return ["stride와 dilation이 모두 1이면 output_padding은 0이어야 합니다."]
    dropped = largest + 1 - len(sizes)
    shown = range(len(sizes)) if len(sizes) <= 4 else (0, 1, len(sizes) - 1)
    options = [f"output_padding={with_particle(dropped + place, '이면')} {sizes[place]}" for place in shown]
    return [
        f"그 크기를 고르는 값이 output_padding입니다: {', '.join(options)}.",
        "output_padding은 0을 붙이는 값이 아닙니다. 캔버스의 끝을 덜 잘라 냅니다.",
    ]


def _phases(axis):
    lines = ["stride가 1이면 모든 출력이 같은 탭을 씁니다."]
    if axis.s > 1:
        lines = [f"캔버스 위치를 {with_particle(axis.s, '으로')} 나눈 나머지가 같은 출력끼리 같은 탭을 씁니다."]
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
        lines.append("phase 하나하나가 작은 커널을 쓰는 보통의 합성곱이고, 끼워 넣은 0은 곱하지 않습니다.")
    return lines


def _taps(axis):
    rows = [("출력", "위치", "입력 * 탭의 합")]
    for o in range(min(axis.out, ROWS)):
        terms = " + ".join(f"x{i}*w{t}" for i, t in pairs(axis, o, MOST_TERMS)) or "없음: bias만"
        rows.append((f"y{o}", str(o + axis.crop_lo), textwrap.shorten(terms, 74, placeholder=" + ...")))
    more = [f"... 그 밖에 출력 {axis.out - ROWS}개"] if axis.out > ROWS else []
    return [*aligned(rows, indent=""), *more]


def _overlap(named, dimensions):
    lines = [f"{name}: {run_of_counts(axis)}" for name, axis in named]
    lines.append(COUNTED[dimensions])
    for name, axis in named:
        kind, reason = verdict(axis).kind, _because(axis)
        lines.append(f"{name}, 체커보드 무늬: {VERDICTS[kind]}{f'({reason})' if reason else ''}.")
        found = " 또는 ".join(f"({setting.arguments()})" for setting in even_alternatives(axis)) if kind != EVEN else ""
        if found:
            lines.append(f"{name}: 크기는 그대로 {axis.n} → {axis.out}, 겹침은 고른 설정: {found}")
        if border_note(axis):
            lines.append(f"{name}: 가장자리 출력에는 곱이 덜 더해집니다. 전치 합성곱이면 늘 그렇습니다.")
        if beyond_note(axis):
            lines.append(f"{name}: 캔버스 밖에 놓인 출력에는 bias만 남습니다.")
    if all(verdict(axis).kind == EVEN for _, axis in named) and max(axis.s for _, axis in named) > 1:
        lines.append(
            "곱의 수가 같다고 충분하지는 않습니다. 체커보드 무늬를 없애려면 phase마다 가중치의 합이 같아야 합니다."
        )
    return lines


def _groups(geometry):
    first = "그룹이 하나이므로 모든 입력 채널이 모든 출력 채널과 연결됩니다."
    if geometry.groups > 1:
        first = f"채널을 그룹 {geometry.groups}개로 나누어 같은 그룹끼리만 연결합니다."
    shape = written_shape(geometry.weight_shape)
    weights = prod(geometry.weight_shape)
    return [
        first,
        f"가중치 모양은 입력 채널이 맨 앞입니다: {shape} = {WEIGHTS[len(geometry.axes)]}",
        f"가중치 {weights:,}개, bias {geometry.c_out:,}개",
    ]


def _cost(geometry):
    return [
        f"유효한 곱셈-덧셈 {geometry.macs:,}번(FLOPs로는 두 배)",
        f"끼워 넣은 0까지 곱하면 {inserted_macs(geometry):,}번",
        f"적어도 한 번은 읽거나 써야 하는 값 {geometry.elements():,}개: 입력, 출력에 닿는 가중치, 출력",
    ]
