"""A layer in motion, as frames of (scene, milliseconds): input by input, then the cut; and group by group."""

from dataclasses import dataclass, replace
from itertools import islice, product

from ..errors import SettingError
from ..inverse import setting_of
from . import palette
from .channels import bundles, weight_blocks
from .cuts import cut_labels, keeps, shows_kept
from .described import heading
from .grid import (
    HEAD,
    Layout,
    becomes,
    cropped_cell,
    has_values,
    input_map,
    joined,
    kernel_map,
    lettered,
    more,
    numbered,
    result_cell,
)
from .layer import PICTURE_WORDS
from .legend import height_and_width, is_line
from .scene import Rect, Scene, Text, fitted, paragraph
from .values import MOST_PRODUCTS, input_value, tap_value
from .window import CROPPED, EXTENSION, OUTPUT, Window, window

MARGIN, TOP = 28, 34
WIDTH = 940 - 2 * MARGIN
STEP, PAUSE, END = 650, 1500, 3200
MOST_STEPS = 16
WORDS = 15


@dataclass(frozen=True, slots=True)
class Stage:
    """What one frame shows: the sums so far, the input being stamped, the cut if it has been made, and words."""

    sums: dict
    words: tuple[str, ...]
    milliseconds: int = STEP
    current: tuple[int, int] | None = None
    cut: tuple[Window, Window] | None = None
    labels: bool = False


def animation(geometry, title=None, language: str = "en") -> list[tuple[Scene, int]]:
    """The layer stamp by stamp with an example's numbers: of a large one, the beginning.

    Args:
        geometry: the layer; one pair of its channels is shown.
        title: words above the drawing; the settings by default.
        language: "en" or "ko".

    Raises:
        SettingError: for a kernel so large that nobody could follow the sums.

    >>> from upconv.geometry import Axis, Geometry
    >>> axis = Axis(3, 3, s=2, crop_lo=1, crop_hi=0)
    >>> frames = animation(Geometry(1, 1, 1, 1, axis, axis))
    >>> len(frames), frames[0][0].title
    (12, 'Transposed convolution, 3 × 3 to 6 × 6: kernel_size=3, stride=2, padding=1, output_padding=1')
    """
    h, w = map(window, height_and_width(geometry))
    said = PICTURE_WORDS[language]
    at = Layout(h, w, MARGIN, TOP + HEAD + 18, WIDTH, is_line(geometry), said)
    if not has_values(at):
        raise SettingError(
            f"an output of this layer is a sum of more than {MOST_PRODUCTS} products; a smaller kernel can be animated"
        )
    settings = title or said.describe(geometry)
    name = f"{said.heading(geometry)}: {said.describe(geometry)}"
    return [(_scene(at, stage, settings, name), stage.milliseconds) for stage in _stages(at)]


def _stages(at):
    """The stages of an animation in their order."""
    sums, h, w = {}, at.h, at.w
    inputs = list(islice(product(h.inputs, w.inputs), MOST_STEPS + 1))
    for i, j in inputs[:MOST_STEPS]:
        sums = _stamped(at, sums, i, j)
        value = input_value(i, j)
        drawn = len(at.axes)
        place = (i, j)[-drawn:], value, (i * h.axis.s, j * w.axis.s)[-drawn:]
        yield Stage(sums, at.words.stamping(*place), current=(i, j))
    if len(inputs) > MOST_STEPS:
        for i, j in islice(product(h.inputs, w.inputs), MOST_STEPS, None):
            sums = _stamped(at, sums, i, j)
    yield Stage(sums, at.words.stamped(at.size(h.axis.full, w.axis.full)), PAUSE)
    yield from _cuts(at, sums)


