"""The inverse question: which settings turn n inputs into a wanted number of outputs.

Everything here is about *sizes*. A transposed convolution gives back the size that a Conv2d took away; it does not give
back the values.

PyTorch's rules hold throughout: k, s, d >= 1, p >= 0, 0 <= op < max(s, d), at least one output. Once n, k, s, d and op
are chosen there is at most one padding that gives the wanted size, so the search is over four small ranges and complete
within them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import islice, product
from math import gcd, prod

from .errors import SettingError
from .geometry import Axis, ceil_div, output_length

MAX_DILATION = 4
LARGEST_BOUND = 40
# To look at so many, and to rank so many, takes less than a second.
MOST_COMBINATIONS, MOST_FOUND = 300_000, 10_000
NEAR, NAMED = 3, 3


@dataclass(frozen=True, slots=True)
class Setting:
    """PyTorch's five numbers on one axis: kernel, stride, padding, output_padding, dilation.

    >>> Setting(k=3, s=2, p=1, op=1).axis(4).out
    8
    """

    k: int
    s: int = 1
    p: int = 0
    op: int = 0
    d: int = 1

    def axis(self, n: int) -> Axis:
        """The geometry of this setting for n inputs; SettingError when it leaves no output."""
        return Axis(n, self.k, self.s, self.d, self.p, self.p - self.op)

    def arguments(self) -> str:
        """The setting as keyword arguments of PyTorch's layer, without those that are the default.

        >>> Setting(k=4, s=2, p=1).arguments()
        'kernel_size=4, stride=2, padding=1'
        """
        names = ("kernel_size", "stride", "padding", "output_padding", "dilation")
        values = zip(names, astuple(self), (None, 1, 0, 0, 1), strict=True)
        return ", ".join(f"{name}={value}" for name, value, default in values if value != default)


def setting_of(axis: Axis) -> Setting | None:
    """The PyTorch setting that is this axis, or None where PyTorch cannot say it.

    >>> setting_of(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    Setting(k=3, s=2, p=1, op=1, d=1)
    >>> setting_of(Axis(4, 4, s=2, crop_lo=0, crop_hi=2)) is None
    True
    """
    p, op = axis.crop_lo, axis.crop_lo - axis.crop_hi
    valid = p >= 0 and 0 <= op < max(axis.s, axis.d)
    return Setting(axis.k, axis.s, p, op, axis.d) if valid else None


def settings(
    n: int,
    out: int,
    *,
    k: int | None = None,
    s: int | None = None,
    p: int | None = None,
    op: int | None = None,
    d: int | None = None,
    max_kernel: int | None = None,
    max_stride: int | None = None,
    max_dilation: int | None = None,
    max_padding: int | None = None,
) -> list[Setting]:
    """Every PyTorch setting within the bounds that turns n inputs into `out` outputs, best first.

    The order: settings that use every input and leave no output to the bias alone before those that waste; even overlap
    before uneven; no dilation before dilation; fewer useful multiply-adds; the simplest (smaller op, d, s, k, p).

    Args:
        n, out: inputs and outputs of one axis.
        k, s, p, op, d: kernel, stride, padding, output_padding and dilation, where they are given; no bound holds for
            what is given.
        max_kernel, max_stride, max_dilation, max_padding: bounds; those left out come from `search_bounds`.

    Returns:
        list of Setting; empty where there is none.

    Raises:
        SettingError: for a number that no layer has, and where there are more than MOST_FOUND settings.

    >>> settings(17, 32)[0]
    Setting(k=2, s=2, p=1, op=0, d=1)
    >>> settings(17, 32, k=3)[0]
    Setting(k=3, s=2, p=2, op=1, d=1)
    >>> settings(4, 9, k=3, s=2, max_dilation=1)
    [Setting(k=3, s=2, p=0, op=0, d=1)]
    """
    options = {"k": k, "s": s, "p": p, "op": op, "d": d, "max_padding": max_padding}
    options |= {"max_kernel": max_kernel, "max_stride": max_stride, "max_dilation": max_dilation}
    return sorted(_found(n, out, **options), key=lambda setting: rank(setting, n))


def _found(
    n,
    out,
    *,
    k=None,
    s=None,
    p=None,
    op=None,
    d=None,
    max_kernel=None,
    max_stride=None,
    max_dilation=None,
    max_padding=None,
):
    """`settings` in no order."""
    bounds = search_bounds(n, out, max_kernel, max_stride, max_dilation)
    if max_padding is not None and max_padding < 0:
        raise SettingError(f"max_padding is {max_padding}; it must be at least 0")
    fixed = _check_fixed(k=k, s=s, p=p, op=op, d=d)

    def within(fixed):
        found = _candidates(n, out, fixed, bounds)
        return (each for each in found if max_padding is None or p is not None or each.p <= max_padding)

    some = list(islice(within(fixed), MOST_FOUND + 1))
    if len(some) > MOST_FOUND:
        best = _first(within((*fixed[:4], fixed[4] or 1)), n)
        named = "; ".join(f"({each.arguments()})" for each in best)
        named = f", the best of them {named}" if best else ""
        raise SettingError(
            f"more than {MOST_FOUND:,} settings turn {n} into {out}{named}: give the kernel or the stride, or lower "
            "the bounds"
        )
    return some


def _first(found, n):
    """The first NAMED in the order of `settings`, of those that have the least dilation that may be had.

    Of too many to rank only those are ranked that are first where they are good: of even overlap, without waste. Empty
    where there are none, or too many of them.
    """
    even = list(islice((each for each in found if gcd(each.s, each.d) == 1 and each.k % each.s == 0), MOST_FOUND + 1))
    if len(even) > MOST_FOUND:
        return []
    return sorted((each for each in even if not is_wasteful(each, n)), key=lambda each: rank(each, n))[:NAMED]


def common_settings(sizes: Iterable[tuple[int, int]], **options: int | None) -> list[Setting]:
    """The settings that do every (n, out) of `sizes`, for one number on both axes; the cost is that of all axes.

    Args:
        sizes: pairs of inputs and outputs, one at least.
        options: numbers and bounds, as of `settings`.

    Returns:
        list of Setting, best first.

    Raises:
        SettingError: as `settings` does.

    >>> common_settings([(17, 32), (23, 44)], max_kernel=4)[0]
    Setting(k=2, s=2, p=1, op=0, d=1)
    """
    first, *others = ((n, out, set(_found(n, out, **options))) for n, out in dict.fromkeys(sizes))
    shared = first[2].intersection(*(found for _, _, found in others))
    axes = [first[0], *(n for n, _, _ in others)]
    return sorted(shared, key=lambda setting: _rank_all(setting, axes))


def search_bounds(
    n: int, out: int, max_kernel: int | None = None, max_stride: int | None = None, max_dilation: int | None = None
) -> tuple[int, int, int]:
    """The largest kernel, stride and dilation searched; those not given suit the enlargement that is asked for.

    >>> search_bounds(17, 32), search_bounds(4, 128, max_kernel=32)
    ((11, 8, 4), (32, 32, 4))
    """
    for value, name in (
        (n, "input size"),
        (out, "output size"),
        (max_kernel, "max_kernel"),
        (max_stride, "max_stride"),
        (max_dilation, "max_dilation"),
    ):
        if value is not None and value < 1:
            raise SettingError(f"{name} is {value}; it must be at least 1")
    ratio = min(ceil_div(out, n), LARGEST_BOUND)
    kernel = min(max(11, 2 * ratio), LARGEST_BOUND)
    return max_kernel or kernel, max_stride or max(8, ratio), max_dilation or MAX_DILATION


def rank(setting: Setting, n: int) -> tuple[float, ...]:
    """The key by which settings are ordered: smaller is better.

    >>> rank(Setting(k=4, s=2, p=1), 4) < rank(Setting(k=3, s=2, p=1, op=1), 4)
    True
    """
    return _rank_all(setting, [n])


def _rank_all(setting: Setting, sizes: Iterable[int]) -> tuple[float, ...]:
    axes = [setting.axis(n) for n in sizes]
    cost = prod(useful_taps(axis) for axis in axes)
    wasteful = any(is_wasteful(setting, n) for n in sizes)
    # Dilation makes the sum smaller only by pushing taps over the borders, so it must not win by that.
    simplicity = setting.op, setting.d, setting.s, setting.k, setting.p
    return wasteful, not axes[0].even_overlap, setting.d > 1, cost, *simplicity


def is_wasteful(setting: Setting, n: int) -> bool:
    """True if some input reaches no output, or some output receives the bias alone whatever the weights.

    >>> is_wasteful(Setting(k=3, s=3, p=10, op=1), 17), is_wasteful(Setting(k=3, s=2, p=2, op=1), 17)
    (True, False)
    """
    axis = setting.axis(n)
    return dead_outputs(axis) > 0 or ignored_inputs(axis) > 0


def useful_taps(axis: Axis) -> int:
    """Products that reach an output, for one pair of channels.

    >>> useful_taps(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    11
    """
    return axis.pairs


def dead_outputs(axis: Axis) -> int:
    """How many outputs receive no product at all, only the bias; counted without visiting them.

    >>> dead_outputs(Axis(4, 2, s=3)), dead_outputs(Axis(8, 2, s=2, d=3)), dead_outputs(Axis(1, 4, s=8))
    (3, 2, 0)
    """
    lo = axis.crop_lo
    return axis.out - reached_positions((axis.n, axis.s), (axis.k, axis.d), lo, lo + axis.out)


def reached_positions(inputs: tuple[int, int], taps: tuple[int, int], lo: int, hi: int) -> int:
    """How many of the canvas positions lo..hi - 1 some input reaches through some tap; each a (number, spacing).

    >>> reached_positions((4, 3), (2, 1), 0, 11)
    8
    """
    # Inputs and taps play the same part in i*s + t*d; the sum is over the fewer classes.
    common = gcd(inputs[1], taps[1])
    (n, s), (k, d) = sorted((inputs, taps), key=lambda run: min(inputs[0] + taps[0] - run[0], run[1] // common))
    classes, back = s // common, d // common
    total = 0
    for first in range(min(k, classes)):
        shape = n, ceil_div(k - first, classes), back
        begin, end = (ceil_div(q - first * d, s) for q in (lo, hi))
        total += _runs_below(end, *shape) - _runs_below(begin, *shape)
    return total


def _runs_below(x, n, runs, back):
    """How many numbers below x lie in one of the runs m*back, ..., m*back + n - 1 for m below `runs`."""
    if back <= n:
        return min(max(x, 0), (runs - 1) * back + n)
    m, rest = divmod(max(x, 0), back)
    return m * n + min(rest, n) if m < runs else runs * n


def ignored_inputs(axis: Axis) -> int:
    """How many inputs reach no output at all: padding has removed their whole stamp.

    >>> ignored_inputs(Axis(4, 2, s=2, crop_lo=2, crop_hi=1))
    1
    """
    # Inputs and taps play the same part.
    exchanged = Axis(axis.k, axis.n, axis.d, axis.s, axis.crop_lo, axis.crop_hi)
    return axis.n - exchanged.live_taps


def live_taps(axis: Axis) -> int:
    """How many taps carry some input into the output.

    >>> live_taps(Axis(1, 4, crop_lo=1, crop_hi=1))
    2
    """
    return axis.live_taps


def reachable(setting: Setting, n: int) -> range:
    """The output sizes for output_padding 0, 1, ..., max(s, d) - 1, all else equal; empty where none is positive.

    >>> reachable(Setting(k=3, s=2, p=1), 4)
    range(7, 9)
    """
    smallest = _smallest_output(setting, n)
    return range(max(1, smallest), max(1, smallest + max(setting.s, setting.d)))


def sizes_undone(setting: Setting, n: int) -> range:
    """The input sizes that Conv2d with the same k, s, p, d turns into n: sizes are undone, not values.

    There are s of them (fewer where a size would be below 1), which is why a transposed convolution needs to be told
    which one to give back.

    >>> sizes_undone(Setting(k=3, s=2, p=1), 16)
    range(31, 33)
    """
    smallest = _smallest_output(setting, n)
    return range(max(1, smallest), max(1, smallest + setting.s))


def nearest(setting: Setting, n: int, out: int) -> Setting | None:
    """A setting close to the given one that turns n inputs into `out` outputs; None if out or n is below 1.

    First padding and output_padding alone may change, since then the weight keeps its shape and the outputs their
    spacing; then the kernel; then stride and dilation.

    Args:
        setting: the one given.
        n, out: inputs and outputs of the axis.

    >>> nearest(Setting(k=3, s=2, p=1), 16, 32)
    Setting(k=3, s=2, p=1, op=1, d=1)
    >>> nearest(Setting(k=3, s=1), 4, 7)
    Setting(k=4, s=1, p=0, op=0, d=1)
    """
    if n < 1 or out < 1:
        return None
    shape = setting.k, setting.s, setting.d
    given = [(value,) for value in shape]
    near = [range(max(1, value - NEAR), value + NEAR + 1) for value in shape]
    for choices in (given, [near[0], *given[1:]], near):
        found = (other for shape in product(*choices) for other in _completed(setting, shape, n, out))
        closest = min(found, key=lambda other: _distance(setting, other), default=None)
        if closest is not None:
            return closest
    return _plainest(n, out)


def _completed(setting, shape, n, out):
    """For a kernel, stride and dilation, the paddings that give the size and may be closest to those of the setting."""
    k, s, d = shape
    surplus = output_length(n, k, s, d) - out
    # The distance is convex in output_padding, with corners where either padding agrees with the setting or a bound.
    corners = {0, setting.op, -surplus, 2 * setting.p - surplus, max(s, d) - 1}
    for op in {corner + step for corner in corners for step in (-1, 0, 1)}:
        p, odd = divmod(surplus + op, 2)
        if not odd and p >= 0 and 0 <= op < max(s, d):
            yield Setting(k, s, p, op, d)


def _plainest(n, out):
    """Stamps side by side, cut to the size; with a stride of 1 an odd excess needs one more tap."""
    s = ceil_div(out, n)
    excess = n * s - out
    if s == 1:
        return Setting(1 + excess % 2, 1, ceil_div(excess, 2))
    return Setting(s, s, ceil_div(excess, 2), excess % 2)


def _distance(setting, other):
    free = abs(setting.p - other.p) + abs(setting.op - other.op)
    costly = abs(setting.k - other.k) + abs(setting.s - other.s) + abs(setting.d - other.d)
    return free + 2 * costly, setting.s != other.s, setting.k != other.k, other.op, other.p


def _smallest_output(setting, n):
    return output_length(n, setting.k, setting.s, setting.d, setting.p, setting.p)


def _candidates(n, out, fixed, bounds) -> Iterator[Setting]:
    k_fixed, s_fixed, p_fixed, op_fixed, d_fixed = fixed
    max_kernel, max_stride, max_dilation = bounds
    largest_step = max(s_fixed or max_stride, d_fixed or max_dilation)
    combinations = prod(
        1 if given else bound
        for given, bound in (
            (k_fixed, max_kernel),
            (s_fixed, max_stride),
            (d_fixed, max_dilation),
            (None, largest_step),
        )
    )
    if combinations > MOST_COMBINATIONS:
        raise SettingError(
            f"{combinations:,} combinations are too many to search; give the kernel or the stride, or lower the bounds "
            f"(kernel {max_kernel}, stride {max_stride}, dilation {max_dilation})"
        )
    for s in _choices(s_fixed, 1, max_stride):
        for d in _choices(d_fixed, 1, max_dilation):
            for k in _choices(k_fixed, 1, max_kernel):
                surplus = output_length(n, k, s, d) - out
                for op in _choices(op_fixed, 0, max(s, d) - 1):
                    p, odd = divmod(surplus + op, 2)
                    if not odd and p >= 0 and op < max(s, d) and p_fixed in (None, p):
                        yield Setting(k, s, p, op, d)


def _choices(fixed, smallest, largest):
    return range(smallest, largest + 1) if fixed is None else (fixed,)


def _check_fixed(k=None, s=None, p=None, op=None, d=None):
    for value, name, least in (
        (k, "kernel", 1),
        (s, "stride", 1),
        (p, "padding", 0),
        (op, "output_padding", 0),
        (d, "dilation", 1),
    ):
        if value is not None and value < least:
            raise SettingError(f"{name} is {value}; it must be at least {least}")
    return k, s, p, op, d
