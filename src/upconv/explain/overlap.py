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
    """What the counts of one axis say: `kind` is even, uneven or holes; `reason` says why in a sentence."""

    kind: str
    reason: str


def verdict(axis: Axis) -> Verdict:
    """Are the counts equal away from the borders? Of a short input, where all is border, the counts themselves decide.

    >>> verdict(Axis(4, 3, s=2)).reason
    'outputs take turns between 2 and 1 products, because s = 2 does not divide k = 3'
    >>> verdict(Axis(4, 4, s=2)).kind, verdict(Axis(1, 4, s=8)).kind
    ('even', 'even')
    """
    core = _on_canvas(axis)
    if core is None:
        return Verdict(HOLES, "no output lies on the canvas: all hold the bias alone")
    if is_settled(core):
        return _by_setting(core)
    # Inputs and taps play the same part: with few inputs under many taps, the inputs are the kernel.
    turned = Axis(core.k, core.n, core.d, core.s, core.crop_lo, core.crop_hi)
    return _by_inputs(core, turned) if is_settled(turned) else _by_counts(core)


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


def _on_canvas(axis):
    """The axis without the outputs beyond the canvas; None where no output is left."""
    lo, hi = max(0, axis.crop_lo), max(0, axis.crop_hi)
    return Axis(axis.n, axis.k, axis.s, axis.d, lo, hi) if lo + hi < axis.full else None


def _by_setting(axis):
    classes = axis.s // axis.g
    if axis.g > 1 and axis.k >= classes:
        return Verdict(
            HOLES,
            f"only one position in {axis.g} is ever reached, because s = {axis.s} and d = {axis.d} "
            f"share the divisor {axis.g}; the outputs between hold the bias alone",
        )
    if axis.k < classes:
        empty = axis.s - axis.k
        why = f"k = {axis.k} tap{'s' * (axis.k > 1)} cannot cover a stride of {axis.s}"
        return Verdict(HOLES, f"{_share(empty, axis.s)} the bias alone, because {why}")
    most, least = ceil_div(axis.k, classes), axis.k // classes
    if most == least:
        why = "every stamp starts one further" if axis.s == 1 else f"s = {axis.s} divides k = {axis.k}"
        return Verdict(EVEN, f"every inner output receives {_products(most)}, because {why}")
    return Verdict(
        UNEVEN,
        f"outputs take turns between {most} and {least} products, because s = {axis.s} does not divide k = {axis.k}",
    )


def _by_inputs(axis, turned):
    """The verdict where stamps are so long that an inner output receives inputs rather than taps."""
    classes = turned.s // turned.g
    inputs, reached = f"{axis.n} input{'s' * (axis.n > 1)}", min(axis.n, classes)
    if reached < axis.d:
        why = f"taps d = {axis.d} apart leave gaps that {inputs} cannot fill"
        return Verdict(HOLES, f"{_share(axis.d - reached, axis.d)} the bias alone, because {why}")
    most, least = ceil_div(axis.n, classes), axis.n // classes
    if most == least:
        return Verdict(EVEN, f"every inner output receives {_products(most)}, as many as {inputs} can give it")
    return Verdict(
        UNEVEN,
        f"outputs take turns between {most} and {least} products, because d = {axis.d} does not divide n = {axis.n}",
    )


def _by_counts(axis):
    """The verdict of an axis too short for any rule: an alternation is one, a rise and a fall is none."""
    skipped = max(0, axis.out - COUNTED) // 2
    outputs = range(skipped, axis.out - skipped)[:COUNTED]
    found = counts(axis, outputs)
    whose = "the outputs" if len(outputs) == axis.out else f"the middle {COUNTED:,} outputs"
    most, least = max(found), min(found)
    if least == 0:
        empty = found.count(0)
        who = "all of" if most == 0 else f"{empty} of"
        return Verdict(HOLES, f"{who} {whose} hold{'s' * (empty == 1 and most > 0)} the bias alone")
    if most == least:
        return Verdict(EVEN, f"{whose} receive {_products(most)} each; the input is too short for more")
    between = f"the input is short, and {whose} receive from {least} to {most} products"
    steps = [b > a for a, b in pairwise(found) if a != b]
    if steps == sorted(steps, reverse=True):
        return Verdict(EVEN, f"{between}, rising and falling without taking turns")
    return Verdict(UNEVEN, f"{between}, taking turns between more and fewer")


def _share(empty, period):
    return f"{empty} of every {period} outputs {'holds' if empty == 1 else 'hold'}"


def _products(count):
    return f"{count} product{'s' * (count != 1)}"


def worst(axes) -> str:
    """The kind of the worst axis: holes, then uneven, then even.

    >>> worst([Axis(4, 4, s=2), Axis(4, 3, s=2)])
    'uneven'
    """
    kinds = {verdict(axis).kind for axis in axes}
    return next(kind for kind in (HOLES, UNEVEN, EVEN) if kind in kinds)


def border_note(axis: Axis) -> str | None:
    """A sentence on the outputs near the borders, or None where all receive what their phase can give.

    >>> border_note(Axis(4, 4, s=2, crop_lo=1, crop_hi=1))
    'fewer at the borders, as in every such layer: the first output and the last output'
    """
    core = _on_canvas(axis)
    if core is None:
        return None
    # The last position whose phase has a tap before the first input, and the first whose tap lies after the last one.
    ahead = (axis.k - 1) * axis.d - axis.s + 1 - core.crop_lo
    behind = core.crop_lo + core.out - axis.n * axis.s
    where = [
        _end(end, min(count, core.out), crop < 0)
        for end, count, crop in (("first", ahead, axis.crop_lo), ("last", behind, axis.crop_hi))
        if count > 0
    ]
    if not where:
        return None
    note = f"fewer at the borders, as in every such layer: {' and '.join(where)}"
    if not is_settled(core):
        note = "the input is so short, or cut so far, that not every phase has an output with all of its taps"
    dead = dead_outputs(core)
    if verdict(axis).kind != HOLES and dead:
        note += f"; {dead} output{'s' * (dead > 1)} there hold{'s' * (dead == 1)} the bias alone"
    return note


def _end(end, count, beyond):
    return (f"the {end} output" if count == 1 else f"some of the {end} {count}") + " on the canvas" * beyond


def beyond_note(axis: Axis) -> str | None:
    """A sentence on the outputs that lie beyond the canvas, or None where there are none.

    >>> beyond_note(Axis(4, 3, s=2, crop_lo=0, crop_hi=-1))
    'the last output lies beyond the canvas: bias alone'
    """
    ends = [
        f"the {end} {'output' if count == 1 else f'{count} outputs'}"
        for end, count in (("first", min(axis.out, -axis.crop_lo)), ("last", min(axis.out, -axis.crop_hi)))
        if count > 0
    ]
    if not ends:
        return None
    one = len(ends) == 1 and ends[0].endswith("output")
    return f"{' and '.join(ends)} {'lies' if one else 'lie'} beyond the canvas: bias alone"


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
