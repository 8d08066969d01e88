"""Writes the golden IR texts of `codegen/test_golden.py`: run it after a change that is meant, and read the difference.

PYTHONPATH=src python tests/make_ir.py
"""

from pathlib import Path

from upconv.codegen.isa import ROWS
from upconv.codegen.lang import I64, PTR, Builder, Type
from upconv.codegen.lowering import lower

FOLDER = Path(__file__).parent / "data" / "ir"


def scale(isa):
    """Vectors of n numbers times a number, the last one under a mask."""
    k = Builder("scale")
    x, a, n = k.arguments(PTR, PTR, I64)
    vector = Type("f32", isa.lanes(4))
    factor = k.splat(k.load(a, Type("f32")), vector)
    with k.loop(0, n, vector.lanes) as place:
        inside = k.lane_mask(n - place, vector)
        k.store(k.mul(factor, k.load(x + place * 4, vector, inside)), x + place * 4, inside)
    return k


def total(isa):
    """A variable in a loop: set twice between two jumps, saved once; and a branch."""
    k = Builder("total")
    x, n = k.arguments(PTR, I64)
    sum = k.variable(0.0, Type("f64"))
    with k.loop(0, n, 2) as place:
        for step in range(2):
            sum.set(k.add(sum.get(), k.load(x + place * 8 + 8 * step, Type("f64"))))
    with k.when(n > 4):
        sum.set(k.mul(sum.get(), 0.1))
    k.store(sum.get(), x)
    return k


def relu(isa):
    """A vector with everything negative made zero, its lanes written apart."""
    k = Builder("relu")
    x, y, apart = k.arguments(PTR, PTR, I64)
    vector = Type("f64", isa.lanes(8))
    k.store_strided(k.maximum(k.load(x, vector), k.zero(vector)), y, apart, k.lane_mask(vector.lanes, vector))
    return k


KERNELS = {"scale": (scale, "avx2"), "total": (total, "x86-64"), "relu": (relu, "neon")}


def text(name):
    make, isa = KERNELS[name]
    return lower(make(ROWS[isa]), ROWS[isa])


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in KERNELS:
        (FOLDER / f"{name}.ll").write_text(text(name))
