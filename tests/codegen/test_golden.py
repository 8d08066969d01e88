"""Three kernels as text, exactly: what a change of the language or its lowering does to all of them shows here."""

import pytest
from make_ir import FOLDER, KERNELS, text

from upconv.codegen import llvm
from upconv.codegen.isa import ROWS


@pytest.mark.parametrize("name", KERNELS)
def test_the_text_of_a_kernel(name):
    assert text(name) == (FOLDER / f"{name}.ll").read_text(), "meant? then run tests/make_ir.py and read the difference"


@pytest.mark.parametrize("name", KERNELS)
def test_the_golden_text_compiles(name):
    isa = ROWS[KERNELS[name][1]]
    assert llvm.compile_object((FOLDER / f"{name}.ll").read_text(), isa)


def test_no_golden_text_is_left_over():
    assert {path.stem for path in FOLDER.glob("*.ll")} == set(KERNELS)
