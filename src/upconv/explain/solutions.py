"""The answers of the solver as text: every setting for the sizes asked for, best first, and what it undoes."""

from ..inverse import (
    Setting,
    common_settings,
    dead_outputs,
    ignored_inputs,
    is_wasteful,
    nearest,
    search_bounds,
    sizes_undone,
    useful_taps,
)
from ..table import aligned
from .overlap import worst
from .sizes import listed

SHOWN = 12
FOOTNOTES = """
products: useful multiply-adds for one pair of channels
Conv2d with the same kernel_size, stride, padding and dilation turns each size in the last column
into the input size. The transposed convolution undoes these sizes, not the values: what a Conv2d
has mixed does not come back. A dash: its Conv2d does not turn the wanted size into the input size.
"""


def solutions(sizes, fixed, bounds, limit=SHOWN) -> str:
    """The settings for the (in, out) sizes of both axes; one list where one setting does both, else one for each axis.

    Args:
        sizes: ((in, out), (in, out)), height first.
        fixed: for each axis, a dictionary of the numbers (k, s, p, op, d) that are given.
        bounds: max_kernel, max_stride, max_dilation, max_padding as keyword arguments of `inverse.settings`.
        limit: how many settings to list; None for all.

    >>> print(solutions([(17, 32)] * 2, [{"k": 3, "s": 2, "d": 1}] * 2, {}).splitlines()[2])
      1  kernel_size=3, stride=2, padding=2, output_padding=1  uneven      2,304  31 and 32
    """
    if fixed[0] == fixed[1]:
        found = common_settings(sizes, **fixed[0], **bounds)
        if sizes[0] == sizes[1] or (found and not any(is_wasteful(found[0], n) for n, _ in sizes)):
            return _listing(_title(sizes), sizes, found, fixed[0], bounds, limit) + FOOTNOTES * bool(found)
    parts, any_found = [], False
    for name, size, given in zip(("height", "width"), sizes, fixed, strict=True):
        found = common_settings([size], **given, **bounds)
        any_found = any_found or bool(found)
        parts.append(_listing(f"{name} {size[0]} to {size[1]}", [size], found, given, bounds, limit))
    lead = "No single setting does both axes without waste; each on its own:\n\n" * (fixed[0] == fixed[1])
    return lead + "\n".join(parts) + FOOTNOTES * any_found


def _title(sizes):
    (n_h, out_h), (n_w, out_w) = sizes
    return f"{n_h} × {n_w} to {out_h} × {out_w}"


def _listing(title, sizes, found, given, bounds, limit):
    if not found:
        return f"{title}: no setting within {_within(sizes, given, bounds)}\n{_beyond(sizes, given)}"
    shown = found if limit is None else found[:limit]
    rows = [("", "setting", "overlap", "products", "undoes Conv2d of")]
    rows += [_row(place, setting, sizes) for place, setting in enumerate(shown, start=1)]
    count = f"{len(found):,} setting{'s' * (len(found) > 1)}"
    lines = [f"{title}: {count} within {_within(sizes, given, bounds)}, best first", *aligned(rows, right=(0, 3))]
    if len(shown) < len(found):
        lines.append(f"  ... and {len(found) - len(shown):,} more (--all lists them)")
    return "\n".join(lines) + "\n"


def _beyond(sizes, given):
    """Something that works, where nothing within the bounds does."""
    if len(set(sizes)) > 1:
        return ""
    other = nearest(Setting(**{"k": 3, **given}), *sizes[0])
    return f"  for instance, beyond that: {other.arguments()}\n"


def _row(place, setting, sizes):
    products = 1
    for n, _ in _two(sizes):
        products *= useful_taps(setting.axis(n))
    undone = dict.fromkeys(_undone(setting, *size) for size in sizes)
    return str(place), setting.arguments(), _remark(setting, sizes), f"{products:,}", " × ".join(undone)


def _undone(setting, n, out):
    found = sizes_undone(setting, n)
    return listed(found) if out in found else "-"


def _two(sizes):
    return sizes if len(sizes) == 2 else sizes[:1]


def _remark(setting: Setting, sizes):
    axes = [setting.axis(n) for n, _ in dict.fromkeys(sizes)]
    words = [worst(axes)]
    if setting.p > setting.d * (setting.k - 1) // 2 + 1:
        # More is cut than a kernel centred on its output would need: real outputs go.
        words.append("cropping")
    ignored = max(ignored_inputs(axis) for axis in axes)
    if ignored:
        words.append(f"{ignored} input{'s' * (ignored > 1)} unused")
    beyond = max(-axis.crop_hi for axis in axes)
    dead = max(dead_outputs(axis) for axis in axes)
    if beyond > 0 and beyond == dead:
        words.append(f"last {beyond} bias only")
    elif dead:
        words.append(f"{dead} output{'s' * (dead > 1)} bias only")
    return ", ".join(words)


def _within(sizes, given, bounds):
    limits = [
        search_bounds(n, out, *(bounds.get(f"max_{name}") for name in ("kernel", "stride", "dilation")))
        for n, out in sizes
    ]
    names = ("k", "s", "d")
    words = [
        f"{name} = {given[name]}" if name in given else f"{name} <= {max(column)}"
        for name, column in zip(names, zip(*limits, strict=True), strict=True)
    ]
    words += [f"{name} = {given[name]}" for name in ("p", "op") if name in given]
    if bounds.get("max_padding") is not None and "p" not in given:
        words.append(f"p <= {bounds['max_padding']}")
    return ", ".join(words)
