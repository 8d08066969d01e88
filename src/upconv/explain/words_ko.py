"""The words of the pictures of a layer in Korean: the names of `words`."""

from math import prod

from ..geometry import NAMES
from ..inverse import setting_of
from . import korean
from .korean import AXES
from .korean import describe as describe
from .korean_sentences import documented as documented
from .korean_sentences import written as written
from .overlap import EVEN, HOLES, UNEVEN
from .words import by_output_padding, by_padding, crops, residues

LANGUAGE = "ko"

FIRST_LINE = "입력마다 커널을 도장처럼 찍고, 겹친 자리에서는 값을 더합니다"
LINE_APART = "캔버스를 도장별로 나누어 보기"
COLUMNS_APART = "열: 캔버스의 한 행을 도장별로 나누어 보기"
ROWS_APART = "행: 캔버스의 한 열을 도장별로 나누어 보기"
CHANNELS = "채널"
PHASES = "phase"
VERDICTS = {
    EVEN: "결론: 겹침이 균일합니다",
    UNEVEN: "결론: 겹침이 균일하지 않아, 학습으로 상쇄되지 않으면 체커보드 무늬가 생깁니다",
    HOLES: "결론: 가중치와 관계없이 bias만 남는 빈칸이 생깁니다",
}

INPUT, KERNEL, OUTPUT, CANVAS = "입력", "커널", "출력", "캔버스"
POSITION, WRITES, RECEIVED, CUT = "캔버스 위치", "의 도장", "더해지는 곱의 수", "잘림"
KEPT = "output_padding이 남긴 값"
CONVOLVED, FIRST_SUM, NEXT_STEP = "합성곱에 넣는 값", "y0을 읽는 자리", "다음 출력마다 한 칸씩 오른쪽으로"
CHANNEL_IN, CHANNEL_OUT = "입력", "출력"

CUT_AWAY = "padding이 잘라 낸 값"
REMOVED, ZERO_BETWEEN, ZERO_AROUND = "padding이 떼어 낸 값", "입력 사이에 넣은 0", "입력 둘레에 넣은 0"

CUT_KEY = "padding이 잘라 낸 칸"
EMPTY_KEY = "더해지는 곱이 없는 칸: bias뿐"
BEYOND_KEY = "캔버스 밖: bias뿐"
SHORT = "다만 입력이 짧아서, 제 탭을 모두 받는 출력이 없는 phase도 있습니다."
ONE_PHASE = "stride가 1이면 phase는 하나뿐이고, 뒤집은 커널 전체를 쓰는 일반 합성곱과 같습니다."

DOCUMENTED = (
    "문서는 같은 연산을 거꾸로 설명합니다. 입력 사이와 둘레에 0을 넣고 뒤집은 커널로 일반 합성곱을 합니다. "
    "그래서 padding은 둘레의 0을 늘리는 값이 아니라 줄이는 값입니다."
)
EACH_STEP = "단계마다의 캔버스입니다."


def heading(geometry):
    """`described.heading` in Korean, with an arrow."""
    before, after = (" × ".join(map(str, sizes)) for sizes in zip(*((a.n, a.out) for a in geometry.axes), strict=True))
    return f"전치 합성곱, {'길이 ' * (len(geometry.axes) == 1)}{before} → {after}"


title = heading


def verdict_sentences(geometry):
    """`described.verdict_sentences` in Korean, as whole sentences."""
    lines = korean.verdict_sentences(korean.axes(geometry))
    return [line if line.endswith(".") else f"{line}." for line in lines]


def maps_caption(several, is_example, has_sum, shown, whole):
    """`words.maps_caption` in Korean."""
    caption = f"테두리: 입력 {'둘과 그 도장이' if several else '하나와 그 도장이'} 찍히는 자리."
    if is_example:
        caption = f"숫자는 예시이고 bias는 0입니다. {caption}"
        caption += " 파란색: 출력 하나와, 곱해서 더할 입력과 탭(번호가 같은 것끼리)." * has_sum
    else:
        caption += " 칸의 숫자: 그 칸에 더해지는 곱의 수."
    return caption + (f" 출력 {whole} 가운데 처음 {shown}만 그렸습니다." if shown else "")


def stamp_caption(axis, positions=None):
    """`words.stamp_caption` in Korean."""
    writers = f"입력 {axis.n}개가 저마다" if axis.n > 1 else "하나뿐인 입력이"
    apart = f" {axis.d}칸 간격으로" if axis.d > 1 else ""
    caption = (
        f"위에서 아래로 읽습니다. 출력 한 칸은 그 칸에 찍힌 값의 합입니다. {writers} 탭 {axis.k}개를{apart} 찍습니다."
    )
    return caption + (f" 캔버스 {positions}칸 가운데 앞부분만 그렸습니다." if positions else "")


def description(geometry):
    """`words.description` in Korean."""
    n, k, full, out = (
        " × ".join(str(getattr(axis, name)) for axis in geometry.axes) for name in ("n", "k", "full", "out")
    )
    steps = ", ".join(f"{axis.s}칸" for axis in geometry.axes)
    return (
        f"입력 {n}의 값마다 커널 {k}의 도장을 {steps} 간격으로 {full} 캔버스에 찍고, 그 가운데 {out}만 남깁니다. "
        f"{' '.join(verdict_sentences(geometry))}"
    )


