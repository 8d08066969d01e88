"""The size of one axis derived with the numbers filled in, in two readings, and what other sizes are near.

Both readings describe the same operation. The first is what happens: stamps are written on a canvas and padding cuts
it. The second is how the documentation says it: zeros are inserted, and an ordinary convolution runs.
"""

from typing import NamedTuple

from ..geometry import Axis
from ..inverse import Setting, nearest, reachable, setting_of, sizes_undone


def written(axis: Axis) -> list[str]:
    """The canvas and its cuts.

    >>> for line in written(Axis(4, 3, s=2, crop_lo=1, crop_hi=0)): print(line)
    full = (n - 1)*s + d*(k - 1) + 1 = (4 - 1)*2 + 1*(3 - 1) + 1 = 9
    crop_lo = padding = 1, crop_hi = padding - output_padding = 1 - 1 = 0
    out = full - crop_lo - crop_hi = 9 - 1 - 0 = 8
    """
    n, k, s, d = axis.n, axis.k, axis.s, axis.d
    lo, hi = _signed(axis.crop_lo), _signed(axis.crop_hi)
    return [
        f"full = (n - 1)*s + d*(k - 1) + 1 = ({n} - 1)*{s} + {d}*({k} - 1) + 1 = {axis.full}",
        _crops(axis),
        f"out = full - crop_lo - crop_hi = {axis.full} - {lo} - {hi} = {axis.out}",
    ]


def documented(axis: Axis) -> list[str]:
    """The zeros and the ordinary convolution.

    >>> for line in documented(Axis(4, 3, s=2, crop_lo=1, crop_hi=0)): print(line)
    s - 1 = 1 zero between inputs: (n - 1)*s + 1 = (4 - 1)*2 + 1 = 7 values
    d*(k - 1) - padding = 1*(3 - 1) - 1 = 1 zero before
    d*(k - 1) - padding + output_padding = 1*(3 - 1) - 1 + 1 = 2 zeros after
    7 + 1 + 2 = 10 values in all
    an ordinary convolution with the kernel turned round: 10 - d*(k - 1) = 10 - 2 = 8 outputs
    """
    sums, (before, after) = inserted_sums(axis), inserted_zeros(axis)
    return [
        f"s - 1 = {_zeros(axis.s - 1)} between inputs: {sums.spread} = {_values(sums.length - before - after)}",
        f"{sums.before} = {_zeros(before, 'before')}",
        f"{sums.after} = {_zeros(after, 'after')}",
        f"{sums.total} = {_values(sums.length)} in all",
        f"an ordinary convolution with the kernel turned round: {sums.out} = {axis.out} output{'s' * (axis.out > 1)}",
    ]


class Sums(NamedTuple):
    """The sums of the documentation's reading, written out up to their results, and how many values it convolves."""

    spread: str
    before: str
    after: str
    total: str
    out: str
    length: int


def inserted_sums(axis: Axis) -> Sums:
    """What every language writes of the zeros and the ordinary convolution.

    >>> inserted_sums(Axis(4, 3, s=2, crop_lo=1, crop_hi=0)).before
    'd*(k - 1) - padding = 1*(3 - 1) - 1'
    """
    n, k, s, d = axis.n, axis.k, axis.s, axis.d
    spread, reach, plain = (n - 1) * s + 1, f"{d}*({k} - 1)", setting_of(axis)
    before, after = inserted_zeros(axis)
    length = spread + before + after
    if plain is None:
        lo, hi = f"crop_lo = {reach} - {_signed(axis.crop_lo)}", f"crop_hi = {reach} - {_signed(axis.crop_hi)}"
    else:
        lo, hi = f"padding = {reach} - {plain.p}", f"padding + output_padding = {reach} - {plain.p} + {plain.op}"
    return Sums(
        f"(n - 1)*s + 1 = ({n} - 1)*{s} + 1",
        f"d*(k - 1) - {lo}",
        f"d*(k - 1) - {hi}",
        f"{spread} + {_signed(before)} + {_signed(after)}",
        f"{length} - d*(k - 1) = {length} - {d * (k - 1)}",
        length,
    )


def inserted_zeros(axis: Axis) -> tuple[int, int]:
    """How many zeros the documentation puts before and after the spread input; negative means values are removed.

    >>> inserted_zeros(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    (1, 2)
    """
    reach = axis.d * (axis.k - 1)
    return reach - axis.crop_lo, reach - axis.crop_hi


def ambiguity(axis: Axis) -> list[str]:
    """Why this size and not its neighbour: what output_padding chooses between, and the settings for the neighbours.

    >>> for line in ambiguity(Axis(16, 3, s=2, crop_lo=1, crop_hi=1)): print(line)
    Conv2d(kernel_size=3, stride=2, padding=1) turns 31 and 32 alike into 16, so 16 alone cannot say which to give back.
    output_padding says it: output_padding=0 gives 31, output_padding=1 gives 32.
    It adds no zeros to the output: it keeps more of the canvas at its end.
    To get 30 instead: kernel_size=3, stride=2, padding=2, output_padding=1.
    To get 32 instead: kernel_size=3, stride=2, padding=1, output_padding=1.
    """
    setting = setting_of(axis)
    if setting is None:
        return _beyond_torch(axis)
    lines = [_undone(setting, axis.n), *_chosen(setting, axis.n), *_kept(axis, setting)]
    return lines + [f"To get {wanted} instead: {other.arguments()}." for wanted, other in neighbours(axis)]


