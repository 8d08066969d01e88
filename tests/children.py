"""Scripts in processes of their own: what may crash, hang, be interrupted, or must see another environment."""

import os
import resource
import subprocess
import sys
from pathlib import Path

from upconv.codegen.isa import ROWS

#: Instruction sets of x86-64, best first; the tests of each run in a process with UPCONV_ISA.
ISAS = tuple(name for name, row in ROWS.items() if row.arch == "x86_64")


def most_memory():
    """KiB of the most memory that this program had; `ru_maxrss` may be that of the one that started it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return marks[0] if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def script(text, timeout=300, **environment):
    """Run a script that sees the modules of tests/ and the package; returns what it printed.

    Raises:
        AssertionError: when it fails or crashes; the message ends with what it printed last.
    """
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-c", text]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        said = "\n".join([*done.stdout.splitlines()[-5:], *done.stderr.splitlines()[-25:]])
        raise AssertionError(f"the script ended with status {done.returncode}, after printing\n{said}")
    return done.stdout
