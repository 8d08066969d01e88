"""A machine is a row of numbers, one for each instruction set: what it does in a second, for predictions.

A prediction is a sum of amounts of work (`schedule.estimate`) over these rates. It has to be right within a factor of
two, so that algorithms are put in the right order and short calls are told from long ones; it is never a measurement of
the day, because the same problem must always be computed in the same way. `benchmarks/fit_machine.py` makes a row.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates of one core: how many a second.

    Attributes:
        gemm, planes, correlate: multiply-adds of whole vectors, by kernel; the depthwise kernels count with planes.
        loads: vectors of pixels read where they lie, by the kernels that do so.
        jobs, calls: of each, what it takes to begin one.
        places: pixels whose offsets are noted.
        turned, packed: bytes of maps turned from planes to pixels or back, and of weights packed.
        totals: bytes of a gradient in the weight, each time that they are added to.
        bytes: of operands and result, read or written once.
        copied: bytes copied on the way to another dtype and back.
        int64: how many times as long a multiply-add of integers takes.
    """

    gemm: float
    planes: float
    correlate: float
    loads: float
    jobs: float
    calls: float
    places: float
    turned: float
    packed: float
    totals: float
    bytes: float
    copied: float = 4e9
    int64: float = 1.0

    def seconds(self, work, dtype="float32"):
        """Predicted seconds of some work (amounts by the names above) on one core.

        >>> ROWS["avx512"].seconds({"calls": 1}) == 1 / ROWS["avx512"].calls
        True
        """
        slower = self.int64 if dtype == "int64" else 1.0
        multiplied = ("gemm", "planes", "correlate")
        return sum(
            amount / getattr(self, name) * (slower if name in multiplied else 1.0) for name, amount in work.items()
        )


# Fitted by benchmarks/fit_machine.py on one virtual machine (AMD Zen 5). None had NEON: its rates are half of SSE2's.
ROWS = {
    "avx512": Machine(7e9, 5e9, 6e9, 5e9, 1e7, 8e4, 1e9, 3e10, 2e10, 1e10, 8e10, int64=1.5),
    "avx2": Machine(6.8e9, 5e9, 5e9, 7e9, 1e7, 7e4, 1e9, 3e10, 1.5e10, 1e10, 1e11, int64=4.0),
    "x86-64": Machine(4.8e9, 5e9, 4e9, 9e9, 1e7, 7e4, 7e8, 2e10, 1.5e10, 1e10, 1e11, int64=4.0),
    "neon": Machine(2.4e9, 2.5e9, 2e9, 4.5e9, 5e6, 4e4, 5e8, 1e10, 1e10, 5e9, 5e10, int64=4.0),
}
OTHERS = "avx2"


def row(isa):
    """The row of an instruction set by its name; one that nobody has measured yet gets that of `OTHERS`."""
    return ROWS.get(isa, ROWS[OTHERS])
