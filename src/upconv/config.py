"""The environment variables, in one place.

    UPCONV_NUM_THREADS   how many threads to use at most
    UPCONV_ISA           make kernels for a lower instruction set: avx512, avx2, x86-64 (also called sse2)
    UPCONV_CACHE_DIR     where compiled kernels are kept
    UPCONV_NO_COMPILE    1: any compilation is an error, so kernels must come from the cache
    UPCONV_DIRECT_CALLS  0: small layers are called like large ones, not through functions of Python's own

Each is read when it is first needed; an empty value is as good as none.
"""

import os
import re
import sys
from pathlib import Path

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def num_threads() -> int | None:
    """UPCONV_NUM_THREADS, or None where it is not set.

    Raises:
        ValueError: when it is not a positive integer.
    """
    text = _text("UPCONV_NUM_THREADS")
    if text is None:
        return None
    # Decimal digits of other scripts are none to any other program that reads such a variable.
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise ValueError(f"UPCONV_NUM_THREADS is {text!r}; it must be a positive integer, such as 4")
    return int(text)


def isa() -> str | None:
    """The name in UPCONV_ISA, or None; whether the machine can run it is for `codegen.isa.resolve` to say."""
    text = _text("UPCONV_ISA")
    return text and text.lower()


def cache_directory() -> Path | None:
    """Where compiled kernels are kept; None when there is neither a setting nor a home directory.

    Without a setting it is where platformdirs' `user_cache_dir` would put it, rules of a line each that are not worth a
    package: LOCALAPPDATA on Windows; else XDG_CACHE_HOME if it is absolute, as its standard demands; else what the
    system calls its caches.

    Raises:
        ValueError: when UPCONV_CACHE_DIR begins with a ``~`` that leads nowhere.
    """
    chosen = _text("UPCONV_CACHE_DIR")
    if chosen is not None:
        return _expanded(chosen)
    try:
        if sys.platform == "win32":
            local = _text("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "upconv" / "Cache"
        caches = _text("XDG_CACHE_HOME")
        if caches is not None and os.path.isabs(caches):
            return Path(caches, "upconv")
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "upconv"
    except RuntimeError:
        return None


def _expanded(chosen):
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError:
        user = Path(chosen).parts[0]
        raise ValueError(
            f"UPCONV_CACHE_DIR is {chosen!r}; {user} is no home directory here: give a path such as ~/kernels, or "
            f"./{chosen} for a directory of that name"
        ) from None


def no_compile() -> bool:
    """Whether UPCONV_NO_COMPILE forbids compiling.

    Raises:
        ValueError: when it is neither a yes nor a no.
    """
    return _yes("UPCONV_NO_COMPILE", "0", "1 (any compilation is an error) or 0")


def direct_calls() -> bool:
    """Whether small layers may be called through builtins, which UPCONV_DIRECT_CALLS can forbid.

    Raises:
        ValueError: when it is neither a yes nor a no.
    """
    return _yes("UPCONV_DIRECT_CALLS", "1", "1 (small layers are called directly) or 0")


def _yes(name, default, allowed):
    text = (_text(name) or default).lower()
    if text not in (*_YES, *_NO):
        raise ValueError(f"{name} is {text!r}; it must be {allowed}")
    return text in _YES


def _text(name):
    return os.environ.get(name, "").strip() or None
