"""What LLVM makes of the product's register tiles: nothing but multiply-adds and loads in the hot loop."""

import re

import pytest
from native import hot_loop, spills, undefined_symbols

from upconv.codegen import llvm
from upconv.codegen.isa import ROWS
from upconv.codegen.lowering import lower
from upconv.kernels import gemm
from upconv.kernels.execute import execute
from upconv.kernels.transpose import transpose

TILES = [
    *[("avx512", elem, *tile) for elem in ("f32", "f64") for tile in ((6, 4), (8, 3), (12, 2), (14, 1))],
    *[("avx2", elem, *tile) for elem in ("f32", "f64") for tile in ((5, 2), (8, 1))],
]


def calls(lines):
    return [line for line in lines if line.startswith(("call", "bl "))]


@pytest.mark.parametrize(("isa", "elem", "mr", "nv"), TILES)
def test_the_hot_loop_of_a_tile(isa, elem, mr, nv):
    isa = ROWS[isa]
    assembly = llvm.assembly(lower(gemm.gemm(isa, elem, mr, nv), isa), isa)
    loop = hot_loop(assembly, "vfmadd")
    fused = [line for line in loop if re.match(r"vfmadd\d+p[sd]", line)]
    assert len(fused) == mr * nv * gemm.UNROLL
    assert all(("%zmm" if isa.vector_bytes == 64 else "%ymm") in line for line in fused)
    assert spills(loop) == []
    assert calls(assembly.replace("\t", " ").split("\n ")) == []
    loads = [line for line in loop if re.match(r"v(movup|broadcasts)", line)]
    # Everything else is at most a load of a panel or a pixel, and the moves of addresses.
    assert len(loads) <= gemm.UNROLL * (mr + nv)


def test_spills_and_calls_are_seen():
    assert spills(["vmovups 64(%rsp), %zmm3", "movq %rsp, %rbp", "vmovups %ymm1, (%rsp,%rax)"]) == [
        "vmovups 64(%rsp), %zmm3",
        "vmovups %ymm1, (%rsp,%rax)",
    ]
    text = "declare void @elsewhere()\ndefine void @f() {\ncall void @elsewhere()\nret void\n}\n"
    isa = ROWS["avx2"]
    assert calls(llvm.assembly(text, isa).replace("\t", " ").split("\n ")) == ["callq elsewhere@PLT"]
    assert undefined_symbols(llvm.compile_object(text, isa)) == ["elsewhere"]


@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_no_object_wants_symbols_of_others(isa):
    kernels = [execute(isa), transpose(isa, "f32"), transpose(isa, "f64")]
    kernels += [gemm.gemm(isa, elem, 2, 2) for elem in ("f32", "f64")]
    for kernel in kernels:
        assert undefined_symbols(llvm.compile_object(lower(kernel, isa), isa)) == [], kernel.name
