"""Sizes that were never seen, of layers with large strides or many taps: little is made for one, and nothing grows.

What takes long is making kernels, and tables with a row for each phase or pixel; so these are counted, not seconds.
What is kept of a layer for its next size must not say anything of the size before it.
"""

import random

import pytest
from amount import some
from cases import LAYOUTS
from fresh import fresh

from upconv.algorithms import ALGORITHMS
from upconv.candidates import cheapest
from upconv.geometry import Axis, Geometry
from upconv.planning import choose
from upconv.problem import OPERATIONS, Problem
from upconv.runtime import kernel
from upconv.schedule import pixel_products
from upconv.schedule.placed_problem import PlacedProblem

pytestmark = pytest.mark.skipif(bool(kernel.usable()), reason="no kernels can be made here")
ONE = Axis(1, 1)
# Layers by their size, which is that of the longer axis.
LAYERS = {
    "FCN-32s": lambda n: Geometry(1, 21, 21, 1, Axis(n, 64, 32), Axis(16, 64, 32)),
    "FCN-32s, wide": lambda n: Geometry(1, 21, 21, 1, Axis(16, 64, 32), Axis(n, 64, 32)),
    "FCN-32s, depthwise": lambda n: Geometry(1, 21, 21, 21, Axis(n, 64, 32), Axis(16, 64, 32)),
    "inverse STFT": lambda n: Geometry(1, 514, 1, 1, ONE, Axis(8 * n, 1024, 256)),
    "a vocoder's": lambda n: Geometry(1, 64, 32, 1, ONE, Axis(8 * n, 16, 8, 1, 4, 4)),
    "far taps": lambda n: Geometry(1, 4, 4, 1, ONE, Axis(8 * n, 31, 1, 40)),
    "groups": lambda n: Geometry(1, 40, 40, 4, Axis(n, 16, 8), Axis(n, 16, 8)),
}
SIZES = range(12, 20)
# Layers of all kinds of programs, by both sizes and where their result begins and ends.
SHAPES = {
    "k4 s2": lambda h, w, crops: Geometry(1, 64, 64, 1, Axis(h, 4, 2, 1, *crops[0]), Axis(w, 4, 2, 1, *crops[1])),
    "k3 s1": lambda h, w, crops: Geometry(2, 64, 32, 1, Axis(h, 3, 1, 1, *crops[0]), Axis(w, 3, 1, 1, *crops[1])),
    "k2 s2": lambda h, w, crops: Geometry(1, 24, 12, 1, Axis(h, 2, 2), Axis(w, 2, 2)),
    "k5 s3 d2": lambda h, w, crops: Geometry(1, 8, 8, 2, Axis(h, 5, 3, 2, *crops[0]), Axis(w, 5, 3, 2, *crops[1])),
    "depthwise": lambda h, w, crops: Geometry(1, 40, 40, 40, Axis(h, 3, 2, 1, *crops[0]), Axis(w, 3, 2, 1, *crops[1])),
    "k16 s8": lambda h, w, crops: Geometry(1, 20, 3, 1, Axis(h, 16, 8, 1, *crops[0]), Axis(w, 16, 8, 1, *crops[1])),
    "a row": lambda h, w, crops: Geometry(1, 64, 8, 1, ONE, Axis(h * w, 32, 8, 1, *crops[1])),
}
CROPS = (0, 0), (1, 1), (1, 0), (0, 1), (2, -1)
# A program is a table of at most so many bytes: one with a row for each phase of FCN-32s would be 1,024 rows long.
MOST_BYTES = 64 << 10
# As many as the algorithm has that is chosen from some size on; there are more sizes.
MOST_KERNELS = 5


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_new_size_costs_little(layer, operation):
    # The inner change is taken back before the outer one.
    with fresh(), pytest.MonkeyPatch.context() as patch:
        made, linked = [], kernel.linked
        patch.setattr(kernel, "linked", lambda *make: (made.append(make), linked(*make))[1])
        known = set()
        for layout in LAYOUTS:
            later = 0
            for number, size in enumerate(SIZES):
                problem = Problem(operation, LAYERS[layer](size), "float32", layout)
                plan = choose(problem)
                del made[:]
                program = ALGORITHMS[plan.algorithm]._make(PlacedProblem.dense(plan.inner, 1, 0))
                later += len(set(made) - known) if number else 0
                known |= set(made)
                assert program.nbytes <= MOST_BYTES
            assert later <= MOST_KERNELS, later
        assert known


@pytest.mark.parametrize("layer", SHAPES)
def test_what_is_kept_of_a_layer_says_nothing_of_another_size(layer, monkeypatch):
    # The addresses of two lines are in tables, and not the same once these are made anew.
    monkeypatch.setattr(pixel_products, "ones", {"float32": 1}.get)
    monkeypatch.setattr(pixel_products, "zeros", {"float32": 2}.get)
    draw, asked = random.Random(layer), []
    for _ in range(some(100, 600)):
        h, w = (draw.choice((1, 2, 9, 10, 12, 17, 18, 33)) for _ in range(2))
        g = SHAPES[layer](h, w, draw.choices(CROPS, k=2))
        operation, layout = draw.choice(("forward", *OPERATIONS)), draw.choice(LAYOUTS)
        prepared = operation != "grad_weight" and draw.random() < 0.3
        problem = Problem(operation, g, "float32", layout, prepared=prepared)
        ways = [name for name in ALGORITHMS if cheapest(problem, (name,))]
        asked.append((problem, draw.choice((None, *ways)), draw.choice((1, 1, 2, 3)), draw.choice((1, 2))))
    # Sizes come again, between others.
    asked += draw.sample(asked, len(asked) // 3)
    draw.shuffle(asked)
    with fresh():
        after_others = [facts(*each) for each in asked]
    different = len({words for _, words, _ in after_others})
    assert different > len(asked) // 3
    for each, found in zip(asked, after_others, strict=True):
        with fresh():
            assert facts(*each) == found, each


def facts(problem, name, threads, apart):
    """(the way, words of all tables, bytes of scratch) of a program; of a weight whose channels lie `apart`."""
    found = cheapest(problem, None if name is None else (name,))
    algorithm, steps = ALGORITHMS[found[0]], found[1]
    inner = steps[-1].after if steps else problem
    if not hasattr(algorithm, "_make"):
        return found[0], found[0], ()
    dense = PlacedProblem.dense(inner, threads, 1e-3)
    first, *others = dense.w
    # A weight may have gaps between its input channels, and a prepared one is not read where it lies.
    strides = (first if problem.prepared or problem.operation == "grad_weight" else apart * first, *others)
    ready = algorithm._make(PlacedProblem(inner, dense.x, dense.y, strides, threads, 1e-3))
    words = tuple(word for table in ready.program.tables for word in table.words)
    return algorithm.name, words, (*ready.program.sizes.items(), len(ready.no_bias), ready.program.frame(threads)[1])
