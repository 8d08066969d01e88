"""The environment variables, in one place.

    UPCONV_NUM_THREADS   how many threads to use at most
    UPCONV_ISA           make kernels for a lower instruction set: avx512, avx2, x86-64 (also called sse2)
    UPCONV_CACHE_DIR     where compiled kernels are kept
    UPCONV_NO_COMPILE    1: any compilation is an error, so kernels must come from the cache

Each is read when it is first needed; an empty value is as good as none.
"""

import os
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
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"UPCONV_NUM_THREADS is {text!r}; it must be a positive integer, such as 4")
    return int(text)


def isa() -> str | None:
    """The name in UPCONV_ISA, or None; whether the machine can run it is for `codegen.isa.choose` to say."""
    text = _text("UPCONV_ISA")
    return text and text.lower()


def cache_directory() -> Path | None:
    """Where compiled kernels are kept; None when there is neither a setting nor a home directory."""
    chosen = _text("UPCONV_CACHE_DIR")
    if chosen is not None:
        return Path(chosen).expanduser().absolute()
    caches = _text("XDG_CACHE_HOME")
    # The standard of these variables says that a relative one is to be ignored.
    if caches is not None and os.path.isabs(caches):
        return Path(caches, "upconv")
    try:
        return Path.home() / ".cache" / "upconv"
    except RuntimeError:
        return None


def no_compile() -> bool:
    """Whether UPCONV_NO_COMPILE forbids compiling.

    Raises:
        ValueError: when it is neither a yes nor a no.
    """
    text = (_text("UPCONV_NO_COMPILE") or "0").lower()
    if text not in (*_YES, *_NO):
        raise ValueError(f"UPCONV_NO_COMPILE is {text!r}; it must be 1 (any compilation is an error) or 0")
    return text in _YES


def _text(name):
    return os.environ.get(name, "").strip() or None
