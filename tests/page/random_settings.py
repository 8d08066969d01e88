"""Random layers with small maps of integers, and their outputs by NumPy: what the page has to show of them."""

import random

import numpy as np
from page.golden import axis

from upconv.explain.page.build import link
from upconv.geometry import Geometry
from upconv.reference import scatter


def random_settings(count=300, seed=31) -> list[dict]:
    """For each layer: its link, the sizes of its output, one output that the link selects, and the whole output."""
    rng = random.Random(seed)
    return [setting(rng) for _ in range(count)]


def setting(rng):
    geometry = Geometry(1, 1, 1, 1, axis(rng), axis(rng))
    values = np.random.default_rng(rng.randint(0, 10**6))
    x = values.integers(-9, 10, geometry.input_shape)
    kernel = values.integers(-9, 10, geometry.weight_shape)
    y = scatter(geometry, x.astype(float), kernel.astype(float))[0, 0]
    row, column = rng.randrange(geometry.h.out), rng.randrange(geometry.w.out)
    maps = f"&x={','.join(map(str, x.flat))}&w={','.join(map(str, kernel.flat))}&sel=o{row}.{column}"
    return {
        "link": link(geometry) + maps,
        "sizes": list(y.shape),
        "row": row,
        "column": column,
        "y": [[int(value) for value in line] for line in y],
    }
