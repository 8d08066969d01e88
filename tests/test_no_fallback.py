"""Where kernels can be made, every setting is computed by them: the readable algorithms are for elsewhere."""

import os
import random
from collections import Counter

import pytest
from cases import DTYPES, LAYOUTS

from upconv import generated
from upconv.algorithms import matmul
from upconv.errors import SettingError
from upconv.geometry import Axis, Geometry
from upconv.planning import AUTO, _chosen
from upconv.problem import OPERATIONS, Problem
from upconv.runtime.kernel import usable

HOW_MANY = int(os.environ.get("UPCONV_RANDOM", "1000"))
READABLE = {"matmul", "loops"}

pytestmark = pytest.mark.skipif(bool(usable()), reason="kernels cannot be made here")


def axis(draw):
    """Any axis: sizes from 1, strides beyond the kernel, dilation, crops of both signs."""
    while True:
        n = draw.choice((1, 2, draw.randrange(1, 40), draw.randrange(1, 2000)))
        k, s, d = draw.randrange(1, draw.choice((4, 8, 32))), draw.randrange(1, 9), draw.choice((1, 1, 2, 3, 7))
        crop_lo, crop_hi = draw.randrange(-3, d * k), draw.randrange(-s, d * k)
        try:
            return Axis(n, k, s, d, crop_lo, crop_hi)
        except SettingError:
            continue


def problem(draw):
    groups = draw.choice((1, 1, 1, draw.randrange(1, 9), draw.randrange(1, 300)))
    wide = draw.choice((1, 4, 40, 400))
    c_in, c_out = (groups * draw.randrange(1, 1 + wide) for _ in "io")
    if draw.random() < 0.1:
        c_in = c_out = groups
    g = Geometry(draw.choice((0, 1, 1, 2, 16)), c_in, c_out, groups, axis(draw), axis(draw))
    return Problem(draw.choice(OPERATIONS), g, draw.choice(DTYPES), draw.choice(LAYOUTS))


def test_a_readable_algorithm_is_never_chosen(capsys):
    counts, fallen = Counter(), []
    for seed in range(HOW_MANY):
        asked = problem(random.Random(seed))
        chosen = _chosen.__wrapped__(asked, AUTO).algorithm
        counts[asked.operation, asked.dtype, chosen] += 1
        if chosen in READABLE:
            fallen.append((chosen, seed, asked))
    with capsys.disabled():
        share = Counter()
        for (*_, chosen), count in counts.items():
            share[chosen] += count
        print(f"\n{HOW_MANY} random settings: {dict(share)}")
    assert not fallen, f"{len(fallen)} of {HOW_MANY} fell back, first {fallen[0]}"
    # Every dtype of every operation was asked for.
    assert len({cell[:2] for cell in counts}) == len(OPERATIONS) * len(DTYPES)


def test_a_refusal_would_be_seen(monkeypatch):
    """Without kernels the plan does fall back, so the count above is not zero for want of an alternative."""
    monkeypatch.setattr(generated, "usable", lambda: ["is not wanted"])
    monkeypatch.setattr(matmul, "usable", lambda: ["is not wanted"])
    assert _chosen.__wrapped__(problem(random.Random(0)), AUTO).algorithm in READABLE
