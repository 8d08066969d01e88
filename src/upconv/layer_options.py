"""A layer in words, as every command of the command line takes it: arguments, and what they stand for."""

import argparse
import re

from .errors import SettingError
from .geometry import Geometry, check_channels
from .inverse import setting_of
from .settings import Settings
from .volume import Line, Volume

# Digits of the largest number, and letters of a word that is shown.
DIGITS, MOST_SHOWN = 9, 40
KINDS = {1: Line, 2: Geometry, 3: Volume}
COUNTS = {1: "one", 2: "two", 3: "three"}
# What has a number for each axis, and what messages call it.
BY_AXIS = {
    "size": "the input size",
    "kernel_size": "-k",
    "stride": "-s",
    "padding": "-p",
    "output_padding": "--op",
    "dilation": "-d",
}


def add_layer(parser, optional=False, any_dimensions=True):
    """The arguments that describe a layer and its input, the same in every command.

    Args:
        parser: where to add them.
        optional: whether the layer may be left out.
        any_dimensions: whether the command knows lines and volumes too.
    """
    size = {"nargs": "?"} if optional else {}
    other = "; 8x8x8 for a volume, 40 --dims 1 for a line" * any_dimensions
    words = f"input size: 4x6 (height first), or 4 for a square{other}"
    parser.add_argument("size", type=as_numbers, metavar="SIZE", help=words, **size)
    kernel = {"required": not optional, "metavar": "K", "help": "3, or one for each axis: 3x5 (height first)"}
    parser.add_argument("-k", "--kernel-size", type=as_numbers, **kernel)
    parser.add_argument(
        "-p",
        "--padding",
        type=as_paddings,
        default=(0,),
        metavar="P",
        help="1, 1x2, same, same_lower, valid, or signed crops lo:hi, lo:hixlo:hi",
    )
    parser.add_argument("-n", "--batch", type=int, default=1, metavar="N")
    parser.add_argument("--in-channels", type=int, metavar="C", help="default: as many as groups")
    parser.add_argument("--out-channels", type=int, metavar="C", help="default: as many as groups")
    add_steps(parser, as_numbers)
    if any_dimensions:
        add_dimensions(parser)
    else:
        parser.set_defaults(dims=2)


def add_steps(parser, numbers=None):
    """Those of them that have nothing to do with a size; `numbers` reads one or several, two by default."""
    numbers = numbers or as_pair
    parser.add_argument("-s", "--stride", type=numbers, default=numbers("1"), metavar="S")
    parser.add_argument("--op", "--output-padding", type=numbers, default=None, metavar="OP", dest="output_padding")
    parser.add_argument("-d", "--dilation", type=numbers, default=numbers("1"), metavar="D")
    parser.add_argument("-g", "--groups", type=int, default=1, metavar="G")


def add_dimensions(parser):
    """The argument that says how many axes a layer has."""
    words = (
        "1 for a line, 3 for a volume; default: as many as the longest of 8x8x8 and the like, 2 where all are single"
    )
    parser.add_argument("--dims", "--dimensions", type=int, choices=tuple(KINDS), dest="dims", metavar="N", help=words)


def by_axis(given, dims=None):
    """Numbers with one for each axis of a layer, from those that people give: one for all axes, or one for each.

    Args:
        given: a dictionary from what messages call each to its numbers; a word or None stays as it is.
        dims: how many axes there are, or None for as many as the longest has numbers, and two where all have one.

    Returns:
        (how many axes, a list of the numbers).

    Raises:
        SettingError: for numbers that are neither one nor one for each axis.

    >>> by_axis({"-k": (1, 2, 2), "-s": (2,), "-p": "same"})
    (3, [(1, 2, 2), (2, 2, 2), 'same'])
    >>> by_axis({"-k": (4,)}, dims=1)
    (1, [(4,)])
    """
    counts = {name: len(values) for name, values in given.items() if isinstance(values, tuple)}
    longest = max(counts, key=counts.get)
    axes = dims or max(2, counts[longest])
    for name, count in counts.items():
        if count not in (1, axes):
            values = given[name]
            because = "" if dims else f"{longest} is {_as_written(given[longest])}, and "
            nearest = values[-axes:] if count > axes else (values[0],) * (axes - count) + values
            raise SettingError(
                f"{name} is {_as_written(values)}, {COUNTS[count]} numbers; {because}a layer of {COUNTS[axes]} "
                f"dimension{'s' * (axes > 1)} takes one number{f' or {COUNTS[axes]}' * (axes > 1)}, as in "
                f"{_as_written(nearest)}"
            )
    return axes, [values * axes if counts.get(name) == 1 else values for name, values in given.items()]


def _as_written(values):
    return "x".join(":".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in values)


def layer_settings(options) -> Settings:
    """The settings that the arguments of `add_layer` describe."""
    return _parsed(options)[0]


def layer_geometry(options) -> Line | Geometry | Volume:
    """The layer that the arguments of `add_layer` describe."""
    settings, size, kernel = _parsed(options)
    n, c_in, c_out = options.batch, *layer_channels(options)
    axes = [settings.axis(place, *sizes) for place, sizes in enumerate(zip(size, kernel, strict=True))]
    return KINDS[settings.dimensions](n, c_in, c_out, options.groups, *axes)


