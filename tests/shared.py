"""What takes long to work out and is always the same, worked out once for all the processes of one run of the tests.

The processes of ``-n``, and the scripts that they start, want the same answers of the reference and the same kernels in
LLVM's words. They leave them to each other in a directory that lives as long as the run, so that nothing is ever out of
date; what is tried with them each process still does for itself.
"""

import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
import threading
import time
from pathlib import Path

VARIABLE = "UPCONV_TESTS_SHARED"
# What is worked out faster is not worth a file.
LEAST_SECONDS = 1e-3


def begin():
    """Make the directory, which the processes that are started from now on share; returns how to end it."""
    directory = tempfile.mkdtemp(prefix="upconv-tests-")
    os.environ[VARIABLE] = directory

    def end():
        os.environ.pop(VARIABLE, None)
        shutil.rmtree(directory, ignore_errors=True)

    return end


def once(key, make):
    """What `make()` returns, made by the first process that asks.

    Args:
        key: all that it depends on, but for the source; its `repr` tells it from any other.
        make: a function without arguments, whose result can be pickled.
    """
    directory = os.environ.get(VARIABLE)
    if not directory:
        return make()
    path = Path(directory, hashlib.sha256(repr(key).encode()).hexdigest())
    try:
        return pickle.loads(path.read_bytes())
    except FileNotFoundError:
        start = time.perf_counter()
        value = make()
    if time.perf_counter() - start > LEAST_SECONDS and path.parent.is_dir():
        # Whole from the first moment that another can see it.
        unfinished = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        # On a full disk each works it out for itself.
        with contextlib.suppress(OSError):
            unfinished.write_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
            unfinished.replace(path)
    return value
