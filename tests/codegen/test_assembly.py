"""What LLVM makes of the product's register tiles: nothing but multiply-adds and loads in the hot loop."""

import re
from itertools import product

import pytest
from children import ISAS
from native import blocks, hot_loop, spills, undefined_symbols

from upconv.algorithms import col2im_rows as col2im
from upconv.algorithms import direct_rows as rows
from upconv.codegen import llvm
from upconv.codegen.isa import LINE, ROWS
from upconv.codegen.lang import PAIRS, SIZES
from upconv.codegen.lowering import lower
from upconv.geometry import ceil_div
from upconv.kernels import (
    col2im_channels,
    col2im_rows,
    gemm,
    phase_blocks,
    strip_product,
    strip_rows,
    weight_gradient_blocks,
    winograd_gather,
    winograd_product,
    winograd_spread,
    winograd_weight,
)
from upconv.kernels.execute import execute
from upconv.kernels.transpose import transpose
from upconv.schedule import strips
from upconv.schedule.next_block import MOST_LINES
from upconv.winograd_forms import form

# Those of x86-64 that add a product where it is made.
FUSED = [name for name in ISAS if ROWS[name].fused]
TILES = [
    (name, elem, mr, nv) for name in FUSED for elem in ("f32", "f64") for nv, mr in gemm.heights(ROWS[name]).items()
]


def calls(lines):
    return [line for line in lines if line.startswith(("call", "bl "))]


KINDS = {
    "any": {},
    "brief": {"brief": True},
    "whole_taps": {"whole_taps": True},
    "ahead": {"ahead": True},
    "brief, ahead": {"brief": True, "ahead": True},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("isa", "elem", "mr", "nv"), TILES)
def test_the_hot_loop_of_a_tile(isa, elem, mr, nv, kind):
    isa = ROWS[isa]
    assembly = llvm.assembly(lower(gemm.gemm(isa, elem, mr, nv, **kind), isa), isa)
    loop = hot_loop(assembly, "vfmadd")
    fused = [line for line in loop if re.match(r"vfmadd\d+p[sd]", line)]
    assert len(fused) == mr * nv * gemm.UNROLL
    assert all(("%zmm" if isa.vector_bytes == 64 else "%ymm") in line for line in fused)
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []
    loads = [line for line in loop if re.match(r"v(movup|broadcasts)", line)]
    # Everything else is at most a load of a panel or a pixel, and the moves of addresses.
    assert len(loads) <= gemm.UNROLL * (mr + nv)
    # As many lines of what comes next as its numbers fill.
    ahead = ceil_div(mr * gemm.UNROLL * SIZES[elem], LINE) if "ahead" in kind else 0
    assert len([line for line in loop if line.startswith("prefetch")]) == ahead


PAIRED = ROWS["avx512"].on({"avx512bf16"})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("nv", "mr"), gemm.heights(PAIRED).items())
def test_the_hot_loop_of_a_tile_of_pairs(nv, mr, kind):
    assembly = llvm.assembly(lower(gemm.gemm(PAIRED, PAIRS, mr, nv, **kind), PAIRED), PAIRED)
    loop = hot_loop(assembly, "vdpbf16ps")
    assert len([line for line in loop if re.match(r"vdpbf16ps.*%zmm", line)]) == mr * nv * gemm.UNROLL
    assert [line for line in loop if line.startswith("vfmadd")] == []
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []
    loads = [line for line in loop if re.match(r"v(movup|movdqu|p?broadcast)", line)]
    assert len(loads) <= gemm.UNROLL * (mr + nv)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_a_tile_has_no_more_than_the_registers(isa):
    for nv, mr in gemm.heights(isa).items():
        # The sums, a row of the panel, the value of a pixel, and a product that is not added where it is made.
        assert mr * nv + nv + 1 + (not isa.fused) <= isa.registers


@pytest.mark.parametrize("brief", [0, 1, 2])
@pytest.mark.parametrize(("isa", "elem", "mr", "nv"), TILES)
def test_a_tile_asks_for_every_line_of_its_result_once(isa, elem, mr, nv, brief):
    """At once, or, where those of the next tile are asked for, a pixel at a time; tiles of a block together at once."""
    isa = ROWS[isa]
    assembly = llvm.assembly(lower(gemm.gemm(isa, elem, mr, nv, brief), isa), isa)
    width = nv * isa.vector_bytes
    # Rows that are no whole lines may begin anywhere in one.
    lines = width // LINE if width % LINE == 0 else width // LINE + 2
    alone = 1 if isa.vector_bytes == LINE and not brief else mr
    assert assembly.count("prefetch") == (alone if brief else alone + mr) * lines


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_a_tile_of_winograd_s_product_has_no_more_than_the_registers(isa):
    for nv, mr in winograd_product.tiles_of(isa).items():
        # As of `gemm`.
        assert mr * nv + nv + 1 + (not isa.fused) <= isa.registers


