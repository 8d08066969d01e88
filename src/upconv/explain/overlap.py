"""How many products each output receives, and what that says about checkerboards.

The counts of the two axes multiply: an output in row a and column b receives ``counts(h)[a] * counts(w)[b]`` products
for each pair of connected channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from ..geometry import Axis, ceil_div
from ..inverse import Setting, dead_outputs, reached_positions

EVEN, UNEVEN, HOLES = "even", "uneven", "holes"
# Where no rule decides, so many outputs are counted; so many residues are sorted.
COUNTED, SORTED = 10_000, 10_000


def counts(axis: Axis, outputs: range | None = None) -> list[int]:
    """For each output, or each of those given, the number of (input, tap) pairs that reach it.

    >>> counts(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    [1, 2, 1, 2, 1, 2, 1, 1]
    """
    return [len(meeting_taps(axis, o)) for o in (range(axis.out) if outputs is None else outputs)]


def pairs(axis: Axis, output: int, limit: int | None = None) -> list[tuple[int, int]]:
    """The (input, tap) pairs that reach one output, by rising tap; at most `limit` of them.

    >>> pairs(Axis(4, 3, s=2, crop_lo=1, crop_hi=0), 1)
    [(1, 0), (0, 2)]
    """
    position = output + axis.crop_lo
    return [((position - t * axis.d) // axis.s, t) for t in meeting_taps(axis, output)[:limit]]


def meeting_taps(axis: Axis, output: int) -> range:
    """The taps through which some input reaches the output.

    >>> meeting_taps(Axis(4, 3, s=2, crop_lo=1, crop_hi=0), 1)
    range(0, 3, 2)
    """
    position = output + axis.crop_lo
    taps = taps_of(axis, position % axis.s)
    if not taps:
        return taps
    first = ceil_div(position - (axis.n - 1) * axis.s, axis.d)
    skipped = max(0, ceil_div(first - taps.start, taps.step))
    start = taps.start + skipped * taps.step
    return range(start, max(start, min(taps.stop, position // axis.d + 1)), taps.step)


def taps_of(axis: Axis, residue: int) -> range:
    """The taps that land on canvas positions of one residue: what an output away from the borders receives.

    >>> taps_of(Axis(4, 3, s=2), 0), taps_of(Axis(4, 3, s=2, d=2), 1)
    (range(0, 3, 2), range(0, 0))
    """
    if residue % axis.g:
        return range(0)
    step = axis.s // axis.g
    return range(residue // axis.g * pow(axis.d // axis.g, -1, step) % step, axis.k, step)


def live_phases(axis: Axis) -> int:
    """How many of the phases that have outputs have taps too.

    >>> live_phases(Axis(4, 2, s=3)), live_phases(Axis(1, 4, s=8))
    (2, 4)
    """
    # As if inputs went on for ever on both sides: then a position is reached exactly if its residue has taps.
    around = (axis.k_eff + abs(axis.crop_lo) + axis.out) // axis.s + 2
    lo = axis.crop_lo + around * axis.s
    return reached_positions((2 * around + 1, axis.s), (axis.k, axis.d), lo, lo + phases_with_outputs(axis))


def phases_with_outputs(axis: Axis) -> int:
    """How many phases have outputs: all s, unless there are fewer outputs."""
    return min(axis.s, axis.out)


def live_residues(axis: Axis, limit: int) -> list[int]:
    """The first residues that have both taps and outputs.

    >>> live_residues(Axis(4, 3, s=5), 2)
    [0, 1]
    """
    fed = min(axis.k, axis.s // axis.g)
    known = sorted(t * axis.d % axis.s for t in range(fed)) if fed <= SORTED else range(axis.s)
    found: Iterator[int] = (r for r in known if taps_of(axis, r) and (r - axis.crop_lo) % axis.s < axis.out)
    return list(islice(found, limit))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the counts of one axis say: `kind` is even, uneven or holes; `why` names the rule, of which `facts` has the
    numbers. `reason` says it in a sentence; `korean_sentences` says the same."""

    kind: str
    why: str
    facts: dict

    @property
    def reason(self) -> str:
        return REASONS[self.why](**self.facts)


REASONS = {
    "off_canvas": lambda: "no output lies on the canvas: all hold the bias alone",
    "shared_divisor": lambda s, d, g: (
        f"only one position in {g} is ever reached, because s = {s} and d = {d} share the divisor {g}; "
        "the outputs between hold the bias alone"
    ),
    "short_kernel": lambda k, s: (
        f"{_share(s - k, s)} the bias alone, because {_counted(k, 'tap', f'k = {k}')} cannot cover a stride of {s}"
    ),
    "stride_one": lambda count: (
        f"every inner output receives {_products(count)}, because every stamp starts one further"
    ),
    "divides": lambda count, s, k: f"every inner output receives {_products(count)}, because s = {s} divides k = {k}",
    "does_not_divide": lambda most, least, s, k: (
        f"outputs take turns between {most} and {least} products, because s = {s} does not divide k = {k}"
    ),
    "tap_gaps": lambda empty, d, n: (
        f"{_share(empty, d)} the bias alone, because taps d = {d} apart leave gaps that "
        f"{_counted(n, 'input')} cannot fill"
    ),
    "few_inputs": lambda count, n: (
        f"every inner output receives {_products(count)}, as many as {_counted(n, 'input')} can give it"
    ),
    "inputs_undivided": lambda most, least, d, n: (
        f"outputs take turns between {most} and {least} products, because d = {d} does not divide n = {n}"
    ),
    "counted_holes": lambda empty, whole: (
        f"{empty or 'all'} of {_whose(whole)} hold{'s' * (empty == 1)} the bias alone"
    ),
    "counted_even": lambda count, whole: (
        f"{_whose(whole)} receive {_products(count)} each; the input is too short, or cut too far, for more"
    ),
    "counted_calm": lambda least, most, whole: (
        f"the input is short, or cut far, and {_whose(whole)} receive from {least} to {most} products, "
        "rising and falling without taking turns"
    ),
    "counted_turns": lambda least, most, whole: (
        f"the input is short, or cut far, and {_whose(whole)} receive from {least} to {most} products, "
        "taking turns between more and fewer"
    ),
}


def verdict(axis: Axis) -> Verdict:
    """Are the counts equal away from the borders? Of a short input, where all is border, the counts themselves decide.

    >>> verdict(Axis(4, 3, s=2)).reason
    'outputs take turns between 2 and 1 products, because s = 2 does not divide k = 3'
    >>> verdict(Axis(4, 4, s=2)).kind, verdict(Axis(1, 4, s=8)).kind
    ('even', 'even')
    """
    core = on_canvas(axis)
    if core is None:
        return Verdict(HOLES, "off_canvas", {})
    if is_settled(core):
        return _by_setting(core)
    # Inputs and taps play the same part: with few inputs under many taps, the inputs are the kernel.
    exchanged = Axis(core.k, core.n, core.d, core.s, core.crop_lo, core.crop_hi)
    return _by_inputs(core, exchanged) if is_settled(exchanged) else _by_counts(core)


def is_settled(axis: Axis) -> bool:
    """True if every phase has an output that receives all of its taps, so that the setting alone tells the counts."""
    if axis.out < axis.s:
        return False
    classes = axis.s // axis.g
    # Phases have one number of taps or one more; the first and the last of each kind are the hardest to fill.
    firsts = {0, axis.k % classes - 1, min(axis.k, classes) - 1}
    return all(_has_inner(axis, first) for first in firsts if first >= 0)


def _has_inner(axis, first):
    """True if some output receives every tap of the phase that begins with tap `first`."""
    back = (ceil_div(axis.k - first, axis.s // axis.g) - 1) * (axis.d // axis.g)
    nearest = max(back, ceil_div(axis.crop_lo - first * axis.d, axis.s))
    return nearest < axis.n and first * axis.d + nearest * axis.s < axis.crop_lo + axis.out


def on_canvas(axis: Axis) -> Axis | None:
    """The axis without the outputs beyond the canvas; None where no output is left."""
    lo, hi = max(0, axis.crop_lo), max(0, axis.crop_hi)
    return Axis(axis.n, axis.k, axis.s, axis.d, lo, hi) if lo + hi < axis.full else None


def _by_setting(axis):
    s, d, k, g = axis.s, axis.d, axis.k, axis.g
    classes = s // g
    if g > 1 and k >= classes:
        return Verdict(HOLES, "shared_divisor", {"s": s, "d": d, "g": g})
    if k < classes:
        return Verdict(HOLES, "short_kernel", {"k": k, "s": s})
    most, least = ceil_div(k, classes), k // classes
    if most > least:
        return Verdict(UNEVEN, "does_not_divide", {"most": most, "least": least, "s": s, "k": k})
    if s == 1:
        return Verdict(EVEN, "stride_one", {"count": most})
    return Verdict(EVEN, "divides", {"count": most, "s": s, "k": k})


def _by_inputs(axis, exchanged):
    """The verdict where stamps are so long that an inner output receives inputs rather than taps."""
    n, d = axis.n, axis.d
    classes = exchanged.s // exchanged.g
    if axis.g > 1 and n >= classes:
        # No number of inputs would fill these gaps.
        return Verdict(HOLES, "shared_divisor", {"s": axis.s, "d": d, "g": axis.g})
    if n < classes:
        return Verdict(HOLES, "tap_gaps", {"empty": d - n, "d": d, "n": n})
    most, least = ceil_div(n, classes), n // classes
    if most == least:
        return Verdict(EVEN, "few_inputs", {"count": most, "n": n})
    return Verdict(UNEVEN, "inputs_undivided", {"most": most, "least": least, "d": d, "n": n})


def _by_counts(axis):
    """The verdict of an axis too short for any rule: an alternation is one, a rise and a fall is none."""
    skipped = max(0, axis.out - COUNTED) // 2
    outputs = range(skipped, axis.out - skipped)[:COUNTED]
    found = counts(axis, outputs)
    whole = len(outputs) == axis.out
    most, least = max(found), min(found)
    if least == 0:
        return Verdict(HOLES, "counted_holes", {"empty": found.count(0) if most else 0, "whole": whole})
    if most == least:
        return Verdict(EVEN, "counted_even", {"count": most, "whole": whole})
    steps = [b > a for a, b in pairwise(found) if a != b]
    calm = steps == sorted(steps, reverse=True)
    facts = {"least": least, "most": most, "whole": whole}
    return Verdict(EVEN, "counted_calm", facts) if calm else Verdict(UNEVEN, "counted_turns", facts)


def _share(empty, period):
    return f"{empty} of every {period} outputs {'holds' if empty == 1 else 'hold'}"


def _counted(count, word, said=None):
    return f"{count if said is None else said} {word}{'s' * (count != 1)}"


def _products(count):
    return _counted(count, "product")


def _whose(whole):
    return "the outputs" if whole else f"the middle {COUNTED:,} outputs"


def worst(axes) -> str:
    """The kind of the worst axis: holes, then uneven, then even.

    >>> worst([Axis(4, 4, s=2), Axis(4, 3, s=2)])
    'uneven'
    """
    kinds = {verdict(axis).kind for axis in axes}
    return next(kind for kind in (HOLES, UNEVEN, EVEN) if kind in kinds)


def even_alternatives(axis: Axis, limit=2) -> list[Setting]:
    """Settings of even overlap for the same sizes and stride that reach every output, the closest kernel first.

    >>> even_alternatives(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    [Setting(k=4, s=2, p=1, op=0, d=1), Setting(k=2, s=2, p=0, op=0, d=1)]
    """
    extent = axis.k_eff if axis.g > 1 else axis.k
    kernels = [axis.s * times for times in range(max(1, extent // axis.s), extent // axis.s + 3)]
    kernels.sort(key=lambda k: (abs(k - extent), -k))
    found = (_fitted(axis, k) for k in kernels)
    return [
        setting
        for setting in found
        if setting and not dead_outputs(setting.axis(axis.n)) and verdict(setting.axis(axis.n)).kind == EVEN
    ][:limit]


def _fitted(axis, k):
    """The setting of k taps with the least output_padding that gives the axis's size; None where there is none."""
    surplus = Axis(axis.n, k, axis.s).full - axis.out
    op = surplus % 2
    return Setting(k, axis.s, (surplus + op) // 2, op) if surplus >= 0 and op < axis.s else None
