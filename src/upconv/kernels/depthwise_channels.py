"""Every channel with a kernel of its own: channels along the vector on both sides.

    y[pixel, v]  =  bias[v]  +  sum over taps of  x[pixel + tap, v] * w[tap, v]

    x, y   the channels of a pixel consecutive; `columns` of them
    w      for each tap a line of whole vectors

A task is a segment, images x rows x cols pixels on any strides. With so few products for each value moved, the point is
to load a weight once for `mr` pixels of a row; the last `mr` of a row are shifted back to end with it (equal values are
computed again), and shorter rows go pixel by pixel.
"""

from ..codegen.isa import Isa
from ..codegen.lang import SIZES, Builder, Type
from .epilogue import Epilogue, suffix
from .some_lanes import store_some

FIELDS = tuple(
    "entry x y w bias n_h n_w x_h x_w w_h w_w n rows cols x_n x_row x_col y_n y_row y_col columns slope".split()
)
# Pixels of a row at a time, by the number of vector registers.
HEIGHT = {32: 5, 16: 4}
# Channels that a row is gone along for: their weights stay in the first-level cache, and what they read of a pixel is
# long enough to be fetched ahead.
CHANNELS_AT_ONCE = 512
# Vectors across, by the number of vector registers; channels that do not fill so many go one vector at a time.
ACROSS = {32: 4, 16: 2}
POINTERS = {"x", "y", "w", "bias"}


def macs(task, lanes, elem, mr, activation="none"):
    """Multiply-adds of a task, those included that no output needs."""
    cols = -(-task["cols"] // mr) * mr if task["cols"] >= mr else task["cols"]
    columns = -(-task["columns"] // lanes) * lanes
    return task["n"] * task["rows"] * cols * columns * task["n_h"] * task["n_w"]


def depthwise_channels(isa: Isa, elem, mr, activation="none"):
    """The kernel for mr pixels at a time."""
    k = Builder(f"depthwise_channels_{elem}_{mr}{suffix(activation)}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    task = k.fields(FIELDS, POINTERS)
    nv, cols = ACROSS[isa.registers], task["cols"]
    across, wide = nv * vector.lanes, k.less(mr - 1, cols)
    epilogue = Epilogue(k, vector, activation, FIELDS.index("slope"))
    with (
        k.loop(0, task["n"]) as n,
        k.loop(0, task["rows"]) as row,
        k.loop(0, task["columns"], CHANNELS_AT_ONCE) as begin,
    ):
        x = task["x"] + n * task["x_n"] + row * task["x_row"]
        y = task["y"] + n * task["y_n"] + row * task["y_row"]
        tile, end = _Tile(k, task, vector, x, y, epilogue), k.imin(begin + CHANNELS_AT_ONCE, task["columns"])
        whole = begin + k.shift_right(end - begin, across.bit_length() - 1) * across
        for count, step in ((k.select(wide, cols, 0), mr), (k.select(wide, 0, cols), 1)):
            with k.loop(0, count, step) as col:
                first = k.imin(col, cols - step)
                with k.loop(begin, whole, across) as column:
                    tile.run(first, column, step, nv)
                with k.loop(whole, end, vector.lanes) as column:
                    tile.run(first, column, step, 1, end - column)
    return k


class _Tile:
    """Some pixels of a row by some vectors of channels."""

    def __init__(self, k, task, vector, x, y, epilogue):
        self.k, self.task, self.vector, self.x, self.y, self.epilogue = k, task, vector, x, y, epilogue

    def run(self, first, column, mr, nv, left=None):
        """mr pixels from `first` on, and nv vectors of channels, or one of which `left` channels exist."""
        k, task, vector = self.k, self.task, self.vector
        mask = None if left is None else k.lane_mask(left, vector)
        here = column * vector.scalar.size
        parts = [v * vector.size for v in range(nv)]
        x, y = self.x + first * task["x_col"] + here, self.y + first * task["y_col"] + here
        sums = [[k.variable(k.load(task["bias"] + here + part, vector)) for part in parts] for _ in range(mr)]
        with k.loop(0, task["n_h"]) as t_h, k.loop(0, task["n_w"]) as t_w:
            x_tap = x + t_h * task["x_h"] + t_w * task["x_w"]
            w_tap = task["w"] + t_h * task["w_h"] + t_w * task["w_w"] + here
            weights = [k.load(w_tap + part, vector) for part in parts]
            for r, row in enumerate(sums):
                for variable, weight, part in zip(row, weights, parts, strict=True):
                    pixel = k.load(x_tap + task["x_col"] * r + part, vector, mask)
                    variable.set(k.muladd(pixel, weight, variable.get()))
        if left is not None:
            values = [self.epilogue(variable.get()) for (variable,) in sums]
            store_some(k, vector, 0, left, values, [y + task["y_col"] * r for r in range(mr)])
            return
        for r, row in enumerate(sums):
            for variable, part in zip(row, parts, strict=True):
                k.store(self.epilogue(variable.get()), y + task["y_col"] * r + part)
