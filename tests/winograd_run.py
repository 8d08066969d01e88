"""Whole layers by Winograd's tasks, in memory that the tests know, beside the definition."""

import numpy as np

from upconv.algorithms import matmul
from upconv.geometry import Axis, Geometry
from upconv.kernels.execute import execute
from upconv.problem import NO_ACTIVATION, Problem
from upconv.runtime.kernel import function
from upconv.runtime.program import COUNTER, ROW, Grid, Job, Nest, Program, Stage, address
from upconv.schedule.winograd_bands import Map
from upconv.schedule.winograd_layer import Bases, Layer, Setting

NAMES = Bases.__slots__
NUMBERS = Bases(*range(1, len(NAMES) + 1))
LIGHT = {1: 2, 2: 3, 3: 2}
EVEN = {1: 2, 2: 2, 3: 2}
EVERY = {1: 3, 2: 4, 3: 3}
HEAVY = {1: 1, 2: 4, 3: 4}
# name: n, c_in, c_out, (n, k, s, crop_lo, crop_hi) on each axis, Setting
LAYERS = {
    "k4s2": (1, 20, 35, (7, 4, 2, 1, 1), (8, 4, 2, 1, 1), Setting((LIGHT, LIGHT), (1, 2, 2), 32)),
    "k4s2-uneven": (2, 5, 3, (3, 4, 2, -2, 3), (4, 4, 2, 2, -3), Setting((LIGHT, LIGHT), (2, 1, 9), 16)),
    "k4s2-own-tiles": (
        3,
        70,
        17,
        (4, 4, 2, 1, 1),
        (4, 4, 2, 1, 1),
        Setting((EVEN, EVEN), (2, 9, 9), 32, apart=(True, True)),
    ),
    "k3s1": (1, 16, 33, (6, 3, 1, 1, 1), (9, 3, 1, 1, 1), Setting((HEAVY, HEAVY), (1, 1, 2), 32, chunk=32)),
    "k3s1-mixed": (
        1,
        67,
        9,
        (5, 3, 1, 0, 2),
        (6, 3, 1, 1, 0),
        Setting((LIGHT, HEAVY), (1, 1, 2), 16, chunk=32, longest=16),
    ),
    "k3s1-short-sums": (1, 67, 9, (5, 3, 1, 0, 2), (6, 3, 1, 1, 0), Setting((LIGHT, EVERY), (1, 1, 2), 16, longest=16)),
    "k5s2": (1, 9, 18, (5, 5, 2, 2, 1), (6, 5, 2, 2, 1), Setting((EVEN, EVEN), (1, 2, 1), 16)),
    "k3s2": (2, 17, 20, (4, 3, 2, 1, 0), (5, 3, 2, 1, 0), Setting(({1: 3, 2: 3},) * 2, (1, 1, 1), 16)),
    "k4s2-short-sums": (1, 11, 3, (2, 4, 2, 1, 1), (2, 4, 2, 1, 1), Setting((LIGHT, LIGHT), (1, 1, 1), 16, longest=4)),
    "row": (1, 33, 21, (1, 1, 1, 0, 0), (40, 4, 2, 1, 1), Setting((HEAVY, HEAVY), (1, 1, 5), 16)),
    "row-s8": (1, 18, 5, (1, 1, 1, 0, 0), (13, 16, 8, 4, 4), Setting((HEAVY, LIGHT), (1, 1, 4), 16)),
    # Blocks of 48, 32 and 20 channels.
    "k4s2-columns": (1, 9, 100, (3, 4, 2, 1, 1), (4, 4, 2, 1, 1), Setting((LIGHT, LIGHT), (1, 1, 2), 48)),
    "k3s2-small": (1, 3, 5, (2, 3, 2, 1, 0), (2, 3, 2, 1, 0), Setting(({1: 2, 2: 2},) * 2, (1, 1, 1), 16)),
    "one-pixel": (1, 3, 2, (1, 4, 2, 1, 1), (1, 4, 2, 1, 1), Setting((LIGHT, LIGHT), (1, 1, 1), 16)),
}


def geometry(name):
    n, c_in, c_out, h, w, _ = LAYERS[name]
    return Geometry(n, c_in, c_out, 1, *(Axis(*axis[:3], crop_lo=axis[3], crop_hi=axis[4]) for axis in (h, w)))


def run_rows(rows, memory):
    """Run tasks one after another; `memory` has arrays by the names of `Bases`."""
    program = Program([Stage([Grid(nests_of(rows))])], {}, 0.0)
    scratch, counter = np.zeros(program.sizes[ROW] // 8, np.int64), np.zeros(1, np.int64)
    addresses = [address(memory[name]) if name in memory else 0 for name in NAMES]
    base = [0, *addresses, *[0] * (ROW - 1 - len(addresses)), address(scratch)]
    (table,) = program.tables
    job = Job(*table.job(base, 0, table.units))
    job[COUNTER] = address(counter)
    function(execute, False)(job)


def nests_of(rows):
    """Each task as a nest of its own."""
    return [Nest(row["fields"], {name: row[name] for name in row["fields"] if name in row}) for row in rows]


def poisoned(nbytes):
    """Scratch that is NaN wherever it is read before it is written."""
    return np.full(-(-nbytes // 8), -1, np.int64).view(np.uint8)


def strides(array):
    return Map(*array.strides, pixels=array.strides[1] == array.itemsize)


class Run:
    """One layer on operands as they lie; what the runtime will know is made here.

    Attributes:
        flags: after `compute`, those of the blocks of tiles; `weight_flag` that of the weight.
    """

    def __init__(self, g, setting, x, w, bias, y, forward=True, allocate=poisoned, activation=NO_ACTIVATION):
        elem = {4: "f32", 8: "f64"}[x.itemsize]
        self.layer = Layer(g, setting, elem, strides(x), strides(y), w.strides, NUMBERS, forward, activation)
        self.memory = {name: allocate(nbytes) for name, nbytes in self.layer.bytes.items() if nbytes}
        self.memory["aux"] = allocate(self.layer.bytes["aux"])
        self.memory["aux"][:] = 0
        self.memory |= {"x": x, "w": w, "y": y, "bias": bias}

    def rows(self):
        layer = self.layer
        return [task for units in (layer.weight_tasks(), layer.units()) for unit in units for task in unit]

    def compute(self):
        run_rows(self.rows(), self.memory)
        words = self.memory["aux"][: 64 + 8 * self.layer.flags].view(np.int64)
        self.weight_flag, self.flags = words[0], words[8:]


def lying(shape, dtype, pixels, fill=np.nan):
    """An (n, c, h, w) array in pixels or in planes."""
    n, c, h, w = shape
    if pixels:
        return np.full((n, h, w, c), fill, dtype).transpose(0, 3, 1, 2)
    return np.full(shape, fill, dtype)


def truth(g, forward, x, w, bias):
    """(answer, bound) in float64."""

    def solve(*operands):
        problem = Problem("forward" if forward else "grad_input", g, "float64")
        out = np.empty(problem.result_shape)
        matmul.run(problem, *operands, out)
        return out

    wide = [np.ascontiguousarray(array, np.float64) for array in (x, w, bias)]
    with np.errstate(invalid="ignore"):
        return solve(*wide), solve(*map(np.abs, wide))