# The same of Winograd's product, and of the gradient in the weight.
PRODUCTS = [(name, mr, nv) for name in FUSED for nv, mr in winograd_product.tiles_of(ROWS[name]).items()]


# (vectors, phases), (phases that the last tap reaches) of layers whose results have few channels.
BLOCKS = [
    (name, elem, nv, phases, some)
    for name, elem in (("avx512", "f32"), ("avx2", "f32"), ("avx512", "f64"))
    for nv, phases, some in ((1, (2, 2), (1, 1)), (2, (1, 2), (0, 1)), (1, (4, 1), (0, 0)), (1, (2, 2), (0, 0)))
]


@pytest.mark.parametrize(("isa", "elem", "nv", "phases", "some"), BLOCKS)
def test_the_hot_loop_of_a_tile_of_all_phases(isa, elem, nv, phases, some):
    isa = ROWS[isa]
    mr = phase_blocks.height(isa, nv, phases)
    assembly = llvm.assembly(lower(phase_blocks.phase_blocks(isa, elem, mr, nv, phases, some), isa), isa)
    loop, panels = hot_loop(assembly, "vfmadd"), phases[0] * phases[1]
    assert len([line for line in loop if re.match(r"vfmadd\d+p[sd]", line)]) == mr * nv * panels * gemm.UNROLL
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []
    loads = [line for line in loop if re.match(r"v(movup|broadcasts|movddup)", line)]
    assert len(loads) <= gemm.UNROLL * (mr + nv * panels)


@pytest.mark.parametrize(("nv", "phases", "some"), sorted({each[2:] for each in BLOCKS}))
def test_the_hot_loop_of_a_tile_of_all_phases_of_pairs(nv, phases, some):
    mr = phase_blocks.height(PAIRED, nv, phases)
    kernel = phase_blocks.phase_blocks(PAIRED, PAIRS, mr, nv, phases, some, "none", True)
    assembly = llvm.assembly(lower(kernel, PAIRED), PAIRED)
    loop, panels = hot_loop(assembly, "vdpbf16ps"), phases[0] * phases[1]
    assert len([line for line in loop if line.startswith("vdpbf16ps")]) == mr * nv * panels * gemm.UNROLL
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []


STRIPS = [(name, *tile) for name in FUSED for tile in col2im.TILES[ROWS[name].registers].items()]


@pytest.mark.parametrize("elem", ["f32", "f64"])
@pytest.mark.parametrize(("isa", "mr", "nv"), STRIPS)
def test_the_hot_loop_of_a_tile_of_strips(isa, mr, nv, elem):
    isa = ROWS[isa]
    assembly = llvm.assembly(lower(strip_product.strip_product(isa, elem, mr, nv), isa), isa)
    loop = hot_loop(assembly, "vfmadd")
    assert len([line for line in loop if re.match(r"vfmadd\d+p[sd]", line)]) == mr * nv * gemm.UNROLL
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []
    loads = [line for line in loop if re.match(r"v(movup|movap|broadcasts|movddup)", line)]
    assert len(loads) <= gemm.UNROLL * (mr + nv)


ROW_TILES = [
    (name, mr, s, strips.vectors_of(mr, s, rows.across(mr, s, ROWS[name].registers)))
    for name in FUSED
    for s, most in rows.CHANNELS[ROWS[name].registers].items()
    for mr in range(1, most + 1)
]


@pytest.mark.parametrize("elem", ["f32", "f64"])
@pytest.mark.parametrize(("isa", "mr", "s", "nv"), ROW_TILES)
def test_the_hot_loop_of_a_tile_of_rows_from_strips(isa, mr, s, nv, elem):
    isa = ROWS[isa]
    loop = hot_loop(llvm.assembly(lower(strip_rows.strip_rows(isa, elem, mr, s, nv), isa), isa), "vfmadd")
    assert len([line for line in loop if re.match(r"vfmadd\d+p[sd]", line)]) == mr * s * nv * gemm.UNROLL
    assert spills(loop) == []
    loads = [line for line in loop if re.match(r"v(movup|movap|broadcasts|movddup)", line)]
    assert len(loads) <= gemm.UNROLL * (mr * s + nv)


