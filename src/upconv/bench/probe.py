"""What the machine itself can do, measured with generated kernels: the clock, the peak of FMAs, a copy of n bytes.

    clock   a chain of dependent integer operations, one cycle each on every core of interest
    peak    independent chains of fused multiply-adds that never leave the registers
    copy    half of a row's bytes read and half written, over three sources in turn as the engines' inputs are

With several threads each runs the same kernel at the same time on its own share.
"""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from statistics import median
from time import perf_counter

import numpy as np

from ..codegen.isa import Isa
from ..codegen.lang import I64, PTR, SIZES, Builder, Type
from ..runtime.kernel import isa, linked
from .layers import BUFFERS, FLOAT_BYTES

F32 = "f32"
CHAIN = 64
CYCLES_A_LINK = 2
REGISTERS_KEPT_FREE = 8
COPY_VECTORS = 4
SLICES = 5
ALIGNMENT = 64


def fma_chains(isa: Isa):
    """Peak: as many independent chains as registers allow, each ``v = v*a + b``; job (count, operands, results)."""
    k = Builder(f"bench_fma_{isa.name}")
    count, operands, results = k.arguments(I64, PTR, PTR)
    vector = Type(F32, isa.lanes(SIZES[F32]))
    a, b = (k.splat(k.load(operands + place * vector.scalar.size, vector.scalar), vector) for place in (0, 1))
    chains = [k.variable(k.load(results + place * vector.size, vector)) for place in range(chain_count(isa))]
    with k.loop(0, count):
        for chain in chains:
            chain.set(k.muladd(chain.get(), a, b))
    for place, chain in enumerate(chains):
        k.store(chain.get(), results + place * vector.size)
    return k


def chain_count(isa: Isa):
    return isa.registers - REGISTERS_KEPT_FREE if isa.registers > 16 else 12


def fma_flops(isa: Isa):
    """FLOPs of one turn of the loop of `fma_chains`."""
    return 2 * isa.lanes(SIZES[F32]) * chain_count(isa)


def dependent_adds(isa: Isa):
    """Clock: `CHAIN` links ``v = (v + a) & m`` a turn, which no compiler can shorten; job (count, a, m, result)."""
    k = Builder(f"bench_clock_{isa.name}")
    count, a, m, result = k.arguments(I64, I64, I64, PTR)
    value = k.variable(k.load(result, I64))
    with k.loop(0, count):
        link = value.get()
        for _ in range(CHAIN):
            link = k.iand(link + a, m)
        value.set(link)
    k.store(value.get(), result)
    return k


def copies(isa: Isa):
    """Copy: job (turns, bytes, destination, sources...); bytes is a multiple of `COPY_VECTORS` vectors."""
    k = Builder(f"bench_copy_{isa.name}")
    turns, size, destination, *sources = k.arguments(I64, I64, *[PTR] * (1 + BUFFERS))
    vector = Type(F32, isa.lanes(SIZES[F32]))
    with k.loop(0, turns):
        for source in sources:
            with k.loop(0, size, COPY_VECTORS * vector.size) as at:
                lines = [k.load(source + at + v * vector.size, vector) for v in range(COPY_VECTORS)]
                for v, line in enumerate(lines):
                    k.store(line, destination + at + v * vector.size)
    return k


@lru_cache(maxsize=8)
def native(make):
    """A probe kernel as a callable of one address."""
    # Only a process that measures may pay for the compiler.

    return isa(), linked(make).function()


class Probe:
    """The machine as one more engine: takes its turns in the same rounds."""

    def __init__(self, threads=1):
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self.buffers = None

    def together(self, work):
        """Seconds from a common start until every thread has run ``work(number)``."""
        if self.pool is None:
            start = perf_counter()
            work(0)
            return perf_counter() - start
        barrier = threading.Barrier(self.threads)

        def timed(number):
            barrier.wait()
            start = perf_counter()
            work(number)
            return start, perf_counter()

        others = [self.pool.submit(timed, number) for number in range(1, self.threads)]
        times = [timed(0), *(other.result() for other in others)]
        return max(end for _, end in times) - min(start for start, _ in times)

    def peak(self, seconds=0.002):
        """FLOPs per second of all threads together."""
        isa, run = native(fma_chains)
        operands = np.array([0.5, 0.5], np.float32)
        count = max(1, int(seconds * 4e9 / chain_count(isa) * 2))
        results = [np.ones(chain_count(isa) * isa.lanes(FLOAT_BYTES), np.float32) for _ in range(self.threads)]
        jobs = [_job(count, operands, result) for result in results]
        time = self.together(lambda number: run(jobs[number].ctypes.data))
        return self.threads * count * fma_flops(isa) / time

    def clock(self, seconds=0.002):
        """Cycles per second of one thread."""
        _, run = native(dependent_adds)
        count = max(1, int(seconds * 3e9 / (CHAIN * CYCLES_A_LINK)))
        result = np.zeros(1, np.int64)
        job = _job(count, 3, 255, result)
        start = perf_counter()
        run(job.ctypes.data)
        return count * CHAIN * CYCLES_A_LINK / (perf_counter() - start)

    def prepare(self, size):
        """Make the buffers for copies that move `size` bytes in all, half of them read and half written."""
        isa, _ = native(copies)
        step = COPY_VECTORS * isa.vector_bytes
        share = max(step, -(-size // (2 * self.threads * step)) * step)
        arrays = [_aligned(share * self.threads) for _ in range(1 + BUFFERS)]
        self.buffers = share, [array.ctypes.data for array in arrays], arrays

    def copy(self, seconds=0.005):
        """Seconds to copy what `prepare` was told: the faster of a plain loop of vectors and the C library's memcpy."""
        return min(self._copy(method, seconds) for method in (self._loop, self._memcpy))

    def _copy(self, method, seconds):
        once = self.together(lambda number: method(number, 1))
        turns = max(1, int(seconds / max(once, 1e-7)))
        return self.together(lambda number: method(number, turns)) / (turns * BUFFERS)

    def _loop(self, number, turns):
        share, addresses, _ = self.buffers
        _, run = native(copies)
        job = _job(turns, share, *(address + number * share for address in addresses))
        run(job.ctypes.data)

    def _memcpy(self, number, turns):
        share, (destination, *sources), _ = self.buffers
        for _ in range(turns):
            for source in sources:
                ctypes.memmove(destination + number * share, source + number * share, share)

    def round(self, seconds):
        """One turn: medians of slices, peak and clock in alternation so that both see the same machine."""
        slice_ = seconds / (4 * SLICES)
        pairs = [(self.peak(slice_), self.clock(slice_)) for _ in range(SLICES)]
        peak, clock = map(median, zip(*pairs, strict=True))
        return {"peak": peak, "clock": clock, "copy": self.copy(seconds / 4)}


def _job(*words):
    return np.array([w.ctypes.data if isinstance(w, np.ndarray) else w for w in words], np.int64)


def _aligned(size):
    """Touched memory of `size` bytes that begins on a cache line."""
    raw = np.ones(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
