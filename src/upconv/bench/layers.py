"""The layer table: real layers at full size, as rows of a file that is shipped with the package."""

import csv
import math
import zlib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files

import numpy as np

from ..geometry import Axis, Geometry

PAIRS = {"k": "k", "s": "stride", "p": "padding", "op": "output_padding", "d": "dilation"}
SIZES = ("n", "c_in", "h", "w", "c_out", "groups")
BUFFERS = 3
FLOAT_BYTES = 4
SMALL_CHANNELS = 19
SMALL_MAP = 9


@dataclass(frozen=True, slots=True)
class Layer:
    """One row: sizes, and settings as (height, width) pairs in torch's terms."""

    name: str
    n: int
    c_in: int
    h: int
    w: int
    c_out: int
    k: tuple[int, int]
    s: tuple[int, int] = (1, 1)
    p: tuple[int, int] = (0, 0)
    op: tuple[int, int] = (0, 0)
    groups: int = 1
    d: tuple[int, int] = (1, 1)

    @property
    def settings(self):
        """Keyword arguments of `conv_transpose2d`."""
        return {
            "stride": self.s,
            "padding": self.p,
            "output_padding": self.op,
            "groups": self.groups,
            "dilation": self.d,
        }

    def geometry(self):
        axes = [
            Axis(n, self.k[i], self.s[i], self.d[i], self.p[i], self.p[i] - self.op[i])
            for i, n in enumerate((self.h, self.w))
        ]
        return Geometry(self.n, self.c_in, self.c_out, self.groups, *axes)

    @property
    def macs(self):
        """Useful multiply-adds."""
        return self.geometry().macs

    @property
    def bytes(self):
        """Least bytes that must move in float32: input, live weights and output, once each."""
        return FLOAT_BYTES * self.geometry().elements()

    def inputs(self):
        """`BUFFERS` different inputs (n, c_in, h, w) in float32; the same in every process."""
        shape = self.geometry().input_shape
        return [self._values(shape, 1.0, "input", number) for number in range(BUFFERS)]

    def parameters(self):
        """The weight (c_in, c_out / groups, k_h, k_w) and the bias (c_out,), in float32."""
        g = self.geometry()
        reach = 1 / math.sqrt(max(1, g.c_in // g.groups))
        return self._values(g.weight_shape, reach, "weight"), self._values((g.c_out,), 1.0, "bias")

    def _values(self, shape, reach, *key):
        seed = zlib.crc32(repr((self.name, *key)).encode())
        values = np.random.Generator(np.random.PCG64(seed)).random(shape, np.float32)
        values *= 2 * reach
        values -= reach
        return values

    def small(self):
        """The same layer with few channels and a small map, for a quick check of its settings."""
        groups = min(self.groups, 3)
        c_in, c_out = (groups * min(c // self.groups, SMALL_CHANNELS) for c in (self.c_in, self.c_out))
        h, w = (min(size, SMALL_MAP) for size in (self.h, self.w))
        return replace(self, n=min(self.n, 2), c_in=c_in, c_out=c_out, groups=groups, h=h, w=w)

    def as_dict(self):
        """Plain values, as JSON holds them; `of` reads them back."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, values):
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


@lru_cache(maxsize=1)
def table():
    """Every layer of the table, in its order.

    >>> len(table()), table()[1].name
    (88, 'dcgan-2')
    """
    with files("upconv").joinpath("assets/layers.tsv").open(newline="") as file:
        return tuple(map(_parse, csv.DictReader(file, delimiter="\t")))


def _parse(row):
    name, number = row["name"], {key: int(value) for key, value in row.items() if key != "name"}
    pairs = {short: (number[f"{long}_h"], number[f"{long}_w"]) for short, long in PAIRS.items()}
    return Layer(name, **{size: number[size] for size in SIZES}, **pairs)


def matching(patterns=None, layers=None):
    """The layers whose names match any of the comma-separated patterns: part of a name, or with * and ? all of it.

    Args:
        patterns: None for all.
        layers: by default those of the table.

    Raises:
        ValueError: when a pattern matches no row.

    >>> [layer.name for layer in matching("dcgan-?,sam")]
    ['dcgan-2', 'dcgan-4', 'dcgan-5', 'sam-dec2']
    """
    layers = list(table() if layers is None else layers)
    if not patterns:
        return layers
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(_matches(layer.name, pattern) for layer in layers):
            raise ValueError(f"--only {pattern!r} matches no row of the layer table")
    return [layer for layer in layers if any(_matches(layer.name, pattern) for pattern in wanted)]


def _matches(name, pattern):
    if any(letter in pattern for letter in "*?["):
        return fnmatchcase(name, pattern)
    return pattern in name
