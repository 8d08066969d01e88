"""The words of the pictures of a layer; `words_ko` has the same names in Korean."""

from math import prod

from ..geometry import NAMES
from ..inverse import setting_of
from .described import describe as describe
from .described import heading as heading
from .described import verdict_sentences as verdict_sentences
from .overlap import EVEN, HOLES, UNEVEN
from .sizes import documented as documented
from .sizes import written as written

LANGUAGE = "en"

# Headings.
FIRST_LINE = "Each input stamps the kernel; stamps add"
LINE_APART = "The canvas, taken apart"
COLUMNS_APART = "The columns: a row of the canvas, taken apart"
ROWS_APART = "The rows: a column of the canvas, taken apart"
CHANNELS = "Channels"
PHASES = "Phases"
VERDICTS = {
    EVEN: "Verdict: even overlap",
    UNEVEN: "Verdict: uneven overlap, expect a checkerboard unless training evens it out",
    HOLES: "Verdict: holes, some outputs receive the bias alone whatever the weights",
}

# Labels of maps and strips.
INPUT, KERNEL, OUTPUT, CANVAS = "input", "kernel", "output", "canvas"
POSITION, WRITES, RECEIVED, CUT = "canvas position", "writes", "products received", "cut"
KEPT = "kept by output_padding"
CONVOLVED, FIRST_SUM, NEXT_STEP = "what is convolved", "y0 is the sum of", "one step right for each next output"
CHANNEL_IN, CHANNEL_OUT = "in", "out"

# Tooltips of cells.
CUT_AWAY = "cropped: padding removes this value"
REMOVED, ZERO_BETWEEN, ZERO_AROUND = "removed by padding", "a zero between inputs", "a zero put around the input"

# The key.
CUT_KEY = "cut away by padding"
EMPTY_KEY = "no product lands here: bias alone"
BEYOND_KEY = "beyond the canvas: bias alone"
SHORT = "This input is too short for every phase to show an output with all of these taps."
ONE_PHASE = "With a stride of 1 there is one: an ordinary convolution with the whole kernel, turned round."

DOCUMENTED = (
    "The documentation says the same the other way round: put zeros between and around the inputs, then run an "
    "ordinary convolution with the kernel turned round. Hence its “padding” removes, and never adds."
)
EACH_STEP = "The canvas after each step."


def title(geometry):
    """The heading with an arrow."""
    return heading(geometry).replace(" to ", " → ")


def maps_caption(several, is_example, has_sum, shown, whole):
    """What the maps show.

    Args:
        several: whether two inputs are marked, or one.
        is_example: whether cells hold an example's values, not the number of their products.
        has_sum: whether the sum of one output is marked.
        shown, whole: sizes of what is drawn and of the output, None where all of it is.
    """
    caption = f"Outlined: {'two inputs and where they write' if several else 'one input and where it writes'}."
    if is_example:
        caption = f"An example's numbers, bias 0. {caption}"
        caption += " Blue: one output, and by number the inputs and taps that it adds up." * has_sum
    else:
        caption += " The figure in a cell counts the products that it receives."
    return caption + (f" Shown: the first {shown} of {whole} outputs." if shown else "")


def stamp_caption(axis, positions=None):
    """How stamps are read; `positions` of the canvas where not all of them are drawn."""
    writers = f"Each of the {axis.n} inputs" if axis.n > 1 else "The one input"
    caption = f"Read down a column: an output is the sum of what lands on it. {writers} writes {axis.k}"
    caption += f" tap{'s' * (axis.k > 1)}"
    caption += f", {axis.d} apart" if axis.d > 1 else ""
    return caption + (f". Shown: the beginning of {positions} positions." if positions else ".")


def description(geometry):
    """The picture for those who cannot see it."""
    n, k, full, out = (
        " by ".join(str(getattr(axis, name)) for axis in geometry.axes) for name in ("n", "k", "full", "out")
    )
    steps = " and ".join(str(axis.s) for axis in geometry.axes)
    return (
        f"An input of {n} values is stamped with a kernel of {k} taps, {steps} steps apart, on a canvas of {full}, "
        f"of which {out} are kept. {' '.join(verdict_sentences(geometry))}"
    )


def input_note(where):
    """A tooltip: an input."""
    return f"input {where}"


def tap_note(where):
    """A tooltip: a tap."""
    return f"tap {where}"


def output_note(where, number):
    """A tooltip: an output and how many products it receives."""
    return f"output {where}: {number} product{'s' * (number != 1)}" + (" (bias only)" if number == 0 else "")


def stamp_note(i, t, q, cropped):
    """A tooltip: where a tap of an input lands."""
    return f"input {i} through tap {t} lands on position {q}" + (", which is cropped" if cropped else "")


def more_inputs(count):
    """Stamps that are not drawn."""
    return f"and {count} more inputs"


def in_all(count):
    """Channels, of which the first are drawn."""
    return f"… {count} in all"


def phases_caption(steps):
    """What a phase is; `steps` are the strides of the axes, not all 1."""
    number = " × ".join(map(str, steps)) + f" = {prod(steps)}" * (len(steps) > 1)
    return (
        "The canvas position modulo the stride decides which taps can land there: "
        f"{number} phases, each an ordinary convolution with a small part of the kernel."
    )


