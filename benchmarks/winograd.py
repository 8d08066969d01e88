"""Winograd's kernels on whole layers, beside torch and the present algorithm: which form, tile and block pays.

    python benchmarks/winograd.py [part of a layer's name ...] [--sweep]

GFLOP/s on useful FLOPs, one thread, medians of rounds in which all take turns; UPCONV_ISA=avx2 times the lower
instruction set. `spread`, `product` and `gather` are shares of the time of the prepared way, channels-last.
"""

import ctypes

import numpy as np

from upconv.kernels.execute import BASES, SCRATCH_BYTES, WORDS, execute
from upconv.runtime import jobs
from upconv.runtime.kernel import function
from upconv.schedule.winograd import SIZES
from upconv.schedule.winograd_layer import Bases, Layer, Map

NUMBERS = Bases(*range(1, BASES))
NAMES = Bases.__slots__
PAGE = 4096
DTYPES = {"f32": np.float32, "f64": np.float64}


class Table:
    """Jobs one after another, on this thread, at addresses that may change from call to call."""

    def __init__(self, rows):
        stage = jobs.stage(rows)
        self.words, self.bases = (np.array(table, np.int64) for table in (stage.words, stage.bases))
        self.units, self.starts = np.array([(0, len(rows), 0, 0)], np.int64), np.array([0, 1], np.int64)
        self.scratch, self.counter = np.zeros(SCRATCH_BYTES // 8, np.int64), np.zeros(1, np.int64)
        tables = self.words, self.bases, self.units, self.starts
        self.job = [0, *map(jobs.address, tables), 1, jobs.address(self.counter), jobs.address(self.scratch)]
        self.code = function(execute, False)

    def run(self, addresses):
        self.counter[0] = 0
        self.code((ctypes.c_int64 * (WORDS + BASES))(*self.job, *addresses))


def aligned(nbytes):
    """Zeros from the start of a page."""
    raw = np.zeros(nbytes + PAGE, np.uint8)
    start = -jobs.address(raw) % PAGE
    return raw[start : start + nbytes]


class Runner:
    """A Layer with memory of its own.

    Args:
        g, setting, forward: as `Layer` has them.
        planes: whether both maps lie in planes (NCHW) instead of pixels.
        by_channels: the weight as given, in chunks; otherwise it is prepared by `set`.
    """

    def __init__(self, g, setting, elem="f32", forward=True, planes=False, by_channels=False):
        size = SIZES[elem]
        src, dst = (g.c_in, g.h.n, g.w.n), (g.c_out, g.h.out, g.w.out)
        src, dst = (src, dst) if forward else (dst, src)
        x, y = (Map.dense(*shape, size, not planes) for shape in (src, dst))
        w = tuple(size * step for step in (g.c_out * g.h.k * g.w.k, g.h.k * g.w.k, g.w.k, 1))
        self.layer = Layer(g, setting, elem, x, y, w, NUMBERS, forward, by_channels)
        self.dtype = DTYPES[elem]
        self.memory = {name: aligned(nbytes + 64) for name, nbytes in self.layer.bytes.items()}
        self.memory["bias"] = aligned((dst[0] + 64) * size).view(self.dtype)
        self.src, self.dst = ((g.n, *s) if planes else (g.n, *s[1:], s[0]) for s in (src, dst))
        every = [[*self.layer.spread_jobs()], *self.layer.columns()] if by_channels else list(self.layer.units())
        self.rows = [row for unit in every for row in unit]
        self.table = Table(self.rows)
        self.weight_table = None if by_channels else Table([row for unit in self.layer.weight_jobs() for row in unit])
        self.weight = None

    def set(self, weight, bias):
        """Take a weight (c_in, c_out, k_h, k_w) and a bias, and prepare the weight if that is the way."""
        self.weight = np.ascontiguousarray(weight, self.dtype)
        self.memory["bias"][: len(bias)] = bias
        if self.weight_table:
            self.prepare()

    def prepare(self):
        self.weight_table.run(self.addresses())

    def addresses(self, x=None, y=None):
        own = {"x": x, "y": y, "w": self.weight, **self.memory}
        return [0, *(0 if own.get(name) is None else jobs.address(own[name]) for name in NAMES)]

    def run(self, x, y):
        self.table.run(self.addresses(x, y))

    def only(self, kernel):
        """A call like `run` of the jobs of one kernel (its WORDS) alone."""
        table = Table([row for row in self.rows if row["words"] is kernel])
        return lambda x, y: table.run(self.addresses(x, y))

    @property
    def flags(self):
        """(that of the weight, those of the blocks of tiles)."""
        words = self.memory["aux"][: 64 + 8 * self.layer.flags].view(np.int64)
        return words[0], words[8:]
