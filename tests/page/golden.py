"""What the library says about some 400 settings, as data against which the page's JavaScript is checked.

It is made anew for every run, so it cannot grow stale: the library is the truth, and the page has to follow it.
"""

import json
import random
from dataclasses import asdict
from itertools import product

import numpy as np

from upconv import inverse
from upconv.conventions import CONVENTIONS, Torch, arguments, translate, weight_steps
from upconv.errors import SettingError
from upconv.explain import korean_sentences
from upconv.explain import solutions as listing
from upconv.explain import translation as carried
from upconv.explain.described import verdict_sentences
from upconv.explain.overlap import counts, even_alternatives, pairs, phases_with_outputs, taps_of, verdict
from upconv.explain.page.build import link
from upconv.explain.sizes import ambiguity, documented, inserted_zeros, written
from upconv.geometry import Axis, Geometry, check_channels
from upconv.inverse import Setting, common_settings, dead_outputs, ignored_inputs, setting_of, useful_taps
from upconv.reference import scatter

OTHERS = ("onnx", "keras", "jax")
SOLVED = [(16, 32), (17, 32), (4, 9), (4, 8), (1, 1), (1, 4), (5, 3), (7, 50), (31, 64), (3, 100), (13, 13)]
KEPT = [{}, {"k": 3}, {"k": 3, "s": 2}, {"s": 2, "d": 1}, {"p": 1, "op": 1}, {"k": 2, "s": 1, "p": 0, "op": 0, "d": 1}]
NAMES = ("k", "s", "p", "op", "d")


def golden() -> dict:
    """All of it; JSON can hold it."""
    rng = random.Random(9)
    axes = [axis(rng) for _ in range(400)]
    return {
        "axes": [facts_of_axis(each) for each in axes],
        "layers": [facts_of_layer(h, w) for h, w in zip(axes[:200], axes[100:300], strict=True)],
        "refused": [refused(rng) for _ in range(200)],
        "channels": [channels(*(rng.randint(-1, 9) for _ in range(3))) for _ in range(100)],
        "solved": [solved(*size, kept) for size in SOLVED for kept in KEPT],
        "lists": [lists(*sizes) for sizes in product(SOLVED[:8], repeat=2)],
        "nearest": [nearest(rng) for _ in range(100)],
        "outputs": [output(rng) for _ in range(60)],
        "links": [layer_link(rng) for _ in range(60)],
    }


def axis(rng):
    """An axis that leaves some output, some of them with crops that torch cannot say."""
    while True:
        n, k, s, d = rng.randint(1, 9), rng.randint(1, 7), rng.randint(1, 5), rng.choice((1, 1, 2, 3))
        lo = rng.randint(0, 3) if rng.random() < 0.8 else rng.randint(-2, 6)
        hi = lo - rng.randint(0, max(s, d) - 1) if rng.random() < 0.7 else rng.randint(-3, 4)
        try:
            return Axis(n, k, s, d, lo, hi)
        except SettingError:
            continue


def torch_axis(rng):
    """An axis that torch can say."""
    while True:
        found = axis(rng)
        if setting_of(found):
            return found


def crops(axis):
    return {"n": axis.n, "k": axis.k, "s": axis.s, "d": axis.d, "lo": axis.crop_lo, "hi": axis.crop_hi}


def facts_of_axis(axis):
    said = verdict(axis)
    return {
        "axis": crops(axis),
        "out": axis.out,
        "full": axis.full,
        "pairs": [[list(pair) for pair in pairs(axis, o)] for o in range(axis.out)],
        "counts": counts(axis),
        "phases": [phase(axis, start) for start in range(phases_with_outputs(axis))],
        "zeros": list(inserted_zeros(axis)),
        "written": written(axis),
        "documented": documented(axis),
        "ambiguity": ambiguity(axis),
        "verdict": [said.kind, said.reason],
        "korean": [
            korean_sentences.reason(said),
            korean_sentences.border_note(axis),
            korean_sentences.beyond_note(axis),
        ],
        "even": [asdict(setting) for setting in even_alternatives(axis)],
        "dead": dead_outputs(axis),
        "ignored": ignored_inputs(axis),
        "useful": useful_taps(axis),
    }


def phase(axis, start):
    residue = (start + axis.crop_lo) % axis.s
    return {"residue": residue, "taps": list(taps_of(axis, residue)), "start": start}


def facts_of_layer(h, w):
    geometry = Geometry(1, 1, 1, 1, h, w)
    return {
        "h": crops(h),
        "w": crops(w),
        "verdicts": verdict_sentences(geometry),
        "translations": {target: translated(target, h, w) for target in CONVENTIONS},
    }


