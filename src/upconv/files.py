"""Files that are either whole or not there."""

import os
import tempfile
from pathlib import Path


def write_atomically(path, data: bytes):
    """Write a file so that a reader, or an interruption, never sees half of it.

    The bytes go to a temporary file beside it, which then takes its place.

    Raises:
        OSError: when the folder cannot be written, naming the file; an existing file is then untouched.
    """
    path = Path(path)
    try:
        _write(path, data)
    except OSError as error:
        # It may name the temporary file, which means nothing to the caller.
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_writable(folder):
    """Make the folder if need be, and raise the OSError that a file written there would meet."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _write(path, data):
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
