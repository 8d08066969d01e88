"""What kernels are written by: the modules of codegen/ and kernels/ as this process runs them, as a part of keys.

To record a kernel and to write it down takes ten times as long as to load its object, and only says where that is kept.
So the cache on disk has notes of where (see `kernel`), under keys of all that decides what is written; the code that
writes it is a part of them. Where it is not certain which code that is, there is no key, and the kernel is written:

- where another loader than Python's own has read a module, which may have changed it;
- where a file was changed after the first of them was read, as by an upgrade: asked of the time at which the system has
  noted the change, which no program sets;
- where anything in a module, or in a class of it, was replaced since, as by an experiment.

Python may run other code than a file's: what it keeps of a file that has had the same size in the same second. So it is
that which is hashed, where Python takes it for the file's.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from struct import pack

from .. import codegen, kernels

# File systems note times in steps of two seconds at most.
STEP = 2
PLAIN = (str, int, float, bool, type(None), Fraction)


class Generator:
    """The modules that are there now.

    Attributes:
        modules: by their names.
    """

    def __init__(self, rooms=(codegen, kernels), since=codegen.READ):
        names = tuple(f"{room.__name__}." for room in rooms)
        self.modules = {name: sys.modules[name] for name in sorted(sys.modules) if name.startswith(names)}
        self.since, self._code = since, []
        self._before = [
            (space, space.copy()) for module in self.modules.values() for space in _spaces(vars(module), module)
        ]

    def key(self, make: Callable, arguments: tuple) -> str | None:
        """All that decides what a function of the modules writes, beside the instruction set; None if not known."""
        module = self.modules.get(make.__module__)
        if module is None or vars(module).get(make.__name__) is not make or not _is_plain(arguments):
            return None
        if any(now != before for now, before in self._before):
            return None
        if not self._code:
            self._code.append(self._hashed())
        code = self._code[0]
        return None if code is None else "\0".join([code, make.__module__, make.__name__, repr(arguments)])

    def _hashed(self):
        digest = hashlib.sha256(repr((sys.version, sys.flags.optimize)).encode())
        try:
            for name, module in self.modules.items():
                content = _run(module.__spec__, self.since)
                if content is None:
                    return None
                digest.update(f"\0{name}\0{len(content)}\0".encode())
                digest.update(content)
        except OSError:
            return None
        return digest.hexdigest()


def _spaces(space, module) -> Iterator:
    """What may be changed in a module without its file: its names, those of its classes, its tables."""
    yield space
    for value in list(space.values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield vars(value)
        elif isinstance(value, dict) and value is not module.__builtins__:
            yield from _spaces(value, module)
        elif isinstance(value, list | set):
            yield value


def _is_plain(value):
    """Whether a value's `repr` says all of it."""
    return all(map(_is_plain, value)) if isinstance(value, tuple) else type(value) in PLAIN


def _run(spec, since):
    """What Python runs of a file, or would compile; None if that is not certain."""
    if type(spec.loader) is not SourceFileLoader or spec.cached is None:
        return None
    now = os.stat(spec.origin)
    if max(now.st_ctime, now.st_mtime) >= since - STEP:
        return None
    try:
        kept = Path(spec.cached).read_bytes()
    except FileNotFoundError:
        kept = b""
    if kept[:16] == MAGIC_NUMBER + pack("<III", 0, int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF):
        return kept
    # Of what is kept by other rules either may be run.
    return Path(spec.origin).read_bytes() + kept
