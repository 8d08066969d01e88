"""An image larger than memory through one layer: 60,000 x 60,000 pixels, 3 channels in and out, kernel 4, stride 2.

    python examples/larger_than_memory.py [--size 60000] [--rows 32] [--workers 2] [--limit 2]

The input (43 GB) is a formula that is evaluated band by band, the result (173 GB) is reduced to its extremes band by
band, and neither is ever whole. Windows of the result are compared with a call on the inputs that reach them. Prints
the time and the peak of the process's memory, and ends with status 1 if that is above the limit in GiB or a window
differs. Needs `upconv[dask]`.

A band has all columns and some rows: its neighbours are two, so few bands wait for each other at any time. Square
blocks work as well, but a whole row of them stays in memory until the row below has been computed.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np

import upconv
import upconv.dask

CHANNELS, KERNEL, STRIDE, PADDING = 3, 4, 2, 1


def picture(first_row, first_column, rows, columns):
    """(1, 3, rows, columns): some waves, whose values depend on the place in the whole alone."""
    y, x = np.arange(first_row, first_row + rows), np.arange(first_column, first_column + columns)
    made = np.empty((1, CHANNELS, rows, columns), np.float32)
    for channel in range(CHANNELS):
        down, across = np.sin(y * (0.011 + 0.003 * channel)), np.cos(x * (0.017 - 0.004 * channel))
        np.multiply.outer(down.astype(np.float32), across.astype(np.float32), out=made[0, channel])
    return made


def lazy_picture(size, height):
    """The whole picture as a dask array of which nothing is computed yet."""

    def make(block_info=None):
        (_, _, rows, columns) = block_info[None]["array-location"]
        return picture(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])

    bands = [height] * (size // height) + [size % height] * (size % height > 0)
    chunks = (1,), (CHANNELS,), tuple(bands), (size,)
    return da.map_blocks(make, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))


def window_differs(lazy, weight, size, row, column, side=24):
    """Whether a window of the result, over the borders of bands, is other than that of a call on its surroundings."""
    wide = 2 * side
    row, column = (min(max(0, place), size - wide) for place in (row, column))
    alone = upconv.conv_transpose2d(picture(row, column, wide, wide), weight, None, STRIDE, PADDING)
    inner = slice(side, -side)
    place = [slice(STRIDE * at + side, STRIDE * (at + wide) - side) for at in (row, column)]
    made = lazy[:, :, place[0], place[1]].compute()
    return not np.allclose(made, alone[:, :, inner, inner], rtol=1e-5, atol=1e-5)


def most_memory():
    """KiB of the most memory that this program had.

    Linux counts in `ru_maxrss` what the process had before it became this program, a copy of the one that started it.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return marks[0] if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=60_000, help="pixels of a side")
    parser.add_argument("--rows", type=int, default=32, help="pixels of a band's height")
    parser.add_argument("--workers", type=int, default=2, help="bands at a time, each on one thread")
    parser.add_argument("--limit", type=float, default=2, help="GiB")
    options = parser.parse_args()
    upconv.set_num_threads(1)
    weight = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS, KERNEL, KERNEL)).astype(np.float32)
    x = lazy_picture(options.size, options.rows)
    y = upconv.dask.conv_transpose2d(x, weight, None, STRIDE, PADDING)
    print(f"{x.shape} to {y.shape}: {x.nbytes / 1e9:.1f} GB to {y.nbytes / 1e9:.1f} GB", flush=True)
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=options.workers):
        least, most = dask.compute(y.min(), y.max())
        seconds = time.perf_counter() - start
        middle = options.size // 2
        places = [(0, 0), (middle, middle), (options.rows, options.size), (options.size, middle)]
        different = sum(window_differs(y, weight, options.size, *place) for place in places)
    peak = most_memory() / 2**20
    print(f"values from {least:.4f} to {most:.4f}; {len(places)} windows compared, {different} differ")
    print(f"{seconds:.0f} s, peak memory {peak:.2f} GiB (limit {options.limit:g} GiB)")
    return int(peak > options.limit or different > 0)


if __name__ == "__main__":
    sys.exit(main())
