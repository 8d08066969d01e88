"""What is kept for the next problem says nothing of the problem before it.

Many things are made once for all problems that agree in some facts: their key. A key without one of its facts gives a
problem what was made for another one. So problems that differ in a single fact are asked for one after another, and
each must get what it gets where nothing is remembered.
"""

import itertools
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from amount import some
from cases import LAYOUTS
from fresh import fresh

from upconv.algorithms import ALGORITHMS, is_programmed
from upconv.candidates import cheapest
from upconv.errors import SettingError
from upconv.geometry import Axis, Geometry
from upconv.layouts import WEIGHT_CHANNELS_LAST
from upconv.problem import OPERATIONS, Activation, Problem
from upconv.runtime import kernel
from upconv.schedule import pixel_products
from upconv.schedule.placed_problem import PlacedProblem

pytestmark = pytest.mark.skipif(bool(kernel.usable()), reason="no kernels can be made here")
ONE = Axis(1, 1)
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


# Numbers of channels, of images, sizes, taps and strides that a problem is altered to.
SOME = {"n": (1, 2, 5), "c_in": (2, 8, 24, 64, 320), "c_out": (2, 8, 16, 64), "groups": (1, 2, 8)}
SOME_AXIS = {
    **{"n": (1, 5, 9, 10, 12, 17, 33), "k": (1, 2, 3, 4, 5), "s": (1, 2, 3), "d": (1, 2)},
    **{"crop_lo": (-1, 0, 1, 2), "crop_hi": (-1, 0, 1, 2)},
}
KERNELS = (1, 1), (2, 2), (3, 1), (3, 2), (4, 2), (5, 1), (5, 2)
# Problems that few draws would find.
BASES = {
    # Phases of one tap, which have several under another stride or dilation: then the kernels are others.
    "gemm": Problem("forward", Geometry(1, 24, 16, 1, Axis(9, 2, 2), Axis(10, 2, 2)), "float32", "nhwc"),
    # Axes that may be cut in several ways, which are compared.
    "winograd": Problem("forward", Geometry(1, 64, 64, 1, *[Axis(17, 4, 2, 1, 1, 1)] * 2), "float32", "nhwc"),
}


@pytest.fixture(autouse=True)
def _no_new_addresses(monkeypatch):
    """The addresses of two lines are in tables, and not the same once these are made anew."""
    monkeypatch.setattr(pixel_products, "ones", lambda dtype: 1)
    monkeypatch.setattr(pixel_products, "zeros", lambda dtype: 2)


@pytest.mark.parametrize("layer", SHAPES)
def test_what_is_kept_of_a_layer_says_nothing_of_another_size(layer):
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
    different = len({words for _, words, *_ in after_others})
    assert different > len(asked) // 3
    for each, found in zip(asked, after_others, strict=True):
        with fresh():
            assert facts(*each) == found, each


@pytest.mark.parametrize("number", range(some(1, 8)))
@pytest.mark.parametrize("way", [*(f"{way}, its base" for way in BASES), *filter(is_programmed, ALGORITHMS)])
def test_what_is_kept_of_a_problem_says_nothing_of_one_that_differs_in_one_fact(way, number):
    draw, changed = random.Random(f"{way} {number}"), Counter()
    way, *has_base = way.split(", ")
    found = iter(lambda: BASES[way] if has_base else drawn(draw), ())
    base = next(each for each in found if each is not None and cheapest(each, (way,)))
    asked = [(base, None, 1, 1), *((base, way, *more) for more in ((1, 1), (1, 2), (2, 1), (3, 1)))]
    for fact, problem in altered(base, draw):
        # Another that it refuses, and some others, by the cheapest way.
        name = way if cheapest(problem, (way,)) and draw.random() < 0.8 else None
        asked.append((problem, name, 1, 1))
        changed[fact] += name is not None
    # Some of the base between those that are nearly the same.
    asked += [(base, way, 1, 1)] * 3
    draw.shuffle(asked)
    with fresh():
        after_others = [facts(*each) for each in asked]
    for each, found in zip(asked, after_others, strict=True):
        with fresh():
            assert facts(*each) == found, (base, each)
    assert sum(count > 0 for count in changed.values()) > 3, changed


