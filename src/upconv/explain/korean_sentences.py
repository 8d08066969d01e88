"""Sentences about one axis in Korean, and the particles that numbers take: what `overlap`, `edges`, `sizes` say."""

from ..geometry import Axis
from ..inverse import Setting, reachable, setting_of, sizes_undone
from .edges import beyond, border
from .overlap import COUNTED
from .sizes import beyond_canvas, inserted_sums, inserted_zeros, same_size
from .sizes import written as english

# The particles after a consonant and after a vowel; a number is read aloud, so its last digit decides.
PARTICLES = {
    "을": "을를",
    "이": "이가",
    "과": "과와",
    "으로": ("으로", "로"),
    "이면": ("이면", "면"),
}
VOWELS, LIQUIDS = "2459", "178"
ENDS = {"first": "첫", "last": "마지막"}


def with_particle(number: int, particle: str) -> str:
    """A number with the particle that its reading asks for.

    >>> with_particle(3, "을"), with_particle(2, "을"), with_particle(8, "으로"), with_particle(10, "으로")
    ('3을', '2를', '8로', '10으로')
    """
    after_consonant, after_vowel = PARTICLES[particle]
    last = str(number)[-1]
    short = last in VOWELS or (particle == "으로" and last in LIQUIDS)
    return f"{number}{after_vowel if short else after_consonant}"


def _by_numbers(subject, divisor):
    """`k = 4가 s = 2로`: the numbers of a division."""
    (name, value), (other, by) = subject, divisor
    return f"{name} = {with_particle(value, '이')} {other} = {with_particle(by, '으로')}"


REASONS = {
    "off_canvas": lambda: "캔버스 위에 놓인 출력이 없어 모두 bias뿐입니다",
    "shared_divisor": lambda s, d, g: (
        f"s = {with_particle(s, '과')} d = {with_particle(d, '이')} 모두 {with_particle(g, '으로')} 나누어떨어져 "
        f"{g}칸에 한 칸만 값이 닿고, 그 사이 출력은 bias뿐입니다"
    ),
    "short_kernel": lambda k, s: (
        f"탭 k = {k}개로는 stride {with_particle(s, '을')} 다 덮지 못해, 출력 {s}개마다 {s - k}개는 bias뿐입니다"
    ),
    "stride_one": lambda count: f"도장이 한 칸씩 밀려 찍히므로 안쪽 출력은 모두 곱을 {count}개씩 받습니다",
    "divides": lambda count, s, k: (
        f"{_by_numbers(('k', k), ('s', s))} 나누어떨어지므로 안쪽 출력은 모두 곱을 {count}개씩 받습니다"
    ),
    "does_not_divide": lambda most, least, s, k: (
        f"{_by_numbers(('k', k), ('s', s))} 나누어떨어지지 않아, 출력이 곱을 {most}개와 {least}개씩 번갈아 받습니다"
    ),
    "tap_gaps": lambda empty, d, n: (
        f"탭 간격이 d = {d}인데 입력이 {n}개뿐이라 틈을 다 메우지 못해, 출력 {d}개마다 {empty}개는 bias뿐입니다"
    ),
    "few_inputs": lambda count, n: f"안쪽 출력은 모두 곱을 {count}개씩 받습니다. 입력 {n}개로 줄 수 있는 최대입니다",
    "inputs_undivided": lambda most, least, d, n: (
        f"{_by_numbers(('n', n), ('d', d))} 나누어떨어지지 않아, 출력이 곱을 {most}개와 {least}개씩 번갈아 받습니다"
    ),
    "counted_holes": lambda empty, whole: (
        f"{_whose(whole)}{f' 가운데 {empty}개가' if empty else '이 모두'} bias뿐입니다"
    ),
    "counted_even": lambda count, whole: (
        f"{_whose(whole)} 모두 곱을 {count}개씩 받습니다. 입력이 짧거나 많이 잘려서 더 받을 수 없습니다"
    ),
    "counted_calm": lambda least, most, whole: (
        f"입력이 짧거나 많이 잘려서, {_whose(whole)}마다 받는 곱이 {least}개에서 {most}개까지 "
        "늘었다 줄 뿐, 번갈아 바뀌지는 않습니다"
    ),
    "counted_turns": lambda least, most, whole: (
        f"입력이 짧거나 많이 잘려서, {_whose(whole)}마다 받는 곱이 {least}개에서 {most}개 사이를 오르내립니다"
    ),
}
# The same for the summary, where the rule alone is named.
RULES = {
    "shared_divisor": lambda s, d, g: (
        f"s = {with_particle(s, '과')} d = {with_particle(d, '이')} 모두 {with_particle(g, '으로')} 나누어떨어짐"
    ),
    "short_kernel": lambda k, s: f"k = {with_particle(k, '이')} s = {s}보다 작음",
    "stride_one": lambda count: "도장이 한 칸씩 밀려 찍힘",
    "divides": lambda count, s, k: f"{_by_numbers(('k', k), ('s', s))} 나누어떨어짐",
    "does_not_divide": lambda most, least, s, k: f"{_by_numbers(('k', k), ('s', s))} 나누어떨어지지 않음",
    "tap_gaps": lambda empty, d, n: f"d = {d}칸씩 벌어진 탭 사이를 입력 {n}개로는 다 메우지 못함",
    "inputs_undivided": lambda most, least, d, n: f"{_by_numbers(('n', n), ('d', d))} 나누어떨어지지 않음",
}


def reason(verdict) -> str:
    """`Verdict.reason` in Korean."""
    return REASONS[verdict.why](**verdict.facts)


