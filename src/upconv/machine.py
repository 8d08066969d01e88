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
    "tasks": "tasks of kernels: what it takes to make one and to begin it",
    "places": "pixels, or vectors of a row, whose offsets are noted for a block of channels",
    "bytes": "bytes of operands and result, read or written once",
    "transposed": "bytes of maps transposed from channels-first to channels-last or back",
    "transposed_crowded": "likewise of maps of which channels crowd the cache",
    "packed": "bytes of weights packed",
    "packed_parts": "likewise, in parts that are near when they are used",
    "pieces": "bytes of a large result whose pixels are written in pieces, one after another for the whole result",
    "panels": "bytes of packed or transformed weights that come from far away, each time that a task reads them",
    "copied_bands": "bytes copied in a band: maps whose channels crowd the cache, or a line to rows without taps",
    "copied": "bytes copied by NumPy for a rewrite",
    "converted": "bytes of halves and of the float32 that they become, or are made of",
    "converted_bands": "likewise, band by band on the way into the cache and out of it",
    "tiles": "tiles of gemm: what it takes to begin and to end one",
    "tap_runs": "taps, or rows of taps as one run, that a tile of gemm begins in the gradient in the input",
    "gemm_taps": "taps that a tile of gemm begins in the forward pass",
    "gemm1": "multiply-adds of vectors in tiles of one vector across",
    "gemm2": "likewise two across",
    "gemm3": "likewise three",
    "gemm4": "likewise four",
    "phase_blocks": "multiply-adds of vectors in tiles of all phases",
    "phase_blocks_waits": "those that they could have done while they wait",
    "phase_blocks_empty": "vectors of the result without taps",
    "phase_blocks_bytes": "bytes of panels that do not stay in the first-level cache, for each tile",
    "direct_rows": "multiply-adds of vectors in tiles of rows",
    "direct_rows_loads": "vectors of pixels that they read, at any address",
    "direct_rows_tiles": "tiles of rows",
    "direct_rows_apart": "values of rows whose phases are written one by one",
    "direct_rows_masked": "multiply-adds of vectors in tiles that reach beyond a row, which are under masks",
    "direct_rows_masks": "vectors of such tiles, for each tap: what it takes to find their masks",
    "columns_apart": "vectors of pixels that are read to be brought together, some columns apart, by shuffles",
    "strips": "multiply-adds of vectors in tiles of all taps by strips of pixels",
    "strip_tiles": "tiles of strips",
    "copied_strips": "bytes of maps copied into strips",
    "folded": "vectors of products that are added up where they belong, and vectors of sums",
    "folded_masked": "vectors of products that are added up under masks",
    "depthwise_rows": "multiply-adds of vectors",
    "depthwise_rows_taps": "multiply-adds of vectors, where those of a row of taps are written out",
    "depthwise_rows_waits": "those that they could have done while they wait, or bring many phases together",
    "depthwise_rows_loops": "multiply-adds of vectors, where taps are too many to be written out",
    "depthwise_rows_masked": "multiply-adds of vectors under masks, where rows end",
    "depthwise_rows_vectors": "vectors written",
    "depthwise_rows_rows": "rows of a channel",
    "depthwise_channels": "multiply-adds of vectors",
    "depthwise_channels_waits": "those that wait longer for what they read: of vectors that go one at a time",
    "depthwise_channels_vectors": "vectors written",
    "weight_streaming": "multiply-adds of vectors",
    "weight_streaming_sums": "vectors of sums, cleared and each time that they are added to",
    "streamed": "bytes of weights read where they lie, and of a source that comes again",
    "widened": "numbers of a weight of halves that a kernel makes float32",
    "tap_streaming": "multiply-adds of vectors",
    "tap_streaming_loads": "numbers of the input that it and `weight_streaming` read, each for some vectors",
    "tap_streaming_sums": "vectors of sums, each time that they are added to",
    "tap_streaming_places": "pixels whose offsets are noted for a tap of a block of channels",
    "tap_streaming_written": "vectors of the result, filled with the bias at first and written at last",
    "column_products": "multiply-adds of vectors that run along a sum",
    "column_vectors": "vectors of columns, written for them",
    "column_sums": "sums whose lanes are added up",
    "winograd": "multiply-adds of vectors in the product of transformed tiles",
    "winograd_moved": "bytes of tiles spread, and of their products gathered",
    "winograd_weight": "bytes of weights transformed in the call",
    "winograd_sums": "bytes of sums of a gradient at each position, each time that they are added to",
    "winograd_cut": "tiles of a gradient, in each phase, whose channels do not fill whole vectors",
    "weight_gradient": "multiply-adds of vectors",
    "weight_blocks": "multiply-adds of vectors",
    "weight_blocks_waits": "those that tiles which are not large could have done while they wait",
    "weight_blocks_vectors": "vectors of the map along the vector, each time that a tile reads one",
    "weight_blocks_rows": "rows of a tap and a tile of sums",
    "weight_depthwise": "multiply-adds of vectors",
    "columns": "bytes of lines in the order of the weight that do not stay near, each time that one is read",
    "column_rows": "vectors of the taps of a row, copied into lines in the order of the weight",
    "packed_pixels": "bytes of maps packed for them",
    "totals": "bytes of a gradient in the weight, each time that they are added to",
}
# These take longer for integers, of which no machine multiplies 64-bit vectors quickly.
MULTIPLIED = (
    "gemm",
    "direct_rows",
    "depthwise",
    "weight_",
    "column_products",
    "strips",
    "tap_streaming",
    "phase_blocks",
)


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
        rates, total, slower = self.rates, 0.0, MULTIPLIED if dtype == "int64" else ()
        for name, amount in work.items():
            if amount and name in rates:
                total += amount / rates[name] * self.int64 if name.startswith(slower) else amount / rates[name]
        return total


