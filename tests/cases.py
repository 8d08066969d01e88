"""One registry of cases for tests and benchmarks: real layers, the same layers scaled down, and awkward settings.

`LAYERS` are the rows of the package's assets/layers.tsv at full size. `SMALL` are the same layers with few channels and
small maps, so that the reference takes milliseconds; kernel, stride, padding, dilation and the kind of grouping stay.
`AWKWARD` are the settings in which implementations go wrong. `CASES` are the two small families together.

Values come from raw bits of PCG64, whose stream NumPy promises never to change, so they are the same everywhere.
"""

import csv
import math
import mmap
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from require import promised_or_there, require

from upconv.geometry import Axis, Geometry

DTYPES = ("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64")
# For loops over dtypes in processes of their own, which cannot be skipped: those that this installation has.
AVAILABLE = tuple(name for name in DTYPES if name != "bfloat16" or promised_or_there("ml_dtypes"))
LAYOUTS = ("nchw", "nhwc")
# Numbers in an array whose values are remembered.
FEW = 1 << 13
LAYERS_FILE = files("upconv").joinpath("assets/layers.tsv")


class Arrays(NamedTuple):
    """Operands of one case: input, weight, bias of the output, gradient in the output."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    grad_y: np.ndarray


@dataclass(frozen=True, slots=True)
class Case:
    """One setting with its sizes; pairs are (height, width).

    `p` holds torch's padding, or a pair of signed (lo, hi) crops, which torch cannot say.
    """

    name: str
    n: int
    c_in: int
    h: int
    w: int
    c_out: int
    k: tuple[int, int]
    s: tuple[int, int] = (1, 1)
    p: tuple = (0, 0)
    op: tuple[int, int] = (0, 0)
    groups: int = 1
    d: tuple[int, int] = (1, 1)
    tags: frozenset = frozenset()

    def __str__(self):
        return self.name

    @property
    def in_torch(self):
        """Whether torch can say it."""
        return not any(isinstance(p, tuple) for p in self.p)

    @property
    def settings(self):
        """Keyword arguments of the functional call."""
        return {
            "stride": self.s,
            "padding": self.p,
            "output_padding": self.op,
            "groups": self.groups,
            "dilation": self.d,
        }

    def geometry(self):
        """Written from the definition of the crops, not through the package's parsing."""
        axes = []
        for i, n in enumerate((self.h, self.w)):
            lo, hi = self.p[i] if isinstance(self.p[i], tuple) else (self.p[i], self.p[i])
            axes.append(Axis(n, self.k[i], self.s[i], self.d[i], lo, hi - self.op[i]))
        return Geometry(self.n, self.c_in, self.c_out, self.groups, *axes)

    def arrays(self, dtype="float64", layout="nchw", seed=0, kind="rough"):
        """Operands: the maps lie as `layout` says, the weight is contiguous. See `values` for the kinds."""
        g = self.geometry()
        shapes = g.input_shape, g.weight_shape, (g.c_out,), g.output_shape
        keys = [(seed, zlib.crc32(self.name.encode()), number) for number in range(4)]
        x, w, b, grad_y = (values(shape, key, dtype, kind) for shape, key in zip(shapes, keys, strict=True))
        if layout == "nhwc":
            x, grad_y = channels_last(x), channels_last(grad_y)
        return Arrays(x, w, b, grad_y)