def _stamped(at, sums, i, j):
    """The sums after the stamp of input (i, j), within the window."""
    rows, columns = (
        {step * axis.d + number * axis.s: step for step in range(axis.k) if step * axis.d + number * axis.s < stop}
        for axis, number, stop in ((at.h.axis, i, at.h.stop), (at.w.axis, j, at.w.stop))
    )
    added = dict(sums)
    for (q, t), (r, u) in product(rows.items(), columns.items()):
        added[q, r] = added.get((q, r), 0) + input_value(i, j) * tap_value(t, u)
    return added


def _cuts(at, sums):
    """The cut, first without output_padding where there is one."""
    h, w, axes, said = at.h.axis, at.w.axis, at.axes, at.words
    settings = setting_of(h), setting_of(w)
    size = at.size(h.out, w.out)
    words = said.cutting(size, *axes)
    if None not in settings and (settings[0].op or settings[1].op):
        bare = tuple(replace(axis, crop_hi=axis.crop_lo) if _leaves(axis) else axis for axis in (h, w))
        windows = tuple(Window(axis, *shown) for axis, shown in zip(bare, _ends(at), strict=True))
        first = said.cutting_without(at.size(bare[0].out, bare[1].out), *bare[-len(axes) :])
        yield Stage(sums, first, PAUSE, cut=windows)
        words = said.going_beyond(size, *axes)
        if keeps(*axes):
            words = (said.keeping if shows_kept(at) else said.keeping_unseen)(size, *axes)
    yield Stage(sums, words, END, cut=(at.h, at.w), labels=True)


def _ends(at):
    return ((shown.start, shown.stop) for shown in (at.h, at.w))


def _leaves(axis):
    """Whether something is left without output_padding."""
    return axis.full - 2 * axis.crop_lo >= 1


def _scene(at, stage, settings, name):
    labels, below = cut_labels(at)
    ends = (shape.x + shape.width * (shape.anchor == "start") for shape in labels if isinstance(shape, Text))
    width = max(at.canvas + len(at.w.positions) * at.cell + 46, MARGIN + 640, *(end + MARGIN for end in ends))
    size = fitted(settings, 17, width - 2 * MARGIN)
    height = max(at.below_canvas + below, at.below_input + 100) + 14
    shapes = [Rect(0, 0, width, height, palette.PAPER), Text(MARGIN, TOP, settings, size, palette.INK, bold=True)]
    shapes += [*_frame(at), *_canvas(at, stage), *(labels if stage.labels else ())]
    if stage.current:
        shapes += _current(at, *stage.current)
    y = at.below_input + 34
    for line, bold in zip(stage.words, (False, True), strict=True):
        drawn, used = paragraph(line, MARGIN, y, at.canvas - MARGIN - 60, WORDS, bold=bold)
        shapes += drawn
        y += used + 4
    return Scene(width, height, name, at.words.EACH_STEP, tuple(shapes), True, at.words.LANGUAGE)


def _frame(at):
    """What does not change: headings, input and kernel."""
    h, w = at.h.axis, at.w.axis
    titles = (
        (at.left, f"{at.words.INPUT} {at.size(h.n, w.n)}", at.kernel - at.left),
        (at.kernel, f"{at.words.KERNEL} {at.size(h.k, w.k)}", at.canvas - at.kernel),
        (at.canvas, at.words.CANVAS, at.width),
    )
    y = at.top - HEAD + 8
    return [
        *(Text(x, y, words, fitted(words, 13, room - 8), palette.MUTED, bold=True) for x, words, room in titles),
        *input_map(at),
        *kernel_map(at),
        becomes(at),
    ]


