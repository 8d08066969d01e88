"""The process of one engine: reads one command a line from its input, answers one line each, and waits.

    {"do": "prepare", "layer": {...}}                  makes inputs and weights, prepares, runs once; gives facts
    {"do": "check", "truth": [files]}                  compares the output of every input with float64
    {"do": "round", "seconds": s}                      times calls for about s seconds; gives the median of a call
    {"do": "truth", "layer": {...}, "folder": path}    (the engine "float64") writes the right outputs as files
    {"do": "drop"}                                     lets go of the layer

Answers are {"ok": ...} or {"error": sentence}. Run as ``python -m upconv.bench.worker ENGINE THREADS``.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from ..functional import conv_transpose2d
from . import engines
from .layers import BUFFERS, Layer
from .probe import Probe
from .turns import apart

# The largest difference from float64 that is allowed, relative to the root mean square of the right output. float32
# sums of ten thousand products stay below a fifth of it; a lost tap or a reduced precision is far above.
TOLERANCE = 1e-4
MOST_CALLS = 100_000
PR_SET_PDEATHSIG = 1


class EngineWorker:
    """Runs the commands for an engine on one layer at a time."""

    def __init__(self, engine, threads=1):
        self.engine, self.threads = engine, threads
        self.run = self.read = None
        self.turn = 0

    def prepare(self, layer):
        layer = Layer.of(layer)
        self.drop()
        weight, bias = layer.parameters()
        self.run, self.read = self.engine.prepare(layer, layer.inputs(), weight, bias)
        self.run(0)
        return self.engine.facts(layer)

    def check(self, truth):
        """The largest relative error over the inputs; refuses an output that is wrong."""
        return max(compare(np.asarray(self.read(self.run(i))), np.load(path, "r")) for i, path in enumerate(truth))

    def round(self, seconds):
        """Medians need several calls, so even a slow layer gets three (one on each input)."""
        self.run(self.turn % BUFFERS)
        with apart() if self.threads > 1 else contextlib.nullcontext():
            return median(self._times(seconds))

    def _times(self, seconds):
        times, end = [], perf_counter() + seconds
        while len(times) < BUFFERS or (perf_counter() < end and len(times) < MOST_CALLS):
            self.turn += 1
            number = self.turn % BUFFERS
            start = perf_counter()
            result = self.run(number)
            times.append(perf_counter() - start)
            # The result dies outside the timed part, as a caller's would later.
            del result
        return times

    def drop(self):
        self.run = self.read = None


class ProbeWorker:
    """The machine itself."""

    def __init__(self, threads):
        self.probe = Probe(threads)

    def prepare(self, layer):
        self.probe.prepare(Layer.of(layer).bytes)
        return {}

    def round(self, seconds):
        with apart() if self.probe.threads > 1 else contextlib.nullcontext():
            return self.probe.round(seconds)

    def drop(self):
        self.probe.buffers = None


class TruthWorker:
    """The right answers in float64: by PyTorch where it is installed, else by NumPy products; never by our kernels."""

    def __init__(self, threads):
        self.torch = None
        with contextlib.suppress(ImportError):
            import torch

            torch.set_num_threads(threads)
            self.torch = torch

    def truth(self, layer, folder):
        layer, files = Layer.of(layer), []
        weight, bias = (array.astype(np.float64) for array in layer.parameters())
        for number, x in enumerate(layer.inputs()):
            files.append(str(Path(folder) / f"truth-{number}.npy"))
            np.save(files[-1], self.compute(layer, x.astype(np.float64), weight, bias))
        return files

    def compute(self, layer, x, w, b):
        if self.torch is None:
            return conv_transpose2d(x, w, b, **layer.settings, algorithm="matmul")
        x, w, b = map(self.torch.from_numpy, (x, w, b))
        return self.torch.nn.functional.conv_transpose2d(x, w, b, **layer.settings).numpy()


def compare(output, truth):
    """The largest error relative to the root mean square of the truth.

    Raises:
        ValueError: for another shape, values that are not finite where the truth is, or an error beyond `TOLERANCE`.
    """
    if output.shape != truth.shape:
        raise ValueError(f"wrong output: the shape is {output.shape}, not {truth.shape}")
    scale, worst = 0.0, 0.0
    for ours, right in zip(output, truth, strict=True):
        scale += float(np.square(right).sum())
        error = float(np.abs(ours - right).max(initial=0.0))
        worst = max(worst, error) if error == error else float("inf")
    relative = worst / ((scale / max(1, truth.size)) ** 0.5 or 1.0)
    if not relative <= TOLERANCE:
        raise ValueError(f"wrong output: off by {relative:.2g} of the root mean square, {TOLERANCE:g} is allowed")
    return relative


def make(name, threads):
    """The worker of a name."""
    if name == "probe":
        return ProbeWorker(threads)
    if name == "float64":
        return TruthWorker(threads)
    return EngineWorker(engines.make(name, threads), threads)


def serve(worker, lines, answer):
    """Run the commands until there are no more."""
    for line in lines:
        command = json.loads(line)
        action = getattr(worker, command.pop("do"))
        try:
            answer({"ok": action(**command)})
        except Exception as error:  # whatever an engine raises is its answer, and the run goes on
            answer({"error": sentence(error)})


def sentence(error):
    """The first line of an exception."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def die_with_parent():
    """Ask Linux to end this process with the one that started it, even while it is stopped."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    die_with_parent()
    # Engines print what they like; only answers may go to the parent.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        channel.write(json.dumps(value) + "\n")
        channel.flush()

    try:
        worker = make(name, threads)
    except Exception as error:  # an engine that cannot be imported is missing, not a failure of the run
        answer({"error": sentence(error)})
        return
    answer({"ok": None})
    serve(worker, sys.stdin, answer)


if __name__ == "__main__":
    main()
