"""Every operand, result and scratch of the kernels between pages that nobody may touch: one step beyond is a crash.

`main` prints the case that it is about to run, so that the last line of a crash names it.
"""

import itertools
import json
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
from cases import AVAILABLE, CASES, LAYOUTS, Case
from compare import assert_close, assert_same_nonfinite, expected, operands
from rooms import Room
from ways import bias_of, willing

from upconv import planning
from upconv.algorithms import (
    ALGORITHMS,
    direct_phases,
    direct_rows,
    gemm,
    gemm_planes,
    input_gradient_columns,
    weight_gradient_blocks,
    weight_gradient_depthwise,
    weight_gradient_runs,
    weight_gradient_tap_rows,
    weight_streaming,
)
from upconv.layouts import dense_weight_layout
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import memory, program
from upconv.schedule import depthwise_planes, next_block, pixel_parts, pixel_products, strips, weight_tiles

DTYPES = ("float32", "float64", "int64")
# What is for large layers, to be met with constants that let small ones begin with it.
LARGE = (
    Case("weight-streaming", 2, 31, 2, 3, 69, (3, 3), (2, 2), (1, 0)),
    Case("weight-streaming-1-tap", 1, 32, 1, 5, 37, (1, 1), (2, 1)),
    Case("crowded", 2, 14, 4, 32, 5, (3, 3), (1, 2), (1, 1)),
    Case("packed-rows", 1, 14, 3, 17, 10, (3, 4), (2, 2), (1, 1)),
    Case("depthwise-rows", 2, 3, 4, 37, 3, (4, 4), (2, 2), (1, 1), groups=3),
    Case("depthwise-rows-apart", 1, 2, 2, 37, 2, (3, 6), (2, 3), (1, 2), groups=2),
    Case("rows-apart", 1, 9, 3, 35, 3, (3, 4), (2, 2), (1, 1)),
    Case("depthwise-long-rows", 1, 2, 2, 150, 2, (5, 5), (1, 3), (2, 2), groups=2),
    Case("columns", 2, 7, 3, 4, 16, (3, 4), (2, 2), (1, 1)),
    Case("fused-phases", 1, 24, 3, 7, 20, (4, 4), (2, 2), (1, 1)),
    # Few channels of many phases: fused whatever the vectors' length.
    Case("fused-everywhere", 2, 5, 3, 4, 3, (2, 16), (1, 8), ((0, 1), (1, 5))),
    Case("phases-of-a-row", 2, 5, 3, 4, 3, (3, 72), (2, 35), (1, 9)),
    Case("phases-in-parts", 1, 41, 2, 17, 2, (2, 40), (3, 17), ((0, 1), (30, 3))),
    Case("plane-products", 2, 7, 9, 11, 18, (1, 1)),
    Case("plane-products-of-groups", 1, 8, 9, 31, 12, (1, 1), groups=2),
    Case("runs-of-taps", 2, 5, 3, 4, 3, (3, 16), (2, 8)),
    Case("block-by-block", 1, 40, 3, 2, 150, (3, 3), (2, 2), (1, 1), groups=2),
)


class Lease:
    """Scratch that ends where a forbidden page begins."""

    def __init__(self, room, nbytes):
        self.bytes = room.put((nbytes,), np.uint8, (0,), at_end=True)
        self.address = self.bytes.ctypes.data
        assert self.address % 64 == 0, nbytes

    def __array__(self, dtype=None, copy=None):
        return self.bytes


