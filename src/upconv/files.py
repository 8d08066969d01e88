"""Files that are either whole or not there."""

import os
import tempfile
from pathlib import Path


def write_atomically(path, data: bytes):
    """Write a file so that a reader, or an interruption, never sees half of it.

    The bytes go to a temporary file beside it, which then takes its place.

    Raises:
        OSError: when the folder cannot be written; an existing file is then untouched.
    """
    path = Path(path)
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