@pytest.mark.parametrize("lines", range(MOST_LINES + 1))
@pytest.mark.parametrize(("name", "tallest", "nv"), PRODUCTS)
def test_the_hot_loop_of_a_gradient_in_the_weight_prefetches_the_next_block_without_spills(name, tallest, nv, lines):
    isa, unroll = ROWS[name], weight_gradient_blocks.UNROLL
    for mr in (tallest, tallest - 1):
        kernel = weight_gradient_blocks.weight_gradient_blocks(isa, "f32", mr, nv, lines=lines)
        loop = hot_loop(llvm.assembly(lower(kernel, isa), isa), "vfmadd")
        assert sum(line.startswith("vfmadd") for line in loop) == mr * nv * unroll
        assert sum(line.startswith("prefetch") for line in loop) == lines
        assert spills(loop) == []


@pytest.mark.parametrize(("name", "tallest", "nv"), PRODUCTS)
def test_the_hot_loop_of_a_gradient_in_the_weight_asks_for_what_its_sums_become_without_spills(name, tallest, nv):
    isa, unroll = ROWS[name], weight_gradient_blocks.UNROLL
    for mr in (tallest, tallest - 1):
        kernel = weight_gradient_blocks.weight_gradient_blocks(isa, "f32", mr, nv, asks=True)
        loop = hot_loop(llvm.assembly(lower(kernel, isa), isa), "vfmadd")
        assert sum(line.startswith("vfmadd") for line in loop) == mr * nv * unroll
        assert sum(line.startswith("prefetch") for line in loop) == ceil_div(nv * isa.vector_bytes, LINE)
        assert spills(loop) == []


WINOGRAD = [(*tile, elem, height) for tile in PRODUCTS for elem in ("f32", "f64") for height in (0, 1)]


@pytest.mark.parametrize("next_lines", [0, 4])
@pytest.mark.parametrize(("isa", "mr", "nv", "elem", "shorter"), WINOGRAD)
def test_the_hot_loops_of_winograd_s_product(isa, mr, nv, elem, shorter, next_lines):
    """One for mr tiles at a time, one for mr - 1."""
    isa = ROWS[isa]
    lines = winograd_product.pace(isa, SIZES[elem], mr, nv, tiles=30)
    kernel = winograd_product.winograd_product(isa, elem, mr, nv, 64, lines, next_lines=next_lines)
    assembly = llvm.assembly(lower(kernel, isa), isa)
    count = (mr - shorter) * nv * winograd_product.UNROLL
    # What comes after a loop may lie elsewhere.
    loops = [lines for label, lines in blocks(assembly) if any(line.endswith(label) for line in lines[-2:])]
    (loop,) = [lines for lines in loops if sum(line.startswith("vfmadd") for line in lines) == count]
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []
    loads = [line for line in loop if re.match(r"v(movup|broadcasts|movddup)", line)]
    assert len(loads) <= winograd_product.UNROLL * (mr - shorter + nv)
    prefetches = [line for line in loop if line.startswith("prefetch")]
    assert len(prefetches) == (next_lines or lines)