def _parsed(options):
    """(settings, input size, kernel size) of the arguments of `add_layer`."""
    given = {called: getattr(options, name) for name, called in BY_AXIS.items()}
    axes, (size, kernel, stride, padding, output_padding, dilation) = by_axis(given, options.dims)
    ends = options.groups, dilation, "zeros", axes
    return Settings.of(stride, padding, output_padding or 0, *ends), size, kernel


def as_arguments(*axes) -> str:
    """The size and settings of a layer with these axes as one writes them on the command line.

    >>> from .geometry import Axis
    >>> as_arguments(Axis(4, 3, s=2, crop_lo=1, crop_hi=0), Axis(6, 3, s=2, crop_lo=1, crop_hi=0))
    '4x6 -k 3 -s 2 -p 1 --op 1'
    """
    settings = [setting_of(axis) for axis in axes]
    flags = {"-k": [axis.k for axis in axes], "-s": [axis.s for axis in axes]}
    if None in settings:
        flags["-p"] = [(axis.crop_lo, axis.crop_hi) for axis in axes]
    else:
        flags |= {"-p": [setting.p for setting in settings], "--op": [setting.op for setting in settings]}
    flags["-d"] = [axis.d for axis in axes]
    defaults = {"-s": 1, "-p": 0, "--op": 0, "-d": 1}
    found = ((flag, values) for flag, values in flags.items() if set(values) != {defaults.get(flag)})
    shown = (f"{flag} {_as_written(values[:1] if len(set(values)) == 1 else values)}" for flag, values in found)
    return " ".join([_as_written([axis.n for axis in axes]), *shown])


def refuse_volume(geometry, command: str, option: str = "") -> None:
    """Refuse what can be had of lines and maps alone, and say how to have it of the planes.

    Args:
        geometry: the layer.
        command, option: what was asked for, as people write it.

    Raises:
        SettingError: for a volume.
    """
    if isinstance(geometry, Volume):
        raise SettingError(
            f"{option or command} is for layers of one and two dimensions, and this one has three; for its height and "
            f"width alone: {' '.join(filter(None, ['upconv', command, as_arguments(geometry.h, geometry.w), option]))}"
        )


def layer_channels(options):
    """(channels of the input, of the output), which may be left out."""
    found = [options.groups if given is None else given for given in (options.in_channels, options.out_channels)]
    check_channels(*found, options.groups)
    return found


def as_pair(written):
    """Two integers from `3` or `3x5`; a capital X, a comma and the sign of multiplication do as well."""
    values = _numbers(written, 2, "or two as in 3x5 (height first)")
    return values[0], values[-1]


def as_numbers(written):
    """One, two or three integers, as they are given; else as `as_pair`.

    >>> as_numbers("3"), as_numbers("1x2x2")
    ((3,), (1, 2, 2))
    """
    return _numbers(written, 3, "two as in 3x5 (height first), or three as in 1x3x5 (depth first)")


def _numbers(written, most, or_else):
    values = tuple(_integer(part) for part in _apart(written))
    if None in values or len(values) > most:
        written = written if len(written) <= MOST_SHOWN else f"{written[:MOST_SHOWN]}..."
        raise argparse.ArgumentTypeError(
            f"got {written!r}; it must be an integer of at most {DIGITS} digits, {or_else}"
        )
    return values


def _apart(written):
    return [part.strip() for part in re.split("[xX×,]", written.strip())]


def _integer(written):
    """The number, or None where it is none or one so long that nothing could be that large."""
    return int(written) if re.fullmatch(rf"[+-]?[0-9]{{1,{DIGITS}}}", written) else None


def as_padding(written):
    """A word as it is; else for each of two axes an integer or a (lo, hi) pair, of the same kind on both."""
    padding = _padding(written, 2, "an integer, two as in 1x2")
    return padding if isinstance(padding, str) else (padding[0], padding[-1])


def as_paddings(written):
    """`as_padding` for one, two or three axes, as they are given."""
    return _padding(written, 3, "an integer, one for each axis as in 1x2")


def _padding(written, most, numbers):
    if written in ("same", "same_lower", "valid"):
        return written
    sides = [
        tuple(_integer(side) for side in part.split(":")) if part.count(":") <= 1 else (None,)
        for part in _apart(written)
    ]
    if any(None in side for side in sides) or len(sides) > most:
        raise argparse.ArgumentTypeError(
            f"got {written!r}; it must be {numbers}, signed crops as in 1:0 or 1:0x0:1, or one of "
            "same, same_lower, valid"
        )
    if all(len(side) == 1 for side in sides):
        return tuple(side[0] for side in sides)
    return tuple((side[0], side[-1]) for side in sides)


def attach_negatives(argv):
    """Join an option to a value that begins with a minus sign, which argparse would take for another option.

    A size of that kind gets a space before it, which keeps argparse from taking it for one.
    """
    joined = []
    for word in argv:
        if joined and re.match(r"-\d", word) and re.fullmatch(r"-[a-z]|--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        elif re.match(r"-\d+x", word):
            joined.append(f" {word}")
        else:
            joined.append(word)
    return joined
