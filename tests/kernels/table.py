"""Random settings around the sizes of vectors and tiles, counted by way, operation, dtype, layout and kind of tile."""

import itertools
import json
import random
import warnings
from collections import Counter

import numpy as np
from cases import AVAILABLE, LAYOUTS, Case, channels_last, values
from compare import assert_result, operands
from ways import result, willing

from upconv.algorithms import (
    input_gradient_columns,
    matmul,
    weight_gradient_blocks,
    weight_gradient_columns,
    weight_gradient_depthwise,
    weight_gradient_runs,
    weight_gradient_tap_rows,
    weight_streaming,
)
from upconv.planning import AUTO
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import kernel
from upconv.schedule import depthwise_planes, next_block, pixel_parts, strips, weight_tiles

TILES = ("full", "edge")
#: Bytes of a lane: what a dtype is computed in, a complex number being two lanes.
LANE_BYTES = {"float16": 4, "bfloat16": 4, "float32": 4, "complex64": 4}
WIDE = {"complex64": "complex128", "complex128": "complex128", "int64": "int64"}


def full(draw, lanes, turn):
    """Whole vectors everywhere: channels of both sides, and pixels of a row of the smaller map."""
    c_in, c_out = lanes * draw.choice((1, 1, 2)), lanes * draw.choice((1, 2, 3, 4))
    if turn % 4 == 0:
        # Whole vectors of pixels under few channels.
        c_in, c_out = draw.choice((4, 8)), draw.choice((4, 8))
    return {"c_in": c_in, "c_out": c_out, "w": lanes * draw.choice((1, 1, 2)), "h": draw.choice((1, 2, 4))}


def edge(draw, lanes, turn):
    """Sizes beside the multiples of vectors and tiles."""
    around = (lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes + 1, 4 * lanes + 1)
    c_in, c_out = draw.choice((1, 2, 3, 5, lanes + 1)), draw.choice(around)
    w = draw.randrange(1, 6)
    if turn % 4 == 0:
        c_in, c_out, w = draw.choice((1, 2, 3, 5)), draw.choice((1, 2, 3, 5, 6)), max(1, draw.choice(around))
    if turn % 4 == 1:
        c_in, c_out = c_out, c_in
    return {"c_in": c_in, "c_out": max(1, c_out), "w": w, "h": draw.randrange(1, 4)}


def setting(tile, lanes, number):
    """One of each kind in turn: dense, phases that can be fused, groups, depthwise."""
    draw = random.Random(f"{tile} {lanes} {number}")
    sizes = (full if tile == "full" else edge)(draw, max(2, lanes), number)
    k, s, d = ((draw.randrange(1, 5), draw.randrange(1, 4)) for _ in range(3))
    groups = 1
    what = number // 4 % 4
    if what == 1:
        # A row's kernel that the stride divides: its phases may be computed together.
        s = draw.randrange(1, 3), draw.randrange(2, 5)
        k, d = (k[0], s[1] * draw.randrange(1, 3)), (d[0], 1)
        sizes["c_out"] = min(sizes["c_out"], 2 * lanes) if tile == "full" else draw.randrange(1, lanes + 2)
    elif what == 2:
        groups = draw.randrange(2, 4)
        sizes["c_in"], sizes["c_out"] = sizes["c_in"] * groups, sizes["c_out"] * groups
    elif what == 3:
        groups = sizes["c_in"] = sizes["c_out"]
    k, s, d = ((max(1, a), b) for a, b in (k, s, d))
    p = tuple((draw.randrange(-1, 3), draw.randrange(-1, 3)) for _ in "hw")
    if what % 2 == 0 and number % 4 == 1:
        # A product of pixels and channels.
        k, s, p = (1, 1), (1, 1), ((0, 0), (0, 0))
    if what == 1 and number % 4 == 3:
        # One product at most for each output, and rows without borders.
        k, d, p = s, (d[0], 1), (p[0], (0, 0))
    if what == 0 and number % 4 == 2:
        # A row of taps that is whole vectors, and that every pixel meets.
        k, d, p = (k[0], 2 * max(2, lanes)), (d[0], 1), (p[0], (0, 0))
    name = f"{tile}-{number}"
    try:
        case = Case(name, draw.choice((1, 1, 2)), k=k, s=s, d=d, p=p, groups=groups, **sizes)
        case.geometry()
    except ValueError:
        case = Case(name, 1, k=k, s=s, d=d, groups=groups, **sizes)
    return case


