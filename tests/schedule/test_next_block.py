"""What is asked for while a block is computed."""

import itertools

import numpy as np
import pytest

from upconv.algorithms import ALGORITHMS
from upconv.codegen.isa import LINE
from upconv.geometry import Axis, Geometry
from upconv.kernels.weight_gradient_blocks import UNROLL
from upconv.layouts import Operand
from upconv.problem import Problem
from upconv.runtime import tables
from upconv.runtime.kernel import isa, made, usable
from upconv.runtime.program import W, X, Y
from upconv.schedule.moves import PlacedOperand
from upconv.schedule.next_block import FAR_BYTES, MOST_LINES, comes_from_far, next_block
from upconv.schedule.pixel_panels import Cut
from upconv.schedule.placed_problem import PlacedProblem

# Whole rows, parts of rows, and images.
MAPS = [(1, Axis(40, 2, 2), Axis(60, 2, 2)), (1, Axis(3, 1), Axis(700, 1)), (50, Axis(8, 1), Axis(8, 1))]


def placed(base, shape, size=4):
    return PlacedOperand(base, 0, Operand.dense(shape, size, channels_last=True))


@pytest.mark.parametrize(("n", "h", "w"), MAPS)
@pytest.mark.parametrize(("c_in", "c_out"), [(96, 16), (16, 96)])
def test_a_block_asks_for_where_the_one_after_it_lies(n, h, w, c_in, c_out):
    g = Geometry(n, c_in, c_out, 1, h, w)
    x, y = placed(X, g.input_shape), placed(Y, g.output_shape)
    blocks = list(Cut(g, 256).blocks(0, n))
    for block, after in itertools.pairwise(blocks):
        here, there = (
            (x.move(each.first, each.h.first, each.w.first), y.move(each.first, each.h.source, each.w.source))
            for each in (block, after)
        )
        following = next_block(block, *here, visits=12)
        larger = there[c_out * h.s * w.s > c_in]
        assert following.place == (larger.base, larger.offset)
        # All of it, without leaving out a line, if it may ask often enough.
        steps = block.images * block.h.axis.n * (block.w.axis.n // UNROLL)
        assert following.pace * following.lines * steps * 12 >= following.nbytes
        assert following.pace <= LINE or following.lines == MOST_LINES
        assert (following.after(0), following.after(12)) == (0, following.nbytes)


def test_a_block_of_narrow_rows_asks_for_nothing():
    g = Geometry(1, 8, 8, 1, Axis(400, 1), Axis(3, 1))
    (block, *_) = Cut(g, 256).blocks(0, 1)
    assert next_block(block, placed(X, g.input_shape), placed(Y, g.output_shape), 4).lines == 0


def test_only_maps_from_afar_are_asked_for_and_those_with_channels_last():
    def asks(size, layout):
        problem = Problem("grad_weight", Geometry(1, 64, 2, 1, Axis(size, 4, 2), Axis(size, 4, 2)), "float32", layout)
        return comes_from_far(problem, Cut(problem.geometry, 256))

    size = int((FAR_BYTES / (4 * (64 + 2 * 4))) ** 0.5) + 8
    assert asks(size, "nhwc")
    assert not asks(size, "nchw")
    assert not asks(size // 2, "nhwc")


@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize(
    ("way", "c_out", "k"), [("weight_gradient_blocks", 70, 2), ("weight_gradient_tap_rows", 31, 3)]
)
def test_the_tasks_of_a_block_ask_for_one_piece_of_the_next_after_another(way, c_out, k, monkeypatch):
    problem = Problem("grad_weight", Geometry(1, 96, c_out, 1, Axis(100, k, 2), Axis(100, k, 2)), "float32", "nhwc")
    seen, right, lists = [], tables._encode, []
    monkeypatch.setattr(tables, "_encode", lambda stages: (seen.extend(stages), right(stages))[1])
    ALGORITHMS[way].module.program(PlacedProblem.dense(problem))
    for nest in (nest for stage in seen for grid in stage.grids for nest in grid.nests):
        if not nest.common.get("pace"):
            continue
        steps = [[row[rows.fields.index("next")] if "next" in rows.fields else 0 for row in rows.values]
                 for rows in nest.lists]  # fmt: skip
        found = sorted(map(sum, itertools.product(*steps)))
        assert found[0] == 0
        # Those of a row of taps, too, whose tiles are not equally tall.
        assert len(set(found)) == len(found) > (k if way == "weight_gradient_tap_rows" else 1)
        lists.append([id(rows) for rows in nest.lists])
    assert len(lists) > 1
    # Lists say nothing of where a packed block lies, nor of where the next one does, so they serve all that are alike.
    assert way == "weight_gradient_blocks" or len({*itertools.chain(*lists)}) < sum(map(len, lists))


@pytest.mark.skipif(bool(usable()), reason="no kernels can be made here")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("c_out", "k"), [(240, 5), (64, 18)], ids=["a last tile that is not full", "rows of taps"])
def test_tiles_ask_for_all_of_the_weight_that_they_become(c_out, k, threads, monkeypatch):
    g = Geometry(1, 600, c_out, 2, Axis(8, k, 2, 1, 1), Axis(8, k, 2, 1, 1))
    seen, right = [], tables._encode
    monkeypatch.setattr(tables, "_encode", lambda stages: (seen.extend(stages), right(stages))[1])
    placed_problem = PlacedProblem.dense(Problem("grad_weight", g, "float32"), threads)
    ALGORITHMS["weight_gradient_blocks"].module.program(placed_problem)
    asked, runs = np.zeros(np.prod(g.weight_shape) * 4, bool), set()
    for nest in (nest for stage in seen for grid in stage.grids for nest in grid.nests):
        if not nest.common.get("pace"):
            continue
        base, start = nest.common["next"]
        assert base == W
        runs.add(start)
        for rows in itertools.product(*([dict(zip(rows.fields, row, strict=True)) for row in rows.values]
                                        for rows in nest.lists)):  # fmt: skip
            place = start + sum(row.get("next", 0) for row in rows)
            task = nest.common | rows[-1]
            _, mr, nv, *_ = made(task["entry"]).arguments
            for channel in range(task["a_tiles"] * mr):
                first = place + channel * task["pace"]
                asked[first : first + nv * isa().vector_bytes] = True
    assert asked.all()
    # A few channels at a time, whose sums stay near.
    assert len(runs) > 2 * g.groups
