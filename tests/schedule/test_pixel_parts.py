"""How gradients in the weight are cut for threads: evenly, into enough units, and with the same bits for any number."""

import itertools
import random
from math import prod

import numpy as np
import pytest
from compare import poison

import upconv
from upconv.algorithms import weight_gradient_blocks, weight_gradient_tap_rows
from upconv.bench.layers import Layer
from upconv.geometry import Axis, Geometry
from upconv.planning import solve
from upconv.problem import Problem
from upconv.schedule.pixel_panels import BLOCK_BYTES, LARGER, Cut, block_pixels
from upconv.schedule.pixel_parts import shares
from upconv.schedule.placed_problem import PlacedProblem

# n, channels and size of the input, channels of the output, kernel, stride: few channels under a large kernel, many
# tiles of both maps, one row, groups.
LARGE = {
    "one block": Layer("", 1, 21, 7, 9, 21, (64, 3), (32, 1), (0, 0), (0, 0), 1, (1, 1)),
    "rows of taps": Layer("", 2, 64, 18, 18, 64, (12, 12), (8, 8), (2, 2), (0, 0), 1, (1, 1)),
    "tiles of both": Layer("", 1, 256, 9, 31, 130, (3, 3), (1, 1), (1, 1), (0, 0), 1, (1, 1)),
    "one row": Layer("", 1, 300, 1, 400, 150, (1, 21), (1, 3), (0, 2), (0, 0), 1, (1, 1)),
    "groups": Layer("", 2, 96, 9, 11, 96, (5, 5), (2, 2), (1, 1), (1, 1), 2, (1, 1)),
}
BALANCED = {
    "rows": (Layer("", 1, 8, 48, 48, 8, (3, 3), (1, 1), (0, 0), (0, 0), 1, (1, 1)), 4),
    "columns": (Layer("", 1, 8, 1, 750, 8, (1, 5), (1, 5), (0, 0), (0, 0), 1, (1, 1)), 2),
}


@pytest.fixture
def threads():
    before = upconv.get_num_threads()
    yield upconv.set_num_threads
    upconv.set_num_threads(before)


def pixels_of_parts(cut, g, parts):
    sizes = [block.images * block.h.axis.n * block.w.axis.n for block in cut.blocks(0, g.n)]
    return [sum(sizes[len(sizes) * part // parts : len(sizes) * (part + 1) // parts]) for part in range(parts)]


@pytest.mark.parametrize("name", BALANCED)
def test_parts_are_even(name):
    layer, parts = BALANCED[name]
    g = layer.geometry()
    cut = Cut(g, 256).even(parts)
    assert sum(pixels_of_parts(cut, g, parts)) == g.n * g.h.n * g.w.n
    assert max(pixels_of_parts(cut, g, parts)) <= 1.15 * g.n * g.h.n * g.w.n / parts
    # Uneven before, or this shows nothing.
    assert max(pixels_of_parts(Cut(g, 256), g, parts)) > 1.15 * g.n * g.h.n * g.w.n / parts


def test_blocks_are_larger_where_a_map_lies_in_planes_and_they_stay_near():
    def pixels(c_out, size, layout="nchw"):
        g = Geometry(1, 32, c_out, 1, Axis(size, 2, 2), Axis(size, 2, 2))
        return block_pixels(Problem("grad_weight", g, "float32", layout), 256)

    assert pixels(8, 200) == LARGER * 256
    assert pixels(8, 200, "nhwc") == 256
    # Both maps of a block stay near, and a small map still has blocks for several parts.
    assert 256 < pixels(40, 200) == BLOCK_BYTES // (4 * (32 + 4 * 40)) < LARGER * 256
    assert pixels(400, 200) == pixels(8, 64) == 256


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 13, 15, 16, 21, 37, 64, 1000])
@pytest.mark.parametrize("unit", [1, 16])
def test_shares_are_everything_once(count, unit):
    units = [(first + i * some, some) for first, some, many in shares(count, unit=unit) for i in range(many)]
    assert [first for first, _ in units] == [sum(some for _, some in units[:i]) for i in range(len(units))]
    assert sum(some for _, some in units) == count
    assert len(units) <= 8
    assert max(some for _, some in units) < count / 8 + unit + 1


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("name", ["rows of taps", "tiles of both"])
def test_every_stage_of_products_has_work_for_threads(name, layout):
    problem = Problem("grad_weight", LARGE[name].geometry(), "float32", layout)
    program = weight_gradient_blocks.program(PlacedProblem.dense(problem, 2))
    (table,) = program.tables
    assert min(end - first for first, end, _ in table.spans) >= 2
    assert max(end - first for first, end, _ in table.spans) >= 6


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("name", LARGE)
def test_bits_do_not_depend_on_the_number_of_threads(name, layout, threads):
    layer = LARGE[name]
    g, rng = layer.geometry(), np.random.default_rng(0)
    maps = [rng.standard_normal(shape) for shape in (g.input_shape, g.output_shape)]
    if layout == "nhwc":
        maps = [np.ascontiguousarray(each.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for each in maps]
    want = gradient(layer, layout, maps, "weight_gradient")
    found = []
    for count in (1, 2, 3, 7):
        threads(count)
        found.append(gradient(layer, layout, [each.astype(np.float32) for each in maps], "weight_gradient_blocks"))
    assert np.abs(found[0] - want).max() < 1e-5 * np.sqrt(prod(g.input_shape) / g.c_in)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def gradient(layer, layout, maps, algorithm):
    problem = Problem("grad_weight", layer.geometry(), maps[0].dtype.name, layout)
    found = np.full(problem.result_shape, np.nan, maps[0].dtype)
    if layout == "nhwc":
        found = np.ascontiguousarray(found.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    with poison():
        solve(problem, algorithm, *maps, None, found)
    return found


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("way", [weight_gradient_blocks, weight_gradient_tap_rows])
def test_many_blocks_of_some_images_are_a_short_table(way, layout):
    g = Geometry(8, 8, 8, 1, Axis(200, 3, 1, 1, 1, 1), Axis(301, 3, 1, 1, 1, 1))
    made = way.program(PlacedProblem.dense(Problem("grad_weight", g, "float32", layout), 2))
    assert made.nbytes < 1 << 19


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_of_some_parts_is_found_without_their_blocks(seed):
    draw = random.Random(seed)
    n, h, w = draw.randint(1, 3), draw.randint(1, 60), draw.randint(1, 200)
    cut = Cut(Geometry(n, 1, 1, 1, Axis(h, 1, 1, 1, 0, 0), Axis(w, 1, 1, 1, 0, 0)), 64)
    if cut.images > 1:
        cut.images = 1
    pixels = [block.images * block.h.axis.n * block.w.axis.n for block in cut.blocks(0, n)]
    for parts in (2, 4, 8):
        ends = [len(pixels) * part // parts for part in range(parts + 1)]
        assert cut._longest(parts) == max(sum(pixels[a:b]) for a, b in itertools.pairwise(ends))
