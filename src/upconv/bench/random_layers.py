"""Random layers: odd and prime sizes, dilation, holes, few channels, groups, depthwise, one-sided settings."""

import random

from ..errors import SettingError
from .layers import Layer

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 19, 21, 24, 31, 32, 33, 48, 64, 67, 96, 128, 130, 192, 256, 320, 512)
SQUARE = ((4, 2), (3, 2), (2, 2), (5, 2), (3, 1), (4, 4), (8, 4), (6, 3), (16, 8), (1, 1), (1, 2), (2, 3), (7, 2))
MOST_MACS, MOST_BYTES = 600e6, 48e6


def random_layers(seed, count):
    """`count` layers of a seed, named by it and their number; a longer list begins with the same ones.

    >>> random_layers(1, 3)[2] == random_layers(1, 9)[2], random_layers(2, 1)[0].name
    (True, 'random-2-0')
    """
    draw, found = random.Random(seed), []
    while len(found) < count:
        layer = _layer(draw, f"random-{seed}-{len(found)}")
        if layer is not None:
            found.append(layer)
    return found


def _layer(draw, name):
    """One layer, or None where the settings leave no output or too much work."""
    kind = draw.random()
    k, s = zip(*((draw.choice(SQUARE),) * 2), strict=True) if kind < 0.7 else _uneven(draw)
    d = (draw.choice((2, 3)),) * 2 if draw.random() < 0.15 else (1, 1)
    groups = draw.choice((2, 3, 4, 8)) if draw.random() < 0.12 else 1
    c_in, c_out = (groups * draw.choice(CHANNELS) for _ in range(2))
    if draw.random() < 0.08:
        groups = c_in = c_out = draw.choice(CHANNELS)
    h, w = (int(2 ** draw.uniform(0, 7.5)) for _ in range(2))
    if draw.random() < 0.15:
        h, k, s, d = 1, (1, k[1]), (1, s[1]), (1, d[1])
    p = tuple(min(draw.choice((0, (k[i] - 1) // 2, max(0, (k[i] - s[i]) // 2))), 3) for i in range(2))
    op = tuple(draw.choice((0, max(0, min(1, s[i] - 1)))) for i in range(2))
    layer = Layer(name, draw.choice((1, 1, 1, 2, 4, 16)), c_in, h, w, c_out, k, s, p, op, groups, d)
    try:
        fits = 0 < layer.macs < MOST_MACS and layer.bytes < MOST_BYTES
    except SettingError:
        return None
    return layer if fits else None


def _uneven(draw):
    k = tuple(draw.choice((1, 2, 3, 4, 5, 7, 9, 16)) for _ in range(2))
    return k, tuple(draw.choice((1, 2, 3, 4, 8)) for _ in range(2))


def said(layer):
    """The layer in a line."""
    pairs = [f"{name}{a}x{b}" for name, (a, b) in zip("ksp", (layer.k, layer.s, layer.p), strict=True)]
    more = [f"d{layer.d[0]}x{layer.d[1]}"] * (layer.d != (1, 1)) + [f"groups {layer.groups}"] * (layer.groups > 1)
    return f"{layer.n} x {layer.c_in} to {layer.c_out}, {layer.h} x {layer.w}, {' '.join([*pairs, *more])}"
