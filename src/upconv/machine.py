"""A machine is a row of numbers, one for each instruction set: what it does in a second, for predictions.

A prediction is a sum of amounts of work over these rates. Ways are compared by it, so it has to put them in the right
order; it is never a measurement of the day, because the same problem must always be computed in the same way.
`benchmarks/fit_machine.py` makes a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What is counted, and in which unit. An algorithm's `work` names amounts of these.
AMOUNTS = {
    "calls": "calls from Python",
    "jobs": "tasks: what it takes to make one and to begin it",
    "places": "pixels, or vectors of a row, whose offsets are noted",
    "bytes": "bytes of operands and result, read or written once",
    "transposed": "bytes of maps turned from channels-first to channels-last or back",
    "packed": "bytes of weights packed",
    "copied_bands": "bytes of maps copied, so that channels do not crowd the cache",
    "copied": "bytes copied by NumPy for a rewrite",
    "tiles": "tiles of gemm: what it takes to begin and to end one",
    "gemm1": "multiply-adds of vectors in tiles of one vector across",
    "gemm2": "likewise two across",
    "gemm3": "likewise three",
    "gemm4": "likewise four",
    "direct_rows": "multiply-adds of vectors in tiles of rows",
    "direct_rows_loads": "vectors of pixels that they read, at any address",
    "direct_rows_tiles": "tiles of rows",
    "depthwise_rows": "multiply-adds of vectors",
    "depthwise_rows_vectors": "vectors written",
    "depthwise_rows_rows": "rows of a channel",
    "depthwise_channels": "multiply-adds of vectors",
    "depthwise_channels_vectors": "vectors written",
    "weight_streaming": "multiply-adds of vectors",
    "weight_streaming_sums": "vectors of sums, cleared and added up",
    "streamed": "bytes of weights read where they lie",
    "weight_gradient": "multiply-adds of vectors",
    "totals": "bytes of a gradient in the weight, each time that they are added to",
}
# These take longer for integers, of which no machine multiplies 64-bit vectors quickly.
MULTIPLIED = ("gemm", "direct_rows", "depthwise", "weight_")


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates of one core: how many a second of each of AMOUNTS that `rates` names; what it does not name costs nothing.

    `int64` is how many times as long a multiply-add of integers takes.
    """

    rates: Mapping[str, float] = field(hash=False)
    int64: float = 1.0

    def seconds(self, work: Mapping[str, float], dtype="float32") -> float:
        """Predicted seconds of some work (amounts by the names above) on one core.

        >>> ROWS["avx512"].seconds({"calls": 1}) == 1 / ROWS["avx512"].rates["calls"]
        True
        """
        slower = self.int64 if dtype == "int64" else 1.0
        total = 0.0
        for name, amount in work.items():
            rate = self.rates.get(name)
            if rate:
                total += amount / rate * (slower if slower != 1.0 and name.startswith(MULTIPLIED) else 1.0)
        return total


def _rates(fma, **more):
    """A row in which every kernel multiplies at the same rate, but for what was measured."""
    kernels = "gemm1 gemm2 gemm3 gemm4 direct_rows depthwise_rows depthwise_channels weight_streaming weight_gradient"
    rates = dict.fromkeys(kernels.split(), fma)
    rates |= {"calls": 8e4, "jobs": 1e7, "places": 1e9, "tiles": 4e7, "direct_rows_loads": 5e9, "copied": 4e9}
    rates |= {"transposed": 3e10, "packed": 1.5e10, "copied_bands": 3e10, "bytes": 8e10, "totals": 1e10}
    rates |= {"streamed": 1.2e10, "weight_streaming_sums": 5e9}
    return rates | more


ROWS = {
    "avx512": Machine(_rates(7e9, direct_rows=5e9, weight_gradient=6e9), int64=1.5),
    "avx2": Machine(_rates(6.8e9, direct_rows=5e9, weight_gradient=5e9, direct_rows_loads=7e9), int64=4.0),
    "x86-64": Machine(_rates(4.8e9, direct_rows=5e9, weight_gradient=4e9, direct_rows_loads=9e9), int64=4.0),
    "neon": Machine(_rates(2.4e9, weight_gradient=2e9), int64=4.0),
}
OTHERS = "avx2"


def row(isa: str) -> Machine:
    """The row of an instruction set by its name; one that nobody has measured yet gets that of `OTHERS`."""
    return ROWS.get(isa, ROWS[OTHERS])