class Guard:
    """Rooms for everything that native code sees, reused from case to case."""

    def __init__(self):
        self.rooms = {name: Room(16 << 20) for name in ("a", "b", "out", "weight", "bias", "scratch")}
        self.at_end = True
        self._run = program.run
        program.run = self.run
        memory.scratch = memory.brief = self.scratch

    def scratch(self, nbytes):
        return Lease(self.rooms["scratch"], nbytes)

    def run(self, made, x, y, w, bias, panels=None):
        """In the place of `program.run`: packed weights and filled-up biases are guarded as well."""
        if w is not None and not self.at("b", w) and not self.at("out", w):
            w = self.rooms["weight"].copy(w, self.at_end)
        if bias is not None:
            bias = self.rooms["bias"].copy(bias, self.at_end)
        return self._run(made, x, y, w, bias, panels)

    def at(self, name, array):
        return np.shares_memory(array, self.rooms[name].bytes)

    def check(self, way, case, operation, dtype, layout, bias, want):
        """One case by one way, with its operands where the guard wants them."""
        geometry, arrays = case.geometry(), case.arrays(dtype, layout)
        pair = operands(operation, arrays)
        a, b = (self.rooms[name].copy(array, self.at_end) for name, array in zip("ab", pair, strict=True))
        problem = Problem(operation, geometry, dtype, layout)
        # A gradient in the weight lies as torch has it wherever the way can write it so.
        is_last = layout == "nhwc" and (operation != "grad_weight" or not _writes_as_torch(problem, way))
        order = (0, 2, 3, 1) if is_last else (0, 1, 2, 3)
        out = self.rooms["out"].put(problem.result_shape, dtype, order, self.at_end)
        with memory.poisoned():
            planning.solve(problem, way, a, b, bias, out)
        answer, bound = want
        assert_close(out, answer, bound, dtype)
        assert_same_nonfinite(out, answer)


def _writes_as_torch(problem, way):
    return not ALGORITHMS[way].why_not(replace(problem, layout=dense_weight_layout(problem.result_shape)))


def large(dtypes=3, ends=2):
    """`main` with the cases of `LARGE`, as if they were."""
    gemm.WEIGHTY_BYTES, direct_rows.CROWDING = 1 << 10, 256
    weight_streaming.MOST_CHANNELS, weight_streaming.CHUNK = 32, 512
    weight_gradient_depthwise.PIXELS, weight_gradient_depthwise.UNIT_VECTORS = 8, 1
    depthwise_planes.LONGEST, depthwise_planes.UNIT_PRODUCTS = 4, 100
    weight_gradient_blocks.PIXELS = weight_gradient_runs.PIXELS = weight_gradient_tap_rows.PIXELS = 8
    direct_phases.WAITING, gemm_planes.PANELS_BYTES, weight_tiles.LEAST_PIXELS = 16, 1 << 12, 1
    input_gradient_columns.COLUMNS_BYTES, input_gradient_columns.LANE_PRODUCTS = 1 << 10, 2
    pixel_parts.PART_CYCLES, next_block.FAR_BYTES = 200, 0
    pixel_products.NEAR_BYTES, strips.LEAST_TIMES = 1 << 10, 1
    print(len(LARGE))
    main(LARGE, dtypes, ends)


def halves(ends=2):
    """Maps of halves in bands, and weights: few cases, whose edges are of every kind."""
    main([*LARGE, *CASES[::7]], 1, ends, tuple(set(AVAILABLE) & {"float16", "bfloat16"}), OPERATIONS[:2])


def main(cases=CASES, dtypes=3, ends=2, names=DTYPES, operations=OPERATIONS):
    """Every case in every operation and layout, by every way, in so many dtypes and at so many ends: one takes turns.

    Prints how many runs each way had, as JSON. The way that is chosen is one of them, and no other.
    """
    warnings.simplefilter("ignore", RuntimeWarning)
    guard, counts = Guard(), Counter()
    for number, case in enumerate(cases):
        mine = [names[(number + turn) % len(names)] for turn in range(dtypes)]
        for operation, dtype in itertools.product(operations, mine if case.n else ()):
            bias = bias_of(case, operation, dtype)
            want = expected(case.geometry(), operation, *operands(operation, case.arrays(dtype)), bias)
            turn = number + OPERATIONS.index(operation)
            for place, end in itertools.product(range(len(LAYOUTS)), range(ends)):
                layout, guard.at_end = LAYOUTS[place], (turn + place + end) % 2 == 0
                where = "before" if guard.at_end else "after"
                for way in willing(Problem(operation, case.geometry(), dtype, layout)):
                    print(f"{way} {case} {operation} {dtype} {layout}, right {where} a forbidden page", flush=True)
                    guard.check(way, case, operation, dtype, layout, bias, want)
                    counts[way] += 1
    print(json.dumps(counts))
