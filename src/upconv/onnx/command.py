"""`upconv onnx`: the report on a model's ConvTranspose nodes."""

import sys

from ..errors import SettingError
from .report import report, timed


def run(options) -> None:
    """Print the report that the parsed arguments ask for."""
    made = report(options.file, dict(map(_shape, options.shape)))
    if options.time:
        made = timed(made, options.threads, _begin)
        _begin("")
    print(made)


def _begin(name):
    """A line of progress on a terminal, wiped out by an empty name."""
    if sys.stderr.isatty():
        print(f"\r{'':<70}\r" + (f"timing {name}"[:70] if name else ""), end="", file=sys.stderr, flush=True)


def _shape(written):
    name, sign, sizes = written.rpartition("=")
    parts = sizes.lower().replace(",", "x").split("x")
    if not sign or not name or not all(part.isdecimal() for part in parts):
        raise SettingError(f"--shape is {written!r}; it must be an input's name and its sizes, as in x=1x3x64x64")
    return name, tuple(map(int, parts))
