"""One geometry with signed crops: the integers from which everything else follows.

On each axis, n inputs are spread s apart, every input is stamped with k taps d apart, and the canvas of

    full = (n - 1)*s + d*(k - 1) + 1

values is cut by `crop_lo` at its beginning and `crop_hi` at its end. A negative crop extends the canvas instead:
outputs there receive the bias only. Every framework's padding is a translation into these two crops (see
`conventions`); no algorithm knows of conventions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import gcd, isqrt

from .errors import SettingError

# Steps and crops beyond this have no memory to lie in, and their products with strides no 64-bit integer.
LARGEST = 2**40
AXES = ("height", "width")
# What the axes of a map are called, by how many there are.
NAMES = {1: ("length",), 2: AXES, 3: ("depth", *AXES)}


def output_length(n: int, k: int, s: int = 1, d: int = 1, crop_lo: int = 0, crop_hi: int = 0) -> int:
    """Number of outputs on one axis; plain arithmetic, so symbolic integers may be passed.

    >>> output_length(4, 3, s=2, crop_lo=1, crop_hi=0)
    8
    """
    return (n - 1) * s + d * (k - 1) + 1 - crop_lo - crop_hi


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a transposed convolution: n inputs, k taps, stride s, dilation d, two signed crops.

    Output `o` receives input `i` through tap `t` exactly when ``o == i*s + t*d - crop_lo``.

    Attributes:
        out: number of outputs; kept, since every count of a plan begins with it.

    Raises:
        SettingError: when n, k, s or d is below 1, or when nothing is left after the crops.

    >>> Axis(n=4, k=3, s=2, crop_lo=1, crop_hi=0).out
    8
    """

    n: int
    k: int
    s: int = 1
    d: int = 1
    crop_lo: int = 0
    crop_hi: int = 0
    out: int = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        n, k, s, d = self.n, self.k, self.s, self.d
        if n < 1 or k < 1 or s < 1 or d < 1:
            named = ((n, "input size"), (k, "kernel"), (s, "stride"), (d, "dilation"))
            value, name = next((value, name) for value, name in named if value < 1)
            raise SettingError(f"{name} is {value}; it must be at least 1")
        made = output_length(n, k, s, d, self.crop_lo, self.crop_hi)
        object.__setattr__(self, "out", made)
        # Most of what is kept is kept by axes.
        object.__setattr__(self, "_hash", hash((n, k, s, d, self.crop_lo, self.crop_hi)))
        if made < 1:
            raise SettingError(
                f"the output size would be {self.out}: the canvas has a size of {self.full}, of which padding cuts "
                f"({self.crop_lo}, {self.crop_hi}); it may cut at most {self.full - 1} in all"
            )

    def __hash__(self) -> int:
        return self._hash

    @property
    def k_eff(self) -> int:
        """Extent of the dilated kernel: d*(k - 1) + 1."""
        return self.d * (self.k - 1) + 1

    @property
    def full(self) -> int:
        """Length of the canvas before the crops."""
        return output_length(self.n, self.k, self.s, self.d)

    @property
    def g(self) -> int:
        """gcd(s, d). Residues of the output position that it does not divide have no taps at all."""
        return gcd(self.s, self.d)

    @property
    def even_overlap(self) -> bool:
        """True if every output away from the borders receives the same number of taps."""
        return self.g == 1 and self.k % self.s == 0

    def computable(self) -> Axis:
        """The axis to compute with: a huge step that is never taken, for one input or one tap, becomes 1.

        Raises:
            SettingError: for steps that are taken and crops beyond what memory can hold.

        >>> Axis(n=1, k=3, s=2**62).computable()
        Axis(n=1, k=3, s=1, d=1, crop_lo=0, crop_hi=0)
        """
        largest = max(self.s, self.d, abs(self.crop_lo), abs(self.crop_hi))
        if largest <= LARGEST:
            return self
        s = 1 if self.n == 1 and self.s > LARGEST else self.s
        d = 1 if self.k == 1 and self.d > LARGEST else self.d
        for value, name in ((s, "stride"), (d, "dilation"), (self.crop_lo, "padding"), (self.crop_hi, "padding")):
            if abs(value) > LARGEST:
                raise SettingError(f"{name} is {value}; what is computed reaches at most {LARGEST} (2**40) places far")
        return replace(self, s=s, d=d)

    def tap_range(self, t: int) -> tuple[int, int]:
        """Inputs (start, stop) whose tap t lands inside the output; empty when start >= stop."""
        start = max(0, ceil_div(self.crop_lo - t * self.d, self.s))
        stop = min(self.n, ceil_div(self.crop_lo + self.out - t * self.d, self.s))
        return start, stop

    def meeting(self, t: int) -> tuple[int, int, int]:
        """(first input, first output, how many) of the pairs that meet through tap t, n to n + 1 and o to o + s."""
        start, stop = self.tap_range(t)
        return start, start * self.s + t * self.d - self.crop_lo, max(0, stop - start)

    @property
    def pairs(self) -> int:
        """How many (input, tap) pairs reach the output, counted without visiting them: sum(tap_counts).

        >>> Axis(4, 3, s=2, crop_lo=1).pairs, Axis(10**9, 3, s=2).pairs
        (11, 3000000000)
        """
        lo = self.crop_lo
        return self._pairs_below(lo + self.out) - self._pairs_below(lo)

    def _pairs_below(self, q: int) -> int:
        """How many (input, tap) pairs lie at canvas positions below q."""
        taps = min(self.k, max(0, ceil_div(q, self.d)))
        # The first taps carry all inputs below q, each of the others fewer than the one before it.
        whole = min(max((q - 1 - (self.n - 1) * self.s) // self.d + 1, 0), taps)
        rest = taps - whole
        return whole * self.n + rest + _floor_sum(rest, self.d, q - 1 - (taps - 1) * self.d, self.s)

    @property
    def live_taps(self) -> int:
        """How many taps carry some input into the output.

        >>> Axis(1, 4, crop_lo=1, crop_hi=1).live_taps
        2
        """
        if self.out < self.s:
            # No tap carries two inputs into so short an output.
            return self.pairs
        # An output as long as the stride is never stepped over, so only the ends of a tap's run matter.
        first = max(0, ceil_div(self.crop_lo - (self.n - 1) * self.s, self.d))
        return max(0, min(self.k, ceil_div(self.crop_lo + self.out, self.d)) - first)

    @property
    def tap_counts(self) -> list[int]:
        """For each tap, how many inputs it carries into the output; 0 is a dead tap."""
        ranges = (self.tap_range(t) for t in range(self.k))
        return [max(0, stop - start) for start, stop in ranges]

    def window(self, lo: int, hi: int) -> tuple[int, Axis]:
        """(first input, Axis) of the layer that makes outputs lo..hi - 1 alone, from the inputs that reach them.

        >>> Axis(n=8, k=4, s=2, crop_lo=1, crop_hi=1).window(4, 8)
        (1, Axis(n=4, k=4, s=2, d=1, crop_lo=3, crop_hi=3))
        """
        first = min(max(0, ceil_div(lo + self.crop_lo - self.d * (self.k - 1), self.s)), self.n - 1)
        last = max(min((hi - 1 + self.crop_lo) // self.s, self.n - 1), first)
        return first, self._part(first, last + 1, lo, hi)

    def input_window(self, lo: int, hi: int) -> tuple[int, Axis]:
        """(first output, Axis) of the layer that has inputs lo..hi - 1 alone, and the outputs that they reach."""
        first = min(max(0, lo * self.s - self.crop_lo), self.out - 1)
        last = max(min((hi - 1) * self.s + self.d * (self.k - 1) - self.crop_lo, self.out - 1), first)
        return first, self._part(lo, hi, first, last + 1)

    def _part(self, in_lo: int, in_hi: int, out_lo: int, out_hi: int) -> Axis:
        crop_lo = self.crop_lo + out_lo - in_lo * self.s
        full = output_length(in_hi - in_lo, self.k, self.s, self.d)
        return _axis(in_hi - in_lo, self.k, self.s, self.d, crop_lo, full - crop_lo - (out_hi - out_lo))


# The same object for the same part of an axis: what is kept by axes is found without comparing them.
_axis = lru_cache(maxsize=512)(Axis)


@dataclass(frozen=True, slots=True)
class Geometry:
    """A whole transposed 2-D convolution: batch n, channels, groups and the two axes (height first).

    Raises:
        SettingError: for channels or groups below 1, a negative batch, or channels that groups does not divide.

    >>> g = Geometry(n=1, c_in=8, c_out=4, groups=2, h=Axis(5, 3, 2), w=Axis(6, 3, 2))
    >>> g.input_shape, g.weight_shape, g.output_shape
    ((1, 8, 5, 6), (8, 2, 3, 3), (1, 4, 11, 13))
    """

    n: int
    c_in: int
    c_out: int
    groups: int
    h: Axis
    w: Axis

    def __post_init__(self) -> None:
        check_batch(self.n)
        check_channels(self.c_in, self.c_out, self.groups)

    def _repr_svg_(self):
        from .explain.notebook import svg_of

        return svg_of(self)

    def _repr_html_(self, text=None):
        from .explain.notebook import html_of

        return html_of(self, text)

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """(height, width)."""
        return self.h, self.w

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.n, self.c_in, self.h.n, self.w.n

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.c_in, self.c_out // self.groups, self.h.k, self.w.k

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.n, self.c_out, self.h.out, self.w.out

    @property
    def pixels(self) -> int:
        """Pixels of the input, those of all images."""
        return self.n * self.h.n * self.w.n

    @property
    def macs(self) -> int:
        """Useful multiply-adds: those that reach an output that is kept. Twice this is the number of FLOPs."""
        return self.n * self.c_out * (self.c_in // self.groups) * self.h.pairs * self.w.pairs

    @property
    def live_weights(self) -> int:
        """Number of weights that can reach an output (a 1x1 input under k4 p1 uses 4 of 16 taps)."""
        return self.c_in * (self.c_out // self.groups) * self.h.live_taps * self.w.live_taps

    def elements(self) -> int:
        """Elements that must move at least once: input, live weights, output."""
        size_in = self.n * self.c_in * self.h.n * self.w.n
        size_out = self.n * self.c_out * self.h.out * self.w.out
        return size_in + self.live_weights + size_out


def check_batch(n: int) -> None:
    """Refuse a batch that no map can have."""
    if n < 0:
        raise SettingError(f"the batch size is {n}; it must be at least 0")


def check_channels(c_in: int, c_out: int, groups: int) -> None:
    """Refuse channels or groups that no transposed convolution can have."""
    if groups > 0 < min(c_in, c_out) and not c_in % groups and not c_out % groups:
        return
    if groups < 1:
        raise SettingError(f"groups is {groups}; it must be at least 1")
    for channels, name in ((c_in, "in_channels"), (c_out, "out_channels")):
        if channels < 1:
            raise SettingError(f"{name} is {channels}; it must be at least 1")
    for channels, name in ((c_in, "in_channels"), (c_out, "out_channels")):
        if channels % groups:
            divisor = _divisor_below(groups, gcd(c_in, c_out))
            raise SettingError(f"{name} is {channels}, which groups={groups} does not divide; groups={divisor} would")


def _divisor_below(bound: int, value: int) -> int:
    """The largest divisor of value below the bound, from 2; among huge values it is only one that is found quickly."""
    small = [d for d in range(1, min(isqrt(value), 1 << 16) + 1) if value % d == 0]
    return max(d for d in (*small, *(value // d for d in small)) if d < bound)


def _floor_sum(count: int, a: int, b: int, m: int) -> int:
    """The sum of ``(a*i + b) // m`` for i below `count`, in as many steps as Euclid's algorithm takes."""
    total = 0
    while count:
        total += count * (count - 1) // 2 * (a // m) + count * (b // m)
        count, b = divmod(a % m * count + b % m, m)
        m, a = a % m, m
    return total


def ceil_div(a: int, b: int) -> int:
    """The smallest integer not below a / b, for b > 0."""
    return -(-a // b)