def neighbours(axis: Axis) -> list[tuple[int, Setting]]:
    """The sizes one below and one above, and the nearest setting for each; none for an axis that PyTorch cannot say.

    >>> neighbours(Axis(16, 3, s=2, crop_lo=1, crop_hi=1))[1]
    (32, Setting(k=3, s=2, p=1, op=1, d=1))
    """
    setting = setting_of(axis)
    wanted = (axis.out - 1, axis.out + 1) if setting else ()
    found = ((size, nearest(setting, axis.n, size)) for size in wanted)
    return [(size, other) for size, other in found if other]


def listed(values) -> str:
    """Numbers as words join them; a long run by its ends.

    >>> listed([31, 32]), listed(range(7, 12)), listed([5])
    ('31 and 32', '7 to 11', '5')
    """
    if len(values) > 3:
        return f"{values[0]} to {values[-1]}"
    return " and ".join([", ".join(map(str, values[:-1]))] * (len(values) > 1) + [str(values[-1])])


def _undone(setting, n):
    sizes = sizes_undone(setting, n)
    conv = f"Conv2d({Setting(setting.k, setting.s, setting.p, 0, setting.d).arguments()})"
    if not sizes:
        return f"{conv} turns no size into {n}."
    if len(sizes) == 1:
        # Dilation allows output_padding too, and with it other sizes.
        only = ": this layer can give back only that one" if max(setting.s, setting.d) == 1 else ""
        return f"{conv} turns {sizes[0]} into {n}, and no other size{only}."
    return f"{conv} turns {listed(sizes)} alike into {n}, so {n} alone cannot say which to give back."


def _chosen(setting, n):
    sizes = reachable(setting, n)
    largest = max(setting.s, setting.d) - 1
    if largest == 0:
        return ["output_padding must stay 0 here, since it has to be below max(stride, dilation) = 1."]
    dropped = largest + 1 - len(sizes)
    shown = range(len(sizes)) if len(sizes) <= 4 else (0, 1, len(sizes) - 1)
    options = [f"output_padding={dropped + place} gives {sizes[place]}" for place in shown]
    if len(sizes) > 4:
        options.insert(2, "...")
    return [f"output_padding says it: {', '.join(options)}."] if options else []


def _kept(axis, setting):
    """What output_padding adds: canvas that was cut, and beyond its end nothing but the bias."""
    if max(setting.s, setting.d) == 1:
        return []
    beyond = beyond_canvas(axis)
    if not beyond:
        return ["It adds no zeros to the output: it keeps more of the canvas at its end."]
    last = "the last output lies" if beyond == 1 else f"the last {beyond} outputs lie"
    return [f"It keeps more of the canvas at its end, and here more than there is: {last} beyond it, bias alone."]


def beyond_canvas(axis: Axis) -> int:
    """How many outputs lie beyond the canvas's end.

    >>> beyond_canvas(Axis(4, 3, s=2, crop_lo=0, crop_hi=-1))
    1
    """
    return max(0, min(axis.out, -axis.crop_hi))


def same_size(axis: Axis) -> Setting:
    """The nearest PyTorch setting for the size of an axis that PyTorch cannot say.

    >>> same_size(Axis(4, 3, s=2, crop_lo=0, crop_hi=2))
    Setting(k=3, s=2, p=1, op=0, d=1)
    """
    return nearest(setting_of(Axis(axis.n, axis.k, axis.s, axis.d)), axis.n, axis.out)


def _beyond_torch(axis):
    return [
        f"PyTorch cannot say crops of {axis.crop_lo} and {axis.crop_hi}: it needs 0 <= crop_lo - crop_hi < "
        f"max(stride, dilation) = {max(axis.s, axis.d)} and crop_lo >= 0.",
        f"It reaches the same size, with other places, by {same_size(axis).arguments()}.",
    ]


def _crops(axis):
    setting = setting_of(axis)
    if setting is None:
        return f"crop_lo = {axis.crop_lo}, crop_hi = {axis.crop_hi} (which PyTorch cannot say)"
    hi = f"{setting.p} - {setting.op} = {axis.crop_hi}"
    return f"crop_lo = padding = {setting.p}, crop_hi = padding - output_padding = {hi}"


def _zeros(count, where=""):
    if count < 0:
        return f"{count}: {-count} value{'s' * (count < -1)} removed {where}".rstrip()
    return f"{count} zero{'s' * (count != 1)} {where}".rstrip()


def _values(count):
    return f"{count} value{'s' * (count != 1)}"


def _signed(value):
    return f"({value})" if value < 0 else str(value)
