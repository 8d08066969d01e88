"""Operation x dtype x layout x instruction set x kind of tile: every cell of the table is full of cases that agree."""

import itertools
import json
import os
from pathlib import Path

import pytest
from amount import some
from cases import AVAILABLE, LAYOUTS
from children import script
from isas import RUNNABLE

from upconv.problem import OPERATIONS

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
TILES = ("full", "edge")
LEAST = 20
CASES = max(LEAST, int(os.environ.get("UPCONV_TABLE", some(LEAST, 100))))
FAMILIES = ("columns", "correlate", "depthwise", "gemm", "planes", "strips", "transpose")


@pytest.mark.parametrize("isa", RUNNABLE)
def test_every_cell_has_at_least_20_cases_that_agree(isa, capsys):
    cells, kernels = json.loads(script(f"{HERE}import table; table.main({CASES})", timeout=3000, UPCONV_ISA=isa))
    counts = {tuple(cell): count for *cell, count in cells}
    with capsys.disabled():
        print(f"\n{isa}: cases that agree, nchw/full nchw/edge nhwc/full nhwc/edge; {len(kernels)} kernels")
        for operation, dtype in itertools.product(OPERATIONS, AVAILABLE):
            line = [counts.get((operation, dtype, *cell), 0) for cell in itertools.product(LAYOUTS, TILES)]
            print(f"  {operation:<12} {dtype:<11}", *(f"{count:5}" for count in line))
    wanted = set(itertools.product(OPERATIONS, AVAILABLE, LAYOUTS, TILES))
    assert {cell for cell in wanted if counts.get(cell, 0) < LEAST} == set()
    # Every kernel of the catalogue took part, in every type that kernels have.
    made = {tuple(name.split("_")[:2]) for name in kernels}
    assert set(itertools.product(FAMILIES, ("f32", "f64", "i64"))) - made == set()


def test_the_table_sees_a_wrong_kernel(tmp_path):
    """The last lane of every mask is dropped; then no cell may pass."""
    with pytest.raises(AssertionError, match="values are wrong"):
        script(
            f"""{HERE}
import table
from upconv.codegen.lang import Builder
first = Builder.first
Builder.first = lambda self, count, vector: first(self, count - 1, vector)
table.main({LEAST})
""",
            UPCONV_CACHE_DIR=str(tmp_path),
        )