def rule(verdict) -> str:
    """The rule of a verdict in a few words, "" where the counts alone decide."""
    return RULES[verdict.why](**verdict.facts) if verdict.why in RULES else ""


def _whose(whole):
    return "출력" if whole else f"가운데 출력 {COUNTED:,}개"


def border_note(axis: Axis) -> str | None:
    """`edges.border_note` in Korean."""
    found = border(axis)
    if found is None:
        return None
    places = ", ".join(_end(*end) for end in found.ends)
    note = f"입력이 끝나는 가장자리에서는 곱이 적습니다({places})"
    if found.short:
        note = "입력이 짧거나 많이 잘려서, 제 탭을 모두 받는 출력이 없는 phase가 있습니다"
    return f"{note}. 그중 출력 {found.dead}개는 bias뿐입니다" if found.dead else note


def _end(end, count, beyond):
    which = f"{ENDS[end]} 출력" if count == 1 else f"{'처음' if end == 'first' else '마지막'} {count}칸의 일부"
    return "캔버스 위의 " * beyond + which


def beyond_note(axis: Axis) -> str | None:
    """`edges.beyond_note` in Korean."""
    names = [f"{'맨 앞' if end == 'first' else '맨 끝'} 출력 {count}개" for end, count in beyond(axis)]
    return f"{'와 '.join(names)}는 캔버스 밖이라 bias뿐입니다" if names else None


def written(axis: Axis) -> list[str]:
    """`sizes.written` in Korean."""
    return [line.replace("(which PyTorch cannot say)", "(PyTorch로는 쓸 수 없음)") for line in english(axis)]


def documented(axis: Axis) -> list[str]:
    """`sizes.documented` in Korean."""
    sums, (before, after) = inserted_sums(axis), inserted_zeros(axis)
    return [
        f"입력 사이마다 0을 s - 1 = {axis.s - 1}개씩: {sums.spread} = {sums.length - before - after}개",
        f"앞에 넣을 0: {sums.before} = {_zeros(before)}",
        f"뒤에 넣을 0: {sums.after} = {_zeros(after)}",
        f"모두 {sums.total} = {sums.length}개",
        f"뒤집은 커널로 일반 합성곱: {sums.out} = 출력 {axis.out}개",
    ]


def _zeros(count):
    return f"{count}개" if count >= 0 else f"{count}개, 곧 값 {-count}개를 떼어 냄"


def ambiguity(axis: Axis) -> list[str]:
    """`sizes.ambiguity` in Korean, without the settings for the sizes nearby."""
    setting = setting_of(axis)
    if setting is None:
        return [
            f"PyTorch로는 앞뒤를 crop_lo = {axis.crop_lo}, crop_hi = {axis.crop_hi}만큼 자를 수 없습니다. "
            f"0 <= crop_lo - crop_hi < max(stride, dilation) = {max(axis.s, axis.d)}이고 crop_lo >= 0이어야 합니다.",
            f"크기만 같고 위치는 다른 설정: {same_size(axis).arguments()}",
        ]
    return [_undone(setting, axis.n), *_chosen(setting, axis.n), *_kept(axis, setting)]


def _undone(setting, n):
    sizes = sizes_undone(setting, n)
    conv = f"Conv2d({Setting(setting.k, setting.s, setting.p, 0, setting.d).arguments()})"
    if not sizes:
        return f"{conv}의 출력이 {with_particle(n, '이')} 되는 입력 크기는 없습니다."
    if len(sizes) == 1:
        only = " 그래서 이 레이어는 그 크기로만 되돌릴 수 있습니다." if max(setting.s, setting.d) == 1 else ""
        return f"{conv}의 출력이 {with_particle(n, '이')} 되는 입력 크기는 {sizes[0]} 하나입니다.{only}"
    many = f"{sizes[0]}부터 {sizes[-1]}까지" if len(sizes) > 3 else ", ".join(map(str, sizes))
    if len(sizes) == 2:
        many = f"{with_particle(sizes[0], '과')} {sizes[1]}"
    lost = f"{n}만 보고는 어느 크기로 되돌릴지 알 수 없습니다."
    return f"{conv}에 넣으면 {many} 모두 {with_particle(n, '이')} 됩니다. 그래서 {lost}"


def _chosen(setting, n):
    sizes = reachable(setting, n)
    largest = max(setting.s, setting.d) - 1
    if largest == 0:
        return ["output_padding은 max(stride, dilation) = 1보다 작아야 하므로 여기서는 0만 쓸 수 있습니다."]
    dropped = largest + 1 - len(sizes)
    shown = range(len(sizes)) if len(sizes) <= 4 else (0, 1, len(sizes) - 1)
    options = [f"output_padding={with_particle(dropped + place, '이면')} {sizes[place]}" for place in shown]
    if len(sizes) > 4:
        options.insert(2, "...")
    return [f"그 크기를 고르는 값이 output_padding입니다: {', '.join(options)}."] if options else []


def _kept(axis, setting):
    if max(setting.s, setting.d) == 1:
        return []
    if count := beyond_canvas(axis):
        return [
            f"output_padding은 캔버스의 끝을 덜 잘라 내는 값인데, 여기서는 padding보다 커서 마지막 출력 {count}개가 "
            "캔버스 밖으로 나갑니다. 그 자리에는 bias만 남습니다."
        ]
    return ["output_padding은 0을 붙이는 값이 아닙니다. 캔버스의 끝을 덜 잘라 냅니다."]
