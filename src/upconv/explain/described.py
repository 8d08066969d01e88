"""A layer in a line: what goes in and out, its settings, its axes by name, and what its counts say."""

from ..geometry import NAMES
from ..inverse import setting_of
from .edges import beyond_note, border_note
from .overlap import EVEN, even_alternatives, verdict


def heading(geometry):
    """What goes in and what comes out."""
    before, after = (by([size(axis) for axis in geometry.axes]) for size in (lambda a: a.n, lambda a: a.out))
    return f"Transposed convolution, {before} to {after}"


def by(sizes):
    """Sizes of a map in one."""
    return " × ".join(map(str, sizes)) if len(sizes) > 1 else f"length {sizes[0]}"


def describe(geometry):
    """The settings in PyTorch's spelling where it has one; axes apart where they differ."""
    found = alike(geometry, describe_axis)
    return found[0][1] if len(found) == 1 else "; ".join(f"{name} {words}" for name, words in found)


def alike(geometry, of=lambda axis: axis, joined=None):
    """[(names, value)] of a layer's axes, those that have the same value in one."""
    names = {}
    for name, axis in zip(NAMES[len(geometry.axes)], geometry.axes, strict=True):
        names.setdefault(of(axis), []).append(name)
    return [((joined or and_joined)(each), value) for value, each in names.items()]


def and_joined(names):
    """Names in one.

    >>> and_joined(["depth", "height", "width"])
    'depth, height and width'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe_axis(axis):
    """The settings of one axis in PyTorch's spelling where it has one."""
    setting = setting_of(axis)
    if setting is not None:
        return setting.arguments()
    dilation = f", dilation={axis.d}" if axis.d > 1 else ""
    return f"kernel_size={axis.k}, stride={axis.s}, crops ({axis.crop_lo}, {axis.crop_hi}){dilation}"


def verdict_sentences(geometry) -> list[str]:
    """What the counts say about checkerboards, and what would be even."""
    named = [(name.capitalize(), axis) for name, axis in alike(geometry)]
    sentences = [f"{name}: {verdict(axis).reason}." for name, axis in named]
    uneven = [(name, axis) for name, axis in named if verdict(axis).kind != EVEN]
    for name, axis in uneven:
        found = " or ".join(f"({setting.arguments()})" for setting in even_alternatives(axis))
        if found:
            sentences.append(f"{name}: the same {axis.n} → {axis.out} with even overlap: {found}.")
    if not uneven and max(axis.s for axis in geometry.axes) > 1:
        sentences.append(
            "Equal counts are necessary, not sufficient: each phase has taps of its own, and training may leave them "
            "with different sums, which shows as a checkerboard again."
        )
    borders = [(name, note(axis)) for name, axis in named for note in (border_note, beyond_note)]
    return sentences + [f"{name}: {note}." for name, note in borders if note]
