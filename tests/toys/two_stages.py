"""A toy way of computing: it copies the input first, in a stage of its own, and has a second thought.

The copy adds zero times each value to it, so that an infinity becomes a NaN. As in ways that take differences,
what is not finite spoils the result, is flagged by the kernel, and is computed again by another way.
"""

import math

from upconv.algorithms import gemm
from upconv.codegen.lang import I64, PTR, SIZES, Builder, Type
from upconv.layouts import CHANNELS_FIRST, Operand
from upconv.runtime.kernel import entry, isa
from upconv.runtime.program import FLAGS, PANELS, SHARED, Grid, M, Nest, Program, Rows, Stage
from upconv.schedule import bands, pixel_products
from upconv.schedule.moves import PlacedOperand

FALLBACK = "gemm"
FIELDS = tuple("entry src dst flags count".split())
weight_form = gemm.weight_form


def checked_copy(isa, elem):
    """Copies a line of `count` values; the flags are a vector that is zero if all of them are finite."""
    k = Builder(f"checked_copy_{elem}_{isa.name}")
    vector = Type(elem, isa.lanes(SIZES[elem]))
    _, src, dst, flags, count = k.arguments(I64, PTR, PTR, PTR, I64)
    zero = k.splat(k.zero(vector.scalar), vector)
    seen = k.variable(zero)
    with k.loop(0, count, vector.lanes) as i:
        mask, place = k.lane_mask(count - i, vector), i * vector.scalar.size
        value = k.load(src + place, vector, mask)
        nothing = k.mul(value, zero)
        k.store(k.add(value, nothing), dst + place, mask)
        seen.set(k.add(seen.get(), nothing))
    k.store(seen.get(), flags)
    return k


def why_not(problem):
    if problem.operation == "grad_weight":
        return ["computes no gradient in the weight"]
    return [] if problem.a_layout == CHANNELS_FIRST else ["the map that is read must lie channels-first"]


def work(problem):
    copied = problem.itemsize * math.prod(problem.operand_shapes[0])
    return gemm.work(problem) | {"copied_bands": 2 * copied}


def program(placed):
    copies, copied, sizes = copying(placed)
    panels, scratch = weight_form(placed.problem), bands.Scratch()
    rows = gemm.block_rows(placed, panels)

    def make(band):
        return pixel_products.nests(placed, band, gemm.kernel.FIELDS, panels, rows, {"w_g": panels.group}, scratch)

    nests = bands.one_by_one(placed, bands.in_layout(placed, scratch, True, make), copied, placed.result)
    packing = [panels.packing(placed)] if placed.packs else []
    stages = [*packing, Stage(copies), Stage([Grid(tuple(nests))])]
    sizes |= {PANELS: panels.nbytes if placed.packs else 0, **scratch.sizes}
    sizes |= pixel_products.tile_scratch(placed, panels)
    return Program(stages, sizes, placed.seconds, shared=(*SHARED, M))


def copying(placed):
    """(grids that copy the source, one for each image; where the copy lies; bytes of scratch by base)."""
    shape, at = placed.problem.operand_shapes[0], placed.x
    n, c, h, w = shape
    copied = PlacedOperand(M, 0, Operand.dense(shape, placed.size, channels_last=False))
    fields = {"entry": entry(checked_copy, placed.elem), "count": w}
    moved = [(at.n, copied.at.n, c * h), (at.c, copied.at.c, h), (at.h, copied.at.h, 1)]
    channels, lines = (
        Rows(("src", "dst", "flags"), [(i * src, i * dst, i * number * isa().vector_bytes) for i in range(length)])
        for length, (src, dst, number) in zip((c, h), moved[1:], strict=True)
    )
    grids = []
    for image in range(n):
        src, dst, number = (image * step for step in moved[0])
        there = {"src": (placed.source.base, src), "dst": (M, dst), "flags": (FLAGS, number * isa().vector_bytes)}
        grids.append(Grid([Nest(FIELDS, fields | there, (channels, lines))]))
    return grids, copied, {M: n * copied.at.n, FLAGS: n * c * h * isa().vector_bytes}