def phase(places, taps):
    """A phase in the key: the (residue, stride) of its row and column, or of its position; its taps on each axis."""
    names = ("row", "column") if len(places) > 1 else ("position",)
    number = " × ".join(map(str, taps))
    return f"{residues(names, places, 'every')}: {number} tap{'s' * (prod(taps) > 1)}"


def residues(names, places, every):
    """`row ≡ 0, column ≡ 1 (mod 2)`: a modulus that all share is written once; two in brackets would be too long."""
    moduli = [s for _, s in places if s > 1]
    if len(moduli) == 2 and moduli[0] == moduli[1]:
        shared = ", ".join(f"{name} ≡ {residue}" for name, (residue, _) in zip(names, places, strict=True))
        return f"{shared} (mod {moduli[0]})"
    by = " mod {}" if len(moduli) == 2 else " (mod {})"
    each = (
        f"{name} ≡ {residue}{by.format(s)}" if s > 1 else f"{every} {name}"
        for name, (residue, s) in zip(names, places, strict=True)
    )
    return ", ".join(each)


def more_phases(count, in_hues):
    """Phases that are not in the key; `in_hues` where rows and columns are told apart by them."""
    return f"… and {count:,} more{'; hue for the row, shade for the column' * in_hues}"


def phases_without_taps(empty, every):
    """How many phases have no taps."""
    return f"{empty:,} of {every:,} phases {'have' if empty > 1 else 'has'} no taps: bias alone"


def cut_words(*axes):
    """What cuts the canvas: `padding=1 cuts here`, or the crops where PyTorch has no word for them; "" if nothing."""
    if max(max(axis.crop_lo, axis.crop_hi) for axis in axes) <= 0:
        return ""
    if None in map(setting_of, axes):
        return f"crops {' and '.join(crops(*axes))} cut here"
    return f"{by_padding(*axes)} cuts here"


def crops(*axes):
    """The crops of axes, as written, those that are alike once."""
    return dict.fromkeys(f"({axis.crop_lo}, {axis.crop_hi})" for axis in axes)


def kept_words(*axes):
    """What is there only because of output_padding."""
    return f"{by_output_padding(*axes)} keeps this"


def by_padding(*axes):
    """The padding of axes that PyTorch can say, as it is written: once where all have the same."""
    return f"padding={_one_or_two(*(setting_of(axis).p for axis in axes))}"


def by_output_padding(*axes):
    """The output_padding of axes, likewise."""
    return f"output_padding={_one_or_two(*(setting_of(axis).op for axis in axes))}"


def _one_or_two(*values):
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def beyond_words(op):
    """What the dashed cells are; `op` is the output_padding that reaches them, or 0."""
    return f"output_padding={op}: " * bool(op) + "dashed cells lie beyond the canvas, bias alone"


def weight_words(geometry):
    """What connects, and the weight's shape with the names of its axes."""
    per_in, per_out = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    if geometry.groups == 1:
        first = "groups=1: every input channel reaches every output channel."
    else:
        inputs, outputs = (f"{per} {name}" for per, name in ((per_in, "input"), (per_out, "output")))
        channels = "channels" if max(per_in, per_out) > 1 else "channel"
        first = f"groups={geometry.groups}: {inputs} and {outputs} {channels} in each, connected among themselves."
    kernel = ", ".join(f"kernel {name}" for name in NAMES[len(geometry.axes)])
    return [
        first,
        f"weight {geometry.weight_shape} = (in_channels, out_channels / groups, {kernel}).",
        f"Input channels come first: Conv{len(geometry.axes)}d's weight has output channels first.",
    ]


def stamping(input_at, value, position):
    """A step of an animation, as two lines: input (i, j), or i of a line, is added at (row, column), or a position."""
    if len(input_at) == 1:
        return f"Input {input_at[0]} is {value}.", f"{value} × kernel, added at position {position[0]}"
    (i, j), (row, column) = input_at, position
    return f"Input ({i}, {j}) is {value}.", f"{value} × kernel, added at row {row}, column {column}"


def stamped(size):
    """The step after the last input."""
    return "Every input is stamped.", f"canvas {size}"


def cutting(size, *axes):
    """The step that cuts the canvas to a size."""
    return f"{cut_words(*axes) or 'padding=0 cuts nothing'}:", f"output {size}"


def cutting_without(size, *axes):
    """The cut as it would be without output_padding; `axes` have none."""
    return f"{cut_words(*axes) or 'padding=0 cuts nothing'}, output_padding=0:", f"output {size}"


def keeping(size, *axes):
    """The step of an output_padding that keeps canvas."""
    return f"{kept_words(*axes)}:", f"output {size}"


def keeping_unseen(size, *axes):
    """The same where the ends are not drawn."""
    return f"{by_output_padding(*axes)} keeps more at the ends, which are not shown:", f"output {size}"


def going_beyond(size, *axes):
    """The step of an output_padding that finds no more canvas."""
    return f"{by_output_padding(*axes)} goes beyond the canvas, to the bias alone:", f"output {size}"
