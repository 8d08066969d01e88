"""The answers of the solver as text: every setting for the sizes asked for, best first, and what it undoes."""

from ..geometry import NAMES
from ..inverse import (
    Setting,
    common_settings,
    dead_outputs,
    ignored_inputs,
    nearest,
    rank,
    search_bounds,
    sizes_undone,
    useful_taps,
)
from ..table import aligned
from .described import and_joined
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
    """The settings for the (in, out) sizes of all axes; one list where one setting does all, else one for each axis.

    Args:
        sizes: (in, out) of each axis of a line, a map or a volume: of a map ((in, out), (in, out)), height first.
        fixed: for each axis, a dictionary of the numbers (k, s, p, op, d) that are given.
        bounds: max_kernel, max_stride, max_dilation, max_padding as keyword arguments of `inverse.settings`.
        limit: how many settings to list; None for all.

    >>> print(solutions([(17, 32)] * 2, [{"k": 3, "s": 2, "d": 1}] * 2, {}).splitlines()[2])
      1  kernel_size=3, stride=2, padding=2, output_padding=1  uneven      2,304  31 and 32
    """
    conv = f"Conv{len(sizes)}d"
    footnotes, alike = FOOTNOTES.replace("Conv2d", conv), all(given == fixed[0] for given in fixed)
    apart = {}
    for name, size, given in zip(NAMES[len(sizes)], sizes, fixed, strict=True):
        apart.setdefault((size, *given.items()), ([], size, given))[0].append(name)
    own = [common_settings([size], **given, **bounds) for _, size, given in apart.values()]
    if alike:
        found = common_settings(sizes, **fixed[0], **bounds) if len(apart) > 1 else own[0]
        if len(apart) == 1 or _is_good(found, own, [size for _, size, _ in apart.values()]):
            text = _listing(_title(sizes), sizes, found, fixed[0], bounds, limit)
            return text.replace("Conv2d", conv) + footnotes * bool(found)
    parts = [
        _listing(f"{and_joined(names)} {size[0]} to {size[1]}", [size] * len(names), found, given, bounds, limit)
        for (names, size, given), found in zip(apart.values(), own, strict=True)
    ]
    axes = "both axes" if len(sizes) == 2 else "all axes"
    lead = f"No single setting does {axes} as well as each can be done on its own:\n\n" * alike
    return lead + "\n".join(parts).replace("Conv2d", conv) + footnotes * any(own)


def _is_good(found, own, sizes):
    """Whether the best setting of all axes wastes, alternates and dilates no more than the best of each axis alone."""
    if not found or not all(own):
        return bool(found)
    alone = max(rank(best, n)[:3] for (best, *_), (n, _) in zip(own, sizes, strict=True))
    return all(rank(found[0], n)[:3] <= alone for n, _ in sizes)


def _title(sizes):
    before, after = (" × ".join(map(str, each)) for each in zip(*sizes, strict=True))
    return f"{'length ' * (len(sizes) == 1)}{before} to {after}"


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
    for n, _ in sizes:
        products *= useful_taps(setting.axis(n))
    undone = dict.fromkeys(_undone(setting, *size) for size in sizes)
    return str(place), setting.arguments(), _remark(setting, sizes), f"{products:,}", " × ".join(undone)


def _undone(setting, n, out):
    found = sizes_undone(setting, n)
    return listed(found) if out in found else "-"


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
