"""Winograd's kernels task by task: what they do natively is what they mean, on every instruction set."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from native import IDS, ISAS
from winograd_run import LAYERS, NAMES, Run, geometry, lying, run_rows, truth

from upconv.codegen.interpreter import interpret
from upconv.codegen.isa import LINE, ROWS
from upconv.codegen.primitives import TABLE
from upconv.geometry import Axis, Geometry
from upconv.kernels import winograd_product
from upconv.runtime import kernel
from upconv.runtime.program import address
from upconv.schedule import moves, winograd
from upconv.schedule.winograd_layer import Setting

# Layers, and whether it is the forward; in the gradient of k3 s2 three parts are added to what the first has made.
SMALL = (("one-pixel", True), ("k4s2-uneven", True), ("row-s8", True), ("k3s2-small", False), ("k4s2-short-sums", True))


def whole_numbers(g, forward=True, pixels=True):
    """Operands of small whole numbers: what is made of them is exact in every order, fused or not."""
    rng = np.random.default_rng(5)
    shapes = (g.input_shape, g.output_shape) if forward else (g.output_shape, g.input_shape)
    x, y = (lying(shape, np.float32, pixels) for shape in shapes)
    x[...] = rng.integers(-4, 5, x.shape)
    # The forms halve them twice on each axis at most.
    w = rng.integers(-4, 5, g.weight_shape).astype(np.float32) * 16
    return x, w, rng.integers(-9, 10, shapes[1][1]).astype(np.float32), y


class Interpreted:
    """Makes schedules for any instruction set, with kernels that are interpreted."""

    def __init__(self, isa, monkeypatch):
        self.isa, self.kernels = isa, []
        for module in (winograd, moves):
            monkeypatch.setattr(module, "entry", self.entry)
        monkeypatch.setattr(winograd, "isa", lambda: isa)

    def entry(self, make, *arguments):
        self.kernels.append(make(self.isa, *arguments))
        return len(self.kernels) - 1

    def run(self, rows, memory):
        """Run tasks one after another, each on its own memory alone."""
        for row in rows:
            task = resolved(row, memory)
            interpret(self.kernels[task[0]], task, *(array for array in memory.values() if array.size))


def resolved(row, memory):
    """The words of a task on arrays by name."""
    values = [row.get(name, 0) for name in row["fields"]]
    return np.array([v[1] + address(memory[NAMES[v[0] - 1]]) if type(v) is tuple else v for v in values], np.int64)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize(("name", "forward"), SMALL)
def test_the_meaning_of_the_kernels(name, forward, isa, monkeypatch):
    """Interpreted, also those for instruction sets that this machine lacks, and nothing beyond memory is touched."""
    g, setting = geometry(name), LAYERS[name][-1]
    x, w, bias, y = whole_numbers(g, forward)
    interpreter = Interpreted(isa, monkeypatch)
    run = Run(g, setting, x, w, bias, y, forward)
    interpreter.run(run.rows(), run.memory)
    np.testing.assert_array_equal(y, truth(g, forward, x, w, bias)[0])


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
@pytest.mark.parametrize(("name", "forward"), SMALL)
def test_every_job_does_natively_what_it_means(name, forward, isa, monkeypatch):
    """After each task all memory is the same, scratch included."""
    g, setting = geometry(name), LAYERS[name][-1]
    monkeypatch.setattr(kernel, "isa", lambda: isa)
    monkeypatch.setattr(winograd, "isa", lambda: isa)
    for module in (winograd, moves):
        monkeypatch.setattr(module, "entry", kernel.entry)
    kernel.linked.cache_clear()
    x, w, bias, y = whole_numbers(g, forward)
    zeros = lambda nbytes: np.zeros(-(-nbytes // 8) * 8, np.uint8)  # noqa: E731
    run = Run(g, setting, x, w, bias, y, forward, allocate=zeros)
    twin = {name: array.copy(order="K") for name, array in run.memory.items()}
    for row in run.rows():
        made = kernel.made(row["entry"])
        task = resolved(row, twin)
        interpret(made.make(isa, *made.arguments), task, *(array for array in twin.values() if array.size))
        run_rows([row], run.memory)
        for memory, array in run.memory.items():
            np.testing.assert_array_equal(array, twin[memory], err_msg=f"{memory} after {made.name}")
    kernel.linked.cache_clear()


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_nothing_that_is_multiplied_is_what_memory_was_left_with(name, forward):
    """A product with what looks like a tiny number can take a hundred times as long."""
    g, setting = geometry(name), LAYERS[name][-1]
    run = Run(g, setting, *whole_numbers(g, forward), forward)
    run_rows([task for unit in run.layer.weight_tasks() for task in unit], run.memory)
    at = 0
    for sizes in winograd.distinct(run.layer.sizes):
        for block in sizes.columns:
            end = at + sizes.positions * block.pos
            lines = run.memory["u"][at:end].reshape(sizes.positions, block.pos)
            weight = np.ascontiguousarray(lines[..., : sizes.source_channels * block.line])
            assert np.isfinite(weight.view(np.float32)).all()
            at = end


@pytest.mark.parametrize("longest", [64, 32, 16, 12])
def test_no_sum_is_longer_than_it_may_be(longest):
    """2**24 with ones behind it: those of its own sum are lost, each on its own, those of other sums are not."""
    channels, ones = 64, np.ones(1, np.float32)
    g = Geometry(1, channels, 1, 1, Axis(1, 1), Axis(1, 1))
    setting = Setting(({1: 1}, {1: 1}), (1, 1, 1), 16, longest=longest)
    x, y = (lying((1, c, 1, 1), np.float32, True, 1) for c in (channels, 1))
    w = np.ones((channels, 1, 1, 1), np.float32)
    w[0] = 2**24
    Run(g, setting, x, w, 0 * ones, y).compute()
    assert y.item() == 2**24 + channels - longest


def test_what_chunks_are_added_to_is_no_long_chain():
    """2**28 loses the sums of 16 of its own chunk, each on its own; those of other chunks come as one of 64."""
    channels, chunk = 256, winograd_product.CHUNK
    g = Geometry(1, channels, 1, 1, Axis(1, 1), Axis(1, 1))
    x, y = (lying((1, c, 1, 1), np.float32, True, 1) for c in (channels, 1))
    w = np.ones((channels, 1, 1, 1), np.float32)
    w[0] = 2**28
    setting = Setting(({1: 1}, {1: 1}), (1, 1, 1), 16, longest=16)
    Run(g, setting, x, w, np.zeros(1, np.float32), y).compute()
    assert y.item() == 2**28 + channels - chunk


def test_jobs_are_sums_of_short_lists():
    """A layer of many blocks has as many entries as its axes have blocks, not as many as it has tasks."""
    name = "k4s2"
    g, setting = geometry(name), LAYERS[name][-1]
    x, w, bias, y = whole_numbers(g)
    layer = Run(g, setting, x, w, bias, y).layer
    (spread, multiply, gather), (sizes,) = layer.lists[0], layer.sizes
    blocks = [len(axis) for axis in layer.blocks]
    assert len(spread[1]) == 1
    assert len(multiply[-1]) == len(gather[-1]) == len(sizes.blocks)
    for axes in (spread[2:], multiply[1:-1], gather[1:-1]):
        assert [len(along.blocks) for along in axes] == blocks
    made = [row for unit in layer.units() for row in unit if row["fields"] == gather[0]["fields"]]
    common, *axes, columns = gather
    lists = [[along.at(number) for number in range(len(along.blocks))] for along in axes]
    sums = [winograd.total(common, *entries) for entries in product(*lists, columns)]
    assert made == sums


@pytest.mark.parametrize("isa", [ROWS["avx512"], ROWS["avx2"]], ids=["avx512", "avx2"])
@pytest.mark.parametrize("rows", [0, 5, 8, 11])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_what_the_product_prefetches_next(isa, rows, at_once, monkeypatch):
    """Some rows of `next` with each panel of some tiles at each position, from the first row on; none begin beyond.
    After them what comes `then`, of one piece, as far as there are tiles.
    """
    asked = []
    recorded = dataclasses.replace(TABLE["prefetch"], meaning=lambda p, **_: asked.append(p.address))
    monkeypatch.setitem(TABLE, "prefetch", recorded)
    c, tiles, positions, panels, lines = 16, (1, 2, 6), 2, 2, 3
    mr, nv = winograd_product.tile(isa, 8)
    width, many = nv * isa.vector_bytes, tiles[1] * tiles[2]
    v, u = np.ones((positions, many, c), np.float32), np.ones((positions, panels, c, width // 4), np.float32)
    m = np.empty((positions, many, panels, width // 4), np.float32)
    following, next_row, whole = 1 << 56, 1 << 16, LINE * lines * c // winograd_product.UNROLL
    piece = whole // at_once
    task = {
        **{
            "v": address(v),
            "u": address(u),
            "m": address(m),
            "c": c,
            "positions": positions,
            "panels": panels,
            "adds": 0,
        },
        **dict(zip(("n", "tiles_h", "tiles_w"), tiles, strict=True)),
        **{
            "v_pos": v.strides[0],
            "u_pos": u.strides[0],
            "m_pos": m.strides[0],
            "v_tile": 4 * c,
            "m_tile": panels * width,
        },
        **{"next": following, "next_row": next_row, "next_pieces": 1, "next_all": rows, "next_c": c // at_once},
        **{"next_on": next_row - piece},
        **{"then": 2 * following, "then_row": 1, "then_pieces": 3, "then_all": 3, "then_c": c, "then_on": 0},
    }
    numbers = np.array([task.get(name, 0) for name in winograd_product.FIELDS], np.int64)
    made = winograd_product.winograd_product(isa, "f32", mr, nv, c, lines=0, next_lines=lines)
    interpret(made, numbers, v, u, m)
    np.testing.assert_array_equal(m, c)
    times = positions * panels * sum(winograd_product.cut(many, mr))
    found = sorted(place - following for place in asked if following <= place < 2 * following)
    runs = min(-(-rows // at_once), times)
    assert found == [row * next_row + line for row in range(at_once * runs) for line in range(0, piece, LINE)]
    then = sorted(place - 2 * following for place in asked if place >= 2 * following)
    assert then == [*range(0, min(3, times - runs) * whole, LINE)]


@pytest.mark.parametrize("isa", [ROWS["avx512"], ROWS["avx2"]], ids=["avx512", "avx2"])
def test_the_product_prefetches_the_next_panel_before_anything_else(isa, monkeypatch):
    asked = []
    recorded = dataclasses.replace(TABLE["prefetch"], meaning=lambda p, **_: asked.append(p.address))
    monkeypatch.setitem(TABLE, "prefetch", recorded)
    mr, nv = winograd_product.tile(isa, 8)
    c, panels, width, tiles = 16, 2, nv * isa.vector_bytes, 12 * mr
    v, u = np.ones((1, tiles, c), np.float32), np.ones((1, panels, c, width // 4), np.float32)
    m = np.empty((1, tiles, panels, width // 4), np.float32)
    task = {"v": address(v), "u": address(u), "m": address(m), "c": c, "positions": 1, "panels": panels}
    task |= {"n": 1, "tiles_h": 1, "tiles_w": tiles, "v_tile": 4 * c, "m_tile": panels * width}
    task |= {"next": 1 << 56, "next_row": 1, "next_pieces": 99, "next_all": 99, "next_c": c}
    numbers = np.array([task.get(name, 0) for name in winograd_product.FIELDS], np.int64)
    interpret(winograd_product.winograd_product(isa, "f32", mr, nv, c, 1, next_lines=2), numbers, v, u, m)
    np.testing.assert_array_equal(m, c)
    panel = [place - address(u) for place in asked if place < 1 << 56]
    assert {*range(c * width, 2 * c * width, LINE)} <= {*panel}
    others = [place - (1 << 56) for place in asked if place >= 1 << 56]
    assert others
    assert others == [*range(0, len(others) * LINE, LINE)]