# Fitted by `python benchmarks/fit_machine.py --from FILE... --fit` on virtual machines with Intel Xeons, to the layers
# of the table and to random ones. Their scale is that of the first machine, of the fifth generation.
ROWS = {
    "avx512": Machine(
        {
            "gemm_taps": 3.47e09,
            "gemm1": 3.11e09,
            "gemm2": 4.13e09,
            "gemm3": 5.05e09,
            "gemm4": 4.69e09,
            "phase_blocks": 4.59e09,
            "phase_blocks_empty": 4.85e08,
            "phase_blocks_waits": 3.58e09,
            "phase_blocks_bytes": 4.42e11,
            "direct_rows": 4.31e09,
            "depthwise_rows": 1.51e09,
            "depthwise_rows_taps": 1.45e09,
            "depthwise_rows_waits": 2.38e09,
            "depthwise_rows_loops": 2.6e08,
            "direct_rows_apart": 2.06e09,
            "columns_apart": 2.36e09,
            "tap_streaming_loads": 5.3e09,
            "depthwise_channels": 2.38e09,
            "depthwise_channels_waits": 4.5e09,
            "weight_streaming": 4.5e09,
            "tap_streaming": 5.5e09,
            "tap_streaming_sums": 1.66e09,
            "tap_streaming_places": 6.56e08,
            "tap_streaming_written": 8.04e08,
            "column_products": 3.68e09,
            "column_vectors": 3.04e08,
            "column_sums": 6.62e08,
            "weight_gradient": 3.63e09,
            "weight_blocks": 4.79e09,
            "weight_blocks_vectors": 1.45e10,
            "column_rows": 1.6e08,
            "columns": 3.01e10,
            "weight_depthwise": 1.19e09,
            "weight_blocks_waits": 4e09,
            "weight_blocks_rows": 6.31e08,
            "packed_pixels": 3.04e10,
            "calls": 3.09e04,
            "tasks": 2.98e07,
            "places": 3.33e08,
            "tap_runs": 1.62e08,
            "tiles": 7.09e07,
            "direct_rows_loads": 1.82e09,
            "strips": 5.13e09,
            "strip_tiles": 2.79e07,
            "copied_strips": 3.75e10,
            "folded": 7.49e08,
            "folded_masked": 7.41e09,
            "copied": 4e09,
            "converted": 7.5e09,
            "converted_bands": 2.4e10,
            "widened": 6e10,
            "transposed": 1.65e10,
            "transposed_crowded": 3.08e10,
            "packed": 6.42e09,
            "packed_parts": 9.64e09,
            "pieces": 3.4e10,
            "panels": 3.01e10,
            "copied_bands": 1.15e11,
            "bytes": 2.68e10,
            "totals": 2.96e10,
            "streamed": 2.49e10,
            "weight_streaming_sums": 7.5e08,
            "direct_rows_tiles": 1.58e07,
            "direct_rows_masked": 2.84e10,
            "direct_rows_masks": 1.47e09,
            "depthwise_rows_vectors": 1.5e09,
            "depthwise_rows_rows": 2.31e08,
            "depthwise_rows_masked": 9.71e09,
            "winograd": 5.16e09,
            "winograd_moved": 2.07e10,
            "winograd_weight": 6.14e09,
            "winograd_sums": 2.92e10,
            "winograd_cut": 2.41e07,
            "depthwise_channels_vectors": 5.5e08,
        },
        int64=1.5,
    ),
    "avx2": Machine(
        {
            "gemm_taps": 3.06e08,
            "gemm1": 4.95e09,
            "gemm2": 6.56e09,
            "gemm3": 6.63e09,
            "gemm4": 6.8e09,
            "phase_blocks": 5.91e09,
            "phase_blocks_empty": 5.26e08,
            "phase_blocks_waits": 4.54e09,
            "phase_blocks_bytes": 4.46e11,
            "direct_rows": 6.83e09,
            "depthwise_rows": 2.32e09,
            "depthwise_rows_taps": 1.31e09,
            "depthwise_rows_waits": 4.13e09,
            "depthwise_rows_loops": 1.96e08,
            "direct_rows_apart": 1.71e09,
            "columns_apart": 6.24e09,
            "tap_streaming_loads": 5.57e09,
            "depthwise_channels": 3.2e09,
            "depthwise_channels_waits": 3.8e09,
            "weight_streaming": 7.9e09,
            "tap_streaming": 9.25e09,
            "tap_streaming_sums": 4.69e09,
            "tap_streaming_places": 1.2e09,
            "tap_streaming_written": 4.87e08,
            "column_products": 4.86e09,
            "column_vectors": 3.46e08,
            "column_sums": 5.27e08,
            "weight_gradient": 4.61e09,
            "weight_blocks": 6.7e09,
            "weight_blocks_vectors": 5.44e10,
            "column_rows": 2.05e08,
            "columns": 2.03e10,
            "weight_depthwise": 1.81e09,
            "weight_blocks_waits": 6.48e09,
            "weight_blocks_rows": 6.34e08,
            "packed_pixels": 4.78e10,
            "calls": 3.06e04,
            "tasks": 6.5e07,
            "places": 4.36e08,
            "tap_runs": 1.15e08,
            "tiles": 1.41e08,
            "direct_rows_loads": 2.52e09,
            "strips": 7.12e09,
            "strip_tiles": 8.82e07,
            "copied_strips": 5.03e10,
            "folded": 2.12e09,
            "folded_masked": 5.83e08,
            "copied": 4e09,
            "converted": 7.5e09,
            "converted_bands": 2.4e10,
            "widened": 4e10,
            "transposed": 1.41e10,
            "transposed_crowded": 2.63e10,
            "packed": 8.79e09,
            "packed_parts": 1.06e10,
            "pieces": 1.6e10,
            "panels": 2.89e10,
            "copied_bands": 1.33e11,
            "bytes": 2.66e10,
            "totals": 2.88e10,
            "streamed": 3.1e10,
            "weight_streaming_sums": 1.45e09,
            "direct_rows_tiles": 3.99e07,
            "direct_rows_masked": 2.4e09,
            "direct_rows_masks": 3.78e08,
            "depthwise_rows_vectors": 2e09,
            "depthwise_rows_rows": 2.31e08,
            "depthwise_rows_masked": 9.57e09,
            "winograd": 8.27e09,
            "winograd_moved": 2.77e10,
            "winograd_weight": 7.29e09,
            "winograd_sums": 3.48e10,
            "winograd_cut": 2.91e07,
            "depthwise_channels_vectors": 7.5e08,
        },
        int64=4.0,
    ),
}
# None had NEON, and SSE2 was not fitted anew: their rates are those of AVX2 for vectors of half the width.
ROWS["x86-64"] = ROWS["avx2"]
ROWS["neon"] = ROWS["avx2"]
OTHERS = "avx2"


def row(isa: str) -> Machine:
    """The row of an instruction set by its name; one that nobody has measured yet gets that of `OTHERS`."""
    return ROWS.get(isa, ROWS[OTHERS])
