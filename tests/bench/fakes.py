"""Engines and crews that stand in for the real ones: right, wrong, slow and failing, without a process or a clock."""

import copy

import numpy as np

from upconv import conv_transpose2d
from upconv.bench.crew import EngineError
from upconv.bench.layers import Layer
from upconv.bench.worker import EngineWorker, TruthWorker, sentence

TINY = [
    Layer("tiny-a", 1, 3, 4, 5, 2, (3, 3), (2, 2), (1, 1), (1, 1)),
    Layer("tiny-b", 2, 4, 3, 3, 4, (4, 2), (2, 1), groups=2),
]


class Right:
    """Computes with NumPy products, whatever kernels there are."""

    def __init__(self, threads):
        self.threads = threads

    def facts(self, layer):
        return {"threads": self.threads}

    def prepare(self, layer, inputs, weight, bias):
        def run(i):
            return conv_transpose2d(inputs[i], weight, bias, **layer.settings, algorithm="matmul")

        return run, lambda result: result


class Wrong(Right):
    """Loses the last tap."""

    def prepare(self, layer, inputs, weight, bias):
        weight = weight.copy()
        weight[..., -1, -1] = 0
        return super().prepare(layer, inputs, weight, bias)


class Keeper(Right):
    """Keeps its first result, so it is right only once."""

    def prepare(self, layer, inputs, weight, bias):
        run, read = super().prepare(layer, inputs, weight, bias)
        first = run(0)
        return lambda i: first, read


class Refuser(Right):
    """Has no kernel for anything with groups."""

    def prepare(self, layer, inputs, weight, bias):
        if layer.groups > 1:
            raise NotImplementedError("no groups here")
        return super().prepare(layer, inputs, weight, bias)


class Crasher(Right):
    """Ends its whole process."""

    def prepare(self, layer, inputs, weight, bias):
        import os

        os._exit(3)


class Sleeper(Right):
    """Never answers."""

    def prepare(self, layer, inputs, weight, bias):
        import time

        time.sleep(600)


class Talker(Right):
    """Prints, as engines do."""

    def prepare(self, layer, inputs, weight, bias):
        print("loading 100%")
        return super().prepare(layer, inputs, weight, bias)


class Paced(EngineWorker):
    """A worker whose rounds take what they are said to take, from a list or always the same."""

    def __init__(self, engine, pace):
        super().__init__(engine(1))
        self.pace, self.asked = pace, []

    def round(self, seconds):
        self.asked.append(seconds)
        return self.pace[len(self.asked) - 1] if isinstance(self.pace, list) else self.pace


class Machine:
    """A probe of a machine with round numbers: 1 GFLOP/s, and a copy in the time given."""

    def __init__(self, copy=1e-6):
        self.seconds = copy

    def prepare(self, layer):
        return {}

    def round(self, seconds):
        return {"peak": 1e9, "clock": 1e8, "copy": self.seconds}

    def drop(self):
        return None


class NumpyTruth(TruthWorker):
    """The truth without PyTorch, which takes seconds to import."""

    def __init__(self):
        self.torch = None


class InlineWorker:
    """A worker in this process, with the interface of the parent's handle on a real one."""

    def __init__(self, name, worker, log):
        self.name, self.worker, self.log, self.alive = name, worker, log, True

    def ask(self, do, **arguments):
        self.log.append((self.name, do))
        try:
            return getattr(self.worker, do)(**copy.deepcopy(arguments))
        except Exception as error:
            raise EngineError(sentence(error)) from None


def crew_of(workers, log=None):
    """What takes the place of `Crew`: the given workers, a machine and the truth."""
    log = [] if log is None else log

    class Inline:
        def __init__(self, names, threads, environments, patience):
            everybody = {"probe": Machine(), "float64": NumpyTruth(), **workers}
            self.workers = {name: InlineWorker(name, everybody[name], log) for name in names}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            log.append(("crew", "closed"))

        def __getitem__(self, name):
            return self.workers[name]

    return Inline


def row(name="row", macs=500_000, machine=None, **times):
    """A finished row: seconds a round by engine, with _ for -; F is 1 ms where the machine says nothing else."""
    engines = {engine.replace("_", "-"): {"rounds": list(np.atleast_1d(time))} for engine, time in times.items()}
    probe = machine or [{"peak": 1e9, "clock": 1e8, "copy": 1e-5}] * 3
    return {"name": name, "macs": macs, "bytes": 1000, "engines": engines, "probe": {"rounds": probe}, "again": []}