def translated(target, h, w):
    found = translate(target, h, w)
    torch = [setting_of(axis) for axis in (h, w)]
    given = {"call": carried._call(target, h, w, arguments(*found.setting))}
    given["differences"] = list(carried._both_axes_at_once(found.differences))
    given["cut"] = carried._exact_by_cutting(found, target, h, w)
    given["steps"] = weight_steps("torch", target)
    if None not in torch:

        def axes_of(sizes):
            shapes = zip(torch, sizes, (h, w), strict=True)
            return [Torch(setting.p, setting.op).axis(n, axis.k, axis.s, axis.d) for setting, n, axis in shapes]

        extent = max(h.k_eff, w.k_eff)
        given["always"] = carried._holds_always(target, found, axes_of, (h.n, w.n), extent)
    return given


def refused(rng):
    """A torch setting, most of them impossible, and what the library says."""
    n, k, s, d = (rng.choice((1, 2, 3, 4)) if rng.random() < 0.85 else rng.randint(-1, 0) for _ in range(4))
    p, op = rng.randint(-1, 6), rng.randint(-1, 4)
    message = None
    if s < 1 and d < 1:
        s = 1
    try:
        Torch(p, op).axis(n, k, s, d)
    except SettingError as error:
        message = str(error)
    return {"setting": {"n": n, "k": k, "s": s, "p": p, "op": op, "d": d}, "message": message}


def channels(c_in, c_out, groups):
    message = None
    try:
        check_channels(c_in, c_out, groups)
    except SettingError as error:
        message = str(error)
    return {"channels": [c_in, c_out, groups], "message": message}


def solved(n, out, kept):
    sizes = [(n, out), (n, out)]
    try:
        found = common_settings(sizes, **kept)
    except SettingError as error:
        return {"size": [n, out], "kept": kept, "message": str(error)}
    return {
        "size": [n, out],
        "kept": kept,
        "count": len(found),
        "brute": sorted(brute_force(n, out, kept)),
        "all": sorted([getattr(setting, name) for name in NAMES] for setting in found),
        "rows": [listing._row(place, setting, sizes)[1:] for place, setting in enumerate(found[:12], start=1)],
    }


def lists(*sizes):
    """How many lists the command prints for the sizes of both axes."""
    return {"sizes": sizes, "lists": listing.solutions(sizes, [{}, {}], {}).count("best first")}


def brute_force(n, out, kept):
    """Every setting of a small box whose size is right, by asking each."""
    for k in range(1, 6):
        for s in range(1, 5):
            for d in range(1, 4):
                for op in range(max(s, d)):
                    for p in range(13):
                        values = dict(zip(NAMES, (k, s, p, op, d), strict=True))
                        if (n - 1) * s + d * (k - 1) + 1 - 2 * p + op == out and kept.items() <= values.items():
                            yield [k, s, p, op, d]


def nearest(rng):
    s, d = rng.randint(1, 4), rng.choice((1, 1, 2))
    setting = Setting(rng.randint(1, 6), s, rng.randint(0, 3), rng.randint(0, max(s, d) - 1), d)
    n, out = rng.randint(1, 12), rng.randint(1, 40)
    found = inverse.nearest(setting, n, out)
    return {"setting": asdict(setting), "n": n, "out": out, "nearest": found and asdict(found)}


def output(rng):
    """A small layer of integers, its output by the definition."""
    h, w = axis(rng), axis(rng)
    values = np.random.default_rng(rng.randint(0, 10**6))
    x, kernel = values.integers(-9, 10, (h.n, w.n)), values.integers(-9, 10, (h.k, w.k))
    made = scatter(Geometry(1, 1, 1, 1, h, w), x[None, None].astype(float), kernel[None, None].astype(float))
    return {
        "h": crops(h),
        "w": crops(w),
        "x": x.tolist(),
        "kernel": kernel.tolist(),
        "y": [[int(value) for value in row] for row in made[0, 0]],
    }


def layer_link(rng):
    groups = rng.randint(1, 3)
    geometry = Geometry(1, groups * rng.randint(1, 3), groups * rng.randint(1, 3), groups, axis(rng), axis(rng))
    return {
        "link": link(geometry),
        "h": crops(geometry.h),
        "w": crops(geometry.w),
        "channels": [geometry.groups, geometry.c_in, geometry.c_out],
    }


if __name__ == "__main__":
    print(json.dumps(golden()))
