"""What is different at the ends of an axis: outputs that receive fewer products, and outputs beyond the canvas."""

from dataclasses import dataclass

from ..geometry import Axis
from ..inverse import dead_outputs
from .overlap import HOLES, is_settled, on_canvas, verdict


@dataclass(frozen=True, slots=True)
class Border:
    """The outputs near the borders that receive fewer: `ends` of (end, how many, whether the output begins beyond it),
    `short` if no rule says which, and `dead`, how many hold the bias alone."""

    ends: tuple[tuple[str, int, bool], ...]
    short: bool
    dead: int


def border(axis: Axis) -> Border | None:
    """What is fewer near the borders; None where all outputs receive what their phase can give.

    >>> border(Axis(4, 3, s=2, crop_lo=1, crop_hi=0))
    Border(ends=(('last', 1, False),), short=False, dead=0)
    """
    core = on_canvas(axis)
    if core is None:
        return None
    # The last position whose phase has a tap before the first input, and the first whose tap lies after the last one.
    ahead = (axis.k - 1) * axis.d - axis.s + 1 - core.crop_lo
    behind = core.crop_lo + core.out - axis.n * axis.s
    ends = (("first", ahead, axis.crop_lo < 0), ("last", behind, axis.crop_hi < 0))
    found = tuple((end, min(count, core.out), beyond) for end, count, beyond in ends if count > 0)
    if not found:
        return None
    return Border(found, not is_settled(core), 0 if verdict(axis).kind == HOLES else dead_outputs(core))


def border_note(axis: Axis) -> str | None:
    """`border` as a sentence.

    >>> border_note(Axis(4, 4, s=2, crop_lo=1, crop_hi=1))
    'fewer at the borders, where the inputs end: the first output and the last output'
    """
    found = border(axis)
    if found is None:
        return None
    note = f"fewer at the borders, where the inputs end: {' and '.join(_end(*end) for end in found.ends)}"
    if found.short:
        note = "the input is so short, or cut so far, that not every phase has an output with all of its taps"
    if dead := found.dead:
        note += f"; {dead} output{'s' * (dead > 1)} there hold{'s' * (dead == 1)} the bias alone"
    return note


def _end(end, count, beyond):
    return (f"the {end} output" if count == 1 else f"some of the {end} {count}") + " on the canvas" * beyond


def beyond(axis: Axis) -> list[tuple[str, int]]:
    """The ends whose outputs lie beyond the canvas, and how many there.

    >>> beyond(Axis(4, 3, s=2, crop_lo=0, crop_hi=-1))
    [('last', 1)]
    """
    ends = (("first", min(axis.out, -axis.crop_lo)), ("last", min(axis.out, -axis.crop_hi)))
    return [(end, count) for end, count in ends if count > 0]


def beyond_note(axis: Axis) -> str | None:
    """`beyond` as a sentence, or None where nothing lies there.

    >>> beyond_note(Axis(4, 3, s=2, crop_lo=0, crop_hi=-1))
    'the last output lies beyond the canvas: bias alone'
    """
    ends = beyond(axis)
    if not ends:
        return None
    names = [f"the {end} {'output' if count == 1 else f'{count} outputs'}" for end, count in ends]
    one = len(ends) == 1 and ends[0][1] == 1
    return f"{' and '.join(names)} {'lies' if one else 'lie'} beyond the canvas: bias alone"
