"""The tiles of the product as the processor sees them: all sums in registers, nothing but loads and multiply-adds."""

import pytest
from native import hot_loop, spills

from upconv.codegen import llvm
from upconv.codegen.isa import ROWS
from upconv.codegen.lowering import lower
from upconv.kernels.gemm import UNROLL, gemm, heights

TILES = [(name, tall, wide) for name in ("avx512", "avx2", "x86-64") for wide, tall in heights(ROWS[name]).items()]


@pytest.mark.parametrize(("name", "tall", "wide"), TILES)
def test_the_sums_of_every_tile_stay_in_registers(name, tall, wide):
    isa = ROWS[name]
    lines = hot_loop(llvm.assembly(lower(gemm(isa, "f32", tall, wide), isa), isa), "vfmadd" if isa.fused else "mulps")
    # SSE2 has no room for what LLVM loads ahead: one sum of ten goes by way of the stack.
    assert len(spills(lines)) <= (0 if isa.fused else UNROLL)
    added = sum(line.startswith("vfmadd" if isa.fused else "addps") for line in lines)
    assert added == UNROLL * tall * wide


@pytest.mark.parametrize("name", list(ROWS))
def test_a_tile_has_no_more_than_the_registers(name):
    isa = ROWS[name]
    for wide, tall in heights(isa).items():
        # The sums, a row of the panel, the value of a pixel, and a product that is not added where it is made.
        assert tall * wide + wide + 1 + (not isa.fused) <= isa.registers