def test_all_tiles_together_ask_for_a_panel():
    """For all of the next one, and for less than twice as much where one line at a time would not do."""
    for name in ISAS:
        isa = ROWS[name]
        for (nv, mr), tiles in product(winograd_product.tiles_of(isa).items(), range(1, 70)):
            panel = -(-winograd_product.UNROLL * nv * isa.vector_bytes // LINE)
            lines, times = winograd_product.pace(isa, 4, mr, nv, tiles), sum(winograd_product.cut(tiles, mr))
            assert lines * times >= panel
            assert lines == 1 or lines * times < 2 * panel + times


@pytest.mark.parametrize(("name", "most"), [("avx512", 0), ("avx2", 6)])
@pytest.mark.parametrize("form", [form(3, 2), form(2, 3)], ids=["3x2", "2x3"])
def test_transforms_of_four_positions_put_next_to_nothing_aside(name, most, form):
    """Vectors stay in registers from the loads to the stores; 16 registers are two or three too few."""
    isa = ROWS[name]
    kernels = [
        winograd_spread.winograd_spread(isa, "f32", form.source, form.source),
        winograd_gather.winograd_gather(isa, "f32", form.output, form.output, form.bias, form.bias),
    ]
    for kernel in kernels:
        loop = hot_loop(llvm.assembly(lower(kernel, isa), isa), "vadd")
        assert len(loop) > 16 + 9
        assert len(spills(loop)) <= most


@pytest.mark.parametrize("name", FUSED)
def test_a_gather_prefetches_the_outputs_of_the_next_tile(name):
    isa, f = ROWS[name], form(3, 2)
    kernel = winograd_gather.winograd_gather(isa, "f32", f.output, f.output, f.bias, f.bias)
    loop = hot_loop(llvm.assembly(lower(kernel, isa), isa), "vadd")
    assert sum(line.startswith("prefetch") for line in loop) == f.m**2


@pytest.mark.parametrize("name", FUSED)
def test_a_block_that_is_transposed_asks_for_the_next_line_of_every_row(name):
    isa = ROWS[name]
    assembly = llvm.assembly(lower(transpose(isa, "f32"), isa), isa)
    # And of whole blocks and of a few columns, for the rows that are said to lie ahead.
    assert assembly.count("prefetcht0") == 3 * isa.lanes(4)


@pytest.mark.parametrize("name", FUSED)
def test_parts_of_rows_come_together_as_they_are_loaded(name):
    """Of a block of whole vectors, half of the parts that are loaded go straight into a vector."""
    isa = ROWS[name]
    lines = llvm.assembly(lower(transpose(isa, "f32", by_parts=True), isa), isa).splitlines()
    found = [line for line in lines if re.search(r"\tvinsertf(128|32x4)\t\$1, .*\(", line)]
    assert len(found) == isa.lanes(4) * isa.vector_bytes // 16 // 2


def test_spills_and_calls_are_seen():
    assert spills(["vmovups 64(%rsp), %zmm3", "movq %rsp, %rbp", "vmovups %ymm1, (%rsp,%rax)"]) == [
        "vmovups 64(%rsp), %zmm3",
        "vmovups %ymm1, (%rsp,%rax)",
    ]
    text = "declare void @elsewhere()\ndefine void @f() {\ncall void @elsewhere()\nret void\n}\n"
    isa = ROWS["avx2"]
    assert calls(llvm.assembly(text, isa).replace("\t", " ").split("\n ")) == ["callq elsewhere@PLT"]
    assert undefined_symbols(llvm.compile_object(text, isa)) == ["elsewhere"]


def winograd(isa):
    """Winograd's kernels of a form in both types."""
    f = form(3, 3)
    for elem, (nv, mr) in product(("f32", "f64"), winograd_product.tiles_of(isa).items()):
        yield winograd_spread.winograd_spread(isa, elem, f.source, f.source)
        yield winograd_gather.winograd_gather(isa, elem, f.output, f.output, f.bias, f.bias)
        yield winograd_weight.winograd_weight(isa, elem, f.weight, f.weight, nv)
        yield winograd_product.winograd_product(isa, elem, mr, nv)


def test_neon_s_product_multiplies_by_lanes_or_broadcasts_without_putting_anything_aside():
    isa = ROWS["neon"]
    mr, nv = winograd_product.tile(isa, 4)
    kernel = winograd_product.winograd_product(isa, "f32", mr, nv)
    assembly = llvm.assembly(lower(kernel, isa), isa)
    fused = max(sum(line.startswith("fmla") for line in lines) for _, lines in blocks(assembly))
    assert fused == mr * nv * winograd_product.UNROLL
    assert not re.search(r"\b(ldr|str|ldp|stp)\s+q\d+.*\[sp", assembly)


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    kernels = [execute(isa), transpose(isa, "f32"), transpose(isa, "f64")]
    kernels += [gemm.gemm(isa, elem, 2, 2, brief) for elem in ("f32", "f64") for brief in (False, True)]
    kernels += [strip_product.strip_product(isa, "f32", 4, 2), col2im_channels.col2im_channels(isa, "f32", 2)]
    kernels += [col2im_rows.col2im_rows(isa, "f32", 2, counts) for counts in (None, (2, 1))]
    kernels += winograd(isa)
    for kernel in kernels:
        assert undefined_symbols(llvm.compile_object(lower(kernel, isa), isa)) == [], kernel.name