def _canvas(at, stage):
    h, w = stage.cut or (at.h, at.w)
    shapes, cell = [], at.cell
    for q, r in product(at.h.positions, at.w.positions):
        x, y = at.place(q, r)
        on_canvas = 0 <= q < h.axis.full and 0 <= r < w.axis.full
        kind = joined(h.kind(q), w.kind(r)) if stage.cut else OUTPUT
        if not on_canvas and kind != EXTENSION:
            continue
        if kind == CROPPED:
            shapes.append(cropped_cell(x, y, cell, cell, at.words))
            continue
        phase = q % h.axis.s, r % w.axis.s, w.axis.s
        if (q, r) in stage.sums:
            shapes += result_cell(x, y, cell, cell, kind, 1, stage.sums[q, r], phase, f"({q}, {r})", at.words)
            shapes += lettered(x, y, cell, at.letter(q, r))
        elif kind == EXTENSION:
            shapes += result_cell(x, y, cell, cell, kind, 0, 0, phase, f"({q}, {r})", at.words)
        else:
            shapes += numbered(x, y, cell, 0, palette.PAPER, palette.RULE, ink=palette.FAINT)
    rows, columns = len(at.h.positions), len(at.w.positions)
    return shapes + more(at.canvas, at.top, columns, rows, cell, not at.w.whole, not at.h.whole)


def _current(at, i, j):
    """The input that is stamped and its stamp, outlined."""
    h, w = at.h, at.w
    shapes, small, cell = [], at.small, at.cell
    rows, columns = at.inputs
    if i - h.first_input < rows and j - w.first_input < columns:
        x, y = at.input_place(i, j)
        shapes.append(Rect(x + 1, y + 1, small - 2, small - 2, None, palette.ACTION, 3))
    top, left = max(i * h.axis.s, h.start), max(j * w.axis.s, w.start)
    bottom, right = min(i * h.axis.s + h.axis.k_eff, h.stop), min(j * w.axis.s + w.axis.k_eff, w.stop)
    if top < bottom and left < right:
        x, y = at.place(top, left)
        shapes.append(Rect(x, y, (right - left) * cell, (bottom - top) * cell, None, palette.ACTION, 3))
    return shapes


def groups(geometry, title=None) -> list[tuple[Scene, int]]:
    """The channels of a layer, group by group: wires, and the weight as input channels times blocks.

    >>> from upconv.geometry import Axis, Geometry
    >>> len(groups(Geometry(1, 4, 6, 2, Axis(4, 3), Axis(4, 3))))
    3
    """
    chosen = [None, *range(geometry.groups)] if geometry.groups > 1 else [None]
    settings = title or f"in_channels={geometry.c_in}, out_channels={geometry.c_out}, groups={geometry.groups}"
    return [(_group_scene(geometry, group, settings, heading(geometry)), END - 1000) for group in chosen]


def _group_scene(geometry, group, settings, name):
    wires, height = bundles(geometry, MARGIN, TOP + 40, group)
    blocks, width, used = weight_blocks(geometry, MARGIN + 230, TOP + 40, group)
    y = TOP + 40 + max(height, used) + 26
    words = _group_words(geometry, group)
    right = max(MARGIN + 230 + width, MARGIN + 640)
    lines = []
    for line in words:
        drawn, more_height = paragraph(line, MARGIN, y, right - MARGIN, WORDS - 1)
        lines += drawn
        y += more_height + 2
    # The words of the whole are the longest, so that all frames have its height.
    bottom = TOP + 40 + max(height, used) + 26 + 4 * 24
    paper = Rect(0, 0, right + MARGIN, bottom, palette.PAPER)
    head = Text(MARGIN, TOP, settings, 17, palette.INK, bold=True)
    shapes = (paper, head, *wires, *blocks, *lines)
    return Scene(right + MARGIN, bottom, name, " ".join(words), shapes, themed=True)


def _group_words(geometry, group):
    if group is None:
        return PICTURE_WORDS["en"].weight_words(geometry)
    inputs, outputs = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    rows = f"weight[{group * inputs}:{(group + 1) * inputs}]"
    reads, writes = (_run(group * per, per) for per in (inputs, outputs))
    return [f"Group {group}: input {reads} {'reaches' if inputs == 1 else 'reach'} output {writes}, by {rows}."]


def _run(first, number):
    return f"channel {first}" if number == 1 else f"channels {first} to {first + number - 1}"
