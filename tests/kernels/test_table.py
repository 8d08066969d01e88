"""Way x operation x dtype x layout x instruction set x kind of tile: every cell is full of cases that agree."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest
from amount import some
from cases import AVAILABLE, LAYOUTS
from children import script
from isas import tried
from ways import KERNELS, families

from upconv.problem import OPERATIONS

HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
# For scripts that change no kernel.
SHARED = f"{HERE}import fresh; fresh.share()\n"
TILES = ("full", "edge")
LEAST = 20
CASES = max(LEAST, int(os.environ.get("UPCONV_TABLE", some(LEAST, 100))))
# Ways that take every case of some operations.
ALWAYS = (
    ("auto", "forward"),
    ("auto", "grad_input"),
    ("auto", "grad_weight"),
    ("gemm", "forward"),
    ("gemm", "grad_input"),
)


# By default the best instruction set and the lowest; the others have the other tests of kernels.
@pytest.mark.parametrize("isa", tried())
def test_every_cell_has_at_least_20_cases_that_agree(isa, capsys):
    cells, kernels = json.loads(script(f"{SHARED}import table; table.main({CASES})", timeout=3000, UPCONV_ISA=isa))
    counts = {tuple(cell): count for *cell, count in cells}
    with capsys.disabled():
        print(f"\n{isa}: cases that agree, nchw/full nchw/edge nhwc/full nhwc/edge; {len(kernels)} kernels")
        for operation, dtype in itertools.product(OPERATIONS, AVAILABLE):
            line = [counts.get(("auto", operation, dtype, *cell), 0) for cell in itertools.product(LAYOUTS, TILES)]
            print(f"  {operation:<12} {dtype:<11}", *(f"{count:5}" for count in line))
        for way in KERNELS:
            print(f"  {way:<20} {sum(count for cell, count in counts.items() if cell[0] == way):7}")
    cells = tuple(itertools.product(AVAILABLE, LAYOUTS, TILES))
    full = {
        (way, operation, *cell) for way, operation in (*ALWAYS, ("weight_gradient", "grad_weight")) for cell in cells
    }
    assert {cell for cell in full if counts.get(cell, 0) < LEAST} == set()
    # Every way had cases of every kind; a complex layer is never depthwise, since its channels come in pairs.
    some = {(way, dtype, tile) for way, _, dtype, _, tile in counts}
    wanted = set(itertools.product(KERNELS, AVAILABLE, TILES))
    missing = {(way, dtype) for way, dtype, _ in wanted - some}
    # Columns are looked through for what is not finite, which integers have not.
    missing -= {("weight_gradient_columns", "int64"), ("input_gradient_columns", "int64")}
    # Real and imaginary part in turn are channels-last.
    apart = {way for way in KERNELS if "depthwise" in way or way == "gemm_planes"}
    assert missing == {(way, dtype) for way, dtype in missing if way in apart and "complex" in dtype}
    # Every kernel of the catalogue took part, in every type that kernels have.
    found = (re.match(r"(\w+?)_(f32|f64|i64)(?:_|$)", name) for name in kernels)
    made = {match.groups() for match in found if match}
    wanted = set(itertools.product(families(), ("f32", "f64", "i64")))
    assert wanted - made == {(name, "i64") for name in ("not_finite", "pixel_columns", "column_products")}


def test_the_table_sees_a_wrong_kernel(tmp_path):
    """The last lane of every mask is dropped; then no cell may pass."""
    with pytest.raises(AssertionError, match="values are wrong"):
        script(
            f"""{HERE}
import table
from upconv.codegen.lang import Builder
lane_mask = Builder.lane_mask
Builder.lane_mask = lambda self, count, vector: lane_mask(self, count - 1, vector)
table.main({LEAST})
""",
            UPCONV_CACHE_DIR=str(tmp_path),
        )
