"""Object files kept on disk between processes.

A file is named by everything that it depends on, so nothing is ever out of date; nothing is evicted either: a kernel
takes 3 to 10 KiB, a note of where it is some 200 bytes, and deleting the directory is always safe. What is read is
executed, so only what nobody else could have written is trusted: the directory is closed to others, a file is so from
its first byte on, says for which key it was made, and is read once, so that what is linked is what was checked. Nothing
that goes wrong here is an error: kernels are compiled again, and one warning says why.
"""

import hashlib
import os
import stat
import warnings
from pathlib import Path

from ..files import MINE, replace

MAGIC = b"upconv object 2\n"
# Format 1 could be opened by others while it was being written, so its files are never looked at.
SUFFIX = "-2.o"
_HEAD = len(MAGIC) + hashlib.sha256().digest_size


class Cache:
    """Objects in a directory; without one (None), a cache that stays empty.

    Attributes:
        reading, writing: whether the directory may still be used for it.
    """

    def __init__(self, directory: Path | None):
        self.directory = directory
        self.reading = self.writing = self._warned = False
        if directory is None:
            self._warn("there is no home directory")
            return
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fault = _fault(directory.stat()) or _close(directory)
        except OSError as error:
            fault = f"cannot be used: {error.strerror or error}"
        if fault:
            self._warn(f"{directory} {fault}")
        else:
            self.reading = self.writing = True

    def path(self, key) -> Path:
        """The file of a key."""
        return self.directory / f"{key}{SUFFIX}"

    def read(self, key) -> bytes | None:
        """The object of a key; None when there is none, or none to be trusted."""
        if not self.reading:
            return None
        try:
            content, fault = _read(self.path(key))
        except FileNotFoundError:
            return None
        except OSError as error:
            content, fault = b"", f"cannot be read: {error.strerror or error}"
        if not fault and content[:_HEAD] != _head(key, content[_HEAD:]):
            fault = "is damaged, or was made for something else"
        if fault:
            self._warn(f"{self.path(key)} {fault}")
            return None
        return content[_HEAD:]

    def write(self, key, image):
        """Keep an object. After a failure no other is tried."""
        if not self.writing:
            return
        path = self.path(key)
        try:
            replace(path, _head(key, image) + image, MINE, exactly=True)
        except OSError as error:
            self.writing = False
            self._warn(f"{path} cannot be written: {error.strerror or error}")

    def _warn(self, what):
        if not self._warned:
            self._warned = True
            place = "UPCONV_CACHE_DIR names another place"
            warnings.warn(f"upconv compiles kernels anew: {what}. {place}.", RuntimeWarning, stacklevel=2)


def _head(key, image):
    return MAGIC + hashlib.sha256(b"\0".join([key.encode(), image])).digest()


def _close(directory):
    """Close a directory to others; why that cannot be done, or None. One that holds other things is left as it is."""
    if not hasattr(os, "geteuid") or not stat.S_IMODE(directory.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    if any(not name.endswith(".o") and ".o." not in name for name in os.listdir(directory)):
        return "can be entered by other users, and holds more than kernels; chmod 700 closes it"
    directory.chmod(0o700)
    return None


def _read(path):
    """(content, why it cannot be trusted or None); one handle for both, so that nothing can change in between."""
    # No link is followed, and a pipe put there does not make us wait. Not every system has these flags.
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    handle = os.open(path, os.O_RDONLY | flags)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        fault = _fault(status) if stat.S_ISREG(status.st_mode) else "is not a file"
        return (b"" if fault else file.read()), fault


def _fault(status):
    """Why a file or directory of this `os.stat` cannot be trusted, or None."""
    if not hasattr(os, "geteuid"):
        # Windows: its permissions are not in the mode, and a user's profile is closed to other users.
        return None
    if status.st_uid != os.geteuid():
        return f"belongs to another user (number {status.st_uid}), so it is not trusted"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by other users, so it is not trusted"
    return None
