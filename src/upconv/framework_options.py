"""A layer as a framework spells it, in the arguments of `upconv translate`, and what they stand for."""

import argparse
import difflib
import re

from .conventions import CONVENTIONS, Jax, Keras, Onnx, Torch
from .geometry import check_channels
from .layer_options import as_padding

ALSO_CALLED = {"pytorch": "torch", "tf": "keras", "tensorflow": "keras"}


def framework(written: str) -> str:
    """The name of a framework, from what people call it."""
    name = written.strip().lower()
    name = ALSO_CALLED.get(name, name)
    if name not in CONVENTIONS:
        near = difflib.get_close_matches(name, [*CONVENTIONS, *ALSO_CALLED], 1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise argparse.ArgumentTypeError(f"got {written!r}; it must be one of {', '.join(CONVENTIONS)}{hint}")
    return name


def check_translatable(options):
    """Refuse options that the source framework has no word for."""
    source, groups = options.source, options.groups
    check_channels(max(groups, 1), max(groups, 1), groups)
    if groups > 1 and not CONVENTIONS[source].has_groups:
        raise ValueError(f"groups is {groups}; {source} has none, so it must be 1")
    if options.output_shape is not None and source != "onnx":
        raise ValueError(f"--output-shape belongs to onnx; {source} has no such setting")
    if options.consistent_padding and source != "jax":
        raise ValueError(f"--consistent-padding belongs to jax; {source} has no such setting")


def framework_setting(options, axis: int):
    """What one framework says about one axis, from its own words for padding."""
    op = None if options.output_padding is None else options.output_padding[axis]
    padding = _framework_padding(options.padding, options.source, axis)
    match options.source:
        case "torch":
            return Torch(padding or 0, op or 0)
        case "onnx":
            shape = None if options.output_shape is None else options.output_shape[axis]
            word = padding if isinstance(padding, str) else "NOTSET"
            return Onnx(word, _both_sides(padding), op or 0, shape)
        case "keras":
            return Keras("valid" if padding is None else padding, op)
    if op is not None:
        raise ValueError("jax has no output_padding; give its high side more with --padding lo:hi")
    return Jax("SAME" if padding is None else padding, options.consistent_padding)


def _framework_padding(written, source, axis):
    """One axis of a padding as written: an int, a (lo, hi) pair, or a word in the framework's spelling."""
    if written is None:
        return None
    if re.fullmatch(r"[A-Za-z_]+", written):
        if source == "torch":
            raise ValueError(f"padding is {written!r}; torch's ConvTranspose2d takes numbers only")
        return written.upper() if source in ("onnx", "jax") else written
    padding = as_padding(written)[axis]
    if source in ("torch", "keras") and isinstance(padding, tuple):
        raise ValueError(f"padding is {written}, one crop for each side; {source} cannot say that, onnx and jax can")
    return padding


def _both_sides(padding):
    if isinstance(padding, tuple):
        return padding
    return (padding, padding) if isinstance(padding, int) else (0, 0)
