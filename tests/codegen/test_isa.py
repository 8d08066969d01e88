"""The rows of the instruction sets, and the choice among them."""

import re

import numpy as np
import pytest
from native import IDS, ISAS, RUNNABLE, interpreted, undefined_symbols

from upconv.codegen import llvm
from upconv.codegen.isa import ALIASES, ROWS, resolve, runnable
from upconv.codegen.lang import I64, PTR, Builder, Type
from upconv.codegen.lowering import lower

EVERYTHING = frozenset(ROWS["avx512"].needs)


def saxpy(isa, elem="f32"):
    """y += a x on n whole vectors and a rest."""
    k = Builder(f"saxpy_{isa.name}")
    x, y, a, n = k.arguments(PTR, PTR, PTR, I64)
    type = Type(elem, isa.vector_bytes // Type(elem).size)
    factor = k.splat(k.load(a, Type(elem)), type)
    with k.loop(0, n, type.lanes) as place:
        inside = k.lane_mask(n - place, type)
        here = place * type.scalar.size
        k.store(k.muladd(factor, k.load(x + here, type, inside), k.load(y + here, type, inside)), y + here, inside)
    return k


@pytest.mark.parametrize(
    ("arch", "features", "name"),
    [
        ("x86_64", EVERYTHING, "avx512"),
        ("x86_64", EVERYTHING - {"avx512vl"}, "avx2"),
        ("x86_64", EVERYTHING - {"bmi2"}, "x86-64"),
        ("x86_64", frozenset(), "x86-64"),
        ("aarch64", frozenset(), "neon"),
    ],
)
def test_the_best_row_that_the_features_allow(arch, features, name):
    assert resolve(arch, features).name == name


def test_what_a_machine_has_beyond_a_row_is_switched_on():
    better = resolve("x86_64", EVERYTHING | {"avx512bf16"})
    assert better.multiplies_pairs
    assert better.features == "-prefer-256-bit,+avx512bf16"
    assert not resolve("x86_64", EVERYTHING).multiplies_pairs
    lower = resolve("x86_64", EVERYTHING | {"avx512bf16"}, "avx2")
    assert lower is ROWS["avx2"]
    assert not resolve("x86_64", EVERYTHING - {"avx512vl"} | {"avx512bf16"}).multiplies_pairs


def test_a_lower_row_by_name():
    for name in ("avx2", "x86-64"):
        assert resolve("x86_64", EVERYTHING, name) is ROWS[name]
    assert resolve("x86_64", EVERYTHING, "sse2") is ROWS["x86-64"]


@pytest.mark.parametrize("name", ["avx512", "neon", "avx1024"])
def test_a_row_that_the_machine_cannot_run_is_refused_naming_those_it_can(name):
    with pytest.raises(ValueError, match=f"UPCONV_ISA is '{name}'.*can run avx2, x86-64$"):
        resolve("x86_64", EVERYTHING - {"avx512f"}, name)


def test_an_unknown_architecture_has_no_row():
    with pytest.raises(LookupError, match="riscv64"):
        resolve("riscv64", frozenset())


def test_names_are_names_of_rows():
    assert all(row.name == name for name, row in ROWS.items())
    assert set(ALIASES.values()) <= set(ROWS)
    assert runnable(*llvm.host()) == RUNNABLE


@pytest.mark.parametrize("isa", ISAS, ids=IDS)
def test_the_level_has_no_feature_that_the_row_does_not_ask_for(isa):
    """LLVM may use any feature of the level; so a machine with the row's needs must have them all."""
    text = "define void @nothing() {\nret void\n}\n"
    allowed = set(isa.needs) | {"64bit", "cmov", "crc32", "cx8", "cx16", "evex512", "fxsr", "mmx", "sahf", "x87"}
    allowed |= {"sse", "sse2", "sse3", "ssse3", "sse4.1", "sse4.2"}
    machine = llvm.target_machine(isa)
    assert "nothing" in machine.emit_assembly(llvm.optimised(text, isa))
    assert set(LEVELS[isa.cpu].split()) <= allowed


# The x86-64 psABI's micro-architecture levels, in LLVM's names.
LEVELS = {"x86-64": "cmov cx8 fxsr mmx sse sse2 x87"}
LEVELS["x86-64-v3"] = LEVELS["x86-64"] + (
    " cx16 sahf popcnt sse3 sse4.1 sse4.2 ssse3 avx avx2 bmi bmi2 f16c fma lzcnt movbe xsave"
)
LEVELS["x86-64-v4"] = LEVELS["x86-64-v3"] + " avx512f avx512bw avx512cd avx512dq avx512vl"


def test_neon_objects_are_built_here():
    isa = ROWS["neon"]
    for elem in ("f32", "f64"):
        kernel = saxpy(isa, elem)
        image = llvm.compile_object(lower(kernel, isa), isa)
        assert image[:4] == b"\x7fELF"
        assert image[18:20] == (183).to_bytes(2, "little"), "EM_AARCH64"
        assert undefined_symbols(image) == []
        assert re.search(r"\bfmla\b", llvm.assembly(lower(kernel, isa), isa))


def test_neon_multiplies_by_a_lane():
    """A lane splatted by a shuffle becomes an operand of the multiplication: no instruction of its own is needed."""
    isa = ROWS["neon"]
    k = Builder("lane")
    x, y = k.arguments(PTR, PTR)
    type = Type("f32", 4)
    value = k.load(x, type)
    k.store(k.muladd(k.shuffle(value, value, [2] * 4), k.load(x + 16, type), k.load(y, type)), y)
    assert re.search(r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[2\]", llvm.assembly(lower(k, isa), isa))


def test_neon_kernels_are_interpreted_here():
    rng = np.random.default_rng(2)
    x, y, a = rng.standard_normal(11).astype("f4"), rng.standard_normal(11).astype("f4"), np.array([1.5], "f4")
    received = interpreted(saxpy(ROWS["neon"]), [x, y, a], [11])[1]
    np.testing.assert_allclose(received, 1.5 * x + y, rtol=1e-6)