def drawn(draw):
    """A problem, whose facts are those that others are altered to; None where its settings leave no output."""
    groups, axes = draw.choice((1, 1, 1, 2, 8)), []
    kernels = draw.choice(((1, 1), (64, 32), *KERNELS)), draw.choice(KERNELS)
    for _ in range(2):
        k, s = draw.choice((*kernels[:1] * 2, kernels[1]))
        crops = draw.choice(((0, 0), *CROPS))
        axes.append((draw.choice(SOME_AXIS["n"]), k, s, draw.choice((1, 1, 1, 2)), *crops))
    channels = [draw.choice(SOME[name]) for name in ("c_in", "c_out")] if groups < 8 else [8, 8]
    operation, prepared = draw.choice(("forward", *OPERATIONS)), draw.random() < 0.3
    with suppress(SettingError):
        g = Geometry(draw.choice(SOME["n"]), *channels, groups, *(Axis(*each) for each in axes))
        prepared = prepared and operation != "grad_weight"
        return Problem(operation, g, "float32", draw.choice(LAYOUTS), prepared=prepared) if g.macs else None


def altered(problem, draw):
    """(the fact, the problem with another one) of all facts that can be altered alone."""
    for fact, make in changes(problem, draw):
        with suppress(SettingError):
            other = make()
            if other != problem and other.macs:
                yield fact, other


def changes(problem, draw):
    """(the fact, what makes the problem with another one)."""
    g, as_made = problem.geometry, {"a_layout": None, "b_layout": None}

    def of_geometry(**facts):
        return replace(problem, geometry=replace(g, **facts), **as_made)

    def of_axis(name, **facts):
        return of_geometry(**{name: replace(getattr(g, name), **facts)})

    for fact, values in SOME.items():
        for value in draw.sample(values, 2):
            yield fact, partial(of_geometry, **{fact: value})
    for name, (fact, values) in itertools.product("hw", SOME_AXIS.items()):
        for value in draw.sample(values, min(3, len(values))):
            yield f"{name}.{fact}", partial(of_axis, name, **{fact: value})
    others = [{"dtype": each} for each in ("float64", "float16")]
    others += [{"layout": each, **as_made} for each in LAYOUTS]
    if problem.operation != "grad_weight":
        others += [{"operation": each, **as_made} for each in ("forward", "grad_input")]
        others += [{"activation": Activation(each)} for each in ("relu", "leaky_relu", "tanh")]
        others += [{"prepared": not problem.prepared}, {"b_layout": WEIGHT_CHANNELS_LAST}]
        others += [{"storage": "float16", "prepared": True}]
    for other in others:
        yield next(iter(other)), partial(replace, problem, **other)


def facts(problem, name, threads, apart):
    """(the way, words of all tables, scratch, seconds) of a program; of a weight whose channels lie `apart`."""
    found = cheapest(problem, None if name is None else (name,))
    algorithm, steps = ALGORITHMS[found[0]], found[1]
    inner = steps[-1].after if steps else problem
    if not hasattr(algorithm, "_make"):
        return found[0], found[0], (), 0
    dense = PlacedProblem.dense(inner, threads, 1e-3)
    first, *others = dense.w
    # A weight may have gaps between its input channels, and a prepared one is not read where it lies.
    strides = (first if problem.prepared or problem.operation == "grad_weight" else apart * first, *others)
    ready = algorithm._make(PlacedProblem(inner, dense.x, dense.y, strides, threads, 1e-3))
    words = tuple(word for table in ready.program.tables for word in table.words)
    scratch = (*ready.program.sizes.items(), len(ready.no_bias), ready.program.frame(threads)[1])
    return algorithm.name, words, scratch, algorithm._seconds(inner)
