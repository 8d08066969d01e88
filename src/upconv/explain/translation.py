"""A layer carried from one framework to another, as text: settings, weight, data layout, and what cannot be said."""

import textwrap

from ..conventions import CONVENTIONS, Translation, arguments, translate, weight_steps
from ..geometry import Axis

TITLES = {
    "torch": "torch.nn.ConvTranspose2d",
    "onnx": "ONNX ConvTranspose",
    "keras": "keras.layers.Conv2DTranspose",
    "jax": "jax.lax.conv_transpose",
}
# How each spells kernel, stride and dilation; JAX reads the kernel's size from the weight.
SPELLINGS = {
    "torch": ("kernel_size", "stride", "dilation"),
    "onnx": ("kernel_shape", "strides", "dilations"),
    "keras": ("kernel_size", "strides", "dilation_rate"),
    "jax": (None, "strides", "rhs_dilation"),
}
# Beyond this extent of the kernel, not every shorter input is tried.
MOST_SIZES = 1000
LAYOUT_STEPS = {("NHWC", "NCHW"): "x = x.transpose(0, 3, 1, 2)", ("NCHW", "NHWC"): "x = x.transpose(0, 2, 3, 1)"}


def translation(source, settings, target, axes_of, sizes, groups=1, size_given=False) -> str:
    """What `target` has to be told to do what `source` does.

    Args:
        source, target: names in `conventions.CONVENTIONS`.
        settings: the source's settings of the two axes.
        axes_of: a function from the two input sizes to the two axes.
        sizes: the input sizes (height, width) to answer for.
        groups: of the layer; Keras and JAX have none.
        size_given: whether `sizes` was asked for, or merely had to be something.
    """
    h, w = axes_of(sizes)
    found = translate(target, h, w)
    parts = [
        f"{source}: {_call(source, h, w, arguments(*settings))}",
        f"{target}: {_call(target, h, w, arguments(*found.setting))}",
        "",
        _agreement(found, source, target),
        *_exact_by_cutting(found, target, h, w),
        _size_note(target, found, axes_of, sizes, size_given, h, w),
        "",
        *_weight(source, target),
        *_layout(source, target),
        *_groups(target, groups),
    ]
    return "\n".join(parts) + "\n"


def _call(name, h, w, given):
    pairs = zip(SPELLINGS[name], ((h.k, w.k), (h.s, w.s), (h.d, w.d)), ((), (1, 1), (1, 1)), strict=True)
    shown = {key: list(pair) if name == "onnx" else pair for key, pair, default in pairs if key and pair != default}
    return f"{TITLES[name]}({', '.join(f'{key}={value!r}' for key, value in {**shown, **given}.items())})"


def _agreement(found: Translation, source, target):
    if not found.differences:
        return f"Exactly the same: sizes and values agree with {source}'s."
    wrapped = (
        textwrap.fill(f"- {difference}", 98, initial_indent="  ", subsequent_indent="    ")
        for difference in _both_axes_at_once(found.differences)
    )
    return "\n".join([f"{target} cannot say this exactly. The nearest, and how it differs:", *wrapped])


def _both_axes_at_once(differences):
    """The differences, with what holds for height and width said once."""
    for difference in differences:
        axis, _, rest = difference.partition(": ")
        if axis == "height" and f"width: {rest}" in differences:
            yield f"height and width: {rest}"
        elif not (axis == "width" and f"height: {rest}" in differences):
            yield difference


def _exact_by_cutting(found, target, h, w):
    """Where only a cut stands between the two: run the layer uncut, and cut its output."""
    if not found.differences or min(h.crop_lo, w.crop_lo) < 0:
        return []
    uncut = [Axis(axis.n, axis.k, axis.s, axis.d, 0, min(0, axis.crop_hi)) for axis in (h, w)]
    whole = translate(target, *uncut)
    if whole.differences:
        return []
    cuts = ", ".join(f"{axis.crop_lo or ''}:{-axis.crop_hi if axis.crop_hi > 0 else ''}" for axis in (h, w))
    index = f":, {cuts}, :" if CONVENTIONS[target].layout == "NHWC" else f":, :, {cuts}"
    return [
        "Exact, with a cut afterwards:",
        f"  y = {_call(target, h, w, arguments(*whole.setting))}(x)",
        f"  y = y[{index}]",
    ]


def _size_note(target, found, axes_of, sizes, size_given, h, w):
    shown = f"{h.n} × {w.n} gives {h.out} × {w.out}"
    if _holds_always(target, found, axes_of, sizes, max(h.k_eff, w.k_eff)):
        return f"Holds for every input size; for instance {shown}."
    ask = "" if size_given else "; --in-size asks for another"
    return f"The answer depends on the input size: here {shown}{ask}."


def _holds_always(target, found, axes_of, sizes, extent):
    """True if sizes beyond this one, and all those shorter than a stamp, where it can matter, get the same answer."""
    if extent > MOST_SIZES:
        return False
    beyond = all(_same_answer(target, found, axes_of, [n + more for n in sizes]) for more in (1, 2, 5))
    return beyond and all(_same_answer(target, found, axes_of, (n, n), True) for n in range(1, extent + 1))


def _same_answer(target, found, axes_of, sizes, may_refuse=False):
    try:
        axes = axes_of(sizes)
    except ValueError:
        # A size that the source itself refuses needs no answer.
        return may_refuse
    try:
        other = translate(target, *axes)
    except ValueError:
        return False
    # The differences mention sizes, so only their number can be compared.
    return other.setting == found.setting and len(other.differences) == len(found.differences)


def _weight(source, target):
    have, want = (f"({', '.join(CONVENTIONS[name].weight_axes)})" for name in (source, target))
    steps = weight_steps(source, target)
    if not steps:
        return [f"weight: {want} in both, as it is"]
    return [f"weight: {have} in {source}, {want} in {target}", *(f"  {step}" for step in steps)]


def _layout(source, target):
    have, want = CONVENTIONS[source].layout, CONVENTIONS[target].layout
    if have == want:
        return [f"data: {have} in both"]
    return [f"data: {have} in {source}, {want} in {target}", f"  {LAYOUT_STEPS[have, want]}"]


def _groups(target, groups):
    if groups == 1 or CONVENTIONS[target].has_groups:
        return []
    return [f"groups: {target} has none; {groups} layers, one for each group of channels, joined along the channels"]
