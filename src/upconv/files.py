"""Files that are either whole or not there."""

import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path

# An output goes wherever the user's own shell could send it; what is kept for ourselves is closed to everybody else.
EVERYBODY, MINE = 0o666, 0o600


def write_atomically(path, data: bytes):
    """Write an output so that a reader, or an interruption, never sees half of it.

    The bytes go to a temporary file beside it, which then takes its place. Links are followed, and only a regular file
    is replaced, by one of the same permissions; a device or a pipe is written to.

    Raises:
        OSError: when the file cannot be written, naming it; an existing one is then untouched.
    """
    path = Path(path)
    try:
        status = _status(path)
        if status is None:
            replace(os.path.realpath(path), data)
        elif stat.S_ISREG(status.st_mode):
            replace(os.path.realpath(path), data, stat.S_IMODE(status.st_mode) & 0o777, exactly=True)
        else:
            # A directory is refused here, in the system's words.
            with open(path, "wb") as file:
                file.write(data)
    except OSError as error:
        # It may name the temporary file, or nothing at all.
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace(path, data: bytes, mode=EVERYBODY, *, exactly=False):
    """Put a new file in a path's place, whatever stands there; no link is followed.

    Args:
        path: where.
        data: what it holds.
        mode: its permissions from its first byte on, of which the umask of the process takes away what it will.
        exactly: give it those permissions whatever the umask, once it is whole.

    Raises:
        OSError: when the folder cannot be written; what stood there is then untouched.
    """
    path = Path(path)
    # The name cannot be guessed, and must not exist. The system applies the umask, which belongs to all threads.
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(temporary, flags, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if exactly and hasattr(os, "fchmod"):
                file.flush()
                os.fchmod(handle, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def check_output(path):
    """Raise the OSError that writing this output would meet, before the work and not after.

    Raises:
        OSError: for a directory, a folder that does not exist, and what cannot be written.
    """
    status = _status(path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if status is not None and not stat.S_ISREG(status.st_mode):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written")


def check_writable(folder):
    """Make the folder if need be, and raise the OSError that a file written there would meet."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _status(path):
    """`os.stat` of what a path leads to, or None where there is nothing yet, even behind a link."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
