"""Kernels as addresses: built when first needed, found on disk by the next process, never freed."""

import ctypes
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock

from .. import config
from ..codegen import llvm
from ..codegen.isa import resolve
from ..codegen.lang import Builder
from ..codegen.llvm import CodeRefused
from ..codegen.lowering import lower
from .cache import Cache
from .generator import Generator
from .once import once

NO_CODE = "this system does not let a program run code that it has made"

# LLVM, and llvmlite, have locks of their own, which a fork's child could not renew: so a fork waits for this one, but
# that of a signal's handler in the thread that holds it.
_building = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_building.acquire, after_in_parent=_building.release, after_in_child=_building.release)
_made = {}
# Whose kernels are noted on disk: what is there when the package has been imported, before anybody can have changed it.
_generators = []
# Why no more kernels can be made, once that has been seen.
_refused = []


class CompilationForbidden(RuntimeError):
    """A kernel was not in the cache, and UPCONV_NO_COMPILE forbids compiling it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an address is the entry of: the kernel's name, and the function and arguments that made it."""

    name: str
    make: Callable
    arguments: tuple


@lru_cache(maxsize=1)
def isa():
    """The instruction set that kernels are made for: the best one here, or the one that UPCONV_ISA names.

    Raises:
        ImportError: without llvmlite.
        LookupError: on a processor that there is no row for.
        ValueError: when UPCONV_ISA names what this machine cannot run.
    """
    with _building:
        host = llvm.host()
    return resolve(*host, config.isa())


@lru_cache(maxsize=1)
def cache():
    """The cache on disk."""
    return Cache(config.cache_directory())


@once
def linked(make, *arguments):
    """The linked code of ``make(isa, *arguments)``, which is not even called where it is noted what it has become."""
    note = _note(make, arguments)
    name, code = _noted(note) or _written(make, arguments, note)
    _made[code.address] = Made(name, make, arguments)
    return code


def note_kernels():
    """From now on kernels that the package's modules make are noted on disk, and found there by what makes them."""
    _generators[:] = [Generator()]


def _note(make, arguments):
    """The key of the note of a kernel; None if it has none."""
    source = _generators[0].key(make, arguments) if _generators else None
    if source is None:
        return None
    with _building:
        return llvm.key(f"{source}\0{isa()}", isa())


def _noted(note):
    """(name, linked code) of a kernel whose object and note are both on disk; None if they are not."""
    with _building:
        found = cache().read(note) if note else None
        if found is None:
            return None
        key, name = found.decode().split()
        image = cache().read(key)
        return None if image is None else (name, _load(name, image))


def _written(make, arguments, note):
    """The same of one that is written down, and noted."""
    kernel = make(isa(), *arguments)
    text = lower(kernel, isa())
    code = link(kernel.name, text)
    if note:
        with _building:
            cache().write(note, f"{llvm.key(text, isa())} {kernel.name}".encode())
    return kernel.name, code


def entry(make, *arguments):
    """The address of a kernel."""
    return linked(make, *arguments).address


@once
def function(make, keeps_gil):
    """A kernel as a Python callable, which keeps the GIL or lets go of it; it takes a job as a ctypes array."""
    prototype = ctypes.PYFUNCTYPE if keeps_gil else ctypes.CFUNCTYPE
    return prototype(None, ctypes.c_void_p)(entry(make))


def made(address) -> Made:
    """The kernel of an address that `entry` gave."""
    return _made[address]


def link(name, text, source=None):
    """The linked code of LLVM's text, of which `name` is the entry: for what the language cannot say.

    Args:
        name: of the entry.
        text: the text, or a function that makes it.
        source: all that the text is made from, where that is quicker to have than the text: the object's key on disk.

    Raises:
        CodeRefused: when the system does not let code be run, from now on perhaps; then `usable` says so too.
        CompilationForbidden: when it would have to be compiled.
    """
    with _building:
        if source is None:
            source = text = text() if callable(text) else text
        return _load(name, _image(name, text, source))


def _load(name, image):
    try:
        return llvm.Linked(name, image)
    except CodeRefused:
        _refuse(NO_CODE)
        raise


def _image(name, text, source):
    """A text's object: from the cache, or compiled and put there."""
    key = llvm.key(source, isa())
    image = cache().read(key)
    if image is None:
        if config.no_compile():
            raise CompilationForbidden(f"{name} is not in the cache, and UPCONV_NO_COMPILE forbids compiling it")
        image = llvm.compile_object(text() if callable(text) else text, isa())
        cache().write(key, image)
    return image


def usable() -> list[str]:
    """Why kernels cannot be made or run here, as sentences without their subject; empty means they can.

    Raises:
        ValueError: when UPCONV_ISA names what this machine cannot run.
        CompilationForbidden: when UPCONV_NO_COMPILE forbids finding out.
    """
    return list(_refused) or list(_refusals())


@lru_cache(maxsize=1)
def _refusals():
    try:
        isa()
    except ImportError as error:
        return (f"needs llvmlite, which cannot be imported ({error})",)
    except LookupError as error:
        return (f"has {error.args[0]}",)
    try:
        linked(_nothing)
    except CodeRefused:
        return tuple(_refused)
    except CompilationForbidden:
        raise
    except (OSError, RuntimeError) as error:
        _refuse(f"LLVM could not compile an empty kernel ({error})")
        return tuple(_refused)
    return ()


def _refuse(message):
    """Make no more kernels, and say so once. A system may forbid it at any time, by a program's own wish too."""
    if not _refused:
        _refused.append(f"cannot be used: {message}")
        warnings.warn(f"upconv computes with NumPy, which is slower: {message}", RuntimeWarning, stacklevel=4)


def _nothing(isa):
    """A kernel that does nothing."""
    return Builder(f"nothing_{isa.name}")


__all__ = [
    "CodeRefused",
    "CompilationForbidden",
    "cache",
    "entry",
    "function",
    "isa",
    "link",
    "linked",
    "made",
    "usable",
]