def as_dtype(name):
    """A NumPy dtype; bfloat16 is not NumPy's own, and what needs it is skipped where ml_dtypes is missing."""
    return np.dtype(require("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def values(shape, seed, dtype="float64", kind="rough"):
    """Deterministic values of one dtype.

    rough: from -1 to 1 with 20 random bits, so that every product must be rounded; integers up to 2**19 in size.
    exact: whole numbers from -8 to 8, so that every sum of a small case is exact in every dtype but for one rounding.
    range: rough times 2**-10 to 2**10, a dynamic range of a million.
    """
    dtype = as_dtype(dtype)
    if dtype.kind == "c":
        parts = [values(shape, (*seed, part), "float64", kind) for part in (1, 2)]
        return (parts[0] + 1j * parts[1]).astype(dtype)
    bits = _bits(shape, seed)
    if kind == "exact":
        return (bits % 17 - 8).astype(dtype)
    if dtype.kind == "i":
        return (bits - 2**19).astype(dtype)
    rough = (bits - 2**19 + 0.5) / 2**19
    if kind == "range":
        rough = np.ldexp(rough, _bits(shape, (*seed, 3)) % 21 - 10)
    return rough.astype(dtype)


def _bits(shape, seed):
    """20 random bits each; those of small arrays are remembered, since tests ask for the same ones again and again."""
    return (_few_bits if math.prod(shape) <= FEW else _any_bits)(shape, seed)


@lru_cache(maxsize=1024)
def _few_bits(shape, seed):
    bits = _any_bits(shape, seed)
    bits.flags.writeable = False
    return bits


def _any_bits(shape, seed):
    raw = np.random.PCG64(seed).random_raw(math.prod(shape))
    return (np.asarray(raw, np.uint64) >> np.uint64(44)).astype(np.int64).reshape(shape)


def channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _layers():
    with LAYERS_FILE.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            name, number = row.pop("name"), {key: int(value) for key, value in row.items()}
            pairs = {
                short: (number[f"{long}_h"], number[f"{long}_w"])
                for short, long in (
                    ("k", "k"),
                    ("s", "stride"),
                    ("p", "padding"),
                    ("op", "output_padding"),
                    ("d", "dilation"),
                )
            }
            sizes = {key: number[key] for key in ("n", "c_in", "h", "w", "c_out", "groups")}
            yield Case(name, **sizes, **pairs, tags=frozenset({"layer"}))


def small(case):
    """The same layer with few channels and small odd maps."""
    spice = zlib.crc32(case.name.encode())
    groups = min(case.groups, 3)
    wide_in = min(case.c_in // case.groups, 2 + spice % 4)
    wide_out = min(case.c_out // case.groups, 1 + spice // 4 % 4)
    most = (1, 2) if max(case.k) > 16 else (3 + spice // 16 % 3, 3 + spice // 64 % 3)
    return replace(
        case,
        n=min(case.n, 1 + spice // 256 % 2),
        c_in=groups * wide_in,
        c_out=groups * wide_out,
        groups=groups,
        h=min(case.h, most[0]),
        w=min(case.w, most[1]),
        tags=frozenset({"small"}),
    )


def _distinct(cases):
    """The first case of each setting."""
    seen = {}
    for case in cases:
        seen.setdefault(replace(case, name=""), case)
    return tuple(seen.values())


def _pair(value):
    return value if isinstance(value, tuple) else (value, value)


def awkward(name, k, s=1, p=0, op=0, groups=1, d=1, *, n=1, c=(3, 2), h=4, w=5, tags=()):
    pairs = {key: _pair(value) for key, value in {"k": k, "s": s, "p": p, "op": op, "d": d}.items()}
    return Case(name, n, c[0], h, w, c[1], groups=groups, **pairs, tags=frozenset(tags))


def crops(top, bottom, left, right):
    return (top, bottom), (left, right)


AWKWARD = (
    awkward("kernel-below-stride-k1s2", k=1, s=2),
    awkward("kernel-below-stride-k2s5", k=2, s=5, p=1, op=4),
    awkward("kernel-below-stride-mixed", k=(1, 3), s=(3, 2), p=(0, 1)),
    awkward("gcd2-k3s2d2-holes", k=3, s=2, d=2, tags=["holes"]),
    awkward("gcd2-k3s4d2-holes", k=3, s=4, d=2, p=1, tags=["holes"]),
    awkward("gcd2-k5s4d6-holes", k=5, s=4, d=6, p=3, n=2, tags=["holes"]),
    awkward("gcd3-k4s3d3-holes", k=4, s=3, d=3, p=2, op=2, tags=["holes"]),
    awkward("gcd3-k3s6d9-holes", k=3, s=6, d=9, p=4, op=5, tags=["holes"]),
    awkward("gcd1-k5s3d2", k=5, s=3, d=2, p=2, op=1),
    awkward("gcd1-k7s5d3", k=7, s=5, d=3, p=4, op=3),
    awkward("gcd1-k4s7d5", k=4, s=7, d=5, p=6, op=6),
    awkward("gcd-on-one-axis", k=3, s=(2, 3), d=(2, 2), p=(1, 2), tags=["holes"]),
    awkward("output-padding-limit-s3", k=3, s=3, op=2),
    awkward("output-padding-limit-d4s1", k=3, s=1, d=4, op=3),
    awkward("output-padding-limit-d5s2", k=2, s=2, d=5, p=1, op=4),
    awkward("output-padding-limit-d4s2-holes", k=2, s=2, d=4, op=3, tags=["holes"]),
    awkward("output-padding-one-axis", k=3, s=2, p=1, op=(1, 0)),
    awkward("output-padding-beyond-padding", k=2, s=4, op=3),
    awkward("1x1-input", k=4, s=2, p=1, h=1, w=1),
    awkward("1x1-input-all-dead-but-one", k=3, s=2, p=1, h=1, w=1),
    awkward("1x1-kernel", k=1),
    awkward("1x1-kernel-1x1-input", k=1, h=1, w=1, c=(1, 1)),
    awkward("1x1-kernel-with-stride-and-room", k=1, s=3, op=2),
    awkward("primes", k=(5, 3), s=(3, 2), p=(2, 1), op=(1, 1), n=3, c=(7, 5), h=11, w=13),
    awkward("primes-channels-13x11", k=2, s=2, n=2, c=(13, 11), h=3, w=7),
    awkward("one-channel-in", k=3, s=2, p=1, op=1, c=(1, 4)),
    awkward("one-channel-out", k=3, s=2, p=1, op=1, c=(4, 1)),
    awkward("one-channel-both", k=4, s=2, p=1, c=(1, 1), n=2),
    awkward("groups-2-several-outputs", k=3, s=2, p=1, op=1, groups=2, c=(4, 6), n=2),
    awkward("groups-3-narrowing", k=4, s=2, p=1, groups=3, c=(9, 3)),
    awkward("groups-3-widening", k=2, s=2, groups=3, c=(3, 12)),
    awkward("groups-5-dilated", k=3, s=2, d=3, p=3, op=1, groups=5, c=(10, 15), h=3, w=3),
    awkward("groups-2-holes", k=3, s=2, d=2, p=2, groups=2, c=(4, 4), tags=["holes"]),
    awkward("depthwise", k=3, s=2, p=1, op=1, groups=6, c=(6, 6)),
    awkward("depthwise-stride-1", k=5, s=1, p=2, groups=4, c=(4, 4), h=7, w=6),
    awkward("depthwise-multiplier-3", k=4, s=2, p=1, groups=4, c=(4, 12), n=2),
    awkward("depthwise-1-d", k=(1, 6), s=(1, 3), p=(0, 2), op=(0, 1), groups=5, c=(5, 5), h=1, w=9),
    awkward("batch-zero", k=3, s=2, p=1, op=1, n=0),
    awkward("batch-three", k=3, s=2, n=3),
    awkward("crops-negative", k=3, s=2, p=crops(-1, -2, -3, -1), tags=["crops"]),
    awkward("crops-negative-beyond-stride", k=2, s=2, p=crops(-5, -4, -7, -6), tags=["crops"]),
    awkward("crops-unequal", k=4, s=2, p=crops(0, 2, 3, 1), tags=["crops"]),
    awkward("crops-of-both-signs", k=3, s=3, p=crops(2, -3, -2, 4), n=2, tags=["crops"]),
    awkward("crops-negative-holes", k=2, s=4, d=2, p=crops(-3, 1, 2, -3), tags=["crops", "holes"]),
    awkward("crops-same-k3s2", k=3, s=2, p=crops(0, 1, 0, 1), tags=["crops"]),
    awkward("crops-same-k2s3", k=2, s=3, p=crops(0, -1, 0, -1), tags=["crops"]),
    awkward("crops-groups", k=4, s=3, p=crops(-1, 3, 4, -2), groups=2, c=(4, 2), tags=["crops"]),
    awkward("crop-kills-taps", k=5, s=2, p=3, h=2, w=2),
    awkward("crop-kills-taps-of-one-axis", k=(5, 3), s=1, p=(2, 0), h=2, w=5),
    awkward("crop-kills-inputs", k=2, s=2, p=3),
    awkward("crop-kills-all-but-a-corner", k=3, s=2, p=crops(7, 1, 9, 1), tags=["crops"]),
    awkward("crop-leaves-a-hole-only", k=2, s=4, d=2, p=crops(3, 11, 3, 15), tags=["crops", "holes"]),
    awkward("crop-keeps-nothing-but-bias", k=2, s=2, p=crops(-4, 11, -4, 13), tags=["crops", "holes"]),
    awkward("kernel-beyond-everything", k=(17, 13), s=2, p=(8, 6), h=2, w=3),
    awkward("kernel-beyond-everything-stride-1", k=11, s=1, p=7, h=5, w=6),
    awkward("kernel-beyond-everything-dilated", k=6, s=2, d=5, p=12, op=4, h=3, w=2),
    awkward("1-d-k16s8", k=(1, 16), s=(1, 8), p=(0, 4), h=1, w=11, c=(5, 3)),
    awkward("1-d-k3d3", k=(1, 3), s=1, p=(0, 3), d=(1, 3), h=1, w=12),
    awkward("1-d-upright", k=(8, 1), s=(4, 1), h=6, w=1),
    awkward("stride-1-k3p1", k=3, p=1, n=2, h=6, w=6),
    awkward("stride-1-k2", k=2),
    awkward("stride-1-even-kernel-p2", k=4, p=2, h=5, w=4),
    awkward("stride-1-dilated", k=3, d=2, p=2),
    awkward("stride-beyond-input", k=9, s=7, p=3, h=2, w=2),
    awkward("unlike-axes", k=(3, 5), s=(2, 1), p=(4, 2), h=7, w=6, n=2),
    awkward("long-sums", k=4, s=2, p=1, c=(160, 2), h=3, w=3),
    awkward("long-sums-grouped", k=3, s=1, p=1, c=(140, 2), groups=2, h=3, w=3),
)
# Sums long enough, and results large enough, for a statement about the mean error.
ACCURACY = (
    Case("k4s2", 2, 64, 10, 9, 24, (4, 4), (2, 2), (1, 1)),
    Case("k3s2-odd", 1, 129, 7, 11, 10, (3, 3), (2, 2), (1, 1), (1, 1)),
    Case("k2s2", 2, 96, 8, 8, 12, (2, 2), (2, 2)),
    Case("k5s2-long", 1, 300, 6, 6, 8, (5, 5), (2, 2), (2, 2), (1, 1)),
    Case("k3s1-long", 1, 256, 9, 9, 8, (3, 3), (1, 1), (1, 1)),
    Case("k3s2d3", 1, 48, 9, 9, 16, (3, 3), (2, 2), (3, 3), (1, 1), 1, (3, 3)),
    Case("depthwise", 2, 20, 9, 9, 20, (4, 4), (2, 2), (1, 1), groups=20),
    Case("grouped", 1, 96, 8, 8, 32, (4, 4), (2, 2), (1, 1), groups=4),
    Case("1-d", 1, 160, 1, 60, 16, (1, 16), (1, 8), (0, 4)),
    Case("one-pixel", 2, 400, 1, 1, 24, (4, 4)),
)
LAYERS = tuple(_layers())
SMALL = _distinct(small(case) for case in LAYERS)
CASES = SMALL + AWKWARD
BY_NAME = {case.name: case for case in CASES}


class Subclass(np.ndarray):
    """Some library's own array."""


def _sliced(array):
    """Every other element, on each axis, of a larger array full of NaN (or of a telling integer)."""
    fill = -77 if array.dtype.kind == "i" else np.nan
    large = np.full([2 * size + 3 for size in array.shape], fill, array.dtype)
    view = large[tuple(slice(1, 1 + 2 * size, 2) for size in array.shape)]
    view[...] = array
    return view


def _unaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _negative(array):
    every = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[every])[every]


def _broadcast(array):
    """The first image, channel and row repeated by strides of zero: other values than the array's."""
    first = array[:1, :, :1] if array.ndim == 4 else array[:1]
    return np.broadcast_to(first, array.shape)


def _scalar(array):
    """A single value repeated everywhere."""
    return np.broadcast_to(array.ravel()[:1].reshape((1,) * array.ndim), array.shape)


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _mapped(array):
    memory = mmap.mmap(-1, max(array.nbytes, 1))
    view = np.ndarray(array.shape, array.dtype, memory)
    view[...] = array
    return view


def _swapped(array):
    return array.astype(array.dtype.newbyteorder())


def _permuted(array):
    """Axes stored innermost first: neither layout, though contiguous."""
    return np.ascontiguousarray(array.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2) if array.ndim == 4 else array.copy()


#: Memory of every kind: each takes a non-empty array and returns one of the same shape and dtype.
VIEWS = {
    "fortran": np.asfortranarray,
    "negative": _negative,
    "sliced": _sliced,
    "unaligned": _unaligned,
    "broadcast": _broadcast,
    "scalar": _scalar,
    "read_only": _read_only,
    "mapped": _mapped,
    "byte_swapped": _swapped,
    "permuted": _permuted,
    "subclass": lambda array: array.copy().view(Subclass),
}
