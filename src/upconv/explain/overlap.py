"""How many products each output receives, and what that says about checkerboards.

The counts of the two axes multiply: an output in row a and column b receives ``counts(h)[a] * counts(w)[b]`` products
for each pair of connected channels.
"""

from dataclasses import dataclass

from ..geometry import Axis
from ..inverse import Setting, has_holes, settings
from ..phases import phases

EVEN, UNEVEN, HOLES = "even", "uneven", "holes"


def counts(axis: Axis, outputs: range | None = None) -> list[int]:
    """For each output, or each of those given, the number of (input, tap) pairs that reach it.

    >>> counts(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    [1, 2, 1, 2, 1, 2, 1, 1]
    """
    return [len(pairs(axis, o)) for o in (range(axis.out) if outputs is None else outputs)]


def pairs(axis: Axis, output: int) -> list[tuple[int, int]]:
    """The (input, tap) pairs that reach one output, by rising tap.

    >>> pairs(Axis(4, 3, s=2, crop_lo=1, crop_hi=0), 1)
    [(1, 0), (0, 2)]
    """
    position = output + axis.crop_lo
    places = ((divmod(position - t * axis.d, axis.s), t) for t in range(axis.k))
    return [(i, t) for (i, rest), t in places if rest == 0 and 0 <= i < axis.n]


def taps_by_residue(axis: Axis) -> list[int]:
    """For each residue of the canvas position, how many taps land there: what an output away from the borders receives.

    >>> taps_by_residue(Axis(4, 3, s=2)), taps_by_residue(Axis(4, 3, s=2, d=2))
    ([2, 1], [3, 0])
    """
    found = [0] * axis.s
    for t in range(axis.k):
        found[t * axis.d % axis.s] += 1
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the counts of one axis say: `kind` is even, uneven or holes; `reason` says why in a sentence."""

    kind: str
    reason: str


def verdict(axis: Axis) -> Verdict:
    """Are the counts equal away from the borders? Only the setting matters, not the size.

    >>> verdict(Axis(4, 3, s=2)).reason
    'outputs take turns between 2 and 1 products, because s = 2 does not divide k = 3'
    >>> verdict(Axis(4, 4, s=2)).kind
    'even'
    """
    by_residue = taps_by_residue(axis)
    if axis.g > 1:
        return Verdict(
            HOLES,
            f"only one position in {axis.g} is ever reached, because s = {axis.s} and d = {axis.d} "
            f"share the divisor {axis.g}; the outputs between hold the bias alone",
        )
    if has_holes(axis):
        empty = by_residue.count(0)
        return Verdict(
            HOLES,
            f"{empty} of every {axis.s} outputs {'holds' if empty == 1 else 'hold'} the bias alone, "
            f"because k = {axis.k} taps cannot cover a stride of {axis.s}",
        )
    if axis.even_overlap:
        why = "every stamp starts one further" if axis.s == 1 else f"s = {axis.s} divides k = {axis.k}"
        products = f"{by_residue[0]} product{'s' * (by_residue[0] > 1)}"
        return Verdict(EVEN, f"every inner output receives {products}, because {why}")
    most, least = max(by_residue), min(by_residue)
    return Verdict(
        UNEVEN,
        f"outputs take turns between {most} and {least} products, because s = {axis.s} does not divide k = {axis.k}",
    )


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
    live = [phase for phase in phases(axis) if phase.taps]
    short = [_ends(segment) for phase in live for segment in phase.border]
    inner = [_ends(phase.interior) for phase in live if phase.interior]
    if not short:
        return None
    if not inner:
        return "the input is so short that no output receives every tap of its phase"
    middle = min(first for first, _ in inner) + max(last for _, last in inner)
    ahead = max((last + 1 for first, last in short if first + last < middle), default=0)
    behind = max((axis.out - first for first, last in short if first + last >= middle), default=0)
    where = [
        f"the {end} output" if count == 1 else f"some of the {end} {count}"
        for end, count in (("first", ahead), ("last", behind))
        if count
    ]
    return f"fewer at the borders, as in every such layer: {' and '.join(where)}"


def _ends(segment):
    return segment.start, segment.start + (segment.count - 1) * segment.step


def even_alternatives(axis: Axis, limit=2) -> list[Setting]:
    """Settings of even overlap for the same sizes and stride, those with the closest kernel first.

    >>> even_alternatives(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    [Setting(k=4, s=2, p=1, op=0, d=1), Setting(k=2, s=2, p=0, op=0, d=1)]
    """
    extent = axis.k_eff if axis.g > 1 else axis.k
    kernels = [axis.s * times for times in range(max(1, extent // axis.s), extent // axis.s + 3)]
    kernels.sort(key=lambda k: (abs(k - extent), -k))
    found = (settings(axis.n, axis.out, k=k, s=axis.s, d=1) for k in kernels)
    return [best[0] for best in found if best][:limit]