def truth(problem, a, b, bias):
    """(answer, bound) by NumPy's products in the widest type; the reference itself would take minutes."""
    wide = WIDE.get(problem.dtype, "float64")

    def solve(dtype, *arrays):
        out = np.empty(problem.result_shape, dtype)
        matmul.run(Problem(problem.operation, problem.geometry, dtype), *arrays, out)
        return out

    def each(convert):
        return [None if array is None else convert(array) for array in (a, b, bias)]

    answer = solve(wide, *each(lambda array: array.astype(wide)))
    if problem.dtype == "int64":
        return answer, None
    return answer, solve("float64", *each(lambda array: np.abs(array.astype(wide)).astype(np.float64)))


def check(case, operation, dtype):
    """Both layouts of one setting against the truth, by every way that takes it and by the one that is chosen."""
    g = case.geometry()
    problem = Problem(operation, g, dtype)
    arrays = case.arrays(dtype)
    a, b = operands(operation, arrays)
    length = {"forward": g.c_out, "grad_input": g.c_in, "grad_weight": 0}[operation]
    bias = values((length,), (1, length), dtype) if length else None
    want, bound = truth(problem, a, b, bias)
    for layout in LAYOUTS:
        if layout == "nhwc":
            a, b = (channels_last(a), channels_last(b) if operation == "grad_weight" else b)
        problem = Problem(operation, g, dtype, layout)
        for way in (*willing(problem), AUTO):
            try:
                assert_result(result(problem, way, a, b, bias), want, bound, dtype, layout)
            except AssertionError as error:
                where = f"{kernel.isa().name} {way} {operation} {dtype} {layout}"
                raise AssertionError(f"{where} on {case!r}: {error}") from None
            yield way, layout


def main(per_cell=20):
    """Prints as JSON [[way, operation, dtype, layout, tile, how many cases agreed], ...] and the kernels' names."""
    warnings.simplefilter("ignore", RuntimeWarning)
    counts, names, link = Counter(), set(), kernel.link
    kernel.link = lambda name, text: (names.add(name), link(name, text))[1]
    for dtype, tile, number in itertools.product(AVAILABLE, TILES, range(per_cell)):
        lanes = kernel.isa().lanes(LANE_BYTES.get(dtype, 8))
        weight_streaming.LEAST_CHANNELS = 2
        weight_gradient_columns.PIXELS = 8
        input_gradient_columns.COLUMNS_BYTES, input_gradient_columns.LANE_PRODUCTS = 1 << 10, 2
        weight_gradient_depthwise.PIXELS, weight_gradient_depthwise.UNIT_VECTORS = 8, 1
        depthwise_planes.LONGEST, depthwise_planes.UNIT_PRODUCTS = 4, 100
        weight_gradient_blocks.PIXELS = weight_gradient_runs.PIXELS = weight_gradient_tap_rows.PIXELS = 8
        pixel_parts.PART_CYCLES, weight_tiles.LEAST_PIXELS, next_block.FAR_BYTES = 200, 1, 0
        strips.LEAST_TIMES = 1
        case = setting(tile, max(1, lanes // 2) if dtype.startswith("complex") else lanes, number)
        for operation in OPERATIONS:
            for way, layout in check(case, operation, dtype):
                counts[way, operation, dtype, layout, tile] += 1
    print(json.dumps([[[*cell, count] for cell, count in counts.items()], sorted(names)]))