def input_note(where):
    """`words.input_note` in Korean."""
    return f"입력 {where}"


def tap_note(where):
    """`words.tap_note` in Korean."""
    return f"탭 {where}"


def output_note(where, number):
    """`words.output_note` in Korean."""
    return f"출력 {where}: 곱 {number}개" + ("(bias뿐)" if number == 0 else "")


def stamp_note(i, t, q, cropped):
    """`words.stamp_note` in Korean."""
    return f"입력 {i}의 탭 {t}: 캔버스 위치 {q}" + (", 잘려 나감" if cropped else "")


def more_inputs(count):
    """`words.more_inputs` in Korean."""
    return f"그 밖에 입력 {count}개"


def in_all(count):
    """`words.in_all` in Korean."""
    return f"… 모두 {count}개"


def phases_caption(steps):
    """`words.phases_caption` in Korean."""
    number = " × ".join(map(str, steps)) + f" = {prod(steps)}" * (len(steps) > 1)
    return (
        "캔버스 위치를 stride로 나눈 나머지에 따라 닿을 수 있는 탭이 정해집니다. "
        f"phase는 {number}개이고, 저마다 커널의 일부만 쓰는 일반 합성곱입니다."
    )


def phase(places, taps):
    """`words.phase` in Korean."""
    names = ("행", "열") if len(places) > 1 else ("위치",)
    return f"{residues(names, places, '모든')}: 탭 {' × '.join(map(str, taps))}개"


def more_phases(count, in_hues):
    """`words.more_phases` in Korean."""
    return f"… 그 밖에 {count:,}개{'(색은 행, 진하기는 열)' * in_hues}"


def phases_without_taps(empty, every):
    """`words.phases_without_taps` in Korean."""
    return f"phase {every:,}개 가운데 {empty:,}개는 탭이 없음: bias뿐"


def cut_words(*axes):
    """`words.cut_words` in Korean."""
    if max(max(axis.crop_lo, axis.crop_hi) for axis in axes) <= 0:
        return ""
    by = f"crop {', '.join(crops(*axes))}" if None in map(setting_of, axes) else by_padding(*axes)
    return f"{by}: 여기를 잘라 냅니다"


def kept_words(*axes):
    """`words.kept_words` in Korean."""
    return f"{by_output_padding(*axes)}: 여기를 남깁니다"


def beyond_words(op):
    """`words.beyond_words` in Korean."""
    return f"output_padding={op}: " * bool(op) + "점선 칸은 캔버스 밖이라 bias뿐입니다"


def weight_words(geometry):
    """`words.weight_words` in Korean."""
    per_in, per_out = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    reach = "모든 입력 채널이 모든 출력 채널과 연결됩니다."
    if geometry.groups > 1:
        reach = f"그룹마다 입력 채널 {per_in}개, 출력 채널 {per_out}개씩이고 같은 그룹끼리만 연결합니다."
    kernel = ", ".join(f"커널 {AXES[name]}" for name in NAMES[len(geometry.axes)])
    return [
        f"groups={geometry.groups}: {reach}",
        f"가중치 {geometry.weight_shape} = (in_channels, out_channels / groups, {kernel})",
        f"입력 채널이 맨 앞입니다. Conv{len(geometry.axes)}d의 가중치는 출력 채널이 맨 앞입니다.",
    ]


def stamping(input_at, value, position):
    """`words.stamping` in Korean."""
    if len(input_at) == 1:
        return f"입력 {input_at[0]}의 값은 {value}입니다.", f"{value} × 커널을 위치 {position[0]}부터 더합니다"
    (i, j), (row, column) = input_at, position
    return f"입력 ({i}, {j})의 값은 {value}입니다.", f"{value} × 커널을 {row}행 {column}열부터 더합니다"


def stamped(size):
    """`words.stamped` in Korean."""
    return "입력을 모두 찍었습니다.", f"캔버스 {size}"


def cutting(size, *axes):
    """`words.cutting` in Korean."""
    return f"{cut_words(*axes) or 'padding=0: 잘라 내지 않습니다'}.", f"출력 {size}"


def cutting_without(size, *axes):
    """`words.cutting_without` in Korean."""
    by = by_padding(*axes) if cut_words(*axes) else "padding=0"
    return f"{by}, output_padding=0일 때:", f"출력 {size}"


def keeping(size, *axes):
    """`words.keeping` in Korean."""
    return f"{kept_words(*axes)}.", f"출력 {size}"


def keeping_unseen(size, *axes):
    """`words.keeping_unseen` in Korean."""
    return f"{by_output_padding(*axes)}: 그리지 않은 끝을 더 남깁니다.", f"출력 {size}"


def going_beyond(size, *axes):
    """`words.going_beyond` in Korean."""
    return f"{by_output_padding(*axes)}: 캔버스 밖까지 나가, 그 자리는 bias뿐입니다.", f"출력 {size}"
