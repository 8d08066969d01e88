"""The file of results: the machine, the versions, the options and every row, as JSON; written whole or not at all."""

import json
import os
import platform
import stat
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..files import write_atomically

FORMAT = 1
PACKAGES = ("numpy", "llvmlite", "torch", "onnxruntime", "onnx", "openvino", "ncnn", "jax")
CPU_INFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def machine():
    """What is known of the machine: CPU model, cores, features, caches, memory."""
    info = _cpu_info()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": sorted((info.get("flags") or info.get("Features") or "").split()),
        "caches": _caches(),
        "system": platform.system(),
    }


def versions():
    """The installed versions of everything that takes part."""
    found = {"upconv": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def make(rows, options, complete, missing=None):
    """A whole record.

    Args:
        rows: from `measure.Bench`.
        options: plain values.
        complete: False for an interrupted run, whose rows are those that were finished.
        missing: {engine: why it did not take part}.
    """
    return {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": complete,
        "machine": machine(),
        "versions": versions(),
        "options": options,
        "missing": missing or {},
        "rows": rows,
    }


def write(path, record):
    """Write a record as JSON.

    Raises:
        OSError: when the folder cannot be written.
    """
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


def read(path):
    """Read a record.

    Raises:
        ValueError: for a file that is not one.
        OSError: when it cannot be read.
    """
    try:
        status = os.stat(path)
        # A device may have no end; a pipe is what a shell makes of another command's output.
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            raise ValueError("it is no file")
        record = json.loads(Path(path).read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a record of upconv bench: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT or not _has_rows(record):
        raise ValueError(f"{path} is not a record of upconv bench in format {FORMAT}")
    return record


def _has_rows(record):
    rows = record.get("rows")
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _cpu_info():
    """The fields of the first processor, where the system lists them."""
    if not CPU_INFO.exists():
        return {}
    first = CPU_INFO.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _caches():
    """{"L1 Data": "48K", ...} of the first core, where the system lists them."""
    found = {}
    for index in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        found[f"L{level} {kind}"] = size
    return found
