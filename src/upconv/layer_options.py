"""A layer in words, as every command of the command line takes it: arguments, and what they stand for."""

import argparse
import re

from .geometry import Geometry, check_channels
from .settings import Settings

# Digits of the largest number, and letters of a word that is shown.
DIGITS, MOST_SHOWN = 9, 40


def add_layer(parser, optional=False):
    """The arguments that describe a layer and its input, the same in every command."""
    size = {"nargs": "?"} if optional else {}
    parser.add_argument("size", type=as_pair, metavar="HxW", help="input size: 4x6, or 4 for a square", **size)
    kernel = {"required": not optional, "metavar": "K", "help": "3, or 3x5 (height first)"}
    parser.add_argument("-k", "--kernel-size", type=as_pair, **kernel)
    parser.add_argument(
        "-p",
        "--padding",
        type=as_padding,
        default=(0, 0),
        metavar="P",
        help="1, 1x2, same, same_lower, valid, or signed crops lo:hi, lo:hixlo:hi",
    )
    parser.add_argument("-n", "--batch", type=int, default=1, metavar="N")
    parser.add_argument("--in-channels", type=int, metavar="C", help="default: as many as groups")
    parser.add_argument("--out-channels", type=int, metavar="C", help="default: as many as groups")
    add_steps(parser)


def add_steps(parser):
    """Those of them that have nothing to do with a size."""
    parser.add_argument("-s", "--stride", type=as_pair, default=(1, 1), metavar="S")
    parser.add_argument("--op", "--output-padding", type=as_pair, default=None, metavar="OP", dest="output_padding")
    parser.add_argument("-d", "--dilation", type=as_pair, default=(1, 1), metavar="D")
    parser.add_argument("-g", "--groups", type=int, default=1, metavar="G")


def layer_settings(options) -> Settings:
    """The settings that the arguments of `add_layer` describe."""
    output_padding = options.output_padding or 0
    return Settings.of(options.stride, options.padding, output_padding, options.groups, options.dilation)


def layer_geometry(options) -> Geometry:
    """The layer that the arguments of `add_layer` describe."""
    settings = layer_settings(options)
    n, c_in, c_out = options.batch, *layer_channels(options)
    axes = [
        settings.axis(place, *sizes) for place, sizes in enumerate(zip(options.size, options.kernel_size, strict=True))
    ]
    return Geometry(n, c_in, c_out, options.groups, *axes)


def layer_channels(options):
    """(channels of the input, of the output), which may be left out."""
    found = [options.groups if given is None else given for given in (options.in_channels, options.out_channels)]
    check_channels(*found, options.groups)
    return found


def as_pair(written):
    """Two integers from `3` or `3x5`; a capital X, a comma and the sign of multiplication do as well."""
    values = [_integer(part) for part in _apart(written)]
    if None in values or len(values) > 2:
        written = written if len(written) <= MOST_SHOWN else f"{written[:MOST_SHOWN]}..."
        raise argparse.ArgumentTypeError(
            f"got {written!r}; it must be an integer of at most {DIGITS} digits, or two as in 3x5 (height first)"
        )
    return values[0], values[-1]


def _apart(written):
    return [part.strip() for part in re.split("[xX×,]", written.strip())]


def _integer(written):
    """The number, or None where it is none or one so long that nothing could be that large."""
    return int(written) if re.fullmatch(rf"[+-]?[0-9]{{1,{DIGITS}}}", written) else None


def as_padding(written):
    """A word as it is; else for each axis an integer or a (lo, hi) pair, of the same kind on both."""
    if written in ("same", "same_lower", "valid"):
        return written
    sides = [
        tuple(_integer(side) for side in part.split(":")) if part.count(":") <= 1 else (None,)
        for part in _apart(written)
    ]
    if any(None in side for side in sides) or len(sides) > 2:
        raise argparse.ArgumentTypeError(
            f"got {written!r}; it must be an integer, two as in 1x2, signed crops as in 1:0 or 1:0x0:1, or one of "
            "same, same_lower, valid"
        )
    if all(len(side) == 1 for side in sides):
        return sides[0][0], sides[-1][0]
    return tuple((side[0], side[-1]) for side in (sides[0], sides[-1]))


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
